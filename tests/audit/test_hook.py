"""The pre-commit hook, really run by pre-commit: in a git repository, from the manifest that users name, no network.

pre-commit would build an environment for `language: python` from an index; here the hook runs in this one, and all else
(id, entry's words, files, serial runs) is what `.pre-commit-hooks.yaml` says.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from audit_builder import CONFIG, gguf_bytes, llama_folder, write

GIT = (
    "git",
    "-c",
    "user.name=t",
    "-c",
    "user.email=t@t",
    "-c",
    "init.defaultBranch=main",
    "-c",
    "commit.gpgsign=false",
)


def git(folder, *words):
    done = subprocess.run([*GIT, *words], cwd=folder, capture_output=True, encoding="utf-8", check=True)
    return done.stdout.strip()


@pytest.fixture
def hooked(tmp_path, root):
    """A git repository that uses the hook; `run()` → (exit code, output)."""
    manifest, repo = tmp_path / "hooks", tmp_path / "repo"
    manifest.mkdir()
    repo.mkdir()
    (manifest / ".pre-commit-hooks.yaml").write_text((root / ".pre-commit-hooks.yaml").read_text("utf-8"))
    for folder in (manifest, repo):
        git(folder, "init", "-q")
    git(manifest, "add", "-A")
    git(manifest, "commit", "-qm", "hooks")
    rev = git(manifest, "rev-parse", "HEAD")
    (repo / ".pre-commit-config.yaml").write_text(
        f"repos:\n- repo: {manifest}\n  rev: {rev}\n  hooks:\n  - id: inspector-audit\n    language: system\n"
        f"    entry: {sys.executable} -m inspector audit\n"
    )

    def run():
        git(repo, "add", "-A")
        env = os.environ | {
            "PRE_COMMIT_HOME": str(tmp_path / "home"), "PIP_NO_INDEX": "1", "NO_COLOR": "1",
            "HF_ENDPOINT": "http://127.0.0.1:9",
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "pre_commit", "run", "--color", "never"], cwd=repo, env=env, capture_output=True,
            encoding="utf-8", timeout=120, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return repo, run


def test_sound_models_pass_and_other_files_are_not_looked_at(hooked):
    repo, run = hooked
    llama_folder(repo / "model")
    write(repo, {"model.gguf": gguf_bytes(), "tsconfig.json": "// not JSON", "web/page.jinja": "{{ x.__class__ }}"})
    code, out = run()
    assert (code, "Passed" in out) == (0, True), out


def test_nothing_to_audit_is_skipped(hooked):
    repo, run = hooked
    write(repo, {"README.md": "hello", "tsconfig.json": "{}"})
    code, out = run()
    assert (code, "no files to check" in out) == (0, True), out


def npy_of_objects():
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(69) + b"\n"
    return b"\x93NUMPY\x01\x00\x46\x00" + header + b"cposix\nsystem\n(S'id'\ntR."


BAD = {
    "a broken GGUF": ({"m.gguf": gguf_bytes()[:-200]}, "GG019"),
    "one that llama.cpp refuses": ({"m.gguf": gguf_bytes({"llama.context_length": None})}, "GL001"),
    "a pickle that runs a command": ({"w.pkl": b"cposix\nsystem\n(S'id'\ntR."}, "CD002"),
    "a config that is none": ({"sub/config.json": "{"}, "FD010"),
    "an array of objects": ({"a.npy": npy_of_objects()}, "CD"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_bad_fails_the_commit_with_its_code(hooked, case):
    repo, run = hooked
    files, code = BAD[case]
    write(repo, {"config.json": CONFIG, **files})
    status, out = run()
    assert (status, code in out) == (1, True), out
