"""`inspector meta`."""

from __future__ import annotations

import click

from inspector.cli import outcome
from inspector.cli.options import json_option, open_target, target_argument
from inspector.cli.plain import incomplete
from inspector.errors import InspectorError
from inspector.formats.modelfile import LongArray

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from inspector.checkpoint import Checkpoint
    from inspector.report import documents


def _pick(checkpoint: Checkpoint, keys: tuple[str, ...]) -> tuple[dict[str, Any], Mapping[str, str]]:
    """The metadata to show: of the first file, or the config where there is no metadata; only `keys` if given."""
    types: Mapping[str, str] = checkpoint.files[0].metadata_types if checkpoint.files else {}
    metadata: dict[str, Any] = dict(checkpoint.metadata)
    if checkpoint.format != "gguf":
        metadata = {f"__metadata__.{k}": v for k, v in metadata.items()} | dict(checkpoint.config or {})
        types = {}
    unknown = [k for k in keys if k not in metadata]
    if unknown:
        import difflib

        starts = [key for key in metadata if key.startswith(unknown[0])]
        close = starts[:3] or difflib.get_close_matches(unknown[0], metadata, n=3)
        raise InspectorError(f"no key {unknown[0]!r}", hint="did you mean " + ", ".join(close) + "?" if close else None)
    return ({k: metadata[k] for k in keys} if keys else metadata), types


def _whole(checkpoint: Checkpoint, metadata: dict[str, Any]) -> dict[str, Any]:
    """Long texts and arrays read from the file after all."""
    if not any(isinstance(v, LongArray) for v in metadata.values()):
        return metadata
    from inspector.cli.options import open_source
    from inspector.formats.gguf import read_array

    file = checkpoint.files[0]
    with open_source(checkpoint, file.name) as source:
        return {k: _values(read_array, source, v, file.byte_order) for k, v in metadata.items()}


def _values(read_array: Any, source: Any, value: Any, byte_order: str) -> Any:
    if not isinstance(value, LongArray):
        return value
    values = tuple(read_array(source, value, byte_order=byte_order))
    return values[0] if value.elem == "char" and values else values


@click.command()
@target_argument
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@click.option("--full", is_flag=True, help="Whole texts and arrays, token lists included.")
@json_option
def meta(target: str, *, keys: tuple[str, ...], full: bool, as_json: bool) -> int:
    """Raw metadata, verbatim: keys, stored types and values.

    \b
    Examples:
      inspector meta model.gguf
      inspector meta model.gguf general.architecture llama.context_length
      inspector meta model.gguf tokenizer.ggml.tokens --full --json
    """
    from inspector.report import tensors as report

    checkpoint = open_target(target)
    metadata, types = _pick(checkpoint, keys)
    if full:
        metadata = _whole(checkpoint, metadata)
    if as_json:
        body: documents.Meta = {
            "schema": "inspector.meta/1", "target": target, "metadata": metadata, "types": types,
        }  # fmt: skip
        outcome.write_json(body)
    else:
        outcome.write(report.meta_lines(metadata, types, full=full, width=outcome.width()))
    return incomplete(checkpoint)
