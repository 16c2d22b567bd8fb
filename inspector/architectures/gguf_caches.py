"""What attention layers of a GGUF architecture keep, by the rules of llama.cpp b11434.

Sources: `llama_model::create_memory` (src/llama-model.cpp) for which layer gets which cache, src/llama-hparams.cpp for
widths, each model's `load_arch_hparams` (src/models/*.cpp) for what is particular to it.
"""

from __future__ import annotations

from inspector.layers import CompressedCache, IndexCache, KVCache, LatentCache, Refused, UnknownCache
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from inspector.architectures.gguf_keys import Keys
    from inspector.architectures.gguf_record import Arch, FlagsRule, Numbers, PerLayer, Windows
    from inspector.layers import Cache

UNKNOWN_WIDTH: Final = UnknownCache("attention of unknown width")


def read_attention(arch: Arch, keys: Keys, numbers: Numbers, windows: Windows) -> PerLayer:
    """What each layer keeps if it attends. Raises FactsError for a key of a wrong kind."""
    rule = arch.attention or (latent_vectors if is_latent(arch, keys) else keys_and_values)
    main = rule(keys, numbers, windows)
    if arch.attention is not None or arch.index is None:
        return main
    index = _index_caches(arch, keys, numbers)
    return tuple(own if own == (UNKNOWN_WIDTH,) else (*own, *more) for own, more in zip(main, index, strict=True))


_LENGTHS: Final = ("attention.key_length_mla", "attention.value_length_mla")


def is_latent(arch: Arch, keys: Keys) -> bool:
    """Whether attention keeps latent vectors (`llama_hparams::is_mla`): files of older converters have plain heads."""
    return arch.latent is not None and all(keys.integer(name) for name in _LENGTHS)


def latent_refusals(arch: Arch, keys: Keys) -> tuple[str, ...]:
    """Why llama.cpp refuses the file of an architecture that has no plain heads."""
    if arch.latent is None or not (arch.latent.required or arch.latent.only):
        return ()
    for name in _LENGTHS:
        length = keys.integer(name)
        if length is None or (length == 0 and arch.latent.only):
            wrong = "is missing" if length is None else "is 0"
            return (Refused(f"llama.cpp refuses this file: {keys.arch}.{name} {wrong}"),)
    return ()


# -- keys and values, or one vector for both ------------------------------------------------------------------------


class _Heads(Record):
    """Heads of one layer's attention: how many, elements of a key and of a value, and the window that they see."""

    n: int
    k: int
    v: int
    window: int | None


def _heads(numbers: Numbers, windows: Windows) -> tuple[_Heads | None, ...]:
    """Heads of each layer; None where their width is not known."""
    found = []
    for n, slides in zip(numbers.kv_heads, windows.slides, strict=True):
        k, v = (numbers.k_swa, numbers.v_swa) if slides else (numbers.k_full, numbers.v_full)
        known = k is not None and v is not None
        found.append(_Heads(n, k or 0, v or 0, windows.tokens if slides else None) if known else None)
    return tuple(found)


def keys_and_values(keys: Keys, numbers: Numbers, windows: Windows) -> PerLayer:  # noqa: ARG001
    """Keys and values of every token, or of the window."""
    return tuple(
        (KVCache(h.n, h.k, h.v, h.window, chunked=windows.chunked and h.window is not None) if h else UNKNOWN_WIDTH,)
        for h in _heads(numbers, windows)
    )


def latent_vectors(keys: Keys, numbers: Numbers, windows: Windows) -> PerLayer:
    """One vector a token (MLA), as wide as a key of all heads: the latent, and what is rotated beside it."""
    stated = keys.integer("attention.kv_lora_rank")

    def vector(h: _Heads) -> LatentCache:
        width = h.k * h.n
        rank = min(width, stated or width)
        return LatentCache(rank, width - rank, h.window)

    return tuple((vector(h) if h else UNKNOWN_WIDTH,) for h in _heads(numbers, windows))


