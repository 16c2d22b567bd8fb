"""Leaving out layers that repeat: the allocator's state after each of them is the same.

A layer frees all that it allocates but its output, so after a few repetitions each finds the free blocks that the one
before it, or the one before that, found; none reaches higher. Tests compare with the whole graph.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

LONGEST = 12  # layers in one period at most
# Periods kept of a run, one more where it is odd: outputs may alternate between two places. With 4, 3 of 1,000 settings
# of real models differ from the whole graph; with 8 none.
KEPT = 8


def representative(kinds: Sequence[Hashable]) -> list[int]:
    """Indices of the layers to keep, where equal kinds mean equal layers."""
    numbers: dict[Hashable, int] = {}
    seq = [numbers.setdefault(kind, len(numbers)) for kind in kinds]
    kept: list[int] = []
    at, n = 0, len(seq)
    while at < n:
        for period in range(1, LONGEST + 1):
            end = at + period
            while end < n and seq[end] == seq[end - period]:
                end += 1
            times = (end - at) // period
            keep = KEPT + times % 2
            if times > keep:
                head = at + (keep - 1) * period
                tail = at + (times - 1) * period
                kept += [*range(at, head), *range(tail, tail + period)]
                at += times * period
                break
        else:
            kept.append(at)
            at += 1
    return kept
