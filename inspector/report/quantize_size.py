"""`quantize-size`: one line a type, or every tensor; the same as JSON."""

from __future__ import annotations

from inspector.report.escape import escape
from inspector.report.text import shorten_middle, table, wrap
from inspector.units import format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.memory.quantize_size import QuantizedSize
    from inspector.report import documents


def quantize_json(target: str, results: Sequence[QuantizedSize], adapter: int | None = None) -> documents.QuantizeSize:
    """The schema `inspector.quantize-size/1`."""
    body: documents.QuantizeSize = {
        "schema": "inspector.quantize-size/1",
        "target": target,
        "results": [_result(r) for r in results],
    }
    if adapter is not None:
        body["adapter_nbytes"] = adapter
    return body


def _result(r: QuantizedSize) -> documents.Quantized:
    bits = r.bits_per_weight
    return {
        "to": r.to, "nbytes": r.nbytes, "n_params": r.n_params,
        "bits_per_weight": None if bits is None else round(bits, 4), "grade": r.grade, "refused": r.refused,
        "quality": r.quality or None, "tensors": r.tensors, "notes": r.notes,
    }  # fmt: skip


def quantize_lines(target: str, results: Sequence[QuantizedSize], *, width: int, tensors: bool) -> list[str]:
    """A table of types; with `tensors`, every tensor of each."""
    rows = [("type", "size", "bytes", "bits/weight", "saved", "grade", "quality")]
    for r in results:
        if r.nbytes is None:
            rows.append((r.to, "refused", "", "", "", "", escape(r.refused or "")))
            continue
        saved = f"{r.reduction * 100:.1f}%".replace("-0.0%", "0.0%") if r.reduction is not None else ""
        bits = f"{r.bits_per_weight:.2f}" if r.bits_per_weight is not None else ""
        rows.append((r.to, format_nbytes(r.nbytes), f"{r.nbytes:,}", bits, saved, r.grade, r.quality))
    lines = [shorten_middle(escape(target), width), "", *table(rows, align="<>>>><<")]
    if tensors:
        for r in results:
            cells = [(escape(t.name), " × ".join(map(str, t.shape)), t.dtype, f"{t.nbytes:,}") for t in r.tensors]
            lines += ["", f"  {r.to}", *table(cells, align="<<<>", head=False)]
    lines += ["", "  saved: against two bytes a parameter"]
    seen: set[str] = set()
    for r in results:
        for note in r.notes:
            if note not in seen:
                seen.add(note)
                lines += ["  " + x for x in wrap(f"note: {escape(note)}", width=width - 2, indent="      ")]
    return lines
