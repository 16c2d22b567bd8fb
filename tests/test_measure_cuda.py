"""The pure parts of scripts/measure_cuda.py: what becomes of the probe's answer."""

from __future__ import annotations

import importlib.util
import sys

import pytest


@pytest.fixture(scope="module")
def script(root):
    spec = importlib.util.spec_from_file_location("measure_cuda", root / "scripts" / "measure_cuda.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["measure_cuda"] = module
    spec.loader.exec_module(module)
    return module


def test_host_buffers_are_summed_and_devices_kept_apart(script):
    def buffer(name, device, host, compute):
        return {"name": name, "device": device, "host": host, "model": 1, "context": 2, "compute": compute}

    answer = {
        "buffers": [
            buffer("CUDA0", "CUDA0", False, 10), buffer("CUDA_Host", "CUDA0", True, 20), buffer("CPU", "CPU", True, 30),
        ],
        "n_ctx": 512, "n_batch": 512, "n_ubatch": 512, "n_seq_max": 1,
        "log": "offloaded 3/5 layers\nsched copies = 1\nsched copies = 4\noutput buffer size =     0.12 MiB\n",
    }  # fmt: skip
    row = script.as_row("m", script.Case("two", "8.9:24576,6.1:8192", ""), ["-ngl", "3"], answer)
    assert (row["cc"], row["devices_mib"]) == (["8.9", "6.1"], [24576, 8192])
    assert row["devices"]["CUDA0"] == {"model": 1, "context": 2, "compute": 10}
    assert row["devices"]["Host"] == {"model": 2, "context": 4, "compute": 50}
    figures = (row["offloaded"], row["offloadable"], row["sched_copies"], row["output_mib"], row["fa"])
    assert figures == (3, 5, 4, 0.12, "")


def test_a_refusal_is_an_error_and_no_figures(script):
    row = script.as_row("m", script.CASES[0], [], {"error": "the model", "log": "no"})
    assert row["error"] == "the model: no"
    assert "devices" not in row


def test_an_unknown_name_ends_the_script(script):
    with pytest.raises(SystemExit, match="no such case: x"):
        script.chosen(["full"], "full,x", "case")
