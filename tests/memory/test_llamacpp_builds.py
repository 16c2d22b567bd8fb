"""`llama.cpp@BUILD`: what older builds gave for rows of the other fixtures, to the byte, and what is said of builds.

fixtures/llamacpp-builds.jsonl.xz has the figures of every row; a part of them is asked each time, all in the slow test.
"""

from __future__ import annotations

import base64
import gzip
import json
import lzma
from collections import Counter
from pathlib import Path

import cuda_rows
import pytest
from graph_rows import settings_from, workload_of

import inspector
from inspector.architectures.gguf import GGUF_ARCHS
from inspector.architectures.gguf_builds import ARCHS_SINCE, MEASURED, REPLAYED, Span, arch_at
from inspector.checkpoint import Checkpoint
from inspector.errors import InspectorError, WorkloadError
from inspector.facts.gguf import facts_of_gguf, read_facts_gguf
from inspector.formats.gguf import read_gguf
from inspector.memory.engines import engine_of
from inspector.memory.engines.llamacpp.graph.builds import RULES
from inspector.memory.estimate import Gpu, Placement, Workload
from inspector.sources.memory import MemorySource
from inspector.units import GIB, MIB

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
HEADERS = FIXTURES / "llamacpp-headers"


def rows_of(name):
    opener = lzma.open if name.endswith("xz") else gzip.open
    with opener(FIXTURES / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


ASKED = rows_of("llamacpp-builds.jsonl.xz")
ROWS = {name: rows_of(name) for name in sorted({row["fixture"] for row in ASKED})}
BUILDS = sorted({row["build"] for row in ASKED})


def read(data, size, name="m"):
    return read_facts_gguf(Checkpoint(name, "gguf", (read_gguf(MemorySource(data, name=name, size=size)),), {}))


def model(name):
    size = json.loads((HEADERS / f"{name}.json").read_text())["full_size"]
    return read(gzip.decompress((HEADERS / f"{name}.gguf-header.gz").read_bytes()), size, name)


def sums(result, *parts):
    found = Counter()
    for line in result.lines:
        found[line.what] += line.nbytes
    return [None if part in result.unknown else sum(found[what] for what in part.split("+")) for part in parts]


def of_full_size(row, engine, facts):
    s = row["settings"]
    workload = workload_of(s).replace(n_ctx=s["n_ctx"] or None, outputs="last" if s["n_outputs_max"] else "all")
    result = engine.estimate(facts, workload)
    return sums(result, "weights", "kv_cache", "recurrent_state", "compute", "output")


def of_small(settings, engine, facts):
    s = settings_from(settings)
    workload = workload_of(s).replace(n_ctx=s["n_ctx"] or None, outputs="last" if s["n_outputs_max"] else "all")
    return sums(engine.estimate(facts, workload), "weights", "kv_cache+recurrent_state", "compute")


def of_devices(row, engine, facts):
    o = dict(zip(row["args"], [*row["args"][1:], ""], strict=True))
    n = 2 if row["case"].startswith("two") else 1
    workload = Workload(
        n_ctx=int(o["-c"]), n_seqs=int(o.get("-np", 0)) or None, n_ubatch=int(o.get("-ub", 0)) or None,
        kv_dtype_k=o.get("-ctk"), kv_dtype_v=o.get("-ctv"), flash_attn=False if o.get("-fa") == "off" else None,
    )  # fmt: skip
    placement = Placement(
        gpus=tuple(Gpu(f"RPC{i}", 64 * GIB, backend="rpc") for i in range(n)), n_gpu_layers=int(o["-ngl"]),
        tensor_split=tuple(map(float, o["-ts"].split(","))) if "-ts" in o else None,
        n_cpu_moe=int(o.get("-ncmoe", 0)), kv_offload="-nkvo" not in o,
    )  # fmt: skip
    lines = engine.estimate(facts, workload, placement=placement).lines
    compute = {("CPU" if x.device == "host" else x.device): x.nbytes / MIB for x in lines if x.what == "compute"}
    return {device: compute.get(device, 0.0) for device in row["compute_mib"]}


def of_cards(row, engine, facts):
    """Of each device, as tests/cuda_rows.py asks it."""
    lines = cuda_rows.run(row, facts, engine=engine).lines
    compute = Counter()
    for x in lines:
        compute["Host" if x.device == "host" else x.device] += x.nbytes * (x.what == "compute")
    return {device: compute[device] for device in row["devices"]}


ASKS = {"placement.jsonl.gz": of_devices, "cuda.jsonl.gz": of_cards, "llamacpp.jsonl.gz": of_full_size}


def figures(asked, places):
    """(what the build gave, what we say) of these rows of an entry."""
    engine, fixture = engine_of(f"llama.cpp@{asked['build']}"), ROWS[asked["fixture"]]
    for place in places:
        row, theirs = fixture[asked["of"][place]], asked["figures"][place]
        if asked["fixture"] == "llamacpp-synthetic.jsonl.xz":
            given = [(s["settings"], f) for s, f in zip(row["rows"], theirs, strict=True) if f is not None]
            if given:
                facts = engine.loaded(read(base64.b64decode(row["header"]), row["size"]), {})
            for settings, figure in given:
                yield figure, of_small(settings, engine, facts)
        elif theirs is not None:
            facts = engine.loaded(model(row["model"]), {})
            yield theirs, ASKS[asked["fixture"]](row, engine, facts)


def parted(asked, places):
    """What differs: exact, but for MiB that a log prints with two decimals, and for compute that is not known."""
    for theirs, ours in figures(asked, places):
        if isinstance(theirs, dict):
            same = ours == pytest.approx(theirs, rel=0, abs=0.0051)
        else:
            same = all(mine in {None, yours} for mine, yours in zip(ours, theirs, strict=True))
        if not same:
            yield asked["build"], asked["model"], theirs, ours


# Where rules of devices bite: what is held for fusions, sinks on the host, inputs that views read, many inputs.
BITTEN = {(10502, "gemma-3n-e4b", "placement.jsonl.gz")} | {
    (10001, name, "cuda.jsonl.gz") for name in ("qwen3-30b-a3b", "gpt-oss-20b", "mamba-2.8b")
}


def test_a_part_of_the_rows_of_older_builds_to_the_byte():
    """Of a model in five one setting, of the small ones where most rules bite the last, and some models on devices."""
    wrong = []
    for i, asked in enumerate(ASKED):
        n = len(asked["of"])
        if (asked["build"], asked["model"], asked["fixture"]) in BITTEN:
            wrong += parted(asked, range(n))
        elif asked["fixture"] != "llamacpp-synthetic.jsonl.xz" and i % 5 == 0:
            wrong += parted(asked, [i % n])
        elif asked["model"] in {"gemma3", "glm-dsa", "deepseek32", "qwen35moe", "mamba2", "gpt-oss"}:
            wrong += parted(asked, [n - 1])
    assert not wrong


@pytest.mark.slow
def test_every_24th_row_of_older_builds_to_the_byte():
    """All of them: `make remeasure ENGINE=builds`."""
    some = [(asked, range(i % 24, len(asked["of"]), 24)) for i, asked in enumerate(ASKED)]
    assert [x for asked, places in some for x in parted(asked, places)] == []


def test_the_measured_builds_are_those_of_the_fixture_and_the_page():
    page = (FIXTURES.parent / "docs" / "versions.md").read_text(encoding="utf-8")
    assert set(BUILDS) <= set(MEASURED)
    assert all(f"b{build}" in page for build in MEASURED)


GEMMA = "gemma-3-1b"
OLMO = next(row for row in ROWS["llamacpp-synthetic.jsonl.xz"] if row["arch"] == "olmo2")
WORKLOAD = Workload(n_ctx=8192, outputs="last")


@pytest.fixture(scope="module")
def gemma():
    return model(GEMMA)


def at(name, facts, **options):
    return engine_of(name).estimate(engine_of(name).loaded(facts, {}), WORKLOAD, **options)


def test_the_replayed_build_is_what_no_build_means(gemma):
    asked, plain = at(f"llama.cpp@{REPLAYED}", gemma), at("llama.cpp", gemma)
    assert asked.lines == plain.lines
    assert asked.notes == plain.notes
    assert (asked.engine, asked.effective["build"]) == (f"llama.cpp@{REPLAYED}", REPLAYED)
    assert "build" not in plain.effective


@pytest.mark.parametrize("name", ["llama.cpp@9509", "LLAMA.CPP@b9509", "llamacpp@9509", "llama-cpp@B9509"])
def test_a_build_is_named_with_and_without_its_letter(name):
    engine = engine_of(name)
    assert (engine.name, engine.release) == ("llama.cpp@9509", "b9509")


@pytest.mark.parametrize("name", ["llama.cpp@", "llama.cpp@b", "llama.cpp@x1", "llama.cpp@-1", "llama.cpp@9509.5"])
def test_what_is_no_build_is_an_error(name):
    with pytest.raises(InspectorError, match="no build"):
        engine_of(name)


def test_other_engines_are_answered_for_one_release():
    assert engine_of("vllm@0.33.0").name == engine_of("vllm@v0.33.0").name == "vllm"
    with pytest.raises(InspectorError, match=r"one release: 0\.33\.0"):
        engine_of("vllm@0.10.0")


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (7000, "b7000 was not measured: it is older than b9509"),
        (20000, f"b20000 was not measured: it is newer than b{REPLAYED}"),
        (9700, "b9700 was not measured: b9509 and b10001 were"),
    ],
)
def test_a_build_that_was_not_measured_says_so_and_is_modelled(gemma, build, words):
    result = at(f"llama.cpp@{build}", gemma)
    assert words in result.notes[0]
    assert {line.grade for line in result.lines} == {"modelled"}


