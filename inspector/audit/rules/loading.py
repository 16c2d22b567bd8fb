"""GL: would llama.cpp load it? Its loader followed over keys and tensors, up to the first thing that it refuses."""

from __future__ import annotations

from inspector.audit.readers.loading import refused_models
from inspector.audit.registry import Hit, rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from inspector.architectures.loading import Refused
    from inspector.audit.subject.records import Subject

# What belongs to a model's eyes and ears: in a file of its own for llama.cpp, within the model's for Ollama.
_TOWERS: Final = ("v.", "mm.", "a.", "audio.", "vision.")
_SHOWN: Final = 4


def _hits(subject: Subject, kind: str, said: str) -> Iterator[Hit]:
    for name, refused in refused_models(subject).items():
        if refused.kind == kind:
            where = f"{name}: {refused.where}" if refused.where else name
            yield Hit(where, said, _says(refused))


def _says(refused: Refused) -> str:
    return f"llama.cpp b11434 says: {refused.words}"


@rule("GL001", "loading-key-missing", severity="error")
def key_missing(subject: Subject) -> Iterator[Hit]:
    """
    A key that llama.cpp's loader of this architecture requires is not there.

    Why it matters: the model does not load. The hint is the engine's own message.
    """
    yield from _hits(subject, "key", "a key that llama.cpp requires, and that is missing")


@rule("GL002", "loading-key-type", severity="error")
def key_type(subject: Subject) -> Iterator[Hit]:
    """
    A key is stored as another type than llama.cpp reads (a u64 block_count, an f64 epsilon).

    Why it matters: the loader takes no other type, however small the number: the model does not load. Writers of
    GGUF choose a number's type by themselves unless they are told.
    """
    yield from _hits(subject, "type", "stored as a type that llama.cpp does not take")


@rule("GL003", "loading-array-length", severity="error")
def array_length(subject: Subject) -> Iterator[Hit]:
    """
    An array has another length than llama.cpp expects: one entry a layer, four sections of rope.

    Why it matters: the model does not load.
    """
    yield from _hits(subject, "length", "an array of another length than llama.cpp expects")


@rule("GL004", "loading-value", severity="error")
def value(subject: Subject) -> Iterator[Hit]:
    """
    Keys have values that llama.cpp's loader refuses, or ends at.

    Why it matters: the model does not load; a failed assertion ends the whole program that tries.
    """
    yield from _hits(subject, "value", "llama.cpp refuses what the keys say, at this one or before it")


@rule("GL005", "loading-vocabulary", severity="error")
def vocabulary(subject: Subject) -> Iterator[Hit]:
    """
    The vocabulary is missing, incomplete, or of a kind that llama.cpp does not know.

    Why it matters: the model does not load, also where nobody means to use its words.
    """
    yield from _hits(subject, "vocabulary", "a vocabulary that llama.cpp does not take")


@rule("GL006", "loading-tensor-missing", severity="error")
def tensor_missing(subject: Subject) -> Iterator[Hit]:
    """
    A tensor that llama.cpp's loader of this architecture requires is not there.

    Why it matters: the model does not load. A common case: nextn_predict_layers counts a block for multi-token
    prediction that the file does not have.
    """
    yield from _hits(subject, "tensor", "a tensor that llama.cpp requires, and that is missing")


@rule("GL007", "loading-tensor-shape", severity="error")
def tensor_shape(subject: Subject) -> Iterator[Hit]:
    """
    A tensor has another shape than the keys say.

    Why it matters: the model does not load. More rows of token_embd than tokens are such a case.
    """
    yield from _hits(subject, "shape", "a shape that does not follow from the keys")


@rule("GL008", "loading-tensors-unclaimed", severity="error")
def unclaimed(subject: Subject) -> Iterator[Hit]:
    """
    Tensors that nothing in llama.cpp's loader of this architecture asks for.

    Why it matters: the loader counts, and refuses a model with one tensor too many. Where all of them belong to a
    vision or audio tower (a warning), the file is one for Ollama's own engine, which keeps both in one file.
    """
    for name, refused in refused_models(subject).items():
        if refused.kind != "extra":
            continue
        shown = ", ".join(refused.names[:_SHOWN]) + (", …" if len(refused.names) > _SHOWN else "")
        towers = bool(refused.names) and all(n.startswith(_TOWERS) for n in refused.names)
        what = f"{len(refused.names):,} tensors that llama.cpp does not ask for: {shown}"
        if towers:
            what += "; a vision or audio tower within the model, as Ollama's own engine takes it"
        yield Hit(name, what, _says(refused), severity="warning" if towers else "")
