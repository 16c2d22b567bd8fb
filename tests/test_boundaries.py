"""Where one more or one less changes the answer: expectations from the formats' and engines' own rules, by hand.

scripts/mutate.py shows that other tests do not notice these lines; each test here says a fact that they hold.
"""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from audit_builder import audit
from gguf_builder import ARR, U8, U32, Arr, Tensor, build

from inspector.architectures.hf.record import Activations
from inspector.architectures.hf_config import HfConfig
from inspector.architectures.hf_experts import moe_layers
from inspector.audit.registry import rules
from inspector.checkpoint import Checkpoint
from inspector.cli.group import run_command_line
from inspector.comparison import diff
from inspector.dtypes import DTYPES
from inspector.errors import InspectorError, Unreachable, WorkloadError
from inspector.facts import ModelFacts
from inspector.formats.gguf import read_gguf
from inspector.formats.modelfile import ModelFile, TensorInfo
from inspector.formats.safetensors import read_safetensors
from inspector.layers import KVCache, Layer, UnknownCache
from inspector.memory.cache import cache_nbytes, row_nbytes
from inspector.memory.devices.gpus import apple_working_set, parse_gpu
from inspector.memory.devices.placement import assign, device_totals
from inspector.memory.engines import estimate as run_estimate
from inspector.memory.engines import vllm
from inspector.memory.engines.llamacpp.sizes import effective
from inspector.memory.engines.llamacpp.weights import repacked
from inspector.memory.engines.textbook import precision, weights_nbytes
from inspector.memory.engines.transformers.peak import Shape, moments
from inspector.memory.engines.vllm.pages import Setup, plan
from inspector.memory.engines.vllm.parallel import Split, refused
from inspector.memory.estimate import Device, Estimate, Gpu, Line, Placement, Workload
from inspector.memory.fit.choose import Merits, asked_context
from inspector.memory.fit.records import Ask
from inspector.sources.http import Retry, retried
from inspector.sources.memory import MemorySource
from inspector.stores.names import quant_label
from inspector.units import GIB, format_count

# What the loader itself does, not what the registry says: safetensors' reader and gguf.cpp refuse the first sort
# (tensor.rs `Metadata::validate`, `gguf_init_from_reader`), load the second with something wrong, and do not mind the
# third.
REFUSED = """
    st-header-length st-json st-nesting st-fields st-dtype st-size st-layout st-truncated st-metadata
    gguf-version gguf-count gguf-key gguf-value-type gguf-string-length gguf-array-length gguf-nesting gguf-alignment
    gguf-tensor-name gguf-dimensions gguf-byte-size gguf-tensor-type gguf-partial-block gguf-offset gguf-truncated
"""
LOADED_ALL_THE_SAME = """
    st-duplicate st-spec gguf-big-endian gguf-odd-key gguf-nested-array gguf-odd-alignment gguf-trailing-data
    gguf-not-utf8 gguf-bad-bool
"""
HARMLESS = "st-alignment gguf-unpadded-tail"


@pytest.mark.parametrize(
    ("names", "severity"), [(REFUSED, "error"), (LOADED_ALL_THE_SAME, "warning"), (HARMLESS, "info")]
)
def test_what_loaders_refuse_is_an_error_and_what_they_load_is_not(names, severity):
    by_name = {r.name: r.severity for r in rules().values()}
    assert {name: by_name[name] for name in names.split()} == dict.fromkeys(names.split(), severity)


# --- bytes ---------------------------------------------------------------------------------------------------------


def test_a_plain_type_is_no_quantised_one():
    assert not DTYPES["F16"].is_block_quantized
    assert DTYPES["Q8_0"].is_block_quantized


def test_a_thousand_is_one_thousand():
    assert [format_count(n) for n in (999, 1000, 1_000_000)] == ["999", "1.00 K", "1.00 M"]


# --- GGUF: gguf.cpp's order of checks, and what each says -----------------------------------------------------------


def defects(raw: bytes):
    return {d.code: d for d in read_gguf(MemorySource(raw), strict=False).defects}


def test_a_version_with_a_zero_byte_is_not_taken_for_the_other_byte_order():
    (defect,) = defects(build(version=256)).values()
    assert "version 256;" in defect.what


def test_version_two_is_read():
    assert not defects(build([("k", U32, 1)], version=2))


