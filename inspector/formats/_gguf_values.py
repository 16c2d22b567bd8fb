"""GGUF metadata values: scalars and short arrays as Python values, long ones counted and passed over."""

from __future__ import annotations

import struct

from inspector.formats._cursor import Cursor, Stop
from inspector.formats._strings import STRING_NBYTES, check_length, skip_strings
from inspector.formats.modelfile import Defect, LongArray

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# What is kept of a value. Per-layer arrays must be whole: no model has 4,096 layers.
KEEP_NUMBERS, KEEP_STRINGS, HEAD, KEEP_TEXT = 4096, 64, 8, 1 << 20
# What is refused, so that no file of any size costs seconds or more than 300 MB: a hundred times the largest seen.
MAX_STRINGS, MAX_NESTED, MAX_DEPTH = 1 << 23, 1 << 16, 8
MAX_KEPT, MAX_KEY_BYTES = 128 << 20, 4 << 20  # bytes of Python objects; of keys in the file
MAX_ELEMENTS = 1 << 30  # gguf.cpp, GGUF_MAX_ARRAY_ELEMENTS
PER_CODE = 64  # defects of one kind that are listed

_STR, _ARR = 8, 9
# type number: name, struct code, bytes
_SCALARS = {
    0: ("u8", "B", 1), 1: ("i8", "b", 1), 2: ("u16", "H", 2), 3: ("i16", "h", 2), 4: ("u32", "I", 4),
    5: ("i32", "i", 4), 6: ("f32", "f", 4), 7: ("bool", "B", 1),
    10: ("u64", "Q", 8), 11: ("i64", "q", 8), 12: ("f64", "d", 8),
}  # fmt: skip
SCALAR_NAMES = {name: (code, size) for name, code, size in _SCALARS.values()}
SCALAR_NUMBERS = {row[0]: number for number, row in _SCALARS.items()}


# What convert_hf_to_gguf.py (gguf-py/gguf/vocab.py) writes behind the tokens, by tokenizer.ggml.model: bytes a token,
# and whether merges follow: as many as tokens or more, each as long as the token that it makes. Types take 4 bytes,
# scores 4 more.
_BEHIND_TOKENS = {"gpt2": (4, True), "bert": (4, False)}
_BEHIND_UNKNOWN = (8, False)

# What to do about a defect, where there is something to do.
HINTS = {
    "unsupported-version": "convert the model again with a current convert_hf_to_gguf.py",
    "truncated-header": "the file looks cut short: download it again",
    "bad-count": "the file looks cut short: download it again",
    "removed-dtype": "quantise the model again with a current llama-quantize",
}


def quote(name: str) -> str:
    """A name from the file, made safe for one line of text."""
    return repr(name if len(name) <= 80 else name[:77] + "…")


class _Frame:
    """One open level of an array of arrays."""

    __slots__ = ("kept", "left", "start", "total")

    def __init__(self, total: int, start: int) -> None:
        self.total = self.left = total
        self.start = start
        self.kept: list[Any] = []

    def adopt(self, value: Any) -> None:
        if self.total <= KEEP_STRINGS or len(self.kept) < HEAD:
            self.kept.append(value)

    def close(self, end: int) -> tuple[Any, ...] | LongArray:
        if self.total <= KEEP_STRINGS:
            return tuple(self.kept)
        return LongArray("arr", self.total, self.start, end - self.start, tuple(self.kept))


