"""What runs a scan: processes of this machine, or a Dask cluster, each as an executor of futures."""

from __future__ import annotations

import os
import signal
import time

from inspector.errors import InspectorError, Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor, Future
    from typing import Any, Final

_RETRIES: Final = 3
_EVERY: Final = 5.0  # seconds between two looks at how large a cluster is
_LEAST_AHEAD: Final = 2  # a cluster that grows by its load must be given some
EXTRA: Final = "pip install 'weights-inspector[fleet]'"


class Engine:
    """An engine at work. `lost`: the errors of a task whose process died; `n_workers`: how many run at once."""

    n_workers = 1
    lost: tuple[type[BaseException], ...] = ()

    def submit(self, work: Callable[..., Any], *args: Any) -> Future[Any]:
        """A task begun."""
        raise NotImplementedError

    def renew(self) -> bool:
        """Goes on after a process has died; whether all that was under way is lost with it."""
        return False

    def stop(self) -> None:
        """Ends it at once; what is under way is dropped."""


_ENDING: Final = 1  # second that a pool has to end; a process may hang in a read that nothing interrupts


class Processes(Engine):
    """A pool of processes of this machine."""

    def __init__(self, n_workers: int) -> None:
        from concurrent.futures import BrokenExecutor

        self.n_workers = n_workers
        self.lost = (BrokenExecutor,)
        self._pool: Executor | None = None

    def _started(self) -> Executor:
        """The pool; its processes leave an interrupt to this one, from their first moment on."""
        if self._pool is None:
            from concurrent.futures import ProcessPoolExecutor
            from multiprocessing import get_context

            self._pool = ProcessPoolExecutor(
                self.n_workers, mp_context=get_context("spawn"), initializer=_end_with_parent
            )
            with _uninterrupted():
                self._pool.submit(int)  # a spawning pool starts all of its processes with the first task
        return self._pool

    def submit(self, work: Callable[..., Any], *args: Any) -> Future[Any]:
        return self._started().submit(work, *args)

    def renew(self) -> bool:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = None
        return True

    def stop(self) -> None:
        import threading
        from multiprocessing import active_children

        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            for child in active_children():
                child.terminate()
            for thread in threading.enumerate():  # what ends the pool: an exit of ours beside it finds its pipe closed
                if type(thread).__name__ == "_ExecutorManagerThread":
                    thread.join(_ENDING)
            self._pool = None


def _end_with_parent() -> None:
    """A process of the pool ends when this one is killed: the pool itself would leave it waiting for work forever."""
    import threading
    from multiprocessing import parent_process

    def watch() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class _uninterrupted:  # noqa: N801 - reads as a statement
    """While processes are started, which inherit that an interrupt is ignored."""

    def __enter__(self) -> None:
        try:
            self._was: Any = signal.signal(signal.SIGINT, signal.SIG_IGN)
        except ValueError:  # not the main thread: nobody interrupts it
            self._was = None

    def __exit__(self, *_: object) -> None:
        if self._was is not None:
            signal.signal(signal.SIGINT, self._was)


class Dask(Engine):
    """A Dask cluster: one that is there (`address`), or one of this machine. Retries and lost workers are Dask's."""

    def __init__(self, address: str | None, n_workers: int) -> None:
        try:
            from dask.distributed import Client, KilledWorker, LocalCluster
        except ImportError:
            raise InspectorError("--on dask needs dask[distributed]", hint=EXTRA) from None
        import logging

        for name in list(logging.root.manager.loggerDict):
            if name.partition(".")[0] == "distributed":  # what there is to say, is said here
                logging.getLogger(name).setLevel(logging.CRITICAL)
        self._cluster: Any = None
        try:
            with _uninterrupted():
                if address is None:
                    self._cluster = LocalCluster(
                        n_workers=n_workers, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
                    )
                self._client: Any = Client(self._cluster or address)
        except (OSError, TimeoutError) as error:
            raise Unreachable(f"{address}: no Dask scheduler answers ({type(error).__name__})") from None
        self.lost = (KilledWorker,)
        self._asked = float("-inf")
        self._n_workers = _LEAST_AHEAD
        self._executor: Executor = self._client.get_executor(retries=_RETRIES, pure=False)

    @property
    def n_workers(self) -> int:  # type: ignore[override]
        """Threads of the cluster now: it may grow by what is asked of it."""
        if time.monotonic() - self._asked > _EVERY:
            self._asked = time.monotonic()
            self._n_workers = max(sum(self._client.nthreads().values()), _LEAST_AHEAD)
        return self._n_workers

    def submit(self, work: Callable[..., Any], *args: Any) -> Future[Any]:
        return self._executor.submit(work, *args)

    def stop(self) -> None:
        self._client.close(timeout=2)
        if self._cluster is not None:
            self._cluster.close(timeout=5)


def engine_on(on: str, n_workers: int | None = None) -> Engine:
    """The engine of `--on`: processes, dask, or the address of a Dask scheduler. Raises InspectorError."""
    n_workers = n_workers or _cores()
    if on == "processes":
        return Processes(n_workers)
    if on == "dask" or "://" in on:
        return Dask(None if on == "dask" else on, n_workers)
    raise InspectorError(
        f"--on {on}: no such engine", hint="processes, dask, or the address of a Dask scheduler (tcp://…)"
    )


def _cores() -> int:
    """The cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
