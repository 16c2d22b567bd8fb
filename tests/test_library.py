"""docs/library.md: ten programs that run as they stand, print what the page says, and pass mypy --strict."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

import inspector

PROGRAM = re.compile(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs" / "library.md").read_text(encoding="utf-8")


def test_there_are_ten_programs_and_each_says_what_it_prints(page):
    programs = PROGRAM.findall(page)
    assert len(programs) == page.count("```python") == len(re.findall(r"^## \d+\. ", page, re.MULTILINE)) == 10
    assert all(len(code.splitlines()) <= 12 and said.strip() for code, said in programs)


def test_every_program_prints_what_the_page_says(root):
    done = subprocess.run(
        [sys.executable, "scripts/generate_docs.py", "--check", "--only", "docs/library.md"],
        cwd=root, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_names_that_the_page_promises_are_public(page):
    table = page.partition("|---|---|---|\n")[2].partition("\n\n")[0]
    promised = {name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[2])}
    assert promised == {
        "inspect", "read_facts", "memory", "estimate", "fit", "quantize_size", "audit", "diff", "compare", "parse_gpu",
        "scan_one",
    }  # fmt: skip
    used = set(re.findall(r"inspector\.(\w+)", "".join(code for code, _ in PROGRAM.findall(page))))
    assert promised | used <= set(inspector.__all__) <= set(dir(inspector))


@pytest.mark.slow
def test_mypy_strict_accepts_every_program(page, root, tmp_path):
    pytest.importorskip("mypy", reason="mypy is in the dev group")
    paths = []
    for i, (code, _) in enumerate(PROGRAM.findall(page)):
        paths.append(tmp_path / f"program_{i}.py")
        paths[-1].write_text(code, encoding="utf-8")
    place = os.path.dirname(os.path.dirname(inspector.__file__))
    found_by = {} if "site-packages" in place else {"MYPYPATH": place}
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(root / ".mypy_cache"), *map(str, paths)],
        cwd=tmp_path, capture_output=True, encoding="utf-8", check=False, env={**os.environ, **found_by},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
