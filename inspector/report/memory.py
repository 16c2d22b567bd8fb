"""`memory`: lines with bytes, grade and how; devices and verdicts; sweeps with a small plot; the same as JSON."""

from __future__ import annotations

from inspector.report.escape import escape
from inspector.report.text import bar, columns, join, pad, percent, shorten, table, wrap
from inspector.units import format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final

    from inspector.facts import ModelFacts
    from inspector.memory.breakdown import LayerRow
    from inspector.memory.estimate import Estimate, Line
    from inspector.report import documents

WORDS = {
    "weights": "weights", "kv_cache": "KV cache", "recurrent_state": "recurrent state",
    "compute": "compute", "output": "output buffer", "overhead": "overhead",
}  # fmt: skip


def display_nbytes(nbytes: int, grade: str) -> str:
    """Bytes in words; a modelled figure is marked as about right."""
    return ("≈ " if grade == "modelled" else "") + format_nbytes(nbytes)


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


def _line_rows(estimate: Estimate) -> list[tuple[str, ...]]:
    several = len({line.device for line in estimate.lines}) > 1
    rows: list[tuple[str, ...]] = []
    for line in estimate.lines:
        name = WORDS.get(line.what, line.what) + (f" ({escape(line.label)})" if line.label else "")
        device = escape(line.device) if several else ""
        size = display_nbytes(line.nbytes, line.grade)
        if not line.nbytes and line.peak_nbytes:  # nothing at load
            size = f"up to {format_nbytes(line.peak_nbytes)}"
        rows.append((name, device, size, line.grade, escape(line.how)))
    return rows


def dominant(estimate: Estimate) -> tuple[str, int]:
    """The part that takes most, and its bytes."""
    sums: dict[str, int] = {}
    for line in estimate.lines:
        sums[line.what] = sums.get(line.what, 0) + line.nbytes
    return max(sums.items(), key=lambda item: item[1], default=("", 0))


def _device_lines(estimate: Estimate) -> list[str]:
    rows = []
    for d in estimate.devices:
        verdict = {True: "fits", False: "DOES NOT FIT", None: ""}[d.fits]
        of = f"of {format_nbytes(d.capacity)}" if d.capacity is not None else ""
        of += f" less {format_nbytes(d.reserve)}" if d.reserve else ""
        spare = ""
        if d.capacity is not None and d.fits is not None:
            diff = d.capacity - d.reserve - d.used
            spare = f"{format_nbytes(diff)} spare" if diff >= 0 else f"{format_nbytes(-diff)} too much"
        name = escape(d.device) + (" and host" if d.unified else "")
        rows.append((name, format_nbytes(d.used), of, verdict, spare))
    return table(rows, align="<>><<") if rows else []


# Settings that follow from the others; JSON has them.
_UNSAID: Final = frozenset({"flash_attn_auto", "offload_kqv", "n_streams", "n_outputs_max", "prefix_caching"})


def _setting(name: str, value: Any) -> str:
    """One effective setting in words; switches that are off and what has parts of its own are left out."""
    if name in _UNSAID:
        return ""
    if value is True:
        return name
    if isinstance(value, bool) or value is None or not isinstance(value, int | float | str):
        return ""
    return f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}"


def memory_lines(
    target: str, facts: ModelFacts, estimate: Estimate, *, width: int = 100, notes: Sequence[str] = ()
) -> list[str]:
    """The estimate for people: each line with its grade and how it came about, then devices, verdict and notes."""
    settings = join(_setting(k, v) for k, v in estimate.effective.items())
    lines = [
        f"{shorten(escape(target), width)}",
        *("  " + x for x in wrap(f"{estimate.engine}: {settings}", width=width - 2)),
        "",
    ]
    rows = _line_rows(estimate)
    total = ("total", "", display_nbytes(estimate.total_nbytes, estimate.grade), estimate.grade, "")
    fixed = table([row[:4] for row in [*rows, total]], align="<<><")
    taken = max(columns(line) for line in fixed) + 2
    for line, row in zip(fixed, [*rows, total], strict=True):
        room = width - taken
        if room >= 24:
            hows = wrap(row[4], width=room) or [""]
            lines.append(f"{pad(line, taken)}{hows[0]}".rstrip())
            lines += [" " * taken + more for more in hows[1:]]
        else:
            lines.append(line)
    what, nbytes = dominant(estimate)
    if what and estimate.total_nbytes:
        lines += ["", f"  largest part: {WORDS.get(what, what)}, {percent(nbytes, estimate.total_nbytes)} of the total"]
    if estimate.devices:
        lines += ["", *_device_lines(estimate)]
    for item in estimate.unknown:
        lines.append(f"  unknown: {escape(item)} (not in the total)")
    for note in dict.fromkeys([*estimate.notes, *notes, *facts.notes]):
        lines += ["  " + x for x in wrap("note: " + escape(note), width=width - 2, indent="      ")]
    return lines


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


def sweep_lines(target: str, axis: str, points: Sequence[tuple[Any, Estimate]], *, width: int = 100) -> list[str]:
    """A table of parts and totals, which part dominates at each point, and a bar of the total."""
    parts = [w for w in WORDS if any(w in part_sums(e) for _, e in points)]
    rows = [(axis, *(WORDS[p] for p in parts), "total", "dominated by", "")]
    top = max((e.total_nbytes for _, e in points), default=0)
    plain_rows = []
    for value, e in points:
        sums = part_sums(e)
        fit = {True: " fits", False: " does not fit", None: ""}[e.fits]
        name = f"{value:,}" if isinstance(value, int) else escape(str(value))
        plain_rows.append(
            (name, *(format_nbytes(sums.get(p, 0)) for p in parts),
             format_nbytes(e.total_nbytes), WORDS.get(dominant(e)[0], "") + fit)
        )  # fmt: skip
    used = max(
        (columns(x) for x in table([(*r,) for r in [rows[0][:-1], *plain_rows]], align=">" * (len(parts) + 2) + "<")),
        default=0,
    )
    room = max(min(width - used - 2, 40), 0)
    for row, (_, e) in zip(plain_rows, points, strict=True):
        rows.append((*row, bar(e.total_nbytes / top if top else 0, room)))
    lines = [escape(target), "", *table(rows, align=">" * (len(parts) + 2) + "<<")]
    if axis == "ctx":
        at = overtakes(points)
        engine = points[0][1].engine if points else ""
        lines += [
            "",
            f"  {engine}: the KV cache overtakes the weights at {at:,} tokens"
            if at
            else f"  {engine}: the weights stay larger than the KV cache",
        ]
    return lines


def layer_lines(rows: Sequence[LayerRow]) -> list[str]:
    """The cache layer by layer, runs of equal layers on one line."""
    runs: list[tuple[LayerRow, int]] = []
    for row in rows:
        if runs and runs[-1][0].replace(index=0) == row.replace(index=0):
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((row, 1))
    cells = [("layers", "kind", "cells", "bytes each", "", "decided by")]
    for row, n in runs:
        name = str(row.index) if n == 1 else f"{row.index}–{row.index + n - 1}"
        size = "unknown" if row.nbytes is None else f"{row.nbytes:,}"
        words = "" if row.nbytes is None else format_nbytes(row.nbytes)
        count = "" if row.cells is None else f"{row.cells:,}"
        cells.append((name, escape(row.kind), count, size, words, escape(row.decided_by)))
    return ["", *table(cells, align="<<>>><")]
