"""The cache layer by layer: its kind, how many tokens or cells it keeps, bytes, and which key said so."""

from __future__ import annotations

from inspector.layers import UnknownCache
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


def _llamacpp_rows(facts: ModelFacts, workload: Workload, *, server: bool) -> list[LayerRow]:
    from inspector.memory.engines.llamacpp.caches import cache_blocks
    from inspector.memory.engines.llamacpp.sizes import effective

    sizes = effective(facts, workload, server=server)
    sums: dict[int, tuple[int, int]] = {}
    for block in cache_blocks(facts, sizes):
        cells, nbytes = sums.get(block.layer, (0, 0))
        grows = block.what == "kv_cache"
        sums[block.layer] = (max(cells, block.cells * block.streams if grows else 0), nbytes + block.nbytes)
    rows = []
    for layer in facts.layers:
        cells, nbytes = sums.get(layer.index, (0, 0))
        unknown = any(isinstance(c, UnknownCache) for c in layer.caches)
        rows.append(LayerRow(layer.index, layer.kind, cells or None, None if unknown else nbytes, layer.decided_by))
    return rows


def _plain_row(layer: Layer, n_ctx: int, n_seqs: int, workload: Workload) -> LayerRow:
    dtype_k, dtype_v = kv_dtype(workload.kv_dtype_k or "f16"), kv_dtype(workload.kv_dtype_v or "f16")
    sizes = [cache_nbytes(c, n_ctx, dtype_k=dtype_k, dtype_v=dtype_v) for c in layer.caches]
    nbytes = None if None in sizes else n_seqs * sum(n for n in sizes if n is not None)
    cells = max((tokens_kept(c, n_ctx) for c in layer.caches if hasattr(c, "window")), default=None)
    return LayerRow(layer.index, layer.kind, cells and cells * n_seqs, nbytes, layer.decided_by)


def layer_rows(facts: ModelFacts, workload: Workload, *, engine: str, server: bool = False) -> list[LayerRow]:
    """A row a layer. For llama.cpp the cells it allocates; for other engines the tokens kept, before pages."""
    if engine == "llama.cpp":
        return _llamacpp_rows(facts, workload, server=server)
    n_ctx = workload.n_ctx or facts.n_ctx_train or 0
    return [_plain_row(layer, n_ctx, workload.n_seqs or 1, workload) for layer in facts.layers]
