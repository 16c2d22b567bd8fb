"""Find the record of a model type; the family's module is loaded for it."""

from __future__ import annotations

from inspector.architectures.hf import FAMILIES, family_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from inspector.architectures.hf.record import ModelType


def records_of(family: str) -> Mapping[str, ModelType]:
    """The records of one family, which is loaded for it."""
    from importlib import import_module

    found: Mapping[str, ModelType] = import_module(f"inspector.architectures.hf.{family}").MODEL_TYPES
    return found


def find(model_type: str) -> ModelType | None:
    """What is known of a model type, or None where nothing is."""
    family = family_of(model_type)
    return records_of(family)[model_type] if family else None


def every_record() -> Iterator[tuple[str, ModelType]]:
    """All model types and their records; this loads every family."""
    for family in FAMILIES:
        yield from records_of(family).items()
