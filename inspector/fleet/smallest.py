"""The smallest GPU that runs a model by itself: an engine's own estimate, tried on the registry's devices."""

from __future__ import annotations

from bisect import bisect_left

from inspector.memory.estimate import Placement
from inspector.memory.fit.smallest import sold_alone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inspector.facts import ModelFacts
    from inspector.memory.engines.protocol import Engine
    from inspector.memory.estimate import Gpu, Workload


def smallest_gpu(facts: ModelFacts, engine: Engine, workload: Workload) -> Gpu | None:
    """The smallest device that an estimate fits on, all of it; None where it fits on none, or that is not known.

    Raises WorkloadError where the engine refuses the workload.
    """
    rows = sold_alone(engine.name)

    def missing(i: int) -> int | None:
        found = engine.estimate(facts, workload, placement=engine.placed(Placement(gpus=(rows[i],))))
        if found.fits is not False:
            return None if found.fits is None else 0
        return max(1, *(d.used - d.capacity + d.reserve for d in found.devices if d.capacity is not None))

    i = first_holding(missing, [gpu.capacity - gpu.reserve for gpu in rows])
    return rows[i] if i is not None and i < len(rows) else None


def first_holding(missing: Callable[[int], int | None], room: Sequence[int]) -> int | None:
    """Number of the smallest device that misses no bytes, `len(room)` where all do; None as soon as it is not known.

    The larger device holds what the smaller does. What the smallest misses says about where to look: an estimate takes
    longer than all else that a row needs.
    """
    low, high, guess = 0, len(room), 0
    while low < high:
        lacking = missing(guess)
        if lacking is None:
            return None
        low, high = (guess + 1, high) if lacking else (low, guess)
        if lacking and guess == 0:
            guess = min(max(bisect_left(room, room[0] + lacking), low), high - 1)
        else:  # the one beside the guess decides, mostly; then halves
            guess = high - 1 if not lacking and low < high - 8 else (low + high) // 2
    return low
