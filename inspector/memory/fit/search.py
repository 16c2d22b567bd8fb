"""Finding the last number that fits, in few tries: what memory takes grows in step with contexts and layers."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

HOPELESS = 1 << 62  # the excess of what an engine refuses


def last_fit(low: int, high: int, excess: Callable[[int], int]) -> int | None:
    """The largest n in low..high whose excess (bytes over the limit) is not above 0; None where `low` has some.

    `excess` must not fall from positive to 0 as n grows. Tries where a straight line between the known ends meets 0,
    and next to the last try, so that what grows evenly takes three or four tries; never more than halving twice over.
    """
    if low > high:
        return None
    over_high = excess(high)
    if over_high <= 0:
        return high
    over_low = excess(low)
    if over_low > 0:
        return None
    halve = over_high >= HOPELESS
    while high - low > 1:
        middle = (low + high) // 2 if halve else low + (high - low) * -over_low // (over_high - over_low)
        middle = min(max(middle, low + 1), high - 1)
        over, width = excess(middle), high - low
        if over <= 0:
            low, over_low = middle, over
        else:
            high, over_high = middle, over
        # a line that moved one end only a little is right: look beside it; one that did not help at all is not
        if high - low > 1:
            beside = low + 1 if over <= 0 else high - 1
            next_over = excess(beside)
            if next_over <= 0:
                low, over_low = beside, next_over
            else:
                high, over_high = beside, next_over
        halve = (high - low) * 2 > width or over_high >= HOPELESS
    return low
