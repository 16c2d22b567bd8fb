"""Blocks and requests beside vLLM 0.33.0's own planner, over tensor and pipeline parallel ranks: equal to the byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspector.checkpoint import open_checkpoint
from inspector.facts import read_facts
from inspector.memory.engines import vllm
from inspector.memory.estimate import Gpu, Placement, Workload
from inspector.units import GIB

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
ROWS = [json.loads(line) for line in (FIXTURES / "vllm_planner.jsonl").read_text().splitlines()]


def name_of(row):
    ahead = f"-{row['num_speculative_tokens']}-ahead" if "num_speculative_tokens" in row else ""
    drafts = f"-by-{row['draft'].get('architectures', ['model'])[0]}" if "draft" in row else ""
    ranks = f"tp{row['tensor_parallel_size']}-pp{row['pipeline_parallel_size']}"
    return f"{row['config']['model_type']}-{ranks}{ahead}{drafts}"


def facts_of(config, folder):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return read_facts(open_checkpoint(str(folder / "config.json")))


def speculation(row, folder):
    tokens = row.get("num_speculative_tokens")
    if "draft" not in row:
        return {"mtp_tokens": tokens}
    method = {"method": "draft_model", "model": "beside", "num_speculative_tokens": tokens}
    return {"speculative_config": json.dumps(method), "draft": facts_of(row["draft"], folder / "draft")}


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_a_block_and_a_request_are_what_the_planner_says(row, tmp_path):
    facts = facts_of(row["config"], tmp_path)
    tp, pp = row["tensor_parallel_size"], row["pipeline_parallel_size"]
    cache = None if row["kv_cache_dtype"] == "auto" else row["kv_cache_dtype"]
    found = vllm.estimate(
        facts, Workload(n_ctx=row["max_model_len"], kv_dtype_k=cache, kv_dtype_v=cache),
        placement=Placement(gpus=tuple(Gpu(f"card {i}", 80 * GIB) for i in range(tp * pp)), tensor_parallel=tp),
        pipeline_parallel_size=pp, max_num_batched_tokens=row["max_num_batched_tokens"], **speculation(row, tmp_path),
    )  # fmt: skip
    planned = (row["bytes_per_block"], row["blocks_one_req"])
    assert (found.effective["bytes_per_block"], found.effective["blocks_one_req"]) == planned
    for stage, nbytes in enumerate(row["stage_bytes_per_block"]):
        cached = [x.nbytes for x in found.lines if x.device == f"card {stage * tp}" and x.what == "kv_cache"]
        assert cached == [nbytes * row["blocks_one_req"]]


def test_the_planner_was_asked_for_twenty_models_over_several_ranks():
    assert len({json.dumps(row["config"]) for row in ROWS}) >= 30
    assert {row["tensor_parallel_size"] for row in ROWS} == {1, 2, 4}
    assert {row["pipeline_parallel_size"] for row in ROWS} == {1, 2, 3}
    assert len([row for row in ROWS if "num_speculative_tokens" in row]) >= 60
