"""Engines as objects: one kind of error for options they do not take, and a new engine from a package and a row."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from inspector.errors import InspectorError, WorkloadError
from inspector.facts import ModelFacts
from inspector.layers import KVCache, Layer, Refused
from inspector.memory.engines import ENGINE_NAMES, default_engine, engine_of, engines, estimate
from inspector.memory.engines.protocol import COMMON
from inspector.memory.estimate import Workload
from inspector.units import GIB


def small() -> ModelFacts:
    layers = tuple(Layer(i, "full", (KVCache(2, 64, 64),), 2, 64, 64) for i in range(2))
    return ModelFacts(
        arch="llama", format="safetensors", n_params=1_000_000, n_params_active=None, n_layers=2, d_model=256,
        d_ff=512, n_heads=4, n_kv_heads=2, head_dim_k=64, head_dim_v=64, vocab_size=1000, n_ctx_train=4096,
        layers=layers, origin={}, dtype="bfloat16",
    )  # fmt: skip


MISSPELT = {
    "textbook": ("kv_from", "kv_form"),
    "llama.cpp": ("servr", "server"),
    "vllm": ("block-size", "block_size"),
    "transformers": ("n_prefil", "n_prefill"),
    "sglang": ("mem_fraction", "mem_fraction_static"),
    "mlx": ("kv_bit", "kv_bits"),
}


@pytest.mark.parametrize("engine", ENGINE_NAMES)
def test_a_misspelt_option_is_the_same_error_in_every_engine_wherever_it_was_given(engine):
    wrong, right = MISSPELT[engine]
    seen = []
    for workload, options in [(Workload(), {wrong: 1}), (Workload(options={wrong: 1}), {})]:
        with pytest.raises(WorkloadError) as error:
            estimate(small(), workload, engine=engine, **options)
        seen.append((str(error.value), error.value.hint))
    assert seen == [(f"{engine} has no option {wrong!r}", f"did you mean {right}?")] * 2


@pytest.mark.parametrize("engine", ENGINE_NAMES)
def test_an_option_that_is_like_nothing_is_answered_with_what_there_is(engine):
    with pytest.raises(WorkloadError, match="has no option 'zzzz'") as error:
        estimate(small(), Workload(options={"zzzz": True}), engine=engine)
    assert error.value.hint == "one of " + ", ".join(sorted(o.name for o in engine_of(engine).options))


@pytest.mark.parametrize(
    ("engine", "options"),
    [
        ("textbook", {"overhead": 0, "quant": "Q4_K_M"}),
        ("vllm", {"gpu_memory_utilization": 0.5, "max_num_batched_tokens": 4096, "enforce_eager": True}),
        ("transformers", {"cache": "static", "attn": "eager"}),
        ("llama.cpp", {"server": True, "embeddings": True}),
    ],
)
def test_an_option_means_the_same_as_an_argument_and_among_the_workloads(engine, options):
    one = estimate(small(), Workload(n_ctx=1024), engine=engine, **options)
    other = estimate(small(), Workload(n_ctx=1024, options=options), engine=engine)
    plain = estimate(small(), Workload(n_ctx=1024), engine=engine)
    assert one.lines == other.lines
    assert dict(one.effective) == dict(other.effective)
    assert (one.lines, dict(one.effective)) != (plain.lines, dict(plain.effective))


def test_what_every_engine_takes_is_refused_by_none():
    for engine in ENGINE_NAMES:
        assert estimate(small(), Workload(n_ctx=64, options={"kv_keep": (4, 32), "window": 64}), engine=engine).lines
    assert set(COMMON) == {"kv_keep", "window", "outputs_asked"}


def test_names_aliases_and_formats_lead_to_engines():
    assert (
        [e.name for e in engines()]
        == list(ENGINE_NAMES)
        == ["textbook", "llama.cpp", "vllm", "transformers", "sglang", "mlx"]
    )
    for said, name in [("HF", "transformers"), ("llamacpp", "llama.cpp"), ("llama-cpp", "llama.cpp"), ("vLLM", "vllm")]:
        assert engine_of(said).name == name
    assert (default_engine("gguf"), default_engine("safetensors")) == ("llama.cpp", "vllm")
    with pytest.raises(InspectorError, match="unknown engine 'ollama'"):
        engine_of("ollama")


KINDS = {"flag", "count", "number", "real", "tokens", "nbytes", "share", "choice", "text", "record"}


def test_option_rows_are_whole():
    for engine in engines():
        names = [o.name for o in engine.options]
        assert len(set(names)) == len(names)
        for option in engine.options:
            assert option.kind in KINDS
            assert option.kind != "record" or not option.flags
            assert bool(option.choices) == (option.kind == "choice")
            assert all(flag.startswith("-") for flag in option.flags)
            assert bool(option.help) == bool(option.flags), option  # what can be typed is explained


def test_one_flag_is_one_name_and_kind_in_all_engines():
    seen: dict[str, tuple[str, str, str]] = {}
    for engine in engines():
        for option in engine.options:
            for flag in option.flags:
                assert seen.setdefault(flag, (option.name, option.kind, option.help)) == (
                    option.name,
                    option.kind,
                    option.help,
                )


def test_a_refusal_is_a_fact_not_the_words_of_a_note():
    words = "llama.cpp refuses this file: a key is missing"
    with pytest.raises(WorkloadError, match="a key is missing"):
        estimate(small().replace(notes=(Refused(words),)), Workload(), engine="llama.cpp")
    assert words in estimate(small().replace(notes=(words,)), Workload(), engine="llama.cpp").notes


# --- an engine more

TOY = '''
"""A toy: every parameter is a byte, and every token of every layer takes `token_nbytes`."""

from inspector.memory.engines.protocol import Engine, Option
from inspector.memory.estimate import Device, Estimate, Line


class Toy(Engine):
    name = "toy"
    aliases = ("plaything",)
    release = "7.1"
    rules = __name__
    kv_types = ("f16", "q8_0")
    options = (
        Option("token_nbytes", "count", "Bytes a token; default {default}.", ("--token-bytes",), default=1000),
        Option("doubled", "flag", "Everything twice.", ("--doubled",), argument=True),
    )

    def command(self, choice):
        return ["toy-run", choice.candidate.path, "--context", str(choice.n_ctx)]


ENGINE = Toy()


def estimate(facts, workload, *, placement=None, doubled=False):
    token = (workload.options or {}).get("token_nbytes", 1000)
    times = 2 if doubled else 1
    gpus = placement.gpus if placement else ()
    where = gpus[0].name if gpus else "host"
    lines = (
        Line("weights", times * facts.n_params, "modelled", "a byte each", where),
        Line("kv_cache", times * workload.n_ctx * token, "modelled", "by the token", where),
    )
    used = sum(line.nbytes for line in lines)
    devices = tuple(Device(g.name, g.capacity, used, used <= g.capacity) for g in gpus)
    return Estimate("toy", workload, {"n_ctx": workload.n_ctx}, lines, devices)
'''


@pytest.fixture(scope="module")
def with_toy(tmp_path_factory, root):
    """The program in a copy that has one engine more: its module, and its row in the registry."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(root / "inspector", folder / "inspector", ignore=shutil.ignore_patterns("__pycache__"))
    engines_folder = folder / "inspector" / "memory" / "engines"
    (engines_folder / "toy.py").write_text(TOY)
    registry = engines_folder / "__init__.py"
    row = '        "textbook": "inspector.memory.engines.rows.textbook",\n'
    text = registry.read_text()
    assert text.count(row) == 1
    registry.write_text(text.replace(row, row + '        "toy": "inspector.memory.engines.toy",\n'))

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "120"}
        command = [sys.executable, "-m", "inspector", *words]
        return subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False)

    return run


