"""The parts that layers are built of, as tensors: attention, MLPs, experts, state-space mixers."""

from __future__ import annotations

from inspector.architectures.hf.record import FIRST_EXPERT, ExpectedTensor, Layout
from inspector.architectures.hf_experts import experts
from inspector.architectures.hf_lookup import find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.architectures.hf_config import HfConfig


def linear(name: str, out: int, inner: int, role: str, *, bias: bool = False) -> Iterator[ExpectedTensor]:
    """A projection of `inner` to `out` features."""
    yield ExpectedTensor(f"{name}.weight", (out, inner), role)
    if bias:
        yield ExpectedTensor(f"{name}.bias", (out,), role)


def norm(name: str, width: int, *, ln: bool = False) -> Iterator[ExpectedTensor]:
    """An RMS norm, or a LayerNorm with its bias."""
    yield ExpectedTensor(f"{name}.weight", (width,), "norm")
    if ln:
        yield ExpectedTensor(f"{name}.bias", (width,), "norm")


def attention(k: HfConfig, layout: Layout, at: str) -> Iterator[ExpectedTensor]:
    """Query, key, value and output projections, and what an architecture adds to them."""
    hidden, heads, kv, dim = k.need("hidden_size"), k.n_heads, k.n_kv_heads, k.head_dim
    assert heads is not None
    assert kv is not None
    assert dim is not None
    both = bool(layout.bias_key) and k.flag(layout.bias_key)
    qkv_bias = layout.qkv_bias or both or (bool(layout.qkv_bias_key) and k.flag(layout.qkv_bias_key))
    o_key = layout.bias_key if layout.o_bias_key is None else layout.o_bias_key
    o_bias = layout.o_bias or (bool(o_key) and k.flag(o_key))
    if layout.fused_qkv:
        yield from linear(f"{at}qkv_proj", (heads + 2 * kv) * dim, hidden, "attention")
    else:
        yield from linear(f"{at}q_proj", heads * dim * (2 if layout.gated_q else 1), hidden, "attention", bias=qkv_bias)
        yield from linear(f"{at}k_proj", kv * dim, hidden, "attention", bias=qkv_bias)
        yield from linear(f"{at}v_proj", kv * dim, hidden, "attention", bias=qkv_bias)
    yield from linear(f"{at}{layout.o}", hidden, heads * dim, "attention", bias=o_bias)
    if layout.sinks:
        yield ExpectedTensor(f"{at}sinks", (heads,), "attention")
    q_name, k_name = layout.qk_norm_names
    if layout.qk_norm:
        widths = (dim, dim) if layout.qk_norm == "head" else (heads * dim, kv * dim)
        yield from norm(at + q_name, widths[0])
        yield from norm(at + k_name, widths[1])
    elif layout.head_norm_key and k.flag(layout.head_norm_key):
        yield from _head_norms(layout.head_norms, at, heads, kv, dim)


def _head_norms(kind: str, at: str, heads: int, kv: int, dim: int) -> Iterator[ExpectedTensor]:
    """Norms of query and key that a key switches on: one weight a head (cohere, stablelm) or shared (glm4_moe)."""
    if kind == "module":
        for name, n in (("q_layernorm", heads), ("k_layernorm", kv)):
            for i in range(n):
                yield ExpectedTensor(f"{at}{name}.norms.{i}.weight", (dim,), "norm")
    elif kind == "head":
        yield ExpectedTensor(f"{at}q_norm.weight", (heads, dim), "norm")
        yield ExpectedTensor(f"{at}k_norm.weight", (kv, dim), "norm")
    else:
        yield from norm(f"{at}q_norm", dim)
        yield from norm(f"{at}k_norm", dim)


def mla(k: HfConfig, layout: Layout, at: str) -> Iterator[ExpectedTensor]:
    """Latent attention: queries through a bottleneck where q_lora_rank says so, keys and values always."""
    hidden, heads = k.need("hidden_size"), k.n_heads
    rank, rope, nope, dim_v = (
        k.need(x) for x in ("kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim")
    )
    assert heads
    bias, q_rank = k.flag("attention_bias"), k.count("q_lora_rank")
    if q_rank:
        yield from linear(f"{at}q_a_proj", q_rank, hidden, "attention", bias=bias)
        yield from norm(f"{at}q_a_layernorm", q_rank)
        yield from linear(f"{at}q_b_proj", heads * (nope + rope), q_rank, "attention")
    else:
        yield from linear(f"{at}q_proj", heads * (nope + rope), hidden, "attention")
    yield from linear(f"{at}kv_a_proj_with_mqa", rank + rope, hidden, "attention", bias=bias)
    yield from norm(f"{at}kv_a_layernorm", rank)
    yield from linear(f"{at}kv_b_proj", heads * (nope + dim_v), rank, "attention")
    yield from linear(f"{at}o_proj", hidden, heads * dim_v, "attention", bias=bias)
    if layout.indexer:
        yield from _indexer(k, at + "indexer.", hidden, q_rank or hidden)


