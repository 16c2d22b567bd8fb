"""What there is to choose from: the quants that are there, and those that could be made."""

from __future__ import annotations

from inspector.errors import FactsError, WorkloadError
from inspector.formats.modelfile import TensorInfo
from inspector.memory.fit.records import DEFAULT_FLOOR, Candidate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Final

    from inspector.facts import ModelFacts
    from inspector.quantization.mix import Mix

MAKEABLE: Final = ("Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S", "IQ4_XS", "Q3_K_M", "Q3_K_S", "Q2_K")


def weights_nbytes(facts: ModelFacts) -> int:
    """Bytes of all tensors."""
    return sum(t.nbytes or 0 for t in facts.tensors)


def _predict(facts: ModelFacts, to: str) -> Mix | None:
    from inspector.quantization.mix import predict_mix

    found = predict_mix(facts, to, allow_requantize=True)
    return None if found.refused else found


def with_mix(facts: ModelFacts, mix: Mix) -> ModelFacts:
    """The facts of the file that llama-quantize would write."""
    infos = tuple(TensorInfo(t.name, t.shape, t.dtype, 0, t.nbytes) for t in mix.tensors)
    return facts.replace(tensors=infos)


def hypothetical(base: Candidate, have: Iterable[str], *, types: Sequence[str] = MAKEABLE) -> list[Candidate]:
    """Smaller quants that llama-quantize would make of this GGUF and that are not there yet. Raises FactsError."""
    if base.facts.format != "gguf":
        raise FactsError(
            "quants that could be made are predicted of a GGUF file",
            hint="inspector quantize-size takes any checkpoint",
        )
    labels, found = {label.upper() for label in have}, []
    for to in types:
        mix = None if to in labels else _predict(base.facts, to)
        if mix is not None and mix.nbytes < base.nbytes:
            stem = base.path.removesuffix(".gguf")
            for end in (f"-{base.label}", f".{base.label}"):
                stem = stem.removesuffix(end)
            found.append(Candidate(to, with_mix(base.facts, mix), f"{stem}-{to}.gguf", mix.nbytes, hypothetical=True))
    return found


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
        mix = _predict(candidate.facts, floor)
        floors[key] = mix.nbytes if mix else None
    least = floors[key]
    if candidate.label.upper() == floor:
        return candidate.replace(above_floor=True)
    return candidate.replace(above_floor=None if least is None else candidate.nbytes >= least)
