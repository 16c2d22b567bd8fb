"""Shell completion: files where a file may stand, commands and options elsewhere; and the manual page."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from inspector.cli.group import COMMANDS


@pytest.mark.parametrize(
    ("words", "at", "expected"),
    [
        ("inspector mem", 1, ["plain,memory", "file,mem"]),
        ("inspector mod", 1, ["file,mod"]),
        ("inspector show mo", 2, ["file,mo"]),
        ("inspector model.gguf --js", 2, ["plain,--json"]),
        ("inspector memory --mmproj x", 3, ["file,x"]),
        ("inspector memory m.gguf --sweep c", 4, ["plain,ctx"]),
        ("inspector diff a b", 3, ["file,b"]),
        ("inspector audit a b", 3, ["file,b"]),
        ("inspector compare start", 2, ["file,start"]),
        ("inspector report m.gguf -o p", 4, ["file,p"]),
        ("inspector memory -- llama-server -m x", 5, ["file,x"]),
    ],
)
def test_a_shell_is_told_what_may_stand_there(words, at, expected, run_inspector):
    env = {"_INSPECTOR_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(at)}
    code, out, err = run_inspector([], env=env)
    assert (code, out.splitlines(), err) == (0, expected, "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])  # bash is asked for its version first
def test_a_shell_is_given_its_script(shell, run_inspector):
    code, out, err = run_inspector([], env={"_INSPECTOR_COMPLETE": f"{shell}_source"})
    assert (code, err) == (0, "")
    assert "_INSPECTOR_COMPLETE" in out


def test_the_manual_page_is_what_the_help_texts_say_now(root):
    done = subprocess.run(
        [sys.executable, "scripts/generate_docs.py", "--check", "--only", "docs/inspector.1"],
        cwd=root, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_manual_page_has_every_command_and_no_accident_of_roff(root):
    page = (root / "docs" / "inspector.1").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f".SS inspector {name}\n" in page
    requests = {line.split()[0] for line in page.splitlines() if line.startswith((".", "'"))}
    assert requests <= {'.\\"', ".TH", ".SH", ".SS", ".PP", ".TP", ".B", ".I", ".RI", ".nf", ".fi"}
    if shutil.which("groff"):
        done = subprocess.run(
            ["groff", "-k", "-Tutf8", "-man", "-ww", root / "docs" / "inspector.1"], capture_output=True, check=False
        )
        assert done.stderr == b""
        assert b"inspector audit [OPTIONS] PATH" in re.sub(rb".\x08", b"", done.stdout)
