"""The small JSON files beside the weights: parsed within bounds, kept as written."""

from __future__ import annotations

from inspector.formats.strict_json import MAX_DEPTH, JsonError, decode, scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

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
