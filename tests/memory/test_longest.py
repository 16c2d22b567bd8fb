"""The longest context that fits: it fits, a step more does not, and it is what `fit` says."""

from __future__ import annotations

import pytest

from inspector.checkpoint import open_checkpoint
from inspector.facts import read_facts
from inspector.memory.devices.gpus import parse_gpu
from inspector.memory.engines import engine_of, estimate
from inspector.memory.estimate import Placement, Workload
from inspector.memory.longest import Longest, longest_context


def runner(target, gpu, engine):
    facts = read_facts(open_checkpoint(str(target)))
    placement = engine_of(engine).placed(Placement(gpus=parse_gpu(gpu)))

    def run(n_ctx, **more):
        return estimate(facts, Workload(n_ctx=n_ctx, **more), engine=engine, placement=placement)

    return facts, run


CASES = [
    ("llama-3.2-1b", "2GiB", "llama.cpp", 256),
    ("qwen3-30b-a3b", "20GiB", "llama.cpp", 256),
    ("qwen3-8b.json", "rtx3090", "vllm", 1),
    ("qwen3-8b.json", "rtx3090", "transformers", 1),
]


@pytest.fixture
def target(root, sparse_model):
    def find(name):
        return root / "fixtures" / "configs" / name if name.endswith(".json") else sparse_model(name)

    return find


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("asked", [512, None])
def test_it_fits_and_a_step_more_does_not(target, case, asked):
    name, gpu, engine, step = case
    facts, run = runner(target(name), gpu, engine)
    found = longest_context(facts, run(asked), run)
    assert not found.capped
    assert found.n_ctx % step == 0
    assert (run(found.n_ctx).fits, run(found.n_ctx + step).fits) == (True, False)


def test_it_ends_at_what_the_model_was_trained_for(target):
    facts, run = runner(target("llama-3.2-1b"), "80GiB", "llama.cpp")
    assert longest_context(facts, run(4096), run) == Longest(131072, capped=True)
    assert longest_context(facts, run(131072), run) == Longest(131072, capped=True)
    assert longest_context(facts, run(200_000), run) is None


def test_what_was_asked_beyond_that_is_looked_for_too(target):
    facts, run = runner(target("llama-3-8b"), "8GiB", "llama.cpp")
    found = longest_context(facts, run(100_000), run)
    assert 8192 < found.n_ctx < 100_000
    assert (run(found.n_ctx).fits, run(found.n_ctx + 256).fits) == (True, False)


def test_where_no_context_fits_there_is_none(target):
    facts, run = runner(target("llama-3-8b"), "3GiB", "llama.cpp")
    assert longest_context(facts, run(4096), run) == Longest(None)


def test_nothing_is_said_without_a_device_or_a_known_total(target):
    facts, run = runner(target("llama-3-8b"), "none", "llama.cpp")
    assert longest_context(facts, run(4096), run) is None
    facts, run = runner(target("gemma-3n-e4b.json"), "80GiB", "vllm")
    assert longest_context(facts, run(4096), run) is None
