"""Hold every figure to what the engines themselves gave, and print how far off each line is, as Markdown.

usage: accuracy.py [--summary] [--engine NAME]
The rows lie in fixtures/: allocations of llama.cpp b11434, caches and activation peaks of transformers 5.24.0, pages
of vLLM 0.33.0's planner, dry runs of llama-quantize, and layers that each packing library wrote.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import lzma
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import IO, Any, NamedTuple

from inspector.checkpoint import Checkpoint
from inspector.dtypes import DTYPES, SAFETENSORS_DTYPES
from inspector.errors import InspectorError
from inspector.facts import ModelFacts, read_facts
from inspector.formats.gguf import read_gguf
from inspector.formats.modelfile import TensorInfo
from inspector.memory.engines import llamacpp, transformers, vllm
from inspector.memory.estimate import Estimate, Gpu, Placement, Workload
from inspector.quantization.convert import Converted
from inspector.quantization.mix import predict_mix
from inspector.quantization.packed import unpack
from inspector.sources.memory import MemorySource
from inspector.units import GIB, MIB

FIXTURES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fixtures")
CACHES = ("kv_cache", "recurrent_state")
CUDA_LINES = {"model": "weights", "context": "caches", "compute": "compute"}
SWITCH = {"on": True, "off": False, "auto": None}
# What the rows of transformers call their attention, and what an option calls it.
ATTENTION = {"stub_fused": "flash", "sdpa": "sdpa", "eager": "eager", None: "eager"}


class Sample(NamedTuple):
    """One figure of ours beside the engine's own; both in `unit`s of bytes (or parameters), None: not claimed."""

    section: str
    model: str
    line: str
    ours: int | None
    theirs: int
    where: str
    unit: int = 1

    @property
    def exact(self) -> bool:
        """Equal, to the unit in which the engine prints."""
        return self.ours is not None and self.ours // self.unit == self.theirs // self.unit

    @property
    def error(self) -> float:
        """Relative error; half a unit of rounding in the engine's print-out is no error."""
        assert self.ours is not None
        return 0.0 if self.exact else abs(self.ours - self.theirs) / max(self.theirs, 1)


