"""What a pickle would import and call, read from its opcodes. Nothing is unpickled, nothing imported.

A small machine that keeps only strings, globals and marks on its stack, in the opcodes of protocols 0 to 5
(CPython's pickletools.py). Payloads are stepped over, so weights are not read. What PyTorch's own restricted loader
takes is allowed: torch/_weights_only_unpickler.py, 2.9.
"""

from __future__ import annotations

import re
import struct

from inspector.audit.readers.pickle_stream import EndOfStream, Reader
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

MAX_OPS: Final = 500_000  # PyTorch writes 32 a tensor
MAX_TEXT: Final = 1024
MAX_STACK: Final = 200_000
MAX_GLOBALS: Final = 2_000
MAX_PICKLES: Final = 64


class Global(Record):
    """An object that a pickle asks Python to import. `called`: and to call."""

    module: str
    name: str
    offset: int
    called: bool = False

    @property
    def path(self) -> str:
        return f"{self.module}.{self.name}"


class Scan(Record):
    """What was found: the globals, how many pickles, why it ended early ("" where it did not), and where."""

    globals: tuple[Global, ...]
    n_pickles: int
    problem: str
    end: int
    n_ops: int
    proto: int


class _Broken(Exception):
    """Not a pickle, or no longer one."""


MARK: Final = object()
# Instructions that only move values: pops, pushes. "m" pops to the mark.
_SIMPLE: Final[dict[int, tuple[int | str, int]]] = {
    ord(op): effect
    for ops, effect in (
        ("N}])\x88\x89\x8f\x97", (0, 1)),
        ("0as", (0, 0)),  # pops are below: 'a' one, 's' two
        ("1ue\x90", ("m", 0)),
        ("ldt\x91", ("m", 1)),
        ("\x85Q\x98", (1, 1)),
        ("\x86", (2, 1)),
        ("\x87", (3, 1)),
        ("b", (1, 0)),
    )
    for op in ops
}
_SIMPLE.update({ord("0"): (1, 0), ord("a"): (1, 0), ord("s"): (2, 0)})
# Arguments of a fixed length that nothing is made of.
_FIXED: Final = {ord("J"): 4, ord("K"): 1, ord("M"): 2, ord("G"): 8}
# Counted texts and payloads: how many bytes the count takes, whether it is text.
_COUNTED: Final = {
    ord("T"): (4, True), ord("U"): (1, True), ord("X"): (4, True), 0x8C: (1, True), 0x8D: (8, True),
    ord("B"): (4, False), ord("C"): (1, False), 0x8E: (8, False), 0x96: (8, False), 0x8A: (1, False), 0x8B: (4, False),
}  # fmt: skip
_PROTO, _FRAME, _STOP = 0x80, 0x95, ord(".")
_CALLS: Final = {ord("R"): 2, 0x81: 2, 0x92: 3}


