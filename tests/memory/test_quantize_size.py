"""Predicted files against llama-quantize's own sizes, and other families' against what their writers store."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from inspector.dtypes import DTYPES
from inspector.errors import FactsError, InspectorError
from inspector.facts import ModelFacts
from inspector.formats.modelfile import TensorInfo
from inspector.memory.quantize_size import COMMON, adapter_nbytes, is_known, matrices, quantized_size
from inspector.quantization.mix_targets import QUANT_TARGETS

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


def rows(name):
    with gzip.open(FIXTURES / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def infos(tensors):
    return tuple(
        TensorInfo(name, tuple(shape), DTYPES[dtype], 0, DTYPES[dtype].nbytes(shape)) for name, shape, dtype in tensors
    )


def facts_of(arch, keys, tensors, format_="gguf", **more) -> ModelFacts:
    nothing = dict.fromkeys(
        ("n_params_active", "n_layers", "d_model", "d_ff", "n_heads", "n_kv_heads", "head_dim_k", "head_dim_v",
         "vocab_size", "n_ctx_train")
    )  # fmt: skip
    n_params = sum(t.n_elements for t in tensors)
    return ModelFacts(
        arch=arch,
        format=format_,
        n_params=n_params,
        layers=(),
        origin={},
        keys=keys,
        tensors=tensors,
        **nothing,
        **more,
    )


MODELS = {r["name"]: r for r in rows("quantize_models.jsonl.gz")}
TRUTH = rows("quantize.jsonl.gz")
CONVERTED = {r["name"]: r for r in rows("convert.jsonl.gz")}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_sizes_are_those_that_llama_quantize_prints(name):
    row = MODELS[name]
    facts = facts_of(row["arch"], row["keys"], infos(row["tensors"]))
    for said in (r for r in TRUTH if r["model"] == name):
        found = quantized_size(facts, said["to"])
        if said["rc"]:
            assert found.nbytes is None
            continue
        assert round(found.nbytes / 2**20, 2) == said["mib"], said["to"]
        assert round(found.bits_per_weight, 2) == said["bpw"], said["to"]
        assert found.grade == "derived"
        assert found.nbytes == sum(t.nbytes for t in found.tensors)
        expected = said["types"]
        assert {t.name: t.dtype for t in found.tensors if t.name in expected} == {
            n: d.upper() for n, d in expected.items()
        }


@pytest.mark.parametrize("name", sorted(CONVERTED))
def test_a_checkpoint_not_yet_converted_weighs_what_its_conversion_does(name):
    row = CONVERTED[name]
    hf = facts_of(row["config"]["model_type"], row["config"], infos(row["hf"]), "safetensors")
    keys = {**row["keys"]}
    gguf = facts_of(row["arch"], keys, infos(row["gguf"]))
    for to in ("Q4_K_M", "Q8_0", "F16"):
        ours, theirs = quantized_size(hf, to), quantized_size(gguf, to)
        assert (ours.nbytes, ours.refused) == (theirs.nbytes, theirs.refused), to
        assert ours.grade == "derived"


def llama(*, layers=2, d=1024, f=4096, kv=256, vocab=1000) -> ModelFacts:
    tensors = [("model.embed_tokens.weight", (vocab, d)), ("model.norm.weight", (d,)), ("lm_head.weight", (vocab, d))]
    for i in range(layers):
        p = f"model.layers.{i}."
        tensors += [(f"{p}{n}.weight", (d,)) for n in ("input_layernorm", "post_attention_layernorm")]
        tensors += [(f"{p}self_attn.{n}_proj.weight", (d, d)) for n in "qo"]
        tensors += [(f"{p}self_attn.{n}_proj.weight", (kv, d)) for n in "kv"]
        tensors += [(f"{p}mlp.{n}_proj.weight", (f, d)) for n in ("gate", "up")]
        tensors += [(f"{p}mlp.down_proj.weight", (d, f))]
    return facts_of("llama", {"model_type": "llama"}, infos((n, s, "BF16") for n, s in tensors), "safetensors")


# elements of the projections of one layer above, and of everything else
PROJECTED = 2 * (2 * 1024 * 1024 + 2 * 256 * 1024 + 3 * 4096 * 1024)
KEPT = 2 * 1000 * 1024 + 1024 + 2 * 2 * 1024


@pytest.mark.parametrize(
    ("to", "nbytes"),
    [
        # int8: a byte each and a float32 a row; fp8: one scale a matrix
        ("int8", PROJECTED + 4 * 2 * (2 * 1024 + 2 * 256 + 2 * 4096 + 1024) + 2 * KEPT),
        # group of 128: 4 bits each, a float16 scale and a 4-bit zero a group
        ("awq", PROJECTED // 2 + PROJECTED // 128 * 2 + PROJECTED // 256 + 2 * KEPT),
    ],
)
def test_other_families_by_paper(to, nbytes):
    found = quantized_size(llama(), to)
    assert abs(found.nbytes - nbytes) <= 14 * 2  # one byte or two a matrix that mark its format
    assert found.n_params == PROJECTED + KEPT


def test_the_order_of_families_is_that_of_their_bits():
    facts = llama()
    half = 2 * (PROJECTED + KEPT)
    sizes = [half, *(quantized_size(facts, to).nbytes for to in ("int8", "nf4"))]
    assert sizes == sorted(sizes, reverse=True)
    assert quantized_size(facts, "nf4-dq").nbytes < quantized_size(facts, "nf4").nbytes


def test_gpt_oss_as_mxfp4_weighs_what_was_published():
    """13,761,264,768 bytes of tensors in openai/gpt-oss-20b: experts in MXFP4, all else in bfloat16."""
    keys = json.loads((FIXTURES / "configs" / "gpt-oss-20b.json").read_text())
    keys.pop("quantization_config", None)
    facts = facts_of("gpt_oss", keys, (), "config")
    found = quantized_size(facts, "mxfp4")
    assert found.nbytes == 13_761_264_768
    assert any("attention" in note for note in found.notes)


def test_packed_weights_are_not_packed_again():
    facts = llama().replace(quantization="gptq")
    with pytest.raises(FactsError, match="quantised already"):
        matrices(facts)
    with pytest.raises(FactsError, match="quantised already"):
        quantized_size(facts, "nf4")


def test_an_adapter_is_a_low_rank_pair_a_projection():
    rank, pairs = 16, 2 * (2 * (1024 + 1024) + 2 * (1024 + 256) + 3 * (1024 + 4096))
    assert adapter_nbytes(llama(), rank) == 4 * rank * pairs
    with pytest.raises(InspectorError, match="safetensors"):
        adapter_nbytes(llama().replace(format="gguf"), rank)


def test_every_type_is_known_whatever_its_case_and_others_are_not():
    assert all(is_known(to) and is_known(to.lower()) for to in (*QUANT_TARGETS, *COMMON))
    assert is_known("NF4")
    assert not is_known("Q9_X")


def test_a_published_quality_is_given_with_its_model():
    assert quantized_size(facts_of("llama", MODELS["llama-3-8b"]["keys"], infos(MODELS["llama-3-8b"]["tensors"])),
                          "Q4_K_M").quality == "+0.1754 ppl @ Llama-3-8B"  # fmt: skip
