"""scripts/check_loading.py as a module, and what the engine answered: the tests repeat its damages on headers alone."""

from __future__ import annotations

import importlib.util
import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SPEC = importlib.util.spec_from_file_location(
    "check_loading", Path(__file__).resolve().parent.parent / "scripts" / "check_loading.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
loading = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(loading)


def rows() -> Iterator[dict[str, Any]]:
    """{base, damage, refused}: a header's number, one change, and the engine's message ("": it loads)."""
    with lzma.open(loading.ANSWERS, "rt") as file:
        yield from map(json.loads, file)
