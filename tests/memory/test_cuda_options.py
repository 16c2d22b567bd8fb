"""llama.cpp's options as people type them, through the command line, beside what its own CUDA host code says."""

from __future__ import annotations

import json

import pytest
from cuda_rows import PARTS, rows_by_model, theirs

from inspector.cli.group import run_command_line

ROWS = rows_by_model("cuda-options.jsonl.gz")
MIB = 1 << 20


@pytest.fixture
def ask(capsys, sparse_model):
    """`ask(row)` → the JSON answer to a row's words on cards of its sizes."""

    def call(row):
        words = ["memory", str(sparse_model(row["model"])), *row["args"], *(["--server"] if row["server"] else [])]
        words += [word for mib in row["devices_mib"] for word in ("--gpu", f"{mib}MiB")]
        assert run_command_line([*words, "--json"]) in {0, 1}
        return json.loads(capsys.readouterr().out)

    return call


def ours(row, answer):
    """(device or Host, part) → bytes; a card's number is found by its size, of which there is one each."""
    names = {"host": "Host"}
    for device in answer["devices"]:
        if device["capacity"] is not None:
            names[device["device"]] = f"CUDA{row['devices_mib'].index(device['capacity'] // MIB)}"
    sums = dict.fromkeys(theirs(row), 0)
    for line in answer["lines"]:
        if line["what"] in PARTS:
            sums[names[line["device"]], PARTS[line["what"]]] += line["nbytes"]
    return sums


@pytest.mark.parametrize("name", ROWS)
def test_every_option_gives_the_bytes_that_llama_cpp_says(ask, name):
    for row in ROWS[name]:
        assert ours(row, ask(row)) == theirs(row), (row["case"], row["args"])


# MiB of compute by CUDA's rules, and by an estimate that leaves out what a device takes over from the host
@pytest.mark.parametrize(
    ("name", "compute", "too_low"),
    [("llama-4-scout", 1170, 162), ("qwen3-next-80b-a3b", 1054, 132), ("glm-4.5-air", 898, 194),
     ("deepseek-v3", 2280, 424)],
)  # fmt: skip
def test_advice_that_ran_out_of_memory_is_not_given_any_more(ask, capsys, sparse_model, *, name, compute, too_low):
    row = next(row for row in ROWS[name] if row["case"] == "advice")
    assert row["devices"]["CUDA0"]["compute"] // MIB == compute > 2 * too_low
    answer = ask(row)
    assert answer["fits"] is False or any("that llama.cpp keeps free" in note for note in answer["notes"])
    cache = ["--kv", "q8_0"] if "q8_0" in row["args"] else []
    words = ["fit", str(sparse_model(name)), "--gpu", f"{row['devices_mib'][0]}MiB", "-c", row["args"][3], *cache]
    assert run_command_line([*words, "--json"]) == 0
    for choice in json.loads(capsys.readouterr().out)["choices"]:
        (card,) = [d for d in choice["devices"] if d["capacity"] is not None]
        assert card["capacity"] - card["used"] >= 1024 * MIB
        assert choice["command"].split()[3:] != [*row["args"], "-fa", "on"]


def test_a_long_quantised_cache_is_held_in_f16_as_well(ask):
    row = next(row for row in ROWS["llama-3-8b"] if row["case"] == "advice")
    assert row["devices"]["CUDA0"]["compute"] // MIB == 680  # 244 without the copies
    compute = [x["nbytes"] for x in ask(row)["lines"] if x["what"] == "compute" and x["device"] != "host"]
    assert compute == [row["devices"]["CUDA0"]["compute"]]
