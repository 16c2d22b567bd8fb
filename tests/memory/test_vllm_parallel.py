"""How vLLM splits a model, what it refuses, and the options that move bytes: by hand from vLLM 0.33.0's source."""

from __future__ import annotations

import json

import pytest

from inspector.checkpoint import open_checkpoint
from inspector.errors import WorkloadError
from inspector.facts import read_facts
from inspector.memory.engines import vllm
from inspector.memory.engines.vllm.parallel import Split, refused, stages
from inspector.memory.estimate import Gpu, Placement, Workload
from inspector.units import GIB

LLAMA = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "torch_dtype": "bfloat16",
    "max_position_embeddings": 131072, "tie_word_embeddings": False,
}  # fmt: skip
MOE = {
    "model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size": 6144, "moe_intermediate_size": 768,
    "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128, "num_experts": 128,
    "num_experts_per_tok": 8, "vocab_size": 151936, "torch_dtype": "bfloat16", "max_position_embeddings": 40960,
    "tie_word_embeddings": False,
}  # fmt: skip


@pytest.fixture
def facts(tmp_path):
    def read(config):
        path = tmp_path / "config.json"
        path.write_text(json.dumps(config))
        return read_facts(open_checkpoint(str(path)))

    return read


def cards(n, size=80):
    return tuple(Gpu(f"card {i}", size * GIB) for i in range(n))


def of(result, what, device):
    return sum(x.nbytes for x in result.lines if x.what == what and x.device == device)


@pytest.mark.parametrize(
    ("change", "split", "word"),
    [
        ({}, Split(tensor=3), "32 attention heads"),
        ({"num_attention_heads": 36, "hidden_size": 4608, "num_key_value_heads": 4}, Split(tensor=6), "key-value"),
        ({"intermediate_size": 11009}, Split(tensor=2), "MLP of 11,009"),
        ({"num_attention_heads": 33, "num_key_value_heads": 33, "hidden_size": 4224, "intermediate_size": 14337,
          "vocab_size": 128000}, Split(tensor=3), "vocabulary of 128,000 rows"),
        ({}, Split(pipeline=33), "33 pipeline stages"),
        ({}, Split(tensor=2, experts=True), "without experts"),
    ],
)  # fmt: skip
def test_a_split_that_vllm_would_not_start_with_is_refused_with_its_reason(facts, change, split, word):
    assert word in refused(facts({**LLAMA, **change}), split)


@pytest.mark.parametrize("split", [Split(tensor=8), Split(tensor=16), Split(tensor=2, pipeline=3), Split(data=2)])
def test_a_split_that_vllm_starts_with_is_not_refused(facts, split):
    assert refused(facts(LLAMA), split) == ""


def test_slices_of_experts_must_come_out_whole_unless_experts_stay_whole(facts):
    model = facts({**MOE, "moe_intermediate_size": 769})
    assert "experts of 769" in refused(model, Split(tensor=4))
    assert refused(model, Split(tensor=4, experts=True)) == ""


def test_layers_left_over_go_to_the_middle_stages():
    assert [(s.first, s.stop) for s in stages(62, 4)] == [(0, 15), (15, 31), (31, 47), (47, 62)]


def test_each_stage_holds_its_layers_and_the_ends_the_vocabulary(facts):
    model = facts(LLAMA)
    place = Placement(gpus=cards(4))
    result = vllm.estimate(model, Workload(n_ctx=8192), placement=place, pipeline_parallel_size=4)
    layer = 2 * (4096 * 4096 * 2 + 4096 * 1024 * 2 + 3 * 4096 * 14336 + 2 * 4096)
    vocabulary = 2 * 128256 * 4096
    expected = [8 * layer + vocabulary, 8 * layer, 8 * layer, 8 * layer + vocabulary + 2 * 4096]
    assert [of(result, "weights", f"card {i}") for i in range(4)] == expected
    assert [of(result, "kv_cache", f"card {i}") for i in range(4)] == [512 * 16 * 8 * 2 * 8 * 128 * 2] * 4


def test_replicas_hold_the_whole_model_but_share_the_experts(facts):
    model, place = facts(MOE), Placement(gpus=cards(2))
    one = vllm.estimate(model, Workload(n_ctx=4096), placement=Placement(gpus=cards(1)))
    two = vllm.estimate(model, Workload(n_ctx=4096), placement=place, data_parallel_size=2)
    experts = 48 * 128 * 3 * 2048 * 768 * 2
    assert of(two, "weights", "card 1") == of(one, "weights", "card 0") - experts // 2
    assert of(two, "kv_cache", "card 1") == of(one, "kv_cache", "card 0")
    assert two.effective["tensor_parallel_size"] == 1


def test_more_ranks_than_gpus_are_refused(facts):
    with pytest.raises(WorkloadError, match="4 ranks need 4 GPUs"):
        vllm.estimate(facts(LLAMA), Workload(), placement=Placement(gpus=cards(2)), pipeline_parallel_size=4)


def test_the_ceiling_of_sequences_is_no_demand(facts):
    model, place = facts(LLAMA), Placement(gpus=cards(1, 24))
    few = vllm.estimate(model, Workload(n_ctx=8192), placement=place, max_num_seqs=256)
    at_once = vllm.estimate(model, Workload(n_ctx=8192, n_seqs=256), placement=place)
    assert few.fits
    assert not at_once.fits
    assert of(few, "kv_cache", "card 0") == 1 << 30
    assert "room for 4 requests of 8,192 tokens at once; more wait" in few.notes


