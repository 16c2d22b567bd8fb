"""What is asked of every model of a scan."""

from __future__ import annotations

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    Row = dict[str, Any]  # by the names of columns.COLUMNS

DEFAULT_CONTEXTS: Final = (4096, 32768, 131072)
DEFAULT_TIMEOUT: Final = 300.0  # seconds: a repository of fifty quants over a slow line takes one
_NOT_ASKED: Final = ("tensors", "timeout")  # what changes nothing in a row that was read


class ScanOptions(Record):
    """What is asked of every model. `contexts` in tokens; `engines` and `gpus`: for the estimates, by any name.

    `audit`: whether findings are looked for; `tensors`: whether the row carries a row for each tensor
    (`row["tensors"]`, in the order of `columns.TENSOR_COLUMNS`); `timeout`: seconds that one target may take, after
    which its row is an error (None: no limit).
    """

    contexts: tuple[int, ...] = DEFAULT_CONTEXTS
    engines: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    audit: bool = True
    tensors: bool = False
    timeout: float | None = None

    @property
    def asked(self) -> str:
        """All that a row depends on, as JSON."""
        import json

        return json.dumps({f: v for f, v in self.as_dict().items() if f not in _NOT_ASKED}, separators=(",", ":"))
