"""Asks the engines again for every figure that the tests hold ours to, and prints what differs from what is committed.

    python scripts/remeasure.py --list                    every oracle: fixture, engine, release, rows, minutes
    python scripts/remeasure.py llamacpp                   all rows of a group: llamacpp, loaders, quantize, server, …
    python scripts/remeasure.py cuda --row 'mixtral-8x7b full'    rows whose name has these words, of each fixture
    python scripts/remeasure.py all --row 0                the first row of every oracle
    python scripts/remeasure.py llamacpp --write           and write the fixtures in the form that is committed

`make remeasure ENGINE=llamacpp ROW=0` is the same. Releases come from the package index and are built in the cache
(~/.cache/weights-inspector/track, or --cache); --source/--build, --cuda and --python name finished ones. Needs cmake,
ninja and g++ for llama.cpp, clang++-19 for CUDA's host code. Exit code 1 where a row differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import engines
import measure_cuda
import oracles
from oracles_llamacpp import Tools

Difference = tuple[str, Any, Any]
CLANG = "clang++-19"


def differences(before: Any, now: Any, path: str = "") -> Iterator[Difference]:
    """Where two rows part: (path, committed, measured)."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *(k for k in now if k not in before)]:
            if key:
                yield from differences(before.get(key), now.get(key), f"{path}.{key}" if path else key)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for i, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from differences(one, other, f"{path}[{i}]")
    elif before != now:
        yield path, before, now


def chosen(oracle: oracles.Oracle, rows: list[dict[str, Any]], asked: str | None) -> list[int]:
    """Places of the rows that are asked for: a number, or words that a row's name has."""
    if asked is None:
        return list(range(len(rows)))
    if asked.isdecimal():
        return [int(asked)] if int(asked) < len(rows) else []
    return [i for i, row in enumerate(rows) if all(word in oracle.name(row) for word in asked.split())]


def short(value: Any) -> str:
    """A value on one line."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 90 else f"{text[:90]}…"


def again(oracle: oracles.Oracle, tools: Tools, asked: str | None) -> tuple[list[dict[str, Any]], int, int]:
    """All rows, those that were asked for as they are now; how many were asked, and how many differ."""
    rows = oracle.rows()
    places = [i for i in chosen(oracle, rows, asked) if not oracle.left_out(rows[i])]
    differ = 0
    for i, measured in zip(places, oracle.measure(tools, [rows[i] for i in places]), strict=True):
        now = json.loads(json.dumps(measured))  # as it will be read
        found = list(differences(rows[i], now))
        differ += bool(found)
        for path, before, new in found[:4]:
            print(f"  {oracle.fixture} {i} ({oracle.name(rows[i])[:70]}) {path}: {short(before)} → {short(new)}")
        rows[i] = now
    return rows, len(places), differ


def report(oracle: oracles.Oracle, tools: Tools, options: argparse.Namespace) -> int:
    """One fixture: measured, compared, written where asked for. How many rows differ."""
    rows, n, differ = again(oracle, tools, options.row)
    words = (
        "no row has this name"
        if not n
        else f"{n:,} rows asked, {differ:,} differ"
        if differ
        else f"{n:,} rows, none differs"
    )
    print(f"{oracle.fixture}: {words}", flush=True)
    left = {reason for row in oracle.rows() if (reason := oracle.left_out(row))}
    if left and options.row is None:
        print(*(f"  not asked: {reason}" for reason in sorted(left)), sep="\n")
    if options.write and differ:
        oracles.write_rows(oracles.FIXTURES / oracle.fixture, rows, spaced=oracle.spaced)
        print(f"  written: fixtures/{oracle.fixture}")
    return differ


def cuda_programs(release: engines.Release, options: argparse.Namespace) -> Path | None:
    """CUDA's host code on our run-time, built where a clang is there. Raises SystemExit where its sources are not."""
    if options.cuda:
        given: Path = options.cuda
        return given
    if not (release.source / "ggml" / "src" / "ggml-cuda" / "ggml-cuda.cu").exists():
        raise SystemExit(f"the sdist of b{release.build} has no sources of ggml-cuda")
    if shutil.which(options.clang) is None:
        return None
    work: Path = options.cache / f"cuda-{release.build}"
    work.mkdir(parents=True, exist_ok=True)
    jobs = os.cpu_count() or 1
    objects: Path = options.objects or measure_cuda.host_objects(release.source, work, options.clang, jobs)
    here = Path(__file__).resolve().parent
    ours = [*sorted((here / "cuda").glob("*.cpp")), here / "cpu" / "keep_inputs.h"]
    made, stamp = hashlib.sha256(b"".join(path.read_bytes() for path in ours)).hexdigest(), work / "made-of"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != made:
        assert release.bin is not None
        measure_cuda.link(release.source, release.bin.parent, objects, work)
        stamp.write_text(made, encoding="utf-8")
    return work / "bin"


