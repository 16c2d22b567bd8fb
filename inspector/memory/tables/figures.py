"""A table of estimates: every combination of settings once, equal rows kept once, and what one card takes more."""

from __future__ import annotations

from inspector.errors import InspectorError
from inspector.memory.estimate import WHATS
from inspector.memory.tables.axes import Place, workload_of
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence
    from typing import Any

    from inspector.facts import ModelFacts
    from inspector.memory.engines.protocol import Engine
    from inspector.memory.estimate import Estimate, Gpu, Placement, Workload
    from inspector.memory.tables.axes import Axes

    Run = Callable[[Workload, Placement], Estimate]


class Model(Record):
    """One form of a model: what it is called, what to type to ask for it, and its facts as the engine loads them."""

    label: str
    target: str
    facts: ModelFacts
    words: tuple[str, ...] = ()


class Card(Record):
    """A kind of card: what `--gpu` takes, as a device, and what a page lists it under."""

    word: str
    gpu: Gpu
    group: str = ""


class Kind(Record):
    """Cards on which an engine's figures are the same but for the bytes that are each card's own."""

    first: Gpu
    own: int


class Table:
    """The figures of one engine. Rows are kept once; a combination's row is found by its number.

    `index`: by model and kind of card, the row of each combination of `axes` in their order (-1: not computed);
    `base`: bytes of weights by model, kind and place, of which rows hold what differs. A row: what is said of it
    (`said`), then by device (the host first) bytes of each part, what its peak takes more, and what it may take less,
    sizes that are not known being ranges; `below`: that of what is each card's own. `room`: bytes of each card, and of
    them what the engine leaves to a model.
    """

    def __init__(self, engine: Engine, models: Sequence[Model], axes: Axes, cards: Sequence[Card]) -> None:
        self.engine, self.models, self.axes = engine, tuple(models), axes
        self.kinds: dict[Hashable, Kind] = {}
        self.cards = [(card, self._kind_of(card.gpu)) for card in cards]
        self.said: dict[tuple[str, ...], int] = {}
        self.rows: dict[Any, int] = {}
        memo: dict[Any, Any] = {}
        self.base: list[list[list[list[int]]]] = []
        runs = [engine.many(m.facts, memo) for m in self.models]
        self.below = [engine.range_on_card(card.gpu) for card in cards]
        self.room = [self._room(runs[0], card.gpu, kind) for card, (kind, _) in self.cards]
        self.index = [self._of_model(run, whole=bool(m.words)) for m, run in zip(self.models, runs, strict=True)]

    def _kind_of(self, gpu: Gpu) -> tuple[int, int]:
        """The number of a card's kind, and its own bytes above those of the kind's first."""
        key, own = self.engine.on_card(gpu)
        kind = self.kinds.setdefault(key, Kind(gpu, own))
        return list(self.kinds).index(key), own - kind.own

    def _room(self, run: Run, gpu: Gpu, kind: int) -> tuple[int, int]:
        """Bytes of a card, and of them what the engine leaves to a model; none where it refuses to say."""
        first = list(self.kinds.values())[kind].first
        alike = gpu.replace(name=first.name)
        for n_ctx in self.axes.contexts:
            try:
                result = run(workload_of(*self.axes.kv[0], 0, n_ctx), Place(1).on(alike))
            except InspectorError:
                continue
            device = next(d for d in result.devices if d.capacity is not None)
            return gpu.capacity, gpu.capacity - device.reserve
        return gpu.capacity, 0

    def _of_model(self, run: Run, *, whole: bool) -> list[list[int]]:
        """Rows by kind of card; -1 where none was computed. `whole`: only what lies on cards as a whole."""
        found: list[list[int]] = []
        self.base.append([])
        for number, kind in enumerate(self.kinds.values()):
            index: list[int] = []
            base: list[list[int]] = []
            for place in self.axes.places:
                if not place.cards and number:  # without cards, all kinds are one
                    index += found[0][: self._combinations]
                    base.append(self.base[-1][0][0])
                    continue
                if whole and (not place.cards or place.n_gpu_layers is not None):
                    index += [-1] * self._combinations
                    base.append([])
                    continue
                made = list(self._of_place(run, place, kind.first))
                base.append(next((weights for weights, _, _ in made if weights), []))
                index += [self._row(weights, base[-1], rest, said) for weights, rest, said in made]
            found.append(index)
            self.base[-1].append(base)
        return found

    @property
    def _combinations(self) -> int:
        """Rows of one place."""
        return len(self.axes.kv) * len(self.axes.seqs) * len(self.axes.contexts)

    def _of_place(
        self, run: Run, place: Place, gpu: Gpu
    ) -> Iterator[tuple[list[int], list[list[int]], tuple[str, ...]]]:
        """By combination: weights by device, the other parts by device, and what is said of them."""
        axes, placement = self.axes, place.on(gpu)
        for k, v in axes.kv:
            for n_seqs in axes.seqs:
                for n_ctx in axes.contexts:
                    workload = workload_of(k, v, n_seqs, n_ctx)
                    try:
                        result = run(workload, placement)
                    except InspectorError as error:
                        yield [], [], ("", str(error))
                        continue
                    parts = _parts(result, tuple(g.name for g in placement.gpus), self.engine.range_on_card(gpu))
                    yield [p[0] for p in parts], [p[1:] for p in parts], (result.grade, *result.unknown)

    def _row(self, weights: list[int], base: list[int], rest: list[list[int]], said: tuple[str, ...]) -> int:
        """The number of a row that holds this, a new one where none does."""
        number = self.said.setdefault(said, len(self.said))
        places = tuple(_trimmed((w - b, *more)) for w, b, more in zip(weights, base, rest, strict=bool(weights)))
        return self.rows.setdefault((number, *places), len(self.rows))


def _parts(result: Estimate, names: Sequence[str], own: int) -> list[list[int]]:
    """Bytes of each part on the host and on each device, then what its peak takes more, and what it may take less.

    `own`: of that last figure what is each card's own, and not in it.
    """
    at = {"host": 0, **{name: i for i, name in enumerate(names, 1)}}
    if not names:  # without cards, all is in one place, whatever the engine calls it
        at = dict.fromkeys((x.device for x in result.lines), 0)
    found = [[0] * (len(WHATS) + 2) for _ in range(len(names) + 1)]
    for line in result.lines:
        row = found[at[line.device]]
        row[WHATS.index(line.what)] += line.nbytes
        row[-1] += line.nbytes - line.least
    for device in result.devices:
        if device.capacity is not None and not device.unified:
            row = found[at[device.device]]
            row[-2] = device.used - sum(row[:-2])
    for row in found[1:]:
        row[-1] -= own
    return found


def _trimmed(values: tuple[int, ...]) -> tuple[int, ...]:
    n = len(values)
    while n and not values[n - 1]:
        n -= 1
    return values[:n]
