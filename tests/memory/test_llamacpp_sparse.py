"""Graphs of sparse attention and of several streams, against b11434's own figures for settings that no row has."""

from __future__ import annotations

import base64
import struct

import pytest
from graph_rows import placed, read, settings_from, sizes_of, synthetic

from inspector.dtypes import DTYPES
from inspector.facts.gguf import facts_of_gguf
from inspector.memory.devices.placement import assign
from inspector.memory.engines.llamacpp import estimate
from inspector.memory.engines.llamacpp.backends import backend
from inspector.memory.engines.llamacpp.beside import Beside
from inspector.memory.engines.llamacpp.graph import HOST, Model, build, compute_buffers, run_of
from inspector.memory.engines.llamacpp.graph.model import GraphUnknown
from inspector.memory.engines.llamacpp.loading import refused
from inspector.memory.engines.llamacpp.sizes import effective
from inspector.memory.engines.llamacpp.speculation import Speculation
from inspector.memory.estimate import Gpu, Placement, Workload
from inspector.units import GIB, MIB

SYNTHETIC = synthetic()
# keys whose value in the file is written over, by architecture: the first row's header otherwise
BLOCKS_OF_100 = {"minimax-m3.attention.indexer.block_size": 100}
NO_TAIL = {"glm5-next.attention.indexer.kpool_select_tail": False}
FEW_BEST = {"hy_v4.attention.indexer.top_k": 100}

# scripts/cpu/probe.cpp on those headers: context, sequences, unified, batch, micro-batch, cache types, flash attention,
# all of a window, outputs; then what else is asked, and bytes of the compute buffer
MEASURED = [
    ("minimax-m3", BLOCKS_OF_100, "4096 1 0 2048 512 f16 f16 on 0 0", {}, 92_845_056),
    ("minimax-m3", {}, "4096 1 0 2048 1 bf16 bf16 on 0 1", {}, 556_544),
    ("minimax-m3", {}, "4096 3 0 2048 2 q8_0 q8_0 on 0 3", {}, 1_698_816),
    ("minimax-m3", {}, "4096 3 1 2048 64 q8_0 q8_0 on 0 3", {}, 4_157_920),
    ("hy_v4", {}, "4096 4 1 2048 64 q8_0 q8_0 on 0 4", {}, 14_158_112),
    ("hy_v4", FEW_BEST, "4096 1 0 2048 512 f16 f16 on 0 1", {}, 89_327_648),
    ("dots3note", {}, "8192 3 1 2048 128 q4_0 q4_0 on 1 3", {}, 27_547_392),
    ("deepseek4", {}, "8192 4 1 2048 130 f16 f16 on 0 4", {}, 18_419_200),
    ("deepseek4", {}, "4096 2 0 2048 256 q8_0 q8_0 on 0 2", {"n_rs_seq": 3}, 28_477_536),
    ("glm5-next", {}, "4096 2 0 2048 16 f16 f16 on 0 2", {}, 138_120_384),
    ("glm5-next", {}, "2048 1 0 2048 16 f16 f16 on 0 1", {}, 5_065_024),
    ("glm5-next", NO_TAIL, "4096 3 1 2048 17 q8_0 q8_0 on 0 3", {}, 26_425_792),
    ("glm5-next", {}, "4096 2 0 2048 256 f16 f16 on 0 2", {"n_rs_seq": 3}, 37_607_872),
]

# llama-fit-params on one device through RPC: layers on it, and MiB of its compute buffer and of the host's
PLACED = [
    ("deepseek4", 4, 72.5, 55.89),
    ("deepseek4", 99, 64.5, 7.84),
    ("glm5-next", 3, 143.73, 73.41),
    ("glm5-next", 99, 88.18, 17.14),
    ("hy_v4", 3, 85.98, 100.02),
    ("dots3note", 3, 77.58, 85.59),
    ("minimax-m3", 3, 89.3, 88.67),
]

# sequences, then MiB of a draft's cache, of its compute buffer and of the model's
DRAFTING = [
    (1, 0.38, 43.51, 56.89),
    (4, 1.0, 46.01, 56.91),
]


def first_of(arch, changed=()):
    """Facts of the first row of an architecture, with keys written over."""
    model = next(m for m in SYNTHETIC if m["arch"] == arch)
    header = bytearray(base64.b64decode(model["header"]))
    for key, value in dict(changed).items():
        at = header.index(key.encode()) + len(key) + 4
        header[at : at + 4 if value is not False else at + 1] = b"\0" if value is False else struct.pack("<I", value)
    return read(arch, bytes(header), model["size"])


@pytest.mark.parametrize(("arch", "changed", "line", "more", "nbytes"), MEASURED)
def test_settings_that_no_row_has_byte_for_byte(arch, changed, line, more, nbytes):
    found = {**sizes_of(first_of(arch, changed), settings_from(line)), **more}
    assert compute_buffers(first_of(arch, changed), found) == ({HOST: nbytes}, "derived")


@pytest.mark.parametrize(("arch", "n", "device", "host"), PLACED)
def test_fused_operations_stay_or_go_off_where_layers_are_parted(arch, n, device, host):
    facts = first_of(arch)
    found, assignment = placed({"args": ["-ngl", str(n), "-c", "4096"]}, facts)
    result = compute_buffers(facts, found, assignment)
    assert result is not None
    got = (result[0]["RPC0"] / MIB, result[0][HOST] / MIB)
    assert got == pytest.approx((device, host), rel=0, abs=0.0051)  # two decimals


