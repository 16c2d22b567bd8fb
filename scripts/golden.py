"""What every command prints over every fixture, and every engine figure beside its measured row: to hold a change to.

    golden.py write OUT.json.gz             run everything, keep every output
    golden.py check OUT.json.gz [--show N]  run everything again; every difference is named, exit 1 where there is one

A refactoring moves nothing; an intended change is read here before it is written into the changelog.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import gzip
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise

import accuracy

from inspector.__main__ import run

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FIXTURES = os.path.join(ROOT, "fixtures")

Command = tuple[str, ...]

GGUF_MEMORY: tuple[Command, ...] = (
    (), ("-c", "32768", "-ctk", "q8_0", "-ctv", "q8_0"), ("-fa", "off", "-np", "3", "-c", "3000"), ("--server",),
    ("--backend", "rpc", "--gpu", "24GiB"), ("--backend", "rpc", "--gpu", "8GiB", "-ngl", "7", "-ub", "1024"),
    ("--backend", "rpc", "--gpu", "12GiB", "--gpu", "24GiB", "-ncmoe", "5"), ("--swa-full", "--kv-unified", "-np", "2"),
    ("-e", "textbook"), ("-e", "textbook", "--quant", "Q4_K_M", "--kv-form", "gqa"), ("--sweep", "ctx"), ("--layers",),
)  # fmt: skip
HF_MEMORY: tuple[Command, ...] = (
    (), ("--max-model-len", "8192"), ("--gpu", "h100", "-np", "4"), ("--gpu", "2xa100-80gb", "-tp", "2"),
    ("--kv-cache-dtype", "fp8", "-c", "4096"), ("-e", "transformers", "-c", "2048"),
    ("-e", "transformers", "-c", "512", "--attn", "eager", "--cache", "static"), ("-e", "textbook", "-c", "4096"),
    ("--layers",), ("--sweep", "np"),
)  # fmt: skip
GGUF_FIT: tuple[Command, ...] = (
    ("--gpu", "24GiB"),
    ("--gpu", "2xrtx3090", "-c", "32k"),
    ("--gpu", "6GiB", "--longest"),
)
HF_FIT: tuple[Command, ...] = (("--gpu", "h100"), ("--gpu", "rtx4090", "-np", "8"))


def _sparse(folder: str) -> Iterator[str]:
    """The 25 measured models as files of full size, all holes behind the header."""
    headers = os.path.join(FIXTURES, "llamacpp-headers")
    for name in sorted(x for x in os.listdir(headers) if x.endswith(".gz")):
        model = name.removesuffix(".gguf-header.gz")
        with open(os.path.join(headers, f"{model}.json"), encoding="utf-8") as file:
            size = json.load(file)["full_size"]
        path = os.path.join(folder, f"{model}.gguf")
        with gzip.open(os.path.join(headers, name)) as packed, open(path, "wb") as out:
            out.write(packed.read())
            out.truncate(size)
        yield path


def _both(*command: str) -> list[Command]:
    return [command, (*command, "--json")]


def _gguf_commands(path: str) -> Iterator[Command]:
    for name in ("show", "audit"):
        yield from _both(name, path)
    yield from (("tensors", path), ("tensors", path, "--by", "dtype", "--json"), ("tensors", path, "--csv"))
    yield from _both("meta", path)
    for options in GGUF_MEMORY:
        yield from _both("memory", path, *(x for x in options if x not in {"--backend", "rpc"} or _HAS_BACKEND))
    for options in GGUF_FIT:
        yield from _both("fit", path, *options)
    yield from _both("quantize-size", path, "--to", "Q4_K_M", "--to", "IQ3_XS")
    yield ("report", path, "-o", "page.html")


def _hf_commands(path: str) -> Iterator[Command]:
    for name in ("show", "audit", "meta"):
        yield from _both(name, path)
    yield from (("tensors", path), ("tensors", path, "--json"))
    for options in HF_MEMORY:
        yield from _both("memory", path, *options)
    for options in HF_FIT:
        yield from _both("fit", path, *options)
    yield from _both("quantize-size", path, "--to", "Q5_K_M")
    yield ("audit", path, "--sarif")


COMMANDS = (
    "show tensors meta memory fit quantize-size audit diff calc report rule archs dtypes gpus engines".split()  # noqa: SIM905
)


def _general() -> Iterator[Command]:
    yield ("--help",)
    for name in COMMANDS:
        yield (name, "--help")
    for name in ("rule", "archs", "dtypes", "gpus", "engines"):
        yield from _both(name)
    yield from _both("calc")
    yield from (("memroy", "x"), ("show", "no-such.gguf"), ("memory", "no-such", "--gpu", "rtx4O90"))
    gguf, tensors = (os.path.join(FIXTURES, "files", x) for x in ("gguf", "safetensors"))
    names = sorted(os.listdir(gguf))
    for a, b in pairwise(names):
        yield from _both("diff", os.path.join(gguf, a), os.path.join(gguf, b))
    folders = sorted(os.listdir(tensors))
    for a, b in pairwise(folders):
        yield from _both("diff", os.path.join(tensors, a), os.path.join(tensors, b))
    yield from _both("audit", os.path.join(FIXTURES, "files", "broken"), gguf, tensors)


def commands(folder: str) -> list[Command]:
    """Every command line of the run, in order."""
    files = os.path.join(FIXTURES, "files")
    found = list(_general())
    for path in [*_sparse(folder), *(os.path.join(files, "gguf", x) for x in sorted(os.listdir(f"{files}/gguf")))]:
        found += _gguf_commands(path)
    configs = [os.path.join(FIXTURES, "configs", x) for x in sorted(os.listdir(f"{FIXTURES}/configs"))]
    for path in [
        *configs,
        *(os.path.join(files, "safetensors", x) for x in sorted(os.listdir(f"{files}/safetensors"))),
    ]:
        found += _hf_commands(path)
    return found


def _has_backend() -> bool:
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), "utf-8")) as out:
        with contextlib.suppress(SystemExit):
            run(["memory", "--help"])
        out.flush()
        return b"--backend" in out.buffer.getvalue()


_HAS_BACKEND = _has_backend()  # releases before 0.2 had one back end only, and no such option


def output_of(command: Command) -> str:
    """Exit code, stdout and stderr of one command, run in this process."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in "12")
    code: object = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = run(list(command))
        except SystemExit as stop:
            code = stop.code
        except Exception as error:  # a traceback is a defect, and shall be seen as one
            code = f"{type(error).__name__}: {error}"
    text = [s.buffer.getvalue().decode("utf-8", "replace") for s in (out, err)]
    if "page.html" in command and os.path.exists("page.html"):
        with open("page.html", encoding="utf-8") as page:
            text.append(page.read())
        os.unlink("page.html")
    return f"exit {code}\n{text[0]}--- stderr\n" + "".join(text[1:])