@pytest.mark.parametrize(("n", "code"), [(10, "bad-count"), (1 << 18, "bad-count"), ((1 << 18) + 1, "absurd-count")])
def test_counts_are_held_against_the_bytes_that_are_left(n, code):
    # 9 keys of 13 bytes are the least that 10 need too much of: no byte of the keys is looked at
    assert set(defects(build(n_kv=n) + bytes(13 * 9 if n == 10 else 0))) == {code}


def test_two_to_the_sixty_third_elements_are_too_many():
    assert "too-many-elements" in defects(build([], [Tensor("t", (1 << 62, 2))], data=b""))


def test_a_hole_of_one_alignment_is_a_hole():
    raw = build([], [Tensor("a", (32,)), Tensor("b", (32,), offset=160)], data=bytes(160 + 128))
    assert set(defects(raw)) == {"tensor-hole"}


def test_one_byte_more_or_less_is_told_and_the_tensor_it_is_missing_from():
    raw = build([], [Tensor("a"), Tensor("b")])
    assert not defects(raw)
    assert set(defects(raw + b"\0")) == {"trailing-data"}
    assert defects(raw[:-1])["truncated-data"].where == "b"


def test_an_array_longer_than_the_file_is_told_by_its_key():
    raw = build([("k", ARR, Arr(U32, [0] * 10, count=20))], n_tensors=0)
    (defect,) = defects(raw + bytes(8)).values()
    assert (defect.code, defect.where) == ("truncated-header", "k")


@pytest.mark.parametrize(("n", "told"), [(65535, False), (65536, True)])
def test_keys_have_up_to_65535_bytes(n, told):
    assert ("long-key" in defects(build([("k" * n, U8, 1)]))) is told


def test_missing_padding_at_the_end_does_not_keep_a_file_from_loading():
    raw = build([], [Tensor("a", (1,))], data=bytes(4))
    assert not defects(raw)["unpadded-tail"].fatal


# --- safetensors: tensor.rs ----------------------------------------------------------------------------------------


def st_defects(raw: bytes):
    return {d.code: d for d in read_safetensors(MemorySource(raw), strict=False).defects}


def test_a_header_may_take_what_lies_behind_its_length_and_no_more():
    found = st_defects(struct.pack("<Q", 51) + b"{" + b" " * 48 + b"}")
    assert "51 bytes, the file has 50 left" in found["header-cut"].what
    assert not st_defects(struct.pack("<Q", 48) + b"{}" + b" " * 46)


def test_the_format_allows_headers_of_a_hundred_million_bytes():
    assert set(st_defects(struct.pack("<Q", 100_000_001) + bytes(50))) == {"header-too-long"}
    assert set(st_defects(struct.pack("<Q", 100_000_000) + bytes(50))) == {"header-cut"}


# --- audit ---------------------------------------------------------------------------------------------------------


def test_findings_come_worst_first(tmp_path):
    header = {
        "a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
        "b": {"dtype": "F32", "shape": [1], "data_offsets": [9, 13], "more": 1},  # a hole, off its 4, an unknown field
    }
    text = json.dumps(header).encode()
    (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(13))
    found = [f.severity for f in audit(tmp_path / "m.safetensors").findings]
    assert set(found) == {"error", "warning", "info"}
    assert found == sorted(found, key=["error", "warning", "info"].index)


# --- placement: llama_model_base::load_tensors compares split points as floats, by std::upper_bound ------------------


@pytest.mark.parametrize("split", [(0.1, 0.2, 0.7), (1.0, 2.0), (3.3, 1.7, 2.9), (0.3, 0.6, 0.1), (7.0, 3.0)])
def test_layers_are_shared_out_in_single_precision(split):
    gpus = tuple(Gpu(f"g{i}", 8 * GIB) for i in range(len(split)))
    ends = np.cumsum(np.array(split, np.float32), dtype=np.float32)
    ends /= ends[-1]
    for n in range(1, 120):
        placed = assign(Placement(gpus=gpus, tensor_split=split), n - 1)
        at = (np.arange(n) / np.float64(n)).astype(np.float32)
        wanted = np.minimum(np.searchsorted(ends, at, side="right"), len(split) - 1)
        assert [*placed.blocks, placed.output] == [f"g{i}" for i in wanted], n


@pytest.mark.parametrize(("used", "fits"), [(7 * GIB, True), (7 * GIB + 1, False)])
def test_a_device_may_be_filled_to_the_byte_but_for_its_reserve(used, fits):
    gpu = Gpu("g", 8 * GIB, reserve=GIB)
    (device,) = [d for d in device_totals([Line("weights", used, "exact", "", "g")], (gpu,)) if d.device == "g"]
    assert device.fits is fits


