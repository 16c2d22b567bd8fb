"""What a pickle would import and call, read from its opcodes. Nothing is unpickled, nothing imported.

A small machine over the opcodes of protocols 0 to 5 (CPython's pickletools.py), which keeps texts, small numbers,
imports and the outlines of containers. Payloads are stepped over, so weights are not read; those that are pickles
themselves are followed, and so are arrays that joblib writes between instructions.
"""

from __future__ import annotations

import struct
from contextlib import suppress

from inspector.audit.readers.pickle_calls import CALLS, MAX_TEXT, TENSORS, call, extension, inst, obj
from inspector.audit.readers.pickle_machine import PROTO, Broken, Machine
from inspector.audit.readers.pickle_memo import Memo
from inspector.audit.readers.pickle_names import is_danger
from inspector.audit.readers.pickle_search import danger_in, starts_pickle
from inspector.audit.readers.pickle_stream import EndOfStream, Reader
from inspector.audit.readers.pickle_values import Value, raw_array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

MAX_NESTED: Final = 4  # pickles within pickles
SEARCHED_AT_ONCE: Final = 1 << 20
SEARCHED_LAST: Final = 64 << 10  # of every payload, however much was searched before
FORKED_OPS: Final = 2_000
WRAPPER: Final = ("joblib.numpy_pickle", "NumpyArrayWrapper")
TORCH_PICKLES: Final = 5  # torch/serialization.py, _legacy_save
_CONSTANTS: Final = {ord("N"): None, 0x88: True, 0x89: False, 0x97: None}
_EMPTY: Final = (ord("]"), ord("}"), ord(")"), 0x8F)
# Arguments of a fixed length: how long, and whether a number is made of them.
_FIXED: Final = {ord("J"): (4, True), ord("K"): (1, False), ord("M"): (2, False), ord("G"): (8, None)}
# Counted texts and payloads: how many bytes the count takes, and what is made of them.
_COUNTED: Final = {
    ord("T"): (4, "text"), ord("U"): (1, "text"), ord("X"): (4, "text"), 0x8C: (1, "text"), 0x8D: (8, "text"),
    ord("B"): (4, "bytes"), ord("C"): (1, "bytes"), 0x8E: (8, "bytes"), 0x96: (8, "bytes"),
    0x8A: (1, "number"), 0x8B: (4, "number"),
}  # fmt: skip
_FRAME: Final = 0x95


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _constant(m: Machine, op: int) -> None:
    m.push(_CONSTANTS[op])


def _empty(m: Machine, _: int) -> None:
    m.push(Value())


def _pop(m: Machine, _: int) -> None:
    m.drop()
    m.pop()


def _pop_mark(m: Machine, _: int) -> None:
    m.drop()
    m.pop_mark()


def _append(m: Machine, op: int) -> None:
    values = [m.pop()] if op == ord("a") else m.pop_mark()
    into = m.stack[-1] if m.stack else None
    if type(into) is Value:
        into.add(values)
        m.weigh(into)


def _set_items(m: Machine, op: int) -> None:
    pairs = [m.pop(), m.pop()][::-1] if op == ord("s") else m.pop_mark()
    into = m.stack[-1] if m.stack else None
    if type(into) is Value:
        into.put(pairs)
        m.weigh(into)


def _collect(m: Machine, op: int) -> None:
    """LIST, DICT, TUPLE, FROZENSET of what stands above the mark."""
    items = m.pop_mark()
    value = Value(items if op != ord("d") else None)
    if op == ord("d"):
        value.put(items)
    m.weigh(value)
    m.push(value)


def _short_tuple(m: Machine, op: int) -> None:
    n, stack = op - 0x84, m.stack
    if len(stack) < n:
        raise Broken("takes more from its stack than there is")
    value = Value(stack[-n:])
    del stack[-n:]
    m.weigh(value)
    m.push(value)


def _replace(m: Machine, _: int) -> None:
    """BINPERSID, READONLY_BUFFER: something takes the place of a value."""
    m.pop()
    m.push(None)


