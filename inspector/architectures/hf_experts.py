"""Which layers route tokens to experts, how many experts there are, and how many a token uses."""

from __future__ import annotations

from inspector.architectures.hf_lookup import find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final

    from inspector.architectures.hf_config import HfConfig

    Rule = Callable[[HfConfig, int], Sequence[bool]]

SPARSE: Final = frozenset({"sparse", "moe", "hash_moe"})


def experts(k: HfConfig) -> tuple[int | None, int | None]:
    """Routed experts of a layer, and how many of them a token uses; None where the model has none."""
    record = find(k.model_type)
    return record.experts(k) if record and record.experts else by_keys(k)


def by_keys(k: HfConfig) -> tuple[int | None, int | None]:
    """The same by the usual keys."""
    n, used = k.count("num_experts"), k.count("num_experts_per_tok")
    return (n, used) if n else (None, None)


def from_first(key: str, default: int, *, freq: str = "") -> Rule:
    """Dense up to layer `key`, and routed from there on (every `freq`-th, where that key exists)."""

    def rule(k: HfConfig, n: int) -> Sequence[bool]:
        first = k.count(key, default) or 0
        listed = k.get(freq) if freq else None
        if isinstance(listed, list):
            return tuple(i >= first and i < len(listed) and bool(listed[i]) for i in range(n))
        step = (k.count(freq) if freq else None) or 1
        return tuple(i >= first and i % step == 0 for i in range(n))

    return rule


def moe_layers(k: HfConfig, n: int) -> tuple[bool, ...]:
    """Which of `n` layers route: the file's own list, else the architecture's rule, else all or none."""
    n_experts, _ = experts(k)
    if not n_experts:
        return (False,) * n
    own = k.strings("mlp_layer_types")
    if own is not None:
        return tuple(i < len(own) and own[i] in SPARSE for i in range(n))
    record = find(k.model_type)
    return tuple(record.moe_layers(k, n)) if record and record.moe_layers else (True,) * n
