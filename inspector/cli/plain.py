"""The questions asked most, `inspector FILE` and `inspector memory FILE [-c N] [--gpu G]`, without loading click.

click alone costs four times a bare Python, more than reading a header of 262,144 tokens
(docs/decisions/0006-plain-path.md). Anything else, and anything odd, goes to click.
"""

from __future__ import annotations

import os

from inspector.cli import outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from inspector.checkpoint import Checkpoint
    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Estimate, Gpu
    from inspector.quantization.labels import QuantLabel
    from inspector.report.records import ComponentRow

_CONTEXT: Final = frozenset(("-c", "--ctx-size"))
_PLAIN: Final = _CONTEXT | {"--gpu"}


def show(checkpoint: Checkpoint, *, every: bool = False, as_json: bool = False) -> int:
    """Prints what a checkpoint is, and `every` tensor; exit code 2 when bytes or shards are missing."""
    from inspector.facts import read_facts
    from inspector.report import show as report

    facts = read_facts(checkpoint)
    label = _label(checkpoint)
    if as_json:
        claimed, actual = (label.claimed, label.actual) if label else (None, facts.quantization or facts.dtype)
        rows = _components(checkpoint)
        outcome.write_json(report.show_json(checkpoint, facts, claimed=claimed, actual=actual, components=rows))
    else:
        words = label.words if label else ""
        lines = report.show_lines(checkpoint, facts, label=words, every=every, look=outcome.look())
        outcome.write(lines + _component_lines(checkpoint), painted=True)
        if here := _here_lines(checkpoint, facts):  # after the answer, which need not wait for it
            outcome.write(here, painted=True)
    return incomplete(checkpoint)


def _here_lines(checkpoint: Checkpoint, facts: ModelFacts) -> list[str]:
    """What it would take on this machine, in a line; none where nothing is found that could run it."""
    from inspector.errors import InspectorError
    from inspector.memory.devices.here import gpus_at_once

    try:
        gpus = gpus_at_once(os.environ)
        if not gpus or checkpoint.missing or checkpoint.missing_nbytes:
            return []
        from inspector.memory.engines import default_engine, engine_of, estimate
        from inspector.memory.estimate import Placement, Workload
        from inspector.report.here import here_lines

        engine = default_engine(checkpoint.format)
        placement = engine_of(engine).placed(Placement(gpus=gpus))
        result = estimate(facts, Workload(), engine=engine, placement=placement)
    except InspectorError:  # no engine's rules answer for it: the line would say nothing about the model
        return []
    return here_lines(result, width=outcome.width())


def _components(checkpoint: Checkpoint) -> list[ComponentRow]:
    if not checkpoint.components:
        return []
    from inspector.cli.hub import component_rows

    return component_rows(checkpoint)


def _component_lines(checkpoint: Checkpoint) -> list[str]:
    rows = _components(checkpoint)
    if not rows:
        return []
    from inspector.report.repo import component_lines

    return component_lines(rows, width=outcome.width())


def _label(checkpoint: Checkpoint) -> QuantLabel | None:
    if checkpoint.format != "gguf":
        return None
    from inspector.quantization.labels import quant_label

    return quant_label(checkpoint)


def incomplete(checkpoint: Checkpoint) -> int:
    """Exit code 2, and the words for it, when the model is not all there; 0 when it is.

    A config and an index without any of the weights are answered for what they are.
    """
    if checkpoint.missing and (checkpoint.files or checkpoint.config is None):
        shown = ", ".join(checkpoint.missing[:3])
        more = f" and {len(checkpoint.missing) - 3} more" if len(checkpoint.missing) > 3 else ""
        outcome.complain(f"{len(checkpoint.missing)} of the model's files are missing: {shown}{more}")
        return outcome.FAILED
    if checkpoint.missing_nbytes:
        file = next(f for f in checkpoint.files if f.missing_nbytes)
        outcome.complain(
            f"{file.name} is cut short: {file.missing_nbytes:,} bytes are missing "
            f"({file.size:,} of {file.data_end:,} are here)",
            hint="download it again; what is printed above is what the header promises",
        )
        return outcome.FAILED
    return outcome.OK


def show_target(target: str) -> int:
    """`inspector TARGET`."""
    from inspector.checkpoint import open_checkpoint

    return show(open_checkpoint(target))


def memory_target(target: str, n_ctx: int | None, gpu: str | None) -> int:
    """`inspector memory TARGET [-c N] [--gpu G]`, by the default engine."""
    from inspector.checkpoint import open_checkpoint
    from inspector.cli.answer import write_answer
    from inspector.facts import read_facts
    from inspector.memory.engines import default_engine, engine_of, estimate
    from inspector.memory.estimate import Placement, Workload

    checkpoint = open_checkpoint(target)
    engine = default_engine(checkpoint.format)
    placement = Placement() if gpu is None else engine_of(engine).placed(Placement(gpus=_parsed(gpu)))
    facts = read_facts(checkpoint)

    def run(workload: Workload) -> Estimate:
        return estimate(facts, workload, engine=engine, placement=placement)

    result = run(Workload(n_ctx=n_ctx))
    write_answer(target, facts, result, run=run)
    return incomplete(checkpoint) or (outcome.NO if result.fits is False else outcome.OK)


def _parsed(gpu: str) -> tuple[Gpu, ...]:
    from inspector.memory.devices.gpus import is_shop_gpu, parse_gpu

    found = parse_gpu(gpu)
    if is_shop_gpu(gpu):
        outcome.remark_shop_size(gpu)
    return found


def plain_command(argv: list[str]) -> Callable[[], int] | None:
    """What these words ask for, when it is one of the plain questions about a file that exists; else None."""
    command, words = (argv[0], argv[1:]) if argv and argv[0] in {"show", "memory"} else ("show", argv)
    if not words or words[0].startswith("-") or not os.path.isfile(words[0]) or "manifests" in words[0]:
        return None  # a file below `manifests` may name a model of a store
    target, rest = words[0], words[1:]
    if command == "show":
        return None if rest else lambda: show_target(target)
    given = dict(zip(rest[::2], rest[1::2], strict=False))
    if len(given) * 2 != len(rest) or not _PLAIN.issuperset(given) or len(_CONTEXT.intersection(given)) > 1:
        return None  # something is missing, doubled or not plain
    n_ctx, gpu = given.get("-c", given.get("--ctx-size")), given.get("--gpu")
    if (n_ctx is not None and not _is_context(n_ctx)) or (gpu is not None and not _is_gpu(gpu)):
        return None
    return lambda: memory_target(target, None if n_ctx is None else int(n_ctx), gpu)


def _is_gpu(text: str) -> bool:
    """Whether this is no option, and nothing that click has a word to say about."""
    from inspector.memory.devices.gpus import is_shop_gpu

    return not text.startswith("-") and not is_shop_gpu(text)


def _is_context(digits: str) -> bool:
    """Whether this is a number of tokens, and nothing that has to be read further."""
    return len(digits) <= 10 and digits.isascii() and digits.isdigit() and 0 < int(digits) < 1 << 31
