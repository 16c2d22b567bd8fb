"""What a page holds, as plain data: tables of figures, layers, facts, tensors. Its script draws them and adds up."""

from __future__ import annotations

from inspector.memory.tables.layers import layer_caches, layer_places, layer_weights
from inspector.report.escape import escape
from inspector.report.forms import written
from inspector.report.show import dtype_rows, layer_kinds
from inspector.report.tensors import tensor_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final

    from inspector.checkpoint import Checkpoint
    from inspector.facts import ModelFacts
    from inspector.memory.tables.figures import Table

MAX_TENSORS: Final = 12_000  # rows; what a page weighs stays below 3 MB
MAX_LISTED: Final = 2_000  # characters of one name or value


def fact_rows(facts: ModelFacts) -> list[tuple[str, str]]:
    """Names of facts and their values in words."""
    rows = [
        (k, "unknown" if v is None else f"{v:,}" if type(v) is int else escape(str(v))[:MAX_LISTED])
        for k, v in written(facts).items()
        if k not in {"layers", "origin", "format"}
    ]
    kinds = ", ".join(f"{n} {kind}" + (f" of {w:,}" if w else "") for kind, n, w in layer_kinds(facts))
    return [*rows, ("layers", escape(kinds))]


def tensor_rows(checkpoint: Checkpoint) -> list[list[Any]]:
    """Name, shape, dtype, elements, bytes, offset."""
    found = [tensor_json(t) for t in checkpoint.tensors[:MAX_TENSORS]]
    return [
        [escape(t["name"])[:MAX_LISTED], list(t["shape"]), t["dtype"], t["n_elements"], t["nbytes"], t["offset"]]
        for t in found
    ]


def table_data(table: Table) -> dict[str, Any]:
    """One engine's table; what `inspector memory` is to be asked for each setting stands in it as words."""
    axes = table.axes
    return {
        "name": table.engine.name,
        "release": table.engine.release,
        "models": [
            {"label": escape(m.label), "target": m.target, "words": list(m.words), "layers": layer_weights(m.facts)}
            for m in table.models
        ],
        "places": [[p.cards, p.n_gpu_layers] for p in axes.places],
        "n_layers": len(table.models[0].facts.layers),
        "kv": [list(pair) for pair in axes.kv],
        "seqs": list(axes.seqs),
        "contexts": list(axes.contexts),
        "cards": [
            [card.word, card.gpu.name, card.group, kind, own, *room, card.gpu.unified and table.engine.by_layer, below]
            for (card, (kind, own)), room, below in zip(table.cards, table.room, table.below, strict=True)
            if room[1] > 0
        ],
        "said": [[escape(str(word)) for word in said] for said in table.said],
        "rows": [list(row) for row in table.rows],
        "base": table.base,
        "index": table.index,
        "caches": layer_caches(table),
        "runs": layer_places(table),
    }


def page_data(
    checkpoint: Checkpoint, facts: ModelFacts, tables: Sequence[Table], *, n_ctx: int | None, cards: int
) -> dict[str, Any]:
    """All that a page holds. `n_ctx`, `cards`: what it shows first, besides the first of everything."""
    notes = [*checkpoint.notes, *facts.notes]
    if len(checkpoint.tensors) > MAX_TENSORS:
        notes.append(f"the first {MAX_TENSORS:,} of {len(checkpoint.tensors):,} tensors are listed")
    return {
        "facts": fact_rows(facts),
        "notes": [escape(n)[:MAX_LISTED] for n in dict.fromkeys(notes)],
        "types": dtype_rows(checkpoint),
        "tensors": tensor_rows(checkpoint),
        "trained": facts.n_ctx_train,
        "first": {"ctx": n_ctx or facts.n_ctx_train, "n": cards},
        "engines": [table_data(t) for t in tables],
    }