def _indexer(k: HfConfig, at: str, hidden: int, q_rank: int) -> Iterator[ExpectedTensor]:
    heads, dim = k.need("index_n_heads"), k.need("index_head_dim")
    yield from linear(f"{at}wq_b", heads * dim, q_rank, "attention")
    yield from linear(f"{at}wk", dim, hidden, "attention")
    yield from norm(f"{at}k_norm", dim, ln=True)
    yield from linear(f"{at}weights_proj", heads, hidden, "attention")


def dense_mlp(k: HfConfig, layout: Layout, at: str, width: int, *, role: str = "mlp") -> Iterator[ExpectedTensor]:
    """A feed-forward part of `width`, in the architecture's layout."""
    hidden = k.need("hidden_size")
    bias = layout.mlp_bias or (bool(layout.mlp_bias_key) and k.flag(layout.mlp_bias_key))
    names = {
        "gated": ("gate_proj", "up_proj", "down_proj"),
        "w123": ("w1", "w3", "w2"),
        "plain": ("", "up_proj", "down_proj"),
        "xielu": ("", "up_proj", "down_proj"),
        "fc": ("", "fc1", "fc2"),
        "c_fc": ("", "c_fc", "c_proj"),
        "fused": ("", "gate_up_proj", "down_proj"),
    }
    gate, up, down = names[layout.mlp]
    if gate:
        yield from linear(at + gate, width, hidden, role, bias=bias)
    yield from linear(at + up, width * (2 if layout.mlp == "fused" else 1), hidden, role, bias=bias)
    yield from linear(at + down, hidden, width, role, bias=bias)
    if layout.mlp == "xielu":
        yield ExpectedTensor(f"{at}act_fn.alpha_p", (1,), role)
        yield ExpectedTensor(f"{at}act_fn.alpha_n", (1,), role)


# Layout of routed experts: where the block sits, its router, its experts' projections (gate, up, down).
_EXPERT_NAMES = {
    "mixtral": ("block_sparse_moe.", "gate", ("w1", "w3", "w2")),
    "phimoe": ("block_sparse_moe.", "gate", ("w1", "w3", "w2")),
    "mlp": ("mlp.", "gate", ("gate_proj", "up_proj", "down_proj")),
    "qwen": ("mlp.", "gate", ("gate_proj", "up_proj", "down_proj")),
    "jamba": ("feed_forward.", "router", ("gate_proj", "up_proj", "down_proj")),
    "lfm2": ("feed_forward.", "gate", ("w1", "w3", "w2")),
}
_SHARED = Layout(mlp_bias_key="")


def experts_of(k: HfConfig, layout: Layout, at: str) -> Iterator[ExpectedTensor]:
    """Router, routed experts, and shared experts."""
    if layout.moe == "gpt_oss":
        yield from _gpt_oss(k, at + "mlp.")
    elif layout.moe in ("granite", "granite_shared"):
        yield from _granite(k, layout, at)
    elif layout.moe == "llama4":
        yield from _llama4(k, at + "feed_forward.")
    else:
        yield from _separate(k, layout, at)


def _separate(k: HfConfig, layout: Layout, at: str) -> Iterator[ExpectedTensor]:
    hidden, (n, _) = k.need("hidden_size"), experts(k)
    place, router, (gate, up, down) = _EXPERT_NAMES[layout.moe]
    assert n
    width = k.count("moe_intermediate_size") or k.need("intermediate_size")
    at += place
    yield from linear(at + router, n, hidden, "router")
    record = find(k.model_type)
    if record and record.routing_bias:  # a parameter here; a buffer, and so not counted, everywhere else
        yield ExpectedTensor(f"{at}moe_statics.e_score_correction_bias", (1, n), "router")
    for name in (gate, up):
        yield ExpectedTensor(f"{at}{FIRST_EXPERT}.{name}.weight", (width, hidden), "expert", n)
    yield ExpectedTensor(f"{at}{FIRST_EXPERT}.{down}.weight", (hidden, width), "expert", n)
    if layout.moe == "qwen" and (shared := k.count("shared_expert_intermediate_size")):
        yield from dense_mlp(k, _SHARED, f"{at}shared_expert.", shared)
        yield from linear(f"{at}shared_expert_gate", 1, hidden, "router")
    elif layout.moe == "mlp" and (count := k.count("n_shared_experts")):
        yield from dense_mlp(k, _SHARED, f"{at}shared_experts.", count * width)


