"""What a template's tree does that chat never needs: reaching Python through it, or growing without end.

One pass, children first, without recursion. Attack shapes: CVE-2024-34359 (llama-cpp-python), CVE-2026-5760 (SGLang),
CVE-2016-10745, CVE-2024-56326 and CVE-2025-27516 (jinja2's sandbox).
"""

from __future__ import annotations

import re
import unicodedata

from inspector.audit.readers.template_names import (
    BY_ATTRIBUTE,
    DUNDER,
    DUNDER_INSIDE,
    FUNCTIONS,
    GLOBALS,
    HELPERS,
    INTERNAL,
    METHODS,
    MODULES,
    PADDING,
    WEB,
    WIDTHS,
    is_internal,
    mentions_internal,
    words,
)
from inspector.audit.readers.template_sizes import (
    MAX_RANGE,
    Sizes,
    count_words,
    length,
    number,
    range_length,
    rounds,
)
from inspector.audit.readers.template_values import UNKNOWN, Values
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Final

    from jinja2 import nodes

MAX_SIGNS: Final = 50
# Honest templates nest 12 deep.
MAX_DEPTH: Final = 48


class Sign(Record):
    """One thing seen: `kind` is code or bomb, `severity` error (it is an attack) or warning (nobody needs it)."""

    kind: str
    severity: str
    line: int
    what: str


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "…")


def _flatten(tree: nodes.Node) -> list[tuple[Any, int, str]]:
    """Every node with the index of its parent and the field it hangs in, parents before children."""
    from jinja2.nodes import Node

    out: list[tuple[Any, int, str]] = []
    stack: list[tuple[Any, int, str]] = [(tree, -1, "")]
    while stack:
        node, parent, field = stack.pop()
        here = len(out)
        out.append((node, parent, field))
        for name in node.fields:
            value = getattr(node, name, None)
            if isinstance(value, Node):
                stack.append((value, here, name))
            elif isinstance(value, list | tuple):
                stack += [(v, here, name) for v in value if isinstance(v, Node)]
    return out


class Walk:
    """One pass over a tree: its constants, its sizes, its signs."""

    def __init__(self, tree: nodes.Node) -> None:
        self.flat = _flatten(tree)
        self.values = Values()
        self.signs: list[Sign] = []
        self.own = self._own_names()
        self.sizes = Sizes(self.values)
        self.n_too_long = 0
        self.rounds = rounds(self.flat)

    def _own_names(self) -> frozenset[str]:
        """Names that the template itself gives a meaning: variables, parameters, macros."""
        names = set()
        for node, _, _ in self.flat:
            kind = type(node).__name__
            if (kind == "Name" and node.ctx in {"store", "param"}) or kind == "Macro":
                names.add(node.name)
        return frozenset(names)

    def add(self, kind: str, severity: str, node: Any, what: str) -> None:
        if len(self.signs) < MAX_SIGNS:
            self.signs.append(Sign(kind, severity, getattr(node, "lineno", 0) or 0, what))

    def run(self) -> tuple[Sign, ...]:
        for i in range(len(self.flat) - 1, -1, -1):
            node, parent, field = self.flat[i]
            self.values.see(node)
            above = self.flat[parent][0] if parent >= 0 else None
            check = _CHECKS.get(type(node).__name__)
            if check is not None:
                check(self, node, above, field, i)
            self._measure(node)
            self._glued(node, above, field)
        if (depth := _depth(self.flat)) > MAX_DEPTH:
            self.add(
                "bomb", "warning", self.flat[0][0], f"nested {depth} levels deep: some engines overflow their stack"
            )
        return tuple(sorted(self.signs, key=lambda s: s.line))

    def _measure(self, node: Any) -> None:
        """Tells of strings that are too long, of the first three."""
        size = self.sizes.see(node)
        if size and self.n_too_long < 3:
            self.add("bomb", "warning", node, f"builds {count_words(size)} characters or more from constants")
        self.n_too_long += size > 0

    def _glued(self, node: Any, above: Any, field: str) -> None:
        """A constant that is, or was pieced together into, the name of an internal."""
        kind = type(node).__name__
        if kind in {"Name", "Assign", "CondExpr", "List", "Tuple", "Dict"}:
            return
        value = self.values.of(node)
        if not isinstance(value, str) or "_" not in unicodedata.normalize("NFKC", value) or not is_internal(value):
            return
        if kind != "Const":
            self.add("code", "error", node, f"glues the name {_short(value)} together from pieces")
        elif (field == "arg" or type(above).__name__ in _CARRIERS) and DUNDER.fullmatch(value.strip()):
            severity = "error" if mentions_internal(value) else "warning"
            self.add("code", severity, node, f"uses the name {_short(value)} as a value")


