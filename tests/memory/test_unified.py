"""Memory that device and host share: one pool in estimates and in what `fit` offers; integrated GPUs beside others."""

from __future__ import annotations

import json

import pytest

MODEL = "llama-3-8b"


def ask(run_inspector, *words: str) -> tuple[int, dict]:
    code, out, err = run_inspector([*words, "--json"])
    assert err == ""
    return code, json.loads(out)


@pytest.mark.parametrize("gpu", ["gb10", "M4 Max 36GB", "agx orin", "strix halo"])
@pytest.mark.parametrize("ngl", [0, 20, 33])
def test_what_lies_on_the_host_takes_from_the_same_memory(run_inspector, sparse_model, gpu: str, ngl: int):
    model = str(sparse_model(MODEL))
    code, answer = ask(run_inspector, "memory", model, "--gpu", gpu, "-ngl", str(ngl))
    (device,) = answer["devices"]
    assert (code, device["unified"], device["used"]) == (0, True, answer["total_nbytes"])


def test_a_card_of_its_own_memory_has_the_host_beside_it(run_inspector, sparse_model):
    _, answer = ask(run_inspector, "memory", str(sparse_model(MODEL)), "--gpu", "rtx4090", "-ngl", "20")
    assert [(d["device"], d["backend"], d["unified"]) for d in answer["devices"]] == [
        ("host", None, False), ("RTX 4090", "cuda", False),
    ]  # fmt: skip
    assert sum(d["used"] for d in answer["devices"]) == answer["total_nbytes"]


@pytest.mark.parametrize("header", ["llama-3-8b", "qwen3-30b-a3b"])
def test_fit_offers_nothing_on_the_host_of_one_pool(run_inspector, sparse_model, header: str):
    model = str(sparse_model(header))
    whole = {"llama-3-8b": "M1 8GB", "qwen3-30b-a3b": "M1 16GB"}[header]
    code, answer = ask(run_inspector, "fit", model, "--gpu", whole)
    assert (code, answer["choices"]) == (1, [])
    assert set(answer["lack"]["missing"][0]) == {"device", "nbytes"}
    _, answer = ask(run_inspector, "fit", model, "--gpu", "gb10", "--cache-ram", "0", "-ctxcp", "0")
    assert answer["choices"]
    for choice in answer["choices"]:
        assert choice["level"] == "all"
        (device,) = choice["devices"]
        assert device["used"] == choice["total_nbytes"]
        kept = answer["margin"] + answer["gpus"][0]["reserve"]
        kept += sum(x["peak_nbytes"] for x in choice["lines"] if not x["nbytes"])  # what may grow after load
        assert device["headroom"] == device["capacity"] - device["used"] - kept


def test_what_grows_on_the_host_counts_on_one_pool_and_not_against_metals_limit(run_inspector, sparse_model):
    """The prompt cache may grow to 8 GiB; Metal limits what the GPU maps, not what else a process has."""
    model = str(sparse_model(MODEL))
    for gpu, grown in (("gb10", 8 << 30), ("M4 Max 36GB", 0)):
        found = [ask(run_inspector, "fit", model, "--gpu", gpu, *words)[1] for words in ([], ["--cache-ram", "0"])]
        left = [answer["choices"][0]["devices"][0]["headroom"] for answer in found]
        assert left[1] - left[0] == grown


def test_an_integrated_gpu_is_left_alone_beside_others_unless_it_is_named(run_inspector, sparse_model):
    """llama_prepare_model_devices, src/llama.cpp."""
    model = str(sparse_model(MODEL))
    both = ("memory", model, "--gpu", "gb10", "--gpu", "rtx4090")
    _, answer = ask(run_inspector, *both)
    assert [d["device"] for d in answer["devices"]] == ["host", "RTX 4090"]
    assert any("GB10 is not used" in note for note in answer["notes"])
    _, named = ask(run_inspector, *both, "-dev", "GB10,RTX 4090")
    assert [d["device"] for d in named["devices"]] == ["GB10", "RTX 4090"]
    _, servers = ask(run_inspector, *both, "--backend", "rpc")  # no server is integrated
    assert {"GB10", "RTX 4090"} <= {d["device"] for d in servers["devices"]}


@pytest.mark.parametrize("command", ["memory", "fit"])
def test_a_device_that_llamacpp_does_not_drive_is_an_error_that_says_so(run_inspector, sparse_model, command: str):
    code, out, err = run_inspector([command, str(sparse_model(MODEL)), "--gpu", "gaudi2"])
    assert (code, out) == (2, "")
    assert "no back end for Gaudi" in err
