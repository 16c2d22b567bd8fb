"""What is loaded beside a model, and what the program that keeps the model in its store would run it with."""

from __future__ import annotations

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from inspector.checkpoint import Checkpoint
    from inspector.facts import ModelFacts
    from inspector.memory.engines.llamacpp.beside import Beside

    Opened = Callable[[str], Checkpoint]


class Kept(Record):
    """Settings of a store in place of those that were not asked for: files by their paths, and words that say so."""

    n_ctx: int | None = None
    mmproj: str | None = None
    lora: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def kept_with(
    checkpoint: Checkpoint | None, *, given: Kept, opened: Opened, beside: bool = True, search: bool = False
) -> Kept:
    """What a store keeps with a checkpoint where `given` leaves it open; nothing for one that is in no store.

    `beside`: the engine loads projectors and adapters. `search`: a projector whose compute is not known is left out,
    for then nothing could be said to fit.
    """
    kept = checkpoint.keeping if checkpoint is not None else None
    if kept is None:
        return given
    notes = []
    if beside and kept.projectors and not given.mmproj:
        counted = not search or _is_known(opened(kept.projectors[0]))
        given = given.replace(mmproj=kept.projectors[0] if counted else None)
        why = "" if counted else "not counted, its compute being unknown: it needs room besides"
        notes.append(f"the projector that {kept.program} keeps with it is {why or 'counted'}")
    if beside and kept.adapters and not given.lora:
        given = given.replace(lora=tuple(kept.adapters))
        notes.append(f"the adapter that {kept.program} keeps with it is counted")
    if kept.n_ctx is not None and given.n_ctx is None:
        given = given.replace(n_ctx=kept.n_ctx)
        notes.append(f"a context of {kept.n_ctx:,} tokens, as {kept.program} would run it (-c for another)")
    return given.replace(notes=(*given.notes, *notes))


def _is_known(projector: Checkpoint) -> bool:
    """Whether a projector's tower is of a kind whose compute is known."""
    from inspector.memory.engines.llamacpp.backends import policies
    from inspector.memory.engines.llamacpp.graph.tower import tower_buffers

    return tower_buffers(projector.tensors, projector.metadata, policies(("cpu",)), flash=True) is not None


def read_beside(asked: Mapping[str, Any], opened: Opened) -> Beside | None:
    """The files that `mmproj`, `lora` and `draft` name, opened; None where they name none."""
    if not any(asked.values()):
        return None
    from inspector.facts import read_facts
    from inspector.memory.engines.llamacpp.beside import Beside, Projector

    projector = opened(asked["mmproj"]) if asked["mmproj"] else None
    draft = asked.get("draft")
    return Beside(
        projector=None if projector is None else Projector(projector.tensors, projector.metadata),
        adapters=tuple(opened(path).tensors for path in asked["lora"] or ()),
        draft=read_facts(opened(draft)) if draft else None,
        named=tuple(_named(asked)),
    )


def drafting(target: str | None, options: Mapping[str, Any], opened: Opened) -> ModelFacts | None:
    """The model or the head that drafts in vLLM: the one named, else that of `speculative_config`; None for neither."""
    from inspector.facts import as_drafting, read_facts
    from inspector.memory.engines.vllm.prediction import SHARED, asked

    spec = asked(options, None)
    name = target or spec.model
    if not name or (not target and spec.method not in ("draft_model", "mtp", *SHARED)):
        return None
    checkpoint = opened(name)
    return read_facts(as_drafting(checkpoint, spec.method) if spec.method in SHARED else checkpoint)


def _named(asked: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for option, value in asked.items():
        for name in (value,) if isinstance(value, str) else value or ():
            yield option, name
