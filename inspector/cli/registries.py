"""`inspector archs`, `dtypes`, `gpus`, `engines`: the registries, browsable."""

from __future__ import annotations

import click

from inspector.cli import outcome
from inspector.cli.options import json_option
from inspector.report.text import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sized
    from typing import Any

    from inspector.report import documents


def _say_none(name: str | None, rows: Sized, every: Iterable[str]) -> None:
    """Words where no row has this in its name, with the nearest that there are."""
    if rows or name is None:
        return
    from inspector.sources.target import near_names

    near = near_names(name, every)
    outcome.remark(f"none has {name!r} in its name" + (f"; did you mean {' or '.join(near)}?" if near else ""))


@click.command()
@click.argument("name", required=False)
@json_option
def archs(*, name: str | None, as_json: bool) -> int:
    """Architectures whose layers are known, by the name a GGUF or a config.json gives them.

    \b
    Examples:
      inspector archs
      inspector archs gemma3
    """
    from inspector.architectures import architecture_rows

    rows: list[Any] = [r for r in architecture_rows() if name is None or name.lower() in r["name"].lower()]
    if as_json:
        body: documents.Archs = {"schema": "inspector.archs/1", "architectures": rows}
        outcome.write_json(body)
    else:
        cells = [("name", "format", "layers", "source")] + [
            (r["name"], r["format"], r["layers"], r["ref"]) for r in rows
        ]
        outcome.write(table(cells, align="<<<<"))
        _say_none(name, rows, (r["name"] for r in architecture_rows()))
    return outcome.OK if rows else outcome.NO


@click.command()
@json_option
def dtypes(*, as_json: bool) -> int:
    """Element types: elements and bytes of a block, bits per weight.

    \b
    Example:
      inspector dtypes
    """
    from inspector.dtypes import DTYPES

    if as_json:
        body: documents.Dtypes = {"schema": "inspector.dtypes/1", "dtypes": list(DTYPES.values())}
        outcome.write_json(body)
        return outcome.OK
    cells = [("type", "ggml", "safetensors", "elements", "bytes", "bits/weight", "")]
    cells += [
        (d.name, "" if d.ggml_id is None else str(d.ggml_id), "yes" if d.safetensors else "",
         str(d.block_elems), str(d.block_bytes), f"{d.bits_per_weight:g}", d.note)
        for d in DTYPES.values()
    ]  # fmt: skip
    outcome.write(table(cells, align="<><>>><"))
    return outcome.OK


@click.command()
@click.argument("name", required=False)
@json_option
def gpus(*, name: str | None, as_json: bool) -> int:
    """GPUs that --gpu knows, with the bytes their drivers report.

    \b
    Examples:
      inspector gpus
      inspector gpus 4090
    """
    from inspector.memory.devices.gpus import gpu_rows
    from inspector.units import format_nbytes

    rows: list[Any] = [r for r in gpu_rows() if name is None or name.lower() in r["name"].lower()]
    if as_json:
        body: documents.Gpus = {"schema": "inspector.gpus/1", "gpus": rows}
        outcome.write_json(body)
    else:
        cells = [("name", "memory", "bytes", "source")]
        cells += [(r["name"], format_nbytes(r["nbytes"]), f"{r['nbytes']:,}", r["source"]) for r in rows]
        outcome.write(table(cells, align="<>><"))
        _say_none(name, rows, (r["name"] for r in gpu_rows()))
    return outcome.OK if rows else outcome.NO


@click.command()
@json_option
def engines(*, as_json: bool) -> int:
    """Engines whose memory is computed, and the releases their rules were read from.

    \b
    Example:
      inspector engines
    """
    from inspector.memory.engines import engines as registry

    found = registry()
    if as_json:
        body: documents.Engines = {
            "schema": "inspector.engines/1",
            "engines": [{"name": e.name, "module": e.rules, "version": e.release} for e in found],
        }
        outcome.write_json(body)
    else:
        outcome.write(table([("engine", "rules of"), *((e.name, e.release) for e in found)], align="<<"))
    return outcome.OK
