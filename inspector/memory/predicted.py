"""The GGUF that a model would become: converted by llama.cpp's converter, quantised by llama-quantize, then read."""

from __future__ import annotations

from inspector.errors import FactsError, WorkloadError
from inspector.facts import Prediction
from inspector.facts.gguf import facts_of_gguf
from inspector.formats.modelfile import TensorInfo
from inspector.memory.estimate import weakest
from inspector.quantization.mix import predict_mix, quant_target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Final

    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Estimate
    from inspector.quantization.convert import Converted
    from inspector.quantization.mix import Mix

_MAKERS: Final = "convert_hf_to_gguf.py and llama-quantize"
_PLAIN: Final = frozenset(("F32", "F16", "BF16"))  # what the converter writes by itself


def unconverted_tensors(facts: ModelFacts) -> tuple[Sequence[TensorInfo], tuple[str, ...]]:
    """The tensors of a checkpoint, or those that its config promises. Raises FactsError where no rule gives them."""
    if facts.tensors:
        return facts.tensors, ()
    from inspector.architectures.hf_config import HfConfig
    from inspector.architectures.hf_tensors import expected_tensors
    from inspector.dtypes import DTYPES

    found = expected_tensors(HfConfig(facts.keys or {}))
    if found is None:
        raise FactsError(
            f"no rule gives the tensors of {facts.arch} from its config alone", hint="sizes need the weights"
        )
    dtype = DTYPES["BF16"]
    infos = tuple(TensorInfo(t.name, t.shape, dtype, 0, dtype.nbytes(t.shape)) for t in found)
    return infos, ("tensors as the config promises them",)


def converted(facts: ModelFacts, *, outtype: str = "F16") -> tuple[Converted, tuple[str, ...]]:
    """What llama.cpp's converter would write of a checkpoint, and notes on what it was predicted from.

    Raises UnsupportedArchitecture for a model that the converter does not know, FactsError where tensors are not known.
    """
    from inspector.architectures.hf_config import HfConfig
    from inspector.quantization.convert import gguf_arch, gguf_tensors_from_hf

    keys = facts.keys or {}
    gguf_arch(keys)  # what the converter does not know is said before anything else that is missing
    tensors, notes = unconverted_tensors(facts)
    return gguf_tensors_from_hf(keys, tensors, outtype=outtype, defaults=HfConfig(keys).defaults), notes


def plain_type(facts: ModelFacts) -> str:
    """The type that the converter writes by itself: the 16-bit type of the first matrix that has one, else F16.

    Of a config alone, by the dtype that it names (conversion/base.py: `--outtype auto`).
    """
    if not facts.tensors:
        return "BF16" if facts.dtype == "bfloat16" else "F16"
    stored = (t.dtype.name for t in facts.tensors if t.dtype is not None and len(t.shape) >= 2)
    return next((name for name in stored if name in {"BF16", "F16"}), "F16")


def with_mix(facts: ModelFacts, mix: Mix, *, grade: str = "derived", notes: Iterable[str] = ()) -> ModelFacts:
    """The facts of the file that llama-quantize would write."""
    infos = tuple(TensorInfo(t.name, t.shape, t.dtype, 0, t.nbytes) for t in mix.tensors)
    weakest = "modelled" if "modelled" in (grade, mix.grade) else "derived"
    return facts.replace(tensors=infos, prediction=Prediction(mix.to, weakest, (*notes, *mix_notes(mix))))


def mix_notes(mix: Mix) -> tuple[str, ...]:
    """What llama-quantize would want or do differently."""
    wants = ("llama-quantize asks for an importance matrix (--imatrix)",) if needs_imatrix(mix.to) else ()
    return (*wants, *mix.notes)


def converter_writes(to: str) -> bool:
    """Whether the converter writes this type by itself, without llama-quantize."""
    return to in _PLAIN


def needs_imatrix(to: str) -> bool:
    """Whether llama-quantize refuses to write this quant without an importance matrix."""
    return quant_target(to).needs_imatrix


def quantised(facts: ModelFacts, to: str, *, notes: Iterable[str] = ()) -> ModelFacts:
    """This GGUF as llama-quantize would write it, with an importance matrix where it insists on one.

    Raises WorkloadError where it refuses, or has no such type.
    """
    mix = predict_mix(facts, to, imatrix=needs_imatrix(to), allow_requantize=True)
    if mix.refused:
        raise WorkloadError(f"llama-quantize would not make {mix.to} of this: {mix.refused}")
    before = facts.prediction
    return with_mix(facts, mix, grade=before.grade if before else "derived", notes=notes)


def plain_gguf(facts: ModelFacts, outtype: str | None = None) -> ModelFacts:
    """A checkpoint as the converter would write it, in this type or in that which it takes by itself."""
    to = outtype or plain_type(facts)
    made, notes = converted(facts, outtype=to)
    said = (*notes, *made.notes)
    return facts_of_gguf(made.keys, made.tensors).replace(prediction=Prediction(to, made.grade, said))


def as_gguf(facts: ModelFacts, quant: str | None = None) -> ModelFacts:
    """The model as llama.cpp would load it in this quant: itself, or the file that converter and quantiser would write.

    Without a quant: what the file has, or what the converter writes by itself. Raises UnsupportedArchitecture,
    FactsError, WorkloadError.
    """
    if facts.prediction is not None or (facts.format == "gguf" and quant is None):
        return facts
    name = None if quant is None else quant_target(quant).name
    if facts.format == "gguf":
        assert name is not None
        return quantised(facts, name)
    if name is None or converter_writes(name):
        return plain_gguf(facts, name)
    base = plain_gguf(facts)
    assert base.prediction is not None
    return quantised(base, name, notes=base.prediction.notes)


def as_prediction(result: Estimate, made: Prediction) -> Estimate:
    """An estimate of a file that is not there yet: no line is surer than the tensors that it is worked out from."""
    lines = tuple(line.replace(grade=weakest((line.grade, made.grade))) for line in result.lines)
    words = f"there is no such file yet: {made.label} is predicted, as {_MAKERS} would write it ({made.grade})"
    return result.replace(
        lines=lines, effective={"quant": made.label, **result.effective}, notes=(words, *made.notes, *result.notes)
    )
