"""A GGUF's keys and tensors → `ModelFacts`, by the rules of llama.cpp b11434 (inspector/architectures/gguf*.py)."""

from __future__ import annotations

from inspector.architectures.gguf import gguf_arch
from inspector.architectures.gguf_keys import Keys, array_length
from inspector.architectures.gguf_layers import GENERIC, read_stack
from inspector.architectures.gguf_purpose import purpose
from inspector.architectures.loading import refusal
from inspector.errors import FactsError
from inspector.facts.records import ModelFacts
from inspector.layers import Layer, Refused, UnknownCache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from inspector.architectures.gguf_layers import Stack
    from inspector.architectures.gguf_purpose import Purpose
    from inspector.architectures.gguf_record import Arch
    from inspector.checkpoint import Checkpoint
    from inspector.formats.modelfile import TensorInfo


def read_facts_gguf(checkpoint: Checkpoint) -> ModelFacts:
    """The facts of a GGUF model. An absent key leaves its fact None; one of a wrong kind raises FactsError."""
    facts = facts_of_gguf(checkpoint.metadata, checkpoint.tensors)
    if any(isinstance(note, Refused) for note in facts.notes):  # said once
        return facts
    return facts.replace(notes=(*facts.notes, *_loading_note(checkpoint)))


def _loading_note(checkpoint: Checkpoint) -> tuple[str, ...]:
    """One line where llama.cpp would refuse the file; none where its loader is not asked (see audit's rules GL)."""
    tensors = {t.name: t for t in checkpoint.tensors}
    first = checkpoint.files[0]
    if not tensors or checkpoint.missing or any(t.dtype is None for t in tensors.values()):
        return ()
    if purpose(first.metadata, first.tensors) is not None:
        return ()
    arch = first.metadata.get("general.architecture")
    refused = refusal(first.metadata, first.metadata_types, tensors, arch=arch if isinstance(arch, str) else "")
    if refused is None:
        return ()
    return (f"llama.cpp b11434 would not load this: {refused.words}",)


def facts_of_gguf(metadata: Mapping[str, Any], tensors: Sequence[TensorInfo]) -> ModelFacts:
    """The facts of a GGUF model that has these keys and tensors, whether there is such a file or not yet."""
    what = purpose(metadata, tensors)
    name = _arch_name(metadata, what)
    arch, keys, by_name = gguf_arch(name), Keys(name, metadata), {t.name: t for t in tensors}
    keys.origin["arch"] = "general.architecture"
    stack = read_stack(arch or GENERIC, keys, by_name)
    n_params, n_active = _params(tensors, keys, stack)
    keys.origin["n_params"] = "tensor shapes"
    if stack is not None and arch is None:
        stack = stack.replace(layers=_unsure(stack.layers, keys))
    return ModelFacts(
        arch=name,
        format="gguf",
        n_params=n_params,
        n_params_active=n_active,
        **_of_layers(stack, keys),
        vocab_size=_vocab_size(metadata, keys, by_name),
        n_ctx_train=keys.integer("context_length", "n_ctx_train"),
        origin=keys.origin,
        n_experts=keys.integer("expert_count", "n_experts") or None,
        n_experts_used=_experts_used(keys, stack),
        d_ff_expert=_expert_width(keys, stack),
        tied_embeddings=_tied(arch, by_name, keys),
        causal=_causal(arch, keys),
        generic=arch is None,
        notes=_fork_notes(tensors) + ((what.words,) if what is not None else _notes(name, arch, stack)),
        tensors=tensors,
        keys=metadata,
    )


def read_by(facts: ModelFacts, build: int) -> ModelFacts:
    """The same GGUF as another build of llama.cpp reads it (inspector/architectures/gguf_builds.py). Raises FactsError.

    Facts that are not a GGUF's, or that were read by this build, stay as they are.
    """
    from inspector.architectures.gguf_builds import arch_at

    if facts.format != "gguf" or facts.keys is None or facts.build == build:
        return facts
    by_name = {t.name: t for t in facts.tensors}
    was, now = (
        read_stack(arch_at(facts.arch, number) or GENERIC, Keys(facts.arch, facts.keys), by_name)
        for number in (facts.build, build)
    )
    if now is None or facts.generic:
        return facts.replace(build=build)
    gone = () if was is None else was.notes
    notes = (*(note for note in facts.notes if note not in gone), *now.notes)
    return facts.replace(build=build, notes=notes, **_of_layers(now, Keys(facts.arch, facts.keys)))


def _arch_name(metadata: Mapping[str, Any], what: Purpose | None) -> str:
    """`general.architecture`, or what a file that is no model is for. Raises FactsError."""
    name = metadata.get("general.architecture")
    if name is None and what is not None:
        name = what.word
    if not isinstance(name, str):
        raise FactsError("general.architecture is missing" if name is None else "general.architecture is not text")
    return name


