"""What a quantised file of a model would weigh, tensor by tensor, before anyone quantises it."""

from __future__ import annotations

from inspector.architectures.roles import layer_of, role_of
from inspector.errors import FactsError, InspectorError
from inspector.memory.predicted import converted, unconverted_tensors
from inspector.quantization.layouts import SCHEMES, Matrix, lora_nbytes, predict_layout
from inspector.quantization.mix import predict_mix
from inspector.quantization.mix_targets import QUANT_TARGETS
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Final

    from inspector.facts import ModelFacts
    from inspector.formats.modelfile import TensorInfo
    from inspector.memory.estimate import Grade
    from inspector.quantization.mix import Quantizable

COMMON: Final = ("Q2_K", "Q3_K_M", "Q4_K_S", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "F16")
# Projections that the other families quantise; embeddings, head, router and norms stay as they are.
_QUANTIZED_ROLES: Final = frozenset({"attention", "mlp", "expert", "recurrent"})
_EXPERTS: Final = frozenset({"expert"})
# gpt-oss: modules_to_not_convert of its config names all but the experts
_EXPERTS_ONLY: Final = frozenset({"mxfp4"})
_KEPT_NBYTES: Final = 2  # bfloat16 or float16: what checkpoints of these families keep the rest in


class SizedTensor(Record):
    """One tensor of the predicted file: shape outermost first, element type by name, bytes."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int


class QuantizedSize(Record):
    """A prediction. `nbytes` sums its tensors (no header); `grade` "derived" by the quantiser's own rules.

    `refused`: why the quantiser would not write it. `quality`: what is published about the loss, with its source.
    """

    to: str
    nbytes: int | None
    n_params: int | None
    grade: Grade
    tensors: tuple[SizedTensor, ...] = ()
    notes: tuple[str, ...] = ()
    refused: str | None = None
    quality: str = ""

    @property
    def bits_per_weight(self) -> float | None:
        """Bits over parameters, everything included."""
        return self.nbytes * 8 / self.n_params if self.nbytes is not None and self.n_params else None

    @property
    def reduction(self) -> float | None:
        """How much smaller than two bytes a parameter, as a share."""
        if self.nbytes is None or not self.n_params:
            return None
        return 1 - self.nbytes / (2 * self.n_params)


def is_known(to: str) -> bool:
    """Whether there is a rule for this type: one of llama-quantize's, or another family's scheme."""
    return to.upper() in QUANT_TARGETS or to.lower() in SCHEMES


def as_gguf(facts: ModelFacts) -> tuple[Quantizable, tuple[str, ...], str]:
    """The model under GGUF names: itself, or what llama.cpp's converter would write; notes and grade of that step."""
    if facts.format == "gguf":
        return facts, (), "derived"
    made, notes = converted(facts)
    return made, (*notes, *made.notes), made.grade


def _mix(step: tuple[Quantizable, tuple[str, ...], str], to: str, options: Mapping[str, Any]) -> QuantizedSize:
    model, notes, grade = step
    mix = predict_mix(model, to, **options)
    if mix.refused:
        return QuantizedSize(mix.to, None, mix.n_params, grade, notes=(*notes, *mix.notes), refused=mix.refused)
    tensors = tuple(SizedTensor(t.name, t.shape, t.dtype.name, t.nbytes) for t in mix.tensors)
    weakest = "modelled" if "modelled" in (grade, mix.grade) else mix.grade
    row = QUANT_TARGETS[to.upper()]
    quality = f"{row.ppl_delta:+.4f} ppl @ {row.ppl_model}" if row.ppl_delta is not None else ""
    said = (*notes, *mix.notes, *(f"writing it would stop: {b}" for b in mix.blocked))
    said += tuple(f"{f.name}: {f.given} in place of {f.wanted}" for f in mix.fallbacks[:8])
    return QuantizedSize(mix.to, mix.nbytes, mix.n_params, weakest, tensors, said, quality=quality)


