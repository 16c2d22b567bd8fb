"""`inspector list`: what lies in stores and folders, what is the same twice, what could be freed."""

from __future__ import annotations

import json
import os
import shutil

import make_stores
import pytest

from inspector.report.text import columns


@pytest.fixture
def home(tmp_path, files):
    """A home with the stores that programs keep: Ollama, LM Studio, llama.cpp's cache, the Hub's cache."""
    gguf = (files / "gguf" / "tiny-llama-q8_0.gguf").read_bytes()
    moe = (files / "gguf" / "tiny-moe-q8_0.gguf").read_bytes()
    ollama = tmp_path / ".ollama" / "models"
    make_stores.ollama_model(ollama, "tiny:q8_0", gguf, params={"num_ctx": 64})
    make_stores.put(ollama, b"left behind", dash=True)
    places = {
        ".lmstudio/models/pub/repo/tiny-Q8_0.gguf": gguf,
        ".cache/llama.cpp/org_repo_tiny-moe.gguf": moe,
        ".cache/llama.cpp/manifest=org=repo=latest.json": b"{}",
        ".cache/llama.cpp/half.gguf.downloadInProgress": b"half",
        f".cache/huggingface/hub/models--org--moe/blobs/{'c' * 64}": moe,
    }
    for name, data in places.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    snapshot = tmp_path / ".cache/huggingface/hub/models--org--moe/snapshots" / ("1" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "moe.gguf").symlink_to(f"../../blobs/{'c' * 64}")
    return tmp_path


@pytest.fixture
def listed(run_inspector, home):
    """`listed(*words) -> (code, document)`: in that home."""

    def run(*words):
        env = {"HOME": str(home), "USERPROFILE": str(home), "HF_HOME": str(home / ".cache" / "huggingface")}
        code, out, err = run_inspector(["list", *words, "--json"], env=env)
        assert err == ""
        return code, json.loads(out)

    return run


def test_the_stores_of_a_machine_are_found_by_themselves(listed):
    code, answer = listed()
    assert code == 0
    assert {(m["store"], m["name"]) for m in answer["models"]} == {
        ("ollama", "tiny:q8_0"),
        ("lm studio", "pub/repo/tiny-Q8_0.gguf"),
        ("llama.cpp cache", "org_repo_tiny-moe.gguf"),
        ("hub cache", "org/moe/moe.gguf"),
    }
    assert {m["role"]: m["nbytes"] for m in answer["left_over"]} == {"unused": 11, "unfinished": 4}


def test_a_row_says_what_the_header_says(listed, run_inspector, files):
    _, answer = listed()
    row = next(m for m in answer["models"] if m["store"] == "lm studio")
    shown = json.loads(run_inspector(["show", files / "gguf" / "tiny-llama-q8_0.gguf", "--json"])[1])
    assert (row["n_params"], row["arch"], row["quant"]) == (shown["facts"]["n_params"], "llama", "Q8_0")
    # by hand: 2 layers x (2 heads x 8 keys + 2 x 8 values) x 2 bytes x 512 tokens
    assert (row["n_ctx"], row["kv_nbytes"]) == (512, 2 * 32 * 2 * 512)


def test_the_context_is_the_one_that_a_store_would_run(listed):
    row = next(m for m in listed()[1]["models"] if m["store"] == "ollama")
    assert (row["n_ctx"], row["kv_nbytes"]) == (64, 2 * 32 * 2 * 64)


def test_what_is_the_same_twice_is_told_by_hashes(listed, files):
    n = os.path.getsize(files / "gguf" / "tiny-llama-q8_0.gguf")
    assert listed()[1]["totals"]["duplicate_nbytes"] == 0
    _, answer = listed("--hash")
    assert [(len(g["targets"]), g["freed_nbytes"], g["sure"]) for g in answer["same"]] == [(2, n, True)]
    assert answer["totals"]["freed_nbytes"] == n + 11 + 4


def test_links_to_one_file_are_no_copies(listed, home, files):
    first = home / "many" / "a.gguf"
    first.parent.mkdir()
    shutil.copy(files / "gguf" / "tiny-moe-q8_0.gguf", first)
    os.link(first, home / "many" / "b.gguf")
    _, answer = listed(str(home / "many"), "--hash")
    assert (answer["same"], answer["totals"]["nbytes"]) == ([], first.stat().st_size)


def test_broken_ones_are_named_and_the_answer_is_no(listed, home):
    (home / "many").mkdir()
    (home / "many" / "bad.gguf").write_bytes(b"<html>")
    code, answer = listed(str(home / "many"))
    assert (code, answer["totals"]["n_broken"]) == (1, 1)
    assert "web page" in answer["models"][0]["error"]


def test_a_root_that_is_not_there_cannot_be_answered(run_inspector, home):
    code, _, err = run_inspector(["list", home / "absent"])
    assert (code, err.splitlines()[0]) == (2, f"error: {home / 'absent'}: no such file or folder")


def test_a_machine_without_stores_says_so(run_inspector, tmp_path):
    code, out, _ = run_inspector(["list"], env={"HOME": str(tmp_path), "HF_HOME": str(tmp_path)})
    assert code == 0
    assert "no stores of models" in out


def test_the_table_stays_within_its_columns(run_inspector, home, files):
    env = {"HOME": str(home), "USERPROFILE": str(home), "COLUMNS": "80"}
    for words in ([], [files]):
        _, out, _ = run_inspector(["list", *words], env=env)
        assert max(map(columns, out.splitlines())) <= 80
    assert "could be freed" in run_inspector(["list"], env=env)[1]


def test_names_that_a_terminal_would_obey_are_spelled_out(run_inspector, tmp_path, files):
    shutil.copy(files / "gguf" / "tiny-moe-q8_0.gguf", tmp_path / "a\x1b[31m.gguf")
    assert "\x1b" not in run_inspector(["list", tmp_path])[1]
