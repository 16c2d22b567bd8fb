"""`memory` as JSON, and what its other forms share: parts in words, their sums, the largest of them."""

from __future__ import annotations

from inspector.units import format_between, format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Estimate, Line
    from inspector.report import documents

WORDS = {
    "weights": "weights", "kv_cache": "KV cache", "recurrent_state": "recurrent state",
    "compute": "compute", "output": "output buffer", "overhead": "overhead",
}  # fmt: skip


def display_nbytes(nbytes: int, grade: str, *, low: int | None = None) -> str:
    """Bytes in words; a modelled figure is marked as about right, the safe end of a range as the most."""
    if low is not None and low != nbytes:
        return "≤ " + format_nbytes(nbytes)
    return ("≈ " if grade == "modelled" else "") + format_nbytes(nbytes)


def both_ends(nbytes: int, grade: str, *, low: int | None) -> str:
    """The same where there is room for both ends of a range."""
    return display_nbytes(nbytes, grade) if low is None else format_between(low, nbytes)


def lines_json(estimate: Estimate) -> list[Line]:
    """The lines as JSON carries them; `peak_nbytes` only where it differs."""
    return [x if x.peak_nbytes != x.nbytes else x.replace(peak_nbytes=None) for x in estimate.lines]


def _answer(target: str, facts: ModelFacts, estimate: Estimate, notes: Sequence[str]) -> documents.Answer:
    return {
        "target": target,
        "engine": estimate.engine,
        "facts": facts,
        "workload": estimate.workload,
        "effective": estimate.effective,
        "lines": lines_json(estimate),
        "devices": estimate.devices,
        "total_nbytes": estimate.total_nbytes,
        "total_low_nbytes": estimate.total_low,
        "grade": estimate.grade,
        "fits": estimate.fits,
        "unknown": estimate.unknown,
        "notes": list(dict.fromkeys([*estimate.notes, *notes, *facts.notes])),
    }


def memory_json(target: str, facts: ModelFacts, estimate: Estimate, *, notes: Sequence[str] = ()) -> documents.Memory:
    """The schema `inspector.memory/1`."""
    from typing import cast

    return cast("documents.Memory", {"schema": "inspector.memory/1", **_answer(target, facts, estimate, notes)})


def calc_json(name: str, facts: ModelFacts, estimate: Estimate) -> documents.Calc:
    """The schema `inspector.calc/1`."""
    return {"schema": "inspector.calc/1", **_answer(name, facts, estimate, ())}


def dominant(estimate: Estimate) -> tuple[str, int]:
    """The part that takes most, and its bytes."""
    sums: dict[str, int] = {}
    for line in estimate.lines:
        sums[line.what] = sums.get(line.what, 0) + line.nbytes
    return max(sums.items(), key=lambda item: item[1], default=("", 0))


def sweep_json(target: str, axis: str, points: Sequence[tuple[Any, Estimate]]) -> documents.Sweep:
    """The schema `inspector.memory-sweep/1`: one estimate's sums a point."""
    return {
        "schema": "inspector.memory-sweep/1",
        "target": target,
        "engine": points[0][1].engine if points else None,
        "axis": axis,
        "points": [_point_json(axis, value, e) for value, e in points],
        "kv_overtakes_weights_at": overtakes(points) if axis == "ctx" else None,
    }


def _point_json(axis: str, value: Any, e: Estimate) -> Any:
    return {axis: value, **part_sums(e), "total_nbytes": e.total_nbytes, "grade": e.grade, "fits": e.fits}


def part_sums(estimate: Estimate) -> dict[str, int]:
    """Bytes a part, over all devices."""
    sums: dict[str, int] = {}
    for line in estimate.lines:
        sums[line.what] = sums.get(line.what, 0) + line.nbytes
    return sums


def overtakes(points: Sequence[tuple[Any, Estimate]]) -> Any:
    """The first point at which the cache is larger than the weights, or None."""
    for value, estimate in points:
        sums = part_sums(estimate)
        if "weights" in sums and sums.get("kv_cache", 0) > sums["weights"]:
            return value
    return None
