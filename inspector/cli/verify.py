"""`memory --verify`: the same question to llama.cpp itself, where `llama-fit-params` is on PATH."""

from __future__ import annotations

import os
import shutil
import subprocess

from inspector.errors import InspectorError
from inspector.memory.engines import engine_of
from inspector.report.text import table
from inspector.units import MIB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from inspector.checkpoint import Checkpoint
    from inspector.memory.estimate import Estimate, Workload

PROGRAM: Final = "llama-fit-params"
_COLUMNS: Final = (("weights", ("weights",)), ("context", ("kv_cache", "recurrent_state")), ("compute", ("compute",)))


def refusal(name: str, checkpoint: Checkpoint, params: Mapping[str, Any]) -> str | None:
    """Why llama-fit-params cannot be asked the same question, or None. `params`: the options of `memory` by name."""
    if engine_of(name).verifier != PROGRAM or checkpoint.format != "gguf":
        return "compares llama.cpp's figures of a GGUF file"
    if checkpoint.missing or checkpoint.missing_nbytes:
        return "needs the whole model: llama.cpp loads no file that is cut short"
    for flag, value in params.items():
        if value:
            return f"runs {PROGRAM} on the CPU, as it is by default: leave {flag} out"
    return None


def command(path: str, workload: Workload) -> list[str]:
    """llama-fit-params with the settings of a workload, on no device.

    `--no-repack`: its printout leaves repacked weights out.
    """
    w = workload
    args = ["-m", path, "-fitp", "on", "--no-repack", "-dev", "none", "-ngl", "0"]
    args += ["-c", str(w.n_ctx or 0), "-np", str(w.n_seqs or 1), "-b", str(w.n_batch or 2048)]
    args += ["-ub", str(w.n_ubatch or 512), "-ctk", w.kv_dtype_k or "f16", "-ctv", w.kv_dtype_v or "f16"]
    if w.flash_attn is not None:
        args += ["-fa", "on" if w.flash_attn else "off"]
    args += ["--swa-full"] if w.swa_full else []
    args += ["--kv-unified"] if w.kv_unified else []
    return [PROGRAM, *args]


def parse_output(text: str) -> dict[str, tuple[int, int, int]]:
    """Device → whole MiB of model, context and compute, as `-fitp on` prints them."""
    found: dict[str, tuple[int, int, int]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 4 and all(w.isdigit() for w in words[1:]):
            found[words[0]] = (int(words[1]), int(words[2]), int(words[3]))
    return found


def _measure(path: str, workload: Workload) -> dict[str, tuple[int, int, int]]:
    if shutil.which(PROGRAM) is None:
        raise InspectorError(f"--verify needs {PROGRAM} on PATH", hint="it comes with llama.cpp")
    try:
        done = subprocess.run(
            command(path, workload), capture_output=True, text=True, errors="replace", check=False, timeout=600
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InspectorError(f"{PROGRAM} gave no answer: {error}") from None
    found = parse_output(done.stdout)
    if not found:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}, and no output"])[-1]
        raise InspectorError(f"{PROGRAM} gave no figures: {last[:200]}")
    return found


def measure(checkpoint: Checkpoint, estimate: Estimate) -> dict[str, dict[str, int | None]]:
    """Whole MiB of weights, context and compute: ours (None: not known) and what llama-fit-params prints.

    Raises InspectorError when there is nothing to run or nothing to compare.
    """
    from inspector.sources.target import parse_target

    path = parse_target(checkpoint.target).path or checkpoint.target
    if os.path.isdir(path):
        path = os.path.join(path, checkpoint.files[0].name)
    measured = _measure(path, estimate.workload)
    rows: dict[str, dict[str, int | None]] = {}
    for i, (name, whats) in enumerate(_COLUMNS):
        ours = sum(line.nbytes for line in estimate.lines if line.what in whats) // MIB
        known = not set(whats) & set(estimate.unknown)
        rows[name] = {"ours_mib": ours if known else None, "measured_mib": sum(v[i] for v in measured.values())}
    return rows


def verify_lines(rows: Mapping[str, Mapping[str, int | None]]) -> list[str]:
    """Both figures side by side."""
    cells = [("", "here", PROGRAM, "difference")]
    for name, row in rows.items():
        ours, theirs = row["ours_mib"], row["measured_mib"] or 0
        if ours is None:
            cells.append((name, "unknown", f"{theirs:,} MiB", ""))
        else:
            cells.append(
                (name, f"{ours:,} MiB", f"{theirs:,} MiB", f"{ours - theirs:+,} MiB" if ours - theirs else "0")
            )
    return ["", *table(cells, align="<>>>")]
