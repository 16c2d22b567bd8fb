"""Figures that vLLM printed when it started on real GPUs, by release, beside ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspector.checkpoint import open_checkpoint
from inspector.facts import read_facts
from inspector.memory.devices.gpus import parse_gpu
from inspector.memory.engines import vllm
from inspector.memory.engines.vllm.budget import kv_budget
from inspector.memory.engines.vllm.profile import Batch, activation_nbytes, activation_range
from inspector.memory.estimate import Placement, Workload
from inspector.units import GIB

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
# Model Runner V1 (0.11) sorted all logits: a float32 copy, sorted values and int64 indices, the sort's second pair
# of both, and its 8-byte segment marks (v1/sample/ops/topk_topp_sampler.py, torch's segmented sort).
SAMPLER_V1 = 4 + (4 + 8) + (4 + 8) + 8
ROWS = [json.loads(line) for line in (FIXTURES / "vllm_logs.jsonl").read_text().splitlines()]
PEAKS = [json.loads(line) for line in (FIXTURES / "vllm_activation.jsonl").read_text().splitlines()]


def facts_of(config, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    return read_facts(open_checkpoint(str(path)))


def estimated(config, settings, tmp_path):
    cache = settings.get("kv")
    workload = Workload(n_ctx=settings["n_ctx"], kv_dtype_k=cache, kv_dtype_v=cache, options=settings.get("options"))
    place = Placement(tensor_parallel=settings.get("tp", 1))
    return vllm.estimate(facts_of(config, tmp_path), workload, placement=place)


def ours(row, tmp_path):
    found = estimated(row["config"], row["settings"], tmp_path)
    one = found.effective["bytes_one_req"]
    if draft := row["settings"].get("draft"):
        one += estimated(draft, row["settings"], tmp_path).effective["bytes_one_req"]
    weights = sum(x.nbytes for x in found.lines if x.what == "weights" and x.device == found.lines[0].device)
    return {"one_req": one, "kv_bytes_per_token": one / row["settings"]["n_ctx"], "weights_gib": weights / GIB}


@pytest.mark.parametrize("row", [r for r in ROWS if "reason" not in r and r["figures"]], ids=lambda r: r["model"])
def test_what_a_request_and_weights_take_is_within_one_percent_of_the_log(row, tmp_path):
    found = ours(row, tmp_path)
    assert {k: found[k] for k in row["figures"]} == pytest.approx(row["figures"], rel=0.01)


def test_rows_that_are_off_name_their_reason_and_stay_within_four_percent(tmp_path):
    off = [r for r in ROWS if "reason" in r]
    assert len(off) == 2
    for row in off:
        assert ours(row, tmp_path)["one_req"] == pytest.approx(row["figures"]["one_req"], rel=0.04)


@pytest.mark.parametrize("row", PEAKS, ids=lambda r: r["model"])
def test_the_activation_peak_of_the_first_model_runner_is_within_two_percent(row, tmp_path):
    config = {"model_type": "llama", "hidden_size": row["hidden_size"], "intermediate_size": row["hidden_size"],
              "num_hidden_layers": 1, "num_attention_heads": 8, "vocab_size": row["vocab_size"]}  # fmt: skip
    batch = Batch(tokens=row["max_num_batched_tokens"], seqs=row["max_num_seqs"])
    peak = activation_nbytes(facts_of(config, tmp_path), batch, tp=1, elem=2, sampler=SAMPLER_V1)
    assert peak is not None
    assert peak[0] / GIB == pytest.approx(row["activation_gib"], rel=0.02)


def test_prediction_layers_are_refused_for_a_model_without_them(tmp_path):
    from inspector.errors import WorkloadError

    with pytest.raises(WorkloadError, match="no layers that predict ahead"):
        vllm.estimate(facts_of(ROWS[0]["config"], tmp_path), Workload(n_ctx=256), mtp_tokens=1)


def test_the_pool_of_a_card_lies_between_the_ends_of_what_is_not_known(tmp_path):
    """By the safe ends of activations, graphs and libraries it is smaller than the log says, by their least larger."""
    (row,) = [r for r in ROWS if "gpu" in r["settings"]]
    (gpu,) = parse_gpu(row["settings"]["gpu"])
    found = vllm.estimate(
        facts_of(row["config"], tmp_path), Workload(n_ctx=row["settings"]["n_ctx"]), placement=Placement(gpus=(gpu,))
    )
    effective = found.effective
    least, below = kv_budget(found)[gpu.name], found.total_nbytes - found.total_low
    low, high = (n // effective["bytes_per_block"] * effective["block_size"] for n in (least, least + below))
    assert low <= row["pool_tokens"] <= high


def test_requests_at_once_are_the_pool_over_the_longest_context(tmp_path):
    (row,) = [r for r in ROWS if "requests" in r]
    found = estimated(row["config"], row["settings"], tmp_path)
    one = found.effective["blocks_one_req"] * found.effective["block_size"]
    assert row["pool_tokens"] / one == pytest.approx(row["requests"], rel=0.01)


@pytest.mark.parametrize(("towers", "rule", "log"), [(False, 0.37, 0.22), (True, 0.61, 1.09), (True, 0.61, 1.78)])
def test_known_peaks_of_2026_lie_in_the_range(towers, rule, log):
    low, high = activation_range(int(rule * GIB), towers=towers)
    assert low <= log * GIB <= high
