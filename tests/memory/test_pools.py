"""What a CUDA device takes besides its buffers, against 56 runs of llama.cpp's own host code; and what counts it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from inspector.checkpoint import Checkpoint
from inspector.dtypes import DTYPES
from inspector.facts.gguf import read_facts_gguf
from inspector.formats.gguf import read_gguf
from inspector.memory.devices.gpus import parse_gpu, under
from inspector.memory.devices.placement import assign
from inspector.memory.engines.llamacpp import estimate
from inspector.memory.engines.llamacpp.backends.pools import kernel_class, workspace
from inspector.memory.engines.llamacpp.compute import compute_parts
from inspector.memory.engines.llamacpp.sizes import effective
from inspector.memory.estimate import Gpu, Placement, Workload
from inspector.memory.fit.choose import fit
from inspector.memory.fit.records import Ask, Candidate
from inspector.sources.memory import MemorySource
from inspector.units import GIB, MIB

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
HEADERS = FIXTURES / "llamacpp-headers"
with gzip.open(FIXTURES / "cuda_pools.jsonl.gz", "rt", encoding="utf-8") as lines:
    ROWS = [row for row in map(json.loads, lines) if (HEADERS / f"{row['model']}.json").exists()]


def facts_of(name):
    size = json.loads((HEADERS / f"{name}.json").read_text())["full_size"]
    data = gzip.decompress((HEADERS / f"{name}.gguf-header.gz").read_bytes())
    return read_facts_gguf(Checkpoint(name, "gguf", (read_gguf(MemorySource(data, name=name, size=size)),), {}))


def overheads(result):
    return {x.label: x.nbytes for x in result.lines if x.what == "overhead"}


def test_the_measured_runs_are_many_models_and_both_kinds_of_attention():
    assert len(ROWS) >= 44
    assert {(row["fa"], row["ub"]) for row in ROWS} == {("on", 512), ("on", 2048), ("off", 512), ("off", 2048)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['model']}-{row['fa']}-{row['ub']}")
def test_the_pool_grows_to_what_llama_cpp_measures(row):
    # one full micro-batch was decoded: without flash attention scores are as wide as the tokens that are there
    flash = row["fa"] == "on"
    facts = facts_of(row["model"])
    workload = Workload(n_ctx=8192 if flash else row["ub"], n_ubatch=row["ub"], flash_attn=flash, outputs="last")
    assignment = assign(Placement(gpus=(Gpu("CUDA0", 1 << 40),)), len(facts.layers) + len(facts.nextn_layers))
    parts = compute_parts(facts, effective(facts, workload).as_effective(), assignment)
    assert parts[2] == {"CUDA0": (row["pool"], bool(row["late_mallocs"]))}


def test_cublas_takes_more_from_hopper_on_and_where_the_card_is_not_known():
    assert {workspace(cc) for cc in ("5.2", "6.1", "8.6", "8.9")} == {4 * MIB}
    assert {workspace(cc) for cc in ("9.0", "10.0", "12.0", "")} == {32 * MIB}
    measured = {n for row in ROWS for n in row["late_mallocs"]}
    assert measured == {workspace("8.9")}


def test_types_of_one_class_share_what_the_search_keeps():
    assert len({kernel_class(t) for t in ("Q8_0", "Q6_K", "Q4_K", "IQ4_XS", "MXFP4")}) == 1
    assert len({kernel_class(t) for t in ("F32", "F16", "BF16", "IQ1_M", "Q8_0")}) == 5


@pytest.mark.parametrize("backend", ["rpc", "vulkan", "metal", "sycl", "rocm"])
def test_other_back_ends_have_no_lines_of_overhead(backend):
    (card,) = parse_gpu("24GiB")
    facts, workload = facts_of("llama-3-8b"), Workload(n_ctx=8192)
    assert overheads(estimate(facts, workload, placement=Placement(gpus=(under(card, backend),)))) == {}
    assert overheads(estimate(facts, workload)) == {}


def test_the_verdict_counts_the_context_and_the_pools():
    facts, workload = facts_of("llama-3-8b"), Workload(n_ctx=8192)
    (card,) = parse_gpu("rtx3090")
    result = estimate(facts, workload, placement=Placement(gpus=(card,)))
    assert overheads(result) == {"context": card.context, "pools": 8 * MIB}
    assert result.grade == "modelled"
    used = next(d.used for d in result.devices if d.device == card.name)
    for capacity, fits in ((used + card.reserve, True), (used + card.reserve - 1, False)):
        tight = card.replace(capacity=capacity)
        assert estimate(facts, workload, placement=Placement(gpus=(tight,))).fits is fits


def test_a_card_without_layers_still_has_a_context():
    (card,) = parse_gpu("24GiB")
    result = estimate(facts_of("llama-3-8b"), Workload(n_ctx=8192), placement=Placement(gpus=(card,), n_gpu_layers=0))
    assert overheads(result)["context"] == card.context


def test_fit_counts_them_and_one_memo_serves_quants_of_unlike_kernels():
    facts = facts_of("llama-3-8b")
    ask = Ask(gpus=parse_gpu("24GiB"), engine="llama.cpp", n_ctx=8192, workload=Workload(outputs="last"))
    f16 = DTYPES["F16"]
    floats = facts.replace(
        tensors=tuple(
            t.replace(dtype=f16, nbytes=f16.nbytes(t.shape)) if len(t.shape) > 1 else t for t in facts.tensors
        )
    )
    found = fit([Candidate("Q4_K_M", facts, "a", 5 * GIB), Candidate("F16", floats, "b", 16 * GIB)], ask)
    pools = {c.candidate.label: overheads(c.estimate)["pools"] for c in found.choices}
    assert pools["F16"] > pools["Q4_K_M"] == 8 * MIB
    for choice in found.choices:
        assert overheads(choice.estimate)["context"] == ask.gpus[0].context
        used = next(d.used for d in choice.estimate.devices if d.device == "24.00 GiB")
        assert choice.headroom["24.00 GiB"] == 24 * GIB - ask.gpus[0].reserve - used
