"""`scan --report`: one self-contained page: the sums of a scan, and a table of its models that sorts and filters.

Text from a file reaches the page as text nodes; the JSON cannot close its element (`<` is written \\u003c).
"""

from __future__ import annotations

import json
from itertools import islice

from inspector.units import format_count, format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Final

    from inspector.report.records import ScanTotals

MOST_ROWS: Final = 20_000  # more than a browser sorts at once; the table has them all
# column of the scan, heading, how it is shown: text, number or bytes
_SHOWN: Final = (
    ("target", "model", "text"), ("arch", "architecture", "text"), ("n_params", "parameters", "number"),
    ("quant_claimed", "claimed", "text"), ("quant_actual", "actual", "text"), ("nbytes", "bytes", "bytes"),
    ("n_ctx_train", "context", "number"), ("kv_nbytes_token", "KV a token", "bytes"),
    ("smallest_gpu", "smallest GPU", "text"), ("verdict", "audit", "text"), ("codes", "codes", "text"),
    ("missing_nbytes", "missing", "bytes"), ("error", "error", "text"),
)  # fmt: skip


def page(found: ScanTotals, rows: Iterable[Mapping[str, Any]], *, version: str) -> str:
    """The whole page as text; its first twenty thousand models."""
    from jinja2 import Environment, PackageLoader

    shown = [[_shown(row[name]) for name, _, _ in _SHOWN] for row in islice(rows, MOST_ROWS)]
    data = {"columns": [(heading, kind) for _, heading, kind in _SHOWN], "rows": shown}
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    env = Environment(loader=PackageLoader("inspector.report", "page"), autoescape=True, keep_trailing_newline=True)
    return env.get_template("scan.html.j2").render(
        cards=_cards(found), groups=_groups(found), n_shown=len(shown), found=found, data=text, version=version
    )


def _shown(value: Any) -> Any:
    return " ".join(value) if isinstance(value, list) else value


def _cards(found: ScanTotals) -> list[tuple[str, str]]:
    cards = [
        ("models", f"{found.n_models:,}"), ("on disk", format_nbytes(found.nbytes)),
        ("parameters", format_count(found.n_params)), ("not read in full", f"{found.n_unread:,}"),
        ("bytes missing", format_nbytes(found.missing_nbytes)),
    ]  # fmt: skip
    return cards if found.complete else [*cards, ("the scan", "broke off")]


def _groups(found: ScanTotals) -> list[tuple[str, list[tuple[str, str, str]]]]:
    named = (
        ("audit", found.by_verdict), ("findings", found.by_code), ("quant", found.by_quant),
        ("architecture", found.by_arch), ("format", found.by_format),
    )  # fmt: skip
    return [(title, [(g.name, f"{g.n_models:,}", format_nbytes(g.nbytes)) for g in groups]) for title, groups in named]
