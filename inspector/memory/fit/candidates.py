"""What there is to choose from: the quants that are there, and those that could be made."""

from __future__ import annotations

from inspector.errors import FactsError, InspectorError, WorkloadError
from inspector.memory.fit.records import DEFAULT_FLOOR, Candidate
from inspector.memory.predicted import converter_writes, quantised
from inspector.quantization.mix import predict_mix, quant_target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, Final

    from inspector.facts import ModelFacts
    from inspector.memory.engines.protocol import Engine

# What llama-quantize could make, finest first; those that people download, each better than what is as large.
MAKEABLE: Final = (
    "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S", "IQ4_NL", "IQ4_XS", "Q3_K_L", "Q3_K_M", "IQ3_M", "IQ3_S",
    "Q3_K_S", "IQ3_XS", "IQ3_XXS", "Q2_K", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS",
)  # fmt: skip


def weights_nbytes(facts: ModelFacts) -> int:
    """Bytes of all tensors: of a config alone, as its index states them or as it promises them."""
    if facts.tensors:
        return sum(t.nbytes or 0 for t in facts.tensors)
    return facts.stated_nbytes or facts.promised_nbytes or 0


def hypothetical(base: Candidate, have: Iterable[str], *, types: Sequence[str] = MAKEABLE) -> list[Candidate]:
    """Smaller quants that llama-quantize would make of this GGUF and that are not there yet. Raises FactsError."""
    if base.facts.format != "gguf":
        raise FactsError(
            "quants that could be made are predicted of a GGUF file",
            hint="with -e llama.cpp also of a checkpoint that can be converted to one",
        )
    labels, found = {label.upper() for label in have}, []
    for to in types:
        if to in labels:
            continue
        try:
            made = _of_base(base, quantised(base.facts, to, notes=_notes(base)))
        except WorkloadError:  # llama-quantize would refuse it
            continue
        if made.nbytes < base.nbytes:
            found.append(made)
    return found


def _notes(base: Candidate) -> tuple[str, ...]:
    return base.facts.prediction.notes if base.facts.prediction is not None else ()


def _of_base(base: Candidate, facts: ModelFacts) -> Candidate:
    """A quant of a GGUF, beside which it would lie."""
    assert facts.prediction is not None
    label, stem = facts.prediction.label, base.path.removesuffix(".gguf")
    for end in (f"-{base.label}", f".{base.label}"):
        stem = stem.removesuffix(end)
    return Candidate(
        label, facts, f"{stem}-{label}.gguf", weights_nbytes(facts), hypothetical=True, base=base, source=base.source
    )


def as_loaded(candidate: Candidate, engine: Engine, arguments: Mapping[str, Any]) -> Candidate:
    """In the form that the engine loads: itself, or the file that it would have to be converted to."""
    facts = engine.loaded(candidate.facts, arguments)
    if facts is candidate.facts or facts.prediction is None:
        return candidate
    label, target = facts.prediction.label, candidate.path or candidate.hub
    return Candidate(
        label, facts, f"{_model_name(target)}-{label}.gguf", weights_nbytes(facts), hypothetical=True, source=target
    )


def _model_name(target: str) -> str:
    """What a converted file would be called after: the folder or repository, or the file itself."""
    path = target if "://" in target else target.partition("@")[0].replace("\\", "/").rstrip("/")
    head, _, name = path.rpartition("/")
    if name == "config.json" or name.endswith(".safetensors"):
        name = head.rpartition("/")[2]
    return name.removesuffix(".json").replace(":", "-") or "model"


def offered(
    candidates: Sequence[Candidate], engine: Engine, *, quants: Sequence[str] = (), makeable: bool = False
) -> list[Candidate]:
    """What there is to choose from under an engine: the forms that are there, and those that could be made.

    `quants`: these and no others, predicted where they are not there; `makeable`: also the quants that llama-quantize
    could make. A checkpoint is offered as what the converter writes and what could be made of that. Raises
    UnsupportedArchitecture, FactsError, WorkloadError.
    """
    if quants:
        return [c for name in quants for c in _named(candidates, engine, name)]
    found = [as_loaded(c, engine, {}) for c in candidates]
    base = max(found, key=lambda c: c.nbytes)
    if makeable or base.hypothetical:
        found += hypothetical(base, [c.label for c in found])
    return found


