"""Text from a file, made harmless: no control character, escape or bidi mark of its reaches a terminal."""

from __future__ import annotations

MAX_TEXT = 64 << 10


def _escape_char(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8, kept by surrogateescape
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")


def escape(text: str) -> str:
    """The text with everything unprintable as `\\xNN` or `\\uNNNN`; at most 64 KiB of it."""
    if len(text) > MAX_TEXT:
        text = text[:MAX_TEXT] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape_char(c) for c in text)
