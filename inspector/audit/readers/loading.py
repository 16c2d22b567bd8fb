"""Which GGUF models llama.cpp would refuse to load, worked out once for all rules that ask."""

from __future__ import annotations

from inspector.architectures.loading import Refused, refusal
from inspector.audit.readers.template_tokens import tokens_of
from inspector.audit.subject.models import whole_models
from inspector.formats.modelfile import LongArray

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from inspector.audit.subject.models import GgufModel
    from inspector.audit.subject.records import Subject

_TOKENS = "tokenizer.ggml.tokens"


def refused_models(subject: Subject) -> Mapping[str, Refused]:
    """The models that would be refused, by name. What no reader takes, and what a fork made, is left out."""
    found: Mapping[str, Refused] = subject.cached("refused", lambda: _refused(subject))
    return found


def _refused(subject: Subject) -> dict[str, Refused]:
    found = {}
    for m in whole_models(subject):
        if _is_asked(m) and (refused := _answer(m) or _given_twice(subject, m)) is not None:
            found[m.name] = refused
    return found


def _is_asked(m: GgufModel) -> bool:
    """Not asked: files without tensors (a vocabulary alone), with types of a fork, or that no reader takes."""
    defects = [d for f in m.parts.values() if f.model is not None for d in f.model.defects]
    return any(True for _ in m.tensors()) and not any(d.fatal or d.code == "fork-dtype" for d in defects)


def _answer(m: GgufModel) -> Refused | None:
    assert m.first.model is not None
    return refusal(m.metadata, m.first.model.metadata_types, {t.name: t for t in m.tensors()}, arch=m.arch)


def _given_twice(subject: Subject, m: GgufModel) -> Refused | None:
    """A token that a long vocabulary has twice; a short one is held with the metadata and was asked about before."""
    model, tokens = m.first.model, m.metadata.get(_TOKENS)
    kind = m.metadata.get("tokenizer.ggml.model")
    if model is None or not isinstance(tokens, LongArray) or tokens.elem != "str" or kind in {"no_vocab", "none"}:
        return None
    seen: set[str] = set()
    for i, text in enumerate(tokens_of(subject, m.first.name, tokens, model.byte_order)):
        word = text or f"[EMPTY_{i}]"
        if word in seen:
            return Refused("vocabulary", "GGML_ASSERT(id_to_token.size() == token_to_id.size()) failed", _TOKENS)
        seen.add(word)
    return None
