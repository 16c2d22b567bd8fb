"""The cache layer by layer: its kind, how many tokens or cells it keeps, bytes, and which key said so."""

from __future__ import annotations

from inspector.memory.cache import cache_nbytes, kv_dtype, tokens_kept
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.facts import ModelFacts
    from inspector.layers import Layer
    from inspector.memory.estimate import Workload


class LayerRow(Record):
    """One layer: `cells` it keeps for all sequences (None where nothing grows), bytes (None: unknown)."""

    index: int
    kind: str
    cells: int | None
    nbytes: int | None
    decided_by: str


def _plain_row(layer: Layer, n_ctx: int, n_seqs: int, workload: Workload) -> LayerRow:
    dtype_k, dtype_v = kv_dtype(workload.kv_dtype_k or "f16"), kv_dtype(workload.kv_dtype_v or "f16")
    sizes = [cache_nbytes(c, n_ctx, dtype_k=dtype_k, dtype_v=dtype_v) for c in layer.caches]
    nbytes = None if None in sizes else n_seqs * sum(n for n in sizes if n is not None)
    cells = max((tokens_kept(c, n_ctx) for c in layer.caches if hasattr(c, "window")), default=None)
    return LayerRow(layer.index, layer.kind, cells and cells * n_seqs, nbytes, layer.decided_by)


def plain_rows(facts: ModelFacts, workload: Workload) -> list[LayerRow]:
    """A row a layer, with the tokens that it keeps."""
    n_ctx = workload.n_ctx or facts.n_ctx_train or 0
    return [_plain_row(layer, n_ctx, workload.n_seqs or 1, workload) for layer in facts.layers]
