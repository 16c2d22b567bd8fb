"""JSON from strangers: decoded strictly, bounded before it is built, every failure one named error.

Python's own scanner does the work and its leniency is taken back: what `json.loads(bytes)` accepts beyond RFC 8259
(a byte order mark, UTF-16, NaN, lone surrogates, numbers without end) is refused where the caller asks for it.
The C scanner is used without the `json` package around it: that package imports `re` and costs more than a header.
"""

from __future__ import annotations

from inspector.errors import FormatError, LimitExceeded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

SPACE: Final = " \t\n\r"
# serde_json refuses the 128th open bracket; no honest document comes near.
MAX_DEPTH: Final = 127
# Python objects that a text may grow to; below _SMALL even the densest text cannot grow far.
_MEMORY_BUDGET: Final = 128 << 20
_SMALL: Final = 1 << 20


class JsonError(FormatError):
    """Not the JSON it should be. `code` is stable: not-utf8, byte-order-mark, not-json, trailing-text,
    json-constant, big-number, nesting, lone-surrogate.
    """

    def __init__(self, code: str, what: str, offset: int | None = None) -> None:
        super().__init__(what, offset)
        self.code = code


class Pairs:
    """An object as it was written: every key in order, repeated ones included."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs


_LOOKED_AT: Final = frozenset({str, list, Pairs})


def exact_int(digits: str) -> int | float:
    """A whole number; `-0` becomes the float -0.0 and over-long ones are refused, as serde_json has it."""
    if digits == "-0":
        return -0.0
    if len(digits) > 309:
        raise JsonError("big-number", f"a number of {len(digits):,} digits")
    return int(digits)


def finite_float(digits: str) -> float:
    """A fraction; one too large for a double is refused."""
    value = float(digits)
    if value - value != 0.0:  # infinite
        raise JsonError("big-number", f"a number out of range: {digits[:40]}")
    return value


def _refuse_constant(name: str) -> float:
    raise JsonError("json-constant", f"{name}, which JSON does not have")


class _Context:
    """What the C scanner asks a decoder for."""

    strict = True
    object_hook = None
    object_pairs_hook: Any
    parse_int: Any
    parse_float: Any
    parse_constant: Any


def _scanner(
    pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None,
    parse_int: Callable[[str], Any],
    parse_float: Callable[[str], Any],
    parse_constant: Callable[[str], Any],
) -> Callable[[str, int], tuple[Any, int]]:
    context: Any
    try:
        from _json import make_scanner
    except ImportError:  # an interpreter without the C accelerator
        from json import JSONDecoder

        context = JSONDecoder(
            object_pairs_hook=pairs_hook, parse_int=parse_int, parse_float=parse_float, parse_constant=parse_constant
        )
        return context.scan_once  # type: ignore[no-any-return]

    context = _Context()
    context.object_pairs_hook = pairs_hook
    context.parse_int, context.parse_float, context.parse_constant = parse_int, parse_float, parse_constant
    return make_scanner(context)


def _run(scan_once: Callable[[str, int], tuple[Any, int]], text: str, start: int) -> tuple[Any, int]:
    try:
        return scan_once(text, start)
    except SystemError:  # CPython 3.10 and 3.11 look for the exception class in sys.modules and do not import it
        import json.decoder  # noqa: F401

        return scan_once(text, start)


def decode(raw: bytes, *, base: int = 0) -> str:
    """The text, from UTF-8 and nothing else. `base`: where `raw` starts in its file. Raises JsonError."""
    if raw.startswith(b"\xef\xbb\xbf"):
        raise JsonError("byte-order-mark", "a byte order mark before the JSON", base)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JsonError("not-utf8", "not UTF-8", base + error.start) from None
    if text[:1] == "\0" or text[1:2] == "\0":
        raise JsonError("not-utf8", "UTF-16 or UTF-32, not UTF-8", base)
    return text


def check_budget(text: str) -> None:
    """Refuse a text that would grow to far more memory than its length, by counting. Raises LimitExceeded.

    88 bytes a list or dict, 80 a string, 36 a number: what CPython takes.
    """
    if len(text) <= _SMALL:
        return
    grown = 88 * (text.count("[") + text.count("{")) + 40 * text.count('"') + 36 * text.count(",")
    if grown > _MEMORY_BUDGET:
        raise LimitExceeded(f"{len(text):,} bytes of JSON too dense to be a description: {grown:,} bytes of objects")


def _offset(text: str, position: object, base: int) -> int | None:
    return base + len(text[:position].encode()) if isinstance(position, int) else None


def scan(
    text: str,
    *,
    base: int = 0,
    pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None,
    parse_int: Callable[[str], Any] = int,
    parse_float: Callable[[str], Any] = finite_float,
    parse_constant: Callable[[str], Any] = _refuse_constant,
) -> Any:
    """The one value that `text` holds, white space around it allowed. Raises JsonError and LimitExceeded."""
    check_budget(text)
    start = len(text) - len(text.lstrip(SPACE))
    try:
        value, end = _run(_scanner(pairs_hook, parse_int, parse_float, parse_constant), text, start)
    except StopIteration as stop:
        raise JsonError("not-json", "not JSON: a value was expected", _offset(text, stop.value, base)) from None
    except RecursionError:
        raise JsonError("nesting", "JSON nested too deeply") from None
    except ValueError as error:
        position = getattr(error, "pos", None)
        if position is None:  # the interpreter's own limit on digits
            raise JsonError("big-number", "a number with too many digits") from None
        reason = str(getattr(error, "msg", "malformed")).lower()
        raise JsonError("not-json", f"not JSON: {reason}", _offset(text, position, base)) from None
    if text[end:].strip(SPACE):
        raise JsonError("trailing-text", "text after the end of the JSON object", _offset(text, end, base))
    return value


def _check_string(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise JsonError("lone-surrogate", "half of a surrogate pair in a string") from None


def _worth_a_look(value: Any) -> list[Any]:
    """The strings and containers directly in a container; numbers, judged already, may be millions."""
    if type(value) is Pairs:
        for key, _ in value.pairs:
            _check_string(key)
        return [child for _, child in value.pairs if type(child) in _LOOKED_AT]
    return [child for child in value if type(child) in _LOOKED_AT]


def check_tree(root: Any) -> None:
    """Depth and strings of a tree scanned with `Pairs`, without recursion. Raises JsonError."""
    level: list[Any] = [root]
    depth = 0
    while level:
        containers = [value for value in level if type(value) is Pairs or type(value) is list]
        for value in level:
            if type(value) is str:
                _check_string(value)
        depth += bool(containers)
        if depth > MAX_DEPTH:
            raise JsonError("nesting", f"JSON nested more than {MAX_DEPTH} deep")
        level = [child for value in containers for child in _worth_a_look(value)]