def _of_layers(stack: Stack | None, keys: Keys) -> dict[str, Any]:
    """The layers, and numbers that sum them up: the largest where layers differ."""
    if stack is None:
        unknown = dict.fromkeys(("n_layers", "d_ff", "n_heads", "n_kv_heads", "head_dim_k", "head_dim_v"))
        return {**unknown, "layers": (), "d_model": keys.integer("embedding_length", "d_model")}
    n = stack.numbers
    return dict(
        n_layers=n.n_main,
        d_model=n.d_model,
        d_ff=_largest(n.d_ff),
        n_heads=_largest(n.heads),
        n_kv_heads=_largest(n.kv_heads),
        head_dim_k=n.k_full or None,
        head_dim_v=n.v_full or None,
        layers=stack.layers,
        n_layers_nextn=len(stack.nextn_layers),
        window=stack.window,
        nextn_layers=stack.nextn_layers,
    )


def _largest(values: tuple[int, ...]) -> int | None:
    return max(values, default=0) or None


def _params(tensors: Iterable[TensorInfo], keys: Keys, stack: Stack | None) -> tuple[int, int]:
    """All parameters, and those that one token touches: of routed experts (`*_exps`) the share that is used."""
    total = routed = 0
    for tensor in tensors:
        n = tensor.n_elements
        total += n
        if "_exps." in tensor.name:
            routed += n
    n_experts, used = keys.integer("expert_count"), _experts_used(keys, stack)
    if not routed or not n_experts or used is None:
        return total, total
    return total, total - routed + routed * min(used, n_experts) // n_experts


def _experts_used(keys: Keys, stack: Stack | None) -> int | None:
    """Experts a token goes through; the most of any layer where they differ."""
    n = stack.numbers.n_all if stack is not None else 1
    return max(keys.per_layer("expert_used_count", n, "n_experts_used") or (0,), default=0) or None


def _expert_width(keys: Keys, stack: Stack | None) -> int | None:
    n = stack.numbers.n_all if stack is not None else 1
    return max(keys.per_layer("expert_feed_forward_length", n, "d_ff_expert") or (0,), default=0) or None


def _vocab_size(metadata: Mapping[str, Any], keys: Keys, by_name: Mapping[str, TensorInfo]) -> int | None:
    """The tokens array, the key, the embedding's rows: the first that says (llama-vocab.cpp reads the first two)."""
    tokens = metadata.get("tokenizer.ggml.tokens")
    if tokens is not None and not isinstance(tokens, (str, int, float, bool)) and array_length(tokens):
        keys.origin["vocab_size"] = "tokenizer.ggml.tokens"
        return array_length(tokens)
    vocab_size = keys.integer("vocab_size", "vocab_size")
    if vocab_size:
        return vocab_size
    embedding = by_name.get("token_embd.weight")
    if embedding is None or len(embedding.shape) < 2:
        return None
    keys.origin["vocab_size"] = "token_embd.weight"
    return embedding.shape[0]


def _tied(arch: Arch | None, by_name: Mapping[str, TensorInfo], keys: Keys) -> bool | None:
    """Whether logits come from the token embedding; None where the model has none, or the file is no whole model."""
    if "output.weight" in by_name:
        keys.origin["tied_embeddings"] = "output.weight"
        return False
    if "token_embd.weight" not in by_name or (arch is not None and not arch.tied):
        return None
    keys.origin["tied_embeddings"] = "no output.weight"
    return True


def _causal(arch: Arch | None, keys: Keys) -> bool:
    stated = keys.truth("attention.causal", "causal")
    if arch is not None and arch.causal is not None:
        return arch.causal
    return True if stated is None else stated


# Keys that make a plain reading of an unknown architecture wrong: its layers are not all alike.
_SPECIAL = (
    "attention.sliding_window",
    "attention.kv_lora_rank",
    "attention.indexer.key_length",
    "attention.recurrent_layers",
    "full_attention_interval",
    "attention.shared_kv_layers",
    "attention.compress_ratios",
    "ssm.state_size",
    "ssm.inner_size",
    "ssm.conv_kernel",
    "wkv.head_size",
    "kda.head_dim",
    "shortconv.l_cache",
)


def _unsure(layers: tuple[Layer, ...], keys: Keys) -> tuple[Layer, ...]:
    """An unknown architecture's layers: taken as plain attention only where no key speaks against it."""
    against = [key for key in _SPECIAL if keys.metadata.get(f"{keys.arch}.{key}")]
    if against:
        return tuple(x.replace(kind="unknown", caches=(UnknownCache(against[0]),)) for x in layers)
    return tuple(
        x if x.n_heads and x.n_kv_heads else x.replace(kind="unknown", caches=(UnknownCache("no head counts"),))
        for x in layers
    )


def _fork_notes(tensors: Sequence[TensorInfo]) -> tuple[str, ...]:
    names = sorted({t.dtype_name for t in tensors if t.dtype is None and t.dtype_name})
    if not names:
        return ()
    return (f"{', '.join(names[:4])}: types of a fork of llama.cpp, sound in its own engine; sizes are from offsets",)


def _notes(name: str, arch: Arch | None, stack: Stack | None) -> tuple[str, ...]:
    notes = stack.notes if stack is not None else (f"{name}.block_count is missing: the layers are not known",)
    if arch is None:
        return (f"{name} is not an architecture known here: a plain reading of the usual keys", *notes)
    if not arch.loads:
        return (f"llama.cpp has a name but no code for {name}", *notes)
    if arch.draft is not None:
        return (f"{name} is a draft model: it runs only beside the model it drafts for", *notes)
    return notes
