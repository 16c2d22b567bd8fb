"""A decoder whose layers are built by functions of its own family: embedding, layers, last norm, head."""

from __future__ import annotations

from inspector.architectures.hf.record import ExpectedTensor
from inspector.architectures.hf_blocks import embedding, head, linear, norm
from inspector.architectures.hf_experts import moe_layers
from inspector.architectures.hf_types import layer_types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final

    from inspector.architectures.hf_config import HfConfig

    Tensors = Iterator[ExpectedTensor]
    Mixer = Callable[[HfConfig, str, str, int], Tensors]  # config, prefix, layer type, index
    Ffn = Callable[[HfConfig, str, bool, int], Tensors]  # config, prefix, whether it routes, index

LLAMA_NORMS: Final = ("input_layernorm", "post_attention_layernorm")


def decoder(k: HfConfig, *, mixer: Mixer, ffn: Ffn, norms: tuple[str, ...] = LLAMA_NORMS) -> Tensors:
    """The tensors of a decoder: `mixer` lays out attention or what stands for it, `ffn` the MLP or the experts."""
    yield from embedding("model.embed_tokens", k)
    n = k.n_layers
    kinds, _ = layer_types(k, n)
    routed = moe_layers(k, n)
    for i in range(n):
        at = f"model.layers.{i}."
        for name in norms:
            yield from norm(at + name, k.need("hidden_size"))
        yield from mixer(k, at, kinds[i], i)
        yield from ffn(k, at, routed[i], i)
    yield from norm("model.norm", k.need("hidden_size"))
    yield from head(k, default_tied=False)


def gated(at: str, hidden: int, width: int, role: str = "mlp") -> Tensors:
    """Gate, up and down."""
    for name in ("gate_proj", "up_proj"):
        yield from linear(at + name, width, hidden, role)
    yield from linear(f"{at}down_proj", hidden, width, role)


def routed_experts(at: str, n: int, hidden: int, width: int) -> Tensors:
    """`n` gated experts, one row for all of them."""
    for name in ("gate_proj", "up_proj"):
        yield ExpectedTensor(f"{at}experts.0.{name}.weight", (width, hidden), "expert", n)
    yield ExpectedTensor(f"{at}experts.0.down_proj.weight", (hidden, width), "expert", n)


def grouped_attention(
    k: HfConfig, at: str, heads: int, kv: int, dim: int, *, dim_v: int = 0, head_norm: bool = False
) -> Tensors:
    """Query, key, value and output projections of these head counts, without biases."""
    hidden = k.need("hidden_size")
    yield from linear(f"{at}q_proj", heads * dim, hidden, "attention")
    yield from linear(f"{at}k_proj", kv * dim, hidden, "attention")
    yield from linear(f"{at}v_proj", kv * (dim_v or dim), hidden, "attention")
    yield from linear(f"{at}o_proj", hidden, heads * (dim_v or dim), "attention")
    if head_norm:
        yield from norm(f"{at}q_norm", dim)
        yield from norm(f"{at}k_norm", dim)
