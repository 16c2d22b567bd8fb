"""Ask a locally installed llama.cpp what a model takes, and print a row like those of fixtures/placement.jsonl.gz.

usage: measure_llamacpp.py FILE.gguf [--append ROWS.jsonl] [--case NAME] [-- llama.cpp options, like -c 8192 -ctk q8_0]
       measure_llamacpp.py FILE.gguf --log LOG
`llama-fit-params` must be on PATH; the file may be sparse, for only its header is read. Without it, hand over what any
llama.cpp program said while it loaded the model (--log, "-" is stdin): llama-cli -v, or llama-cpp-python with
verbose=True. Give `--rpc HOST:PORT` and `-ngl N` to measure devices.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from typing import Any

PROGRAM = "llama-fit-params"
BUFFER = re.compile(r"(\S+) +(?P<what>model|KV|RS|compute|output) buffer size *= *(?P<mib>[\d.]+) MiB")
OFFLOADED = re.compile(r"offloaded (\d+)/(\d+) layers")
COPIES = re.compile(r"n_copies *= *(\d+)|pipeline parallelism enabled \(n_copies=(\d+)\)|sched copies = (\d+)")
SIZES = re.compile(r"\b(n_ctx|n_ctx_seq|n_batch|n_ubatch|n_seq_max) += (\d+)$")
DEVICE = re.compile(r"^(?P<name>\S+) (?P<model>\d+) (?P<context>\d+) (?P<compute>\d+) *$")


def parse_devices(stdout: str) -> dict[str, dict[str, int]]:
    """Whole MiB of each device, as `-fitp on` prints them on stdout."""
    found = {}
    for line in stdout.splitlines():
        if m := DEVICE.match(line):
            found[m["name"]] = {f"{key}_mib": int(m[key]) for key in ("model", "context", "compute")}
    return found


def parse_log(log: str) -> dict[str, Any]:
    """Buffers with the decimals of the log, layers on devices, copies of the pipeline, effective sizes.

    A buffer that is reserved several times counts as it was the last time. Nothing is kept of buffers of 0 MiB: a dry
    run lays out weights and caches without allocating them.
    """
    row: dict[str, Any] = {"offloaded": None, "sched_copies": 1, "effective": {}}
    buffers: dict[str, dict[str, float]] = {}
    for line in log.splitlines():
        m = BUFFER.search(line)
        if m and float(m["mib"]):
            what, here = m["what"].lower(), buffers.setdefault(m["what"].lower(), {})
            # caches of several kinds are several buffers of one name; graphs are reserved again and again
            before = here.get(m[1], 0.0) if what in {"kv", "rs"} else 0.0
            here[m[1]] = round(before + float(m["mib"]), 2)
        elif m := OFFLOADED.search(line):
            row["offloaded"] = [int(m[1]), int(m[2])]
        elif m := COPIES.search(line):
            row["sched_copies"] = int(m[1] or m[2] or m[3])
        elif m := SIZES.search(line.rstrip()):
            row["effective"][m[1]] = int(m[2])
    return row | {f"{what}_mib": sizes for what, sizes in buffers.items()}


def run(path: str, options: list[str], *, program: str = PROGRAM, env: dict[str, str] | None = None) -> dict[str, Any]:
    """One run of llama-fit-params, as a row. Exits when it is not there."""
    if shutil.which(program) is None:
        sys.exit(f"error: no {program} on PATH; it comes with llama.cpp. Or give a log with --log")
    command = [program, "-m", path, "-fitp", "on", "--no-repack", "-v", *options]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=1800, env=env)
    devices = parse_devices(done.stdout)
    if not devices:
        words = [line for line in done.stderr.splitlines() if "error" in line.lower() or "failed" in line.lower()]
        return {"rc": done.returncode, "error": words[0][-200:] if words else "no figures"}
    return {"rc": done.returncode, **parse_log(done.stdout + done.stderr), "devices": devices}


def main() -> int:
    own, options = sys.argv[1:], []
    if "--" in own:
        at = own.index("--")
        own, options = own[:at], own[at + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--append", metavar="ROWS.jsonl", help="add the row to this file too")
    parser.add_argument("--case", default="measured", help="a name for these settings")
    parser.add_argument("--log", metavar="LOG", help="read this log instead of running anything")
    args = parser.parse_args(own)
    name = os.path.basename(args.file).removesuffix(".gguf")
    row: dict[str, Any] = {"model": name, "case": args.case, "args": options}
    if args.log:
        with open(0 if args.log == "-" else args.log, encoding="utf-8", errors="replace") as file:
            found = parse_log(file.read())
        if not any(key.endswith("_mib") for key in found):
            sys.exit("error: no buffer sizes in this log")
        row |= found
    else:
        row |= run(args.file, options)
    line = json.dumps(row, separators=(",", ":"))
    print(line)
    if args.append:
        with open(args.append, "a", encoding="utf-8") as file:
            file.write(line + "\n")
    return 1 if "error" in row else 0


if __name__ == "__main__":
    sys.exit(main())
