"""A figure of an engine beside ours, where ours is a size and where it is a range."""

from __future__ import annotations

import pytest

from inspector.memory.compare import Comparison


@pytest.mark.parametrize(
    ("theirs", "difference"), [(100, 0), (150, 0), (200, 0), (99, 1), (50, 50), (201, -1), (300, -100), (0, 100)]
)
def test_a_figure_is_held_to_the_nearer_end_of_a_range(theirs: int, difference: int):
    row = Comparison(what="activations", device="GPU 0", theirs=theirs, ours=200, low=100)
    assert row.difference == difference
    assert row.off == (abs(difference) / theirs if theirs else 1.0)


def test_a_size_is_held_to_itself():
    found = [Comparison(what="weights", device="host", theirs=x, ours=200).difference for x in (199, 200, 201)]
    assert found == [1, 0, -1]


def test_digits_that_are_not_printed_are_no_difference():
    row = Comparison(what="weights", device="host", theirs=195, ours=200, precision=5)
    assert (row.difference, row.off) == (5, 0.0)


def test_what_is_not_known_is_no_difference():
    row = Comparison(what="compute", device="host", theirs=195, ours=None)
    assert (row.difference, row.off) == (None, None)
