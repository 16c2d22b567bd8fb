"""What the layers keep for a number of tokens, before any engine rounds it to pages, cells or blocks."""

from __future__ import annotations

from types import MappingProxyType

from inspector.dtypes import DTYPES
from inspector.errors import WorkloadError
from inspector.layers import CompressedCache, CrossCache, IndexCache, KVCache, LatentCache, StateCache, UnknownCache
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Final

    from inspector.dtypes import Dtype
    from inspector.layers import Cache, Layer

# fmt: off
# The one table of cache precisions: the name people type, the element type it is stored as, other names for it.
_ROWS: Final = (
    ("f32", "F32", ("fp32", "float32")),
    ("f16", "F16", ("fp16", "float16")),
    ("bf16", "BF16", ("bfloat16",)),
    ("fp8", "F8_E4M3", ("fp8_e4m3",)),
    ("fp8_e5m2", "F8_E5M2", ()),
    ("int8", "I8", ()),
    ("q8_0", "Q8_0", ()),
    ("q4_0", "Q4_0", ()),
    ("q4_1", "Q4_1", ()),
    ("q5_0", "Q5_0", ()),
    ("q5_1", "Q5_1", ()),
    ("iq4_nl", "IQ4_NL", ()),
)
# fmt: on
KV_DTYPES: Final[Mapping[str, Dtype]] = MappingProxyType(
    {name: DTYPES[dtype] for first, dtype, others in _ROWS for name in (first, *others)}
)
_OTHERS: Final = MappingProxyType({first: others for first, _, others in _ROWS})


def named_types(names: Iterable[str]) -> dict[str, Dtype]:
    """These rows of the table with their other names: what an engine takes that takes only some."""
    return {n: KV_DTYPES[name] for name in names for n in (name, *_OTHERS[name])}


def kv_dtype(name: str) -> Dtype:
    """The element type behind a cache precision's name. Raises WorkloadError."""
    dtype = KV_DTYPES.get(name.lower())
    if dtype is None:
        raise WorkloadError(f"unknown cache type {name!r}", hint="one of " + ", ".join(sorted(KV_DTYPES)))
    return dtype


def row_nbytes(width: int, dtype: Dtype) -> int:
    """Bytes of `width` elements, the last block filled up."""
    return -(-width // dtype.block_elems) * dtype.block_bytes


def tokens_kept(cache: Cache, n_tokens: int) -> int:
    """How many of `n_tokens` a cache still holds: all of them, or the window's."""
    window = getattr(cache, "window", None)
    return n_tokens if window is None else min(n_tokens, window)


def token_nbytes(cache: Cache, dtype_k: Dtype, dtype_v: Dtype) -> int:
    """Bytes one token adds to one layer's cache; 0 for a state, which does not grow."""
    if isinstance(cache, KVCache):
        return row_nbytes(cache.width_k, dtype_k) + row_nbytes(cache.width_v, dtype_v)
    if isinstance(cache, LatentCache):
        return row_nbytes(cache.width, dtype_k)
    if isinstance(cache, IndexCache):
        return row_nbytes(cache.n_heads * cache.head_dim, dtype_k)
    if isinstance(cache, CrossCache):
        n = cache.n_kv_heads
        return row_nbytes(n * cache.head_dim_k, dtype_k) + row_nbytes(n * cache.head_dim_v, dtype_v)
    return 0


def compressed_nbytes(cache: Cache, n_tokens: int, dtype: Dtype) -> int:
    """Bytes of one vector for every `ratio` tokens; 0 for a cache of any other kind."""
    return n_tokens // cache.ratio * row_nbytes(cache.width, dtype) if isinstance(cache, CompressedCache) else 0


def state_nbytes(cache: Cache) -> int:
    """Bytes of one sequence's state in single precision: K−1 columns and the matrix; what a compressor works with."""
    if isinstance(cache, CompressedCache):
        return 2 * 4 * cache.state_rows * cache.state_width
    if not isinstance(cache, StateCache):
        return 0
    return 4 * (max(cache.conv_kernel - 1, 0) * cache.conv_channels + cache.state_elems)


def cache_nbytes(cache: Cache, n_tokens: int, *, dtype_k: Dtype, dtype_v: Dtype) -> int | None:
    """Bytes of one layer's cache for one sequence of `n_tokens`; None for a kind that is not known."""
    if isinstance(cache, UnknownCache):
        return None
    grown = tokens_kept(cache, n_tokens) * token_nbytes(cache, dtype_k, dtype_v)
    return grown + compressed_nbytes(cache, n_tokens, dtype_k) + state_nbytes(cache)


class CacheSum(Record):
    """Bytes of all layers of one sequence: what grows with context, what does not, and the layers nobody knows."""

    kv_nbytes: int
    state_nbytes: int
    unknown_layers: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Both together."""
        return self.kv_nbytes + self.state_nbytes


def sum_caches(layers: Iterable[Layer], n_tokens: int, *, dtype_k: Dtype, dtype_v: Dtype) -> CacheSum:
    """Bytes that all layers keep for one sequence of `n_tokens`."""
    kv, state, unknown = 0, 0, []
    for layer in layers:
        for cache in layer.caches:
            if isinstance(cache, UnknownCache):
                unknown.append(layer.index)
            elif isinstance(cache, StateCache):
                state += state_nbytes(cache)
            else:
                kv += tokens_kept(cache, n_tokens) * token_nbytes(cache, dtype_k, dtype_v)
                kv += compressed_nbytes(cache, n_tokens, dtype_k)
    return CacheSum(kv, state, tuple(unknown))
