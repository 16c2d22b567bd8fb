"""`inspector fit`."""

from __future__ import annotations

import click

from inspector.cli import outcome
from inspector.cli.beside import beside_options, read_beside, read_drafting, take_beside, take_from_store
from inspector.cli.options import (
    build_workload,
    engine_option,
    engine_options,
    engine_settings,
    json_option,
    open_target,
    target_argument,
    workload_options,
)
from inspector.cli.pasted import PastingCommand
from inspector.cli.plain import incomplete
from inspector.cli.values import COUNT, GPU, LAYERS, OVERRIDES, SHARES, SIZE
from inspector.errors import InspectorError
from inspector.memory.devices.placement import ALL_LAYERS
from inspector.memory.engines.protocol import QUANT_HELP
from inspector.memory.tagged import engine_asked, with_tag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from inspector.memory.fit.records import Ask, Choice
    from inspector.report.fit import Commands

_OPTIONS: Final = (
    (("--gpu", "gpus"), dict(multiple=True, type=GPU),
     "rtx4090, 2xrtx3090, 24G, auto, or none: the CPU (llama.cpp); repeatable. Default: what this machine has."),
    (("--min-quant", "min_quant"), dict(metavar="TYPE"), "Nothing coarser than this quant; Q4_K_M is only preferred."),
    (("--longest", "longest"), dict(is_flag=True),
     "As much context as the model was trained for, or what fits of it."),
    (("-ngl", "--gpu-layers", "--n-gpu-layers", "n_gpu_layers"), dict(type=LAYERS),
     "Exactly so many layers on GPUs, or all; auto: as many as fit."),
    (("-ncmoe", "--n-cpu-moe", "n_cpu_moe"), dict(type=click.IntRange(min=0)),
     "Experts of exactly so many layers on the host."),
    (("-cmoe", "--cpu-moe", "cpu_moe"), dict(is_flag=True), "All experts on the host."),
    (("-ot", "--override-tensor", "overrides"), dict(multiple=True, type=OVERRIDES),
     "Tensors that match go to a device; several with commas."),
    (("-ts", "--tensor-split", "tensor_split"), dict(type=SHARES), "Shares of the layers a GPU."),
    (("-tp", "--tensor-parallel-size", "tensor_parallel"), dict(type=COUNT), "Exactly so many ranks (vLLM)."),
    (("--no-kv-offload", "-nkvo", "no_kv_offload"), dict(is_flag=True), "The cache stays in host memory."),
    (("--backend", "backend"), dict(metavar="NAME"),
     "llama.cpp's back end, like cuda, vulkan or rpc. Default: the GPU's own."),
    (("--no-offload", "no_offload"), dict(is_flag=True), "Nothing of the model on the host: all on the GPUs, or no."),
    (("--host", "host"), dict(type=SIZE),
     "Host memory there is, like 64G. Default: no limit; without --gpu, what is free here."),
    (("--margin", "margin"), dict(type=SIZE),
      "Bytes to leave free on every GPU; default: what the engine itself leaves (llama.cpp: 1GiB)."),
    (("--prefer", "prefer"), dict(metavar="LIST"), "What matters most: offload, quant, context, kv; commas between."),
    (("--hypothetical", "hypothetical"), dict(is_flag=True), "Also the quants that llama-quantize could make of it."),
    (("--most", "most"), dict(type=click.IntRange(1, 20), default=5, show_default=True), "At most so many choices."),
)  # fmt: skip


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    function = click.option(
        "--quant", "quants", multiple=True, metavar="NAME", help=f"{QUANT_HELP} (textbook, llama.cpp)"
    )(engine_options("fit")(function))
    function = beside_options(engine_option(function))
    for flags, arguments, help_ in reversed(_OPTIONS):
        function = click.option(*flags, help=help_, **arguments)(function)
    return function


def _take_this_machine(params: dict[str, Any]) -> tuple[str, ...]:
    """Where no GPU is named: those of this machine, and the host memory that is free on it; a note that says so."""
    if params["gpus"]:
        return ()
    from inspector.memory.devices.machine import host_available
    from inspector.units import format_nbytes

    params["gpus"] = ("auto",)
    free = None if params["host"] else host_available()
    if not free:
        return ()
    params["host"] = free
    return (f"the host memory that is free on this machine now: {format_nbytes(free)} (--host)",)


