"""DeepSeek-V4: one shared key-value head, compressed caches, streams that are mixed around every block."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import ExpectedTensor, ModelType
from inspector.architectures.hf_blocks import linear, norm
from inspector.architectures.hf_decoders import decoder, gated, routed_experts
from inspector.layers import CompressedCache, KVCache, LatentCache, UnknownCache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Final

    from inspector.architectures.hf_caches import Caches
    from inspector.architectures.hf_config import HfConfig

    Tensors = Iterator[ExpectedTensor]

WINDOW, SPARSE, HEAVY = "sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention"
# What `compress_ratios` of published files stand for (configuration_deepseek_v4.py); one row for so many tokens.
_KINDS: Final = {0: WINDOW, 1: WINDOW, 4: SPARSE, 128: HEAVY}


def _layers(k: HfConfig, n: int) -> Sequence[str]:
    ratios = k.ints("compress_ratios")
    if ratios is not None:
        return tuple(_KINDS.get(r, f"compressed_{r}") for r in ratios[:n])
    return tuple(HEAVY if i < 2 else (SPARSE, HEAVY)[i % 2] for i in range(n))


def _ratio(kind: str) -> int:
    return next((r for r, name in _KINDS.items() if name == kind and r > 1), 0)


def _caches(k: HfConfig, kind: str, _i: int) -> Caches:
    """Keys and values of a window; where there is a compressor, one vector for both, and what it makes of the rest.

    modeling_deepseek_v4.py: DeepseekV4HCACache, DeepseekV4CSACache.
    """
    dim, window, ratio = k.count("head_dim"), k.count("sliding_window"), _ratio(kind)
    if not dim or not window:
        return (UnknownCache(kind),)
    if kind == WINDOW:
        return (KVCache(1, dim, dim, window),)
    rope = min(k.count("qk_rope_head_dim", 0) or 0, dim)
    raw = LatentCache(dim - rope, rope, window)
    if kind == HEAVY:
        return raw, CompressedCache("hca", ratio, dim, state_width=dim, state_rows=ratio)
    index = k.count("index_head_dim", 128) or 128
    return (
        raw,
        CompressedCache("csa", ratio, dim, state_width=2 * dim, state_rows=2 * ratio),
        CompressedCache("lid", ratio, index, state_width=2 * index, state_rows=2 * ratio),
    )


def _compressor(at: str, hidden: int, width: int, ratio: int, dim: int) -> Tensors:
    yield from linear(f"{at}wkv", width, hidden, "attention")
    yield from linear(f"{at}wgate", width, hidden, "attention")
    yield ExpectedTensor(f"{at}ape", (ratio, width), "attention")
    yield from norm(f"{at}norm", dim)


def _streams(k: HfConfig, at: str) -> Tensors:
    """Hyper-connections: weights that read, write and mix the streams."""
    n = k.need("hc_mult")
    yield ExpectedTensor(f"{at}fn", ((2 + n) * n, n * k.need("hidden_size")), "other")
    yield ExpectedTensor(f"{at}base", ((2 + n) * n,), "other")
    yield ExpectedTensor(f"{at}scale", (3,), "other")


def _mixer(k: HfConfig, at: str, kind: str, _i: int) -> Tensors:
    hidden, heads, dim, rank = k.need("hidden_size"), k.n_heads or 0, k.need("head_dim"), k.need("q_lora_rank")
    groups, o_rank = k.need("o_groups"), k.need("o_lora_rank")
    at = f"{at}attn."
    yield from linear(f"{at}wq_a", rank, hidden, "attention")
    yield from norm(f"{at}q_norm", rank)
    yield from linear(f"{at}wq_b", heads * dim, rank, "attention")
    yield from linear(f"{at}wkv", dim, hidden, "attention")
    yield from norm(f"{at}kv_norm", dim)
    yield from linear(f"{at}wo_a", groups * o_rank, heads * dim // groups, "attention")
    yield from linear(f"{at}wo_b", hidden, groups * o_rank, "attention")
    yield ExpectedTensor(f"{at}attn_sink", (heads,), "attention")
    if ratio := _ratio(kind):
        yield from _compressor(f"{at}compressor.", hidden, dim * (2 if kind == SPARSE else 1), ratio, dim)
    if kind == SPARSE:
        n, index = k.need("index_n_heads"), k.need("index_head_dim")
        yield from _compressor(f"{at}indexer.compressor.", hidden, 2 * index, _ratio(kind), index)
        yield from linear(f"{at}indexer.wq_b", n * index, rank, "attention")
        yield from linear(f"{at}indexer.weights_proj", n, hidden, "attention")
    yield from _streams(k, f"{at}hc.")


def _ffn(k: HfConfig, at: str, _routed: bool, _i: int) -> Tensors:
    hidden, n, width = k.need("hidden_size"), k.need("num_experts"), k.need("moe_intermediate_size")
    at = f"{at}ffn."
    yield from linear(f"{at}gate", n, hidden, "router")
    yield from routed_experts(at, n, hidden, width)
    yield from gated(f"{at}shared_experts.", hidden, width)
    yield from _streams(k, f"{at}hc.")


def _tensors(k: HfConfig) -> Tensors:
    yield from decoder(k, mixer=_mixer, ffn=_ffn)
    n = k.need("hc_mult")
    yield ExpectedTensor("model.hc_head.fn", (n, n * k.need("hidden_size")), "other")
    yield ExpectedTensor("model.hc_head.base", (n,), "other")
    yield ExpectedTensor("model.hc_head.scale", (1,), "other")


MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    {
        "deepseek_v4": ModelType(attention=_caches, layer_types=_layers, tensors=_tensors, eager=True),
    }
)
