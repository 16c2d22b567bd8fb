"""mlx-lm's space: one device, and how many bits the cache has."""

from __future__ import annotations

from inspector.errors import WorkloadError
from inspector.memory.fit.spaces import Space

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Final

    from inspector.memory.estimate import Estimate, Workload
    from inspector.memory.fit.records import Ask, Candidate

_BITS: Final = ("auto", "8 bits", "4 bits")


class MlxSpace(Space):
    """The cache as the model computes, or quantised (`--kv-bits`) from its first token on."""

    def __init__(self, candidate: Candidate, ask: Ask, *, estimate: Callable[..., Estimate]) -> None:
        options = (ask.workload.options if ask.workload else None) or {}
        self._given = "kv_bits" in options or "kv_bits" in (ask.arguments or {})
        super().__init__(candidate, ask, estimate=estimate, kv_types=("auto",) if self._given else _BITS)

    def check(self, kv: str) -> None:
        """Raises WorkloadError where mlx-lm would not quantise this model's cache, or something is not known."""
        asked = self.ask.n_ctx or self.candidate.facts.n_ctx_train or 8192
        result = self._estimate(self.candidate.facts, self._workload(max(asked, 1), kv), **self.arguments())
        if result.unknown:
            raise WorkloadError(f"{self.candidate.label}: not known: {'; '.join(result.unknown)}")

    def _workload(self, n_ctx: int, kv: str) -> Workload:
        if kv not in _BITS[1:]:
            return super()._workload(n_ctx, kv)
        base = super()._workload(n_ctx, "auto")
        start: Mapping[str, Any] = {"kv_bits": kv.partition(" ")[0], "quantized_kv_start": 0}
        return base.replace(options={**(base.options or {}), **start})

    def kv_bits(self, kv: int) -> float:
        """Bits of a cached element, its share of a scale and a bias included."""
        name = self.kvs[kv]
        return float(name.partition(" ")[0]) + 0.5 if name in _BITS[1:] else 16.0
