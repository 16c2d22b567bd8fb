"""llama.cpp's own figures: 392 rows on 25 models, and 319 synthetic ones of every architecture, byte for byte."""

from __future__ import annotations

import base64
import gzip
import json
import lzma
from pathlib import Path

import pytest
from graph_rows import settings_from, workload_of

from inspector.checkpoint import Checkpoint
from inspector.dtypes import DTYPES
from inspector.errors import InspectorError, WorkloadError
from inspector.facts import ModelFacts
from inspector.facts.gguf import read_facts_gguf
from inspector.formats.gguf import read_gguf
from inspector.formats.modelfile import TensorInfo
from inspector.layers import KVCache, Layer, UnknownCache
from inspector.memory.engines.llamacpp import estimate
from inspector.memory.engines.llamacpp.sizes import effective
from inspector.memory.estimate import Workload
from inspector.sources.memory import MemorySource

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
HEADERS = FIXTURES / "llamacpp-headers"


def read(name, data, size):
    file = read_gguf(MemorySource(data, name=name, size=size))
    return read_facts_gguf(Checkpoint(name, "gguf", (file,), {}))


def facts_of(name):
    size = json.loads((HEADERS / f"{name}.json").read_text())["full_size"]
    return read(name, gzip.decompress((HEADERS / f"{name}.gguf-header.gz").read_bytes()), size)