def test_devices_that_older_builds_were_not_asked_on_are_modelled(gemma):
    cuda = Placement(gpus=(Gpu("CUDA0", 24 * GIB, backend="cuda"),))
    result = at("llama.cpp@9509", gemma, placement=cuda)
    assert {line.grade for line in result.lines if line.what == "compute"} == {"modelled"}
    assert {line.grade for line in result.lines if line.what == "kv_cache"} == {"derived"}
    assert "b9509, with gemma3, was not measured on cuda" in result.notes[0]


def test_devices_that_a_build_was_asked_on_are_not_modelled(gemma):
    cuda = Placement(gpus=(Gpu("CUDA0", 24 * GIB, backend="cuda"),))
    result = at("llama.cpp@10001", gemma, placement=cuda)
    assert {line.grade for line in result.lines if line.what == "compute"} == {"derived"}
    assert not any("not measured" in note for note in result.notes)
    other = at("llama.cpp@10001", read(base64.b64decode(OLMO["header"]), OLMO["size"]), placement=cuda)
    assert {line.grade for line in other.lines if line.what == "compute"} == {"modelled"}
    assert any("with olmo2, was not measured on cuda" in note for note in other.notes)


def test_a_build_beyond_those_that_are_known_is_answered_by_the_nearest(gemma):
    assert [x.nbytes for x in at("llama.cpp@1", gemma).lines] == [x.nbytes for x in at("llama.cpp@9509", gemma).lines]
    assert [x.nbytes for x in at("llama.cpp@99999", gemma).lines] == [x.nbytes for x in at("llama.cpp", gemma).lines]