def test_an_engine_more_is_its_module_and_a_row(with_toy, sparse_model):
    model = str(sparse_model("llama-3.2-1b"))
    assert ["toy", "7.1"] in [line.split() for line in with_toy("engines").stdout.splitlines()]
    said = with_toy("memory", "--help").stdout
    assert "Bytes a token; default 1000. (toy)" in " ".join(said.split())
    assert "textbook, toy, llama.cpp, vllm, transformers, sglang or mlx" in " ".join(said.split())

    words = ("memory", model, "-e", "plaything", "-c", "2000", "--token-bytes", "70", "--doubled", "--json")
    found = json.loads(with_toy(*words).stdout)
    n_params = found["facts"]["n_params"]
    assert n_params > 1_000_000_000
    assert [line["nbytes"] for line in found["lines"]] == [2 * n_params, 2 * 2000 * 70]
    assert found["engine"] == "toy"

    room = 2 * GIB - n_params  # of the 131,072 trained tokens, 32,768 are wanted by default
    token = room // 32768
    answer = with_toy("fit", model, "-e", "toy", "--gpu", "2GiB", "--token-bytes", str(token), "--json")
    best = json.loads(answer.stdout)["choices"][0]
    assert (best["n_ctx"], best["kv_dtype_k"]) == (32768, "f16")
    assert best["command"] == f"toy-run {model} --context 32768"
    assert best["largest_ctx"] == room // token
    again = with_toy(*best["memory_command"].split()[1:], "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["total_nbytes"] == best["total_nbytes"]
    assert f"--token-bytes {token}" in best["memory_command"]

    refused = with_toy("memory", model, "-e", "vllm", "--doubled")
    assert refused.returncode == 2
    assert "--doubled is for toy, not for vllm" in refused.stderr
