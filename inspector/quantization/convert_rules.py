"""How the converter renames, drops, splits and reshapes a checkpoint's tensors, as tables.

Source: conversion/*.py of llama.cpp b11434.
"""

from __future__ import annotations

from types import MappingProxyType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Final

    Shape = tuple[int, ...]
    Named = tuple[str, Shape]

# Architectures whose names, shapes and types were compared, tensor by tensor, with the converter's own result.
# fmt: off
VERIFIED: Final = frozenset({
    "apertus", "arcee", "bert", "bloom", "chatglm", "cohere2", "command-r", "dbrx", "deepseek2", "dots1",
    "ernie4_5", "ernie4_5-moe", "exaone4", "falcon", "falcon-h1", "gemma", "gemma2", "gemma3", "gemma3n",
    "gemma4", "glm4", "glm4moe", "gpt-oss", "gpt2", "gptneox", "granite", "granitehybrid", "granitemoe",
    "hunyuan-dense", "jamba", "lfm2", "lfm2moe", "llama", "llama4", "mamba", "mamba2", "minimax-m2",
    "modern-bert", "mpt", "nemotron", "nemotron_h_moe", "olmo", "olmo2", "olmoe", "phi2", "phi3", "qwen2",
    "qwen2moe", "qwen3", "qwen35", "qwen3moe", "qwen3next", "seed_oss", "smollm3", "stablelm", "starcoder",
    "starcoder2", "t5",
})
# fmt: on
# Lists of matrices that become one stack: experts, and Gemma 3n's projections.
STACKED_LISTS: Final = frozenset({"experts", "altup_projections", "altup_unembed_projections"})
UNUSED_ENDINGS: Final = (".attention.masked_bias", ".attention.bias", ".rotary_emb.inv_freq")
# fmt: off
# Matrices that the converter keeps in F32 (prepare_tensors of conversion/base.py).
F32_TENSORS: Final = frozenset({
    "ffn_gate_inp", "ffn_gate_inp_shexp", "position_embd", "token_types", "ssm_conv1d", "shortconv.conv",
    "time_mix_first", "time_mix_w1", "time_mix_w2", "time_mix_decay_w1", "time_mix_decay_w2", "time_mix_lerp_fused",
    "altup_correct_coef", "altup_predict_coef", "ssm_conv1d_q", "ssm_conv1d_k", "ssm_conv1d_v", "indexer.proj",
})
_TOWER_STARTS: Final = (
    "mlp", "vit.", "vpm.", "siglip2.", "conformer.", "merger.", "resampler.", "sound_encoder.", "sound_projection.",
    "speech_embeddings.",
)
_TOWER_WORDS: Final = (
    "visual.", "vision.", "audio.", "talker.", "vision_", "audio_", "token2wav.", "code2wav.", "projector.",
    "pre_mm_projector_norm", "image_newline", "view_seperator", "patch_embed", "patch_embedding", "patch_merger.",
    "patch_merge_mlp.", "model.connector.",
)
# fmt: on


def is_tower(name: str) -> bool:
    """Whether a tensor belongs to a vision or audio tower, which is converted on its own."""
    return name.startswith(_TOWER_STARTS) or any(word in name for word in _TOWER_WORDS)


def first(config: Mapping[str, Any], *names: str) -> Any:
    """The first of these keys that is there and not null."""
    return next((config[name] for name in names if config.get(name) is not None), None)


