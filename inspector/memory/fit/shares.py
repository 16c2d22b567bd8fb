"""Sharing consecutive layers among devices."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def balanced(costs: Sequence[int], rooms: Sequence[int]) -> list[int] | None:
    """Counts of consecutive layers a device, the smallest room left as large as can be; None where they do not fit."""

    def fill(left: int) -> list[int] | None:
        at, counts = 0, []
        for room in rooms:
            n = total = 0
            while at + n < len(costs) and total + costs[at + n] <= room - left:
                total += costs[at + n]
                n += 1
            counts.append(n)
            at += n
        return counts if at == len(costs) else None

    best = fill(0)
    if best is None:
        return None
    low, high = 0, max(0, *rooms)
    while high - low > 1 << 16:  # to 64 KiB: a device's room is not known better
        middle = (low + high) // 2
        found = fill(middle)
        if found is None:
            high = middle
        else:
            best, low = found, middle
    return best
