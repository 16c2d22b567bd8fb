"""`inspector list`."""

from __future__ import annotations

import os
from functools import partial

import click

from inspector.cli import outcome
from inspector.cli.kept import distinct_nbytes, gather, hashed, places, same_contents
from inspector.cli.options import complete_files, json_option
from inspector.cli.progress import progress_line
from inspector.errors import InspectorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.checkpoint import Checkpoint
    from inspector.report.documents import KeptTotals
    from inspector.report.records import KeptRow, SameContent


def _open(target: str, folder: str) -> Checkpoint:
    from inspector.checkpoint import open_checkpoint

    return open_checkpoint(target, cache_folder=folder)


def _totals(rows: list[KeptRow], left: list[KeptRow], same: list[SameContent]) -> KeptTotals:
    sums = {role: distinct_nbytes(row for row in left if row.role == role) for role in ("unused", "unfinished")}
    twice = sum(group.freed_nbytes for group in same if group.sure)
    return {
        "n_models": sum(row.role == "model" for row in rows),
        "n_broken": sum(row.error is not None for row in rows),
        "nbytes": distinct_nbytes([*rows, *left]),
        "duplicate_nbytes": twice,
        "unused_nbytes": sums["unused"],
        "unfinished_nbytes": sums["unfinished"],
        "freed_nbytes": twice + sum(sums.values()),
    }


@click.command("list")
@click.argument("roots", metavar="[ROOT...]", nargs=-1, shell_complete=complete_files)
@click.option("--hash", "hashes", is_flag=True, help="Hash files of equal size, to tell which are the same.")
@json_option
def list_models(roots: tuple[str, ...], *, hashes: bool, as_json: bool) -> int:
    """Every model that lies here: quant, size, parameters, cache; which are the same; what could be freed.

    ROOT is a folder of any depth, a store of Ollama, LM Studio, llama.cpp, Docker or the Hub's cache, an OCI image.
    Without one: the stores that programs keep for you on this machine. Exit code 1 where something cannot be read.

    \b
    Examples:
      inspector list
      inspector list ./quants/ --hash
      inspector list ./quants/ ./my-model/ --json
    """
    from inspector.report import kept as report
    from inspector.sources.cache import hub_cache_folder

    asked = places(roots, os.environ)
    looked_at = list(asked)
    found: list[KeptRow] = []
    failed: list[InspectorError] = []
    opened = partial(_open, folder=hub_cache_folder(os.environ))
    with progress_line() as say:
        for place in asked:
            try:
                found += gather(place, opened, say)
            except InspectorError as error:
                failed.append(error)
                looked_at.remove(place)
        found = hashed(found, say) if hashes else found
    left = [row for row in found if row.role in {"unused", "unfinished"}]
    rows = [row for row in found if row.role not in {"unused", "unfinished"}]
    same = same_contents(rows)
    totals = _totals(rows, left, same)
    if as_json:
        outcome.write_json(report.kept_json(looked_at, rows, left, same, totals))
    elif looked_at or not failed:
        outcome.write(report.kept_lines(looked_at, rows, left, same, totals, width=outcome.width()))
    for problem in failed:
        outcome.complain(str(problem), hint=problem.hint)
    return outcome.FAILED if failed else outcome.NO if totals["n_broken"] else outcome.OK