def nested(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A mapping inside the config; empty where there is none, or something else."""
    found = config.get(name)
    return found if isinstance(found, dict | MappingProxyType) else {}


def n_layers(config: Mapping[str, Any]) -> int:
    """Layers that the config counts."""
    return _count(first(config, "num_hidden_layers", "n_layer", "n_layers", "num_layers"))


def _count(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0


# Architectures whose converter keeps the layers for multi-token prediction that the config counts; the rest drop them.
_KEEP_NEXTN: Final = frozenset(
    {
        "glm4",
        "glm4moe",
        "glm-dsa",
        "bailingmoe2",
        "bailingmoe3",
        "cohere2moe",
        "deepseek32",
        "exaone-moe",
        "exaone4",
        "hy_v3",
        "nemotron_h_moe",
        "step35",
    }
)


def n_extra_blocks(arch: str, names: Iterable[str], config: Mapping[str, Any]) -> int:
    """Blocks for multi-token prediction beyond the model's own: Qwen's `mtp.layers.N`, or what the config counts."""
    highest = [int(p[2][:9]) for p in (n.removeprefix("model.").split(".", 3) for n in names) if _is_mtp_layer(p)]
    if highest:
        return max(highest) + 1
    key = "num_nextn_predict_layers" if arch in _KEEP_NEXTN else "mtp_num_hidden_layers"
    return _count(config.get(key))


def _is_mtp_layer(parts: list[str]) -> bool:
    return len(parts) == 4 and parts[:2] == ["mtp", "layers"] and parts[2].isdecimal()


_MTP_NAMES: Final = MappingProxyType(
    {
        "fc": "eh_proj",
        "pre_fc_norm_embedding": "enorm",
        "pre_fc_norm_hidden": "hnorm",
        "norm": "shared_head_norm",
    }
)


def _mtp_name(name: str, config: Mapping[str, Any]) -> str:
    """Qwen's `mtp.*` as the layers that follow the model's own (conversion/qwen.py)."""
    parts = name.removeprefix("model.").split(".", 3)
    if _is_mtp_layer(parts):
        return f"model.layers.{n_layers(config) + int(parts[2][:9])}.{parts[3]}"
    if len(parts) == 3 and parts[0] == "mtp" and parts[1] in _MTP_NAMES:
        return f"=blk.{n_layers(config)}.nextn.{_MTP_NAMES[parts[1]]}.{parts[2]}"
    return name


# (words to replace, replacement): what the architecture's converter calls a tensor before looking its name up.
_RENAMES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = MappingProxyType(
    {
        "bloom": (("transformer.", ""),),
        "gpt-oss": (("self_attn.sinks", "self_attn.sinks.weight"), ("down_proj_bias", "down_proj.bias")),
        "lfm2moe": (("expert_bias", "expert_bias.bias"),),
        "gemma3n": (("correct_output_scale", "correct_output_scale.weight"),),
        "gemma4": (("layer_scalar", "layer_scalar.weight"),),
    }
)
# Tensors that the converter leaves out or turns into keys.
_DROPPED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "bert": ("pooler.dense.weight", "pooler.dense.bias", "embeddings.position_ids"),
        "apertus": (".act_fn.alpha_p", ".act_fn.alpha_n", ".act_fn.beta", ".act_fn.eps"),
        "gemma2": ("lm_head.weight",),
        "gemma": ("lm_head.weight",),
        "modern-bert": ("decoder.bias",),
        "gpt2": (".attn.bias", ".attn.masked_bias"),
    }
)


def renamed(arch: str, config: Mapping[str, Any], name: str) -> str | None:
    """The name that is looked up, or None for a tensor that is not converted."""
    if name.endswith(_DROPPED.get(arch, ())):
        return None
    if name.endswith("e_score_correction_bias"):
        name = name.replace("e_score_correction_bias", "e_score_correction.bias")
    if name.endswith(".dt_bias"):
        name = name.removesuffix("dt_bias") + "dt_proj.bias"
    name = name.replace("language_model.", "")
    for words, instead in _RENAMES.get(arch, ()):
        name = name.replace(words, instead)
    return _mtp_name(name, config)


def is_dropped_layer(name: str, n_blocks: int) -> bool:
    """A layer beyond those that the converter keeps (DeepSeek's multi-token prediction)."""
    parts = name.removeprefix("model.").split(".", 2)
    return parts[0] == "layers" and len(parts) > 1 and parts[1].isdecimal() and int(parts[1][:9]) >= n_blocks


def block_of(name: str) -> str:
    """The first number in a name: the block it belongs to."""
    return next((part for part in name.split(".") if part.isdecimal()), "0")


def _squeezed(name: str, shape: Shape, _: Mapping[str, Any]) -> list[Named]:
    return [(name, tuple(d for d in shape if d != 1))]


def _column(name: str, shape: Shape, _: Mapping[str, Any]) -> list[Named]:
    return [(name, (*shape, 1))]


def _grouped_norm(name: str, shape: Shape, config: Mapping[str, Any]) -> list[Named]:
    groups = first(config, "mamba_n_groups", "n_groups") or 1
    return [(name, (groups, shape[0] // groups))]


def _kv_b_split(name: str, shape: Shape, config: Mapping[str, Any]) -> list[Named]:
    """MLA's expansion, one part transposed for the absorbed form: per head latent × nope, and v × latent."""
    heads, nope, v, latent = config["num_attention_heads"], config["qk_nope_head_dim"], config["v_head_dim"], shape[1]
    return [
        (name.replace("kv_b_proj", "k_b_proj"), (heads, latent, nope)),
        (name.replace("kv_b_proj", "v_b_proj"), (heads, v, latent)),
    ]


def _gate_up_rows(name: str, shape: Shape, _: Mapping[str, Any]) -> list[Named]:
    base, half = name.removesuffix(".weight").removesuffix("gate_up_proj"), (*shape[:-2], shape[-2] // 2, shape[-1])
    return [(f"{base}gate_proj.weight", half), (f"{base}up_proj.weight", half)]


def _gate_up_columns(name: str, shape: Shape, config: Mapping[str, Any]) -> list[Named]:
    return _gate_up_rows(name, (*shape[:-2], shape[-1], shape[-2]), config)


def _gate_up_bias(name: str, shape: Shape, _: Mapping[str, Any]) -> list[Named]:
    half = (*shape[:-1], shape[-1] // 2)
    return [(name.replace("gate_up_proj_bias", part), half) for part in ("gate_proj.bias", "up_proj.bias")]


def _transposed(name: str, shape: Shape, _: Mapping[str, Any]) -> list[Named]:
    return [(name if name.endswith(".weight") else f"{name}.weight", (*shape[:-2], shape[-1], shape[-2]))]


def _as_weight(name: str, shape: Shape, _: Mapping[str, Any]) -> list[Named]:
    return [(f"{name}.weight", shape)]


def _mxfp4_blocks(name: str, shape: Shape, _: Mapping[str, Any]) -> list[Named]:
    """gpt-oss's packed experts: blocks of 16 bytes are 32 weights, gate and up in alternate rows."""
    experts, rows, blocks = shape[:3]
    if "gate_up_proj" in name:
        half = (experts, rows // 2, blocks * 32)
        return [(name.replace("gate_up_proj_blocks", part), half) for part in ("gate_proj.weight", "up_proj.weight")]
    return [(name.replace("_blocks", ".weight"), (experts, rows, blocks * 32))]


def _nothing(_name: str, _shape: Shape, _config: Mapping[str, Any]) -> list[Named]:
    return []


def _granite_experts(name: str, shape: Shape, _: Mapping[str, Any]) -> list[Named]:
    half = (*shape[:-2], shape[-2] // 2, shape[-1])
    return [(f"=blk.{block_of(name)}.ffn_{part}_exps.weight", half) for part in ("gate", "up")]


def _granite_shared(name: str, shape: Shape, config: Mapping[str, Any]) -> list[Named]:
    half, suffix = (shape[0] // 2, shape[1]), "_shexp" if config.get("num_local_experts") else ""
    return [(f"=blk.{block_of(name)}.ffn_{part}{suffix}.weight", half) for part in ("gate", "up")]


def _granite_shared_down(name: str, shape: Shape, config: Mapping[str, Any]) -> list[Named]:
    suffix = "_shexp" if config.get("num_local_experts") else ""
    return [(f"=blk.{block_of(name)}.ffn_down{suffix}.weight", shape)]


def _qkvz_split(name: str, shape: Shape, config: Mapping[str, Any]) -> list[Named]:
    z = config["linear_num_value_heads"] * config["linear_value_head_dim"]
    block = block_of(name)
    return [
        (f"=blk.{block}.attn_qkv.weight", (shape[0] - z, shape[1])),
        (f"=blk.{block}.attn_gate.weight", (z, shape[1])),
    ]


def _dbrx_experts(name: str, shape: Shape, config: Mapping[str, Any]) -> list[Named]:
    experts = config["ffn_config"]["moe_num_experts"]
    per = (experts, shape[0] // experts, shape[1])
    return _transposed(name, per, config) if name.endswith("w2") else _as_weight(name, per, config)


def _padded_vocab(name: str, shape: Shape, config: Mapping[str, Any]) -> list[Named]:
    return [(name, (max(shape[0], int(config.get("vocab_size") or 262400)), shape[1]))]


def _without_padding_rows(name: str, shape: Shape, config: Mapping[str, Any]) -> list[Named]:
    """RoBERTa counts positions from the padding token on; its converter cuts the rows before."""
    pad = config.get("pad_token_id")
    roberta = str(config.get("model_type", "")).startswith(("xlm-roberta", "roberta"))
    return [(name, (shape[0] - pad - 1, *shape[1:]) if roberta and pad is not None else shape)]


_MAMBA2: Final = ("mamba2", "falcon-h1", "granitehybrid", "nemotron_h", "nemotron_h_moe")
_MLA: Final = ("deepseek2", "glm-dsa", "kimi-linear", "deepseek2-ocr", "mistral4")
_CONV2D: Final = (*_MAMBA2, "mamba", "jamba", "qwen3next", "qwen35", "qwen35moe", "lfm2", "lfm2moe", "kimi-linear")

if TYPE_CHECKING:
    Rewrite = Callable[[str, Shape, Mapping[str, Any]], list[Named]]

# (architectures, end of the name, rewrite); a result that starts with "=" is a GGUF name already.
_REWRITES: Final[tuple[tuple[tuple[str, ...], str, Rewrite], ...]] = (
    (_CONV2D, "conv1d.weight", _squeezed),
    (_CONV2D, "conv.conv.weight", _squeezed),
    (_MAMBA2, ".A_log", _column),
    (_MAMBA2, ".D", _column),
    (_MAMBA2, "mamba.norm.weight", _grouped_norm),
    (_MAMBA2, "mixer.norm.weight", _grouped_norm),
    (_MLA, "kv_b_proj.weight", _kv_b_split),
    (("gpt-oss", "llama4"), "experts.gate_up_proj", _gate_up_columns),
    (("gpt-oss", "llama4"), "experts.down_proj", _transposed),
    (("gpt-oss",), "experts.gate_up_proj_bias", _gate_up_bias),
    (("gpt-oss",), "_proj_blocks", _mxfp4_blocks),
    (("gpt-oss",), "_proj_scales", _nothing),
    (("qwen2moe", "qwen3moe", "qwen3next", "qwen35moe", "qwen3vlmoe"), "experts.gate_up_proj", _gate_up_rows),
    (("qwen2moe", "qwen3moe", "qwen3next", "qwen35moe", "qwen3vlmoe"), "experts.down_proj", _as_weight),
    (("granitemoe", "granitehybrid"), "block_sparse_moe.input_linear.weight", _granite_experts),
    (("granite", "granitemoe", "granitehybrid"), "shared_mlp.input_linear.weight", _granite_shared),
    (("granite", "granitemoe", "granitehybrid"), "shared_mlp.output_linear.weight", _granite_shared_down),
    (("qwen3next",), "in_proj_qkvz.weight", _qkvz_split),
    (("dbrx",), "ffn.experts.mlp.w1", _dbrx_experts),
    (("dbrx",), "ffn.experts.mlp.v1", _dbrx_experts),
    (("dbrx",), "ffn.experts.mlp.w2", _dbrx_experts),
    (("gpt2",), "c_attn.weight", _transposed),
    (("gpt2",), "c_proj.weight", _transposed),
    (("gpt2",), "c_fc.weight", _transposed),
    (("gemma3n",), "embed_tokens.weight", _padded_vocab),
    (("gemma3n",), "embed_tokens_per_layer.weight", _padded_vocab),
    (("bert",), "position_embeddings.weight", _without_padding_rows),
)


def rewrites(arch: str, config: Mapping[str, Any], name: str, shape: Shape) -> list[Named]:
    """What one tensor becomes before the name map: usually itself."""
    for archs, ending, rewrite in _REWRITES:
        if arch in archs and name.endswith(ending):
            return rewrite(name, shape, config)
    return [(name, shape)]


_STACKS: Final = ("block_sparse_moe.experts.", "feed_forward.experts.")


def stack_name(name: str) -> str:
    """The name under which a stack of experts is looked up (Mixtral's w1, w2, w3 have one of their own)."""
    for words in _STACKS:
        where, found, rest = name.partition(words)
        if found and rest.startswith("w"):
            return f"{where.removeprefix('model.')}feed_forward.experts.{rest}"
    return name


def rope_parameters(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The rotary settings, under the key of today or of before."""
    found = first(config, "rope_parameters", "rope_scaling") or {}
    if not isinstance(found, dict | MappingProxyType):
        return {}
    return nested(found, "full_attention") or found


def extra_tensors(arch: str, config: Mapping[str, Any]) -> list[Named]:
    """Tables that the converter computes from the config: one factor for each rotary frequency."""
    rope = rope_parameters(config)
    kind = str(first(rope, "rope_type", "type") or "").lower()
    heads = _count(first(config, "num_attention_heads", "n_head"))
    width = _count(first(config, "hidden_size", "n_embd"))
    head_dim = _count(config.get("head_dim")) or (width // heads if heads else 0)
    if kind == "llama3" and arch in _LLAMA3_ROPE:
        return [("rope_freqs.weight", (head_dim // 2,))]
    factors = rope.get("long_factor")
    if arch in {"phi3", "phimoe"} and isinstance(factors, list | tuple):
        n = len(factors)
        return [("rope_factors_long.weight", (n,)), ("rope_factors_short.weight", (n,))]
    if arch == "gemma4" and kind == "proportional":
        # 512 is the config class's own default (transformers 5.24, Gemma4TextConfig).
        return [("rope_freqs.weight", ((_count(config.get("global_head_dim")) or 512) // 2,))]
    return []


# Architectures whose converter writes Llama 3's frequency factors (generate_extra_tensors).
_LLAMA3_ROPE: Final = frozenset(
    {
        "afmoe",
        "apertus",
        "arcee",
        "cogvlm",
        "deci",
        "exaone",
        "exaone-moe",
        "exaone4",
        "granite",
        "granite_swa",
        "granitehybrid",
        "granitemoe",
        "graniteswitch",
        "llama",
        "llama-embed",
        "llama4",
        "nanbeige",
        "nemotron_h",
        "nemotron_h_moe",
        "smollm3",
        "step35",
    }
)
