"""The registries, and the help of every command."""

from __future__ import annotations

import json

import gguf
import pytest

from inspector.cli.group import COMMANDS, run_command_line


@pytest.mark.parametrize("command", ["archs", "dtypes", "gpus", "engines", "rule"])
def test_a_registry_is_a_table_and_json(command, run_inspector):
    code, out, err = run_inspector([command])
    assert (code, err) == (0, "")
    answer = json.loads(run_inspector([command, "--json"])[1])
    (rows,) = [v for v in answer.values() if isinstance(v, list)]
    assert answer["schema"].startswith("inspector.")
    names = [str(row.get("name")) for row in rows]
    assert all(name in out for name in names)
    assert len(out.splitlines()) >= len(rows)


def test_element_types_are_the_reference_librarys(run_inspector):
    rows = {r["name"]: r for r in json.loads(run_inspector(["dtypes", "--json"])[1])["dtypes"]}
    for kind, (elements, nbytes) in gguf.GGML_QUANT_SIZES.items():
        # block_q8_1 has two half floats in ggml itself (ggml-common.h), two floats in the Python library
        size = nbytes - 4 if kind == gguf.GGMLQuantizationType.Q8_1 else nbytes
        row = rows[kind.name]
        assert (row["ggml_id"], row["block_elems"], row["block_bytes"]) == (int(kind), elements, size)
        assert row["bits_per_weight"] == size * 8 / elements


def test_every_architecture_that_the_reference_library_names_has_a_row(run_inspector):
    rows = json.loads(run_inspector(["archs", "--json"])[1])["architectures"]
    known = {r["name"] for r in rows if r["format"] == "GGUF"}
    named = set(gguf.MODEL_ARCH_NAMES.values()) - {"mmproj", "clip"}
    assert len(named - known) <= 2, sorted(named - known)


def test_names_filter_and_nothing_found_is_exit_code_1(run_inspector):
    assert run_inspector(["archs", "gemma3"])[0] == 0
    assert run_inspector(["archs", "no-such-architecture"])[0] == 1
    rows = json.loads(run_inspector(["gpus", "4090", "--json"])[1])["gpus"]
    assert rows
    assert all("4090" in r["name"] for r in rows)
    assert run_inspector(["rule", "XX999"])[0] == 2


def test_every_command_has_help_with_an_example(run_inspector):
    for command in COMMANDS:
        code, out, err = run_inspector([command, "--help"])
        assert (code, err) == (0, ""), command
        assert out.startswith(f"Usage: inspector {command}")
        assert f"    inspector {command}" in out, f"{command} has no example"
        assert run_inspector([command, "-h"])[1] == out


def test_the_version_is_said(run_inspector):
    code, out, _ = run_inspector(["--version"])
    assert code == 0
    assert out.startswith("inspector, version ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gpus", "4091"], "none has '4091' in its name"), (["archs", "lamma"], "did you mean llama"),
        (["rule", "remote-cod"], "did you mean remote-code?"), (["rule", "XX1"], "'inspector rule' lists them"),
        (["memory", "MODEL", "--gpu", "24"], "a size has a unit: 24G"),
        (["memory", "MODEL", "-e", "llamacp"], "did you mean llamacpp?"),
        (["tensors", "MODEL", "--match", "nothing*"], "no tensor has a name like nothing*"),
        (["meta", "MODEL", "llama.att"], "did you mean llama.attention."),
        (["memory", "--", "foo", "bar"], "no command of an engine that is known: foo bar"),
        (["memory", "--", "llama-server", "-c", "4096"], "llama-server is given no model: name one before the --"),
    ],
)  # fmt: skip
def test_a_word_that_is_not_known_is_met_with_the_nearest_that_is(files, capsys, words, said):
    run_command_line([str(files / "gguf" / "tiny-moe-q8_0.gguf") if w == "MODEL" else w for w in words])
    assert said in capsys.readouterr().err
