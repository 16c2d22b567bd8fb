"""llama.cpp's CUDA host code on a small model of every architecture: figures that no rule here was written from."""

from __future__ import annotations

import base64
import gzip
import json
import lzma
from collections import Counter
from pathlib import Path

import pytest

from inspector.checkpoint import Checkpoint
from inspector.facts.gguf import read_facts_gguf
from inspector.formats.gguf import read_gguf
from inspector.memory.engines.llamacpp import estimate
from inspector.memory.estimate import Gpu, Placement, Workload
from inspector.sources.memory import MemorySource
from inspector.units import GIB, MIB

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
PARTS = {"weights": "model", "kv_cache": "context", "recurrent_state": "context", "compute": "compute"}
# What is still off, by architecture and part, and by how much at most (MiB).
OFF = {}


def rows():
    found = {}
    with gzip.open(FIXTURES / "cuda-synthetic.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            found.setdefault(row["model"], []).append(row)
    return found


def models():
    with lzma.open(FIXTURES / "llamacpp-synthetic.jsonl.xz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def facts_of(model):
    source = MemorySource(base64.b64decode(model["header"]), name=model["arch"], size=model["size"])
    return read_facts_gguf(Checkpoint(model["arch"], "gguf", (read_gguf(source),), {}))


def run(row, facts):
    options = dict(zip(row["args"][::2], row["args"][1::2], strict=True))
    workload = Workload(
        n_ctx=int(options["-c"]), kv_dtype_k=options.get("-ctk"), kv_dtype_v=options.get("-ctv"), outputs="all"
    )
    placement = Placement(gpus=(Gpu("CUDA0", 24 * GIB),), n_gpu_layers=int(options["-ngl"]))
    return estimate(facts, workload, placement=placement)


@pytest.fixture(scope="module")
def compared():
    """(architecture, part, ours − theirs in bytes) of every claimed figure, and how many rows claim no compute."""
    measured, found, silent = rows(), [], 0
    for i, model in enumerate(models()):
        facts = facts_of(model) if i in measured else None
        for row in measured.get(i, ()):
            result, ours = run(row, facts), Counter()
            for line in result.lines:
                if line.what in PARTS:
                    ours["Host" if line.device == "host" else line.device, PARTS[line.what]] += line.nbytes
            silent += "compute" in result.unknown
            found += [
                (row["arch"], part, ours[device, part] - nbytes)
                for device, parts in row["devices"].items()
                for part, nbytes in parts.items()
                if part != "compute" or "compute" not in result.unknown
            ]
    return found, silent


def test_every_claimed_figure_is_the_engines_own_but_for_those_that_are_listed(compared):
    found, _ = compared
    off = [(arch, part, n) for arch, part, n in found if n]
    assert [x for x in off if abs(x[2]) > OFF.get(x[:2], 0) * MIB] == []
    assert {x[:2] for x in off} == set(OFF)  # a miss that was mended leaves the list


def test_ninety_nine_of_a_hundred_figures_are_equal_to_the_byte(compared):
    found, _ = compared
    assert sum(n == 0 for _, _, n in found) / len(found) >= 0.99


def test_every_row_claims_its_compute_buffers(compared):
    assert compared[1] == 0
