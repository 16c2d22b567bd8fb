"""scripts/dev.py: what make runs, without make."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import dev
import holes
import pytest


def test_every_target_of_make_is_a_command_of_it(root):
    (line,) = re.findall(r"^TARGETS := (.*)$", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert line.split() == list(dev.COMMANDS)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not here")
@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["demo"], "scripts/dev.py demo"),
        (["test", "ARGS=-k 'a b'"], "scripts/dev.py test -k 'a b'"),
        (["bench", "PEERS=1"], "scripts/dev.py bench --with-peers"),
        (["docs-check"], "scripts/dev.py docs-check"),
    ],
)
def test_make_hands_its_words_on(root, words, command):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "PYTHON"))}
    done = subprocess.run(["make", "-n", *words], cwd=root, env=env, capture_output=True, text=True, check=True)
    assert " ".join(done.stdout.split()) == f"python3 {command}"


def test_what_is_up_to_date_is_not_made_again(tmp_path):
    source, stamp = tmp_path / "source", tmp_path / "stamp"
    source.touch()
    assert not dev.is_newer(str(stamp), [str(source)])
    stamp.touch()
    os.utime(source, ns=(1, 1))
    assert dev.is_newer(str(stamp), [str(source)])
    os.utime(stamp, ns=(0, 0))
    assert not dev.is_newer(str(stamp), [str(source)])


def test_the_wheel_is_made_anew_when_a_module_changes(root, monkeypatch):
    monkeypatch.chdir(root)
    found = set(dev.package_files())
    assert {os.path.join("inspector", "units.py"), "pyproject.toml", "README.md"} <= found
    assert not any("__pycache__" in name for name in found)


def test_what_fails_ends_it_with_the_same_code():
    with pytest.raises(SystemExit) as caught:
        dev.run(sys.executable, "-c", "raise SystemExit(7)", quiet=True)
    assert caught.value.code == 7


def test_an_unknown_command_is_refused(root):
    done = subprocess.run([sys.executable, root / "scripts" / "dev.py", "nope"], capture_output=True, check=False)
    assert done.returncode == 2


@pytest.mark.parametrize("nbytes", [3, 10, 1 << 33])
def test_a_file_is_stretched_without_being_filled(tmp_path, nbytes):
    path = tmp_path / "x"
    path.write_bytes(b"abcdef")
    holes.stretch(path, nbytes)
    assert path.stat().st_size == nbytes
    with open(path, "rb") as file:
        assert file.read(8) == (b"abc" if nbytes == 3 else b"abcdef\0\0")