def tools_for(
    found: list[oracles.Oracle], options: argparse.Namespace, versions: Mapping[str, str] = engines.PINNED
) -> Tools:
    """What these oracles are put to; nothing is built that none of them needs. `versions`: others than the replayed."""
    kinds, versions = {o.engine for o in found}, {**engines.PINNED, **versions}
    release = engines.Release("llamacpp", versions["llamacpp"], Path())
    if kinds & {"llamacpp", "cuda"}:
        release = engines.llamacpp(release.version, options.cache, source=options.source, build=options.build)
        engines.probe(release, options.cache)
    elif "sources" in kinds:
        source = options.source or engines.sources("llamacpp", release.version, options.cache)
        release = release._replace(source=source)
    cuda = cuda_programs(release, options) if "cuda" in kinds else None
    python = Path(sys.executable)
    if kinds & {"transformers", "sources"}:
        python = engines.python_with("transformers", versions["transformers"], options.cache, given=options.python)
    vllm = options.vllm or (engines.sources("vllm", versions["vllm"], options.cache) if "vllm" in kinds else None)
    return Tools(release, options.cache, cuda, python, vllm)


def print_list() -> None:
    """The table of all oracles."""
    print(f"{'fixture':32} {'group':13} {'release':24} {'rows':>6} {'minutes':>8}")
    for o in oracles.ORACLES:
        print(f"{o.fixture:32} {o.group:13} {o.release:24} {len(o.rows()):>6,} {o.minutes:>8}")
    for fixture, why in oracles.NOT_ASKED.items():
        print(f"{fixture:32} not asked again: {why}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("group", nargs="?", help=f"{', '.join(oracles.GROUPS)}, a fixture's name, or all")
    parser.add_argument("--list", action="store_true", help="what there is")
    parser.add_argument("--row", help="a row's number, or words of its name")
    parser.add_argument("--write", action="store_true", help="keep what was measured in fixtures/")
    add_places(parser)
    return parser.parse_args()


def add_places(parser: argparse.ArgumentParser) -> None:
    """Options that name the cache and finished builds."""
    parser.add_argument("--cache", type=Path, default=engines.CACHE)
    parser.add_argument("--source", type=Path, help="unpacked sources of llama.cpp")
    parser.add_argument("--build", type=Path, help="a finished CPU build of them")
    parser.add_argument("--cuda", type=Path, help="a finished folder of CUDA's host code (with probe)")
    parser.add_argument("--objects", type=Path, help="finished objects of CUDA's host code")
    parser.add_argument("--clang", default=CLANG)
    parser.add_argument("--python", type=Path, help="a Python with torch and transformers")
    parser.add_argument("--vllm", type=Path, help="unpacked sources of vLLM")


def main() -> int:
    options = parse()
    if options.list or not options.group:
        print_list()
        return 0
    found = [o for o in oracles.ORACLES if options.group in {"all", o.group, o.fixture}]
    if not found:
        sys.exit(f"no such group or fixture: {options.group} (see --list)")
    tools = tools_for(found, options)
    differ = [report(oracle, tools, options) for oracle in found]
    return 1 if any(differ) else 0


if __name__ == "__main__":
    sys.exit(main())
