"""`inspector memory`."""

from __future__ import annotations

import click

from inspector.checkpoint import SeveralModels
from inspector.cli import outcome
from inspector.cli.answer import write_answer
from inspector.cli.beside import beside_options, read_beside, read_drafting, take_beside, take_from_store
from inspector.cli.options import (
    build_placement,
    build_workload,
    engine_option,
    engine_options,
    engine_settings,
    json_option,
    open_target,
    placement_options,
    target_argument,
    workload_options,
)
from inspector.cli.pasted import PastingCommand
from inspector.cli.plain import incomplete
from inspector.cli.quants import open_tagged
from inspector.errors import AccessDenied
from inspector.memory.tagged import engine_asked
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from inspector.checkpoint import Checkpoint
    from inspector.cli.verify import Measured
    from inspector.facts import ModelFacts
    from inspector.memory.breakdown import LayerRow
    from inspector.memory.estimate import Estimate, Line, Placement, Workload


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


def _report(
    target: str, facts: ModelFacts, result: Estimate, *, rows: list[LayerRow] | None,
    measured: Measured | None, as_json: bool, verbose: bool, run: Callable[[Workload], Estimate],
) -> None:  # fmt: skip
    from inspector.report import memory as report

    if as_json:
        body = report.memory_json(target, facts, result)
        body |= {"layers": rows} if rows is not None else {}
        outcome.write_json(body | ({"verify": measured.as_json()} if measured is not None else {}))
        return
    from inspector.report.sweep import layer_lines

    write_answer(target, facts, result, run=run, verbose=verbose)
    lines = layer_lines(rows, width=outcome.width()) if rows is not None else []
    if measured is not None:
        from inspector.cli.verify import verify_lines

        lines += verify_lines(measured)
    if lines:
        outcome.write(lines, painted=True)


def _report_sweep(target: str, axis: str, points: list[tuple[Any, Estimate]], *, as_json: bool) -> None:
    from inspector.report import memory as report

    if as_json:
        outcome.write_json(report.sweep_json(target, axis, points))
    else:
        from inspector.report.sweep import sweep_lines

        outcome.write(sweep_lines(target, axis, points, look=outcome.look()), painted=True)


def _with_addons(
    result: Estimate, facts: ModelFacts, placement: Placement, addons: dict[str, Any], draft: Estimate | None
) -> Estimate:
    """The estimate with projector, adapters and draft model added."""
    from inspector.memory import addons as parts

    extra: list[Line] = []
    notes: list[str] = []
    if addons["mmproj"]:
        extra.append(parts.projector_line(open_target(addons["mmproj"]).tensors, placement))
        notes.append("the projector's compute depends on the images and is not counted")
    for path in addons["lora"]:
        extra += parts.adapter_lines(open_target(path).tensors, facts, placement)
    if draft is not None:
        extra += parts.draft_lines(draft)
        notes += [f"draft: {item} is unknown and not counted" for item in draft.unknown]
    return parts.with_lines(result, extra, placement, notes=tuple(notes)) if extra else result


class Question(Record):
    """What is asked of one model: the engine's name, what to run and where, the engine's own arguments.

    `asked`: the placement as it was typed, of which the engine may leave devices out.
    """

    engine: str
    workload: Workload
    placement: Placement
    arguments: dict[str, Any]
    asked: Placement


def _question(format_: str, engine: str | None, params: dict[str, Any]) -> Question:
    """Takes the options of workload, placement and engine out of `params`."""
    from inspector.memory.engines import engine_of

    name = engine_asked(engine, format_, params.get("quant"))
    workload, placement = build_workload(params), build_placement(params)
    asked, placement = placement, engine_of(name).placed(placement)
    arguments, extra = engine_settings(name, params)
    if extra:
        workload = workload.replace(options={**(workload.options or {}), **extra})
    return Question(name, workload, placement, arguments, asked)


def _runner(facts: ModelFacts, q: Question, addons: dict[str, Any]) -> Callable[[Workload], Estimate]:
    """The estimate of a workload, with what is loaded beside the model."""
    from inspector.facts import read_facts
    from inspector.memory.engines import engine_of, estimate

    if engine_of(q.engine).option("beside") is not None:  # it has rules of its own for them
        arguments = {**q.arguments, "beside": read_beside(addons)}
        return lambda w: estimate(facts, w, engine=q.engine, placement=q.placement, **arguments)
    if engine_of(q.engine).option("draft") is not None:
        draft = read_drafting(addons["draft"], q.workload)
        arguments = {**q.arguments, "draft": draft} if draft is not None else q.arguments
        others = {**addons, "draft": None}
        return lambda w: _with_addons(
            estimate(facts, w, engine=q.engine, placement=q.placement, **arguments), facts, q.placement, others, None
        )
    draft_facts = read_facts(open_target(addons["draft"])) if addons["draft"] else None

    def run(w: Workload) -> Estimate:
        result = estimate(facts, w, engine=q.engine, placement=q.placement, **q.arguments)
        draft = None
        if draft_facts is not None:
            draft = estimate(draft_facts, w, engine=q.engine, placement=q.placement, **q.arguments)
        return _with_addons(result, facts, q.placement, addons, draft)

    return run


