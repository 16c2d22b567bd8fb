"""Quant labels of GGUF files: what names claim, against mixes that llama-quantize (b11434) itself decided."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from inspector.dtypes import DTYPES
from inspector.formats.modelfile import TensorInfo
from inspector.quantization.labels import judge, label_in_name, label_of_key
from inspector.quantization.mix_targets import QUANT_TARGETS

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


def lines(name: str) -> list[dict]:
    with gzip.open(FIXTURES / name, "rt", encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def info(name: str, dtype: str, *shape: int) -> TensorInfo:
    return TensorInfo(name, shape, DTYPES[dtype], 0, DTYPES[dtype].nbytes(shape))


@pytest.fixture(scope="module")
def mixes() -> dict[tuple[str, str], list[TensorInfo]]:
    """Every (model, type) that llama-quantize answered, as tensors of the types it chose."""
    shapes = {m["name"]: m["tensors"] for m in lines("quantize_models.jsonl.gz")}
    out = {}
    for row in lines("quantize.jsonl.gz"):
        if row["rc"] != 0 or row["model"] not in shapes:
            continue
        out[row["model"], row["to"]] = [
            info(name, row["types"].get(name, row["default"]).upper(), *shape)
            for name, shape in shapes_of(shapes[row["model"]])
        ]
    return out


def shapes_of(tensors: object) -> list[tuple[str, tuple[int, ...]]]:
    rows = tensors.items() if isinstance(tensors, dict) else [(t[0], t[1]) for t in tensors]  # type: ignore[attr-defined, index]
    return [(name, tuple(shape)) for name, shape in rows]


def test_no_honest_mix_is_accused(mixes: dict[tuple[str, str], list[TensorInfo]]) -> None:
    assert len(mixes) > 500
    accused = [key for key, tensors in mixes.items() if judge(tensors, name=f"model-{key[1]}.gguf").honest is not True]
    assert accused == []


@pytest.mark.parametrize(
    ("claim", "truth"), [("Q4_K_M", "Q8_0"), ("Q8_0", "Q4_K_M"), ("Q4_K_M", "Q2_K"), ("F16", "Q8_0"),
                         ("Q6_K", "Q4_K_M"), ("IQ3_XXS", "Q4_K_M"), ("UD-Q4_K_XL", "Q8_0"), ("Q4_K_M", "F16")],
)  # fmt: skip
def test_a_false_name_is_caught(claim: str, truth: str, mixes: dict[tuple[str, str], list[TensorInfo]]) -> None:
    tensors = mixes["llama-3-8b", truth]
    label = judge(tensors, name=f"Llama-3-8B.{claim}.gguf")
    assert label.honest is False
    assert label.words.startswith(f"named {claim}, but ")


def test_shares_are_of_all_parameters_and_add_up() -> None:
    tensors = [info("token_embd.weight", "Q6_K", 512, 256), info("blk.0.ffn_up.weight", "Q4_K", 256, 256)]
    label = judge(tensors, name="x-Q4_K_M.gguf", file_type=15)
    assert [(s.dtype, s.permille) for s in label.shares] == [("Q6_K", 666), ("Q4_K", 333)]
    assert label.actual == "Q4_K, 33 % of parameters"
    assert (label.claimed_by_name, label.claimed_by_key, label.honest) == ("Q4_K_M", "Q4_K_M", True)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "Q4_1"),
        ("foo-UD-Q4_K_XL-00001-of-00003.gguf", "UD-Q4_K_XL"),
        ("folder/ggml-model-q4_k_m.gguf", "Q4_K_M"),
        ("gpt-oss-20b-mxfp4_moe.gguf", "MXFP4_MOE"),
        ("x.IQ3_XXS.gguf", "IQ3_XXS"),
        ("llama_f16.gguf", "F16"),
        ("model.gguf", None),
        ("", None),
    ],
)
def test_labels_in_names(name: str, label: str | None) -> None:
    assert label_in_name(name) == label


@pytest.mark.parametrize(
    ("value", "label"), [(15, "Q4_K_M"), (1024 + 7, "Q8_0"), (999, None), ("15", None), (-1, None)]
)
def test_file_type_numbers(value: object, label: str | None) -> None:
    assert label_of_key(value) == label


def test_a_model_without_tensors_or_claims_has_words_all_the_same() -> None:
    label = judge([])
    assert (label.claimed, label.honest, label.words) == (None, None, "no tensors")


def test_every_type_of_llama_quantize_is_a_label_and_its_number_means_the_mix_not_another_name_for_it() -> None:
    # numbers of `enum llama_ftype`, include/llama.h of b11434
    for number, name in [(0, "F32"), (12, "Q3_K_M"), (15, "Q4_K_M"), (17, "Q5_K_M"), (33, "Q4_0_4_4"), (39, "NVFP4")]:
        assert label_of_key(number) == name
    for name in QUANT_TARGETS:
        assert label_in_name(f"model-{name}.gguf") == (None if name == "COPY" else name)
