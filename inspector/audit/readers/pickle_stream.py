"""The bytes that a pickle's instructions are read from: a window at a time, so that weights are never held."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

WINDOW: Final = 1 << 16


class EndOfStream(Exception):
    """The stream ended within an instruction."""


class Reader:
    """Bytes in order, from `read_at(offset, length)`, a window at a time; payloads are stepped over."""

    def __init__(self, read_at: Callable[[int, int], bytes], size: int) -> None:
        self.read_at = read_at
        self.size = size
        self.start = 0
        self.pos = 0
        self.buf = b""

    @property
    def offset(self) -> int:
        return self.start + self.pos

    def fill(self, n: int) -> bool:
        """Whether `n` bytes stand at the current place."""
        if self.pos + n <= len(self.buf):
            return True
        self.start += self.pos
        self.pos = 0
        wanted = min(max(n, WINDOW), self.size - self.start)
        self.buf = self.read_at(self.start, wanted) if wanted > 0 else b""
        return n <= len(self.buf)

    def peek(self, n: int) -> bytes:
        """Up to `n` bytes from the current place, which stays."""
        self.fill(n)
        return self.buf[self.pos : self.pos + n]

    def take(self, n: int) -> bytes:
        end = self.pos + n
        out = self.buf[self.pos : end]
        if len(out) < n:
            if not self.fill(n):
                raise EndOfStream
            end = self.pos + n
            out = self.buf[self.pos : end]
        self.pos = end
        return out

    def skip(self, n: int) -> None:
        if self.offset + n > self.size:
            raise EndOfStream
        self.pos += n
        if self.pos > len(self.buf):
            self.start += self.pos
            self.pos = 0
            self.buf = b""

    def line(self) -> bytes:
        """Up to the next line feed; one beyond 64 KiB is no argument of anything."""
        end = self.buf.find(b"\n", self.pos)
        if end < 0:
            self.fill(min(1 << 16, max(self.size - self.offset, 1)))
            end = self.buf.find(b"\n", self.pos, self.pos + (1 << 16))
            if end < 0:
                raise EndOfStream
        out = self.buf[self.pos : end]
        self.pos = end + 1
        return out
