"""SARIF output against the rules of SARIF 2.1.0 (OASIS, sections 3.13 to 3.54) for every property that is written."""

from __future__ import annotations

import json

import jsonschema
import pytest
from audit_builder import audit, gguf_bytes, llama_folder, sharded, st_bytes, write

from inspector.audit.registry import rules
from inspector.report.audit import sarif

MESSAGE = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}},
           "additionalProperties": False}  # fmt: skip
LEVEL = {"enum": ["none", "note", "warning", "error"]}
RULE = {
    "type": "object", "required": ["id"], "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "minLength": 1}, "name": {"type": "string", "pattern": "^[A-Za-z0-9]+$"},
        "shortDescription": MESSAGE, "fullDescription": MESSAGE, "help": MESSAGE,
        "helpUri": {"type": "string", "format": "uri"},
        "defaultConfiguration": {"type": "object", "properties": {"level": LEVEL}, "additionalProperties": False},
    },
}  # fmt: skip
LOCATION = {
    "type": "object", "required": ["physicalLocation"], "additionalProperties": False,
    "properties": {"physicalLocation": {
        "type": "object", "required": ["artifactLocation"], "additionalProperties": False,
        "properties": {"artifactLocation": {
            "type": "object", "required": ["uri"], "additionalProperties": False,
            "properties": {"uri": {"type": "string", "pattern": r"^[A-Za-z0-9%/._~:-]+$"}},
        }},
    }},
}  # fmt: skip
RESULT = {
    "type": "object", "required": ["message", "ruleId", "ruleIndex", "level", "locations"],
    "additionalProperties": False,
    "properties": {
        "ruleId": {"type": "string"}, "ruleIndex": {"type": "integer", "minimum": 0}, "level": LEVEL,
        "message": MESSAGE, "locations": {"type": "array", "minItems": 1, "items": LOCATION},
    },
}  # fmt: skip
DRIVER = {
    "type": "object", "required": ["name", "version", "rules"], "additionalProperties": False,
    "properties": {"name": {"const": "inspector"}, "version": {"type": "string"}, "informationUri": {"format": "uri"},
                   "rules": {"type": "array", "uniqueItems": True, "items": RULE}},
}  # fmt: skip
SCHEMA = {
    "type": "object", "required": ["version", "runs"], "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string", "format": "uri"}, "version": {"const": "2.1.0"},
        "runs": {"type": "array", "minItems": 1, "items": {
            "type": "object", "required": ["tool", "results"], "additionalProperties": False,
            "properties": {
                "tool": {"type": "object", "required": ["driver"], "properties": {"driver": DRIVER},
                         "additionalProperties": False},
                "results": {"type": "array", "items": RESULT},
            },
        }},
    },
}  # fmt: skip


def assert_valid(log):
    jsonschema.validate(json.loads(json.dumps(log)), SCHEMA)
    listed = [r["id"] for r in log["runs"][0]["tool"]["driver"]["rules"]]
    for result in log["runs"][0]["results"]:
        assert listed[result["ruleIndex"]] == result["ruleId"]
    assert json.dumps(log).isascii()


HOSTILE = "x\x1b[31m\u202eevil\u2066\x00\x07\n\u200b"


@pytest.mark.parametrize("make", [
    lambda p: write(p, {"model.gguf": gguf_bytes()[:-100]}),
    lambda p: write(p, {"a b#?%.safetensors": b"", "ü/model.safetensors": st_bytes()[:-1]}),
    lambda p: sharded(p, weight_map={HOSTILE: "/etc/passwd", "a": HOSTILE}),
    lambda p: llama_folder(p, {HOSTILE: ("F32", (2,)), "model.layers.0.x": ("BF16", (1,))}),
    llama_folder,
])  # fmt: skip
def test_every_log_is_valid_and_plain(tmp_path, make):
    log = sarif([audit(make(tmp_path))], rules(), version="1.0", root="/")
    assert_valid(log)
    text = "".join(r["message"]["text"] for r in log["runs"][0]["results"])
    assert text.isprintable() or not text


def test_several_targets_are_one_run(tmp_path):
    one, two = write(tmp_path / "1", {"m.gguf": b""}), write(tmp_path / "2", {"m.gguf": bytes(99)})
    log = sarif([audit(one), audit(two)], rules(), version="1.0", root="/")
    assert_valid(log)
    assert [r["ruleId"] for r in log["runs"][0]["results"]] == ["FL001", "FL005"]


def test_every_rule_has_a_page(tmp_path):
    for r in rules().values():
        assert r.summary.endswith((".", ":", ",")) or len(r.page.splitlines()) > 2, r.code
        assert "Why it matters" in r.page, r.code