@pytest.mark.parametrize(("reserve", "n_on_first"), [(0, 18), (GIB, 20)])
def test_layers_are_shared_out_by_what_the_reserve_leaves(reserve, n_on_first):
    gpus = (Gpu("g0", 3 * GIB, reserve=reserve), Gpu("g1", 2 * GIB, reserve=reserve))
    placed = assign(Placement(gpus=gpus), 29)  # thirty with the output layer: 3 to 2, or 2 to 1
    assert [*placed.blocks, placed.output].count("g0") == n_on_first


@pytest.mark.parametrize(("verdicts", "fits"), [((True, False), False), ((True, True), True), ((True, None), True)])
def test_one_device_that_is_too_small_is_enough(verdicts, fits):
    devices = tuple(Device(f"g{i}", GIB, GIB, x) for i, x in enumerate(verdicts))
    assert Estimate("e", Workload(), {}, (), devices).fits is fits


def test_a_total_is_no_better_known_than_its_weakest_line():
    lines = tuple(Line("weights", 1, grade, "") for grade in ("exact", "modelled", "derived"))
    assert Estimate("e", Workload(), {}, lines).grade == "modelled"


@pytest.mark.parametrize("text", ["1024x24GiB", "1024xrtx4090"])
def test_a_thousand_and_twenty_four_devices_are_the_most(text):
    assert len(parse_gpu(text)) == 1024
    with pytest.raises(InspectorError, match="1025 GPUs"):
        parse_gpu("1025" + text[4:])


def test_a_mac_of_32_gib_lets_a_process_wire_two_thirds():
    # llama.cpp prints recommendedMaxWorkingSetSize = 22906.50 MB on an M1 Max: whole pages of 16 KiB
    assert 22_906_500_000 - (16 << 10) < apple_working_set(32 * GIB) < 22_906_510_000


# --- caches ----------------------------------------------------------------------------------------------------------


def test_a_block_that_is_begun_takes_a_whole_one():
    assert [row_nbytes(n, DTYPES["Q8_0"]) for n in (32, 33, 64)] == [34, 68, 68]


def test_of_a_kind_that_is_not_known_no_size_is_claimed():
    f16 = DTYPES["F16"]
    assert cache_nbytes(UnknownCache("liquid"), 4096, dtype_k=f16, dtype_v=f16) is None


# --- fit -------------------------------------------------------------------------------------------------------------


def merits(**better):
    return Merits(**{**dict.fromkeys(Merits._fields, 0), **better})


@pytest.mark.parametrize("field", Merits._fields)
def test_a_choice_covers_its_like_and_nothing_that_has_more_of_anything(field):
    assert merits().covers(merits())
    assert not merits().covers(merits(**{field: 1}))
    assert merits(**{field: 1}).covers(merits())


@pytest.mark.parametrize("field", ["n_gpu_layers", "gpu_experts", "largest_ctx"])
def test_a_faster_choice_need_not_grow_as_far(field):
    assert merits(speed=1).covers(merits(**{field: 1}))


# --- textbook ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_params", "nbytes"), [(1, 1), (2, 1), (3, 2), (7_000_000_001, 3_500_000_001)])
def test_half_a_byte_of_weights_takes_a_whole_one(n_params, nbytes):
    assert weights_nbytes(n_params, precision("INT4")) == nbytes


# --- fit -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("trained", "aimed_at"), [(8192, 8192), (32768, 32768), (131072, 32768)])
def test_without_a_context_fit_aims_at_32768_tokens_or_what_the_model_was_trained_for(trained, aimed_at):
    ask = Ask(gpus=(Gpu("g", 80 * GIB),), engine="vllm")
    assert asked_context(facts_by_hand([FULL], n_ctx_train=trained), ask) == aimed_at
    assert asked_context(facts_by_hand([FULL], n_ctx_train=trained), ask.replace(longest=True)) == trained


# --- vLLM ----------------------------------------------------------------------------------------------------------


