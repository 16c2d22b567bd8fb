"""Where the engine asks for compute buffers: a separate simulation of llama.cpp's graph and allocator."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from inspector.facts import ModelFacts
    from inspector.memory.devices.placement import Assignment

    # bytes of compute buffers by device, their grade, and by device: bytes of the pool, whether cuBLAS is called
    ComputeMemory = tuple[Mapping[str, int], str, Mapping[str, tuple[int, bool]]]


# llama.cpp's own figure over that of a plain decoder in its place, least (encoders) and most of the 120 architectures
# that such a decoder can be built of (fixtures/llamacpp.jsonl.gz, llamacpp-synthetic.jsonl.xz).
STAND_IN: Final = (0.08, 4.22)


def stands_in(facts: ModelFacts) -> bool:
    """Whether a plain decoder stands in for the graph of an architecture that nobody here knows."""
    from inspector.memory.engines.llamacpp.graph.archs import ARCHS

    return facts.arch not in ARCHS


def compute_parts(facts: ModelFacts, effective: Mapping[str, Any], assignment: Assignment) -> ComputeMemory | None:
    """Bytes of compute buffers by device, their grade, and what pools grow to; None where the graph is not known.

    The most of them where a plain decoder stands in for the architecture's own graph.
    """
    from inspector.memory.engines.llamacpp.graph import compute_memory

    found = compute_memory(facts, effective, assignment)
    if found is None or effective.get("predicting") or not stands_in(facts):
        return found
    return {device: int(n * STAND_IN[1]) for device, n in found[0].items()}, *found[1:]


def flash_stays(facts: ModelFacts, effective: Mapping[str, Any], assignment: Assignment) -> bool:
    """Whether flash attention, where it was left to llama.cpp, stays on (`resolve_fused_ops`, llama-context.cpp).

    It goes off when some layer's would run on another device than the layer, as it may with caches left on the host.
    """
    if not effective["flash_attn_auto"] or not assignment.devices:
        return True
    from inspector.memory.engines.llamacpp.graph import flash_in_place
    from inspector.memory.engines.llamacpp.graph.model import GraphUnknown

    try:
        return flash_in_place(facts, effective, assignment)
    except GraphUnknown:
        return True  # a graph that cannot be built says nothing of where its nodes would run
