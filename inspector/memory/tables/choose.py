"""What a page offers of a model: engines, forms, settings and cards, few enough to be computed in seconds."""

from __future__ import annotations

from inspector.errors import InspectorError
from inspector.memory.devices.gpus import GPUS, parse_gpu
from inspector.memory.engines import engine_of
from inspector.memory.predicted import as_gguf
from inspector.memory.tables.axes import Axes, contexts, places
from inspector.memory.tables.figures import Card, Model, Table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Final

    from inspector.memory.engines.protocol import Engine
    from inspector.memory.fit.records import Candidate

SIZES: Final = (4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 141, 192, 288)  # GiB that cards are sold with
FIRST: Final = 24  # of which the page shows this one first
QUANTS: Final = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")  # those that people make
MOST_FORMS: Final = 12
_COUNTS: Final = (1, 2, 4)
_FEW_FORMS: Final = 3  # of which partial offloading is offered in several steps


def engines_for(format_: str, asked: str | None) -> list[str]:
    """The engines of a page, the one that it shows first at the front."""
    usual = ["llama.cpp", "textbook"] if format_ == "gguf" else ["vllm", "transformers", "llama.cpp", "textbook"]
    return usual if asked is None else [asked, *(name for name in usual if name != asked)]


def cards(asked: str | None) -> list[Card]:
    """Sizes and products that one back end drives (CUDA, or that of the card asked for); the first to show in front."""
    word = asked or f"{FIRST}GiB"
    first = parse_gpu(word)[0]
    sized = [Card(f"{n}GiB", parse_gpu(f"{n}GiB")[0], "sizes") for n in SIZES] if first.backend == "cuda" else []
    named = [
        Card(row.name, row.as_gpu(), row.vendor)
        for row in GPUS.values()
        if row.backend == first.backend and row.devices == 1
    ]
    known = [*sized, *named]
    same = next((card for card in known if card.gpu == first), Card(word, first, "asked for"))
    return [same, *(card for card in known if card != same)]


def forms(candidates: Sequence[Candidate], engine: Engine) -> list[Model]:
    """The forms of the model that the engine could run: those there are, and of one alone those that could be made."""
    found = [_form(c, engine) for c in sorted(candidates, key=lambda c: -c.nbytes)[:MOST_FORMS]]
    return [*found, *_made(candidates[0], engine)] if len(candidates) == 1 and engine.quantizer else found


def _form(candidate: Candidate, engine: Engine) -> Model:
    facts = engine.loaded(candidate.facts, {})
    label = facts.prediction.label if facts.prediction is not None else candidate.label
    return Model(label, candidate.path or candidate.hub, facts)


def _made(candidate: Candidate, engine: Engine) -> Iterator[Model]:
    """The smaller quants that `--quant` predicts."""
    there = engine.loaded(candidate.facts, {})
    least = sum(t.nbytes or 0 for t in there.tensors)
    for name in QUANTS:
        try:
            facts = as_gguf(candidate.facts, name)
        except InspectorError:
            continue
        nbytes = sum(t.nbytes or 0 for t in facts.tensors)
        if nbytes < least:
            least = nbytes
            yield Model(name, candidate.path or candidate.hub, facts, ("--quant", name))


def axes(models: Sequence[Model], engine: Engine, n_ctx: int | None, *, first: bool = True) -> Axes:
    """Fewer settings where an estimate takes long, where there are many forms, and for engines that are not `first`."""
    facts = models[0].facts
    few = engine.costly(facts) or sum(not m.words for m in models) > _FEW_FORMS or (engine.by_layer and not first)
    types = engine.page_kv_types
    mixed = [pair for pair in engine.page_kv_pairs if not few]
    return Axes(
        places=places(
            _COUNTS[: 2 if few and engine.by_layer else None],
            n_layers=len(facts.layers),
            levels=(1 if few else 3) if engine.by_layer else 0,
        ),
        kv=(*((t, t) for t in types), *mixed),
        seqs=engine.page_seqs,
        contexts=contexts(facts, n_ctx, few=few),
    )


def tables(candidates: Sequence[Candidate], asked: str | None, *, gpu: str | None, n_ctx: int | None) -> list[Table]:
    """A table an engine; one that takes none of the forms is left out. Raises InspectorError where it was asked for."""
    found: list[Table] = []
    for name in engines_for(candidates[0].facts.format, asked):
        engine = engine_of(name)
        try:
            models = forms(candidates, engine)
        except InspectorError:
            if asked == name:
                raise
            continue
        runs_on = [card for card in cards(gpu) if not engine.refuses(card.gpu)]
        if runs_on:
            found.append(Table(engine, models, axes(models, engine, n_ctx, first=not found), runs_on))
    return found
