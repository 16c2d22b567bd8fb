"""`report`: one self-contained page: facts, tensors, and memory over contexts. Nothing is loaded from anywhere.

Template, style and script lie in `page/`; the result holds all three. Its data is one JSON object; its script only
draws. Text from the file reaches the page as text nodes, and the JSON cannot close its element (`<` is written
\\u003c), so nothing in a model file can become markup.
"""

from __future__ import annotations

import json

from inspector.jsonable import jsonable
from inspector.report.escape import escape
from inspector.report.forms import written
from inspector.report.memory import part_sums
from inspector.report.show import dtype_rows, layer_kinds
from inspector.report.tensors import tensor_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Final

    from inspector.checkpoint import Checkpoint
    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Estimate

MAX_TENSORS: Final = 20_000


def _fact_rows(facts: ModelFacts) -> list[tuple[str, str]]:
    body = written(facts)
    skip = {"layers", "origin", "format"}
    rows = [
        (k, "unknown" if v is None else f"{v:,}" if type(v) is int else escape(str(v)))
        for k, v in body.items()
        if k not in skip
    ]
    kinds = ", ".join(f"{n} {kind}" + (f" of {w:,}" if w else "") for kind, n, w in layer_kinds(facts))
    return [*rows, ("layers", kinds)]


def _point(n_ctx: int, estimate: Estimate) -> dict[str, Any]:
    return {
        "n_ctx": n_ctx, "parts": part_sums(estimate), "total": estimate.total_nbytes, "grade": estimate.grade,
        "unknown": list(estimate.unknown), "on_card": sum(d.used for d in estimate.devices if d.capacity is not None),
    }  # fmt: skip


def page(
    checkpoint: Checkpoint,
    facts: ModelFacts,
    sweeps: Mapping[str, Sequence[tuple[int, Estimate]]],
    *,
    version: str,
    cards: Sequence[Mapping[str, int]] = (),
) -> str:
    """The whole page as text. `sweeps`: cache type → (context, estimate) in order of context.

    `cards`: sizes in GiB, bytes `usable` of each, and what it takes more (`extra`) than the one of the estimates.
    """
    tensors = [tensor_json(t) for t in checkpoint.tensors[:MAX_TENSORS]]
    notes = [*checkpoint.notes, *facts.notes]
    if len(checkpoint.tensors) > MAX_TENSORS:
        notes.append(f"the first {MAX_TENSORS:,} of {len(checkpoint.tensors):,} tensors are listed")
    data = {
        "facts": _fact_rows(facts),
        "notes": [escape(n) for n in notes],
        "dtypes": dtype_rows(checkpoint),
        "tensors": [{**t, "name": escape(t["name"])} for t in tensors],
        "cards": list(cards),
        "sweeps": {kv: {"points": [_point(n, e) for n, e in points]} for kv, points in sweeps.items()},
    }
    engine = next((e.engine for points in sweeps.values() for _, e in points), "")
    return _render(title=escape(checkpoint.target), data=data, version=version, engine=engine)


def _render(*, title: str, data: dict[str, Any], version: str, engine: str) -> str:
    """The template with everything put into it; words are escaped there; style, script and data are not."""
    from jinja2 import Environment, PackageLoader

    loader = PackageLoader("inspector.report", "page")
    env = Environment(loader=loader, autoescape=True, keep_trailing_newline=True)
    text = json.dumps(jsonable(data), ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    style, script = (loader.get_source(env, name)[0] for name in ("style.css", "script.js"))
    return env.get_template("page.html.j2").render(
        title=title, version=version, engine=engine, style=style, script=script, data=text
    )
