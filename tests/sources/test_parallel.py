"""Side by side, but in order; an error in its turn; and nothing begun that nobody will ask for."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from inspector.sources.parallel import in_order


def test_results_come_in_the_order_of_the_items():
    late_first = [0.05, 0.03, 0.01, 0.0]
    assert list(in_order(lambda s: time.sleep(s) or s, late_first)) == late_first


def test_items_are_worked_on_side_by_side():
    meeting = threading.Barrier(4, timeout=10)  # breaks unless four threads wait in it at once
    assert sorted(in_order(lambda _: meeting.wait(), range(4))) == [0, 1, 2, 3]


def test_no_more_threads_than_were_allowed():
    now, most, lock = 0, 0, threading.Lock()

    def work(_):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.005)
        with lock:
            now -= 1

    list(in_order(work, range(12), n_threads=3))
    assert most <= 3


def test_an_error_is_raised_in_its_turn_and_the_rest_is_left():
    begun = []

    def work(i):
        begun.append(i)
        time.sleep(0.01)
        return 1 // (i - 1)

    results = in_order(work, range(100), n_threads=2)
    assert next(results) == -1
    with pytest.raises(ZeroDivisionError):
        next(results)
    time.sleep(0.1)
    assert len(begun) < 10


def test_one_item_needs_no_thread():
    assert list(in_order(lambda _: threading.current_thread(), [0])) == [threading.current_thread()]


def test_nobody_waits_for_what_nobody_will_ask_for():
    program = (
        "import time; from inspector.sources.parallel import in_order\n"
        "list(in_order(lambda i: time.sleep(30) if i else 1 // 0, range(8)))"
    )
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)
    assert "ZeroDivisionError" in done.stderr
    assert time.monotonic() - start < 10
