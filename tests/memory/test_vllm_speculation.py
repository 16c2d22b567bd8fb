"""What drafts for a model in vLLM: its own further layers, heads, second models. By hand from vLLM 0.33.0's classes."""

from __future__ import annotations

import json
import os
import shlex

import pytest

import inspector
from inspector.checkpoint import open_checkpoint
from inspector.cli.group import run_command_line
from inspector.errors import WorkloadError
from inspector.facts import as_drafting, read_facts
from inspector.memory.engines import vllm
from inspector.memory.engines.vllm.support import why_not
from inspector.memory.estimate import Gpu, Placement, Workload
from inspector.units import GIB

LLAMA = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
    "torch_dtype": "bfloat16", "max_position_embeddings": 131072, "tie_word_embeddings": False,
}  # fmt: skip
HEAD = {**LLAMA, "num_hidden_layers": 1, "draft_vocab_size": 32000, "architectures": ["LlamaForCausalLMEagle3"]}
DEEPSEEK_V3 = {
    "model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"], "hidden_size": 7168,
    "intermediate_size": 18432, "moe_intermediate_size": 2048, "num_hidden_layers": 61, "num_attention_heads": 128,
    "num_key_value_heads": 128, "kv_lora_rank": 512, "q_lora_rank": 1536, "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128, "v_head_dim": 128, "n_routed_experts": 256, "num_experts_per_tok": 8,
    "n_shared_experts": 1, "first_k_dense_replace": 3, "vocab_size": 129280, "torch_dtype": "bfloat16",
    "max_position_embeddings": 163840, "tie_word_embeddings": False, "num_nextn_predict_layers": 1,
}  # fmt: skip


@pytest.fixture
def opened(tmp_path):
    def open_(config):
        path = tmp_path / f"{abs(hash(json.dumps(config)))}"
        path.mkdir(exist_ok=True)
        (path / "config.json").write_text(json.dumps(config))
        return open_checkpoint(str(path / "config.json"))

    return open_


def labelled(result, label):
    return sum(x.nbytes for x in result.lines if x.label == label)


def spec(**keys):
    return json.dumps(keys)


def test_deepseek_v3_predicts_with_eleven_and_a_half_billion_parameters_of_its_own(opened):
    """As its README says: 11.5 B beside the shared embedding and head of 0.9 B each."""
    result = vllm.estimate(read_facts(opened(DEEPSEEK_V3)), Workload(n_ctx=4096), speculative_config=spec(method="mtp"))
    assert labelled(result, "mtp") / 2e9 == pytest.approx(11.6, abs=0.1)
    assert result.effective["speculation"] == {"method": "mtp", "num_speculative_tokens": 1}
    assert result.effective["groups"][0]["n_layers"] == 62


def test_an_eagle3_head_of_llama_3_1_8b_weighs_what_its_published_file_does(opened):
    """yuhuili/EAGLE3-LLaMA3.1-Instruct-8B: 424.7 million parameters beside vocabulary maps, 849 MB in float16."""
    facts = read_facts(opened(HEAD))
    qkv, mlp = 2 * 4096 * (4096 + 2 * 1024), 3 * 4096 * 14336
    by_hand = qkv + 4096 * 4096 + mlp + 3 * 4096 * 4096 + 32000 * 4096 + 4 * 4096
    assert (facts.arch, facts.n_params) == ("eagle3", by_hand)
    assert by_hand * 2 / 1e6 == pytest.approx(849, abs=1)


def test_the_method_says_what_a_config_that_names_a_whole_model_is(opened):
    plain = opened({**HEAD, "architectures": ["LlamaForCausalLM"]})
    assert read_facts(plain).arch == "llama"
    facts = read_facts(as_drafting(plain, "eagle"))
    by_hand = 4096 * (4096 + 2 * 1024) + 4096 * 4096 + 3 * 4096 * 14336 + 2 * 4096 * 4096 + 4096
    assert (facts.arch, facts.n_params) == ("eagle", by_hand)


def test_a_head_adds_its_layer_to_the_cache_and_its_weights_to_the_last_stage(opened):
    model, head = read_facts(opened(LLAMA)), read_facts(opened(HEAD))
    cards = tuple(Gpu(f"card {i}", 80 * GIB) for i in range(2))
    found = vllm.estimate(
        model, Workload(n_ctx=4096), placement=Placement(gpus=cards), pipeline_parallel_size=2, draft=head,
        speculative_config=spec(method="eagle3", model="x", num_speculative_tokens=3),
    )  # fmt: skip
    assert {x.device for x in found.lines if x.label == "draft"} == {"card 1"}
    caches = {x.device: x.nbytes for x in found.lines if x.what == "kv_cache"}
    assert caches["card 1"] * 16 == caches["card 0"] * 17


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ("[1]", "no JSON object"), ("{", "no JSON object"), ("[" * 50_000, "no JSON object"), ("{}" * 60_000, "JSON"),
        (spec(method="medusa", model="x"), "medusa"), (spec(method="mtp"), "no layers that predict"),
        (spec(num_speculative_tokens=2), "neither a method nor a model"),
        (spec(method="eagle3", num_speculative_tokens=-1), "whole number above 0"),
        (spec(method="eagle3", num_speculative_tokens=2), "needs a model that drafts"),
    ],
)  # fmt: skip
def test_what_vllm_would_not_take_is_refused_with_its_reason(opened, asked, word):
    with pytest.raises(WorkloadError, match=word):
        vllm.estimate(read_facts(opened(LLAMA)), Workload(n_ctx=256), speculative_config=asked)


