"""llama.cpp b11434: weights, caches, states, output and compute buffers, on the host and on devices."""

from __future__ import annotations

import re

from inspector.errors import WorkloadError
from inspector.memory.devices.placement import (
    EXPERTS,
    FIT_TARGET,
    assign,
    device_totals,
    numbered_by_speed,
    visible,
)
from inspector.memory.engines.llamacpp.backends import backend
from inspector.memory.engines.llamacpp.beside import NOTHING, Beside, extra
from inspector.memory.engines.llamacpp.compute import flash_stays
from inspector.memory.engines.llamacpp.lines import model_lines
from inspector.memory.engines.llamacpp.sizes import effective
from inspector.memory.estimate import Device, Estimate, Placement, Workload
from inspector.units import format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Final

    from inspector.facts import ModelFacts
    from inspector.memory.devices.placement import Assignment
    from inspector.memory.engines.llamacpp.sizes import Sizes
    from inspector.memory.estimate import Gpu

_BY_LAYER: Final = "-sm layer, the default, or -sm none"


def estimate(
    facts: ModelFacts,
    workload: Workload,
    *,
    placement: Placement | None = None,
    server: bool = False,
    repack: str | None = None,
    beside: Beside = NOTHING,
) -> Estimate:
    """What llama.cpp allocates for this model, byte for byte where a line is graded exact or derived.

    `server`: llama-server's defaults (four sequences that share one cache) instead of llama-cli's. `repack`: count
    the copies that the CPU back end rearranges for "avx2", "avx512" or "neon". `beside`: what is loaded beside the
    model. Raises WorkloadError where llama.cpp refuses.
    """
    placement = _checked(placement or Placement())
    sizes = effective(facts, workload, server=server, offload_kqv=placement.kv_offload, speculation=beside.speculation)
    assignment = assign(placement, len(facts.layers) + len(facts.nextn_layers))
    # caches are laid out before llama.cpp finds out whether flash attention can stay on
    final = sizes if flash_stays(facts, sizes.as_effective(), assignment) else sizes.replace(flash_attn=False)
    lines, unknown = model_lines(
        facts, sizes, placement, workload=workload, repack=repack, load_mtp=beside.speculation.mtp
    )
    more = extra(facts, sizes, placement, beside, server=server)
    lines, unknown = (*lines, *more.lines), (*unknown, *more.unknown)
    devices = device_totals(lines, placement.gpus, unknown=bool(unknown))
    return Estimate(
        engine="llama.cpp",
        workload=workload.replace(backend=",".join(dict.fromkeys(assignment.backends)) or None),
        effective=final.as_effective(),
        lines=lines,
        devices=devices,
        notes=(
            *facts.notes,
            *more.notes,
            *_offloaded(assignment),
            *_notes(facts, assignment, placement.gpus),
            *_left_alone(placement),
            *_idle(facts, placement),
            *_not_taken(workload),
            *_shared(sizes),
            *_tight(devices),
        ),
        unknown=unknown,
        brief=(*_offloaded(assignment), *_shared(sizes)),
    )


def _checked(placement: Placement) -> Placement:
    """The placement over the devices in use. Raises WorkloadError for a split that is refused, or not known here."""
    placement = visible(placement)
    mode = placement.split_mode
    if mode == "row" and not all(backend(gpu.backend).splits_rows for gpu in placement.gpus):
        raise WorkloadError("-sm row: llama.cpp b11434 has no buffers split by rows on these devices", hint=_BY_LAYER)
    if mode not in {"none", "layer"} and placement.gpus:
        raise WorkloadError(f"-sm {mode}: what each device would hold is not known here", hint=_BY_LAYER)
    return placement


def _without_gpu(placement: Placement) -> Iterator[str]:
    if placement.n_gpu_layers and not placement.gpus:
        layers = {-1: "auto", -2: "all"}.get(placement.n_gpu_layers, placement.n_gpu_layers)
        yield f"-ngl {layers} is without effect: no GPU is named (--gpu), and all layers are on the host"


def _shared(sizes: Sizes) -> Iterator[str]:
    """What -c leaves for each of several sequences."""
    if sizes.n_streams > 1:
        yield f"{sizes.n_ctx:,} tokens of context for {sizes.n_seqs} sequences: {sizes.n_ctx_seq:,} each"


def _idle(facts: ModelFacts, placement: Placement) -> Iterator[str]:
    """Options without effect, such as patterns that match no tensor: llama.cpp passes over them without a word."""
    yield from _without_gpu(placement)
    names = [t.name for t in facts.tensors]
    if not names:
        return
    for pattern, device in placement.overrides:
        if not any(map(re.compile(pattern).search, names)):
            yield f"-ot {pattern}={device}: no tensor of this model has such a name"
    if placement.n_cpu_moe and not any(map(re.compile(EXPERTS).search, names)):
        yield "experts on the host: this model has none"


def _left_alone(placement: Placement) -> Iterator[str]:
    for name in placement.idle:
        yield f"{name} is not used: llama.cpp leaves integrated GPUs alone beside others, unless -dev names them"


def _not_taken(workload: Workload) -> Iterator[str]:
    """What may be asked of a cache elsewhere and has no option here."""
    for name in ("kv_keep", "window"):
        if (workload.options or {}).get(name) is not None:
            yield f"--{name.replace('_', '-')} is no option of llama.cpp: it keeps what the model's layers keep"


def _tight(devices: tuple[Device, ...]) -> Iterator[str]:
    for d in devices:
        if d.fits and d.spare is not None and d.spare < FIT_TARGET:
            free = format_nbytes(FIT_TARGET)
            yield f"{d.device}: fits, but with less than the {free} that llama.cpp keeps free by itself"


def _offloaded(assignment: Assignment) -> Iterator[str]:
    if assignment.devices:
        yield f"{assignment.n_offloaded} of {len(assignment.blocks) + 1} layers on devices"


def _notes(facts: ModelFacts, assignment: Assignment, gpus: Sequence[Gpu]) -> Iterator[str]:
    if numbered_by_speed(gpus):
        order = ", ".join(assignment.devices)
        yield f"devices in this order: {order}. CUDA numbers the fastest first: see `llama-server --list-devices`, -dev"
    if facts.n_layers_nextn:
        yield f"{facts.n_layers_nextn} multi-token prediction layer(s) are left out, as llama.cpp does by default"


__all__ = ["estimate", "output_lines", "overhead_lines", "placed_weights", "unknown_parts"]
