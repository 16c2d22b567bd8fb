"""The plain path and click give the same answer, byte for byte, and pipes, widths and colour behave."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ENV = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}


@pytest.fixture
def targets(files, sparse_model, root):
    return [
        files / "gguf" / "tiny-llama-q8_0.gguf",
        files / "gguf" / "tiny-moe-q8_0.gguf",
        files / "gguf" / "tiny-llama-split-00001-of-00003.gguf",
        files / "safetensors" / "no-metadata.safetensors",
        sparse_model("gemma-3-1b"),
        root / "fixtures" / "configs" / "qwen3-8b.json",
    ]


def test_show_by_click_is_the_plain_path_byte_for_byte(targets, run_inspector):
    for target in targets:
        plain = run_inspector([target])
        assert plain[0] == 0
        # a flag in front, or a command that is not the first word, takes the way through click
        assert run_inspector(["--no-color", "show", target]) == plain
        assert run_inspector(["show", target]) == plain
        assert run_inspector(["--no-color", target]) == plain


def test_memory_by_click_is_the_plain_path_byte_for_byte(targets, run_inspector):
    for target in targets[:2] + targets[4:]:
        engine = "vllm" if target.suffix == ".json" else "llama.cpp"
        assert run_inspector(["memory", target]) == run_inspector(["memory", target, "-e", engine])
        plain = run_inspector(["memory", target, "-c", "5000"])
        assert plain[0] == 0
        assert run_inspector(["memory", target, "-c", "5000", "--engine", engine]) == plain
        assert run_inspector(["memory", target, "--ctx-size=5000"]) == plain


@pytest.mark.parametrize(
    "words",
    [["--gpu", "rtx4090"], ["--gpu", "RTX 4090", "-c", "3000"], ["-c", "900000", "--gpu", "gtx1650"],
     ["--gpu", "2xrtx3090"], ["--gpu", "24GiB"], ["--gpu", "none"], ["--gpu", "M4 Max 36GB"], ["--gpu", "24G"],
     ["--gpu", "nothing"], ["--gpu", ""], ["--gpu", "gaudi2"], ["--gpu"], ["--gpu", "-c", "5"],
     ["--gpu", "rtx4090", "--gpu", "rtx3090"]],
    ids=" ".join,
)  # fmt: skip
def test_memory_on_a_gpu_by_click_is_the_plain_path_byte_for_byte(words, sparse_model, run_inspector):
    target = sparse_model("gemma-3-1b")
    assert run_inspector(["memory", target, *words]) == run_inspector(["--no-color", "memory", target, *words])


def test_a_folder_and_its_only_file_are_one_model(files, run_inspector):
    code, out, _ = run_inspector([files / "safetensors" / "llama-tied"])
    assert code == 0
    assert "llama" in out


@pytest.mark.parametrize("args", [["memory", "-c"], ["memory", "-c", "x"], ["memory", "-c", "-1"]])
def test_odd_contexts_are_usage_errors(args, files, run_inspector):
    command, *rest = args
    code, out, err = run_inspector([command, files / "gguf" / "tiny-llama-q8_0.gguf", *rest])
    assert (code, out) == (2, "")
    assert err.startswith("error: ")


def test_a_reader_that_stops_is_no_error(files):
    # far more than a pipe holds, so that the writer is still writing when its reader has gone
    for args in (["dtypes"], ["archs"], ["meta", str(files / "gguf" / "tiny-llama-q8_0.gguf"), "--full"],
                 ["show", str(files / "gguf" / "tiny-llama-q8_0.gguf"), "--json"]):  # fmt: skip
        writer = subprocess.Popen(
            [sys.executable, "-m", "inspector", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENV
        )
        writer.stdout.close()
        err = writer.stderr.read()
        writer.stderr.close()
        assert writer.wait(60) in (0, 1), args
        assert err == b"", args


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_lines_keep_to_the_terminal(columns, files, sparse_model, run_inspector):
    model = sparse_model("gemma-3-1b")
    for args in (
        ["show", model],
        ["memory", model],
        ["meta", model],
        ["memory", model, "-c", "4096", "--gpu", "24GiB"],
    ):
        code, out, _ = run_inspector(args, env={"COLUMNS": str(columns)}, cwd=model.parent)
        assert code == 0
        # a pipe has one line a row and no figure is cut: they may need what a narrow terminal has not
        limit = max(columns, 90)
        too_wide = [line for line in out.splitlines()[1:] if len(line) > limit]
        assert too_wide == []


def test_figures_survive_a_narrow_terminal(sparse_model, run_inspector):
    model = sparse_model("gemma-3-1b")
    wide = run_inspector(["memory", model, "-c", "4096"], env={"COLUMNS": "200"})[1]
    narrow = run_inspector(["memory", model, "-c", "4096"], env={"COLUMNS": "40"})[1]
    total = next(line for line in wide.splitlines() if line.strip().startswith("total"))
    assert " ".join(total.split()) in {" ".join(line.split()) for line in narrow.splitlines()}


def test_there_is_no_colour_in_a_pipe(files, run_inspector):
    model = files / "gguf" / "tiny-llama-q8_0.gguf"
    for env in ({}, {"NO_COLOR": ""}, {"NO_COLOR": "", "TERM": "xterm-256color"}):
        for args in ([model], ["memory", model, "--gpu", "1GiB"]):
            assert "\x1b" not in run_inspector(args, env=env)[1]


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_colour_on_a_terminal_and_not_against_the_users_word(files):
    import pty

    model = str(files / "gguf" / "tiny-llama-q8_0.gguf")

    def on_a_terminal(args, **env):
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "inspector", *args], stdout=theirs, stderr=theirs, stdin=theirs,
            env=ENV | {"TERM": "xterm"} | env,
        )  # fmt: skip
        os.close(theirs)
        out = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:
                break
            if not piece:
                break
            out += piece
        os.close(ours)
        assert process.wait(60) == 0
        return out

    assert b"\x1b[1m" in on_a_terminal([model])
    assert b"\x1b" not in on_a_terminal([model], NO_COLOR="1")
    assert b"\x1b" not in on_a_terminal(["--no-color", model])
    assert b"\x1b" not in on_a_terminal([model], TERM="dumb")


def test_words_that_are_neither_command_nor_file(run_inspector):
    code, out, err = run_inspector(["shwo"])
    assert (code, out) == (2, "")
    assert "'show'" in err
    code, _, err = run_inspector(["memry", "x.gguf"])
    assert code == 2
    assert "'memory'" in err
    assert run_inspector(["no-such-file.gguf"])[0] == 2


def test_without_arguments_there_is_help_and_exit_code_2(run_inspector):
    code, out, _ = run_inspector([])
    assert code == 2
    assert "Examples:" in out


def test_an_unknown_option_is_one_line_with_a_suggestion(files, run_inspector):
    code, out, err = run_inspector(["memory", files / "gguf" / "tiny-llama-q8_0.gguf", "--ctx-sise", "4096"])
    assert (code, out) == (2, "")
    assert "--ctx-size" in err
    assert len(err.splitlines()) <= 2
