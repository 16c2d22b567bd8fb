"""What engines on PyTorch ask before they run: the classes that a config names, and what a card can do."""

from __future__ import annotations

from inspector.memory.engines.shared.kv_options import config_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Gpu


def classes_of(facts: ModelFacts) -> tuple[str, ...]:
    """The classes that the config names: the language model's, and the whole model's."""
    outer = (facts.keys or {}).get("architectures")
    found = []
    for named in (config_value(facts, "architectures"), outer):
        if isinstance(named, list | tuple):
            found += [name for name in named[:4] if isinstance(name, str)]
    return tuple(dict.fromkeys(found))


def is_older(gpu: Gpu, least: tuple[int, int]) -> bool:
    """Whether a card's compute capability is known, and below what a release is built for."""
    major, dot, minor = gpu.compute_capability.partition(".")
    known = dot and major.isdigit() and minor.isdigit()
    return bool(known) and (int(major), int(minor)) < least
