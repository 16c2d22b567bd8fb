"""What a config alone promises of the weights: how many parameters, in which tensors, in how many bytes."""

from __future__ import annotations

from inspector.architectures.hf_tensors import tensor_groups
from inspector.architectures.towers import counted
from inspector.errors import FactsError
from inspector.quantization.promised import promised_tensors
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from inspector.architectures.hf.record import ExpectedTensor
    from inspector.architectures.hf_config import HfConfig
    from inspector.quantization.promised import PromisedTensor

_ELEMENTS: Final = {"float32": "F32", "float16": "F16", "half": "F16", "float64": "F64", "float": "F32"}


class Promise(Record):
    """Parameters (None: not known), those of routed experts, and the tensors in their bytes (none: not known).

    `n_text`: those of the language model alone, where there is more; `unknown`: parts of the model beside it that no
    rule counts, so that `n_params` is None.
    """

    n_params: int | None
    n_routed: int = 0
    tensors: tuple[PromisedTensor, ...] = ()
    notes: tuple[str, ...] = ()
    n_text: int | None = None
    unknown: tuple[str, ...] = ()


def promise(k: HfConfig, quantization: Mapping[str, Any], dtype: str | None) -> Promise:
    """What the architecture's own tensor shapes add up to. `dtype`: the config's, of what is not packed."""
    towers = counted(k)
    try:
        groups = tensor_groups(k)
    except FactsError as e:
        return Promise(None, notes=(str(e),), unknown=towers.unknown)
    if groups is None:
        words = f"no rule gives the parameters of {k.model_type} from its config alone"
        return Promise(None, notes=(words,), unknown=towers.unknown)
    text = sum(t.n_elements for t in groups)
    beside = sum(t.n_elements for t in towers.tensors)
    routed = sum(t.n_elements for t in groups if t.role == "expert")
    found = Promise(
        None if towers.unknown else text + beside,
        routed,
        notes=_notes(text, beside, towers.unknown),
        n_text=text if beside or towers.unknown else None,
        unknown=towers.unknown,
    )
    return _stored(found, k, (groups, towers.tensors), quantization, dtype)


def _notes(text: int, beside: int, unknown: tuple[str, ...]) -> tuple[str, ...]:
    if unknown:
        return (f"the text part has {text:,} parameters; beside it, no rule counts {', '.join(unknown)}",)
    return (f"{beside:,} parameters are of towers beside the text part, which has {text:,}",) if beside else ()


def _stored(
    found: Promise,
    k: HfConfig,
    parts: tuple[tuple[ExpectedTensor, ...], tuple[ExpectedTensor, ...]],
    quantization: Mapping[str, Any],
    dtype: str | None,
) -> Promise:
    """The same with the bytes of every tensor; without them, and with a reason, where a packing has no rule."""
    try:
        stored = stored_tensors(parts[0], k, quantization, dtype)
        towers = stored_tensors(parts[1], k, quantization, dtype, tower=True)
    except FactsError as e:
        return found.replace(notes=(*found.notes, str(e)))
    return found.replace(tensors=stored + towers)


def stored_tensors(
    groups: tuple[ExpectedTensor, ...],
    k: HfConfig,
    quantization: Mapping[str, Any],
    dtype: str | None,
    *,
    tower: bool = False,
) -> tuple[PromisedTensor, ...]:
    """Tensors in the bytes that the config stores them in. Raises FactsError where a packing has no rule."""
    if quantization and isinstance(k.get("expert_dtype"), str):
        quantization = {**quantization, "expert_dtype": k.get("expert_dtype")}
    return promised_tensors(groups, quantization, _ELEMENTS.get(dtype or "", "BF16"), tower=tower)