def _run_all(job: tuple[str, int, int]) -> dict[str, str]:
    folder, part, parts = job
    with tempfile.TemporaryDirectory() as here:
        found = commands(folder)[part::parts]
        os.chdir(here)
        os.environ["COLUMNS"] = "100"
        done = {}
        for command in found:
            name = (
                " ".join(command).replace("--backend rpc ", "").replace(folder, "MODELS").replace(FIXTURES, "FIXTURES")
            )
            done[name] = output_of(command).replace(folder, "MODELS").replace(FIXTURES, "FIXTURES")
        os.chdir(ROOT)
        return done


def everything() -> dict[str, str]:
    """Output by command line, and one entry a measured row: our figure beside the engine's."""
    cores = os.cpu_count() or 1
    folder = tempfile.mkdtemp()
    try:
        list(_sparse(folder))
        with ProcessPoolExecutor(max_workers=cores) as pool:
            found = {
                k: v for part in pool.map(_run_all, [(folder, i, cores) for i in range(cores)]) for k, v in part.items()
            }
    finally:
        shutil.rmtree(folder)
    for engine, samples in accuracy.measure_all(accuracy.ENGINES).items():
        for i, s in enumerate(samples):
            found[f"row {engine} {i} {s.section} {s.model} {s.line} {s.where}"] = f"{s.ours} of {s.theirs}"
    return found


def _difference(name: str, old: str, new: str) -> str:
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), "before", "after", lineterm="", n=0)
    return "\n".join([f"== {name}", *(line[:200] for line in list(lines)[:12])])


def main() -> int:
    """Exit code 1 where an output is not what it was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=["write", "check"])
    parser.add_argument("file")
    parser.add_argument("--show", type=int, default=10, help="how many differences to print")
    options = parser.parse_args()
    found = everything()
    if options.do == "write":
        with gzip.open(options.file, "wt", encoding="utf-8") as file:
            json.dump(found, file)
        print(f"{len(found):,} outputs")
        return 0
    with gzip.open(options.file, "rt", encoding="utf-8") as file:
        before = json.load(file)
    changed = [k for k in before.keys() | found.keys() if before.get(k) != found.get(k)]
    for name in sorted(changed)[: options.show]:
        print(_difference(name, before.get(name, ""), found.get(name, "")))
    print(f"{len(changed):,} of {len(before):,} outputs differ")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
