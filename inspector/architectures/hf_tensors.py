"""The tensors that a config.json promises: names as published files write them, shapes, and what each is for.

Read off the modules that transformers 5.24.0 builds (models/*/modeling_*.py). Routed experts appear one by one, as
published files keep them, although transformers 5 fuses them once loaded. What is tied is left out, as are buffers.
"""

from __future__ import annotations

from inspector.architectures.hf import find
from inspector.architectures.hf_blocks import (
    ExpectedTensor,
    attention,
    dense_mlp,
    experts_of,
    gated_delta_net,
    lightning,
    mamba1,
    mamba2,
    mla,
    mlp_of,
    norm,
    shortconv,
)
from inspector.architectures.hf_experts import moe_layers
from inspector.architectures.hf_types import CONV, LINEAR, layer_types
from inspector.errors import FactsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from inspector.architectures.hf.record import Layout
    from inspector.architectures.hf_config import HfConfig

# Kimi K2 has 70,000; a config that asks for more than this is not answered tensor by tensor.
MAX_TENSORS: Final = 80_000


def expected_tensors(k: HfConfig) -> tuple[ExpectedTensor, ...] | None:
    """Every tensor of the language model, or None where this architecture has no rule.

    Names and shapes are those of published files (outermost first). Raises FactsError where a key is missing that a
    shape depends on.
    """
    record = find(k.model_type)
    if record is None or not (record.tensors or record.layout):
        return None
    try:
        found = record.tensors(k) if record.tensors else _decoder(k, record.layout) if record.layout else ()
        tensors: list[ExpectedTensor] = []
        for t in found:
            tensors.append(t)
            if len(tensors) > MAX_TENSORS:
                raise FactsError(f"config.json promises over {MAX_TENSORS:,} tensors")
    except (TypeError, ArithmeticError, AssertionError) as e:  # None or zero where a shape needs a count
        raise FactsError(f"config.json does not give all sizes of {k.model_type}") from e
    return tuple(tensors)


def tied(k: HfConfig) -> bool:
    """Whether the head is the embedding."""
    for mapping in (k.inner, k.outer):
        for key in ("tie_word_embeddings", "tie_embedding"):
            if isinstance(mapping.get(key), bool):
                return bool(mapping[key])
    return bool(k.defaults.get("tie_word_embeddings", True))


def _decoder(k: HfConfig, layout: Layout) -> Iterator[ExpectedTensor]:
    hidden, vocab = k.need("hidden_size"), k.need("vocab_size")
    yield ExpectedTensor("model.embed_tokens.weight", (vocab, hidden), "embedding")
    n = k.n_layers
    kinds, _ = layer_types(k, n)
    moe = moe_layers(k, n)
    for i in range(n):
        yield from _layer(k, layout, f"model.layers.{i}.", kinds[i], routed=moe[i])
    if layout.final:
        yield from norm(layout.final or "model.norm", hidden, ln=layout.ln)
    if not tied(k):
        yield ExpectedTensor("lm_head.weight", (vocab, hidden), "output")
        if layout.head_bias or (layout.head_bias_key and k.flag(layout.head_bias_key)):
            yield ExpectedTensor("lm_head.bias", (vocab,), "output")


def _layer(k: HfConfig, layout: Layout, at: str, kind: str, *, routed: bool) -> Iterator[ExpectedTensor]:
    hidden = k.need("hidden_size")
    norms = layout.norms
    if layout.parallel_key and k.flag(layout.parallel_key):
        norms = norms[:1]
    for name in norms:
        yield from norm(at + name, hidden, ln=layout.ln)
    yield from _mixer(k, layout, at, kind)
    if routed and layout.moe:
        yield from experts_of(k, layout, at)
    elif k.model_type == "granitemoehybrid":
        yield from mlp_of(k, layout, at)  # dense models of the layout have the shared MLP alone
    else:
        yield from dense_mlp(k, layout, at + layout.mlp_at + ".", _dense_width(k, layout))


def _dense_width(k: HfConfig, layout: Layout) -> int:
    if layout.moe == "llama4":
        return k.count("intermediate_size_mlp") or k.need("intermediate_size")
    if layout.mlp == "w123" and not layout.moe:
        return lfm2_width(k)
    return k.need("intermediate_size")


def lfm2_width(k: HfConfig) -> int:
    """LFM2 shrinks the width that it is given to two thirds and rounds up (modeling_lfm2.py)."""
    width = k.count("block_ff_dim") or k.need("intermediate_size")
    if not k.flag("block_auto_adjust_ff_dim", default=True):
        return width
    width = int(2 * width / 3)
    multiplier = k.get("block_ffn_dim_multiplier", 1.0)
    if multiplier is not None:
        width = int(multiplier * width)
    step = k.count("block_multiple_of", 256) or 256
    return step * ((width + step - 1) // step)


def _mixer(k: HfConfig, layout: Layout, at: str, kind: str) -> Iterator[ExpectedTensor]:
    if k.model_type == "falcon_h1":
        yield from mamba2(k, at + "mamba.")
        yield from attention(k, layout, at + "self_attn.")
    elif kind == LINEAR:
        if k.model_type.startswith("qwen3_"):
            yield from gated_delta_net(k, at + "linear_attn.")
        elif k.model_type == "minimax":
            yield from lightning(k, at + "self_attn.")
        elif k.model_type == "jamba":
            yield from mamba1(k, at + "mamba.")
        else:
            yield from mamba2(k, at + "mamba.")
    elif kind == CONV:
        yield from shortconv(k, at + "conv.")
    elif layout.mla:
        yield from mla(k, at + "self_attn.")
    else:
        yield from attention(k, layout, at + "self_attn.")
