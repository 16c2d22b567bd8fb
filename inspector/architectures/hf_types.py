"""Which layer is which: rules that turn a config into one layer type a layer, by transformers' names.

Each rule is read off the `__post_init__` of a configuration class (transformers 5.24.0). A file's own `layer_types`
comes first; a rule speaks only where it is absent, unless the record's `forced` says that the class overrides it.
Rules that several families share stand here, those of one family beside its records.
"""

from __future__ import annotations

from inspector.architectures.hf_config import LEGACY_LAYER_TYPES, HfConfig
from inspector.architectures.hf_lookup import find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Rule = Callable[[HfConfig, int], Sequence[str]]

FULL, SLIDING, CHUNKED = "full_attention", "sliding_attention", "chunked_attention"
INDEXED, LINEAR, CONV = "indexed_attention", "linear_attention", "conv"
HYBRID, HYBRID_SLIDING = "hybrid", "hybrid_sliding"


def all_layers(kind: str) -> Rule:
    """Every layer is of one type."""
    return lambda _k, n: (kind,) * n


def last_of(period: int, *, key: str = "", other: str = SLIDING, mark: str = FULL) -> Rule:
    """The last layer of every `period` (or of every `key` layers, where the file has that key) is `mark`."""

    def rule(k: HfConfig, n: int) -> Sequence[str]:
        p = (k.count(key) if key else None) or period
        return tuple(other if (i + 1) % p else mark for i in range(n))

    return rule


def first_of(period: int, *, key: str = "", other: str = SLIDING) -> Rule:
    """The first layer of every `period` (or of every `key` layers) sees everything."""

    def rule(k: HfConfig, n: int) -> Sequence[str]:
        p = (k.count(key) if key else None) or period
        return tuple(other if i % p else FULL for i in range(n))

    return rule


def where(full: Callable[[int, int], bool], *, other: str = SLIDING, mark: str = FULL) -> Rule:
    """`full(i, n)` says which layers are `mark`."""
    return lambda _k, n: tuple(mark if full(i, n) else other for i in range(n))


def plainly(k: HfConfig, n: int) -> Sequence[str]:
    """The window of a type without a record, with the switch that Qwen's configs and their kin have for it."""
    return switched_window(k, n) if k.has("use_sliding_window") else by_window(k, n)


def by_window(k: HfConfig, n: int) -> Sequence[str]:
    """One window for all layers, where a config has one (cache_utils.py get_layer_types_and_kwargs)."""
    if k.count("sliding_window"):
        return (SLIDING,) * n
    return (CHUNKED if k.count("attention_chunk_size") else FULL,) * n


def switched_window(k: HfConfig, n: int) -> Sequence[str]:
    """`sliding_window` counts only with `use_sliding_window`, and then from `max_window_layers` on."""
    if not k.flag("use_sliding_window") or not k.count("sliding_window"):
        return (FULL,) * n
    start = k.count("max_window_layers", 0) or 0
    return tuple(SLIDING if i >= start else FULL for i in range(n))


def looped(n: int, start: int, stop: int, times: int | None) -> Sequence[int]:
    """How often each layer runs in one pass: layers `start` to `stop` so many times, the others once."""
    return tuple((times or 1) if start <= i < stop else 1 for i in range(n))


def last_is_full(types: Sequence[str]) -> Sequence[str]:
    """The last layer sees everything, whatever the list says (configuration_gemma4.py)."""
    return (*types[:-1], FULL) if types else types


def full_is_indexed(types: Sequence[str]) -> Sequence[str]:
    """Full attention has an indexer, under whichever name the list has it (configuration_deepseek_v32.py)."""
    return tuple(INDEXED if t == FULL else t for t in types)


def layer_types(k: HfConfig, n: int) -> tuple[tuple[str, ...], str]:
    """One type a layer, and the key or rule that decided."""
    record = find(k.model_type)
    own = k.strings("layer_types")
    if own is not None and record and record.listed:
        own = tuple(record.listed(own))
    if own is not None:
        k.get("layer_types")
        types: Sequence[str] = tuple(LEGACY_LAYER_TYPES.get(t, t) for t in own[:n])
        decided = k.origin.get("layer_types", "layer_types")
    else:
        rule = (record and record.layer_types) or (by_window if record and not record.generic else plainly)
        types, decided = rule(k, n), f"{k.model_type} rule"
    if len(types) < n:
        k.note(f"{decided} names {len(types)} layers of {n}: the rest are unknown")
        types = (*types, *("unlisted",) * (n - len(types)))
    if record and record.forced:
        types = record.forced(types)
    return tuple(types), decided
