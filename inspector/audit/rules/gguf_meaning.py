"""GM: what a GGUF says about itself against what it holds, by what llama.cpp b11434 then refuses or misreads."""

from __future__ import annotations

from inspector.architectures.gguf import GGUF_ARCHS
from inspector.architectures.roles import layer_of
from inspector.audit.readers.loading import refused_models
from inspector.audit.registry import Hit, rule
from inspector.audit.subject.models import (
    GgufModel,
    as_count,
    gguf_models,
    length_of,
    was_read,
    whole_models,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, Final

    from inspector.audit.subject.records import Subject
    from inspector.formats.modelfile import TensorInfo

CONVERT: Final = "convert the model again with a current convert_hf_to_gguf.py"
# llama_model_base::load_hparams: these must rotate whole heads.
_WHOLE_ROPE: Final = frozenset({"llama", "deci", "falcon", "llama-embed"})
# Sound decoders and draft models: their embedding is not the model's width.
_OTHER_WIDTH: Final = frozenset({"wavtokenizer-dec", "qwen3tts", "pockettts", "eagle3", "dflash", "gemma4-assistant"})


def _arch_models(subject: Subject) -> Iterator[GgufModel]:
    """Models of known architectures that llama.cpp would load: what it refuses, and why, is GL's to say."""
    refused = refused_models(subject)
    known = (m for m in whole_models(subject) if m.arch in GGUF_ARCHS and m.name not in refused)
    return (m for m in known if next(m.tensors(), None) is not None)  # without tensors: a vocabulary alone


def _shape(model: GgufModel, name: str) -> tuple[int, ...]:
    return next((t.shape for t in model.tensors() if t.name == name), ())


@rule("GM001", "gguf-no-architecture", severity="warning", hint=CONVERT)
def no_architecture(subject: Subject) -> Iterator[Hit]:
    """
    A model without general.architecture, or one that is not text.

    Why it matters: every other key is named after it; llama.cpp refuses the file.
    """
    for m in gguf_models(subject):
        if m.is_language_model and was_read(m.first) and 0 in m.parts and not m.arch:
            absent = "general.architecture" not in m.metadata
            yield Hit(m.first.name, f"general.architecture is {'missing' if absent else 'not text'}")


@rule("GM002", "gguf-unknown-architecture", severity="warning", hint="see inspector archs")
def unknown_architecture(subject: Subject) -> Iterator[Hit]:
    """
    An architecture that llama.cpp b11434 does not have.

    Why it matters: the file may be newer than that, made for another program, or spelt wrongly. A diffusion model is
    named as one (an info).
    """
    for m in gguf_models(subject):
        if (what := m.purpose) is not None and what.elsewhere:
            yield Hit(m.first.name, what.words, "run it with the program that it was made for", severity="info")
        if m.is_language_model and m.arch and m.arch not in GGUF_ARCHS:
            yield Hit(m.first.name, f"general.architecture is {m.arch[:80]!r}, which llama.cpp b11434 does not know")


# --- blocks -------------------------------------------------------------------------------------------------------


def _blocks(tensors: Iterable[TensorInfo], prefix: str) -> set[int]:
    found = set()
    for t in tensors:
        if t.name.startswith(prefix):
            n = layer_of(t.name[len(prefix) :].partition(".")[0])
            if n is not None:
                found.add(n)
    return found


def _empty_blocks(m: GgufModel, stated: int) -> set[int]:
    """Blocks whose keys say that they have neither attention nor a feed-forward part (pruned Nemotron layouts)."""
    heads, width = m.key("attention.head_count"), m.key("feed_forward_length")
    if not (isinstance(heads, tuple) and isinstance(width, tuple)) or stated > len(heads):
        return set()
    return {i for i, (h, w) in enumerate(zip(heads, width, strict=False)) if h == 0 and w == 0}


def _block_fault(stated: int, nextn: int, present: set[int], empty: set[int]) -> str:
    """What is wrong with the blocks that are there; the last `nextn` may be left out or counted on top."""
    absent = empty - present
    missing = stated - sum(i < stated for i in present) - len(absent)
    optional = sum(i not in present for i in range(max(stated - nextn, 0), stated)) if nextn < 100 else 0
    if missing > optional:
        first = next(i for i in range(len(present) + len(absent) + 1) if i not in present and i not in absent)
        return f"block_count is {stated:,}, and {missing:,} of these blocks have no tensors, the first blk.{first}"
    if beyond := sorted(i for i in present if i >= stated + nextn):
        return f"block_count is {stated:,}, and there are {len(beyond):,} blocks beyond it, the first blk.{beyond[0]}"
    return ""


@rule("GM003", "gguf-blocks", severity="warning", hint=CONVERT)
def blocks(subject: Subject) -> Iterator[Hit]:
    """
    block_count is missing, is no number, or is not the number of blk.N that there are.

    Why it matters: llama.cpp refuses a model that lacks a block, and quietly leaves out those beyond the count.
    Layers for multi-token prediction (nextn_predict_layers) may be there or not.
    """
    for m in _arch_models(subject):
        if m.arch == "wavtokenizer-dec":
            continue  # its blocks go by other names
        stated = m.count_of("block_count")
        if stated is None:
            why = "missing" if m.key("block_count") is None else "not a count"
            yield Hit(m.first.name, f"{m.arch}.block_count is {why}")
            continue
        nextn = m.count_of("nextn_predict_layers") or 0
        stacks = {"enc.blk.": stated} if m.arch in {"t5", "t5encoder"} else {"blk.": stated}
        if m.arch == "t5":
            stacks["dec.blk."] = as_count(m.key("decoder_block_count")) or stated
        for prefix, n in stacks.items():
            if fault := _block_fault(n, nextn, _blocks(m.tensors(), prefix), _empty_blocks(m, n)):
                yield Hit(m.first.name, f"{m.arch}.{fault}")


# --- widths -------------------------------------------------------------------------------------------------------


@rule("GM004", "gguf-embedding", severity="warning", hint=CONVERT)
def embedding(subject: Subject) -> Iterator[Hit]:
    """
    embedding_length is missing, or not the width of token_embd.

    Why it matters: llama.cpp refuses the model with a shape that it did not expect.
    """
    for m in _arch_models(subject):
        shape, stated = _shape(m, "token_embd.weight"), m.count_of("embedding_length")
        if m.arch in _OTHER_WIDTH:
            continue
        if stated is None:
            yield Hit(m.first.name, f"{m.arch}.embedding_length is missing or not a count")
        elif len(shape) == 2 and shape[1] != stated:
            yield Hit(m.first.name, f"{m.arch}.embedding_length is {stated:,}, token_embd.weight is {shape[1]:,} wide")


def _counts(value: Any) -> tuple[int, ...] | None:
    """A number, or one a layer, as numbers; None for anything else."""
    values = value if isinstance(value, tuple) else (value,)
    found = tuple(n for v in values if (n := as_count(v)) is not None)
    return found if len(found) == len(values) else None


def _head_fault(m: GgufModel, heads: tuple[int, ...], kv_heads: tuple[int, ...]) -> str:
    width = m.count_of("embedding_length")
    has_attention = any(".attn_q." in t.name or ".attn_qkv." in t.name for t in m.tensors())
    if has_attention and not any(heads):
        return "attention.head_count is 0, and there are attention tensors"
    own_size = m.key("attention.key_length") is not None
    if width and not own_size and (bad := next((h for h in heads if h and width % h), 0)):
        return f"embedding_length {width:,} cannot be shared among {bad:,} heads (attention.head_count)"
    for h, kv in zip(heads, kv_heads * len(heads) if len(kv_heads) == 1 else kv_heads, strict=False):
        if h and kv and h % kv:
            return f"{h:,} heads cannot be shared among {kv:,} key-value heads (attention.head_count_kv)"
    return ""


@rule("GM005", "gguf-heads", severity="warning", hint=CONVERT)
def heads(subject: Subject) -> Iterator[Hit]:
    """
    Head counts that are missing, 0 beside attention tensors, or that do not divide what they share.

    Why it matters: llama.cpp divides by them; a model that is not refused computes nonsense.
    """
    for m in _arch_models(subject):
        stated, kv = m.key("attention.head_count"), m.key("attention.head_count_kv")
        if stated is None:
            if any(".attn_q." in t.name for t in m.tensors()):
                yield Hit(m.first.name, f"{m.arch}.attention.head_count is missing, and there are attention tensors")
            continue
        counts, kv_counts = _counts(stated), _counts(kv) if kv is not None else (0,)
        if counts is None or kv_counts is None:
            which = "head_count" if counts is None else "head_count_kv"
            yield Hit(m.first.name, f"{m.arch}.attention.{which} is not a count, nor one for each layer")
        elif fault := _head_fault(m, counts, kv_counts):
            yield Hit(m.first.name, f"{m.arch}.{fault}")


@rule("GM006", "gguf-feed-forward", severity="warning", hint=CONVERT)
def feed_forward(subject: Subject) -> Iterator[Hit]:
    """
    feed_forward_length is not the width of the feed-forward tensors (ffn_down).

    Why it matters: llama.cpp refuses the model with a shape that it did not expect.
    """
    for m in _arch_models(subject):
        stated = m.key("feed_forward_length")
        counts = _counts(stated) if stated is not None else ()
        if counts is None:
            yield Hit(m.first.name, f"{m.arch}.feed_forward_length is not a count, nor one for each layer")
            continue
        halves = 2 if m.arch == "qwen" else 1  # qwen.cpp builds its tensors with half of it
        for t in m.tensors():
            if not t.name.endswith(".ffn_down.weight") or not t.name.startswith("blk.") or len(t.shape) != 2:
                continue
            i = layer_of(t.name) or 0
            n = (counts[i] if i < len(counts) else 0) if len(counts) > 1 else (counts[0] if counts else 0)
            if n and t.shape[1] != n // halves:
                yield Hit(
                    f"{m.first.name}: {t.name}",
                    f"{m.arch}.feed_forward_length is {n:,}, the tensor takes {t.shape[1]:,}",
                )


@rule("GM007", "gguf-rope", severity="warning", hint=CONVERT)
def rope(subject: Subject) -> Iterator[Hit]:
    """
    rope.dimension_count is odd, more than a head has, or, where whole heads must be rotated, less.

    Why it matters: llama.cpp refuses it for llama, deci and falcon, and rotates outside the head for others.
    """
    for m in _arch_models(subject):
        n_rot, width = m.count_of("rope.dimension_count"), m.count_of("embedding_length")
        counts = _counts(m.key("attention.head_count")) or ()
        head = m.count_of("attention.key_length") or (width // counts[0] if width and counts and counts[0] else 0)
        if m.key("rope.dimension_count") is not None and n_rot is None:
            yield Hit(m.first.name, f"{m.arch}.rope.dimension_count is not a count")
        elif n_rot and head and (n_rot > head or n_rot % 2 or (n_rot != head and m.arch in _WHOLE_ROPE)):
            yield Hit(m.first.name, f"{m.arch}.rope.dimension_count is {n_rot:,}, a head has {head:,} elements")


# --- vocabulary ---------------------------------------------------------------------------------------------------


@rule("GM008", "gguf-token-rows", severity="warning", hint=CONVERT)
def token_rows(subject: Subject) -> Iterator[Hit]:
    """
    The vocabulary has more tokens than token_embd has rows.

    Why it matters: the last tokens have no embedding: reading one reads outside the tensor. More rows than tokens are
    ordinary padding.
    """
    for m in _arch_models(subject):
        n, shape = length_of(m.metadata.get("tokenizer.ggml.tokens")), _shape(m, "token_embd.weight")
        if n is not None and len(shape) == 2 and n > shape[0]:
            yield Hit(m.first.name, f"{n:,} tokens (tokenizer.ggml.tokens), token_embd.weight has {shape[0]:,} rows")


@rule("GM009", "gguf-token-ids", severity="warning", hint=CONVERT)
def token_ids(subject: Subject) -> Iterator[Hit]:
    """
    A special token (bos, eos, eot, pad, unk …) with a number that the vocabulary does not have.

    Why it matters: llama.cpp leaves it out with a warning: a model without its end token never stops talking.
    """
    refused = refused_models(subject)
    for m in gguf_models(subject):
        n = length_of(m.metadata.get("tokenizer.ggml.tokens"))
        for key, value in m.metadata.items() if n else ():
            if m.name in refused and refused[m.name].where == key:
                continue
            if not key.startswith("tokenizer.ggml.") or not key.endswith("_token_id"):
                continue
            if not isinstance(value, int) or isinstance(value, bool):
                yield Hit(m.first.name, f"{key} is not a token's number")
            elif n is not None and not 0 <= value < n:
                yield Hit(m.first.name, f"{key} is {value:,}, the vocabulary has {n:,} tokens")


@rule("GM010", "gguf-token-arrays", severity="warning", hint=CONVERT)
def token_arrays(subject: Subject) -> Iterator[Hit]:
    """
    Scores or token types are not as many as tokens.

    Why it matters: llama.cpp reads one of each per token, without asking how many there are.
    """
    refused = refused_models(subject)
    for m in gguf_models(subject):
        n = length_of(m.metadata.get("tokenizer.ggml.tokens"))
        said = m.name in refused and refused[m.name].kind == "vocabulary"
        for name in ("scores", "token_type") if n is not None and not said else ():
            value = m.metadata.get(f"tokenizer.ggml.{name}")
            have = length_of(value)
            if value is not None and have != n:
                words = f"{have:,} entries" if have is not None else "no array"
                yield Hit(m.first.name, f"tokenizer.ggml.{name} has {words} for {n:,} tokens")


# --- splits -------------------------------------------------------------------------------------------------------


@rule("GM015", "gguf-file-type", severity="info")
def file_type(subject: Subject) -> Iterator[Hit]:
    """
    general.file_type claims another quantisation than the tensors have.

    Why it matters: it loads; sizes and quality are those of the tensors, not of the label.
    """
    from inspector.quantization.labels import actual_label, body, is_honest, label_of_key, share_by_type

    for m in whole_models(subject):
        claimed = label_of_key(m.metadata.get("general.file_type"))
        inside = body(m.tensors())
        if claimed is not None and inside and is_honest(claimed, inside) is False:
            actual = actual_label(share_by_type(inside), share_by_type(tuple(m.tensors())))
            yield Hit(m.first.name, f"general.file_type says {claimed}, most of the blocks are {actual}")
