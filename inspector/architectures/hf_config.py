"""One config.json, read by canonical names: nesting, aliases and class defaults settled, origins remembered."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf import FAMILIES, family_of
from inspector.errors import LimitExceeded, MissingKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any, Final

# No published model comes near; a count above it would only make a hostile file slow.
MAX_LAYERS: Final = 20_000
MAX_INT: Final = 1 << 53

# Where multimodal and omni repositories keep the language model's keys (configuration_*.py of transformers 5.24.0;
# thinker_config: qwen2_5_omni, qwen3_omni_moe).
_TEXT_PATHS: Final = (
    ("text_config",),
    ("llm_config",),
    ("language_config",),
    ("thinker_config", "text_config"),
    ("decoder",),
)

# The same fact under the names that repositories use; the first that is present wins. Key-value heads: order of
# vLLM 0.33.0 transformers_utils/config.py CONFIG_FIELD_ALIASES.
# fmt: off
ALIASES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({
    "num_hidden_layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "hidden_size": ("hidden_size", "n_embd", "d_model", "dim", "model_dim"),
    "num_attention_heads": ("num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads",
                            "encoder_attention_heads"),
    "num_key_value_heads": ("n_head_kv", "num_kv_heads", "num_key_value_heads", "multi_query_group_num",
                            "num_attention_groups"),
    "head_dim": ("head_dim", "attention_head_dim", "kv_channels", "dim_head", "d_kv"),
    "intermediate_size": ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "d_ff", "dim_ff", "ff_dim",
                          "encoder_ffn_dim", "dff"),
    "num_experts": ("num_experts", "moe_num_experts", "n_routed_experts", "num_local_experts"),
    "num_experts_per_tok": ("num_experts_per_tok", "num_experts_per_token", "experts_per_token", "top_k_experts",
                            "moe_topk", "moe_top_k", "moe_k", "top_k"),
    "moe_intermediate_size": ("moe_intermediate_size", "expert_ffn_hidden_size"),
    "n_shared_experts": ("n_shared_experts", "moe_num_shared_experts", "num_shared_experts"),
    "max_position_embeddings": ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len",
                                "context_length", "n_ctx", "model_max_length", "seq_length"),
    "sliding_window": ("sliding_window", "sliding_window_size", "attention_window_size"),
    "vocab_size": ("vocab_size", "padded_vocab_size"),
    "conv_kernel": ("conv_kernel", "mamba_d_conv", "linear_conv_kernel_dim", "short_conv_kernel_size",
                    "conv_kernel_size", "conv1d_width"),
    "layer_types": ("layer_types", "layers_block_type"),
})
# fmt: on
LEGACY_LAYER_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "mamba": "linear_attention",
        "attention": "full_attention",
        "deepseek_sparse_attention": "indexed_attention",
        "qwen_sparse_attention": "indexed_attention",
    }
)  # transformers 5.24.0 configuration_utils.py, and the names that published files carry


def _load_defaults() -> Mapping[str, Mapping[str, Any]]:
    import json
    import os

    path = os.path.join(os.path.dirname(__file__), "hf_defaults.json")
    with open(path, encoding="utf-8") as f:
        table: Mapping[str, Mapping[str, Any]] = json.load(f)
    return table


_CACHE: dict[str, Mapping[str, Mapping[str, Any]]] = {}


def class_defaults() -> Mapping[str, Mapping[str, Any]]:
    """What transformers 5.24.0's configuration classes assume for absent keys, by model_type."""
    if not _CACHE:
        _CACHE["table"] = _load_defaults()
    return _CACHE["table"]


def _as_mapping(value: object) -> Mapping[str, Any] | None:
    return value if isinstance(value, dict | MappingProxyType) else None


