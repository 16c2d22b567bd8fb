"""llama.cpp's CUDA oracles: rows as its own host code plans them now, on cards that a run-time of ours claims.

See scripts/measure_cuda.py for how it is built; `tools.cuda` is the folder of programs that `link` made.
"""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import measure_cuda
import sparse_files

if TYPE_CHECKING:
    from pathlib import Path

    from oracles_llamacpp import Tools

Rows = Iterable[dict[str, Any]]
ADA = "8.9:24576"
_TRACE = re.compile(r"TRACE (pool|card \d+) (\d+)")
_DECODED = re.compile(r"TRACE decoded (\d+) (-?\d+)")


def programs(tools: Tools) -> Path:
    """The folder of the probe; without one there is nothing to ask."""
    if tools.cuda is None:
        raise SystemExit("CUDA rows need clang++-19 or later, or --cuda FOLDER of a finished build")
    return tools.cuda


def asked(tools: Tools, path: Path, case: measure_cuda.Case, row: dict[str, Any]) -> dict[str, Any]:
    """A row as it is now, whole."""
    answer = measure_cuda.ask(programs(tools), path, case.cards, row["args"], server=case.server)
    return measure_cuda.as_row(row["model"], case, row["args"], answer)


def whole(tools: Tools, rows: Rows) -> Iterator[dict[str, Any]]:
    """cuda.jsonl.gz, cuda-options and cuda-fit: everything that the probe says."""
    for row in rows:
        cards = ",".join(f"{cc}:{mib}" for cc, mib in zip(row["cc"], row["devices_mib"], strict=True))
        case = measure_cuda.Case(row["case"], cards, "", server=row["server"])
        yield asked(tools, sparse_files.model_file(row["model"], tools.models), case, row)


def devices(tools: Tools, rows: Rows) -> Iterator[dict[str, Any]]:
    """cuda-mixed.jsonl.gz: what lies on each device; a card's capability changes no size."""
    for row in rows:
        case = measure_cuda.Case("", ",".join(f"8.9:{mib}" for mib in row["devices_mib"]), "", server=row["server"])
        yield row | _devices(asked(tools, sparse_files.model_file(row["model"], tools.models), case, row))


def synthetic(tools: Tools, rows: Rows) -> Iterator[dict[str, Any]]:
    """cuda-synthetic.jsonl.gz: small models of every architecture on one card."""
    for row in rows:
        case = measure_cuda.Case(row["case"], ADA, "")
        yield row | _devices(asked(tools, sparse_files.model_file(row["model"], tools.models), case, row))


def more(tools: Tools, rows: Rows) -> Iterator[dict[str, Any]]:
    """cuda-more.jsonl.gz: models of llamacpp-more.jsonl.xz by their places; drafts as llama-server makes them."""
    models = sparse_files.rows_of("llamacpp-more.jsonl.xz")
    for row in rows:
        model = models[row["model"]]
        parts = {"draft": model, "model": model["target"]} if model["target"] else {"model": model}
        paths = {
            part: sparse_files.hole(tools.models / f"more-{row['model']}-{part}.gguf", base64.b64decode(x["header"]),
                                    x["size"])
            for part, x in parts.items()
        }  # fmt: skip
        beside = "draft" in paths
        args = [*row["args"], *(("-md", str(paths["draft"])) if beside else ())]
        cards = ",".join(f"8.9:{mib}" for mib in row["devices_mib"])
        found = measure_cuda.ask(programs(tools), paths["model"], cards, args, server=beside)
        if beside and "draft" in found:
            found["buffers"] = found["draft"]
        yield row | _devices(measure_cuda.as_row("", measure_cuda.Case("", cards, ""), args, found))


def drafting(tools: Tools, rows: Rows) -> Iterator[dict[str, Any]]:
    """cuda-drafting.jsonl.gz: compute of each device with hidden states kept for a draft."""
    for row in rows:
        path = sparse_files.model_file(row["model"], tools.models)
        cards = ",".join(f"8.9:{mib}" for mib in row["devices_mib"])
        found = measure_cuda.ask(programs(tools), path, cards, row["args"], server=True, kept=row["kept"])
        yield row | _devices(measure_cuda.as_row("", measure_cuda.Case("", cards, ""), row["args"], found))


def refused(tools: Tools, rows: Rows) -> Iterator[dict[str, Any]]:
    """cuda-refused.json.gz: a model whose weights have types without a kernel."""
    for row in rows:
        beside = row[""]
        path = sparse_files.hole(tools.models / "refused.gguf", base64.b64decode(beside["header"]), beside["size"])
        case = measure_cuda.Case("", ",".join(f"8.9:{mib}" for mib in row["devices_mib"]), "", server=row["server"])
        yield row | _devices(asked(tools, path, case, row))


def _devices(found: dict[str, Any]) -> dict[str, Any]:
    return {"devices": found["devices"]} if "devices" in found else {"devices": {}, "error": found["error"]}


def no_header(row: dict[str, Any]) -> str:
    """Why a row is not asked again: its model's header is not in the repository."""
    there = (sparse_files.HEADERS / f"{row['model']}.json").exists()
    return "" if there else f"the header of {row['model']} is not in the repository"


def pools(tools: Tools, rows: Rows) -> Iterator[dict[str, Any]]:
    """cuda_pools.jsonl.gz: what grows on a card when a batch is decoded, all layers on it, 8k of context."""
    for row in rows:
        args = ["-ngl", "99", "-c", "8192", "-ub", str(row["ub"]), "-fa", row["fa"], "-np", "1"]
        env = measure_cuda.environment(programs(tools), "8.9:999999") | {"DECODE": "1", "TRACE": "1", "AS_SERVER": "1"}
        path = sparse_files.model_file(row["model"], tools.models)
        words = [str(programs(tools) / "probe"), "-m", str(path), *args]
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", env=env, check=False)
        _, _, after = done.stderr.partition("TRACE decode\n")
        grown = [(what, int(n)) for what, n in _TRACE.findall(after)]
        found = measure_cuda.last_object(done.stdout)
        compute = next(b["compute"] for b in found["buffers"] if b["name"] == "CUDA0")
        yield row | {
            "pool": sum(n for what, n in grown if what == "pool"),
            "late_mallocs": [n for what, n in grown if what != "pool"], "compute": compute, "rc": done.returncode,
            "decoded": [list(pair) for pair in _DECODED.findall(after)],
        }  # fmt: skip