# Chains that parsers build with a loop: `a + b + c`, `a.b.c`, `a|b|c`. They nest in the tree and not in the text.
_CHAINS: Final = words(
    "Add Sub Mul Div FloorDiv Mod And Or Concat Getattr Getitem Filter Test Call Not Compare Operand"
)


def _depth(flat: list[tuple[Any, int, str]]) -> int:
    """How deep blocks and brackets nest, as far as the tree shows it."""
    depths = [0] * len(flat)
    for i, (node, parent, field) in enumerate(flat):
        chained = type(node).__name__ in _CHAINS or field in {"elif_", "left", "right"}
        depths[i] = (depths[parent] if parent >= 0 else 0) + (not chained)
    return max(depths)


_CARRIERS: Final = words("Assign Call Filter Keyword List Tuple Macro With Test Compare Operand Pair")


def _getattr(walk: Walk, node: Any, above: Any, field: str, _: int) -> None:
    base = node.node
    if is_internal(node.attr) and not (node.attr == "mro" and not _is_called(above, field)):
        walk.add("code", "error", node, f"reaches for .{node.attr[:60]}: Python's internals")
    elif node.attr.startswith("_"):
        walk.add("code", "warning", node, f"reaches for the private attribute .{node.attr[:60]}")
    elif node.attr in METHODS and _is_called(above, field):
        walk.add("code", "error", node, f"calls .{node.attr}(), which starts programs or loads code")
    if type(base).__name__ == "Name" and base.name not in walk.own:
        if base.name in MODULES:
            walk.add("code", "error", node, f"uses the module {base.name}")
        elif base.name in WEB:
            walk.add("code", "warning", node, f"uses {base.name}, which belongs to a web framework")


def _is_called(above: Any, field: str) -> bool:
    return type(above).__name__ == "Call" and field == "node"


def _getitem(walk: Walk, node: Any, _above: Any, _field: str, _: int) -> None:
    base = node.node
    key = walk.values.of(node.arg)
    if isinstance(key, str) and key in INTERNAL and key != "mro":
        walk.add("code", "error", node, f"reaches for [{_short(key)}]: Python's internals")
    if type(base).__name__ == "Name" and base.name in GLOBALS and base.name not in walk.own:
        walk.add("code", "error", node, f"reaches into jinja2's own {base.name}")
    if key is UNKNOWN and _starts_dunder(walk, node.arg):
        walk.add("code", "error", node, "puts a name that starts with two underscores together")


def _starts_dunder(walk: Walk, node: Any) -> bool:
    """Whether an expression glues something behind `__`."""
    kind = type(node).__name__
    first = node.nodes[0] if kind == "Concat" else node.left if kind in {"Add", "Mod"} else None
    value = walk.values.of(first) if first is not None else UNKNOWN
    return isinstance(value, str) and value.startswith("__")


