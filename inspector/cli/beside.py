"""The options of what is loaded beside a model: a projector, adapters, a draft model."""

from __future__ import annotations

import click

from inspector.cli.options import complete_files, open_target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Final

    from inspector.checkpoint import Checkpoint
    from inspector.memory.engines.llamacpp.beside import Beside

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
    """Puts what the program that keeps a model would run it with where nothing else was asked; words that say so.

    `search`: a projector whose compute is not known is left out, for then nothing could be said to fit.
    """
    kept = checkpoint.keeping if checkpoint is not None else None
    if kept is None:
        return ()
    notes = []
    if takes_beside and kept.projectors and not beside["mmproj"]:
        counted = not search or _is_known(kept.projectors[0])
        beside["mmproj"] = kept.projectors[0] if counted else None
        why = "" if counted else "not counted, its compute being unknown: it needs room besides"
        notes.append(f"the projector that {kept.program} keeps with it is {why or 'counted'}")
    if takes_beside and kept.adapters and not beside["lora"]:
        beside["lora"] = kept.adapters
        notes.append(f"the adapter that {kept.program} keeps with it is counted")
    if kept.n_ctx is not None and params["n_ctx"] is None and not params.get("longest"):
        params["n_ctx"] = kept.n_ctx
        notes.append(f"a context of {kept.n_ctx:,} tokens, as {kept.program} would run it (-c for another)")
    return tuple(notes)


def _is_known(projector: str) -> bool:
    """Whether a projector's tower is of a kind whose compute is known."""
    from inspector.memory.engines.llamacpp.backends import policies
    from inspector.memory.engines.llamacpp.graph.tower import tower_buffers

    found = open_target(projector)
    return tower_buffers(found.tensors, found.metadata, policies(("cpu",)), flash=True) is not None


def read_beside(asked: dict[str, Any]) -> Beside | None:
    """The files that the options name, opened; None where they name none."""
    if not any(asked.values()):
        return None
    from inspector.facts import read_facts
    from inspector.memory.engines.llamacpp.beside import Beside, Projector

    projector = open_target(asked["mmproj"]) if asked["mmproj"] else None
    return Beside(
        projector=None if projector is None else Projector(projector.tensors, projector.metadata),
        adapters=tuple(open_target(path).tensors for path in asked["lora"]),
        draft=read_facts(open_target(asked["draft"])) if asked["draft"] else None,
        named=tuple(_named(asked)),
    )


def _named(asked: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for option, value in asked.items():
        for name in (value,) if isinstance(value, str) else value or ():
            yield option, name