def _nested(outer: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    for path in _TEXT_PATHS:
        found: Mapping[str, Any] | None = outer
        for step in path:
            found = _as_mapping(found.get(step)) if found is not None else None
        if found:
            return found, ".".join(path) + "."
    return outer, ""


# Endings of class names that say what a model is used for, longest first.
_USES: Final = (
    "ForConditionalGeneration", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering",
    "ForMaskedLM", "ForCausalLM", "LMHeadModel", "RewardModel", "ChatModel", "TextModel", "Model", "LM",
)  # fmt: skip
# Classes named otherwise than their type (vllm 0.33.0 model_executor/models/registry.py; the files' own modeling code).
_CLASSES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "decilm": "nemotron-nas",
        "hunyuanmoev1": "hunyuan_v1_moe",
        "hunyuandensev1": "hunyuan_v1_dense",
        "hunyuan": "hunyuan_v1_moe",
        "minimaxtext01": "minimax_m1",
        "step3p7flash": "step3p7_text",
    }
)


def _bare(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def draft_type(class_name: str) -> str:
    """The type of drafting head that a class is; "" for a model of its own."""
    name = class_name.lower().replace("_", "")
    if name.startswith(("eagle3", "peagle")) or name.endswith("eagle3"):
        return "eagle3"
    if name.startswith("eagle") and not name.startswith("eagle25"):
        return "eagle"
    if not name.endswith(("draftmodel", "dsparkmodel")):
        return ""
    return next((kind for kind in ("dflash", "dspark") if name.startswith((kind + "draft", "qwen3" + kind))), "draft")


def known_type(model_type: str, classes: Iterable[str]) -> str:
    """The type itself where it has a record; else one that the name of the first class means, where that has one."""

    # DSparkDraftModel is DeepSeek-V4's own too, and then all of that model
    drafts = () if model_type.startswith("deepseek") else tuple(filter(None, map(draft_type, classes)))
    if drafts:
        return drafts[0]
    if family_of(model_type):
        return model_type
    by_bare = {_bare(name): name for names in FAMILIES.values() for name in names.split()}
    for class_name in classes:
        stem = next((class_name.removesuffix(use) for use in _USES if class_name.endswith(use)), class_name)
        found = _CLASSES.get(_bare(stem)) or by_bare.get(_bare(stem))
        if found and family_of(found):
            return found
    return model_type


class HfConfig:
    """A config.json under canonical names.

    `inner` holds the language model's own keys, `prefix` where they were ("text_config." or nothing), `model_type`
    the language model's type. Look-ups take the first alias present, then the class default; `origin` fills with
    what was used.
    """

    def __init__(self, outer: Mapping[str, Any]) -> None:
        self.outer = outer
        self.inner, self.prefix = _nested(outer)
        self.outer_type = str(outer.get("model_type") or "")
        self.origin: dict[str, str] = {}
        self.notes: list[str] = []
        table = class_defaults()
        inner_type = str(self.inner.get("model_type") or "") if self.prefix else ""
        implied = str(table.get(self.outer_type, {}).get("text_config") or "")
        self.model_type = inner_type or (implied if self.prefix else "") or self.outer_type
        if not self.prefix and implied:
            self.model_type = implied  # the outer class builds its text part from its own keys, or from defaults alone
        declared, self.model_type = self.model_type, known_type(self.model_type, self._classes())
        self.defaults: Mapping[str, Any] = table.get(self.model_type) or table.get(declared, {})

    @property
    def class_name(self) -> str:
        """The class that the file is for; "" where it names none."""
        return next(iter(self._classes()), "")

    def _classes(self) -> tuple[str, ...]:
        """The names of the classes that the file is for, the language model's own first."""
        found = (m.get("architectures") for m in (self.inner, self.outer))
        return tuple(str(names[0]) for names in found if isinstance(names, list | tuple) and names)

    def sources(self, name: str) -> Iterator[tuple[Mapping[str, Any], str, str]]:
        """Where `name` may be found, first choice first: mapping, key, words for the origin."""
        aliases = ALIASES.get(name, (name,))
        for key in aliases:
            yield self.inner, key, self.prefix + key
        for key in aliases:
            yield self.defaults, key, f"default of {self.model_type}"

    def has(self, name: str) -> bool:
        """Whether the file itself has the key, null included."""
        return any(key in self.inner for key in ALIASES.get(name, (name,)))

    def get(self, name: str, default: Any = None) -> Any:
        """The value under any of its names, else the class default, else `default`.

        An explicit null hides the class default, as it does in transformers: `"sliding_window": null` means none.
        """
        present = self.has(name)
        for mapping, key, origin in self.sources(name):
            if mapping is self.defaults and present:
                break
            if mapping.get(key) is not None:
                self.origin.setdefault(name, origin)
                return mapping[key]
        return default

    def count(self, name: str, default: int | None = None) -> int | None:
        """A whole number, or `default` where the key is absent; anything else is noted and not used."""
        value = self.get(name)
        if value is None:
            return default
        if isinstance(value, list | tuple) and value and all(type(v) is int and v == value[0] for v in value):
            value = value[0]  # Hunyuan writes one number a layer
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_INT:
            self.note(f"{self.prefix}{name} is {value!r:.60}, not a count: not used")
            return default
        return value

    def need(self, name: str) -> int:
        """A whole number that the question cannot do without. Raises MissingKey."""
        value = self.count(name)
        if value is None:
            raise MissingKey(f"config.json of {self.model_type or 'no model_type'} does not say {name}")
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A truth value."""
        value = self.get(name)
        return default if value is None else bool(value)

    def sub(self, name: str) -> Mapping[str, Any]:
        """A nested mapping, empty where there is none."""
        return _as_mapping(self.get(name)) or {}

    def ints(self, name: str) -> tuple[int, ...] | None:
        """A list of whole numbers, or None."""
        value = self.get(name)
        if not isinstance(value, list | tuple) or not all(isinstance(v, int) for v in value):
            return None
        return tuple(int(v) for v in value)

    def strings(self, name: str) -> tuple[str, ...] | None:
        """A list of words, or None."""
        value = self.get(name)
        if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
            return None
        return tuple(value)

    @property
    def tied(self) -> bool | None:
        """Whether the output head is the embedding: the outer config's word, the text part's, then the outer class's.

        The outer class builds the head (transformers 5.24.0), so that its word counts where the two differ.
        """
        for mapping in (self.outer, self.inner):
            for key in ("tie_word_embeddings", "tie_embedding"):
                if isinstance(value := mapping.get(key), bool):
                    return value
        outer = class_defaults().get(self.outer_type, {}) if self.prefix else {}
        value = outer.get("tie_word_embeddings", self.defaults.get("tie_word_embeddings"))
        return value if isinstance(value, bool) else None

    def note(self, text: str) -> None:
        """Remember something that the reader should know, once."""
        if text not in self.notes:
            self.notes.append(text)

    @property
    def n_layers(self) -> int:
        """Layers that the file claims. Raises MissingKey, LimitExceeded."""
        n = self.count("num_hidden_layers")
        if n is None:  # nemotron_h counts its list
            listed = self.get("layer_types") or self.get("hybrid_override_pattern")
            n = len(listed) if isinstance(listed, list | str) else self.need("num_hidden_layers")
        if n > MAX_LAYERS:
            raise LimitExceeded(f"config.json claims {n:,} layers")
        return n

    def layer_count(self, name: str) -> int | None:
        """A count of layers under another key, within the same bound. Raises LimitExceeded."""
        n = self.count(name)
        if n is not None and n > MAX_LAYERS:
            raise LimitExceeded(f"config.json claims {n:,} layers")
        return n

    @property
    def n_heads(self) -> int | None:
        """Query heads of one layer."""
        return self.count("num_attention_heads")

    @property
    def n_kv_heads(self) -> int | None:
        """Key-value heads of one layer: the query heads where no key says otherwise."""
        found = self.count("num_key_value_heads")
        if found is None and self.n_heads is not None:
            self.origin["num_key_value_heads"] = f"{self.origin.get('num_attention_heads', '')} (no key of its own)"
        return found or self.n_heads

    @property
    def head_dim(self) -> int | None:
        """Elements of one head: its own key, and only without one hidden_size divided by the heads."""
        own = self.count("head_dim")
        if own:
            return own
        hidden, heads = self.count("hidden_size"), self.n_heads
        if not hidden or not heads:
            return None
        self.origin["head_dim"] = "hidden_size / num_attention_heads"
        return hidden // heads
