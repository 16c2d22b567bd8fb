"""llama.cpp's space: layers and experts on devices or the host, and how layers are shared among devices.

The sums are the engine's own (weights, caches, output, compute), kept apart so that one compute buffer serves every
quant of a model: the graph is the same, only its weights differ.
"""

from __future__ import annotations

import itertools
import re

from inspector.errors import WorkloadError
from inspector.memory.devices.placement import EXPERTS, HOST, assign, device_names
from inspector.memory.engines.llamacpp import output_lines, unknown_parts
from inspector.memory.engines.llamacpp.backends import HOST_BACKEND, backend
from inspector.memory.engines.llamacpp.caches import cache_blocks
from inspector.memory.engines.llamacpp.compute import compute_parts, flash_stays
from inspector.memory.engines.llamacpp.sizes import CONTEXT_PAD, effective
from inspector.memory.engines.llamacpp.weights import EVERY, OUTPUT, copies, weights
from inspector.memory.estimate import Placement, Workload
from inspector.memory.fit.records import Attempt
from inspector.memory.fit.search import HOPELESS, last_fit
from inspector.memory.fit.spaces import Space

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Final

    from inspector.memory.devices.placement import Assignment
    from inspector.memory.engines.llamacpp.backends import Backend
    from inspector.memory.engines.llamacpp.sizes import Sizes
    from inspector.memory.estimate import Estimate
    from inspector.memory.fit.records import Ask, Candidate

_EXPERT: Final = re.compile(EXPERTS)
_ROUNDS: Final = 4  # compute buffers move a little with the split; a few rounds settle it


