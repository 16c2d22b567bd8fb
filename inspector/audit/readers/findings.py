"""What the examination of a file's content brings, and what one audit may spend on it."""

from __future__ import annotations

from inspector.audit.readers.pickle_machine import MAX_OPS
from inspector.audit.readers.streams import Budget
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final

    from inspector.audit.readers.pickle_values import Global

MAX_OPENED: Final = 20_000  # files within archives
# Bytes of other formats that are searched for pickles, some 250 MB a second; of packed ones; of the ends of more.
MAX_EMBEDDED: Final = 128 << 20
MAX_UNPACKED: Final = 16 << 20
MAX_ENDS: Final = 8 << 20
MAX_TRIED: Final = 600_000  # instructions, in places where a pickle may begin
MAX_DEPTH: Final = 4  # archives within archives


class Found(Record):
    """What one file, or one file within an archive, is, or one thing that is wrong with it.

    `kind` of what it is: pickle, torch, numpy, archive, hdf5, r, keras, onnx, saved-model, program, other (known by its
    name, and not looked into). Of what is wrong: broken, unread (a limit of this audit), doubt (two readers read it
    differently), escape (a path that leads out), layer (code in a Keras model), graph (code or paths in a graph),
    class (a library's class that is code), r-code (what R would run), outside (other files that it reads), embedded
    (a pickle within), unsearched (how much was not searched for one), unreadable. `globals`: what its pickles import.
    `problem`: in words.
    """

    where: str
    kind: str
    globals: tuple[Global, ...] = ()
    problem: str = ""
    severity: str = ""
    objects: bool = False


class Allowance:
    """What is left of one audit's instructions, unpacked bytes and files in archives."""

    def __init__(self) -> None:
        self.ops = MAX_OPS
        self.inflate = Budget()
        self.opened = MAX_OPENED
        self.embedded, self.unpacked, self.ends = MAX_EMBEDDED, MAX_UNPACKED, MAX_ENDS
        self.tries = MAX_TRIED


class Within(Record):
    """Where an archive is looked into: with what allowance, how deep within others, and what examines its files."""

    allowed: Allowance
    depth: int
    examine: Callable[..., Iterator[Found]]
