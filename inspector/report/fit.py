"""`fit` as JSON: the best choices with what is left and what gave way, their command lines, or what is missing."""

from __future__ import annotations

from inspector.report.memory import lines_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from inspector.memory.fit.records import Ask, Choice, Fit, Lack
    from inspector.report import documents

LEVELS: Final = {
    "all": "all on the devices", "experts": "experts on the host", "layers": "layers on the host",
    "tight": "nearly all of each GPU",
}  # fmt: skip


def _choice_json(choice: Choice, commands: Commands) -> documents.Choice:
    e, c, p = choice.estimate, choice.candidate, choice.placement
    return {
        "candidate": c,
        "n_ctx": choice.n_ctx,
        "kv_dtype_k": choice.workload.kv_dtype_k,
        "kv_dtype_v": choice.workload.kv_dtype_v,
        "level": choice.level,
        "n_gpu_layers": p.n_gpu_layers,
        "n_cpu_moe": p.n_cpu_moe,
        "tensor_split": p.tensor_split or None,
        "main_gpu": p.main_gpu if p.split_mode == "none" else None,
        "tensor_parallel": p.tensor_parallel,
        "effective": e.effective,
        "lines": lines_json(e),
        "devices": [
            {"device": d.device, "capacity": d.capacity, "used": d.used, "headroom": choice.headroom.get(d.device)}
            for d in e.devices
        ],
        "total_nbytes": e.total_nbytes,
        "grade": e.grade,
        "gave_way": choice.gave_way,
        "largest_ctx": choice.largest_ctx,
        "largest_ctx_is_trained": choice.capped,
        "command": commands.engine,
        "convert_command": commands.convert,
        "quantize_command": commands.quantize,
        "memory_command": commands.memory,
        "notes": e.notes,
    }


class Commands:
    """The command lines of one choice; None where there is none."""

    __slots__ = ("convert", "engine", "memory", "quantize")

    def __init__(self, engine: str | None, memory: str, *, convert: str | None, quantize: str | None) -> None:
        self.engine = engine
        self.memory = memory
        self.convert = convert
        self.quantize = quantize


def _lack_json(lack: Lack | None) -> documents.Lack | None:
    if lack is None:
        return None
    return {
        "candidate": lack.candidate.label, "n_ctx": lack.n_ctx, "kv": lack.kv, "level": lack.level,
        "missing": [{"device": d, "nbytes": n} for d, n in lack.missing.items()],
    }  # fmt: skip


def fit_json(target: str, found: Fit, ask: Ask, commands: Sequence[Commands]) -> documents.Fit:
    """The schema `inspector.fit/1`."""
    return {
        "schema": "inspector.fit/1",
        "target": target,
        "engine": ask.engine,
        "gpus": ask.gpus,
        "margin": ask.margin,
        "fits": found.fits,
        "n_candidates": found.n_candidates,
        "n_ctx_asked": found.n_ctx_asked,
        "order": found.order,
        "choices": [_choice_json(c, x) for c, x in zip(found.choices, commands, strict=True)],
        "lack": _lack_json(found.lack),
        "smallest_gpu": found.smallest_gpu,
        "notes": found.notes,
    }
