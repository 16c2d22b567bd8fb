"""Instructions of a pickle that call something: by line, by mark, by what stands on the stack, by a number."""

from __future__ import annotations

from inspector.audit.readers.pickle_machine import Broken
from inspector.audit.readers.pickle_values import FORGOTTEN, Global, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from inspector.audit.readers.pickle_machine import Machine

MAX_TEXT: Final = 1024
CALLS: Final = {ord("R"): 2, 0x81: 2, 0x92: 3}
# What pickle.dump writes of a tensor: torch.load on bytes, which are fine where they were followed to their end.
TENSORS: Final = Global("torch.storage", "_load_from_bytes", 0)
# What sets memory aside by a number: no pickler calls them so.
_MOST_SET_ASIDE: Final = 1 << 20
_SIZED: Final = frozenset({"bytes", "bytearray"})


def _made(m: Machine, by: Any, args: list[Any]) -> None:
    """The result of a call; copyreg's way of protocols 0 and 1 to make an object names its class first."""
    m.called(by)
    of = by if isinstance(by, Global) else None
    if of is not None:
        _refuse_room(of, args)
        if of.path == TENSORS.path:
            _tensors(m, of, args)
    if of is not None and of.name == "_reconstructor" and args and isinstance(args[0], Global):
        of = args[0]
    if of is not None and of.path == "_codecs.encode" and args and type(args[0]) is Value and args[0].of is TENSORS:
        of = TENSORS
    value = Value(args, of)
    m.weigh(value)
    m.push(value)


def _refuse_room(by: Global, args: list[Any]) -> None:
    """Raises Broken where a call sets aside what its few bytes do not hold: bytearray(2**40), list(range(2**40))."""
    first = args[0] if args else None
    of = first.of.name if type(first) is Value and first.of is not None else ""
    sized = by.name in _SIZED or by.name.endswith("Storage")
    if of in {"range", "xrange"} or (sized and (of == "int" or (type(first) is int and first > _MOST_SET_ASIDE))):
        raise Broken(f"a call of {by.path[:80]} that sets memory aside by a number alone")


def _tensors(m: Machine, by: Global, args: list[Any]) -> None:
    """A call of torch.load on bytes within a pickle: code, unless the bytes were followed and are a checkpoint."""
    key = (by.module, by.name)
    if args and type(args[0]) is Value and args[0].of is TENSORS:
        if key not in m.doubted:
            m.found.pop(key, None)
    else:
        m.doubted.add(key)
        m.found[key] = by.replace(called=True)


def inst(m: Machine, _: int) -> None:
    at = m.reader.offset - 1
    module, name = m.reader.line().decode("utf-8", "replace"), m.reader.line().decode("utf-8", "replace")
    args = m.pop_mark()
    _made(m, m.note(module[:MAX_TEXT], name[:MAX_TEXT], at), args)


def obj(m: Machine, _: int) -> None:
    items = m.pop_mark()
    _made(m, items[0] if items else None, items[1:])


def call(m: Machine, op: int) -> None:
    if CALLS[op] == 3:
        m.pop()
    args, by = m.pop(), m.pop()
    own = args.items if type(args) is Value else []
    if own is FORGOTTEN:
        raise Broken("arguments of a call that were remembered long before it: what they are was not kept")
    _made(m, by, list(own))
    if type(args) is Value and args.parts > len(own):
        m.stack[-1].parts = args.parts


def extension(m: Machine, op: int) -> None:
    at = m.reader.offset - 1
    code = int.from_bytes(m.reader.take({0x82: 1, 0x83: 2, 0x84: 4}[op]), "little")
    m.push(m.note("copyreg extension", str(code), at))