def _is_projection(t: TensorInfo, roles: frozenset[str]) -> bool:
    """A matrix inside a block, or a stack of experts' matrices, whose name may lack ".weight" (gpt-oss, Llama 4)."""
    if layer_of(t.name) is None or role_of(t.name) not in roles or not t.shape or t.shape[-1] <= 16:
        return False
    stacked = len(t.shape) == 3 and t.name.endswith("_proj")
    return stacked or (t.name.endswith(".weight") and len(t.shape) in (2, 3))


def matrices(
    facts: ModelFacts, roles: frozenset[str] = _QUANTIZED_ROLES
) -> tuple[tuple[Matrix, ...], int, int, tuple[str, ...]]:
    """The projections that the other families quantise, then bytes and parameters of all that stays as it is.

    Raises FactsError for a checkpoint whose weights are packed already.
    """
    if facts.format != "gguf" and facts.quantization is not None and facts.tensors:
        raise FactsError(
            f"these weights are quantised already ({facts.quantization})", hint="give the checkpoint it was made from"
        )
    tensors, notes = unconverted_tensors(facts)
    chosen: list[Matrix] = []
    kept_nbytes = kept_params = 0
    for t in tensors:
        if _is_projection(t, roles):
            count = t.shape[0] if len(t.shape) == 3 else 1
            n, k = t.shape[-2:]
            chosen.append(Matrix(t.name, n, k, n * k * _KEPT_NBYTES, count))
        elif t.dtype is None or t.dtype.is_float or t.dtype.is_block_quantized:
            kept_params += t.n_elements
            kept_nbytes += t.n_elements * _KEPT_NBYTES
    return tuple(chosen), kept_nbytes, kept_params, notes


def _layout(
    split: tuple[tuple[Matrix, ...], int, int, tuple[str, ...]], to: str, *, experts_only: bool = False
) -> QuantizedSize:
    chosen, kept_nbytes, kept_params, notes = split
    found = predict_layout(to, chosen, kept_nbytes=kept_nbytes, kept_params=kept_params)
    kept = "attention, embeddings" if experts_only else "embeddings"
    said = (*notes, *found.notes, f"{kept}, head, router and norms stay at 16 bits")
    if found.skipped:
        said += (f"{len(found.skipped)} weights do not fill groups and stay as they are: {found.skipped[0]}, …",)
    return QuantizedSize(found.scheme, found.nbytes, found.n_params, found.grade, notes=said)


def quantized_size(facts: ModelFacts, to: str, **options: Any) -> QuantizedSize:
    """What this model would weigh as `to`: a type of llama-quantize (with its options) or another family's scheme.

    `options`: imatrix, pure, output_tensor_type, token_embedding_type, tensor_types, leave_output, allow_requantize.
    Raises WorkloadError for an unknown type, FactsError where tensors are not known.
    """
    return quantized_sizes(facts, (to,), **options)[0]


def quantized_sizes(facts: ModelFacts, names: Iterable[str], **options: Any) -> list[QuantizedSize]:
    """`quantized_size` for several types; the model's tensors are worked out once (they may be a hundred thousand)."""
    model = split = None
    results = []
    for to in names:
        if to.lower() in SCHEMES and to.upper() not in QUANT_TARGETS:
            split = split or matrices(facts)
            experts = to.lower() in _EXPERTS_ONLY and any(role_of(m.name) == "expert" for m in split[0])
            results.append(_layout(matrices(facts, _EXPERTS) if experts else split, to, experts_only=experts))
        else:
            model = model or as_gguf(facts)
            results.append(_mix(model, to, options))
    return results


def adapter_nbytes(facts: ModelFacts, rank: int) -> int:
    """Bytes of a LoRA adapter of this rank on all projections, in single precision. Raises FactsError."""
    if facts.format == "gguf":
        raise InspectorError("adapter sizes are those of a safetensors checkpoint's modules")
    return lora_nbytes(matrices(facts)[0], rank)
