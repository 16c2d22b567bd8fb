"""A start-up log as records: what one start of an engine said."""

from __future__ import annotations

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class LogDevice(Record):
    """A device that the log names: total and free memory in bytes, None where the log does not say."""

    name: str
    description: str = ""
    total: int | None = None
    free: int | None = None


class LogBuffer(Record):
    """Bytes that the engine set aside: `what` as in an estimate's lines; `device` as the log names it.

    `precision`: bytes by which the printed figure may differ from the true one.
    """

    what: str
    device: str
    nbytes: int
    precision: int


class StartupLog(Record):
    """What one start of an engine said. `settings`: under the names of the engine, as numbers, truths or text."""

    engine: str
    build: str
    model: str
    settings: Mapping[str, Any]
    devices: tuple[LogDevice, ...] = ()
    buffers: tuple[LogBuffer, ...] = ()
    notes: tuple[str, ...] = ()