def facts_by_hand(caches, **changes) -> ModelFacts:
    base = dict(
        arch="llama", format="safetensors", n_params=1_000_000, n_params_active=None, n_layers=len(caches),
        d_model=1024, d_ff=2048, n_heads=8, n_kv_heads=8, head_dim_k=128, head_dim_v=128, vocab_size=1000,
        n_ctx_train=131072, layers=tuple(Layer(i, "full", (c,)) for i, c in enumerate(caches)), origin={},
        dtype="bfloat16",
    )  # fmt: skip
    return ModelFacts(**{**base, **changes})


FULL, SLIDING = KVCache(8, 128, 128), KVCache(8, 128, 128, 1024)


@pytest.mark.parametrize(("n_full", "n_sliding", "sizes"), [(2, 3, [2, 2, 1]), (4, 5, [4, 5]), (2, 4, [2, 2, 2])])
def test_groups_are_padded_below_one_and_a_half_times_the_smallest(n_full, n_sliding, sizes):
    # kv_cache_planning.py: `max_num_layers < min_num_layers * 1.5` takes the larger as the size of every group
    facts = facts_by_hand([FULL] * n_full + [SLIDING] * n_sliding)
    made = plan(facts, Setup(max_model_len=4096, in_flight=4096), Workload())
    assert [g.n_layers for g in made.groups] == sizes


def test_a_budget_may_be_filled_to_the_byte():
    facts = facts_by_hand([FULL] * 4)

    def run(capacity):
        workload = Workload(n_ctx=4096, n_batch=512, options={"max_num_seqs": 8, "gpu_memory_utilization": 1.0})
        (device,) = vllm.estimate(facts, workload, placement=Placement(gpus=(Gpu("g", capacity),))).devices
        return device

    used = run(8 * GIB).used
    assert run(used).fits is True
    assert run(used - 1).fits is False


@pytest.mark.parametrize(("window", "blocks"), [(1024, 97), (1025, 97), (1026, 98)])
def test_a_window_needs_one_token_less_than_it_says_before_the_new_ones(window, blocks):
    # kv_cache_interface.py SlidingWindowSpec: cdiv(window - 1 + in flight, 16) blocks, and one where it begins inside
    facts = facts_by_hand([KVCache(8, 128, 128, window)])
    assert plan(facts, Setup(max_model_len=4096, in_flight=512), Workload()).blocks_one_req == blocks


@pytest.mark.parametrize(("n_heads", "ranks", "starts"), [(12, 4, True), (12, 8, False), (12, 12, True)])
def test_heads_are_split_evenly_or_not_at_all(n_heads, ranks, starts):
    # config/model.py verify_with_parallel_config: total_num_attention_heads % tensor_parallel_size
    facts = facts_by_hand([KVCache(12, 128, 128)], n_heads=n_heads, n_kv_heads=12, vocab_size=960, d_ff=1920)
    assert (refused(facts, Split(tensor=ranks)) == "") is starts


@pytest.mark.parametrize("engine", ["vllm", "transformers"])
def test_a_model_that_names_no_context_has_2048_tokens(engine):
    facts = facts_by_hand([FULL], n_ctx_train=None)
    found = run_estimate(facts, Workload(), engine=engine).effective
    assert found.get("max_model_len", found.get("n_ctx")) == 2048


# --- llama.cpp -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_seqs", "taken"), [(1, True), (256, True), (257, False), (0, False)])
def test_a_context_has_up_to_256_sequences(n_seqs, taken):
    # LLAMA_MAX_SEQ, src/llama-cparams.h
    facts = facts_by_hand([FULL])
    if taken:
        assert effective(facts, Workload(n_ctx=1 << 16, n_seqs=n_seqs)).n_seqs == n_seqs
    else:
        with pytest.raises(WorkloadError, match="takes 1 to 256"):
            effective(facts, Workload(n_ctx=1 << 16, n_seqs=n_seqs))


def test_batches_are_of_2048_tokens_in_parts_of_512():
    # common_params, common/common.h
    found = effective(facts_by_hand([FULL]), Workload(n_ctx=8192))
    assert (found.n_batch, found.n_ubatch) == (2048, 512)


@pytest.mark.parametrize(("rows", "moved"), [(64, True), (60, False)])
def test_only_matrices_of_whole_groups_of_rows_are_rearranged(rows, moved):
    # ggml_repack_get_optimal_repack_type, ggml-cpu/repack.cpp: ne[1] % 8 == 0 for q4_K on AVX2
    assert repacked(TensorInfo("blk.0.ffn_up.weight", (rows, 256), DTYPES["Q4_K"], 0, rows * 144), "avx2") is moved


