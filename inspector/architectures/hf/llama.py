"""Llama, Mistral and the many decoders built like them: the model types of this family, one record each."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import Activations, ExpectedTensor, Layout, ModelType, named
from inspector.architectures.hf_blocks import embedding, head, linear, norm
from inspector.architectures.hf_caches import kv, kv_cache, latent_or_kv
from inspector.architectures.hf_decoders import decoder, gated, grouped_attention
from inspector.architectures.hf_experts import from_first
from inspector.architectures.hf_types import (
    CHUNKED,
    FULL,
    INDEXED,
    SLIDING,
    all_layers,
    first_of,
    last_of,
    looped,
    where,
)
from inspector.errors import MissingKey
from inspector.layers import CrossCache, UnknownCache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any, Final

    from inspector.architectures.hf_caches import Caches
    from inspector.architectures.hf_config import HfConfig


def _llama4_layers(k: HfConfig, n: int) -> Sequence[str]:
    """1 in `no_rope_layers` means that the layer has rope, and with it chunks."""
    rope = k.ints("no_rope_layers") or ()
    step = k.count("no_rope_layer_interval") or 4
    has_rope = rope if len(rope) >= n else tuple(int((i + 1) % step != 0) for i in range(n))
    return tuple(CHUNKED if has_rope[i] else FULL for i in range(n))


def _llama4_experts(k: HfConfig, n: int) -> Sequence[bool]:
    listed = k.ints("moe_layers")
    step = k.count("interleave_moe_layer_step") or 1
    moe = frozenset(range(step - 1, n, step) if listed is None else listed)
    return tuple(i in moe for i in range(n))


def mllama_cross(k: HfConfig, kind: str, i: int) -> Caches:
    """Cross attention keeps the image's keys and values, the other layers their own (modeling_mllama.py)."""
    if kind != "cross_attention":
        return kv(k, kind, i)
    heads, dim = k.n_kv_heads, k.head_dim
    return (CrossCache(heads, dim, dim),) if heads and dim else (UnknownCache("cross_attention"),)


def _mllama_layers(k: HfConfig, n: int) -> Sequence[str]:
    cross = frozenset(k.ints("cross_attention_layers") or (3, 8, 13, 18, 23, 28, 33, 38))
    return tuple("cross_attention" if i in cross else FULL for i in range(n))


def _mllama_mixer(k: HfConfig, at: str, kind: str, _i: int) -> Iterator[ExpectedTensor]:
    heads, kv_heads, dim = k.n_heads or 0, k.n_kv_heads or 0, k.head_dim or 0
    if kind != "cross_attention":
        yield from grouped_attention(k, f"{at}self_attn.", heads, kv_heads, dim)
        return
    yield from grouped_attention(k, f"{at}cross_attn.", heads, kv_heads, dim, head_norm=True)
    for gate in ("cross_attn_attn_gate", "cross_attn_mlp_gate"):
        yield ExpectedTensor(at + gate, (1,), "other")


def _dense(k: HfConfig, at: str, _routed: bool, _i: int) -> Iterator[ExpectedTensor]:
    yield from gated(f"{at}mlp.", k.need("hidden_size"), k.need("intermediate_size"))


def _mllama_tensors(k: HfConfig) -> Iterator[ExpectedTensor]:
    """Eight rows more in the embedding than in the head, for the image token (modeling_mllama.py)."""
    yield from decoder(k, mixer=_mllama_mixer, ffn=_dense)
    yield ExpectedTensor("model.embed_tokens.image_rows", (8, k.need("hidden_size")), "embedding")


def _smollm3_layers(k: HfConfig, n: int) -> Sequence[str]:
    if not k.flag("use_sliding_window") or not k.count("sliding_window"):
        return (FULL,) * n
    interval = k.count("no_rope_layer_interval") or 4
    rope = k.ints("no_rope_layers") or tuple(int((i + 1) % interval != 0) for i in range(n))
    return tuple(FULL if i >= len(rope) or rope[i] else SLIDING for i in range(n))


