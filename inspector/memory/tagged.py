"""A quant that is not there yet, by its tag (`org/name:Q4_K_M`) or by name alone: what llama.cpp would run."""

from __future__ import annotations

from inspector.errors import NoGguf
from inspector.memory.engines import default_engine, engine_name, engine_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")


def engine_asked(engine: str | None, format_: str, quant: object) -> str:
    """The engine that was named; else the one people run the format with, if it has the quants that were asked for."""
    if engine:
        return engine_name(engine)
    usual = default_engine(format_)
    return default_engine("gguf") if quant and engine_of(usual).option("quant") is None else usual


def with_tag(target: str, *, engine: str | None, read: Callable[[str], T]) -> tuple[T, str, str | None]:
    """(what is read of a target, the target without the tag of a quant that is not there yet, that quant).

    Raises as `read` does, and NoGguf where llama-quantize makes no such quant or the engine would not take it.
    """
    try:
        return read(target), target, None
    except NoGguf as error:
        without = target.removesuffix(f":{error.quant}")
        if without == target or not _makeable(error.quant, engine):
            raise
        return read(without), without, error.quant


def _makeable(quant: str, engine: str | None) -> bool:
    from inspector.quantization.mix_targets import QUANT_TARGETS

    return quant.upper() in QUANT_TARGETS and (engine is None or bool(engine_of(engine).quantizer))
