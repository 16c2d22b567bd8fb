"""How long things may be: a function is read at one sight, a module in one sitting. Exceptions have their reasons."""

from __future__ import annotations

import ast
from pathlib import Path

import inspector

ROOT = Path(inspector.__file__).parent
MOST_LINES, MOST_OF_A_FUNCTION = 400, 40

MODULES = {
    "architectures/towers/vision.py": "a table: one short builder a kind of tower, and the names they go by",
    "quantization/convert_keys.py": "a table: the keys that the converter writes, architecture by architecture",
    "report/documents.py": "types alone: every document of --json",
}
FUNCTIONS = {
    "read_facts_hf": "a record of thirty fields, one a line",
}
BUILDERS = "memory/engines/llamacpp/graph"  # a layer's nodes in the engine's own order: splitting hides the order


def sources():
    return {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in sorted(ROOT.rglob("*.py"))}


def lines_of(node):
    """Lines of a function without its docstring."""
    body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
    return node.end_lineno - body[0].lineno + 1


def test_modules_are_short():
    long = {name for name, text in sources().items() if len(text.splitlines()) > MOST_LINES}
    assert long == set(MODULES)


def test_functions_are_short():
    long = {
        node.name
        for name, text in sources().items()
        if not name.startswith(BUILDERS)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and lines_of(node) > MOST_OF_A_FUNCTION
    }
    assert long == set(FUNCTIONS)


def test_a_docstring_is_no_line_of_its_function():
    tree = ast.parse('def f():\n    """a\n\n    b"""\n    x = 1\n    return x\n')
    assert lines_of(tree.body[0]) == 2
