"""Work spread over a few threads, results in the order of the items: waiting for servers, not computing."""

from __future__ import annotations

import queue
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from typing import Final, TypeVar

    T = TypeVar("T")
    R = TypeVar("R")

N_THREADS: Final = 16


def in_order(work: Callable[[T], R], items: Sequence[T], *, n_threads: int = N_THREADS) -> Iterator[R]:
    """What `work` makes of each item, in order; what it raises is raised in its turn, and no more work is begun.

    The threads are daemons, which an executor's are not (docs/decisions/0008): an interrupt ends the program at once,
    whatever they are waiting for.
    """
    if len(items) < 2:
        yield from map(work, items)
        return
    from concurrent.futures import Future

    promised: list[Future[R]] = [Future() for _ in items]
    waiting: queue.SimpleQueue[tuple[Future[R], T]] = queue.SimpleQueue()
    for task in zip(promised, items, strict=True):
        waiting.put(task)
    stopped = threading.Event()
    for _ in range(min(n_threads, len(items))):
        threading.Thread(target=_keep_promises, args=(work, waiting, stopped), daemon=True).start()
    try:
        for future in promised:
            yield future.result()
    finally:
        stopped.set()


def _keep_promises(
    work: Callable[[T], R], waiting: queue.SimpleQueue[tuple[Future[R], T]], stopped: threading.Event
) -> None:
    """One thread's life: item after item, until none is left or nobody listens any more."""
    while not stopped.is_set():
        try:
            future, item = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            future.set_result(work(item))
        except BaseException as error:
            future.set_exception(error)
