"""What is asked of every model of a scan."""

from __future__ import annotations

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    Row = dict[str, Any]  # by the names of columns.COLUMNS

DEFAULT_CONTEXTS: Final = (4096, 32768, 131072)


class ScanOptions(Record):
    """What is asked of every model. `contexts` in tokens; `engines` and `gpus`: for the estimates, by any name.

    `audit`: whether findings are looked for; `tensors`: whether the row carries a row for each tensor
    (`row["tensors"]`, in the order of `columns.TENSOR_COLUMNS`).
    """

    contexts: tuple[int, ...] = DEFAULT_CONTEXTS
    engines: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    audit: bool = True
    tensors: bool = False

    @property
    def asked(self) -> str:
        """All that a row depends on, as JSON."""
        import json

        return json.dumps({f: v for f, v in self.as_dict().items() if f != "tensors"}, separators=(",", ":"))
