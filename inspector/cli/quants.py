"""A quant that is not there yet, by its tag: the commands' way to the file that it would be made of."""

from __future__ import annotations

from inspector.cli.options import open_target
from inspector.memory.tagged import with_tag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.checkpoint import Checkpoint


def open_tagged(target: str, engine: str | None) -> tuple[Checkpoint, str | None]:
    """The checkpoint behind a target, and the quant of its tag that is not there yet."""
    checkpoint, _, quant = with_tag(target, engine=engine, read=open_target)
    return checkpoint, quant
