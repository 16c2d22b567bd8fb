"""LZ4 frames, unpacked: joblib writes them (`compress="lz4"`), and Python has no module for them.

lz4_Frame_format.md 1.6.4 and lz4_Block_format.md. Checksums are not looked at: who loads the file does.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MAGIC: Final = b"\x04\x22\x4d\x18"
_WINDOW: Final = 1 << 16
_LARGEST: Final = {4: 64 << 10, 5: 256 << 10, 6: 1 << 20, 7: 4 << 20}


class Lz4Error(Exception):
    """The bytes are no frame, or a broken one."""


class Lz4:
    """A decoder like those of bz2 and lzma: `decompress(data, most)`, `eof`, `needs_input`, `unused_data`."""

    def __init__(self) -> None:
        self.unused_data = b""
        self._raw = bytearray()
        self._ready = bytearray()
        self._history = b""
        self._largest = self._behind = self._at_end = 0
        self._ended = False

    @property
    def eof(self) -> bool:
        """Whether the frame has ended and all of it was given out."""
        return self._ended and not self._ready

    @property
    def needs_input(self) -> bool:
        """Whether nothing is left to give out without more bytes."""
        return not self._ready

    def decompress(self, data: bytes, most: int) -> bytes:
        """Up to `most` bytes of what is packed. Raises Lz4Error."""
        self._raw += data
        while len(self._ready) < most and not self._ended and self._step():
            pass
        out = bytes(self._ready[:most])
        del self._ready[:most]
        return out

    def _step(self) -> bool:
        """Whether a further part of the frame was here whole."""
        return self._block() if self._largest else self._header()

    def _header(self) -> bool:
        raw = self._raw
        if len(raw) < 6:
            return False
        flags, size = raw[4], raw[5] >> 4 & 7
        n = 7 + (8 if flags & 8 else 0) + (4 if flags & 1 else 0)
        if raw[:4] != MAGIC or flags >> 6 != 1 or size not in _LARGEST:
            raise Lz4Error("no frame")
        if flags & 1:
            raise Lz4Error("a dictionary that is elsewhere")
        if len(raw) < n:
            return False
        self._behind, self._at_end = (4 if flags & 16 else 0), (4 if flags & 4 else 0)
        self._largest = _LARGEST[size]
        del raw[:n]
        return True

    def _block(self) -> bool:
        raw = self._raw
        if len(raw) < 4:
            return False
        n = int.from_bytes(raw[:4], "little")
        plain, n = n >> 31, n & 0x7FFFFFFF
        if not n:
            if len(raw) < 4 + self._at_end:
                return False
            self.unused_data, self._ended = bytes(raw[4 + self._at_end :]), True
            return True
        if n > self._largest:
            raise Lz4Error("a block longer than blocks may be")
        if len(raw) < 4 + n + self._behind:
            return False
        body = bytes(raw[4 : 4 + n])
        out = body if plain else unpack_block(body, self._history, self._largest)
        self._history = (self._history + out)[-_WINDOW:]
        self._ready += out
        del raw[: 4 + n + self._behind]
        return True


def unpack_block(raw: bytes, history: bytes, most: int) -> bytes:
    """What a block holds; `history`: what stands before it, at most 64 KiB; `most` bytes. Raises Lz4Error."""
    out, before = bytearray(history), len(history)
    i, end = 0, len(raw)
    try:
        while True:
            token = raw[i]
            n, i = _length(raw, i + 1, token >> 4)
            out += raw[i : i + n]
            i += n
            if i >= end:
                break
            back = raw[i] | raw[i + 1] << 8
            n, i = _length(raw, i + 2, token & 15)
            _again(out, back, n + 4)
            if len(out) - before > most:
                raise Lz4Error("a block that unpacks to more than blocks may")
    except IndexError:
        raise Lz4Error("a block that breaks off") from None
    if i > end:
        raise Lz4Error("a block that breaks off")
    return bytes(out[before:])


def _length(raw: bytes, i: int, n: int) -> tuple[int, int]:
    """A length that begins in a token, and where what follows it stands."""
    if n < 15:
        return n, i
    while True:
        more = raw[i]
        i += 1
        n += more
        if more < 255:
            return n, i


def _again(out: bytearray, back: int, n: int) -> None:
    """Writes `n` bytes once more that stand `back` bytes before the end, which may be fewer."""
    start = len(out) - back
    if start < 0 or not back:
        raise Lz4Error("a match before the beginning")
    if back >= n:
        out += out[start : start + n]
    else:
        out += (out[start:] * (n // back + 1))[:n]
