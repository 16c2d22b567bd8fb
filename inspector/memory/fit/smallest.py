"""The smallest device that would do: what a choice takes, tried on the registry's rows."""

from __future__ import annotations

from bisect import bisect_left

from inspector.memory.engines import engine_of, space_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final

    from inspector.memory.estimate import Gpu
    from inspector.memory.fit.records import Ask, Candidate, Choice, Lack

_MACHINES: Final = ("Jetson", "GB10", "Ryzen")  # memory that comes with a computer around it, as Apple's does


def smallest_gpu(found: Choice | Lack | None, ask: Ask) -> Gpu | None:
    """The registry's smallest device that holds everything of this choice, alone; None where none does."""
    if found is None:
        return None
    return smallest_holding(found.candidate, ask.replace(workload=found.workload), found.n_ctx)


def smallest_holding(candidate: Candidate, ask: Ask, n_ctx: int) -> Gpu | None:
    """The registry's smallest device that holds a model, a context of `n_ctx` and all else of `ask`; None: none does.

    A card, but for an engine that runs on none: then a whole machine. Raises WorkloadError where the engine
    takes none of it, or something that decides is not known.
    """
    from inspector.memory.devices.gpus import GPUS

    taken = [row for row in GPUS.values() if not engine_of(ask.engine).refuses(row.as_gpu())]
    cards = [row for row in taken if row.vendor != "Apple" and not row.name.startswith(_MACHINES)]
    rows = [row.as_gpu() for row in cards or taken]
    if not rows:
        return None
    rows.sort(key=lambda gpu: (gpu.capacity - gpu.reserve - gpu.context, gpu.capacity))
    alone = ask.replace(
        n_gpu_layers=None, n_cpu_moe=None, tensor_split=None, tensor_parallel=None, offload=False, host=None
    )
    space = space_of(candidate, alone.replace(gpus=(rows[0].replace(name="alone"),)), {})

    def excess(i: int) -> int:
        space.ask = alone.replace(gpus=(rows[i].replace(name="alone"),))
        return space.attempt(n_ctx, 0, "all").excess

    i = _first_holding(excess, [gpu.capacity - gpu.reserve - gpu.context for gpu in rows])
    return rows[i] if i < len(rows) else None


def _first_holding(excess: Callable[[int], int], room: Sequence[int]) -> int:
    """Number of the smallest device that misses nothing; the larger device holds what the smaller does.

    What the smallest of all misses says about where to look: an attempt takes longer than all else here.
    """
    low, high = 0, len(room)
    guess = 0
    while low < high:
        missing = excess(guess)
        low, high = (low, guess) if missing <= 0 else (guess + 1, high)
        if missing > 0 and guess == 0:
            guess = min(max(bisect_left(room, room[0] + missing), low), high - 1)
        else:  # the one beside it decides, mostly; then halves
            guess = high - 1 if missing <= 0 and low < high - 8 else (low + high) // 2
    return low
