"""Options that several commands share, under the names people already type in llama.cpp and vLLM."""

from __future__ import annotations

import os

import click

from inspector.cli import outcome
from inspector.cli.values import (
    BATCH,
    COUNT,
    DEVICES,
    GPU,
    KEEP,
    LAYERS,
    LOAD_MODES,
    NUMBER,
    OVERRIDES,
    SEQUENCES,
    SHARES,
    SIZE,
    SPLIT_MODES,
    SWITCH,
    TOKENS,
)
from inspector.memory.devices.placement import ALL_LAYERS
from inspector.memory.engines import ENGINE_NAMES, engine_of, engines
from inspector.memory.estimate import Placement, Workload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final, TypeVar

    from click.shell_completion import CompletionItem

    from inspector.checkpoint import Checkpoint
    from inspector.memory.engines.protocol import Engine, Option
    from inspector.sources import Source

    F = TypeVar("F", bound=Callable[..., Any])


def target_argument(function: F) -> F:
    """The TARGET of most commands."""
    return click.argument("target", metavar="TARGET", shell_complete=complete_files)(function)


def complete_files(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What a shell may put in place of a half-typed target, log or output: files and folders."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def json_option(function: F) -> F:
    """`--json`, everywhere the same."""
    return click.option("--json", "as_json", is_flag=True, help="JSON on stdout; sizes are integers in bytes.")(
        function
    )


# flags and name, click's arguments, the engines it means something to (empty: all)
_WORKLOAD = (
    (("-c", "--ctx-size", "--ctx", "--max-model-len", "n_ctx"), dict(type=TOKENS),
     "Tokens of context. llama.cpp: over all sequences; elsewhere: of one sequence. Default: the engine's."),
    (("-np", "--parallel", "--batch", "n_seqs"), dict(type=SEQUENCES),
     "Sequences at once; -1: the engine's default."),
    (("-b", "--batch-size", "n_batch"), dict(type=BATCH),
     "Tokens of a logical batch (llama.cpp)."),
    (("-ub", "--ubatch-size", "n_ubatch"), dict(type=BATCH),
     "Tokens of a physical batch (llama.cpp)."),
    (("-ctk", "--cache-type-k", "kv_dtype_k"), dict(metavar="TYPE"),
     "Type of cached keys: f16, q8_0, …"),
    (("-ctv", "--cache-type-v", "kv_dtype_v"), dict(metavar="TYPE"),
     "Type of cached values."),
    (("--kv-cache-dtype", "--kv-dtype", "--kv", "kv_dtype"), dict(metavar="TYPE"),
     "Keys and values alike: auto, f16, fp8, int8, q8_0, …"),
    (("-fa", "--flash-attn", "flash_attn"), dict(type=SWITCH),
     "Flash attention: on, off or auto."),
    (("-kvu/-no-kvu", "--kv-unified/--no-kv-unified", "kv_unified"), dict(default=None),
     "One cache for all sequences (llama.cpp)."),
    (("--swa-full", "swa_full"), dict(is_flag=True),
     "Sliding layers keep the whole context (llama.cpp)."),
    (("--outputs", "outputs"), dict(type=click.Choice(["all", "last"])),
     "Rows of logits: all (llama-cli) or last (llama-server)."),
    (("--kv-keep", "kv_keep"), dict(type=KEEP),
     "Token pruning: keep the first and the last so many."),
    (("--window", "window"), dict(type=TOKENS),
     "Keep only the last so many tokens in every layer."),
)  # fmt: skip
_PLACEMENT = (
    (("--gpu", "gpus"), dict(multiple=True, type=GPU),
     "rtx4090, 2xrtx3090, 24G, auto or none; repeatable."),
    (("-ngl", "--gpu-layers", "--n-gpu-layers", "n_gpu_layers"), dict(type=LAYERS),
     "Layers on the GPU: a number, all, or auto, which is all of them here; default: all."),
    (("-sm", "--split-mode", "split_mode"), dict(type=click.Choice(SPLIT_MODES), default="layer"),
     "How several GPUs share the model: by layer (default), or none of it but on one (llama.cpp)."),
    (("-mg", "--main-gpu", "main_gpu"), dict(type=int, default=0, metavar="N"),
     "The number of the one GPU of -sm none (llama.cpp)."),
    (("-dev", "--device", "devices"), dict(type=DEVICES),
     "Which of the GPUs are used, in this order: CUDA0,CUDA1 or none (llama.cpp)."),
    (("-ts", "--tensor-split", "tensor_split"), dict(type=SHARES),
     "Shares of the layers a GPU."),
    (("-ncmoe", "--n-cpu-moe", "n_cpu_moe"), dict(type=click.IntRange(min=0), default=0),
     "Experts of the first N layers stay on the host."),
    (("-cmoe", "--cpu-moe", "cpu_moe"), dict(is_flag=True),
     "All experts stay on the host."),
    (("-ot", "--override-tensor", "overrides"), dict(multiple=True, type=OVERRIDES),
     "Tensors that match go to a device; several with commas."),
    (("--no-kv-offload", "-nkvo", "no_kv_offload"), dict(is_flag=True),
     "The cache stays in host memory."),
    (("--backend", "backend"), dict(metavar="NAME"),
     "llama.cpp's back end, like cuda, vulkan or rpc. Default: the GPU's own."),
    (("--no-op-offload", "no_op_offload"), dict(is_flag=True),
     "Large batches over weights on the host stay there (llama.cpp)."),
    (("-tp", "--tensor-parallel-size", "tensor_parallel"), dict(type=COUNT, default=1),
     "Ranks that split every layer (vLLM)."),
    (("-lm", "--load-mode", "load_mode"), dict(type=click.Choice(LOAD_MODES)),
     "How the file is read; no size depends on it (llama.cpp)."),
    (("--no-mmap", "no_mmap"), dict(is_flag=True, hidden=True),
     "Gone from llama.cpp: --load-mode none."),
)  # fmt: skip


def _apply(rows: Any, function: F) -> F:
    for flags, arguments, help_ in reversed(rows):
        function = click.option(*flags, help=help_, **arguments)(function)
    return function


def workload_options(function: F) -> F:
    """What to run: context, sequences, batches, cache types."""
    return _apply(_WORKLOAD, function)


def placement_options(function: F) -> F:
    """Where to run it: GPUs and what goes on them."""
    return _apply(_PLACEMENT, function)


# what click makes of an engine option's kind
_KINDS: Final[dict[str, dict[str, Any]]] = {
    "flag": dict(is_flag=True), "count": dict(type=COUNT), "number": dict(type=NUMBER),
    "tokens": dict(type=TOKENS), "nbytes": dict(type=SIZE),
    "share": dict(type=click.FloatRange(0, 1, min_open=True)), "text": {},
    "real": dict(type=click.FloatRange(0, 1 << 20)),
}  # fmt: skip
_ENGINE_HELP: Final = (
    f"{', '.join(ENGINE_NAMES[:-1])} or {ENGINE_NAMES[-1]}; default by format. llama.cpp@9509: the rules of that build."
)


def engine_option(function: F) -> F:
    """`--engine`."""
    return click.option("-e", "--engine", "engine", metavar="ENGINE", help=_ENGINE_HELP)(function)


def _engine_rows() -> list[tuple[Option, list[Engine]]]:
    """Every option that has a flag, with the engines that take it; those of one engine first."""
    rows: dict[tuple[str, ...], tuple[Option, list[Engine]]] = {}
    for engine in engines():
        for option in engine.options:
            if option.flags:
                rows.setdefault(option.flags, (option, []))[1].append(engine)
    return sorted(rows.values(), key=lambda row: len(row[1]) > 1)


def engine_options(command: str) -> Callable[[F], F]:
    """The options of all engines that a command of this name takes, as the engines' rows state them."""

    def add(function: F) -> F:
        for option, owners in reversed(_engine_rows()):
            if command in option.commands:
                help_ = f"{option.help.format(default=option.default)} ({', '.join(e.name for e in owners)})"
                kind = dict(type=click.Choice(option.choices)) if option.kind == "choice" else _KINDS[option.kind]
                function = click.option(
                    *option.flags, option.name, help=help_, metavar=option.metavar, **kind
                )(function)  # fmt: skip
        return function

    return add


def engine_settings(engine: str, params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Takes the engines' options out of `params`: the chosen engine's arguments and its options of a workload.

    One that belongs to another engine is a usage error.
    """
    own = engine_of(engine)
    arguments: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for option, owners in _engine_rows():
        value = params.pop(option.name, None)
        if value is None or value is False:
            continue
        mine = own.option(option.name)
        if mine is None:
            names = " and ".join(e.name for e in owners)
            raise click.UsageError(f"{option.flags[0]} is for {names}, not for {own.name}")
        (arguments if mine.argument else extra)[option.name] = value
    return arguments, extra


def build_workload(params: dict[str, Any]) -> Workload:
    """Takes the workload options out of `params`."""
    both = params.pop("kv_dtype")
    k, v = params.pop("kv_dtype_k"), params.pop("kv_dtype_v")
    extra = {name: value for name in ("kv_keep", "window") if (value := params.pop(name)) is not None}
    outputs = params.pop("outputs")
    names = ("n_ctx", "n_seqs", "n_batch", "n_ubatch", "flash_attn", "kv_unified", "swa_full")
    common = None if both == "auto" else both
    return Workload(
        **{name: params.pop(name) for name in names},
        kv_dtype_k=k or common,
        kv_dtype_v=v or common,
        outputs=outputs or "all",
        options={**extra, **({"outputs_asked": True} if outputs else {})} or None,
    )


def build_placement(params: dict[str, Any]) -> Placement:
    """Takes the placement options out of `params`."""
    names, backend = params.pop("gpus"), params.pop("backend")
    gpus: tuple[Any, ...] = ()
    if names:
        from inspector.memory.devices.asked import gpus_asked

        gpus = gpus_asked(names, backend)
    order = list(params)  # click hands options over as they were typed; llama.cpp's first pattern that matches counts
    experts_first = order.index("cpu_moe" if params["cpu_moe"] else "n_cpu_moe") < order.index("overrides")
    n_cpu_moe, cpu_moe = params.pop("n_cpu_moe"), params.pop("cpu_moe")
    return Placement(
        gpus=gpus,
        n_gpu_layers=params.pop("n_gpu_layers"),
        tensor_split=params.pop("tensor_split"),
        n_cpu_moe=ALL_LAYERS if cpu_moe else n_cpu_moe,
        overrides=tuple(rule for rules in params.pop("overrides") for rule in rules),
        experts_first=experts_first and bool(cpu_moe or n_cpu_moe),
        kv_offload=not params.pop("no_kv_offload"),
        op_offload=not params.pop("no_op_offload"),
        tensor_parallel=params.pop("tensor_parallel"),
        load_mode=_load_mode(params),
        **{name: params.pop(name) for name in ("split_mode", "main_gpu", "devices")},
    )


def _load_mode(params: dict[str, Any]) -> str:
    """--load-mode, or what the option that it took the place of means."""
    mode, no_mmap = params.pop("load_mode"), params.pop("no_mmap")
    if no_mmap and mode not in {None, "none"}:
        raise click.UsageError(f"--no-mmap is --load-mode none in llama.cpp b11434, and here is --load-mode {mode}")
    if no_mmap:
        outcome.remark("llama.cpp b11434 has no --no-mmap any more: type --load-mode none")
    return "none" if no_mmap else mode or "auto"


def open_target(target: str) -> Checkpoint:
    """The checkpoint behind what the user typed: local, from the Hub's cache, or over the network.

    The cache's place is worked out here, so that a downloaded model is shown without importing huggingface_hub.
    """
    from inspector.checkpoint import open_checkpoint
    from inspector.cli.progress import progress_line
    from inspector.sources.cache import hub_cache_folder

    with progress_line() as say:
        return open_checkpoint(target, cache_folder=hub_cache_folder(os.environ), progress=say)


def open_source(checkpoint: Checkpoint, name: str) -> Source:
    """One of a checkpoint's files, opened again for what its header reader passed over."""
    from inspector.checkpoint import read_target

    here = next((f.path for f in checkpoint.files if f.name == name and f.path), "")
    if here:
        from inspector.sources.local import LocalSource

        return LocalSource(here, name=name)
    target = read_target(checkpoint.target)
    if target.kind == "remote":
        from inspector.checkpoint.remote import reopen as reopen_remote

        return reopen_remote(target, name)
    if target.kind != "local":
        from inspector.checkpoint.hub import reopen
        from inspector.sources.cache import hub_cache_folder

        return reopen(target, checkpoint, name, cache_folder=hub_cache_folder(os.environ))
    from inspector.sources.local import LocalSource

    path = target.path or checkpoint.target
    return LocalSource(os.path.join(path, name) if os.path.isdir(path) else path, name=name)
