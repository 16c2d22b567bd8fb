"""The smallest device that would do: what a choice takes, tried on the registry's rows."""

from __future__ import annotations

from functools import cache

from inspector.memory.engines import engine_of, space_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from inspector.memory.estimate import Gpu
    from inspector.memory.fit.records import Ask, Choice, Lack

_MACHINES: Final = ("Jetson", "GB10", "Ryzen")  # memory that comes with a computer around it, as Apple's does


@cache
def sold_alone(engine: str) -> tuple[Gpu, ...]:
    """The registry's devices that an engine runs on, smallest first.

    Those that come without a computer around them; of an engine that runs on none of them, all.
    """
    from inspector.memory.devices.gpus import GPUS

    taken = [row for row in GPUS.values() if not engine_of(engine).refuses(row.as_gpu())]
    cards = [row for row in taken if row.vendor != "Apple" and not row.name.startswith(_MACHINES)]
    rows = [row.as_gpu() for row in cards or taken]
    return tuple(sorted(rows, key=lambda gpu: (gpu.capacity - gpu.reserve - gpu.context, gpu.capacity)))


def smallest_gpu(found: Choice | Lack | None, ask: Ask) -> Gpu | None:
    """The registry's smallest device that holds everything of this choice, alone; None where none does."""
    if found is None:
        return None
    rows = sold_alone(ask.engine)
    if not rows:
        return None
    alone = ask.replace(
        n_gpu_layers=None, n_cpu_moe=None, tensor_split=None, tensor_parallel=None, offload=False, host=None,
        workload=found.workload,
    )  # fmt: skip
    n_ctx = found.n_ctx
    space = space_of(found.candidate, alone.replace(gpus=(rows[0].replace(name="alone"),)), {})

    def holds(gpu: Gpu) -> bool:
        space.ask = alone.replace(gpus=(gpu.replace(name="alone"),))
        return space.attempt(n_ctx, 0, "all").excess <= 0

    low, high = 0, len(rows)
    while low < high:  # the larger device holds what the smaller does
        middle = (low + high) // 2
        low, high = (low, middle) if holds(rows[middle]) else (middle + 1, high)
    return rows[low] if low < len(rows) else None
