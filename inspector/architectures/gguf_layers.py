"""GGUF keys → one `Layer` a block, by the rules of llama.cpp b11434.

Sources: `llama_model_base::load_hparams` and each model's `load_arch_hparams` (src/llama-model.cpp, src/models/*.cpp)
for the numbers, `llama_model::create_memory` for which layer gets which cache, src/llama-hparams.cpp for widths.
"""

from __future__ import annotations

from inspector.architectures.gguf import Arch
from inspector.architectures.gguf_keys import MAX_LAYERS, Keys
from inspector.errors import FactsError
from inspector.layers import (
    Cache,
    CompressedCache,
    IndexCache,
    KVCache,
    LatentCache,
    Layer,
    Refused,
    StateCache,
    UnknownCache,
)
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Final

GENERIC: Final = Arch("", "generic", "")


class Numbers(Record):
    """Per-layer numbers as llama.cpp holds them; `n_all` counts the multi-token prediction layers, `n_main` does not.

    `k_full`, `v_full`, `k_swa`, `v_swa`: head sizes of full and of sliding layers; None where no key gives them.
    """

    n_all: int
    n_main: int
    d_model: int | None
    heads: tuple[int, ...]
    kv_heads: tuple[int, ...]
    d_ff: tuple[int, ...]
    k_full: int | None
    v_full: int | None
    k_swa: int | None
    v_swa: int | None


class Stack(Record):
    """All blocks of a model: the layers that run, the prediction layers after them, and what was found on the way."""

    numbers: Numbers
    layers: tuple[Layer, ...]
    nextn_layers: tuple[Layer, ...]
    window: int | None = None
    notes: tuple[str, ...] = ()


def read_stack(arch: Arch, keys: Keys, names: Collection[str]) -> Stack | None:
    """The model's layers, or None when `block_count` is absent. `names`: tensor names. Raises FactsError."""
    numbers = _numbers(arch, keys, names)
    if numbers is None:
        return None
    slides, window, notes = _sliding(arch, keys, numbers)
    recurrent, how = _recurrent(arch, keys, numbers)
    notes += _refusals(arch, keys, numbers, slides, window)
    builder = _Builder(arch, keys, numbers, _Kinds(slides, window, recurrent, how), names)
    layers = tuple(builder.layer(i) for i in range(numbers.n_all))
    if arch.extra == "router":
        layers = (*layers, builder.router(numbers.n_all))
    return Stack(numbers, layers[: numbers.n_main], layers[numbers.n_main :], window, notes)


def _numbers(arch: Arch, keys: Keys, names: Collection[str]) -> Numbers | None:
    n_all = keys.integer("block_count", "n_layers")
    if n_all is None:
        return None
    if n_all > MAX_LAYERS:
        raise FactsError(f"{keys.arch}.block_count is {n_all:,}: no model has so many layers")
    n_nextn = keys.integer("nextn_predict_layers") or 0
    if n_nextn > n_all:
        raise FactsError(f"{keys.arch}.nextn_predict_layers is {n_nextn:,} of {n_all:,} layers")
    if arch.extra == "compressed" and f"blk.{n_all - n_nextn}.nextn.eh_proj.weight" not in names:
        n_nextn = 0  # deepseek4.cpp: the prediction layers were left out of the file
    heads = keys.per_layer("attention.head_count", n_all, "n_heads")
    kv_heads = keys.per_layer("attention.head_count_kv", n_all, "n_kv_heads")
    d_ff = keys.per_layer("feed_forward_length", n_all, "d_ff") or (0,) * n_all
    heads = heads or (0,) * n_all
    loops = _loops(arch, keys, n_all)
    if arch.extra == "router":  # granite-switch.cpp: one more layer of one head routes tokens to adapters
        n_nextn = 0
    d_model = keys.integer("embedding_length", "d_model")
    k, v = _head_sizes(arch, keys, heads, d_model)
    k_swa, v_swa = keys.integer("attention.key_length_swa"), keys.integer("attention.value_length_swa")
    return Numbers(
        n_all * loops,
        n_all * loops - n_nextn,
        d_model,
        heads * loops,
        (kv_heads or heads) * loops,
        d_ff * loops,
        k_full=k,
        v_full=v,
        k_swa=k if k_swa is None else k_swa,
        v_swa=v if v_swa is None else v_swa,
    )


