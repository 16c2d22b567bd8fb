"""`inspector memory`."""

from __future__ import annotations

import click

from inspector.checkpoint import SeveralModels
from inspector.cli import outcome
from inspector.cli.options import (
    build_placement,
    build_workload,
    engine_option,
    engine_options,
    engine_settings,
    json_option,
    open_target,
    placement_options,
    target_argument,
    workload_options,
)
from inspector.cli.plain import incomplete
from inspector.errors import AccessDenied
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from inspector.checkpoint import Checkpoint
    from inspector.facts import ModelFacts
    from inspector.memory.breakdown import LayerRow
    from inspector.memory.estimate import Estimate, Line, Placement, Workload

