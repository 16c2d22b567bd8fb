"""A quant named by its tag, in the library as on the command line: of repositories, folders and stores alike."""

from __future__ import annotations

import json

import make_stores
import pytest
from hub_models import QUANTS
from hub_server import HubServer, quick_hub  # noqa: F401 - a fixture

import inspector
from inspector.cli.group import run_command_line
from inspector.errors import NoGguf, NotFound
from inspector.memory.tagged import engine_asked

CARD = "24GiB"


@pytest.fixture
def served(monkeypatch, quick_hub):  # noqa: F811 - in place before the Hub is asked
    """`served(files)`: a Hub of one repository, `org/model`, that this process asks."""
    opened = []

    def serve(files):
        hub = HubServer(files)
        opened.append(hub)
        hub.__enter__()
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
        return hub

    yield serve
    for hub in opened:
        hub.__exit__(None, None, None)


@pytest.fixture
def config(root):
    return {"config.json": (root / "fixtures" / "configs" / "llama-3.2-1b.json").read_bytes()}


@pytest.fixture
def asked(capsys):
    """`asked(*words)`: the JSON answer of a command that succeeds, in this process."""

    def ask(*words):
        code = run_command_line([*words, "--json"])
        out, err = capsys.readouterr()
        assert code == 0, err
        return json.loads(out)

    return ask


def test_a_quant_that_no_file_has_is_what_llama_quantize_would_write(served, config, asked):
    served(config)
    said = asked("memory", "org/model:q4_k_m", "-c", "8192", "--gpu", CARD)
    found = inspector.memory("org/model:q4_k_m", ctx=8192, gpu=CARD)
    assert (
        (found.engine, found.total_nbytes)
        == (said["engine"], said["total_nbytes"])
        == ("llama.cpp", said["total_nbytes"])
    )
    assert [(x.what, x.nbytes) for x in found.lines] == [(x["what"], x["nbytes"]) for x in said["lines"]]
    assert found == inspector.memory("org/model", ctx=8192, gpu=CARD, quant="q4_k_m")


def test_fit_takes_the_tag_as_the_quant_that_is_wanted(served, config, asked):
    served(config)
    said = asked("fit", "org/model:Q4_K_M", "-c", "8192", "--gpu", CARD)
    found = inspector.fit("org/model:Q4_K_M", CARD, n_ctx=8192)
    assert [c.candidate.label for c in found.choices] == ["Q4_K_M"] * len(said["choices"])
    assert [c.estimate.total_nbytes for c in found.choices] == [c["total_nbytes"] for c in said["choices"]]
    assert inspector.fit("org/model", CARD, n_ctx=8192, quants=["Q4_K_M"]).choices == found.choices


def test_what_fit_could_be_given_is_said_to_the_library_as_well(served, config):
    served(config)
    labels = {
        c.candidate.label
        for c in inspector.fit("org/model", "2GiB", engine="llama.cpp", hypothetical=True, most=4).choices
    }
    assert labels
    assert "BF16" not in labels
    assert inspector.fit("org/model", CARD, engine="textbook", quants=["Q8_0"]).choices[0].candidate.label == "Q8_0"


def test_a_file_that_has_the_tag_is_read_and_not_predicted(served, asked):
    served(QUANTS)
    said = asked("memory", "org/model:Q4_0", "-c", "256")
    found = inspector.memory("org/model:Q4_0", ctx=256)
    assert found.total_nbytes == said["total_nbytes"]
    assert "quant" not in found.effective
    assert inspector.inspect("org/model:Q8_0").files[0].name == "m.Q8_0.gguf"
    row = inspector.scan_one("org/model:Q4_0")
    assert (row["target"], row["quant_claimed"], row["error"]) == ("org/model:Q4_0", "Q4_0", None)
    assert row["quant_actual"].startswith("Q4_0")


def test_fit_of_a_tag_that_a_file_has_chooses_of_that_file_alone(served, files):
    tiny = (files / "gguf" / "tiny-llama-q8_0.gguf").read_bytes()
    served({"m.Q8_0.gguf": tiny, "m.Q4_0.gguf": tiny})
    assert {c.candidate.hub for c in inspector.fit("org/model:Q4_0", CARD, n_ctx=256).choices} == {"org/model:Q4_0"}
    assert len({c.candidate.hub for c in inspector.fit("org/model", CARD, n_ctx=256).choices}) == 2


@pytest.mark.parametrize(("target", "engine"), [("org/model:Q9_X", None), ("org/model:Q4_K_M", "vllm")])
def test_no_such_quant_and_no_engine_for_it_are_errors(served, config, target, engine):
    served(config)
    with pytest.raises(NoGguf):
        inspector.memory(target, engine=engine)
    with pytest.raises(NoGguf):
        inspector.fit(target, CARD, engine=engine)
    with pytest.raises(NotFound):
        inspector.inspect(target)
    assert inspector.scan_one(target)["error_kind"] == "source"


def test_the_engine_is_that_of_the_quant_unless_it_is_named():
    assert engine_asked(None, "safetensors", None) == "vllm"
    assert engine_asked(None, "safetensors", "Q4_K_M") == "llama.cpp"
    assert engine_asked("hf", "gguf", "Q4_K_M") == "transformers"


def test_what_a_store_keeps_with_a_model_counts_in_the_library_too(tmp_path, files, asked, monkeypatch):
    gguf = {n: (files / "gguf" / f"{n}.gguf").read_bytes() for n in ("tiny-llama-q8_0", "tiny-llama-lora-f16")}
    store = tmp_path / "models"
    make_stores.ollama_model(
        store, "llama3.2:3b", gguf["tiny-llama-q8_0"], adapter=gguf["tiny-llama-lora-f16"], params={"num_ctx": 64}
    )  # fmt: skip
    monkeypatch.setenv("OLLAMA_MODELS", str(store))

    for more, words in ((dict(), ()), (dict(ctx=512), ("-c", "512"))):
        found, answer = inspector.memory("ollama:llama3.2:3b", **more), asked("memory", "ollama:llama3.2:3b", *words)
        assert (found.total_nbytes, list(found.notes)) == (answer["total_nbytes"], answer["notes"])
    chosen, answer = inspector.fit("ollama:llama3.2:3b", CARD), asked("fit", "ollama:llama3.2:3b", "--gpu", CARD)
    assert [(c.n_ctx, c.estimate.total_nbytes) for c in chosen.choices] == [
        (c["n_ctx"], c["total_nbytes"]) for c in answer["choices"]
    ]
    assert inspector.fit("ollama:llama3.2:3b", CARD, longest=True).choices[0].n_ctx > 64