def _hrm_depth(k: HfConfig) -> int:
    """`num_hidden_layers` counts the cache's layers, not the weights' (configuration_hrm_text.py)."""
    return k.layer_count("num_layers_per_stack") or k.n_layers


def _hrm_copies(k: HfConfig, n: int) -> Sequence[int]:
    return ((k.count("H_cycles", 2) or 1) * ((k.count("L_cycles", 3) or 0) + 1),) * n


def _dory_listed(types: Sequence[str]) -> Sequence[str]:
    """Older files list attention and MLP apart (configuration_dory.py)."""
    return types[::2] if "mlp" in types else types


def _dory_depth(k: HfConfig) -> int:
    return k.n_layers // 2 if "mlp" in (k.strings("layer_types") or ()) else k.n_layers


def _dory_copies(k: HfConfig, n: int) -> Sequence[int]:
    """The layers between the input and output ones run `n_recurrent_loops` times, and store each time."""
    if k.get("recurrent_kv_cache_mode", "per_loop") != "per_loop":
        return (1,) * n
    start, stop = k.count("n_input_layers", 0) or 0, n - (k.count("n_output_layers", 0) or 0)
    return looped(n, start, stop, k.count("n_recurrent_loops", 1))


def _nas_block(k: HfConfig, i: int, part: str) -> Mapping[str, Any]:
    """What `block_configs` says of layer `i`'s attention or ffn (NVIDIA's block_config.py)."""
    blocks = k.get("block_configs")
    row = blocks[i] if isinstance(blocks, list) and i < len(blocks) and isinstance(blocks[i], dict) else {}
    own = row.get(part)
    if not isinstance(own, dict):
        raise MissingKey(f"block_configs does not say what {part} of layer {i} is")
    return own


def _nas_kv_heads(k: HfConfig, i: int) -> int:
    """Key-value heads of layer `i`; 0 where it has no attention."""
    own = _nas_block(k, i, "attention")
    group = own.get("n_heads_in_group")
    if own.get("no_op") or own.get("replace_with_linear"):
        return 0
    if not isinstance(group, int) or group < 1:
        raise MissingKey(f"block_configs does not say how many heads of layer {i} share a key-value head")
    return (k.n_heads or 0) // group


def _nas_layers(k: HfConfig, n: int) -> Sequence[str]:
    return tuple(FULL if _nas_kv_heads(k, i) else "mlp" for i in range(n))


def _nas_caches(k: HfConfig, kind: str, i: int) -> Caches:
    return kv_cache(k, kind, _nas_kv_heads(k, i), k.head_dim)