def _several(several: SeveralModels, target: str, *, engine: str | None, as_json: bool, params: dict[str, Any]) -> int:
    """The same question of each GGUF model of a folder or repository."""
    from inspector.cli.hub import memory_question, show_several

    gpus = params["gpus"]
    q = _question("gguf", engine, params)
    ask = memory_question(q.workload, q.placement, gpus, engine=q.engine, arguments=q.arguments)
    return show_several(several, target, ask=ask, as_json=as_json)


def _check_verifiable(checkpoint: Checkpoint, q: Question, addons: dict[str, Any]) -> None:
    """A usage error where llama-fit-params cannot be asked the same question."""
    from inspector.cli.verify import refusal

    asked = {f"--{name}": value for name, value in addons.items()}
    asked |= {f"--{name}": q.arguments.get(name) for name in ("server", "repack")}
    why = refusal(q.engine, checkpoint, q.workload, q.asked, asked)
    if why is not None:
        raise click.UsageError(f"--verify {why}")


def _layers(facts: ModelFacts, q: Question) -> list[LayerRow]:
    from inspector.memory.engines import engine_of

    return engine_of(q.engine).layer_rows(facts, q.workload, q.arguments, q.placement)


def _measure(checkpoint: Checkpoint, result: Estimate, q: Question) -> Measured:
    from inspector.cli.verify import measure

    return measure(checkpoint, result, q.asked, q.arguments)


@click.command(cls=PastingCommand)
@target_argument
@workload_options
@placement_options
@engine_option
@engine_options("memory")
@beside_options
@click.option("--layers", "by_layer", is_flag=True, help="The cache layer by layer: kind, cells, bytes, deciding key.")
@click.option(
    "--sweep", type=click.Choice(["ctx", "np", "kv"]), help="A table over contexts, sequences or cache types."
)
@click.option("-v", "--verbose", is_flag=True, help="How each figure comes about, and the settings in effect.")
@click.option("--verify", is_flag=True, help="Ask llama.cpp's own programs on PATH too: the difference.")
@json_option
def memory(
    target: str, *, engine: str | None, sweep: str | None, by_layer: bool, verbose: bool, verify: bool, as_json: bool,
    **params: Any,
) -> int:  # fmt: skip
    """Whether a model fits, and what running it takes: weights, KV cache, compute and overhead.

    On a terminal with bars, in a pipe one table; with -v how each figure comes about.

    \b
    Examples:
      inspector memory model.gguf -c 32768 -ctk q8_0 -ctv q8_0
      inspector memory model.gguf --gpu rtx4090
      inspector memory Qwen/Qwen3-30B-A3B:Q4_K_M --gpu rtx4090
      inspector memory ./Qwen3-8B/ --engine vllm --max-model-len 32k --gpu a100-80gb
      inspector memory model.gguf --engine textbook --sweep ctx
      inspector memory --gpu rtx4090 -- llama-server -m model.gguf -c 32768
    """
    from inspector.facts import read_facts
    from inspector.memory.engines import engine_of

    addons = take_beside(params)
    try:
        checkpoint, tag = open_tagged(target, engine)
    except SeveralModels as several:
        return _several(several, target, engine=engine, as_json=as_json, params=params)
    except AccessDenied as error:
        from inspector.cli.hub import show_refused

        return show_refused(error, target, as_json=as_json)
    params["quant"] = params["quant"] or tag
    of_store = take_from_store(checkpoint, params, addons)
    question = _question(checkpoint.format, engine, params)
    facts = engine_of(question.engine).loaded(read_facts(checkpoint), question.arguments)
    run = _runner(facts, question, addons)
    if sweep:
        if verify or by_layer:
            raise click.UsageError("--sweep goes with neither --layers nor --verify")
        _report_sweep(target, sweep, _sweep(facts, question.workload, sweep, run), as_json=as_json)
        return incomplete(checkpoint)
    if verify:
        _check_verifiable(checkpoint, question, addons)
    result = run(question.workload)
    result = result.replace(notes=(*of_store, *result.notes))
    rows = _layers(facts, question) if by_layer else None
    measured = _measure(checkpoint, result, question) if verify else None
    _report(
        target, facts, result, rows=rows, measured=measured, as_json=as_json, verbose=verbose, run=run,
    )  # fmt: skip
    return incomplete(checkpoint) or (outcome.NO if result.fits is False else outcome.OK)