def _loops(arch: Arch, keys: Keys, n_all: int) -> int:
    """How often the layers run over: each run has a cache of its own (nanbeige.cpp)."""
    loops = (keys.integer("num_loops") or 1) if arch.extra == "loops" else 1
    if n_all * loops > MAX_LAYERS:
        raise FactsError(f"{keys.arch}.num_loops is {loops:,}: no model has so many layers")
    return loops


def _head_sizes(arch: Arch, keys: Keys, heads: tuple[int, ...], d_model: int | None) -> tuple[int | None, int | None]:
    """Elements of a key and of a value head: their keys, or an equal share of the embedding for the first layer's."""
    if not heads or heads[0] == 0:
        return 0, 0
    share = None if d_model is None else d_model // heads[0]
    k = keys.integer("attention.key_length", "head_dim_k")
    v = keys.integer("attention.value_length", "head_dim_v")
    for fact, stated in (("head_dim_k", k), ("head_dim_v", v)):
        if stated is None and share is not None:
            keys.origin[fact] = f"{keys.arch}.embedding_length ÷ {keys.arch}.attention.head_count"
    if arch.v_is_rank:
        v = keys.integer("attention.kv_lora_rank")
    return share if k is None else k, share if v is None else v


# -- which layers slide -------------------------------------------------------------------------------------------


def _sliding(arch: Arch, keys: Keys, numbers: Numbers) -> tuple[tuple[bool, ...], int | None, tuple[str, ...]]:
    none = (False,) * numbers.n_all
    rule = arch.sliding
    if rule is None or (rule.only_n_layers and rule.only_n_layers != numbers.n_main):
        return none, None, ()
    window = keys.integer("attention.sliding_window", "window")
    key = f"{keys.arch}.attention.sliding_window"
    if window is None and rule.window == "required":
        return none, None, (Refused(f"llama.cpp refuses this file: {key} is missing"),)
    if rule.window in {"optional", "switch"} and not window:
        return none, None, ()
    if rule.window == "chunked" and window == 0:
        return none, None, ()
    if rule.window in {"switch", "chunked"} or window is None:
        window = rule.tokens
        keys.origin["window"] = arch.ref
    pattern = _pattern(arch, keys, numbers)
    if pattern is None:
        return none, None, (Refused(f"llama.cpp refuses this file: {key}_pattern is not an array"),)
    return pattern, window, ()


def _pattern(arch: Arch, keys: Keys, numbers: Numbers) -> tuple[bool, ...] | None:
    """Which layers slide: `load_swa_pattern` (llama-model.cpp) and `set_swa_pattern` (llama-hparams.cpp)."""
    rule = arch.sliding
    assert rule is not None
    if rule.attention_only:  # lfm2.cpp: every layer with attention
        return tuple(i < numbers.n_main and n > 0 for i, n in enumerate(numbers.kv_heads))
    if arch.extra == "compressed":
        return (True,) * numbers.n_all
    flags = keys.flags("attention.sliding_window_pattern", numbers.n_all)
    if flags is not None or rule.array:
        return flags
    period = keys.integer("attention.sliding_window_pattern")
    period = rule.period if period is None else period
    full_at = 0 if rule.dense_first else period - 1
    return tuple(i < numbers.n_main and (period == 0 or i % period != full_at) for i in range(numbers.n_all))


def _refusals(
    arch: Arch, keys: Keys, numbers: Numbers, slides: tuple[bool, ...], window: int | None
) -> tuple[str, ...]:
    """Settings at which llama.cpp aborts: its assertions in `create_memory` and in the cache's constructor."""
    if window is not None and arch.caches and not any(slides):
        return (Refused("llama.cpp refuses this file: it has a sliding window, but no layer slides"),)
    first = _kv_from_start(arch, keys, numbers)
    if first is None or first >= numbers.n_all:
        return ()
    # a layer without a cache reads the last full one or the last sliding one, which must be of its own kind
    wrong = [
        i for i in range(first, numbers.n_all) if first < 2 or slides[first - (2 if slides[i] else 1)] != slides[i]
    ]
    return (Refused(f"llama.cpp refuses this file: layer {wrong[0]} has no cache to share"),) if wrong else ()


