"""R objects as saveRDS, save and serialize write them: walked item by item, for what R runs. Nothing is evaluated.

R 4.5 src/main/serialize.c (ReadItem, InFormat), R internals §1.8. CVE-2024-27322: a promise whose value is not there
yet is evaluated as soon as somebody looks at what was loaded.
"""

from __future__ import annotations

import re
import struct

from inspector.audit.readers.pickle_stream import EndOfStream, Reader
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, Literal, Protocol

    class Numbers(Protocol):
        """One of the ways in which numbers and texts stand in a stream; `cost`: how slow it is to read."""

        cost: int

        def number(self) -> int:
            """The next whole number of 32 bits."""

        def text(self, n: int) -> bytes:
            """A text of `n` bytes; of a long one nothing."""

        def skip(self, n: int, width: int) -> None:
            """Steps over `n` values of `width` bytes each."""

        def texts(self, n: int) -> int:
            """Steps over up to `n` ordinary texts of a vector, as long as they are; how many."""


MAX_PARTS: Final = 1_000_000  # texts of a vector count a quarter
MAX_PENDING: Final = 1_000_000
MAX_NAME: Final = 512
_AT_ONCE: Final = 1 << 14
_MAGIC: Final = re.compile(rb"(?:RD[XAB][23]\n)?(?:X\n\0\0\0[\2\3]|B\n[\2\3]\0\0\0|A\n[23]\s+\d{5,7}\s+\d{5,7}\s)")
_WORD: Final = re.compile(rb"\s*(\S{1,64})(?=\s|\Z)")
_MANY: Final = 500
_WORDS: Final = re.compile(rb"(?:\s*[^\s]{1,24}\s){500}")
_BIG, _LITTLE = struct.Struct(">ii"), struct.Struct("<ii")
_NUMBER: Final = re.compile(rb"-?\d{1,10}")
_ESCAPED: Final = re.compile(rb"\\(?:[0-7]{1,3}|.)|[^\\]", re.DOTALL)

# Types of items (R internals §1.1, serialize.c).
_SYMBOL, _PAIRS, _CLOSURE, _ENVIRONMENT, _PROMISE, _CALL, _SPECIAL, _BUILTIN, _TEXT = range(1, 10)
_DOTS, _TEXTS, _BYTECODE, _POINTER, _WEAK = 17, 16, 21, 22, 23
_ALTREP, _UNBOUND, _REFERENCE = 238, 252, 255
_VECTORS: Final = {10: 4, 13: 4, 14: 8, 15: 16, 24: 1}  # logical, integer, double, complex, raw
_LISTS: Final = frozenset({19, 20})
_NAMED: Final = frozenset({247, 248, 249})  # persistent, package, namespace
_ALONE: Final = frozenset({241, 242, 250, 251, _UNBOUND, 253, 254, 0})
_OBJECT: Final = 25
# Functions that act, where a call names them: whoever evaluates a model's call again, as update() does, runs them.
_ACTING: Final = frozenset(
    {b"system", b"system2", b"shell", b"shell.exec", b"source", b"sys.source", b"dyn.load", b"download.file", b"pipe",
     b"socketConnection", b"install.packages", b".External", b".Internal"}
)  # fmt: skip
# Vectors that R maps from a file of the machine as soon as they are read (altclasses.c).
_MAPPED: Final = (b"mmap_integer", b"mmap_real")
PROMISE: Final = "a promise, which R evaluates as soon as somebody looks at it (CVE-2024-27322)"

# What an item is to the one that holds it.
_PLAIN, _FRAME, _BOUND, _VALUE, _CALLED, _INFO = range(6)


class BrokenData(Exception):
    """The bytes are no R object, or no longer one."""


class Enough(Exception):
    """What was found is an error whatever follows, and what follows is not read here."""


class TooMany(Exception):
    """More parts than are followed."""


class _Binary:
    """Numbers of 32 bits in one order; texts as they are."""

    cost = 1

    def __init__(self, reader: Reader, order: Literal["big", "little"]) -> None:
        self.reader, self.order = reader, order

    def number(self) -> int:
        return int.from_bytes(self.reader.take(4), self.order, signed=True)

    def text(self, n: int) -> bytes:
        if n <= MAX_NAME:
            return self.reader.take(n)
        self.skip(n, 1)
        return b""

    def skip(self, n: int, width: int) -> None:
        if n * width:
            self.reader.skip(n * width - 1)
            self.reader.take(1)  # of a packed stream nobody else knows the end

    def texts(self, n: int) -> int:
        unpack, reader, done = (_BIG if self.order == "big" else _LITTLE).unpack_from, self.reader, 0
        while done < n:
            raw = reader.peek(1 << 16)
            at, last = 0, len(raw) - 8
            while done < n and at <= last:
                flags, size = unpack(raw, at)
                if flags & 0x2FF != _TEXT or size > last - at:
                    break
                at += 8 + max(size, 0)
                done += 1
            if not at:
                return done
            reader.skip(at)
        return done


