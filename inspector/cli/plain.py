"""`inspector FILE` without options: the same screen as `inspector show FILE`, without loading click.

click alone costs more than reading a header of 262,144 tokens (docs/decisions/0006-plain-path.md).
"""

from __future__ import annotations

from inspector.cli import outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.checkpoint import Checkpoint
    from inspector.quantization.labels import QuantLabel


def show(checkpoint: Checkpoint, *, as_json: bool = False) -> int:
    """Prints what a checkpoint is; exit code 2 when bytes or shards are missing."""
    from inspector.facts import read_facts
    from inspector.report import show as report

    facts = read_facts(checkpoint)
    label = _label(checkpoint)
    if as_json:
        claimed, actual = (label.claimed, label.actual) if label else (None, facts.quantization or facts.dtype)
        outcome.write_json(report.show_json(checkpoint, facts, claimed=claimed, actual=actual))
    else:
        words = label.words if label else ""
        outcome.write(report.show_lines(checkpoint, facts, label=words, width=outcome.width()))
    return incomplete(checkpoint)


def _label(checkpoint: Checkpoint) -> QuantLabel | None:
    if checkpoint.format != "gguf":
        return None
    from inspector.quantization.labels import quant_label

    return quant_label(checkpoint)


def incomplete(checkpoint: Checkpoint) -> int:
    """Exit code 2, and the words for it, when the model is not all there; 0 when it is."""
    if checkpoint.missing:
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


def run(target: str) -> int:
    """`inspector TARGET`, guarded."""
    from inspector.checkpoint import open_checkpoint

    return outcome.guarded(lambda: show(open_checkpoint(target)))
