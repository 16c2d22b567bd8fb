"""Settings that nobody means: one line says what is wrong with them, and nothing takes long or overflows."""

from __future__ import annotations

import json

import gguf_builder as gb
import pytest
from damage import fuzz as fuzz_cli

FAR = str(10**18)
HUGE = str(2**31)


@pytest.fixture(scope="module")
def fuzz():
    return fuzz_cli


@pytest.fixture(scope="module")
def tiny(root):
    return str(root / "fixtures" / "files" / "gguf" / "tiny-llama-q8_0.gguf")


# fmt: off
WORKLOADS = [
    ["-c", HUGE], ["-c", FAR], ["-c", "0"], ["-c", "-1"], ["-c", "1e-9"], ["-c", ""], ["-c", "9" * 5000], ["-c", "nan"],
    ["-c", "²"], ["-np", HUGE], ["-np", FAR], ["-np", "0"], ["-np", "-1"], ["-np", "9" * 5000], ["-b", HUGE],
    ["-ub", HUGE], ["-ub", "0"], ["-b", HUGE, "-ub", HUGE, "-c", "2147483647", "-np", "256"],
    ["-c", "2147483647", "--swa-full", "-np", "256"], ["-c", "2147483647", "--sweep", "ctx"], ["--layers", "-c", FAR],
    ["-np", HUGE, "-e", "vllm"], ["-np", HUGE, "-e", "transformers"], ["-np", HUGE, "-e", "textbook"],
    ["-c", FAR, "-e", "vllm"], ["-c", FAR, "-e", "transformers"], ["-c", FAR, "-e", "textbook"],
    ["-c", FAR, "-np", HUGE, "-e", "transformers", "--attn", "eager"],
    ["-ts", ""], ["-ts", "nan"], ["-ts", "inf"], ["-ts", "-1,1"], ["-ts", "0,0"], ["-ts", "1,,2"], ["-ts", "1,1,1,1,1"],
    ["-ts", "1e308,1e308", "--gpu", "2xrtx4090"], ["-ts", "5e-324,5e-324", "--gpu", "2xrtx4090"],
    ["--gpu", ""], ["--gpu", "24X"], ["--gpu", "0GiB"], ["--gpu", "-1GiB"], ["--gpu", "²x24GiB"], ["--gpu", "2x"],
    ["--gpu", "9999999999999999999999TiB"], ["--gpu", "99999999999999xrtx4090"], ["--gpu", "\x1b[31m"],
    ["--gpu", "a" * 5000], ["--gpu", "9" * 5000 + "GiB"], ["-ngl", FAR, "--gpu", "24GiB"], ["-ncmoe", FAR],
    ["-ngl", "-1", "--gpu", "24GiB"], ["-tp", FAR, "-e", "vllm"], ["--block-size", FAR, "-e", "vllm"],
    ["-ot", "[=CPU"], ["-ot", "=CPU"], ["-ot", ".*=nowhere", "--gpu", "24GiB"], ["-ot", "(?:" * 200 + "=CPU"],
    ["-ctk", "x"], ["-ctk", "a" * 5000], ["-ctv", "q8_0", "-fa", "off"], ["-fa", "maybe"], ["--kv-dtype", "\x1b"],
    ["--window", "0"], ["--window", "9" * 30], ["--kv-keep", "9999999999999+9999999999999"], ["--kv-keep", "-1+5"],
    ["--overhead", "nan", "-e", "textbook"], ["--overhead", "9" * 400 + "GiB", "-e", "textbook"],
    ["--gpu-memory-utilization", "nan", "-e", "vllm"], ["--gpu-memory-utilization", "1e-300", "-e", "vllm"],
    ["-e", "vllm", "--server"], ["-e", "nosuch"], ["--sweep", "ctx", "--layers"], ["--nosuch"], ["one", "too", "many"],
]  # fmt: skip
# What can only be a mistake: a usage error, never an estimate.
REFUSED = [
    ["-c", "-1"],
    ["-c", "1e-9"],
    ["-c", ""],
    ["-c", "nan"],
    ["-c", "9" * 5000],
    ["-np", "0"],
    ["-np", FAR],
    ["-ub", "0"],
    ["-ts", "0,0"],
    ["-ts", "nan"],
    ["--gpu", "24X"],
    ["--gpu", "0GiB"],
    ["--gpu", "2x"],
    ["-ot", "[=CPU"],
    ["-ctk", "x"],
    ["-c", HUGE],
    ["-np", "257"],
    ["--gpu", "9999999999999999999999TiB"],
    ["-e", "vllm", "--server"],
    ["-ctv", "q8_0", "-fa", "off"],
    ["--sweep", "ctx", "--layers"],
]
# fmt: on