class _Words:
    """Numbers as words, texts with escapes."""

    cost = 4

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def word(self) -> bytes:
        match = _WORD.match(self.reader.peek(256))
        if match is None:
            raise EndOfStream
        self.reader.skip(match.end())
        return match[1]

    def number(self) -> int:
        word = self.word()
        if word == b"NA":
            return -(1 << 31)
        if _NUMBER.fullmatch(word) is None:
            raise BrokenData("a word where a number should be")
        return int(word)

    def text(self, n: int) -> bytes:
        kept: list[bytes] = []
        raw = self.reader.peek(1)
        if n and raw.isspace():
            self.reader.skip(1)
        left = n
        while left:
            raw = self.reader.peek(min(4 * left + 4, _AT_ONCE))
            used = 0
            whole = len(raw) - 4 if len(raw) > 8 else len(raw)  # an escape may stand across the edge
            for match in _ESCAPED.finditer(raw, 0, whole):
                used = match.end()
                left -= 1
                if n <= MAX_NAME:
                    kept.append(match[0] if len(match[0]) == 1 else _unescaped(match[0]))
                if not left:
                    break
            if not used:
                raise EndOfStream
            self.reader.skip(used)
        return b"".join(kept)

    def skip(self, n: int, width: int) -> None:
        left = n * (2 if width == 16 else 1)
        while left:
            match = _WORDS.match(self.reader.peek(_AT_ONCE)) if left >= _MANY else None
            if match is None:
                self.word()
                left -= 1
            else:
                self.reader.skip(match.end())
                left -= _MANY

    def texts(self, _: int) -> int:
        return 0


def _unescaped(raw: bytes) -> bytes:
    return bytes([int(raw[1:], 8) & 255]) if raw[1:].isdigit() else raw[1:]


class RScan(Record):
    """What R would run of a file, in words, and why it was not read to its end: "" where it was.

    `broken`: the end is the file's own fault, not this reader's limit; `end`: the first byte behind what was read.
    """

    faults: tuple[str, ...]
    problem: str = ""
    broken: bool = False
    end: int = 0


class _Walk:
    """An R object, its parts in the order of the file; what is still to come stands on a list, not on a stack."""

    def __init__(self, numbers: Numbers, faults: dict[str, None], most: int) -> None:
        self.numbers = numbers
        self.faults = faults
        self.names: list[bytes] = []  # what references count: symbols by name, the rest as ""
        self.todo: list[tuple[int, int]] = []
        self.left = self.most = most

    def run(self) -> None:
        self.todo.append((_PLAIN, 1))
        while self.todo:
            role, n = self.todo.pop()
            if n > 1:
                self.todo.append((role, n - 1))
            self.item(role)

    def later(self, *roles: int) -> None:
        """Items that follow, the first of them first."""
        self.todo += [(role, 1) for role in reversed(roles)]
        if len(self.todo) > MAX_PENDING:
            raise TooMany("parts nested deeper than are followed")

    def item(self, role: int) -> None:
        self.left -= self.numbers.cost
        if self.left < 0:
            raise TooMany(f"more than {self.most:,} parts")
        flags = self.numbers.number()
        kind = flags & 255
        branch = _BRANCHES.get(kind)
        if branch is not None:
            branch(self, kind, flags, role)
        elif kind not in _ALONE:
            raise BrokenData(f"a part of a kind that does not exist ({kind})")
        elif kind == _UNBOUND and role == _VALUE:
            self.faults[PROMISE] = None

    def attributes(self, flags: int) -> None:
        """What most kinds have behind all else, where their flags say so."""
        if flags & 0x200:
            self.later(_PLAIN)

    def vector(self, kind: int, flags: int, _: int) -> None:
        n = self.length()
        if self.numbers.cost > 1:  # words, of which each must be found
            self.left -= n // 4
            n = n if self.left > 0 else 0
        self.numbers.skip(n, _VECTORS[kind])
        self.attributes(flags)

    def named(self, _: int, __: int, ___: int) -> None:
        self.names.append(b"")
        self.numbers.number()
        if n := self.count():
            self.todo.append((_PLAIN, n))

    def builtin(self, _: int, flags: int, role: int) -> None:
        self.called(self.numbers.text(self.count()), role)
        self.attributes(flags)

    def object(self, kind: int, flags: int, _: int) -> None:
        """Objects without a body, pointers (what they protect, and a tag) and weak references, which are empty."""
        self.attributes(flags)
        if kind != _OBJECT:
            self.names.append(b"")
        if kind == _POINTER:
            self.later(_PLAIN, _PLAIN)

    def count(self) -> int:
        n = self.numbers.number()
        if n < 0:
            raise BrokenData("a negative length")
        return n

    def length(self) -> int:
        """How many elements: two numbers more where they are more than 31 bits count."""
        n = self.numbers.number()
        if n == -1:
            upper, lower = self.count(), self.numbers.number() & 0xFFFFFFFF
            n = upper << 32 | lower
        if n < 0 or n > 1 << 48:
            raise BrokenData("a negative length")
        return n

    def many(self, kind: int, flags: int, role: int) -> None:
        """A vector of texts or a list; its attributes follow it, as they do any item."""
        n = self.length()
        self.attributes(flags)
        if kind == _TEXTS:
            passed = self.numbers.texts(min(n, 4 * self.left + 3))
            self.left -= passed // 4
            n -= passed
        if n:
            self.todo.append((role if role == _FRAME else _PLAIN, n))

    def text(self, _: int, flags: int, role: int) -> None:
        n = self.numbers.number()
        raw = self.numbers.text(n) if n > 0 else b""
        if role == _INFO and raw in _MAPPED:
            self.faults["a vector that lies in another file, which R opens when it reads it"] = None
        self.attributes(flags)

    def symbol(self, _: int, __: int, role: int) -> None:
        if self.numbers.number() & 255 != _TEXT:
            raise BrokenData("a name that is no text")
        n = self.numbers.number()
        name = self.numbers.text(n) if n > 0 else b""
        self.names.append(name)
        self.called(name, role)

    def reference(self, _: int, flags: int, role: int) -> None:
        index = flags >> 8 or self.numbers.number()
        if not 0 < index <= len(self.names):
            raise BrokenData("a reference to nothing")
        self.called(self.names[index - 1], role)

    def called(self, name: bytes, role: int) -> None:
        if role == _CALLED and name in _ACTING:
            self.faults[f"a call of {name.decode('ascii')}"] = None
        if role == _INFO and name in _MAPPED:
            self.faults["a vector that lies in another file, which R opens when it reads it"] = None

    def environment(self, _: int, __: int, ___: int) -> None:
        self.numbers.number()  # whether it is locked
        self.names.append(b"")
        self.later(_PLAIN, _FRAME, _FRAME, _PLAIN)

    def pairs(self, kind: int, flags: int, role: int) -> None:
        """Pairs, calls, closures and promises: attributes, a tag, what is first, and the rest."""
        first, rest = _PLAIN, _PLAIN
        if kind in {_PAIRS, _DOTS}:
            first = {_FRAME: _BOUND, _CALLED: _CALLED, _INFO: _INFO}.get(role, _PLAIN)
            rest = role if role in {_FRAME, _CALLED, _INFO} else _PLAIN
        elif kind == _CALL:
            first, rest = _CALLED, role if role == _CALLED else _PLAIN  # base::system is a call itself
        elif kind == _CLOSURE:
            self.faults["a function of its own: R code"] = None
        elif role == _BOUND:
            first = _VALUE  # the argument of a function that ran: its value is here
        else:
            self.faults[PROMISE] = None
        before = [_PLAIN] * (bool(flags & 0x200) + bool(flags & 0x400))
        self.later(*before, first, rest)

    def compiled(self, _: int, __: int, ___: int) -> None:
        self.faults["compiled R code, behind which nothing was read"] = None
        raise Enough

    def compact(self, _: int, __: int, ___: int) -> None:
        self.later(_INFO, _PLAIN, _PLAIN)


