"""Bytes that each scheme's own writer stored for one 256 × 512 weight against the predicted layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspector.dtypes import DTYPES
from inspector.errors import WorkloadError
from inspector.quantization.layouts import (
    SCHEMES,
    Matrix,
    lora_nbytes,
    lora_params,
    predict_layout,
    scheme,
    stored_nbytes,
)

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
ROWS = {r["scheme"]: r for r in map(json.loads, (FIXTURES / "quantized.jsonl").read_text().splitlines())}
# fmt: off
OURS = {
    "bnb_nf4_dq0": "nf4", "bnb_fp4_dq0": "fp4", "bnb_int8": "int8", "ct_pack-quantized_int4_g128": "int4",
    "ct_pack-quantized_int8_channel": "w8a16", "ct_int-quantized_w8_channel": "w8a8",
    "ct_float-quantized_fp8_channel": "fp8-channel", "ct_float-quantized_fp8_block": "fp8-block-ct",
    "ct_nvfp4-pack-quantized": "nvfp4", "ct_mxfp8-quantized": "mxfp8", "gptq_2bit": "gptq-2bit", "gptq_4bit": "gptq",
    "gptq_8bit": "gptq-8bit", "awq_gemm_4bit": "awq", "mxfp4_gpt_oss": "mxfp4", "modelopt_fp8": "fp8",
    "fp8_block_deepseek": "fp8-block", "mlx_4bit": "mlx-4bit", "bitnet": "bitnet", "torchao_fp8wo": "torchao-fp8",
    "quanto_qint4": "quanto-int4", "quanto_qint8": "quanto-int8", "quanto_qfloat8": "quanto-fp8",
}
# fmt: on


@pytest.mark.parametrize("row", sorted(OURS))
def test_a_layer_weighs_what_its_writer_stored(row):
    n, k = ROWS[row]["weight_shape"]
    assert stored_nbytes(OURS[row], n, k) == ROWS[row]["bytes"]


@pytest.mark.parametrize("row", sorted(OURS))
def test_the_stored_sizes_are_the_same_tensor_by_tensor(row):
    n, k = ROWS[row]["weight_shape"]
    theirs = sorted(DTYPES[t["dtype"]].nbytes(t["shape"]) for t in ROWS[row]["tensors"].values())
    ours = sorted(DTYPES[dtype].nbytes(shape) for _, dtype, shape in SCHEMES[OURS[row]].tensors(n, k))
    assert ours == theirs


def test_every_row_is_compared_but_the_one_whose_length_varies():
    assert set(ROWS) - set(OURS) == {"bnb_fp4_dq1"}


def test_double_quantisation_is_right_but_for_the_digits_of_one_number():
    # The mean of the scales is printed into a JSON text of 169 bytes here; the rest is fixed.
    row = ROWS["bnb_fp4_dq1"]
    assert abs(stored_nbytes("fp4-dq", *row["weight_shape"]) - row["bytes"]) <= 4
    assert predict_layout("fp4-dq", [Matrix("a", 256, 512, 0)]).grade == "modelled"


def test_a_model_is_its_matrices_and_what_is_kept():
    matrices = [Matrix("q_proj", 256, 512, 262144, count=3), Matrix("odd", 256, 500, 256000)]
    result = predict_layout("gptq", matrices, kept_nbytes=1000, kept_params=500)
    assert result.quantized_nbytes == 3 * 70144
    assert result.skipped == ("odd",)
    assert result.kept_nbytes == 1000 + 256000
    assert result.n_params == 500 + 3 * 256 * 512 + 256 * 500
    assert result.bits_per_weight == result.nbytes * 8 / result.n_params


def test_nothing_gives_no_ratio():
    assert predict_layout("nf4", []).bits_per_weight is None


@pytest.mark.parametrize(("name", "n", "k"), [("gptq", 256, 500), ("mxfp4", 4, 33), ("nf4", 0, 64)])
def test_a_weight_that_does_not_fit_the_groups_is_an_error(name, n, k):
    with pytest.raises(WorkloadError):
        stored_nbytes(name, n, k)


def test_an_unknown_scheme_is_an_error_that_lists_them():
    with pytest.raises(WorkloadError) as error:
        scheme("q4_k_m")
    assert "nf4" in (error.value.hint or "")


def test_a_lora_of_llama_2_7b_has_the_parameters_that_peft_prints():
    # PEFT prints "trainable params: 4,194,304" for r=8 on q_proj and v_proj, and 39,976,960 for r=16 on all seven.
    names = {"q_proj": (4096, 4096), "k_proj": (4096, 4096), "v_proj": (4096, 4096), "o_proj": (4096, 4096),
             "gate_proj": (11008, 4096), "up_proj": (11008, 4096), "down_proj": (4096, 11008)}  # fmt: skip
    matrices = [Matrix(f"model.layers.*.{name}.weight", n, k, 0, count=32) for name, (n, k) in names.items()]
    assert lora_params(matrices, 8, targets=("q_proj", "v_proj")) == 4_194_304
    assert lora_params(matrices, 16) == 39_976_960
    assert lora_nbytes(matrices, 16, dtype="BF16") == 2 * 39_976_960
    with pytest.raises(WorkloadError):
        lora_params(matrices, 0)
