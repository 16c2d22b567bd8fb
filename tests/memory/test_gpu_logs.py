"""Figures of start-up logs that people have published: what does not depend on the build or back end is equal."""

from __future__ import annotations

import json

import pytest

# a header of ours with the geometry of the log's model
SAME_SHAPE = {"llama-3.1-8b": "llama-3-8b"}
PARTS = {"kv": "kv_cache", "output": "output", "rs": "recurrent_state"}


def test_caches_and_outputs_of_published_logs_are_equal_to_the_printed_digit(root, run_inspector, sparse_model):
    rows = [json.loads(line) for line in (root / "fixtures" / "gpu_logs.jsonl").read_text().splitlines()]
    asked = [row for row in rows if row["header"] in SAME_SHAPE]
    assert len(asked) >= 2
    for row in asked:
        model = str(sparse_model(SAME_SHAPE[row["header"]]))
        code, out, err = run_inspector(["memory", model, "-e", "llama.cpp", *row["args"], "--json"])
        assert (code, err) == (0, "")
        lines = json.loads(out)["lines"]
        for part, what in PARTS.items():
            if part in row["mib"]:
                ours = sum(line["nbytes"] for line in lines if line["what"] == what) / 2**20
                assert ours == pytest.approx(row["mib"][part], abs=0.01), (row["source"], part)
