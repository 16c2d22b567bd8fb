"""What a comparison of two checkpoints finds."""

from __future__ import annotations

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated, Any, Final

CHANGES: Final = ("added", "removed", "changed", "renamed", "reshaped", "requantised")
SORTS: Final = ("metadata", "config", "fact", "tensor", "values")
WAYS: Final = ("sha256", "hash", "values")  # how values were compared

if TYPE_CHECKING:
    ChangeKind = Annotated[str, ("enum", CHANGES)]
    Sort = Annotated[str, ("enum", SORTS)]


class Change(Record):
    """One difference. `kind`: added, removed, changed, renamed, reshaped, requantised; `what`: metadata, config, fact,
    tensor or values; `before` and `after` are what stood there (None: nothing).
    """

    kind: ChangeKind
    what: Sort
    name: str
    before: Any = None
    after: Any = None


class Diff(Record):
    """All changes from `a` to `b`, and exact bytes of both sides' tensors. `notes`: what could not be compared.

    `values_equal`: whether the tensors' values are the same, None where they were not compared; `values_by`: how that
    was found: "" (it is one file), sha256, hash or values.
    """

    a: str
    b: str
    changes: tuple[Change, ...]
    tensors_nbytes_a: int
    tensors_nbytes_b: int
    n_params_a: int | None
    n_params_b: int | None
    notes: tuple[str, ...] = ()
    values_equal: bool | None = None
    values_by: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        return not self.changes

    def of(self, what: str) -> tuple[Change, ...]:
        """The changes of one sort."""
        return tuple(c for c in self.changes if c.what == what)
