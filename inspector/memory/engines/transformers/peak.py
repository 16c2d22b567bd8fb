"""The most that a transformers prefill holds at once beside weights and the finished cache.

Each moment is the list of tensors that are alive while one operation runs, as modeling_*.py of transformers 5.24.0
keeps them in Python variables; the peak is the largest moment. Workspaces inside kernels are not counted.
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final


class Family(Record):
    """How one modeling file holds its tensors. H: the hidden width; e: bytes of the compute dtype.

    `residuals`: tensors of H alive in the MLP (embeddings, layer input, residual, normed); `attention`: the same in
    attention; `mlp`: tensors of the MLP's width at its peak (gated 3, fused gate and up 4, plain 2);
    `rope_f32`: cosines and sines stay in float32; `positions`: bytes a token of position ids and masks;
    `copies`: tensors of logits at once; `moe`: split (grouped matmul), float32 (weighted in float32), gpt_oss, or
    dense (every expert sees every token); `shared`: tensors of H of shared experts alive beside the routed ones;
    `scores`: (multiples of e, further bytes) a score in eager attention; `qkv`: what else eager attention holds.
    `fixed_k`: experts a token whatever the config says. `two_masks`: eager attention makes a full and a sliding mask
    whether or not a layer slides.
    """

    residuals: int = 4
    attention: int = 3
    mlp: float = 3.0
    rope_f32: bool = False
    positions: int = 8
    copies: int = 1
    moe: str = "split"
    shared: int = 0
    scores: tuple[int, int] = (1, 8)
    qkv: str = "q"
    fixed_k: int | None = None
    two_masks: bool = False


_GATED: Final = Family()
_POST_NORM: Final = Family(residuals=3, attention=2)
_PLAIN: Final = Family(mlp=2.0)
_TWO_MASKS: Final = Family(two_masks=True)
_SQUARED: Final = Family(mlp=3.0)
_F32_WEIGHTED: Final = Family(moe="float32")
# fmt: off
FAMILIES: Final[Mapping[str, Family]] = MappingProxyType({
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "smollm3", "helium", "seed_oss", "internlm3", "gemma",
                     "qwen3_moe", "mixtral", "olmoe", "minimax_m2", "lfm2", "ministral3", "cwm", "exaone",
                     "hunyuan_v1_dense"), _GATED),
    **dict.fromkeys(("gemma3_text", "ministral"), _TWO_MASKS),
    **dict.fromkeys(("gemma2", "vaultgemma"), _TWO_MASKS.replace(copies=2)), "nanochat": Family(copies=2),
    **dict.fromkeys(("glm", "glm4"), Family(mlp=4.0)), "phi3": Family(mlp=4.0, qkv="fused"),
    **dict.fromkeys(("olmo", "ernie4_5"), Family(rope_f32=True)),
    "olmo2": _POST_NORM.replace(rope_f32=True), "flex_olmo": _POST_NORM.replace(rope_f32=True),
    "olmo3": _POST_NORM.replace(rope_f32=True, two_masks=True), "exaone4": _POST_NORM,
    **dict.fromkeys(("granite", "granitemoe", "granitemoeshared"), Family(copies=2)),
    "cohere": Family(copies=2, qkv="interleaved"),
    **dict.fromkeys(("cohere2", "cohere2_moe"), Family(copies=2, qkv="interleaved", two_masks=True)),
    "starcoder2": _PLAIN, **dict.fromkeys(("nemotron", "arcee", "jais2"), _SQUARED), "apertus": Family(mlp=5.5),
    "stablelm": Family(residuals=6, qkv="partial"), "phi": Family(mlp=4.0, qkv="partial"),
    "gpt_neox": Family(mlp=2.0, qkv="fused"), "opt": Family(mlp=2.0, attention=4, positions=12),
    "gpt2": Family(residuals=6, mlp=4.0, attention=4, scores=(2, 0), qkv="fused_view"),
    "gpt_bigcode": Family(residuals=6, mlp=2.0, attention=4, qkv="fused_view"),
    "falcon": Family(mlp=2.0, scores=(4, 0), qkv="fused"),
    "bloom": Family(mlp=2.0, scores=(3, 8), qkv="fused_view"), "mpt": Family(mlp=2.0, scores=(2, 8), qkv="fused_view"),
    **dict.fromkeys(("deepseek_v2", "deepseek_v3", "glm4_moe_lite"), _F32_WEIGHTED.replace(qkv="latent")),
    **dict.fromkeys(("glm4_moe", "dots1", "exaone_moe"), _F32_WEIGHTED),
    "afmoe": _F32_WEIGHTED.replace(shared=1, attention=4, two_masks=True),
    "qwen2_moe": Family(shared=1, two_masks=True), "hunyuan_v1_moe": Family(shared=1),
    "ernie4_5_moe": Family(shared=1, rope_f32=True), "phimoe": Family(fixed_k=2),
    "gpt_oss": Family(moe="gpt_oss", qkv="sinks", two_masks=True),
    "llama4_text": Family(moe="dense", shared=1),
})
# fmt: on
# Measured, and not like any of the above: nothing is claimed of them.
NOT_DERIVED: Final = frozenset(
    {
        "gemma3n_text",
        "gemma4_text",
        "gemma4_unified_text",
        "gptj",
        "codegen",
        "bitnet",
        "doge",
        "diffllama",
        "biogpt",
        "persimmon",
    }
)
# Types that do not declare `_supports_sdpa = True` in modeling_*.py: they fall back to eager attention.
# fmt: off
EAGER_BY_DEFAULT: Final = frozenset((
    "bloom", "cpmant", "deepseek_v4", "flint", "gemma2", "gemma4_text", "gemma4_unified_text", "gpt_neo",
    "gpt_neox_japanese", "gpt_oss", "granite_swa", "granitemoe_swa", "hy_v4", "inkling2", "megatron_bert",
    "mimo_v2_flash", "mpt", "mvp", "nllb_moe", "prophetnet", "rembert", "roformer", "t5gemma", "trocr", "vaultgemma",
    "xglm",
))
# fmt: on
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


def _common(s: Shape, f: Family) -> int:
    """Alive through every layer: cosines and sines, position ids, one counter of every sliding layer's cache."""
    width = 4 if f.rope_f32 else s.elem
    return s.n_tokens * (2 * s.rot * width * s.n_ropes + f.positions) + 8 * s.n_sliding


