"""An engine's own figures beside ours: the question a log answers, asked of the estimator, line by line."""

from __future__ import annotations

from inspector.errors import InspectorError
from inspector.memory.estimate import Gpu, Placement, Workload
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from inspector.logs import StartupLog
    from inspector.memory.estimate import Estimate


class Comparison(Record):
    """One line: bytes that the engine printed, and ours (None: not known). `precision`: bytes of rounding in theirs."""

    what: str
    device: str
    theirs: int
    ours: int | None
    precision: int = 0

    @property
    def off(self) -> float | None:
        """Our difference as a share of theirs; 0 within the printed digits, None when ours is not known."""
        if self.ours is None:
            return None
        if abs(self.ours - self.theirs) <= self.precision:
            return 0.0
        return abs(self.ours - self.theirs) / self.theirs if self.theirs else 1.0


def _int(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _flash(value: Any) -> bool | None:
    return {1: True, 0: False, "on": True, "off": False, "enabled": True, "disabled": False}.get(value)


def workload_of(log: StartupLog) -> Workload:
    """The workload that a log's settings describe; what it does not say is left to the engine's defaults."""
    s = log.settings
    if log.engine == "vllm":
        dtype = s.get("kv_cache_dtype")
        names = ("max_num_batched_tokens", "max_num_seqs", "dtype", "enforce_eager")
        options = {name: s[name] for name in names if s.get(name)}
        cache = None if dtype in {None, "auto"} else str(dtype)
        return Workload(
            n_ctx=_int(s.get("max_seq_len")), kv_dtype_k=cache, kv_dtype_v=cache,
            options=options or None,
        )  # fmt: skip
    rows, batch = _int(s.get("n_outputs_max")), _int(s.get("n_batch"))
    last = rows < batch if rows and batch else bool(s.get("server"))
    unified = s.get("kv_unified")
    return Workload(
        n_ctx=_int(s.get("n_ctx")), n_seqs=_int(s.get("n_seq_max")), n_batch=batch, n_ubatch=_int(s.get("n_ubatch")),
        kv_dtype_k=s.get("type_k"), kv_dtype_v=s.get("type_v"), flash_attn=_flash(s.get("flash_attn")),
        kv_unified=unified if isinstance(unified, bool) else None, outputs="last" if last else "all",
        options={"outputs_asked": True},
    )  # fmt: skip


_BACKENDS = (("CUDA", "cuda"), ("ROCm", "rocm"), ("Metal", "metal"), ("MTL", "metal"), ("Vulkan", "vulkan"),
             ("SYCL", "sycl"), ("RPC", "rpc"))  # fmt: skip


def is_host(device: str) -> bool:
    """Whether a buffer of this name lies in host memory: CPU, CPU_Mapped, CUDA_Host, ROCm_Host, …"""
    return device.startswith("CPU") or device.endswith("_Host") or device in {"host", "AMX", "BLAS"}


def _gpu_names(log: StartupLog) -> list[str]:
    """Devices by name, those that only a buffer names too."""
    names = [d.name for d in log.devices]
    for buffer in log.buffers:
        name = device_of(buffer.device)
        if name != "host" and name not in names:
            names.append(name)
    return names


def device_of(buffer: str) -> str:
    """The device that a buffer's name belongs to, `host` for all of host memory."""
    if is_host(buffer):
        return "host"
    for suffix in ("_Mapped", "_Private", "_Shared", "_REPACK", "_Repack"):
        buffer = buffer.removesuffix(suffix)
    return buffer


def placement_of(log: StartupLog, given: Placement | None = None) -> Placement:
    """Where the log's model lies. What a log does not print (`-ts`, `-ot`, `-ncmoe`) is taken from `given`."""
    base = given or Placement()
    if log.engine == "vllm":
        return base.replace(tensor_parallel=_int(log.settings.get("tensor_parallel_size")) or 1)
    offloaded = log.settings.get("offloaded")
    names = _gpu_names(log) if offloaded != 0 or log.devices else []
    known = {d.name: d for d in log.devices}
    gpus = tuple(
        Gpu(
            name=name,
            capacity=(known[name].free or known[name].total or 1 << 62) if name in known else 1 << 62,
            backend=next((b for prefix, b in _BACKENDS if name.startswith(prefix)), "cuda"),
        )
        for name in names
    )
    caches = [b.device for b in log.buffers if b.what in {"kv_cache", "recurrent_state"} and b.nbytes]
    on_host = bool(caches) and all(is_host(name) for name in caches) and bool(offloaded)
    return base.replace(
        gpus=gpus,
        n_gpu_layers=offloaded if base.n_gpu_layers is None else base.n_gpu_layers,
        n_cpu_moe=base.n_cpu_moe or log.settings.get("n_cpu_moe", 0),
        kv_offload=base.kv_offload and not on_host,
    )


def _sums(pairs: Iterable[tuple[tuple[str, str], int]]) -> dict[tuple[str, str], int]:
    sums: dict[tuple[str, str], int] = {}
    for key, nbytes in pairs:
        sums[key] = sums.get(key, 0) + nbytes
    return sums


def _our_key(what: str, device: str, label: str, engine: str) -> tuple[str, str] | None:
    if engine == "vllm":
        # of the overhead, a log prints the graphs alone
        return None if what == "overhead" and label != "cuda_graphs" else (what, "GPU 0")
    return what, device


def compare(log: StartupLog, estimate: Estimate) -> tuple[Comparison, ...]:
    """Their buffers and our lines by kind and device; what only one side has is a line with 0 on the other.

    Lines that the log has no figure of anywhere (an old build without output buffers) are left out.
    Raises InspectorError when the estimate is of another engine than the log.
    """
    if log.engine != estimate.engine:
        raise InspectorError(f"a log of {log.engine} beside an estimate of {estimate.engine}")
    theirs = _sums(((b.what, b.device if log.engine == "vllm" else device_of(b.device)), b.nbytes) for b in log.buffers)
    slack = _sums(
        ((b.what, b.device if log.engine == "vllm" else device_of(b.device)), b.precision) for b in log.buffers
    )
    first = {line.device for line in estimate.lines[:1]} if log.engine == "vllm" else set()
    keyed = (
        (_our_key(x.what, x.device, x.label, log.engine), x.nbytes)
        for x in estimate.lines
        if not first or x.device in first
    )
    ours = _sums((key, nbytes) for key, nbytes in keyed if key is not None)
    printed = {what for what, _ in theirs}
    keys = [*theirs, *(k for k in ours if k not in theirs and k[0] in printed and ours[k])]
    return tuple(
        Comparison(
            what=key[0], device=key[1], theirs=theirs.get(key, 0), precision=slack.get(key, 0),
            ours=None if key[0] in estimate.unknown else ours.get(key, 0),
        )
        for key in keys
    )  # fmt: skip
