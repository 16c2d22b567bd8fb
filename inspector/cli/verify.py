"""`memory --verify`: the same question to llama.cpp itself, where its programs are on PATH.

`llama-fit-params` prints what a load would take. It knows no `--kv-unified` and reserves logits of a whole batch
(common/arg.cpp, set_examples); what llama-server does is in the table that it logs of a load that allocates nothing,
before its own (common_memory_breakdown_print, common/fit.cpp), and it is stopped there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading

from inspector.errors import InspectorError
from inspector.memory.devices.placement import ALL_LAYERS, HOST, device_named, device_names
from inspector.memory.engines import engine_of
from inspector.record import Record
from inspector.report.text import table
from inspector.units import MIB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any, Final

    from inspector.checkpoint import Checkpoint
    from inspector.memory.estimate import Estimate, Gpu, Placement, Workload

_COLUMNS: Final = (("weights", ("weights",)), ("context", ("kv_cache", "recurrent_state")), ("compute", ("compute",)))
_TIMEOUT: Final = 600  # seconds
_MOST_LINES: Final = 200_000
_MOST_OF_A_LINE: Final = 1 << 16
_HOST: Final = "Host"  # its name in both programs
# what llama.cpp calls the devices of a back end, before their number (ggml_backend_dev_name)
_PREFIXES: Final = {"cuda": "CUDA", "rocm": "ROCm", "vulkan": "Vulkan", "metal": "MTL", "sycl": "SYCL"}
_CELL: Final = r"\s*(\d{1,9})\s*"
_TABLE_ROW: Final = re.compile(
    rf"common_memory_breakdown_print: \|\s+- (\w{{1,40}})[^|]*\|[^|]*?{_CELL}={_CELL}\+{_CELL}\+{_CELL}(?:\)[^|]*)?\|"
)

Found = dict[str, tuple[int, int, int]]


class Program(Record):
    """A program that says what a load would take. `words`: how it is made to; `read`: device → MiB out of its lines.

    `unified`: it takes `--kv-unified`; `outputs`: the rows of logits that it reserves; `server`: llama-server's
    defaults, which are not said again.
    """

    name: str
    words: tuple[str, ...]
    read: Callable[[Iterable[str]], Found]
    unified: bool = False
    outputs: str = "all"
    server: bool = False


def parse_output(lines: Iterable[str]) -> Found:
    """Device → whole MiB of model, context and compute, as `llama-fit-params -fitp on` prints them."""
    found: Found = {}
    for line in lines:
        words = line.split()
        if len(words) == 4 and all(w.isascii() and w.isdigit() and len(w) < 10 for w in words[1:]):
            found[words[0]] = (int(words[1]), int(words[2]), int(words[3]))
    return found


def parse_breakdown(lines: Iterable[str]) -> Found:
    """The same out of the first memory table in a log; what follows it is not read."""
    found: Found = {}
    for line in lines:
        row = _TABLE_ROW.search(line)
        if row is not None:
            found[row[1]] = (int(row[3]), int(row[4]), int(row[5]))
        elif found:
            break
    return found


# --no-repack: printouts leave repacked weights out
_FIT_PARAMS: Final = Program("llama-fit-params", ("-fitp", "on", "--no-repack"), parse_output)
_SERVER: Final = Program(
    "llama-server", ("-fit", "on", "-lv", "5", "--no-repack", "--host", "127.0.0.1", "--port", "0"), parse_breakdown,
    unified=True, outputs="last", server=True,
)  # fmt: skip


def program_of(arguments: Mapping[str, Any]) -> Program:
    """Which program answers: llama-server for `--server`."""
    return _SERVER if arguments.get("server") else _FIT_PARAMS


def refusal(
    name: str, checkpoint: Checkpoint, workload: Workload, placement: Placement, asked: Mapping[str, Any]
) -> str | None:
    """Why llama.cpp cannot be asked the same question, or None. `asked`: other options of `memory`, by flag."""
    if not engine_of(name).verifier or checkpoint.format != "gguf":
        return "compares llama.cpp's figures of a GGUF file"
    if checkpoint.missing or checkpoint.missing_nbytes:
        return "needs the whole model: llama.cpp loads no file that is cut short"
    program = program_of({"server": asked.get("--server")})
    flags = [flag for flag, value in asked.items() if value and flag != "--server"]
    options = workload.options or {}
    if workload.outputs != program.outputs and (program.outputs == "all" or options.get("outputs_asked")):
        flags.append(f"--outputs {workload.outputs}")
    if not program.server:
        flags += ["--embeddings"] if options.get("embeddings") else []
    if workload.kv_unified and not program.unified and (workload.n_seqs or 1) > 1:
        flags.append("--kv-unified")
    flags += [f"--backend {g.backend}" for g in placement.gpus if g.backend not in _PREFIXES]
    return f"runs {program.name}, which has no such thing: leave {flags[0]} out" if flags else None


def command(path: str, workload: Workload, placement: Placement, *, program: Program = _FIT_PARAMS) -> list[str]:
    """A program with the settings of a workload, on the devices of a placement."""
    w = workload
    words = [program.name, "-m", path, *program.words, *_placed(placement), "-c", str(w.n_ctx or 0)]
    if w.n_seqs is not None or not program.server:
        words += ["-np", str(w.n_seqs or 1)]
    words += ["-b", str(w.n_batch or 2048), "-ub", str(w.n_ubatch or 512)]
    words += ["-ctk", w.kv_dtype_k or "f16", "-ctv", w.kv_dtype_v or "f16"]
    if w.flash_attn is not None:
        words += ["-fa", "on" if w.flash_attn else "off"]
    words += ["--swa-full"] if w.swa_full else []
    if program.unified and w.kv_unified is not None:
        words += ["--kv-unified" if w.kv_unified else "--no-kv-unified"]
    return words + (["--embeddings"] if program.server and (w.options or {}).get("embeddings") else [])


def native_names(gpus: Iterable[Gpu]) -> dict[str, str]:
    """What llama.cpp calls each device, by its name here."""
    gpus = tuple(gpus)
    counts: dict[str, int] = {}
    found = {}
    for name, gpu in zip(device_names(gpus), gpus, strict=True):
        prefix = _PREFIXES.get(gpu.backend, gpu.backend)
        found[name] = f"{prefix}{counts.setdefault(prefix, 0)}"
        counts[prefix] += 1
    return found


def _placed(p: Placement) -> Iterator[str]:
    """Where things go, in llama.cpp's own words."""
    if not p.gpus or p.devices == ():
        yield from ("-dev", "none", "-ngl", "0")
        return
    names = native_names(p.gpus)
    names[HOST] = "CPU"
    known = tuple(name for name in names if name != HOST)
    yield from ("-ngl", "all" if p.n_gpu_layers is None or p.n_gpu_layers < 0 else str(p.n_gpu_layers))
    if p.devices is not None:
        yield from ("-dev", ",".join(names[device_named(d, known)] for d in p.devices))
    if p.split_mode != "layer":
        yield from ("-sm", p.split_mode, "-mg", str(p.main_gpu))
    if p.tensor_split:
        yield from ("-ts", ",".join(f"{x:g}" for x in p.tensor_split))
    rules = ",".join(f"{pattern}={names[device_named(d, known)]}" for pattern, d in p.overrides)
    experts = ("--cpu-moe",) if p.n_cpu_moe >= ALL_LAYERS else ("-ncmoe", str(p.n_cpu_moe)) if p.n_cpu_moe else ()
    patterns = (experts, ("-ot", rules) if rules else ())  # of two that match, the first decides
    for words in patterns if p.experts_first else reversed(patterns):
        yield from words
    if not p.kv_offload:
        yield "--no-kv-offload"
    if not p.op_offload:
        yield "--no-op-offload"


