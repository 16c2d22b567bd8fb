"""llamacpp-builds.jsonl.xz: what older builds of llama.cpp give for rows of the other fixtures.

A row is one model under one build: `fixture` and `of` say which rows of which fixture were asked, `figures` what each
gave, in bytes (None: refused, or ended by the engine itself). Of llamacpp.jsonl.gz: weights without repacking,
caches, recurrent states, compute, output. Of llamacpp-synthetic.jsonl.xz, setting by setting: weights, caches with
states, compute. Of placement.jsonl.gz: MiB of compute by device, with the decimals of the log. Of cuda.jsonl.gz:
bytes of compute by device, from builds whose sdist has ggml-cuda's sources.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import engines
import oracles_cuda
import oracles_llamacpp

Row = dict[str, Any]
BUFFERS = ("model_bytes_no_repack", "kv_bytes", "rs_bytes", "compute_bytes", "output_bytes")
SETTING = ("model", "context", "compute")


def buffers(row: Row) -> list[int] | None:
    """One setting of a model of full size."""
    return [row[key] for key in BUFFERS] if "kv_bytes" in row else None


def settings(row: Row) -> list[list[int] | None]:
    """The settings of a small model."""
    return [[one[key] for key in SETTING] if "model" in one else None for one in row["rows"]]


def devices(row: Row) -> Row | None:
    """Compute buffers of each device."""
    found: Row | None = row.get("compute_mib")
    return found


def cards(row: Row) -> Row | None:
    """Compute buffers of each device of CUDA's host code, and of the host."""
    return {name: parts["compute"] for name, parts in row["devices"].items()} if row.get("devices") else None


# fixture: (the function that asks, what is kept of a row)
ASKED: dict[str, tuple[Callable[..., Iterator[Row]], Callable[[Row], Any]]] = {
    "llamacpp.jsonl.gz": (oracles_llamacpp.buffers, buffers),
    "llamacpp-synthetic.jsonl.xz": (oracles_llamacpp.synthetic, settings),
    "placement.jsonl.gz": (oracles_llamacpp.placement, devices),
    "cuda.jsonl.gz": (oracles_cuda.whole, cards),
}


def _cuda(release: engines.Release, tools: oracles_llamacpp.Tools) -> Path | None:
    """CUDA's host code of a build, beside the CPU's."""
    import remeasure

    chosen = argparse.Namespace(cuda=None, objects=None, clang=remeasure.CLANG, cache=tools.cache)
    return remeasure.cuda_programs(release, chosen)


def builds(tools: oracles_llamacpp.Tools, rows: Iterable[Row]) -> Iterator[Row]:
    """The same rows asked again of their builds, which are made where they are not there yet."""
    import oracles

    known = {name: oracles.read_rows(oracles.FIXTURES / name) for name in ASKED}
    for row in rows:
        release = engines.llamacpp(f"{row['build']}.0.0", tools.cache)
        of = tools._replace(release=release, cuda=_cuda(release, tools) if "cuda" in row["fixture"] else None)
        ask, kept = ASKED[row["fixture"]]
        answers = ask(of, [known[row["fixture"]][i] for i in row["of"]])
        yield row | {"figures": [kept(answer) for answer in answers]}
