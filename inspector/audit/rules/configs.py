"""FD: config.json and tokenizer against the tensors beside them, by what transformers 5.24.0 would build."""

from __future__ import annotations

import re

from inspector.architectures.hf_config import ALIASES, HfConfig
from inspector.audit.readers.tokenizers import largest_token
from inspector.audit.registry import Hit, rule
from inspector.audit.subject.groups import groups
from inspector.errors import InspectorError
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, Final

    from inspector.audit.subject.groups import Group
    from inspector.audit.subject.records import Subject
    from inspector.formats.modelfile import TensorInfo

FETCH: Final = "download config.json and the weights from the same revision: hf download REPO"
_STACK: Final = re.compile(r"(?:^|.*?\.)(?:layers|layer|h|blocks|block)\.(\d{1,6})\.")
# Towers and heads of other kinds, whose layers have counts of their own.
_NOT_TEXT: Final = (
    "vision", "visual", "image", "audio", "speech", "tower", "connector", "resampler", "qformer", "perceiver", "codec",
    "talker", "mtp", "adapter", "lora", "pooler", "projector", "token2wav", "depth_decoder", "embedding_encoder",
)  # fmt: skip
# Marks of layers that predict further tokens (DeepSeek-V3, GLM-4.5, MiMo …): beyond num_hidden_layers by design.
_AHEAD: Final = ("eh_proj", "enorm", "hnorm", "shared_head", "mtp", "nextn")
_MOST_AHEAD: Final = 64
_LAYER_KEYS: Final = (
    *ALIASES["num_hidden_layers"], "num_decoder_layers", "encoder_layers", "decoder_layers", "num_encoder_layers",
)  # fmt: skip
_AHEAD_KEYS: Final = ("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_layers", "mtp_num_layers")
_EMBEDDING: Final = re.compile(
    r"(?:^|\.)(?:embed_tokens|word_embeddings|wte|embed_in|tok_embeddings|shared|embedding)\.weight$"
)
_HEADS: Final = frozenset({"lm_head", "embed_out", "output_layer", "head", "output_projection", "proj_out", "score"})
_CAUSAL: Final = ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel")


class Described(Record):
    """A folder's weights beside the config.json that describes them.

    `outer`: the tensors outside numbered blocks; `attention`: those of attention within them; `stacks`: which blocks
    there are under each prefix.
    """

    group: Group
    config: HfConfig
    tensors: Mapping[str, TensorInfo]
    outer: Mapping[str, TensorInfo]
    attention: Mapping[str, TensorInfo]
    stacks: Mapping[str, set[int]]

    @property
    def name(self) -> str:
        """config.json, with its folder."""
        return f"{self.group.prefix}config.json"


def _described(subject: Subject) -> tuple[Described, ...]:
    return tuple(
        Described(g, HfConfig(config), tensors, *_sorted(tensors))
        for g in groups(subject)
        if isinstance(config := subject.json(f"{g.prefix}config.json"), dict)
        and "_class_name" not in config  # a part of a diffusers pipeline: other keys
        and (tensors := _own_tensors(g))
    )


def _own_tensors(g: Group) -> dict[str, TensorInfo]:
    if all(name.startswith("adapter_") for name in g.members):
        return {}
    return g.tensors()


def described(subject: Subject) -> tuple[Described, ...]:
    """All models of a folder that have a config.json of transformers' kind."""
    found: tuple[Described, ...] = subject.cached("described", lambda: _described(subject))
    return found


# --- layers -------------------------------------------------------------------------------------------------------


def _sorted(
    tensors: Mapping[str, TensorInfo],
) -> tuple[dict[str, TensorInfo], dict[str, TensorInfo], dict[str, set[int]]]:
    """What lies outside blocks, what is attention, and the blocks of the text model, in one pass over all names."""
    outer: dict[str, TensorInfo] = {}
    attention: dict[str, TensorInfo] = {}
    stacks: dict[str, set[int]] = {}
    match, block = _STACK.match, ""
    for name, tensor in tensors.items():
        if not block or not name.startswith(block):  # mostly it is in the same block as the one before
            found = match(name)
            if found is None:
                outer[name] = tensor
                continue
            block = found.group(0)
            stacks.setdefault(name[: found.start(1)], set()).add(int(found.group(1)))
        if "att" in name:
            attention[name] = tensor
    return outer, attention, {prefix: numbers for prefix, numbers in stacks.items() if not _is_other(prefix)}


