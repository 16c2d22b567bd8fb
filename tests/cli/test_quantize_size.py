from __future__ import annotations

import json

import pytest
from schemas import check

from inspector.cli.group import run_command_line


@pytest.fixture
def run(capsys):
    def call(*words):
        code = run_command_line(["quantize-size", *(str(w) for w in words)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_the_common_types_are_the_default_and_json_holds_to_its_schema(sparse_model, run):
    code, out, err = run(sparse_model("llama-3-8b"), "--json")
    answer = check(json.loads(out))
    assert (code, err) == (0, "")
    sizes = {r["to"]: r["nbytes"] for r in answer["results"]}
    assert list(sizes) == ["Q2_K", "Q3_K_M", "Q4_K_S", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "F16"]
    assert list(sizes.values()) == sorted(sizes.values())
    for r in answer["results"]:
        assert r["nbytes"] == sum(t["nbytes"] for t in r["tensors"])


def test_text_has_a_line_a_type_with_its_bytes(sparse_model, run):
    code, out, _ = run(sparse_model("llama-3-8b"), "--to", "q4_k_m,Q8_0", "--to", "nf4")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[3:6]] == ["Q4_K_M", "Q8_0", "nf4"]
    assert "4,912,898,048" in out
    assert "+0.1754 ppl @ Llama-3-8B" in out


def test_options_change_the_tensors_that_they_name(sparse_model, run):
    path = sparse_model("llama-3-8b")

    def types(*words):
        _, out, _ = run(path, "--to", "Q4_K_M", "--json", *words)
        return {t["name"]: t["dtype"] for t in json.loads(out)["results"][0]["tensors"]}

    assert types()["output.weight"] == "Q6_K"
    assert types("--output-tensor-type", "q8_0")["output.weight"] == "Q8_0"
    assert types("--token-embedding-type", "q5_k")["token_embd.weight"] == "Q5_K"
    assert types("--tensor-type", "ffn_up=q2_k")["blk.3.ffn_up.weight"] == "Q2_K"
    assert set(types("--pure").values()) == {"Q4_K", "F32"}


def test_every_tensor_is_listed_when_asked_for(files, run):
    code, out, _ = run(files / "safetensors/llama-tied", "--to", "Q8_0", "--tensors", "--lora-rank", "8")
    assert code == 0
    assert "blk.0.attn_q.weight" in out
    assert "a LoRA adapter of rank 8: " in out


def test_a_refusal_of_llama_quantize_is_exit_code_one(files, run):
    code, out, _ = run(files / "safetensors/llama-tied", "--to", "Q4_K_M", "--output-tensor-type", "q4_k",
                       "--token-embedding-type", "q4_k", "--json")  # fmt: skip
    (result,) = json.loads(out)["results"]
    assert code == 1
    assert result["nbytes"] is None
    assert "256" in result["refused"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--to", "Q4_KM"], "did you mean Q4_K_M?"),
        (["--to", "nf5"], "no type 'nf5'"),
        (["--tensor-type", "ffn_up"], "PATTERN=TYPE"),
        (["--output-tensor-type", "q99"], "q99"),
        (["--lora-rank", "0"], "lora-rank"),
    ],
)
def test_what_cannot_be_asked_is_exit_code_two(sparse_model, run, words, says):
    code, out, err = run(sparse_model("llama-3-8b"), *words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert says in err