def lines_of(name: str) -> Iterator[dict[str, Any]]:
    path = os.path.join(FIXTURES, name)
    openers: dict[str, Callable[..., IO[str]]] = {"gz": gzip.open, "xz": lzma.open}
    with openers.get(path.rsplit(".", 1)[-1], open)(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def read_json(*parts: str) -> Any:
    with open(os.path.join(FIXTURES, *parts), encoding="utf-8") as file:
        return json.load(file)


def gguf_facts(name: str, data: bytes, size: int) -> ModelFacts:
    return read_facts(Checkpoint(name, "gguf", (read_gguf(MemorySource(data, name=name, size=size)),), {}))


def header_facts(name: str) -> ModelFacts:
    with gzip.open(os.path.join(FIXTURES, "llamacpp-headers", f"{name}.gguf-header.gz")) as file:
        return gguf_facts(name, file.read(), read_json("llamacpp-headers", f"{name}.json")["full_size"])


def config_facts(config: dict[str, Any]) -> ModelFacts:
    return read_facts(Checkpoint("x", "config", (), {"config.json": config}))


def tensor_infos(rows: Iterable[Any], dtypes: Any = DTYPES) -> tuple[TensorInfo, ...]:
    return tuple(TensorInfo(n, tuple(s), dtypes[d], 0, dtypes[d].nbytes(s)) for n, s, d in rows)


def total(result: Estimate, *whats: str, device: str | None = None) -> int | None:
    """Bytes of all lines of these kinds; None where the estimate says that it does not know."""
    if set(whats) & set(result.unknown):
        return None
    return sum(x.nbytes for x in result.lines if x.what in whats and device in (None, x.device))


# ------------------------------------------------------------------------------------------------------ llama.cpp


def llamacpp_models() -> Iterator[Sample]:
    """25 models, most of them the published shapes: every buffer of a CPU build."""
    keys = {"model_bytes_no_repack": ("weights",), "kv_bytes": ("kv_cache",), "rs_bytes": ("recurrent_state",),
            "output_bytes": ("output",), "compute_bytes": ("compute",)}  # fmt: skip
    facts: dict[str, ModelFacts] = {}
    for row in lines_of("llamacpp.jsonl.gz"):
        if "error" in row:
            continue
        name, s = row["model"], row["settings"]
        if name not in facts:
            facts[name] = header_facts(name)
        workload = Workload(
            n_ctx=s["n_ctx"], n_seqs=s["n_seq_max"], n_batch=s["n_batch"], n_ubatch=s["n_ubatch"],
            kv_dtype_k=s["type_k"], kv_dtype_v=s["type_v"], flash_attn=s["flash_attn"] == "on",
            kv_unified=s["kv_unified"], swa_full=s["swa_full"], outputs="last" if s["n_outputs_max"] else "all",
        )  # fmt: skip
        result = llamacpp.estimate(facts[name], workload)
        for key, whats in keys.items():
            ours = total(result, *whats)
            if row[key] or ours:
                yield Sample("models", name, whats[0], ours, row[key], f"-c {s['n_ctx']}")


def llamacpp_synthetic() -> Iterator[Sample]:
    """A small model of every architecture that the engine can load: weights, caches and states, compute."""
    alone = (m for m in lines_of("llamacpp-more.jsonl.xz") if not m["target"])
    for model in (*lines_of("llamacpp-synthetic.jsonl.xz"), *alone):
        facts = synthetic_facts(model)
        for row in model["rows"]:
            if "model" not in row:
                continue
            n_ctx, n_seqs, unified, n_batch, n_ubatch, k, v, flash, full, n_outputs = row["settings"].split()
            workload = Workload(
                n_ctx=int(n_ctx), n_seqs=int(n_seqs), n_batch=int(n_batch), n_ubatch=int(n_ubatch), kv_dtype_k=k,
                kv_dtype_v=v, flash_attn=SWITCH[flash], kv_unified=unified == "1", swa_full=full == "1",
                outputs="all" if n_outputs == "0" else "last",
            )  # fmt: skip
            result = llamacpp.estimate(facts, workload)
            where = f"-c {n_ctx} -np {n_seqs} -fa {flash}"
            yield Sample("architectures", model["arch"], "weights", total(result, "weights"), row["model"], where)
            if row["context"] or total(result, *CACHES):
                yield Sample("architectures", model["arch"], "caches", total(result, *CACHES), row["context"], where)
            yield Sample("architectures", model["arch"], "compute", total(result, "compute"), row["compute"], where)


def llamacpp_placement() -> Iterator[Sample]:
    """Which bytes land on which of one or two devices: whole MiB, as the engine prints them."""
    facts: dict[str, ModelFacts] = {}
    for row in lines_of("placement.jsonl.gz"):
        name, o, rest = row["model"], {}, list(row["args"])
        while rest:
            flag = rest.pop(0)
            o[flag] = "" if flag == "-nkvo" else rest.pop(0)
        if name not in facts:
            facts[name] = header_facts(name)
        gpus = tuple(Gpu(f"RPC{i}", 64 * GIB, backend="rpc") for i in range(2 if row["case"].startswith("two") else 1))
        placement = Placement(
            gpus=gpus, n_gpu_layers=int(o["-ngl"]), n_cpu_moe=int(o.get("-ncmoe", 0)), kv_offload="-nkvo" not in o,
            tensor_split=tuple(map(float, o["-ts"].split(","))) if "-ts" in o else None,
        )  # fmt: skip
        workload = Workload(
            n_ctx=int(o["-c"]), n_seqs=int(o.get("-np", 1)), n_ubatch=int(o["-ub"]) if "-ub" in o else None,
            kv_dtype_k=o.get("-ctk"), kv_dtype_v=o.get("-ctv"), flash_attn=False if o.get("-fa") == "off" else None,
        )  # fmt: skip
        result = llamacpp.estimate(facts[name], workload, placement=placement)
        for device, truth in row["devices"].items():
            at = "host" if device == "Host" else device
            for line, key, whats in (("weights", "model_mib", ("weights",)), ("caches", "context_mib", CACHES),
                                     ("compute", "compute_mib", ("compute",))):  # fmt: skip
                ours = total(result, *whats, device=at)
                if truth[key] or ours:
                    where = f"{row['case']}, {device}"
                    yield Sample("placement", name, line, ours, truth[key] * MIB, where, unit=MIB)


def _cuda_samples(section: str, model: str, result: Estimate, row: dict[str, Any], where: str) -> Iterator[Sample]:
    """Each device's weights, caches and compute buffer; the output buffer is in no row."""
    for device, truth in row["devices"].items():
        at = "host" if device == "Host" else device
        for line, whats in (("model", ("weights",)), ("context", CACHES), ("compute", ("compute",))):
            ours = total(result, *whats, device=at)
            if truth[line] or ours:
                yield Sample(section, model, CUDA_LINES[line], ours, truth[line], f"{where}, {device}")


def llamacpp_cuda() -> Iterator[Sample]:
    """What CUDA's own host code gives to each device: cases, what `fit` advised, options one by one and mixed."""
    from compare_cuda import run

    small = list(lines_of("llamacpp-synthetic.jsonl.xz"))
    facts: dict[str | int, ModelFacts] = {}
    for file in ("cuda", "cuda-fit", "cuda-options", "cuda-mixed"):
        for row in lines_of(f"{file}.jsonl.gz"):
            at = row["model"]
            if at not in facts:
                facts[at] = header_facts(at) if isinstance(at, str) else synthetic_facts(small[at])
            name = at if isinstance(at, str) else f"small {facts[at].arch}"
            where = row.get("case") or " ".join(row["args"])
            yield from _cuda_samples("cuda", name, run(row, facts[at]), row, where)


def llamacpp_cuda_architectures() -> Iterator[Sample]:
    """The same of a small model of every architecture."""
    from compare_cuda import run

    small = list(lines_of("llamacpp-synthetic.jsonl.xz"))
    for row in lines_of("cuda-synthetic.jsonl.gz"):
        result = run(row | {"devices_mib": [24 * 1024], "server": False}, synthetic_facts(small[row["model"]]))
        yield from _cuda_samples("cuda architectures", row["arch"], result, row, row["case"])


def synthetic_facts(model: dict[str, Any]) -> ModelFacts:
    return gguf_facts(model["arch"], base64.b64decode(model["header"]), model["size"])


# --------------------------------------------------------------------------------------------- vLLM, transformers


def vllm_pages() -> Iterator[Sample]:
    """vLLM's own planner on the specs of each layer: bytes of a block of every layer, and of one request."""
    for row in lines_of("vllm_kv.jsonl"):
        facts = config_facts(read_json("configs", f"{row['name']}.json"))
        workload = Workload(
            n_ctx=row["max_model_len"], n_batch=row["max_num_batched_tokens"], kv_dtype_k=row["kv_cache_dtype"],
            options={"prefix_caching": row["prefix_caching"], "dtype": "bfloat16"},
        )  # fmt: skip
        effective = vllm.estimate(facts, workload).effective
        where = f"--max-model-len {row['max_model_len']} --kv-cache-dtype {row['kv_cache_dtype']}"
        for line, key in (("one block", "bytes_per_block"), ("one request", "bytes_one_req")):
            yield Sample("pages", row["name"], line, effective[key], row[key], where)


def _cache_samples(section: str, name: str, result: Estimate, row: dict[str, Any], where: str) -> Iterator[Sample]:
    kept = [x for x in result.lines if x.what in CACHES]
    for line, ours, key in (
        ("cache", sum(x.nbytes for x in kept), "cache_bytes_logical"),
        ("cache after a prefill", sum(x.peak_nbytes or x.nbytes for x in kept), "cache_bytes_storage"),
    ):
        yield Sample(section, name, line, ours, row[key], where)


def transformers_rows() -> Iterator[Sample]:
    """Caches on the meta device, and the most bytes that a prefill holds at once."""
    facts: dict[str, ModelFacts] = {}
    for row in lines_of("transformers.jsonl.gz"):
        if "error" in row:
            continue
        name, kind = row["name"], row["kind"]
        if name not in facts:
            facts[name] = config_facts(read_json("configs", f"{name}.json"))
        tokens = row["max_cache_len"] if kind == "cache_static" else row["prefill"]
        options: dict[str, Any] = {"dtype": row["dtype"]}
        where = f"{row['batch']} × {tokens} tokens"
        if kind in {"cache_real", "cache_static"}:
            workload = Workload(n_ctx=tokens, n_seqs=row["batch"], options=options)
            cache = "static" if kind == "cache_static" else "dynamic"
            result = transformers.estimate(facts[name], workload, cache=cache)
            yield from _cache_samples("caches", name, result, row, where)
            continue
        fallback = any("bmm" in x["op"] and x["dtype"] == "float32" for x in row["top"])
        if row["attn"] == "sdpa" and (fallback or name == "tiny_deepseek_v3"):
            continue  # torch's unfused fallback of the meta device, which no GPU runs
        options |= {"attn": ATTENTION[row["attn"]], "outputs_asked": True}
        workload = Workload(
            n_ctx=tokens, n_seqs=row["batch"], outputs="last" if row["logits_to_keep"] else "all", options=options
        )
        result = transformers.estimate(facts[name], workload)
        ours = _activations(result)
        yield Sample("activations", name, "compute", ours, row["peak_minus_cache"], f"{where}, {options['attn']}")


def _activations(result: Estimate) -> int | None:
    """Bytes of what a prefill holds; None where that is unknown, or a range."""
    found = [x for x in result.lines if x.what == "compute"]
    return sum(x.nbytes for x in found) if found and all(x.low is None for x in found) else None


def transformers_shapes() -> Iterator[Sample]:
    """Fifty-odd further architectures in small shapes (scripts/measure_transformers.py)."""
    with gzip.open(os.path.join(FIXTURES, "measured_transformers.json.gz"), "rt", encoding="utf-8") as file:
        measured = json.load(file)
    facts = {name: config_facts(config) for name, config in measured["configs"].items()}
    for row in measured["rows"]:
        model, attn = facts[row["name"]], ATTENTION[row["attn"]]
        options = {"dtype": "bfloat16", "attn": attn, "outputs_asked": True}
        outputs = "last" if row["logits_to_keep"] else "all"
        workload = Workload(n_ctx=row["prefill"], n_seqs=row["batch"], outputs=outputs, options=options)
        result = transformers.estimate(model, workload)
        where = f"{row['batch']} × {row['prefill']} tokens, {attn}"
        yield from _cache_samples("caches", model.arch, result, row, where)
        if model.arch == "bloom" and attn == "flash":
            continue  # it has its own attention, always eager
        peak = row["peak_bytes"] - row["cache_bytes_storage"]
        yield Sample("activations", model.arch, "compute", _activations(result), peak, where)


# ------------------------------------------------------------------------------------------- files and parameters


def parameters() -> Iterator[Sample]:
    """Parameters from config.json alone, against the modules that transformers builds."""
    for row in lines_of("params.jsonl"):
        if "total_params" in row:
            facts = config_facts(read_json("configs", f"{row['name']}.json"))
            yield Sample("parameters", row["name"], "total", facts.n_params, row["total_params"], "")
            active = row.get("active_params", row["total_params"])
            yield Sample("parameters", row["name"], "active", facts.n_params_active, active, "")


def packed() -> Iterator[Sample]:
    """Layers that each packing library wrote: parameters they stand for, and bytes they take."""
    for row in lines_of("quantized.jsonl"):
        config = row["quantization_config"] or {}
        if row["scheme"].startswith("mlx"):
            config = {"quant_method": "mlx", "group_size": 64, "bits": 4}
        rows = [(name, t["shape"], t["dtype"]) for name, t in row["tensors"].items()]
        found = unpack(tensor_infos(rows, SAFETENSORS_DTYPES), config)
        counts = [t.n_elements for t in found if t.scheme != "buffer"]
        count = None if None in counts else sum(n for n in counts if n is not None)
        yield Sample("packed", row["scheme"], "parameters", count, row["true_logical"], "")
        yield Sample("packed", row["scheme"], "bytes", sum(t.nbytes or 0 for t in found), row["bytes"], "")


def quantised() -> Iterator[Sample]:
    """llama-quantize --dry-run: how many tensors get the type that it gives them, and the size it prints."""
    models = {row["name"]: row for row in lines_of("quantize_models.jsonl.gz")}
    for row in lines_of("quantize.jsonl.gz"):
        if row["rc"] == 0:
            yield from _mix_samples(models[row["model"]], row["model"], row, "files")
    for model in lines_of("quantize_options.jsonl.gz"):
        for run in model["runs"]:
            if run["rc"] == 0:
                yield from _mix_samples(model, model["arch"], run, "architectures")


def _mix_samples(model: dict[str, Any], name: str, row: dict[str, Any], section: str) -> Iterator[Sample]:
    source = Converted(model["arch"], model["keys"], tensor_infos(model["tensors"]))
    mix = predict_mix(source, row["to"], **row.get("options", {}))
    same = sum(row["types"].get(t.name, row["default"]).upper() == t.dtype.name for t in mix.tensors)
    yield Sample(section, name, "tensor types", same, len(source.tensors), row["to"])
    # printed with two decimals of a MiB
    near = abs(mix.nbytes - row["mib"] * MIB) <= 0.0051 * MIB
    size = round(row["mib"] * MIB)
    yield Sample(section, name, "size", size if near else mix.nbytes, size, row["to"])


# ------------------------------------------------------------------------------------------------------- printing

ENGINES = {
    "llama.cpp": (
        "llama.cpp b11434",
        (llamacpp_models, llamacpp_synthetic, llamacpp_placement, llamacpp_cuda, llamacpp_cuda_architectures),
    ),
    "vllm": ("vLLM 0.33.0", (vllm_pages,)),
    "transformers": ("transformers 5.24.0", (transformers_rows, transformers_shapes)),
    "llama-quantize": ("llama-quantize b11434", (quantised,)),
    "parameters": ("parameters", (parameters, packed)),
}
TITLES = {
    ("llama.cpp", "models"): "25 models on the CPU, every buffer, bytes",
    ("llama.cpp", "architectures"): "every architecture it can load, bytes",
    ("llama.cpp", "placement"): "one and two RPC devices, whole MiB as it prints them",
    ("llama.cpp", "cuda"): "CUDA's host code, one to four cards, every buffer type, bytes",
    ("llama.cpp", "cuda architectures"): "CUDA's host code, every architecture, bytes",
    ("vllm", "pages"): "its own cache planner, bytes",
    ("transformers", "caches"): "caches it builds, bytes",
    ("transformers", "activations"): "the most that a prefill holds, bytes",
    ("llama-quantize", "files"): "25 models at 35 types",
    ("llama-quantize", "architectures"): "every architecture, random options",
    ("parameters", "parameters"): "from config.json alone, against modules that transformers builds",
    ("parameters", "packed"): "layers that each packing library wrote",
}


def percent(value: float) -> str:
    """Three digits, and never a small error shown as none."""
    if not value:
        return "0"
    if value < 1e-5:
        return "< 0.001%"
    return f"{value * 100:.2g}%" if value < 0.1 else f"{value * 100:.0f}%"


def quantile(errors: list[float], share: float) -> float:
    """The smallest error that at least `share` of the sorted rows stay within."""
    return errors[max(0, math.ceil(len(errors) * share) - 1)]


def figures(samples: list[Sample]) -> list[str]:
    """Rows, exact rows, not claimed, median, p90 and max error, and where the largest is."""
    claimed = [s for s in samples if s.ours is not None]
    exact = sum(s.exact for s in claimed)
    silent = len(samples) - len(claimed)
    cells = [f"{len(samples):,}", f"{exact:,}", f"{silent:,}" if silent else ""]
    if not claimed:
        return [*cells, "", "", "", ""]
    errors = sorted(s.error for s in claimed)
    worst = max(claimed, key=lambda s: s.error)
    named = f"{worst.model}{', ' if worst.where else ''}{worst.where}" if worst.error else ""
    return [*cells, percent(quantile(errors, 0.5)), percent(quantile(errors, 0.9)), percent(errors[-1]), named]


def print_table(head: list[str], rows: list[list[str]], numbers: set[int]) -> None:
    print("| " + " | ".join(head) + " |")
    print("|" + "|".join("---:" if i in numbers else "---" for i in range(len(head))) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


def groups(samples: Iterable[Sample], *fields: str) -> dict[tuple[str, ...], list[Sample]]:
    found: dict[tuple[str, ...], list[Sample]] = {}
    for sample in samples:
        found.setdefault(tuple(getattr(sample, f) for f in fields), []).append(sample)
    return found


HEAD = ["rows", "exact", "not claimed", "median", "p90", "max", "largest error"]


def print_summary(measured: dict[str, list[Sample]]) -> None:
    """One line a part of each engine."""
    rows = []
    for engine, samples in measured.items():
        for (section, line), found in groups(samples, "section", "line").items():
            rows.append([ENGINES[engine][0], TITLES[engine, section], line.replace("_", " "), *figures(found)])
    print_table(["engine", "measured", "line", *HEAD], rows, set(range(3, 9)))


def print_engine(engine: str, samples: list[Sample]) -> None:
    """A table a section: each model's rows, line by line."""
    print(f"## {ENGINES[engine][0]}")
    for (section,), found in groups(samples, "section").items():
        print(f"\n### {ENGINES[engine][0]}: {TITLES[engine, section]}\n")
        lines = list(groups(found, "line"))
        inexact = [line for (line,) in lines if any(s.ours is None or s.error for s in found if s.line == line)]
        head = ["model", *(f"{line.replace('_', ' ')}: exact" for (line,) in lines)]
        head += [f"{line}: {x}" for line in inexact for x in ("median", "max")]
        rows = []
        for (model,), of_model in sorted(groups(found, "model").items()):
            parts = groups(of_model, "line")
            row = [model, *(_exact_of(parts.get(line, [])) for line in lines)]
            for line in inexact:
                errors = sorted(s.error for s in parts.get((line,), []) if s.ours is not None)
                row += [percent(quantile(errors, 0.5)), percent(errors[-1])] if errors else ["", ""]
            rows.append(row)
        print_table(head, rows, set(range(1, len(head))))


def _exact_of(samples: list[Sample]) -> str:
    claimed = [s for s in samples if s.ours is not None]
    if samples and not claimed:
        return "not claimed"
    return f"{sum(s.exact for s in claimed):,} / {len(claimed):,}" if samples else ""


# Why figures of a section are off, by model and line.
REASONS: dict[tuple[str, str, str], str] = {}


def print_misses(samples: list[Sample]) -> None:
    """Every claimed figure of CUDA's rows that is not the engine's own, and why."""
    off = [s for s in samples if s.section.startswith("cuda") and s.ours is not None and not s.exact]
    n = sum(s.section.startswith("cuda") and s.ours is not None for s in samples)
    print(f"\n### What is off in CUDA's rows\n\n{len(off):,} of {n:,} figures:\n")
    rows = [
        [s.model, s.where, s.line, f"{s.theirs:,}", f"{(s.ours or 0) - s.theirs:+,}",
         REASONS.get((s.section, s.model, s.line), "not explained")]
        for s in off
    ]  # fmt: skip
    if rows:
        print_table(["model", "row", "line", "bytes", "here", "reason"], rows, {3, 4})


def measure(engine: str, source: Callable[[], Iterable[Sample]]) -> tuple[str, list[Sample]]:
    """All samples of one source. A refusal where the engine gave a figure ends everything."""
    try:
        return engine, list(source())
    except InspectorError as error:
        raise SystemExit(f"error: {source.__name__}: {error}") from None


def measure_all(engines: Iterable[str]) -> dict[str, list[Sample]]:
    """Samples by engine, sources side by side in processes of their own."""
    found: dict[str, list[Sample]] = {name: [] for name in engines}
    jobs = [(name, source) for name in found for source in ENGINES[name][1]]
    with ProcessPoolExecutor(max_workers=min(len(jobs), os.cpu_count() or 1)) as pool:
        for engine, samples in pool.map(measure, *zip(*jobs, strict=True)):
            found[engine] += samples
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--summary", action="store_true", help="only the first table: a line a part of each engine")
    parser.add_argument("--engine", choices=ENGINES, help="only this one")
    args = parser.parse_args()
    measured = measure_all([args.engine] if args.engine else ENGINES)
    print_summary(measured)
    if not args.summary:
        for engine, samples in measured.items():
            print()
            print_engine(engine, samples)
            if engine == "llama.cpp":
                print_misses(samples)
    return 0


if __name__ == "__main__":
    sys.exit(main())
