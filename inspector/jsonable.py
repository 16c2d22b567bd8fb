"""Any value of ours as JSON can carry it, however deep: what `Record.to_json()` and every `--json` are made of."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


def _escape_surrogate(char: str) -> str:
    code = ord(char)
    if not 0xD800 <= code <= 0xDFFF:
        return char
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def _every_field(record: Any) -> Mapping[str, Any]:
    return {f: getattr(record, f) for f in record._fields}


def jsonable(value: object, written: Callable[[Any], Mapping[str, Any]] = _every_field) -> object:
    """A value as JSON can carry it: records and mappings become objects, tuples and lists arrays.

    `written`: what of a record is written. Integers stay integers. Bytes that were not UTF-8 (surrogates of
    surrogateescape) are written `\\xNN`; numbers that JSON has no word for (NaN, infinities) become text. JSON's own
    \\u escapes keep control characters and bidi marks harmless, so text stays as it is otherwise. Raises TypeError for
    anything that no file and no estimate holds.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return value if value.isascii() else "".join(map(_escape_surrogate, value))
    if isinstance(value, float):
        return value if -1.8e308 < value < 1.8e308 else str(value)
    if isinstance(value, list | tuple):
        return [jsonable(v, written) for v in value]
    if hasattr(value, "_fields"):
        value = written(value)
    items = getattr(value, "items", None)
    if items is None:
        raise TypeError(f"a {type(value).__name__} is no value of JSON")
    return {str(jsonable(str(k))): jsonable(v, written) for k, v in items()}
