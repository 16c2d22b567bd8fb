"""What the constant parts of a template come to: strings glued from pieces, sizes multiplied up. Nothing is run.

A hostile template spells `__class__` as `'__cla' ~ 'ss__'`, `['__','class','__']|join`, `'__CLASS__'|lower`,
`'%c%cclass' % (95, 95)` or backwards. Each is worked out here by our own few lines, within bounds, bottom-up.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from jinja2 import nodes

MAX_TEXT: Final = 4096
MAX_ITEMS: Final = 256
MAX_NUMBER: Final = 1 << 64


class _Unknown:
    """Not a constant."""


UNKNOWN: Final = _Unknown()


def _bounded(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else UNKNOWN
    if isinstance(value, list | tuple):
        return value if len(value) <= MAX_ITEMS else UNKNOWN
    if isinstance(value, int):
        return value if abs(value) <= MAX_NUMBER else UNKNOWN
    return value if value is None or isinstance(value, float | dict) else UNKNOWN


def as_text(value: Any) -> str | None:
    """How a constant reads when it is glued into a string; None where it is not one."""
    return str(value) if isinstance(value, str | int | float) else None


def _glue(parts: Any, between: str = "") -> Any:
    texts = [as_text(part) for part in parts]
    total = sum(len(t) for t in texts if t is not None) + len(between) * len(texts)
    if any(t is None for t in texts) or total > MAX_TEXT:
        return UNKNOWN
    return between.join(t for t in texts if t is not None)


def _add(a: Any, b: Any) -> Any:
    if isinstance(a, str) and isinstance(b, str):
        return a + b
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and type(a) is type(b):
        return [*a, *b]
    return UNKNOWN


def _multiply(a: Any, b: Any) -> Any:
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    if isinstance(a, int):
        a, b = b, a
    if isinstance(b, int) and isinstance(a, str | list | tuple):
        return a * b if len(a) * b <= (MAX_TEXT if isinstance(a, str) else MAX_ITEMS) else UNKNOWN
    return UNKNOWN


_CONVERSIONS: Final = re.compile(r"%(?:\(\w+\))?([sdcrxX%])")
_FIELDS: Final = re.compile(r"\{(\d*)(?::([cdsxX]))?\}")


def _convert(letter: str, value: Any) -> str | None:
    if letter == "c" and isinstance(value, int):
        return chr(value) if 0 <= value < 0x110000 else None
    if letter in "xX" and isinstance(value, int):
        return format(value, letter)
    return as_text(value)


def _percent(text: str, args: Any) -> Any:
    """`'%c%s' % (95, 'x')` for plain conversions; anything with a width is not ours to work out."""
    if text.count("%") != 2 * text.count("%%") + len(_CONVERSIONS.findall(text.replace("%%", ""))):
        return UNKNOWN
    values = list(args) if isinstance(args, list | tuple) else [args]
    out, end = [], 0
    for match in _CONVERSIONS.finditer(text):
        out.append(text[end : match.start()])
        end = match.end()
        if match.group(1) == "%":
            out.append("%")
            continue
        piece = _convert(match.group(1), values.pop(0)) if values else None
        if piece is None:
            return UNKNOWN
        out.append(piece)
    return _glue([*out, text[end:]])


def _braces(text: str, args: list[Any]) -> Any:
    """`'{}{0}{:c}'.format(…)` for plain fields."""
    if text.count("{") != len(_FIELDS.findall(text)):
        return UNKNOWN
    out, end = [], 0
    for turn, match in enumerate(_FIELDS.finditer(text)):
        out.append(text[end : match.start()])
        end = match.end()
        number = match.group(1)
        at = int(number) if number and len(number) < 4 else turn
        piece = _convert(match.group(2) or "s", args[at]) if at < len(args) else None
        if piece is None:
            return UNKNOWN
        out.append(piece)
    return _glue([*out, text[end:]])


def _replace(text: str, args: list[Any]) -> Any:
    if len(args) < 2 or not isinstance(args[0], str) or not isinstance(args[1], str) or not args[0]:
        return UNKNOWN
    grown = len(text) + text.count(args[0]) * len(args[1])
    return text.replace(args[0], args[1]) if grown <= MAX_TEXT else UNKNOWN


def _strip(text: str, args: list[Any]) -> Any:
    return text.strip(args[0] if args and isinstance(args[0], str) else None)


def _split(text: str, args: list[Any]) -> Any:
    return text.split(args[0]) if args and isinstance(args[0], str) and args[0] else text.split()


_TEXT_CALLS: Final[dict[str, Callable[[str, list[Any]], Any]]] = {
    "lower": lambda text, _: text.lower(),
    "upper": lambda text, _: text.upper(),
    "casefold": lambda text, _: text.casefold(),
    "title": lambda text, _: text.title(),
    "capitalize": lambda text, _: text.capitalize(),
    "swapcase": lambda text, _: text.swapcase(),
    "replace": _replace,
    "strip": _strip,
    "trim": _strip,
    "lstrip": _strip,
    "rstrip": _strip,
    "split": _split,
    "string": lambda text, _: text,
    "safe": lambda text, _: text,
    "escape": lambda text, _: text,
    "e": lambda text, _: text,
    "reverse": lambda text, _: text[::-1],
    "list": lambda text, _: list(text[:MAX_ITEMS]),
    "first": lambda text, _: text[:1],
    "last": lambda text, _: text[-1:],
    "join": lambda text, args: _glue(text, args[0] if args and isinstance(args[0], str) else ""),
}


_LIST_CALLS: Final[dict[str, Callable[[list[Any], list[Any]], Any]]] = {
    "join": lambda items, args: _glue(items, args[0] if args and isinstance(args[0], str) else ""),
    "reverse": lambda items, _: items[::-1],
    "first": lambda items, _: items[0] if items else UNKNOWN,
    "last": lambda items, _: items[-1] if items else UNKNOWN,
    "list": lambda items, _: items,
    "keys": lambda items, _: items,
}
_OF_KEYS: Final = frozenset({"list", "join", "first", "keys"})  # what a dict's keys are asked for


def call_text(name: str, subject: Any, args: list[Any]) -> Any:
    """A filter or a method of a string or a list, worked out where all of it is constant."""
    if any(a is UNKNOWN for a in args):
        return UNKNOWN
    if isinstance(subject, list | tuple) or (isinstance(subject, dict) and name in _OF_KEYS):
        return _LIST_CALLS[name](list(subject), args) if name in _LIST_CALLS else UNKNOWN
    if not isinstance(subject, str):
        return as_text(subject) or UNKNOWN if name == "string" else UNKNOWN
    if name == "format":
        return _percent(subject, args)
    return _TEXT_CALLS[name](subject, args) if name in _TEXT_CALLS else UNKNOWN


def _index(value: Any, at: Any) -> Any:
    if isinstance(value, str | list | tuple) and isinstance(at, int) and -len(value) <= at < len(value):
        return value[at]
    return UNKNOWN


class Values:
    """The constant value of each node, children first; names keep what they were last set to."""

    def __init__(self) -> None:
        self._of: dict[int, Any] = {}
        self.names: dict[str, Any] = {}

    def of(self, node: Any) -> Any:
        """A node's constant value, or UNKNOWN."""
        return self._of.get(id(node), UNKNOWN)

    def see(self, node: nodes.Node) -> Any:
        """Work out one node whose children have been seen."""
        rule = _RULES.get(type(node).__name__)
        if rule is None:
            return UNKNOWN
        value = _bounded(rule(self, node))
        if value is not UNKNOWN:
            self._of[id(node)] = value
        return value

    def all(self, items: Any) -> list[Any]:
        return [self.of(item) for item in items]


