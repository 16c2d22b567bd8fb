"""What towers are built of: patches cut from an image, encoder layers, projectors."""

from __future__ import annotations

from inspector.architectures.hf.record import ExpectedTensor
from inspector.architectures.hf_blocks import linear, norm
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Tensors = Iterator[ExpectedTensor]


class Encoder(Record):
    """One encoder's layer: widths, and how it differs from ViT's (LayerNorms, biases everywhere, a plain MLP).

    `attention_width`: of queries, keys and values (0: the hidden width); `fused`: q, k and v in one projection;
    `kv_bias`: of what is not fused; `gated`: an MLP with a gate; `rms`: norms without a bias; `scales`: vectors that
    scale a residual branch; `head_norm`: width of a norm of queries and of keys (0: none).
    """

    hidden: int
    width: int
    fused: bool = False
    qkv_bias: bool = True
    k_bias: bool = True
    o_bias: bool = True
    mlp_bias: bool = True
    gated: bool = False
    rms: bool = False
    norms: int = 2
    scales: int = 0
    head_norm: int = 0
    attention_width: int = 0


def encoder_layers(at: str, n: int, e: Encoder) -> Tensors:
    """`n` layers alike; names are those of most published files (blocks of a tower under `at`)."""
    for i in range(n):
        yield from _layer(f"{at}{i}.", e)


def _layer(at: str, e: Encoder) -> Tensors:
    inner = e.attention_width or e.hidden
    if e.fused:
        yield from linear(f"{at}attn.qkv", 3 * inner, e.hidden, "attention", bias=e.qkv_bias)
    else:
        for name in ("q_proj", "k_proj", "v_proj"):
            bias = e.qkv_bias and (e.k_bias or name != "k_proj")
            yield from linear(f"{at}self_attn.{name}", inner, e.hidden, "attention", bias=bias)
    yield from linear(f"{at}attn.proj" if e.fused else f"{at}self_attn.out_proj", e.hidden, inner, "attention",
                      bias=e.o_bias)  # fmt: skip
    if e.head_norm:
        yield from norm(f"{at}attn.q_norm", e.head_norm)
        yield from norm(f"{at}attn.k_norm", e.head_norm)
    for name in ("gate_proj", "up_proj") if e.gated else ("fc1",):
        yield from linear(f"{at}mlp.{name}", e.width, e.hidden, "mlp", bias=e.mlp_bias)
    yield from linear(f"{at}mlp.{'down_proj' if e.gated else 'fc2'}", e.hidden, e.width, "mlp", bias=e.mlp_bias)
    for i in range(e.norms):
        yield from norm(f"{at}norm{i + 1}", e.hidden, ln=not e.rms)
    for i in range(e.scales):
        yield ExpectedTensor(f"{at}lambda_{i + 1}", (e.hidden,), "other")


def patches(name: str, hidden: int, *kernel: int, channels: int = 3, bias: bool = True) -> Tensors:
    """A convolution that cuts an image (or a clip) into patches."""
    yield ExpectedTensor(f"{name}.weight", (hidden, channels, *kernel), "embedding")
    if bias:
        yield ExpectedTensor(f"{name}.bias", (hidden,), "embedding")


def table(name: str, rows: int, hidden: int) -> Tensors:
    """Learned positions, or anything else with a row for each."""
    yield ExpectedTensor(name, (rows, hidden), "embedding")


def mlp2(at: str, names: tuple[str, str], widths: tuple[int, int, int], *, bias: bool = True) -> Tensors:
    """Two projections one after the other: from widths[0] over widths[1] to widths[2]."""
    for name, inner, out in zip(names, widths[:2], widths[1:], strict=True):
        yield from linear(at + name, out, inner, "mlp", bias=bias)
