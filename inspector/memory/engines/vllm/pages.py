"""vLLM's paged KV cache: what a page of each layer costs, how layers are grouped, how many blocks a request claims.

Rules of vLLM 0.33.0: v1/kv_cache_interface.py (pages, admission caps), v1/core/kv_cache_planning.py (groups),
platforms/interface.py (block sizes of attention beside Mamba), layers/mamba/mamba_utils.py (state shapes).
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf_lookup import find
from inspector.errors import WorkloadError
from inspector.layers import CompressedCache, CrossCache, IndexCache, KVCache, LatentCache, StateCache
from inspector.memory.cache import kv_dtype, row_nbytes
from inspector.memory.engines.shared.kv_options import config_value, with_options
from inspector.record import Record
from inspector.units import format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Final

    from inspector.facts import ModelFacts
    from inspector.layers import Cache, Layer
    from inspector.memory.estimate import Workload

DEFAULT_BLOCK: Final = 16  # config/cache.py DEFAULT_BLOCK_SIZE
MLA_BLOCK: Final = 64  # FlashMLA's only page size
# Bytes a token of one latent layer, scales and padding included (layers/attention/mla_attention.py).
MLA_LAYOUTS: Final[Mapping[str, int]] = MappingProxyType({"fp8_ds_mla": 656, "nvfp4_ds_mla": 352})
PER_TOKEN_HEAD_SCALES: Final = 8  # two float32 a token and head: one for K, one for V


class Setup(Record):
    """The settings that pages depend on. Tokens; `in_flight`: scheduled but not yet settled;
    `spec_tokens`: predicted ahead, for which states are kept."""

    max_model_len: int
    in_flight: int
    block_size: int | None = None
    kv_dtype: str = "auto"
    model_dtype: str = "bfloat16"
    ssm_dtype: str = "auto"
    tp: int = 1
    prefix_caching: bool = True
    hybrid_manager: bool = True
    encoder_tokens: int = 0
    spec_tokens: int = 0


class Spec(Record):
    """One cache of one layer: kind (full, sliding, chunked, mamba, cross), tokens a block, bytes a page.

    `mla`: a latent or an indexer's keys, whose page cannot be padded; `shape` keeps apart what vLLM's specs keep apart;
    `layer`: whose cache it is, which no comparison minds.
    """

    kind: str
    block: int
    page: int
    window: int | None = None
    mla: bool = False
    shape: tuple[object, ...] = ()
    layer: int = -1


class Group(Record):
    """Layers that share one block table: `page` is that of one layer, all layers of the group for mixed sizes."""

    kind: str
    n_layers: int
    block: int
    page: int
    n_blocks: int


class Plan(Record):
    """What the planner decides: groups, bytes of one block of the pool, blocks and bytes of one longest request.

    `members`: the caches of each group.
    """

    groups: tuple[Group, ...]
    bytes_per_block: int
    blocks_one_req: int
    block_size: int
    notes: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    members: tuple[tuple[Spec, ...], ...] = ()

    def block_of(self, first: int, stop: int) -> int:
        """Bytes that one block takes on a pipeline stage with these layers: its largest group (one alone: all of it).

        Groups are those of the whole model, each cut to the stage (v1/core/kv_cache_planning.py).
        """
        sizes = [sum(p.page for p in group if first <= p.layer < stop) for group in self.members]
        return max(sizes, default=0)

    @property
    def bytes_one_req(self) -> int:
        """Bytes that one request of `max_model_len` tokens claims."""
        return self.bytes_per_block * self.blocks_one_req


def _cdiv(a: int, b: int) -> int:
    return -(-a // b)


def _share(n_heads: int, tp: int) -> int:
    """Heads of one rank: split while they last, then replicated (config/model.py get_num_kv_heads)."""
    return max(1, n_heads // tp)


def _kv_token(cache: KVCache | CrossCache, s: Setup) -> int:
    """Bytes of one token's keys and values on one rank, by cache precision."""
    heads, k, v = _share(cache.n_kv_heads, s.tp), cache.head_dim_k, cache.head_dim_v
    name = s.kv_dtype
    if name.endswith("_per_token_head"):
        packed = (k // 2 + v // 2) if name.startswith("int4") else (k + v)
        return heads * (packed + PER_TOKEN_HEAD_SCALES)
    if name == "nvfp4":
        return heads * (k // 2 + k // 16 + v // 2 + v // 16)
    dtype = kv_dtype(s.model_dtype if name == "auto" else name)
    return row_nbytes(heads * k, dtype) + row_nbytes(heads * v, dtype)


def _latent_token(cache: LatentCache, s: Setup, *, indexed: bool) -> int:
    """Bytes of one token's latent: the same on every rank. Sparse MLA with any fp8 uses its own 656-byte layout."""
    if s.kv_dtype in MLA_LAYOUTS:
        return MLA_LAYOUTS[s.kv_dtype]
    if indexed and s.kv_dtype.startswith("fp8"):
        return MLA_LAYOUTS["fp8_ds_mla"]
    return row_nbytes(cache.width, kv_dtype(s.model_dtype if s.kv_dtype == "auto" else s.kv_dtype))


# The precision of a state's matrix when `--mamba-ssm-cache-dtype` is auto, where it is not the model's own.
_FLOAT_STATES: Final = frozenset({"kda"})


def _state_page(cache: StateCache, s: Setup, facts: ModelFacts) -> int:
    """Bytes of one sequence's state on one rank: K−1 columns of the convolution, and the matrix."""
    columns = (max(cache.conv_kernel - 1, 0) + s.spec_tokens) * _conv_channels(cache, s, facts) // s.tp
    conv = columns * row_nbytes(1, kv_dtype(s.model_dtype))
    return conv + cache.state_elems // s.tp * row_nbytes(1, kv_dtype(_ssm_dtype(cache, s, facts)))


def _ssm_dtype(cache: StateCache, s: Setup, facts: ModelFacts) -> str:
    """`auto` is the model's dtype, but for KDA (float32) and models whose config names one (models/config.py)."""
    if s.ssm_dtype != "auto":
        return s.ssm_dtype
    if cache.kind in _FLOAT_STATES:
        return "float32"
    record = find(facts.arch)
    if record is None or record.vllm_state_dtype is None:
        return s.model_dtype
    key, default = record.vllm_state_dtype
    return str(config_value(facts, key) or default or s.model_dtype)


def _conv_channels(cache: StateCache, s: Setup, facts: ModelFacts) -> int:
    """Mamba 2 groups are repeated until every rank has whole ones (extra_groups_for_head_shards)."""
    groups = config_value(facts, "mamba_n_groups", "n_groups") if cache.kind == "mamba2" else None
    state = config_value(facts, "mamba_d_state", "ssm_state_size", "state_size")
    if not isinstance(groups, int) or not isinstance(state, int) or groups % s.tp == 0:
        return cache.conv_channels
    return cache.conv_channels + 2 * max(s.tp - groups, 0) * state


def _attention_kind(cache: KVCache | LatentCache, s: Setup) -> str:
    if cache.window is None or not s.hybrid_manager:
        return "full"
    return "chunked" if getattr(cache, "chunked", False) else "sliding"


def _index_token(cache: IndexCache, facts: ModelFacts) -> int:
    """Bytes of one token's indexer keys; 0 where vLLM keeps no pages of them, or none that are known.

    DeepSeek's classes, which GLM's models share: a byte an element, and a float32 scale for every 128
    (models/deepseek_v2.py). MiniMax-M3: bfloat16 (models/minimax_m3/common/indexer.py).
    """
    record = find(facts.arch)
    packed = facts.arch.startswith(("deepseek", "glm"))  # GGUF's names, which have no record
    how = record.vllm_indexer if record else "packed" if packed else ""
    plain = row_nbytes(cache.head_dim, kv_dtype("bf16"))
    packings = {"packed": cache.head_dim + cache.head_dim // 128 * 4, "plain": plain}
    return cache.n_heads * packings.get(how, 0)


def _spec(cache: Cache, s: Setup, facts: ModelFacts, *, block: int, mamba_page: int, indexed: bool) -> Spec | None:
    """One cache as vLLM's spec; None for a kind that it keeps no pages of or that is not known."""
    if isinstance(cache, KVCache):
        shape = (_share(cache.n_kv_heads, s.tp), cache.head_dim_k, cache.head_dim_v)
        window = cache.window if s.hybrid_manager else None
        return Spec(_attention_kind(cache, s), block, block * _kv_token(cache, s), window, shape=shape)
    if isinstance(cache, LatentCache):
        token = _latent_token(cache, s, indexed=indexed)
        kind = _attention_kind(cache, s)
        return Spec(kind, block, block * token, cache.window, mla=True, shape=("latent", cache.width))
    if isinstance(cache, IndexCache) and (token := _index_token(cache, facts)):
        return Spec("full", block, block * token, mla=True, shape=("index", cache.head_dim))
    if isinstance(cache, StateCache):
        raw = _state_page(cache, s, facts)
        return Spec("mamba", block, max(raw, mamba_page), shape=(cache.kind, cache.conv_channels, cache.state_elems))
    if isinstance(cache, CrossCache):
        return Spec("cross", block, block * _kv_token(cache, s), shape=(cache.n_kv_heads, cache.head_dim_k))
    return None


def _block_size(caches: Sequence[Cache], s: Setup, facts: ModelFacts) -> int:
    if s.block_size is not None:
        return s.block_size
    record = find(facts.arch)
    if record and record.vllm_block and any(isinstance(c, IndexCache) for c in caches):
        return record.vllm_block
    return MLA_BLOCK if any(isinstance(c, LatentCache) for c in caches) else DEFAULT_BLOCK


def _hybrid_blocks(caches: Sequence[Cache], s: Setup, facts: ModelFacts) -> tuple[int, int]:
    """(tokens a block, bytes a Mamba page is padded to); the padding is 0 without attention beside Mamba.

    An attention page must hold a Mamba page: the block grows in steps of the kernel's (MLA: at least 128).
    """
    block = _block_size(caches, s, facts)
    states = [c for c in caches if isinstance(c, StateCache)]
    attention = [c for c in caches if isinstance(c, (KVCache, LatentCache))]
    if not states or not attention:
        return block, 0
    mla = any(isinstance(c, LatentCache) for c in attention)
    first = attention[0]
    token = _latent_token(first, s, indexed=False) if isinstance(first, LatentCache) else _kv_token(first, s)
    if not token:
        raise WorkloadError("vLLM cannot page an attention cache whose tokens take no bytes")
    step = max(block, 128) if mla else block
    page = max(_state_page(c, s, facts) for c in states)
    block = max(block, step * _cdiv(page, step * token))
    return block, block * token


def layer_specs(facts: ModelFacts, s: Setup, workload: Workload) -> tuple[list[Spec], list[str], list[str]]:
    """Every layer's specs in order (attention before the state of the same layer), what changed, what is unknown."""
    layers: list[tuple[Layer, list[Cache]]] = []
    said: list[str] = []
    for layer in facts.layers:
        mine = []
        for cache in layer.caches:
            changed, words = with_options(cache, workload)
            said += [words] * bool(words)
            mine.append(changed)
        layers.append((layer, sorted(mine, key=lambda c: isinstance(c, StateCache))))
    every = [c for _, mine in layers for c in mine]
    block, mamba_page = _hybrid_blocks(every, s, facts)
    specs: list[Spec] = []
    unknown: list[str] = []
    for layer, mine in layers:
        indexed = any(isinstance(c, IndexCache) for c in mine)
        for cache in mine:
            spec = _spec(cache, s, facts, block=block, mamba_page=mamba_page, indexed=indexed)
            if spec is None or (isinstance(cache, StateCache) and cache.kind == "rwkv"):
                unknown.append(f"layer {layer.index}: {getattr(cache, 'kind', type(cache).__name__)} cache")
            else:
                specs.append(spec.replace(layer=layer.index))
        if layer.kind == "unknown" and not mine:
            unknown.append(f"layer {layer.index}: {layer.kind}")
    return specs, sorted(set(said)), unknown


def _sliding_blocks(p: Spec, s: Setup) -> int:
    # one more, because a window may begin in the middle of a block
    return _cdiv(min((p.window or 1) - 1 + s.in_flight, s.max_model_len), p.block) + 1


_BLOCKS: Final[Mapping[str, Callable[[Spec, Setup], int]]] = MappingProxyType(
    {
        "full": lambda p, s: _cdiv(s.max_model_len, p.block),
        "sliding": _sliding_blocks,
        "chunked": lambda p, s: _cdiv(min((p.window or 0) + s.in_flight, s.max_model_len), p.block),
        "mamba": lambda _, s: (
            (2 if s.prefix_caching else 1) + s.spec_tokens
        ),  # "align" keeps the last block's state beside this one's
        "cross": lambda p, s: _cdiv(s.encoder_tokens, p.block),
    }
)


def request_blocks(spec: Spec, s: Setup) -> int:
    """Blocks that one request of `max_model_len` tokens claims for one layer of this kind."""
    return _BLOCKS[spec.kind](spec, s)


def _uniform(specs: Sequence[Spec]) -> bool:
    """Whether one block table serves all: the same kind, window and block; a Mamba page also the same size."""
    first = specs[0]
    if first.kind == "cross":
        return all(p.replace(layer=first.layer) == first for p in specs)
    return all(
        (p.kind, p.block) == (first.kind, first.block)
        and (p.kind == "full" or p.window == first.window)
        and (p.kind != "mamba" or p.page == first.page)
        for p in specs
    )


def _unify_pages(specs: Sequence[Spec]) -> list[Spec]:
    """Every page as large as the largest: a bigger block where that divides, padding where it may. WorkloadError."""
    top = max(p.page for p in specs)
    unified = []
    for p in specs:
        if p.page == top:
            unified.append(p)
        elif p.kind != "mamba" and top % p.page == 0:
            unified.append(p.replace(block=p.block * (top // p.page), page=top))
        elif p.mla:
            raise WorkloadError("vLLM cannot give latent layers the page size of the model's other layers")
        else:
            unified.append(p.replace(page=top))
    return unified


def _buckets(specs: Sequence[Spec]) -> list[list[Spec]]:
    """Layers by spec, in order of first appearance; full layers differ by nothing but their shape."""
    found: dict[Spec, list[Spec]] = {}
    for p in specs:
        key = p.replace(window=None if p.kind == "full" else p.window, layer=-1)
        found.setdefault(key, []).append(p)
    return list(found.values())


def _hybrid_groups(specs: Sequence[Spec], s: Setup) -> tuple[list[Group], int, tuple[tuple[Spec, ...], ...]]:
    """Groups of equal size, short ones padded with layers that hold nothing; they share one pool of blocks."""
    buckets = _buckets(_unify_pages(specs))
    small, large = min(map(len, buckets)), max(map(len, buckets))
    size = large if large < small * 1.5 else small
    groups, members = [], []
    for bucket in buckets:
        n, p = _cdiv(len(bucket), size), bucket[0]
        members += [tuple(bucket[i::n]) for i in range(n)]
        groups += [Group(p.kind, len(bucket[i::n]), p.block, p.page, request_blocks(p, s)) for i in range(n)]
    return groups, size * buckets[0][0].page, tuple(members)


def _all_full(specs: Sequence[Spec]) -> list[Spec]:
    """Sliding layers as full ones, where latents allow no common page: vLLM's way with a sliding draft beside MLA."""
    sliding = [p for p in specs if p.kind == "sliding"]
    if not sliding or any(p.kind not in ("full", "sliding") or (p.mla and p.kind == "sliding") for p in specs):
        return list(specs)
    return [p.replace(kind="full", window=None) if p.kind == "sliding" else p for p in specs]


def _fits_one_page(specs: Sequence[Spec]) -> bool:
    top = max(p.page for p in specs)
    return not any(p.mla and top % p.page for p in specs)


def _packed(layers: Sequence[Layer], s: Setup) -> Plan:
    """Nothing of pages that no rule lays out, and what they are unlikely to exceed: every token uncompressed."""
    widths = [c.width for layer in layers for c in layer.caches if isinstance(c, LatentCache | CompressedCache)]
    most = s.max_model_len * sum(widths) * row_nbytes(1, kv_dtype("bf16"))
    words = f"one uncompressed vector of every token in each of their parts would take {format_nbytes(most)} a request"
    unknown = f"compressed caches of {len(layers)} layers"
    said = f"{unknown}: {words}; no more is likely"
    return Plan((), 0, 0, s.block_size or DEFAULT_BLOCK, notes=(said,), unknown=(unknown,))


def plan(facts: ModelFacts, s: Setup, workload: Workload) -> Plan:
    """How vLLM lays out the cache of these layers. Bytes are of one rank. Raises WorkloadError."""
    specs, said, unknown = layer_specs(facts, s, workload)
    packed = [layer for layer in facts.layers if any(isinstance(c, CompressedCache) for c in layer.caches)]
    if packed:  # pages of many sizes side by side in one block (models/deepseek_v4/, kv_cache_planning.py)
        return _packed(packed, s)
    if not specs:
        return Plan((), 0, 0, s.block_size or DEFAULT_BLOCK, unknown=tuple(unknown))
    if not _uniform(specs) and not _fits_one_page(specs):
        specs = _all_full(specs)
    first = specs[0]
    notes = tuple(said)
    if _uniform(specs):
        per_block = sum(p.page for p in specs)
        page = first.page if all(p.page == first.page for p in specs) else per_block
        blocks = max(request_blocks(p, s) for p in specs)
        group = Group(first.kind, len(specs), first.block, page, blocks)
        return Plan((group,), per_block, blocks, first.block, notes, tuple(unknown), (tuple(specs),))
    groups, per_block, members = _hybrid_groups(specs, s)
    if len({p.page for p in specs}) > 1:
        notes = (*notes, "pages of different sizes: a layout that packs them (VLLM_KV_CACHE_LAYOUT) needs less")
    blocks = sum(g.n_blocks for g in groups)
    return Plan(tuple(groups), per_block, blocks, first.block, notes, tuple(unknown), members)
