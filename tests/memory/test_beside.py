"""What is loaded beside a model, and what grows after: llama-server's own start-up figures."""

from __future__ import annotations

import base64
import gzip
import json
import lzma
from functools import cache
from pathlib import Path

import cuda_rows
import pytest
from graph_rows import read

from inspector.checkpoint import Checkpoint
from inspector.errors import WorkloadError
from inspector.facts.gguf import read_facts_gguf
from inspector.formats.gguf import read_gguf
from inspector.memory.engines import estimate, space_of
from inspector.memory.engines.llamacpp.beside import Beside, Projector
from inspector.memory.engines.llamacpp.drafting import LABEL
from inspector.memory.engines.llamacpp.graph.tower import KINDS
from inspector.memory.estimate import Gpu, Placement, Workload
from inspector.memory.fit.choose import fit
from inspector.memory.fit.records import Ask, Candidate
from inspector.sources.memory import MemorySource
from inspector.units import GIB, MIB

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
NAMES = {"model": "weights", "KV": "kv_cache", "RS": "recurrent_state", "compute": "compute", "output": "output"}
OPTIONS = {
    "-ctkd": "cache_type_k_draft", "-ctvd": "cache_type_v_draft", "--spec-type": "spec_type",
    "--spec-draft-n-max": "spec_draft_n_max",
}  # fmt: skip