def compressed(keys: Keys, numbers: Numbers, windows: Windows) -> PerLayer:
    """deepseek4: a window of raw keys, and on most layers compressed ones (llama-kv-cache-dsv4.cpp)."""
    ratios = keys.array("attention.compress_ratios") or ()
    index, head = keys.integer("attention.indexer.key_length") or 0, numbers.k_full or 0

    def caches(i: int, h: _Heads) -> tuple[Cache, ...]:
        raw, width = LatentCache(h.k * h.n, 0, h.window), h.k * h.n
        ratio = ratios[i] if i < len(ratios) else None
        if ratio == 4:
            return (
                raw,
                CompressedCache("csa", 4, width, state_width=2 * head, state_rows=8),
                CompressedCache("lid", 4, index, state_width=2 * index, state_rows=8),
            )
        if ratio == 128:
            return raw, CompressedCache("hca", 128, width, state_width=head, state_rows=128)
        return (raw,)

    return tuple(caches(i, h) if h else (UNKNOWN_WIDTH,) for i, h in enumerate(_heads(numbers, windows)))


# -- keys of an indexer beside them ---------------------------------------------------------------------------------


def _index_caches(arch: Arch, keys: Keys, numbers: Numbers) -> PerLayer:
    rule = arch.index
    assert rule is not None
    width = (keys.integer("attention.indexer.key_length") or 0) * (rule.parts(keys) if rule.parts is not None else 1)
    if not width:
        return ((),) * numbers.n_all
    cache = IndexCache(width, head_dim_v=(numbers.v_full or 0) if rule.values else 0)
    return tuple((cache,) if stored else () for stored in rule.layers(keys, numbers))


def main_layers(keys: Keys, numbers: Numbers) -> tuple[bool, ...]:  # noqa: ARG001 - one signature for all rules
    """All layers but the prediction layers."""
    return tuple(i < numbers.n_main for i in range(numbers.n_all))


def no_layer(keys: Keys, numbers: Numbers) -> tuple[bool, ...]:  # noqa: ARG001 - one signature for all rules
    """None."""
    return (False,) * numbers.n_all


def after_dense_lead(keys: Keys, numbers: Numbers) -> tuple[bool, ...]:
    """From `leading_dense_block_count` on (minimax-m3.cpp)."""
    lead = keys.integer("leading_dense_block_count") or 0
    return tuple(i >= lead for i in range(numbers.n_all))


class Typed(Record):
    """The layers that `attention.indexer.types` names; without the key, those of `absent`.

    `needs_top_k`: without `attention.indexer.top_k` the checkpoint has no sparse attention (hy-v4.cpp). `any_length`:
    an array of more or fewer than the layers is taken too (dots3note.cpp).
    """

    absent: FlagsRule
    needs_top_k: bool = False
    any_length: bool = False

    def __call__(self, keys: Keys, numbers: Numbers) -> tuple[bool, ...]:
        """One truth value a layer; prediction layers have no indexer."""
        if self.needs_top_k and not keys.integer("attention.indexer.top_k"):
            return no_layer(keys, numbers)
        read = keys.flags if self.any_length else keys.per_layer_flags
        types = read("attention.indexer.types", numbers.n_main)
        if types is None:
            types = self.absent(keys, numbers)
        return types[: numbers.n_main] + (False,) * (numbers.n_all - numbers.n_main)


# glm-dsa.cpp: GLM 5.2 and later share an indexer among layers, and early files of it do not say which
_LONG_CONTEXT: Final = 1048576


def glm_layers(keys: Keys, numbers: Numbers) -> tuple[bool, ...]:
    """All layers, or of a model of a million tokens every fourth (GLM_5_2_DEFAULT_INDEXER_TYPES, glm-dsa.cpp)."""
    if (keys.integer("context_length") or 0) < _LONG_CONTEXT:
        return main_layers(keys, numbers)
    return tuple(i < 2 or (i < 78 and i % 4 == 2) for i in range(numbers.n_all))


def with_gate_and_pool(keys: Keys) -> int:
    """Key, gate and pooled key side by side where keys are pooled (glm5-next.cpp, llama-memory-hybrid-idx.cpp)."""
    return 3 if keys.integer("attention.indexer.kpool") else 1


def with_pooled(keys: Keys) -> int:
    """Key and pooled key where any layer compresses (qwen4exp.cpp)."""
    return 2 if any(keys.array("attention.compress_ratios") or ()) else 1


# -- layers that read the caches of earlier ones --------------------------------------------------------------------


class First(Record):
    """Only the first `n` layers have caches of their own."""

    n: int

    def __call__(self, keys: Keys, numbers: Numbers) -> int:  # noqa: ARG002 - one signature for all rules
        """The first layer without."""
        return self.n


def all_but_shared(keys: Keys, numbers: Numbers) -> int:
    """The last `attention.shared_kv_layers` have none (gemma4.cpp)."""
    return max(0, numbers.n_all - (keys.integer("attention.shared_kv_layers", "kv_from_start") or 0))
