"""Options as people combine them, on many models and cards: the command line against llama.cpp's CUDA host code."""

from __future__ import annotations

import base64
import gzip
import json
import lzma
import shlex
from collections import Counter

import pytest
from cuda_rows import FIXTURES, PARTS, rows_by_model
from holes import stretch

from inspector.cli.group import run_command_line

ROWS = rows_by_model("cuda-mixed.jsonl.gz")


@pytest.fixture(scope="module")
def model_at(tmp_path_factory, sparse_model):
    """The file of a row: a header's name, or the number of a small model of one architecture."""
    folder = tmp_path_factory.mktemp("small")
    with lzma.open(FIXTURES / "llamacpp-synthetic.jsonl.xz", "rt", encoding="utf-8") as lines:
        small = [json.loads(line) for line in lines]

    def path(model):
        if isinstance(model, str):
            return sparse_model(model)
        file = folder / f"{model}.gguf"
        file.write_bytes(base64.b64decode(small[model]["header"]))
        stretch(file, small[model]["size"])
        return file

    return path


def ours(answer):
    """(CUDA0, CUDA1 … or Host, model or context or compute) → bytes."""
    names = {d["device"]: f"CUDA{i - 1}" if i else "Host" for i, d in enumerate(answer["devices"])}
    sums = Counter()
    for line in answer["lines"]:
        if line["what"] in PARTS:
            sums[names[line["device"]], PARTS[line["what"]]] += line["nbytes"]
    return sums


def differences(path, rows, capsys):
    """(options, device and part, theirs, ours) of what is not equal."""
    off = []
    for row in rows:
        cards = [word for mib in row["devices_mib"] for word in ("--gpu", f"{mib}MiB")]
        server = ["--server"] if row["server"] else []
        assert run_command_line(["memory", str(path), "--json", *row["args"], *server, *cards]) in {0, 1}
        found = ours(json.loads(capsys.readouterr().out))
        theirs = {(device, part): n for device, parts in row["devices"].items() for part, n in parts.items()}
        off += [(row["args"], key, n, found[key]) for key, n in theirs.items() if found[key] != n]
    return off


def test_every_row_is_equal_to_the_byte(model_at, capsys):
    assert sum(map(len, ROWS.values())) > 200
    for model, rows in ROWS.items():
        assert differences(model_at(model), rows, capsys) == [], model


def test_weights_of_types_without_a_kernel_lie_on_the_host(tmp_path, capsys):
    """A small Llama in TQ2_0, which CUDA multiplies with nothing: 27 of 264 MB are on the card."""
    with gzip.open(FIXTURES / "cuda-refused.json.gz", "rt", encoding="utf-8") as file:
        measured = json.load(file)
    path = tmp_path / "tq2_0.gguf"
    path.write_bytes(base64.b64decode(measured["header"]))
    stretch(path, measured["size"])
    assert {row["devices"]["CUDA0"]["model"] for row in measured["rows"] if "99" in row["args"]} == {27_388_032}
    assert differences(path, measured["rows"], capsys) == []


def test_fit_counts_what_a_card_refuses_on_the_host(tmp_path, capsys):
    with gzip.open(FIXTURES / "cuda-refused.json.gz", "rt", encoding="utf-8") as file:
        measured = json.load(file)
    path = tmp_path / "tq2_0.gguf"
    path.write_bytes(base64.b64decode(measured["header"]))
    stretch(path, measured["size"])
    assert run_command_line(["fit", str(path), "--gpu", "2GiB", "--json"]) == 0
    choices = json.loads(capsys.readouterr().out)["choices"]
    for choice in choices:
        assert run_command_line([*shlex.split(choice["memory_command"])[1:], "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert [d["used"] for d in answer["devices"]] == [d["used"] for d in choice["devices"]]
