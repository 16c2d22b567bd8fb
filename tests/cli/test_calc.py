"""`inspector calc` through a real process, against figures worked out on paper."""

from __future__ import annotations

import json

import pytest
from schemas import check

from inspector.units import GIB


def calc(run_inspector, *args, code=0):
    got, out, err = run_inspector(["calc", *args, "--json"])
    assert got == code, err
    return check(json.loads(out))


def parts(answer):
    return {line["what"]: line["nbytes"] for line in answer["lines"]}


def test_seventy_billion_by_hand(run_inspector):
    answer = calc(run_inspector, "--params", "70B", "--quant", "FP16", "--layers", "80", "--hidden", "8192",
                  "-c", "4096", "--batch", "8")  # fmt: skip
    assert parts(answer) == {
        "weights": 140_000_000_000,
        "kv_cache": 80 * GIB,  # 2 × 8 × 4,096 × 8,192 × 80 × 2
        "compute": 40 * GIB,  # 8 × 4,096 × 8,192 × 80 × 2
        "overhead": GIB,
    }
    assert answer["total_nbytes"] == sum(parts(answer).values())
    assert answer["grade"] == "modelled"


def test_a_preset_counts_its_kv_heads(run_inspector):
    answer = calc(run_inspector, "--preset", "llama-2-70b", "-c", "8192", "--batch", "4")
    assert parts(answer)["kv_cache"] == 10 * GIB
    assert parts(answer)["weights"] == 68_976_648_192 * 2
    half = calc(run_inspector, "--preset", "llama-2-70b", "-c", "8192", "--batch", "4", "--kv-dtype", "int8")
    assert parts(half)["kv_cache"] == 5 * GIB
    plain = calc(run_inspector, "--preset", "llama-2-70b", "-c", "8192", "--batch", "4", "--kv-form", "hidden")
    assert parts(plain)["kv_cache"] == 80 * GIB


def test_real_bits_and_quoted_ones(run_inspector):
    real = calc(run_inspector, "--preset", "llama-3-8b", "--quant", "Q4_K_M")
    quoted = calc(run_inspector, "--preset", "llama-3-8b", "--quant", "Q4_K_M", "--nominal")
    assert parts(real)["weights"] == -(-8_030_261_248 * 48042 // 80000)
    assert parts(quoted)["weights"] == 8_030_261_248 // 2


def test_llama_2_70b_in_q4_k_m_is_what_its_file_is(run_inspector):
    words = ("calc", "--preset", "llama-2-70b", "--quant", "Q4_K_M")
    assert "38.58 GiB" in run_inspector(words)[1]
    assert "32.12 GiB" in run_inspector([*words, "--nominal"])[1]


def test_fits_or_not_is_the_exit_code(run_inspector):
    words = ("--preset", "llama-2-70b", "--quant", "Q4_K_M", "-c", "8192", "--batch", "1")
    assert calc(run_inspector, *words, "--gpu", "24GB", code=1)["fits"] is False
    assert calc(run_inspector, *words, "--gpu", "80GB")["fits"] is True


@pytest.mark.parametrize(
    ("args", "says"),
    [([], "--params"), (["--params", "7B"], "--layers"), (["--preset", "llama-9"], "llama-9"),
     (["--preset", "llama-3-8b", "--quant", "Q9"], "Q9"), (["--preset", "llama-3-8b", "--overhead", "1X"], "1X"),
     (["--params", "-1"], "-1"), (["--preset", "llama-3-8b", "--kv-dtype", "q99"], "q99")],
)  # fmt: skip
def test_what_is_missing_or_wrong_is_one_line(args, says, run_inspector):
    code, out, err = run_inspector(["calc", *args])
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert says in err
    assert len(err.splitlines()) <= 2