def _run(words: list[str], program: Program) -> Found:
    """What a program says, which is ended once it has. Raises InspectorError where it says nothing."""
    if shutil.which(program.name) is None:
        raise InspectorError(f"--verify needs {program.name} on PATH", hint="it comes with llama.cpp")
    try:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace",
        )  # fmt: skip
    except OSError as error:
        raise InspectorError(f"{program.name} gave no answer: {error}") from None
    timer = threading.Timer(_TIMEOUT, process.kill)
    timer.start()
    last: list[str] = []
    try:
        with process:
            found = program.read(_lines(process, last))
            process.kill()
    finally:
        timer.cancel()
    if not found:
        said = last[0] if last else f"exit code {process.returncode}, and no output"
        raise InspectorError(f"{program.name} gave no figures: {said[:200]}")
    return found


def _lines(process: subprocess.Popen[str], last: list[str]) -> Iterator[str]:
    """The lines of a program as they come, no more and no longer than anybody reads; `last` keeps the latest."""
    assert process.stdout is not None
    for _ in range(_MOST_LINES):
        line = process.stdout.readline(_MOST_OF_A_LINE)
        if not line:
            process.wait()
            return
        if line.strip():
            last[:] = [line.strip()]
        yield line


def _path(checkpoint: Checkpoint) -> str:
    from inspector.sources.target import parse_target

    path = parse_target(checkpoint.target).path or checkpoint.target
    return os.path.join(path, checkpoint.files[0].name) if os.path.isdir(path) else path


