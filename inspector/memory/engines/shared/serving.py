"""What SGLang and TensorRT-LLM set aside for their caches: pools sized from the GPU, over the same bytes a token.

Both keep what vLLM keeps for a token (a latent and its rotary part on every rank, key-value heads split), so the
question that differs is how large the pool is. Rules: SGLang's server_args.py (mem_fraction_static);
TensorRT-LLM's reference/memory page (free_gpu_memory_fraction). Read, not measured.
"""

from __future__ import annotations

from inspector.errors import WorkloadError
from inspector.record import Record
from inspector.units import GIB, MIB, format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

SGLANG_FRACTION: Final = 0.88
TENSORRT_FRACTION: Final = 0.9


class Pool(Record):
    """A cache pool: bytes, the tokens that fit, and how the size came about."""

    nbytes: int
    n_tokens: int
    how: str
    grade: str = "modelled"


def _tokens(nbytes: int, token_nbytes: int) -> int:
    if token_nbytes < 1:
        raise WorkloadError("a token must take at least one byte")
    return max(nbytes, 0) // token_nbytes


def sglang_reserve(
    gpu_nbytes: int,
    *,
    chunked_prefill: int = 8192,
    cuda_graph_max_bs: int = 160,
    ranks: int = 1,
    dp_attention: int = 0,
    speculative: str = "",
) -> int:
    """Bytes that SGLang keeps free of weights and cache when `--mem-fraction-static` is not given (server_args.py).

    `ranks`: tensor × pipeline parallel; `dp_attention`: data-parallel ranks with attention split by data;
    `speculative`: "" (none), "standalone" or another algorithm's name.
    """
    mib = 512 + max(chunked_prefill, 2048) * 1.5 + cuda_graph_max_bs * 2 + ranks / 8 * 1024
    if dp_attention:
        factor = 1.5 if cuda_graph_max_bs > 300 else 0
        mib += cuda_graph_max_bs * dp_attention * (3 + factor)
    if gpu_nbytes > 60 * GIB:
        mib = max(mib, 10 * 1024)
    if speculative:
        mib += 6 * 1024 if speculative.lower() == "standalone" else 2 * 1024
    return int(mib * MIB)


def sglang_pool(
    gpu_nbytes: int,
    weights_nbytes: int,
    token_nbytes: int,
    *,
    mem_fraction_static: float | None = None,
    reserve: int = 0,
) -> Pool:
    """SGLang's cache on one rank: the static fraction of the GPU, weights taken off. Bytes.

    `reserve`: what sglang_reserve says, for the fraction that SGLang picks by itself (rounded to thousandths).
    Raises WorkloadError for a fraction outside 0..1.
    """
    fraction = mem_fraction_static
    if fraction is None:
        fraction = round((gpu_nbytes - reserve) / gpu_nbytes, 3) if reserve and gpu_nbytes > 0 else SGLANG_FRACTION
    if not 0 < fraction < 1:
        raise WorkloadError(f"mem_fraction_static is {fraction}; it must lie between 0 and 1")
    pool = max(0, int(gpu_nbytes * fraction) - weights_nbytes)
    how = f"mem_fraction_static {fraction} of {format_nbytes(gpu_nbytes)}, less weights {format_nbytes(weights_nbytes)}"
    return Pool(pool, _tokens(pool, token_nbytes), how)


def tensorrt_pool(
    gpu_nbytes: int,
    used_nbytes: int,
    token_nbytes: int,
    *,
    free_gpu_memory_fraction: float = TENSORRT_FRACTION,
    max_tokens: int | None = None,
) -> Pool:
    """TensorRT-LLM's cache on one rank: a fraction of what is free after weights and activations. Bytes.

    `used_nbytes`: weights, activation buffers (fixed when the engine is built) and the CUDA context; `max_tokens` caps
    the pool. Raises WorkloadError for a fraction outside 0..1.
    """
    if not 0 < free_gpu_memory_fraction <= 1:
        raise WorkloadError(f"free_gpu_memory_fraction is {free_gpu_memory_fraction}; it must be above 0, at most 1")
    free = max(0, gpu_nbytes - used_nbytes)
    pool = int(free * free_gpu_memory_fraction)
    n = _tokens(pool, token_nbytes)
    how = f"{free_gpu_memory_fraction} of {format_nbytes(free)} free after weights and buffers"
    if max_tokens is not None and max_tokens < n:
        n, pool, how = max_tokens, max_tokens * token_nbytes, f"{how}, capped at {max_tokens:,} tokens"
    return Pool(pool, n, how)
