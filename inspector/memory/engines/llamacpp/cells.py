"""The cache layer by layer, in llama.cpp's cells."""

from __future__ import annotations

from inspector.layers import UnknownCache
from inspector.memory.breakdown import LayerRow
from inspector.memory.devices.placement import assign
from inspector.memory.engines.llamacpp.caches import cache_blocks
from inspector.memory.engines.llamacpp.sizes import effective

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Placement, Workload


def layer_rows(facts: ModelFacts, workload: Workload, placement: Placement, *, server: bool) -> list[LayerRow]:
    """A row a layer, with the cells that llama.cpp allocates for all sequences. Raises WorkloadError."""
    sizes = effective(facts, workload, server=server, offload_kqv=placement.kv_offload)
    assignment = assign(placement, len(facts.layers) + len(facts.nextn_layers))
    sums: dict[int, tuple[int, int]] = {}
    for block in cache_blocks(facts, sizes, assignment):
        cells, nbytes = sums.get(block.layer, (0, 0))
        grows = block.what == "kv_cache"
        sums[block.layer] = (max(cells, block.cells * block.streams if grows else 0), nbytes + block.nbytes)
    rows = []
    for layer in facts.layers:
        cells, nbytes = sums.get(layer.index, (0, 0))
        unknown = any(isinstance(c, UnknownCache) for c in layer.caches)
        rows.append(LayerRow(layer.index, layer.kind, cells or None, None if unknown else nbytes, layer.decided_by))
    return rows
