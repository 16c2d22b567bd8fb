"""Engines: how each run-time spends memory on the same facts. One row an engine, loaded when it is asked for."""

from __future__ import annotations

from types import MappingProxyType

from inspector.errors import InspectorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from inspector.facts import ModelFacts
    from inspector.memory.engines.protocol import Engine
    from inspector.memory.estimate import Estimate, Placement, Workload
    from inspector.memory.fit.records import Ask, Candidate
    from inspector.memory.fit.spaces import Space

# name: the module whose ENGINE it is
_ROWS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "textbook": "inspector.memory.engines.rows.textbook",
        "llama.cpp": "inspector.memory.engines.rows.llamacpp",
        "vllm": "inspector.memory.engines.rows.vllm",
        "transformers": "inspector.memory.engines.rows.transformers",
        "sglang": "inspector.memory.engines.rows.sglang",
        "mlx": "inspector.memory.engines.rows.mlx",
    }
)
ENGINE_NAMES: Final = tuple(_ROWS)
# what people run a format's files with; the last row is of all others
_BY_FORMAT: Final = MappingProxyType({"gguf": "llama.cpp", "": "vllm"})


def _load(name: str) -> Engine:
    from importlib import import_module

    found: Engine = import_module(_ROWS[name]).ENGINE
    return found


def engines() -> tuple[Engine, ...]:
    """All engines, in the order of the registry."""
    return tuple(map(_load, _ROWS))


def engine_of(name: str) -> Engine:
    """An engine by any of its names, or one release of it as `name@release`. Raises InspectorError."""
    key, at, release = name.lower().partition("@")
    found = _load(key) if key in _ROWS else next((e for e in engines() if key in e.aliases), None)
    if found is None:
        from difflib import get_close_matches

        near = get_close_matches(key, [*_ROWS, *(alias for e in engines() for alias in e.aliases)], n=1)
        hint = f"did you mean {near[0]}?" if near else "one of " + ", ".join(_ROWS)
        raise InspectorError(f"unknown engine {name!r}", hint=hint)
    return found.at(release) if at else found


def engine_name(name: str) -> str:
    """The registry's name of an engine by any of its names, and of the release asked for. Raises InspectorError."""
    return engine_of(name).name


def default_engine(format_: str) -> str:
    """The engine that people run a file of this format with."""
    return _BY_FORMAT.get(format_, _BY_FORMAT[""])


def estimate(
    facts: ModelFacts, workload: Workload, *, engine: str, placement: Placement | None = None, **options: Any
) -> Estimate:
    """What running this model would cost, by one engine's rules.

    `options` are the engine's own (textbook: kv_form, constant_factor, overhead; llama.cpp: server, …),
    here or in `workload.options`. Raises WorkloadError where the engine would refuse or has no such option,
    InspectorError for an engine that is not in the registry.
    """
    return engine_of(engine).estimate(facts, workload, placement=placement, **options)


def space_of(candidate: Candidate, ask: Ask, memo: dict[Any, Any]) -> Space:
    """The space of a candidate under the engine asked for. Raises WorkloadError where the engine takes none of it."""
    return engine_of(ask.engine).space(candidate, ask, memo)
