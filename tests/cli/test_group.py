"""What all commands share: plain text after the command too, near options, notes on what has no effect."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from inspector.cli.group import COMMANDS

TINY = "gguf/tiny-llama-q8_0.gguf"


@pytest.mark.parametrize("command", COMMANDS)
def test_no_color_may_stand_after_every_command(command, run_inspector):
    code, out, err = run_inspector([command, "--no-color", "--help"])
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: inspector {command}")


@pytest.mark.skipif(os.name == "nt", reason="POSIX only: a terminal to look at")
@pytest.mark.parametrize("words", [["--no-color", "memory"], ["memory", "--no-color"]])
def test_no_color_keeps_a_terminal_plain(words, files):
    script = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"
    command = [sys.executable, "-m", "inspector", *words, str(files / TINY)]
    env = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm"}
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, env=env, check=True)
    assert b"weights" in done.stdout
    assert b"\x1b[" not in done.stdout


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["memory", TINY, "-nlg", "99"], "'-ngl'"),
        (["memory", TINY, "-nkv", "4"], "'-nkvo'"),
        (["memory", TINY, "--gpus", "rtx4090"], "'--gpu'"),
        (["memory", TINY, "--ctx-sise", "4096"], "'--ctx-size'"),
        (["fit", TINY, "--marign", "1G"], "'--margin'"),
        (["calc", "--prest", "llama-2-70b"], "'--preset'"),
        ([TINY, "--jsn"], "'--json'"),
    ],
)
def test_a_misspelt_option_is_answered_with_the_nearest(words, near, files, run_inspector):
    code, out, err = run_inspector(words, cwd=files)
    assert (code, out) == (2, "")
    assert "No such option" in err
    assert near in err


def test_gpu_layers_without_a_gpu_are_said_to_be_without_effect(files, run_inspector):
    def notes(*words):
        return json.loads(run_inspector(["memory", files / TINY, "--json", *words])[1])["notes"]

    said = "-ngl 99 is without effect: no GPU is named (--gpu), and all layers are on the host"
    assert said in notes("-ngl", "99")
    assert not any("-ngl" in note for note in [*notes("-ngl", "99", "--gpu", "24GiB"), *notes("-ngl", "0"), *notes()])


def test_what_each_of_several_sequences_is_left_is_said(files, run_inspector):
    def out(*words):
        return run_inspector(["memory", files / TINY, *words])[1]

    assert "32,768 tokens of context for 8 sequences: 4,096 each" in out("-c", "32k", "-np", "8")
    assert " each" not in out("-c", "32k", "-np", "8", "-kvu").partition("note")[2]
    assert "sequences" not in out("-c", "32k")


def test_a_page_goes_to_standard_output_when_it_is_asked_for(files, run_inspector, tmp_path):
    code, out, err = run_inspector(["report", files / TINY, "-o", "-"])
    assert (code, err) == (0, "")
    assert run_inspector(["report", files / TINY, "-o", tmp_path / "page.html"])[0] == 0
    assert out == (tmp_path / "page.html").read_text(encoding="utf-8")
