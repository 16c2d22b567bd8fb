"""`inspector report`."""

from __future__ import annotations

import os

import click

from inspector import __version__
from inspector.cli import outcome
from inspector.cli.memory import sweep_contexts
from inspector.cli.options import engine_option, open_target, target_argument
from inspector.cli.plain import incomplete
from inspector.errors import InspectorError, SourceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Estimate


def _sweeps(facts: ModelFacts, engine: str) -> dict[str, list[tuple[int, Estimate]]]:
    """Estimates over contexts for a few cache types; a type that the engine refuses is left out."""
    from inspector.memory.engines import engine_of, estimate
    from inspector.memory.estimate import Workload

    sweeps: dict[str, list[tuple[int, Estimate]]] = {}
    for name in engine_of(engine).chart_kv_types:
        dtype = None if name == "auto" else name
        try:
            sweeps[name] = [
                (n, estimate(facts, Workload(n_ctx=n, kv_dtype_k=dtype, kv_dtype_v=dtype), engine=engine))
                for n in sweep_contexts(facts, None)
            ]
        except InspectorError:
            continue
    return sweeps


@click.command()
@target_argument
@click.option("-o", "--output", required=True, metavar="FILE", help="Where the page goes; - for standard output.")
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
    text = page(checkpoint, facts, _sweeps(facts, name), version=__version__)
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
