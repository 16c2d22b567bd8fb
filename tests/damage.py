"""scripts/fuzz_cli.py as a module: the tests and the long campaigns damage files the same way."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_SPEC = importlib.util.spec_from_file_location(
    "fuzz_cli", Path(__file__).resolve().parent.parent / "scripts" / "fuzz_cli.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
fuzz = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(fuzz)
