"""What is loaded beside the model: a multimodal projector, adapters, a draft model. Each is counted by its own rule."""

from __future__ import annotations

from inspector.memory.devices.placement import HOST, assign, device_totals
from inspector.memory.estimate import Line
from inspector.units import pad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from inspector.facts import ModelFacts
    from inspector.formats.modelfile import TensorInfo
    from inspector.memory.estimate import Estimate, Placement

_TENSOR_ALIGNMENT = 32  # ggml-cpu; device back ends use 128 or 256


def _nbytes(tensors: Iterable[TensorInfo]) -> int:
    return sum(pad(t.nbytes or 0, _TENSOR_ALIGNMENT) for t in tensors)


def projector_line(tensors: Sequence[TensorInfo], placement: Placement) -> Line:
    """A projector's weights: on the first device, as llama.cpp loads it by default (tools/mtmd/clip.cpp)."""
    device = assign(placement, 0).devices[0] if placement.gpus else HOST
    return Line("weights", _nbytes(tensors), "derived", f"{len(tensors):,} tensors of the projector", device, "mmproj")


def adapter_lines(tensors: Sequence[TensorInfo], facts: ModelFacts, placement: Placement) -> list[Line]:
    """An adapter's weights: each pair lies where the tensor it adapts lies (src/llama-adapter.cpp)."""
    from inspector.memory.engines.llamacpp.weights import layer_of

    assignment = assign(placement, len(facts.layers) + len(facts.nextn_layers))
    sums: dict[str, list[TensorInfo]] = {}
    for t in tensors:
        base = t.name.removesuffix(".lora_a").removesuffix(".lora_b")
        sums.setdefault(assignment.weight_device(base, layer_of(base)), []).append(t)
    return [
        Line("weights", _nbytes(found), "derived", f"{len(found):,} tensors of the adapter", device, "lora")
        for device, found in sums.items()
    ]


def draft_lines(draft: Estimate) -> list[Line]:
    """A draft model's own weights, cache and compute, each marked as the draft's."""
    return [line.replace(label=f"draft {line.label}".rstrip()) for line in draft.lines]


def with_lines(base: Estimate, extra: list[Line], placement: Placement, *, notes: tuple[str, ...] = ()) -> Estimate:
    """The estimate with lines added and its devices summed anew."""
    lines = (*base.lines, *extra)
    devices = device_totals(lines, placement.gpus, unknown=bool(base.unknown))
    return base.replace(lines=lines, devices=devices, notes=(*base.notes, *notes))
