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
MAX_EMBEDDED: Final = 16 << 20  # bytes of other formats that are searched for pickles
MAX_ENDS: Final = 8 << 20
MAX_DEPTH: Final = 4  # archives within archives


class Found(Record):
    """What one file, or one file within an archive, is, or one thing that is wrong with it.

    `kind` of what it is: pickle, torch, numpy, archive, hdf5, keras, onnx, saved-model, program, other (known by its
    name, and not looked into). Of what is wrong: broken, unread (a limit of this audit), doubt (two readers read it
    differently), escape (a path that leads out), layer (code in a Keras model), graph (code or paths in a graph),
    class (a library's class that is code), unreadable. `globals`: what its pickles import. `problem`: in words.
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
        self.embedded, self.ends = MAX_EMBEDDED, MAX_ENDS


class Within(Record):
    """Where an archive is looked into: with what allowance, how deep within others, and what examines its files."""

    allowed: Allowance
    depth: int
    examine: Callable[..., Iterator[Found]]
