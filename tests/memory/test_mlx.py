"""mlx-lm, beside what mlx-lm 0.32.2 itself builds and caches (fixtures/mlx.jsonl, by scripts/measure_mlx.py)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspector.checkpoint import Checkpoint
from inspector.errors import WorkloadError
from inspector.facts import ModelFacts
from inspector.facts.hf import read_facts_hf
from inspector.memory.devices.gpus import parse_gpus
from inspector.memory.engines import engine_of
from inspector.memory.engines.mlx import estimate
from inspector.memory.engines.mlx.growth import Fed, chunked, plain, rotating
from inspector.memory.engines.mlx.support import COMPARED, module_of, why_not
from inspector.memory.engines.vllm.support import why_not as vllm_why_not
from inspector.memory.estimate import Estimate, Placement, Workload
from inspector.memory.fit.choose import fit
from inspector.memory.fit.records import Ask, Candidate

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
ROWS = [json.loads(line) for line in (FIXTURES / "mlx.jsonl").read_text("utf-8").splitlines()]
CACHES = {"kv_cache", "recurrent_state"}
CLASSES = {"all tokens": "KVCache", "sliding window": "RotatingKVCache", "chunks": "ChunkedKVCache"}


def facts_of(config: dict) -> ModelFacts:
    return read_facts_hf(Checkpoint(target="x", format="config", files=(), documents={"config.json": config}))


def named(name: str) -> ModelFacts:
    return facts_of(json.loads((FIXTURES / "configs" / f"{name}.json").read_text("utf-8")))


def asked(facts: ModelFacts, run: dict) -> Estimate:
    options = {"n_prompt": run["prompt"], "prefill_step_size": run["step"], "quantized_kv_start": 0}
    options |= {k: run[k] for k in ("kv_bits", "kv_group_size", "max_kv_size", "quantized_kv_start") if k in run}
    n_ctx = run["prompt"] + run["generated"]
    return estimate(facts, Workload(n_ctx=n_ctx, n_seqs=run.get("seqs", 1)), **options)


def weights(facts: ModelFacts) -> int | None:
    return next((x.nbytes for x in estimate(facts, Workload(n_ctx=64)).lines if x.what == "weights"), None)


@pytest.mark.parametrize("row", [r for r in ROWS if r["name"] != "rwkv7"], ids=lambda row: row["name"])
def test_caches_of_every_measured_type_come_out_byte_for_byte_or_are_refused_as_mlx_lm_stops(row):
    facts = facts_of(row["config"])
    for run in row["runs"]:
        if "refused" in run:
            with pytest.raises(WorkloadError, match="mlx-lm stops here"):
                asked(facts, run)
            continue
        result = asked(facts, run)
        lines = [x for x in result.lines if x.what in CACHES]
        assert sum(x.nbytes for x in lines) == sum(n * nbytes for n, _, nbytes in run["caches"]), run
        assert {x.grade for x in lines} == {"derived"}
        assert not [words for words in result.unknown if "cache" in words]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_a_cache_is_at_its_largest_while_the_prompt_is_read(row):
    for run in row["runs"]:
        if "most" not in run or "kv_bits" in run or "CacheList" in run["most"] or row["name"] == "rwkv7":
            continue
        lines = {CLASSES.get(x.label): x.peak_nbytes or x.nbytes for x in asked(facts_of(row["config"]), run).lines}
        assert {k: v for k, v in run["most"].items() if k != "ArraysCache"} == {k: lines[k] for k in lines if k}


# Types whose tensors no rule lays out from a config alone.
UNKNOWN = {
    "gemma3n", "longcat_flash", "rwkv7", "recurrent_gemma", "internlm2", "bailing_moe", "olmo_hybrid", "youtu_llm",
}  # fmt: skip
# Types whose routers are no Linear and stay as they are, and what corrects them a buffer elsewhere, a weight here.
ROUTERS = {
    "glm4_moe", "glm4_moe_lite", "deepseek_v2", "deepseek_v3", "deepseek_v32", "kimi_k2", "kimi_linear", "minimax",
    "mimo_v2_flash", "gemma4_text", "apertus", "ernie4_5_moe", "exaone_moe", "glm_moe_dsa", "lfm2_moe", "dots1",
    "step3p5", "gemma4", "kimi_k25", "mimo", "kimi_vl",
}  # fmt: skip
# Experts that stay unquantised there, and norms that only one of both has.
FAR = {"granitemoe", "solar_open"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_weights_of_a_config_alone_are_those_of_the_module_plain_and_quantised_by_mlx_lm(row):
    config, name = row["config"], row["name"]
    packed = facts_of(config | {"quantization": row["quantised"]["config"]})
    ours, theirs = (weights(facts_of(config)), weights(packed)), (row["weights"], row["quantised"]["nbytes"])
    if name in UNKNOWN:
        assert ours == (None, None)
    elif name in FAR:
        assert ours == pytest.approx(theirs, rel=0.17)
    elif name in ROUTERS:
        assert ours != theirs
        assert ours == pytest.approx(theirs, rel=0.006)
    else:
        assert ours == theirs


def test_published_peaks_of_an_apple_gpu_lie_in_their_range_of_a_few_percent():
    head, *rows = map(json.loads, (FIXTURES / "mlx_peaks.jsonl").read_text("utf-8").splitlines())
    for row in rows:
        config = dict(head["configs"][row["model"]])
        if row["group"]:
            config["quantization"] = {"bits": row["bits"], "group_size": row["group"]}
        n_ctx = head["prompt"] + head["generated"]
        result = estimate(facts_of(config), Workload(n_ctx=n_ctx), n_prompt=head["prompt"])
        peak, transient = result.effective["peak_nbytes"], next(x for x in result.lines if x.what == "compute")
        measured = row["gb"] * 1e9 - (peak - transient.nbytes)
        assert transient.low <= measured <= transient.nbytes, row
        assert peak / 1e9 == pytest.approx(row["gb"], rel=0.04)
        assert transient.nbytes < 1.2 * measured


# tokens, prompt, step → rows
@pytest.mark.parametrize(
    ("fed", "rows"),
    [
        ((1, 1, 2048), 256), ((256, 1, 2048), 256), ((257, 1, 2048), 512), ((700, 700, 2048), 768),
        ((8192, 8192, 2048), 8192), ((8193, 8193, 2048), 8448), ((900, 900, 300), 1112), ((900, 900, 384), 1152),
    ],
)  # fmt: skip
def test_a_cache_grows_by_256_tokens_and_is_cut_to_what_is_filled_before_it_grows(fed, rows):
    assert plain(Fed(*fed)) == rows


def test_a_window_is_kept_whole_and_exceeded_by_a_pass_of_the_prompt():
    assert rotating(Fed(100_000, 100_000, 2048), 512) == (512, 511 + 2048)
    assert rotating(Fed(100, 1, 2048), 512) == (256, 256)
    assert rotating(Fed(400, 300, 2048), 512) == (299 + 213, 512)
    assert chunked(Fed(100_000, 100_000, 2048), 8192) == (8192 + 256, 8192 + 2048)


def test_a_million_million_tokens_are_counted_at_once_and_uneven_steps_of_them_refused():
    assert plain(Fed(10**12, 10**12, 2048)) == 10**12
    with pytest.raises(WorkloadError, match="not followed"):
        plain(Fed(10**12, 10**12, 300))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "bloom"}, "no model type bloom"),
        ({"model_type": "opt"}, "no model type opt"),
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, "packed as bitsandbytes"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 8}}, "gptq of 8 bits"),
        ({"quantization_config": {"quant_method": "fp8"}}, "packed as fp8"),
        ({"quantization_config": {"quant_method": ["awq"]}}, "packed as"),
        ({"quantization_config": {}}, "packed as nothing"),
        ({"model_type": ["llama"], "architectures": 7}, "no model type"),
        ({"quantization_config": {"quant_method": "compressed-tensors", "format": "float-quantized"}}, "float-quantiz"),
        ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "FP8"}}, "modelopt FP8"),
    ],
)
def test_what_mlx_lm_does_not_load_is_said(config, words):
    facts = facts_of({**ROWS[0]["config"], **config})
    with pytest.raises(WorkloadError, match=words):
        estimate(facts, Workload(n_ctx=64))


def test_only_what_was_compared_is_called_derived():
    assert {module_of(facts_of(row["config"])) for row in ROWS} - {"rwkv7"} == COMPARED
    gemma = facts_of({**ROWS[0]["config"], "model_type": "talkie"})
    assert {x.grade for x in estimate(gemma, Workload(n_ctx=64)).lines} == {"modelled"}


def test_a_folder_without_a_config_is_refused_and_mlx_packing_by_vllm():
    nameless = facts_of(ROWS[0]["config"]).replace(format="safetensors", keys=None, layers=())
    with pytest.raises(WorkloadError, match=r"without a config\.json"):
        estimate(nameless, Workload(n_ctx=64))
    packed = facts_of({**ROWS[0]["config"], "quantization": {"group_size": 64, "bits": 4}})
    assert "packed by MLX" in vllm_why_not(packed, ())


def test_types_are_read_by_the_modules_that_mlx_lm_maps_them_to():
    assert module_of(facts_of({**ROWS[0]["config"], "model_type": "mistral"})) == "llama"
    gemma = next(row for row in ROWS if row["name"] == "gemma3")["config"]
    assert (module_of(facts_of(gemma)), why_not(facts_of(gemma))) == ("gemma3", "")


@pytest.mark.parametrize(
    ("workload", "words"),
    [
        (Workload(n_ctx=64, options={"kv_bits": 7}), "kv_bits is 7"),
        (Workload(n_ctx=64, kv_dtype_k="q8_0"), "no cache type q8_0"),
        (Workload(n_ctx=64, n_seqs=2, options={"kv_bits": 8}), "one sequence at a time"),
        (Workload(n_ctx=64, options={"prefill_step_size": 0}), "above 0"),
        (Workload(n_ctx=64, options={"kv_bits": 8, "quantized_kv_start": -1}), "0 or more"),
        (Workload(n_ctx=64, options={"kv_bits": 8, "quantized_kv_start": 0, "kv_group_size": 48}), "groups of 48"),
    ],
)
def test_settings_that_mlx_lm_does_not_take_are_errors(workload, words):
    with pytest.raises(WorkloadError, match=words):
        estimate(facts_of(ROWS[0]["config"]), workload)


KERNELS = [{"group_size": 64, "bits": 3}, {"group_size": 64, "bits": 6}, {"group_size": 64, "bits": 4, "lm_head": 7}]


@pytest.mark.parametrize(
    "quantization",
    [
        {"group_size": 0, "bits": 4}, {"group_size": -64, "bits": 4}, {"group_size": 64, "bits": 0}, {"bits": "four"},
        {}, *KERNELS, {"group_size": 1 << 70, "bits": 1 << 70},
        {"group_size": 64, "bits": 4, "mode": []},
    ],
)  # fmt: skip
def test_bits_and_groups_that_mlx_has_no_kernel_for_are_said_and_no_others(quantization):
    facts = facts_of({**ROWS[0]["config"], "quantization": quantization})
    if quantization in KERNELS:
        assert weights(facts)
        return
    with pytest.raises(WorkloadError, match="does not load weights packed as mlx") as error:
        estimate(facts, Workload(n_ctx=64))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 140


def choices(name: str, gpu: str, **options):
    facts = named(name)
    ask = Ask(gpus=parse_gpus((gpu,)), engine="mlx", workload=Workload(**options), n_ctx=options.get("n_ctx"))
    return fit([Candidate("BF16", facts, f"./{name}", facts.promised_nbytes or 1)], ask)


def test_fit_prints_mlx_lms_own_words_and_quantises_the_cache_only_where_that_helps():
    found = choices("llama-3-8b", "M4 Max 64GB", n_ctx=8192)
    assert engine_of("mlx").command(found.choices[0]) == ["mlx_lm.generate", "--model", "./llama-3-8b"]
    several = choices("llama-3-8b", "M4 Max 64GB", n_ctx=8192, n_seqs=4)
    words = engine_of("mlx").command(several.choices[0])
    assert words[0] == "mlx_lm.server"
    assert "--decode-concurrency 4" in " ".join(words)
    tight = choices("llama-2-7b", "M1 Pro 32GB", n_ctx=16384)
    assert tight.fits
    assert engine_of("mlx").memory_words(tight.choices[0])[:4] == ["--engine", "mlx", "-c", "16384"]


@pytest.mark.parametrize(
    ("name", "gpu", "words"),
    [
        ("llama-3-8b", "rtx4090", "answered for Apple GPUs"),
        ("llama-3-8b", "2xM4 Max 64GB", "one GPU"),
        ("bloom-7b1", "M4 Max 64GB", "no model type bloom"),
    ],
)
def test_fit_says_why_no_command_is_proposed(name, gpu, words):
    with pytest.raises(WorkloadError, match=words):
        choices(name, gpu, n_ctx=1024)


def test_everything_lies_on_the_gpu_within_what_metal_wires_down():
    (gpu,) = parse_gpus(("M2 16GB",))
    result = estimate(named("llama-3-8b"), Workload(n_ctx=8192), placement=Placement(gpus=(gpu,)))
    assert {line.device for line in result.lines} == {gpu.name}
    assert result.fits is False
    assert any("0.9" in note for note in result.notes)
