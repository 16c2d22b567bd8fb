"""A checkpoint that nobody has converted yet, under llama.cpp, against its conversion by llama.cpp b11434 itself."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from inspector import (
    Placement,
    TensorInfo,
    UnsupportedArchitecture,
    Workload,
    WorkloadError,
    estimate,
    inspect,
    parse_gpu,
    read_facts,
)
from inspector.architectures.hf_config import HfConfig
from inspector.dtypes import DTYPES
from inspector.facts.gguf import facts_of_gguf
from inspector.memory.predicted import as_gguf, converted, plain_type
from inspector.quantization.convert import gguf_tensors_from_hf

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
with gzip.open(FIXTURES / "convert.jsonl.gz", "rt", encoding="utf-8") as _lines:
    ROWS = {row["name"]: row for row in map(json.loads, _lines)}
# The converter stops at a key that the configuration class of transformers 5.24 keeps elsewhere (rotary_pct), so that
# the row lacks what it would have written after it.
CUT_SHORT = {"pythia-6.9b", "x_gptneox"}
PLACES = (Placement(), Placement(gpus=parse_gpu("24GiB")))


def infos(tensors):
    return tuple(TensorInfo(n, tuple(s), DTYPES[d], 0, DTYPES[d].nbytes(s)) for n, s, d in tensors)


def predicted(name):
    k = HfConfig(ROWS[name]["config"])
    return gguf_tensors_from_hf({**k.outer, **k.inner}, infos(ROWS[name]["hf"]), defaults=k.defaults)


def by_the_converter(name):
    """Keys as it writes them; without a vocabulary, whose length the config gives."""
    row = ROWS[name]
    keys = {k: tuple(v) if isinstance(v, list) else v for k, v in row["keys"].items()}
    keys.setdefault(f"{row['arch']}.vocab_size", HfConfig(row["config"]).count("vocab_size"))
    return facts_of_gguf(keys, infos(row["gguf"]))


@pytest.mark.parametrize("name", sorted(ROWS.keys() - CUT_SHORT))
def test_memory_before_conversion_is_that_after_it(name):
    made = predicted(name)
    ours, theirs = facts_of_gguf(made.keys, made.tensors), by_the_converter(name)
    assert ours.layers == theirs.layers
    for placement in PLACES:
        found = [estimate(f, Workload(n_ctx=512), engine="llama.cpp", placement=placement) for f in (ours, theirs)]
        lines = [[(x.what, x.device, x.nbytes) for x in e.lines] for e in found]
        assert lines[0] == lines[1]
        assert found[0].unknown == found[1].unknown


def config(name):
    return read_facts(inspect(str(FIXTURES / "configs" / f"{name}.json")))


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Llama-3-8B-Q4_K_M.gguf as it was published: every byte of its header, all else a hole."""
    path = tmp_path_factory.mktemp("published") / "Llama-3-8B-Q4_K_M.gguf"
    make = [sys.executable, str(FIXTURES.parent / "scripts" / "make_fixtures.py"), "sparse", "llama-3-8b-q4_k_m", path]
    subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
    return read_facts(inspect(str(path)))


@pytest.mark.parametrize("placement", PLACES, ids=["host", "CUDA"])
def test_a_config_alone_gives_the_figures_of_the_published_quant(published, placement):
    workload = Workload(n_ctx=8192)
    real = estimate(published, workload, engine="llama.cpp", placement=placement)
    guess = estimate(config("llama-3-8b"), workload, engine="llama.cpp", placement=placement, quant="Q4_K_M")
    assert [(x.what, x.device, x.nbytes) for x in guess.lines] == [(x.what, x.device, x.nbytes) for x in real.lines]


def test_what_is_predicted_says_so_and_no_line_is_exact():
    result = estimate(config("llama-3-8b"), Workload(n_ctx=512), engine="llama.cpp", quant="q4_k_m")
    assert result.effective["quant"] == "Q4_K_M"
    assert {line.grade for line in result.lines} == {"derived"}
    assert any("no such file yet: Q4_K_M is predicted" in note for note in result.notes)


def test_without_a_quant_it_is_what_the_converter_writes_by_itself():
    result = estimate(config("llama-3-8b"), Workload(n_ctx=512), engine="llama.cpp")
    assert result.effective["quant"] == "BF16"


@pytest.mark.parametrize(
    ("stored", "written"),
    [(("F32", "BF16"), "BF16"), (("F16", "BF16"), "F16"), (("F32",), "F16"), (("F8_E4M3", "BF16"), "BF16")],
)
def test_the_first_16_bit_matrix_decides_what_the_converter_writes(stored, written):
    facts = config("llama-3-8b")
    norm = ("model.norm.weight", (64,), "BF16" if written == "F16" else "F16")  # vectors are passed over
    tensors = infos([norm, *((f"model.layers.{i}.mlp.up_proj.weight", (64, 64), d) for i, d in enumerate(stored))])
    assert plain_type(facts.replace(tensors=tensors)) == written


def test_a_gguf_in_another_quant_is_the_file_that_llama_quantize_would_write(sparse_model):
    facts = read_facts(inspect(str(sparse_model("llama-2-7b-f16"))))
    result = estimate(facts, Workload(n_ctx=512), engine="llama.cpp", quant="Q4_K_M")
    assert result.effective["quant"] == "Q4_K_M"
    weights = next(line for line in result.lines if line.what == "weights")
    # 3.80 GiB: what llama.cpp publishes of Llama-2-7B at Q4_K_M (tools/quantize/README.md)
    assert round(weights.nbytes / 2**30, 2) == 3.8


def test_a_quant_that_needs_an_importance_matrix_says_so():
    notes = estimate(config("qwen3-8b"), Workload(n_ctx=512), engine="llama.cpp", quant="IQ2_XXS").notes
    assert any("importance matrix" in note for note in notes)
    notes = estimate(config("qwen3-8b"), Workload(n_ctx=512), engine="llama.cpp", quant="IQ4_XS").notes
    assert not any("importance matrix" in note for note in notes)


def test_a_model_that_the_converter_does_not_know_is_said_so():
    with pytest.raises(UnsupportedArchitecture, match="converter does not know OPTForCausalLM"):
        estimate(config("opt-6.7b"), Workload(), engine="llama.cpp", quant="Q4_K_M")


def test_a_quant_that_llama_quantize_does_not_have_is_an_error():
    with pytest.raises(WorkloadError, match="no type 'nf4'"):
        estimate(config("llama-3-8b"), Workload(), engine="llama.cpp", quant="nf4")


def test_a_prediction_is_made_once():
    made = as_gguf(config("llama-3-8b"), "Q4_K_M")
    assert as_gguf(made, "Q4_K_M") is made


def test_the_language_model_of_a_nested_config_is_converted():
    """The class that the converter goes by stands outside, the numbers inside (Qwen3-VL, Gemma 3, Qwen3.5, …)."""
    inner = ROWS["tiny_qwen3"]["config"]
    text = {k: v for k, v in inner.items() if k != "architectures"}
    outer = {"architectures": inner["architectures"], "model_type": "some_vlm", "text_config": text}
    flat, nested = (converted(facts_of_config(c))[0] for c in (inner, outer))
    assert nested == flat


def facts_of_config(keys):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps(keys))
        return read_facts(inspect(str(path)))
