"""Each recipe of docs/cookbook.md, run as it stands there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys

import make_stores
import pytest
from hub_server import HubServer

from inspector.cli.group import run_command_line

BLOCK = re.compile(r"^<!-- generated: ([^\n]+?) -->\n(.*?)^<!-- end -->", re.DOTALL | re.MULTILINE)

# words of the answer, and the exit code, by how the command begins
EXPECTED = {
    "fit demo/Llama-3-8B-Q4_K_M.gguf --gpu rtx3090 --longest": (0, "-c 8192 -ngl 33 -fa on"),
    "fit demo/Llama-3-8B-Q4_K_M.gguf --gpu rtx3090 -c 128k": (
        0,
        "llama-server -m demo/Llama-3-8B-Q4_K_M.gguf -c 131072",
    ),
    "fit demo/Llama-3-8B-Q4_K_M.gguf --gpu 5GiB --hypothetical": (0, "llama-quantize --allow-requantize"),
    "fit fixtures/configs/qwen3-8b.json --quant Q4_K_M --gpu rtx3060": (0, "✔ Q4_K_M * · 32,768 tokens"),
    "fit demo/Llama-3-8B-Q4_K_M.gguf --gpu 3GiB --gpu 4GiB": (0, "-ts "),
    "memory demo/Llama-3-8B-Q4_K_M.gguf --server --outputs last --sweep kv": (0, "q8_0"),
    "fit fixtures/files/gguf/tiny-moe-q8_0.gguf": (0, "-ncmoe 2"),
    "quantize-size fixtures/configs/gemma-2-9b.json": (0, "5,755,000,832"),
    "diff fixtures/files/gguf/tiny-llama-q8_0.gguf": (1, "Q8_0 → Q4_0"),
    "audit fixtures/files/broken/half-a-download": (1, "1,000 of"),
    "audit fixtures/files/gguf/tiny-llama-q8_0.gguf": (0, "PASS"),
    "fit demo/Llama-3-8B-Q4_K_M.gguf --gpu 4GiB --no-offload": (1, "nothing fits"),
}


@pytest.fixture(scope="session")
def page(root) -> str:
    return (root / "docs" / "cookbook.md").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def place(root, tmp_path_factory):
    """A folder that looks as the repository does after `make demo`."""
    folder = tmp_path_factory.mktemp("cookbook")
    (folder / "fixtures").symlink_to(root / "fixtures")
    model = folder / "demo" / "Llama-3-8B-Q4_K_M.gguf"
    model.parent.mkdir()
    make = [sys.executable, str(root / "scripts" / "make_fixtures.py"), "sparse", "llama-3-8b-q4_k_m", str(model)]
    subprocess.run(make, check=True, capture_output=True, cwd=root)
    return folder


def test_there_are_thirteen_recipes_and_every_block_is_known(page):
    assert page.count("\n## ") == 13
    commands = [command.partition(" ")[2] for command, _ in BLOCK.findall(page) if command.startswith("inspector ")]
    assert all(any(c.startswith(start) for start in EXPECTED) for c in commands)
    assert len(commands) == len(EXPECTED)


@pytest.mark.parametrize("start", sorted(EXPECTED))
def test_a_recipe_gives_the_answer_it_promises(page, place, monkeypatch, capsys, start):
    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "100")
    (command,) = [c for c, _ in BLOCK.findall(page) if c.startswith(f"inspector {start}")]
    code = run_command_line(shlex.split(command)[1:])
    out, err = capsys.readouterr()
    assert (code, err) == (EXPECTED[start][0], "")
    assert EXPECTED[start][1] in out


LINES = re.compile(r"^inspector .*$", re.MULTILINE)


def test_q4_of_a_repository_without_a_gguf_is_one_command(page, root, run_inspector):
    """Its figures are those of the same config with `--quant`."""
    config = root / "fixtures" / "configs" / "qwen3-8b.json"
    typed = [line for line in LINES.findall(page) if "org/model:Q4_K_M" in line]
    assert len(typed) == 2
    for line in typed:
        command, _, *rest = shlex.split(line)[1:]
        with HubServer({"config.json": config.read_bytes()}) as hub:
            env = {"HF_ENDPOINT": hub.endpoint}
            code, remote, err = run_inspector([command, "org/model:Q4_K_M", *rest, "--json"], env=env)
        assert code == 0, err
        _, local, _ = run_inspector([command, str(config), "--quant", "Q4_K_M", *rest, "--json"])
        assert _figures(json.loads(remote)) == _figures(json.loads(local))


def _figures(answer):
    return [(x["what"], x["device"], x["nbytes"]) for x in answer.get("choices", [answer])[0]["lines"]]


def test_pasted_commands_are_answered_as_they_stand(page, place, root, monkeypatch, capsys):
    monkeypatch.chdir(place)
    folder = place / "org" / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes((root / "fixtures" / "configs" / "qwen3-8b.json").read_bytes())
    (place / "llama.cpp").mkdir()
    for path in (place / "model.gguf", place / "m.gguf", place / "llama.cpp" / "m.gguf"):
        path.symlink_to(place / "demo" / "Llama-3-8B-Q4_K_M.gguf")
    tiny = root / "fixtures" / "files" / "gguf" / "tiny-llama-q8_0.gguf"
    make_stores.ollama_model(place / "ollama", "llama3.2", tiny.read_bytes())
    monkeypatch.setenv("OLLAMA_MODELS", str(place / "ollama"))
    monkeypatch.setenv("HOME", str(place))
    typed = [line for line in LINES.findall(page) if " -- " in line]
    assert len(typed) == 7
    for line in typed:
        assert run_command_line(shlex.split(line)[1:]) == 0
        assert " GiB" in capsys.readouterr().out


def test_the_recipe_in_python_prints_a_total(page, place):
    (command,) = [c for c, _ in BLOCK.findall(page) if c.startswith("python ")]
    done = subprocess.run(
        [sys.executable, *shlex.split(command)[1:]], cwd=place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 4 << 30
