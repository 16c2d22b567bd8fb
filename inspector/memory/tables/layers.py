"""The layers of a table: what each weighs, what its cache takes in each setting, and which card it lies on."""

from __future__ import annotations

from inspector.architectures.roles import layer_of
from inspector.errors import InspectorError
from inspector.memory.tables.axes import workload_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from inspector.facts import ModelFacts
    from inspector.memory.breakdown import LayerRow
    from inspector.memory.tables.axes import Place
    from inspector.memory.tables.figures import Table


def layer_weights(facts: ModelFacts) -> list[int]:
    """Bytes of the tensors of each layer, then of those outside; empty where no tensors are known."""
    if not facts.tensors:
        return []
    sums = [0] * (len(facts.layers) + 1)
    for t in facts.tensors:
        i = layer_of(t.name)
        sums[i if i is not None and 0 <= i < len(facts.layers) else -1] += t.nbytes or 0
    return sums


def layer_caches(table: Table) -> dict[str, Any]:
    """Caches by layer as `memory --layers` gives them: equal layers once, equal settings once.

    `layers`: kind, deciding key and class of each; `sets`: (cells, bytes) by class; `index`: the set of each
    combination of cache types, sequences and contexts, on the host and on a card. Empty where the engine refuses all.
    """
    where = [p for p in (table.axes.places[:1], table.axes.places[1:2]) if p]
    columns = [list(_rows(table, place)) for (place,) in where]
    first = next((rows for column in columns for rows in column if rows), None)
    if first is None:
        return {}
    classes: dict[Any, int] = {}
    layers = []
    for i, row in enumerate(first):
        key = (row.kind, row.decided_by, *((r[i].cells, r[i].nbytes) if r else None for c in columns for r in c))
        layers.append((row.kind, row.decided_by, classes.setdefault(key, len(classes))))
    members = [next(i for i, x in enumerate(layers) if x[2] == n) for n in range(len(classes))]
    sets: dict[Any, int] = {}
    index = [
        [-1 if not r else sets.setdefault(tuple((r[i].cells, r[i].nbytes) for i in members), len(sets)) for r in column]
        for column in columns
    ]
    return {"layers": layers, "sets": list(sets), "index": index}


def _rows(table: Table, place: Place) -> Iterator[list[LayerRow]]:
    axes, engine = table.axes, table.engine
    facts = engine.loaded(table.models[0].facts, {})
    placement = place.on(next(iter(table.kinds.values())).first)
    for k, v in axes.kv:
        for n_seqs in axes.seqs:
            for n_ctx in axes.contexts:
                try:
                    workload = workload_of(k, v, n_seqs, n_ctx)
                    yield engine.layer_rows(facts, workload, {}, placement)
                except InspectorError:
                    yield []


def layer_places(table: Table) -> list[list[tuple[int, int]]]:
    """By place: runs of layers (the output's last) on a device, the host being 0; empty where all cards share each."""
    if not table.engine.by_layer:
        return []
    from inspector.memory.devices.placement import assign

    facts, gpu = table.models[0].facts, next(iter(table.kinds.values())).first
    found = []
    for place in table.axes.places:
        a = assign(place.on(gpu), len(facts.layers))
        at = {"host": 0, **{name: i for i, name in enumerate(a.devices, 1)}}
        runs: list[tuple[int, int]] = []
        for device in (*a.blocks, a.output):
            if runs and runs[-1][0] == at[device]:
                runs[-1] = (at[device], runs[-1][1] + 1)
            else:
                runs.append((at[device], 1))
        found.append(runs)
    return found