def _is_other(prefix: str) -> bool:
    return any(word in prefix for word in _NOT_TEXT)


def _ahead(d: Described, prefix: str, beyond: set[int]) -> set[int]:
    """Which of the blocks beyond the count predict further tokens, by the names of their tensors."""
    starts = tuple(f"{prefix}{i}." for i in sorted(beyond)[:_MOST_AHEAD])
    named = [n for n in d.tensors if n.startswith(starts)] if starts else []
    return {i for i in beyond for n in named if n.startswith(f"{prefix}{i}.") and any(mark in n for mark in _AHEAD)}


def _counts(k: HfConfig, keys: tuple[str, ...]) -> set[int]:
    """Every count of layers that the config gives under any of these keys."""
    found = [m.get(key) for m in (k.inner, k.outer) for key in keys]
    return {n for n in found if isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 1 << 31}


def _layer_fault(found: set[int], ahead: set[int], stated: set[int], n_ahead: int, *, whole: bool) -> str:
    n = max(stated)
    beyond = [i for i in found - ahead if i >= n + n_ahead]
    if beyond:
        return f"num_hidden_layers is {n:,}, and there are layers up to {max(beyond):,}"
    top = max(found - ahead or found) + 1
    if whole and top not in stated and not any(top == s + n_ahead or len(found) == s for s in stated):
        return f"num_hidden_layers is {n:,}, and there are tensors of {len(found):,} layers only"
    gaps = [i for i in range(top) if i not in found] if top < 10_000 else []
    if whole and gaps:
        return f"no tensors of layer {gaps[0]}" + (f" and {len(gaps) - 1:,} more" if len(gaps) > 1 else "")
    return ""


@rule("FD011", "config-layers", severity="warning", hint=FETCH)
def config_layers(subject: Subject) -> Iterator[Hit]:
    """
    config.json counts other layers than there are tensors for.

    Why it matters: layers beyond the count are left out, missing ones stay at random values: transformers warns and
    goes on. Layers that predict further tokens (MTP) may lie beyond the count.
    """
    for d in described(subject):
        stated = _counts(d.config, _LAYER_KEYS)
        if not stated or "block_configs" in d.config.inner:  # searched architectures leave blocks out
            continue
        n_ahead = max(_counts(d.config, _AHEAD_KEYS), default=0)
        whole = d.group.is_whole
        for prefix, found in d.stacks.items():
            ahead = _ahead(d, prefix, {i for i in found if i >= max(stated)})
            if fault := _layer_fault(found, ahead, stated, min(n_ahead, _MOST_AHEAD), whole=whole):
                yield Hit(d.name, fault)


# --- widths -------------------------------------------------------------------------------------------------------


def _is_plain(t: TensorInfo) -> bool:
    """A matrix as the model computes with it, not packed."""
    return len(t.shape) == 2 and t.dtype is not None and t.dtype.is_float and t.dtype.block_bytes > 1


def _embedding(d: Described) -> TensorInfo | None:
    """The text embedding, or None where several could be it."""
    tops = [t for n, t in d.outer.items() if _EMBEDDING.search(n) and not _is_other(n) and _is_plain(t)]
    return tops[0] if len({t.shape for t in tops}) == 1 else None


@rule("FD012", "config-hidden", severity="warning", hint=FETCH)
def config_hidden(subject: Subject) -> Iterator[Hit]:
    """
    hidden_size of config.json is not the width of the embedding.

    Why it matters: the model that is built does not fit its weights.
    """
    for d in described(subject):
        own_width = any(key in d.config.inner for key in ("embedding_size", "word_embed_proj_dim", "embedding_dim"))
        stated, table = d.config.count("hidden_size"), _embedding(d)
        if stated and table is not None and not own_width and table.shape[1] != stated:
            yield Hit(d.name, f"hidden_size is {stated:,}, {table.name} is {table.shape[1]:,} wide")


@rule("FD013", "config-vocabulary", severity="warning", hint=FETCH)
def config_vocabulary(subject: Subject) -> Iterator[Hit]:
    """
    vocab_size of config.json is not the number of rows of the embedding.

    Why it matters: transformers refuses the weights, or fills the embedding anew.
    """
    for d in described(subject):
        stated, table = _counts(d.config, ALIASES["vocab_size"]), _embedding(d)
        if stated and table is not None and table.shape[0] not in stated:
            yield Hit(d.name, f"vocab_size is {max(stated):,}, {table.name} has {table.shape[0]:,} rows")


