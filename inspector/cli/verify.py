"""`memory --verify`: the same question to llama.cpp itself, where `llama-fit-params` is on PATH."""

from __future__ import annotations

import shutil
import subprocess

from inspector.cli import outcome
from inspector.errors import InspectorError
from inspector.report.text import table
from inspector.units import MIB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from inspector.checkpoint import Checkpoint
    from inspector.memory.estimate import Estimate

PROGRAM: Final = "llama-fit-params"
_COLUMNS: Final = (("weights", ("weights",)), ("context", ("kv_cache", "recurrent_state")), ("compute", ("compute",)))


def command(path: str, estimate: Estimate) -> list[str]:
    """llama-fit-params with the settings of an estimate. `--no-repack`: its printout leaves repacked weights out."""
    e, w = estimate.effective, estimate.workload
    args = ["-m", path, "-fitp", "on", "--no-repack", "-c", str(e["n_ctx"]), "-np", str(w.n_seqs or 1)]
    args += ["-b", str(w.n_batch or 2048), "-ub", str(w.n_ubatch or 512)]
    args += ["-ctk", w.kv_dtype_k or "f16", "-ctv", w.kv_dtype_v or "f16"]
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


def _measure(path: str, estimate: Estimate) -> dict[str, tuple[int, int, int]]:
    if shutil.which(PROGRAM) is None:
        raise InspectorError(f"--verify needs {PROGRAM} on PATH", hint="it comes with llama.cpp")
    done = subprocess.run(
        command(path, estimate), capture_output=True, text=True, errors="replace", check=False, timeout=600
    )
    found = parse_output(done.stdout)
    if not found:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise InspectorError(f"{PROGRAM} gave no figures: {last[:200]}")
    return found


def verify_llamacpp(checkpoint: Checkpoint, estimate: Estimate, *, as_json: bool) -> None:
    """Prints both figures line by line. Raises InspectorError when there is nothing to run or to compare."""
    if estimate.engine != "llama.cpp" or checkpoint.format != "gguf":
        raise InspectorError("--verify compares llama.cpp's figures of a GGUF file")
    measured = _measure(checkpoint.target, estimate)
    rows = [("", "ours", "llama.cpp", "difference")]
    differences = {}
    for i, (name, whats) in enumerate(_COLUMNS):
        ours = sum(line.nbytes for line in estimate.lines if line.what in whats) // MIB
        theirs = sum(v[i] for v in measured.values())
        differences[name] = {"ours_mib": ours, "measured_mib": theirs}
        rows.append((name, f"{ours:,} MiB", f"{theirs:,} MiB", f"{ours - theirs:+,} MiB"))
    if as_json:
        outcome.write_json({"schema": "inspector.verify/1", "lines": differences})
    else:
        outcome.write(["", *table(rows, align="<>>>")])