def _assign(values: Values, node: Any) -> Any:
    value, target = values.of(node.node), node.target
    if type(target).__name__ == "Name":
        values.names[target.name] = value
        if isinstance(value, dict):  # namespace(a=…), read as ns.a
            values.names.update({f"{target.name}.{key}": v for key, v in value.items()})
    elif type(target).__name__ == "NSRef":
        values.names[f"{target.name}.{target.attr}"] = value
    elif type(target).__name__ == "Tuple" and isinstance(value, list | tuple) and len(value) == len(target.items):
        for item, part in zip(target.items, value, strict=True):
            if type(item).__name__ == "Name":
                values.names[item.name] = part
    return UNKNOWN


def _slice(values: Values, node: Any) -> Any:
    value, part = values.of(node.node), node.arg
    if type(part).__name__ != "Slice":
        return _index(value, values.of(part))
    ends = [None if end is None else values.of(end) for end in (part.start, part.stop, part.step)]
    if not isinstance(value, str | list | tuple) or any(e is not None and type(e) is not int for e in ends):
        return UNKNOWN
    return value[slice(*ends)] if ends[2] != 0 else UNKNOWN


def _call(values: Values, node: Any) -> Any:
    callee, args = node.node, values.all(node.args)
    if type(callee).__name__ == "Name" and callee.name in {"dict", "namespace"}:
        return {k.key: values.of(k.value) for k in node.kwargs[:MAX_ITEMS]}
    if type(callee).__name__ != "Getattr":
        return UNKNOWN
    subject = values.of(callee.node)
    if callee.attr == "join" and isinstance(subject, str):
        parts = args[0] if args else UNKNOWN
        return _glue(parts, subject) if isinstance(parts, list | tuple | str) else UNKNOWN
    if callee.attr == "format" and isinstance(subject, str):
        return UNKNOWN if any(a is UNKNOWN for a in args) else _braces(subject, args)
    return call_text(callee.attr, subject, args)


