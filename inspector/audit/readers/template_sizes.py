"""How much a template's tree makes at least: rounds of its loops, numbers it writes down, lengths of its strings."""

from __future__ import annotations

from inspector.audit.readers.template_values import UNKNOWN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from inspector.audit.readers.template_values import Values

MAX_RANGE: Final = 10_000_000
MAX_TEXT_NBYTES: Final = 16 << 20


def count_words(n: int) -> str:
    """A count in figures, as far as figures help."""
    return f"{n:,}" if n < 10**15 else "more than 10^15"


def length(iterable: Any) -> int:
    """A loop's length where it is written down, else 1."""
    kind = type(iterable).__name__
    if kind in {"List", "Tuple"}:
        return len(iterable.items) or 1
    if kind == "Call" and type(iterable.node).__name__ == "Name" and iterable.node.name == "range":
        return max(range_length([number(a) for a in iterable.args]), 1)
    if kind == "Const" and isinstance(iterable.value, str):
        return len(iterable.value) or 1
    return 1


def number(node: Any) -> int | None:
    """A whole number as written, also as a power or product of two."""
    kind = type(node).__name__
    if kind == "Const" and type(node.value) is int:
        return int(node.value)
    if kind in {"Pow", "Mul"}:
        left, right = node.left, node.right
        if type(left).__name__ == type(right).__name__ == "Const" and type(left.value) is type(right.value) is int:
            a, b = int(left.value), int(right.value)
            if kind == "Mul":
                return a * b
            return int(a**b) if abs(a).bit_length() * abs(b) < 4096 and b >= 0 else None
    return None


def range_length(args: list[int | None]) -> int:
    """The length of range() with these arguments; 0 where one is not known."""
    if not 1 <= len(args) <= 3 or any(a is None for a in args):
        return 0
    known = [a for a in args if a is not None]
    start, stop = (0, known[0]) if len(known) == 1 else (known[0], known[1])
    step = known[2] if len(known) == 3 else 1
    return max(0, -(-(stop - start) // step)) if step else 0


def rounds(flat: list[tuple[Any, int, str]]) -> list[int]:
    """How often each node runs, as far as the loops around it have a constant length; 0 outside loops."""
    found = [0] * len(flat)
    for i, (_, parent, field) in enumerate(flat):
        found[i] = found[parent] if parent >= 0 else 0
        if parent >= 0 and type(flat[parent][0]).__name__ == "For" and field == "body":
            found[i] = max(found[parent], 1) * length(flat[parent][0].iter)
    return found


class Sizes:
    """How long the strings of a tree are at least, from constants and doubling; nodes are seen children first."""

    def __init__(self, values: Values) -> None:
        self.values = values
        self.of_nodes: dict[int, int] = {}
        self.of_names: dict[str, int] = {}

    def see(self, node: Any) -> int:
        """The node's length where it is the first on its way to be too long; else 0."""
        rule = _RULES.get(type(node).__name__)
        if rule is None:
            return 0
        size = rule(self, node)
        longest = max((self.of(c) for c in node.iter_child_nodes()), default=0) if size > MAX_TEXT_NBYTES else size
        self.of_nodes[id(node)] = min(size, 1 << 80)
        return size if longest < size else 0

    def of(self, node: Any) -> int:
        """What is known of a node's length; 1 where nothing is."""
        return self.of_nodes.get(id(node), 1)


def _size_mul(sizes: Sizes, node: Any) -> int:
    a, b = (sizes.values.of(n) if sizes.values.of(n) is not UNKNOWN else number(n) for n in (node.left, node.right))
    if type(a) is int and type(b) is int:
        return 1  # a number
    if type(b) is int:
        return sizes.of(node.left) * max(b, 0)
    return sizes.of(node.right) * max(a, 0) if type(a) is int else 1


def _size_name(sizes: Sizes, node: Any) -> int:
    return sizes.of_names.get(node.name, 1) if node.ctx == "load" else 1


def _size_assign(sizes: Sizes, node: Any) -> int:
    if type(node.target).__name__ == "Name":
        sizes.of_names[node.target.name] = sizes.of(node.node)
    return 1


_RULES: Final[dict[str, Callable[[Sizes, Any], int]]] = {
    "Const": lambda _, n: len(n.value) if isinstance(n.value, str) else 1,
    "Name": _size_name,
    "Concat": lambda s, n: sum(s.of(c) for c in n.nodes),
    "Add": lambda s, n: s.of(n.left) + s.of(n.right),
    "Mul": _size_mul,
    "Filter": lambda s, n: s.of(n.node) if n.node is not None else 1,
    "List": lambda _, n: max(len(n.items), 1),
    "Assign": _size_assign,
}
