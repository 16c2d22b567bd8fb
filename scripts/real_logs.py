"""Figures of published start-up logs (fixtures/gpu_logs.jsonl) beside ours, as a table in Markdown.

    python scripts/real_logs.py --models FOLDER

FOLDER holds `NAME.gguf` (a sparse file will do) for each `header` of the fixture; rows without one are left blank.
Builds older than b11434 plan other graphs: their compute differs by its rules, not by ours. Sizes in MiB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

FIXTURE = Path(__file__).resolve().parent.parent / "fixtures" / "gpu_logs.jsonl"
PARTS = {  # figure of a log: (line of an estimate, whether it lies on the host; None: anywhere)
    "kv": ("kv_cache", None),
    "rs": ("recurrent_state", None),
    "output": ("output", None),
    "compute_dev": ("compute", False),
    "compute_host": ("compute", True),
}


def ours(target: Path, args: list[str]) -> dict[str, float]:
    """Our figures for a log's settings, on one card that is large enough."""
    words = [sys.executable, "-m", "inspector", "memory", str(target), "-e", "llama.cpp", "--gpu", "999GiB", "--json"]
    done = subprocess.run([*words, *args], capture_output=True, text=True, check=False)
    if done.returncode == 2:
        raise SystemExit(f"{target}: {done.stderr.strip()}")
    lines: list[dict[str, Any]] = json.loads(done.stdout)["lines"]
    sums = {}
    for part, (what, host) in PARTS.items():
        of_part = [x for x in lines if x["what"] == what and host in {None, x["device"] == "host"}]
        sums[part] = sum(x["nbytes"] for x in of_part) / 2**20
    return sums


def table(rows: list[dict[str, Any]], models: Path) -> list[str]:
    """One line a figure of a log: source, build, settings, theirs, ours."""
    lines = ["| log | model | card, build | settings | figure | log | here |", "|---|---|---|---|---|---:|---:|"]
    for row in rows:
        target = models / f"{row['header']}.gguf"
        figures = ours(target, row["args"]) if target.exists() else {}
        for part, mib in row["mib"].items():
            here = f"{figures[part]:,.2f}" if part in figures else ""
            start = f"| {row['source']} | {row['model']} | {row['card']}, {row['build']} | `{' '.join(row['args'])}` "
            lines.append(f"{start}| {part} | {mib:,.2f} | {here} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", type=Path, required=True)
    rows = [json.loads(line) for line in FIXTURE.read_text(encoding="utf-8").splitlines()]
    print("\n".join(table(rows, parser.parse_args().models)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
