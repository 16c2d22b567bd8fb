"""Work that does not end is left behind in its thread, and what follows is done in another."""

from __future__ import annotations

import threading

import pytest
from fleet_runs import until

from inspector.errors import Unreachable
from inspector.sources.limit import within

SHORT = 0.05


def test_what_ends_in_time_answers_and_raises_as_without_a_limit():
    assert within(30, lambda: 7, "x") == within(None, lambda: 7, "x") == 7
    with pytest.raises(KeyError, match="b"):
        within(30, lambda: {}["b"], "x")
    with pytest.raises(TimeoutError):  # of a socket, say: not ours
        within(30, lambda: (_ for _ in ()).throw(TimeoutError()), "x")


def test_one_thread_does_all_the_work_until_it_hangs():
    first = within(30, threading.get_ident, "x")
    assert within(30, threading.get_ident, "x") == first != threading.get_ident()
    release = threading.Event()
    with pytest.raises(Unreachable, match=r"x: no end within 0\.05 s"):
        within(SHORT, release.wait, "x")
    assert within(5, threading.get_ident, "x") != first
    release.set()


def test_python_code_without_end_is_ended():
    here = threading.get_ident()
    ran: list[int] = []

    def loop():
        ran.append(threading.get_ident())
        while True:
            pass

    with pytest.raises(Unreachable):
        within(SHORT, loop, "x")
    until(lambda: ran[0] not in {t.ident for t in threading.enumerate()}, "the thread's end")
    assert ran[0] != here


def test_work_within_work_has_a_thread_of_its_own():
    assert within(30, lambda: within(30, lambda: 5, "inner"), "outer") == 5
