"""The GGUF keys that the converter writes of a config.json: those that decide over memory and over quantisation.

Source: `set_gguf_parameters` of conversion/base.py and of each model's class in conversion/*.py (llama.cpp b11434).
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.quantization.convert_rules import first, nested

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Final

    Config = Mapping[str, Any]
    Source = str | Callable[[Config, int], Any]

# Keys that every text model has: GGUF key, names in the config; the first that is there counts, null too.
_COMMON: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("context_length", ("max_position_embeddings", "n_ctx", "n_positions", "max_length", "max_sequence_length",
                        "model_max_length")),
    ("embedding_length", ("hidden_size", "n_embd", "dim")),
    ("feed_forward_length", ("prefix_dense_intermediate_size", "dense_intermediate_size", "intermediate_size",
                             "n_inner", "hidden_dim")),
    ("attention.head_count", ("num_attention_heads", "n_head", "n_heads", "num_heads")),
    ("attention.head_count_kv", ("num_key_value_heads", "n_kv_heads", "num_kv_heads", "n_head_kv",
                                 "multi_query_group_num")),
    ("expert_count", ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")),
    ("expert_used_count", ("num_experts_per_tok", "num_experts_per_token", "top_k_experts", "moe_k")),
    ("expert_group_count", ("n_group",)),
    ("expert_group_used_count", ("topk_group",)),
    ("attention.key_length", ("head_dim",)),
    ("attention.value_length", ("head_dim",)),
    ("vocab_size", ("vocab_size",)),
)  # fmt: skip
_GATES: Final = MappingProxyType({"softmax": 1, "sigmoid": 2, "sqrtsoftplus": 4})  # ExpertGatingFuncType
_GATE_NAMES: Final = ("score_function", "scoring_func", "score_func", "moe_router_activation",
                      "moe_router_activation_func", "expert_selection_fn")  # fmt: skip
_NOTHING: Final[Config] = MappingProxyType({})
_MANY: Final = 2**20  # the context of models that know no positions


def rope(config: Config) -> Config:
    """The rotary settings, those of full attention where layers differ."""
    found = first(config, "rope_parameters", "rope_scaling") or {}
    found = found if isinstance(found, dict | MappingProxyType) else {}
    return nested(found, "full_attention") or found


def _head_dim(c: Config) -> int:
    return int(c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"])


def _partial(default: float) -> Callable[[Config, int], int]:
    """Rotary dimensions: a part of the head's."""

    def n(c: Config, _: int) -> int:
        part = first(rope(c), "partial_rotary_factor")
        part = first(c, "partial_rotary_factor", "rope_pct", "rope_percent", "rotary_pct") if part is None else part
        return int(_head_dim(c) * (default if part is None else part))

    return n


def _of(*names: str, times: int = 1) -> Callable[[Config, int], Any]:
    def value(c: Config, _: int) -> Any:
        found = first(c, *names)
        return found * times if times > 1 and found is not None else found

    return value


def _constant(value: Any) -> Callable[[Config, int], Any]:
    return lambda _c, _n: value


def _where(kind: str) -> Callable[[Config, int], Any]:
    """One truth value a layer: whether it is of this kind."""

    def flags(c: Config, n: int) -> tuple[bool, ...] | None:
        types = c.get("layer_types")
        if not isinstance(types, list | tuple):
            return None
        return tuple(t == kind for t in types) + (False,) * (n - len(types))

    return flags


def _lfm2_kv(c: Config, n: int) -> tuple[int, ...]:
    """Key-value heads a layer: none in convolutions. Early configs number the layers with attention."""
    attends = c.get("full_attn_idxs") or ()
    types = c.get("layer_types") or ["full_attention" if i in attends else "conv" for i in range(n)]
    return tuple(c["num_key_value_heads"] if t == "full_attention" else 0 for t in types)


def _attention_layers(c: Config) -> Iterable[int]:
    """Which layers of a Granite or Bamba hybrid attend."""
    types = c.get("layer_types")
    if types:
        return [i for i, t in enumerate(types) if t == "attention"]
    if c.get("attn_layer_indices"):
        return tuple(c["attn_layer_indices"])
    return range(c.get("attn_layer_offset") or 0, c["num_hidden_layers"], c["attn_layer_period"])


def _hybrid_kv(c: Config, n: int) -> tuple[int, ...]:
    attends = set(_attention_layers(c))
    return tuple(c["num_key_value_heads"] if i in attends else 0 for i in range(n))


