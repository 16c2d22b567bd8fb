"""llama.cpp's lines for hundreds of settings: the engine's own parts, the graph replayed once for all quants.

What the engine's `estimate` gives (tests compare), without notes and in a tenth of the time.
"""

from __future__ import annotations

from inspector.memory.devices.placement import assign, device_totals
from inspector.memory.engines.llamacpp.lines import (
    cache_lines,
    compute_lines,
    output_lines,
    overhead_lines,
    unknown_parts,
    weight_lines,
)
from inspector.memory.estimate import Estimate, weakest
from inspector.memory.fit.llamacpp_sums import DeviceSums

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from inspector.facts import ModelFacts
    from inspector.memory.devices.placement import Assignment
    from inspector.memory.estimate import Line, Placement, Workload


class Quick:
    """Estimates of one model; `memo` is shared by all quants of it."""

    def __init__(self, facts: ModelFacts, memo: dict[Any, Any]) -> None:
        self.facts, self.n_layers = facts, len(facts.layers) + len(facts.nextn_layers)
        self.sums = DeviceSums(facts, self.n_layers, memo, server=False)
        self._weights: dict[Assignment, tuple[Line, ...]] = {}

    def __call__(self, workload: Workload, placement: Placement) -> Estimate:
        """As llama-cli would run it. Raises WorkloadError."""
        facts = self.facts
        sizes = self.sums.sizes(workload, placement)
        assignment = assign(placement, self.n_layers)
        parts = self.sums.compute(sizes, placement, assignment)
        unknown = (*unknown_parts(facts), *(() if parts else ("compute",)))
        compute, grade, grown = parts or ({}, "modelled", {})
        lines = [
            *self._weight_lines(assignment),
            *cache_lines(facts, sizes, assignment, "modelled" if facts.generic else "derived"),
            *output_lines(facts, workload, sizes),
            *compute_lines(facts, compute, grade),
            *overhead_lines(placement.gpus, assignment.devices, grown),
        ]
        devices = device_totals(lines, placement.gpus, unknown=bool(unknown))
        return Estimate("llama.cpp", workload, {}, tuple(self._graded(lines)), devices, unknown=unknown)

    def _weight_lines(self, assignment: Assignment) -> tuple[Line, ...]:
        if assignment not in self._weights:
            self._weights[assignment] = tuple(weight_lines(self.facts, assignment))
        return self._weights[assignment]

    def _graded(self, lines: Iterable[Line]) -> Iterable[Line]:
        """No line of a predicted file is surer than its tensors."""
        made = self.facts.prediction
        return lines if made is None else (x.replace(grade=weakest((x.grade, made.grade))) for x in lines)
