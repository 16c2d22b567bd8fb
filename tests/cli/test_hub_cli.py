"""The command line against a Hub: tables, sizes, exit codes, one-line errors, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from hub_models import QUANTS, REPOSITORIES, shards, write
from hub_server import SHA, TOKEN, HubServer


@pytest.fixture
def command(run_inspector):
    def run(hub, *args, **env):
        return run_inspector(args, env={"HF_ENDPOINT": hub.endpoint, **env})

    return run


def test_a_repository_id_works_like_a_folder(command, tmp_path, run_inspector):
    files = REPOSITORIES["shards"]
    code, out, err = run_inspector(["show", write(tmp_path, files), "--json"])
    local = json.loads(out)
    with HubServer(files) as hub:
        code, out, err = command(hub, "show", "org/model", "--json")
    remote = json.loads(out)
    assert (code, err) == (0, "")
    assert remote.pop("revision") == SHA
    assert all(len(entry.pop("sha256")) == 64 for entry in remote["files"])
    assert remote.pop("target") == "org/model"
    assert remote == {k: v for k, v in local.items() if k != "target"}


def test_a_repository_without_a_gguf_is_answered_as_llama_cpp_would_run_it(command, root):
    """Of a config alone: weights, cache and compute in the quant that was asked for."""
    config = (root / "fixtures" / "configs" / "qwen3-8b.json").read_bytes()
    with HubServer({"config.json": config}) as hub:
        words = ("--quant", "Q4_K_M", "-c", "8192", "-e", "llama.cpp", "--gpu", "rtx4090", "--json")
        code, out, err = command(hub, "memory", "org/model", *words)
        assert (code, err) == (0, "")
        answer = json.loads(out)
        assert (answer["effective"]["quant"], answer["unknown"]) == ("Q4_K_M", [])
        assert {line["grade"] for line in answer["lines"] if line["what"] != "overhead"} == {"derived"}
        code, out, err = command(hub, "fit", "org/model", *words)
        assert (code, err) == (0, "")
        choice = json.loads(out)["choices"][0]
    weights = sum(line["nbytes"] for line in answer["lines"] if line["what"] == "weights")
    assert round(weights / 1e9, 2) in {
        5.02,
        5.03,
    }  # Qwen3-8B-Q4_K_M.gguf is published with 5.03 GB, its header included
    assert choice["convert_command"].startswith("convert_hf_to_gguf.py --remote org/model --outtype bf16 ")
    assert choice["memory_command"].startswith("inspector memory org/model -e llama.cpp ")


@pytest.mark.parametrize("where", ["hub", "folder"])
def test_several_quants_are_one_table(command, tmp_path, where):
    with HubServer(QUANTS) as hub:
        target = "org/model" if where == "hub" else str(write(tmp_path, QUANTS))
        code, out, err = command(hub, "show", target)
        assert (code, err) == (0, "")
        for name, bits in (("Q4_0", "4.50"), ("Q8_0", "8.50"), ("F16", "16.00"), ("F32", "32.00")):
            assert any(line.split()[:1] == [name] and line.endswith(bits) for line in out.splitlines())
        assert f"{len(QUANTS['m.Q4_0.gguf']):,}" in out
        code, out, err = command(hub, "memory", target, "-c", "512", "--gpu", "24GiB", "--gpu", "2x12GiB", "--json")
        body = json.loads(out)
        assert body["schema"] == "inspector.repo/1"
        row = next(m for m in body["models"] if m["quant"] == "Q4_0")
        assert (row["nbytes"], row["n_ctx"], set(row["fits"])) == (
            len(QUANTS["m.Q4_0.gguf"]),
            512,
            {"24GiB", "2x12GiB"},
        )
        code, out, err = command(hub, "memory", str(target) + ":Q4_0", "-c", "512", "--json")
        lines = json.loads(out)["lines"]
        assert row["kv_nbytes"] == sum(x["nbytes"] for x in lines if x["what"] == "kv_cache")
        assert row["kv_nbytes"] == 512 * 2 * 64 * 2, "tokens × (K and V) × width × two bytes"


@pytest.mark.parametrize("where", ["hub", "folder"])
def test_a_pipeline_shows_its_components_and_their_sum(command, tmp_path, where):
    files = REPOSITORIES["diffusers"]
    with HubServer(files) as hub:
        code, out, err = command(hub, "show", "org/model" if where == "hub" else str(write(tmp_path, files)))
    assert (code, err) == (0, "")
    words = [line.split() for line in out.splitlines()]
    assert ["unet", "1", "3", "12.29", "K", "24,576", "24.00", "KiB"] in words
    assert ["sum", "3", "6", "24.58", "K", "49,152", "48.00", "KiB"] in words


@pytest.mark.parametrize("args", [("show", "org/model:Q4_0"), ("memory", "org/model:Q4_0"), ("show", "org/model")])
def test_a_gated_repository_shows_sizes_and_fails(command, args):
    with HubServer(QUANTS, gated=True) as hub:
        code, out, err = command(hub, *args)
        assert code == 2
        assert f"{len(QUANTS['m.Q8_0.gguf']):,}" in out
        assert err.startswith("error: ")
        assert "gated" in err
        assert f"{hub.endpoint}/org/model" in err
        assert len(err.splitlines()) == 2
        assert command(hub, *args, HF_TOKEN=TOKEN)[0] == 0
        assert hub.leaks == []


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("org/other",), "no such repository"),
        (("org/model@v9",), "no such revision"),
        (("org/model/x.gguf",), "no file x.gguf"),
        (("org/model:Q2_K",), "Q2_K"),
        (("hf://org/model/m.Q4_0.gguf@",), ""),
        (("audit", "org/other"), "no such repository"),
        (("tensors", "org/model"), "5 models"),
    ],
)
def test_errors_are_one_line_and_a_hint(command, args, words):
    with HubServer(QUANTS) as hub:
        code, out, err = command(hub, *args)
        assert (code, out) == (2, "")
        lines = err.splitlines()
        assert lines[0].startswith("error: ")
        assert words in lines[0]
        assert len(lines) <= 2
        assert "Traceback" not in err


def test_nobody_at_the_endpoint_is_one_line(run_inspector):
    code, out, err = run_inspector(["org/model"])
    assert (code, out) == (2, "")
    assert err.startswith("error: org/model: ")
    assert len(err.splitlines()) == 2


def test_offline_is_one_line(command):
    with HubServer(QUANTS) as hub:
        code, out, err = command(hub, "org/model", HF_HUB_OFFLINE="1")
        assert (code, out, hub.n_requests) == (2, "", 0)
        assert "HF_HUB_OFFLINE" in err


def test_a_local_path_wins(run_inspector, tmp_path):
    write(tmp_path, {"org/model/model.gguf": QUANTS["m.Q4_0.gguf"]})
    with HubServer(QUANTS) as hub:
        code, *_ = run_inspector(["org/model"], env={"HF_ENDPOINT": hub.endpoint}, cwd=tmp_path)
        assert (code, hub.n_requests) == (0, 0)


def test_a_repository_is_audited_by_ranges(command):
    files = {k: v for k, v in shards(3, 2).items() if "00002" not in k}
    with HubServer(files) as hub:
        code, out, _ = command(hub, "audit", "org/model", "--json")
        body = json.loads(out)
        assert (code, body["verdict"]) == (1, "fail")
        assert any("00002" in f["message"] + f["where"] for f in body["findings"])
        assert command(hub, "audit", "org/model", "--deep")[0] == 2
    with HubServer(shards(3, 2)) as hub:
        assert command(hub, "audit", "org/model")[0] == 0


@pytest.mark.parametrize(("prompt", "n_requests"), [((), 3), (("model-00005-of-00008.safetensors",), 10)])
def test_an_interrupt_ends_it_at_once_and_leaves_nothing(tmp_path, prompt, n_requests):
    """While the first shard, read alone, does not come, and while all the others, read side by side, do not."""
    faults = {name: ["stall:20"] * 9 for name in shards(8, 2) if name.endswith(".safetensors") and name not in prompt}
    with HubServer(shards(8, 2), faults=faults) as hub:
        env = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf"), "HOME": str(tmp_path)}
        child = subprocess.Popen(
            [sys.executable, "-m", "inspector", "org/model"], env=env, cwd=tmp_path, stderr=subprocess.PIPE, text=True,
            # a background job starts with interrupts ignored, and its children with it
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )  # fmt: skip
        deadline = time.monotonic() + 20
        while hub.n_requests < n_requests and time.monotonic() < deadline:
            time.sleep(0.05)
        assert hub.n_requests >= n_requests
        start = time.monotonic()
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=20)
        assert time.monotonic() - start < 3
        assert child.returncode == 130
        assert "Traceback" not in err
        assert list(tmp_path.iterdir()) == []


def test_progress_is_shown_on_a_terminal_after_a_second():
    with HubServer(shards(3, 2), delay=0.5) as hub:
        import pty

        ours, theirs = pty.openpty()
        env = os.environ | {"HF_ENDPOINT": hub.endpoint, "TERM": "xterm"}
        subprocess.run(
            [sys.executable, "-m", "inspector", "org/model"], env=env, stdout=subprocess.PIPE, stderr=theirs, check=True
        )
        os.close(theirs)
        shown = os.read(ours, 1 << 16).decode()
        os.close(ours)
        assert "bytes of header" in shown
        assert shown.endswith("\r\x1b[K"), "and it is gone at the end"