# -- which layers keep a state ------------------------------------------------------------------------------------


def _recurrent(arch: Arch, keys: Keys, numbers: Numbers) -> tuple[tuple[bool, ...], str]:
    rule, n, n_main = arch.recurrent, numbers.n_all, numbers.n_main
    if rule is None:
        return (False,) * n, ""
    if rule.layers in {"all", "every"}:
        return tuple(i < n_main for i in range(n)), arch.ref
    if rule.layers == "interval":
        flags = keys.per_layer_flags("attention.recurrent_layers", n)
        if flags is not None:
            return flags, f"{keys.arch}.attention.recurrent_layers"
        interval = keys.integer("full_attention_interval")
        interval = rule.interval if interval is None else interval
        if interval == 0:
            raise FactsError(f"{keys.arch}.full_attention_interval is 0")
        return tuple(i < n_main and (i + 1) % interval != 0 for i in range(n)), (f"{keys.arch}.full_attention_interval")
    without = [numbers.kv_heads[i] == 0 and i < n_main for i in range(n)]
    if rule.layers == "no_kv_heads_no_ff":
        without = [w and numbers.d_ff[i] == 0 for i, w in enumerate(without)]
    return tuple(without), f"{keys.arch}.attention.head_count_kv"


# -- one layer ----------------------------------------------------------------------------------------------------


class _Kinds(Record):
    """Which layers slide and how far, which keep a state, and the key that said so."""

    slides: tuple[bool, ...]
    window: int | None
    recurrent: tuple[bool, ...]
    how: str


