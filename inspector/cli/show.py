"""`inspector show`."""

from __future__ import annotations

import click

from inspector.cli.options import json_option, open_target, target_argument
from inspector.cli.plain import show as show_checkpoint


@click.command()
@target_argument
@json_option
def show(target: str, *, as_json: bool) -> int:
    """Identity, architecture, parameters, quantisation and exact bytes of a model.

    \b
    Examples:
      inspector show model.gguf
      inspector show ./Qwen3-8B/ --json
    """
    return show_checkpoint(open_target(target), as_json=as_json)
