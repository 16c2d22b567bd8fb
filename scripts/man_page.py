"""docs/inspector.1: the manual page, made from the click commands. scripts/generate_docs.py writes it.

click-man (0.6.0) knows no commands that are loaded late, cuts the page's first line off, and lets `man` flow examples
into one paragraph.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from inspector.cli.group import EPILOG, cli

HEAD = r""".\" Made by scripts/man_page.py: change the help texts instead.
.TH INSPECTOR 1 "" "weights\-inspector" "User Commands"
.SH NAME
inspector \- what a model file is exactly, and what it will cost to run
.SH SYNOPSIS
.B inspector
.RI [ COMMAND ]
.I TARGET
.RI [ OPTION ]...
.SH DESCRIPTION"""


def text(words: str) -> str:
    """Words as roff prints them: no backslash, hyphen or first dot means anything."""
    return "\n".join(
        (r"\&" if line[:1] in {".", "'"} else "") + line.replace("\\", r"\e").replace("-", r"\-")
        for line in words.splitlines()
    )


def paragraphs(words: str) -> Iterator[str]:
    r"""A help text's paragraphs; those that click leaves as they are (\b) are not filled here either."""
    for block in inspect.cleandoc(words).replace("\b\n", "\n\b").split("\n\n"):
        lines = [line.strip("\b") for line in block.strip("\n").splitlines()]
        if "\b" in block:
            yield "\n".join([".PP", ".nf", text("\n".join(lines)), ".fi"])
        elif lines:
            yield ".PP\n" + text(" ".join(line.strip() for line in lines))


def options(command: click.Command, ctx: click.Context) -> Iterator[str]:
    """A paragraph an option, with what click says of it."""
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
        if record is not None and (param.name != "help" or ctx.parent is None):
            yield f".TP\n.B {text(record[0])}\n{text(' '.join(record[1].split()))}"


def section(name: str, command: click.Command, parent: click.Context) -> Iterator[str]:
    """One command: usage, what it does, its options."""
    ctx = click.Context(command, info_name=name, parent=parent)
    yield f".SS inspector {name}"
    yield ".PP\n.B " + text(f"inspector {name} " + " ".join(command.collect_usage_pieces(ctx)))
    yield from paragraphs(command.help or "")
    yield from options(command, ctx)


def man_page() -> str:
    """The whole page as roff."""
    ctx = click.Context(cli, info_name="inspector")
    parts = [HEAD, *paragraphs(cli.help or ""), ".SH OPTIONS", *options(cli, ctx), ".SH COMMANDS"]
    for name in cli.list_commands(ctx):
        command = cli.get_command(ctx, name)
        assert command is not None
        parts += section(name, command, ctx)
    parts += [".SH EXIT STATUS", *paragraphs(EPILOG)]
    return "\n".join(parts) + "\n"
