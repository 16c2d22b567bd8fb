"""Each recipe of docs/cookbook.md, run as it stands there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

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


def test_there_are_twelve_recipes_and_every_block_is_known(page):
    assert page.count("\n## ") == 12
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


def test_the_recipe_in_python_prints_a_total(page, place):
    (command,) = [c for c, _ in BLOCK.findall(page) if c.startswith("python ")]
    done = subprocess.run(
        [sys.executable, *shlex.split(command)[1:]], cwd=place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 4 << 30