# --- transformers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_tokens", "n_masks"), [(1023, 0), (1024, 1), (1025, 1)])
def test_sdpa_makes_a_mask_once_the_prompt_fills_the_window(n_tokens, n_masks):
    # masking_utils.py _ignore_causal_mask_sdpa skips it only while kv_length < local_attention_size
    def mlp(windows):
        shape = Shape(1, n_tokens, 2, 256, 4, 4, 64, 64, 1000, d_ff=512, windows=windows)
        return moments(shape, Activations(mlp=3.0), attn="sdpa", every_logit=False)["MLP"]

    assert mlp((1024,)) - mlp((None,)) == n_masks * n_tokens**2


@pytest.mark.parametrize(
    ("config", "routed"),
    [
        ({"model_type": "jamba", "num_experts": 4, "expert_layer_period": 2, "expert_layer_offset": 1}, [1, 3, 5]),
        ({"model_type": "jamba", "num_experts": 4, "expert_layer_period": 3, "expert_layer_offset": 0}, [0, 3]),
        ({"model_type": "llama4_text", "num_local_experts": 4, "interleave_moe_layer_step": 2}, [1, 3, 5]),
        ({"model_type": "llama4_text", "num_local_experts": 4, "interleave_moe_layer_step": 1}, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_layers_route_where_the_model_builds_a_router(config, routed):
    # modeling_jamba.py: i % period == offset; Llama4TextConfig: range(step - 1, layers, step)
    assert [i for i, x in enumerate(moe_layers(HfConfig({"num_hidden_layers": 6, **config}), 6)) if x] == routed


@pytest.mark.parametrize(
    ("name", "label"),
    [("Q8-model-Q4_K_M.gguf", "Q4_K_M"), ("F16-Llama.Q5_0-00001-of-00002.gguf", "Q5_0"), ("llama.gguf", "")],
)
def test_the_last_quantisation_in_a_name_is_the_files(name, label):
    assert quant_label(name) == label


# --- what an audit says --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_files", "words"), [(1, "1 error,"), (2, "2 errors,")])
def test_one_error_is_told_as_one_and_its_hint_once(tmp_path, capsys, n_files, words):
    for i in range(n_files):
        (tmp_path / f"{i}.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    assert run_command_line(["audit", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert words in out
    hints = [line.strip() for line in out.splitlines() if line.strip().startswith("→")]
    assert len(hints) == len(set(hints)) == 2  # of the error, and of what a pickle is


def test_sarif_calls_a_warning_a_warning(tmp_path, capsys):
    # SARIF 2.1.0 §3.27.10: level is one of none, note, warning, error
    (tmp_path / "model.gguf").write_bytes(build([], [Tensor("a", (1,))], data=bytes(4)))
    run_command_line(["audit", str(tmp_path), "--json"])
    findings = json.loads(capsys.readouterr().out)["findings"]
    run_command_line(["audit", str(tmp_path), "--sarif"])
    results = json.loads(capsys.readouterr().out)["runs"][0]["results"]
    level = {"error": "error", "warning": "warning", "info": "note"}
    assert "warning" in {x["severity"] for x in findings}
    assert sorted((x["code"], level[x["severity"]]) for x in findings) == sorted(
        (x["ruleId"], x["level"]) for x in results
    )


# --- diff, retries, exit codes -------------------------------------------------------------------------------------


def test_a_rename_shares_more_than_the_last_word():
    def side(name):
        tensors = {name: TensorInfo(name, (4, 4), DTYPES["F32"], 0, 64)}
        return Checkpoint(target="x", format="safetensors", files=(file_of(tensors.values()),), documents={})

    assert [c.kind for c in diff(side("a.b.weight"), side("x.b.weight")).of("tensor")] == ["renamed"]
    assert [c.kind for c in diff(side("a.b.weight"), side("a.c.weight")).of("tensor")] == ["removed", "added"]


def file_of(tensors) -> ModelFile:
    return ModelFile("m.safetensors", "safetensors", 1, 1000, 100, {}, tuple(tensors), {})


def test_a_failure_is_tried_four_times_each_wait_twice_the_last(monkeypatch):
    waits, tries = [], []
    monkeypatch.setattr("inspector.sources.http.time.sleep", waits.append)

    def fail():
        tries.append(1)
        raise Retry("no")

    with pytest.raises(Unreachable):
        retried(fail, what="x")
    assert (len(tries), waits) == (4, [0.5, 1.0, 2.0])