_BRANCHES: Final[dict[int, Callable[[_Walk, int, int, int], None]]] = {
    **dict.fromkeys(_VECTORS, _Walk.vector), **dict.fromkeys((_TEXTS, *_LISTS), _Walk.many),
    **dict.fromkeys(_NAMED, _Walk.named), **dict.fromkeys((_SPECIAL, _BUILTIN), _Walk.builtin),
    **dict.fromkeys((_OBJECT, _POINTER, _WEAK), _Walk.object),
    **dict.fromkeys((_PAIRS, _CALL, _CLOSURE, _PROMISE, _DOTS), _Walk.pairs),
    _SYMBOL: _Walk.symbol, _TEXT: _Walk.text, _ENVIRONMENT: _Walk.environment, _BYTECODE: _Walk.compiled,
    _ALTREP: _Walk.compact, _REFERENCE: _Walk.reference,
}  # fmt: skip


def is_rdata(head: bytes) -> bool:
    """Whether bytes begin as R objects do: the way its numbers are written, a version, the R that wrote it."""
    return _MAGIC.match(head) is not None


def _opened(reader: Reader) -> Numbers:
    """The numbers of a stream, behind its header. Raises EndOfStream, BrokenData."""
    if reader.peek(2) == b"RD":
        reader.skip(5)
    way = reader.take(2)
    numbers: Numbers = _Words(reader) if way == b"A\n" else _Binary(reader, "big" if way == b"X\n" else "little")
    version, _, _ = numbers.number(), numbers.number(), numbers.number()
    if version == 3:
        n = numbers.number()
        if not 0 <= n <= MAX_NAME:
            raise BrokenData("no encoding in its header")
        numbers.text(n)
    return numbers


def scan_rdata(read_at: Callable[[int, int], bytes], size: int, *, most: int = MAX_PARTS) -> RScan:
    """What R would run of an object. `size` may be more than there is where a stream is read as it unpacks."""
    reader = Reader(read_at, size)
    faults: dict[str, None] = {}
    problem, broken = "", False
    try:
        _Walk(_opened(reader), faults, most).run()
    except EndOfStream:
        problem, broken = "it breaks off within an R object", True
    except BrokenData as error:
        problem, broken = str(error), True
    except TooMany as error:
        problem = f"{error}: the rest was not read"
    except Enough:
        pass
    return RScan(tuple(faults), problem, broken, reader.offset)