def _read_ask(params: dict[str, Any], engine: str) -> Ask:
    from inspector.memory.devices.asked import gpus_asked
    from inspector.memory.engines import engine_of
    from inspector.memory.estimate import Placement
    from inspector.memory.fit.records import Ask

    named = gpus_asked(params.pop("gpus"), params.pop("backend"))
    gpus = engine_of(engine).placed(Placement(gpus=named)).gpus
    if not gpus and not engine_of(engine).on_cpu:
        raise InspectorError(f"--gpu none: {engine} is not answered for a CPU", hint="llama.cpp is: -e llama.cpp")
    prefer = tuple(word for word in (params.pop("prefer") or "").split(",") if word)
    if params["n_gpu_layers"] == -1:  # llama.cpp's auto: what this search is for
        params["n_gpu_layers"] = None
    if params.pop("cpu_moe"):
        params["n_cpu_moe"] = ALL_LAYERS
    asked = take_beside(params)
    arguments, extra = engine_settings(engine, params)
    if any(asked.values()):
        if engine_of(engine).option("beside") is None:
            more = ": name what drafts in --speculative-config" if asked["draft"] and engine == "vllm" else ""
            raise click.UsageError(f"--mmproj, --lora and --draft are for llama.cpp, not for {engine}{more}")
        arguments["beside"] = read_beside(asked)
    overrides = tuple(rule for rules in params.pop("overrides") for rule in rules)
    workload = build_workload(params)
    if params["margin"] is None:
        params["margin"] = engine_of(engine).margin
    workload = engine_of(engine).served(workload.replace(options={**(workload.options or {}), **extra} or None))
    if engine_of(engine).option("draft") is not None and (drafts := read_drafting(None, workload)) is not None:
        arguments["draft"] = drafts
    return Ask(
        gpus=gpus, engine=engine, n_ctx=workload.n_ctx, workload=workload, overrides=overrides,
        kv_offload=not params["no_kv_offload"], offload=not params["no_offload"], prefer=prefer, arguments=arguments,
        **{k: params[k] for k in ("longest", "n_gpu_layers", "n_cpu_moe", "tensor_split", "tensor_parallel", "host",
                                  "margin", "most")},
    )  # fmt: skip


def _commands(choice: Choice, gpus: tuple[str, ...], backend: str | None) -> Commands:
    from inspector.memory.fit import commands as fit_commands
    from inspector.report.fit import Commands

    return Commands(
        engine=fit_commands.engine_command(choice),
        memory=fit_commands.memory_command(choice, gpus, backend=backend),
        convert=fit_commands.convert_command(choice),
        quantize=fit_commands.quantize_command(choice),
    )


@click.command(cls=PastingCommand)
@target_argument
@workload_options
@_options
@click.option("-v", "--verbose", is_flag=True, help="What came before what, and of every choice what gave way.")
@json_option
def fit(
    target: str, *, hypothetical: bool, min_quant: str | None, quants: tuple[str, ...], verbose: bool, as_json: bool,
    **params: Any,
) -> int:  # fmt: skip
    """Which quant, context, cache type and placement fit, best first, with the engine's own command line.

    \b
    Examples:
      inspector fit model.gguf
      inspector fit model.gguf --gpu rtx3090
      inspector fit ./quants/ --gpu rtx4090 -c 32k --min-quant Q5_K_M
      inspector fit model.gguf --gpu 2xrtx3090 --kv q8_0 --longest
      inspector fit ./Qwen3-8B/ --gpu a100-80gb -np 16
      inspector fit Qwen/Qwen3-30B-A3B:Q4_K_M --gpu rtx4090
      inspector fit --gpu rtx4090 -- llama-server -m model.gguf -c 32768
    """
    from inspector.memory.engines import engine_of
    from inspector.memory.fit.candidates import forms, judged
    from inspector.memory.fit.choose import fit as search
    from inspector.memory.fit.gather import gather
    from inspector.report import fit as report

    there, _, tag = with_tag(target, engine=params["engine"], read=lambda text: gather(text, open_target))
    quants = quants or ((tag,) if tag else ())
    code = incomplete(there.checkpoint) if there.checkpoint is not None else outcome.OK
    largest = max(there.candidates, key=lambda c: c.nbytes)
    engine = engine_of(engine_asked(params.pop("engine"), largest.facts.format, quants))
    of_here = _take_this_machine(params)
    gpus, backend = params["gpus"], params["backend"]
    takes_beside = engine.option("beside") is not None
    of_store = take_from_store(there.checkpoint, params, params, takes_beside=takes_beside, search=True)
    ask = _read_ask(params, engine.name)
    if quants:
        engine_settings(engine.name, {"quant": quants})
    candidates = forms(there.candidates, engine, quants=quants, makeable=hypothetical)
    found = search(
        candidates if engine.quants_by_bits and quants else judged(candidates, min_quant),
        ask.replace(floor=min_quant.upper()) if min_quant else ask,
    )
    found = found.replace(notes=(*found.notes, *of_here, *of_store, *there.notes))
    commands = [_commands(c, gpus, backend) for c in found.choices]
    if as_json:
        outcome.write_json(report.fit_json(target, found, ask, commands))
    else:
        from inspector.report.fit_text import fit_lines

        outcome.write(
            fit_lines(target, found, ask, commands, look=outcome.look(), verbose=verbose), painted=True
        )  # fmt: skip
    return code or (outcome.OK if found.fits else outcome.NO)