def _gpt_oss(k: HfConfig, at: str) -> Iterator[ExpectedTensor]:
    """Fused and with biases, stored the other way round."""
    hidden, width, (n, _) = k.need("hidden_size"), k.need("intermediate_size"), experts(k)
    assert n
    yield from linear(f"{at}router", n, hidden, "router", bias=True)
    yield ExpectedTensor(f"{at}experts.gate_up_proj", (n, hidden, 2 * width), "expert")
    yield ExpectedTensor(f"{at}experts.gate_up_proj_bias", (n, 2 * width), "expert")
    yield ExpectedTensor(f"{at}experts.down_proj", (n, width, hidden), "expert")
    yield ExpectedTensor(f"{at}experts.down_proj_bias", (n, hidden), "expert")


def _granite(k: HfConfig, layout: Layout, at: str) -> Iterator[ExpectedTensor]:
    hidden, width, (n, _) = k.need("hidden_size"), k.need("intermediate_size"), experts(k)
    assert n
    yield ExpectedTensor(f"{at}block_sparse_moe.router.layer.weight", (n, hidden), "router")
    yield ExpectedTensor(f"{at}block_sparse_moe.input_linear.weight", (n, 2 * width, hidden), "expert")
    yield ExpectedTensor(f"{at}block_sparse_moe.output_linear.weight", (n, hidden, width), "expert")
    if layout.moe == "granite_shared":
        yield from shared_mlp(k, at)


def shared_mlp(k: HfConfig, at: str) -> Iterator[ExpectedTensor]:
    """Granite's shared MLP: gate and up in one."""
    hidden, shared = k.need("hidden_size"), k.count("shared_intermediate_size")
    if shared:
        yield from linear(f"{at}shared_mlp.input_linear", 2 * shared, hidden, "mlp")
        yield from linear(f"{at}shared_mlp.output_linear", hidden, shared, "mlp")


def _llama4(k: HfConfig, at: str) -> Iterator[ExpectedTensor]:
    hidden, width, (n, _) = k.need("hidden_size"), k.need("intermediate_size"), experts(k)
    assert n
    yield ExpectedTensor(f"{at}experts.gate_up_proj", (n, hidden, 2 * width), "expert")
    yield ExpectedTensor(f"{at}experts.down_proj", (n, width, hidden), "expert")
    yield from linear(f"{at}router", n, hidden, "router")
    yield from dense_mlp(k, _SHARED, f"{at}shared_expert.", width)


