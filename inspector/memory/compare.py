"""An engine's own figures beside ours: the question a log answers, asked of the estimator, line by line."""

from __future__ import annotations

from types import MappingProxyType

from inspector.errors import InspectorError
from inspector.memory.estimate import Gpu, Placement, Workload
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any, Final

    from inspector.logs import StartupLog
    from inspector.memory.estimate import Estimate, Line


class Comparison(Record):
    """One line: bytes that the engine printed, and ours (None: not known). `precision`: bytes of rounding in theirs.

    `low`: where our size is a range, its lower end; `ours` is then the safe one.
    """

    what: str
    device: str
    theirs: int
    ours: int | None
    precision: int = 0
    low: int | None = None

    @property
    def difference(self) -> int | None:
        """Bytes of ours less theirs, from the nearer end of a range; 0 between its ends, None when not known."""
        if self.ours is None:
            return None
        low = self.ours if self.low is None else self.low
        return max(low - self.theirs, 0) or min(self.ours - self.theirs, 0)

    @property
    def off(self) -> float | None:
        """That difference as a share of theirs; 0 within the printed digits, None when ours is not known."""
        if self.difference is None:
            return None
        if abs(self.difference) <= self.precision:
            return 0.0
        return abs(self.difference) / self.theirs if self.theirs else 1.0


