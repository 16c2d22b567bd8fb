"""Registries and names: no name twice, no constant that nothing uses, no docstring naming a field that is not there.

Tables by architecture have consistency tests of their own, beside their tests.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections import Counter

import inspector
from inspector.dtypes import DTYPES, REMOVED_GGML_TYPES
from inspector.memory import engines
from inspector.memory.devices.gpus import GPUS, normalise
from inspector.memory.engines.llamacpp.graph.archs import ARCHS
from inspector.record import Record


def trees(root):
    return {path: ast.parse(path.read_text("utf-8")) for path in sorted((root / "inspector").rglob("*.py"))}


def twice(names):
    return [name for name, n in Counter(names).items() if n > 1]


def rows_of(root, name):
    """The rows of a table as they stand in the source: a mapping made of them would hide one that is there twice."""
    for tree in trees(root).values():
        for node in ast.walk(tree):
            targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
            if any(isinstance(t, ast.Name) and t.id == name for t in targets) and isinstance(node.value, ast.Tuple):
                yield [row for row in node.value.elts if isinstance(row, ast.Call | ast.Tuple)]


def first_argument(row):
    return (row.args if isinstance(row, ast.Call) else row.elts)[0].value


def test_no_gpu_answers_to_anothers_name():
    spellings = [(normalise(word), name) for name, row in GPUS.items() for word in {name, *row.aliases}]
    owners = {}
    for key, name in spellings:
        assert owners.setdefault(key, name) == name, f"{name} and {owners[key]} are both {key}"
    assert len(owners) > 100


def test_no_row_of_a_registry_stands_twice(root):
    from inspector.memory.devices.gpu_table import ROWS

    assert twice(row[0] for row in ROWS) == []
    tables = [*rows_of(root, "_ROWS")]
    assert any(first_argument(table[0]) == "F32" for table in tables)  # the element types are among them
    for table in tables:
        assert twice(first_argument(row) for row in table) == []


def test_no_number_of_ggml_means_two_types():
    ids = [d.ggml_id for d in DTYPES.values() if d.ggml_id is not None]
    assert twice([*ids, *REMOVED_GGML_TYPES]) == []


def test_names_of_an_engine_lead_to_it_and_to_no_other():
    names = engines.ENGINE_NAMES
    assert twice(word.lower() for e in engines.engines() for word in (e.name, *e.aliases)) == []
    assert {engines.engine_name(name.upper()) for name in names} == set(names)
    for word, name in {"llamacpp": "llama.cpp", "llama-cpp": "llama.cpp", "hf": "transformers"}.items():
        assert engines.engine_name(word) == name


def test_every_constant_of_a_module_is_used_somewhere_in_the_package(root):
    made, used = {}, set()
    for path, tree in trees(root).items():
        for node in tree.body:
            targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
            for name in (n for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)):
                made[name.id] = path.name
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                used.add(node.id)
            elif isinstance(node, ast.Attribute):
                used.add(node.attr)
    assert len(made) > 200
    assert {name: where for name, where in made.items() if name not in used and not name.startswith("__")} == {}


def test_every_function_of_the_package_is_called_somewhere(root):
    used = {"get_command"}  # click calls it
    used |= {row.builder for row in ARCHS.values()}
    for tables in (root / "inspector").rglob("*.txt"):  # loaders as tables, whose words are functions
        used |= set(re.findall(r"\w+", tables.read_text("utf-8")))
    for folder in ("inspector", "tests", "scripts"):
        for path in (root / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
                    used.add(node.id if isinstance(node, ast.Name) else node.attr)
    # the loaders' tables call what loading.py lends them
    used |= set(re.findall(r"\w+", (root / "inspector" / "architectures" / "loaders.txt").read_text("utf-8")))
    unused = [
        f"{path.name}: {node.name}"
        for path, tree in trees(root).items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name not in used and not node.decorator_list
        if not node.name.startswith("__")
    ]
    assert unused == []


def test_graph_builders_say_what_they_make_in_shapes_and_whose_rule_it_is(root):
    folder = root / "inspector" / "memory" / "engines" / "llamacpp" / "graph"
    silent, n = [], 0
    for path in sorted(folder.glob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        sources = ast.get_docstring(tree) or ""
        assert "b11434" in sources or path.name == "periods.py", path.name  # leaving layers out is our own idea
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                n += 1
                silent += [f"{path.name}: {node.name}"] if not ast.get_docstring(node) else []
    assert n > 350
    assert silent == []


def records():
    for module in pkgutil.walk_packages(inspector.__path__, "inspector."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found = [Record]
    for cls in found:
        found += cls.__subclasses__()
    return [
        cls for cls in found[1:] if cls.__module__.startswith("inspector.") and ".architectures" not in cls.__module__
    ]


# Read as a whole: `Merits` by `_fields`, `Sizes` as JSON; `load_mode` changes no size; `about` says what a row is.
READ_AS_A_WHOLE = {"gpu_experts", "n_outputs_max", "load_mode", "about", "rule"}


def test_every_field_of_a_record_is_read_somewhere(root):
    read = set(READ_AS_A_WHOLE)
    for folder in ("inspector", "tests", "scripts"):
        for path in (root / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                    read.add(node.attr)
    assert {f"{cls.__module__}.{cls.__name__}: {f}" for cls in records() for f in cls._fields if f not in read} == set()


def words_of(root):
    """Words that mean something besides fields: keys and names in strings, parameters."""
    found = set()
    for tree in trees(root).values():
        docs = {id(node.body[0].value) for node in ast.walk(tree) if getattr(node, "body", None)
                and isinstance(node.body, list) and isinstance(node.body[0], ast.Expr)}  # fmt: skip
        for node in ast.walk(tree):
            if isinstance(node, ast.arg):
                found.add(node.arg)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
                found.add(node.value)
    return found


def test_docstrings_of_records_name_fields_that_exist(root):
    """`name`: explains a field; any other `name` is a field, a key, or a parameter."""
    words, wrong, n = words_of(root), [], 0
    for cls in records():
        doc = cls.__doc__ or ""
        explained = {
            name for group in re.findall(r"((?:`\w+`(?:, | and )?)+):", doc) for name in re.findall(r"`(\w+)`", group)
        }
        n += len(explained)
        wrong += [f"{cls.__module__}.{cls.__name__}: {name}" for name in explained if not hasattr(cls, name)]
        for name in re.findall(r"`([a-z_]\w*)`", doc):
            if name not in words and not hasattr(cls, name):
                wrong.append(f"{cls.__module__}.{cls.__name__}: {name}")
    assert n > 50
    assert wrong == []