def _build(m: Machine, _: int) -> None:
    state = m.pop()
    made = m.stack[-1] if m.stack else None
    if type(made) is Value:
        made.state = state
        made.parts += state.parts if type(state) is Value else 1
        m.weigh(made)
        if made.of is not None and (made.of.module, made.of.name) == WRAPPER and not m.plain:
            _array(m, made)


def _array(m: Machine, made: Value) -> None:
    """Steps over an array that joblib wrote here; what a plain unpickler would take it for is followed a little way."""
    array = raw_array(made)
    if array is None:
        raise Broken("an array in joblib's own layout that cannot be stepped over")
    _fork(m)
    if m.frame_end >= 0 and m.reader.offset != m.frame_end:
        raise Broken("an array within a frame: readers disagree about it")
    m.frame_end = -1
    if array.objects:
        nested = Machine(m.reader, budget=m.left, depth=m.depth + 1)
        nested.plain = True
        if m.depth >= MAX_NESTED:
            raise Broken("pickles nested deeper than are followed")
        try:
            nested.run()
        finally:
            m.merge(nested)
        return
    if array.aligned:
        m.reader.skip(m.reader.take(1)[0])
    m.reader.skip(array.nbytes)


def _fork(m: Machine) -> None:
    """The same bytes as instructions, as `pickle.load` would read them: kept is only what attacks use."""
    reader = m.reader
    raw = reader.peek(1 << 12)
    other = Machine(Reader(lambda at, n: raw[at : at + n], len(raw)), budget=min(FORKED_OPS, m.left), depth=m.depth + 1)
    other.plain = True
    other.stack, other.memo, other.n_ops = m.stack[-64:], Memo(m.memo), m.n_ops
    other.most += m.n_ops
    with suppress(EndOfStream, Broken):
        other.go_on()
    m.most -= other.n_ops - m.n_ops
    for key, g in {**other.found, **danger_in(raw)}.items():
        if g.called and key not in m.found and is_danger(g):
            m.found[key] = g.replace(offset=reader.offset)


def _fixed(m: Machine, op: int) -> None:
    n, signed = _FIXED[op]
    raw = m.reader.take(n)
    m.push(raw[0] if n == 1 else None if signed is None else int.from_bytes(raw, "little", signed=signed))


def _counted(m: Machine, op: int) -> None:
    width, what = _COUNTED[op]
    raw = m.reader.take(width)
    n = raw[0] if width == 1 else int.from_bytes(raw, "little")
    if n <= MAX_TEXT:
        raw = m.reader.take(n)
        if what == "text":
            m.push(raw.decode("utf-8", "replace"))
        elif what == "number":
            if raw == b"l\xfc\x9cF\xf9 j\xa8P\x19":  # torch/serialization.py, MAGIC_NUMBER
                m.magic = True
            m.push(int.from_bytes(raw, "little", signed=True))
        else:
            m.push(None)
        if n > 8 and (b"\n" in raw or b"\x93" in raw or raw[0] == PROTO):  # else no instruction of a danger is in it
            made = _payload(m, raw, n, m.reader.offset - n)
            m.stack[-1] = made or m.stack[-1]
    elif what == "number":
        m.reader.skip(n)
        m.push(None)
    else:
        m.push(_long_payload(m, n))


def _long_payload(m: Machine, size: int) -> Any:
    """A long text or payload: its start, as much behind it as is searched of one file, and always its end."""
    made = _payload(m, m.reader.peek(min(size, SEARCHED_AT_ONCE)), size, m.reader.offset)
    left = size
    while left:
        step = min(left, SEARCHED_AT_ONCE) if m.searched > 0 else max(left - SEARCHED_LAST, 0) or left
        if m.searched > 0 or step <= SEARCHED_LAST:
            raw = m.reader.peek(min(left, step + 256))  # an import may stand across the edge of two pieces
            m.searched -= len(raw)
            _search(m, raw, m.reader.offset)
        m.reader.skip(step)
        left -= step
    return made


def _search(m: Machine, raw: bytes, at: int) -> None:
    for key, g in danger_in(raw).items():
        m.found.setdefault(key, g.replace(offset=at + g.offset))


