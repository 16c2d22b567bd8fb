"""The small JSON files beside the weights: parsed within bounds, kept as written."""

from __future__ import annotations

from inspector.checkpoint.listing import defect_of
from inspector.errors import FormatError, InspectorError
from inspector.formats.modelfile import Defect
from inspector.formats.strict_json import MAX_DEPTH, JsonError, decode, scan
from inspector.sources.local import LocalSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from inspector.checkpoint.listing import Listing

DOCUMENTS: Final = (
    "config.json",
    "generation_config.json",
    "quantize_config.json",
    "quant_config.json",
    "hf_quant_config.json",
    "tokenizer_config.json",
    "adapter_config.json",
    "processor_config.json",
    "preprocessor_config.json",
    "chat_template.json",
    "modules.json",
    "model_index.json",
    "params.json",
)
INDEX_SUFFIX: Final = ".safetensors.index.json"
# Twice the largest index known (8.7 MB for 90,000 tensors).
MAX_DOCUMENT: Final = 16 << 20


def _check_depth(value: Any) -> None:
    level, depth = [value], 0
    while level:
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        depth += 1
        if depth > MAX_DEPTH:
            raise JsonError("nesting", f"JSON nested more than {MAX_DEPTH} deep")


def parse_document(raw: bytes) -> Any:
    """JSON as transformers reads it: UTF-8, and NaN and Infinity allowed (Mamba configs have them).

    Raises JsonError and LimitExceeded.
    """
    value = scan(decode(raw), parse_float=float, parse_constant=float)
    _check_depth(value)
    return value


def read_document(path: str) -> Any:
    """One JSON file. Raises SourceError and FormatError."""
    with LocalSource(path) as source:
        if source.size > MAX_DOCUMENT:
            raise FormatError(f"{source.size:,} bytes: documents of more than {MAX_DOCUMENT:,} are not read")
        return parse_document(source.read_at(0, source.size))


def _wanted(name: str) -> bool:
    return name in DOCUMENTS or (name.endswith(INDEX_SUFFIX) and "/" not in name)


def read_documents(listing: Listing, prefix: str = "") -> tuple[dict[str, Any], list[Defect]]:
    """The known documents in a folder (or in its sub-folder, `prefix` "name/"), by file name, and what is wrong."""
    documents: dict[str, Any] = {}
    defects: list[Defect] = []
    for entry in listing.entries.values():
        name = entry.name.removeprefix(prefix)
        if not entry.name.startswith(prefix) or not _wanted(name):
            continue
        if entry.problem:
            defects.append(defect_of(entry))
            continue
        try:
            documents[name] = read_document(entry.path)
        except InspectorError as error:
            defects.append(Defect("document-unreadable", str(error), getattr(error, "offset", None), entry.name))
    if not isinstance(documents.get("config.json", {}), dict):
        defects.append(Defect("document-unreadable", "not a JSON object", None, "config.json"))
        del documents["config.json"]
    return documents, defects
