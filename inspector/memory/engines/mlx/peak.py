"""What a pass over a prompt holds on an Apple GPU beside weights and caches. Modelled: MLX evaluates lazily.

MLX hands the GPU its work in command buffers, and what one touches stays until it is done: a buffer is closed after
50 operations or 50 MiB of arrays (mlx/backend/metal/device.cpp), and at most 10 run at once (mlx/transforms.cpp
MAX_ACTIVE_TASKS). So ten buffers' worth of temporaries are alive, each over its limit by about one array.
"""

from __future__ import annotations

from inspector.layers import KVCache, LatentCache, StateCache
from inspector.memory.engines.mlx.kept import EXPANDS
from inspector.memory.engines.mlx.support import module_of
from inspector.memory.engines.shared.kv_options import config_value
from inspector.units import MIB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from inspector.facts import ModelFacts
    from inspector.layers import Layer
    from inspector.memory.engines.mlx.kept import Setup

_TASKS: Final = 10
_OPS: Final = 50
_BUFFER: Final = 50 * MIB
_ARRAYS: Final = 20  # a layer of a decoder writes about so many: norms, projections, rotations, MLP, sums
_FUSED: Final = frozenset({64, 80, 128})  # head sizes of Metal's fused attention over many queries
_FUSED_WORDS: Final = "64, 80 or 128"
# Measured over this reading: mlx-lm's own published peaks, 11 of two models with fused attention
# (fixtures/mlx_peaks.jsonl).
_MEASURED: Final = (0.965, 1.147)


def _mixer(facts: ModelFacts, layer: Layer) -> int:
    """Elements a token that attention or a recurrent mixer writes."""
    found = 0
    for cache in layer.caches:
        if isinstance(cache, StateCache):
            found += 4 * cache.conv_channels
        elif isinstance(cache, KVCache):
            heads = layer.n_heads or facts.n_heads or cache.n_kv_heads
            found += 4 * heads * cache.head_dim_k + 2 * (cache.width_k + cache.width_v)
        elif isinstance(cache, LatentCache):
            nope, v_dim = config_value(facts, "qk_nope_head_dim"), config_value(facts, "v_head_dim")
            per_head = sum(n for n in (nope, v_dim) if isinstance(n, int)) + cache.rope_dim
            found += 3 * (layer.n_heads or facts.n_heads or 1) * per_head
    return found


def _feed_forward(facts: ModelFacts, layer: Layer) -> int:
    """Elements a token that the MLP or the routed experts write."""
    d_model = facts.d_model or 0
    if layer.ffn == "moe":
        used, width = facts.n_experts_used or 1, facts.d_ff_expert or facts.d_ff or 0
        return used * (4 * d_model + 3 * width)
    return 0 if layer.ffn == "none" else 3 * (layer.d_ff or facts.d_ff or 4 * d_model)


def _scores(facts: ModelFacts, layer: Layer, s: Setup, *, quantised: bool) -> tuple[int, str]:
    """Elements of attention scores that are written out in the largest pass, and why they are."""
    heads = layer.n_heads or facts.n_heads or 1
    cells = s.n_seqs * heads * s.fed.largest * s.fed.tokens
    kv = next((c for c in layer.caches if isinstance(c, (KVCache, LatentCache))), None)
    if kv is None or s.fed.largest == 1:
        return 0, ""
    if isinstance(kv, LatentCache) and module_of(facts) not in EXPANDS:
        return cells, "rotary scores of every head as a mask"
    if quantised:
        return 2 * cells, "scores over a quantised cache"
    if config_value(facts, "attn_logit_softcapping") is not None and module_of(facts) == "gemma2":
        return 2 * cells, "capped scores"
    if isinstance(kv, LatentCache) or kv.head_dim_k not in _FUSED or kv.head_dim_k != kv.head_dim_v:
        return 2 * cells, f"scores: fused attention takes heads of {_FUSED_WORDS} only"
    return 0, ""


def transient(facts: ModelFacts, s: Setup, *, quantised: bool) -> tuple[int, int, str] | None:
    """Least and most bytes of temporaries alive at once in the largest pass, and how they come about.

    None: widths are not known. Measured where attention is fused; else a command buffer may hold one array of scores
    more, and of recurrent layers all that one writes, which is the most.
    """
    if not facts.d_model or not facts.layers:
        return None
    rows = s.n_seqs * max(s.fed.largest, 1)
    sizes, reasons, largest = [], [], 0
    for layer in facts.layers:
        written = rows * (6 * facts.d_model + _mixer(facts, layer) + _feed_forward(facts, layer))
        scores, why = _scores(facts, layer, s, quantised=quantised)
        sizes.append((written + scores) * s.elem)
        reasons += [why] if why else []
        states = any(isinstance(c, StateCache) for c in layer.caches)
        largest = max(largest, scores * s.elem, sizes[-1] if states else 0)
    array = max(sizes) // _ARRAYS
    alive = min(sum(sizes), _TASKS * min(_BUFFER + array, _OPS * array))
    most = max(alive, min(sum(sizes), _TASKS * (_BUFFER + largest))) if largest else alive
    last = s.n_seqs * (facts.vocab_size or 0) * (s.elem + 4)
    words = f"10 command buffers of a pass of {s.fed.largest:,} tokens × {s.n_seqs}, by the source of MLX"
    low, high = int((alive + last) * _MEASURED[0]), int((most + last) * _MEASURED[1])
    return low, high, "; ".join((words, *dict.fromkeys(reasons)))
