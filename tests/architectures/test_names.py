"""Names of architectures and model types wherever they stand: in every table, set and comparison, a known one."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Mapping

import inspector
from inspector.architectures.gguf import GGUF_ARCHS
from inspector.architectures.hf_lookup import every_record

MODEL_TYPES = {name for name, _ in every_record()}
# Architectures of files that are no models (llama.cpp's projectors), and words that a table of names holds besides.
OTHERS = {"clip", "controlvector"}
# Tables by layouts and modules, some called like their first model; the modules of mlx-lm.
NO_NAMES = {"_EXPERT_NAMES", "FAMILIES", "REGISTERED", "COMPARED", "EXPANDS", "_ROTATES"}
MOST = 0.6  # a table is one of architectures if so many of its words are names of some


def words(value, *, inside=False):
    """The names that a collection is keyed by: a set's elements, a mapping's keys, the first of each pair."""
    if isinstance(value, str):
        return value.split() if inside else []
    if isinstance(value, Mapping):
        return [w for key in value for w in words(key, inside=True)]
    if isinstance(value, set | frozenset | tuple | list):
        heads = (x[0] if isinstance(x, tuple) and x else x for x in value)
        return [w for x in heads for w in words(x, inside=True)]
    return []


def tables():
    """(where, names) of every module-level table of the package that is one of architectures or model types."""
    for module in pkgutil.walk_packages(inspector.__path__, "inspector."):
        if module.name.endswith("__main__") or ".cli" in module.name:
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            found = [] if name.startswith("__") or name in NO_NAMES else words(value)
            for known in (set(GGUF_ARCHS), MODEL_TYPES):
                if len(found) > 1 and sum(w in known for w in found) > MOST * len(found):
                    yield f"{module.name}.{name}", found, known


def test_every_key_of_every_table_by_architecture_is_a_known_name():
    found = {where: names for where, names, _ in tables()}
    assert len(found) > 50
    known = set(GGUF_ARCHS) | MODEL_TYPES | OTHERS
    assert {where: strange for where, names in found.items() if (strange := set(names) - known)} == {}


def test_no_table_by_gguf_architecture_names_one_of_transformers_instead():
    """A row under a config's name would be dead: `mistral` is none of llama.cpp's names."""
    for where, names, known in tables():
        if known is not MODEL_TYPES and sum(n in MODEL_TYPES for n in names) < sum(n in GGUF_ARCHS for n in names):
            assert set(names) <= set(GGUF_ARCHS), where


def compared(tree):
    """Strings that a field `arch` or `model_type` is compared with."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            named = [s for s in sides if getattr(s, "attr", getattr(s, "id", "")) in {"arch", "model_type"}]
            for side in sides if named else ():
                for leaf in ast.walk(side):
                    if side not in named and isinstance(leaf, ast.Constant) and isinstance(leaf.value, str):
                        yield leaf.value


def test_an_architecture_is_compared_with_known_names_only(root):
    found = {
        (path.name, word)
        for path in (root / "inspector").rglob("*.py")
        for word in compared(ast.parse(path.read_text("utf-8")))
    }
    assert len(found) > 20
    assert {word for _, word in found} - set(GGUF_ARCHS) - MODEL_TYPES - OTHERS == set()
