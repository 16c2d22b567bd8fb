"""A scan in a few numbers: what is there, what is wrong with it, what could not be read."""

from __future__ import annotations

from inspector.report.records import ScanGroup, ScanTotals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Final

    from inspector.fleet.options import Row

MOST_GROUPS: Final = 20
MOST_ERRORS: Final = 5
_OTHERS: Final = "(others)"


class _Sums:
    """Counts and bytes by a name; beyond ten thousand names the rest are others, so that memory has a bound."""

    def __init__(self) -> None:
        self.sums: dict[str, list[int]] = {}

    def add(self, name: str | None, nbytes: int) -> None:
        name = name or "unknown"
        if name not in self.sums and len(self.sums) >= 10_000:
            name = _OTHERS
        entry = self.sums.setdefault(name, [0, 0])
        entry[0] += 1
        entry[1] += nbytes

    def groups(self) -> tuple[ScanGroup, ...]:
        found = sorted((ScanGroup(name, n, b) for name, (n, b) in self.sums.items()), key=lambda g: (-g.nbytes, g.name))
        if len(found) <= MOST_GROUPS:
            return tuple(found)
        rest = found[MOST_GROUPS - 1 :]
        others = ScanGroup(_OTHERS, sum(g.n_models for g in rest), sum(g.nbytes for g in rest))
        return (*found[: MOST_GROUPS - 1], others)


def totals(rows: Iterable[Row], *, n_kept: int = 0, complete: bool = True) -> ScanTotals:
    """The sums of all rows, in one pass."""
    n = unread = unreached = nbytes = n_params = missing = 0
    errors: list[str] = []
    sums = {name: _Sums() for name in ("format", "arch", "quant", "verdict", "code")}
    for row in rows:
        own = row["nbytes"] or 0
        n, nbytes, n_params = n + 1, nbytes + own, n_params + (row["n_params"] or 0)
        missing += row["missing_nbytes"] or 0
        unread += row["error"] is not None
        if row["error"] is not None and len(errors) < MOST_ERRORS:
            errors.append(_which_and_why(row))
        unreached += row["error_kind"] in ("source", "worker")
        sums["format"].add(row["format"], own)
        sums["arch"].add(row["arch"], own)
        sums["quant"].add(row["quant_claimed"] or (row["quant_actual"] or "").partition(",")[0], own)
        sums["verdict"].add(row["verdict"], own)
        for code in row["codes"] or ():
            sums["code"].add(code, own)
    groups: dict[str, Any] = {f"by_{name}": s.groups() for name, s in sums.items()}
    groups["first_errors"] = tuple(errors)
    return ScanTotals(n, unread, unreached, n_kept, complete, nbytes, n_params, missing, **groups)


def _which_and_why(row: Row) -> str:
    """A model's error with its target in front, once."""
    target, name, error = row["target"], row["name"], row["error"]
    return error if error.startswith(f"{target}:") else f"{target}: {error.removeprefix(f'{name}: ')}"
