"""Our figures beside llama.cpp's own CUDA host code: every row of fixtures/cuda.jsonl.gz, byte for byte.

python scripts/compare_cuda.py [--model NAME] [--case NAME] [--rows FILE] [--headers DIR] [-v]
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspector.checkpoint import Checkpoint
from inspector.facts.gguf import read_facts_gguf
from inspector.formats.gguf import read_gguf
from inspector.memory.devices.placement import ALL_LAYERS
from inspector.memory.engines.llamacpp import estimate
from inspector.memory.estimate import Gpu, Placement, Workload
from inspector.sources.memory import MemorySource
from inspector.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Estimate

ROOT = Path(__file__).resolve().parents[1] / "fixtures"
FLAGS = ("-nkvo", "--no-op-offload", "-cmoe", "--swa-full")
PARTS = {"weights": "model", "kv_cache": "context", "recurrent_state": "context", "compute": "compute"}


@cache
def facts_of(headers: Path, name: str) -> ModelFacts:
    """The facts of a header-only model."""
    size = json.loads((headers / f"{name}.json").read_text())["full_size"]
    data = gzip.decompress((headers / f"{name}.gguf-header.gz").read_bytes())
    return read_facts_gguf(Checkpoint(name, "gguf", (read_gguf(MemorySource(data, name=name, size=size)),), {}))


def options_of(args: list[str]) -> dict[str, str]:
    """llama.cpp's arguments as a mapping."""
    options: dict[str, str] = {}
    rest = list(args)
    while rest:
        name = rest.pop(0)
        options[name] = "" if name in FLAGS else rest.pop(0)
    return options


def run(row: dict[str, Any], facts: ModelFacts) -> Estimate:
    """The estimate for a row's settings."""
    o = options_of(row["args"])
    number = {k: int(o[k]) for k in ("-c", "-np", "-ub", "-b", "-ngl", "-ncmoe") if k in o}
    workload = Workload(
        n_ctx=number.get("-c"),
        n_seqs=number.get("-np"),
        n_batch=number.get("-b"),
        n_ubatch=number.get("-ub"),
        kv_dtype_k=o.get("-ctk"),
        kv_dtype_v=o.get("-ctv"),
        flash_attn={"on": True, "off": False}.get(o.get("-fa", "")),
        swa_full="--swa-full" in o,
    )
    rules = [rule.rpartition("=") for rule in o.get("-ot", "").split(",") if rule]
    placement = Placement(
        gpus=tuple(Gpu(f"CUDA{i}", mib * MIB, backend="cuda") for i, mib in enumerate(row["devices_mib"])),
        n_gpu_layers=number.get("-ngl"),
        tensor_split=tuple(map(float, o["-ts"].split(","))) if "-ts" in o else None,
        n_cpu_moe=ALL_LAYERS if "-cmoe" in o else number.get("-ncmoe", 0),
        experts_first=[name for name in o if name in {"-ot", "-ncmoe", "-cmoe"}][:1] not in ([], ["-ot"]),
        overrides=tuple((pattern, device) for pattern, _, device in rules),
        split_mode=o.get("-sm", "layer"),
        main_gpu=int(o.get("-mg", 0)),
        devices=tuple(o["-dev"].split(",")) if "-dev" in o else None,
        kv_offload="-nkvo" not in o,
        op_offload="--no-op-offload" not in o,
    )
    return estimate(facts, workload, placement=placement, server=row["server"])


def differences(row: dict[str, Any], facts: ModelFacts) -> dict[tuple[str, str], tuple[int, int]]:
    """(device, part) → (theirs, ours) of each figure of a row."""
    ours: Counter[tuple[str, str]] = Counter()
    for line in run(row, facts).lines:
        part = PARTS.get(line.what)
        if part:
            ours["Host" if line.device == "host" else line.device, part] += line.nbytes
    return {
        (device, part): (theirs, ours[device, part])
        for device, parts in row["devices"].items()
        for part, theirs in parts.items()
    }


def report(rows: Iterable[dict[str, Any]], headers: Path, *, verbose: bool) -> None:
    """Rows that are equal in every figure, by case and by model."""
    groups: tuple[dict[str, list[bool]], dict[str, list[bool]]] = ({}, {})
    for row in rows:
        found = differences(row, facts_of(headers, row["model"]))
        off = {k: v for k, v in found.items() if v[0] != v[1]}
        for group, name in zip(groups, (row["case"], row["model"]), strict=True):
            group.setdefault(name, []).append(not off)
        if verbose and off:
            told = "; ".join(f"{d} {p} {t:,} ours {o - t:+,}" for (d, p), (t, o) in off.items())
            print(f"{row['model']:22} {row['case']:20} {told}")
    for group in groups:
        for name, equal in group.items():
            print(f"{name:24} {sum(equal):4} of {len(equal)}")
        print()
    n, equal_rows = sum(map(len, groups[0].values())), sum(map(sum, groups[0].values()))
    print(f"{equal_rows} of {n} rows equal in every figure ({equal_rows / max(n, 1):.1%})")


def main() -> None:
    """Read the rows and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, default=ROOT / "cuda.jsonl.gz")
    parser.add_argument("--headers", type=Path, default=ROOT / "llamacpp-headers")
    parser.add_argument("--model")
    parser.add_argument("--case")
    parser.add_argument("-v", "--verbose", action="store_true")
    args = parser.parse_args()
    with gzip.open(args.rows, "rt", encoding="utf-8") as lines:
        rows = [json.loads(text) for text in lines]
    kept = [r for r in rows if args.model in {None, r["model"]} and args.case in {None, r["case"]}]
    report(kept, args.headers, verbose=args.verbose)


if __name__ == "__main__":
    main()
