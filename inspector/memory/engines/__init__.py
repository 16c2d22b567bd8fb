"""Engines: how each run-time spends memory on the same facts. One row an engine, loaded when it is asked for."""

from __future__ import annotations

from types import MappingProxyType

from inspector.errors import InspectorError
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Estimate, Placement, Workload


class Engine(Record):
    """A run-time: the module that holds its rules, and the release they were read from."""

    name: str
    module: str
    version: str


# fmt: off
_ROWS: Final = (
    Engine("textbook",     "inspector.memory.engines.textbook",     "formulas"),
    Engine("llama.cpp",    "inspector.memory.engines.llamacpp",     "b11434"),
    Engine("vllm",         "inspector.memory.engines.vllm",         "0.33.0"),
    Engine("transformers", "inspector.memory.engines.transformers", "5.24.0"),
)
# fmt: on
ENGINES: Final[Mapping[str, Engine]] = MappingProxyType({e.name: e for e in _ROWS})
_ALIASES: Final = MappingProxyType({"llamacpp": "llama.cpp", "llama-cpp": "llama.cpp", "hf": "transformers"})


def default_engine(format_: str) -> str:
    """The engine that people run a file of this format with."""
    return "llama.cpp" if format_ == "gguf" else "vllm"


def engine_name(name: str) -> str:
    """An engine by any of its names. Raises InspectorError."""
    key = _ALIASES.get(name.lower(), name.lower())
    if key not in ENGINES:
        raise InspectorError(f"unknown engine {name!r}", hint="one of " + ", ".join(ENGINES))
    return key


def _bound(facts: ModelFacts, workload: Workload, result: Estimate) -> tuple[str, ...]:
    """What layers of an unknown kind would keep as plain attention over every token: the most that attention keeps."""
    from inspector.layers import UnknownCache
    from inspector.units import format_nbytes

    n = sum(isinstance(c, UnknownCache) for layer in facts.layers for c in layer.caches)
    n_ctx = result.effective.get("n_ctx") or result.effective.get("max_model_len")
    if facts.n_kv_heads and facts.head_dim_k and facts.head_dim_v:
        width = facts.n_kv_heads * (facts.head_dim_k + facts.head_dim_v)
    else:  # keys and values of all heads together are as wide as the model, where heads are not stated
        width = 2 * (facts.d_model or 0)
    nbytes = n * (n_ctx or 0) * (workload.n_seqs or 1) * width * 2
    if not nbytes:
        return ()
    return (f"the {n} layers of unknown kind would keep at most {format_nbytes(nbytes)} as plain attention in f16",)


def estimate(
    facts: ModelFacts, workload: Workload, *, engine: str, placement: Placement | None = None, **options: Any
) -> Estimate:
    """What running this model would cost, by one engine's rules.

    `options` are the engine's own (textbook: kv_form, activations, constant_factor, overhead; llama.cpp: server, …).
    Raises WorkloadError where the engine would refuse, InspectorError for an engine that is not in the registry.
    """
    row = ENGINES[engine_name(engine)]
    from importlib import import_module

    if placement is not None:
        options["placement"] = placement
    result: Estimate = import_module(row.module).estimate(facts, workload, **options)
    if result.unknown:  # what is not known may be what does not fit
        devices = tuple(d.replace(fits=d.fits and None) for d in result.devices)
        return result.replace(devices=devices, notes=(*result.notes, *_bound(facts, workload, result)))
    return result
