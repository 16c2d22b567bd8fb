"""llama.cpp's oracles: each function takes a fixture's rows and a release, and yields the rows as measured now.

A row holds its own question (model, settings, options), so that one row can be asked as well as all. Models are headers
of the fixtures themselves, as sparse files.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import check_loading
import engines
import measure_llamacpp
import measure_quantize
import measure_server
import sparse_files

from inspector.dtypes import DTYPES
from inspector.formats.gguf import read_gguf
from inspector.sources.memory import MemorySource

Rows = Iterable[dict[str, Any]]
CRASH = {"crash": True}
# of importances nothing but their presence changes a type
_IMATRIX = {
    "general.architecture": "llama", "general.type": "imatrix", "imatrix.datasets": ["none"], "imatrix.chunk_count": 1,
    "imatrix.chunk_size": 512,
}  # fmt: skip
_IMPORTANCES = [["output.weight.in_sum2", [1, 32], "F32"], ["output.weight.counts", [1, 1], "F32"]]
_QUANT = re.compile(r"quant size += +([\d.]+) MiB \(([\d.]+) BPW\)")
_WARNING = re.compile(r"warning:.*", re.IGNORECASE)


class Tools(NamedTuple):
    """What the questions are put to: a release, and where files are kept."""

    release: engines.Release
    cache: Path
    cuda: Path | None = None  # programs on CUDA's host code (measure_cuda.link)
    python: Path = Path(sys.executable)  # one that has torch and transformers, for what needs them
    vllm: Path | None = None  # vLLM's sources

    @property
    def models(self) -> Path:
        """Sparse files, kept for the next time."""
        return self.cache / "models"

    def program(self, name: str) -> str:
        """A program of the build."""
        assert self.release.bin is not None
        return str(self.release.bin / name)


# --------------------------------------------------------------------------------------------------------- contexts


def ask_probe(tools: Tools, model: Path, settings: list[Any], **asked: str) -> dict[str, Any]:
    """What a context of these settings holds; {"crash": True} where the engine ends itself.

    `asked`: what drafting asks for with the first request, as the probe's KEPT and REPORTS.
    """
    words = [str(engines.probe(tools.release, tools.cache)), str(model), *map(str, settings)]
    assert tools.release.bin is not None
    env = engines.environment(tools.release.bin) | {k: v for k, v in asked.items() if v}
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", env=env, check=False, timeout=600)
    line = next((x for x in done.stdout.splitlines() if x.startswith("{")), None)
    if line is None:
        return dict(CRASH)
    found: dict[str, Any] = json.loads(line)
    return found


def synthetic_row(tools: Tools, model: Path, settings: str, beside: Sequence[Any] = ()) -> dict[str, Any]:
    """One setting of a small model: totals, effective sizes, or why not. `beside`: of its target, as the probe asks."""
    got = ask_probe(tools, model, [*settings.split(), *beside])
    if "crash" in got:
        return {"settings": settings, **CRASH}
    if "error" in got:
        said = [x for x in got["error"].splitlines() if x] or ["no context"]
        return {"settings": settings, "error": next((x for x in said if "llama_init_from_model" in x), said[0])}
    effective = [got["effective"][k] for k in ("n_ctx", "n_ctx_seq", "n_batch", "n_ubatch")]
    figures = {"model": got["model_bytes_no_repack"], "context": got["context_bytes"], "compute": got["compute_bytes"]}
    return {"settings": settings, **figures, "effective": effective}


def synthetic(tools: Tools, rows: Rows) -> Iterator[dict[str, Any]]:
    """llamacpp-synthetic.jsonl.xz: five settings of a small model of every architecture."""
    with tempfile.TemporaryDirectory() as folder:
        for row in rows:
            path = sparse_files.hole(Path(folder) / "m.gguf", base64.b64decode(row["header"]), row["size"])
            yield row | {"rows": [synthetic_row(tools, path, r["settings"]) for r in row["rows"]]}
            path.unlink()


_ASKED = ("settings", "types", "sampled")  # of a row of llamacpp-more.jsonl.xz; all else is the answer


def more(tools: Tools, rows: Rows) -> Iterator[dict[str, Any]]:
    """llamacpp-more.jsonl.xz: optional tensors of small models, and drafts beside what they draft for."""
    with tempfile.TemporaryDirectory() as folder:
        for row in rows:
            path, beside = Path(folder) / "m.gguf", Path(folder) / "target.gguf"
            sparse_files.hole(path, base64.b64decode(row["header"]), row["size"])
            target = row["target"]
            if target:
                sparse_files.hole(beside, base64.b64decode(target["header"]), target["size"])
            asked = [[str(beside), *r["types"], r["sampled"]] if target else [] for r in row["rows"]]
            pairs = zip(row["rows"], asked, strict=True)
            asked_for = [({k: v for k, v in r.items() if k in _ASKED}, words) for r, words in pairs]
            yield row | {"rows": [r | synthetic_row(tools, path, r["settings"], words) for r, words in asked_for]}
            path.unlink()
            beside.unlink(missing_ok=True)


def drafting(tools: Tools, rows: Rows) -> Iterator[dict[str, Any]]:
    """drafting.jsonl.gz: compute with hidden states kept for a draft, and how much the output buffer grows."""
    for row in rows:
        path, settings = sparse_files.model_file(row["model"], tools.models), row["settings"].split()
        before, after = (ask_probe(tools, path, settings, KEPT=kept) for kept in ("", row["kept"]))
        if "compute_bytes" not in before or "compute_bytes" not in after:
            yield row | {"compute": None, "output": None}
            continue
        grown = after["output_bytes"] - before["output_bytes"]
        yield row | {"compute": after["compute_bytes"], "output": grown}


def draft_outputs(tools: Tools, rows: Rows) -> Iterator[dict[str, Any]]:
    """draft-outputs.jsonl: a draft's output buffer as it is made, and once it reports tokens: bytes."""
    models = sparse_files.rows_of("llamacpp-more.jsonl.xz")
    for row in rows:
        model = models[row["model"]]
        path, beside = (
            sparse_files.hole(tools.models / f"more-{row['model']}-{part}.gguf", base64.b64decode(x["header"]),
                              x["size"])
            for part, x in (("draft", model), ("model", model["target"]))
        )  # fmt: skip
        words = [*row["settings"].split(), str(beside), "f16", "f16", row["sampled"]]
        got = [ask_probe(tools, path, words, REPORTS=reports) for reports in ("", row["reports"])]
        yield row | {"output": [x.get("output_bytes") for x in got]}