def measured():
    rows = {}
    with gzip.open(FIXTURES / "llamacpp.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            rows.setdefault(row["model"], []).append(row)
    return rows


def synthetic():
    with lzma.open(FIXTURES / "llamacpp-synthetic.jsonl.xz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


MEASURED, SYNTHETIC = measured(), synthetic()


def workload_from(line):
    return workload_of(settings_from(line))


def total(result, *whats):
    return sum(line.nbytes for line in result.lines if line.what in whats)


@pytest.mark.parametrize("name", sorted(MEASURED))
def test_every_measured_row_byte_for_byte(name):
    facts = facts_of(name)
    for row in MEASURED[name]:
        workload = workload_of(row["settings"])
        if "error" in row:
            with pytest.raises(WorkloadError, match="different K"):
                estimate(facts, workload)
            continue
        result = estimate(facts, workload)
        got = {
            "model_bytes_no_repack": total(result, "weights"),
            "model_bytes": total(estimate(facts, workload, repack="avx512"), "weights"),
            "kv_bytes": total(result, "kv_cache"),
            "rs_bytes": total(result, "recurrent_state"),
            "output_bytes": total(result, "output"),
        }
        assert got == {key: row[key] for key in got}, row["settings"]
        sizes = ("n_ctx", "n_ctx_seq", "n_batch", "n_ubatch", "flash_attn")
        assert {k: result.effective[k] for k in sizes} == {k: row["effective"][k] for k in sizes}


def test_caches_are_split_by_kind_as_the_engine_splits_them():
    labels = {"base": "all tokens", "swa": "sliding window"}
    for row in MEASURED["gemma-2-9b"]:
        lines = estimate(facts_of("gemma-2-9b"), workload_of(row["settings"])).lines
        got = {line.label: line.nbytes for line in lines if line.what == "kv_cache"}
        assert got == {labels[kv["name"]]: kv["bytes"] for kv in row["kv"]}


@pytest.mark.parametrize("model", SYNTHETIC, ids=lambda m: f"{m['arch']}-{m['over'] or m['without'] or ''}"[:60])
def test_every_architecture_as_the_engine_itself_allocates_it(model):
    facts = read(model["arch"], base64.b64decode(model["header"]), model["size"])
    for row in model["rows"]:
        workload = workload_from(row["settings"])
        if "crash" in row:
            continue  # llama.cpp aborts while it builds the graph: nothing to compare with
        if "error" in row:
            with pytest.raises(InspectorError):
                estimate(facts, workload)
            continue
        result = estimate(facts, workload)
        assert total(result, "weights") == row["model"], row["settings"]
        assert total(result, "kv_cache", "recurrent_state") == row["context"], row["settings"]
        sizes = [result.effective[k] for k in ("n_ctx", "n_ctx_seq", "n_batch", "n_ubatch")]
        assert sizes == row["effective"]
        assert set(result.unknown) <= {"compute"}


def test_the_synthetic_models_cover_the_architectures():
    assert len({model["arch"] for model in SYNTHETIC}) >= 145
    assert sum("model" in row for model in SYNTHETIC for row in model["rows"]) >= 1_200


# -- one rule at a time -------------------------------------------------------------------------------------------


def plain(**changes):
    layers = tuple(
        Layer(i, "full", (KVCache(8, 128, 128),), "", 32, 8, head_dim_k=128, head_dim_v=128) for i in range(4)
    )
    facts = ModelFacts(
        arch="llama",
        format="gguf",
        n_params=None,
        n_params_active=None,
        n_layers=4,
        d_model=4096,
        d_ff=None,
        n_heads=32,
        n_kv_heads=8,
        head_dim_k=128,
        head_dim_v=128,
        vocab_size=1000,
        n_ctx_train=8192,
        layers=layers,
        origin={},
    )
    return facts.replace(**changes)


def test_a_context_of_nothing_is_the_trained_one():
    assert effective(plain(), Workload()).n_ctx == 8192
    with pytest.raises(WorkloadError, match="trained for"):
        effective(plain(n_ctx_train=None), Workload())


def test_contexts_round_up_to_256_a_sequence():
    sizes = effective(plain(), Workload(n_ctx=10_000, n_seqs=3))
    assert (sizes.n_ctx_seq, sizes.n_ctx, sizes.n_streams) == (3_584, 10_752, 3)
    shared = effective(plain(), Workload(n_ctx=10_000, n_seqs=3, kv_unified=True))
    assert (shared.n_ctx_seq, shared.n_ctx, shared.n_streams) == (10_240, 10_240, 1)


def test_a_batch_is_cut_to_the_unpadded_context_of_a_causal_model():
    assert effective(plain(), Workload(n_ctx=100)).n_batch == 100
    assert effective(plain(causal=False), Workload(n_ctx=100)).n_batch == 2048


def test_a_server_runs_four_sequences_in_one_cache():
    sizes = effective(plain(), Workload(outputs="last"), server=True)
    assert (sizes.n_seqs, sizes.kv_unified, sizes.n_outputs_max) == (4, True, 4)
    assert effective(plain(), Workload(n_seqs=2), server=True).kv_unified is False


def test_the_line_says_how_it_came_about():
    lines = estimate(plain(), Workload(kv_dtype_k="q8_0", kv_dtype_v="q8_0")).lines
    assert lines[0].how == "4 layers × 8,192 cells × 2,176 B (q8_0)"
    assert lines[0].nbytes == 4 * 8_192 * 2_176
    assert lines[0].grade == "derived"


@pytest.mark.parametrize(
    ("changes", "workload", "says"),
    [
        ({}, Workload(n_seqs=0), "1 to 256"),
        ({}, Workload(n_seqs=257), "1 to 256"),
        ({}, Workload(n_ctx=-5), "beyond what llama.cpp can count"),
        ({}, Workload(n_ctx=1 << 40), "beyond what llama.cpp can count"),
        ({}, Workload(n_batch=0), "are no sizes"),
        ({}, Workload(kv_dtype_k="fp8"), "no cache type 'fp8'"),
        ({}, Workload(kv_dtype_v="q8_0", flash_attn=False), "requires flash attention"),
        ({"arch": "grok"}, Workload(kv_dtype_v="q8_0"), "requires flash attention"),
        ({"arch": "gptj"}, Workload(), "no code for gptj"),
        ({"arch": "gemma4-assistant"}, Workload(), "beside the one it drafts for"),
    ],
)
def test_what_llama_cpp_refuses(changes, workload, says):
    with pytest.raises(WorkloadError, match=says):
        effective(plain(**changes), workload)


@pytest.mark.parametrize(
    ("arch", "names", "alone"),
    [
        ("eagle3", ("token_embd.weight", "output.weight"), True),
        ("eagle3", ("token_embd.weight",), False),  # its output is the parent's
        ("eagle3", ("output.weight",), False),
        ("dflash", ("token_embd.weight",), True),  # the embedding is its output too
        ("dflash", ("output.weight",), False),
        ("gemma4-assistant", ("token_embd.weight", "output.weight"), False),
    ],
)
def test_a_draft_model_runs_alone_with_an_embedding_and_an_output_of_its_own(arch, names, alone):
    facts = plain(arch=arch, tensors=tuple(TensorInfo(n, (64, 64), DTYPES["F16"], 0, 8192) for n in names))
    if alone:
        assert effective(facts, Workload()).n_ctx > 0
    else:
        with pytest.raises(WorkloadError, match="beside the one it drafts for"):
            effective(facts, Workload())


def test_blocks_that_do_not_divide_a_head_are_refused():
    layer = Layer(0, "full", (KVCache(3, 80, 80),), "", 3, 3, head_dim_k=80, head_dim_v=80)
    with pytest.raises(WorkloadError, match="blocks of 32, which do not divide heads of 80"):
        effective(plain(layers=(layer,)), Workload(kv_dtype_k="q8_0"))
    # without flash attention only the row as a whole must come out even
    with pytest.raises(WorkloadError, match=r"llama\.cpp aborts"):
        estimate(plain(layers=(layer,)), Workload(kv_dtype_k="q8_0", flash_attn=False))


def test_v_is_padded_to_the_widest_layer_without_flash_attention():
    wide = Layer(0, "full", (KVCache(8, 128, 128),), "", 8, 8, head_dim_k=128, head_dim_v=128)
    narrow = Layer(1, "full", (KVCache(2, 128, 128),), "", 8, 2, head_dim_k=128, head_dim_v=128)
    facts = plain(layers=(wide, narrow))
    assert total(estimate(facts, Workload(n_ctx=256)), "kv_cache") == 256 * 2 * 128 * (8 + 8 + 2 + 2)
    assert total(estimate(facts, Workload(n_ctx=256, flash_attn=False)), "kv_cache") == 256 * 2 * 128 * (8 + 8 + 2 + 8)


def test_an_unknown_layer_is_unknown_and_not_nothing():
    facts = plain(layers=(Layer(0, "unknown", (UnknownCache("new"),)),))
    result = estimate(facts, Workload())
    assert "kv_cache" in result.unknown
    assert total(result, "kv_cache") == 0
    assert result.grade == "modelled"
    assert result.fits is None


def test_embeddings_widen_the_output_rows():
    result = estimate(plain(), Workload(n_seqs=2, options={"embeddings": True}))
    assert total(result, "output") == 4 * 2 * (1000 + 4096)


def test_an_unknown_instruction_set_is_refused():
    with pytest.raises(WorkloadError, match="sse2"):
        estimate(facts_of("llama-3.2-1b"), Workload(), repack="sse2")
