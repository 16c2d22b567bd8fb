"""Walking past a vocabulary of a quarter of a million strings without building one of them.

Two ways that give the same answer. The loop unpacks one length after the other. The pattern (possessive, so nothing
is ever tried twice) swallows 128 short strings at a time and costs a millisecond to compile; what it does not match
goes through the loop.
"""

from __future__ import annotations

import struct
import sys

from inspector.formats._cursor import Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

    from inspector.formats._cursor import Cursor

# Break-even: 15 to 40 ns saved a string, against 1.5 ms of compiling and, cold, 6 ms of `import re`.
# Counted over all files that a process reads: who has passed so many will pass more.
PATTERN_MIN, PATTERN_MIN_COLD = 150_000, 250_000
BLOCK = 128
# Vocabularies and merges have mostly short words: the commonest lengths are tried first.
_LENGTHS = (6, 7, 8, 5, 9, 10, 4, 11, 12, 3, 13, 14, 2, 15, 16, 1, *range(17, 128), 0)
_FEW = 4  # bytes that are passed one by one in less time than they are counted
# A guess for remote sources: length word and bytes of an average token.
STRING_NBYTES = 17

# llama.cpp takes no string beyond this (gguf.cpp, GGUF_MAX_STRING_LENGTH).
MAX_STRING = 1 << 30

_compiled: list[re.Pattern[bytes]] = []
_passed = [0]  # strings, by this process


def _pattern() -> re.Pattern[bytes]:
    """Exactly 128 strings of up to 127 bytes, each as its 64-bit little-endian length and its bytes."""
    if not _compiled:
        import re

        # raw bytes compile faster than escapes
        words = (re.escape(bytes((n,))) + b"\0" * 7 + (b".{%d}+" % n if n > _FEW else b"." * n) for n in _LENGTHS)
        _compiled.append(re.compile(b"(?:%s){%d}+" % (b"|".join(words), BLOCK), re.DOTALL))
    return _compiled[0]


def _use_pattern(n: int, order: str) -> bool:
    """Possessive quantifiers came with Python 3.11; big-endian files are too rare for a second pattern."""
    if order != "<" or sys.version_info < (3, 11):
        return False
    _passed[0] += n
    return bool(_compiled) or _passed[0] >= (PATTERN_MIN if "re" in sys.modules else PATTERN_MIN_COLD)


def check_length(cursor: Cursor, n: int, start: int) -> None:
    """Stop at a string of `n` bytes that the file has no room for; `start` is where its length stands."""
    if n <= min(cursor.remaining, MAX_STRING):
        return
    what = f"a string of {n:,} bytes, {cursor.remaining:,} bytes before the end of the file"
    raise Stop("string-too-long" if n > MAX_STRING else "truncated-header", what, start)


class _Ahead:
    """Where an array of strings will end, for sources that size their next request by it.

    Vocabularies and merges go from short to long: bytes passed grow as a power of strings passed, which the last half
    or more of them shows. `after`: bytes that are known to follow; `again`: and another array of about the same size;
    `last`: there has been one already.
    """

    __slots__ = ("after", "again", "last", "mark", "older", "start", "total")

    def __init__(self, start: int, total: int, *, after: int, again: bool, last: bool) -> None:
        self.start = start
        self.total = total
        self.after = after
        self.again = again
        self.last = last
        self.older = self.mark = 0, 0  # strings and bytes passed

    def end(self, offset: int, left: int) -> int:
        n, nbytes = self.total - left, offset - self.start
        if n >= 2 * self.mark[0]:
            self.older, self.mark = self.mark, (n, nbytes)
        rest = self._rest(n, nbytes)
        # An underestimate costs one more request, an overestimate as many bytes: more is risked for what comes last.
        end = offset + rest + rest // (20 if self.last else 100)
        return end + self.after + (end - self.start if self.again else 0)

    def _rest(self, n: int, nbytes: int) -> int:
        from math import log

        n_old, nbytes_old = self.older
        if n < 1000:
            return STRING_NBYTES * (self.total - n)
        power = log(nbytes / nbytes_old) / log(n / n_old) if n_old else 1.0
        return int(nbytes * ((self.total / n) ** min(max(power, 1.0), 1.25) - 1))


def _skip_one(cursor: Cursor, left: int, ahead: _Ahead) -> None:
    """One string, wherever it lies and whatever it claims."""
    if cursor.pos + 8 > len(cursor.buf) and cursor.source.remote:
        cursor.source.expect(min(ahead.end(cursor.offset, left), cursor.size))
    start = cursor.offset
    n = cursor.next_u64()
    check_length(cursor, n, start)
    cursor.pos += n


def _skip_by_loop(cursor: Cursor, n: int) -> int:
    """Strings that lie whole within the buffer, eights first; returns how many of `n` are left."""
    u64, buf, pos = cursor.u64, cursor.buf, cursor.pos
    start = pos
    try:
        while n >= 8:
            pos += u64(buf, pos)[0] + 8
            pos += u64(buf, pos)[0] + 8
            pos += u64(buf, pos)[0] + 8
            pos += u64(buf, pos)[0] + 8
            pos += u64(buf, pos)[0] + 8
            pos += u64(buf, pos)[0] + 8
            pos += u64(buf, pos)[0] + 8
            pos += u64(buf, pos)[0] + 8
            if pos > len(buf):
                break
            start = pos
            n -= 8
    except (struct.error, OverflowError):  # the buffer's end, or a length that is not one
        pass
    pos = start
    while n and pos + 8 <= len(buf):
        pos += u64(buf, pos)[0] + 8
        if pos > len(buf):
            break
        start = pos
        n -= 1
    cursor.pos = start
    return n


def _skip_by_pattern(cursor: Cursor, n: int) -> int:
    """Whole blocks of short strings within the buffer, until one does not match."""
    match, buf, pos = _pattern().match, cursor.buf, cursor.pos
    while n >= BLOCK and (found := match(buf, pos)):
        pos = found.end()
        n -= BLOCK
    cursor.pos = pos
    return n


def skip_strings(cursor: Cursor, n: int, *, after: int = 0, again: bool = False, last: bool = False) -> None:
    """Put the cursor behind `n` strings. Raises Stop where one of them claims more than the file has.

    For the hint to remote sources, see `_Ahead`: `after` bytes will be wanted behind them, and `again` as many strings.
    """
    ahead = _Ahead(cursor.offset, n, after=after, again=again, last=last)
    by_pattern = _use_pattern(n, cursor.order)
    while n:
        if by_pattern:
            n = _skip_by_pattern(cursor, n)
            # what stopped the pattern is within the next block, or the buffer ends
            few = min(n, BLOCK)
            left = _skip_by_loop(cursor, few)
            n -= few - left
        else:
            n = left = _skip_by_loop(cursor, n)
        if left:
            _skip_one(cursor, n, ahead)
            n -= 1
