"""What `inspector` costs, as ratios measured side by side in one run: each round runs every command once.

    bench.py [--rounds N] [--with-peers] [--only TEXT] [--quick]
    bench.py hub [--delay SECONDS] [--hf-mem PYTHON]    requests, bytes and seconds over the network (bench_hub.py)
    bench.py fleet [--models N] [--memory]              models a second of a scan, and its memory (bench_fleet.py)

A wheel is built and installed into a clean virtual environment (build/bench), so pip has byte-compiled it. CPU is user
and system time of the whole process from wait4; memory is its peak resident set. Both come from a small launcher,
because a child's peak starts at its parent's: a bare Python without site, smaller than anything measured here.
Quote the ratios: the machine's speed cancels out, other work on it mostly does. Exit code 1: a target was missed.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
from typing import NamedTuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WORK = os.path.join(ROOT, "build", "bench")
PYTHON = os.path.join(WORK, "venv", "bin", "python")
PEER_PYTHON = os.path.join(WORK, "peers", "bin", "python")
SMOLLM2 = os.path.join(ROOT, "models", "SmolLM2-135M-Instruct.Q4_1.gguf")
GEMMA = os.path.join(WORK, "gemma-3-270m-q8_0.gguf")
SHARDS = os.path.join(WORK, "shards")
MB = 10**6

LAUNCHER = """
import os, sys
null = os.open(os.devnull, os.O_RDWR)
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ,
                     file_actions=[(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, null, 1),
                                   (os.POSIX_SPAWN_DUP2, null, 2)])
_, status, usage = os.wait4(pid, 0)
sys.stdout.write(f"{os.waitstatus_to_exitcode(status)} {usage.ru_utime + usage.ru_stime} {usage.ru_maxrss}")
"""

READ_GGUF = """
import sys, time
from inspector.formats.gguf import read_gguf
from inspector.sources.local import LocalSource
def once():
    start = time.process_time()
    with LocalSource(sys.argv[1]) as source:
        read_gguf(source)
    return time.process_time() - start
print(min(once() for _ in range(7)))
"""
READ_GGUF_UPSTREAM = """
import sys, time
import gguf
start = time.process_time()
gguf.GGUFReader(sys.argv[1])
print(time.process_time() - start)
"""
READ_SHARDS = """
import glob, sys, time
from inspector.formats.safetensors import read_safetensors
from inspector.sources.local import LocalSource
paths = sorted(glob.glob(sys.argv[1] + "/*.safetensors"))
def once():
    start, n = time.process_time(), 0
    for path in paths:
        with LocalSource(path) as source:
            n += len(read_safetensors(source).tensors)
    return time.process_time() - start
print(min(once() for _ in range(5)))
"""
AUDIT_SHARDS = """
import sys, time
from inspector import audit
def once():
    start = time.process_time()
    audit(sys.argv[1])
    return time.process_time() - start
print(min(once() for _ in range(5)))
"""
READ_SHARDS_JSON = """
import gc, glob, json, sys, time
paths = sorted(glob.glob(sys.argv[1] + "/*.safetensors"))
def once():
    gc.disable()
    start = time.process_time()
    for path in paths:
        with open(path, "rb") as file:
            json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return time.process_time() - start
print(min(once() for _ in range(5)))
"""


class Command(NamedTuple):
    """A whole process to time. `target`: at most so many times bare Python's CPU."""

    name: str
    argv: list[str]
    target: float | None = None


class Figure(NamedTuple):
    """Seconds of CPU and bytes of peak memory of one finished process."""

    cpu: float
    rss: int


def launch(argv: list[str]) -> Figure:
    """Run to the end, output thrown away."""
    done = subprocess.run(
        [PYTHON, "-I", "-S", "-c", LAUNCHER, *argv], capture_output=True, text=True, check=True, cwd=WORK
    )
    code, cpu, rss = done.stdout.split()
    if code != "0":
        sys.exit(f"error: exit code {code} from: {' '.join(argv)}")
    return Figure(float(cpu), int(rss) * 1024)


def in_process(code: str, *args: str) -> float:
    """Seconds of CPU that a script in the clean environment says it took."""
    done = subprocess.run([PYTHON, "-c", code, *args], capture_output=True, text=True, check=True, cwd=WORK)
    return float(done.stdout)