_PROJECTIONS: Final = (
    (re.compile(r"\.(?:self_attn|attention)\.q_proj\.weight$"), "num_attention_heads", (1, 2)),  # 2: with a gate
    (re.compile(r"\.(?:self_attn|attention)\.k_proj\.weight$"), "num_key_value_heads", (1,)),
)


def _head_faults(d: Described) -> Iterator[str]:
    k = d.config
    if any(key in k.inner for key in ("kv_lora_rank", "block_configs", "global_head_dim", "swa_head_dim")):
        return  # heads of several sizes
    head_dim, n_heads, n_kv = k.head_dim, k.count("num_attention_heads"), k.count("num_key_value_heads")
    sizes = {head_dim or 0}
    if not k.has("head_dim") and n_heads:  # a class default: take an equal share of the width as well
        sizes.add((k.count("hidden_size") or 0) // n_heads)
    for pattern, key, factors in _PROJECTIONS:
        n = n_heads if key == "num_attention_heads" else n_kv or n_heads
        if not n or not head_dim:
            continue
        rows = [t for name, t in d.attention.items() if pattern.search(name) and not _is_other(name) and _is_plain(t)]
        if rows and all(t.shape[0] not in {n * size * f for size in sizes for f in factors} for t in rows):
            shown = rows[0]
            yield f"{n:,} heads of {head_dim:,} ({key}), {shown.name} has {shown.shape[0]:,} rows"


@rule("FD014", "config-heads", severity="warning", hint=FETCH)
def config_heads(subject: Subject) -> Iterator[Hit]:
    """
    Head counts of config.json are not those of the attention's projections, or do not divide the width.

    Why it matters: the model that is built does not fit its weights.
    """
    for d in described(subject):
        hidden, n = d.config.count("hidden_size"), d.config.count("num_attention_heads")
        if hidden and n and hidden % n and not d.config.has("head_dim") and d.attention:
            yield Hit(d.name, f"hidden_size {hidden:,} cannot be shared among {n:,} heads (num_attention_heads)")
            continue
        for fault in _head_faults(d):
            yield Hit(d.name, fault)


# --- the head -----------------------------------------------------------------------------------------------------


def _has_head(tensors: Mapping[str, TensorInfo]) -> bool:
    return any(name == "output.weight" or not _HEADS.isdisjoint(name.split(".")) for name in tensors)


def _wants_head(k: HfConfig) -> bool:
    architectures = k.outer.get("architectures")
    if not isinstance(architectures, list) or not architectures:
        return isinstance(k.outer.get("tie_word_embeddings"), bool)
    return any(isinstance(a, str) and a.endswith(_CAUSAL) for a in architectures)


@rule("FD015", "missing-head", severity="warning", hint=FETCH)
def missing_head(subject: Subject) -> Iterator[Hit]:
    """
    No output head (lm_head), and config.json says that it is not the embedding.

    Why it matters: the head stays at random values: the model answers noise. Tied embeddings need none.
    """
    for d in described(subject):
        if not d.group.is_whole or _has_head(d.outer) or d.config.tied is not False or not _wants_head(d.config):
            continue
        if _embedding(d) is not None and f"{d.group.prefix}modules.json" not in subject.documents:
            yield Hit(d.name, "tie_word_embeddings is false, and there is no lm_head")


# --- the tokenizer ------------------------------------------------------------------------------------------------


@rule("FD016", "tokenizer-rows", severity="warning", hint="download tokenizer and weights from the same revision")
def tokenizer_rows(subject: Subject) -> Iterator[Hit]:
    """
    The tokenizer gives numbers that the embedding has no row for.

    Why it matters: reading such a token crashes, on a GPU without a useful message. More rows than tokens are ordinary
    padding.
    """
    for d in described(subject):
        table = _embedding(d)
        name = f"{d.group.prefix}tokenizer.json"
        if table is None or name not in subject.cached("names", subject.names):
            continue
        try:
            largest = largest_token(subject, name)
        except InspectorError:
            continue  # a link or a file that cannot be read is a finding of its own
        if largest is not None and largest >= table.shape[0]:
            yield Hit(name, f"token number {largest:,}, and {table.name} has {table.shape[0]:,} rows")


# --- quantisation -------------------------------------------------------------------------------------------------

# Method → endings of tensors that its checkpoints have, one of which must be there.
_EVIDENCE: Final[Mapping[str, tuple[str, ...]]] = {
    "gptq": (".qweight",), "awq": (".qweight",), "mxfp4": ("_blocks", ".weight_packed"),
    "fbgemm_fp8": (".weight_scale",), "fp8": ("_scale_inv", "_scale", ".scale"),
    "compressed-tensors": (".weight_packed", ".weight_scale", ".weight_bitmask", ".compressed"),
}  # fmt: skip
# Endings that only a quantised checkpoint has; two of a row must be there, so that a chance name is no evidence.
_PACKED: Final = (
    ("GPTQ or AWQ", (".qweight", ".qzeros")),
    ("compressed-tensors", (".weight_packed", ".weight_scale")),
    ("fp8", (".weight", ".weight_scale_inv")),
    ("bitsandbytes (4 bits)", (".weight.absmax", ".weight.quant_map")),
    ("bitsandbytes (8 bits)", (".weight", ".SCB")),
)
_QUANT_DOCUMENTS: Final = ("quantize_config.json", "quant_config.json", "quantization_config.json",
                           "hf_quant_config.json")  # fmt: skip


def _quantization(subject: Subject, d: Described) -> Mapping[str, Any] | None:
    """What the folder says about its quantisation; an empty mapping where it says something without a method."""
    for mapping in (d.config.outer, d.config.inner):
        for key in ("quantization_config", "compression_config", "quantization"):
            value = mapping.get(key)
            if isinstance(value, dict):
                return value
    for name in _QUANT_DOCUMENTS:
        value = subject.json(f"{d.group.prefix}{name}")
        if isinstance(value, dict):
            return {"quant_method": "gptq", **value} if name == "quantize_config.json" else {}
    return None


def _ends(tensors: Mapping[str, TensorInfo], endings: tuple[str, ...]) -> bool:
    return any(name.endswith(endings) for name in tensors)


def _bits_fault(d: Described, quantization: Mapping[str, Any]) -> str:
    """GPTQ packs inputs, AWQ outputs, `bits` at a time into 32-bit words."""
    bits, method = quantization.get("bits", quantization.get("w_bit")), quantization.get("quant_method")
    if type(bits) is not int or bits not in range(1, 9):
        return ""
    for name, t in d.tensors.items():
        stem = name.removesuffix(".qweight")
        order, scales = d.tensors.get(f"{stem}.g_idx"), d.tensors.get(f"{stem}.scales")
        if stem == name or len(t.shape) != 2:
            continue
        if method == "gptq" and order is not None and len(order.shape) == 1 and order.shape[0]:
            have, n = t.shape[0], order.shape[0]
        elif method == "awq" and scales is not None and len(scales.shape) == 2 and scales.shape[1]:
            have, n = t.shape[1], scales.shape[1]
        else:
            continue
        if have * 32 != n * bits:
            return f"bits is {bits}, {name} packs {n:,} elements into {have:,} words ({have * 32 / n:.3g} bits each)"
    return ""


@rule("FD020", "config-quantization", severity="warning", hint=FETCH)
def config_quantization(subject: Subject) -> Iterator[Hit]:
    """
    config.json and tensors disagree about quantisation: packed tensors that it does not mention, none where it
    promises them, or another number of bits.

    Why it matters: the loader takes packed words for weights, or fails to find the scales.
    """
    for d in described(subject):
        stated = _quantization(subject, d)
        if stated is None:
            for words, endings in _PACKED:
                if all(_ends(d.tensors, (ending,)) for ending in endings):
                    yield Hit(d.name, f"the tensors are packed by {words}, and there is no quantization_config")
                    break
            continue
        method = stated.get("quant_method")
        wanted = _EVIDENCE.get(method) if isinstance(method, str) else None
        if wanted and d.group.is_whole and not _ends(d.tensors, wanted):
            yield Hit(d.name, f"quant_method is {method}, and no tensor ends in {' or '.join(wanted)}")
        elif fault := _bits_fault(d, stated):
            yield Hit(d.name, fault)
