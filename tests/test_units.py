"""Sizes and counts to and from text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.errors import InspectorError
from inspector.units import format_count, format_nbytes, pad, parse_count, parse_nbytes, parse_tokens


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (1536, "1.50 KiB"),
        (1024**2 - 1, "1.00 MiB"), (1023 * 1024**2, "1,023.00 MiB"), (1024**3 - 1, "1.00 GiB"),
        (140_000_000_000, "130.39 GiB"), (2**60, "1,048,576.00 TiB"),
    ],
)  # fmt: skip
def test_bytes_print_in_powers_of_1024(nbytes, text):
    assert format_nbytes(nbytes) == text


def test_a_bare_g_is_refused_because_it_could_mean_either():
    with pytest.raises(InspectorError, match=r"GB .* or GiB"):
        parse_nbytes("24G")


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [("24GiB", 24 << 30), ("24GB", 24 * 10**9), ("1.5 GiB", 3 << 29), ("512", 512), ("10 mb", 10**7), ("1,000", 1000)],
)
def test_sizes_are_read_exactly(text, nbytes):
    assert parse_nbytes(text) == nbytes


@pytest.mark.parametrize("text", ["", "GiB", "-1GiB", "1e9", "nan", "1..2GB", "٣GB", "0x10", "1" * 50, "\x00"])
def test_what_is_not_a_size_is_refused(text):
    with pytest.raises(InspectorError):
        parse_nbytes(text)


def test_counts_and_tokens():
    assert parse_count("70B") == 70_000_000_000
    assert parse_count("1.1b") == 1_100_000_000
    assert parse_tokens("32k") == 32768
    assert parse_tokens("4096") == 4096
    assert format_count(8_030_261_248) == "8.03 B"
    assert format_count(134_515_008) == "134.52 M"


@given(st.integers(0, 2**63 - 1))
def test_plain_numbers_round_trip(n):
    assert parse_nbytes(str(n)) == n


@given(st.integers(0, 2**70), st.integers(1, 2**20))
def test_padding_is_the_next_multiple(value, alignment):
    padded = pad(value, alignment)
    assert padded % alignment == 0
    assert value <= padded < value + alignment
