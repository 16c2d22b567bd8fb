"""What drafting adds with the first request, beside llama.cpp's own figures once it has been asked for."""

from __future__ import annotations

import base64
import gzip
import json
import lzma

import pytest
from graph_rows import FIXTURES, read, settings_from, sizes_of, synthetic, workload_of

from inspector.memory.devices.placement import assign
from inspector.memory.engines import estimate
from inspector.memory.engines.llamacpp.beside import Beside, draft_sizes
from inspector.memory.engines.llamacpp.drafting import LABEL, Read, draft_output_line, output_line, read_by_draft
from inspector.memory.engines.llamacpp.graph import HOST, compute_buffers
from inspector.memory.engines.llamacpp.sizes import effective
from inspector.memory.engines.llamacpp.speculation import Speculation
from inspector.memory.estimate import Gpu, Placement, Workload
from inspector.units import GIB

SMALL = synthetic()


def rows(name):
    opener = gzip.open if name.endswith("gz") else open
    with opener(FIXTURES / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def facts_of(model):
    if isinstance(model, int):
        return read("m.gguf", base64.b64decode(SMALL[model]["header"]), SMALL[model]["size"])
    folder = FIXTURES / "llamacpp-headers"
    size = json.loads((folder / f"{model}.json").read_text())["full_size"]
    return read("m.gguf", gzip.decompress((folder / f"{model}.gguf-header.gz").read_bytes()), size)


def kept_by(row):
    words = row["kept"].split(",")
    return {"kept": tuple(int(x) for x in words if x != "all"), "keeps_states": "all" in words}


def drafts():
    """Of models that are drafts beside a target, by their places: the architecture and both."""
    with lzma.open(FIXTURES / "llamacpp-more.jsonl.xz", "rt", encoding="utf-8") as lines:
        found = {i: row for i, row in enumerate(map(json.loads, lines)) if row["target"]}
    return {
        i: (row["arch"], *(read("m.gguf", base64.b64decode(x["header"]), x["size"]) for x in (row, row["target"])))
        for i, row in found.items()
    }


DRAFTED = drafts()
DRAFTS = list(DRAFTED.values())


def lines_of(facts, workload=None, *, gpus=(), ngl=None, draft=None, **options):
    result = estimate(
        facts, workload or Workload(n_ctx=4096), engine="llama.cpp", server=True,
        placement=Placement(gpus=gpus, n_gpu_layers=ngl), beside=Beside(draft=draft), **options,
    )  # fmt: skip
    return result, {(x.what, x.device, x.label): x.nbytes for x in result.lines if x.label.endswith(LABEL)}


@pytest.mark.parametrize("row", rows("drafting.jsonl.gz"), ids=lambda r: f"{r['model']}-{r['kept']}-{r['settings']}")
def test_what_a_draft_reads_is_held_to_the_end_of_the_graph(row):
    facts, settings, kept = facts_of(row["model"]), settings_from(row["settings"]), kept_by(row)
    found = compute_buffers(facts, {**sizes_of(facts, settings), **kept})
    assert found is not None
    assert found == ({HOST: row["compute"]}, "derived")


@pytest.mark.parametrize("row", rows("cuda-drafting.jsonl.gz"), ids=lambda r: f"{r['model']}-{r['kept']}-{r['args']}")
def test_and_so_on_cuda(row):
    facts, words = facts_of(row["model"]), dict(zip(row["args"][::2], [*row["args"][1::2], ""], strict=False))
    gpus = tuple(Gpu(name="c", capacity=n << 20, backend="cuda") for n in row["devices_mib"])
    workload = Workload(
        n_ctx=int(words["-c"]), n_ubatch=int(words["-ub"]), n_seqs=int(words["-np"]), kv_unified=words["-np"] == "4",
        flash_attn=words["-fa"] == "on", outputs="last",
    )  # fmt: skip
    placement = Placement(gpus=gpus, n_gpu_layers=int(words["-ngl"]))
    assignment = assign(placement, len(facts.layers) + len(facts.nextn_layers))
    found = compute_buffers(facts, {**effective(facts, workload).as_effective(), **kept_by(row)}, assignment)
    assert found is not None
    theirs = [row["devices"][f"CUDA{i}"]["compute"] for i in range(len(gpus))]
    assert [*(found[0].get(d, 0) for d in assignment.devices), found[0][HOST]] == [
        *theirs,
        row["devices"]["Host"]["compute"],
    ]


@pytest.mark.parametrize("row", rows("drafting.jsonl.gz"), ids=lambda r: f"{r['model']}-{r['kept']}-{r['settings']}")
def test_the_host_holds_a_row_of_what_is_read_for_each_token_of_a_batch(row):
    facts, kept = facts_of(row["model"]), kept_by(row)
    sizes = effective(facts, workload_of(settings_from(row["settings"])))
    read = Read(kept["kept"], kept["keeps_states"])
    assert [x.nbytes for x in output_line(facts, sizes, read, n_rows=sizes.n_seqs)] == [row["output"]]


@pytest.mark.parametrize("row", rows("draft-outputs.jsonl"), ids=lambda r: f"{r['model']}-{r['settings']}")
def test_a_draft_holds_on_the_host_what_it_reports_and_what_its_sampler_needs(row):
    arch, draft, target = DRAFTED[row["model"]]
    kind = {"eagle3": "draft-eagle3", "gemma4-assistant": "draft-mtp"}.get(arch, "draft-dflash")
    speculation = Speculation(types=(kind,))
    sizes = draft_sizes(draft, effective(target, workload_of(settings_from(row["settings"]))), speculation)
    names = frozenset(t.name for t in draft.tensors)
    sampled = speculation.sampled(arch, names)
    assert sampled == row["sampled"]
    selects = "selector_hidden.weight" in names
    (line,) = draft_output_line(draft, sizes, speculation, sampled=sampled > 0, selects=selects)
    assert row["output"] == [4 * sizes.n_seqs * draft.vocab_size, row["output"][0] + line.nbytes]


@pytest.mark.parametrize(("arch", "draft", "target"), [x for x in DRAFTS if x[0] != "gemma4-assistant"])
def test_a_draft_that_reads_layers_adds_them_on_the_host_and_where_the_model_computes(arch, draft, target):
    kind = "draft-dspark" if any("markov" in t.name for t in draft.tensors) else f"draft-{arch}"
    result, found = lines_of(target, draft=draft, gpus=(Gpu("a", 24 * GIB),), ngl=99, spec_type=kind)
    logits = 4 * 3 * target.vocab_size  # of three drafted tokens in each of four sequences
    assert found["output", HOST, LABEL] == 4 * (logits + 2048 * 3 * target.d_model)
    plain = {x.device: x.nbytes for x in result.lines if x.what == "compute" and not x.label}
    after = compute_buffers(
        target,
        {**result.effective, "kept": (1, 2, 3)},
        assign(Placement(gpus=(Gpu("a", 24 * GIB),), n_gpu_layers=99), 4),
    )
    assert after is not None
    grown = {d: n - plain[d] for d, n in after[0].items() if n > plain[d]}
    assert {d: n for (what, d, label), n in found.items() if (what, label) == ("compute", LABEL)} == grown
    assert not result.unknown


def test_an_encoder_of_eagle3_reports_each_token_with_what_its_sampler_needs():
    _, draft, target = next(x for x in DRAFTS if x[0] == "eagle3")
    _, found = lines_of(target, draft=draft, spec_type="draft-eagle3")
    vocab = draft.vocab_size
    # of 512 tokens: logits, states; the sampler's logits, probabilities, candidates and token; 4 rows were there before
    assert found["output", HOST, f"draft {LABEL}"] == 4 * (512 * (vocab + draft.d_model + 3 * vocab + 1) - 4 * vocab)


@pytest.mark.parametrize("model", [172, 176])
def test_prediction_layers_read_the_states_of_every_token(model):
    facts = facts_of(model)
    _, found = lines_of(facts, spec_type="draft-mtp")
    assert found["output", HOST, LABEL] == 4 * (12 * facts.vocab_size + 2048 * facts.d_model)
    assert found["output", HOST, f"draft {LABEL}"] == 4 * (
        4 * (4 * facts.vocab_size + facts.d_model + 1) - 4 * facts.vocab_size
    )
    assert not any(what == "compute" for what, _, _ in found)


def test_an_assistant_of_gemma_reads_the_states_after_the_last_layer_alone():
    for _, draft, target in [x for x in DRAFTS if x[0] == "gemma4-assistant"]:
        _, found = lines_of(target, draft=draft, spec_type="draft-mtp")
        assert found["output", HOST, LABEL] == 4 * (12 * target.vocab_size + 2048 * target.d_model)
        assert not any(what == "compute" for what, _, _ in found)


def test_tokens_that_are_looked_up_are_checked_as_many_at_a_time():
    facts = facts_of("llama-3.2-1b")
    _, found = lines_of(facts, spec_type="ngram-simple")
    assert found == {("output", HOST, LABEL): 4 * 4 * 48 * facts.vocab_size}
    assert lines_of(facts)[1] == {}


def test_a_model_whose_graph_hands_nothing_over_is_not_said_to_fit():
    _, draft, _ = next(x for x in DRAFTS if x[0] == "eagle3")
    draft = draft.replace(keys={**draft.keys, "eagle3.target_hidden_size": 2304})
    result, _ = lines_of(facts_of("gemma-2-9b"), draft=draft, gpus=(Gpu("a", 80 * GIB),), spec_type="draft-eagle3")
    assert any("hidden states" in part for part in result.unknown)
    assert result.fits is not True


def test_a_draft_that_does_not_say_what_it_reads_is_not_known():
    _, draft, target = next(x for x in DRAFTS if x[0] == "eagle3")
    for listed in (None, "1,2,3", (1, 2, 99)):
        broken = draft.replace(keys={**draft.keys, "eagle3.target_layers": listed})
        result, _ = lines_of(target, draft=broken, spec_type="draft-eagle3")
        assert "the layers that the draft reads" in result.unknown


def test_what_comes_out_of_the_last_layer_is_named_by_few_graphs_and_read_otherwise_by_eagle3():
    for arch, kind in (("dflash", "draft-dflash"), ("eagle3", "draft-eagle3")):
        _, draft, target = next(x for x in DRAFTS if x[0] == arch and (arch == "eagle3" or x[2].arch == "llama"))
        assert target.n_layers == 4
        last = draft.replace(keys={**draft.keys, f"{arch}.target_layers": (1, 2, 4)})
        unknown = lines_of(target, draft=last, spec_type=kind)[0].unknown
        assert bool(unknown) == (arch == "dflash")
    mimo = next(i for i, row in enumerate(SMALL) if row["arch"] == "mimo2")
    facts = facts_of(mimo)
    read_last = read_by_draft(facts, last.replace(arch="dflash", keys={"dflash.target_layers": (1, facts.n_layers)}),
                              Speculation(types=("draft-dflash",)))  # fmt: skip
    assert read_last == Read((1, facts.n_layers))
