"""The header of a NumPy array, read as NumPy reads it, and whether the array holds Python objects.

numpy/lib/_format_impl.py, 2.4: a Python literal of three keys; numpy.dtype takes many spellings of one type, so that
only what is known to be plain numbers or text counts as such.
"""

from __future__ import annotations

import ast
import re
import warnings

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from inspector.sources import Source

MAGIC: Final = b"\x93NUMPY"
MAX_HEADER: Final = 1 << 16  # NumPy itself refuses 10,000 without allow_pickle
_NUMBERS: Final = re.compile(r"[<>|=]?(?:[?bBhHiIlLqQpPnNuefdgFDGSUaVc]\d{0,9}|[mM]8(?:\[\w{0,20}(?:/\d+)?\])?)")
_WORDS: Final = """
    bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 float128 complex64 complex128
    complex256 bool_ int_ float_ str bytes void bfloat16 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz
    float8_e4m3b11fnuz float8_e8m0fnu float8_e3m4 float8_e4m3 float6_e2m3fn float6_e3m2fn float4_e2m1fn int4 uint4
    int2 uint2 int1 uint1
    """
_NAMES: Final = frozenset(_WORDS.split())


class ArrayHeader(Record):
    """Where the data begin, whether they are objects, and why the header cannot be read ("" where it can)."""

    start: int
    objects: bool
    problem: str = ""


def _is_shape(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, tuple) and all(isinstance(d, int) for d in value))


def _is_plain(descr: Any, depth: int = 0) -> bool:
    """Whether a type's description is of numbers, texts or raw bytes only."""
    if depth > 16:
        return False
    if isinstance(descr, str):
        return descr in _NAMES or _NUMBERS.fullmatch(descr) is not None
    if isinstance(descr, tuple):  # a subarray: (type, shape)
        # NumPy takes any second part that numpy.dtype((first, second)) does: fields as well
        return len(descr) == 2 and _is_shape(descr[1]) and _is_plain(descr[0], depth + 1)
    if isinstance(descr, list):  # fields: (name, type) or (name, type, shape); a name may be (title, name)
        return all(
            isinstance(f, tuple) and len(f) in (2, 3) and _is_plain(f[1], depth + 1) for f in descr[: MAX_HEADER // 8]
        )
    return False


def read_header(source: Source) -> ArrayHeader:
    """The header of an array that begins with NumPy's magic. Raises SourceError."""
    head = source.read_at(0, 12)
    wide = head[6:7] > b"\1"
    start = 12 if wide else 10
    n = int.from_bytes(head[8:start], "little")
    if head[6:7] not in (b"\1", b"\2", b"\3") or n > MAX_HEADER:
        return ArrayHeader(start, objects=True, problem="a NumPy header of no known version, or longer than any is")
    raw = source.read_at(start, n)
    if len(raw) < n:
        return ArrayHeader(start, objects=True, problem="a NumPy array that breaks off within its header")
    text = raw.decode("utf-8" if head[6:7] == b"\3" else "latin-1", "replace")
    value = _literal(text)
    if not isinstance(value, dict) or value.keys() != {"descr", "fortran_order", "shape"}:
        return ArrayHeader(start + n, objects=True, problem="a NumPy header that is not the three keys it should be")
    return ArrayHeader(start + n, objects=not _is_plain(value["descr"]))


def _literal(text: str) -> Any:
    """A Python literal, or None; Python 2 wrote its long numbers with an L."""
    for words in (text.strip(), re.sub(r"(?<=\d)L\b", "", text.strip())):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of escapes that Python does not know
                return ast.literal_eval(words)
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            continue
    return None
