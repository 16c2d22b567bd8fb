"""`check(document)`: a JSON document of ours against the schema in docs/schemas that its `schema` field names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "schemas"
SCHEMAS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}


def check(document: dict[str, Any]) -> dict[str, Any]:
    """The document itself, once it holds to its schema and has no float where a size belongs."""
    validator(document).validate(document)
    return document


def validator(document: dict[str, Any]) -> jsonschema.Draft202012Validator:
    """What holds a document to the schema that it names."""
    name = document["schema"].removeprefix("inspector.").removesuffix("/1")
    return jsonschema.Draft202012Validator(SCHEMAS[name])
