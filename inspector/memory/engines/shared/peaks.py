"""Devices judged by the most that a run takes of them, its first pass included."""

from __future__ import annotations

from inspector.memory.estimate import Device, lowest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from inspector.memory.estimate import Gpu, Line


def devices_at_peak(lines: Sequence[Line], gpus: Iterable[Gpu]) -> tuple[Device, ...]:
    """Each device with the bytes of its lines, those of the peak where a line has one."""
    found = []
    for gpu in gpus:
        mine = [line for line in lines if line.device == gpu.name]
        used = sum(line.peak_nbytes or line.nbytes for line in mine)
        fits, low = used <= gpu.capacity, lowest(used, mine)
        found.append(Device(gpu.name, gpu.capacity, used, fits, backend=gpu.backend, unified=gpu.unified, low=low))
    return tuple(found)