class _Builder:
    """Everything that a layer's kind depends on, gathered once."""

    def __init__(self, arch: Arch, keys: Keys, numbers: Numbers, kinds: _Kinds, names: Collection[str]) -> None:
        self.arch, self.keys, self.numbers = arch, keys, numbers
        self.slides, self.window = kinds.slides, kinds.window
        self.recurrent, self.how = kinds.recurrent, kinds.how
        self.moe = _moe_layers(names)
        self.state = _state(arch, keys, numbers) if arch.recurrent else None
        self.latent = _is_latent(arch, keys)
        self.rank = keys.integer("attention.kv_lora_rank") if self.latent else None
        self.index_width, self.indexed = _index(arch, keys, numbers)
        self.kv_from_start = _kv_from_start(arch, keys, numbers)
        self.ratios = keys.array("attention.compress_ratios") if arch.extra == "compressed" else None
        self.ple = _ple(keys, numbers) if arch.extra == "ple" else {}

    def layer(self, i: int) -> Layer:
        """Block `i` with its kind and what it keeps."""
        kind, caches, decided_by = self._kind(i)
        n = self.numbers
        sliding = self.slides[i]
        return Layer(
            i,
            kind,
            caches,
            decided_by,
            n_heads=n.heads[i],
            n_kv_heads=n.kv_heads[i],
            d_ff=n.d_ff[i] or None,
            ffn="moe" if i in self.moe else ("dense" if n.d_ff[i] else "none"),
            head_dim_k=n.k_swa if sliding else n.k_full,
            head_dim_v=n.v_swa if sliding else n.v_full,
            window=self.window if sliding else None,
        )

    def router(self, i: int) -> Layer:
        """The one-head layer after the last that keeps which adapter each token uses (granite-switch.cpp)."""
        k, v = self.numbers.k_full or 0, self.numbers.v_full or 0
        return Layer(i, "full", (KVCache(1, k, v),), self.arch.ref, 1, 1, ffn="none", head_dim_k=k, head_dim_v=v)

    def _kind(self, i: int) -> tuple[str, tuple[Cache, ...], str]:
        arch, n = self.arch, self.numbers
        if not arch.caches:
            return "none", (), arch.ref
        if self.recurrent[i]:
            states: tuple[Cache, ...] = (self.state, *self.ple.get(i, ())) if self.state else ()
            if arch.recurrent is not None and arch.recurrent.layers == "every":
                return "hybrid", (*self._attention(i), *states), self.how
            return "recurrent", states, self.how
        if arch.recurrent is not None and not self._attends(i):
            return "none", (), f"{self.keys.arch}.feed_forward_length"
        if i >= n.n_main and not arch.nextn_kept:
            return "none", (), f"{self.keys.arch}.nextn_predict_layers"
        if self.kv_from_start is not None and i >= self.kv_from_start:
            return "shared", (), self.keys.origin.get("kv_from_start", arch.ref)
        return self._attention_kind(i), self._attention(i), self._attention_origin(i)

    def _attends(self, i: int) -> bool:
        rule = self.arch.recurrent
        if rule is not None and rule.layers == "no_kv_heads_no_ff":
            return self.numbers.d_ff[i] == 0
        return rule is None or rule.layers != "all"

    def _attention_kind(self, i: int) -> str:
        if self.latent:
            return "latent"
        if not self.slides[i]:
            return "full"
        return "chunked" if self.arch.plan == "chunked" else "sliding"

    def _attention_origin(self, i: int) -> str:
        if self.slides[i]:
            return self.keys.origin.get("window", self.arch.ref)
        return f"{self.keys.arch}.attention.key_length_mla" if self.latent else ""

    def _attention(self, i: int) -> tuple[Cache, ...]:
        n, sliding = self.numbers, self.slides[i]
        k, v = (n.k_swa, n.v_swa) if sliding else (n.k_full, n.v_full)
        window = self.window if sliding else None
        if k is None or v is None:
            return (UnknownCache("attention of unknown width"),)
        if self.arch.extra == "compressed":
            return self._compressed(i, k * n.kv_heads[i])
        if self.latent:
            width = k * n.kv_heads[i]
            rank = min(width, self.rank or width)
            caches: tuple[Cache, ...] = (LatentCache(rank, width - rank, window),)
        else:
            caches = (KVCache(n.kv_heads[i], k, v, window, chunked=sliding and self.arch.plan == "chunked"),)
        return (*caches, *self._index(i))

    def _index(self, i: int) -> tuple[Cache, ...]:
        if not self.indexed[i]:
            return ()
        # minimax-m3's selector cache is no MLA cache, so it has values too (llama-kv-cache-msa.cpp)
        v = self.numbers.v_full or 0 if self.arch.index == "sparse" else 0
        return (IndexCache(self.index_width, head_dim_v=v),)

    def _compressed(self, i: int, width: int) -> tuple[Cache, ...]:
        """deepseek4: a window of raw keys, and on most layers compressed ones (llama-kv-cache-dsv4.cpp)."""
        raw = LatentCache(width, 0, self.window)
        ratio = self.ratios[i] if self.ratios is not None and i < len(self.ratios) else None
        head_dim = self.numbers.k_full or 0
        if ratio == 4:
            return (
                raw,
                CompressedCache("csa", 4, width, state_width=2 * head_dim, state_rows=8),
                CompressedCache("lid", 4, self.index_width, state_width=2 * self.index_width, state_rows=8),
            )
        if ratio == 128:
            return raw, CompressedCache("hca", 128, width, state_width=head_dim, state_rows=128)
        return (raw,)


def _moe_layers(names: Collection[str]) -> frozenset[int]:
    """Blocks with routed experts, as the tensors show."""
    found = set()
    for name in names:
        if "_exps" in name and name.startswith("blk."):
            number = name[4 : name.find(".", 4)]
            if number.isdecimal() and len(number) < 6:
                found.add(int(number))
    return frozenset(found)


def _is_latent(arch: Arch, keys: Keys) -> bool:
    if arch.latent != "keys":
        return arch.latent == "always"
    return bool(keys.integer("attention.key_length_mla")) and bool(keys.integer("attention.value_length_mla"))


def _kv_from_start(arch: Arch, keys: Keys, numbers: Numbers) -> int | None:
    if not isinstance(arch.kv_from_start, str):
        return arch.kv_from_start
    if not arch.kv_from_start:
        return None
    return max(0, numbers.n_all - (keys.integer(arch.kv_from_start, "kv_from_start") or 0))


