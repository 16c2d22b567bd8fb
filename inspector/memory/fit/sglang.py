"""SGLang's space: how many GPUs share the model."""

from __future__ import annotations

from inspector.errors import WorkloadError
from inspector.memory.estimate import Placement
from inspector.memory.fit.spaces import Space

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Final

    from inspector.memory.estimate import Estimate
    from inspector.memory.fit.records import Ask, Candidate


TIGHT: Final = 0.9  # a larger share than SGLang takes by itself of most cards


class SglangSpace(Space):
    """Tensor parallelism over as many of the GPUs as divide the heads; a larger share of each as a last resort."""

    def __init__(
        self, candidate: Candidate, ask: Ask, *, estimate: Callable[..., Estimate], kv_types: Sequence[str]
    ) -> None:
        super().__init__(candidate, ask, estimate=estimate, kv_types=kv_types)
        given = {**((ask.workload and ask.workload.options) or {}), **(ask.arguments or {})}
        self.levels = ("all",) if "mem_fraction_static" in given else ("all", "tight")

    def _ranks(self) -> int:
        heads, most = self.candidate.facts.n_heads or 1, max(len(self.ask.gpus), 1)
        return self.ask.tensor_parallel or next(n for n in range(most, 0, -1) if heads % n == 0)

    def check(self, kv: str) -> None:
        """Raises WorkloadError where SGLang refuses this cache type, or something is not known."""
        placement, arguments = self.placements("all")[0]
        result = self.estimate(self._workload(256, kv), placement, arguments)
        if result.unknown:
            raise WorkloadError(f"{self.candidate.label}: not known: {'; '.join(result.unknown)}")

    def placements(self, level: str) -> Sequence[tuple[Placement, Mapping[str, Any]]]:
        """All ranks, with SGLang's own share of the GPU or the tight one."""
        ranks, arguments = self._ranks(), self.arguments()
        if level == "tight":
            arguments["mem_fraction_static"] = TIGHT
        return [(Placement(gpus=self.ask.gpus[:ranks], tensor_parallel=ranks), arguments)]

    def concessions(self, placement: Placement, arguments: Mapping[str, Any]) -> Iterable[str]:
        """More of the GPU, fewer GPUs."""
        if arguments.get("mem_fraction_static") == TIGHT and len(self.levels) > 1:
            yield f"mem_fraction_static {TIGHT} instead of SGLang's own"
        if len(placement.gpus) < len(self.ask.gpus):
            yield f"{len(placement.gpus)} of {len(self.ask.gpus)} GPUs: the model does not split over all"