class Values:
    """Reads what a cursor stands before, and notes what is wrong with it."""

    def __init__(self, cursor: Cursor, *, strict: bool) -> None:
        self.cursor = cursor
        self.strict = strict
        self.defects: list[Defect] = []
        self.n_defects: dict[str, int] = {}
        self.kept = 0
        self.n_key_bytes = 0
        self.n_strings = 0
        self.n_nested = 0
        self.metadata: dict[str, Any] = {}  # what has been read so far, and bytes that will follow all of it: both
        self.tail = 0  # only for hints to remote sources
        self.set_order()

    def set_order(self) -> None:
        """Take the byte order that the cursor has by now."""
        self.i32 = struct.Struct(self.cursor.order + "i")
        self.array_head = struct.Struct(self.cursor.order + "iQ")

    def report(self, code: str, what: str, offset: int | None = None, *, where: str = "") -> None:
        """Note a defect and go on; a strict reader raises the fatal ones."""
        from inspector.formats._gguf_defects import GGUF_DEFECTS

        kind = GGUF_DEFECTS[code]
        if self.strict and kind.raises is not None:
            raise kind.raises(f"{quote(where)}: {what}" if where else what, offset, hint=HINTS.get(code))
        n = self.n_defects[code] = self.n_defects.get(code, 0) + 1
        if n <= PER_CODE:
            self.defects.append(Defect(code, what, offset, where, fatal=kind.severity == "error"))

    def all_defects(self) -> tuple[Defect, ...]:
        """What was noted, and how much more of each kind there was."""
        more = (
            Defect(
                code, f"{n - PER_CODE:,} more like these", fatal=any(d.fatal for d in self.defects if d.code == code)
            )
            for code, n in self.n_defects.items()
            if n > PER_CODE
        )
        return (*self.defects, *more)

    def keep(self, nbytes: int) -> bool:
        """Whether there is room for that many more bytes of Python objects."""
        if self.kept + nbytes > MAX_KEPT:
            return False
        self.kept += nbytes
        return True

    def key(self) -> str:
        """A metadata key."""
        cursor = self.cursor
        start = cursor.offset
        n = cursor.next_u64()
        check_length(cursor, n, start)
        self.n_key_bytes += n
        if self.n_key_bytes > MAX_KEY_BYTES:
            raise Stop("key-too-long", f"keys of more than {MAX_KEY_BYTES >> 20} MiB", start)
        raw = cursor.take(n)
        key = raw.decode("utf-8", "surrogateescape")
        if not n:
            self.report("empty-key", "a key without a name", start)
        elif not key.isprintable():
            self.report("odd-key", "control characters or bytes that are not UTF-8 in a key", start, where=key)
        if n > 0xFFFF:
            self.report("long-key", f"a key of {n:,} bytes; the format allows 65,535", start, where=key)
        return key

    def value(self, where: str) -> tuple[Any, str]:
        """The value that follows and the name of its type."""
        kind = self.cursor.unpack(self.i32)[0]
        if kind == _STR:
            return self.text(where), "str"
        if kind != _ARR:
            name, code, size = self.scalar_type(kind, where)
            number = self.numbers(code, size, 1)[0]
            return (self.truth(number, where) if kind == 7 else number), name
        elem, n = self.cursor.unpack(self.array_head)
        if elem == _ARR:
            return self.nested(n, where), "arr[arr]"
        name = "str" if elem == _STR else self.scalar_type(elem, where)[0]
        return self.array(elem, n, where), f"arr[{name}]"

    def scalar_type(self, kind: int, where: str) -> tuple[str, str, int]:
        if kind not in _SCALARS:
            raise Stop("bad-value-type", f"value type {kind} does not exist", self.cursor.offset - 4, where=where)
        return _SCALARS[kind]

    def numbers(self, code: str, size: int, n: int) -> tuple[Any, ...]:
        cursor = self.cursor
        return struct.unpack(f"{cursor.order}{n}{code}", cursor.take(n * size))

    def truth(self, byte: int, where: str) -> bool:
        if byte > 1:
            self.report("bad-bool", f"a truth value stored as {byte}", self.cursor.offset - 1, where=where)
        return byte != 0

    def text(self, where: str) -> str | LongArray:
        """A string; one beyond a mebibyte is counted and its beginning kept."""
        cursor = self.cursor
        start = cursor.offset
        n = cursor.next_u64()
        check_length(cursor, n, start)
        if n > KEEP_TEXT or not self.keep(4 * n + 100):
            head = cursor.take(min(n, 256)).decode("utf-8", "replace")
            cursor.pos += n - min(n, 256)
            return LongArray("char", n, start + 8, n, (head,))
        raw = cursor.take(n)
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            self.report("not-utf8", "not UTF-8 text", start + 8 + error.start, where=where)
            return raw.decode("utf-8", "surrogateescape")

    def array(self, elem: int, n: int, where: str) -> tuple[Any, ...] | LongArray:
        """An array of strings or numbers: whole when short, else its place, its length and the first few."""
        if n > MAX_ELEMENTS:
            what = f"an array of {n:,} elements"
            raise Stop("array-too-long", what, self.cursor.offset - 8, where=where)
        return self.strings(n, where) if elem == _STR else self.scalars(elem, n, where)

    def room(self, n: int, size: int, where: str) -> None:
        """Stop at an array that the rest of the file cannot hold."""
        cursor = self.cursor
        if n * size > cursor.remaining:
            what = f"an array of {n:,} elements needs {n * size:,} bytes or more; {cursor.remaining:,} are left"
            # what is left after a download that broke off is an honest length; what bit rot makes is mostly huge
            raise Stop(
                "truncated-header" if n < MAX_STRINGS else "array-too-long", what, cursor.offset - 8, where=where
            )

    def scalars(self, elem: int, n: int, where: str) -> tuple[Any, ...] | LongArray:
        name, code, size = self.scalar_type(elem, where)
        self.room(n, size, where)
        cursor = self.cursor
        start = cursor.offset
        whole = n <= KEEP_NUMBERS and self.keep(40 * n + 60)
        kept = self.numbers(code, size, n if whole else HEAD)
        if elem == 7:
            kept = tuple(self.truth(byte, where) for byte in kept)
        if whole:
            return kept
        cursor.pos += (n - HEAD) * size
        return LongArray(name, n, start, n * size, kept)

    def strings(self, n: int, where: str) -> tuple[Any, ...] | LongArray:
        self.room(n, 8, where)
        self.n_strings += n
        cursor = self.cursor
        start = cursor.offset
        if self.n_strings > MAX_STRINGS:
            raise Stop("header-too-long", f"more than {MAX_STRINGS:,} strings", start, where=where)
        if n > KEEP_STRINGS:
            after, again = self.behind(n, where)
            cursor.source.expect(min(start + STRING_NBYTES * n + after, cursor.size))
            head = tuple(self.text(where) for _ in range(HEAD))
            try:
                skip_strings(cursor, n - HEAD, after=after, again=again, last="tokenizer.ggml.tokens" in self.metadata)
            except Stop as stop:
                stop.where = where
                raise
            return LongArray("str", n, start, cursor.offset - start, head)
        return tuple(self.text(where) for _ in range(n))

    def behind(self, n: int, where: str) -> tuple[int, bool]:
        """Bytes of the header that are likely to follow an array of `n` strings, and whether another such array is."""
        if where != "tokenizer.ggml.tokens":
            return self.tail, False
        kind = self.metadata.get("tokenizer.ggml.model")
        size, merges = _BEHIND_TOKENS.get(kind, _BEHIND_UNKNOWN) if isinstance(kind, str) else _BEHIND_UNKNOWN
        return size * n + (0 if merges else self.tail), merges

    def nested(self, n: int, where: str) -> tuple[Any, ...] | LongArray:
        """An array of arrays, walked with a stack and not by recursion."""
        cursor = self.cursor
        self.report("nested-array", "an array of arrays, which no loader takes", cursor.offset - 12, where=where)
        self.room(n, self.array_head.size, where)
        frames = [_Frame(n, cursor.offset)]
        while True:
            frame = frames[-1]
            if frame.left:
                frame.left -= 1
                elem, n = cursor.unpack(self.array_head)
                self.n_nested += 1
                if len(frames) >= MAX_DEPTH or self.n_nested > MAX_NESTED:
                    what = f"more than {MAX_DEPTH} levels or {MAX_NESTED:,} arrays within arrays"
                    raise Stop("nesting-too-deep", what, cursor.offset - 12, where=where)
                if elem == _ARR:
                    self.room(n, self.array_head.size, where)
                    frames.append(_Frame(n, cursor.offset))
                else:
                    frame.adopt(self.array(elem, n, where))
                continue
            value = frames.pop().close(cursor.offset)
            if not frames:
                return value
            frames[-1].adopt(value)
