"""How many tokens' rows the caches of mlx-lm 0.32.2 hold: models/cache.py, fed as generate.py feeds them.

All but the last token of a prompt come in steps of `--prefill-step-size`; everything after them, one by one.
"""

from __future__ import annotations

from inspector.errors import WorkloadError
from inspector.record import Record
from inspector.units import pad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

STEP: Final = 256  # KVCache.step, RotatingKVCache.step, ChunkedKVCache.step
_MOST_ODD: Final = 1 << 27  # tokens that uneven steps are followed over, one allocation at a time


class Fed(Record):
    """What a sequence is: `tokens` in all, of which `prompt` (1 or more) are prefilled, `step` at a time."""

    tokens: int
    prompt: int
    step: int

    @property
    def steps(self) -> tuple[tuple[int, int], ...]:
        """(tokens of a pass, passes of that size), in order."""
        whole, rest = divmod(max(self.prompt, 1) - 1, self.step)
        ones = self.tokens - max(self.prompt, 1) + 1
        return tuple((size, n) for size, n in ((self.step, whole), (rest, 1), (1, ones)) if size and n)

    @property
    def largest(self) -> int:
        """Tokens of the largest pass."""
        return max((size for size, _ in self.steps), default=0)


def _grown(held: int, filled: int, *, size: int, n: int) -> int:
    """Rows held after `n` more passes of `size` tokens (KVCache.update_and_fetch).

    It grows by whole steps of 256, and is cut to what is filled before that, but where that is whole steps.
    """
    room = pad(size, STEP)
    while n:
        fitting = min((held - filled) // size, n)
        filled, n = filled + fitting * size, n - fitting
        if not n:
            break
        held = filled if filled % STEP else held
        if held == filled and room % size == 0:  # every further step is used up before the next
            return held + pad(n * size, room)
        held += room
    return held


def plain(fed: Fed) -> int:
    """Rows of a KVCache. Raises WorkloadError for steps that are followed one by one, over too many tokens."""
    if fed.tokens > _MOST_ODD and fed.step % STEP:
        raise WorkloadError(
            f"{fed.tokens:,} tokens in steps of {fed.step:,} are not followed", hint="--prefill-step-size 2048"
        )
    held = filled = 0
    for size, n in fed.steps:
        held = _grown(held, filled, size=size, n=n)
        filled += size * n
    return held


def rotating(fed: Fed, window: int) -> tuple[int, int]:
    """Rows of a RotatingKVCache: (in the end, at its largest).

    A pass of many tokens is appended to the window less one; a single token grows it by 256 up to the window.
    """
    held = most = ones = 0
    for size, n in fed.steps:
        if size == 1:
            ones += n
            continue
        held = min(held + (n - 1) * size, window - 1) + size
        most = max(most, held)
    if ones:
        held = window if held >= window else min(held + pad(ones, STEP), window)
    return held, max(most, held)


def chunked(fed: Fed, chunk: int) -> tuple[int, int]:
    """Rows of a ChunkedKVCache (Llama 4): (in the end, at its largest).

    Past a chunk it is cut to that before it grows.
    """
    if fed.tokens <= chunk + 1:
        rows = plain(fed)
        return rows, rows
    most = filled = 0
    for size, n in fed.steps:
        before = min(filled + (n - 1) * size, chunk)
        most, filled = max(most, before + pad(size, STEP)), filled + n * size
    return chunk + STEP, most
