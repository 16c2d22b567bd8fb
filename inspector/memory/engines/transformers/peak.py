"""The most that a transformers prefill holds at once beside weights and the finished cache.

Each moment is the list of tensors that are alive while one operation runs, as modeling_*.py of transformers 5.24.0
keeps them in Python variables; the peak is the largest moment. Workspaces inside kernels are not counted.
"""

from __future__ import annotations

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from inspector.architectures.hf.record import Activations


# Fallbacks in plain torch that materialise a chunked scan in float32: nothing is claimed of them.
SCANNED: Final = frozenset({"mamba1", "mamba2", "gdn", "kda", "lightning", "rglru", "rwkv", "cca"})


class Shape(Record):
    """The sizes that a prefill's tensors are made of. `elem`: bytes of the compute dtype.

    `windows`: the distinct windows of its layers (None: full attention); `n_sliding`: layers that slide; `rot`: rotary
    dimensions (0: no rotary embedding), for each of `n_ropes` kinds; `latent_rank` 0 where keys are not compressed.
    """

    n_seqs: int
    n_tokens: int
    elem: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    head_dim_k: int
    head_dim_v: int
    vocab: int
    d_ff: int = 0
    d_expert: int = 0
    n_experts: int = 0
    top_k: int = 0
    rot: int = 0
    n_ropes: int = 1
    windows: tuple[int | None, ...] = (None,)
    n_sliding: int = 0
    n_layers: int = 2
    latent_rank: int = 0
    nope: int = 0
    layer_cache: int = 0

    @property
    def rows(self) -> int:
        """Tokens of all sequences."""
        return self.n_seqs * self.n_tokens


def _common(s: Shape, f: Activations) -> int:
    """Alive through every layer: cosines and sines, position ids, one counter of every sliding layer's cache."""
    width = 4 if f.rope_f32 else s.elem
    return s.n_tokens * (2 * s.rot * width * s.n_ropes + f.positions) + 8 * s.n_sliding


def _masks(s: Shape, f: Activations, attn: str) -> int:
    """Attention masks: none where the kernel is causal by itself, one of every kind otherwise.

    sdpa: booleans, for windows that the prompt fills (masking_utils.py _ignore_causal_mask_sdpa); eager: the compute
    dtype, for every kind of layer.
    """
    if attn == "flash":
        return 0
    cells = s.n_tokens * s.n_tokens
    if attn == "sdpa":  # one for all sequences, broadcast
        return cells * sum(w is not None and s.n_tokens >= w for w in s.windows)
    return cells * s.n_seqs * s.elem * max(len(s.windows), 1 + f.two_masks)


def _experts(s: Shape, f: Activations) -> int:
    """Routed experts at their largest moment, the routing tables included (integrations/moe.py grouped_mm)."""
    k = f.fixed_k or s.top_k
    picked, h, i, e = s.rows * k, s.d_model, s.d_expert, s.elem
    tables = s.rows * s.n_experts * 4 + picked * 40
    shapes = {
        "split": picked * e * max(4 * i + h, 4 * h),
        "float32": picked * max(e * (4 * i + h), h * (2 * e + 8)),
        "gpt_oss": picked * e * (h + 9 * i),
        "dense": s.rows * s.n_experts * e * (4 * i + h),
    }
    return shapes[f.moe] + tables + s.rows * h * e * f.shared


def _mlp(s: Shape, f: Activations, attn: str) -> int:
    held = f.residuals if s.n_layers > 1 else f.residuals - 1
    inner = _experts(s, f) if s.top_k or f.fixed_k else int(s.rows * s.elem * f.mlp * s.d_ff)
    if attn == "eager":  # the layer's forward still names the attention weights that it got back
        inner += s.rows * s.n_heads * (s.n_tokens + (f.qkv == "sinks")) * s.elem
    return s.rows * s.d_model * s.elem * held + inner + _common(s, f) + _masks(s, f, attn)


def _projections(s: Shape, f: Activations) -> int:
    """Elements a token that attention holds of queries, keys and values beside the cache, at its peak."""
    q, kv = s.n_heads * s.head_dim_k, s.n_kv_heads
    if f.qkv == "latent":
        nope = s.nope or s.head_dim_k - s.rot
        up = s.n_heads * (nope + s.head_dim_v)
        return up + 3 * q + s.n_heads * s.rot + s.latent_rank + s.rot
    rotated = (s.n_heads + kv) * s.rot + q + kv * s.head_dim_k
    all_of_them = q + kv * (s.head_dim_k + s.head_dim_v)
    return {"partial": q + rotated, "fused": q + all_of_them, "fused_view": all_of_them}.get(f.qkv, q)


def _repeats(s: Shape, f: Activations) -> int:
    """Elements a token of keys and values repeated for every query head; one head is broadcast without a copy."""
    if s.n_kv_heads in {1, s.n_heads} or f.qkv == "latent":
        return 0
    return s.n_heads * (s.head_dim_k + s.head_dim_v)


def _eager(s: Shape, f: Activations) -> int:
    """The softmax of eager attention: scores, a float32 copy and its softmax; with float32 two copies in all."""
    t, e = s.n_tokens, s.elem
    if f.qkv == "sinks":
        cells = s.n_seqs * s.n_heads * t * (2 * (t + 1) + t) * e
    else:
        times, further = f.scores if e < 4 else (2, 0)
        cells = s.n_seqs * s.n_heads * t * t * (times * e + further)
    held = s.rows * e * (f.attention * s.d_model + _projections(s, f) + _repeats(s, f))
    return cells + held + _common(s, f) + _masks(s, f, "eager")


def _rotation(s: Shape, f: Activations) -> int:
    """Interleaved rotary embeddings run in float32 (modeling_cohere.py): four copies of the queries, one of the keys.

    The layer's own keys and values are not in the cache yet.
    """
    if f.qkv != "interleaved" or not s.rot:
        return 0
    q, kv = s.n_heads * s.head_dim_k, s.n_kv_heads * s.head_dim_k
    held = s.rows * (s.elem * (f.attention * s.d_model + q + 2 * kv) + 4 * (4 * q + kv))
    return held + _common(s, f) - s.layer_cache


def _logits(s: Shape, f: Activations, *, every: bool) -> int:
    """All rows of logits, or the last of each sequence with the float32 copy that generate() makes."""
    if every:
        return s.rows * s.elem * (s.d_model + f.copies * s.vocab) + 8 * s.n_sliding
    return s.rows * s.d_model * s.elem + s.n_seqs * s.vocab * (f.copies * s.elem + 4)


def moments(s: Shape, f: Activations, *, attn: str, every_logit: bool) -> dict[str, int]:
    """Bytes alive at each candidate for the peak. `attn`: flash, sdpa or eager."""
    found = {"MLP": _mlp(s, f, attn), "logits": _logits(s, f, every=every_logit), "rotary": _rotation(s, f)}
    if attn == "eager":
        found["attention"] = _eager(s, f)
    return found
