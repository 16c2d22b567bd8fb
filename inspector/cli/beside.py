"""The options of what is loaded beside a model: a projector, adapters, a draft model."""

from __future__ import annotations

import click

from inspector.cli.options import complete_files, open_target
from inspector.memory.kept import Kept, drafting, kept_with
from inspector.memory.kept import read_beside as read_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from inspector.checkpoint import Checkpoint
    from inspector.facts import ModelFacts
    from inspector.memory.engines.llamacpp.beside import Beside
    from inspector.memory.estimate import Workload

_OPTIONS: Final[tuple[tuple[str, dict[str, Any], str], ...]] = (
    ("--mmproj", dict(metavar="FILE"), "A multimodal projector, loaded beside the model."),
    ("--lora", dict(metavar="FILE", multiple=True), "An adapter; repeatable."),
    ("--draft", dict(metavar="TARGET"), "A draft model for speculative decoding, with its own cache and compute."),
)


def beside_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--mmproj`, `--lora` and `--draft`."""
    for flag, arguments, help_ in reversed(_OPTIONS):
        function = click.option(flag, help=help_, shell_complete=complete_files, **arguments)(function)
    return function


def take_beside(params: dict[str, Any]) -> dict[str, Any]:
    """Takes these options out of `params`."""
    return {flag.removeprefix("--"): params.pop(flag.removeprefix("--")) for flag, _, _ in _OPTIONS}


def take_from_store(
    checkpoint: Checkpoint | None,
    params: dict[str, Any],
    beside: dict[str, Any],
    *,
    takes_beside: bool = True,
    search: bool = False,
) -> tuple[str, ...]:
    """Puts what the program that keeps a model would run it with where nothing else was asked; words that say so."""
    n_ctx = params["n_ctx"] or (0 if params.get("longest") else None)  # 0: not to be asked of the store
    given = Kept(n_ctx, beside["mmproj"], tuple(beside["lora"] or ()))
    found = kept_with(checkpoint, given=given, opened=open_target, beside=takes_beside, search=search)
    beside["mmproj"], beside["lora"], params["n_ctx"] = found.mmproj, found.lora, found.n_ctx or None
    return found.notes


def read_beside(asked: dict[str, Any]) -> Beside | None:
    """The files that the options name, opened; None where they name none."""
    return read_files(asked, open_target)


def read_drafting(target: str | None, workload: Workload) -> ModelFacts | None:
    """The model or the head that drafts in vLLM: the one named, else that of its configuration; None for neither."""
    return drafting(target, workload.options or {}, open_target)