@pytest.mark.parametrize("model", ["tiny", "llama-3-8b", "gemma-3n-e4b", "qwen3-next-80b-a3b"])
def test_any_workload_is_answered_or_refused_in_one_line(fuzz, tiny, sparse_model, model):
    target = tiny if model == "tiny" else str(sparse_model(model))
    for options in WORKLOADS:
        code, _, err = fuzz.run_one(["memory", target, *options])
        assert len(err) < 3000, options
        assert err.count("\n") <= 2, options
        assert (code == 2) == bool(err), options


@pytest.mark.parametrize("options", REFUSED, ids=lambda o: " ".join(o)[:30])
def test_what_can_only_be_a_mistake_is_a_usage_error(fuzz, tiny, options):
    code, out, err = fuzz.run_one(["memory", tiny, *options])
    assert (code, out) == (2, "")
    assert err.startswith("error: ")


def test_an_estimate_of_everything_at_its_largest_is_an_exact_integer(fuzz, tiny):
    _, out, _ = fuzz.run_one(["memory", tiny, "-c", FAR, "-np", HUGE, "-e", "textbook", "--json"])
    body = json.loads(out)
    assert isinstance(body["total_nbytes"], int)
    assert body["total_nbytes"] > 10**27
    assert body["total_nbytes"] == sum(line["nbytes"] for line in body["lines"])


@pytest.mark.parametrize(
    "change",
    [
        {"architectures": 1.5}, {"architectures": "x"}, {"text_config": 7}, {"attn_config": 1},
        {"num_attention_heads": [1]},
        {"head_dim": "x"}, {"rope_scaling": [1]}, {"quantization_config": {"quant_method": ["gptq"]}},
        {"num_hidden_layers": 10**30}, {"num_hidden_layers": -1}, {"vocab_size": None}, {"hidden_size": 1 << 63},
        {"layer_types": [None]}, {"sliding_window": {}}, {"num_key_value_heads": 0}, {"max_position_embeddings": "x"},
        {"num_experts": 10**9, "model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"]},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("command", ["show", "memory", "quantize-size", "tensors", "meta", "audit"])
def test_a_config_of_the_wrong_types_never_breaks_a_command(fuzz, root, tmp_path, change, command):
    config = json.loads((root / "fixtures" / "configs" / "qwen3-0.6b.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    fuzz.run_one([command, str(tmp_path / "config.json")])
    fuzz.run_one([command, str(tmp_path / "config.json"), "--json"])


def test_an_indexer_without_a_key_length_ends(fuzz, tmp_path):
    corpus = fuzz.Corpus()
    keys = "attention.indexer.key_length"
    found = 0
    for i in range(len(corpus.headers)):
        header = corpus.gguf(i)
        if not any(key.endswith(keys) for key, _, _ in header.kv):
            continue
        found += 1
        path = tmp_path / f"{i}.gguf"
        path.write_bytes(gb.build([kv for kv in header.kv if not kv[0].endswith(keys)], header.tensors, data=b""))
        fuzz.run_one(["memory", str(path), "--json"])
    assert found


def test_words_of_a_file_in_a_refusal_are_escaped(fuzz, tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(
        gb.build([("general.architecture", gb.STR, "\x1b[31m")], [gb.Tensor("blk.0.attn_q.weight", (32, 32))])
    )
    fuzz.run_one(["quantize-size", str(path), "--to", "Q4_K_M"])
