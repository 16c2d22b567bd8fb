"""Bytes on every device under llama.cpp, for `fit`, which asks for them hundreds of times.

The sums are the engine's own (weights, caches, output, compute), kept apart so that one compute buffer serves every
quant of a model: the graph is the same, only its weights differ.
"""

from __future__ import annotations

import re

from inspector.errors import WorkloadError
from inspector.layers import KVCache
from inspector.memory.devices.placement import EXPERTS, HOST, assign, device_names, growing_memory, host_memory
from inspector.memory.engines.llamacpp.backends import HOST_BACKEND, backend
from inspector.memory.engines.llamacpp.backends.cuda import FEW_TOKENS, cache_class
from inspector.memory.engines.llamacpp.backends.pools import kernel_class
from inspector.memory.engines.llamacpp.beside import NOTHING, Beside, extra
from inspector.memory.engines.llamacpp.caches import cache_blocks
from inspector.memory.engines.llamacpp.compute import compute_parts, flash_stays
from inspector.memory.engines.llamacpp.drafting import changes_graph, read_by_draft
from inspector.memory.engines.llamacpp.lines import output_lines, overhead_lines, placed_weights
from inspector.memory.engines.llamacpp.loading import refused
from inspector.memory.engines.llamacpp.sizes import effective
from inspector.memory.engines.llamacpp.weights import EVERY, INPUT, OUTPUT, copies, weights

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Final

    from inspector.facts import ModelFacts
    from inspector.memory.devices.placement import Assignment
    from inspector.memory.engines.llamacpp.backends import Backend
    from inspector.memory.engines.llamacpp.compute import ComputeMemory
    from inspector.memory.engines.llamacpp.sizes import Sizes
    from inspector.memory.estimate import Line, Placement, Workload

_EXPERT: Final = re.compile(EXPERTS)


class WeightSums:
    """Bytes of a model's weights in a back end's memory: of each block (experts apart), before, after, and for all.

    `left`, by block: what the back end refuses, which lies on the host whatever is offloaded (the output's last).
    """

    def __init__(self, facts: ModelFacts, n_layers: int, at: Backend = HOST_BACKEND) -> None:
        self.plain, self.experts, self.left = [0] * n_layers, [0] * n_layers, [0] * (n_layers + 1)
        self.first = self.last = self.every = self.tied = 0
        away = refused(facts, at)
        for w in weights(facts, backend=HOST_BACKEND) if away else ():
            block = w.layer if isinstance(w.layer, int) and 0 <= w.layer < n_layers else n_layers
            if w.name in away and w.layer != INPUT:
                self.left[block] += w.nbytes
        for w in weights(facts, backend=at):
            if w.name in away and w.layer != INPUT:
                continue
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
        types = [t.dtype.name if t.dtype is not None else "" for t in facts.tensors]
        self.types, self.kernels = hash(tuple(types)), hash(tuple(map(kernel_class, types)))
        self.shared = any("_shexp" in t.name for t in facts.tensors)


def _numbers(assignment: Assignment) -> dict[str, int]:
    """Devices by their place, the host last: what they are called changes no figure."""
    return {name: i for i, name in enumerate((*assignment.devices, HOST))}


def _numbered(found: ComputeMemory | None, assignment: Assignment) -> Any:
    """Compute buffers by the places of devices."""
    if found is None:
        return None
    number = _numbers(assignment)
    return {number[d]: n for d, n in found[0].items()}, found[1], {number[d]: g for d, g in found[2].items()}


def _named(found: Any, assignment: Assignment) -> ComputeMemory | None:
    """Compute buffers by the names of devices, from those by their places."""
    if found is None:
        return None
    name = (*assignment.devices, HOST)
    return {name[i]: n for i, n in found[0].items()}, found[1], {name[i]: g for i, g in found[2].items()}


