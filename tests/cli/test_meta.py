"""`inspector meta` through a real process, against the upstream reader."""

from __future__ import annotations

import json

import gguf
import pytest
from schemas import check


def meta(run_inspector, *args):
    code, out, err = run_inspector(["meta", *args, "--json"])
    assert code == 0, err
    return check(json.loads(out))


def test_every_key_and_value_is_as_the_reference_reader_has_it(files, run_inspector):
    path = files / "gguf" / "tiny-llama-q8_0.gguf"
    answer = meta(run_inspector, path, "--full")
    theirs = {k: f.contents() for k, f in gguf.GGUFReader(path).fields.items() if not k.startswith("GGUF.")}
    assert answer["metadata"] == json.loads(json.dumps(theirs))
    assert set(answer["types"]) == set(theirs)


@pytest.mark.models
def test_long_arrays_are_counted_and_read_whole_when_asked(models_dir, run_inspector):
    path = models_dir / "SmolLM2-135M-Instruct.Q4_1.gguf"
    key = "tokenizer.ggml.tokens"
    theirs = gguf.GGUFReader(path).get_field(key).contents()
    short = meta(run_inspector, path, key)["metadata"][key]
    assert short["length"] == len(theirs) == 49_152
    assert short["head"] == theirs[: len(short["head"])]
    assert meta(run_inspector, path, key, "--full")["metadata"][key] == theirs


def test_one_key_is_one_line(files, run_inspector):
    code, out, err = run_inspector(["meta", files / "gguf" / "tiny-llama-q8_0.gguf", "general.architecture"])
    assert (code, err) == (0, "")
    assert out.split() == ["general.architecture", "str", "llama"]


def test_an_unknown_key_is_refused_with_the_nearest(files, run_inspector):
    code, out, err = run_inspector(["meta", files / "gguf" / "tiny-llama-q8_0.gguf", "general.arch"])
    assert (code, out) == (2, "")
    assert "no key 'general.arch'" in err
    assert "general.architecture" in err


def test_a_folder_has_its_config_and_the_files_own_words(files, run_inspector):
    folder = files / "safetensors" / "llama-tied"
    metadata = meta(run_inspector, folder)["metadata"]
    for key, value in json.loads((folder / "config.json").read_text()).items():
        assert metadata[key] == value


def test_values_of_every_type_come_through(files, run_inspector):
    path = files / "gguf" / "every-value.gguf"
    answer = meta(run_inspector, path, "--full")["metadata"]
    theirs = {k: f.contents() for k, f in gguf.GGUFReader(path).fields.items() if not k.startswith("GGUF.")}
    assert set(answer) == set(theirs)
    finite = {k: v for k, v in theirs.items() if isinstance(v, (bool, int, str))}
    assert {k: answer[k] for k in finite} == finite
