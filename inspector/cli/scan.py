"""`inspector scan`."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import contextmanager

import click

from inspector.cli import outcome
from inspector.cli.options import complete_files, json_option
from inspector.cli.progress import progress_line
from inspector.cli.values import COUNT, GPU, SECONDS, TOKENS
from inspector.fleet.options import DEFAULT_TIMEOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Final

    from inspector.fleet.options import ScanOptions
    from inspector.fleet.scan import Outputs

_INTERRUPTED: Final = 130


def _options(params: dict[str, Any]) -> ScanOptions:
    """What is asked of each model, once, under the registry's own names. Raises InspectorError for an unknown one."""
    from inspector.fleet.options import DEFAULT_CONTEXTS, ScanOptions
    from inspector.memory.devices.asked import gpus_asked
    from inspector.memory.engines import engine_name

    for gpu in params["gpus"]:
        gpus_asked(gpu)
    return ScanOptions(
        contexts=params["contexts"] or DEFAULT_CONTEXTS,
        engines=tuple(engine_name(name) for name in params["engines"]),
        gpus=params["gpus"],
        audit=params["audit"],
        tensors=params["tensors"],
        timeout=params["timeout"] or None,
    )


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """What is told of a scan, with its rate and the time left, where somebody looks."""
    with progress_line() as say:
        start: list[float] = []

        def tell(what: str, done: int, total: int) -> None:
            if say is None:
                return
            if what != "read" or not total:
                say(f"{what} {done:,}" if what == "found" else f"writing {total:,} rows")
                return
            if not start:
                start.extend((time.monotonic(), done))
            seconds = time.monotonic() - start[0]
            rate = (done - start[1]) / seconds if seconds > 0 else 0.0
            left = f" · {_clock((total - done) / rate)} left" if rate else ""
            say(f"{done:,} of {total:,} models · {rate:,.0f} a second{left}")

        yield tell


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def _ended_as_interrupted() -> Iterator[None]:
    """A request to end (SIGTERM, as batch systems send it) is an interrupt: what has been read is written."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    was = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, was)


@click.command()
@click.argument("roots", metavar="[ROOT]...", nargs=-1, shell_complete=complete_files)
@click.option(
    "-o", "--output", "table", default="", metavar="FILE", help="The table: .parquet, .duckdb, .csv or .jsonl."
)
@click.option("--targets", multiple=True, metavar="FILE", help="Roots from a file, one a line; - is standard input.")
@click.option("--tensors", is_flag=True, help="A second table of all tensors.")
@click.option("--report", "page", default="", metavar="FILE", help="One HTML page: sums, and a table that sorts.")
@click.option("--cyclonedx", "sbom", default="", metavar="FILE", help="A CycloneDX 1.6 bill of materials, as JSON.")
@click.option("-c", "--ctx-size", "contexts", multiple=True, type=TOKENS,
              help="Contexts to give caches and estimates for; repeatable. Default: 4k, 32k, 128k.")  # fmt: skip
@click.option("-e", "--engine", "engines", multiple=True, metavar="NAME",
              help="Estimates by this engine too; repeatable.")  # fmt: skip
@click.option("--gpu", "gpus", multiple=True, type=GPU, help="Estimates on this GPU, each by itself; repeatable.")
@click.option("--audit/--no-audit", default=True, help="Whether findings are looked for. Default: yes.")
@click.option("--on", default="processes", metavar="ENGINE", show_default=True,
              help="processes, dask, or the address of a Dask scheduler, like tcp://host:8786.")  # fmt: skip
@click.option("-j", "--jobs", type=COUNT, help="Processes of this machine. Default: its cores.")
@click.option("--resume", is_flag=True, help="What has not changed since the last scan into FILE is not read again.")
@click.option("--timeout", type=SECONDS, metavar="SECONDS", default=DEFAULT_TIMEOUT,
              help=f"After so long a target is a row with its error; 0: no limit. Default: {DEFAULT_TIMEOUT:g}."
              )  # fmt: skip
@click.option("--most", type=COUNT, help="So many models at most.")
@json_option
def scan(
    roots: tuple[str, ...], *, targets: tuple[str, ...], table: str, page: str, sbom: str, on: str, jobs: int | None,
    resume: bool, most: int | None, as_json: bool, **params: Any,
) -> int:  # fmt: skip
    """Every model below ROOT... as one table: a row a model, whatever it lies in.

    ROOT is a file, a folder of any depth, a store, any TARGET, a search of the Hub (hf://org/*), or @FILE, a file of
    roots. docs/fleet.md lists the columns, and questions to ask of them. Exit code 1: not all could be read in full;
    2: something could not be reached.

    \b
    Examples:
      inspector scan ~/models -o models.parquet
      inspector scan ~/models ~/.cache/huggingface/hub -o models.duckdb --tensors
      inspector scan ./quants -o quants.parquet --resume --report quants.html
      inspector scan 'hf://org/*' -o hub.csv --engine vllm --gpu h100 -c 8192
      inspector scan --targets list.txt -o models.jsonl --on dask
    """
    from inspector.fleet.scan import Outputs, scan
    from inspector.report import scan as report

    asked = (*roots, *(f"@{path}" for path in targets))
    if not asked:
        raise click.UsageError("nothing to scan: name a ROOT, or a file of them with --targets")
    outputs = Outputs(table, page, sbom)
    options = _options(params)
    try:
        with _progress() as tell, _ended_as_interrupted():
            found = scan(asked, outputs, options, on=on, n_workers=jobs, resume=resume, most=most, tell=tell)
    except KeyboardInterrupt:
        _say_what_is_left(outputs)
        return _INTERRUPTED
    written = [path for path in _written(outputs, tensors=options.tensors) if path]
    if as_json:
        outcome.write_json(report.scan_json(found, written))
    else:
        outcome.write(report.scan_lines(found, written, width=outcome.width()))
    return outcome.FAILED if found.n_unreached else outcome.NO if found.n_unread else outcome.OK


def _written(outputs: Outputs, *, tensors: bool) -> Iterator[str]:
    from inspector.fleet.tables import tensors_path

    yield outputs.table
    if outputs.table and tensors and (beside := tensors_path(outputs.table)) != outputs.table:
        yield beside
    yield from (outputs.page, outputs.sbom)


def _say_what_is_left(outputs: Outputs) -> None:
    """After an interrupt: where what has been read is."""
    if outputs.table and os.path.exists(outputs.table):
        outcome.remark("interrupted: what was read is written; --resume goes on from there")
    elif sys.stderr is not None:
        outcome.remark("interrupted")
