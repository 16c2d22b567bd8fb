"""Compute buffers against llama.cpp's own: 391 settings on 25 models, 319 synthetic models of every architecture,
215 placements on devices.
"""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path

import pytest
from graph_rows import placed, read, settings_from, sizes_of, synthetic

from inspector.checkpoint import Checkpoint
from inspector.facts.gguf import read_facts_gguf
from inspector.formats.modelfile import ModelFile
from inspector.memory.devices.placement import assign
from inspector.memory.engines.llamacpp.backends import HOST_BACKEND, policies
from inspector.memory.engines.llamacpp.graph import HOST, Model, build, compute_buffers, run_of
from inspector.memory.engines.llamacpp.graph.alloc import Arena, measure
from inspector.memory.engines.llamacpp.graph.archs import ARCHS
from inspector.memory.engines.llamacpp.graph.model import GraphUnknown
from inspector.memory.engines.llamacpp.graph.ops import Ops
from inspector.memory.engines.llamacpp.graph.options import Experts, Norms, Options
from inspector.memory.engines.llamacpp.graph.periods import representative
from inspector.memory.engines.llamacpp.graph.sched import sizes
from inspector.memory.engines.llamacpp.graph.tensor import F32
from inspector.memory.engines.llamacpp.sizes import effective
from inspector.memory.estimate import Gpu, Placement, Workload
from inspector.units import GIB, MIB

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
HEADERS = FIXTURES / "llamacpp-headers"


def facts_of(name):
    size = json.loads((HEADERS / f"{name}.json").read_text())["full_size"]
    return read(name, gzip.decompress((HEADERS / f"{name}.gguf-header.gz").read_bytes()), size)


