"""`inspector show`."""

from __future__ import annotations

import click

from inspector.checkpoint import SeveralModels
from inspector.cli.options import json_option, open_target, target_argument
from inspector.cli.plain import show as show_checkpoint
from inspector.errors import AccessDenied


@click.command()
@target_argument
@click.option("--all", "every", is_flag=True, help="Each tensor too, one a row.")
@json_option
def show(target: str, *, every: bool, as_json: bool) -> int:
    """Identity, architecture, parameters, quantisation and exact bytes of a model.

    Of a repository or folder with several GGUF models: one line each.

    \b
    Examples:
      inspector show model.gguf
      inspector show model.gguf --all
      inspector show ./Qwen3-8B/ --json
      inspector show org/name:Q4_K_M
    """
    try:
        checkpoint = open_target(target)
    except SeveralModels as several:
        from inspector.cli.hub import show_several

        return show_several(several, target, as_json=as_json)
    except AccessDenied as error:
        from inspector.cli.hub import show_refused

        return show_refused(error, target, as_json=as_json)
    return show_checkpoint(checkpoint, every=every, as_json=as_json)
