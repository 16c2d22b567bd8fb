"""`fit`: the best choices with what is left and what gave way, their command lines, or what is missing."""

from __future__ import annotations

from inspector.report.escape import escape
from inspector.report.memory import lines_json
from inspector.report.text import join, shorten, table, wrap
from inspector.units import format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Final

    from inspector.memory.estimate import Gpu
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


def fit_lines(target: str, found: Fit, ask: Ask, commands: Sequence[Commands], *, width: int) -> list[str]:
    """Choices, best first, each with its command line; or by how much nothing fits."""
    gpus = join((_device(g) for g in ask.gpus), " + ") or "the CPU"
    several = f", {found.n_candidates} candidates" if found.n_candidates > 1 else ""
    asked = f"{found.n_ctx_asked:,} tokens" if found.n_ctx_asked else "a context"
    free = f", {format_nbytes(ask.margin)} of {'each' if ask.gpus else 'the host'} kept free" if ask.margin else ""
    lines = [
        shorten(escape(target), width),
        *_wrapped(f"{ask.engine} on {escape(gpus)}, {asked} wanted{several}{free}", width),
        *_wrapped("in this order: " + " > ".join(found.order), width),
        "",
    ]
    if found.choices:
        lines += _table(found)
        lines += _footnote(found.choices, commands)
        for i, (choice, words) in enumerate(zip(found.choices, commands, strict=True), 1):
            lines += ["", *_detail(i, choice, words, width)]
    elif found.lack is not None:
        lines += _lack_lines(found.lack, on_gpus=bool(ask.gpus))
    lines += ["", *_smallest(found)]
    if commands:
        lines.append(f"  choice 1 line by line: {escape(commands[0].memory)}")
    for note in found.notes:
        lines += _wrapped(f"note: {escape(note)}", width)
    return lines


def _device(gpu: Gpu) -> str:
    size = format_nbytes(gpu.capacity)
    return size if gpu.name == size else f"{gpu.name} {size}"


def _wrapped(text: str, width: int, indent: str = "  ") -> list[str]:
    return [indent + line for line in wrap(text, width=width - len(indent), indent="  ")]


def _where(choice: Choice) -> str:
    p = choice.placement
    if p.split_mode == "none":
        return f"all on {escape(p.gpus[p.main_gpu].name)}"
    return LEVELS[choice.level] if p.gpus else "on the CPU"


def _table(found: Fit) -> list[str]:
    first = "model" if found.models else "quant"
    rows = [("", first, "context", "up to", "cache", "where", "weights", "total", "left")]
    for i, c in enumerate(found.choices, 1):
        left = join((format_nbytes(n) for n in c.headroom.values()), " + ")
        name = c.candidate.stem if found.models else c.candidate.label
        rows.append(
            (f"{i}", escape(name) + (" *" if c.candidate.hypothetical else ""), f"{c.n_ctx:,}",
             f"{c.largest_ctx:,}", escape(c.kv), _where(c), format_nbytes(c.candidate.nbytes),
             format_nbytes(c.estimate.total_nbytes), left)
        )  # fmt: skip
    return table(rows, align="<<>><<>><")


def _footnote(choices: Sequence[Choice], commands: Sequence[Commands]) -> Iterable[str]:
    made = [c.candidate for c in choices if c.candidate.hypothetical]
    if not made:
        return
    grades = {c.facts.prediction.grade for c in made if c.facts.prediction is not None}
    grade = f"predicted ({'modelled' if 'modelled' in grades else 'derived'})"
    if any(c.source for c in made):
        yield f"  * not there yet: {grade} as convert_hf_to_gguf.py and llama-quantize would make it"
    elif any("--allow-requantize" in (command.quantize or "") for command in commands):
        yield (
            f"  * not there yet: {grade} as llama-quantize would make it of this file; of the original weights it "
            "is better"
        )
    else:
        yield f"  * not there yet: {grade} as llama-quantize would make it"


def _detail(i: int, choice: Choice, commands: Commands, width: int) -> Iterable[str]:
    gave = "; ".join(choice.gave_way)
    yield from _wrapped(f"{i}  " + (f"gave way: {escape(gave)}" if gave else "nothing gave way"), width)
    for command in (commands.convert, commands.quantize, commands.engine):
        if command is not None:  # one line each, however long: it is there to be copied
            yield f"     {escape(command)}"


def _lack_lines(lack: Lack, *, on_gpus: bool) -> Iterable[str]:
    yield "  NOTHING FITS"
    where = LEVELS[lack.level] if on_gpus else "on the CPU"
    yield f"  closest: {escape(lack.candidate.label)}, {lack.n_ctx:,} tokens, cache {lack.kv}, {where}"
    for device, nbytes in lack.missing.items():
        yield f"    {escape(device)}: {format_nbytes(nbytes)} missing"
    if not lack.missing:
        yield "    the engine refuses these settings"


def _smallest(found: Fit) -> Iterable[str]:
    gpu = found.smallest_gpu
    what = "choice 1" if found.choices else "that"
    if gpu is None:
        yield f"  no single GPU of the registry holds all of {what}"
    else:
        yield f"  smallest GPU that holds all of {what}: {gpu.name} ({format_nbytes(gpu.capacity)})"
