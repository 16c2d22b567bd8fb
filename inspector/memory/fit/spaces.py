"""What an engine lets one choose: cache types, places, and whether a choice holds. One space a candidate."""

from __future__ import annotations

from inspector.errors import WorkloadError
from inspector.memory.cache import kv_dtype
from inspector.memory.estimate import Placement, Workload
from inspector.memory.fit.records import Attempt
from inspector.memory.fit.search import HOPELESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from inspector.memory.estimate import Device, Estimate
    from inspector.memory.fit.records import Ask, Candidate


class Space:
    """Everything on the devices, in one way: most engines' space, and the base of the others.

    `estimate` is the engine's; `kv_types` are the cache types to try, finest first. `step`: tokens that contexts grow
    by; `keeps_reserve`: what the runtime takes is no line of the estimate and comes off the capacity.
    """

    step = 1
    keeps_reserve = False

    def __init__(
        self, candidate: Candidate, ask: Ask, *, estimate: Callable[..., Estimate], kv_types: Sequence[str]
    ) -> None:
        self.candidate = candidate
        self.ask = ask
        self._estimate = estimate
        self._open_types = tuple(kv_types)
        self.levels: tuple[str, ...] = ("all",)
        self.kvs = self._kv_types()

    # --- settings

    def _kv_types(self) -> tuple[str, ...]:
        """The cache types that the user leaves open and the engine takes. Raises WorkloadError where it takes none."""
        given = self.ask.workload or Workload()
        k, v = given.kv_dtype_k, given.kv_dtype_v
        wanted = (f"{k or v or ''}" if k == v else f"{k or 'f16'}/{v or 'f16'}",) if k or v else self._open_types
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
        result = self._estimate(self.candidate.facts, self._workload(256, kv), **self.arguments())
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
        return self._estimate(self.candidate.facts, workload, placement=placement, **arguments)

    def limits(self, arguments: Mapping[str, Any]) -> list[int]:  # noqa: ARG002 - vLLM's depend on them
        """Usable bytes of each device."""
        return [g.capacity - (g.reserve if self.keeps_reserve else 0) - self.ask.margin for g in self.ask.gpus]

    @property
    def host(self) -> int | None:
        """Usable bytes of the host; None: no limit."""
        return self.ask.host

    def headroom(self, devices: Sequence[Device], arguments: Mapping[str, Any]) -> dict[str, int]:
        """Bytes left on each device, the host's where it is limited; negative: missing."""
        used = {d.device: d.used for d in devices}
        limits = zip((g.name for g in self.ask.gpus), self.limits(arguments), strict=True)
        found = {name: limit - used[name] for name, limit in limits if name in used}
        return found if self.host is None else found | {"host": self.host - used.get("host", 0)}

    def room(self, result: Estimate, arguments: Mapping[str, Any]) -> dict[str, int]:
        """Bytes left on each device by an estimate, once all that may grow has grown."""
        return self.headroom(result.devices, arguments)

    def concessions(self, placement: Placement, arguments: Mapping[str, Any]) -> Iterable[str]:  # noqa: ARG002
        """What a placement has less of than all on the devices, in words."""
        return ()
