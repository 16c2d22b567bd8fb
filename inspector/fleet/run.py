"""A scan from items to rows: chunks to an engine, few at a time, and every row into the journal once."""

from __future__ import annotations

from collections import deque
from concurrent.futures import CancelledError

from inspector.errors import InspectorError
from inspector.fleet.work import lost_rows, scan_chunk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from typing import Any, Final

    from inspector.fleet.engines import Engine
    from inspector.fleet.journal import Item, Journal
    from inspector.fleet.options import ScanOptions
    from inspector.fleet.work import Chunk

_LARGEST: Final = 16  # items of a chunk: what a task costs its engine is then a few percent of it
_AHEAD: Final = 4  # chunks under way for each worker


def chunks(items: Iterator[tuple[int, Item]], n_workers: int) -> Iterator[Chunk]:
    """Items in groups that grow from one, so that a short list keeps all workers busy as well."""
    chunk: Chunk = []
    n = 0
    for item in items:
        chunk.append(item)
        if len(chunk) >= min(_LARGEST, 1 + n // (4 * n_workers)):
            yield chunk
            n, chunk = n + 1, []
    if chunk:
        yield chunk


class Run:
    """One scan under way. `tell`: told how many models are done, now and then."""

    def __init__(self, journal: Journal, engine: Engine, options: ScanOptions, tell: Callable[[int], None]) -> None:
        self.journal, self.engine, self.options, self.tell = journal, engine, options, tell
        self.pending: dict[Future[Any], Chunk] = {}
        self.suspects: deque[Chunk] = deque()
        self.alone = False
        self.done = 0

    def run(self) -> None:
        """Everything that is not read yet. Raises InspectorError when the engine is lost."""
        waiting = chunks(self.journal.unread(), self.engine.n_workers)
        while self._submit(waiting):
            self._collect()

    def _submit(self, waiting: Iterator[Chunk]) -> bool:
        """Hands out what may be under way; whether anything is.

        What was under way when a process died goes one at a time, alone: then it is known which it was.
        """
        if self.suspects:
            if not self.pending:
                self._begin(self.suspects.popleft())
                self.alone = True
            return True
        if not self.pending:
            self.alone = False
        while not self.alone and len(self.pending) < _AHEAD * self.engine.n_workers:
            chunk = next(waiting, None)
            if chunk is None:
                break
            self._begin(chunk)
        return bool(self.pending or self.suspects)

    def _begin(self, chunk: Chunk) -> None:
        try:
            self.pending[self.engine.submit(scan_chunk, chunk, self.options)] = chunk
        except self.engine.lost:  # it died between two tasks
            self.suspects.append(chunk)
            self._renew()

    def _renew(self) -> None:
        """After a death. Where the engine lost all that was under way, all of that is suspect."""
        if not self.engine.renew():
            return
        self.suspects.extend(self.pending.values())
        self.pending.clear()
        try:
            self.engine.submit(int).result()
        except self.engine.lost:
            raise InspectorError("its processes die as soon as they are started") from None

    def _collect(self) -> None:
        from concurrent.futures import FIRST_COMPLETED, wait

        if not self.pending:
            return
        finished, _ = wait(self.pending, return_when=FIRST_COMPLETED)
        broken = False
        self.journal.begin()
        for future in finished:
            chunk = self.pending.pop(future)
            try:
                self._keep(future.result())
            except self.engine.lost:
                broken = True
                self._suspect(chunk)
            except InspectorError:
                raise
            except (Exception, CancelledError) as error:
                raise _engine_error(error) from None
        self.journal.commit()
        if broken:
            self._renew()

    def _keep(self, found: list[tuple[int, Any]]) -> None:
        for position, rows in found:
            self.journal.add_rows(position, rows)
            self.done += 1
        self.tell(self.done)

    def _suspect(self, chunk: Chunk) -> None:
        if not self.alone:
            self.suspects.append(chunk)
        elif len(chunk) > 1:
            self.suspects.extendleft([one] for one in reversed(chunk))
        else:
            self._keep([(position, lost_rows(item, self.options)) for position, item in chunk])


def _engine_error(error: BaseException) -> InspectorError:
    """What an engine itself says, in a line."""
    if isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("inspector"):
        return InspectorError(
            "the workers do not have inspector", hint="pip install weights-inspector where they run, the same version"
        )
    words = " ".join(str(error).split())[:200]
    return InspectorError(f"the engine failed: {type(error).__name__}" + (f": {words}" if words else ""))
