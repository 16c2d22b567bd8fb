"""What a PyTorch process takes of a GPU before it holds a model."""

from __future__ import annotations

from inspector.units import MIB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from inspector.memory.estimate import Gpu

# CUDA context of one process with PyTorch: 426 MiB on an RTX 6000 Ada (torch 2.10, CUDA 13.0); 300-400 MB since lazy
# loading (CUDA 11.7); more than 1 GB before. The middle of what is reported, not a measurement of ours.
CONTEXT_RESERVE: Final = 450 * MIB


def taken(gpu: Gpu) -> int:
    """Bytes that programs never see of a card, and PyTorch's context; the same for all cards, as it is reported."""
    return gpu.reserve + CONTEXT_RESERVE if gpu.context else gpu.reserve or CONTEXT_RESERVE
