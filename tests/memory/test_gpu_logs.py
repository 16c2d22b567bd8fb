"""Figures of start-up logs that people have published: what does not depend on the build or back end is equal."""

from __future__ import annotations

import importlib.util
import json

import pytest

# what the log of one thread says of a cache that is 2,560 MiB in every other
ODD = {("ggml-org/llama.cpp#22673", "kv")}


@pytest.fixture(scope="module")
def real_logs(root):
    spec = importlib.util.spec_from_file_location("real_logs", root / "scripts" / "real_logs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def compared(root, real_logs):
    """(row, figure, log, here) of every figure, models predicted from their published shapes."""
    rows = [json.loads(line) for line in (root / "fixtures" / "gpu_logs.jsonl").read_text().splitlines()]
    ours = [real_logs.ours(real_logs.config_of(row["header"]), row["args"]) for row in rows]
    return [(row, part, n, o[part]) for row, o in zip(rows, ours, strict=True) for part, n in row["mib"].items()]


def test_caches_states_and_outputs_of_published_logs_are_equal_to_the_printed_digit(compared):
    found = [x for x in compared if x[1] in {"kv", "rs", "output"} and (x[0]["source"], x[1]) not in ODD]
    assert len(found) == 15
    for row, part, log, here in found:
        assert here == pytest.approx(log, abs=0.0051), (row["model"], part)


def test_compute_buffers_of_the_newest_build_are_equal_to_the_printed_digit(compared, real_logs):
    found = [x for x in compared if x[1].startswith("compute") and x[0]["build"] == real_logs.NEWEST]
    assert len(found) == 2
    for row, part, log, here in found:
        assert here == pytest.approx(log, abs=0.0051), (row["model"], part)


def test_every_difference_of_the_table_has_its_reason(root, real_logs):
    rows = [json.loads(line) for line in (root / "fixtures" / "gpu_logs.jsonl").read_text().splitlines()]
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in real_logs.table(rows[:2])[2:]]
    for *_, log, here, why in cells:
        assert (log == here) == (why == "")
