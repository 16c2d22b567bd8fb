"""GGUF keys → one `Layer` a block, by the rules of llama.cpp b11434.

The row of the registry says which rules hold, each rule gives one element a block, and a block is put together from
those of its index. Sources stand beside the rules: gguf_numbers, gguf_windows, gguf_states, gguf_caches.
"""

from __future__ import annotations

from inspector.architectures.gguf_caches import is_latent, latent_refusals, read_attention
from inspector.architectures.gguf_numbers import read_numbers
from inspector.architectures.gguf_record import Arch, Mixers, Numbers, Windows
from inspector.architectures.gguf_states import read_mixers, read_states
from inspector.architectures.gguf_windows import read_windows, refusals
from inspector.layers import Cache, CrossCache, KVCache, Layer
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Final

    from inspector.architectures.gguf_keys import Keys
    from inspector.architectures.gguf_record import PerLayer

GENERIC: Final = Arch("generic")


class Stack(Record):
    """All blocks of a model: the layers that run, the prediction layers after them, and what was found on the way."""

    numbers: Numbers
    layers: tuple[Layer, ...]
    nextn_layers: tuple[Layer, ...]
    window: int | None = None
    notes: tuple[str, ...] = ()


def read_stack(arch: Arch, keys: Keys, names: Collection[str]) -> Stack | None:
    """The model's layers, or None when `block_count` is absent. `names`: tensor names. Raises FactsError."""
    numbers = read_numbers(arch, keys, names)
    if numbers is None:
        return None
    parts = _read_parts(arch, keys, numbers, names)
    layers = tuple(_layer(parts, i) for i in range(numbers.n_all))
    main, nextn = layers[: numbers.n_main], layers[numbers.n_main :]
    if arch.cross:
        main = tuple(map(_with_cross, main))
    if arch.router:
        nextn = (*nextn, _router(arch, numbers))
    notes = (
        *latent_refusals(arch, keys), *parts.windows.notes, *refusals(arch, parts.windows, parts.shared_from)
    )  # fmt: skip
    return Stack(numbers, main, nextn, parts.windows.tokens, notes)


class _Parts(Record):
    """What blocks are put together from: of each part, one element a block.

    `attention`, `states`: what a block keeps if it attends, if it recurs. `latent`: attention is MLA. `shared_from`:
    the first block that reads the cache of an earlier one. `moe`: blocks with routed experts.
    """

    arch: Arch
    keys: Keys
    numbers: Numbers
    windows: Windows
    mixers: Mixers
    attention: PerLayer
    states: PerLayer
    latent: bool
    shared_from: int | None
    moe: frozenset[int]


def _read_parts(arch: Arch, keys: Keys, numbers: Numbers, names: Collection[str]) -> _Parts:
    windows = read_windows(arch, keys, numbers)
    return _Parts(
        arch,
        keys,
        numbers,
        windows,
        read_mixers(arch, keys, numbers),
        read_attention(arch, keys, numbers, windows),
        read_states(arch, keys, numbers),
        latent=is_latent(arch, keys),
        shared_from=arch.shared_from(keys, numbers) if arch.shared_from is not None else None,
        moe=_moe_layers(names),
    )


def _layer(p: _Parts, i: int) -> Layer:
    """Block `i` with its kind and what it keeps."""
    kind, caches, decided_by = _kept(p, i)
    n, slides = p.numbers, p.windows.slides[i]
    return Layer(
        i,
        kind,
        caches,
        decided_by,
        n_heads=n.heads[i],
        n_kv_heads=n.kv_heads[i],
        d_ff=n.d_ff[i] or None,
        ffn="moe" if i in p.moe else ("dense" if n.d_ff[i] else "none"),
        head_dim_k=n.k_swa if slides else n.k_full,
        head_dim_v=n.v_swa if slides else n.v_full,
        window=p.windows.tokens if slides else None,
    )


def _kept(p: _Parts, i: int) -> tuple[str, tuple[Cache, ...], str]:
    """A block's kind, what it keeps, and the key that decided it: the first rule that holds."""
    arch, name = p.arch, p.keys.arch
    if not arch.caches:
        return "none", (), arch.ref
    if p.mixers.recurs[i]:
        decided_by = p.mixers.decided_by or arch.ref
        if p.mixers.attends[i]:
            return "hybrid", p.attention[i] + p.states[i], decided_by
        return "recurrent", p.states[i], decided_by
    if not p.mixers.attends[i]:
        return "none", (), f"{name}.feed_forward_length"
    if i >= p.numbers.n_main and not (arch.nextn_kept or _has_no_trunk(p)):
        return "none", (), f"{name}.nextn_predict_layers"
    if p.shared_from is not None and i >= p.shared_from:
        return "shared", (), p.keys.origin.get("kv_from_start", arch.ref)
    return _attention_kind(p, i), p.attention[i], _attention_origin(p, i)


def _has_no_trunk(p: _Parts) -> bool:
    """All layers are prediction layers, and the model's one cache covers them (`llama_model::create_memory`)."""
    return p.numbers.n_main == 0 and p.arch.recurrent is None and p.arch.index is None


def _attention_kind(p: _Parts, i: int) -> str:
    if p.latent:
        return "latent"
    if not p.windows.slides[i]:
        return "full"
    return "chunked" if p.windows.chunked else "sliding"


def _attention_origin(p: _Parts, i: int) -> str:
    if p.windows.slides[i]:
        return p.keys.origin.get("window", p.arch.ref)
    return f"{p.keys.arch}.attention.key_length_mla" if p.latent else ""


def _router(arch: Arch, numbers: Numbers) -> Layer:
    """The one-head layer after the last that keeps which adapter each token uses (granite-switch.cpp)."""
    k, v = numbers.k_full or 0, numbers.v_full or 0
    i = numbers.n_all
    return Layer(i, "full", (KVCache(1, k, v),), arch.ref, 1, 1, ffn="none", head_dim_k=k, head_dim_v=v)


def _with_cross(layer: Layer) -> Layer:
    """A decoder layer also keeps keys and values of the encoder's output."""
    own = [c for c in layer.caches if isinstance(c, KVCache)]
    return layer.replace(caches=(*layer.caches, *(CrossCache(c.n_kv_heads, c.head_dim_k, c.head_dim_v) for c in own)))


def _moe_layers(names: Collection[str]) -> frozenset[int]:
    """Blocks with routed experts, as the tensors show."""
    found = set()
    for name in names:
        if "_exps" in name and name.startswith("blk."):
            number = name[4 : name.find(".", 4)]
            if number.isdecimal() and len(number) < 6:
                found.add(int(number))
    return frozenset(found)
