"""Settings that the rows of every architecture lack, asked of llama.cpp b11434 itself (scripts/cpu/probe.cpp).

Each is a small model of fixtures/llamacpp-synthetic.jsonl.xz with other keys and without some tensors; the settings
are the probe's words (context, sequences, unified, batch, micro-batch, types of K and V, flash attention, full windows,
rows of logits), the figures bytes of its compute buffer.
"""

from __future__ import annotations

import base64
import itertools
import json
import lzma
from functools import cache
from pathlib import Path

import pytest

from inspector.facts.gguf import facts_of_gguf
from inspector.formats.gguf import read_gguf
from inspector.memory.engines.llamacpp import estimate
from inspector.memory.engines.llamacpp.backends import HOST_BACKEND
from inspector.memory.engines.llamacpp.beside import Beside, extra
from inspector.memory.engines.llamacpp.drafting import LABEL
from inspector.memory.engines.llamacpp.graph import HOST, Model, build, compute_buffers, run_of
from inspector.memory.engines.llamacpp.graph.alloc import measure
from inspector.memory.engines.llamacpp.graph.model import GraphUnknown
from inspector.memory.engines.llamacpp.sizes import effective
from inspector.memory.engines.llamacpp.speculation import Speculation
from inspector.memory.estimate import Gpu, Placement, Workload
from inspector.sources.memory import MemorySource
from inspector.units import GIB

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
NANBEIGE, HRM, SWITCH, BAILING, KIMI, QWEN = 77, 76, 78, 128, 129, 131
BAILING_PREDICTS, QWEN_PREDICTS = 164, 179
ONE, FEW = "8192 1 0 2048 512 f16 f16 on 0 1", "8192 1 0 2048 64 f16 f16 on 0 1"
SHARED, APART = "8192 4 1 2048 256 q8_0 q8_0 on 0 4", "4096 2 0 512 512 f16 f16 off 0 2"
MEASURED = [
    (NANBEIGE, {"num_loops": 3}, (), {ONE: 36_194_336, SHARED: 18_129_952, APART: 84_949_024}),
    (NANBEIGE, {"num_loops": 3, "skip_loop_final_norm": True}, ("rope_freqs",), {FEW: 4_524_320}),
    (HRM, {"hrm.h_cycles": 1, "hrm.l_cycles": 5}, (), {ONE: 38_291_488, APART: 87_046_176}),
    (HRM, {"hrm.h_cycles": 3, "hrm.l_cycles": 1, "embedding_scale": None}, (), {SHARED: 19_178_528}),
    (
        SWITCH, {"residual_scale": None, "rope.scaling.finetuned": False}, (),
        {ONE: 32_260_128, SHARED: 15_048_736, APART: 82_063_392},
    ),
    (
        BAILING, {"swiglu_clamp_exp": 7.0, "swiglu_clamp_shexp": 7.0}, (),
        {ONE: 60_837_952, SHARED: 31_008_832, APART: 127_946_816},
    ),
    (BAILING, {"rope.dimension_sections": None, "expert_weights_norm": False}, (), {FEW: 7_751_488}),
    (KIMI, {"attn_res.block_size": 1}, (), {ONE: 73_412_672, SHARED: 36_706_368, APART: 136_327_232}),
    (
        KIMI, {"attn_res.block_size": 2, "kda.gate_lower_bound": None, "activation.situ_linear_beta": 0.0},
        ("attn_gate", "ffn_routed_norm"), {ONE: 69_218_368},
    ),
    (
        QWEN, {"attention.compress_ratios": (0, 0, 0, 8, 0, 0)}, (),
        {ONE: 62_513_536, SHARED: 36_400_512, APART: 125_825_408, "512 1 0 512 1 f16 f16 on 0 1": 2_256_032},
    ),
]  # fmt: skip
# bytes of cache and compute of a context for prediction layers (llama_context_params::ctx_type)
PREDICTED = {
    (BAILING_PREDICTS, ONE): (9_437_184, 57_686_048),
    (BAILING_PREDICTS, "4096 2 0 2048 512 f16 f16 on 0 2"): (4_718_592, 51_394_592),
    (QWEN_PREDICTS, ONE): (10_485_760, 57_153_920),
    (QWEN_PREDICTS, "8192 4 1 2048 512 q8_0 q8_0 on 0 4"): (5_570_560, 70_260_096),
}
SETTINGS = [(row, over, without, line, n) for row, over, without, figures in MEASURED for line, n in figures.items()]


@cache
def small(row):
    with lzma.open(FIXTURES / "llamacpp-synthetic.jsonl.xz", "rt", encoding="utf-8") as lines:
        return json.loads(next(itertools.islice(lines, row, None)))


