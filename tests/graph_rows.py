"""Rows of compute buffers: a small model of every architecture, settings and placements as llama.cpp takes them."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

from inspector.checkpoint import Checkpoint
from inspector.facts.gguf import read_facts_gguf
from inspector.formats.gguf import read_gguf
from inspector.memory.devices.placement import assign
from inspector.memory.engines.llamacpp.sizes import effective
from inspector.memory.estimate import Gpu, Placement, Workload
from inspector.sources.memory import MemorySource
from inspector.units import GIB

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
# Encoders report every token: llama.cpp does not limit their outputs (llama_model_has_encoder).
ENCODERS = {"t5", "t5encoder"}


def read(name, data, size):
    file = read_gguf(MemorySource(data, name=name, size=size))
    return read_facts_gguf(Checkpoint(name, "gguf", (file,), {}))


def synthetic():
    with lzma.open(FIXTURES / "llamacpp-synthetic.jsonl.xz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def workload_of(settings):
    """What a row's settings ask for; its limit of outputs is left out."""
    return Workload(
        n_ctx=settings["n_ctx"],
        n_seqs=settings["n_seq_max"],
        n_batch=settings["n_batch"],
        n_ubatch=settings["n_ubatch"],
        kv_dtype_k=settings["type_k"],
        kv_dtype_v=settings["type_v"],
        flash_attn={"on": True, "off": False, "auto": None}[settings["flash_attn"]],
        kv_unified=settings["kv_unified"],
        swa_full=settings["swa_full"],
    )


def sizes_of(facts, settings):
    """What llama.cpp runs with, from a row's settings."""
    found = effective(facts, workload_of(settings)).as_effective()
    rows = settings["n_outputs_max"]
    return found if not rows or facts.arch in ENCODERS else {**found, "n_outputs_max": rows}


def settings_from(line):
    n_ctx, n_seqs, unified, n_batch, n_ubatch, k, v, flash, full, outputs = line.split()
    return {
        "n_ctx": int(n_ctx),
        "n_seq_max": int(n_seqs),
        "n_batch": int(n_batch),
        "n_ubatch": int(n_ubatch),
        "type_k": k,
        "type_v": v,
        "flash_attn": flash,
        "kv_unified": unified == "1",
        "swa_full": full == "1",
        "n_outputs_max": int(outputs),
    }


def placed(row, facts):
    """A row's placement and sizes."""
    rest, options = list(row["args"]), {}
    while rest:
        name = rest.pop(0)
        options[name] = "" if name == "-nkvo" else rest.pop(0)
    split = tuple(map(float, options["-ts"].split(","))) if "-ts" in options else None
    workload = Workload(
        n_ctx=int(options["-c"]),
        n_seqs=int(options.get("-np", 1)),
        n_ubatch=int(options.get("-ub", 512)),
        kv_dtype_k=options.get("-ctk"),
        kv_dtype_v=options.get("-ctv"),
        flash_attn={"on": True, "off": False}.get(options.get("-fa")),
    )
    placement = Placement(
        gpus=tuple(Gpu(f"RPC{i}", 24 * GIB, backend="rpc") for i in range(len(split or (1,)))),
        n_gpu_layers=int(options["-ngl"]),
        tensor_split=split,
        n_cpu_moe=int(options.get("-ncmoe", 0)),
        kv_offload="-nkvo" not in options,
    )
    found = effective(facts, workload, offload_kqv=placement.kv_offload).as_effective()
    return found, assign(placement, len(facts.layers) + len(facts.nextn_layers))
