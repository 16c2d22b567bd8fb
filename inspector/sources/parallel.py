"""Work spread over a few threads, results in the order of the items: waiting for servers, not computing."""

from __future__ import annotations

import queue
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, Final, TypeVar

    T = TypeVar("T")
    R = TypeVar("R")

N_THREADS: Final = 16


def in_order(work: Callable[[T], R], items: Sequence[T], *, n_threads: int = N_THREADS) -> Iterator[R]:
    """What `work` makes of each item, in order; what it raises is raised in its turn, and no more work is begun.

    The threads are daemons: an interrupt ends the program at once, whatever they are waiting for.
    """
    if len(items) < 2:
        yield from map(work, items)
        return
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for i in range(len(items)):
        waiting.put(i)
    done: list[queue.SimpleQueue[tuple[Any, BaseException | None]]] = [queue.SimpleQueue() for _ in items]
    stopped = threading.Event()

    def run() -> None:
        while not stopped.is_set():
            try:
                i = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                done[i].put((work(items[i]), None))
            except BaseException as error:
                done[i].put((None, error))

    for _ in range(min(n_threads, len(items))):
        threading.Thread(target=run, daemon=True).start()
    try:
        for each in done:
            result, error = each.get()
            if error is not None:
                raise error
            yield result
    finally:
        stopped.set()
