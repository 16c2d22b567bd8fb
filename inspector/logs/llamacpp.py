"""llama.cpp's start-up lines, from builds of 2024 (`llm_load_tensors`) to b11434 (`sched_reserve`).

Sources at b11434: llama-model.cpp:1932 (model), llama-context.cpp:383 (output) and :742 (compute),
llama-kv-cache.cpp:291 (KV), llama-memory-recurrent.cpp:124 (RS), llama-model-loader.cpp:1253 (overridden tensors, at
debug level only).
"""

from __future__ import annotations

import re

from inspector.logs.records import LogBuffer, LogDevice, StartupLog
from inspector.record import Record
from inspector.units import MIB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Final

_WHATS: Final = {
    "model": "weights", "": "weights", "KV": "kv_cache", "RS": "recurrent_state", "compute": "compute",
    "output": "output",
}  # fmt: skip
_SETTINGS: Final = frozenset((
    "n_ctx", "n_ctx_seq", "n_ctx_per_seq", "n_batch", "n_ubatch", "n_seq_max", "flash_attn", "kv_unified",
    "n_outputs_max",
))  # fmt: skip
_BUFFER: Final = re.compile(
    r"(?:^|[\s:])([A-Za-z]\w{0,60}(?:\[[^\]]{1,60}\])?)\s+(?:(model|KV|RS|compute|output) )?buffer size\s*=\s*"
    r"(\d{1,9}(?:\.\d{1,4})?) MiB"
)
_SETTING: Final = re.compile(
    r"(?:llama_context|llama_init_from_model|llama_new_context_with_model):\s+(\w{1,40})\s*=\s*(\S{1,40})\s*$"
)
_OFFLOADED: Final = re.compile(r"offloaded (\d{1,6})/(\d{1,6}) layers to GPU")
_CACHE_TYPES: Final = re.compile(r"\bK \((\w{1,16})\):\s*[\d.]{1,16} MiB, V \((\w{1,16})\)")
_BUILD: Final = re.compile(r"\bbuild(?:_info)?:?\s*=?\s+b?(\d{1,9})\s*[(-]\s*([0-9a-z]{1,40})")
_LISTED: Final = re.compile(r"-\s+(\w{1,40})\s*:\s+(.{0,200}?) \((\d{1,9}) MiB, (\d{1,9}) MiB free\)")
_USED: Final = re.compile(r"using device (\w{1,40}) \((.{0,200}?)\).{0,80} - (\d{1,9}) MiB free")
_LOADED: Final = re.compile(r"loaded meta data with .{0,80}? tensors from (.{1,1000}?) \(version")
_OVERRIDDEN: Final = re.compile(r"tensor blk\.(\d{1,5})\.ffn_\w{1,20}_exps\.weight .{0,80}overridden to (\w{1,40})")


class _Load(Record):
    """The lines from one model's metadata on, and that model's path."""

    path: str
    lines: list[str]


def _loads(lines: Iterable[str]) -> list[_Load]:
    """The log cut where a model file is opened; what comes before the first belongs to it."""
    loads = [_Load(path="", lines=[])]
    for line in lines:
        found = _LOADED.search(line) if "loaded meta data" in line else None
        if found is not None:
            if loads[-1].path:
                loads.append(_Load(path=found[1], lines=[]))
            else:
                loads[-1] = _Load(path=found[1], lines=loads[-1].lines)
        loads[-1].lines.append(line)
    return loads


def _value(text: str) -> int | bool | str:
    if text.isascii() and text.isdigit() and len(text) < 19:
        return int(text)
    return {"true": True, "false": False}.get(text, text)


def _first_context(lines: list[str]) -> tuple[list[str], int]:
    """The lines up to the second context (`n_seq_max` opens one), and how many contexts there are."""
    starts = [i for i, line in enumerate(lines) if "n_seq_max" in line and _SETTING.search(line)]
    return (lines[: starts[1]] if len(starts) > 1 else lines), len(starts)


def _buffers(lines: list[str]) -> tuple[LogBuffer, ...]:
    """Each device's buffers by kind: caches add up, a compute buffer that is reserved again replaces the first."""
    sizes: dict[tuple[str, str], LogBuffer] = {}
    for line in lines:
        found = _BUFFER.search(line) if "buffer size" in line else None
        if found is None:
            continue
        what, device = _WHATS[found[2] or ""], found[1]
        nbytes = round(float(found[3]) * MIB)
        step = MIB // 10 ** len(found[3].partition(".")[2])
        before = sizes.get((what, device))
        if before is not None and what not in {"compute", "output"}:
            nbytes, step = nbytes + before.nbytes, step + before.precision
        sizes[what, device] = LogBuffer(what=what, device=device, nbytes=nbytes, precision=step)
    return tuple(sizes.values())


def _devices(lines: list[str]) -> tuple[LogDevice, ...]:
    """The devices that the model uses, else all that the log lists but the CPU."""
    listed: dict[str, LogDevice] = {}
    used: dict[str, LogDevice] = {}
    for line in lines:
        found = _LISTED.search(line) if "MiB free" in line else None
        if found is not None:
            total, free = int(found[3]) * MIB, int(found[4]) * MIB
            listed[found[1]] = LogDevice(name=found[1], description=found[2], total=total, free=free)
        found = _USED.search(line) if "using device" in line else None
        if found is not None:
            free = int(found[3]) * MIB
            known = listed.get(found[1])
            used[found[1]] = LogDevice(
                name=found[1], description=found[2], total=known.total if known else None, free=free
            )
    return tuple((used or {k: v for k, v in listed.items() if k != "CPU"}).values())


def _settings(lines: list[str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    host_experts: set[int] = set()
    for line in lines:
        if (found := _SETTING.search(line)) and found[1] in _SETTINGS:
            settings.setdefault(found[1], _value(found[2]))
        elif found := _OFFLOADED.search(line):
            settings["offloaded"], settings["offloadable"] = int(found[1]), int(found[2])
        elif found := _CACHE_TYPES.search(line):
            settings["type_k"], settings["type_v"] = found[1], found[2]
        elif (found := _OVERRIDDEN.search(line)) and found[2].startswith(("CPU", "CUDA_Host")):
            host_experts.add(int(found[1]))
        elif "llama_server" in line or "server is listening" in line or "srv " in line:
            settings["server"] = True
    if host_experts and host_experts == set(range(len(host_experts))):
        settings["n_cpu_moe"] = len(host_experts)
    return settings


def _build(lines: list[str]) -> str:
    for line in lines:
        found = _BUILD.search(line)
        if found is not None:
            number, commit = found[1], found[2]
            return f"b{number} ({commit})" if number != "0" else "not said"
    return "not said"


def read_llamacpp(lines: list[str]) -> StartupLog | None:
    """The first model's last load, and its first context; None when no buffer of llama.cpp's is in the log.

    A log may hold several: dry runs that look for what fits come before, a draft model comes after.
    """
    loads = _loads(lines)
    path = loads[0].path
    own = [load for load in loads if load.path == path and _buffers(load.lines)]
    if not own:
        return None
    start, contexts = _first_context(own[-1].lines)
    notes = [f"{name} is in the log too, and not compared" for name in {x.path: 0 for x in loads} if name != path]
    if contexts > 1:
        notes.append(f"{contexts} contexts were made; the first is compared")
    return StartupLog(
        engine="llama.cpp",
        build=_build(lines),
        model=path,
        settings=_settings(start),
        devices=_devices(lines),
        buffers=_buffers(start),
        notes=tuple(notes),
    )
