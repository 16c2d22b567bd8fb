"""Parameters of configs, towers included, beside those of the classes that transformers builds from them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspector.architectures.hf_config import HfConfig
from inspector.architectures.towers import counted
from inspector.checkpoint import open_checkpoint
from inspector.errors import LimitExceeded
from inspector.facts import read_facts
from inspector.memory.engines import engine_of
from inspector.memory.estimate import Workload

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
ROWS = [json.loads(line) for line in (FIXTURES / "params_towers.jsonl").read_text().splitlines()]
TEXT = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 320, "tie_word_embeddings": False,
}  # fmt: skip
TEXT_PARAMS = 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128 + 2 * 64) + 2 * 320 * 64 + 64


def facts_of(config, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    return read_facts(open_checkpoint(str(path)))


def name_of(i):
    config = ROWS[i]["config"]
    return f"{i}-{config['model_type']}"


@pytest.mark.parametrize("i", range(len(ROWS)), ids=name_of)
def test_a_config_has_as_many_parameters_as_the_class_that_transformers_builds(i, tmp_path):
    assert facts_of(ROWS[i]["config"], tmp_path).n_params == ROWS[i]["n_params"]


def test_a_tower_without_a_rule_leaves_the_total_unknown_and_names_the_text_part(tmp_path):
    facts = facts_of({"model_type": "strange_vl", "text_config": TEXT, "vision_config": {"depth": 3}}, tmp_path)
    assert (facts.n_params, facts.n_params_text, facts.uncounted) == (None, TEXT_PARAMS, ("vision_config",))
    assert any("text part" in note for note in facts.notes)


@pytest.mark.parametrize("engine", ["vllm", "transformers", "textbook"])
def test_no_engine_passes_the_text_part_off_as_the_whole(engine, tmp_path):
    facts = facts_of({"model_type": "strange_vl", "text_config": TEXT, "vision_config": {"depth": 3}}, tmp_path)
    found = engine_of(engine).estimate(facts, Workload(n_ctx=256))
    assert "weights of vision_config" in found.unknown
    assert any("text part" in line.how for line in found.lines if line.what == "weights")


def test_a_tower_of_another_type_than_the_rule_knows_is_unknown(tmp_path):
    config = {"model_type": "llava", "text_config": TEXT, "vision_config": {"model_type": "convnext"}}
    assert facts_of(config, tmp_path).uncounted == ("vision_config is a convnext",)


def test_a_null_audio_config_is_no_tower(tmp_path):
    facts = facts_of({"model_type": "strange_vl", "text_config": TEXT, "audio_config": None}, tmp_path)
    assert (facts.n_params, facts.uncounted) == (TEXT_PARAMS, ())


def test_an_absurd_depth_of_a_tower_is_refused():
    config = {"model_type": "gemma3", "text_config": TEXT, "vision_config": {"num_hidden_layers": 10**9}}
    with pytest.raises(LimitExceeded):
        counted(HfConfig(config))


@pytest.mark.parametrize("value", ["many", -1, [], {}, True, 1.5])
def test_a_size_that_is_no_count_makes_a_tower_unknown(value):
    config = {"model_type": "gemma3", "text_config": TEXT, "vision_config": {"hidden_size": value}}
    found = counted(HfConfig(config))
    assert found.unknown
    assert not found.tensors


def test_a_list_of_one_number_a_layer_is_that_number():
    assert HfConfig({"model_type": "hunyuan", "moe_topk": [8, 8, 8]}).count("num_experts_per_tok") == 8
    assert HfConfig({"model_type": "hunyuan", "moe_topk": [8, 4]}).count("num_experts_per_tok") is None
