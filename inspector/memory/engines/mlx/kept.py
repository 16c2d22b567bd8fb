"""What each layer's cache keeps in mlx-lm 0.32.2, in bytes: the make_cache of models/*.py over models/cache.py."""

from __future__ import annotations

from inspector.layers import IndexCache, KVCache, LatentCache, StateCache
from inspector.memory.cache import row_nbytes
from inspector.memory.engines.mlx import growth
from inspector.memory.engines.mlx.support import OWN_CACHE, module_of
from inspector.memory.engines.shared.kv_options import config_value
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from inspector.dtypes import Dtype
    from inspector.facts import ModelFacts
    from inspector.layers import Cache, Layer

# make_cache gives a RotatingKVCache to layers that slide; every other type keeps all tokens and masks them.
_ROTATING: Final = """
afmoe cohere2 exaone4 exaone_moe gear gemma3 gemma3_text gemma3n gemma4 gemma4_text gpt_oss laguna mellum mimo_v2_flash
ministral3 muse_glimmer muse_spark olmo3 plamo3 recurrent_gemma spark2_5 step3p5
"""
_ROTATES: Final = frozenset(_ROTATING.split())
_ROTATES_LISTED: Final = frozenset({"llama"})  # where `layer_types` says so: llama.py, and Mistral through it
# Types whose attention expands latents to every head before it caches them.
EXPANDS: Final = frozenset({"deepseek_v2", "minicpm3", "youtu_llm"})
# Cached in ways that no rule here follows.
_OTHERWISE: Final = frozenset(
    {
        "afm7",
        "deepseek_v41",
        "iquestloopcoder",
        "longcat_flash_ngram",
        "nanbeige",
        "minimax_m3_vl",
        "baichuan_m1",
        "bailing_hybrid",
    }
)
# Types with recurrent layers: nothing is said of one whose states are not known.
_STATES: Final = """
bailing_hybrid bailing_moe_linear bailing_moe_v3 falcon_h1 gear granitemoehybrid jamba kimi_k3 kimi_linear lfm2 lfm2-vl
lfm2_moe mamba mamba2 nemotron_h olmo_hybrid plamo2 prism_hadamard_qwen35 qwen3_5 qwen3_5_moe qwen3_next
recurrent_gemma rwkv7
"""
_RECURRENT: Final = frozenset(_STATES.split())
# Recurrent states: those in float32 whatever the model, those in its own type; convolutions keep K−1 columns of it.
_FLOAT32_STATES: Final = frozenset({"gdn", "mamba2", "kda"})
_OWN_STATES: Final = frozenset({"mamba1", "shortconv", "rglru"})
# Attention of these takes no quantised keys: it has sinks, or computes on the cached arrays itself.
_PLAIN_KEYS: Final = frozenset(
    {"gpt_oss", "mimo_v2_flash", "gemma2", "phi", "phixtral", "phi3small", "stablelm", "plamo2", "gear", "olmo"}
)


class Setup(Record):
    """The settings that bytes depend on. `elem`: bytes of the compute dtype; `dtype`: the same by name.

    `bits` (None: not quantised), `group`: of cached keys and values, from the token `start` on; `max_kv_size`: the most
    tokens kept by models that make no cache of their own (None: all).
    """

    n_seqs: int
    fed: growth.Fed
    dtype: Dtype
    bits: int | None = None
    group: int = 64
    start: int = 0
    max_kv_size: int | None = None

    @property
    def elem(self) -> int:
        """Bytes of an element."""
        return row_nbytes(1, self.dtype)

    @property
    def quantises(self) -> bool:
        """Whether a cache that can be quantised has been by the last token."""
        return self.bits is not None and self.fed.tokens >= self.start


class Kept(Record):
    """One cache of one layer for all sequences: its class, bytes in the end and at its largest, rows it holds.

    `kind` "state": `rows` is None.
    """

    kind: str
    nbytes: int
    peak: int
    rows: int | None
    quantised: bool = False


class Refusal(Record):
    """Why mlx-lm would stop at this cache, and what to do."""

    why: str
    hint: str = "leave --kv-bits out"


def unread(facts: ModelFacts) -> str:
    """Why nothing is said of this model's caches; "" where rules hold."""
    module = module_of(facts)
    stateless = not any(isinstance(c, StateCache) for layer in facts.layers for c in layer.caches)
    odd = module in _OTHERWISE or (module in _RECURRENT and stateless)
    return f"how mlx-lm caches {module} was not derived" if odd else ""


def _window(facts: ModelFacts, cache: KVCache | LatentCache) -> int | None:
    """The window that the cache is cut to; None where it keeps all tokens."""
    module = module_of(facts)
    listed = module in _ROTATES_LISTED and config_value(facts, "layer_types") is not None
    return cache.window if module in _ROTATES or listed else None


