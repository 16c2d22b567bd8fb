"""Every example of every help text, run as it stands there, in a folder that holds what its words name."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from hub_server import HubServer

from inspector.__main__ import run
from inspector.cli.group import COMMANDS, cli

LOG = """build: 11434 (abc) with cc
llama_context: n_ctx         = 8192
llama_kv_cache:        CPU KV buffer size =   208.00 MiB
"""
VLLM_LOG = """INFO core.py:58] Initializing a V1 LLM engine (v0.33.0) with config: model='x', max_seq_len=128
INFO gpu_model_runner.py:1] Model loading took 0.0002 GiB and 1.0 seconds
"""


def examples():
    """(command, line) of every help text."""
    for name in (None, *COMMANDS):
        text = (cli.get_command(None, name) if name else cli).help
        for line in re.split(r"^ *Examples?:\n", text, flags=re.MULTILINE)[1].splitlines():
            if line.strip():
                yield line.strip()


EXAMPLES = list(dict.fromkeys(examples()))
REPOS = ("org/name", "org/model", "Qwen/Qwen3-30B-A3B")


@pytest.fixture(scope="module")
def place(root, files, tmp_path_factory):
    """A folder with the files that the examples name, and programs that stand in for those of others."""
    folder = tmp_path_factory.mktemp("examples")
    make = [sys.executable, "scripts/make_fixtures.py", "sparse", "llama-3-8b-q4_k_m", folder / "model.gguf"]
    subprocess.run(make, check=True, capture_output=True, cwd=root)
    for name in ("old", "new", "mine", "theirs", "model-f16", "Qwen3-8B-Q4_K_M"):
        (folder / f"{name}.gguf").symlink_to(files / "gguf" / "tiny-llama-q8_0.gguf")
    for name in ("model", "my-model"):
        shutil.copytree(files / "safetensors" / "llama-tied", folder / name)
    (folder / "Qwen3-8B").mkdir()
    shutil.copy(root / "fixtures" / "configs" / "qwen3-8b.json", folder / "Qwen3-8B" / "config.json")
    (folder / "quants").mkdir()
    shutil.copy(files / "gguf" / "tiny-llama-q8_0.gguf", folder / "quants" / "tiny-Q8_0.gguf")
    for name in ("models", ".cache/huggingface/hub"):
        (folder / name).mkdir(parents=True)
    shutil.copy(files / "gguf" / "tiny-llama-q8_0.gguf", folder / "models" / "tiny-Q8_0.gguf")
    (folder / "list.txt").write_text("my-model\n")
    (folder / "start.log").write_text(LOG)
    (folder / "bin").mkdir()
    for name, text in (("llama-server", LOG), ("docker", VLLM_LOG)):
        (folder / "bin" / name).write_text(f"#!/bin/sh\ncat <<'END'\n{text}END\n")
    (folder / "bin" / "inspector").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m inspector "$@"\n')
    for program in (folder / "bin").iterdir():
        program.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def repositories(root, files):
    """Files of the repositories that the examples name."""
    tied = files / "safetensors" / "llama-tied"
    return {
        "org/name": {"name-Q4_K_M.gguf": files / "gguf" / "tiny-llama-q8_0.gguf"},
        "org/model": {path.name: path for path in tied.iterdir()},
        "Qwen/Qwen3-30B-A3B": {"config.json": root / "fixtures" / "configs" / "qwen3-30b-a3b.json"},
    }


def by_shell(line, place, endpoint):
    env = {
        "PATH": f"{place / 'bin'}:{os.environ['PATH']}", "HF_ENDPOINT": endpoint, "HF_HOME": str(place / "hf"),
        "HOME": str(place), "INSPECTOR_GPU": "24GiB",
        "LC_ALL": "C.UTF-8", "PYTHONPATH": os.environ.get("PYTHONPATH", ""), "NO_COLOR": "1",
    }  # fmt: skip
    done = subprocess.run(
        ["/bin/sh", "-c", line], cwd=place, env=env, capture_output=True, encoding="utf-8", check=False, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("line", EXAMPLES)
def test_an_example_is_answered(line, place, repositories, monkeypatch, capsys):
    repo = next((name for name in REPOS if name in line), "org/model" if "hf://org" in line else None)
    if repo is not None:
        with HubServer(repositories[repo], repo=repo) as hub:
            code, out, err = by_shell(line, place, hub.endpoint)
    elif re.search(r"[|>~]|--on", line):
        code, out, err = by_shell(line, place, "http://127.0.0.1:9")
    else:
        monkeypatch.chdir(place)
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("INSPECTOR_GPU", "24GiB")
        code, (out, err) = run(shlex.split(line)[1:]), capsys.readouterr()
    assert code in (0, 1), err
    assert "error:" not in err
    assert out or ">" in line


def test_every_help_text_has_examples():
    assert len(EXAMPLES) > 45
    assert {shlex.split(line)[1] for line in EXAMPLES if line.startswith("inspector ")} >= set(COMMANDS)
