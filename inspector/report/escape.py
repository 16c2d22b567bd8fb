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


def plain(value: object) -> object:
    """A value as JSON can carry it: records become objects, bytes that are not text are escaped.

    JSON's own \\u escapes keep control characters and bidi marks harmless, so text stays as it is otherwise.
    """
    if isinstance(value, str):
        return (
            value if value.isascii() else "".join(_escape_char(c) if 0xD800 <= ord(c) <= 0xDFFF else c for c in value)
        )
    if isinstance(value, float) and not -1.8e308 < value < 1.8e308:
        return str(value)  # JSON has no word for these
    if isinstance(value, dict) or hasattr(value, "items"):
        return {str(plain(str(k))): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    fields = getattr(value, "_fields", None)
    if fields is not None:
        return {f: plain(getattr(value, f)) for f in fields}
    return value
