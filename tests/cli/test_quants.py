"""A quant that is not there yet: named by its tag, or by `--quant` alone."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def folder(tmp_path, root):
    """A checkpoint that is all config, and no GGUF."""
    path = tmp_path / "Qwen3-8B"
    path.mkdir()
    (path / "config.json").write_bytes((root / "fixtures" / "configs" / "qwen3-8b.json").read_bytes())
    return path


def test_a_tag_without_a_gguf_is_a_quant_of_llama_cpp(folder, run_inspector):
    words = ["-e", "llama.cpp", "--quant", "Q4_K_M"]
    answers = []
    for target, more in ((f"{folder}:q4_k_m", []), (folder, words), (folder, words[2:])):
        code, out, err = run_inspector(["memory", target, "-c", "8192", "--json", *more])
        assert (code, err) == (0, "")
        answers.append(json.loads(out))
    assert {a["engine"] for a in answers} == {"llama.cpp"}
    assert len({a["total_nbytes"] for a in answers}) == 1
    assert answers[0]["target"] == f"{folder}:q4_k_m"


@pytest.mark.parametrize("words", [["memory", ":Q9_X"], ["memory", ":Q4_K_M", "-e", "vllm"], ["show", ":Q4_K_M"]])
def test_what_is_no_such_quant_or_not_for_the_engine_is_not_found(folder, run_inspector, words):
    command, tag, *more = words
    code, out, err = run_inspector([command, f"{folder}{tag}", *more])
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {folder}{tag}: no GGUF file here to pick {tag[1:]} from\nhint: memory and fit say")


def test_a_gguf_that_is_there_is_not_predicted(tmp_path, files, run_inspector):
    (tmp_path / "tiny-Q8_0.gguf").write_bytes((files / "gguf" / "tiny-llama-q8_0.gguf").read_bytes())
    code, out, _ = run_inspector(["memory", f"{tmp_path}:Q8_0", "--json"])
    assert code == 0
    assert "quant" not in json.loads(out)["effective"]
    assert run_inspector(["memory", f"{tmp_path}:Q4_K_M"])[0] == 2
