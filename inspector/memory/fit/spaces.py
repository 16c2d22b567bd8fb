"""What an engine lets one choose: cache types, places, and whether a choice holds. One space a candidate."""

from __future__ import annotations

from inspector.errors import WorkloadError
from inspector.memory.cache import kv_dtype
from inspector.memory.engines import engine_name, estimate
from inspector.memory.estimate import Placement, Workload
from inspector.memory.fit.search import HOPELESS
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, Final

    from inspector.memory.estimate import Device, Estimate
    from inspector.memory.fit.choose import Ask, Candidate

# cache types to try, finest first
KV_TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "llama.cpp": ("f16", "q8_0", "q4_0"),
    "vllm": ("auto", "fp8"),
    "transformers": ("auto",),
    "textbook": ("f16", "fp8"),
}
TIGHT_UTILIZATION: Final = 0.97  # the largest share of a GPU that people give vLLM


def space_of(candidate: Candidate, ask: Ask, memo: dict[Any, Any]) -> Space:
    """The space of a candidate under the engine asked for. Raises WorkloadError where the engine takes none of it."""
    name = engine_name(ask.engine)
    if name == "llama.cpp":
        from inspector.memory.fit.llamacpp import LlamaSpace

        return LlamaSpace(candidate, ask, memo)
    return VllmSpace(candidate, ask) if name == "vllm" else Space(candidate, ask)


class Attempt(Record):
    """A placement, the engine's arguments with it, and the bytes that the fullest device misses (0 or less: fits)."""

    placement: Placement
    arguments: Mapping[str, Any]
    excess: int


class Space:
    """Everything on the devices, in one way: the textbook's and transformers' space, and the base of the others."""

    step = 1

    def __init__(self, candidate: Candidate, ask: Ask) -> None:
        self.candidate = candidate
        self.ask = ask
        self.engine = engine_name(ask.engine)
        self.levels: tuple[str, ...] = ("all",)
        self.kvs = self._kv_types()

    # --- settings

    def _kv_types(self) -> tuple[str, ...]:
        """The cache types that the user leaves open and the engine takes. Raises WorkloadError where it takes none."""
        given = self.ask.workload or Workload()
        k, v = given.kv_dtype_k, given.kv_dtype_v
        wanted = (f"{k or v or ''}" if k == v else f"{k or 'f16'}/{v or 'f16'}",) if k or v else KV_TYPES[self.engine]
        legal, refusal = [], None
        for name in wanted:
            try:
                self.check(name)
                legal.append(name)
            except WorkloadError as error:
                refusal = refusal or error
        if not legal:
            raise refusal or WorkloadError("no cache type is possible")
        return tuple(legal)

    def check(self, kv: str) -> None:
        """Raises WorkloadError where the engine refuses this cache type."""
        result = estimate(self.candidate.facts, self._workload(256, kv), engine=self.engine, **self.arguments())
        if result.unknown:
            raise WorkloadError(f"{self.candidate.label}: not known: {'; '.join(result.unknown)}")

    def _workload(self, n_ctx: int, kv: str) -> Workload:
        k, _, v = kv.partition("/")
        base = self.ask.workload or Workload()
        default = kv == "auto"
        return base.replace(n_ctx=n_ctx, kv_dtype_k=None if default else k, kv_dtype_v=None if default else v or k)

    def workload(self, n_ctx: int, kv: int) -> Workload:
        """What to run, at this context and cache type."""
        return self._workload(n_ctx, self.kvs[kv])

    def kv_bits(self, kv: int) -> float:
        """Bits of a cached element; 16 where the engine keeps the model's own type."""
        names = self.kvs[kv].split("/")
        return min(16.0 if n == "auto" else kv_dtype(n).bits_per_weight for n in names)

    def arguments(self) -> dict[str, Any]:
        """The engine's own arguments."""
        return {**(self.ask.arguments or {}), **(self.candidate.options or {})}

    # --- places

    def placements(self, level: str) -> Sequence[tuple[Placement, Mapping[str, Any]]]:  # noqa: ARG002 - one level
        """The placements of a level, best first."""
        gpus, parallel = self.ask.gpus, self.ask.tensor_parallel or 1
        return [(Placement(gpus=gpus, kv_offload=self.ask.kv_offload, tensor_parallel=parallel), self.arguments())]

    def attempt(self, n_ctx: int, kv: int, level: str) -> Attempt:
        """The best placement of a level that holds this context and cache type, or the last that does not."""
        workload = self.workload(n_ctx, kv)
        for placement, arguments in self.placements(level):
            found = Attempt(placement, arguments, self.excess(workload, placement, arguments))
            if found.excess <= 0:
                break
        return found

    def excess(self, workload: Workload, placement: Placement, arguments: Mapping[str, Any]) -> int:
        """Bytes over the limit of the device that is over it most; 0 or less: it fits."""
        try:
            devices = self.estimate(workload, placement, arguments).devices
        except WorkloadError:
            return HOPELESS
        return -min(self.headroom(devices, arguments).values(), default=0)

    def lacking(self, n_ctx: int, kv: int, level: str) -> dict[str, int]:
        """Bytes that are missing on each device at the most economical placement of a level."""
        placement, arguments = self.placements(level)[-1]
        devices = self.estimate(self.workload(n_ctx, kv), placement, arguments).devices
        return {name: -n for name, n in self.headroom(devices, arguments).items() if n < 0}

    def estimate(self, workload: Workload, placement: Placement, arguments: Mapping[str, Any]) -> Estimate:
        """The engine's own answer."""
        return estimate(self.candidate.facts, workload, engine=self.engine, placement=placement, **arguments)

    def limits(self, arguments: Mapping[str, Any]) -> list[int]:  # noqa: ARG002 - vLLM's depend on them
        """Usable bytes of each device."""
        reserve = self.engine == "llama.cpp"
        return [g.capacity - (g.reserve if reserve else 0) - self.ask.margin for g in self.ask.gpus]

    def headroom(self, devices: Sequence[Device], arguments: Mapping[str, Any]) -> dict[str, int]:
        """Bytes left on each device, the host's where it is limited; negative: missing."""
        ours = [d for d in devices if d.device != "host"]
        found = {d.device: limit - d.used for d, limit in zip(ours, self.limits(arguments), strict=False)}
        host = next((d.used for d in devices if d.device == "host"), 0)
        return found | ({"host": self.ask.host - host} if self.ask.host is not None else {})

    def concessions(self, placement: Placement, arguments: Mapping[str, Any]) -> Iterable[str]:  # noqa: ARG002
        """What a placement has less of than all on the devices, in words."""
        return ()


