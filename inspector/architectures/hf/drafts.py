"""Heads that draft for another model: EAGLE, EAGLE-3, DFlash, DSpark. Their configs name a decoder, and are less.

vLLM 0.33.0 models/llama_eagle.py, llama_eagle3.py, qwen3_dflash.py, qwen3_dspark.py. They read the other model's
embedding, and its output head where they have no vocabulary of their own: neither is counted here.
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import ExpectedTensor, ModelType
from inspector.architectures.hf_blocks import linear, norm
from inspector.architectures.hf_caches import latent_or_kv
from inspector.architectures.hf_decoders import gated, grouped_attention
from inspector.architectures.hf_types import plainly
from inspector.errors import MissingKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, Final

    from inspector.architectures.hf_config import HfConfig

    Tensors = Iterator[ExpectedTensor]

_TARGET_LAYERS: Final = 3  # states of the other model that EAGLE-3 reads, where nothing lists them
_NOTE: Final = "a head that drafts for another model, whose embedding it reads: not counted here"


def _own(k: HfConfig, name: str) -> Any:
    """A key of the head's own section, else of the config itself."""
    for section in ("dflash_config", "eagle_config"):
        if (found := k.sub(section).get(name)) is not None:
            return found
    return k.get(name)


def _read_states(k: HfConfig) -> int:
    listed = _own(k, "target_layer_ids") or _own(k, "eagle_aux_hidden_state_layer_ids")
    counted = _own(k, "num_aux_hidden_states")
    return len(listed) if isinstance(listed, list | tuple) and listed else counted or 0


def _attention(k: HfConfig, at: str, hidden: int, *, head_norm: bool) -> Tensors:
    """Projections of `hidden` inputs; the output is the head's own width."""
    if k.count("kv_lora_rank"):
        raise MissingKey("a drafting head with latent attention has no rule here")
    heads, kv, dim = k.n_heads or 0, k.n_kv_heads or 0, k.head_dim or 0
    for t in grouped_attention(k, at, heads, kv, dim, head_norm=head_norm):
        reads = not t.name.endswith("o_proj.weight") and len(t.shape) == 2
        yield t.replace(shape=(t.shape[0], hidden)) if reads else t


def _layers(k: HfConfig, *, norms: tuple[str, ...], first: tuple[str, ...], double: bool, head_norm: bool) -> Tensors:
    """Decoder layers; the first has norms of its own, and with `double` reads two hidden widths."""
    hidden = k.need("hidden_size")
    for i in range(k.n_layers):
        at = f"layers.{i}."
        for name in first if i == 0 else norms:
            yield from norm(at + name, hidden)
        yield from _attention(k, f"{at}self_attn.", hidden * (2 if double and i == 0 else 1), head_norm=head_norm)
        yield from gated(f"{at}mlp.", hidden, k.need("intermediate_size"))


def _eagle(k: HfConfig) -> Tensors:
    """One layer without its first norm, behind a projection of embedding and state; no head of its own."""
    hidden = k.need("hidden_size")
    both, one = ("input_layernorm", "post_attention_layernorm"), ("post_attention_layernorm",)
    yield from linear("fc", hidden, 2 * hidden, "other")
    yield from _layers(k, norms=both, first=one, double=False, head_norm=False)


def _eagle3(k: HfConfig) -> Tensors:
    """States of several layers through one projection; the first layer reads them beside the embedding."""
    hidden, target = k.need("hidden_size"), k.count("target_hidden_size") or k.need("hidden_size")
    vocab = k.count("draft_vocab_size") or k.need("vocab_size")
    both = ("input_layernorm", "hidden_norm", "post_attention_layernorm")
    yield from linear("fc", hidden, target * (_read_states(k) or _TARGET_LAYERS), "other")
    yield from _layers(k, norms=both, first=both, double=True, head_norm=False)
    yield from norm("norm", hidden)
    yield ExpectedTensor("lm_head.weight", (vocab, hidden), "output")


def _dflash(k: HfConfig) -> Tensors:
    hidden, target = k.need("hidden_size"), k.count("target_hidden_size") or k.need("hidden_size")
    both = ("input_layernorm", "post_attention_layernorm")
    yield from linear("fc", hidden, target * (_read_states(k) or k.n_layers), "other")
    yield from norm("hidden_norm", hidden)
    yield from _layers(k, norms=both, first=both, double=False, head_norm=True)
    yield from norm("norm", hidden)


def _dspark(k: HfConfig) -> Tensors:
    """DFlash, with a low-rank bias of every token on the next, and a guess of how far to trust it."""
    hidden, vocab, rank = k.need("hidden_size"), k.need("vocab_size"), _own(k, "markov_rank")
    yield from _dflash(k)
    yield ExpectedTensor("markov_head.markov_w1.weight", (vocab, rank), "other")
    yield ExpectedTensor("markov_head.markov_w2.weight", (k.count("draft_vocab_size") or vocab, rank), "other")
    if _own(k, "enable_confidence_head"):
        width = hidden + (rank if _own(k, "confidence_head_with_markov") else 0)
        yield from linear("confidence_head.proj", 1, width, "other", bias=True)


def _head(tensors: Any) -> ModelType:
    return ModelType(attention=latent_or_kv, layer_types=plainly, tensors=tensors, note=_NOTE)


MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    {
        "eagle": _head(_eagle),
        "eagle3": _head(_eagle3),
        "dflash": _head(_dflash),
        "dspark": _head(_dspark),
        "draft": ModelType(attention=latent_or_kv, layer_types=plainly, note=_NOTE),
    }
)