def _index(arch: Arch, keys: Keys, numbers: Numbers) -> tuple[int, tuple[bool, ...]]:
    """Width of the indexer's keys, and which layers store them."""
    n, n_main = numbers.n_all, numbers.n_main
    width = keys.integer("attention.indexer.key_length") or 0
    if arch.extra == "kpool" and keys.integer("attention.indexer.kpool"):
        width *= 3  # key, gate and pooled key side by side (glm5-next.cpp, llama-memory-hybrid-idx.cpp)
    if arch.extra == "ple" and any(keys.array("attention.compress_ratios") or ()):
        width *= 2  # key and pooled key (qwen4exp.cpp)
    if not width or not arch.index:
        return width, (False,) * n
    if arch.index == "types" and arch.latent and not keys.integer("attention.indexer.top_k"):
        return width, (False,) * n  # hy_v4.cpp: a checkpoint without sparse attention
    if arch.index == "sparse":
        lead = keys.integer("leading_dense_block_count") or 0
        return width, tuple(i >= lead for i in range(n))
    if arch.index in {"types", "types_optional"}:
        return width, tuple(_indexer_types(arch, keys, numbers)[:n_main]) + (False,) * (n - n_main)
    return width, tuple(i < n_main for i in range(n))


# glm-dsa.cpp: GLM 5.2 and later share an indexer among layers, and early files of it do not say which
_LONG_CONTEXT: Final = 1048576


def _indexer_types(arch: Arch, keys: Keys, numbers: Numbers) -> tuple[bool, ...]:
    types = keys.per_layer_flags("attention.indexer.types", numbers.n_main)
    if types is not None:
        return types
    if arch.name == "glm-dsa" and (keys.integer("context_length") or 0) >= _LONG_CONTEXT:
        return tuple(_glm_5_2_indexer(i) for i in range(numbers.n_all))
    return (arch.index == "types_optional",) * numbers.n_all


def _glm_5_2_indexer(i: int) -> bool:
    return i < 2 or (i < 78 and i % 4 == 2)


def _state(arch: Arch, keys: Keys, numbers: Numbers) -> StateCache | UnknownCache:
    """Elements of a layer's state: `n_embd_r` and `n_embd_s` of llama-hparams.cpp."""
    assert arch.recurrent is not None
    kind, d_model = arch.recurrent.state, numbers.d_model or 0
    heads = numbers.heads[0] if numbers.heads else 0
    if kind == "rwkv":
        shifts = keys.integer("token_shift_count")
        head = keys.integer("wkv.head_size") or 0
        return StateCache(kind, d_model, (2 if shifts is None else shifts) + 1, d_model * head)
    if kind == "shortconv":
        return StateCache(kind, d_model, keys.integer("shortconv.l_cache") or 1, 0)
    if kind == "kda":
        head = keys.integer("kda.head_dim") or 0
        kernel = keys.integer("ssm.conv_kernel") or 4
        return StateCache(kind, 3 * heads * head, kernel, head * head * heads)
    if kind == "lightning":
        head = numbers.k_full or 0
        return StateCache(kind, 0, 1, head * head * heads)
    inner, state = keys.integer("ssm.inner_size"), keys.integer("ssm.state_size")
    if inner is None or state is None:
        return UnknownCache(kind)
    groups = (keys.integer("ssm.group_count") or 0) if kind != "mamba1" or arch.name == "plamo2" else 0
    kernel = keys.integer("ssm.conv_kernel") or 1
    return StateCache(kind, inner + 2 * groups * state, kernel, state * inner)


def _ple(keys: Keys, numbers: Numbers) -> dict[int, tuple[StateCache, ...]]:
    """qwen4exp: one layer also keeps the convolution history of the n-gram embeddings."""
    layers = keys.array("ple.layers")
    if not layers:
        return {}
    kernel = keys.integer("ple.conv_kernel") or 1
    channels = (keys.integer("ple.ngram_size") or 0) * (keys.integer("hyper_connection.count") or 0)
    state = StateCache("ngram", channels * (numbers.d_model or 0), kernel, 0)
    return {i: (state,) for i in layers if isinstance(i, int)}
