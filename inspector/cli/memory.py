"""`inspector memory`."""

from __future__ import annotations

import click

from inspector.checkpoint import SeveralModels
from inspector.cli import outcome
from inspector.cli.options import (
    COUNT,
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
from inspector.errors import AccessDenied

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from inspector.checkpoint import Checkpoint
    from inspector.facts import ModelFacts
    from inspector.memory.breakdown import LayerRow
    from inspector.memory.estimate import Estimate, Line, Placement, Workload

# option, click's arguments, the engines it belongs to, where it goes (an argument of the engine's, or the workload's
# options), help
ENGINE_OPTIONS: Final[tuple[tuple[str, dict[str, Any], str, str, str], ...]] = (
    ("--kv-form", dict(type=click.Choice(["layers", "gqa", "heads", "hidden"])), "textbook", "argument",
     "Form of the KV formula."),
    ("--constant-factor", dict(type=SIZE), "textbook", "argument", "Simplified activations: bytes a token."),
    ("--overhead", dict(type=SIZE), "textbook", "argument", "The constant term; default 1GiB."),
    ("--quant", dict(metavar="NAME"), "textbook", "argument", "Weights as params × bits of a format, like Q4_K_M."),
    ("--nominal", dict(is_flag=True), "textbook", "argument",
     "With --quant: the bits people quote, not the format's real ones."),
    ("--server", dict(is_flag=True), "llama.cpp", "argument",
     "llama-server's defaults: 4 sequences, one cache, last logits only."),
    ("--repack", dict(type=click.Choice(["avx2", "avx512", "neon"])), "llama.cpp", "argument",
     "Count the CPU's repacked weights."),
    ("--embeddings", dict(is_flag=True), "llama.cpp", "option", "Embeddings are asked for as well."),
    ("--gpu-memory-utilization", dict(type=click.FloatRange(0, 1, min_open=True)), "vllm", "argument",
     "Share of the GPU that vLLM takes; default 0.92."),
    ("--max-num-batched-tokens", dict(type=COUNT), "vllm", "option", "Tokens of one step."),
    ("--block-size", dict(type=COUNT), "vllm", "option", "Tokens of a cache block."),
    ("--enforce-eager", dict(is_flag=True), "vllm", "option", "No CUDA graphs."),
    ("--disable-hybrid-kv-cache-manager", dict(is_flag=True), "vllm", "option", "Sliding layers count as full."),
    ("--cache", dict(type=click.Choice(["dynamic", "static"])), "transformers", "argument", "Kind of cache."),
    ("--mla-expanded", dict(is_flag=True), "transformers", "argument", "Latent caches as before transformers 5."),
    ("--attn", dict(type=click.Choice(["sdpa", "flash", "eager"])), "transformers", "option", "Attention kernel."),
    ("--dtype", dict(metavar="TYPE"), "vllm transformers", "option", "Compute type: bfloat16, float16, float32."),
)  # fmt: skip
_ADDONS: Final[tuple[tuple[str, dict[str, Any], str], ...]] = (
    ("--mmproj", dict(metavar="FILE"), "A multimodal projector, loaded beside the model."),
    ("--lora", dict(metavar="FILE", multiple=True), "An adapter; repeatable."),
    ("--draft", dict(metavar="TARGET"), "A draft model for speculative decoding, with its own cache and compute."),
)


def engine_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options that belong to one engine, and what is loaded beside the model."""
    for flag, arguments, help_ in reversed(_ADDONS):
        function = click.option(flag, help=help_, **arguments)(function)
    for flag, arguments, engines, _, help_ in reversed(ENGINE_OPTIONS):
        function = click.option(flag, help=f"{help_} ({engines.replace(' ', ', ')})", **arguments)(function)
    return function


def own_options(engine: str, params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The chosen engine's arguments and workload options; one that belongs to another engine is a usage error."""
    chosen: dict[str, dict[str, Any]] = {"argument": {}, "option": {}}
    for flag, _, engines, place, _ in ENGINE_OPTIONS:
        name = flag.lstrip("-").replace("-", "_")
        value = params.pop(name)
        if value in (None, False):
            continue
        if engine not in engines.split():
            raise click.UsageError(f"{flag} is for {engines.replace(' ', ' and ')}, not for {engine}")
        chosen[place][name] = value
    return chosen["argument"], chosen["option"]


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
    measured: dict[str, dict[str, int | None]] | None, as_json: bool,
) -> None:  # fmt: skip
    from inspector.report import memory as report

    if as_json:
        body = report.memory_json(target, facts, result)
        body |= {"layers": rows} if rows is not None else {}
        outcome.write_json(body | ({"verify": measured} if measured is not None else {}))
        return
    lines = report.memory_lines(target, facts, result, width=outcome.width())
    lines += report.layer_lines(rows) if rows is not None else []
    if measured is not None:
        from inspector.cli.verify import verify_lines

        lines += verify_lines(measured)
    outcome.write(lines)


