"""What SGLang 0.5.23 keeps free of a card for activations and CUDA graphs: sglang/srt/arg_groups/memory_hook.py.

It goes by the size of the card alone, in MiB as nvidia-smi prints it, and rounds the share that is left to 1/1000.
"""

from __future__ import annotations

from inspector.record import Record
from inspector.units import MIB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# Cards below so many GiB: tokens of a prefill step, sequences of the largest decode graph of under 4 ranks, of 4.
_TIERS: Final = (
    (20, 2048, 8, 8), (35, 4096, 48, 160), (60, 4096, 32, 160), (90, 8192, 256, 512), (160, 8192, 256, 512),
)  # fmt: skip
_LARGEST: Final = (16384, 512, 512)
# Tokens of the graphs that prefills are captured at (generate_prefill_cuda_graph_batch_sizes).
_CAPTURED: Final = (
    *range(4, 33, 4), *range(48, 257, 16), *range(288, 513, 32), *range(576, 1025, 64), *range(1280, 4097, 256),
)  # fmt: skip


class Step(Record):
    """Tokens of a prefill step, sequences of the largest decode graph (0: none are captured)."""

    chunk: int
    graph_seqs: int


def step_of(capacity: int, *, ranks: int, chunk: int | None, graph_seqs: int | None, graphs: bool) -> Step:
    """The step's sizes on cards of this capacity (bytes), where they are not given."""
    tier = next(((t[1], t[2], t[3]) for t in _TIERS if capacity < t[0] << 30), _LARGEST)
    seqs = graph_seqs or tier[1 if ranks < 4 else 2]
    return Step(chunk=chunk or tier[0], graph_seqs=seqs if graphs else 0)


def reserved_mib(capacity: int, step: Step, *, ranks: int, latent: bool) -> float:
    """MiB that are kept free of a card of this capacity (bytes)."""
    found = 512 + max(step.chunk, 2048) * 1.5 + ranks / 8 * 1024 + step.graph_seqs * 2
    if step.graph_seqs:
        most = min(8192, step.chunk) if latent else step.chunk
        captured = sum(n <= most for n in _CAPTURED) + len(range(4608, most + 1, 512))
        found += 1536 if latent else captured * 8
    return max(found, 10 * 1024) if capacity > 60 << 30 else found


def fraction_of(capacity: int, step: Step, *, ranks: int, latent: bool) -> float:
    """`--mem-fraction-static` where it is not given: the share for weights and the cache."""
    mib = capacity // MIB
    return round((mib - reserved_mib(capacity, step, ranks=ranks, latent=latent)) / mib, 3)
