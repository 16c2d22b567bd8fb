"""What a config alone promises of the weights: how many parameters, in which tensors, in how many bytes."""

from __future__ import annotations

from inspector.architectures.hf_tensors import tensor_groups
from inspector.errors import FactsError
from inspector.quantization.promised import promised_tensors
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from inspector.architectures.hf_config import HfConfig
    from inspector.quantization.promised import PromisedTensor

_ELEMENTS: Final = {"float32": "F32", "float16": "F16", "half": "F16", "float64": "F64", "float": "F32"}


class Promise(Record):
    """Parameters (None: not known), those of routed experts, and the tensors in their bytes (none: not known)."""

    n_params: int | None
    n_routed: int = 0
    tensors: tuple[PromisedTensor, ...] = ()
    notes: tuple[str, ...] = ()


def promise(k: HfConfig, quantization: Mapping[str, Any], dtype: str | None) -> Promise:
    """What the architecture's own tensor shapes add up to. `dtype`: the config's, of what is not packed."""
    try:
        groups = tensor_groups(k)
    except FactsError as e:
        return Promise(None, notes=(str(e),))
    if groups is None:
        return Promise(None, notes=(f"no rule gives the parameters of {k.model_type} from its config alone",))
    total = sum(t.n_elements for t in groups)
    routed = sum(t.n_elements for t in groups if t.role == "expert")
    notes = (
        (f"without the encoder in {k.outer_type}'s own config: the language model's parameters",) if k.prefix else ()
    )
    if quantization and isinstance(k.get("expert_dtype"), str):
        quantization = {**quantization, "expert_dtype": k.get("expert_dtype")}
    element = _ELEMENTS.get(dtype or "", "BF16")
    try:
        stored = promised_tensors(groups, quantization, element)
    except FactsError as e:
        return Promise(total, routed, notes=(*notes, str(e)))
    return Promise(total, routed, stored, notes)
