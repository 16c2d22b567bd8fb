"""llama.cpp's space: layers and experts on devices or the host, and how layers are shared among devices."""

from __future__ import annotations

import itertools

from inspector.errors import WorkloadError
from inspector.memory.devices.placement import (
    HOST,
    are_unlike,
    assign,
    device_names,
    growing_memory,
    visible,
)
from inspector.memory.engines.llamacpp.beside import beside_of, extra
from inspector.memory.engines.llamacpp.lines import unknown_parts
from inspector.memory.engines.llamacpp.sizes import CONTEXT_PAD, effective
from inspector.memory.estimate import Placement, Workload
from inspector.memory.fit.llamacpp_sums import DeviceSums
from inspector.memory.fit.records import Attempt
from inspector.memory.fit.search import HOPELESS, last_fit
from inspector.memory.fit.shares import balanced
from inspector.memory.fit.spaces import Space

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Final

    from inspector.memory.estimate import Estimate
    from inspector.memory.fit.records import Ask, Candidate

_ROUNDS: Final = 4  # compute buffers move a little with the split; a few rounds settle it


class LlamaSpace(Space):
    """Contexts in steps of 256 tokens; levels: all on devices, experts on the host, layers on the host."""

    step = CONTEXT_PAD
    keeps_reserve = True

    def __init__(
        self,
        candidate: Candidate,
        ask: Ask,
        memo: dict[Any, Any],
        *,
        estimate: Callable[..., Estimate],
        kv_types: Sequence[str],
    ) -> None:
        facts = candidate.facts
        self.n_layers = len(facts.layers) + len(facts.nextn_layers)
        ask = _counted(ask, self.n_layers)
        super().__init__(candidate, ask, estimate=estimate, kv_types=kv_types)
        arguments = self.arguments()
        self.server = bool(arguments.get("server", True))
        self.beside = beside_of(arguments)
        self.sums = DeviceSums(facts, self.n_layers, memo, server=self.server, beside=self.beside)
        self.names = device_names(ask.gpus)
        self.levels = self._levels()
        smallest = effective(facts, self.workload(CONTEXT_PAD, 0), server=self.server)
        more = extra(facts, smallest, Placement(gpus=ask.gpus), self.beside, server=self.server, memo=memo)
        if more.unknown:
            raise WorkloadError(f"not known: {', '.join(more.unknown)}")
        if self.used(self.workload(CONTEXT_PAD, 0), Placement(gpus=ask.gpus)) is None:
            raise WorkloadError(f"{candidate.label}: llama.cpp's compute buffers cannot be known for this model")

    def used(self, workload: Workload, placement: Placement, *, compute: bool = True) -> dict[str, int] | None:
        """Bytes on every device in use, as the engine's estimate gives them; None where it refuses."""
        return self.sums.taken(workload, visible(placement), compute=compute)

    def arguments(self) -> dict[str, Any]:
        """llama-server's defaults, unless said otherwise."""
        return {"server": True, **super().arguments()}

    def check(self, kv: str) -> None:
        """As llama.cpp checks; unknown parts are refused here once and for all."""
        effective(self.candidate.facts, self._workload(CONTEXT_PAD, kv), server=True)
        unknown = unknown_parts(self.candidate.facts)
        if unknown:
            raise WorkloadError(f"{self.candidate.label}: not known: {', '.join(unknown)}")

    def _levels(self) -> tuple[str, ...]:
        ask, moe = self.ask, any(self.sums.on_host.experts)
        ngl, ncmoe = ask.n_gpu_layers, ask.n_cpu_moe
        # nothing is gained on a host whose memory is the device's
        offload = ask.offload and not any(gpu.unified for gpu in ask.gpus)
        found: list[str] = []
        if not self.names:
            return ("all",)
        if ngl is None or ngl > self.n_layers:
            found += [] if ncmoe else ["all"]
            found += ["experts"] if moe and ((offload and ncmoe is None) or ncmoe) else []
        if (ngl is not None and ngl <= self.n_layers) or (ngl is None and offload):
            found.append("layers")
        return tuple(found) or ("all",)

    # --- what is missing

    def missing(self, used: Mapping[str, int]) -> dict[str, int]:
        """Bytes over the limit of each device and of the host."""
        limits = dict(zip(self.names, self.limits({}), strict=True))
        if self.host is not None:
            limits[HOST] = self.host
        return {d: used[d] - limit for d, limit in limits.items() if used.get(d, 0) > limit}

    def _over(self, used: Mapping[str, int] | None, *, host: bool) -> int:
        """Bytes over the limit of the device that is over it most."""
        if used is None:
            return HOPELESS
        over = [used[d] - limit for d, limit in zip(self.names, self.limits({}), strict=True) if d in used]
        if host and self.host is not None:
            over.append(used.get(HOST, 0) - self.host)
        return max(over, default=0)

    @property
    def host(self) -> int | None:
        """The host's memory, where it is not a device's; without devices the margin is left free there."""
        if self.ask.host is None or any(gpu.unified for gpu in self.ask.gpus):
            return None
        return self.ask.host - (0 if self.ask.gpus else self.ask.margin)

    def excess(self, workload: Workload, placement: Placement, arguments: Mapping[str, Any]) -> int:  # noqa: ARG002
        """By the sums, which are the estimate's."""
        return self._over(self.used(workload, placement), host=True)

    # --- places

    def attempt(self, n_ctx: int, kv: int, level: str) -> Attempt:
        """The placement with the least on the host that the devices hold, if the host holds the rest."""
        workload = self.workload(n_ctx, kv)
        if level == "all":
            found = self._whole(workload)
        elif level == "experts":
            found = self._fewest_experts(workload)
        else:
            found = self._most_layers(workload)
        placement, over = found
        if over <= 0 and self.host is not None:
            over = self._over(self.used(workload, placement), host=True)
        return Attempt(placement, self.arguments(), over)

    def _whole(self, workload: Workload) -> tuple[Placement, int]:
        """Everything on the devices: on one of them where they are unlike and one is enough."""
        ngl, ncmoe = self.ask.n_gpu_layers or self.n_layers + 1, self.ask.n_cpu_moe or 0
        if not self.names:
            return self._place(workload, 0, 0)
        for alone in self._alone(ngl, ncmoe):
            over = self._over(self.used(workload, alone), host=False)
            if over <= 0:
                return alone, over
        return self._place(workload, ngl, ncmoe)

    def _alone(self, ngl: int, ncmoe: int) -> Iterable[Placement]:
        """Each device by itself, the one with most room first; none where they are of one kind."""
        gpus = self.ask.gpus
        if self.ask.tensor_split is not None or not are_unlike(gpus):
            return
        limits = self.limits({})
        for i in sorted(range(len(gpus)), key=limits.__getitem__, reverse=True):
            yield self._asked(ngl, ncmoe).replace(split_mode="none", main_gpu=i)

    def _fewest_experts(self, workload: Workload) -> tuple[Placement, int]:
        n, asked = self.n_layers, self.ask.n_cpu_moe
        if asked is not None:
            return self._place(workload, n + 1, asked)
        return self._last(0, n - 1, lambda on_device: self._place(workload, n + 1, n - on_device))

    def _most_layers(self, workload: Workload) -> tuple[Placement, int]:
        asked, n = self.ask.n_cpu_moe, self.n_layers
        ncmoe = asked if asked is not None else n if any(self.sums.on_host.experts) else 0
        if self.ask.n_gpu_layers is not None:
            return self._place(workload, self.ask.n_gpu_layers, ncmoe)
        return self._last(1, n, lambda ngl: self._place(workload, ngl, ncmoe))

    def _last(self, low: int, high: int, place: Callable[[int], tuple[Placement, int]]) -> tuple[Placement, int]:
        """The last number whose placement fits; the first, with its excess, where none does."""
        tries: dict[int, tuple[Placement, int]] = {}

        def excess(n: int) -> int:
            tries[n] = place(n)
            return tries[n][1]

        last = last_fit(low, high, excess)
        return tries[low if last is None else last]

    def _asked(self, ngl: int, ncmoe: int) -> Placement:
        """These layers on the devices, less experts of the first `ncmoe`; the rest as the question has it."""
        ask = self.ask
        return Placement(
            gpus=ask.gpus, n_gpu_layers=ngl, n_cpu_moe=ncmoe, kv_offload=ask.kv_offload, tensor_split=ask.tensor_split,
            overrides=ask.overrides, experts_first=ask.experts_first,
        )  # fmt: skip

    def _place(self, workload: Workload, ngl: int, ncmoe: int) -> tuple[Placement, int]:
        """These layers on the devices, shared as llama.cpp does by itself or, where that is too much, to fit.

        With the placement, the bytes that the fullest device misses.
        """
        plain = self._asked(ngl, ncmoe)
        one = len(self.names) <= 1
        if one:  # what does not fit without compute buffers need not have them made
            bare = self._over(self.used(workload, plain, compute=False), host=False)
            if bare > 0:
                return plain, bare
        used = self.used(workload, plain)
        over = self._over(used, host=False)
        if one or self.ask.tensor_split is not None:
            return plain, over
        pinned = plain.replace(tensor_split=self._counts(plain))
        if over <= 0 or used is None:
            return pinned, over
        return self._shared(workload, pinned, used) or (pinned, over)

    def _counts(self, placement: Placement) -> tuple[float, ...]:
        """How many layers llama.cpp's own split gives each device."""
        a = assign(placement, self.n_layers)
        where = [*a.blocks, a.output]
        return tuple(float(where.count(name)) for name in self.names)

    def _shared(self, workload: Workload, plain: Placement, used: dict[str, int]) -> tuple[Placement, int] | None:
        """A split of consecutive layers under which the fullest device has most left, if there is one that fits."""
        limits = self.limits({})
        fixed = [0] * len(limits)  # the most that each held besides layers: with none of them it is less
        for _ in range(_ROUNDS):
            costs = self.sums.slots(workload, plain)
            fixed = list(map(max, fixed, self._besides(costs, plain, used)))
            counts = balanced(costs, [limit - f for limit, f in zip(limits, fixed, strict=True)])
            if counts is None:
                return None
            shared = plain.replace(tensor_split=tuple(float(c) for c in counts))
            found = self.used(workload, shared)
            if found is None or shared == plain:
                return None
            over = self._over(found, host=False)
            if over <= 0:
                return shared, over
            plain, used = shared, found
        return None

    def _besides(self, costs: Sequence[int], placement: Placement, used: Mapping[str, int]) -> list[int]:
        """Bytes of each device that are not those of its layers."""
        left = iter(costs)
        counts = zip(self.names, self._counts(placement), strict=True)
        return [used[name] - sum(itertools.islice(left, int(n))) for name, n in counts]

    def lacking(self, n_ctx: int, kv: int, level: str) -> dict[str, int]:
        """With as much on the host as the level allows, or as little: a device may take work over from the host."""
        ask, n = self.ask, self.n_layers
        if not self.names:
            return self.missing(self.used(self.workload(n_ctx, kv), Placement(n_gpu_layers=0)) or {})
        ngls = (ask.n_gpu_layers,) if ask.n_gpu_layers is not None else (1, n) if level == "layers" else (n + 1,)
        ncmoes = (ask.n_cpu_moe,) if ask.n_cpu_moe is not None else (0,) if level == "all" else (n, 1)
        workload = self.workload(n_ctx, kv)
        found = []
        for ngl, ncmoe in itertools.product(ngls, ncmoes):
            used = self.used(workload, self._asked(ngl, ncmoe))
            if used is not None:
                found.append(self.missing(used))
        return min(found, key=lambda lack: sum(lack.values()), default={})

    def room(self, result: Estimate, arguments: Mapping[str, Any]) -> dict[str, int]:
        """What grows on the host after load is taken off what is left there."""
        left, grows = super().room(result, arguments), sum(x.peak_nbytes or 0 for x in result.lines if not x.nbytes)
        host = growing_memory(self.ask.gpus, self.names)
        return left | ({host: left[host] - grows} if host is not None and host in left else {})

    def concessions(self, placement: Placement, arguments: Mapping[str, Any]) -> Iterable[str]:  # noqa: ARG002
        """Layers and experts on the host, a split of our own."""
        n = self.n_layers
        ngl = placement.n_gpu_layers
        if self.names and ngl is not None and ngl <= n:
            yield f"{n + 1 - ngl} of {n + 1} layers on the host"
        if placement.n_cpu_moe and any(self.sums.on_host.experts):
            yield f"experts of {min(placement.n_cpu_moe, n)} of {n} layers on the host"


def _counted(ask: Ask, n_layers: int) -> Ask:
    """The question with "all layers" as their number."""
    ngl, ncmoe = ask.n_gpu_layers, ask.n_cpu_moe
    return ask.replace(
        n_gpu_layers=n_layers + 1 if ngl is not None and ngl < 0 else ngl,
        n_cpu_moe=ncmoe if ncmoe is None else min(ncmoe, n_layers),
    )