def _hybrid_inner(c: Config, _: int) -> int:
    return int(first(c, "expand", "num_heads", "mamba_expand", "mamba_num_heads")) * int(
        first(c, "mamba_head_dim", "hidden_size", "d_model")
    )


def _jamba_kv(c: Config, n: int) -> tuple[int, ...]:
    offset, period = c["attn_layer_offset"], c["attn_layer_period"]
    return tuple(c["num_key_value_heads"] if i >= offset and (i - offset) % period == 0 else 0 for i in range(n))


_NEMOTRON: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "attention": frozenset(("*", "attention")),
        "mlp": frozenset(("-", "mlp")),
        "moe": frozenset(("E", "moe")),
    }
)


def _nemotron_at(c: Config, n: int, kind: str, value: int) -> tuple[int, ...]:
    """`value` in layers of this kind and in the prediction layers, 0 elsewhere."""
    pattern = first(c, "hybrid_override_pattern", "layers_block_type") or ""
    found = tuple(value if layer in _NEMOTRON[kind] else 0 for layer in pattern)
    return (*found, *(value,) * n)[:n]


def _nemotron_kv(c: Config, n: int) -> tuple[int, ...]:
    return _nemotron_at(c, n, "attention", c["num_key_value_heads"])


def _nemotron_ff(c: Config, n: int) -> tuple[int, ...]:
    if first(c, "n_routed_experts", "num_experts_per_tok"):
        return _nemotron_at(c, n, "moe", c["moe_intermediate_size"])
    return _nemotron_at(c, n, "mlp", c["intermediate_size"])


def _nemotron_inner(c: Config, _: int) -> int:
    return int(c["mamba_num_heads"]) * int(c["mamba_head_dim"])


