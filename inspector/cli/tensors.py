"""`inspector tensors`."""

from __future__ import annotations

import click

from inspector.cli import outcome
from inspector.cli.options import json_option, open_target, target_argument
from inspector.cli.plain import incomplete

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inspector.report import documents


def _write_csv(rows: Sequence[Mapping[str, object]], fields: list[str]) -> None:
    import csv
    import io

    from inspector.report.escape import escape

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(fields)
    for row in rows:
        cells = ["x".join(map(str, v)) if isinstance(v := row[f], tuple) else v for f in fields]
        writer.writerow([escape(c) if isinstance(c, str) else c for c in cells])
    outcome.write(out.getvalue().rstrip("\n").split("\n"))


@click.command()
@target_argument
@click.option("--match", metavar="GLOB", help="Only tensors whose name matches, like 'blk.0.*'.")
@click.option("--by", type=click.Choice(["dtype", "layer", "role"]), help="Sums instead of single tensors.")
@click.option("--sort", type=click.Choice(["size", "name", "offset"]), help="Order; default: as in the file.")
@click.option("--all", "every_one", is_flag=True, help="Each tensor, on a terminal too: else blk.[0-31] is one row.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV on stdout.")
@json_option
def tensors(
    target: str, *, match: str | None, by: str | None, sort: str | None, every_one: bool, as_csv: bool, as_json: bool
) -> int:
    """Every tensor: name, shape, type, elements, exact bytes and offset.

    On a terminal those that repeat from layer to layer are one row; with --all, and in a pipe, each has its own.

    \b
    Examples:
      inspector tensors model.gguf --match 'blk.0.*'
      inspector tensors model.gguf --by role
      inspector tensors ./model/ --sort size --csv
    """
    from inspector.report import tensors as report

    checkpoint = open_target(target)
    chosen = report.sort_tensors(checkpoint.tensors, sort)
    if match is not None:
        from fnmatch import fnmatchcase

        chosen = [t for t in chosen if fnmatchcase(t.name, match)]
        if not chosen:
            outcome.remark(f"no tensor has a name like {match}")
    if by is not None:
        groups = report.group_json(chosen, by)
        if as_json:
            sums: documents.TensorSums = {
                "schema": "inspector.tensors/1", "target": target, "by": by, "groups": groups,
            }  # fmt: skip
            outcome.write_json(sums)
        elif as_csv:
            _write_csv(groups, [by, "n_tensors", "n_elements", "nbytes"])
        else:
            outcome.write(report.group_lines(groups, by))
    else:
        rows = [report.tensor_json(t) for t in chosen] if as_json or as_csv else []
        if as_json:
            every: documents.Tensors = {
                "schema": "inspector.tensors/1", "target": target, "tensors": rows,
                "nbytes": sum(t.nbytes or 0 for t in chosen),
            }  # fmt: skip
            outcome.write_json(every)
        elif as_csv:
            _write_csv(rows, ["name", "shape", "dtype", "n_elements", "nbytes", "offset"])
        else:
            look = outcome.look()
            if look.bars and not every_one:
                outcome.write(report.folded_lines(chosen, order=sort, look=look), painted=True)
            else:
                outcome.write(report.tensor_lines(chosen, width=look.width), painted=True)
    return incomplete(checkpoint)
