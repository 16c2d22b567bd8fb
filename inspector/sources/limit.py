"""Work that may never end, given so many seconds.

A read from a mount whose server is gone cannot be interrupted, nor can a server be made to answer: what hangs is left
behind in its thread, which nobody waits for, and the work that follows has a new one. So it is the same in a process of
a pool, in a thread of a Dask worker and on every system, where an alarm signal reaches a process's main thread alone.
"""

from __future__ import annotations

import queue
import threading

from inspector.errors import Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from typing import Any, TypeVar

    R = TypeVar("R")


class _Worker:
    """A thread that works for another one. A daemon: a process ends whatever its threads wait for."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def begin(self, work: Callable[[], R]) -> Future[R]:
        """A promise of what `work` answers."""
        from concurrent.futures import Future

        future: Future[R] = Future()
        self._tasks.put((future, work))
        return future

    def dismiss(self) -> None:
        """It ends when what it does ends; where that is Python code without end, at once."""
        import ctypes

        self._tasks.put(None)
        ident = ctypes.c_ulong(self._thread.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(SystemExit))

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            future, work = task
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)
            del task, future, work  # a row is not kept until the next one comes


_own = threading.local()


def within(seconds: float | None, work: Callable[[], R], what: str) -> R:
    """What `work` answers, within so many seconds (None: however long it takes). What it raises is raised here.

    Raises Unreachable where it takes longer.
    """
    if not seconds:
        return work()
    from concurrent.futures import wait

    worker: _Worker = getattr(_own, "worker", None) or _Worker()
    _own.worker = None  # until it is known to be free again
    future = worker.begin(work)
    if not wait([future], timeout=seconds).done:
        worker.dismiss()
        raise Unreachable(f"{what}: no end within {seconds:g} s")
    _own.worker = worker
    return future.result()