def measure(commands: list[Command], rounds: int) -> dict[str, Figure]:
    """Medians by name; the first round warms caches and is not counted."""
    figures: dict[str, list[Figure]] = {command.name: [] for command in commands}
    for turn in range(rounds + 1):
        for command in commands:
            figure = launch(command.argv)
            if turn:
                figures[command.name].append(figure)
    return {
        name: Figure(statistics.median(f.cpu for f in each), int(statistics.median(f.rss for f in each)))
        for name, each in figures.items()
    }


def prepare(*, with_peers: bool) -> None:
    """The clean environment with a fresh wheel in it, and the files to read."""
    shutil.rmtree(os.path.join(WORK, "wheel"), ignore_errors=True)
    pip = ["-m", "pip", "--quiet", "--disable-pip-version-check"]
    if not os.path.exists(PYTHON):
        subprocess.run([sys.executable, "-m", "venv", os.path.join(WORK, "venv")], check=True)
    wheels = os.path.join(WORK, "wheel")
    subprocess.run([sys.executable, *pip, "wheel", "--no-deps", "--wheel-dir", wheels, ROOT], check=True)
    wheel = glob.glob(os.path.join(wheels, "*.whl"))[0]
    subprocess.run([PYTHON, *pip, "install", "--compile", wheel], check=True)
    subprocess.run([PYTHON, *pip, "install", "--compile", "--force-reinstall", "--no-deps", wheel], check=True)
    if with_peers and not os.path.exists(PEER_PYTHON):
        subprocess.run([sys.executable, "-m", "venv", os.path.join(WORK, "peers")], check=True)
        peers = ["gguf", "gguf-inspect", "modelinfo-cli", "safetensors", "numpy"]
        subprocess.run([PEER_PYTHON, *pip, "install", "--compile", *peers], check=True)
    if not os.path.exists(GEMMA):
        make = [PYTHON, os.path.join(ROOT, "scripts", "make_fixtures.py"), "sparse", "gemma-3-270m-q8_0", GEMMA]
        subprocess.run(make, check=True)
    if not os.path.isdir(SHARDS):
        make_shards(SHARDS)


