"""CONTRIBUTING.md's recipes for a GPU, an element type and a rule, followed to the letter in a copy of the package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

PLACES = {"Add a GPU": 2, "Add an element type": 3, "Add an audit rule": 2}  # code, docs and tests that a recipe names
RULE = '''

@rule("ST999", "st-shouting", severity="info", hint="rename it")
def shouting(subject: Subject) -> Iterator[Hit]:
    """
    A tensor's name is in capitals.

    Why it matters: It does not; this is the recipe's example.
    """
    for file in subject.of_format("safetensors"):
        assert file.model is not None
        for tensor in file.model.tensors:
            if tensor.name.isupper():
                yield Hit(f"{file.name}: {tensor.name}", "all capitals")
'''


@pytest.fixture
def copy(root, tmp_path):
    shutil.copytree(root / "inspector", tmp_path / "inspector", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def only(copy, name):
    """The one module of this path in the copy, whichever room it is in."""
    (path,) = (p for p in (copy / "inspector").rglob("*.py") if f"/{p.as_posix()}".endswith(name))
    return path


def add_row(path, table, row):
    """A row at the end of a table, as an editor would."""
    text = path.read_text("utf-8")
    start = re.search(rf"^{table}\b.*= \(\n", text, re.MULTILINE)
    end = text.index("\n)\n", start.end())
    path.write_text(f"{text[:end]}\n    {row}{text[end:]}", "utf-8")


def inspector(copy, *args):
    env = os.environ | {"PYTHONPATH": str(copy), "NO_COLOR": "1", "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-B", "-m", "inspector", *args], env=env, cwd=copy, capture_output=True, encoding="utf-8",
        check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_a_gpu_is_one_row(copy):
    add_row(only(copy, "/gpu_table.py"), "_NVIDIA", '("Example 9000", "12.0", 98304, True, None, ("ex9000",)),')
    assert "Example 9000" in inspector(copy, "gpus")
    weights = 60 << 30
    code = f"from inspector.memory.devices.gpus import parse_gpu; print(parse_gpu('2xex9000')[1].capacity > {weights})"
    env = os.environ | {"PYTHONPATH": str(copy)}
    done = subprocess.run([sys.executable, "-B", "-c", code], env=env, cwd=copy, capture_output=True, check=True)
    assert done.stdout.strip() == b"True"


def test_an_element_type_is_one_row(copy):
    add_row(only(copy, "inspector/dtypes.py"), "_ROWS", 'Dtype("Q9_X", 32, 38, 99, False, False, "an example"),')
    assert "Q9_X" in inspector(copy, "dtypes")
    from gguf_builder import Tensor, build

    raw = build([], [Tensor("t", (64, 2), 99)], data=bytes(2 * 2 * 38 + 8))  # 152 bytes, padded to 160
    (copy / "m.gguf").write_bytes(raw)
    assert "Q9_X" in inspector(copy, "tensors", "m.gguf")
    assert "152" in inspector(copy, "tensors", "m.gguf", "--json")


def test_a_rule_is_one_function_in_its_familys_module(copy):
    from audit_builder import st_bytes

    (path,) = (p for p in (copy / "inspector" / "audit").rglob("safetensors.py") if "@rule(" in p.read_text("utf-8"))
    path.write_text(path.read_text("utf-8") + RULE, "utf-8")
    (copy / "m.safetensors").write_bytes(st_bytes({"LOUD": ("F32", (2,)), "quiet": ("F32", (2,))}))
    out = inspector(copy, "audit", "m.safetensors")
    assert "ST999" in out
    assert "LOUD" in out
    assert "quiet" not in out
    assert "A tensor's name is in capitals." in inspector(copy, "rule", "ST999")


@pytest.mark.parametrize("recipe", PLACES)
def test_a_recipe_names_at_most_three_places_and_they_exist(root, recipe):
    page = (root / "CONTRIBUTING.md").read_text("utf-8")
    section = page.partition(f"## {recipe}\n")[2].partition("\n## ")[0]
    places = set(re.findall(r"`((?:inspector|tests|scripts)/[\w/.]+)`", section))
    assert len(places) == PLACES[recipe] <= 3
    for place in places:  # a room may get rooms of its own: the file's name is what counts
        name = place.rstrip("/").rpartition("/")[2]
        assert [*root.glob(f"{place.partition('/')[0]}/**/{name}"), *root.glob(place)], place
