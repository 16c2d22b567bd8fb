"""Start llama-server, read what it reserves for each context and for a vision tower, and print a row of JSON.

usage: measure_server.py FILE.gguf [llama-server's options, like -c 8192 --spec-type draft-mtp -md DRAFT.gguf]
`llama-server` must be on PATH; files may be sparse with --no-warmup, but a tower is measured at the warm-up only.
Rows like those of fixtures/beside.jsonl.gz (contexts in order: the model's, then the draft's) and towers.jsonl.gz.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from typing import Any

PROGRAM = "llama-server"
SECONDS = 120
READY = ("server is listening", "all slots are idle")
BUFFER = re.compile(r"(\S+) +(model|KV|RS|compute|output) buffer size *= *([\d.]+) MiB")
COUNTS = re.compile(r"(n_rs_seq|n_outputs_max) += (\d+)$")
TOWER = re.compile(r"(?:warmup|reserve_compute_meta): +(\S+) compute buffer size")


def parse(lines: list[str]) -> dict[str, Any]:
    """Buffers in MiB, by context; those of the tower apart. A buffer that is reserved again counts as the last time."""
    contexts: list[dict[str, Any]] = []
    models: list[tuple[str, float]] = []
    tower: dict[str, float] = {}
    for line in lines:
        count, m = COUNTS.search(line.rstrip()), BUFFER.search(line)
        if count and count[1] == "n_rs_seq":
            contexts.append({"models": models})
            models = []
        if count and contexts:
            contexts[-1][count[1]] = int(count[2])
        if m is None:
            continue
        name, what, mib = m[1], m[2], float(m[3])
        if TOWER.search(line):
            tower[name] = mib
        elif what == "model":
            models.append((name, mib))
        elif contexts:
            sizes = contexts[-1].setdefault(what, {})
            sizes[name] = round(sizes.get(name, 0) + mib, 2) if what in {"KV", "RS"} else mib
    return {"contexts": contexts, "tower": tower}


def start(path: str, options: list[str], *, program: str = PROGRAM, env: dict[str, str] | None = None) -> list[str]:
    """What the server says until it listens, ends, or has taken too long."""
    command = [program, "-m", path, "-lv", "5", "-fit", "off", "--offline", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=env
    ) as run:
        late = threading.Timer(SECONDS, run.kill)
        late.start()
        said = []
        for line in run.stdout or ():
            said.append(line)
            if any(word in line for word in READY):
                break
        late.cancel()
        run.kill()
    return said


def main() -> int:
    if len(sys.argv) < 2 or shutil.which(PROGRAM) is None:
        sys.exit(__doc__)
    found = parse(start(sys.argv[1], sys.argv[2:]))
    print(json.dumps({"args": sys.argv[2:], **found}, separators=(",", ":")))
    return 0 if found["contexts"] else 1


if __name__ == "__main__":
    sys.exit(main())