def _masks(s: Shape, f: Family, attn: str) -> int:
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


def _experts(s: Shape, f: Family) -> int:
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


def _mlp(s: Shape, f: Family, attn: str) -> int:
    held = f.residuals if s.n_layers > 1 else f.residuals - 1
    inner = _experts(s, f) if s.top_k or f.fixed_k else int(s.rows * s.elem * f.mlp * s.d_ff)
    if attn == "eager":  # the layer's forward still names the attention weights that it got back
        inner += s.rows * s.n_heads * (s.n_tokens + (f.qkv == "sinks")) * s.elem
    return s.rows * s.d_model * s.elem * held + inner + _common(s, f) + _masks(s, f, attn)


def _projections(s: Shape, f: Family) -> int:
    """Elements a token that attention holds of queries, keys and values beside the cache, at its peak."""
    q, kv = s.n_heads * s.head_dim_k, s.n_kv_heads
    if f.qkv == "latent":
        nope = s.nope or s.head_dim_k - s.rot
        up = s.n_heads * (nope + s.head_dim_v)
        return up + 3 * q + s.n_heads * s.rot + s.latent_rank + s.rot
    rotated = (s.n_heads + kv) * s.rot + q + kv * s.head_dim_k
    all_of_them = q + kv * (s.head_dim_k + s.head_dim_v)
    return {"partial": q + rotated, "fused": q + all_of_them, "fused_view": all_of_them}.get(f.qkv, q)


def _repeats(s: Shape, f: Family) -> int:
    """Elements a token of keys and values repeated for every query head; one head is broadcast without a copy."""
    if s.n_kv_heads in {1, s.n_heads} or f.qkv == "latent":
        return 0
    return s.n_heads * (s.head_dim_k + s.head_dim_v)


def _eager(s: Shape, f: Family) -> int:
    """The softmax of eager attention: scores, a float32 copy and its softmax; with float32 two copies in all."""
    t, e = s.n_tokens, s.elem
    if f.qkv == "sinks":
        cells = s.n_seqs * s.n_heads * t * (2 * (t + 1) + t) * e
    else:
        times, further = f.scores if e < 4 else (2, 0)
        cells = s.n_seqs * s.n_heads * t * t * (times * e + further)
    held = s.rows * e * (f.attention * s.d_model + _projections(s, f) + _repeats(s, f))
    return cells + held + _common(s, f) + _masks(s, f, "eager")


def _rotation(s: Shape, f: Family) -> int:
    """Interleaved rotary embeddings run in float32 (modeling_cohere.py): four copies of the queries, one of the keys.

    The layer's own keys and values are not in the cache yet.
    """
    if f.qkv != "interleaved" or not s.rot:
        return 0
    q, kv = s.n_heads * s.head_dim_k, s.n_kv_heads * s.head_dim_k
    held = s.rows * (s.elem * (f.attention * s.d_model + q + 2 * kv) + 4 * (4 * q + kv))
    return held + _common(s, f) - s.layer_cache


def _logits(s: Shape, f: Family, *, every: bool) -> int:
    """All rows of logits, or the last of each sequence with the float32 copy that generate() makes."""
    if every:
        return s.rows * s.elem * (s.d_model + f.copies * s.vocab) + 8 * s.n_sliding
    return s.rows * s.d_model * s.elem + s.n_seqs * s.vocab * (f.copies * s.elem + 4)


def moments(s: Shape, f: Family, *, attn: str, every_logit: bool) -> dict[str, int]:
    """Bytes alive at each candidate for the peak. `attn`: flash, sdpa or eager."""
    found = {"MLP": _mlp(s, f, attn), "logits": _logits(s, f, every=every_logit), "rotary": _rotation(s, f)}
    if attn == "eager":
        found["attention"] = _eager(s, f)
    return found