class VllmSpace(Space):
    """vLLM: tensor parallelism over as many of the GPUs as divide the heads; more of each GPU as a last resort."""

    def __init__(self, candidate: Candidate, ask: Ask) -> None:
        super().__init__(candidate, ask)
        given = "gpu_memory_utilization" in (ask.arguments or {})
        self.levels = ("all",) if given else ("all", "tight")

    def _ranks(self) -> int:
        if self.ask.tensor_parallel:
            return self.ask.tensor_parallel
        heads, n = self.candidate.facts.n_heads, len(self.ask.gpus)
        return next((tp for tp in range(n, 1, -1) if not heads or heads % tp == 0), 1)

    def placements(self, level: str) -> Sequence[tuple[Placement, Mapping[str, Any]]]:
        """All ranks, with the usual share of the GPU or the tight one."""
        arguments = self.arguments()
        if level == "tight":
            arguments["gpu_memory_utilization"] = TIGHT_UTILIZATION
        tp = self._ranks()
        return [(Placement(gpus=self.ask.gpus[:tp], tensor_parallel=tp, kv_offload=self.ask.kv_offload), arguments)]

    def limits(self, arguments: Mapping[str, Any]) -> list[int]:
        """vLLM's budget of each GPU."""
        from inspector.memory.engines.vllm import UTILIZATION

        part = arguments.get("gpu_memory_utilization", UTILIZATION)
        return [int(g.capacity * part) - self.ask.margin for g in self.ask.gpus]

    def concessions(self, placement: Placement, arguments: Mapping[str, Any]) -> Iterable[str]:
        """More of the GPU, fewer GPUs."""
        from inspector.memory.engines.vllm import UTILIZATION

        part = arguments.get("gpu_memory_utilization", UTILIZATION)
        if part > UTILIZATION and "gpu_memory_utilization" not in (self.ask.arguments or {}):
            yield f"gpu_memory_utilization {part} instead of {UTILIZATION}"
        if len(placement.gpus) < len(self.ask.gpus):
            yield f"{len(placement.gpus)} of {len(self.ask.gpus)} GPUs: the heads do not split over all"