def measure(checkpoint: Checkpoint, estimate: Estimate, placement: Placement, arguments: Mapping[str, Any]) -> Measured:
    """Ours and llama.cpp's figures. `placement`: as it was asked for. Raises InspectorError where there are none."""
    program = program_of(arguments)
    found = _run(command(_path(checkpoint), estimate.workload, placement, program=program), program)
    theirs = [name for name in found if name != _HOST]
    ours = [d.device for d in estimate.devices if d.capacity is not None]
    if len(theirs) != len(ours):
        there = ", ".join(theirs) or "the CPU"
        raise InspectorError(f"{program.name} runs on {there} here, and {len(ours)} devices were asked about")
    pairs = {_HOST: HOST, **dict(zip(theirs, ours, strict=True))}
    devices = {theirs: _rows(found.get(theirs, (0, 0, 0)), estimate, name) for theirs, name in pairs.items()}
    return Measured(program.name, devices)


def _rows(measured: tuple[int, int, int], estimate: Estimate, device: str) -> dict[str, dict[str, int | None]]:
    """One device's parts in whole MiB: ours (None: not known) and theirs."""
    rows: dict[str, dict[str, int | None]] = {}
    for (name, whats), theirs in zip(_COLUMNS, measured, strict=True):
        ours = sum(x.nbytes for x in estimate.lines if x.what in whats and x.device == device) // MIB
        known = not set(whats) & set(estimate.unknown)
        rows[name] = {"ours_mib": ours if known else None, "measured_mib": theirs}
    return rows


class Measured(Record):
    """Both figures by device (llama.cpp's names) and part, and who gave the others."""

    program: str
    devices: Mapping[str, Mapping[str, Mapping[str, int | None]]]

    def as_json(self) -> dict[str, Any]:
        """Parts over all devices, and each device's where there are several."""
        sums: dict[str, Any] = {name: _summed(rows[name] for rows in self.devices.values()) for name, _ in _COLUMNS}
        return sums | ({"devices": self.devices} if len(self.devices) > 1 else {})


def _summed(rows: Iterable[Mapping[str, int | None]]) -> dict[str, int | None]:
    found: dict[str, int | None] = {"ours_mib": 0, "measured_mib": 0}
    for row in rows:
        for name, value in row.items():
            so_far = found[name]
            found[name] = None if value is None or so_far is None else so_far + value
    return found


def verify_lines(measured: Measured) -> list[str]:
    """Both figures side by side, device by device."""
    several = len(measured.devices) > 1
    cells = [("", "here", measured.program, "difference")]
    for device, rows in measured.devices.items():
        for part, row in rows.items():
            name = f"{device} {part}" if several else part
            ours, theirs = row["ours_mib"], row["measured_mib"] or 0
            here = "unknown" if ours is None else f"{ours:,} MiB"
            off = "" if ours is None else f"{ours - theirs:+,} MiB" if ours != theirs else "0"
            cells.append((name, here, f"{theirs:,} MiB", off))
    return ["", *table(cells, align="<>>>")]