def _name(walk: Walk, node: Any, above: Any, field: str, _: int) -> None:
    if node.ctx != "load" or node.name in walk.own:
        return
    name, called = node.name, _is_called(above, field)
    if is_internal(name) and name != "mro":
        walk.add("code", "error", node, f"uses {name[:60]}: Python's internals")
    elif called and name in FUNCTIONS:
        walk.add("code", "error", node, f"calls {name}(), a function of Python that templates do not have")
    elif name in HELPERS and not called and type(above).__name__ not in {"Getattr", "Getitem"}:
        walk.add(
            "code", "error", node, f"takes jinja2's function {name} as a value: the usual first step to its globals"
        )
    elif name == "lipsum" and called:
        walk.add("code", "warning", node, "calls lipsum(), which makes filler text")
    elif name in {"namespace", "range", "dict", "self"} and type(above).__name__ == "Filter" and field == "node":
        walk.add("code", "error", node, f"takes jinja2's own {name} as a value")
    elif name == "self":
        walk.add("code", "warning", node, "uses self, the template as an object")
    elif called and name in WEB:
        walk.add("code", "warning", node, f"uses {name}, which belongs to a web framework")


def _filter(walk: Walk, node: Any, _above: Any, _field: str, _: int) -> None:
    constants = [walk.values.of(a) for a in node.args]
    named = {k.key: walk.values.of(k.value) for k in node.kwargs}
    if node.name == "attr":
        name = constants[0] if constants else named.get("name", UNKNOWN)
        plain = isinstance(name, str) and name.isidentifier() and not is_internal(name) and name[:1] != "_"
        if plain and name != "format":
            walk.add(
                "code", "warning", node, f"fetches the attribute {_short(str(name))} by |attr, past the usual checks"
            )
        else:
            what = _short(name) if isinstance(name, str) else "a name that is put together"
            walk.add("code", "error", node, f"fetches {what} by |attr: the way into Python's internals")
        return
    if node.name in BY_ATTRIBUTE:
        _by_attribute(walk, node, constants, named)
    if node.name in PADDING:
        _padding(walk, node, [*constants, *named.values()])
    if node.name in {"string", "list"} and type(node.node).__name__ == "Filter" and node.name == "string":
        inner = node.node.name
        if inner in {"select", "reject", "map", "selectattr", "rejectattr", "slice", "batch"}:
            walk.add("code", "warning", node, "takes the text of a generator object, which only serves to pick letters")
    if node.name == "format":
        _format_string(walk, node, walk.values.of(node.node))


def _by_attribute(walk: Walk, node: Any, constants: list[Any], named: dict[str, Any]) -> None:
    if node.name == "map" and constants[:1] == ["attr"]:
        walk.add("code", "error", node, "maps |attr over a list: the way into Python's internals")
    names = [named.get("attribute", ""), *(constants[:1] if node.name != "map" else [])]
    for name in names:
        if is_internal(name) or (isinstance(name, str) and mentions_internal(name)):
            walk.add("code", "error", node, f"reaches for the attribute {_short(name)} by |{node.name}")
        elif name is UNKNOWN and node.name == "map":
            walk.add("code", "warning", node, "maps an attribute whose name is put together")


