"""What one file says, verbatim: no key renamed, nothing interpreted."""

from __future__ import annotations

from _collections_abc import Sequence  # loaded with the interpreter; `collections` around it is not
from math import prod

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from inspector.dtypes import Dtype


class TensorInfo(Record):
    """One tensor: shape outermost-first in both formats, offset in bytes from the start of the file.

    `dtype` is None where the file names a type that is not known (`dtype_name` holds its words); `nbytes` is then
    what the file's own offsets say, or None where they say nothing.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Dtype | None
    offset: int
    nbytes: int | None
    dtype_name: str = ""

    @property
    def n_elements(self) -> int:
        """Product of the shape; 1 for a scalar."""
        return prod(self.shape)


if TYPE_CHECKING:
    # What tensors of one shape and type share: shape, type, bytes of each, and the offset bits that alignment clears.
    Kind = tuple[tuple[int, ...], Dtype, int, int]
    _Tensors = Sequence[TensorInfo]
else:
    _Tensors = Sequence


class PackedTensors(_Tensors):
    """The tensors of a header whose data lie one behind the other: a sequence, built when first looked into.

    A folder of 90,000 tensors is read to know that it is whole and what it weighs; most answers need no more.
    `names` and `kinds` go in step; `start`: the first byte of data.
    """

    __slots__ = ("_built", "_kinds", "_names", "_start", "nbytes")

    def __init__(self, names: Sequence[str], kinds: Sequence[Kind], *, start: int, nbytes: int) -> None:
        self._names, self._kinds, self._start, self.nbytes = names, kinds, start, nbytes
        self._built: tuple[TensorInfo, ...] | None = None

    def _build(self) -> tuple[TensorInfo, ...]:
        if self._built is None:
            tensors, at = [], self._start
            for name, (shape, dtype, nbytes, _) in zip(self._names, self._kinds, strict=True):
                tensors.append(TensorInfo(name, shape, dtype, at, nbytes))
                at += nbytes
            self._built, self._kinds = tuple(tensors), ()
        return self._built

    @property
    def names(self) -> Sequence[str]:
        """What the tensors are called, in their order; nothing is built for it."""
        return self._names

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[TensorInfo]:
        return iter(self._build())

    def __getitem__(self, at: Any) -> Any:
        return self._build()[at]

    def __eq__(self, other: object) -> bool:
        return self._build() == (other._build() if isinstance(other, PackedTensors) else other)

    def __hash__(self) -> int:
        return hash(self._build())

    def __repr__(self) -> str:
        return repr(self._build())

    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (list(self._build()),)


class LongArray(Record):
    """An array (or a very long string, `elem` "char") that was counted and not kept.

    `offset`: first byte of its elements in the file; `nbytes`: how many bytes they take; `head`: the first few.
    """

    elem: str
    length: int
    offset: int
    nbytes: int
    head: tuple[Any, ...]


class Defect(Record):
    """A way in which a file breaks its format's rules without stopping the reader; audit rules judge it.

    `code` is stable (`duplicate-key`); `fatal`: every loader refuses the file, so only the audit reads on.
    """

    code: str
    what: str
    offset: int | None = None
    where: str = ""
    fatal: bool = True


class ModelFile(Record):
    """One file's header. `format` is "gguf" or "safetensors"; `header_bytes`: where tensor data starts.

    `metadata_types` gives the stored type of each key ("u32", "arr[str]"); `byte_order` is "little" or "big"; `path`:
    where it lies on this machine, "" for one that does not.
    """

    name: str
    format: str
    version: int
    size: int
    header_bytes: int
    metadata: Mapping[str, Any]
    tensors: Sequence[TensorInfo]
    metadata_types: Mapping[str, str]
    defects: tuple[Defect, ...] = ()
    byte_order: str = "little"
    alignment: int = 1
    path: str = ""

    def __eq__(self, other: object) -> bool:
        """By what is in it, wherever it lies."""
        if not isinstance(other, ModelFile):
            return NotImplemented
        return all(getattr(self, f) == getattr(other, f) for f in self._fields if f != "path")

    def __hash__(self) -> int:
        return super(ModelFile, self.replace(path="")).__hash__()

    @property
    def tensor_names(self) -> Sequence[str]:
        """What the tensors are called, in file order."""
        return self.tensors.names if isinstance(self.tensors, PackedTensors) else [t.name for t in self.tensors]

    @property
    def tensors_nbytes(self) -> int:
        """Exact bytes of all tensors, padding between them not counted; unknown sizes count as none."""
        if isinstance(self.tensors, PackedTensors):
            return self.tensors.nbytes
        return sum(t.nbytes or 0 for t in self.tensors)

    @property
    def data_end(self) -> int:
        """The last byte that any tensor claims; more than `size` means that the file is cut short."""
        if isinstance(self.tensors, PackedTensors):
            return self.header_bytes + self.tensors.nbytes
        return max((t.offset + (t.nbytes or 0) for t in self.tensors), default=self.header_bytes)

    @property
    def missing_nbytes(self) -> int:
        """How many bytes the header promises that the file does not have."""
        return max(0, self.data_end - self.size)
