"""Every cache tensor that llama.cpp allocates, layer by layer.

Sources (b11434): src/llama-kv-cache.cpp, -iswa.cpp, -dsa.cpp, -msa.cpp, -dsv4.cpp, src/llama-memory-recurrent.cpp,
`llama_model::create_memory` in src/llama-model.cpp.
"""

from __future__ import annotations

from inspector.errors import FormatError, WorkloadError
from inspector.layers import CompressedCache, IndexCache, KVCache, LatentCache, StateCache
from inspector.memory.engines.llamacpp.backends import HOST_BACKEND, backend
from inspector.memory.engines.llamacpp.sizes import CELLS_PAD, swa_cells
from inspector.record import Record
from inspector.units import pad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from inspector.dtypes import Dtype
    from inspector.facts import ModelFacts
    from inspector.layers import Cache, Layer
    from inspector.memory.devices.placement import Assignment
    from inspector.memory.engines.llamacpp.backends import Backend
    from inspector.memory.engines.llamacpp.sizes import Sizes

F32_BYTES: Final = 4


class Block(Record):
    """What one layer stores in one cache: bytes, and how they come about.

    `cache`: kv (all tokens), swa (a window of them), lid (indexer keys), csa and hca (compressed tokens), rs
    (recurrent state), comp (a compressor's state). `cells`: tokens a stream has room for; `cell_nbytes`: bytes each.
    """

    layer: int
    cache: str
    nbytes: int
    cells: int
    streams: int
    cell_nbytes: int

    @property
    def what(self) -> str:
        """Which part of an estimate it belongs to."""
        return "recurrent_state" if self.cache in {"rs", "comp"} else "kv_cache"


def cache_blocks(facts: ModelFacts, sizes: Sizes, assignment: Assignment | None = None) -> tuple[Block, ...]:
    """All cache blocks, in layer order, as they lie where `assignment` puts them (None: on the host).

    Unknown kinds are left out. Raises WorkloadError.
    """
    layers = (*facts.layers, *facts.nextn_layers)
    if any(isinstance(c, CompressedCache) for x in layers for c in x.caches):
        sizes = sizes.replace(n_streams=sizes.n_seqs, kv_unified=False)  # llama-kv-cache-dsv4.cpp: never unified
    padded_v = max(((x.head_dim_v or 0) * (x.n_kv_heads or 0) for x in layers), default=0)

    def holder(layer: Layer) -> Backend:
        if assignment is None:
            return HOST_BACKEND
        return backend(assignment.backend_of(assignment.cache_device(layer.index)))

    return tuple(
        block for x in layers if x.caches for at in (holder(x),) for c in x.caches
        for block in _blocks(x, c, sizes, padded_v, at)
    )  # fmt: skip


def _blocks(layer: Layer, cache: Cache, sizes: Sizes, padded_v: int, at: Backend) -> tuple[Block, ...]:
    if isinstance(cache, StateCache):
        return (_state(layer, cache, sizes, at),)
    if isinstance(cache, CompressedCache):
        return _compressed(layer, cache, sizes, at)
    if isinstance(cache, KVCache):
        # without flash attention V is stored transposed, and rows of all layers get the widest layer's width
        width_v = cache.width_v if sizes.flash_attn else padded_v
        return (_tokens(layer, _name(cache.window), _cells(cache.window, sizes), (cache.width_k, width_v), sizes, at),)
    if isinstance(cache, LatentCache):
        return (_tokens(layer, _name(cache.window), _cells(cache.window, sizes), (cache.width, 0), sizes, at),)
    if isinstance(cache, IndexCache):
        width_k = cache.n_heads * cache.head_dim
        return (_tokens(layer, "lid", sizes.n_ctx_seq, (width_k, cache.head_dim_v), sizes, at),)
    return ()  # cross attention reads the encoder's output, which is no cache here; unknown kinds claim nothing


def _name(window: int | None) -> str:
    return "kv" if window is None else "swa"


def _cells(window: int | None, sizes: Sizes) -> int:
    """Tokens a stream has room for: the context, or the window and one micro-batch of each sequence in it."""
    if window is None or sizes.swa_full:
        return sizes.n_ctx_seq
    n_windows = sizes.n_seqs if sizes.kv_unified else 1
    return swa_cells(window, n_ctx_seq=sizes.n_ctx_seq, n_windows=n_windows, n_ubatch=sizes.n_ubatch)


def _tokens(  # noqa: PLR0917 - one call a cache
    layer: Layer, name: str, cells: int, widths: tuple[int, int], sizes: Sizes, at: Backend
) -> Block:
    types = (sizes.type_k, sizes.type_v)
    rows = [_row(width, dtype) for width, dtype in zip(widths, types, strict=True)]
    nbytes = sum(
        at.allocated(row * cells * sizes.n_streams, width, (dtype.block_elems, dtype.block_bytes)) if row else 0
        for row, width, dtype in zip(rows, widths, types, strict=True)
    )
    return Block(layer.index, name, nbytes, cells, sizes.n_streams, sum(rows))


def _row(width: int, dtype: Dtype) -> int:
    try:
        return dtype.row_nbytes(width)
    except FormatError as error:
        raise WorkloadError(f"llama.cpp aborts: {error}") from None


def _state(layer: Layer, cache: StateCache, sizes: Sizes, at: Backend) -> Block:
    """Always single precision, a row for each sequence and each token it may go back by, whatever the context."""
    columns = cache.conv_channels * max(cache.conv_kernel - 1, 0)
    parts = [n * F32_BYTES for n in (columns, cache.state_elems)]
    rows = sizes.n_seqs * (1 + sizes.n_rs_seq)
    nbytes = sum(pad(part * rows, at.alignment) for part in parts)
    return Block(layer.index, "rs", nbytes, sizes.n_seqs, 1, sum(parts))


def _compressed(layer: Layer, cache: CompressedCache, sizes: Sizes, at: Backend) -> tuple[Block, ...]:
    """deepseek4: one vector every `ratio` tokens, and the state that makes them; never shared among sequences."""
    cells = pad(max(1, -(-sizes.n_ctx_seq // cache.ratio)), CELLS_PAD)
    row = _row(cache.width, sizes.type_k)
    block = (sizes.type_k.block_elems, sizes.type_k.block_bytes)
    nbytes = at.allocated(row * cells * sizes.n_seqs, cache.width, block)
    state, rows = cache.state_width * cache.state_rows * F32_BYTES, sizes.n_seqs * (1 + sizes.n_rs_seq)
    return (
        Block(layer.index, cache.kind, nbytes, cells, sizes.n_seqs, row),
        Block(layer.index, "comp", 2 * pad(state * rows, at.alignment), sizes.n_seqs, 1, 2 * state),
    )
