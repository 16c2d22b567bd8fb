"""Llama, Mistral and the many decoders built like them: the model types of this family, one record each."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import Activations, Layout, ModelType, named
from inspector.architectures.hf_caches import kv, latent_or_kv
from inspector.architectures.hf_experts import from_first
from inspector.architectures.hf_types import CHUNKED, FULL, INDEXED, SLIDING, all_layers, first_of, last_of, where
from inspector.layers import CrossCache, UnknownCache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

    from inspector.architectures.hf_caches import Caches, kv
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


def _smollm3_layers(k: HfConfig, n: int) -> Sequence[str]:
    if not k.flag("use_sliding_window") or not k.count("sliding_window"):
        return (FULL,) * n
    interval = k.count("no_rope_layer_interval") or 4
    rope = k.ints("no_rope_layers") or tuple(int((i + 1) % interval != 0) for i in range(n))
    return tuple(FULL if i >= len(rope) or rope[i] else SLIDING for i in range(n))


def _step3_experts(k: HfConfig, n: int) -> Sequence[bool]:
    listed = k.get("moe_layers_enum")
    words = listed.split(",") if isinstance(listed, str) else [str(v) for v in listed or range(3, n)]
    moe = frozenset(int(w) for w in words if w.strip().isdecimal() and len(w) < 10)
    return tuple(i in moe for i in range(n))


MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    {
        **named(
            "llama mistral ministral3 helium seed_oss internlm3", ModelType(layout=Layout(), activations=Activations())
        ),
        "ministral": ModelType(layout=Layout(), activations=Activations(two_masks=True)),
        "mistral4": ModelType(
            attention=latent_or_kv,
            layer_types=all_layers(FULL),
            moe_layers=from_first("first_k_dense_replace", 1, freq="moe_layer_freq"),
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
        "mllama_text_model": ModelType(attention=mllama_cross, layer_types=_mllama_layers),
        "smollm3": ModelType(layer_types=_smollm3_layers, layout=Layout(), activations=Activations()),
        "arcee": ModelType(layout=Layout(mlp="plain"), activations=Activations()),
        "cwm": ModelType(layer_types=first_of(4), layout=Layout(), activations=Activations()),
        **named("yi aquila iquestcoder", ModelType(layout=Layout())),
        **named(
            "baichuan xverse orion megrez step1 internlm internlm2 hyperclovax apertus1p5_text emu3 "
            "emu3_text_model fuyu aria_text got_ocr2 minicpm",
            ModelType(),
        ),
        "step3p7_text": ModelType(generic=True, layer_types=all_layers(FULL), moe_layers=_step3_experts),
        "solar_open": ModelType(layout=Layout(moe="mlp")),
        "apertus": ModelType(
            layout=Layout(norms=("attention_layernorm", "feedforward_layernorm"), mlp="xielu", qk_norm="head"),
            activations=Activations(mlp=5.5),
        ),
        "nanochat": ModelType(activations=Activations(copies=2)),
        **named("bitnet doge diffllama persimmon", ModelType(activations_known=False)),
        "minicpm3": ModelType(attention=latent_or_kv),
        **named(
            "muse_glimmer_text muse_spark_text",
            ModelType(generic=True, layer_types=where(lambda i, n: (n - 1 - i) % 4 == 0)),
        ),
        "kolibri1": ModelType(layer_types=last_of(5)),
        "laguna": ModelType(layer_types=all_layers(FULL), moe_layers=from_first("first_k_dense_replace", 1)),
        "mellum": ModelType(layer_types=all_layers(FULL)),
        "flint": ModelType(
            layer_types=where(lambda i, n: i < 2 or i % 4 == 1 or i == n - 1),
            moe_layers=lambda k, n: tuple(i not in (k.ints("mlp_only_layers") or (0, 1)) for i in range(n)),
            eager=True,
        ),
        "beam": ModelType(
            layer_types=where(lambda i, n: (i + 1) % 6 == 0 or i == n - 1),
            moe_layers=from_first("first_k_dense_replace", 3),
        ),
        "dory": ModelType(layer_types=last_of(4)),
        "hrm_text": ModelType(note="every stack runs H_cycles × (L_cycles + 1) times, each with a cache of its own"),
        "jais2": ModelType(activations=Activations()),
        "stablelm": ModelType(
            layout=Layout(
                ln=True,
                bias_key="",
                qkv_bias_key="use_qkv_bias",
                parallel_key="use_parallel_residual",
                head_norm_key="qk_layernorm",
            ),
            activations=Activations(residuals=6, qkv="partial"),
            rotary=0.25,
        ),
        "cpmant": ModelType(eager=True),
    }
)