def _width(dim: int, n_heads: int, s: Setup, *, quantised: bool) -> int:
    """Bytes of one token's keys or values: packed to words of 32 bits, a scale and a bias a group (mx.quantize)."""
    if not quantised or s.bits is None:
        return n_heads * dim * s.elem
    return n_heads * (dim * s.bits // 8 + 2 * (dim // s.group) * s.elem)


def _parts(facts: ModelFacts, layer: Layer, cache: Cache) -> tuple[tuple[int, int], ...] | None:
    """(heads, elements a head) of keys and of values; None for a kind that is not known."""
    if isinstance(cache, KVCache):
        return (cache.n_kv_heads, cache.head_dim_k), (cache.n_kv_heads, cache.head_dim_v)
    if isinstance(cache, IndexCache):
        return ((cache.n_heads, cache.head_dim),) * 2  # values are zeros, as wide as the keys
    if not isinstance(cache, LatentCache):
        return None
    if module_of(facts) not in EXPANDS:
        return (1, cache.rank), (1, cache.rope_dim)
    nope, v_dim = config_value(facts, "qk_nope_head_dim"), config_value(facts, "v_head_dim")
    heads = layer.n_heads or facts.n_heads
    if not (isinstance(nope, int) and isinstance(v_dim, int) and heads):
        return None
    return (heads, nope + cache.rope_dim), (heads, v_dim)


def _why_plain(facts: ModelFacts, parts: tuple[tuple[int, int], ...], cache: Cache, s: Setup) -> str:
    """Why the cache cannot be quantised; "" where it can."""
    module = module_of(facts)
    if isinstance(cache, LatentCache) and module not in EXPANDS:
        return "it does not quantise latent caches"
    if module in _PLAIN_KEYS:
        return f"attention of {module} takes no quantised cache"
    odd = next((dim for _, dim in parts if s.group not in (32, 64, 128) or dim % s.group), None)
    return f"groups of {s.group} do not divide heads of {odd} (--kv-group-size 32, 64 or 128)" if odd else ""


def _state(cache: StateCache, s: Setup) -> Kept | None:
    if cache.kind not in _FLOAT32_STATES | _OWN_STATES:
        return None
    columns = (
        cache.conv_kernel if cache.kind == "rglru" else max(cache.conv_kernel - 1, 0)
    )  # its taps beside the newest
    conv = columns * cache.conv_channels * s.elem
    nbytes = s.n_seqs * (conv + cache.state_elems * (4 if cache.kind in _FLOAT32_STATES else s.elem))
    return Kept(cache.kind, nbytes, nbytes, None)


def kept(facts: ModelFacts, layer: Layer, cache: Cache, s: Setup) -> Kept | Refusal | None:
    """What one cache of one layer comes to; None for a kind that is not known."""
    if isinstance(cache, StateCache):
        return _state(cache, s)
    parts = _parts(facts, layer, cache)
    if parts is None:
        return None
    lists = len(layer.caches) > 1  # a CacheList is never quantised
    kind, rows, most = _rows(facts, cache, s)
    if kind == "chunked" and s.n_seqs > 1:
        return Refusal("it does not batch chunked caches", "-np 1")
    quantised = s.quantises and not lists and kind != "chunked"
    if quantised and kind == "rotating":
        return Refusal("it cannot quantise the caches of sliding layers")
    if quantised and (why := _why_plain(facts, parts, cache, s)):
        return Refusal(why)
    width = s.n_seqs * sum(_width(dim, heads, s, quantised=quantised) for heads, dim in parts)
    peak = width * most
    if quantised:  # all of it as it is, up to the pass after which it is quantised
        before = s.fed.replace(tokens=min(max(s.start, min(s.fed.step, s.fed.prompt)), s.fed.tokens))
        plain = s.n_seqs * sum(_width(dim, heads, s, quantised=False) for heads, dim in parts)
        peak = max(peak, plain * growth.plain(before.replace(prompt=before.tokens)))
    return Kept(kind, width * rows, peak, rows, quantised)


def _rows(facts: ModelFacts, cache: Cache, s: Setup) -> tuple[str, int, int]:
    """(class of the cache, rows it holds in the end, rows at its largest)."""
    window = _window(facts, cache) if isinstance(cache, (KVCache, LatentCache)) else None
    if isinstance(cache, KVCache) and cache.chunked and cache.window and module_of(facts) == "llama4":
        return "chunked", *growth.chunked(s.fed, cache.window)
    if s.max_kv_size and module_of(facts) not in OWN_CACHE:
        window = s.max_kv_size
    if window is not None:
        return "rotating", *growth.rotating(s.fed, max(window, 1))
    rows = growth.plain(s.fed)
    return "full", rows, rows
