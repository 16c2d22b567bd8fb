"""`inspector memory`."""

from __future__ import annotations

import click

from inspector.cli import outcome
from inspector.cli.options import (
    SIZE,
    build_placement,
    build_workload,
    json_option,
    open_target,
    placement_options,
    target_argument,
    workload_options,
)
from inspector.cli.plain import incomplete

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Estimate, Workload

# option, click's arguments, the engine it belongs to, help
_ENGINE_OPTIONS: Final = (
    ("--kv-form", dict(type=click.Choice(["layers", "gqa", "heads", "hidden"])), "textbook", "Form of the KV formula."),
    ("--constant-factor", dict(type=SIZE), "textbook", "Simplified activations: bytes a token."),
    ("--overhead", dict(type=SIZE), "textbook", "The constant term; default 1GiB."),
    ("--quant", dict(metavar="NAME"), "textbook", "Weights as params × bits of a format, like Q4_K_M."),
    ("--nominal", dict(is_flag=True), "textbook", "With --quant: the bits people quote, not the format's real ones."),
    ("--server", dict(is_flag=True), "llama.cpp", "llama-server's defaults: 4 sequences, one cache, last logits only."),
    ("--repack", dict(type=click.Choice(["avx2", "avx512", "neon"])), "llama.cpp", "Count the CPU's repacked weights."),
)  # fmt: skip


def engine_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options that belong to one engine."""
    for flag, arguments, engine, help_ in reversed(_ENGINE_OPTIONS):
        function = click.option(flag, help=f"{help_} ({engine})", **arguments)(function)
    return function


def _own_options(engine: str, params: dict[str, Any]) -> dict[str, Any]:
    """The chosen engine's options; one that belongs to another engine is a usage error."""
    chosen: dict[str, Any] = {}
    for flag, _, owner, _ in _ENGINE_OPTIONS:
        name = flag.lstrip("-").replace("-", "_")
        value = params.pop(name)
        if value in (None, False):
            continue
        if owner != engine:
            raise click.UsageError(f"{flag} is for --engine {owner}, not for {engine}")
        chosen[name] = value
    return chosen


def sweep_contexts(facts: ModelFacts, n_ctx: int | None) -> list[int]:
    """Powers of two from 1,024 up to the context asked for, or the trained one."""
    top = n_ctx or facts.n_ctx_train or 131072
    points = [1 << i for i in range(10, 31) if 1 << i < top]
    return [*points[-9:], top]


def _sweep(
    facts: ModelFacts, workload: Workload, axis: str, run: Callable[[Workload], Estimate]
) -> list[tuple[Any, Estimate]]:
    if axis == "ctx":
        return [(n, run(workload.replace(n_ctx=n))) for n in sweep_contexts(facts, workload.n_ctx)]
    if axis == "np":
        return [(n, run(workload.replace(n_seqs=n))) for n in (1, 2, 4, 8, 16, 32)]
    names = ("f32", "f16", "q8_0", "q5_1", "q4_0")
    return [(name, run(workload.replace(kv_dtype_k=name, kv_dtype_v=name))) for name in names]


def _report(target: str, facts: ModelFacts, result: Estimate, *, as_json: bool) -> None:
    from inspector.report import memory as report

    if as_json:
        outcome.write_json(report.memory_json(target, facts, result))
    else:
        outcome.write(report.memory_lines(target, facts, result, width=outcome.width()))


@click.command()
@target_argument
@workload_options
@placement_options
@click.option("-e", "--engine", metavar="ENGINE", help="textbook, llama.cpp, vllm or transformers; default by format.")
@engine_options
@click.option(
    "--sweep", type=click.Choice(["ctx", "np", "kv"]), help="A table over contexts, sequences or cache types."
)
@json_option
def memory(target: str, *, engine: str | None, sweep: str | None, as_json: bool, **params: Any) -> int:
    """What running a model costs: weights, KV cache, compute and overhead, line by line.

    \b
    Examples:
      inspector memory model.gguf -c 32768 -ctk q8_0 -ctv q8_0
      inspector memory model.gguf --gpu rtx4090
      inspector memory ./Qwen3-8B/ --engine vllm --max-model-len 32k --gpu a100-80gb
      inspector memory model.gguf --engine textbook --sweep ctx
    """
    from inspector.facts import read_facts
    from inspector.memory.engines import default_engine, engine_name, estimate

    checkpoint = open_target(target)
    facts = read_facts(checkpoint)
    name = engine_name(engine) if engine else default_engine(checkpoint.format)
    workload, placement = build_workload(params), build_placement(params)
    options = _own_options(name, params)

    def run(w: Workload) -> Estimate:
        return estimate(facts, w, engine=name, placement=placement, **options)

    if sweep:
        from inspector.report import memory as report

        points = _sweep(facts, workload, sweep, run)
        if as_json:
            outcome.write_json(report.sweep_json(target, sweep, points))
        else:
            outcome.write(report.sweep_lines(target, sweep, points, width=outcome.width()))
        return incomplete(checkpoint)
    result = run(workload)
    _report(target, facts, result, as_json=as_json)
    return incomplete(checkpoint) or (outcome.NO if result.fits is False else outcome.OK)
