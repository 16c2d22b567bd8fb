"""CONTRIBUTING.md's recipes, followed to the letter in a copy of the package.

Those for an engine and a model type of transformers are followed in memory/test_engines.py and
architectures/test_hf_records.py.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

PLACES = {  # code, docs and tests that a recipe names
    "Add a GPU": 2, "Add an element type": 3, "Add a GGUF architecture": 3, "Add a back end of llama.cpp": 2,
    "Add an engine": 2, "Add a model type of transformers": 3, "Add an audit rule": 2,
}  # fmt: skip
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
    end = re.compile(r"\n\)(  # fmt: skip)?\n").search(text, start.end()).start()
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


def memory(copy, *args):
    return json.loads(inspector(copy, "memory", *args, "--json"))


def test_a_dense_gguf_architecture_is_a_word_and_a_row(copy, files):
    raw = (files / "gguf" / "tiny-llama-q8_0.gguf").read_bytes()
    (copy / "llama.gguf").write_bytes(raw)
    (copy / "dense.gguf").write_bytes(raw.replace(b"llama", b"dense"))  # all keys, and the name of the architecture
    assert "dense is not an architecture known here" in inspector(copy, "show", "dense.gguf")

    registry = only(copy, "architectures/gguf.py")
    text = registry.read_text("utf-8")
    assert text.count('"llama deci ') == 1
    registry.write_text(text.replace('"llama deci ', '"llama dense deci '), "utf-8")
    graphs = only(copy, "graph/archs.py")
    text = graphs.read_text("utf-8")
    row = '    "llama": Row("decoder", "Decoder", FACTORS),\n'
    assert text.count(row) == 1
    graphs.write_text(text.replace(row, row + row.replace("llama", "dense")), "utf-8")

    assert "not an architecture known here" not in inspector(copy, "show", "dense.gguf")
    assert "src/models/dense.cpp" in inspector(copy, "archs")
    for options in ((), ("-c", "512", "-fa", "off"), ("--gpu", "24GiB", "-ngl", "1")):
        ours, llamas = (memory(copy, name, *options)["lines"] for name in ("dense.gguf", "llama.gguf"))
        assert ours == llamas
        assert {line["grade"] for line in ours if line["what"] == "compute"} == {"derived"}


def test_a_back_end_is_one_row(copy, files):
    path = copy / "m.gguf"
    path.write_bytes((files / "gguf" / "tiny-llama-q8_0.gguf").read_bytes())
    row = 'Backend("example", 4096, offload_batch=32, devices=("EX",)),'
    add_row(only(copy, "backends/__init__.py"), "_ROWS", row)
    assert "rpc, cuda" in inspector(copy, "memory", path, "--gpu", "1GiB", "--backend", "abacus")

    answer = memory(copy, path, "--gpu", "1GiB", "--backend", "example")
    assert answer["workload"]["backend"] == "example"
    on_device = {line["what"]: line for line in answer["lines"] if line["device"] != "host"}
    tensors = json.loads(inspector(copy, "tensors", path, "--json"))["tensors"]
    padded = [-(-t["nbytes"] // 4096) * 4096 for t in tensors if t["name"] != "token_embd.weight"]
    assert on_device["weights"]["nbytes"] == sum(padded)
    assert on_device["compute"]["grade"] == "modelled"  # no figure of the engine's own holds it
    code = "from inspector.memory.engines.llamacpp.backends import backend_of_device as b; print(b('EX0'), b('CUDA1'))"
    env = os.environ | {"PYTHONPATH": str(copy)}
    done = subprocess.run([sys.executable, "-B", "-c", code], env=env, cwd=copy, capture_output=True, check=True)
    assert done.stdout.split() == [b"example", b"cuda"]


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
    places = set(re.findall(r"`((?:inspector|tests|scripts)/[\w/.]+)`", section.partition("\nAn option more")[0]))
    assert len(places) == PLACES[recipe] <= 3
    for place in places:  # a room may get rooms of its own: the file's name is what counts
        name = place.rstrip("/").rpartition("/")[2]
        assert [*root.glob(f"{place.partition('/')[0]}/**/{name}"), *root.glob(place)], place