def test_inputs_for_embeddings_among_tokens_came_late():
    llama = model("llama-3.2-1b")
    before, after = (sums(at(f"llama.cpp@{build}", llama), "compute")[0] for build in (11393, 11401))
    assert after - before == 512 * (2048 * 4 + 4 + 8)  # an embedding, an id and a slot a token of the micro-batch


def test_an_architecture_that_came_later_is_refused_with_the_build_that_has_it():
    metadata = {"general.architecture": "maple", "maple.block_count": 1}
    engine = engine_of("llama.cpp@9509")
    with pytest.raises(WorkloadError, match="b9509 does not know maple") as error:
        engine.estimate(engine.loaded(facts_of_gguf(metadata, ()), {}), WORKLOAD)
    assert f"b{ARCHS_SINCE['maple']} " in str(error.value.hint)


def test_architectures_that_came_later_are_known_here():
    assert set(ARCHS_SINCE) <= set(GGUF_ARCHS)
    assert all(MEASURED[0] < since <= REPLAYED for since in ARCHS_SINCE.values())


def test_rows_of_architectures_end_with_the_replayed_build():
    for name, arch in GGUF_ARCHS.items():
        assert arch_at(name, REPLAYED) == arch == arch_at(name, 0)


def test_a_rule_holds_from_one_build_to_before_another():
    assert [build in Span(10, 20) for build in (9, 10, 19, 20)] == [False, True, True, False]
    assert 1 in Span()
    assert 99999 in Span(5)
    assert all(REPLAYED in span for span in RULES.values())


def window_keys(pattern):
    keys = {"block_count": 8, "embedding_length": 64, "attention.head_count": 4, "attention.sliding_window": 128,
            "context_length": 4096, "attention.sliding_window_pattern": pattern}  # fmt: skip
    return {"general.architecture": "gemma3", **{f"gemma3.{k}": v for k, v in keys.items()}}


@pytest.mark.parametrize(
    ("pattern", "build", "full"),
    [([False] * 4 + [True] * 4, 11040, 4), ([False] * 4 + [True] * 4, 11028, 1), (4, 11028, 2), (4, 11040, 2)],
)
def test_a_list_of_windows_in_the_file_was_passed_over_before(pattern, build, full):
    facts = engine_of(f"llama.cpp@{build}").loaded(facts_of_gguf(window_keys(pattern), ()), {})
    assert sum(layer.window is None for layer in facts.layers) == full


def test_the_library_and_fit_take_a_build_and_keep_it(gemma):
    assert inspector.memory(gemma, engine="llama.cpp@9509", ctx=4096).engine == "llama.cpp@9509"
    found = inspector.fit(gemma, "4GiB", engine="llama.cpp@9509", n_ctx=4096)
    choice = found.choices[0]
    words = engine_of(choice.estimate.engine).memory_words(choice)
    assert choice.estimate.engine == "llama.cpp@9509"
    assert words[:2] == ["-e", "llama.cpp@9509"]