def _int(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _flash(value: Any) -> bool | None:
    return {1: True, 0: False, "on": True, "off": False, "enabled": True, "disabled": False}.get(value)


class _Log:
    """How the log of one engine is understood: as a question to its estimator, and which lines are of one thing."""

    def workload(self, settings: Mapping[str, Any]) -> Workload:
        """The workload that settings describe."""
        raise NotImplementedError

    def placement(self, log: StartupLog, given: Placement) -> Placement:
        """Where the model lies; what is not printed is taken from `given`."""
        raise NotImplementedError

    def device(self, buffer: str) -> str:
        """The device that a buffer is on, by its name."""
        raise NotImplementedError

    def ours(self, lines: Iterable[Line]) -> Iterator[tuple[tuple[str, str], Line]]:
        """Kind and device of the lines that a log has figures of."""
        raise NotImplementedError


class _Vllm(_Log):
    """vLLM's: one rank's figures, whichever GPU it is on."""

    def workload(self, settings: Mapping[str, Any]) -> Workload:
        """Context, sequences and the options that sizes depend on."""
        dtype = settings.get("kv_cache_dtype")
        names = ("max_num_batched_tokens", "max_num_seqs", "dtype", "enforce_eager")
        options = {name: settings[name] for name in names if settings.get(name)}
        cache = None if dtype in {None, "auto"} else str(dtype)
        return Workload(
            n_ctx=_int(settings.get("max_seq_len")), kv_dtype_k=cache, kv_dtype_v=cache, options=options or None,
        )  # fmt: skip

    def placement(self, log: StartupLog, given: Placement) -> Placement:
        """As many ranks as the log says."""
        return given.replace(tensor_parallel=_int(log.settings.get("tensor_parallel_size")) or 1)

    def device(self, buffer: str) -> str:
        """As it is printed."""
        return buffer

    def ours(self, lines: Iterable[Line]) -> Iterator[tuple[tuple[str, str], Line]]:
        """Those of the first rank; of the overhead, a log prints the graphs alone."""
        lines = tuple(lines)
        for x in lines:
            if x.device == lines[0].device and (x.what != "overhead" or x.label == "cuda_graphs"):
                yield (x.what, "GPU 0"), x


class _LlamaCpp(_Log):
    """llama.cpp's: a buffer of each kind on every device."""

    def workload(self, settings: Mapping[str, Any]) -> Workload:
        """Context, sequences, batches, cache types; the last rows alone where fewer are held than a batch has."""
        s = settings
        rows, batch, unified = _int(s.get("n_outputs_max")), _int(s.get("n_batch")), s.get("kv_unified")
        last = rows < batch if rows and batch else bool(s.get("server"))
        return Workload(
            n_ctx=_int(s.get("n_ctx")), n_seqs=_int(s.get("n_seq_max")), n_batch=batch,
            n_ubatch=_int(s.get("n_ubatch")), kv_dtype_k=s.get("type_k"), kv_dtype_v=s.get("type_v"),
            flash_attn=_flash(s.get("flash_attn")), kv_unified=unified if isinstance(unified, bool) else None,
            outputs="last" if last else "all", options={"outputs_asked": True},
        )  # fmt: skip

    def placement(self, log: StartupLog, given: Placement) -> Placement:
        """The devices that are listed or hold a buffer, and how many layers are on them."""
        offloaded = log.settings.get("offloaded")
        names = _gpu_names(log) if offloaded != 0 or log.devices else []
        caches = [b.device for b in log.buffers if b.what in {"kv_cache", "recurrent_state"} and b.nbytes]
        on_host = bool(caches) and all(is_host(name) for name in caches) and bool(offloaded)
        return given.replace(
            gpus=tuple(_gpu(log, name) for name in names),
            n_gpu_layers=offloaded if given.n_gpu_layers is None else given.n_gpu_layers,
            n_cpu_moe=given.n_cpu_moe or log.settings.get("n_cpu_moe", 0),
            kv_offload=given.kv_offload and not on_host,
        )

    def device(self, buffer: str) -> str:
        """Without what the name says of how the memory is held."""
        return device_of(buffer)

    def ours(self, lines: Iterable[Line]) -> Iterator[tuple[tuple[str, str], Line]]:
        """All."""
        return (((x.what, x.device), x) for x in lines)


_LOGS: Final = MappingProxyType({"llama.cpp": _LlamaCpp(), "vllm": _Vllm()})


def engine_of_log(log: StartupLog) -> str:
    """The engine that wrote a log, with its build where it is one of llama.cpp's that the log says."""
    digits = log.build.removeprefix("b").partition(" ")[0]
    return f"{log.engine}@{digits}" if log.engine == "llama.cpp" and digits.isdecimal() else log.engine


def workload_of(log: StartupLog) -> Workload:
    """The workload that a log's settings describe; what it does not say is left to the engine's defaults."""
    return _LOGS[log.engine].workload(log.settings)


def placement_of(log: StartupLog, given: Placement | None = None) -> Placement:
    """Where the log's model lies. What a log does not print (`-ts`, `-ot`, `-ncmoe`) is taken from `given`."""
    return _LOGS[log.engine].placement(log, given or Placement())


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


def _gpu(log: StartupLog, name: str) -> Gpu:
    """A device with the memory that the log gives it; without bound where it gives none."""
    from inspector.memory.engines.llamacpp.backends import backend_of_device

    known = next((d for d in log.devices if d.name == name), None)
    capacity = (known.free or known.total) if known is not None else None
    return Gpu(name=name, capacity=capacity or 1 << 62, backend=backend_of_device(name))


def device_of(buffer: str) -> str:
    """The device that a buffer's name belongs to, `host` for all of host memory."""
    if is_host(buffer):
        return "host"
    for suffix in ("_Mapped", "_Private", "_Shared", "_REPACK", "_Repack"):
        buffer = buffer.removesuffix(suffix)
    return buffer


def _sums(pairs: Iterable[tuple[tuple[str, str], int]]) -> dict[tuple[str, str], int]:
    sums: dict[tuple[str, str], int] = {}
    for key, nbytes in pairs:
        sums[key] = sums.get(key, 0) + nbytes
    return sums


def compare(log: StartupLog, estimate: Estimate) -> tuple[Comparison, ...]:
    """Their buffers and our lines by kind and device; what only one side has is a line with 0 on the other.

    Lines that the log has no figure of anywhere (an old build without output buffers) are left out.
    Raises InspectorError when the estimate is of another engine than the log.
    """
    if log.engine != estimate.engine.partition("@")[0]:
        raise InspectorError(f"a log of {log.engine} beside an estimate of {estimate.engine}")
    of = _LOGS[log.engine]
    theirs = _sums(((b.what, of.device(b.device)), b.nbytes) for b in log.buffers)
    slack = _sums(((b.what, of.device(b.device)), b.precision) for b in log.buffers)
    lines = tuple(of.ours(estimate.lines))
    ours, least = _sums((key, x.nbytes) for key, x in lines), _sums((key, x.least) for key, x in lines)
    ranges = {key for key, x in lines if x.low is not None}
    printed = {what for what, _ in theirs}
    keys = [*theirs, *(k for k in ours if k not in theirs and k[0] in printed and ours[k])]
    return tuple(
        Comparison(
            what=key[0], device=key[1], theirs=theirs.get(key, 0), precision=slack.get(key, 0),
            ours=None if key[0] in estimate.unknown else ours.get(key, 0),
            low=least[key] if key in ranges and key[0] not in estimate.unknown else None,
        )
        for key in keys
    )  # fmt: skip