def rows_by_model(name):
    rows = {}
    with gzip.open(FIXTURES / name, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            rows.setdefault(row["model"], []).append(row)
    return rows


MEASURED, PLACED, SYNTHETIC = rows_by_model("llamacpp.jsonl.gz"), rows_by_model("placement.jsonl.gz"), synthetic()


@pytest.mark.parametrize("name", sorted(MEASURED))
def test_every_measured_setting_byte_for_byte(name):
    facts = facts_of(name)
    for row in MEASURED[name]:
        if "error" not in row:
            found = compute_buffers(facts, sizes_of(facts, row["settings"]))
            assert found == ({HOST: row["compute_bytes"]}, "derived"), row["settings"]


@pytest.mark.parametrize("model", SYNTHETIC, ids=lambda m: f"{m['arch']}-{m['over'] or m['without'] or ''}"[:60])
def test_what_is_graded_derived_is_exact_on_every_architecture(model):
    facts = read(model["arch"], base64.b64decode(model["header"]), model["size"])
    for row in model["rows"]:
        if "error" in row or "crash" in row:
            continue
        found = compute_buffers(facts, sizes_of(facts, settings_from(row["settings"])))
        if found is not None and found[1] == "derived":
            assert found[0] == {HOST: row["compute"]}, row["settings"]
        elif found is not None:
            assert found[0][HOST] > 0


def test_every_builder_is_compared_with_the_engine_or_not_called_derived():
    derived = set()
    for model in SYNTHETIC:
        facts = read(model["arch"], base64.b64decode(model["header"]), model["size"])
        rows = [row for row in model["rows"] if "error" not in row and "crash" not in row]
        found = compute_buffers(facts, sizes_of(facts, settings_from(rows[0]["settings"]))) if rows else None
        if found is not None and found[1] == "derived":
            derived.add(facts.arch)
    measured = {facts_of(name).arch for name in MEASURED} | {
        "clef",
        "eagle3",
        "gemma4-assistant",
    }  # of the latter: more
    assert {name for name, row in ARCHS.items() if row.compared} <= derived | measured


@pytest.mark.parametrize(("record", "part"), [(Options, ""), (Norms, "norms"), (Experts, "experts")])
def test_every_option_is_set_by_some_row_to_more_than_its_default(record, part):
    rows = [getattr(row.options, part) if part else row.options for row in ARCHS.values()]
    plain = record()
    assert [f for f in plain.as_dict() if all(getattr(r, f) == getattr(plain, f) for r in rows)] == []


@pytest.mark.parametrize("record", [Options, Norms, Experts])
def test_an_option_that_there_is_not_is_a_type_error(record):
    with pytest.raises(TypeError, match="pre_norm"):
        record(pre_norm=False)


@pytest.mark.parametrize("name", sorted(PLACED))
def test_buffers_on_devices_to_the_last_digit_that_was_printed(name):
    facts = facts_of(name)
    for row in PLACED[name]:
        found, assignment = placed(row, facts)
        result = compute_buffers(facts, found, assignment)
        assert result is not None
        got = {d: result[0][HOST if d == "CPU" else d] / MIB for d in row["compute_mib"]}
        assert got == pytest.approx(row["compute_mib"], rel=0, abs=0.0051), row["case"]  # two decimals


def test_flash_attention_left_to_itself_goes_off_where_a_layer_would_run_elsewhere():
    facts = facts_of("lfm2-1.2b")
    row = next(row for row in PLACED["lfm2-1.2b"] if row["case"] == "nkvo")
    found, assignment = placed(row, facts)
    assert found["flash_attn_auto"]
    auto = compute_buffers(facts, found, assignment)
    on = compute_buffers(facts, {**found, "flash_attn_auto": False}, assignment)
    assert auto is not None
    assert on is not None
    assert auto[0][HOST] > 10 * on[0][HOST]


SHAPES = (
    "4096 1 0 2048 512 f16 f16 on 0 1",
    "8192 4 0 2048 512 f16 f16 off 0 0",
    "8192 3 0 2048 128 q8_0 q8_0 on 0 3",
)


@pytest.mark.parametrize("name", ["gemma-2-9b", "falcon-h1-7b", "glm-4.5-air", "llama-2-70b", "rwkv7-2.9b"])
@pytest.mark.parametrize("line", SHAPES)
def test_layers_left_out_change_nothing(name, line):
    facts = facts_of(name)
    found = sizes_of(facts, settings_from(line))
    short, whole = (build(Model(facts), run_of(found), whole=w)[0] for w in (False, True))
    assert len(short.nodes) < len(whole.nodes)
    assert measure(short.leafs, short.nodes, None, [HOST_BACKEND]) == measure(
        whole.leafs, whole.nodes, None, [HOST_BACKEND]
    )


def test_a_run_of_equal_layers_is_kept_in_part_and_its_parity_with_it():
    assert representative("a" * 8) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert representative("a" * 10) == [0, 1, 2, 3, 4, 5, 6, 9]
    assert representative("a" * 11) == [0, 1, 2, 3, 4, 5, 6, 7, 10]
    assert representative("x" + "aab" * 12) == [*range(22), 34, 35, 36]
    assert representative("abcd") == [0, 1, 2, 3]


def test_the_smallest_hole_that_fits_is_taken_and_neighbours_join():
    arena = Arena(HOST_BACKEND)
    a, b, c, d = (arena.take(n) for n in (96, 64, 32, 64))
    assert (a, b, c, d, arena.high) == (0, 96, 160, 192, 256)
    arena.give(a, 96)
    arena.give(c, 32)
    assert arena.take(32) == c
    assert arena.take(64) == a
    arena.give(b, 64)
    assert arena.take(96) == 64  # what was left of the first hole, and the second
    assert arena.high == 256


def test_empty_blocks_leave_the_list_out_of_order_as_they_do_in_ggml():
    arena = Arena(HOST_BACKEND)
    for n in (32, 32, 32, 32):
        arena.take(n)
    arena.give(64, 0)  # freed between two blocks in use: an empty hole
    arena.give(0, 32)
    assert (arena.offsets[:-1], arena.sizes[:-1]) == ([0, 64], [32, 0])
    assert arena.take(0) == 64
    assert arena.offsets[:-1] == [0]


def test_an_op_that_may_work_in_place_takes_over_its_last_source():
    g = Ops()
    x = g.input(F32, 8)
    a = g.layer_norm(x)
    b = g.scale(a)
    g.expand(g.add(b, x))
    assert measure(g.leafs, g.nodes, None, [HOST_BACKEND]) == [64]
    g = Ops()
    x = g.input(F32, 8)
    a = g.layer_norm(x)
    g.expand(g.add(g.scale(a), g.layer_norm(a)))
    assert measure(g.leafs, g.nodes, None, [HOST_BACKEND]) == [
        96
    ]  # `a` is needed again: the scaled copy goes where `x` was


def test_what_crosses_to_another_device_is_copied_there():
    g = Ops()
    x = g.input(F32, 1024)
    y = g.layer_norm(x)
    y.buf = 0
    g.expand(g.scale(y))
    assert sizes(g.leafs, g.nodes, policies(("rpc",)), pipeline=False) == [8192, 4096]


def test_an_unknown_architecture_gets_a_plain_decoder_and_says_so():
    facts = facts_of("llama-3.2-1b")
    keys = {k.replace("llama.", "newcomer."): v for k, v in facts.keys.items()}
    newcomer = facts.replace(arch="newcomer", keys={**keys, "general.architecture": "newcomer"})
    found = sizes_of(facts, settings_from(SHAPES[0]))
    expect = compute_buffers(facts, found)
    assert expect is not None
    assert compute_buffers(newcomer, found) == (expect[0], "modelled")


def test_nothing_is_said_where_the_graph_cannot_be_built():
    facts = facts_of("llama-3.2-1b")
    found = sizes_of(facts, settings_from(SHAPES[0]))
    without = tuple(t for t in facts.tensors if t.name != "blk.3.ffn_up.weight")
    assert compute_buffers(facts.replace(tensors=without), found) is None
    assert compute_buffers(facts.replace(tensors=()), found) is None
    odd = {**facts.keys, "llama.rope.dimension_count": "many"}
    assert compute_buffers(facts.replace(keys=odd), found) is None
    known = {**facts.keys, "general.architecture": "kimi-k3"}  # whose graph needs keys that this file has not
    assert compute_buffers(facts.replace(keys=known), found) is None


def test_every_row_has_a_graph():
    unknown, asked = {}, 0
    for model in SYNTHETIC:
        facts = read(model["arch"], base64.b64decode(model["header"]), model["size"])
        for row in model["rows"]:
            if "error" not in row and "crash" not in row:
                asked += 1
                try:
                    build(Model(facts), run_of(sizes_of(facts, settings_from(row["settings"]))))
                except GraphUnknown:
                    unknown[facts.arch] = unknown.get(facts.arch, 0) + 1
    assert (unknown, asked) == ({}, 1270)  # never for want of a weight or key that llama.cpp ran without


# cudaprobe on scripts/make_deepseek_v3.py's file, b11434, -fa on -c CONTEXT -ub UBATCH: bytes of compute buffers on a
# host alone (-ngl 0 --device none), and on one CUDA device with everything on it and the host's beside it (-ngl 99).
DEEPSEEK_V3 = {
    (512, 512): (426_262_528, 411_578_368, 59_260_928),
    (4096, 512): (429_932_544, 415_248_384, 62_930_944),
    (8192, 1024): (868_253_696, 838_885_376, 134_250_496),
    (8192, 2048): (1_736_507_392, 1_677_770_752, 268_500_992),
}


@pytest.mark.parametrize(("n_ctx", "n_ubatch"), DEEPSEEK_V3)
def test_experts_chosen_by_groups(n_ctx, n_ubatch):
    facts = facts_of("deepseek-v3")
    assert facts.keys["deepseek2.expert_group_count"] == 8
    alone, device, beside = DEEPSEEK_V3[n_ctx, n_ubatch]
    found = effective(facts, Workload(n_ctx=n_ctx, n_ubatch=n_ubatch, flash_attn=True)).as_effective()
    assert compute_buffers(facts, found) == ({HOST: alone}, "derived")
    card = Placement(gpus=(Gpu("CUDA0", 512 * GIB, backend="cuda"),))
    sums, grade = compute_buffers(facts, found, assign(card, len(facts.layers)))
    assert (sums, grade) == ({"CUDA0": device, HOST: beside}, "derived")


def test_experts_chosen_by_groups_need_to_know_how_many_groups():
    facts = facts_of("deepseek-v3")
    found = effective(facts, Workload(n_ctx=512)).as_effective()
    odd = facts.replace(keys={**facts.keys, "deepseek2.expert_group_used_count": "all"})
    with pytest.raises(GraphUnknown, match="expert_group_used_count"):
        build(Model(odd), run_of(found))


def graph_model(arch, **keys):
    """The graph's view of a model of these keys; sizes are common to all."""
    base = {"embedding_length": 256, "attention.head_count": 8, "feed_forward_length": 512}
    named = {f"{arch}.{k}": v for k, v in {**base, **keys}.items()}
    metadata = {"general.architecture": arch, **named}
    file = ModelFile(arch, "gguf", 3, 0, 0, metadata, (), {})
    return Model(read_facts_gguf(Checkpoint(arch, "gguf", (file,), {})))


@pytest.mark.parametrize(
    ("n_layers", "n_nextn", "window"), [(64, 0, 4096), (65, 1, 4096), (64, 1, None), (66, 0, None)]
)
def test_exaone4_slides_at_64_layers_that_run(n_layers, n_nextn, window):
    """llama_model_exaone4 asks hparams.n_layer(), which leaves prediction layers out."""
    m = graph_model("exaone4", block_count=n_layers, nextn_predict_layers=n_nextn)
    assert m.n_swa == window
    assert sum(m.swa) == (48 if window else 0)
    assert m.n_layer == n_layers - n_nextn


def test_prediction_layers_of_lfm2_do_not_slide():
    m = graph_model(
        "lfm2",
        block_count=4,
        nextn_predict_layers=1,
        **{"attention.sliding_window": 128, "attention.head_count_kv": (0, 4, 0, 4), "shortconv.l_cache": 3},
    )
    assert m.swa == (False, True, False, False)
    assert [m.recurrent(il) for il in range(3)] == [True, False, True]


def test_recurrent_layers_are_listed_only_where_the_architecture_reads_the_list():
    listed = {"attention.recurrent_layers": (True, True, False, False), "attention.head_count_kv": (4, 0, 4, 0)}
    state = {"ssm.inner_size": 512, "ssm.state_size": 16}
    jamba = graph_model("jamba", block_count=4, **listed, **state)
    assert [jamba.recurrent(il) for il in range(4)] == [False, True, False, True]
    qwen = graph_model("qwen35", block_count=4, **listed, **state)
    assert [qwen.recurrent(il) for il in range(4)] == [True, True, False, False]


def test_a_window_of_zero_is_none_to_modern_bert():
    assert not graph_model("modern-bert", block_count=4, **{"attention.sliding_window": 0}).has_swa
    assert graph_model("modern-bert", block_count=4, **{"attention.sliding_window": 8}).has_swa
