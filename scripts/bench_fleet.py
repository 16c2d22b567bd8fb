"""`bench.py fleet`: models a second of `inspector scan`, as ratios of the same run, and the memory of its parent.

    bench.py fleet [--models N] [--rounds N] [--memory]

Beside each other: `inspector show FILE --json` for one file after another, each a process; a scan in two processes; a
scan on Dask with two workers, which it starts. The rates are of whole commands, start and table included. --memory:
the peak resident set of the parent alone at 5,000 and 20,000 models (VmHWM, so that its workers do not count).
Exit code 1: a target was missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

from bench import WORK, verdict
from make_fleet import make

FOLDER = os.path.join(WORK, "fleet")
ONE_BY_ONE = 20  # files are enough for the rate of one process a file
MB = 10**6
PEAK = """
import atexit, sys
sys.argv = ["inspector", *sys.argv[2:]]
def peak(out=sys.stderr):
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print("peak", int(line.split()[1]) * 1024, file=out, flush=True)
atexit.register(peak)
from inspector.__main__ import main
if __name__ == "__main__":
    main()
"""


def seconds(*words: str) -> float:
    """Of a whole command, in wall time. 1 says that broken models were among them."""
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "inspector", *words], stdout=subprocess.DEVNULL, check=False)
    if done.returncode not in (0, 1):
        sys.exit(f"error: exit code {done.returncode} from: inspector {' '.join(words)}")
    return time.monotonic() - start


def whole_files(folder: str, n: int) -> list[str]:
    """GGUF files from all over a fleet, as `show` takes them."""
    found = [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names if name.endswith(".gguf")]
    return sorted(path for path in found if os.path.getsize(path) > 10_000)[:: max(len(found) // n, 1)][:n]


def rates(folder: str, n_models: int, rounds: int) -> dict[str, float]:
    """Models a second, medians of rounds in which each runs once."""
    figures: dict[str, list[float]] = {"one process a file": [], "scan -j 2": [], "scan --on dask -j 2": []}
    files = whole_files(folder, ONE_BY_ONE)
    table = os.path.join(WORK, "fleet.jsonl")
    for _ in range(rounds):
        took = sum(seconds("show", path, "--json") for path in files)
        figures["one process a file"].append(len(files) / took)
        figures["scan -j 2"].append(n_models / seconds("scan", folder, "-o", table, "-j", "2"))
        figures["scan --on dask -j 2"].append(
            n_models / seconds("scan", folder, "-o", table, "-j", "2", "--on", "dask")
        )
    return {name: statistics.median(each) for name, each in figures.items()}


def parent_peak(folder: str) -> int:
    """Peak bytes of the process that was started, while it scanned into Parquet."""
    program = os.path.join(WORK, "peak.py")
    with open(program, "w", encoding="utf-8") as file:
        file.write(PEAK)
    words = [sys.executable, program, "-", "scan", folder, "-o", os.path.join(WORK, "fleet.parquet"), "-j", "2"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return int(next(line.split()[1] for line in done.stderr.splitlines() if line.startswith("peak")))


def fleet(n_models: int) -> str:
    """A folder of so many models, made when it is not there."""
    folder = f"{FOLDER}-{n_models}"
    if not os.path.isdir(folder):
        make(f"{folder}.part", n_models)
        os.replace(f"{folder}.part", folder)
    return folder


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="the parent's peak too, which scans 25,000 more models")
    args = parser.parse_args(words)
    os.makedirs(WORK, exist_ok=True)
    found = rates(fleet(args.models), args.models, args.rounds)
    alone, pool, dask = found.values()
    rows = [f"{name:<38}{rate:>9,.1f} models a second" for name, rate in found.items()]
    rows.append(f"{'scan / one process a file':<38}{pool / alone:>9.1f} ×  {verdict(pool / alone, 20, at_least=True)}")
    rows.append(f"{'Dask / processes':<38}{dask / pool:>9.2f} ×  {verdict(dask / pool, 0.75, at_least=True)}")
    if args.memory:
        small, large = parent_peak(fleet(5000)), parent_peak(fleet(20_000))
        rows.append(f"{'parent at 5,000 and 20,000 models':<38}{small / MB:>9.1f} MB {large / MB:.1f} MB  "
                    f"{verdict((large - small) / MB, 8)} MB more")  # fmt: skip
    print("\n".join(rows))
    return 1 if any("FAIL" in row for row in rows) else 0
