"""Sizes and counts to and from text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.errors import InspectorError
from inspector.units import (
    format_between,
    format_count,
    format_nbytes,
    is_shop_size,
    pad,
    parse_count,
    parse_nbytes,
    parse_tokens,
)


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


@pytest.mark.parametrize("text", ["24G", "24g", "24GB", "24 gb", "24Gb", "24GiB", " 24 GiB ", "24e0G", str(24 << 30)])
def test_24_gb_is_what_every_shop_means_by_it(text):
    assert parse_nbytes(text) == 24 << 30
    assert is_shop_size(text) is ("ib" not in text.lower() and "g" in text.lower())


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        ("24GiB", 24 << 30),
        ("1.5 GiB", 3 << 29),
        ("0.5T", 1 << 39),
        ("512", 512),
        ("10 mb", 10 << 20),
        ("1,000", 1000),
        ("8e9", 8 * 10**9),
        ("2.5e1 k", 25600),
    ],
)
def test_sizes_are_read_exactly(text, nbytes):
    assert parse_nbytes(text) == nbytes


@pytest.mark.parametrize(
    "text",
    ["", "GiB", "-1GiB", "1e", "e9", "1e-3", "1e99", "1e9.5", "nan", "1..2GB", "٣GB", "1" * 50, "\x00"],
)
def test_what_is_not_a_size_is_refused(text):
    with pytest.raises(InspectorError):
        parse_nbytes(text)


def test_counts_and_tokens():
    assert parse_count("70B") == 70_000_000_000
    assert parse_count("1.1b") == 1_100_000_000
    assert parse_tokens("32k") == 32768
    assert parse_tokens("4096") == 4096
    assert parse_tokens("1e6") == 1_000_000
    assert [parse_count(x) for x in ("8e9", "1.5e9", "1.5E+9", "32k")] == [8 * 10**9, 15 * 10**8, 15 * 10**8, 32_000]
    assert [parse_tokens(x) for x in ("1.5k", "1M", "0.5e3")] == [1536, 1 << 20, 500]
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


def test_a_range_is_in_the_unit_of_its_upper_end_and_one_figure_where_both_read_the_same():
    assert format_between(322 << 20, 944 << 20) == "322.00–944.00 MiB"
    assert format_between(322 << 20, 3 << 30) == "0.31–3.00 GiB"
    assert format_between(0, 12) == "0–12 B"
    assert format_between((3 << 30) - 1, 3 << 30) == "3.00 GiB"
