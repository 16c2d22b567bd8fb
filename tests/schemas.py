"""`check(document)`: a JSON document of ours against the schema in docs/schemas that its `schema` field names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import referencing

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "schemas"
SCHEMAS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}
REGISTRY: referencing.Registry[Any] = referencing.Registry().with_resources(
    [(f"{name}.json", referencing.Resource.from_contents(schema)) for name, schema in SCHEMAS.items()]
)


def check(document: dict[str, Any]) -> dict[str, Any]:
    """The document itself, once it holds to its schema and has no float where a size belongs."""
    name = document["schema"].removeprefix("inspector.").removesuffix("/1")
    jsonschema.Draft202012Validator(SCHEMAS[name], registry=REGISTRY).validate(document)
    return document