def _nas_layer(k: HfConfig, at: str, i: int) -> Iterator[ExpectedTensor]:
    hidden, own = k.need("hidden_size"), _nas_block(k, i, "attention")
    if own.get("replace_with_linear"):
        yield from linear(f"{at}self_attn.linear_attn", hidden, hidden, "attention")
    elif kv_heads := _nas_kv_heads(k, i):
        yield from grouped_attention(k, f"{at}self_attn.", k.n_heads or 0, kv_heads, k.head_dim or 0)
    if not own.get("no_op"):
        yield from norm(f"{at}input_layernorm", hidden)
    own = _nas_block(k, i, "ffn")
    mult = own.get("ffn_mult")
    if own.get("replace_with_linear"):
        yield from linear(f"{at}mlp.linear_mlp", hidden, hidden, "mlp")
    elif not own.get("no_op"):
        if isinstance(mult, bool) or not isinstance(mult, int | float) or not 0 < mult < 1000:
            raise MissingKey(f"block_configs does not say how wide the MLP of layer {i} is")
        yield from gated(f"{at}mlp.", hidden, -(-int(2 * mult * hidden / 3) // 256) * 256)
    if not own.get("no_op"):
        yield from norm(f"{at}post_attention_layernorm", hidden)


def _nas_tensors(k: HfConfig) -> Iterator[ExpectedTensor]:
    """Llama with layers of many shapes, some without attention or MLP (NVIDIA's modeling_decilm.py)."""
    yield from embedding("model.embed_tokens", k)
    for i in range(k.n_layers):
        yield from _nas_layer(k, f"model.layers.{i}.", i)
    yield from norm("model.norm", k.need("hidden_size"))
    yield from head(k, default_tied=False)


def _fla_width(k: HfConfig) -> int | None:
    """flash-linear-attention's default: two thirds of four hidden widths, up to a multiple of 256."""
    return k.count("intermediate_size") or -(-int(k.need("hidden_size") * 8 / 3) // 256) * 256


def _bitnet_ffn(k: HfConfig, at: str, _routed: bool, _i: int) -> Iterator[ExpectedTensor]:
    yield from gated(f"{at}mlp.", k.need("hidden_size"), k.need("intermediate_size"))
    yield from norm(f"{at}mlp.ffn_sub_norm", k.need("intermediate_size"))


def _bitnet_mixer(k: HfConfig, at: str, _kind: str, _i: int) -> Iterator[ExpectedTensor]:
    yield from grouped_attention(k, f"{at}self_attn.", k.n_heads or 0, k.n_kv_heads or 0, k.head_dim or 0)
    yield from norm(f"{at}self_attn.attn_sub_norm", k.need("hidden_size"))


def _bitnet_tensors(k: HfConfig) -> Iterator[ExpectedTensor]:
    """Norms inside attention and the MLP (modeling_bitnet.py)."""
    return decoder(k, mixer=_bitnet_mixer, ffn=_bitnet_ffn)


def _minicpm3_tensors(k: HfConfig) -> Iterator[ExpectedTensor]:
    """Values are as wide as the model's heads where no key says otherwise (configuration_minicpm3.py)."""
    from copy import copy

    from inspector.architectures.hf_tensors import laid_out

    full = copy(k)
    width = k.count("v_head_dim") or k.need("hidden_size") // k.need("num_attention_heads")
    full.inner = {**k.inner, "v_head_dim": width}
    return laid_out(full, Layout(mla=True))


def _hyperclovax_tensors(k: HfConfig) -> Iterator[ExpectedTensor]:
    """Two more norms a layer where `use_post_norm` asks for them (modeling_hyperclovax.py)."""
    from inspector.architectures.hf_tensors import laid_out

    more = ("post_norm1", "post_norm2") if k.flag("use_post_norm") else ()
    return laid_out(k, Layout(norms=(*Layout().norms, *more)))


MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    {
        **named("llama mistral ministral3 helium internlm3", ModelType(layout=Layout(), activations=Activations())),
        "seed_oss": ModelType(layout=Layout(o_bias_key="attention_out_bias"), activations=Activations()),
        "ministral": ModelType(layout=Layout(), activations=Activations(two_masks=True)),
        "mistral4": ModelType(
            attention=latent_or_kv,
            layer_types=all_layers(FULL),
            moe_layers=from_first("first_k_dense_replace", 1, freq="moe_layer_freq"),
            layout=Layout(mla=True, moe="mlp"),
        ),
        "mistral_large4_text": ModelType(
            generic=True,
            layer_types=all_layers(INDEXED),
            moe_layers=from_first("first_k_dense_replace", 1, freq="moe_layer_freq"),
        ),
        "mixtral": ModelType(layout=Layout(moe="mixtral"), activations=Activations(), plain_experts=True),
        "llama4_text": ModelType(
            layer_types=_llama4_layers,
            moe_layers=_llama4_experts,
            layout=Layout(moe="llama4", mlp_at="feed_forward"),
            activations=Activations(moe="dense", shared=1),
            plain_experts=True,
        ),
        "mllama_text_model": ModelType(attention=mllama_cross, layer_types=_mllama_layers, tensors=_mllama_tensors),
        "smollm3": ModelType(layer_types=_smollm3_layers, layout=Layout(), activations=Activations()),
        "arcee": ModelType(layout=Layout(mlp="plain"), activations=Activations()),
        "cwm": ModelType(layer_types=first_of(4), layout=Layout(), activations=Activations()),
        **named("yi aquila iquestcoder", ModelType(layout=Layout())),
        **named(
            "baichuan xverse orion megrez step1 internlm internlm2 emu3 emu3_text_model fuyu got_ocr2",
            ModelType(),
        ),
        "hyperclovax": ModelType(tensors=_hyperclovax_tensors),
        "apertus1p5_text": ModelType(
            layout=Layout(norms=("attention_layernorm", "feedforward_layernorm"), mlp="xielu", qk_norm="head")
        ),
        "aria_text": ModelType(layout=Layout(moe="mlp"), plain_experts=True),
        **named("minicpm minicpmv", ModelType(layout=Layout())),
        "solar_open": ModelType(layout=Layout(moe="mlp")),
        "apertus": ModelType(
            layout=Layout(norms=("attention_layernorm", "feedforward_layernorm"), mlp="xielu", qk_norm="head"),
            activations=Activations(mlp=5.5),
        ),
        "nanochat": ModelType(layout=Layout(norms=(), final="", mlp="fc"), activations=Activations(copies=2)),
        "bitnet": ModelType(tensors=_bitnet_tensors, activations_known=False),
        **named("doge diffllama persimmon", ModelType(activations_known=False)),
        "minicpm3": ModelType(attention=latent_or_kv, tensors=_minicpm3_tensors),
        **named(
            "muse_glimmer_text muse_spark_text",
            ModelType(generic=True, layer_types=where(lambda i, n: (n - 1 - i) % 4 == 0)),
        ),
        "kolibri1": ModelType(layer_types=last_of(5)),
        "laguna": ModelType(layer_types=all_layers(FULL), moe_layers=from_first("first_k_dense_replace", 1)),
        "mellum": ModelType(layer_types=all_layers(FULL), layout=Layout(qk_norm="head", moe="mlp")),
        "flint": ModelType(
            layer_types=where(lambda i, n: i < 2 or i % 4 == 1 or i == n - 1),
            moe_layers=lambda k, n: tuple(i not in (k.ints("mlp_only_layers") or (0, 1)) for i in range(n)),
            eager=True,
        ),
        "beam": ModelType(
            layer_types=where(lambda i, n: (i + 1) % 6 == 0 or i == n - 1),
            moe_layers=from_first("first_k_dense_replace", 3),
        ),
        "dory": ModelType(layer_types=last_of(4), listed=_dory_listed, n_layers=_dory_depth, copies=_dory_copies),
        "hrm_text": ModelType(
            n_layers=_hrm_depth,
            copies=_hrm_copies,
            note="every stack runs H_cycles × (L_cycles + 1) times, each with a cache of its own",
        ),
        "jais2": ModelType(layout=Layout(ln=True, mlp="plain"), activations=Activations()),
        "stablelm": ModelType(
            layout=Layout(
                ln=True,
                bias_key="",
                qkv_bias_key="use_qkv_bias",
                parallel_key="use_parallel_residual",
                head_norm_key="qk_layernorm",
                head_norms="module",
            ),
            activations=Activations(residuals=6, qkv="partial"),
            rotary=0.25,
        ),
        "cpmant": ModelType(eager=True),
        "nemotron-nas": ModelType(
            layer_types=_nas_layers,
            attention=_nas_caches,
            tensors=_nas_tensors,
            note="every layer has heads and a width of its own (block_configs)",
        ),
        "transformer": ModelType(layout=Layout(), d_ff=_fla_width),
    }
)