class DeviceSums:
    """Bytes of one candidate on every device, as the engine's estimate gives them for a workload and a placement.

    `memo` is shared by all candidates of one question; its keys say what a figure depends on. `server`: llama-server's
    defaults.
    """

    def __init__(
        self, facts: ModelFacts, n_layers: int, memo: dict[Any, Any], *, server: bool, beside: Beside = NOTHING
    ) -> None:
        self.facts, self.n_layers, self.memo, self.server, self.beside = facts, n_layers, memo, server, beside
        self.on_host = WeightSums(facts, n_layers)
        self.only_heads = all(type(cache) is KVCache for layer in facts.layers for cache in layer.caches)
        self._in_backend: dict[str, WeightSums] = {}

    def used(self, workload: Workload, placement: Placement, *, compute: bool = True) -> dict[str, int] | None:
        """Bytes on every device, as the engine's estimate gives them; None where it refuses or does not know.

        Without `compute`, all but compute buffers: a lower bound that costs next to nothing.
        """
        try:
            sizes = self.sizes(workload, placement)
        except WorkloadError:
            return None
        assignment = assign(placement.replace(n_cpu_moe=0), self.n_layers)
        used = dict.fromkeys((HOST, *assignment.devices), 0)
        parts = None
        if compute:
            parts = self.compute(sizes, placement, assignment)
            if parts is None:
                return None
            for device, n in parts[0].items():
                used[device] += n
        for line in overhead_lines(placement.gpus, assignment.devices, parts[2] if parts else {}):
            used[line.device] += line.nbytes
        if placement.overrides or self.beside.speculation.mtp:
            self._add_each_weight(used, self._assign(placement))
        else:
            self._add_weights(used, assignment, placement.n_cpu_moe)
        for layer, n in self._caches(sizes, assignment).items():
            used[assignment.cache_device(layer)] += n
        used[HOST] += self._output(workload, sizes)
        for line in self._beside(sizes, placement) if compute else ():
            used[line.device] += line.nbytes
        pool = host_memory(placement.gpus, assignment.devices)
        if pool != HOST:
            used[pool] += used.pop(HOST)
        return used

    def sizes(self, workload: Workload, placement: Placement) -> Sizes:
        """The settings that llama.cpp really runs with. Raises WorkloadError."""
        return effective(
            self.facts, workload, server=self.server, offload_kqv=placement.kv_offload,
            speculation=self.beside.speculation,
        )  # fmt: skip

    def _beside(self, sizes: Sizes, placement: Placement) -> Sequence[Line]:
        """What is loaded beside the model, and what grows on the host after load."""
        if self.beside == NOTHING and not self.server:
            return ()
        b = self.beside
        loads = b.projector is not None or b.adapters or b.draft is not None or b.speculation.mtp
        # what grows after load is on the host, wherever the model is, but for hidden states that a draft reads
        reads = changes_graph(self.facts, read_by_draft(self.facts, b.draft, b.speculation))
        where = placement if reads else placement.replace(n_cpu_moe=0) if loads else None
        key = ("beside", self.on_host.shape, *sizes.as_effective().values(), where)
        if key not in self.memo:
            more = extra(self.facts, sizes, placement, self.beside, server=self.server, memo=self.memo)
            self.memo[key] = more.lines
        found: Sequence[Line] = self.memo[key]
        return found

    def taken(self, workload: Workload, placement: Placement, *, compute: bool = True) -> dict[str, int] | None:
        """As `used`, once all that may grow after load has grown."""
        used = self.used(workload, placement, compute=compute)
        if used is None or not compute:
            return used
        grown = sum(
            x.peak_nbytes or 0 for x in self._beside(self.sizes(workload, placement), placement) if not x.nbytes
        )
        pool = growing_memory(placement.gpus, device_names(placement.gpus))
        return used if pool is None else used | {pool: used.get(pool, 0) + grown}

    def _sums_in(self, name: str) -> WeightSums:
        """The sums in a back end's memory."""
        if name not in self._in_backend:
            self._in_backend[name] = WeightSums(self.facts, self.n_layers, backend(name))
        return self._in_backend[name]

    def _add_weights(self, used: dict[str, int], assignment: Assignment, n_cpu_moe: int) -> None:
        sums = {HOST: self.on_host}
        sums |= {d: self._sums_in(assignment.backend_of(d)) for d in assignment.devices}
        for i, device in enumerate(assignment.blocks):
            used[device] += sums[device].plain[i]
            experts = HOST if i < n_cpu_moe else device
            used[experts] += sums[experts].experts[i]
            used[HOST] += sums[device].left[i]
        used[HOST] += self.on_host.first + sums[assignment.output].left[-1]
        last = sums[assignment.output]
        used[assignment.output] += last.last + (last.tied if assignment.output != HOST or last.twice else 0)
        for device in assignment.block_devices():
            used[device] += sums[device].every

    def _add_each_weight(self, used: dict[str, int], assignment: Assignment) -> None:
        """Tensor by tensor, where patterns or prediction layers leave no sums to use."""
        for device, weight in placed_weights(self.facts, assignment, load_mtp=self.beside.speculation.mtp):
            used[device] += weight.nbytes

    def compute(self, sizes: Sizes, placement: Placement, plain: Assignment) -> ComputeMemory | None:
        """Compute buffers by device, made once for all quants of a model where no weights are copied into them.

        A device copies what it takes over from the host, and runs shared experts with the others if types agree.
        """
        where, settings = self._where(placement, plain), sizes.as_effective()
        key = (*where, *(settings | self._cache_classes(sizes, placement, plain)).values())
        if key not in self.memo:
            assignment = self._assign(placement)
            if self._flash_stays(sizes, where, assignment):
                settings["flash_attn_auto"] = False
            self.memo[key] = _numbered(compute_parts(self.facts, settings, assignment), plain)
        found: ComputeMemory | None = _named(self.memo[key], plain)
        return found

    def _cache_classes(self, sizes: Sizes, placement: Placement, plain: Assignment) -> dict[str, str]:
        """Cache types by what compute buffers depend on, where back ends are known to treat several alike.

        Every cache must lie where its layer runs: of others, bytes are copied.
        """
        apart = bool(plain.devices) and HOST in plain.blocks
        apart = apart or bool(placement.n_cpu_moe or placement.overrides) or not placement.kv_offload
        small = min(sizes.n_ubatch, sizes.n_ctx) <= FEW_TOKENS
        if apart or small or not sizes.flash_attn or not self.only_heads:
            return {}
        if any(backend(name).rules not in {"", "cuda"} for name in plain.backends):
            return {}
        return {"type_k": cache_class(sizes.type_k.name.lower()), "type_v": cache_class(sizes.type_v.name.lower())}

    def _where(self, placement: Placement, plain: Assignment) -> tuple[Any, ...]:
        """What compute buffers depend on besides settings."""
        own = self.on_host
        whole = HOST not in {*plain.blocks, plain.output} and not placement.n_cpu_moe and not own.shared
        whole = whole and not placement.overrides
        number = _numbers(plain)
        blocks = tuple([number[device] for device in plain.blocks])
        return (
            own.shape, own.kernels if whole else own.types,
            blocks, number[plain.output], plain.backends, plain.op_offload, placement.n_cpu_moe, placement.kv_offload,
        )  # fmt: skip

    def _flash_stays(self, sizes: Sizes, where: tuple[Any, ...], assignment: Assignment) -> bool:
        """Whether flash attention stays on where llama.cpp decides it: asked once for all contexts."""
        key = (*where, sizes.flash_attn_auto, sizes.kv_unified, sizes.n_seqs, sizes.type_k, sizes.type_v)
        if key not in self.memo:
            self.memo[key] = flash_stays(self.facts, sizes.as_effective(), assignment)
        return bool(self.memo[key])

    def _assign(self, placement: Placement) -> Assignment:
        """The assignment with one pattern for all experts of the host: a pattern a layer takes long to search."""
        n = min(placement.n_cpu_moe, self.n_layers)
        if not n:
            return assign(placement, self.n_layers)
        layers = "|".join(map(str, range(n)))
        rules: tuple[tuple[str, str], ...] = ((rf"blk\.({layers}){EXPERTS}", HOST),)
        rules = (*rules, *placement.overrides) if placement.experts_first else (*placement.overrides, *rules)
        return assign(placement.replace(n_cpu_moe=0, overrides=rules), self.n_layers)

    def _caches(self, sizes: Sizes, assignment: Assignment) -> Mapping[int, int]:
        """Bytes of caches by layer, the same for all quants of a model."""
        where = tuple(assignment.backend_of(assignment.cache_device(i)) for i in range(len(assignment.blocks)))
        key = (self.on_host.shape, where, *sizes.as_effective().values())
        if ("caches", key) not in self.memo:
            made: dict[int, int] = {}
            for block in cache_blocks(self.facts, sizes, assignment):
                made[block.layer] = made.get(block.layer, 0) + block.nbytes
            self.memo["caches", key] = made
        found: Mapping[int, int] = self.memo["caches", key]
        return found

    def _output(self, workload: Workload, sizes: Sizes) -> int:
        return sum(line.nbytes for line in output_lines(self.facts, workload, sizes))

    def slots(self, workload: Workload, placement: Placement) -> list[int]:
        """Bytes of each offloaded layer with its cache, the output layer last."""
        sizes = self.sizes(workload, placement)
        assignment = assign(placement.replace(n_cpu_moe=0), self.n_layers)
        caches = self._caches(sizes, assignment) if placement.kv_offload else {}
        # devices of several back ends differ by a few bytes of padding only
        s, n, ngl = self._sums_in(placement.gpus[0].backend), self.n_layers, placement.n_gpu_layers or 0
        start = max(n + 1 - ngl, 0)
        costs = [
            s.plain[i] + (0 if i < placement.n_cpu_moe else s.experts[i]) + caches.get(i, 0) for i in range(start, n)
        ]
        return [*costs, s.last + s.tied]
