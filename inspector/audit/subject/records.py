"""What the rules are given: entries, weight files and documents of one target, and which names are which."""

from __future__ import annotations

import os

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Final

    from inspector.formats.modelfile import ModelFile
    from inspector.formats.sniff import Sniffed
    from inspector.sources import Source

MAX_ENTRIES: Final = 50_000
MODEL_SUFFIXES: Final = (".gguf", ".safetensors")
PARTIAL_SUFFIXES: Final = (".incomplete", ".part", ".aria2", ".crdownload", ".download")
TEXT_SUFFIXES: Final = (".jinja", ".jinja2", ".j2")
INDEX_SUFFIX: Final = ".index.json"
# The JSON files that a loader of transformers, vLLM or diffusers reads; tokenizer.json is scanned, not parsed.
_DOCUMENT_NAMES_WORDS: Final = """
    config.json generation_config.json tokenizer_config.json special_tokens_map.json added_tokens.json
    processor_config.json preprocessor_config.json image_processor_config.json video_preprocessor_config.json
    chat_template.json chat_templates.json adapter_config.json quantize_config.json quant_config.json
    quantization_config.json hf_quant_config.json model_index.json modules.json params.json
    scheduler_config.json sentence_bert_config.json config_sentence_transformers.json
    """
DOCUMENT_NAMES: Final = frozenset(_DOCUMENT_NAMES_WORDS.split())


class Entry(Record):
    """One name in the folder, told apart without opening it.

    `kind`: file, folder, link-out (a link that leaves), link-broken, link-loop, special (`note` says what), unreadable.
    `stamp`: a store's word for this state of the file, or "".
    """

    name: str
    path: str
    kind: str
    size: int = 0
    note: str = ""
    stamp: str = ""


class AuditedFile(Record):
    """A weight file: what its bytes are, its header read leniently (`model`), or why it could not be (`error`)."""

    name: str
    path: str
    size: int
    sniffed: Sniffed | None
    model: ModelFile | None
    error: str = ""
    error_kind: str = ""


class Document(Record):
    """A JSON (or template text) file beside the weights: its value, or why there is none.

    `unexamined`: the error is a limit of this audit (size, total), and not a fault of the document. `unreadable`: it is
    the file system's.
    """

    name: str
    size: int
    value: Any
    error: str = ""
    text: str = ""
    unexamined: bool = False
    unreadable: bool = False


class Subject(Record):
    """Everything the rules look at. `is_folder`: False when a single file was named, so that its siblings do not count.

    `open_source` opens a file of the subject by name, for rules that need more than headers. `kept_wrong`: files whose
    blobs are not what a store's manifest says, and how.
    """

    target: str
    root: str
    is_folder: bool
    entries: tuple[Entry, ...]
    files: tuple[AuditedFile, ...]
    documents: Mapping[str, Document]
    open_source: Callable[[str], Source]
    truncated_listing: bool = False
    sha256: Mapping[str, str] | None = None
    progress: Callable[[str], None] | None = None
    memo: dict[str, Any] | None = None
    kept_wrong: tuple[tuple[str, str], ...] = ()

    @property
    def models(self) -> tuple[ModelFile, ...]:
        """The headers that could be read."""
        return tuple(f.model for f in self.files if f.model is not None)

    def of_format(self, name: str) -> tuple[AuditedFile, ...]:
        """The files whose header could be read, of one format."""
        return tuple(f for f in self.files if f.model is not None and f.model.format == name)

    def json(self, name: str) -> Any:
        """A document's value, or None where it is absent or unreadable."""
        document = self.documents.get(name)
        return document.value if document else None

    def say(self, words: str) -> None:
        """Tell whoever waits how far a long check is."""
        if self.progress is not None:
            self.progress(words)

    def cached(self, key: str, make: Callable[[], Any]) -> Any:
        """What several rules need and one has worked out already."""
        if self.memo is None:
            return make()
        if key not in self.memo:
            self.memo[key] = make()
        return self.memo[key]

    def names(self) -> set[str]:
        """The names of all entries; of a file that was named alone, those beside it too."""
        names = {e.name for e in self.entries}
        if not self.is_folder:
            try:
                with os.scandir(self.root) as found:
                    names.update(e.name for _, e in zip(range(MAX_ENTRIES), found, strict=False))
            except OSError:
                pass
        return names


class paused_gc:  # noqa: N801 - reads as a statement
    """Without Python's search for cycles, which would walk hundreds of thousands of tensors over and over."""

    def __enter__(self) -> None:
        import gc

        self.was_on = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        import gc

        if self.was_on:
            gc.enable()


def is_weight_name(name: str) -> bool:
    """Whether a name promises model weights, finished or not."""
    lower = name.lower()
    for suffix in PARTIAL_SUFFIXES:
        lower = lower.removesuffix(suffix)
    return lower.endswith(MODEL_SUFFIXES)


def is_partial_name(name: str) -> bool:
    """Whether a name is that of a download that has not finished."""
    return name.lower().endswith(PARTIAL_SUFFIXES)


def is_document_name(name: str) -> bool:
    """Whether a name is that of a document a loader reads, or of a template, at any depth."""
    base = name.rpartition("/")[2].lower()
    return base in DOCUMENT_NAMES or base.endswith((INDEX_SUFFIX, *TEXT_SUFFIXES))