def test_tokens_ahead_are_a_multiple_of_the_layers_that_predict_them(opened):
    facts = read_facts(opened({**DEEPSEEK_V3, "num_nextn_predict_layers": 2}))
    with pytest.raises(WorkloadError, match="multiple of 2"):
        vllm.estimate(facts, Workload(n_ctx=256), mtp_tokens=3)
    assert vllm.estimate(facts, Workload(n_ctx=256), mtp_tokens=4).effective["groups"][0]["n_layers"] == 63


def test_looking_words_up_costs_nothing(opened):
    facts = read_facts(opened(LLAMA))
    ahead = vllm.estimate(facts, Workload(n_ctx=256), speculative_config=spec(method="ngram", num_speculative_tokens=4))
    assert ahead.lines == vllm.estimate(facts, Workload(n_ctx=256)).lines


def test_a_head_is_not_served_by_itself(opened):
    assert "drafts for another model" in why_not(read_facts(opened(HEAD)), ())


def test_a_model_whose_prediction_layers_have_no_rule_says_so(opened):
    facts = read_facts(opened({**LLAMA, "num_nextn_predict_layers": 1}))
    found = vllm.estimate(facts, Workload(n_ctx=256), mtp_tokens=1)
    assert any("predict ahead" in words for words in found.unknown)


@pytest.fixture
def asked_in_process(capsys):
    """`asked_in_process(*words) -> (exit code, the JSON answer)`."""

    def ask(*words):
        code = run_command_line([*words, "--json"])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else err

    return ask


@pytest.mark.parametrize("method", ["ngram", "eagle3", "draft_model"])
def test_fit_counts_what_drafts_and_says_it_in_its_commands(opened, asked_in_process, method):
    head = os.path.dirname(opened(HEAD if method == "eagle3" else {**LLAMA, "num_hidden_layers": 2}).target)
    asked = spec(method=method, num_speculative_tokens=3, **({} if method == "ngram" else {"model": head}))
    folder = os.path.dirname(opened(LLAMA).target)
    code, found = asked_in_process("fit", folder, "-e", "vllm", "-c", "8192", "--gpu", "h200", "-sc", asked)
    assert code == 0, found
    choice = found["choices"][0]
    words = shlex.split(choice["memory_command"])
    assert words[words.index("--speculative-config") + 1] == asked
    assert asked in shlex.split(choice["command"])
    said = asked_in_process(*words[1:])[1]
    assert said["total_nbytes"] == choice["total_nbytes"]
    plain = inspector.memory(folder, engine="vllm", ctx=8192, gpu="h200")
    weights, without = (sum(n for what, n in lines if what == "weights") for lines in (
        [(x["what"], x["nbytes"]) for x in said["lines"]], [(x.what, x.nbytes) for x in plain.lines]
    ))  # fmt: skip
    assert (weights > without) is (method != "ngram")


def test_fit_and_memory_of_the_library_read_what_drafts(opened):
    head, folder = (os.path.dirname(opened(config).target) for config in (HEAD, LLAMA))
    asked = spec(method="eagle3", num_speculative_tokens=3, model=head)
    found = inspector.memory(folder, engine="vllm", ctx=4096, gpu="h200", speculative_config=asked)
    plain = inspector.memory(folder, engine="vllm", ctx=4096, gpu="h200")
    assert found.total_nbytes > plain.total_nbytes
    arguments = {"speculative_config": asked}
    chosen = inspector.fit(folder, "h200", engine="vllm", n_ctx=4096, arguments=arguments, most=1).choices[0]
    assert chosen.estimate.total_nbytes == found.total_nbytes


def test_a_draft_that_leaves_no_room_does_not_fit(opened):
    big, folder = (os.path.dirname(opened(c).target) for c in ({**LLAMA, "num_hidden_layers": 30}, LLAMA))
    drafts = {"speculative_config": spec(method="draft_model", model=big, num_speculative_tokens=1)}
    assert inspector.fit(folder, "24GiB", engine="vllm", n_ctx=8192, most=1).fits
    assert not inspector.fit(folder, "24GiB", engine="vllm", n_ctx=8192, most=1, arguments=drafts).fits


def test_fit_refuses_a_draft_by_the_other_engines_name_and_says_where_it_goes(opened, asked_in_process):
    folder = os.path.dirname(opened(LLAMA).target)
    code, said = asked_in_process("fit", folder, "-e", "vllm", "--gpu", "h200", "--draft", folder)
    assert code == 2
    assert "name what drafts in --speculative-config" in said
