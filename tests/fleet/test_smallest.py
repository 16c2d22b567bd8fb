"""The search for the smallest device finds what trying them all finds, in fewer tries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inspector.fleet.smallest import first_holding
from inspector.memory.fit.smallest import sold_alone


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=150), st.integers(0, 1100))
def test_it_finds_the_first_that_holds(sizes, need):
    room = sorted(sizes)
    tried = []

    def missing(i):
        tried.append(i)
        return max(need - room[i], 0)

    expected = next((i for i, size in enumerate(room) if size >= need), len(room))
    assert first_holding(missing, room) == expected
    assert len(tried) <= 10


def test_what_is_not_known_is_not_looked_for_further():
    assert first_holding(lambda _: None, [1, 2, 3]) is None


def test_devices_come_smallest_first_and_without_a_computer_around_them():
    gpus = sold_alone("llama.cpp")
    room = [gpu.capacity - gpu.reserve - gpu.context for gpu in gpus]
    assert room == sorted(room)
    assert len(gpus) > 50
    assert not [gpu.name for gpu in gpus if gpu.name.startswith(("Jetson", "M1 ", "M4 ", "GB10"))]
