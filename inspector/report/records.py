"""Rows of tables that are more than one model: what `cli` gathers and reports print."""

from __future__ import annotations

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from inspector.stores.records import Role, Store


class ModelRow(Record):
    """One model of several. `nbytes`: of its files, exactly; what could not be read or computed is None, and `error`.

    `kv_nbytes` and `total_nbytes` at the context asked for; `fits`: by GPU as it was typed.
    """

    name: str
    quant: str
    files: tuple[str, ...]
    nbytes: int
    n_params: int | None = None
    bits_per_weight: float | None = None
    n_ctx: int | None = None
    kv_nbytes: int | None = None
    total_nbytes: int | None = None
    grade: str | None = None
    fits: Mapping[str, bool | None] | None = None
    missing_nbytes: int = 0
    error: str | None = None


class ComponentRow(Record):
    """One component of a pipeline, by the folder it lies in; `n_params` is None where it cannot be told."""

    name: str
    files: tuple[str, ...]
    n_tensors: int
    n_params: int | None
    nbytes: int
    quantization: str | None = None


class ScanGroup(Record):
    """Models that have something in common: how many, and their bytes."""

    name: str
    n_models: int
    nbytes: int


class ScanTotals(Record):
    """Sums over all rows. `n_unread`: models with an error; `n_unreached`: those whose place did not answer, of them.

    `n_kept`: taken over from an earlier scan, unread; `complete`: whether the scan came to its end. Groups by bytes,
    most first; at most twenty, the last being all others. `first_errors`: of the first models with an error, which and
    why.
    """

    n_models: int
    n_unread: int
    n_unreached: int
    n_kept: int
    complete: bool
    nbytes: int
    n_params: int
    missing_nbytes: int
    by_format: tuple[ScanGroup, ...]
    by_arch: tuple[ScanGroup, ...]
    by_quant: tuple[ScanGroup, ...]
    by_verdict: tuple[ScanGroup, ...]
    by_code: tuple[ScanGroup, ...]
    first_errors: tuple[str, ...] = ()


class KeptRow(Record):
    """One model of a store or folder. `root`: where it was looked for; `nbytes`: of its files, as they lie there.

    `quant`: what it is by its tensors or its config; `n_ctx`: the context that its store would run it with, else the
    one it was trained for, and `kv_nbytes` the cache of one sequence of so many tokens in f16. `sha256`: of its
    contents, where the store says it or it was asked for. What is not known is None; `error`: why it cannot be read.
    """

    target: str
    name: str
    store: Store
    root: str
    role: Role
    nbytes: int
    paths: tuple[str, ...]
    arch: str | None = None
    quant: str | None = None
    n_params: int | None = None
    n_ctx: int | None = None
    kv_nbytes: int | None = None
    sha256: str | None = None
    error: str | None = None


class SameContent(Record):
    """Models whose contents are the same, by name; `freed_nbytes`: what all copies but one take.

    `sure`: False where only sizes were compared.
    """

    nbytes: int
    targets: tuple[str, ...]
    freed_nbytes: int
    sure: bool = True
