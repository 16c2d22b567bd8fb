"""Figures of published start-up logs (fixtures/gpu_logs.jsonl) beside ours, as a table in Markdown. Sizes in MiB.

    python scripts/real_logs.py

A log's model is predicted as a GGUF of Q4_K_M from its shape: fixtures/configs, or fixtures/gpu_logs_models.json as
published. Caches, states and output buffers do not depend on the build; compute buffers do: builds before b11434 plan
other graphs, without copies of a quantised cache and with inputs of their own.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

from inspector.cli.group import run_command_line

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
NEWEST = "2026-10"  # a build with b11434's graphs
PARTS = {  # figure of a log: (line of an estimate, whether it lies on the host; None: anywhere)
    "kv": ("kv_cache", None),
    "rs": ("recurrent_state", None),
    "output": ("output", None),
    "compute_dev": ("compute", False),
    "compute_host": ("compute", True),
}
WORDS = {
    "kv": "KV cache", "rs": "recurrent state", "output": "output", "compute_dev": "compute, device",
    "compute_host": "compute, host",
}  # fmt: skip


def config_of(header: str) -> dict[str, Any]:
    """The shape of a log's model, as a config.json."""
    models = json.loads((FIXTURES / "gpu_logs_models.json").read_text(encoding="utf-8"))
    shape: dict[str, Any] | None = models["shapes"].get(header)
    if shape is not None:
        return shape
    found: dict[str, Any] = json.loads((FIXTURES / "configs" / f"{models['configs'][header]}.json").read_text())
    return found


def ours(config: dict[str, Any], args: list[str]) -> dict[str, float]:
    """Our figures for a log's settings, on one card that is large enough."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "config.json"
        target.write_text(json.dumps(config), encoding="utf-8")
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            words = ["memory", str(target), "-e", "llama.cpp", "--quant", "Q4_K_M", "--gpu", "999GiB", "--json", *args]
            code = run_command_line(words)
    if code == 2:
        raise SystemExit(f"{' '.join(words)}: no answer")
    lines: list[dict[str, Any]] = json.loads(out.getvalue())["lines"]
    sums = {}
    for part, (what, host) in PARTS.items():
        of_part = [x for x in lines if x["what"] == what and host in {None, x["device"] == "host"}]
        sums[part] = sum(x["nbytes"] for x in of_part) / 2**20
    return sums


def reason(row: dict[str, Any], part: str, off: float) -> str:
    """Why a figure is another one."""
    if abs(off) <= 0.0051:
        return ""
    if part.startswith("compute") and row["build"] < NEWEST:
        return "an older build's graph, or a setting that is not in the log"
    return row["note"] or "not explained"


def table(rows: list[dict[str, Any]]) -> list[str]:
    """One line a figure of a log: source, build, settings, theirs, ours."""
    lines = [
        "| log | model | card, build | settings | figure | log | here | why |",
        "|---|---|---|---|---|---:|---:|---|",
    ]
    for row in rows:
        figures = ours(config_of(row["header"]), row["args"])
        for part, mib in row["mib"].items():
            start = f"| {row['source']} | {row['model']} | {row['card']}, {row['build']} | `{' '.join(row['args'])}` "
            why = reason(row, part, figures[part] - mib)
            lines.append(f"{start}| {WORDS[part]} | {mib:,.2f} | {figures[part]:,.2f} | {why} |")
    return lines


def main() -> int:
    rows = [json.loads(line) for line in (FIXTURES / "gpu_logs.jsonl").read_text(encoding="utf-8").splitlines()]
    lines = table(rows)
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines[2:]]
    counts = []
    for part in WORDS.values():
        whys = [c[-1] for c in cells if c[4] == part]
        counts.append(f"{part} {sum(not why for why in whys)} of {len(whys)}")
    print("\n".join(lines))
    print(f"\nEqual to the printed digit: {', '.join(counts)}.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