def make_shards(folder: str) -> None:
    """160 sparse shards, 89,000 tensors: the names and shapes of a DeepSeek-V3 in fp8 with block scales."""
    rows: list[tuple[str, str, tuple[int, int], int]] = []
    for layer in range(3, 61):
        for expert in range(256):
            for part, shape in (("gate", (2048, 7168)), ("up", (2048, 7168)), ("down", (7168, 2048))):
                name = f"model.layers.{layer}.mlp.experts.{expert}.{part}_proj.weight"
                rows.append((name, "F8_E4M3", shape, shape[0] * shape[1]))
                scale = (shape[0] // 128, shape[1] // 128)
                rows.append((name + "_scale_inv", "F32", scale, scale[0] * scale[1] * 4))
    os.makedirs(folder + ".part", exist_ok=True)
    per_shard = -(-len(rows) // 160)
    for shard in range(160):
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        end = 0
        for name, dtype, shape, nbytes in rows[shard * per_shard : (shard + 1) * per_shard]:
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + nbytes]}
            end += nbytes
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with open(os.path.join(folder + ".part", f"model-{shard + 1:05d}-of-000160.safetensors"), "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.truncate(8 + len(text) + end)
    os.replace(folder + ".part", folder)


def own_commands() -> list[Command]:
    """Bare Python first: all ratios are to it."""
    inspector = os.path.join(WORK, "venv", "bin", "inspector")
    small = [SMOLLM2] if os.path.exists(SMOLLM2) else []
    rows = [Command("bare python -c pass", [PYTHON, "-c", "pass"])]
    rows += [Command("inspector SmolLM2 (50k vocabulary)", [inspector, path], 4.0) for path in small]
    rows += [Command("inspector gemma (262k vocabulary)", [inspector, GEMMA], 5.0)]
    rows += [Command("inspector memory SmolLM2", [inspector, "memory", path], 7.0) for path in small]
    rows += [Command("inspector memory gemma", [inspector, "memory", GEMMA])]
    rows += [Command("inspector memory gemma --gpu rtx4090", [inspector, "memory", GEMMA, "--gpu", "rtx4090"], 8.0)]
    return rows


def peer_commands() -> list[Command]:
    """Other tools on the same files, in an environment of their own, those that are installed."""
    rows = []
    for tool in ("gguf-inspect", "modelinfo", "modelinfo-cli", "gguf-dump"):
        path = os.path.join(WORK, "peers", "bin", tool)
        if os.path.exists(path):
            files = (("SmolLM2", SMOLLM2), ("gemma", GEMMA))
            rows += [Command(f"{tool} {name}", [path, file]) for name, file in files if os.path.exists(file)]
    return rows


def verdict(value: float, target: float | None, *, at_least: bool = False) -> str:
    if target is None:
        return ""
    good = value >= target if at_least else value <= target
    return f"{'PASS' if good else 'FAIL'} ({'≥' if at_least else '≤'} {target:g})"


def whole_processes(commands: list[Command], rounds: int) -> list[str]:
    """Table rows; the bare interpreter's row is the first."""
    figures = measure(commands, rounds)
    bare = figures[commands[0].name]
    rows = []
    for command in commands:
        figure = figures[command.name]
        ratio, extra = figure.cpu / bare.cpu, (figure.rss - bare.rss) / MB
        memory = verdict(extra, 8.0) if command.target and " memory " not in command.name else ""
        rows.append(
            f"{command.name:<38}{figure.cpu * 1000:>9.1f} ms{ratio:>8.2f} ×  {verdict(ratio, command.target):<13}"
            f"{figure.rss / MB:>7.1f} MB{extra:>+8.1f} MB  {memory}".rstrip()
        )
    return rows


def readers(*, quick: bool) -> list[str]:
    """In-process: header reading alone, against the upstream readers."""
    rows = []
    for name, path in (("SmolLM2", SMOLLM2), ("gemma", GEMMA)):
        if not os.path.exists(path) or (quick and name == "gemma"):
            continue
        ours, theirs = in_process(READ_GGUF, path), in_process(READ_GGUF_UPSTREAM, path)
        ratio = theirs / ours
        rows.append(
            f"{f'header of {name}: ours / GGUFReader':<38}{ours * 1000:>9.1f} ms / {theirs * 1000:,.0f} ms = "
            f"{ratio:,.0f} × faster  {verdict(ratio, 450, at_least=True)}"
        )
    theirs = in_process(READ_SHARDS_JSON, SHARDS)
    for name, code, target in (("read", READ_SHARDS, 1.5), ("audit", AUDIT_SHARDS, 3.0)):
        ours = in_process(code, SHARDS)
        rows.append(
            f"{f'160 shards, 89,088 tensors: {name}':<38}{ours * 1000:>8.1f} ms / {theirs * 1000:,.0f} ms = "
            f"{ours / theirs:.2f} × json.loads  {verdict(ours / theirs, target)}"
        )
    return rows


def main() -> int:
    if sys.argv[1:2] == ["hub"]:
        from bench_hub import main as bench_hub

        return bench_hub(sys.argv[2:])
    if sys.argv[1:2] == ["fleet"]:
        from bench_fleet import main as bench_fleet

        return bench_fleet(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="counted rounds (default 15)")
    parser.add_argument("--with-peers", action="store_true", help="install other tools from PyPI and measure them too")
    parser.add_argument("--only", default="", help="commands whose name contains this (bare Python always runs)")
    parser.add_argument("--quick", action="store_true", help="leave out the upstream reader on the long header (10 s)")
    args = parser.parse_args()
    os.makedirs(WORK, exist_ok=True)
    prepare(with_peers=args.with_peers)
    own = own_commands()
    rows = whole_processes([own[0], *(c for c in own[1:] if args.only in c.name)], args.rounds)
    if peers := [c for c in peer_commands() if args.only in c.name]:
        rows += whole_processes([own[0], *peers], 3)[1:]
    if not args.only:
        rows += readers(quick=args.quick)
    print(f"{'':<38}{'CPU':>12}{'× bare':>10}  {'':<13}{'peak':>10}{'− bare':>11}")
    print("\n".join(rows))
    return 1 if any("FAIL" in row for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