class Sums:
    """Bytes of a model's weights in a back end's memory: of each block (experts apart), before, after, and for all."""

    def __init__(self, candidate: Candidate, n_layers: int, at: Backend = HOST_BACKEND) -> None:
        facts = candidate.facts
        self.plain, self.experts = [0] * n_layers, [0] * n_layers
        self.first = self.last = self.every = self.tied = 0
        for w in weights(facts, backend=at):
            if w.copy:
                self.tied += w.nbytes
            elif w.layer == EVERY:
                self.every += w.nbytes
            elif w.layer == OUTPUT:
                self.last += w.nbytes
            elif not isinstance(w.layer, int) or not 0 <= w.layer < n_layers:
                self.first += w.nbytes
            elif _EXPERT.search(w.name):
                self.experts[w.layer] += w.nbytes
            else:
                self.plain[w.layer] += w.nbytes
        self.twice = copies(facts)
        self.shape = hash((facts.arch, *((t.name, t.shape) for t in facts.tensors)))
        self.types = hash(tuple(t.dtype.name if t.dtype is not None else "" for t in facts.tensors))
        self.shared = any("_shexp" in t.name for t in facts.tensors)


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
        self.sums = Sums(candidate, self.n_layers)
        self.sums_of: dict[str, Sums] = {}
        self.memo = memo
        super().__init__(candidate, ask, estimate=estimate, kv_types=kv_types)
        self.server = bool(self.arguments().get("server", True))
        self.names = device_names(ask.gpus)
        self.levels = self._levels()
        if self.used(self.workload(CONTEXT_PAD, 0), Placement(gpus=ask.gpus)) is None:
            raise WorkloadError(f"{candidate.label}: llama.cpp's compute buffers cannot be known for this model")

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
        ask, moe = self.ask, any(self.sums.experts)
        ngl, ncmoe = ask.n_gpu_layers, ask.n_cpu_moe
        found = []
        if ngl is None or ngl > self.n_layers:
            found += [] if ncmoe else ["all"]
            found += ["experts"] if moe and ((ask.offload and ncmoe is None) or ncmoe) else []
        if (ngl is not None and ngl <= self.n_layers) or (ngl is None and ask.offload):
            found.append("layers")
        return tuple(found) or ("all",)

    # --- sums

    def used(self, workload: Workload, placement: Placement, *, compute: bool = True) -> dict[str, int] | None:
        """Bytes on every device, as the engine's estimate gives them; None where it refuses or does not know.

        Without `compute`, all but compute buffers: a lower bound that costs next to nothing.
        """
        facts = self.candidate.facts
        try:
            sizes = effective(facts, workload, server=self.server, offload_kqv=placement.kv_offload)
        except WorkloadError:
            return None
        assignment = assign(placement.replace(n_cpu_moe=0), self.n_layers)
        used = dict.fromkeys((HOST, *assignment.devices), 0)
        if compute:
            parts = self._compute(sizes, placement, assignment)
            if parts is None:
                return None
            for device, n in parts.items():
                used[device] += n
        self._add_weights(used, assignment, placement.n_cpu_moe)
        for layer, n in self._cache_sums(sizes, assignment).items():
            used[assignment.cache_device(layer)] += n
        used[HOST] += self._output(workload, sizes)
        return used

    def _sums_in(self, name: str) -> Sums:
        """The sums in a back end's memory."""
        if name not in self.sums_of:
            self.sums_of[name] = Sums(self.candidate, self.n_layers, backend(name))
        return self.sums_of[name]

    def _add_weights(self, used: dict[str, int], assignment: Assignment, n_cpu_moe: int) -> None:
        sums = {HOST: self.sums}
        sums |= {d: self._sums_in(assignment.backend_of(d)) for d in assignment.devices}
        for i, device in enumerate(assignment.blocks):
            used[device] += sums[device].plain[i]
            experts = HOST if i < n_cpu_moe else device
            used[experts] += sums[experts].experts[i]
        used[HOST] += self.sums.first
        last = sums[assignment.output]
        used[assignment.output] += last.last + (last.tied if assignment.output != HOST or last.twice else 0)
        for device in assignment.block_devices():
            used[device] += sums[device].every

    def _compute(self, sizes: Sizes, placement: Placement, plain: Assignment) -> Mapping[str, int] | None:
        """Compute buffers by device, made once for all quants of a model where no weights are copied into them.

        A device copies what it takes over from the host, and runs shared experts with the others if types agree.
        """
        whole = HOST not in {*plain.blocks, plain.output} and not placement.n_cpu_moe and not self.sums.shared
        where = (
            self.sums.shape,
            None if whole else self.sums.types,
            plain.blocks, plain.output, plain.backends, plain.op_offload,
            placement.n_cpu_moe, placement.kv_offload,
        )  # fmt: skip
        settings = sizes.as_effective()
        key = (*where, *settings.values())
        if key not in self.memo:
            facts, assignment = self.candidate.facts, self._assign(placement)
            # whether flash attention stays on is asked once for all contexts
            flash = (*where, sizes.flash_attn_auto, sizes.kv_unified, sizes.type_k, sizes.type_v)
            if flash not in self.memo:
                self.memo[flash] = flash_stays(facts, settings, assignment)
            if self.memo[flash]:
                settings["flash_attn_auto"] = False
            parts = compute_parts(facts, settings, assignment)
            self.memo[key] = None if parts is None else parts[0]
        found: Mapping[str, int] | None = self.memo[key]
        return found

    def _assign(self, placement: Placement) -> Assignment:
        """The assignment with one pattern for all experts of the host: a pattern a layer takes long to search."""
        n = min(placement.n_cpu_moe, self.n_layers)
        if not n:
            return assign(placement, self.n_layers)
        layers = "|".join(map(str, range(n)))
        rule = (rf"blk\.({layers}){EXPERTS}", HOST)
        return assign(placement.replace(n_cpu_moe=0, overrides=(rule,)), self.n_layers)

    def _cache_sums(self, sizes: Sizes, assignment: Assignment) -> Mapping[int, int]:
        """Bytes of caches by layer, the same for all quants of a model."""
        where = tuple(assignment.backend_of(assignment.cache_device(i)) for i in range(len(assignment.blocks)))
        key = (self.sums.shape, where, *sizes.as_effective().values())
        if ("caches", key) not in self.memo:
            made: dict[int, int] = {}
            for block in cache_blocks(self.candidate.facts, sizes, assignment):
                made[block.layer] = made.get(block.layer, 0) + block.nbytes
            self.memo["caches", key] = made
        found: Mapping[int, int] = self.memo["caches", key]
        return found

    def _output(self, workload: Workload, sizes: Sizes) -> int:
        return sum(line.nbytes for line in output_lines(self.candidate.facts, workload, sizes))

    def missing(self, used: Mapping[str, int]) -> dict[str, int]:
        """Bytes over the limit of each device and of the host."""
        limits = dict(zip(self.names, self.limits({}), strict=True))
        if self.ask.host is not None:
            limits[HOST] = self.ask.host
        return {d: used[d] - limit for d, limit in limits.items() if used.get(d, 0) > limit}

    def _over(self, used: Mapping[str, int] | None, *, host: bool) -> int:
        """Bytes over the limit of the device that is over it most."""
        if used is None:
            return HOPELESS
        over = [used[d] - limit for d, limit in zip(self.names, self.limits({}), strict=True)]
        if host and self.ask.host is not None:
            over.append(used[HOST] - self.ask.host)
        return max(over)

    def excess(self, workload: Workload, placement: Placement, arguments: Mapping[str, Any]) -> int:  # noqa: ARG002
        """By the sums above, which are the estimate's."""
        return self._over(self.used(workload, placement), host=True)

    # --- places

    def attempt(self, n_ctx: int, kv: int, level: str) -> Attempt:
        """The placement with the least on the host that the devices hold, if the host holds the rest."""
        workload = self.workload(n_ctx, kv)
        if level == "all":
            found = self._place(workload, self.ask.n_gpu_layers or self.n_layers + 1, self.ask.n_cpu_moe or 0)
        elif level == "experts":
            found = self._fewest_experts(workload)
        else:
            found = self._most_layers(workload)
        placement, over = found
        if over <= 0 and self.ask.host is not None:
            over = self._over(self.used(workload, placement), host=True)
        return Attempt(placement, self.arguments(), over)

    def _fewest_experts(self, workload: Workload) -> tuple[Placement, int]:
        n, asked = self.n_layers, self.ask.n_cpu_moe
        if asked is not None:
            return self._place(workload, n + 1, asked)
        return self._last(0, n - 1, lambda on_device: self._place(workload, n + 1, n - on_device))

    def _most_layers(self, workload: Workload) -> tuple[Placement, int]:
        asked, n = self.ask.n_cpu_moe, self.n_layers
        ncmoe = asked if asked is not None else n if any(self.sums.experts) else 0
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

    def _place(self, workload: Workload, ngl: int, ncmoe: int) -> tuple[Placement, int]:
        """These layers on the devices, shared as llama.cpp does by itself or, where that is too much, to fit.

        With the placement, the bytes that the fullest device misses.
        """
        plain = Placement(
            gpus=self.ask.gpus, n_gpu_layers=ngl, n_cpu_moe=ncmoe, kv_offload=self.ask.kv_offload,
            tensor_split=self.ask.tensor_split,
        )  # fmt: skip
        one = len(self.names) == 1
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
        for _ in range(_ROUNDS):
            costs = self._slots(workload, plain)
            held = self._counts(plain)
            at, fixed = 0, []
            for name, count in zip(self.names, held, strict=True):
                fixed.append(used[name] - sum(costs[at : at + int(count)]))
                at += int(count)
            counts = _balanced(costs, [limit - f for limit, f in zip(limits, fixed, strict=True)])
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

    def _slots(self, workload: Workload, placement: Placement) -> list[int]:
        """Bytes of each offloaded layer with its cache, the output layer last."""
        sizes = effective(self.candidate.facts, workload, server=self.server, offload_kqv=placement.kv_offload)
        assignment = assign(placement.replace(n_cpu_moe=0), self.n_layers)
        caches = self._cache_sums(sizes, assignment) if placement.kv_offload else {}
        # devices of several back ends differ by a few bytes of padding only
        s, n, ngl = self._sums_in(placement.gpus[0].backend), self.n_layers, placement.n_gpu_layers or 0
        start = max(n + 1 - ngl, 0)
        costs = [
            s.plain[i] + (0 if i < placement.n_cpu_moe else s.experts[i]) + caches.get(i, 0) for i in range(start, n)
        ]
        return [*costs, s.last + s.tied]

    def lacking(self, n_ctx: int, kv: int, level: str) -> dict[str, int]:
        """With as much on the host as the level allows, or as little: a device may take work over from the host."""
        ask, n = self.ask, self.n_layers
        ngls = (ask.n_gpu_layers,) if ask.n_gpu_layers is not None else (1, n) if level == "layers" else (n + 1,)
        ncmoes = (ask.n_cpu_moe,) if ask.n_cpu_moe is not None else (0,) if level == "all" else (n, 1)
        workload = self.workload(n_ctx, kv)
        found = []
        for ngl, ncmoe in itertools.product(ngls, ncmoes):
            placement = Placement(
                gpus=ask.gpus, n_gpu_layers=ngl, n_cpu_moe=ncmoe, kv_offload=ask.kv_offload,
                tensor_split=ask.tensor_split,
            )  # fmt: skip
            used = self.used(workload, placement)
            if used is not None:
                found.append(self.missing(used))
        return min(found, key=lambda lack: sum(lack.values()), default={})

    def concessions(self, placement: Placement, arguments: Mapping[str, Any]) -> Iterable[str]:  # noqa: ARG002
        """Layers and experts on the host, a split of our own."""
        n = self.n_layers
        ngl = placement.n_gpu_layers
        if ngl is not None and ngl <= n:
            yield f"{n + 1 - ngl} of {n + 1} layers on the host"
        if placement.n_cpu_moe and any(self.sums.experts):
            yield f"experts of {min(placement.n_cpu_moe, n)} of {n} layers on the host"


def _counted(ask: Ask, n_layers: int) -> Ask:
    """The question with "all layers" as their number."""
    ngl, ncmoe = ask.n_gpu_layers, ask.n_cpu_moe
    return ask.replace(
        n_gpu_layers=n_layers + 1 if ngl is not None and ngl < 0 else ngl,
        n_cpu_moe=ncmoe if ncmoe is None else min(ncmoe, n_layers),
    )


def _balanced(costs: Sequence[int], rooms: Sequence[int]) -> list[int] | None:
    """Counts of consecutive layers a device, the smallest room left as large as can be; None where they do not fit."""

    def fill(left: int) -> list[int] | None:
        at, counts = 0, []
        for room in rooms:
            n = total = 0
            while at + n < len(costs) and total + costs[at + n] <= room - left:
                total += costs[at + n]
                n += 1
            counts.append(n)
            at += n
        return counts if at == len(costs) else None

    best = fill(0)
    if best is None:
        return None
    low, high = 0, max(0, *rooms)
    while high - low > 1 << 16:  # to 64 KiB: a device's room is not known better
        middle = (low + high) // 2
        found = fill(middle)
        if found is None:
            high = middle
        else:
            best, low = found, middle
    return best