def mamba1(k: HfConfig, at: str, *, norms: bool = True) -> Iterator[ExpectedTensor]:
    """A selective state space mixer; Jamba also norms its three inputs."""
    hidden = k.need("hidden_size")
    inner = (k.count("mamba_expand") or k.count("expand", 2) or 2) * hidden
    d_state = k.count("mamba_d_state") or k.need("state_size")
    rank = k.get("mamba_dt_rank") or k.get("time_step_rank")
    dt_rank = rank if isinstance(rank, int) else -(-hidden // 16)
    conv_bias = k.flag("mamba_conv_bias", default=k.flag("use_conv_bias", default=True))
    bias = k.flag("mamba_proj_bias") or k.flag("use_bias")
    yield ExpectedTensor(f"{at}A_log", (inner, d_state), "recurrent")
    yield ExpectedTensor(f"{at}D", (inner,), "recurrent")
    yield from _conv(k, at, inner, bias=conv_bias)
    yield from linear(f"{at}in_proj", 2 * inner, hidden, "recurrent", bias=bias)
    yield from linear(f"{at}x_proj", dt_rank + 2 * d_state, inner, "recurrent")
    yield from linear(f"{at}dt_proj", inner, dt_rank, "recurrent", bias=True)
    yield from linear(f"{at}out_proj", hidden, inner, "recurrent", bias=bias)
    if norms:
        for name, width in (("dt_layernorm", dt_rank), ("b_layernorm", d_state), ("c_layernorm", d_state)):
            yield from norm(at + name, width)


def _conv(k: HfConfig, at: str, channels: int, *, bias: bool) -> Iterator[ExpectedTensor]:
    yield ExpectedTensor(f"{at}conv1d.weight", (channels, 1, k.count("conv_kernel", 4) or 4), "recurrent")
    if bias:
        yield ExpectedTensor(f"{at}conv1d.bias", (channels,), "recurrent")


def mamba2(k: HfConfig, at: str, *, norm_key: str = "") -> Iterator[ExpectedTensor]:
    """A mixer with scalar decay a head; `norm_key` switches its norm on where there is such a key."""
    from inspector.layers import StateCache

    record = find(k.model_type)
    assert record is not None
    assert record.state is not None
    (state,) = record.state(k, "linear_attention", 0)
    assert isinstance(state, StateCache)
    hidden = k.need("hidden_size")
    heads = k.count("mamba_n_heads") or k.count("n_mamba_heads") or k.count("mamba_num_heads") or k.need("num_heads")
    d_state = k.count("mamba_d_state") or k.count("ssm_state_size") or k.need("state_size")
    inner = state.state_elems // d_state
    bias = k.flag("mamba_proj_bias") or k.flag("use_bias")
    conv_bias = k.flag("mamba_conv_bias", default=k.flag("use_conv_bias", default=True))
    for name in ("dt_bias", "A_log", "D"):
        yield ExpectedTensor(at + name, (heads,), "recurrent")
    yield from _conv(k, at, state.conv_channels, bias=conv_bias)
    yield from linear(f"{at}in_proj", inner + state.conv_channels + heads, hidden, "recurrent", bias=bias)
    if not norm_key or k.flag(norm_key):
        yield from norm(f"{at}norm", inner)
    yield from linear(f"{at}out_proj", hidden, inner, "recurrent", bias=bias or k.flag("projectors_bias"))


def gated_delta_net(k: HfConfig, at: str, *, fused: bool) -> Iterator[ExpectedTensor]:
    """Linear attention with a gated delta rule; its inputs in two projections (`fused`) or in four."""
    hidden, n_k, n_v = k.need("hidden_size"), k.need("linear_num_key_heads"), k.need("linear_num_value_heads")
    d_k, d_v = k.need("linear_key_head_dim"), k.need("linear_value_head_dim")
    keys, values = n_k * d_k, n_v * d_v
    for name in ("dt_bias", "A_log"):
        yield ExpectedTensor(at + name, (n_v,), "recurrent")
    yield from _conv(k, at, 2 * keys + values, bias=False)
    if fused:
        widths = {"qkvz": 2 * keys + 2 * values, "ba": 2 * n_v}
    else:
        widths = {"qkv": 2 * keys + values, "z": values, "b": n_v, "a": n_v}
    for name, width in widths.items():
        yield from linear(f"{at}in_proj_{name}", width, hidden, "recurrent")
    yield from norm(f"{at}norm", d_v)
    yield from linear(f"{at}out_proj", hidden, values, "recurrent")


def lightning(k: HfConfig, at: str) -> Iterator[ExpectedTensor]:
    """MiniMax's linear attention: every head its own key and value, a norm and a gate behind them."""
    hidden, heads, dim = k.need("hidden_size"), k.n_heads, k.head_dim
    assert heads is not None
    assert dim is not None
    inner = heads * dim
    yield from norm(f"{at}norm", inner)
    yield from linear(f"{at}qkv_proj", 3 * inner, hidden, "recurrent")
    yield from linear(f"{at}out_proj", hidden, inner, "recurrent")
    yield from linear(f"{at}output_gate", inner, hidden, "recurrent")


def shortconv(k: HfConfig, at: str) -> Iterator[ExpectedTensor]:
    """LFM2's gated short convolution."""
    hidden, bias = k.need("hidden_size"), k.flag("conv_bias")
    yield ExpectedTensor(f"{at}conv.weight", (hidden, 1, k.count("conv_L_cache", 3) or 3), "recurrent")
    if bias:
        yield ExpectedTensor(f"{at}conv.bias", (hidden,), "recurrent")
    yield from linear(f"{at}in_proj", 3 * hidden, hidden, "recurrent", bias=bias)
    yield from linear(f"{at}out_proj", hidden, hidden, "recurrent", bias=bias)


def embedding(name: str, k: HfConfig) -> Iterator[ExpectedTensor]:
    """A row of the hidden width for every token of the vocabulary."""
    yield ExpectedTensor(f"{name}.weight", (k.need("vocab_size"), k.need("hidden_size")), "embedding")


def head(k: HfConfig, name: str = "lm_head", *, default_tied: bool = True) -> Iterator[ExpectedTensor]:
    """The output head, unless it is the embedding; `default_tied`: where nothing says."""
    if not (default_tied if k.tied is None else k.tied):
        yield ExpectedTensor(f"{name}.weight", (k.need("vocab_size"), k.need("hidden_size")), "output")


def turned(name: str, inner: int, out: int, role: str) -> Iterator[ExpectedTensor]:
    """GPT-2's Conv1D: a projection stored input first, always with a bias."""
    yield ExpectedTensor(f"{name}.weight", (inner, out), role)
    yield ExpectedTensor(f"{name}.bias", (out,), role)
