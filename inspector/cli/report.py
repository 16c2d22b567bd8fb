"""`inspector report`."""

from __future__ import annotations

import os

import click

from inspector import __version__
from inspector.cli import outcome
from inspector.cli.memory import sweep_contexts
from inspector.cli.options import complete_files, engine_option, open_target, target_argument
from inspector.cli.plain import incomplete
from inspector.errors import InspectorError, SourceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Estimate, Workload


# sizes of cards that the page offers; the sweeps are of the one that it shows first
_CARDS: Final = (4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 141, 192, 288)
_FIRST: Final = 24


def _on_card(facts: ModelFacts, workload: Workload, *, engine: str, gib: int) -> Estimate:
    """The estimate on one card of this size, as `memory --gpu` gives it."""
    from inspector.memory.devices.gpus import parse_gpu
    from inspector.memory.engines import estimate
    from inspector.memory.estimate import Placement

    placement = Placement(gpus=parse_gpu(f"{gib}GiB"))
    return estimate(facts, workload, engine=engine, placement=placement)


def _cards(facts: ModelFacts, engine: str) -> list[dict[str, int]]:
    """What a model may use of a card of each size, and what the card takes more than the first one does.

    Asked at one context: what a card takes for itself is the same at all.
    """
    from inspector.memory.estimate import Workload

    n_ctx = sweep_contexts(facts, None)[0]
    asked = {gib: _on_card(facts, Workload(n_ctx=n_ctx), engine=engine, gib=gib).devices for gib in _CARDS}
    cards = {gib: next(d for d in devices if d.capacity is not None) for gib, devices in asked.items()}
    first = cards[_FIRST].used
    return [{"gib": gib, "usable": (d.capacity or 0) - d.reserve, "extra": d.used - first} for gib, d in cards.items()]


def _sweeps(facts: ModelFacts, engine: str) -> dict[str, list[tuple[int, Estimate]]]:
    """Estimates over contexts for a few cache types; a type that the engine refuses is left out."""
    from inspector.memory.engines import engine_of
    from inspector.memory.estimate import Workload

    sweeps: dict[str, list[tuple[int, Estimate]]] = {}
    for name in engine_of(engine).chart_kv_types:
        dtype = None if name == "auto" else name
        try:
            sweeps[name] = [
                (n, _on_card(facts, Workload(n_ctx=n, kv_dtype_k=dtype, kv_dtype_v=dtype), engine=engine, gib=_FIRST))
                for n in sweep_contexts(facts, None)
            ]
        except InspectorError:
            continue
    return sweeps


@click.command()
@target_argument
@click.option(
    "-o", "--output", required=True, metavar="FILE", shell_complete=complete_files,
    help="Where the page goes; - for standard output.",
)  # fmt: skip
@engine_option
def report(target: str, *, output: str, engine: str | None) -> int:
    """One self-contained interactive page: facts, tensors, and memory over contexts and cache types.

    \b
    Example:
      inspector report model.gguf -o report.html
    """
    from inspector.facts import read_facts
    from inspector.memory.engines import default_engine, engine_name
    from inspector.report.html import page

    checkpoint = open_target(target)
    facts = read_facts(checkpoint)
    name = engine_name(engine) if engine else default_engine(checkpoint.format)
    sweeps = _sweeps(facts, name)
    cards = _cards(facts, name) if sweeps else []
    text = page(checkpoint, facts, sweeps, version=__version__, cards=cards)
    if output == "-":
        outcome.write_bytes(text.encode("utf-8", "backslashreplace"))
        return incomplete(checkpoint)
    try:
        with open(output, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as error:
        raise SourceError(f"{output}: {(error.strerror or 'cannot be written').lower()}") from None
    outcome.write([f"{output}: {os.path.getsize(output):,} bytes"])
    return incomplete(checkpoint)
