"""`fit` for people: the first choice and its command on top, the others by what differs, whole at every width."""

from __future__ import annotations

import json
import shlex

import pytest

from inspector.cli.group import run_command_line
from inspector.report.text import columns

ANSWERS = {
    "two choices": ["qwen3-30b-a3b", "--gpu", "rtx3060"],
    "two cards": ["llama-3-8b", "--gpu", "3GiB", "--gpu", "4GiB"],
    "made": ["llama-3.2-1b", "--gpu", "2GiB", "--hypothetical"],
    "none": ["llama-3-8b", "--gpu", "4GiB", "--no-offload"],
    "one": ["llama-3.2-1b", "--gpu", "rtx3090"],
}


@pytest.fixture
def run(sparse_model, capsys, monkeypatch):
    def call(answer, *more, width=100, terminal=True):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("CLICOLOR_FORCE", "1" if terminal else "0")
        name, *words = ANSWERS[answer]
        code = run_command_line(["fit", str(sparse_model(name)), *words, *more])
        return code, capsys.readouterr().out

    return call


@pytest.mark.parametrize("answer", [a for a in ANSWERS if a != "none"])
def test_the_first_choice_and_its_command_stand_on_top(run, answer):
    body = json.loads(run(answer, "--json")[1])
    best, lines = body["choices"][0], run(answer)[1].splitlines()
    assert lines[1].startswith(f"✔ {best['candidate']['label']}")
    assert f"{best['n_ctx']:,} tokens" in lines[1]
    assert [c for c in (best["convert_command"], best["quantize_command"], best["command"]) if c] == [
        line.strip() for line in lines[2 : 2 + sum("llama-" in x for x in lines[2:4])]
    ]


def groups(command):
    found = []
    for word in shlex.split(command)[3:]:
        if word.startswith("-"):
            found.append(word)
        else:
            found[-1] += f" {word}"
    return set(found)


@pytest.mark.parametrize("answer", ["two choices", "two cards", "made"])
@pytest.mark.parametrize("width", [60, 200])
def test_of_every_choice_the_flags_that_differ_are_named(run, answer, width):
    commands = [groups(c["command"]) for c in json.loads(run(answer, "--json")[1])["choices"]]
    assert len(commands) > 1
    out = " ".join(run(answer, width=width)[1].split())
    for command in commands:
        assert all(flag in out for flag in command - set.intersection(*commands))


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_no_line_but_a_command_is_wider_than_the_terminal(run, answer, width):
    out = run(answer, width=width)[1]
    wide = [line for line in out.splitlines() if columns(line) > width]
    assert [line for line in wide if not line.startswith("  llama-")] == []


def test_nothing_that_fits_is_said_first_with_what_is_missing(run):
    code, out = run("none")
    assert code == 1
    assert out.splitlines()[1] == "✘ nothing fits"
    assert "GPU 4 GiB: 1.88 GiB missing" in out


def test_a_pipe_gets_every_choice_with_its_whole_command_in_one_table(run):
    body = json.loads(run("two cards", "--json")[1])
    out = run("two cards", terminal=False)[1]
    rows = [line for line in out.splitlines() if line.lstrip()[:2] in {"1 ", "2 ", "3 "}]
    assert [row.endswith(c["command"]) for row, c in zip(rows, body["choices"], strict=True)] == [True] * len(rows)
    assert "█" not in out


def test_why_this_order_and_what_gave_way_stand_with_v_only(run):
    for terminal in (True, False):
        plain, full = (run("two cards", *v, terminal=terminal)[1] for v in ([], ["-v"]))
        assert "in this order: no layers" not in plain
        assert "in this order: no layers on the host > " in full
        assert "gave way: cache q8_0 instead of f16; 6 of 33 layers on the host" in full
        assert full.count("inspector memory ") == 3
