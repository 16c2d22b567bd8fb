"""What is installed, and what a plain start loads."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys

import pytest

import inspector

# Each costs more than reading a header of 50,000 tokens, or drags in what does.
HEAVY = {"numpy", "gguf", "huggingface_hub", "click", "dataclasses", "typing", "json", "enum", "jinja2", "safetensors"}
LOADED = "import sys; {code}; print(*sorted({{m.partition('.')[0] for m in sys.modules}}))"
PLAIN = """
import sys
sys.argv = ['inspector', {path!r}]
from inspector.__main__ import main
try:
    main()
except SystemExit as end:
    print(end.code)
print(*sorted({{m.partition('.')[0] for m in sys.modules}}))
"""


def declared_version(root) -> str:
    line = next(line for line in (root / "pyproject.toml").read_text().splitlines() if line.startswith("version"))
    return line.split('"')[1]


def python(code: str, root) -> str:
    """The last line that a fresh interpreter without site's additions prints."""
    env = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(inspector.__file__)), "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env=env, capture_output=True, encoding="utf-8", check=True
    )
    return done.stdout.splitlines()


def installed_files() -> list[str]:
    try:
        files = importlib.metadata.distribution("weights-inspector").files
    except importlib.metadata.PackageNotFoundError:
        if os.environ.get("CI") == "true":
            pytest.fail("weights-inspector is not installed: run `make test`")
        pytest.skip("weights-inspector is not installed here: `make test` installs it")
    return [str(path) for path in files or ()]


def test_the_version_is_the_one_that_pyproject_declares(root):
    assert inspector.__version__ == declared_version(root)


def test_the_wheel_holds_types_and_code_and_nothing_else():
    files = [path for path in installed_files() if "dist-info" not in path and not path.startswith("..")]
    assert "inspector/py.typed" in files
    assert {f"inspector/report/page/{name}" for name in ("page.html.j2", "style.css", "script.js")} <= set(files)
    assert {path.split("/")[0] for path in files} == {"inspector"}
    assert not [path for path in files if "test" in path]


def test_the_installed_code_is_compiled():
    files = installed_files()
    sources = [path for path in files if path.startswith("inspector/") and path.endswith(".py")]
    compiled = [path for path in files if path.startswith("inspector/") and path.endswith(".pyc")]
    assert len(compiled) == len(sources) > 20


def test_the_command_is_declared():
    installed_files()
    (entry,) = importlib.metadata.distribution("weights-inspector").entry_points
    assert (entry.group, entry.name, entry.value) == ("console_scripts", "inspector", "inspector.__main__:main")


def test_python_dash_m_inspector_says_its_version(run_inspector, root):
    code, out, err = run_inspector(["--version"])
    assert (code, err) == (0, "")
    assert declared_version(root) in out


def test_importing_the_package_loads_nothing_heavy(root):
    loaded = set(python(LOADED.format(code="import inspector"), root)[-1].split())
    assert "inspector" in loaded
    assert not loaded & (HEAVY | {"re"})


@pytest.mark.parametrize("name", ["tiny-llama-q8_0.gguf", "tiny-moe-q8_0.gguf", "every-dtype.gguf"])
def test_a_plain_look_at_a_gguf_loads_nothing_heavy(files, root, name):
    *_, code, modules = python(PLAIN.format(path=str(files / "gguf" / name)), root)
    assert code == "0"
    assert not set(modules.split()) & (HEAVY | {"re"})


@pytest.mark.models
def test_a_plain_look_at_a_real_model_loads_nothing_heavy(models_dir, root):
    path = str(models_dir / "SmolLM2-135M-Instruct.Q4_1.gguf")
    *_, code, modules = python(PLAIN.format(path=path), root)
    assert code == "0"
    assert not set(modules.split()) & HEAVY  # `re` is used for long vocabularies where it pays
