"""docs/architecture.md is true: its picture is the contract, its names exist, and the command goes the way it says."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys

import inspector

TRACE = """
import json, sys
calls, names = [], {}
def note(frame, event, _):
    if event == "call":
        code = frame.f_code
        module = frame.f_globals.get("__name__", "")
        if module.startswith("inspector") or module == "__main__":
            calls.append(f"{module}.{code.co_name}")
from inspector.__main__ import main
sys.argv = ["inspector", "memory", sys.argv[1]]
sys.setprofile(note)
try:
    main()
except SystemExit:
    pass
sys.setprofile(None)
print(json.dumps(list(dict.fromkeys(calls))), file=sys.stderr)
"""


def page(root):
    return (root / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_every_name_on_the_page_exists(root):
    names = re.findall(r"`(inspector(?:\.\w+)+)`", page(root))
    assert len(names) > 17
    for name in names:
        module, _, function = name.rpartition(".")
        assert callable(getattr(importlib.import_module(module), function)), name


def test_the_command_goes_the_way_that_the_page_says(root, files):
    steps = re.findall(r"^\| *(\d+) \| `(inspector[\w.]+)` \|", page(root), re.MULTILINE)
    assert [int(n) for n, _ in steps] == list(range(1, len(steps) + 1))
    done = subprocess.run(
        [sys.executable, "-c", TRACE, str(files / "gguf" / "tiny-llama-q8_0.gguf")],
        capture_output=True, encoding="utf-8", check=True,
        env={**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(inspector.__file__)), "NO_COLOR": "1"},
    )  # fmt: skip
    called = json.loads(done.stderr.splitlines()[-1])
    names = [name for _, name in steps]
    assert [name for name in names if name not in called] == []
    assert sorted(names, key=called.index) == names


def test_the_picture_is_the_contract(root):
    done = subprocess.run(
        [sys.executable, "scripts/generate_docs.py", "--check", "--only", "docs/architecture.md"],
        cwd=root, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    picture = page(root).partition("```mermaid")[2].partition("```")[0]
    modules = {path.stem for path in (root / "inspector").glob("*.py")} - {"__init__"}
    modules |= {path.parent.name for path in (root / "inspector").glob("*/__init__.py")}
    assert set(re.findall(r"\[(\w+)\]", picture)) == modules
