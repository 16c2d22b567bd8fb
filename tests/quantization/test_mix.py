"""llama-quantize's own answers (b11434 --dry-run) against the prediction, tensor by tensor."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from inspector.checkpoint import open_checkpoint
from inspector.dtypes import DTYPES
from inspector.errors import WorkloadError
from inspector.facts import read_facts
from inspector.formats.modelfile import LongArray, TensorInfo
from inspector.memory.quantize_size import quantized_size
from inspector.quantization.convert import Converted
from inspector.quantization.mix import QUANT_TARGETS, predict_mix, quant_target
from inspector.units import GIB

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


def rows(name):
    with gzip.open(FIXTURES / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def model(row):
    tensors = tuple(
        TensorInfo(name, tuple(shape), DTYPES[dtype], 0, DTYPES[dtype].nbytes(shape))
        for name, shape, dtype in row["tensors"]
    )
    return Converted(row["arch"], row["keys"], tensors)


def tiny(arch="llama", *, layers=8, dtype="F16", output=True, cols=256, keys=None):
    names = ["token_embd.weight", *(["output.weight"] if output else [])]
    names += [f"blk.{i}.{n}.weight" for i in range(layers) for n in ("attn_v", "attn_k", "ffn_down", "attn_norm")]
    tensors = [[n, [64] if "norm" in n else [64, cols], "F32" if "norm" in n else dtype] for n in names]
    base = {f"{arch}.block_count": layers, f"{arch}.attention.head_count": 8}
    return model({"arch": arch, "keys": {**base, **(keys or {})}, "tensors": tensors})


MODELS = {row["name"]: row for row in rows("quantize_models.jsonl.gz")}
TRUTH = rows("quantize.jsonl.gz")
ENGINE_SAYS_IMATRIX = "will require an imatrix"


def test_the_fixture_holds_every_model_at_35_types():
    assert len(TRUTH) == 875
    assert {r["model"] for r in TRUTH} == set(MODELS)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_tensor_and_the_total_are_as_llama_quantize_says(name):
    source = model(MODELS[name])
    for row in (r for r in TRUTH if r["model"] == name and r["rc"] == 0):
        mix = predict_mix(source, row["to"])
        expected = {t.name: row["types"].get(t.name, row["default"]).upper() for t in source.tensors}
        assert {t.name: t.dtype.name for t in mix.tensors} == expected, row["to"]
        assert len(mix.tensors) == row["n"]
        assert round(mix.nbytes / 2**20, 2) == row["mib"], row["to"]
        assert round(mix.bits_per_weight, 2) == row["bpw"], row["to"]
        assert mix.needs_imatrix == any(ENGINE_SAYS_IMATRIX in w for w in row["warn"]), row["to"]
        n_fallbacks = [w.split()[1] for w in row["warn"] if "required fallback" in w]
        assert [str(len(mix.fallbacks))] == (n_fallbacks or ["0"]), row["to"]


def test_what_llama_quantize_refuses_is_refused_with_its_reason():
    refused = [r for r in TRUTH if r["rc"]]
    assert refused
    for row in refused:
        mix = predict_mix(model(MODELS[row["model"]]), row["to"])
        assert mix.tensors == ()
        assert mix.bits_per_weight is None
        assert mix.refused is not None
        assert mix.refused.startswith("no tensor type fallback is defined for type q1_0")
        assert row["warn"][0].split()[1] in mix.refused


# Every architecture's own tensors, and random ones, under random options: the real binary's answers.
# How the engine words what it aborts on; where it gives an error, the prediction starts with it.
def same_refusal(mix, error):
    return mix.refused is not None and (error is None or mix.refused.startswith(error))


def test_other_architectures_and_options_are_as_llama_quantize_says():
    n_rows, archs = 0, set()
    for row in rows("quantize_options.jsonl.gz"):
        source = model(row)
        archs.add(row["arch"])
        for run in row["runs"]:
            mix = predict_mix(source, run["to"], **run["options"])
            where = (row["arch"], run["to"], run["options"])
            n_rows += 1
            if run["rc"]:
                assert same_refusal(mix, run["error"]), where
                continue
            assert mix.refused is None, where
            expected = {t.name: run["types"].get(t.name, run["default"]) for t in source.tensors}
            assert {t.name: t.dtype.name for t in mix.tensors} == expected, where
            assert abs(mix.nbytes / 2**20 - run["mib"]) <= 0.0051, where
            assert mix.needs_imatrix == run["imatrix"], where
    assert n_rows > 600
    assert len(archs) > 140


def test_tensors_come_in_the_order_in_which_they_are_written():
    mix = predict_mix(tiny(layers=11), "Q8_0")
    names = [t.name for t in mix.tensors]
    assert names[:2] == ["output.weight", "token_embd.weight"]
    assert names.index("blk.2.attn_k.weight") < names.index("blk.10.attn_k.weight")


def test_copy_changes_nothing():
    mix = predict_mix(tiny(dtype="Q4_0"), "copy")
    assert all(t.dtype is t.was for t in mix.tensors)
    assert mix.blocked == ()


def test_requantizing_is_allowed_in_a_dry_run_and_named_as_what_stops_the_real_one():
    assert "requantizing from type q4_0" in predict_mix(tiny(dtype="Q4_0"), "Q8_0").blocked[0]
    assert predict_mix(tiny(dtype="Q4_0"), "Q8_0", allow_requantize=True).blocked == ()


def test_an_importance_matrix_lifts_the_block():
    assert predict_mix(tiny(), "IQ2_XXS").blocked == ("this quantization requires an imatrix!",)
    assert predict_mix(tiny(), "IQ2_XXS", imatrix=True).blocked == ()


def test_a_type_that_nothing_produces_is_named():
    mix = predict_mix(tiny(), "Q4_K_M", output_tensor_type="Q8_K")
    assert "q8_K" in mix.blocked[0]


@pytest.mark.parametrize("layers", [0, 513, 10**30, None])
def test_layer_counts_that_the_engine_refuses_are_refused(layers):
    keys = {"llama.block_count": layers}
    assert "block_count" in (predict_mix(tiny(keys=keys), "Q4_K_M").refused or "")


@pytest.mark.parametrize("value", ["eight", 2.5, True, -1, None])
def test_a_key_that_is_no_count_is_refused(value):
    assert "head_count is not a count" in (
        predict_mix(tiny(keys={"llama.attention.head_count": value}), "Q4_K_M").refused or ""
    )


def test_heads_by_layer_count_as_those_of_the_first_layer():
    grouped = {
        "llama.attention.head_count": [32, 4],
        "llama.attention.head_count_kv": LongArray("u32", 2, 0, 8, (8, 0)),
    }
    types = {t.name: t.dtype.name for t in predict_mix(tiny(keys=grouped), "IQ4_XS").tensors}
    assert types["blk.0.attn_v.weight"] == "Q5_K"


def test_an_expert_tensor_beyond_the_last_layer_is_refused():
    source = tiny(layers=2, keys={"llama.expert_count": 4, "llama.block_count": 1})
    assert predict_mix(source, "Q4_K_M").refused == ("Bad layer 1 for tensor blk.1.ffn_down.weight. Must be in [0, 1)")


def test_two_tensors_of_one_name_are_refused():
    source = tiny()
    twice = source.replace(tensors=(*source.tensors, source.tensors[0]))
    assert predict_mix(twice, "Q4_K_M").refused == "two tensors have the same name"


def test_a_tensor_of_unknown_type_is_refused_not_guessed():
    source = tiny()
    odd = source.tensors[0].replace(dtype=None, nbytes=None, dtype_name="unknown type 99")
    mix = predict_mix(source.replace(tensors=(odd, *source.tensors[1:])), "Q4_K_M")
    assert "unknown type 99" in (mix.refused or "")


@pytest.mark.parametrize("to", ["Q4_X", "NVFP4", "", "999", "²"])
def test_a_target_that_llama_quantize_does_not_take_is_an_error(to):
    with pytest.raises(WorkloadError):
        predict_mix(tiny(), to)


def test_a_bad_pattern_and_an_unknown_type_are_errors():
    with pytest.raises(WorkloadError, match="regular expression"):
        predict_mix(tiny(), "Q4_K_M", tensor_types=[("(", "Q8_0")])
    with pytest.raises(WorkloadError, match="no type"):
        predict_mix(tiny(), "Q4_K_M", tensor_types=[("a", "Q9_9")])


def test_targets_go_by_name_number_and_alias():
    assert quant_target("q4_k_m").ftype == 15
    assert quant_target("15").name == "Q4_K"
    assert predict_mix(tiny(), "Q4_K").nbytes == predict_mix(tiny(), "Q4_K_M").nbytes


def test_published_perplexity_is_what_the_table_prints():
    assert QUANT_TARGETS["Q4_K_M"].ppl_delta == 0.1754
    assert QUANT_TARGETS["Q4_K_M"].ppl_model == "Llama-3-8B"
    assert QUANT_TARGETS["IQ4_XS"].ppl_delta is None


def test_sizes_that_llama_quantize_prints_for_its_types_are_ours(root):
    """QUANT_OPTIONS of tools/quantize/quantize.cpp: files of Llama-3-8B in GiB, to a few hundredths."""
    facts = read_facts(open_checkpoint(str(root / "fixtures" / "configs" / "llama-3-8b.json")))
    off = {}
    for row in QUANT_TARGETS.values():
        if row.published_size and row.ppl_model == "Llama-3-8B":
            nbytes = quantized_size(facts, row.name).nbytes
            off[row.name] = abs(nbytes / GIB - float(row.published_size.removesuffix("G")))
    assert len(off) > 15
    assert {name for name, n in off.items() if n > 0.015} == {"Q2_K_S"}  # printed with Q2_K's size


def test_targets_that_need_an_importance_matrix_are_flagged_as_the_engine_warns():
    warned = {r["to"] for r in TRUTH if any(ENGINE_SAYS_IMATRIX in w for w in r["warn"])}
    assert warned == {t.name for t in QUANT_TARGETS.values() if t.needs_imatrix}


@pytest.mark.parametrize(("n_heads", "dtype"), [(24, "Q3_K"), (32, "Q4_K")])
def test_values_are_finer_where_four_query_heads_share_one(n_heads, dtype):
    source = tiny(keys={"llama.attention.head_count": n_heads, "llama.attention.head_count_kv": 8})
    assert {t.dtype.name for t in predict_mix(source, "Q2_K").tensors if "attn_v" in t.name} == {dtype}
