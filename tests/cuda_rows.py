"""Rows that llama.cpp's own CUDA host code gave (scripts/measure_cuda.py), and the same settings asked here."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from inspector.checkpoint import Checkpoint
from inspector.facts import ModelFacts
from inspector.facts.gguf import read_facts_gguf
from inspector.formats.gguf import read_gguf
from inspector.memory.engines.llamacpp import estimate
from inspector.memory.estimate import Estimate, Gpu, Placement, Workload
from inspector.sources.memory import MemorySource
from inspector.units import MIB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.memory.engines.protocol import Engine

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
PARTS = {"weights": "model", "kv_cache": "context", "recurrent_state": "context", "compute": "compute"}
TAKEN = {"-c", "-np", "-ctk", "-ctv", "-ub", "-fa", "-ngl", "-ts", "-ncmoe", "-nkvo"}


@cache
def facts_of(name: str) -> ModelFacts:
    """The facts of a header in fixtures/llamacpp-headers."""
    headers = FIXTURES / "llamacpp-headers"
    size = json.loads((headers / f"{name}.json").read_text())["full_size"]
    data = gzip.decompress((headers / f"{name}.gguf-header.gz").read_bytes())
    return read_facts_gguf(Checkpoint(name, "gguf", (read_gguf(MemorySource(data, name=name, size=size)),), {}))


def rows_by_model(file: str) -> dict[str, list[dict]]:
    """The rows of a fixture, in order."""
    rows: dict[str, list[dict]] = {}
    with gzip.open(FIXTURES / file, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            rows.setdefault(row["model"], []).append(row)
    return rows


def run(row: dict, facts: ModelFacts, *, gpus: Sequence[Gpu] = (), engine: Engine | None = None) -> Estimate:
    """Our estimate for a row's options, read as llama.cpp reads them; without `gpus` on CUDA0, CUDA1 … of its sizes.

    `engine`: that of another build.
    """
    options, rest = {}, list(row["args"])
    while rest:
        name = rest.pop(0)
        options[name] = "" if name == "-nkvo" else rest.pop(0)
    assert set(options) <= TAKEN
    number = {k: int(options[k]) for k in ("-c", "-np", "-ub", "-ngl", "-ncmoe") if k in options}
    workload = Workload(
        n_ctx=number.get("-c"),
        n_seqs=number.get("-np"),
        n_ubatch=number.get("-ub"),
        kv_dtype_k=options.get("-ctk"),
        kv_dtype_v=options.get("-ctv"),
        flash_attn={"on": True, "off": False}.get(options.get("-fa")),
    )
    placement = Placement(
        gpus=tuple(gpus)
        or tuple(Gpu(f"CUDA{i}", mib * MIB, backend="cuda") for i, mib in enumerate(row["devices_mib"])),
        n_gpu_layers=number["-ngl"],
        tensor_split=tuple(map(float, options["-ts"].split(","))) if "-ts" in options else None,
        n_cpu_moe=number.get("-ncmoe", 0),
        kv_offload="-nkvo" not in options,
    )
    asked = estimate if engine is None else engine.estimate
    return asked(facts, workload, placement=placement, server=row["server"])


def theirs(row: dict) -> dict[tuple[str, str], int]:
    """(device or Host, model or context or compute) → bytes that llama.cpp says."""
    return {(device, part): n for device, parts in row["devices"].items() for part, n in parts.items()}


def ours(row: dict, facts: ModelFacts) -> dict[tuple[str, str], int]:
    """The same of our estimate."""
    sums: Counter = Counter()
    for line in run(row, facts).lines:
        if line.what in PARTS:
            sums["Host" if line.device == "host" else line.device, PARTS[line.what]] += line.nbytes
    return {key: sums[key] for key in theirs(row)}
