"""An engine's figures beside ours, as a table and as JSON."""

from __future__ import annotations

from inspector.report.escape import escape
from inspector.report.text import table, wrap
from inspector.units import MIB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.logs import StartupLog
    from inspector.memory.compare import Comparison
    from inspector.memory.estimate import Estimate
    from inspector.report import documents


def _mib(nbytes: int | None, low: int | None = None) -> str:
    if nbytes is None:
        return "unknown"
    return f"{nbytes / MIB:,.2f} MiB" if low is None else f"{low / MIB:,.2f} to {nbytes / MIB:,.2f} MiB"


def _difference(row: Comparison, within: float) -> tuple[str, str]:
    if row.off is None or row.difference is None:
        return "", "not known"
    if not row.off:
        return "0", "same" if row.low is None else "within the range"
    sign = "+" if row.difference > 0 else "−"
    share = f"{sign}{row.off:.2%}" if row.theirs else "not in the log"
    return f"{row.difference / MIB:+,.2f} MiB", share + ("" if row.off <= within else "  OFF")


def compare_lines(
    log: StartupLog, estimate: Estimate, rows: Sequence[Comparison], *, within: float, width: int = 100
) -> list[str]:
    """Build and settings, then each line's two figures."""
    said = ", ".join(f"{k} {v}" for k, v in log.settings.items() if k != "model")
    lines = [escape(f"{log.engine} {log.build}: {log.model or 'model not named'}")]
    lines += wrap(escape(f"settings: {said}"), width=width, indent="  ") if said else []
    cells = [("", "device", "log", "here", "difference", "")]
    cells += [(r.what, escape(r.device), _mib(r.theirs), _mib(r.ours, r.low), *_difference(r, within)) for r in rows]
    lines += ["", *table(cells, align="<<>>><")]
    for note in (*log.notes, *estimate.notes):
        lines += wrap(escape(f"note: {note}"), width=width, indent="  ")
    off = sum(1 for row in rows if row.off is not None and row.off > within)
    verdict = f"{off} of {len(rows)} lines are off by more than" if off else "every known line is within"
    return [*lines, "", f"{verdict} {within * 100:.4g} %"]


def compare_json(
    target: str, log: StartupLog, estimate: Estimate, rows: Sequence[Comparison], *, within: float
) -> documents.Compare:
    """The same as data; sizes in bytes, `off` as a share."""
    return {
        "schema": "inspector.compare/1",
        "target": target,
        "engine": log.engine,
        "build": log.build,
        "model": log.model,
        "settings": log.settings,
        "devices": [
            {"name": d.name, "description": d.description, "total_nbytes": d.total, "free_nbytes": d.free}
            for d in log.devices
        ],
        "within": within,
        "lines": [
            {
                "what": r.what,
                "device": r.device,
                "log_nbytes": r.theirs,
                "nbytes": r.ours,
                "low_nbytes": r.low,
                "off": r.off,
            }
            for r in rows
        ],
        "notes": [*log.notes, *estimate.notes],
        "same": all(r.off is None or r.off <= within for r in rows),
    }
