"""What a terminal gets and a pipe does not: bars and colour, in the signs that its locale has."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from inspector.report.look import BLOCKS

ENV = {
    "PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
    "TERM": "xterm", "COLUMNS": "80", "INSPECTOR_GPU": "none",
}  # fmt: skip


@pytest.fixture
def on_terminal():
    """`on_terminal(args, **env)`: what the command prints where stdout is a pseudo-terminal."""
    pty = pytest.importorskip("pty", exc_type=ImportError)

    def run(args, **env):
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "inspector", *map(str, args)]
        process = subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, stdin=theirs, env=ENV | env)
        os.close(theirs)
        out = b""
        try:
            while piece := os.read(ours, 65536):
                out += piece
        except OSError:  # the other end is closed
            pass
        os.close(ours)
        assert process.wait(60) in (0, 1)
        return out.decode().replace("\r\n", "\n")

    return run


def commands(model):
    return [
        ["memory", model, "--gpu", "8GiB"], ["fit", model, "--gpu", "8GiB"], ["tensors", model],
        ["memory", model, "--sweep", "ctx"], ["calc", "--preset", "qwen3-8b", "--gpu", "24GiB"], [model],
    ]  # fmt: skip


def test_a_terminal_gets_bars_and_colour_and_a_pipe_neither(sparse_model, on_terminal, run_inspector):
    for args in commands(sparse_model("gemma-3-1b")):
        looked_at, piped = on_terminal(args, COLUMNS="120"), run_inspector(args, env={"NO_COLOR": ""})[1]
        assert set(looked_at) & set(BLOCKS), args
        assert "\x1b[" in looked_at, args
        assert not set(piped) & {*BLOCKS, "\x1b"}, args


def test_without_colour_the_lines_are_the_same(sparse_model, on_terminal):
    for args in commands(sparse_model("gemma-3-1b")):
        plain, painted = on_terminal(args, NO_COLOR="1"), on_terminal(args)
        without = re.sub(r"\x1b\[[0-9;]*m", "", painted)
        assert "\x1b" not in plain
        # a bar of one colour ends in one part of a column, one of several at the same place
        assert [len(line) for line in without.splitlines()] == [len(line) for line in plain.splitlines()], args
        assert re.sub(f"[{BLOCKS}]", "", without) == re.sub(f"[{BLOCKS}]", "", plain), args


def test_a_pipe_to_a_pager_may_have_both(sparse_model, on_terminal, run_inspector):
    args = ["memory", sparse_model("gemma-3-1b"), "--gpu", "8GiB"]
    assert run_inspector(args, env={"CLICOLOR_FORCE": "1", "NO_COLOR": "", "TERM": "xterm"})[1] == on_terminal(args)
    for off in ("", "0"):
        assert run_inspector(args, env={"CLICOLOR_FORCE": off})[1] == run_inspector(args)[1]


@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"LC_ALL": "", "LANG": "C"}, {"LC_ALL": "POSIX"}], ids=str)
def test_a_terminal_of_the_c_locale_gets_ascii(locale, sparse_model, on_terminal):
    for args in commands(sparse_model("gemma-3-1b")):
        out = on_terminal(args, NO_COLOR="1", **locale, COLUMNS="120")
        assert out.isascii(), args
        assert "##" in out, args


def test_json_has_no_colour_anywhere(sparse_model, on_terminal):
    model = sparse_model("gemma-3-1b")
    for args in (["memory", model, "--json"], ["show", model, "--json"]):
        assert json.loads(on_terminal(args))["target"] == str(model)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal(width, sparse_model, on_terminal):
    model = sparse_model("gemma-3-1b")
    for args in (*commands(model), ["memory", model, "--gpu", "2x2GiB", "-ngl", "9"]):
        out = on_terminal(args, COLUMNS=str(width), NO_COLOR="1")
        too_wide = [line for line in out.splitlines() if len(line) > width and "llama-server" not in line]
        assert too_wide == [], args