def _percent_node(values: Values, node: Any) -> Any:
    left, right = values.of(node.left), values.of(node.right)
    if isinstance(left, str) and right is not UNKNOWN:
        return _percent(left, right)
    return UNKNOWN


def _concat(values: Values, node: Any) -> Any:
    return _glue(values.all(node.nodes)) if len(node.nodes) <= MAX_ITEMS else UNKNOWN


def _sequence(values: Values, node: Any) -> Any:
    return values.all(node.items) if len(node.items) <= MAX_ITEMS else UNKNOWN


def _dict(values: Values, node: Any) -> Any:
    keys = [values.of(pair.key) for pair in node.items[:MAX_ITEMS]]
    return {k: UNKNOWN for k in keys if isinstance(k, str | int)}


def _either(values: Values, node: Any) -> Any:
    return next((v for v in (values.of(node.expr1), values.of(node.expr2)) if isinstance(v, str)), UNKNOWN)


_RULES: Final[dict[str, Callable[[Values, Any], Any]]] = {
    "Const": lambda _, n: n.value,
    "Name": lambda v, n: v.names.get(n.name, UNKNOWN) if n.ctx == "load" else UNKNOWN,
    "Getattr": lambda v, n: v.names.get(f"{n.node.name}.{n.attr}", UNKNOWN) if hasattr(n.node, "name") else UNKNOWN,
    "Concat": _concat,
    "Add": lambda v, n: _add(v.of(n.left), v.of(n.right)),
    "Mul": lambda v, n: _multiply(v.of(n.left), v.of(n.right)),
    "Mod": _percent_node,
    "Neg": lambda v, n: -v.of(n.node) if type(v.of(n.node)) is int else UNKNOWN,
    "List": _sequence,
    "Tuple": _sequence,
    "Dict": _dict,
    "Getitem": _slice,
    "CondExpr": _either,
    "Call": _call,
    "Filter": lambda v, n: call_text(n.name, v.of(n.node), v.all(n.args)),
    "Assign": _assign,
}
