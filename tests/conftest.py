"""What the tests share: real models, rebuilt sparse ones, the command as a subprocess, and no network."""

from __future__ import annotations

import gzip
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from holes import stretch

ROOT = Path(__file__).resolve().parent.parent
LOOPBACK = ("127.", "::1", "localhost")


# What tests may do on POSIX only: the names that Python lacks elsewhere, and what Windows lets administrators do.
_POSIX_ONLY = re.compile(
    r"no attribute '(?:mkfifo|fork|openpty|killpg|setsid|geteuid|pread|SIGALRM|SIGKILL|SIGSTOP|alarm|setitimer)'"
    r"|No module named '(?:resource|pty|fcntl|termios|tty)'|WinError 1314"
)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call():
    """On Windows, a test that needs what POSIX alone has is skipped, and says what that is."""
    try:
        return (yield)
    except (AttributeError, ImportError, OSError) as error:
        if os.name == "nt" and (lacking := _POSIX_ONLY.search(str(error))):
            pytest.skip(f"POSIX only: {lacking[0]}")
        raise


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository: fixtures/, docs/, pyproject.toml."""
    return ROOT


@pytest.fixture(scope="session")
def files() -> Path:
    """The small files that scripts/make_fixtures.py writes: files/gguf, files/safetensors."""
    return ROOT / "fixtures" / "files"


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """Real models from PyPI packages (`make models`): skipped without them, failed without them in CI."""
    folder = ROOT / "models"
    wanted = ("SmolLM2-135M-Instruct.Q4_1.gguf", "all-MiniLM-L6-v2/model.safetensors")
    missing = [name for name in wanted if not (folder / name).exists()]
    if missing:
        why = f"models/{missing[0]} is not there: run `make models`"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    return folder


@pytest.fixture(autouse=True)
def _models_marker_means_models(request: pytest.FixtureRequest) -> None:
    """A test marked `models` never runs without them, whether or not it asks for the folder."""
    if request.node.get_closest_marker("models"):
        request.getfixturevalue("models_dir")


@pytest.fixture(scope="session")
def sparse_model(tmp_path_factory: pytest.TempPathFactory):
    """`sparse_model(name)`: the full-size GGUF of fixtures/llamacpp-headers, all but its header a hole."""
    folder = tmp_path_factory.mktemp("sparse")

    def build(name: str) -> Path:
        path = folder / f"{name}.gguf"
        if not path.exists():
            headers = ROOT / "fixtures" / "llamacpp-headers"
            path.write_bytes(gzip.decompress((headers / f"{name}.gguf-header.gz").read_bytes()))
            stretch(str(path), json.loads((headers / f"{name}.json").read_text(encoding="utf-8"))["full_size"])
        return path

    return build


@pytest.fixture(scope="session", autouse=True)
def _no_network():
    """A test that reaches for anything but this machine fails, and says what it reached for."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(LOOPBACK):
            raise AssertionError(f"a test tried to connect to {address}")
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_gpu():
    """What is printed does not depend on the machine that the tests run on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INSPECTOR_GPU", "none")
        yield


@pytest.fixture(scope="session")
def run_inspector(tmp_path_factory: pytest.TempPathFactory):
    """`run_inspector(args, env=…, cwd=…, stdin=…) -> (code, out, err)`: the command in a process of its own.

    The environment is clean: no colour, 80 columns, an empty home, and a Hub address where nobody answers.
    """
    home = tmp_path_factory.mktemp("home")
    base = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "LC_ALL": "C.UTF-8",
        "COLUMNS": "80",
        "NO_COLOR": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "INSPECTOR_GPU": "none",
    }
    if os.name == "nt":  # where a home, UTF-8 and the system itself go by other names
        base |= {"USERPROFILE": str(home), "PYTHONUTF8": "1", "SYSTEMROOT": os.environ["SYSTEMROOT"]}
    if paths := os.environ.get("PYTHONPATH"):
        base["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, paths.split(os.pathsep)))

    def run(args, *, env=None, cwd=None, stdin="", timeout=60):
        done = subprocess.run(
            [sys.executable, "-m", "inspector", *map(str, args)],
            env=base | (env or {}),
            cwd=cwd or home,
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            timeout=timeout,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return run
