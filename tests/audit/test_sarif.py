"""SARIF output against the published schema of SARIF 2.1.0, and what code hosts ask beyond it."""

from __future__ import annotations

import gzip
import json
import re
from functools import cache
from pathlib import Path

import jsonschema
import pytest
from audit_builder import audit, gguf_bytes, llama_folder, sharded, st_bytes, write

from inspector.audit.registry import rules
from inspector.report.audit import sarif


@cache
def published():
    """The published schema (fixtures/sarif)."""
    path = Path(__file__).parents[2] / "fixtures" / "sarif" / "sarif-2.1.0-rtm.5.json.gz"
    return jsonschema.Draft4Validator(json.loads(gzip.decompress(path.read_bytes())))


def assert_valid(log):
    assert [error.message for error in published().iter_errors(json.loads(json.dumps(log)))] == []
    listed = [r["id"] for r in log["runs"][0]["tool"]["driver"]["rules"]]
    for result in log["runs"][0]["results"]:
        assert listed[result["ruleIndex"]] == result["ruleId"]
        assert result["message"]["text"]
        [place] = result["locations"]
        assert re.fullmatch(r"[A-Za-z0-9%/._~:-]+", place["physicalLocation"]["artifactLocation"]["uri"])
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


def test_the_schema_is_one_that_refuses():
    log = sarif([], rules(), version="1.0", root="/")
    assert_valid(log)
    log["runs"][0]["results"].append({"ruleId": "x", "level": "awful"})
    assert len(list(published().iter_errors(log))) == 2


def test_every_output_on_the_repositorys_own_samples_is_valid(root):
    """Sound and broken files, honest and hostile pickles, folders and single files: one run each, all in one."""
    folders = [p for p in (root / "fixtures" / "files").iterdir() if p.is_dir()]
    single = [p for name in ("files", "pickles", "hdf5") for p in (root / "fixtures" / name).rglob("*") if p.is_file()]
    reports = [audit(path) for path in [*folders, root / "fixtures" / "pickles", *single]]
    for report in reports:
        assert_valid(sarif([report], rules(), version="1.0", root=str(root)))
    log = sarif(reports, rules(), version="1.0", root=str(root))
    assert_valid(log)
    assert len(reports) > 30
    places = {r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in log["runs"][0]["results"]}
    assert all(place.startswith("fixtures/") for place in places)


@pytest.mark.parametrize("family", ["test_gguf", "test_gguf_meaning", "test_loading_rules"])
def test_every_output_on_damaged_ggufs_is_valid(tmp_path, family):
    """The samples that the tests of the rules are made of."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(family, Path(__file__).with_name(f"{family}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for i, (_, *parts) in enumerate(module.BAD.values()):
        content = parts[0] if isinstance(parts[0], bytes) else gguf_bytes(*parts[:2])
        write(tmp_path, {f"m{i}.gguf": content})
    report = audit(tmp_path)
    assert_valid(sarif([report], rules(), version="1.0", root=str(tmp_path)))
    assert len(report.findings) >= min(len(module.BAD), 20)