_ORDER = ("n_ctx", "n_seq_max", "kv_unified", "n_batch", "n_ubatch", "type_k", "type_v", "flash_attn", "swa_full",
          "n_outputs_max")  # fmt: skip


def buffers(tools: Tools, rows: Rows) -> Iterator[dict[str, Any]]:
    """llamacpp.jsonl.gz: every buffer of 25 models under 16 settings, caches and hyperparameters with them."""
    for row in rows:
        asked = [int(v) if isinstance(v, bool) else v for v in (row["settings"][k] for k in _ORDER)]
        got = ask_probe(tools, sparse_files.model_file(row["model"], tools.models), asked)
        inputs = ("model", "header", "full_size", "data_start", "tensor_bytes")
        out = {k: row[k] for k in inputs}
        if "kv" not in got:
            text = "".join(x + "\n" for x in got.get("error", "").splitlines() if "llama_init_from_model" in x)
            kept = {"model_bytes_no_repack": row["model_bytes_no_repack"], "settings": row["settings"]}
            yield out | kept | ({"error": text or got["error"]} if "error" in got else CRASH)
            continue
        out |= {"model_bytes_no_repack": got["model_bytes_no_repack"], "settings": row["settings"]}
        out |= {k: got[k] for k in ("effective", "kv", "rs", "context_bytes")}
        out |= {"kv_bytes": sum(c["bytes"] for c in got["kv"]), "rs_bytes": got["rs"]["bytes"] if got["rs"] else 0}
        yield out | {k: got[k] for k in ("compute_bytes", "output_bytes", "model_bytes", "hparams")}


