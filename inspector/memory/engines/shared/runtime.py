"""What a PyTorch process takes of a GPU beside what PyTorch holds: ranges, from vLLM's start-up logs on NVIDIA's cards.

Least and most of 2025 and 2026 (fixtures/vllm_starts.jsonl). Other vendors' cards: what their run-times take.
"""

from __future__ import annotations

from inspector.units import GIB, MIB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from inspector.memory.estimate import Gpu

    Span = tuple[int, int]

# CUDA's context, before the first weight: total less free at the start; on cards of up to 80 GiB, and on larger ones.
_CONTEXT: Final = (int(0.17 * GIB), int(0.53 * GIB))
_LARGE_CONTEXT: Final = (int(0.56 * GIB), int(0.60 * GIB))
_LARGE: Final = 81920 * MIB
# What kernels and libraries take once a model has run ("non-torch memory"), on one card.
LIBRARIES: Final = (0.06, 0.56)  # GiB


def context_of(gpu: Gpu) -> Span:
    """The least and the most bytes before the first weight, those that programs never see included."""
    if not gpu.context and gpu.reserve:
        return gpu.reserve if gpu.reserve_low is None else gpu.reserve_low, gpu.reserve
    low, high = _LARGE_CONTEXT if gpu.capacity > _LARGE else _CONTEXT
    return gpu.reserve + low, gpu.reserve + high


def process_of(gpu: Gpu) -> Span:
    """The same once a model has run, of cards of any size."""
    if not gpu.context and gpu.reserve:
        return context_of(gpu)
    low, high = (int(gib * GIB) for gib in LIBRARIES)
    return gpu.reserve + _CONTEXT[0] + low, gpu.reserve + _LARGE_CONTEXT[1] + high