class Machine:
    """One pickle after the other, over one reader, with one allowance of instructions."""

    def __init__(self, reader: Reader, *, budget: int = MAX_OPS) -> None:
        self.reader = reader
        self.left = budget
        self.n_ops = 0
        self.proto = 0
        self.found: dict[tuple[str, str], Global] = {}
        self.magic = False
        self.reset()

    def reset(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def pop(self) -> Any:
        if not self.stack:
            raise _Broken("takes more from its stack than there is")
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        items: list[Any] = []
        while True:
            value = self.pop()
            if value is MARK:
                return items[::-1]
            items.append(value)

    def push(self, value: Any) -> None:
        if len(self.stack) >= MAX_STACK:
            raise _Broken("piles up more values than a checkpoint has")
        self.stack.append(value)

    def remember(self, index: int) -> None:
        if self.stack and len(self.memo) < MAX_STACK:
            self.memo[index] = self.stack[-1]

    def note(self, module: Any, name: Any, offset: int) -> Global:
        known = isinstance(module, str) and isinstance(name, str)
        found = Global(module if known else "?", name if known else "?", offset)
        key = (found.module, found.name)
        self.found.setdefault(key, found)
        if len(self.found) > MAX_GLOBALS:
            raise _Broken(f"more than {MAX_GLOBALS:,} different imports")
        return found

    def called(self, value: Any) -> None:
        if isinstance(value, Global):
            key = (value.module, value.name)
            if key in self.found and not self.found[key].called:
                self.found[key] = self.found[key].replace(called=True)

    def run(self) -> None:
        """One pickle up to its STOP. Raises EndOfStream and _Broken."""
        self.reset()
        reader, steps = self.reader, _STEPS
        while True:
            if self.left <= 0:
                raise _Broken(f"more than {MAX_OPS:,} instructions: the rest was not looked at")
            self.left -= 1
            self.n_ops += 1
            if not reader.fill(1):
                raise EndOfStream
            op = reader.buf[reader.pos]
            reader.pos += 1
            if op == _STOP:
                if not self.stack:
                    raise _Broken("ends with nothing on its stack")
                return
            step = steps.get(op)
            if step is None:
                raise _Broken(f"an instruction that does not exist (0x{op:02x} at byte {reader.offset - 1:,})")
            step(self, op)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _simple(m: Machine, op: int) -> None:
    pops, pushes = _SIMPLE[op]
    if pops == "m":
        m.pop_mark()
    else:
        for _ in range(int(pops)):
            m.pop()
    if pushes:
        m.push(None)


def _fixed(m: Machine, op: int) -> None:
    m.reader.take(_FIXED[op])
    m.push(None)


def _counted(m: Machine, op: int) -> None:
    width, is_text = _COUNTED[op]
    n = int.from_bytes(m.reader.take(width), "little")
    if n <= MAX_TEXT:
        raw = m.reader.take(n)
        if op == 0x8A and raw == b"l\xfc\x9cF\xf9 j\xa8P\x19":  # torch/serialization.py, MAGIC_NUMBER
            m.magic = True
        m.push(_text(raw) if is_text else None)
    else:
        m.reader.skip(n)
        m.push(None)


def _line_value(m: Machine, op: int) -> None:
    raw = m.reader.line()
    if op in {ord("S"), ord("V")}:
        quoted = op == ord("S") and len(raw) > 1 and raw[:1] in b"'\"" and raw[:1] == raw[-1:]
        body = raw[1:-1] if quoted else raw
        m.push(_unescape(body, wide=op == ord("V")) if len(body) <= MAX_TEXT else None)
    else:
        m.push(None)


def _unescape(raw: bytes, *, wide: bool) -> str:
    """Protocol 0 writes strings with escapes; `os` may be spelt `\\x6fs`."""
    try:
        text = raw.decode("raw-unicode-escape" if wide else "unicode-escape")
    except UnicodeDecodeError:
        return _text(raw)
    return text


def _memo_line(m: Machine, op: int) -> None:
    raw = m.reader.line()
    if not raw.strip().isdigit() or len(raw) > 20:
        raise _Broken("a place in its memo that is not a number")
    if op == ord("p"):
        m.remember(int(raw))
    else:
        m.push(m.memo.get(int(raw)))


def _memo_fixed(m: Machine, op: int) -> None:
    wide = op in {ord("j"), ord("r")}
    index = int.from_bytes(m.reader.take(4 if wide else 1), "little")
    if op in {ord("q"), ord("r")}:
        m.remember(index)
    else:
        m.push(m.memo.get(index))


def _memoize(m: Machine, _: int) -> None:
    m.remember(len(m.memo))


def _dup(m: Machine, _: int) -> None:
    value = m.pop()
    m.push(value)
    m.push(value)


def _global(m: Machine, _: int) -> None:
    at = m.reader.offset - 1
    module, name = _text(m.reader.line()), _text(m.reader.line())
    m.push(m.note(module[:MAX_TEXT], name[:MAX_TEXT], at))


def _stack_global(m: Machine, _: int) -> None:
    at = m.reader.offset - 1
    name, module = m.pop(), m.pop()
    m.push(m.note(module, name, at))


def _inst(m: Machine, _: int) -> None:
    at = m.reader.offset - 1
    module, name = _text(m.reader.line()), _text(m.reader.line())
    m.pop_mark()
    m.called(m.note(module[:MAX_TEXT], name[:MAX_TEXT], at))
    m.push(None)


def _obj(m: Machine, _: int) -> None:
    items = m.pop_mark()
    if items:
        m.called(items[0])
    m.push(None)


def _call(m: Machine, op: int) -> None:
    for _ in range(_CALLS[op] - 1):
        m.pop()
    m.called(m.pop())
    m.push(None)


def _extension(m: Machine, op: int) -> None:
    at = m.reader.offset - 1
    code = int.from_bytes(m.reader.take({0x82: 1, 0x83: 2, 0x84: 4}[op]), "little")
    m.push(m.note("copyreg extension", str(code), at))


def _mark(m: Machine, _: int) -> None:
    m.push(MARK)


def _protocol(m: Machine, _: int) -> None:
    m.proto = max(m.proto, m.reader.take(1)[0])
    if m.proto > 5:
        raise _Broken(f"protocol {m.proto}, which does not exist")


def _frame(m: Machine, _: int) -> None:
    n = struct.unpack("<Q", m.reader.take(8))[0]
    if m.reader.offset + n > m.reader.size:
        raise EndOfStream


_STEPS: Final[dict[int, Callable[[Machine, int], None]]] = {
    **dict.fromkeys(_SIMPLE, _simple),
    **dict.fromkeys(_FIXED, _fixed),
    **dict.fromkeys(_COUNTED, _counted),
    **dict.fromkeys(map(ord, "FILPSV"), _line_value),
    **dict.fromkeys(map(ord, "gp"), _memo_line),
    **dict.fromkeys(map(ord, "hjqr"), _memo_fixed),
    **dict.fromkeys(_CALLS, _call),
    **dict.fromkeys((0x82, 0x83, 0x84), _extension),
    0x94: _memoize, ord("2"): _dup, ord("c"): _global, 0x93: _stack_global, ord("i"): _inst, ord("o"): _obj,
    ord("("): _mark, _PROTO: _protocol, _FRAME: _frame,
}  # fmt: skip


# Instructions that name a module of attacks: GLOBAL and INST by line, short strings for STACK_GLOBAL.
_RAW: Final = re.compile(
    rb"[ci](?P<line>(?:os|posix|nt|subprocess|builtins|__builtin__|sys|runpy|importlib|socket|pty|shutil|ctypes|_pickle|"
    rb"pickle|webbrowser|code|torch\.hub)(?:\.\w+)*)\n(?P<attr>\w{1,60})\n|"
    rb"\x8c.(?P<text>os|posix|nt|subprocess|builtins|runpy|importlib|socket|pty|shutil|ctypes|_pickle|webbrowser)\x94?"
    rb"\x8c.(?P<name>\w{1,60})(?:\x94)?\x93",
    re.DOTALL,
)
MAX_SEARCHED: Final = 16 << 20


def _search(machine: Machine, read_at: Callable[[int, int], bytes], start: int) -> None:
    """What cannot be followed instruction by instruction is searched for the names that attacks use."""
    at = start
    while at < start + MAX_SEARCHED and (raw := read_at(at, 1 << 20)):
        for match in _RAW.finditer(raw):
            module, name = match["line"] or match["text"], match["attr"] or match["name"]
            key = (_text(module), _text(name))
            machine.found.setdefault(key, Global(*key, at + match.start(), called=True))
        at += max(len(raw) - 256, 1) if len(raw) == 1 << 20 else len(raw)


def _plausible(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def scan_pickle(read_at: Callable[[int, int], bytes], size: int, *, budget: int = MAX_OPS) -> Scan:
    """Every pickle of a stream, one behind the other, up to what is no pickle any more.

    PyTorch's old format is five pickles and then raw numbers, so bytes behind the first pickle that make no sense are
    no fault; within the first they are (`problem`).
    """
    reader = Reader(read_at, size)
    machine = Machine(reader, budget=budget)
    n = 0
    problem = ""
    end = 0
    while n < MAX_PICKLES and reader.offset < size:
        before = dict(machine.found)
        try:
            machine.run()
        except (EndOfStream, _Broken) as error:
            words = str(error) if isinstance(error, _Broken) else "it breaks off within the pickle"
            needed = 5 if machine.magic else 1
            cut = machine.left <= 0 or len(machine.found) > MAX_GLOBALS
            if n < needed or cut:
                problem = words
                _search(machine, read_at, reader.offset)
            else:  # raw numbers read as instructions: only what reads like a name is kept
                new = {k: g for k, g in machine.found.items() if k not in before and _plausible(g.path)}
                machine.found = {**before, **new}
            break
        n += 1
        end = reader.offset
        if machine.magic and n >= 5:
            break
    if not n and not problem:
        problem = "it is empty"
    return Scan(tuple(machine.found.values()), n, problem, end, machine.n_ops, machine.proto)
