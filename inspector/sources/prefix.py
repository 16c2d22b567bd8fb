"""A remote file read from its start, as far as its reader needs it: an append-only prefix, no byte fetched twice."""

from __future__ import annotations

from inspector.errors import LimitExceeded, NoRangeSupport
from inspector.sources import Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MAX_PREFIX: Final = 128 << 20
DEFAULT_FIRST: Final = 1 << 20
FAR: Final = 32 << 20  # what lies so far behind the prefix is fetched on its own
APART: Final = 256 << 10


class PrefixSource(Source):
    """What remote sources share: how far to read next. `first`: bytes of the first request. For one thread at a time.

    A sub-class sets `size` and fetches: `_fill` onto the prefix, `_fetch_apart` what lies far behind it.
    """

    remote = True

    def __init__(self, name: str, *, first: int) -> None:
        self.name = name
        self._first = first
        self._prefix = bytearray()
        self._expected = 0
        self._far = 0  # what lies from here on is read apart from the prefix
        self._apart = (0, b"")

    def expect(self, end: int) -> None:
        self._expected = end

    def leap(self, start: int, end: int) -> None:
        self._far = start if start - len(self._prefix) > 2 * APART else 0
        if not self._far:
            return
        try:
            self._apart = start, self._fetch_apart(start, min(end, self.size))
        except NoRangeSupport:  # then all that lies before it comes along
            self._far = 0

    def read_at(self, offset: int, length: int) -> bytes:
        return self.read_some(offset, length, length)

    def read_some(self, offset: int, least: int, most: int) -> bytes:
        end = min(offset + least, self.size)
        if offset - len(self._prefix) > FAR or offset >= self._far > 0:
            return self._read_apart(offset, end - offset, most)
        if end > MAX_PREFIX:
            raise LimitExceeded(f"{self.name}: headers of more than {MAX_PREFIX >> 20} MiB are not read remotely")
        if end > len(self._prefix):
            self._fill(min(self._goal(end), self.size, MAX_PREFIX))
        with memoryview(self._prefix) as view:
            return bytes(view[offset : min(offset + most, self.size)])

    def _goal(self, end: int) -> int:
        """How far to read now: what is needed, what is expected, or a quarter more than there is."""
        have = len(self._prefix)
        if not have:
            return max(end, self._first)
        if self._expected > have:
            return max(end, self._expected)
        return max(end, have + have // 4)

    def _fill(self, goal: int) -> None:
        """Has at least `goal` bytes (or the whole file), or raises SourceError."""
        raise NotImplementedError

    def _read_apart(self, offset: int, length: int, most: int) -> bytes:
        """Bytes far from the prefix, fetched on their own (with a few more, for the next read)."""
        start, data = self._apart
        if not start <= offset <= offset + length <= start + len(data):
            end = min(offset + max(length, APART), self.size)
            start, data = self._apart = offset, self._fetch_apart(offset, end) if end > offset else b""
        return data[offset - start : offset - start + max(length, most)]

    def _fetch_apart(self, start: int, end: int) -> bytes:
        """Exactly these bytes, which lie far from the prefix. Raises SourceError."""
        raise NotImplementedError
