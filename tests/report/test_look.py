"""Bars are as long as what they stand for, to an eighth of a column, and no wider than they may be."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.report.look import BLOCKS, Look, Segment, bar, gauge
from inspector.report.text import columns

EIGHTHS = dict(zip("▏▎▍▌▋▊▉█", range(1, 9), strict=True))
PLAIN, ASCII, COLOR, PIPE = Look(80, "blocks"), Look(80, "ascii"), Look(80, "blocks", True), Look(80)
AMOUNTS = st.lists(st.integers(0, 1 << 40), min_size=1, max_size=6)


def eighths(text):
    return sum(EIGHTHS.get(c, 0) for c in text)


def without_color(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize(
    ("amount", "drawn"), [(0, ""), (1, "▏"), (100, "████"), (50, "██"), (53, "██▏"), (97, "███▉"), (9999, "████")]
)
def test_a_bar_is_drawn_in_eighths_and_shows_what_is_there_at_all(amount, drawn):
    assert bar(PLAIN, [Segment(amount)], scale=100, width=4) == drawn


@pytest.mark.parametrize(("amount", "drawn"), [(0, ""), (1, "#"), (50, "##"), (100, "####")])
def test_in_ascii_it_is_made_of_hashes(amount, drawn):
    assert bar(ASCII, [Segment(amount)], scale=100, width=4) == drawn


def test_in_a_pipe_there_is_none():
    assert bar(PIPE, [Segment(5)], scale=10, width=40) == gauge(PIPE, [Segment(5)], room=10, width=40) == ""


def test_where_a_segment_ends_within_a_column_the_next_is_its_ground():
    drawn = bar(COLOR, [Segment(12, "34"), Segment(12, "35"), Segment(8, "36")], scale=32, width=4)
    blue, both, magenta, cyan = "\x1b[34m█\x1b[0m", "\x1b[34;45m▌\x1b[0m", "\x1b[35m█\x1b[0m", "\x1b[36m█\x1b[0m"
    assert drawn == blue + both + magenta + cyan


@given(AMOUNTS, st.integers(1, 60))
def test_colour_changes_no_length(amounts, width):
    segments = [Segment(n, str(31 + i)) for i, n in enumerate(amounts)]
    scale = max(sum(amounts), 1)
    plain = bar(PLAIN, [Segment(sum(amounts))], scale=scale, width=width)
    assert columns(bar(COLOR, segments, scale=scale, width=width)) == columns(plain) <= width


@given(AMOUNTS, st.integers(1, 1 << 41), st.integers(2, 60), st.sampled_from([PLAIN, ASCII, COLOR]))
def test_a_gauge_is_as_wide_as_it_is_asked_for_and_marks_what_is_too_much(amounts, room, width, look):
    drawn = without_color(gauge(look, [Segment(n, "34") for n in amounts], room=room, width=width))
    assert len(drawn) == width
    assert any(sign in drawn for sign in "▓!") is (sum(amounts) > room)


@given(st.integers(0, 1000), st.integers(1, 60))
def test_the_length_is_the_share_of_the_track(amount, width):
    drawn = gauge(PLAIN, [Segment(amount)], room=1000, width=width)
    assert abs(eighths(drawn) - amount * width * 8 / 1000) <= 1


def test_what_an_encoding_must_have_for_blocks_is_all_that_bars_are_made_of():
    drawn = {c for n in range(160) for c in gauge(PLAIN, [Segment(n)], room=100, width=9)}
    assert drawn == set(BLOCKS)
