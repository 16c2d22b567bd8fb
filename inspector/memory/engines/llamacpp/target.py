"""What a draft is loaded beside (`ctx_other`, src/llama-context.cpp, b11434)."""

from __future__ import annotations

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from inspector.facts import ModelFacts
    from inspector.memory.devices.placement import Assignment


class Target(Record):
    """The model that a draft is loaded beside: the sizes its context runs with, and where it lies (None: the host)."""

    facts: ModelFacts
    effective: Mapping[str, Any]
    assignment: Assignment | None = None