def _lfm2_ff(c: Config, _: int) -> int:
    width = int(first(c, "block_ff_dim", "intermediate_size"))
    if c.get("block_auto_adjust_ff_dim"):
        width = int(2 * width / 3)
        scale, multiple = c.get("block_ffn_dim_multiplier"), c["block_multiple_of"]
        width = int(scale * width) if scale is not None else width
        width = multiple * ((width + multiple - 1) // multiple)
    return width


def _every_fourth(c: Config, n: int) -> tuple[bool, ...] | None:
    """OLMo 3: sliding but every fourth layer, where the config does not say (`sliding_window` is in it)."""
    if "sliding_window" not in c:
        return None
    listed: tuple[bool, ...] | None = _where("sliding_attention")(c, n)
    return listed if listed is not None else tuple((i + 1) % 4 != 0 for i in range(n))


def _exaone_pattern(c: Config, n: int) -> tuple[bool, ...] | None:
    if c.get("sliding_window") is None:
        return None
    listed: tuple[bool, ...] | None = _where("sliding_attention")(c, 0)
    pattern = c.get("sliding_window_pattern")
    if listed is not None or not pattern:
        return listed
    if isinstance(pattern, str):
        return tuple(pattern[i % len(pattern)] == "L" for i in range(c["num_hidden_layers"]))
    return tuple((i + 1) % pattern != 0 for i in range(n))


def _gemma4_full(c: Config, name: str, global_name: str) -> Any:
    """A width of the layers with full attention, which may be given a layer."""
    found = c.get(global_name)
    types = c.get("layer_types") or ()
    for i, layer in ({} if found is not None else nested(c, "per_layer_config")).items():
        if int(i) < len(types) and types[int(i)] == "full_attention" and name in layer:
            return layer[name]
    return found


def _gemma4_kv(c: Config, n: int) -> Any:
    full, sliding = _gemma4_full(c, "num_key_value_heads", "num_global_key_value_heads"), c["num_key_value_heads"]
    slides = _where("sliding_attention")(c, n) or ()
    return None if full is None else tuple(sliding if s else full for s in slides)


def _gemma4_ff(c: Config, n: int) -> Any:
    if not c.get("use_double_wide_mlp"):
        return None
    width, own = c["intermediate_size"], n - c["num_kv_shared_layers"]
    return tuple(width if i < own else 2 * width for i in range(n))


def _gemma3_window(c: Config, _: int) -> Any:
    return None if c.get("sliding_window_pattern") == 1 else c.get("sliding_window")


def _llama4_window(c: Config, _: int) -> int | None:
    types = c.get("layer_types")
    return 0 if types is not None and all(t == "full_attention" for t in types) else None


def _mimo_pattern(c: Config, n: int) -> tuple[int, ...]:
    return (*c["hybrid_layer_pattern"], *(1,) * n)[:n]


def _mimo_kv(c: Config, n: int) -> tuple[int, ...]:
    return tuple(
        c["swa_num_key_value_heads"] if sliding == 1 else c["num_key_value_heads"] for sliding in _mimo_pattern(c, n)
    )


def _mamba_inner(c: Config, _: int) -> int:
    return int(first(c, "mamba_d_ssm", "intermediate_size", "d_inner") or 2 * first(c, "hidden_size", "d_model"))


def _mamba2_inner(c: Config, _: int) -> int:
    width = first(c, "hidden_size", "d_model", "dim")
    inner = first(c, "mamba_d_ssm", "intermediate_size", "d_inner")
    return int(inner or (first(c, "mamba_expand", "expand") or 2) * width)


def _dt_rank(c: Config, _: int) -> int:
    width = first(c, "hidden_size", "d_model", "mamba_d_model")
    return int(first(c, "time_step_rank", "dt_rank", "mamba_dt_rank") or -(width // -16))


def _mamba2_heads(c: Config, n: int) -> int:
    return _mamba2_inner(c, n) // int(first(c, "mamba_d_head", "head_dim") or 64)


def _linear_inner(c: Config, _: int) -> int:
    return int(c["linear_value_head_dim"] * c["linear_num_value_heads"])


def _qwen_sections(c: Config, _: int) -> tuple[int, ...]:
    found = tuple(first(rope(c), "mrope_section") or (11, 11, 10))
    return (*found, 0)[:4]


def _mla_moe(c: Config, _: int) -> int:
    lead, moe = c.get("first_k_dense_replace"), c.get("n_routed_experts") is not None
    return int(lead if lead is not None else 0 if moe else c["num_hidden_layers"])


def _deepstack(c: Config, _: int) -> int:
    vision = nested(c, "vision_config") or nested(nested(c, "thinker_config"), "vision_config")
    return len(vision.get("deepstack_visual_indexes") or ())


def _hunyuan_context(c: Config, _: int) -> int | None:
    settings = rope(c)
    dynamic = first(settings, "rope_type", "type") == "dynamic" and "mrope_section" not in settings
    return 256 * 1024 if dynamic else None


def _first_of(name: str) -> Callable[[Config, int], Any]:
    return lambda c, _: c[name][0] if isinstance(c.get(name), list | tuple) else c.get(name)


def _kda_kv(c: Config, n: int) -> tuple[int, ...]:
    attends = set(c["linear_attn_config"]["full_attn_layers"])
    return tuple(1 if i + 1 in attends else 0 for i in range(n))


def _linear_attention(name: str) -> Callable[[Config, int], Any]:
    return lambda c, _: nested(c, "linear_attn_config").get(name)


def _attn_config(name: str) -> Callable[[Config, int], Any]:
    return lambda c, _: nested(c, "attn_config").get(name)


def _ffn_config(name: str) -> Callable[[Config, int], Any]:
    return lambda c, _: nested(c, "ffn_config").get(name)


def _indexer_types(c: Config, _: int) -> tuple[bool, ...] | None:
    types = c.get("indexer_types")
    return None if types is None else tuple(t == "full" for t in types)


def _true_or_none(name: str) -> Callable[[Config, int], bool | None]:
    return lambda c, _: True if c.get(name) else None


def _uses_rope(c: Config, n: int) -> bool:
    return "BambaForCausalLM" in (c.get("architectures") or ()) or len(tuple(_attention_layers(c))) == n


def _deci_heads(c: Config, _: int) -> Any:
    """Nemotron's searched layers: attention, a linear layer in its place (heads without a cache), or none."""
    heads = c["num_attention_heads"]
    parts = [b["attention"] for b in c["block_configs"]]
    return tuple(0 if a["n_heads_in_group"] is None and not a["replace_with_linear"] else heads for a in parts)


def _deci_kv(c: Config, _: int) -> Any:
    if "block_configs" not in c:
        return c.get("num_key_value_heads_per_layer")
    groups = [b["attention"]["n_heads_in_group"] for b in c["block_configs"]]
    return tuple(0 if g is None else c["num_attention_heads"] // g for g in groups)


def _deci_ff(c: Config, _: int) -> Any:
    """A multiple of the width, two thirds for a gated layer, in steps of 256 (conversion/deci.py)."""
    widths = [int(2 * (b["ffn"]["ffn_mult"] or 0.0) * c["hidden_size"] / 3) for b in c["block_configs"]]
    return tuple(-(-w // 256) * 256 for w in widths)


def _bert_context(c: Config, _: int) -> int | None:
    """RoBERTa's positions start after the padding token's."""
    start = c.get("pad_token_id")
    roberta = str(c.get("model_type", "")).startswith(("xlm-roberta", "roberta"))
    return c["max_position_embeddings"] - start - 1 if roberta and start is not None else None


_QWEN_NEXT: Final = ("qwen3next", "qwen35", "qwen35moe")
_GRANITE: Final = ("granite", "granitemoe", "granitehybrid", "granite_swa", "graniteswitch")
_MLA: Final = ("deepseek2", "deepseek32", "glm-dsa", "mistral4", "kimi-linear", "kimi-k3")
_DEEPSEEK: Final = ("deepseek2", "deepseek32", "glm-dsa", "mistral4")
_NEMOTRON_H: Final = ("nemotron_h", "nemotron_h_moe")
_MAMBA2_HYBRID: Final = ("granitehybrid", *_NEMOTRON_H)
_ROPE_OF_HEAD: Final = ("llama", "arcee", "smollm3", "apertus", "deci", "granite", "granitemoe", "granitehybrid",
                        "granite_swa", "afmoe", "internlm2", "deepseek", "bailingmoe", "llama4", "llama-embed",
                        "cohere2moe", "nanbeige", "mistral3")  # fmt: skip
_WINDOWED: Final = ("cohere2", "cohere2moe", "gemma2", "gpt-oss", "afmoe", "exaone4", "exaone-moe", "olmo2", "mimo2",
                    "step35")  # fmt: skip

# (architectures, GGUF key, what it is read from); a later row for the same key counts, None leaves what was there.
_SOURCES: Final[tuple[tuple[tuple[str, ...], str, Source], ...]] = (
    (_ROPE_OF_HEAD, "rope.dimension_count", lambda c, _: _head_dim(c)),
    (("glm4", "glm4moe", "chatglm", "bailingmoe2"), "rope.dimension_count", _partial(0.5)),
    (("gptneox", "stablelm", "phi2", "phi3", "phimoe", "nemotron", "exaone", "mimo2", "cohere2"),
     "rope.dimension_count", _partial(1.0)),
    (_QWEN_NEXT, "rope.dimension_count", _partial(0.25)),
    (("minimax-m2", "minimax-m3", "minimax-01"), "rope.dimension_count", "rotary_dim"),
    (_WINDOWED, "attention.sliding_window", "sliding_window"),
    (("phi3", "phimoe"), "attention.sliding_window", lambda c, _: c.get("sliding_window") or 0),
    (("phi3", "phimoe"), "rope.scaling.original_context_length",
     lambda c, _: first(rope(c), "original_max_position_embeddings") or c.get("original_max_position_embeddings")),
    # experts
    (("qwen2moe", "qwen3moe", "qwen3next", "qwen35moe", "qwen3vlmoe", "glm4moe", "lfm2moe", "ernie4_5-moe", "dots1",
      "afmoe", "bailingmoe", "bailingmoe2", "deepseek", "mimo2", "hy_v3", "exaone-moe", "step35", "deepseek4", *_MLA,
      *_NEMOTRON_H), "expert_feed_forward_length", "moe_intermediate_size"),
    (("gpt-oss", "minimax-m2", "minimax-m3", "cohere2moe"), "expert_feed_forward_length", "intermediate_size"),
    (("glm4moe", "dots1", "deepseek", "bailingmoe", "bailingmoe2", "kimi-linear", "kimi-k3"),
     "leading_dense_block_count", "first_k_dense_replace"),
    (("glm4moe", "dots1", "bailingmoe2", "exaone-moe", "kimi-linear", "kimi-k3", "deepseek4", *_DEEPSEEK,
      *_NEMOTRON_H), "expert_weights_scale", "routed_scaling_factor"),
    (("glm4moe", "dots1", "bailingmoe", "bailingmoe2", "exaone-moe", "nemotron_h_moe", "cohere2moe"),
     "expert_weights_norm", "norm_topk_prob"),
    (_DEEPSEEK, "expert_weights_norm", _true_or_none("norm_topk_prob")),
    (("glm4moe", "lfm2moe", "hy_v3"), "expert_gating_func", _constant(2)),
    (("lfm2moe", "afmoe"), "leading_dense_block_count", "num_dense_layers"),
    (("ernie4_5-moe",), "leading_dense_block_count", "moe_layer_start_index"),
    (("ernie4_5-moe",), "interleave_moe_layer_step", "moe_layer_interval"),
    (("afmoe",), "expert_weights_scale", "route_scale"),
    (("afmoe", "hy_v3"), "expert_weights_norm", "route_norm"),
    (("hunyuan-moe",), "expert_feed_forward_length", _first_of("moe_intermediate_size")),
    (("hunyuan-moe",), "expert_used_count", _first_of("moe_topk")),
    (("hunyuan-dense", "hunyuan-moe"), "context_length", _hunyuan_context),
    (("hunyuan-dense",), "rope.scaling.original_context_length", _hunyuan_context),
    (("smallthinker",), "expert_count", "moe_num_primary_experts"),
    (("smallthinker",), "expert_used_count", "moe_num_active_primary_experts"),
    (("smallthinker",), "expert_feed_forward_length", "moe_ffn_hidden_size"),
    (("smallthinker",), "feed_forward_length", "moe_ffn_hidden_size"),
    (("smallthinker",), "expert_gating_func", lambda c, _: 1 if c.get("moe_primary_router_apply_softmax") else 2),
    # Llama 4
    (("llama4",), "feed_forward_length", "intermediate_size_mlp"),
    (("llama4",), "expert_feed_forward_length", "intermediate_size"),
    (("llama4",), "interleave_moe_layer_step", "interleave_moe_layer_step"),
    (("llama4",), "attention.sliding_window", _llama4_window),
    # Gemma
    # 30 is the default of the config classes (transformers 5.24, Gemma2Config, Gemma3nTextConfig)
    (("gemma2", "gemma3n"), "final_logit_softcapping", lambda c, _: c.get("final_logit_softcapping", 30.0)),
    (("gemma3", "gemma4"), "final_logit_softcapping", "final_logit_softcapping"),
    (("gemma3", "gemma3n", "gemma4"), "attention.sliding_window", _gemma3_window),
    (("gemma3n", "gemma4"), "attention.sliding_window_pattern", _where("sliding_attention")),
    (("gemma3n", "gemma4"), "attention.shared_kv_layers", "num_kv_shared_layers"),
    (("gemma3n", "gemma4"), "embedding_length_per_layer_input",
     lambda c, _: c.get("hidden_size_per_layer_input") or 0),
    (("gemma3n",), "altup.num_inputs", "altup_num_inputs"),
    (("gemma4",), "attention.key_length", lambda c, _: _gemma4_full(c, "head_dim", "global_head_dim")),
    (("gemma4",), "attention.value_length", lambda c, _: _gemma4_full(c, "head_dim", "global_head_dim")),
    (("gemma4",), "attention.key_length_swa", "head_dim"),
    (("gemma4",), "attention.value_length_swa", "head_dim"),
    (("gemma4",), "attention.head_count_kv", _gemma4_kv),
    (("gemma4",), "feed_forward_length", _gemma4_ff),
    (("gemma4",), "expert_feed_forward_length", _of("expert_intermediate_size", "moe_intermediate_size")),
    (("gemma4",), "rope.dimension_count", lambda c, _: _gemma4_full(c, "head_dim", "global_head_dim")),
    # patterns of sliding layers
    (("cohere2moe", "step35", "granite_swa"), "attention.sliding_window_pattern", _where("sliding_attention")),
    (("granite_swa",), "attention.sliding_window", "sliding_window"),
    (("exaone4", "exaone-moe"), "attention.sliding_window_pattern", _exaone_pattern),
    (("olmo2",), "attention.sliding_window_pattern", _every_fourth),
    (("mimo2",), "attention.sliding_window_pattern", _mimo_pattern),
    (("mimo2",), "attention.head_count_kv", _mimo_kv),
    (("mimo2",), "attention.value_length", "v_head_dim"),
    (("mimo2",), "attention.value_scale", "attention_value_scale"),
    (("modern-bert",), "attention.sliding_window", "local_attention"),
    (("modern-bert",), "attention.sliding_window_pattern", "global_attn_every_n_layers"),
    (("bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "rnd1"), "attention.causal", _constant(False)),
    (("nomic-bert-moe",), "moe_every_n_layers", "moe_every_n_layers"),
    # scales
    (("command-r", "cohere2", "cohere2moe"), "logit_scale", "logit_scale"),
    (("command-r",), "context_length", _of("model_max_length", "max_position_embeddings")),
    (_GRANITE, "attention.scale", "attention_multiplier"),
    (_GRANITE, "embedding_scale", "embedding_multiplier"),
    (_GRANITE, "residual_scale", "residual_multiplier"),
    (_GRANITE, "logit_scale", "logits_scaling"),
    (("minicpm",), "embedding_scale", "scale_emb"),
    (("minicpm",), "residual_scale", lambda c, _: c["scale_depth"] / c["num_hidden_layers"] ** 0.5),
    (("minicpm",), "logit_scale", lambda c, _: c["hidden_size"] / c["dim_model_base"]),
    (("olmo",), "attention.clamp_kqv", "clip_qkv"),
    (("mpt", "dbrx"), "attention.clamp_kqv", _attn_config("clip_qkv")),
    (("gptneox", "stablelm"), "use_parallel_residual", lambda c, _: c.get("use_parallel_residual", True)),
    # latent attention: stored as one head of the latent's width
    (_MLA, "attention.head_count_kv", _constant(1)),
    (_MLA, "attention.kv_lora_rank", lambda c, _: first(c, "kv_lora_rank", "n_lora_kv") or 512),
    (_MLA, "attention.key_length", lambda c, _: (c.get("kv_lora_rank") or 512) + c["qk_rope_head_dim"]),
    ((*_DEEPSEEK, "kimi-k3"), "attention.value_length", lambda c, _: c.get("kv_lora_rank") or 512),
    (_MLA, "attention.key_length_mla", lambda c, _: c["qk_nope_head_dim"] + c["qk_rope_head_dim"]),
    (_MLA, "attention.value_length_mla", "v_head_dim"),
    (_MLA, "rope.dimension_count", "qk_rope_head_dim"),
    (_DEEPSEEK, "leading_dense_block_count", _mla_moe),
    (_DEEPSEEK, "expert_feed_forward_length", _of("moe_intermediate_size", "intermediate_size")),
    (("deepseek32", "glm-dsa", "deepseek4"), "attention.indexer.head_count", "index_n_heads"),
    (("deepseek32", "glm-dsa", "deepseek4"), "attention.indexer.key_length", "index_head_dim"),
    (("deepseek32", "glm-dsa", "deepseek4"), "attention.indexer.top_k", "index_topk"),
    (("glm-dsa",), "attention.indexer.types", _indexer_types),
    (("kimi-linear", "kimi-k3"), "attention.head_count_kv", _kda_kv),
    (("kimi-linear", "kimi-k3"), "ssm.conv_kernel", _linear_attention("short_conv_kernel_size")),
    (("kimi-linear", "kimi-k3"), "kda.head_dim", _linear_attention("head_dim")),
    (("kimi-k3",), "expert_weights_norm", "moe_renormalize"),
    (("kimi-k3",), "expert_latent_length", "routed_expert_hidden_size"),
    (("deepseek4",), "attention.compress_ratios", "compress_ratios"),
    (("deepseek4",), "attention.sliding_window", "sliding_window"),
    (("deepseek4",), "rope.dimension_count", "qk_rope_head_dim"),
    (("deepseek4",), "expert_weights_norm", "norm_topk_prob"),
    (("deepseek4",), "hyper_connection.count", "hc_mult"),
    (("deepseek4",), "embedding_length_out", lambda c, _: c["hc_mult"] * c["hidden_size"]),
    # states
    (_QWEN_NEXT, "ssm.conv_kernel", "linear_conv_kernel_dim"),
    (_QWEN_NEXT, "ssm.state_size", "linear_key_head_dim"),
    (_QWEN_NEXT, "ssm.group_count", "linear_num_key_heads"),
    (_QWEN_NEXT, "ssm.time_step_rank", "linear_num_value_heads"),
    (_QWEN_NEXT, "ssm.inner_size", _linear_inner),
    (_QWEN_NEXT, "attention.recurrent_layers", _where("linear_attention")),
    (_QWEN_NEXT, "full_attention_interval", lambda c, _: c.get("full_attention_interval", 4)),
    (("qwen35", "qwen35moe"), "rope.dimension_sections", _qwen_sections),
    (("mamba", "mamba2", "falcon-h1"), "attention.head_count", _constant(0)),
    (("mamba", "mamba2", "falcon-h1"), "feed_forward_length", _constant(0)),
    (("mamba", "mamba2"), "context_length", _constant(_MANY)),
    (("mamba", "mamba2", "falcon-h1"), "embedding_length", _of("hidden_size", "d_model", "dim")),
    (("mamba", "mamba2", "falcon-h1"), "ssm.conv_kernel",
     lambda c, _: first(c, "conv_kernel", "d_conv", "mamba_d_conv") or 4),
    (("mamba",), "ssm.state_size", lambda c, _: first(c, "state_size", "d_state") or 16),
    (("mamba",), "ssm.inner_size", _mamba_inner),
    (("mamba", "jamba"), "ssm.time_step_rank", _dt_rank),
    (("mamba2", "falcon-h1"), "ssm.time_step_rank", _mamba2_heads),
    (_MAMBA2_HYBRID, "ssm.time_step_rank", _of("n_heads", "num_heads", "mamba_n_heads", "mamba_num_heads")),
    (("mamba",), "ssm.dt_b_c_rms", lambda c, _: c.get("model_type") == "falcon_mamba"),
    (("mamba2", "falcon-h1"), "ssm.state_size", lambda c, _: first(c, "state_size", "d_state", "mamba_d_state") or 128),
    (("mamba2", "falcon-h1"), "ssm.inner_size", _mamba2_inner),
    (("mamba2", "falcon-h1"), "ssm.group_count", lambda c, _: first(c, "n_groups", "mamba_n_groups") or 1),
    (("falcon-h1",), "attention.head_count", "num_attention_heads"),
    (("falcon-h1",), "feed_forward_length", "intermediate_size"),
    (_MAMBA2_HYBRID, "ssm.conv_kernel", _of("conv_kernel", "d_conv", "mamba_d_conv")),
    (_MAMBA2_HYBRID, "ssm.state_size", _of("state_size", "d_state", "ssm_state_size", "mamba_d_state")),
    (_MAMBA2_HYBRID, "ssm.group_count", _of("n_groups", "num_groups", "mamba_n_groups")),
    (("granitehybrid",), "ssm.inner_size", _hybrid_inner),
    (("granitehybrid",), "attention.head_count_kv", _hybrid_kv),
    (("granitehybrid",), "rope.dimension_count", "attn_rotary_emb"),
    (("granitehybrid",), "rope.scaling.finetuned", _uses_rope),
    (("granitehybrid",), "context_length", lambda c, n: None if _uses_rope(c, n) else _MANY),
    (_NEMOTRON_H, "ssm.inner_size", _nemotron_inner),
    (_NEMOTRON_H, "attention.head_count_kv", _nemotron_kv),
    (_NEMOTRON_H, "feed_forward_length", _nemotron_ff),
    (_NEMOTRON_H, "attention.key_length", _of("head_dim", "attention_head_dim")),
    (_NEMOTRON_H, "attention.value_length", _of("head_dim", "attention_head_dim")),
    (_NEMOTRON_H, "rope.scaling.finetuned", _constant(False)),
    (_NEMOTRON_H, "context_length", _constant(_MANY)),
    (("jamba",), "attention.head_count_kv", _jamba_kv),
    (("jamba",), "ssm.conv_kernel", lambda c, _: c.get("mamba_d_conv") or 4),
    (("jamba",), "ssm.state_size", lambda c, _: c.get("mamba_d_state") or 16),
    (("jamba",), "ssm.inner_size", lambda c, _: c["mamba_expand"] * first(c, "hidden_size", "mamba_d_model")),
    (("lfm2", "lfm2moe"), "attention.head_count_kv", _lfm2_kv),
    (("lfm2", "lfm2moe"), "shortconv.l_cache", "conv_L_cache"),
    (("lfm2",), "feed_forward_length", _lfm2_ff),
    (("minimax-01",), "residual_scale", "layernorm_full_attention_alpha"),
    # older models
    (("deci",), "attention.head_count", _deci_heads),
    (("deci",), "attention.head_count_kv", _deci_kv),
    (("deci",), "feed_forward_length", _deci_ff),
    (("bert",), "context_length", _bert_context),
    (("falcon",), "context_length", _constant(2048)),
    (("falcon",), "attention.head_count_kv", lambda c, _: first(c, "num_kv_heads", "n_head_kv") or 1),
    (("falcon", "bloom", "phi2"), "feed_forward_length", _of("hidden_size", "n_embed", "n_embd", times=4)),
    (("gpt2", "starcoder"), "feed_forward_length", _of("n_embd", "hidden_size", times=4)),
    (("bloom", "chatglm"), "context_length", _of("seq_length", "hidden_size", "n_embed")),
    (("bloom",), "attention.head_count_kv", _of("n_head", "num_attention_heads")),
    (("phi2",), "attention.head_count_kv", _of("num_attention_heads", "n_head")),
    (("starcoder",), "attention.head_count_kv", _constant(1)),
    (("chatglm",), "feed_forward_length", _of("ffn_hidden_size", "intermediate_size")),
    (("mpt", "dbrx"), "context_length", "max_seq_len"),
    (("mpt", "dbrx"), "embedding_length", "d_model"),
    (("mpt", "dbrx"), "attention.head_count_kv", _attn_config("kv_n_heads")),
    (("mpt",), "feed_forward_length", _of("d_model", times=4)),
    (("dbrx",), "feed_forward_length", _ffn_config("ffn_hidden_size")),
    (("dbrx",), "expert_count", _ffn_config("moe_num_experts")),
    (("dbrx",), "expert_used_count", _ffn_config("moe_top_k")),
    (("t5", "t5encoder"), "context_length", lambda c, _: c.get("n_positions") or 512),
    (("t5", "t5encoder"), "embedding_length", "d_model"),
    (("t5", "t5encoder"), "feed_forward_length", "d_ff"),
    (("t5", "t5encoder"), "attention.key_length", "d_kv"),
    (("t5", "t5encoder"), "attention.value_length", "d_kv"),
    (("t5",), "decoder_block_count", "num_decoder_layers"),
    (("qwen3vl", "qwen3vlmoe"), "n_deepstack_layers", _deepstack),
    (("mistral3",), "attention.temperature_scale", lambda c, _: first(rope(c), "llama_4_scaling_beta")),
)  # fmt: skip
# Keys that a model's class does not write, although the config has what they are read from.
_UNWRITTEN: Final[tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]] = (
    ((*_GRANITE, "phi3", "phimoe", "phi2", "stablelm", "chatglm", "gptneox", "mamba2", "jamba"),
     ("attention.key_length", "attention.value_length")),
    (("mamba", "mamba2"), ("attention.head_count_kv",)),
)  # fmt: skip


def gguf_keys(
    arch: str, stated: Config, n_blocks: int, n_extra: int, *, defaults: Config = _NOTHING
) -> Mapping[str, Any]:
    """The keys of a converted model, as far as memory and quantisation depend on them.

    `stated`: the text model's keys over the outer ones; `defaults`: what its configuration class assumes. A key whose
    source the config does not have, or has in another form than the converter takes, is absent.
    """
    keys: dict[str, Any] = {"block_count": n_blocks, **({"nextn_predict_layers": n_extra} if n_extra else {})}
    for key, names in _COMMON:
        value = first(stated, *names)
        value = first(defaults, *names) if value is None and not any(n in stated for n in names) else value
        keys |= {} if value is None else {key: value}
    config = {**defaults, **stated}
    keys |= _settings(config)
    for archs, unwritten in _UNWRITTEN:
        for key in unwritten if arch in archs else ():
            keys.pop(key, None)
    for archs, key, source in _SOURCES:
        if arch in archs:
            value = _read(source, config, n_blocks)
            keys |= {} if value is None else {key: value}
    return {"general.architecture": arch, **{f"{arch}.{key}": value for key, value in keys.items()}}


def _settings(config: Config) -> dict[str, Any]:
    """What is turned into words of its own on the way: gates, rotary settings, causality."""
    found: dict[str, Any] = {}
    gate = _GATES.get(str(first(config, *_GATE_NAMES)))
    found |= {"expert_gating_func": gate} if gate else {}
    settings = rope(config)
    if first(settings, "rope_type", "type") == "yarn" and settings.get("factor") is not None:
        found["rope.scaling.original_context_length"] = settings.get("original_max_position_embeddings")
    sections = first(settings, "mrope_section")
    if isinstance(sections, list | tuple):
        found["rope.dimension_sections"] = (*sections, 0, 0, 0)[:4]
    found |= {"attention.causal": False} if config.get("is_causal") is False else {}
    return {key: value for key, value in found.items() if value is not None}


def _read(source: Source, config: Config, n_blocks: int) -> Any:
    if isinstance(source, str):
        return config.get(source)
    try:
        return source(config, n_blocks)
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError, AttributeError):
        return None
