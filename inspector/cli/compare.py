"""`inspector compare`."""

from __future__ import annotations

import sys

import click

from inspector.cli import outcome
from inspector.cli.options import (
    build_placement,
    complete_files,
    json_option,
    open_target,
    placement_options,
    target_argument,
)
from inspector.cli.values import Parsed
from inspector.errors import InspectorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _share(text: str) -> float:
    digits = text.strip().removesuffix("%").strip()
    try:
        value = float(digits)
    except ValueError:
        raise InspectorError(f"{text!r} is not a percentage like 1 or 0.5%") from None
    if not 0 <= value <= 100:
        raise InspectorError(f"{text!r} is not between 0 and 100 percent")
    return value / 100


def read_log_text(path: str) -> str:
    """A log file, or stdin for `-`, up to the greatest size of a log. Raises InspectorError when it cannot be read."""
    from inspector.logs.startup import MAX_LOG

    try:
        if path == "-":
            data = sys.stdin.buffer.read(MAX_LOG + 1)
        else:
            with open(path, "rb") as file:
                data = file.read(MAX_LOG + 1)
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or "cannot be read").lower()
        raise InspectorError(f"{path}: {reason}") from None
    if len(data) > MAX_LOG:
        raise InspectorError(f"{path}: a log of more than {MAX_LOG >> 20} MiB", hint="cut it after the start-up")
    return data.decode("utf-8", "replace")


@click.command()
@click.argument("log", metavar="LOG", shell_complete=complete_files)
@target_argument
@placement_options
@click.option(
    "--within", type=Parsed("percent", _share), default="1", show_default=True, help="Percent a line may be off by."
)
@json_option
def compare(log: str, target: str, *, within: float, as_json: bool, **params: Any) -> int:
    """An engine's start-up log beside our figures for the same settings, line by line.

    LOG is a file with what llama.cpp (-lv 4) or vLLM printed, or - for stdin. Settings, devices and llama.cpp's build
    are the log's own; placement options say what a log leaves out (-ts, -ot, -ncmoe). Exit code 1 when a line is off by
    more than --within.

    \b
    Examples:
      llama-server -m model.gguf -lv 4 2>&1 | tee start.log
      inspector compare start.log model.gguf
      inspector compare start.log model.gguf -ncmoe 20 --within 0.1
      docker logs vllm 2>&1 | inspector compare - org/model
    """
    from inspector.facts import read_facts
    from inspector.logs import read_startup_log
    from inspector.memory.compare import compare as compare_with
    from inspector.memory.compare import engine_of_log, placement_of, workload_of
    from inspector.memory.engines import estimate
    from inspector.report.compare import compare_json, compare_lines

    said = read_startup_log(read_log_text(log))
    given = build_placement(params)
    placement = placement_of(said, given)
    if given.gpus:
        placement = placement.replace(gpus=given.gpus)
    facts = read_facts(open_target(target))
    result = estimate(facts, workload_of(said), engine=engine_of_log(said), placement=placement)
    rows = compare_with(said, result)
    if as_json:
        outcome.write_json(compare_json(target, said, result, rows, within=within))
    else:
        outcome.write(compare_lines(said, result, rows, within=within, width=outcome.width()))
    return outcome.NO if any(r.off is not None and r.off > within for r in rows) else outcome.OK
