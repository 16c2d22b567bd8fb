"""`inspector report`."""

from __future__ import annotations

import os

import click

from inspector import __version__
from inspector.cli import outcome
from inspector.cli.options import complete_files, engine_option, open_target, target_argument
from inspector.cli.plain import incomplete
from inspector.cli.values import GPU, TOKENS
from inspector.errors import SourceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.checkpoint import Checkpoint
    from inspector.memory.fit.gather import Gathered


def _shown(found: Gathered) -> Checkpoint:
    """The model whose facts and tensors are listed: the one there is, or the largest of several."""
    if found.checkpoint is not None:
        return found.checkpoint
    return open_target(max(found.candidates, key=lambda c: c.nbytes).path)


def _one_kind(gpu: str | None) -> tuple[str | None, int]:
    """A card as `--gpu` takes it, and how many. A page is about one kind of card."""
    from inspector.memory.devices.gpus import parse_gpu, split_count

    if gpu is None:
        return None, 1
    if gpu.strip().lower() in {"auto", "none"}:
        raise click.UsageError(f"--gpu {gpu}: a page is about a card by name or size, like rtx4090 or 24G")
    word = split_count(gpu)[1]
    if len(parse_gpu(word)) > 1:
        raise click.UsageError(f"--gpu {gpu}: this card is several devices; name a size, like 64G")
    return word, len(parse_gpu(gpu))


@click.command()
@target_argument
@click.option(
    "-o", "--output", required=True, metavar="FILE", shell_complete=complete_files,
    help="Where the page goes; - for standard output.",
)  # fmt: skip
@click.option("--gpu", "gpu", type=GPU, help="The card that the page shows first; its back end is the page's.")
@click.option(
    "-c", "--ctx-size", "--ctx", "--max-model-len", "n_ctx", type=TOKENS, help="The context that the page shows first."
)
@engine_option
def report(target: str, *, output: str, gpu: str | None, n_ctx: int | None, engine: str | None) -> int:
    """One self-contained interactive page: does it fit, a calculator, memory over contexts, layers, and tensors.

    \b
    Examples:
      inspector report model.gguf -o report.html
      inspector report ./quants/ --gpu rtx4090 -c 32k -o report.html
    """
    from inspector.facts import read_facts
    from inspector.memory.engines import engine_name
    from inspector.memory.fit.gather import gather
    from inspector.memory.tables.choose import tables
    from inspector.report.html import page

    word, count = _one_kind(gpu)
    found = gather(target, open_target)
    checkpoint = _shown(found)
    made = tables(found.candidates, engine_name(engine) if engine else None, gpu=word, n_ctx=n_ctx)
    text = page(checkpoint, read_facts(checkpoint), made, version=__version__, target=target, n_ctx=n_ctx, cards=count)
    if output == "-":
        outcome.write_bytes(text.encode("utf-8", "backslashreplace"))
        return incomplete(checkpoint)
    try:
        with open(output, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise SourceError(f"{output}: {(error.strerror or 'cannot be written').lower()}") from None
    outcome.write([f"{output}: {os.path.getsize(output):,} bytes"])
    return incomplete(checkpoint)