def _padding(walk: Walk, node: Any, numbers: list[Any]) -> None:
    if any(type(n) is int and n >= MAX_RANGE // 10 for n in numbers):
        walk.add("bomb", "warning", node, "pads to millions of characters")


def _format_string(walk: Walk, node: Any, text: Any) -> None:
    if mentions_internal(text):
        walk.add("code", "error", node, "a format string that reaches Python's internals")
    if isinstance(text, str) and WIDTHS.search(text):
        walk.add("bomb", "warning", node, "a format string that pads to millions of characters")


def _call(walk: Walk, node: Any, _above: Any, _field: str, _: int) -> None:
    callee = node.node
    kind = type(callee).__name__
    if kind == "Getattr":
        if callee.attr == "format":
            _format_string(walk, node, walk.values.of(callee.node))
        if callee.attr in PADDING:
            _padding(walk, node, walk.values.all(node.args))
    if kind == "Name" and callee.name == "range":
        n = range_length([v if type(v := walk.values.of(a)) is int else number(a) for a in node.args])
        if n > MAX_RANGE:
            walk.add("bomb", "warning", node, f"counts to {count_words(n)}")
    if any(is_internal(k.key) for k in node.kwargs):
        walk.add("code", "error", node, "uses the name of a Python internal as a keyword")


def _for(walk: Walk, node: Any, _above: Any, _field: str, i: int) -> None:
    outer = max(walk.rounds[i], 1)
    n = length(node.iter)
    if outer <= MAX_RANGE < outer * n and n <= MAX_RANGE:  # a longer range is reported where it is called
        walk.add("bomb", "warning", node, f"loops that run {count_words(outer * n)} times")


def _mod(walk: Walk, node: Any, _above: Any, _field: str, _: int) -> None:
    _format_string(walk, node, walk.values.of(node.left))


def _pow(walk: Walk, node: Any, _above: Any, _field: str, _: int) -> None:
    base, power = (number(n) if walk.values.of(n) is UNKNOWN else walk.values.of(n) for n in (node.left, node.right))
    nested = "Pow" in {type(node.left).__name__, type(node.right).__name__}
    if nested:  # jinja2 works it out from the left, other engines from the right
        walk.add("bomb", "warning", node, "a tower of powers")
    elif type(base) is int and type(power) is int and abs(base) > 1 and power * base.bit_length() > 1 << 20:
        walk.add("bomb", "warning", node, "a power of millions of digits")


def _assign(walk: Walk, node: Any, _above: Any, _field: str, i: int) -> None:
    """`x = x ~ x`: within a loop it grows past all memory."""
    key = _target(node.target)
    if key is None or not walk.rounds[i]:
        return
    twice, stack = 0, [node.node]
    while stack:
        part = stack.pop()
        kind = type(part).__name__
        if kind == "Concat":
            stack += part.nodes
        elif kind == "Add":
            stack += [part.left, part.right]
        elif kind == "Mul":
            stack += [part.left] * (1 + (type(number(part.right)) is int))
        elif _target(part) == key:
            twice += 1
    if twice > 1:
        walk.add("bomb", "warning", node, "doubles a string on every round of a loop")


def _target(node: Any) -> tuple[str, ...] | None:
    kind = type(node).__name__
    if kind == "Name":
        return (node.name,)
    if kind == "NSRef":
        return (node.name, node.attr)
    if kind == "Getattr" and type(node.node).__name__ == "Name":
        return (node.node.name, node.attr)
    return None


def _load(walk: Walk, node: Any, _above: Any, _field: str, _: int) -> None:
    name = walk.values.of(node.template)
    outside = isinstance(name, str) and (name.startswith(("/", "\\")) or ".." in name)
    what = f"loads {_short(name)}" if isinstance(name, str) else "loads another template"
    walk.add("code", "error" if outside else "warning", node, f"{what}: chat templates stand alone")


_CHECKS: Final[dict[str, Callable[[Walk, Any, Any, str, int], None]]] = {
    "Getattr": _getattr,
    "Getitem": _getitem,
    "Name": _name,
    "Filter": _filter,
    "Call": _call,
    "For": _for,
    "Mod": _mod,
    "Pow": _pow,
    "Assign": _assign,
    "Include": _load,
    "Import": _load,
    "FromImport": _load,
    "Extends": _load,
}


def signs_of(tree: nodes.Node) -> tuple[Sign, ...]:
    """Everything suspicious in a parsed template, by line."""
    return Walk(tree).run()


_IN_TEXT: Final = re.compile(DUNDER_INSIDE.pattern + r"|\|\s*attr\b|\.popen\(|\bsubprocess\.|\b__import__\b")


def signs_of_text(text: str) -> Iterator[Sign]:
    """For templates that cannot be parsed: names of internals inside their tags."""
    n = 0
    for tried, match in enumerate(_IN_TEXT.finditer(text)):
        before = text[max(0, match.start() - 2000) : match.start()]
        if max(before.rfind("{{"), before.rfind("{%")) > max(before.rfind("}}"), before.rfind("%}")):
            line = text.count("\n", 0, match.start()) + 1
            what = f"names {_short(match.group().strip())} (in a template that cannot be parsed)"
            yield Sign("code", "error", line, what)
            n += 1
        if n >= 3 or tried > 200:
            return
