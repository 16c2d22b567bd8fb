"""The click group: commands by name, each loaded when it is called; a bare TARGET means `show`."""

from __future__ import annotations

import os

import click

from inspector import __version__
from inspector.cli import outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from click.shell_completion import CompletionItem

# command: (module under inspector.cli, attribute)
COMMANDS: Final = {
    "show": "show", "tensors": "tensors", "meta": "meta", "memory": "memory", "fit": "fit",
    "quantize-size": "quantize_size", "audit": "audit", "diff": "diff", "calc": "calc", "report": "report",
    "rule": "rule", "compare": "compare", "list": "list_models", "scan": "scan",
    "archs": "registries", "dtypes": "registries", "gpus": "registries", "engines": "registries",
}  # fmt: skip

EPILOG = """\b
Exit codes: 0 answered, and fine; 1 answered "no" (does not fit, a finding,
a difference); 2 could not answer (usage, unreadable, unsupported).

\b
INSPECTOR_GPU: what this machine is taken to have, in place of what is found
(for a bare TARGET, fit without --gpu, --gpu auto): none, or what --gpu takes.
NO_COLOR, COLUMNS; CLICOLOR_FORCE=1: bars and colour in a pipe (| less -R).

\b
Pages (docs/ of the sources): first-steps.md, cookbook.md,
faq.md (why something else shows another number), cli.md, stores.md,
fleet.md, library.md, memory.md, accuracy.md, rules.md, attacks.md,
architectures.md, glossary.md, architecture.md, testing.md, versions.md,
decisions/,
schemas/. And: man inspector."""


def _module_exists(name: str) -> bool:
    return os.path.exists(os.path.join(os.path.dirname(__file__), f"{name}.py"))


def _looks_like_target(word: str) -> bool:
    return os.path.lexists(word) or any(c in word for c in "/\\.:@~")


class InspectorGroup(click.Group):
    """Loads commands late, takes a bare target for `show`, and says what a mistyped command may have meant."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return [name for name, module in COMMANDS.items() if _module_exists(module)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        from importlib import import_module

        module = import_module(f"inspector.cli.{COMMANDS[cmd_name]}")
        attribute = cmd_name.replace("-", "_")
        command: click.Command = getattr(module, attribute if hasattr(module, attribute) else COMMANDS[cmd_name])
        if _NO_COLOR not in command.params:
            command.params.append(_NO_COLOR)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        if word not in COMMANDS:
            if not _looks_like_target(word):
                self._refuse(ctx, word)
            args = ["show", *args]
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands, and files: a bare target is what `show` takes."""
        from click.shell_completion import CompletionItem

        return [*super().shell_complete(ctx, incomplete), CompletionItem(incomplete, type="file")]

    def _refuse(self, ctx: click.Context, word: str) -> None:
        import difflib

        close = difflib.get_close_matches(word, self.list_commands(ctx), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise click.UsageError(f"{word!r} is neither a command nor an existing file or folder.{hint}", ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # options of `show` may come before the target: inspector --json FILE
        own = {"--help", "-h", "--version", "--no-color"}
        if args and args[0].startswith("-") and args[0] not in own and not any(a in COMMANDS for a in args):
            args = ["show", *args]
        return super().parse_args(ctx, args)


def _no_color(_ctx: click.Context, _param: click.Parameter, value: Any) -> None:
    if value:
        os.environ["NO_COLOR"] = "1"


# before the command it is in the list of options; after it, it works as well
_NO_COLOR: Final = click.Option(["--no-color"], is_flag=True, expose_value=False, callback=_no_color, hidden=True)


def _near_option(error: click.NoSuchOption, argv: list[str]) -> str:
    """What click says of an option that there is none of, with the nearest: it cuts `-nlg` down to `-n`."""
    typed = next((w for w in argv if not w.startswith("--") and w.startswith(error.option_name)), "")
    if error.possibilities or error.ctx is None or len(typed) < 3:
        return error.format_message()
    from difflib import get_close_matches

    names = [n for p in error.ctx.command.params for n in (*p.opts, *p.secondary_opts) if n[:1] == "-"]
    close = get_close_matches(typed, names, n=1)
    return f"No such option {typed!r}." + (f" Did you mean {close[0]!r}?" if close else "")


@click.group(
    cls=InspectorGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="inspector")
@click.option("--no-color", is_flag=True, expose_value=False, is_eager=True, callback=_no_color, help="Plain text.")
def cli() -> None:
    """What is this model file exactly, and what will it cost to run?

    TARGET is a GGUF or safetensors file, a model folder, a Hugging Face cache snapshot, a config.json,
    a Hub repo: org/name[@revision][:QUANT][/file], a model of a store: ollama:NAME[:TAG], or an address:
    s3://bucket/folder, https://host/folder/. Headers only; weights are never read or downloaded.

    \b
    Examples:
      inspector model.gguf
      inspector memory model.gguf -c 32768 --gpu rtx4090
      inspector tensors model.gguf --by dtype
      inspector audit ./my-model/
    """


def _usage_hint(error: click.ClickException) -> str | None:
    """Where to look after a usage error."""
    context = getattr(error, "ctx", None)
    return f"see '{context.command_path} --help'" if context is not None else None


def run_command_line(argv: list[str]) -> int:
    """Runs click without letting it exit, so that every ending has one of our codes."""

    def run() -> int:
        try:
            code = cli.main(args=argv, prog_name="inspector", standalone_mode=False)
        except click.exceptions.NoArgsIsHelpError as error:
            outcome.write([error.format_message()])
            return outcome.FAILED
        except click.NoSuchOption as error:
            outcome.complain(_near_option(error, argv), hint=_usage_hint(error))
            return outcome.FAILED
        except click.ClickException as error:
            outcome.complain(error.format_message(), hint=_usage_hint(error))
            return outcome.FAILED
        except click.exceptions.Exit as error:
            return error.exit_code
        except click.Abort:
            return 130
        return code if isinstance(code, int) else outcome.OK

    return outcome.guarded(run)