def test_experts_that_are_clamped_are_not_run_as_one_with_a_shared_one_that_is_not():
    """scripts/cuda/probe.cpp on the first row of hy_v4: -ngl 99 -c 8192 -ts 3,4 on two cards."""
    facts = first_of("hy_v4")
    cards = tuple(Gpu(f"CUDA{i}", 24 * GIB, backend="cuda") for i in range(2))
    placement = Placement(gpus=cards, n_gpu_layers=99, tensor_split=(3, 4))
    found = effective(facts, Workload(n_ctx=8192)).as_effective()
    result = compute_buffers(facts, found, assign(placement, len(facts.layers)))
    assert result == ({"CUDA0": 184_623_104, "CUDA1": 366_854_144, HOST: 88_162_304}, "derived")


def test_tables_lie_on_the_card_where_rows_of_their_type_are_read_and_places_where_they_are_added():
    table = first_of("deepseek4").tensors[0].replace(name="blk.0.ffn_gate_tid2eid.weight", dtype=DTYPES["I32"])
    facts = first_of("deepseek4").replace(tensors=(table,))
    assert refused(facts, backend("cuda")) == frozenset()
    pools = {t.name for t in first_of("glm5-next").tensors if t.name.endswith("indexer_compressor_ape.weight")}
    assert pools
    assert refused(first_of("glm5-next"), backend("cuda")) == pools
    assert refused(first_of("deepseek4"), backend("cuda")) == frozenset()


def test_each_layer_on_a_card_copies_windows_of_inputs_of_its_own():
    """scripts/cuda/probe.cpp on the first row of minimax-m3 with 14 layers: -ngl 99 -c 4096."""
    facts = first_of("minimax-m3")
    more = tuple(
        t.replace(name=t.name.replace("blk.1.", f"blk.{i}."))
        for i in range(6, 14)
        for t in facts.tensors
        if t.name.startswith("blk.1.")
    )
    deep = facts_of_gguf({**facts.keys, "minimax-m3.block_count": 14}, (*facts.tensors, *more))
    card = Placement(gpus=(Gpu("CUDA0", 24 * GIB, backend="cuda"),), n_gpu_layers=99)
    found = effective(deep, Workload(n_ctx=4096)).as_effective()
    assert compute_buffers(deep, found, assign(card, 14)) == ({"CUDA0": 98_944_000, HOST: 13_280_256}, "derived")


def drafting():
    """Facts of the first row of deepseek4 with its last layer as one that predicts, and compresses nothing."""
    facts = first_of("deepseek4")
    norm = next(t for t in facts.tensors if t.name == "blk.7.attn_norm.weight")
    own = [norm.replace(name=f"blk.7.nextn.{name}.weight") for name in ("enorm", "hnorm")]
    own.append(norm.replace(name="blk.7.nextn.eh_proj.weight", shape=(1024, 2048)))
    kept = [t for t in facts.tensors if not t.name.startswith("blk.7.attn_compressor")]
    ratios = {"attention.compress_ratios": (0, 0, 4, 128, 4, 128, 4, 0), "nextn_predict_layers": 1}
    return facts_of_gguf({**facts.keys, **{f"deepseek4.{k}": v for k, v in ratios.items()}}, (*kept, *own))


@pytest.mark.parametrize(("n_seqs", "cache", "compute", "mains"), DRAFTING)
def test_deepseek_v4_drafts_from_keys_and_values_of_a_window(n_seqs, cache, compute, mains):
    """llama-server of those tensors: -c 4096 -np N -kvu --spec-type draft-mtp, MiB of what it says of both contexts."""
    beside = Beside(speculation=Speculation(types=("draft-mtp",)))
    workload = Workload(n_ctx=4096, n_seqs=n_seqs, kv_unified=True)
    found = estimate(drafting(), workload, server=True, beside=beside)
    assert found.unknown == ()
    got = {x.label + "/" + x.what: x.nbytes / MIB for x in found.lines}
    expect = {"draft sliding window/kv_cache": cache, "draft/compute": compute, "/compute": mains}
    assert {k: got[k] for k in expect} == pytest.approx(expect, rel=0, abs=0.0051)


def test_layers_of_dots3note_rank_as_listed_however_long_the_list():
    facts = first_of("dots3note")
    listed = {n: read_again(facts, {"dots3note.attention.indexer.types": (1, 0, 1, 0, 1, 0, 1)[:n]}) for n in (5, 6, 7)}
    assert listed[5].layers == listed[6].layers == listed[7].layers == facts.layers


@pytest.mark.parametrize(
    ("arch", "missing", "said"),
    [
        ("deepseek4", {"attention.compress_ratios": (0, 0, 8, 128, 4, 128, 4, 128)}, "compress_ratios"),
        ("minimax-m3", {"attention.indexer.head_count": 2}, "indexer.head_count"),
        ("minimax-m3", {"attention.indexer.block_size": 600}, "indexer.block_size"),
        ("hy_v4", {"attention.indexer.types": (0, 1, 0, 1, 0, 1)}, "no indexer before it"),
        ("glm5-next", {"attention.indexer.types": (1, 1, 0, 1, 1, 1)}, "no indexer before it"),
    ],
)
def test_what_llama_cpp_aborts_at_has_no_graph(arch, missing, said):
    facts = first_of(arch)
    facts = read_again(facts, {f"{arch}.{key}": value for key, value in missing.items()})
    found = sizes_of(facts, settings_from("4096 1 0 2048 512 f16 f16 on 0 0"))
    with pytest.raises(GraphUnknown, match=said):
        build(Model(facts), run_of(found))


def read_again(facts, keys):
    """Facts of the same tensors under other keys."""
    return facts_of_gguf({**facts.keys, **keys}, facts.tensors)
