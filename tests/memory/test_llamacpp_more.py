"""llama.cpp's own figures for optional tensors of small models, and for drafts beside the models they draft for."""

from __future__ import annotations

import base64
import gzip
import json
import lzma
from pathlib import Path

import pytest

from inspector.checkpoint import Checkpoint
from inspector.errors import WorkloadError
from inspector.facts.gguf import read_facts_gguf
from inspector.formats.gguf import read_gguf
from inspector.memory.engines import estimate
from inspector.memory.engines.llamacpp.beside import Beside, draft_sizes
from inspector.memory.engines.llamacpp.graph import HOST, compute_buffers
from inspector.memory.engines.llamacpp.sizes import WITH_ENCODER, effective
from inspector.memory.engines.llamacpp.speculation import Speculation
from inspector.memory.engines.llamacpp.target import Target
from inspector.memory.estimate import Gpu, Placement, Workload
from inspector.sources.memory import MemorySource
from inspector.units import MIB

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
PARTS = {"weights": "model", "kv_cache": "context", "compute": "compute"}


def models():
    with lzma.open(FIXTURES / "llamacpp-more.jsonl.xz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


MODELS = models()


def facts_of(row):
    source = MemorySource(base64.b64decode(row["header"]), name="model", size=row["size"])
    return read_facts_gguf(Checkpoint("model", "gguf", (read_gguf(source),), {}))


def workload(row, types=None):
    """What a row asks for; `types`: of keys and values, where they are not the row's own."""
    n_ctx, n_seqs, unified, n_batch, n_ubatch, k, v, flash, full, _ = row["settings"].split()
    k, v = types or (k, v)
    return Workload(
        n_ctx=int(n_ctx), n_seqs=int(n_seqs), n_batch=int(n_batch), n_ubatch=int(n_ubatch), kv_dtype_k=k, kv_dtype_v=v,
        flash_attn={"on": True, "off": False, "auto": None}[flash], kv_unified=unified == "1", swa_full=full == "1",
    )  # fmt: skip


def limited(found, row):
    """As many rows of logits as the row allows; an encoder's are not limited."""
    rows = int(row["settings"].split()[-1])
    return {**found, "n_outputs_max": rows or found["n_batch"]}


def alone(facts, row):
    """The compute buffers of a model by itself."""
    found = effective(facts, workload(row)).as_effective()
    return compute_buffers(facts, found if facts.arch in WITH_ENCODER else limited(found, row))


def beside_target(draft, target, row):
    """The compute buffers of a draft in a context beside its target's."""
    asked = workload(row)
    main = effective(target, workload(row, row["types"]))
    own = draft_sizes(draft, main, Speculation(type_k=asked.kv_dtype_k, type_v=asked.kv_dtype_v)).as_effective()
    found = own if draft.arch in WITH_ENCODER else limited(own, row)
    more = {"target": Target(target, main.as_effective()), "sampled": row["sampled"]}
    return compute_buffers(draft, found | more)


def name(model):
    return f"{model['arch']}: {model['what']}"


@pytest.mark.parametrize("model", [m for m in MODELS if not m["target"]], ids=name)
def test_figures_are_the_engines_own_to_the_byte(model):
    facts = facts_of(model)
    for row in model["rows"]:
        if "error" in row:
            with pytest.raises(WorkloadError, match="only beside"):
                alone(facts, row)
            continue
        assert alone(facts, row) == ({HOST: row["compute"]}, "derived"), row["settings"]


@pytest.mark.parametrize("model", [m for m in MODELS if m["target"]], ids=name)
def test_a_draft_reads_what_its_target_has_wherever_it_lacks_it(model):
    draft, target = facts_of(model), facts_of(model["target"])
    for row in model["rows"]:
        assert beside_target(draft, target, row) == ({HOST: row["compute"]}, "derived"), row["settings"]


@pytest.mark.parametrize("model", [m for m in MODELS if m["target"]], ids=name)
def test_an_estimate_adds_a_drafts_weights_cache_and_compute_to_its_targets(model):
    draft, target, row = facts_of(model), facts_of(model["target"]), model["rows"][1]
    own = workload(row)
    types = {"cache_type_k_draft": own.kv_dtype_k, "cache_type_v_draft": own.kv_dtype_v, "spec_type": "none"}
    main = workload(row, row["types"])
    result = estimate(target, main, engine="llama.cpp", server=True, beside=Beside(draft=draft), **types)
    found = dict.fromkeys(PARTS.values(), 0)
    for line in result.lines:
        if line.label.startswith("draft") and line.what in PARTS:
            found[PARTS[line.what]] += line.nbytes
    assert not result.unknown
    if row["sampled"] or draft.arch not in WITH_ENCODER:  # the row's graph is not the one of this estimate
        del found["compute"]
    assert found == {k: row[k] for k in found}


def test_drafts_pick_tokens_in_their_own_graph_where_their_type_is_used():
    (model,) = [m for m in MODELS if m["arch"] == "eagle3" and m["what"] == "nothing of its own"]
    draft, target = facts_of(model), facts_of(model["target"])
    row = next(r for r in model["rows"] if r["sampled"] == 1)
    own = workload(row)

    def compute(kind):
        types = {"cache_type_k_draft": own.kv_dtype_k, "cache_type_v_draft": own.kv_dtype_v, "spec_type": kind}
        main = workload(row, row["types"])
        result = estimate(target, main, engine="llama.cpp", server=True, beside=Beside(draft=draft), **types)
        return sum(x.nbytes for x in result.lines if x.label == "draft" and x.what == "compute")

    assert compute("none") < compute("draft-eagle3") == row["compute"]


def test_a_file_of_prediction_layers_alone_stores_nothing_and_is_loaded_whole():
    model = next(m for m in MODELS if m["arch"] == "gemma4-assistant" and m["target"])
    facts = facts_of(model)
    assert (facts.n_layers, facts.n_layers_nextn) == (0, 4)
    assert [x.kind for x in facts.nextn_layers] == ["shared"] * 4
    assert {row["context"] for row in model["rows"]} == {0}


def cuda_rows():
    with gzip.open(FIXTURES / "cuda-more.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def planned(model, row):
    """(device, part) → bytes of our estimate: of the model, or of the draft beside its target."""
    options = dict(zip(row["args"][::2], row["args"][1::2], strict=True))
    split = tuple(map(float, options["-ts"].split(","))) if "-ts" in options else None
    beside = bool(model["target"])
    asked = Workload(
        n_ctx=int(options["-c"]), n_seqs=int(options["-np"]) if "-np" in options else None,
        n_ubatch=int(options.get("-ub", 512)), kv_dtype_k=options.get("-ctk"), kv_dtype_v=options.get("-ctv"),
        outputs="last" if beside else "all",
    )  # fmt: skip
    cards = tuple(Gpu(f"CUDA{i}", mib * MIB, backend="cuda") for i, mib in enumerate(row["devices_mib"]))
    placement = Placement(gpus=cards, n_gpu_layers=int(options["-ngl"]), tensor_split=split)
    more = {
        "beside": Beside(draft=facts_of(model)), "spec_type": "none", "cache_type_k_draft": options.get("-ctkd"),
        "cache_type_v_draft": options.get("-ctvd"),
    } if beside else {}  # fmt: skip
    main = facts_of(model["target"] if beside else model)
    result = estimate(main, asked, engine="llama.cpp", placement=placement, server=beside, **more)
    found = {}
    for line in result.lines:
        if line.what in PARTS and line.label.startswith("draft") == beside:
            key = ("Host" if line.device == HOST else line.device, PARTS[line.what])
            found[key] = found.get(key, 0) + line.nbytes
    return found


@pytest.mark.parametrize("at", range(len(MODELS)), ids=lambda at: name(MODELS[at]))
def test_devices_hold_what_cudas_host_code_puts_there(at):
    for row in cuda_rows():
        if row["model"] == at:
            theirs = {(d, part): n for d, parts in row["devices"].items() for part, n in parts.items() if n}
            assert planned(MODELS[at], row) == theirs, row["args"]
