"""SGLang's pool of tokens, beside what its start-up logs of real machines say, and its own arithmetic by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspector.checkpoint import Checkpoint
from inspector.errors import WorkloadError
from inspector.facts import ModelFacts
from inspector.facts.hf import read_facts_hf
from inspector.memory.devices.asked import gpus_asked
from inspector.memory.engines import engine_of
from inspector.memory.engines.sglang import compute_dtype, estimate
from inspector.memory.engines.sglang.reserve import fraction_of, step_of
from inspector.memory.engines.sglang.support import why_not
from inspector.memory.estimate import Estimate, Placement, Workload
from inspector.memory.fit.choose import fit
from inspector.memory.fit.records import Ask, Candidate
from inspector.units import MIB

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
ROWS = [json.loads(line) for line in (FIXTURES / "sglang_pools.jsonl").read_text("utf-8").splitlines()]


def facts_of(config: dict) -> ModelFacts:
    return read_facts_hf(Checkpoint(target="x", format="config", files=(), documents={"config.json": config}))


def named(name: str) -> ModelFacts:
    return facts_of(json.loads((FIXTURES / "configs" / f"{name}.json").read_text("utf-8")))


def on(facts: ModelFacts, gpus: str, workload: Workload, **options) -> Estimate:
    found = gpus_asked([gpus])
    return estimate(facts, workload, placement=Placement(gpus=found, tensor_parallel=len(found)), **options)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["model"])
def test_the_pools_of_real_machines_are_met_within_one_percent(row):
    result = on(facts_of(row["config"]), row["gpus"], Workload(n_ctx=4096), mem_fraction_static=row["fraction"])
    assert result.effective["bytes_per_token"] == row["bytes_per_token"]
    assert result.effective["max_total_num_tokens"] == pytest.approx(row["tokens"], rel=0.01)


# MiB as nvidia-smi prints them, ranks, latent caches → the share, by hand
# H100: 512 + 8192 × 1.5 + 128 + 256 × 2 + 58 graphs × 8 = 13,904 of 81,559; latent: 1,536 for the graphs
# RTX 4090: 512 + 4096 × 1.5 + 128 + 48 × 2 + 50 × 8 = 7,280 of 24,564
# B200: 512 + 16384 × 1.5 + 128 + 512 × 2 + 74 × 8 = 26,832 of 183,359
# T4: 512 + 2048 × 1.5 + 128 + 8 × 2 + 42 × 8 = 4,064 of 15,360
@pytest.mark.parametrize(
    ("mib", "ranks", "latent", "share"),
    [
        (81559, 1, False, 0.830), (81559, 1, True, 0.816), (24564, 1, False, 0.704), (15360, 1, False, 0.735),
        (81559, 8, False, 0.812), (183359, 1, False, 0.854),
    ],
)  # fmt: skip
def test_the_share_goes_by_the_size_of_the_card(mib, ranks, latent, share):
    step = step_of(mib * MIB, ranks=ranks, chunk=None, graph_seqs=None, graphs=True)
    assert fraction_of(mib * MIB, step, ranks=ranks, latent=latent) == share


def test_large_cards_keep_ten_gib_free_at_least():
    step = step_of(81559 * MIB, ranks=1, chunk=2048, graph_seqs=None, graphs=False)
    assert fraction_of(81559 * MIB, step, ranks=1, latent=False) == round((81559 - 10240) / 81559, 3)


def test_lines_are_the_card_where_the_pool_is_full():
    result = on(named("llama-3-8b"), "h100", Workload(n_ctx=8192))
    (device,) = result.devices
    tokens = result.effective["max_total_num_tokens"]
    assert 0 <= device.capacity - device.used - (tokens - 8192) * 131072 < 131072
    assert result.notes[-1] == f"room for {tokens // 8192} requests of 8,192 tokens at once; more wait"


def test_windows_are_full_but_for_the_classes_with_two_pools_which_are_unknown():
    mistral = on(named("mistral-7b-v0.1"), "h100", Workload(n_ctx=8192))
    assert mistral.effective["bytes_per_token"] == 32 * 2 * 8 * 128 * 2
    assert not mistral.unknown
    for name, kind in [("gpt-oss-20b", "sliding"), ("qwen3-next-80b-a3b", "gdn"), ("mamba-2.8b", "mamba1")]:
        config = json.loads((FIXTURES / "configs" / f"{name}.json").read_text("utf-8"))
        classes = {"gpt-oss-20b": ["GptOssForCausalLM"]}.get(name, config.get("architectures"))
        result = on(facts_of({**config, "architectures": classes}), "h100", Workload(n_ctx=8192))
        assert any(kind in words for words in result.unknown)
        assert result.fits is not True
        assert "max_total_num_tokens" not in result.effective


def test_keys_and_values_are_shared_out_and_latents_are_not():
    llama, deepseek = named("llama-3-8b"), facts_of(ROWS[1]["config"])
    assert on(llama, "4xh100", Workload(n_ctx=64)).effective["bytes_per_token"] == 131072 // 4
    assert on(deepseek, "8xh200", Workload(n_ctx=64)).effective["bytes_per_token"] == 61 * 576 * 2
    fp8 = on(llama, "h100", Workload(n_ctx=64, kv_dtype_k="fp8"))
    assert fp8.effective["bytes_per_token"] == 131072 // 2


def test_float32_runs_in_float16():
    config = json.loads((FIXTURES / "configs" / "llama-3-8b.json").read_text("utf-8"))
    assert compute_dtype(facts_of({**config, "torch_dtype": "float32"})) == "float16"
    assert compute_dtype(facts_of({**config, "torch_dtype": "bfloat16"})) == "bfloat16"


@pytest.mark.parametrize(
    ("workload", "words"),
    [
        (Workload(n_ctx=64, kv_dtype_k="q8_0"), "keeps its cache as"),
        (Workload(n_ctx=64, options={"mem_fraction_static": 1.5}), "above 0 and below 1"),
        (Workload(n_ctx=64, options={"chunked_prefill_size": 0}), "above 0"),
    ],
)
def test_settings_that_sglang_does_not_take_are_errors(workload, words):
    with pytest.raises(WorkloadError, match=words):
        on(named("llama-3-8b"), "h100", workload)


def test_what_it_does_not_serve_is_said():
    llama = named("llama-3-8b")
    assert "no class FooForCausalLM" in why_not(llama.replace(keys={"architectures": ["FooForCausalLM"]}), ())
    assert "GGUF" in why_not(llama.replace(format="gguf"), ())
    assert "not answered for" in why_not(llama, gpus_asked(["M4 Max 64GB"]))
    with pytest.raises(WorkloadError, match="cannot split 32 attention heads over 3 ranks"):
        on(llama, "3xh100", Workload(n_ctx=64))


def choices(name: str, gpus: str, **options):
    facts = named(name)
    ask = Ask(gpus=gpus_asked([gpus]), engine="sglang", workload=Workload(**options), n_ctx=options.get("n_ctx"))
    return fit([Candidate("BF16", facts, f"./{name}", facts.promised_nbytes or 1)], ask)


def test_fit_prints_the_launch_of_its_server_and_says_where_more_of_the_card_is_taken():
    best = choices("llama-3-8b", "2xh100", n_ctx=8192, n_seqs=4).choices[0]
    words = " ".join(engine_of("sglang").command(best))
    assert words == (
        "python3 -m sglang.launch_server --model-path ./llama-3-8b --context-length 8192 --tp-size 2"
        " --max-running-requests 4"
    )
    tight = choices("llama-3-8b", "rtx4090", n_ctx=8192, n_seqs=4).choices[0]
    assert "mem_fraction_static 0.9 instead of SGLang's own" in tight.gave_way
    assert "--mem-fraction-static 0.9" in " ".join(engine_of("sglang").command(tight))


def test_a_ceiling_of_requests_is_no_demand_and_holds_graphs_down():
    plain, held = (
        on(named("llama-3-8b"), "24GiB", Workload(n_ctx=1024, options=options))
        for options in (None, {"max_running_requests": 4})
    )
    assert (plain.effective["cuda_graph_max_bs_decode"], held.effective["cuda_graph_max_bs_decode"]) == (48, 4)
    assert held.effective["n_seqs"] == 1
    assert held.effective["mem_fraction_static"] > plain.effective["mem_fraction_static"]
    given = {"max_running_requests": 4, "cuda_graph_max_bs_decode": 16}
    found = on(named("llama-3-8b"), "24GiB", Workload(n_ctx=1024, options=given))
    assert found.effective["cuda_graph_max_bs_decode"] == 16
