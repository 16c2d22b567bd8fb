"""The oracles: every fixture that an engine wrote, with the package it came from and the function that asks again.

`scripts/remeasure.py --list` prints the table. A function takes (tools, rows) and yields the rows as they are now; rows
carry their own questions. `minutes` is for all rows on two cores, after what is built was built.
"""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import engines
import oracles_builds
import oracles_cuda
import oracles_llamacpp
import oracles_python

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
Measure = Callable[[Any, Iterable[dict[str, Any]]], Iterator[dict[str, Any]]]


class Oracle(NamedTuple):
    """One fixture: its group for ENGINE=, the engine whose release is asked, and what a row is called."""

    fixture: str
    group: str
    engine: str
    measure: Measure
    minutes: float
    named: tuple[str, ...] = ("model", "case")
    left_out: Callable[[dict[str, Any]], str] = lambda _row: ""
    spaced: bool = False  # whether the file has blanks behind commas and colons

    @property
    def release(self) -> str:
        """The package that is asked, and its version."""
        if self.engine == "builds":
            return f"{engines.PACKAGES['llamacpp']}, older ones"
        name = "transformers" if self.engine == "sources" else "llamacpp" if self.engine == "cuda" else self.engine
        return f"{engines.PACKAGES[name]} {engines.PINNED.get(name, '')}".strip()

    def rows(self) -> list[dict[str, Any]]:
        """The committed rows."""
        return read_rows(FIXTURES / self.fixture)

    def name(self, row: dict[str, Any]) -> str:
        """What a row is called: its model and its case, or what it has of these."""
        return " ".join(str(row[k]) for k in self.named if row.get(k) is not None)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """A fixture's rows; a document that is no list of lines keeps its rows under `rows`."""
    opener: Any = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    with opener(path, "rt", encoding="utf-8") as file:
        if ".jsonl" in path.name:
            return [json.loads(line) for line in file]
        document = json.load(file)
        beside = {k: v for k, v in document.items() if k != "rows"}
        return [{**row, "": beside} for row in document["rows"]]


def write_rows(path: Path, rows: list[dict[str, Any]], *, spaced: bool) -> None:
    """The form that is committed: one object a line, compressed without a time stamp."""
    apart = (", ", ": ") if spaced else (",", ":")
    if ".jsonl" in path.name:
        text = "".join(json.dumps(row, separators=apart, ensure_ascii=False) + "\n" for row in rows)
    else:
        beside = dict(rows[0][""])
        plain = [{k: v for k, v in row.items() if k} for row in rows]
        text = json.dumps(beside | {"rows": plain}, separators=apart, sort_keys=not spaced)
    data = text.encode()
    packed = {".gz": lambda: gzip.compress(data, 9, mtime=0), ".xz": lambda: lzma.compress(data, preset=9)}
    path.write_bytes(packed.get(path.suffix, lambda: data)())


_L, _C, _P = oracles_llamacpp, oracles_cuda, oracles_python
ORACLES = (
    Oracle("llamacpp-synthetic.jsonl.xz", "llamacpp", "llamacpp", _L.synthetic, 6, ("arch", "over", "without")),
    Oracle("llamacpp-more.jsonl.xz", "llamacpp", "llamacpp", _L.more, 0.3, ("arch", "what")),
    Oracle("drafting.jsonl.gz", "llamacpp", "llamacpp", _L.drafting, 0.5, ("model", "settings", "kept")),
    Oracle("draft-outputs.jsonl", "llamacpp", "llamacpp", _L.draft_outputs, 0.1, ("model", "settings", "reports")),
    Oracle("llamacpp.jsonl.gz", "llamacpp", "llamacpp", _L.buffers, 1, ("model", "settings")),
    Oracle("placement.jsonl.gz", "llamacpp", "llamacpp", _L.placement, 1),
    Oracle("llamacpp-builds.jsonl.xz", "builds", "builds", oracles_builds.builds, 30, ("build", "model")),
    Oracle("loading.jsonl.xz", "loaders", "llamacpp", _L.loading, 12, ("base", "damage")),
    Oracle("quantize.jsonl.gz", "quantize", "llamacpp", _L.quantize, 2, ("model", "to")),
    Oracle("quantize_options.jsonl.gz", "quantize", "llamacpp", _L.quantize_options, 2, ("arch",), _L.lost_keys),
    Oracle("quantize_models.jsonl.gz", "quantize", "gguf", _L.quantize_models, 0.5, ("name",)),
    Oracle("beside.jsonl.gz", "server", "cuda", _L.beside, 2, ("case", "model", "draft", "args")),
    Oracle("towers.jsonl.gz", "server", "cuda", _L.towers, 2, ("name",)),
    Oracle("cuda.jsonl.gz", "cuda", "cuda", _C.whole, 3),
    Oracle("cuda-options.jsonl.gz", "cuda", "cuda", _C.whole, 1),
    Oracle("cuda-fit.jsonl.gz", "cuda", "cuda", _C.whole, 1),
    Oracle("cuda-mixed.jsonl.gz", "cuda", "cuda", _C.devices, 1, ("model", "args")),
    Oracle("cuda-synthetic.jsonl.gz", "cuda", "cuda", _C.synthetic, 2, ("arch", "model", "case")),
    Oracle("cuda-more.jsonl.gz", "cuda", "cuda", _C.more, 0.3, ("model", "args")),
    Oracle("cuda-drafting.jsonl.gz", "cuda", "cuda", _C.drafting, 0.5, ("model", "args", "kept")),
    Oracle("cuda-refused.json.gz", "cuda", "cuda", _C.refused, 0.1, ("args",)),
    Oracle("cuda_pools.jsonl.gz", "cuda", "cuda", _C.pools, 4, ("model", "ub", "fa"), _C.no_header),
    Oracle("convert.jsonl.gz", "convert", "sources", _P.convert, 4, ("name",)),
    Oracle("vllm_kv.jsonl", "vllm", "vllm", _P.planned, 0.1, ("name", "kv_cache_dtype", "max_model_len")),
    Oracle(
        "vllm_planner.jsonl",
        "vllm",
        "vllm",
        _P.planned_ahead,
        0.1,
        ("config", "kv_cache_dtype", "max_model_len", "num_speculative_tokens"),
        spaced=True,
    ),
    Oracle(
        "transformers.jsonl.gz",
        "transformers",
        "transformers",
        _P.caches,
        6,
        ("kind", "name", "attn", "prefill"),
        _P.fused_sdpa,
    ),
    Oracle("params.jsonl", "transformers", "transformers", _P.caches, 2, ("name",)),
    Oracle("measured_transformers.json.gz", "transformers", "transformers", _P.prefills, 8, ("name", "attn")),
    Oracle("hf_measured.jsonl", "transformers", "transformers", _P.types, 5, ("name",)),
    Oracle("params_towers.jsonl", "transformers", "transformers", _P.towers, 1, ("class",), spaced=True),
)
NOT_ASKED = {
    "quantized.jsonl": "one layer by each packing library, half of them built for a GPU; some by their layout",
    "gpu_logs.jsonl, vllm_logs.jsonl, vllm_activation.jsonl": "published logs of real cards",
    "vllm_starts.jsonl, contexts.jsonl": "published logs of real cards: what is a range",
}
GROUPS = tuple(dict.fromkeys(o.group for o in ORACLES))
