"""Registries: how each architecture's own keys become layers. A new architecture is one row."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.architectures.hf.record import ModelType


def _hf_layers(row: ModelType) -> str:
    """In a word or two, what the layers of a config's architecture keep."""
    if row.encoder:
        return "encoder"
    if row.seq2seq:
        return "encoder-decoder"
    name = row.attention.__name__ if row.attention else "attention"
    words = {"latent_or_kv": "latent"}.get(name, name.replace("_", " "))
    return f"{words} + {row.state.__name__}" if row.state else words


def architecture_rows() -> Iterator[dict[str, str]]:
    """Every architecture with a row: its name, the format that uses it, what its layers keep, and the rule's source."""
    from inspector.architectures.gguf import GGUF_ARCHS
    from inspector.architectures.hf_lookup import every_record

    for name, arch in sorted(GGUF_ARCHS.items()):
        yield {"name": name, "format": "GGUF", "layers": arch.plan, "ref": f"llama.cpp b11434 {arch.ref}"}
    for name, row in sorted(every_record(), key=lambda pair: pair[0]):
        if row.generic:
            continue
        ref = f"transformers 5.24.0 models/{name}"
        yield {"name": name, "format": "HF config", "layers": _hf_layers(row), "ref": ref}
