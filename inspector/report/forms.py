"""How records stand in `--json`: which of their fields, in which order, and which only where they say something.

A record that has no row here is written whole. scripts/json_schemas.py reads the same tables: what a schema in
docs/schemas says of a record is what is written.
"""

from __future__ import annotations

from inspector.facts.records import ModelFacts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

# What an estimate is made from, and notes, which a document has once for all its parts.
_INNER: Final = frozenset(
    {
        "tensors",
        "keys",
        "notes",
        "layers",
        "nextn_layers",
        "prediction",
        "promised",
        "outer_type",
        "ahead_layers",
        "ahead_promised",
        "build",
    }
)

# record: the fields (and properties) that are written, in this order
FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "ModelFacts": (*(f for f in ModelFacts._fields if f not in _INNER), "layers"),
    "Device": ("device", "backend", "capacity", "reserve", "reserve_low", "used", "low", "fits", "unified"),
    "Gpu": ("name", "capacity", "reserve", "context"),
    "Candidate": ("label", "path", "nbytes", "hypothetical"),
    "Rule": ("code", "name", "severity", "summary"),
    "Dtype": (
        "name", "block_elems", "block_bytes", "ggml_id", "safetensors", "is_float", "note", "bits_per_weight",
    ),
}  # fmt: skip

# record: fields that are left out while they are None or empty
SPARSE: Final[Mapping[str, frozenset[str]]] = {
    "Line": frozenset({"label", "peak_nbytes", "low"}),
    "Device": frozenset({"low", "reserve_low"}),
    "Workload": frozenset({"backend"}),
}

# fields that hold records of several kinds, told apart by `type`
TAGGED: Final = frozenset({"caches"})


def written(record: Any) -> Mapping[str, Any]:
    """A record as the object that JSON has of it, its records still records; `jsonable` takes this function."""
    name = type(record).__name__
    sparse = SPARSE.get(name, ())
    fields = FIELDS.get(name, record._fields)
    return {f: _value(record, f) for f in fields if f not in sparse or getattr(record, f) not in (None, "")}


def _value(record: Any, field: str) -> Any:
    value = getattr(record, field)
    return [{"type": type(v).__name__} | v.as_dict() for v in value] if field in TAGGED else value
