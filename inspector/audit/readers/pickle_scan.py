"""Every pickle of a stream, one behind the other, and what lies behind the last."""

from __future__ import annotations

from contextlib import suppress

from inspector.audit.readers.pickle_machine import MAX_GLOBALS, MAX_OPS, Broken, Machine
from inspector.audit.readers.pickle_names import is_danger
from inspector.audit.readers.pickle_search import danger_in, pickle_starts
from inspector.audit.readers.pickle_stream import EndOfStream, Reader
from inspector.audit.readers.pickle_values import Global
from inspector.audit.readers.pickles import TORCH_PICKLES
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    ReadAt = Callable[[int, int], bytes]

MAX_PICKLES: Final = 10_000
MAX_TRIED: Final = 400_000  # instructions, in places where a pickle may begin
AT_ONCE: Final = 1 << 20
TRIED: Final = 4 << 10  # bytes of a pickle that may begin somewhere
MAX_BEHIND: Final = 16 << 20  # bytes that are no instructions and are searched all the same


class Scan(Record):
    """What was found: the globals, how many pickles, why it ended early ("" where it did not), and where."""

    globals: tuple[Global, ...]
    n_pickles: int
    problem: str
    end: int
    n_ops: int
    proto: int


def _plausible(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


class Search:
    """Bytes that are no instructions, searched for imports that attacks use and for pickles that begin in them.

    `found`: what was; `tries`: instructions that are left for places where a pickle may begin, none where there were
    more such places than that.
    """

    def __init__(self, tries: int = MAX_TRIED) -> None:
        self.found: dict[tuple[str, str], Global] = {}
        self.tries = tries

    def look(self, read_at: ReadAt, start: int, end: int) -> int:
        """Searches from `start` to `end` or to where there is no more; the place that was reached."""
        at = start
        while at < end and (raw := read_at(at, min(AT_ONCE, end - at))):
            is_last = len(raw) < AT_ONCE
            for key, g in danger_in(raw).items():
                self.found.setdefault(key, g.replace(offset=at + g.offset))
            for place in pickle_starts(raw):
                if self.tries <= 0 or (place >= len(raw) - TRIED and not is_last):
                    break  # what begins at the end of a piece is whole in the next one
                self._try(raw[place : place + TRIED], at + place)
            if is_last:
                return at + len(raw)
            at += len(raw) - TRIED
        return at

    def _try(self, raw: bytes, at: int) -> None:
        """A pickle that may begin here: kept is only what attacks use and what is called."""
        other = Machine(Reader(lambda offset, n: raw[offset : offset + n], len(raw)), budget=2_000)
        with suppress(EndOfStream, Broken):
            other.run()
        for key, g in other.found.items():
            if g.called and is_danger(g) and _plausible(g.path):
                self.found.setdefault(key, g.replace(offset=at + g.offset))
        self.tries -= other.n_ops + 200


def scan_pickle(read_at: ReadAt, size: int, *, budget: int = MAX_OPS) -> Scan:
    """Every pickle of a stream, one behind the other, up to what is no pickle any more.

    PyTorch's old format is five pickles and then raw numbers, so bytes behind the first pickle that make no sense are
    no fault; within the first they are (`problem`). They are searched in either case. `size` may be more than there is
    where a stream is read as it unpacks.
    """
    reader = Reader(read_at, size)
    machine = Machine(reader, budget=budget)
    n, end, problem = 0, 0, ""
    while reader.offset < size and (n < TORCH_PICKLES or not machine.magic) and reader.fill(1):
        if n >= MAX_PICKLES:
            problem = f"more than {MAX_PICKLES:,} pickles, one behind the other: the rest was not looked at"
            break
        before = dict(machine.found)
        try:
            machine.run()
        except (EndOfStream, Broken) as error:
            words = str(error) if isinstance(error, Broken) else "it breaks off within the pickle"
            cut = machine.left <= 0 or len(machine.found) > MAX_GLOBALS
            if n < (TORCH_PICKLES if machine.magic else 1) or cut:
                problem = words
            else:  # raw numbers read as instructions: only what reads like a name is kept
                new = {k: g for k, g in machine.found.items() if k not in before and _plausible(g.path)}
                machine.found = {**before, **new}
            break
        n, end = n + 1, reader.offset
    if not n and not problem:
        problem = "it is empty"
    start = reader.offset if problem else end
    behind = Search()
    looked = behind.look(read_at, start, start + MAX_BEHIND) - start
    for key, g in behind.found.items():
        machine.found.setdefault(key, g)
    if looked >= MAX_BEHIND and not problem and not machine.magic and size < 1 << 62:
        problem = f"{size - end:,} bytes behind its end, of which {looked:,} were searched"
    elif behind.tries <= 0 and not problem and not machine.magic:
        problem = "more places behind its end than are tried look like the start of a pickle"
    return Scan(tuple(machine.found.values()), n, problem, end, machine.n_ops, machine.proto)
