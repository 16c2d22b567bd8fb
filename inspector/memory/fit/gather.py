"""The candidates of a target: each model that it holds, opened, named and weighed."""

from __future__ import annotations

import os

from inspector.errors import InspectorError
from inspector.memory.fit.candidates import weights_nbytes
from inspector.memory.fit.records import Candidate
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from inspector.checkpoint import Checkpoint, SeveralModels
    from inspector.facts import ModelFacts

_MOST: Final = 200  # models of a folder or repository that are looked at


class Gathered(Record):
    """What there is in a target. `checkpoint`: the one model of it, None where it holds several; `notes` on others."""

    candidates: tuple[Candidate, ...]
    checkpoint: Checkpoint | None = None
    notes: tuple[str, ...] = ()


def gather(target: str, opened: Callable[[str], Checkpoint]) -> Gathered:
    """All models of a target; what cannot be opened is a note. Raises InspectorError where none can."""
    from inspector.checkpoint import SeveralModels

    try:
        checkpoint = opened(target)
    except SeveralModels as several:
        return _each_of(target, several, opened)
    path, hub = _place(target, checkpoint)
    return Gathered((candidate_of(checkpoint, path=path, hub=hub),), checkpoint)


def candidate_of(model: Checkpoint | ModelFacts, *, path: str = "", hub: str = "") -> Candidate:
    """One model under the name of its quant or dtype. `path`, `hub`: where an engine would load it from."""
    from inspector.facts import ModelFacts, read_facts

    facts = model if isinstance(model, ModelFacts) else read_facts(model)
    return Candidate(_label(facts, model), facts, path, weights_nbytes(facts), hub=hub)


def _label(facts: ModelFacts, model: Checkpoint | ModelFacts) -> str:
    if facts.format != "gguf":
        return facts.quantization or facts.dtype or facts.format
    from inspector.facts import ModelFacts
    from inspector.quantization.labels import judge, quant_label

    label = judge(facts.tensors) if isinstance(model, ModelFacts) else quant_label(model)
    return label.claimed or label.actual.partition(",")[0]


def _place(target: str, checkpoint: Checkpoint) -> tuple[str, str]:
    """The path of a local checkpoint's first file (its folder, for safetensors), and its name on the Hub."""
    if os.path.isdir(target) and checkpoint.keeping is None:
        gguf = checkpoint.format == "gguf" and checkpoint.files
        return (os.path.join(target, checkpoint.files[0].name) if gguf else target), ""
    if checkpoint.keeping is not None and checkpoint.files:  # a store's blob, which an engine loads by its path
        return checkpoint.files[0].path, ""
    if "://" in target and not target.startswith(("hf://", "http")):  # no engine loads from there by a command line
        return target, ""
    return target, "" if os.path.exists(target) else _revised(target, checkpoint)


def _revised(target: str, checkpoint: Checkpoint) -> str:
    """A repository's name; at a revision also the file's, without which no engine could be told of the revision."""
    from inspector.sources.target import parse_target

    found = parse_target(target)
    if not found.revision or found.file or checkpoint.format != "gguf" or not checkpoint.files:
        return target
    return f"{found.repo}@{found.revision}/{checkpoint.files[0].name}"


def _each_of(target: str, several: SeveralModels, opened: Callable[[str], Checkpoint]) -> Gathered:
    """All models of a folder or repository, each opened by its name; several at a time over the network."""
    from inspector.sources.parallel import in_order

    local = os.path.isdir(target)
    models = several.models[:_MOST]
    notes = [f"only the first {len(models)} of {len(several.models)} models were looked at"]

    def read(at: int) -> Candidate | str:
        name, _, label = models[at]
        where = os.path.join(target, name) if local else f"{target.rstrip('/')}/{name}"
        try:
            if several.targets:
                found = opened(several.targets[at])
                return candidate_of(found, path=_place(several.targets[at], found)[0])
            return candidate_of(opened(where), path=where, hub="" if local else f"{target}:{label}" if label else where)
        except InspectorError as problem:
            return f"{name} is left out: {problem}"

    numbers = range(len(models))
    found = [read(i) for i in numbers] if local else list(in_order(read, numbers))
    candidates = tuple(x for x in found if not isinstance(x, str))
    if not candidates:
        raise several
    left_out = [x for x in found if isinstance(x, str)]
    return Gathered(candidates, notes=(*(notes if len(several.models) > _MOST else ()), *left_out))