# -------------------------------------------------------------------------------------------------------- placement


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def _started(words: list[str], folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        words, env=engines.environment(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@contextlib.contextmanager
def rpc_devices(tools: Tools, n: int) -> Iterator[list[str]]:
    """Addresses of n processes that stand in for devices."""
    assert tools.release.bin is not None
    name = next(x for x in ("ggml-rpc-server", "rpc-server") if (tools.release.bin / x).exists())
    started, addresses = [], []
    try:
        for _ in range(n):
            port = _free_port()
            words = [tools.program(name), "-p", str(port)]
            started.append(_started(words, tools.release.bin))
            while not _listens(port):  # no longer than a program takes to start
                if started[-1].poll() is not None:
                    raise SystemExit(f"{name} ended at once")
                time.sleep(0.05)
            addresses.append(f"127.0.0.1:{port}")
        yield addresses
    finally:
        for process in started:
            process.kill()
            process.wait()


def placement(tools: Tools, rows: Rows) -> Iterator[dict[str, Any]]:
    """placement.jsonl.gz: what lies on one or two devices, in whole MiB as llama-fit-params prints it."""
    assert tools.release.bin is not None
    env = engines.environment(tools.release.bin)
    with rpc_devices(tools, 2) as addresses:
        for row in rows:
            n = 2 if row["case"].startswith("two") else 1
            options = ["--rpc", ",".join(addresses[:n]), *row["args"]]
            path = str(sparse_files.model_file(row["model"], tools.models))
            for _ in range(3):  # now and then two lines of its log run into one another
                got = measure_llamacpp.run(path, options, program=tools.program("llama-fit-params"), env=env)
                if len(got.get("compute_mib", ())) == len(row.get("compute_mib", ())):
                    break
            names = {address: f"RPC{i}" for i, address in enumerate(addresses)}
            yield {k: row[k] for k in ("model", "case", "args")} | _placed(got, names)


def _placed(got: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """A run in the form of the rows, with devices by number rather than by address."""
    if "error" in got:
        return {"rc": got["rc"], "error": got["error"]}

    def renamed(sizes: dict[str, Any]) -> dict[str, Any]:
        out = {}
        for name, size in sizes.items():
            address = next((a for a in names if a in name), None)
            out[names[address] if address else name] = size
        return out

    return {
        "rc": got["rc"], "offloaded": got["offloaded"], "sched_copies": got["sched_copies"],
        "devices": renamed(got["devices"]), "compute_mib": renamed(got.get("compute_mib", {})),
        "output_mib": renamed(got.get("output_mib", {})),
    }  # fmt: skip


# --------------------------------------------------------------------------------------------------------- quantize


def quantize(tools: Tools, rows: Rows) -> Iterator[dict[str, Any]]:
    """quantize.jsonl.gz: what `llama-quantize --dry-run` decides for every tensor of 25 models at 35 types."""
    for row in rows:
        path = sparse_files.model_file(row["model"], tools.models)
        rc, text = measure_quantize.dry_run(tools.program("llama-quantize"), str(path), row["to"], [])
        types = {m[1]: (m[3] or m[2]).lower() for m in measure_quantize.LINE.finditer(text)} if rc == 0 else {}
        kinds = list(types.values())
        default = measure_quantize.commonest(kinds, row["default"])
        size = _QUANT.search(text)
        yield {
            "model": row["model"], "to": row["to"], "rc": rc, "mib": float(size[1]) if size else None,
            "bpw": float(size[2]) if size else None, "warn": _warnings(text), "default": default,
            "types": {n: t for n, t in types.items() if t != default}, "n": len(types),
        }  # fmt: skip


def _warnings(text: str) -> list[str]:
    """Its warnings in the order of the alphabet, the first ones, shortened."""
    return sorted({m[0].strip()[:160] for m in _WARNING.finditer(text)})[:4]


def quantize_options(tools: Tools, rows: Rows) -> Iterator[dict[str, Any]]:
    """quantize_options.jsonl.gz: the same under random options, for small models of every architecture."""
    with tempfile.TemporaryDirectory() as folder:
        imatrix = str(sparse_files.listed_file(Path(folder) / "imatrix.gguf", _IMATRIX, _IMPORTANCES))
        for row in rows:
            path = sparse_files.model_file(_small_model(row) or 0, Path(folder))
            runs = []
            for run in row["runs"]:
                words = measure_quantize.arguments_of(run["options"], imatrix=imatrix)
                program = tools.program("llama-quantize")
                got = measure_quantize.run(program, str(path), run["to"], run["options"], words, default=run["default"])
                runs.append(got)
            yield row | {"runs": runs}


def lost_keys(row: dict[str, Any]) -> str:
    """Why a row is not asked again: it is no small model of its architecture, and its keys were not kept whole."""
    return "files of random tensors, whose hyperparameters were not kept" if _small_model(row) is None else ""


def _small_model(row: dict[str, Any]) -> int | None:
    """The small model that a row was asked of."""
    return _listings().get(row["arch"] + json.dumps(row["tensors"]))


@cache
def _listings() -> dict[str, int]:
    """Places of the small models by architecture and tensors."""
    found: dict[str, int] = {}
    for i, row in enumerate(sparse_files.synthetic()):
        source = MemorySource(base64.b64decode(row["header"]), name="m.gguf", size=row["size"])
        tensors = [
            [t.name, list(t.shape), t.dtype.name if t.dtype else t.dtype_name] for t in read_gguf(source).tensors
        ]
        found.setdefault(row["arch"] + json.dumps(tensors), i)
    return found


def quantize_models(tools: Tools, rows: Rows) -> Iterator[dict[str, Any]]:
    """quantize_models.jsonl.gz: tensors of those models, as the upstream reader lists them."""
    from gguf import GGUFReader

    for row in rows:
        reader = GGUFReader(str(sparse_files.model_file(row["name"], tools.models)))
        arch = str(reader.fields["general.architecture"].contents())
        keys = {k: reader.fields[k].contents() for k in row["keys"]}
        named = {d.ggml_id: d.name for d in DTYPES.values() if d.ggml_id is not None}
        tensors = [[t.name, [int(n) for n in reversed(t.shape)], named[int(t.tensor_type)]] for t in reader.tensors]
        yield {"name": row["name"], "arch": arch, "keys": keys, "tensors": tensors}


# ---------------------------------------------------------------------------------------------------------- loading


def loading(tools: Tools, rows: Rows) -> Iterator[dict[str, Any]]:
    """loading.jsonl.xz: whether damaged headers load, and the engine's words where not."""
    known = dict(check_loading.headers()) | {-1: check_loading.TINY}
    probe = str(engines.probe(tools.release, tools.cache))
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "m.gguf")
        for row in rows:
            header = check_loading.copy_of(known[row["base"]])
            header.damage(row["damage"])
            header.write(path)
            yield row | {"refused": check_loading.theirs(probe, str(tools.release.bin), path)}


# ----------------------------------------------------------------------------------------------------- llama-server


def _served(tools: Tools, row: dict[str, Any], words: list[str], *, gpu: bool) -> dict[str, Any]:
    """What llama-server says while it starts, on CUDA's host code or on the CPU."""
    folder = tools.cuda if gpu else tools.release.bin
    if folder is None:
        raise SystemExit("rows on a GPU need CUDA's host code: see --cuda")
    env = engines.environment(folder) | ({"CARDS": "8.9:81920"} if gpu else {})
    path = str(sparse_files.model_file(row["model"], tools.models))
    words = [*words, "--port", str(_free_port())]
    lines = measure_server.start(path, words, program=tools.program("llama-server"), env=env)
    return measure_server.parse(lines)


def beside(tools: Tools, rows: Rows) -> Iterator[dict[str, Any]]:
    """beside.jsonl.gz: the contexts that llama-server makes with a draft or prediction layers."""
    for row in rows:
        words = ["--no-warmup", "--no-repack", *row["args"]]
        if row["draft"]:
            words += ["-md", str(sparse_files.model_file(row["draft"], tools.models))]
        yield row | {"contexts": _served(tools, row, words, gpu=row["gpu"])["contexts"]}


def towers(tools: Tools, rows: Rows) -> Iterator[dict[str, Any]]:
    """towers.jsonl.gz: what a vision tower reserves at the server's warm-up, beside llama-3.2-1b."""
    for row in rows:
        path = sparse_files.hole(tools.models / f"tower-{row['name']}.gguf", base64.b64decode(row["header"]),
                                 row["size"])  # fmt: skip
        out = dict(row)
        for key, gpu in (("gpu", True), ("cpu", False)):
            words = ["--no-repack", "-c", "512", "--mmproj", str(path), *(["-ngl", "99"] if gpu else [])]
            found = _served(tools, {"model": "llama-3.2-1b"}, words, gpu=gpu)["tower"]
            out[key] = {"CUDA0" if "CUDA0" in name else "host": mib for name, mib in found.items()}
        yield out