def _check_verifiable(
    engine: str, checkpoint: Checkpoint, workload: Workload, placement: Placement, others: dict[str, Any]
) -> None:
    """A usage error where llama-fit-params cannot be asked the same question."""
    from inspector.cli.verify import refusal

    asked = {"--gpu": placement.gpus, "--outputs last": workload.outputs == "last", **others}
    why = refusal(engine, checkpoint, asked)
    if why is not None:
        raise click.UsageError(f"--verify {why}")


def _report_sweep(target: str, axis: str, points: list[tuple[Any, Estimate]], *, as_json: bool) -> None:
    from inspector.report import memory as report

    if as_json:
        outcome.write_json(report.sweep_json(target, axis, points))
    else:
        outcome.write(report.sweep_lines(target, axis, points, width=outcome.width()))


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


def _several(several: SeveralModels, target: str, *, engine: str | None, as_json: bool, params: dict[str, Any]) -> int:
    """The same question of each GGUF model of a folder or repository."""
    from inspector.cli.hub import memory_question, show_several
    from inspector.memory.engines import default_engine, engine_name

    name = engine_name(engine) if engine else default_engine("gguf")
    gpus = params["gpus"]
    workload, placement = build_workload(params), build_placement(params)
    arguments, extra = own_options(name, params)
    if extra:
        workload = workload.replace(options={**(workload.options or {}), **extra})
    ask = memory_question(workload, placement, gpus, engine=name, arguments=arguments)
    return show_several(several, target, ask=ask, as_json=as_json)


@click.command()
@target_argument
@workload_options
@placement_options
@click.option("-e", "--engine", metavar="ENGINE", help="textbook, llama.cpp, vllm or transformers; default by format.")
@engine_options
@click.option("--layers", "by_layer", is_flag=True, help="The cache layer by layer: kind, cells, bytes, deciding key.")
@click.option(
    "--sweep", type=click.Choice(["ctx", "np", "kv"]), help="A table over contexts, sequences or cache types."
)
@click.option("--verify", is_flag=True, help="Run llama-fit-params, when it is on PATH, and show the difference.")
@json_option
def memory(
    target: str, *, engine: str | None, sweep: str | None, by_layer: bool, verify: bool, as_json: bool, **params: Any
) -> int:
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

    addons = {name: params.pop(name) for name in ("mmproj", "lora", "draft")}
    try:
        checkpoint = open_target(target)
    except SeveralModels as several:
        return _several(several, target, engine=engine, as_json=as_json, params=params)
    except AccessDenied as error:
        from inspector.cli.hub import show_refused

        return show_refused(error, target, as_json=as_json)
    facts = read_facts(checkpoint)
    name = engine_name(engine) if engine else default_engine(checkpoint.format)
    workload, placement = build_workload(params), build_placement(params)
    arguments, extra = own_options(name, params)
    if extra:
        workload = workload.replace(options={**(workload.options or {}), **extra})
    draft_facts = read_facts(open_target(addons["draft"])) if addons["draft"] else None

    def run(w: Workload) -> Estimate:
        result = estimate(facts, w, engine=name, placement=placement, **arguments)
        draft = estimate(draft_facts, w, engine=name, placement=placement, **arguments) if draft_facts else None
        return _with_addons(result, facts, placement, addons, draft)

    if sweep:
        if verify or by_layer:
            raise click.UsageError("--sweep goes with neither --layers nor --verify")
        _report_sweep(target, sweep, _sweep(facts, workload, sweep, run), as_json=as_json)
        return incomplete(checkpoint)
    if verify:
        flags = ("server", "repack")
        others = {f"--{k}": v for k, v in (*addons.items(), *((k, arguments.get(k)) for k in flags))}
        _check_verifiable(name, checkpoint, workload, placement, others)
    result = run(workload)
    rows = measured = None
    if by_layer:
        from inspector.memory.breakdown import layer_rows

        rows = layer_rows(facts, workload, engine=name, server=bool(arguments.get("server")))
    if verify:
        from inspector.cli.verify import measure

        measured = measure(checkpoint, result)
    _report(target, facts, result, rows=rows, measured=measured, as_json=as_json)
    return incomplete(checkpoint) or (outcome.NO if result.fits is False else outcome.OK)
