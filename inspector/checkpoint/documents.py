"""The small JSON files beside the weights: parsed within bounds, kept as written."""

from __future__ import annotations

from inspector.checkpoint.listing import defect_of
from inspector.errors import InspectorError, SourceError
from inspector.formats.modelfile import Defect
from inspector.formats.strict_json import MAX_DEPTH, JsonError, decode, scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any, Final

    from inspector.checkpoint.gather import Gathering
    from inspector.checkpoint.listing import Entry, Listing

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


def is_document(name: str) -> bool:
    """Whether a file of this name is read and kept."""
    return name in DOCUMENTS or (name.endswith(INDEX_SUFFIX) and "/" not in name)


def read_documents(listing: Listing, gathering: Gathering, names: Collection[str] | None = None) -> None:
    """Add the known documents of a folder (of these `names`) to `gathering`, and what is wrong with them."""
    wanted = [e for e in listing.entries.values() if is_document(e.name) and (names is None or e.name in names)]

    def parse(entry: Entry) -> Any:
        if entry.problem:
            return defect_of(entry)
        try:
            return parse_document(gathering.read(entry, most=MAX_DOCUMENT))
        except InspectorError as error:
            if isinstance(error, SourceError) and not entry.path:
                raise  # what a network lacks today is no defect of the model's
            return Defect("document-unreadable", str(error), getattr(error, "offset", None), entry.name)

    found = dict(zip([e.name for e in wanted], gathering.each(parse, wanted), strict=True))
    defects = [value for value in found.values() if isinstance(value, Defect)]
    documents = {name: value for name, value in found.items() if not isinstance(value, Defect)}
    if not isinstance(documents.get("config.json", {}), dict):
        defects.append(Defect("document-unreadable", "not a JSON object", None, "config.json"))
        del documents["config.json"]
    gathering.documents |= documents
    gathering.defects += defects
    gathering.notes += [f"{d.where}: {d.what}" for d in defects]
