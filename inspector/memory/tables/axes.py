"""The settings that a table holds: contexts, sequences, cache types, cards, and layers on them."""

from __future__ import annotations

from inspector.memory.estimate import Placement, Workload
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Gpu

_BEYOND: Final = 4  # times the trained context that is offered
_OCTAVES: Final = 9
_LEAST: Final = 512
_TRAINED: Final = 8192  # where a model states none


class Place(Record):
    """Where to run: how many cards of one kind, and layers on them (None: all; without cards there is no choice)."""

    cards: int
    n_gpu_layers: int | None = None

    def on(self, gpu: Gpu | None) -> Placement:
        """The placement on so many of this card, named as `--gpu 2x…` names them."""
        if gpu is None or not self.cards:
            return Placement()
        gpus = (gpu,) if self.cards == 1 else tuple(gpu.replace(name=f"{gpu.name} #{i}") for i in range(self.cards))
        return Placement(gpus=gpus, n_gpu_layers=self.n_gpu_layers)


class Axes(Record):
    """What one engine's table is over: a row for each combination, in this order."""

    places: tuple[Place, ...]
    kv: tuple[tuple[str, str], ...]
    seqs: tuple[int, ...]
    contexts: tuple[int, ...]


def workload_of(k: str, v: str, n_seqs: int, n_ctx: int) -> Workload:
    """What to run: cache types (auto: the engine's own), sequences (0: the engine's default), tokens of context."""
    return Workload(
        n_ctx=n_ctx,
        n_seqs=n_seqs or None,
        kv_dtype_k=None if k == "auto" else k,
        kv_dtype_v=None if v == "auto" else v,
    )


def contexts(facts: ModelFacts, asked: int | None = None, *, few: bool = False) -> tuple[int, ...]:
    """Powers of two up to four times the trained context, the trained one, shares of it, and the one asked for."""
    trained = facts.n_ctx_train or _TRAINED
    top = 1 << (trained * _BEYOND).bit_length() - 1
    points = {top >> i for i in range(_OCTAVES - 2 * few) if top >> i >= _LEAST}
    shares = {trained, trained * 3 // 4} if trained >= 4 * _LEAST and not few else {trained}
    return tuple(sorted(points | shares | ({asked} if asked else set())))


def places(counts: Sequence[int], *, n_layers: int = 0, levels: int = 0) -> tuple[Place, ...]:
    """The host alone, numbers of cards that hold all, and `levels` shares of the layers on one card."""
    steps = sorted({n_layers * i // (levels + 1) for i in range(1, levels + 1)} - {0}) if levels else []
    return (Place(0), *(Place(n) for n in counts), *(Place(1, n) for n in reversed(steps)))