def _named(candidates: Sequence[Candidate], engine: Engine, name: str) -> list[Candidate]:
    """The forms of this quant that are there, or the one that could be made of the largest."""
    target = quant_target(name)
    wanted = {target.name, target.alias_of or target.name}
    there = [c for c in candidates if c.facts.format == "gguf" and c.label.upper() in wanted]
    if there:
        return there
    largest = max(candidates, key=lambda c: c.nbytes)
    base = as_loaded(largest, engine, {"quant": target.name} if converter_writes(target.name) else {})
    if base.label == target.name:
        return [base]
    return [_of_base(base, quantised(base.facts, target.name, notes=_notes(base)))]


def forms(
    found: Sequence[Candidate], engine: Engine, *, quants: Sequence[str] = (), makeable: bool = False
) -> Sequence[Candidate]:
    """The forms of the model that the engine could run: those that are there, asked for, or could be made.

    Raises as `offered`, and InspectorError for a quant of so many bits a parameter where these are not known.
    """
    if quants and engine.quants_by_bits:
        return _of_bits(max(found, key=lambda c: c.nbytes), quants)
    if makeable and not engine.quantizer:
        return [*found, *hypothetical(max(found, key=lambda c: c.nbytes), [c.label for c in found])]
    return offered(found, engine, quants=quants, makeable=makeable)


def _of_bits(candidate: Candidate, quants: Iterable[str]) -> list[Candidate]:
    """The textbook's candidates: parameters times the bits of a format."""
    from inspector.memory.engines.textbook import precision
    from inspector.memory.engines.textbook import weights_nbytes as by_bits

    n_params = candidate.facts.n_params
    if n_params is None:
        raise InspectorError("--quant needs the number of parameters, which this model does not give")
    return [
        candidate.replace(label=row.name, options={"quant": row.name}, nbytes=by_bits(n_params, row), above_floor=None)
        for row in map(precision, quants)
    ]


def judged(candidates: Sequence[Candidate], min_quant: str | None) -> list[Candidate]:
    """Each with whether it is as fine as the smallest quant wanted: by name, or by weighing no less than it would.

    A quant that was asked for leaves out what is coarser. Raises WorkloadError: none is left, or no such quant.
    """
    ggufs = [c for c in candidates if c.facts.format == "gguf" and c.facts.tensors]
    if not ggufs:
        if min_quant is not None:
            raise WorkloadError("--min-quant compares GGUF files", hint="leave it out for this target")
        return list(candidates)
    floors: dict[str, int | None] = {}
    found = [_judge(c, (min_quant or DEFAULT_FLOOR).upper(), floors) for c in candidates]
    if min_quant is None:
        return found
    kept = [c for c in found if c.above_floor is not False]
    if not kept:
        labels = ", ".join(c.label for c in found[:12])
        raise WorkloadError(f"nothing here is {min_quant.upper()} or finer", hint=f"there are: {labels}")
    return kept


def _judge(candidate: Candidate, floor: str, floors: dict[str, int | None]) -> Candidate:
    """`floors`: bytes of the floor by model, predicted once for files of the same shape."""
    key = f"{candidate.facts.arch} {candidate.facts.n_params} {len(candidate.facts.tensors)}"
    if key not in floors:
        mix = predict_mix(candidate.facts, floor, allow_requantize=True)
        floors[key] = None if mix.refused else mix.nbytes
    least = floors[key]
    if candidate.label.upper() == floor:
        return candidate.replace(above_floor=True)
    return candidate.replace(above_floor=None if least is None else candidate.nbytes >= least)