def facts_of(row, over, without=()):
    model = small(row)
    file = read_gguf(MemorySource(base64.b64decode(model["header"]), name=model["arch"], size=model["size"]))
    keys = {**file.metadata, **{f"{model['arch']}.{k}": v for k, v in over.items()}}
    tensors = tuple(t for t in file.tensors if not any(part in t.name for part in without))
    return facts_of_gguf({k: v for k, v in keys.items() if v is not None}, tensors)


def workload_of(line):
    n_ctx, n_seqs, unified, n_batch, n_ubatch, k, v, flash, full, outputs = line.split()
    workload = Workload(
        n_ctx=int(n_ctx), n_seqs=int(n_seqs), n_batch=int(n_batch), n_ubatch=int(n_ubatch), kv_dtype_k=k, kv_dtype_v=v,
        flash_attn=flash == "on", kv_unified=unified == "1", swa_full=full == "1",
    )  # fmt: skip
    return workload, int(outputs)


def sizes_of(facts, line):
    workload, outputs = workload_of(line)
    return {**effective(facts, workload).as_effective(), "n_outputs_max": outputs}


@pytest.mark.parametrize(("row", "over", "without", "line", "nbytes"), SETTINGS)
def test_compute_buffers_are_the_engines_own(row, over, without, line, nbytes):
    facts = facts_of(row, over, without)
    assert compute_buffers(facts, sizes_of(facts, line)) == ({HOST: nbytes}, "derived")


@pytest.mark.parametrize(("row", "over"), [(NANBEIGE, {"num_loops": 9}), (KIMI, {"attn_res.block_size": 0})])
def test_layers_that_repeat_may_be_left_out(row, over):
    facts = facts_of(row, over)
    found = sizes_of(facts, ONE)
    graphs = [build(Model(facts), run_of(found), whole=whole)[0] for whole in (True, False)]
    whole, short = (measure(g.leafs, g.nodes, None, [HOST_BACKEND])[0] for g in graphs)
    assert whole == short


def test_each_layer_of_a_pipeline_copies_the_routers_choice():
    file = small(SWITCH)
    source = MemorySource(base64.b64decode(file["header"]), name=file["arch"], size=file["size"])
    model = read_gguf(source)
    block = [t for t in model.tensors if t.name.startswith("blk.0.")]
    more = (t.replace(name=f"blk.{il}{t.name[5:]}") for il in range(6, 24) for t in block)
    facts = facts_of_gguf({**model.metadata, "graniteswitch.block_count": 24}, (*model.tensors, *more))
    cards = Placement(gpus=tuple(Gpu(f"CUDA{i}", 24 * GIB) for i in range(2)), tensor_split=(1.0, 1.0))
    found = estimate(facts, Workload(n_ctx=8192), placement=cards, server=True)
    # scripts/cuda/probe.cpp, -ngl 99 -c 8192 -ts 1,1, as a server
    figures = {"CUDA0": 69_248_512, "CUDA1": 74_605_056, "host": 35_725_440}
    assert {x.device: x.nbytes for x in found.lines if x.what == "compute"} == figures


@pytest.mark.parametrize(("row", "line"), PREDICTED)
def test_prediction_layers_have_a_context_of_their_own(row, line):
    facts, (workload, _) = facts_of(row, {}), workload_of(line)
    types = {"type_k": workload.kv_dtype_k, "type_v": workload.kv_dtype_v}
    beside = Beside(speculation=Speculation(types=("draft-mtp",), **types))
    found = extra(facts, effective(facts, workload), Placement(), beside, server=False)
    reserved = [x for x in found.lines if not x.label.endswith(LABEL)]
    held = {what: sum(x.nbytes for x in reserved if x.what == what) for what in ("kv_cache", "compute")}
    assert (tuple(held.values()), found.unknown) == (PREDICTED[row, line], ())


@pytest.mark.parametrize(
    ("row", "over", "without", "what"),
    [
        (HRM, {"hrm.l_cycles": 3}, (), "block_count"),  # not as many layers as runs: llama.cpp aborts
        (HRM, {}, ("hrm.z_l_init",), "z_l_init"),
        (SWITCH, {}, ("attn_q.lora_b",), "attn_q.lora"),
        (BAILING, {"attention.key_length_mla": None}, (), "key_length_mla"),
        (KIMI, {}, ("output_res_score",), "res_score"),
        (NANBEIGE, {"num_loops": 0}, (), "num_loops"),
        (QWEN, {"attention.compress_ratios": (0, 0, 0, 8, 0, 4)}, (), "compress_ratios"),  # refused
        (QWEN, {"attention.indexer.top_k": 2047}, (), "compress_ratios"),  # refused
        (QWEN, {}, ("per_layer_token_embd",), "per_layer_token_embd"),
    ],
)
def test_nothing_is_said_of_a_file_that_llamacpp_does_not_run(row, over, without, what):
    run = run_of(sizes_of(facts_of(row, {}), ONE))
    with pytest.raises(GraphUnknown, match=what):
        build(Model(facts_of(row, over, without)), run)
