"""A tensor record of a GGUF as it was read, before anything is known of where its data lies."""

from __future__ import annotations

from inspector.dtypes import GGML_DTYPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.dtypes import Dtype


class RawTensor:
    """A tensor record before the data section's place is known."""

    __slots__ = ("dtype", "name", "nbytes", "offset", "record", "shape", "type_id")

    def __init__(self, name: str, shape: tuple[int, ...], type_id: int, offset: int, record: int) -> None:
        self.name = name
        self.shape = shape
        self.type_id = type_id
        self.offset = offset
        self.record = record
        self.dtype: Dtype | None = GGML_DTYPES.get(type_id)
        self.nbytes: int | None = None
