"""How the package's files depend on each other: one way, and by public names only."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

import inspector

ROOT = Path(inspector.__file__).parent


def modules():
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(("inspector", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


MODULES = modules()


def imported(tree, names):
    """The modules of the package that a module imports anywhere in it, for its types alone too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield from {whole, node.module} & names if whole not in names else {whole}
        elif isinstance(node, ast.Import):
            yield from {alias.name for alias in node.names} & names


def circles(edges):
    """Modules on a way between circles: what is left without those that lead nowhere or that nothing leads to."""
    left = {name: set(others) - {name} for name, others in edges.items()}
    while True:
        used = {other for others in left.values() for other in others}
        idle = {name for name, others in left.items() if not others or name not in used}
        if not idle:
            return sorted(left)
        left = {name: others - idle for name, others in left.items() if name not in idle}


def test_no_file_imports_itself_by_way_of_others():
    names = set(MODULES)
    edges = defaultdict(set, {name: set(imported(tree, names)) for name, tree in MODULES.items()})
    assert circles(edges) == []


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"a"}, "c": {"a"}}, ["a", "b"]),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set()}, ["a", "b", "c"]),
    ],
)
def test_a_circle_is_found_and_a_line_is_none(edges, expected):
    assert circles(edges) == expected


def test_imports_for_types_alone_count():
    tree = ast.parse("if TYPE_CHECKING:\n    from inspector.audit import api\n    from inspector.errors import X\n")
    assert set(imported(tree, {"inspector.audit", "inspector.audit.api", "inspector.errors"})) == {
        "inspector.audit.api",
        "inspector.errors",
    }


def borrowed(tree):
    """Private names of other modules that a module uses: `from inspector.x import _y`, or `x._y` of a module `x`."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "inspector":
            for alias in node.names:
                if f"{node.module}.{alias.name}" in MODULES:
                    names.add(alias.asname or alias.name)
                elif alias.name.startswith("_") and not alias.name.startswith("__"):
                    yield f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names):
            continue
        if node.attr.startswith("_") and not node.attr.startswith("__"):
            yield f"{node.value.id}.{node.attr}"


def test_no_module_uses_private_names_of_another():
    found = {name: list(borrowed(tree)) for name, tree in MODULES.items()}
    assert {name: names for name, names in found.items() if names} == {}


def test_borrowed_names_are_seen():
    tree = ast.parse(
        "from inspector.cli.memory import _x, y\nfrom inspector.audit import registry as r\nfrom inspector.formats"
        " import _cursor\nprint(r._RULES, r.rules, _cursor.Cursor)\n"
    )
    assert list(borrowed(tree)) == ["inspector.cli.memory._x", "r._RULES"]