@cache
def synthetic():
    with lzma.open(FIXTURES / "llamacpp-synthetic.jsonl.xz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@cache
def facts_of(name):
    if isinstance(name, str):
        return cuda_rows.facts_of(name)
    model = synthetic()[name]
    source = MemorySource(base64.b64decode(model["header"]), name=model["arch"], size=model["size"])
    return read_facts_gguf(Checkpoint(model["arch"], "gguf", (read_gguf(source),), {}))


@cache
def rows():
    with gzip.open(FIXTURES / "beside.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def asked(row):
    """Our estimate for a row's options."""
    options, rest = {}, list(row["args"])
    while rest:
        name = rest.pop(0)
        options[name] = "" if name == "-kvu" else rest.pop(0)
    number = {k: int(options[k]) for k in ("-c", "-np", "-ub") if k in options}
    workload = Workload(
        n_ctx=number["-c"], n_seqs=number.get("-np"), n_ubatch=number.get("-ub"), kv_dtype_k=options.get("-ctk"),
        kv_dtype_v=options.get("-ctv"), kv_unified=True if "-kvu" in options else None,
    )  # fmt: skip
    own = {ours: options[theirs] for theirs, ours in OPTIONS.items() if theirs in options}
    if "spec_draft_n_max" in own:
        own["spec_draft_n_max"] = int(own["spec_draft_n_max"])
    beside = Beside(draft=facts_of(row["draft"])) if row["draft"] else None
    gpus = (Gpu("CUDA0", 80 * GIB, backend="cuda"),) if row["gpu"] else ()
    return estimate(
        facts_of(row["model"]), workload, engine="llama.cpp", placement=Placement(gpus=gpus), server=True,
        beside=beside, **own,
    )  # fmt: skip


def where(name):
    return "CUDA0" if name == "CUDA0" else "host"


def theirs(row):
    """(of the draft, part, device) → MiB, as llama.cpp rounds them."""
    found = {}
    for i, context in enumerate(row["contexts"]):
        parts = {**{k: v.items() for k, v in context.items() if isinstance(v, dict)}, "model": context["models"]}
        for part, sizes in parts.items():
            for device, mib in sizes:
                key = (i > 0, NAMES[part], where(device))
                found[key] = found.get(key, 0) + mib
    return found


def ours(row):
    """The same of our estimate; nothing of parts that are not known."""
    found = {}
    for line in asked(row).lines:
        if line.what != "overhead" and not line.label.endswith(LABEL):  # a server that was asked nothing yet
            key = (line.label.startswith("draft"), line.what, line.device)
            found[key] = found.get(key, 0) + line.nbytes / MIB
    return found


def differs(row):
    """Where our figures are not llama.cpp's own, of those that are claimed."""
    estimated = ours(row)
    # a mapped buffer spans all between its first and its last tensor: on the host it is no sum of them
    mapped = {(False, "weights", "host")} if row["gpu"] and row["model"] in {171, 179} else set()
    silent = {(draft, part) for draft, part, _ in estimated} ^ {(draft, part) for draft, part, _ in theirs(row)}
    unknown = asked(row).unknown
    assert not silent or unknown, (row["model"], silent)
    return {
        key: (estimated.get(key, 0), mib)
        for key, mib in theirs(row).items()
        if key[:2] not in silent and key not in mapped and abs(estimated.get(key, 0) - mib) > 0.011
    }


def test_a_draft_model_has_the_models_context_and_a_cache_of_types_of_its_own():
    measured = [r for r in rows() if r["draft"]]
    assert len(measured) >= 8
    assert not [(r["model"], differs(r)) for r in measured if differs(r)]


@pytest.mark.parametrize("part", ["weights", "kv_cache", "recurrent_state", "output", "compute"])
def test_prediction_layers_have_weights_and_a_cache_of_their_own_and_states_are_kept_for_each_drafted_token(part):
    measured = [r for r in rows() if r["case"] == "mtp" and r["model"] != 168]  # 168: not loaded as MTP
    assert len(measured) == 36
    off = [(r["model"], key, d) for r in measured for key, d in differs(r).items() if key[1] == part]
    assert not off


@pytest.mark.parametrize("name", [170, 172, 176, 177, 178])
def test_the_graph_of_a_prediction_layer_is_known_for_qwen_glm_and_hunyuan(name):
    for row in rows():
        if row["model"] == name:
            assert not asked(row).unknown
            assert (True, "compute", "host") in ours(row)


def test_a_prediction_layer_of_another_model_leaves_the_verdict_open():
    (row,) = [r for r in rows() if r["model"] == 166 and r["gpu"]]
    assert asked(row).unknown == ("the compute of prediction layers",)
    assert asked(row).fits is None


def test_the_draft_cache_is_f16_whatever_the_models_is():
    facts, draft = facts_of("llama-3-8b"), facts_of("llama-3.2-1b")
    workload = Workload(n_ctx=8192, kv_dtype_k="q8_0", kv_dtype_v="q8_0")
    result = estimate(facts, workload, engine="llama.cpp", beside=Beside(draft=draft))
    (line,) = [x for x in result.lines if x.label.startswith("draft") and x.what == "kv_cache"]
    assert line.nbytes == 256 * MIB  # 16 layers x 8,192 cells x 2 x 8 heads x 64 x 2 B


def test_a_type_of_drafting_that_llama_cpp_has_not_is_refused():
    with pytest.raises(WorkloadError, match="draft-tree"):
        estimate(facts_of("llama-3-8b"), Workload(n_ctx=512), engine="llama.cpp", spec_type="draft-tree")


# --- what grows after load


def later(name, **options):
    workload = Workload(n_ctx=32768, n_seqs=options.pop("n_seqs", None))
    result = estimate(facts_of(name), workload, engine="llama.cpp", server=True, **options)
    return {x.label: x.peak_nbytes for x in result.lines if not x.nbytes}, result


def test_checkpoints_hold_the_states_of_recurrent_layers_for_each_slot():
    found, result = later("lfm2-1.2b")
    states = next(x for x in result.lines if x.what == "recurrent_state")
    assert found["context checkpoints"] == 32 * states.nbytes  # of four sequences, 32 times


def test_checkpoints_hold_the_window_of_sliding_layers():
    found, _ = later("gemma-3-1b")
    cell = 12 + 22 * 1024  # position and sequence; 22 layers of K and V, 1 head x 256 x 2 B each
    assert found["context checkpoints"] == 4 * 32 * 512 * cell


def test_slots_that_share_a_context_keep_no_more_windows_than_it_holds():
    facts, shared = facts_of("gemma-2-9b"), Workload(n_ctx=8192)
    result = estimate(facts, shared, engine="llama.cpp", server=True, ctx_checkpoints=1)
    line = next(x for x in result.lines if x.label == "context checkpoints")
    assert line.peak_nbytes == 8192 * (12 + 21 * 8192)  # of 4 x 4,096 tokens of windows; 21 layers of K and V


def test_a_model_that_keeps_every_token_makes_no_checkpoints():
    assert set(later("llama-3-8b")[0]) == {"prompt cache"}


def test_what_grows_after_load_is_in_no_total_and_can_be_turned_off():
    found, result = later("gemma-3-1b", ctx_checkpoints=0, cache_ram=0)
    assert not found
    assert later("gemma-3-1b")[1].total_nbytes == result.total_nbytes


def test_the_prompt_cache_takes_what_it_is_allowed_and_without_a_limit_nobody_knows():
    assert later("llama-3-8b")[0]["prompt cache"] == 8 * GIB
    assert later("llama-3-8b", cache_ram=100)[0]["prompt cache"] == 100 * MIB
    assert "the prompt cache, which --cache-ram -1 does not limit" in later("llama-3-8b", cache_ram=-1)[1].unknown


# --- fit


def eagle3():
    """A small model, and a draft that reads three of its layers."""
    with lzma.open(FIXTURES / "llamacpp-more.jsonl.xz", "rt", encoding="utf-8") as lines:
        row = next(r for r in map(json.loads, lines) if r["arch"] == "eagle3" and r["target"])
    return [read("m.gguf", base64.b64decode(x["header"]), x["size"]) for x in (row["target"], row)]


@pytest.mark.parametrize("asked_for", ["draft", "eagle3", "projector", "mtp", "patterns"])
def test_the_search_adds_up_what_is_beside_the_model_as_the_estimate_does(asked_for):
    beside = {
        "draft": Beside(draft=facts_of("llama-3.2-1b")), "projector": Beside(projector=projector_of(towers()[1])),
    }.get(asked_for)  # fmt: skip
    kind = {"mtp": "draft-mtp", "eagle3": "draft-eagle3"}.get(asked_for)
    own = {"spec_type": kind} if kind else {}
    facts = facts_of(176) if asked_for == "mtp" else facts_of("llama-3-8b")
    if asked_for == "eagle3":
        facts, draft = eagle3()
        beside = Beside(draft=draft)
    gpus = (Gpu("a", 24 * GIB), Gpu("b", 8 * GIB))
    rules = ((r"ffn_(up|down)", "host"), (r"blk\.1\.", "b")) if asked_for == "patterns" else ()
    arguments = {"beside": beside, **own}
    workload = Workload(n_ctx=4096, outputs="last")
    candidate = Candidate("x", facts, "x.gguf", 1)
    space = space_of(candidate, Ask(gpus=gpus, engine="llama.cpp", workload=workload, arguments=arguments), {})
    for layers in (None, 3):
        placement = Placement(gpus=gpus, n_gpu_layers=layers, overrides=rules)
        result = estimate(facts, workload, engine="llama.cpp", placement=placement, server=True, **arguments)
        assert not result.unknown
        assert space.sums.used(workload, placement) == {d.device: d.used for d in result.devices}


def test_host_memory_that_is_not_there_after_load_leaves_less_choice():
    gpus = (Gpu("a", 24 * GIB),)
    for checkpoints, fits in ((32, False), (1, True)):
        arguments = {"ctx_checkpoints": checkpoints, "cache_ram": 0}
        ask = Ask(gpus=gpus, engine="llama.cpp", n_ctx=8192, host=8 * GIB, workload=Workload(outputs="last"),
                  arguments=arguments)  # fmt: skip
        found = fit([Candidate("Q4_K_M", facts_of("gemma-2-9b"), "x.gguf", 1)], ask)
        assert found.fits == fits


# --- projectors


@cache
def towers():
    with gzip.open(FIXTURES / "towers.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def projector_of(tower):
    source = MemorySource(base64.b64decode(tower["header"]), name=tower["name"], size=tower["size"])
    file = read_gguf(source)
    return Projector(file.tensors, file.metadata)


@pytest.mark.parametrize("gpu", [True, False])
def test_a_tower_reserves_what_llama_server_reserves_at_its_warm_up(gpu):
    assert {t["kind"] for t in towers()} == set(KINDS)
    gpus = (Gpu("CUDA0", 80 * GIB, backend="cuda"),) if gpu else ()
    for tower in towers():
        result = estimate(
            facts_of("llama-3.2-1b"), Workload(n_ctx=512), engine="llama.cpp", placement=Placement(gpus=gpus),
            beside=Beside(projector=projector_of(tower)),
        )  # fmt: skip
        found = {
            x.device: round(x.nbytes / MIB, 2) for x in result.lines if x.label == "mmproj" and x.what == "compute"
        }
        assert found == tower["gpu" if gpu else "cpu"], tower["name"]


def test_a_tower_that_is_not_known_leaves_the_verdict_open():
    tower = projector_of(towers()[0])
    other = tower.replace(keys={**tower.keys, "clip.projector_type": "deepseekocr"})
    placement = Placement(gpus=(Gpu("CUDA0", 80 * GIB, backend="cuda"),))
    result = estimate(
        facts_of("llama-3.2-1b"), Workload(n_ctx=512), engine="llama.cpp", placement=placement,
        beside=Beside(projector=other),
    )  # fmt: skip
    assert any("projector" in part for part in result.unknown)
    assert result.fits is None


@pytest.mark.parametrize("value", [0, -1, 1 << 40, "16", True, None])
@pytest.mark.parametrize("key", ["patch_size", "embedding_length", "attention.head_count", "block_count"])
def test_a_tower_with_senseless_numbers_is_not_known(key, value):
    tower = projector_of(towers()[0])
    broken = tower.replace(keys={**tower.keys, f"clip.vision.{key}": value})
    result = estimate(facts_of("llama-3.2-1b"), Workload(n_ctx=512), engine="llama.cpp",
                      beside=Beside(projector=broken))  # fmt: skip
    assert result.unknown or key == "block_count"


def test_a_tower_whose_kernel_is_empty_or_missing_is_not_known():
    tower = projector_of(towers()[0])
    kernel = next(t for t in tower.tensors if t.name == "v.patch_embd.weight")
    others = tuple(t for t in tower.tensors if t is not kernel)
    for tensors in (others, (*others, kernel.replace(shape=(0, 0, 0, 0)))):
        beside = Beside(projector=tower.replace(tensors=tensors))
        result = estimate(facts_of("llama-3.2-1b"), Workload(n_ctx=512), engine="llama.cpp", beside=beside)
        assert any("projector" in part for part in result.unknown)
