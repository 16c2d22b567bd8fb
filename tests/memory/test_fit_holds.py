"""What `fit` advises is what is there: held to `memory` and to llama.cpp's own CUDA host code."""

from __future__ import annotations

import json
import shlex
from collections import Counter

import pytest
from click.testing import CliRunner
from cuda_rows import facts_of, ours, rows_by_model, run, theirs
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from inspector.cli.memory import memory
from inspector.memory.devices.gpus import parse_gpu, under
from inspector.memory.devices.placement import visible
from inspector.memory.engines.llamacpp.backends import BACKENDS
from inspector.memory.estimate import Placement, Workload
from inspector.memory.fit.choose import fit
from inspector.memory.fit.commands import engine_command, memory_command
from inspector.memory.fit.records import Ask, Candidate
from inspector.units import GIB, MIB

SERVER = Workload(outputs="last")
# as in scripts/measure_cuda.py, which made the rows
CARDS = ("16GiB", "rtx4090", "rtx5090", "2xrtx3060")
MODELS = (
    "llama-3.2-1b", "llama-3-8b", "llama-3.1-70b", "gemma-2-9b", "gemma-3n-e4b", "qwen2.5-7b", "qwen3-30b-a3b",
    "qwen3-next-80b-a3b", "gpt-oss-20b", "glm-4.5-air", "llama-4-scout", "mixtral-8x7b", "deepseek-v2-lite-nomla",
    "deepseek-v3", "falcon-h1-7b", "command-r7b",
)  # fmt: skip
MEASURED = rows_by_model("cuda-fit.jsonl.gz")
FIT_TARGET = 1024 * MIB  # common/common.h: fit_params_target


def held(parts) -> dict[str, int]:
    """Bytes on each device, of (device, part) → bytes."""
    sums: dict[str, int] = {}
    for (device, _), nbytes in parts.items():
        sums[device] = sums.get(device, 0) + nbytes
    return sums


def allocated(estimate) -> list[int]:
    """Bytes on each device that llama.cpp itself says: without CUDA's context and what its pools grow to."""
    later = Counter()
    for line in estimate.lines:
        later[line.device] += line.nbytes if line.what == "overhead" else 0
    return [d.used - later[d.device] for d in estimate.devices][1:]


@pytest.mark.parametrize("name", MODELS)
def test_every_choice_on_every_card_stays_under_the_card_less_the_margin(name):
    facts = facts_of(name)
    known = {(tuple(row["devices_mib"]), tuple(row["args"])): held(theirs(row)) for row in MEASURED[name]}
    for card in CARDS:
        gpus = parse_gpu(card)
        mib = [gpu.capacity // MIB for gpu in gpus]
        ask = Ask(gpus=gpus, engine="llama.cpp", workload=SERVER, margin=FIT_TARGET)
        found = fit([Candidate("Q4_K_M", facts, "m.gguf", 1)], ask)
        assert found.fits, card
        for choice in found.choices:
            words = shlex.split(engine_command(choice))
            assert words[:3] == ["llama-server", "-m", "m.gguf"]
            row = {"args": words[3:], "devices_mib": mib, "server": True}
            used = [d.used for d in run(row, facts, gpus=gpus).devices]
            assert used == [d.used for d in choice.estimate.devices], (card, words)
            assert all(n <= gpu.capacity - FIT_TARGET for n, gpu in zip(used[1:], gpus, strict=True)), (card, words)
            measured = known.get((tuple(mib), tuple(words[3:])))
            if measured is not None:
                assert allocated(choice.estimate) == [measured[f"CUDA{i}"] for i in range(len(mib))], (card, words)


@pytest.mark.parametrize("name", MODELS)
def test_what_was_advised_and_measured_fits_and_is_equal_to_the_byte(name):
    for row in MEASURED[name]:
        assert ours(row, facts_of(name)) == theirs(row), row["case"]
        used = held(theirs(row))
        for i, mib in enumerate(row["devices_mib"]):
            assert used[f"CUDA{i}"] <= mib * MIB - FIT_TARGET, row["case"]


def test_attention_on_the_host_is_held_four_times_over_in_a_pipeline_by_every_layer():
    """Measured: 19,177 MiB of pinned host memory where one layer's copies are 1,100."""
    row = next(r for r in MEASURED["deepseek-v2-lite-nomla"] if "-ts" in r["args"] and "q8_0" in r["args"])
    assert theirs(row)["Host", "compute"] > 18 * GIB
    assert ours(row, facts_of(row["model"]))["Host", "compute"] == theirs(row)["Host", "compute"]


SMALL = (
    "llama-3.2-1b", "qwen3-30b-a3b", "gemma-3-1b", "falcon-h1-7b", "deepseek-v2-lite", "lfm2-1.2b", "gpt-oss-20b",
    "rwkv7-2.9b", "granite-4-h-tiny", "phi-3-mini",
)  # fmt: skip
NAMED = ("rtx4090", "rtx3060", "rtx4060", "gtx1650", "p40", "gb10", "M1 8GB", "M4 Max 36GB", "rx7900xtx", "b580", "t4")


@settings(max_examples=25, deadline=None, phases=[Phase.generate])  # to shrink would take minutes
@given(
    name=st.sampled_from(SMALL),
    spelled=st.lists(
        st.sampled_from(NAMED) | st.integers(1500, 24_000).map(lambda mib: f"{mib}MiB"), min_size=1, max_size=3
    ),
    backend=st.sampled_from([None, *sorted(set(BACKENDS) - {"cpu", "metal"})]),
    margin=st.sampled_from([0, 300 * MIB, FIT_TARGET]),
    asked=st.fixed_dictionaries(
        {"n_seqs": st.sampled_from([None, 1, 3]), "kv": st.sampled_from([None, "q8_0"]),
         "n_ctx": st.sampled_from([None, 777, 20_000])}
    ),
)  # fmt: skip
def test_memory_says_of_every_choice_what_fit_said(sparse_model, *, name, spelled, backend, margin, asked):
    path = str(sparse_model(name))
    gpus = tuple(under(g, backend or g.backend) for text in spelled for g in parse_gpu(text))
    gpus = visible(Placement(gpus=gpus)).gpus  # an integrated one is left alone beside others
    workload = SERVER.replace(n_seqs=asked["n_seqs"], kv_dtype_k=asked["kv"], kv_dtype_v=asked["kv"])
    ask = Ask(gpus=gpus, engine="llama.cpp", workload=workload, margin=margin, n_ctx=asked["n_ctx"])
    for choice in fit([Candidate("Q4_K_M", facts_of(name), path, 1)], ask).choices:
        words = shlex.split(memory_command(choice, spelled, backend=backend))
        answer = json.loads(CliRunner().invoke(memory, [*words[2:], "--json"]).output)
        said = [(d["capacity"], d["used"]) for d in answer["devices"]]
        assert said == [(d.capacity, d.used) for d in choice.estimate.devices], words
        cards = [d for d in answer["devices"] if d["capacity"] is not None]
        assert cards
        assert all(d["fits"] and d["used"] <= d["capacity"] - d["reserve"] - margin for d in cards), words
