"""The comparison beside other scanners (scripts/compare_scanners.py): what its kept answers say of ours."""

from __future__ import annotations

import json

import pytest

# Families where some samples deserve no more than a warning, which an exit code does not show.
WITH_WARNINGS = ("indexes and links", "broken safetensors", "broken GGUF")


@pytest.fixture
def families(root):
    return json.loads((root / "fixtures" / "scanners.json").read_text("utf-8"))["families"]


def test_ours_finds_all_that_is_to_be_found(families):
    for row in families:
        if row["bad"] and not row["what"].startswith(WITH_WARNINGS):
            assert row["answers"]["inspector"] == {"found": row["n"], "none": 0}, row["what"]


def test_ours_accuses_nothing_honest(families):
    for row in families:
        if not row["bad"]:
            assert row["answers"]["inspector"] == {"found": 0, "none": 0}, row["what"]


def test_nobody_finds_more_than_ours(families):
    """fickling left out: it finds fault with nearly every file that is no pickle, honest ones included."""
    for row in families:
        most = max(answer["found"] for tool, answer in row["answers"].items() if tool != "fickling")
        assert not row["bad"] or row["answers"]["inspector"]["found"] == most, row["what"]


def test_every_family_has_samples_and_every_scanner_was_asked(families):
    assert sum(row["n"] for row in families) > 700
    assert all(row["n"] >= 10 and len(row["answers"]) == 5 for row in families)