def _payload(m: Machine, head: bytes, size: int, at: int) -> Any:
    """A text or payload that is a pickle itself, or has the instructions of one in it: what stands for it."""
    whole = head[:size]
    if size <= MAX_TEXT:
        _search(m, whole, at)
    if whole[:2] == b"\xc2\x80":  # bytes as protocol 2 writes them: a text of Latin-1
        whole = whole.decode("utf-8", "ignore").encode("latin-1", "ignore")
    if not starts_pickle(whole):
        return None
    if m.depth >= MAX_NESTED:
        raise Broken("pickles nested deeper than are followed")
    inner = Reader(lambda offset, n: whole[offset : offset + n], len(whole))
    nested = Machine(inner, budget=m.left, depth=m.depth + 1)
    made = None
    try:
        nested.run()
        if nested.magic:
            for _ in range(TORCH_PICKLES - 1):
                nested.run()
            made = Value(of=TENSORS)
    except (EndOfStream, Broken):  # numbers that begin like one: what was called on the way still counts
        nested.found = {k: g for k, g in nested.found.items() if g.called and is_danger(g)}
    m.merge(nested)
    return made


def _line_value(m: Machine, op: int) -> None:
    raw = m.reader.line()
    if op in {ord("S"), ord("V")}:
        quoted = op == ord("S") and len(raw) > 1 and raw[:1] in b"'\"" and raw[:1] == raw[-1:]
        body = raw[1:-1] if quoted else raw
        m.push(_unescape(body, wide=op == ord("V")) if len(body) <= MAX_TEXT else None)
    elif op in {ord("I"), ord("L")} and raw.rstrip(b"L").isdigit() and len(raw) < 20:
        m.push(raw == b"01" if raw in {b"00", b"01"} and op == ord("I") else int(raw.rstrip(b"L")))
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
        raise Broken("a place in its memo that is not a number")
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
    m.memoize()


def _dup(m: Machine, _: int) -> None:
    m.drop()
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


def _mark(m: Machine, _: int) -> None:
    m.mark()


def _protocol(m: Machine, _: int) -> None:
    m.proto = max(m.proto, m.reader.take(1)[0])
    if m.proto > 5:
        raise Broken(f"protocol {m.proto}, which does not exist")


def _frame(m: Machine, _: int) -> None:
    n = struct.unpack("<Q", m.reader.take(8))[0]
    if m.reader.offset + n > m.reader.size:
        raise EndOfStream
    if m.frame_end >= 0 and m.reader.offset < m.frame_end:
        raise Broken("a frame begins within another: readers disagree about it")
    m.frame_end = m.reader.offset + n if n else -1


_STEPS: Final[dict[int, Callable[[Machine, int], None]]] = {
    **dict.fromkeys(_CONSTANTS, _constant),
    **dict.fromkeys(_EMPTY, _empty),
    **dict.fromkeys(_FIXED, _fixed),
    **dict.fromkeys(_COUNTED, _counted),
    **dict.fromkeys(map(ord, "FILPSV"), _line_value),
    **dict.fromkeys(map(ord, "gp"), _memo_line),
    **dict.fromkeys(map(ord, "hjqr"), _memo_fixed),
    **dict.fromkeys(CALLS, call),
    **dict.fromkeys((0x82, 0x83, 0x84), extension),
    **dict.fromkeys((ord("a"), ord("e"), 0x90), _append),
    **dict.fromkeys((ord("s"), ord("u")), _set_items),
    **dict.fromkeys((ord("l"), ord("d"), ord("t"), 0x91), _collect),
    **dict.fromkeys((0x85, 0x86, 0x87), _short_tuple),
    **dict.fromkeys((ord("Q"), 0x98), _replace),
    0x94: _memoize, ord("2"): _dup, ord("c"): _global, 0x93: _stack_global, ord("i"): inst, ord("o"): obj,
    ord("("): _mark, PROTO: _protocol, _FRAME: _frame, ord("0"): _pop, ord("1"): _pop_mark, ord("b"): _build,
}  # fmt: skip
Machine.steps = _STEPS