def test_tokens_of_a_step_are_no_more_than_all_contexts_together(facts):
    result = vllm.estimate(facts(LLAMA), Workload(n_ctx=128), placement=Placement(gpus=cards(1)), max_num_seqs=4)
    assert result.effective["max_num_batched_tokens"] == 512


@pytest.mark.parametrize("name", ["NVIDIA GB10", "A100 80GB"])
def test_gb10_and_a100_keep_to_the_small_tier(facts, name):
    place = Placement(gpus=(Gpu(name, 120 * GIB),))
    found = vllm.estimate(facts(LLAMA), Workload(n_ctx=8192), placement=place).effective
    assert (found["max_num_batched_tokens"], found["max_num_seqs"]) == (2048, 256)


def test_fp8_on_loading_halves_linear_layers_and_leaves_the_rest(facts):
    result = vllm.estimate(facts(LLAMA), Workload(n_ctx=128), quantization="fp8")
    linear = 32 * (4096 * 4096 * 2 + 4096 * 1024 * 2 + 3 * 4096 * 14336)
    rest = 2 * (2 * 128256 * 4096 + 65 * 4096)
    assert of(result, "weights", "gpu") == linear + rest


def test_a_method_without_a_rule_is_refused(facts):
    with pytest.raises(WorkloadError, match="no rule packs"):
        vllm.estimate(facts(LLAMA), Workload(), quantization="bitsandbytes")


def test_offloaded_weights_lie_in_host_memory(facts):
    place = Placement(gpus=cards(1))
    plain = vllm.estimate(facts(LLAMA), Workload(n_ctx=128), placement=place)
    moved = vllm.estimate(facts(LLAMA), Workload(n_ctx=128), placement=place, cpu_offload_gb=4.0)
    assert of(moved, "weights", "host") == 4 * GIB
    assert of(plain, "weights", "card 0") - of(moved, "weights", "card 0") == 4 * GIB


def test_a_cache_of_fixed_size_decides_what_fits(facts):
    place = Placement(gpus=cards(1, 24))
    enough = vllm.estimate(facts(LLAMA), Workload(n_ctx=8192), placement=place, kv_cache_memory_bytes=2 * GIB)
    short = vllm.estimate(facts(LLAMA), Workload(n_ctx=8192), placement=place, kv_cache_memory_bytes=GIB - 1)
    large = vllm.estimate(facts(LLAMA), Workload(n_ctx=8192), placement=place, kv_cache_memory_bytes=20 * GIB)
    assert (enough.fits, short.fits, large.fits) == (True, False, False)
    assert "room for 2 requests of 8,192 tokens at once; more wait" in enough.notes


def fit_of(facts, gpus, **arguments):
    from inspector.memory.engines import engine_of
    from inspector.memory.fit.choose import fit
    from inspector.memory.fit.commands import engine_command
    from inspector.memory.fit.records import Ask, Candidate

    asked = Workload(options=arguments) if arguments else None
    candidate = Candidate("BF16", facts, "m", facts.promised_nbytes or 1)
    found = fit([candidate], Ask(gpus=gpus, engine="vllm", n_ctx=4096, workload=asked))
    assert engine_of("vllm").name == "vllm"
    return found, [engine_command(c) for c in found.choices]


def test_fit_proposes_no_split_that_vllm_refuses(facts):
    model = facts({**LLAMA, "num_attention_heads": 36, "hidden_size": 4608, "num_key_value_heads": 4})
    _, commands = fit_of(model, cards(6))
    assert all("--tensor-parallel-size 4" in c for c in commands)


def test_fit_prints_stages_and_replicas_that_were_asked_for(facts):
    _, commands = fit_of(facts(LLAMA), cards(4), pipeline_parallel_size=2)
    assert commands
    assert all("--tensor-parallel-size 2" in c and "-pp 2" in c for c in commands)


@pytest.mark.parametrize(
    ("change", "gpu", "reason"),
    [
        ({"architectures": ["NoSuchModelForCausalLM"]}, Gpu("card", 80 * GIB), "no class NoSuchModelForCausalLM"),
        ({"architectures": ["LlamaForCausalLM"]}, Gpu("GTX 1080", 8 * GIB, compute_capability="6.1"), "7.5 is"),
        ({"architectures": ["LlamaForCausalLM"]}, Gpu("M4 Max", 64 * GIB, backend="metal"), "does not run on M4 Max"),
    ],
)
def test_fit_names_why_vllm_would_not_serve_instead_of_a_command(facts, change, gpu, reason):
    with pytest.raises(WorkloadError, match=reason) as refusal:
        fit_of(facts({**LLAMA, **change}), (gpu,))
    assert "may run it" in (refusal.value.hint or "")


def test_what_does_not_fit_is_measured_against_the_budget(facts):
    result = vllm.estimate(facts(LLAMA), Workload(n_ctx=8192), placement=Placement(gpus=cards(1, 18)))
    (device,) = result.devices
    assert device.fits is False
    assert device.capacity - device.reserve == int(18 * GIB * 0.92)
    assert device.used > device.capacity - device.reserve


def test_fit_names_no_criteria_that_nothing_differs_in(facts):
    found, _ = fit_of(facts(LLAMA), cards(1))
    assert not any("host" in words or "Q4_K_M" in words for words in found.order)
