"""Oracles of transformers and of llama.cpp's converter: the measure scripts, run beside torch."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oracles_llamacpp import Tools

HERE = Path(__file__).resolve().parent
Rows = Iterable[dict[str, Any]]


def run(tools: Tools, script: str, *words: str | Path) -> str:
    """What a script prints in the environment with torch."""
    command = [str(tools.python), str(HERE / f"{script}.py"), *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def convert(tools: Tools, rows: Rows) -> Iterator[dict[str, Any]]:
    """convert.jsonl.gz: what llama.cpp's converter makes of a config's checkpoint."""
    with tempfile.TemporaryDirectory() as place:
        given, out = Path(place) / "in.jsonl.gz", Path(place) / "out.jsonl.gz"
        given.write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode()))
        run(tools, "measure_convert", tools.release.source, given, out)
        yield from map(json.loads, gzip.decompress(out.read_bytes()).decode().splitlines())


def prefills(tools: Tools, rows: Rows) -> Iterator[dict[str, Any]]:
    """measured_transformers.json.gz: the most that a prefill holds, and its cache."""
    rows = list(rows)
    if not rows:
        return
    beside = rows[0][""]
    document = beside | {"rows": [{k: v for k, v in row.items() if k} for row in rows]}
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "rows.json.gz"
        path.write_bytes(gzip.compress(json.dumps(document).encode()))
        run(tools, "measure_transformers", path)
        measured = json.loads(gzip.decompress(path.read_bytes()))
    beside = {k: v for k, v in measured.items() if k != "rows"}
    yield from ({**row, "": beside} for row in measured["rows"])


def types(tools: Tools, rows: Rows) -> Iterator[dict[str, Any]]:
    """hf_measured.jsonl: parameters and caches of every model type; parameters alone where a row has no caches."""
    rows = list(rows)
    with tempfile.TemporaryDirectory() as place:
        given, out = Path(place) / "in.jsonl", Path(place) / "out.jsonl"
        asked = [{k: r[k] for k in ("name", "config", "auto") if k in r} for r in rows]
        alone = [{"parameters_alone": "layers" not in r} for r in rows]
        given.write_text("".join(json.dumps({**x, **y}) + "\n" for x, y in zip(asked, alone, strict=True)))
        run(tools, "measure_hf_models", given, out)
        yield from lines(out)


def towers(tools: Tools, rows: Rows) -> Iterator[dict[str, Any]]:
    """params_towers.jsonl: parameters of models with towers."""
    with tempfile.TemporaryDirectory() as place:
        paths = []
        for i, row in enumerate(rows):
            paths.append(Path(place) / f"{i}.json")
            paths[-1].write_text(json.dumps(row["config"]))
        yield from map(json.loads, run(tools, "measure_params", *paths).splitlines())


def planned(tools: Tools, rows: Rows) -> Iterator[dict[str, Any]]:
    """vllm_kv.jsonl: groups, pages and blocks as vLLM's own planner counts them."""
    return asked_planner("measure_vllm", tools, rows)


def planned_ahead(tools: Tools, rows: Rows) -> Iterator[dict[str, Any]]:
    """vllm_planner.jsonl: the same for more kinds of layers, split over GPUs, with drafts."""
    return asked_planner("measure_vllm_planner", tools, rows)


def asked_planner(script: str, tools: Tools, rows: Rows) -> Iterator[dict[str, Any]]:
    """What a script that loads vLLM's planner says of each row."""
    assert tools.vllm is not None
    command = [sys.executable, str(HERE / f"{script}.py"), str(tools.vllm)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    done = subprocess.run(command, check=True, input=text, stdout=subprocess.PIPE, text=True)
    yield from map(json.loads, done.stdout.splitlines())


def caches(tools: Tools, rows: Rows) -> Iterator[dict[str, Any]]:
    """transformers.jsonl.gz, params.jsonl: caches, prefill peaks, parameters of the configs in fixtures/configs."""
    command = [str(tools.python), str(HERE / "measure_caches.py")]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    done = subprocess.run(command, check=True, input=text, stdout=subprocess.PIPE, text=True)
    yield from map(json.loads, done.stdout.splitlines())


def fused_sdpa(row: dict[str, Any]) -> str:
    """Why a row is not asked again: its `sdpa` ran as a fused kernel, not chosen on the meta device."""
    asked = row["kind"] == "act_real_meta" and row["attn"] == "sdpa"
    plain = any(x["op"] == "aten.bmm.default" for x in row.get("top", ()))
    return "prefills whose sdpa ran as a fused kernel" if asked and not plain else ""
