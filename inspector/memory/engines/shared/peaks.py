"""Devices judged by the most that a run takes of them, its first pass included."""

from __future__ import annotations

from inspector.memory.estimate import Device

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from inspector.memory.estimate import Gpu, Line


def devices_at_peak(lines: Sequence[Line], gpus: Iterable[Gpu]) -> tuple[Device, ...]:
    """Each device with the bytes of its lines, those of the peak where a line has one."""
    found = []
    for gpu in gpus:
        used = sum(line.peak_nbytes or line.nbytes for line in lines if line.device == gpu.name)
        found.append(
            Device(gpu.name, gpu.capacity, used, used <= gpu.capacity, backend=gpu.backend, unified=gpu.unified)
        )
    return tuple(found)
