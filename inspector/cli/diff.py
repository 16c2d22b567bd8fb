"""`inspector diff`."""

from __future__ import annotations

import click

from inspector.cli import outcome
from inspector.cli.options import complete_files, json_option, open_target
from inspector.cli.values import TOKENS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.checkpoint import Checkpoint


def _cache_nbytes(checkpoint: Checkpoint, n_ctx: int) -> int | None:
    from inspector.facts import read_facts
    from inspector.memory.cache import kv_dtype, sum_caches

    f16 = kv_dtype("f16")
    total = sum_caches(read_facts(checkpoint).layers, n_ctx, dtype_k=f16, dtype_v=f16)
    return None if total.unknown_layers else total.nbytes


@click.command()
@click.argument("a", metavar="A", shell_complete=complete_files)
@click.argument("b", metavar="B", shell_complete=complete_files)
@click.option(
    "-c", "--ctx", "n_ctx", type=TOKENS, default="4096", show_default=True, help="Tokens the caches are compared at."
)
@click.option("--all", "every", is_flag=True, help="Every change, not the first twenty of each sort.")
@click.option("--hash", "hashes", is_flag=True, help="Compare whole files by their sha256, where it is not known.")
@click.option("--values", is_flag=True, help="Compare tensors of the same type and shape byte by byte.")
@json_option
def diff(a: str, b: str, *, n_ctx: int, every: bool, hashes: bool, values: bool, as_json: bool) -> int:
    """What changed between two checkpoints: metadata, config, facts and tensors. Exit code 1 when they differ.

    Tensors' values are compared where that is free: by the hashes that the Hub and its cache give. Else the answer says
    that they were not, and --hash or --values reads them.

    \b
    Examples:
      inspector diff old.gguf new.gguf
      inspector diff org/model@v1.0 org/model@main
      inspector diff ./Qwen3-8B/ Qwen3-8B-Q4_K_M.gguf
      inspector diff mine.gguf theirs.gguf --values
    """
    from inspector.cli.progress import progress_line
    from inspector.comparison import diff as compare
    from inspector.report import diff as report

    left, right = open_target(a), open_target(b)
    with progress_line() as say:
        found = compare(left, right, values="values" if values else "hash" if hashes else "", say=say)
    caches = (_cache_nbytes(left, n_ctx), _cache_nbytes(right, n_ctx))
    if as_json:
        outcome.write_json(report.diff_json(found, caches))
    else:
        most = 1 << 30 if every else 20
        outcome.write(report.diff_lines(found, caches, n_ctx, width=outcome.width(), most=most))
    return outcome.OK if found.is_empty else outcome.NO
