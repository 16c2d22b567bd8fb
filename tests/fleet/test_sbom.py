"""The bill of materials holds to CycloneDX's own schema, and names every model once."""

from __future__ import annotations

import json

import pytest

from inspector.fleet.row import scan_one
from inspector.fleet.sbom import sbom

pytest.importorskip("cyclonedx")
OWN = {"repo": "org/model", "revision": "0123abc", "sha256": "a" * 64}


@pytest.fixture
def rows(files):
    found = [
        scan_one(str(p)) for p in (*sorted(files.glob("gguf/*"))[:6], files / "safetensors" / "bert", files / "no")
    ]
    found[0] |= OWN | {"license": "apache-2.0"}
    found[1] |= OWN | {"license": "Llama 3 community license"}
    found[2] |= {"license": "odd-id"}
    return found


def test_the_schema_of_cyclonedx_accepts_it(rows):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(sbom(rows)) is None


def test_every_model_is_a_component_with_a_card(rows):
    document = json.loads(sbom(rows))
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    components = document["components"]
    assert {c["type"] for c in components} == {"machine-learning-model"}
    targets = [p["value"] for c in components for p in c["properties"] if p["name"] == "inspector:target"]
    assert sorted(targets) == sorted(row["target"] for row in rows)
    assert all("modelCard" in c for c in components)


def test_what_the_hub_and_the_file_say_is_where_scanners_look(rows):
    components = json.loads(sbom(rows[:3]))["components"]
    own = next(c for c in components if c["bom-ref"] == "model-0")
    assert own["purl"] == "pkg:huggingface/org/model@0123abc"
    assert own["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert own["licenses"] == [{"license": {"id": "Apache-2.0"}}]


def test_the_same_models_are_the_same_document(rows):
    first, second = (json.loads(sbom(rows)) for _ in range(2))
    assert first["serialNumber"] == second["serialNumber"]
    assert first["components"] == second["components"]
