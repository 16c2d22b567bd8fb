"""Packed checkpoints on their way to GGUF: the converter turns most of them back into plain matrices first.

Source: `dequant_model` of conversion/base.py, llama.cpp b11434.
"""

from __future__ import annotations

from inspector.quantization.packed import unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, Final

    from inspector.formats.modelfile import TensorInfo
    from inspector.quantization.packed import LogicalTensor

# Methods that the converter turns back into plain weights; it stops at every other.
_TAKEN: Final = frozenset({"fp8", "gptq", "compressed-tensors", "modelopt", "bitnet"})
# Kept packed: the bits move, the values do not (gpt-oss).
KEPT_PACKED: Final = "mxfp4"


def unpacked(
    tensors: Sequence[TensorInfo], quantization: Mapping[str, Any]
) -> tuple[Sequence[TensorInfo], tuple[str, ...]]:
    """The tensors under the names and shapes that they stand for, and what cannot be promised about them."""
    method = str(quantization.get("quant_method") or "").lower()
    if method in {"", KEPT_PACKED}:
        return tensors, ()
    notes = (
        [] if method in _TAKEN else [f"llama.cpp's converter does not take {method} checkpoints: use the unpacked one"]
    )
    if "nvfp4" in str(quantization).lower():
        notes.append("NVFP4 weights stay NVFP4 in the GGUF, with scales beside them: counted here as plain weights")
    by_name = {t.name: t for t in tensors}
    out = []
    for row in unpack(tensors, quantization):
        stored = by_name[row.stored[0]]
        shape = stored.shape if row.n_elements in {0, stored.n_elements} else _shape(row, stored)
        if shape is None:
            notes.append(f"the shape of {row.name} is not known from its packed form")
        else:
            out.append(stored.replace(name=row.name, shape=shape))
    return tuple(out), tuple(notes)


def _shape(row: LogicalTensor, stored: TensorInfo) -> tuple[int, ...] | None:
    """Outputs × inputs of a packed matrix: the dimension that is not packed is as it was."""
    n, shape = row.n_elements, stored.shape
    if n is None or len(shape) != 2 or 0 in shape or shape[1] == 1:
        return None
    rows, columns = shape
    if row.scheme.startswith("awq"):
        return n // rows, rows  # stored inputs × packed outputs
    if stored.name.endswith(".qweight"):
        return columns, n // columns  # packed inputs × outputs
    return (n // columns, columns) if row.scheme == "bitnet" else (rows, n // rows)


def kept_type(name: str, quantization: Mapping[str, Any]) -> str | None:
    """The type that a GGUF tensor keeps from its packed form, or None."""
    method = str(quantization.get("quant_method") or "").lower()
    return "MXFP4" if method == KEPT_PACKED and name.endswith("_exps.weight") else None


def quantization_of(configs: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The first `quantization_config` of these configs (outer before inner), or nothing."""
    return next((c["quantization_config"] for c in configs if isinstance(c.get("quantization_config"), dict)), {})
