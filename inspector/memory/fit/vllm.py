"""vLLM's space: how many GPUs share the model, and how much of each vLLM takes."""

from __future__ import annotations

from inspector.memory.engines.vllm.parallel import Split, refused, split_of
from inspector.memory.estimate import Placement
from inspector.memory.fit.spaces import Space

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Final

    from inspector.memory.estimate import Estimate
    from inspector.memory.fit.records import Ask, Candidate

TIGHT_UTILIZATION: Final = 0.97  # the largest share of a GPU that people give vLLM


class VllmSpace(Space):
    """vLLM: tensor parallelism over as many of the GPUs as divide the heads; more of each GPU as a last resort."""

    def __init__(
        self,
        candidate: Candidate,
        ask: Ask,
        *,
        utilization: float,
        estimate: Callable[..., Estimate],
        kv_types: Sequence[str],
    ) -> None:
        super().__init__(candidate, ask, estimate=estimate, kv_types=kv_types)
        self.utilization = utilization  # vLLM's own default
        given = "gpu_memory_utilization" in (ask.arguments or {})
        self.levels = ("all",) if given else ("all", "tight")

    def _split(self) -> Split:
        """All GPUs, or as many as vLLM would start with; stages and replicas as they were asked for."""
        given = {**((self.ask.workload and self.ask.workload.options) or {}), **(self.ask.arguments or {})}
        split = split_of(self.ask.tensor_parallel or 1, given)
        if self.ask.tensor_parallel:
            return split
        most = max(len(self.ask.gpus) // split.n_gpus, 1)
        tried = (split.replace(tensor=tp) for tp in range(most, 0, -1))
        return next((t for t in tried if not refused(self.candidate.facts, t)), split)

    def placements(self, level: str) -> Sequence[tuple[Placement, Mapping[str, Any]]]:
        """All ranks, with the usual share of the GPU or the tight one."""
        arguments = self.arguments()
        if level == "tight":
            arguments["gpu_memory_utilization"] = TIGHT_UTILIZATION
        split = self._split()
        gpus = self.ask.gpus[: split.n_gpus]
        place = Placement(gpus=gpus, tensor_parallel=split.tensor, kv_offload=self.ask.kv_offload)
        return [(place, arguments)]

    def limits(self, arguments: Mapping[str, Any]) -> list[int]:
        """vLLM's budget of each GPU."""
        part = arguments.get("gpu_memory_utilization", self.utilization)
        return [int(g.capacity * part) - self.ask.margin for g in self.ask.gpus]

    def concessions(self, placement: Placement, arguments: Mapping[str, Any]) -> Iterable[str]:
        """More of the GPU, fewer GPUs."""
        part = arguments.get("gpu_memory_utilization", self.utilization)
        if part > self.utilization and "gpu_memory_utilization" not in (self.ask.arguments or {}):
            yield f"gpu_memory_utilization {part} instead of {self.utilization}"
        if len(placement.gpus) < len(self.ask.gpus):
            yield f"{len(placement.gpus)} of {len(self.ask.gpus)} GPUs: the model does not split over all"
