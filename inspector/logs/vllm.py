"""vLLM's start-up lines, from 0.6 (V0's memory profile) to the V1 engine's figures of today.

Sources: v1/engine/core.py (the config line), v1/worker/gpu_model_runner.py (loading, graphs), v1/worker/gpu_worker.py
(available memory), v1/core/kv_cache_utils.py (tokens and concurrency); worker/worker.py in 0.6 (the profile).
"""

from __future__ import annotations

import re

from inspector.logs.records import LogBuffer, LogDevice, StartupLog
from inspector.units import GIB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

_GIB: Final = r"\s*(\d{1,6}(?:\.\d{1,6})?) ?Gi?B"
_FIGURES: Final = (
    ("weights", re.compile(r"Model loading took" + _GIB)),
    ("weights", re.compile(r"model weights take" + _GIB)),
    ("compute", re.compile(r"activation peak memory takes" + _GIB)),
    ("overhead", re.compile(r"Graph capturing finished in .{1,40}took" + _GIB)),
)
_VERSION: Final = re.compile(
    r"LLM engine \(v([0-9A-Za-z.+]{1,60})\)|vLLM (?:API server )?version v?([0-9][\w.+]{0,60})"
)
_KEYS: Final = re.compile(
    r"\b(model|dtype|max_seq_len|tensor_parallel_size|quantization|enforce_eager|kv_cache_dtype|max_num_seqs"
    r"|max_num_batched_tokens|gpu_memory_utilization)=('[^']{0,1000}'|[\w.]{1,60})"
)
_BATCHED: Final = re.compile(r"max_num_batched_tokens=(\d{1,9})")
_POOL: Final = re.compile(r"Available KV cache memory:" + _GIB)
_TOKENS: Final = re.compile(r"GPU KV cache size: ([\d,]{1,20}) tokens")
_CONCURRENCY: Final = re.compile(r"Maximum concurrency for ([\d,]{1,20}) tokens per request: (\d{1,9}(?:\.\d{1,4})?)x")


def _value(text: str) -> Any:
    text = text.strip("'").removeprefix("torch.")
    if text.isascii() and text.isdigit() and len(text) < 19:
        return int(text)
    return {"True": True, "False": False, "None": None}.get(text, text)


def _settings(lines: list[str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for line in lines:
        if "LLM engine (" in line:
            settings |= {key: _value(value) for key, value in _KEYS.findall(line)}
        elif found := _BATCHED.search(line):
            settings.setdefault("max_num_batched_tokens", int(found[1]))
        elif found := _TOKENS.search(line):
            settings.setdefault("pool_tokens", int(found[1].replace(",", "") or 0))
        elif found := _CONCURRENCY.search(line):
            settings.setdefault("max_seq_len", int(found[1].replace(",", "") or 0))
            settings.setdefault("concurrency", float(found[2]))
        elif found := _POOL.search(line):
            settings.setdefault("pool_gib", float(found[1]))
    return settings


def _step(text: str) -> int:
    return int(GIB // 10 ** len(text.partition(".")[2]))


def _buffers(lines: list[str]) -> dict[str, LogBuffer]:
    """The first rank's figure of each kind."""
    sizes: dict[str, LogBuffer] = {}
    for line in lines:
        for what, pattern in _FIGURES:
            found = pattern.search(line)
            if found is not None and what not in sizes:
                nbytes = round(float(found[1]) * GIB)
                sizes[what] = LogBuffer(what=what, device="GPU 0", nbytes=nbytes, precision=_step(found[1]))
    return sizes


def _one_request(settings: dict[str, Any]) -> LogBuffer | None:
    """One request of the greatest length: the pool over the concurrency, both printed with two digits."""
    pool, times = settings.get("pool_gib"), settings.get("concurrency")
    if not pool or not times:
        return None
    nbytes = round(pool * GIB / times)
    slack = round(nbytes * (0.005 / pool + 0.005 / times))
    return LogBuffer(what="kv_cache", device="GPU 0", nbytes=nbytes, precision=slack)


def read_vllm(lines: list[str]) -> StartupLog | None:
    """vLLM's figures of one rank; None when the log holds none."""
    settings = _settings(lines)
    sizes = _buffers(lines)
    request = _one_request(settings)
    if request is not None:
        sizes["kv_cache"] = request
    if not sizes:
        return None
    version = next((m for line in lines if (m := _VERSION.search(line))), None)
    build = (version[1] or version[2]) if version else "not said"
    ranks = settings.get("tensor_parallel_size")
    devices = tuple(LogDevice(name=f"GPU {i}") for i in range(ranks if isinstance(ranks, int) and ranks < 1024 else 1))
    return StartupLog(
        engine="vllm", build=build, model=str(settings.get("model", "")), settings=settings, devices=devices,
        buffers=tuple(sizes.values()),
    )  # fmt: skip
