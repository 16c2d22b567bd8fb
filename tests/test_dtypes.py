"""The table of element types against two oracles and the paper."""

from __future__ import annotations

import gguf
import pytest

from inspector.dtypes import DTYPES, GGML_DTYPES, REMOVED_GGML_TYPES, SAFETENSORS_DTYPES, unknown_ggml_type
from inspector.errors import FormatError

# gguf 0.19 says 40 bytes for Q8_1; ggml-common.h's static_assert says 2 × 2 + 32.
KNOWN_DIFFERENCES = {"Q8_1": (32, 36)}
# Types of llama.cpp b11434 that the gguf package does not have yet are checked against ggml-common.h by hand.
BY_HAND = {"NVFP4": (64, 4 + 32), "Q1_0": (128, 2 + 16), "Q2_0": (64, 2 + 16), "MXFP4": (32, 1 + 16)}


def test_block_sizes_agree_with_the_gguf_package():
    compared = 0
    for type_, (elems, nbytes) in gguf.GGML_QUANT_SIZES.items():
        if type_.name in DTYPES:
            ours = DTYPES[type_.name]
            assert (ours.block_elems, ours.block_bytes) == KNOWN_DIFFERENCES.get(type_.name, (elems, nbytes)), type_
            assert ours.ggml_id == int(type_)
            compared += 1
    assert compared >= 30


@pytest.mark.parametrize(("name", "size"), BY_HAND.items())
def test_newest_types_as_laid_out_in_ggml_common(name, size):
    assert (DTYPES[name].block_elems, DTYPES[name].block_bytes) == size


def test_every_slot_of_the_enumeration_is_a_type_or_a_removed_one():
    assert set(GGML_DTYPES) | set(REMOVED_GGML_TYPES) == set(range(43))
    assert not set(GGML_DTYPES) & set(REMOVED_GGML_TYPES)


def test_safetensors_has_22_dtypes_with_the_bits_of_its_reader():
    bits = {
        "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
        "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32,
        "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
    }  # fmt: skip
    assert {d.name: d.bits_per_weight for d in SAFETENSORS_DTYPES.values()} == bits
    assert len(bits) == 22


def test_real_bits_per_weight_of_the_quants():
    expected = {"Q2_K": 2.625, "Q3_K": 3.4375, "Q4_0": 4.5, "Q4_1": 5.0, "Q4_K": 4.5, "Q5_0": 5.5, "Q5_1": 6.0,
                "Q5_K": 5.5, "Q6_K": 6.5625, "Q8_0": 8.5}  # fmt: skip
    assert {name: DTYPES[name].bits_per_weight for name in expected} == expected


def test_sizes_are_exact_and_blocks_lie_within_rows():
    assert DTYPES["Q4_K"].nbytes((4096, 4096)) == 4096 * 16 * 144
    assert DTYPES["IQ2_S"].nbytes((1000, 256)) == 82_000
    assert DTYPES["F4"].nbytes((256, 512)) == 65_536
    assert DTYPES["F32"].nbytes(()) == 4
    with pytest.raises(FormatError, match="do not fill whole Q4_K blocks"):
        DTYPES["Q4_K"].nbytes((256, 128))
    with pytest.raises(FormatError):
        DTYPES["F4"].nbytes((3, 3))


def test_removed_types_are_named():
    assert "Q4_0_4_4" in unknown_ggml_type(31)
    assert unknown_ggml_type(77) == "unknown type 77"
