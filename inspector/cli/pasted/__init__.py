"""A pasted command of llama.cpp, vLLM or mlx-lm, after `--`, read as the same question in our own options."""

from __future__ import annotations

import click

from inspector.cli.pasted.records import Flag, Pasted
from inspector.cli.pasted.shell import program_of, split_command
from inspector.cli.pasted.visible import seen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import ModuleType
    from typing import Final

    from inspector.cli.pasted.shell import Command

# the start of a program's name: (our name of its engine, the module here that knows its flags)
_MODULES: Final = {
    "llama-bench": ("llama.cpp", "llamabench"), "llama-": ("llama.cpp", "llamacpp"), "vllm": ("vllm", "vllm"),
    "mlx_lm": ("mlx", "mlx"), "sglang": ("sglang", "sglang"), "ollama": ("llama.cpp", "ollama"),
}  # fmt: skip
# words behind a program's name that `program_of` has looked at
_VERBS: Final = {"vllm": {"serve"}, "llamacpp": {"serve"}, "sglang": {"serve"}, "ollama": {"run", "serve"},
                 "mlx": {"generate", "server", "chat"}}  # fmt: skip
_MODEL_FIRST: Final = {"vllm", "sglang", "ollama"}  # `vllm serve MODEL`; what follows an Ollama model is a prompt
_WHERE: Final = ("target", "repo", "file", "revision")  # what names the model
_NO_PROJECTOR: Final = {"--no-mmproj", "--no-mmproj-auto"}
_GUESSED: Final = ("llama-server", "vllm", "sglang")  # what an image that is not known may start
# a drive or a share at the start of a word, or a program by its full name
_WINDOWS_PATH: Final = r"""(?:^|[\s"'=])(?:[A-Za-z]:\\|\\\\\w)|\.exe(?:["'\s]|$)"""


def _row(program: str) -> tuple[str, str]:
    return next(row for start, row in _MODULES.items() if program.startswith(start))


def _module(program: str) -> ModuleType:
    from importlib import import_module

    return import_module(f"{__name__}.{_row(program)[1]}")


def _from_variables(flags: Mapping[str, Flag], variables: Mapping[str, str]) -> list[str]:
    """The flags that environment variables stand for, as llama.cpp reads them (arg.cpp get_value_from_env)."""
    words: list[str] = []
    for flag in dict.fromkeys(flags.values()):
        value = variables.get(flag.env) if flag.env else None
        if flag.off and flag.env.replace("LLAMA_ARG_", "LLAMA_ARG_NO_") in variables:
            value = "0"
        if value is None:
            continue
        if flag.takes:
            words += [flag.names[0], value]
        elif value.lower() in {"1", "on", "enabled", "true"}:
            words.append(next(n for n in flag.names if n not in flag.off))
        elif flag.off:
            words.append(flag.off[0])
    return words


def _known(flags: Mapping[str, Flag], word: str) -> tuple[Flag | None, str, str | None]:
    """The flag of a word, its name, and the value behind `=`; vLLM's names are told apart by `-` and `_` alike."""
    for name, equals, value in ((word, "", ""), word.partition("=")):
        for spelling in (name, name.replace("_", "-")):
            if spelling in flags:
                return flags[spelling], spelling, value if equals else None
    return None, word, None


def _is_flag(flags: Mapping[str, Flag], word: str) -> bool:
    return word.startswith("-") and (_known(flags, word)[0] is not None or not word[1:2].isdigit())


def _values(flags: Mapping[str, Flag], flag: Flag, rest: list[str]) -> str:
    """Takes a flag's values off the words that follow it."""
    if flag.takes == "one":
        return rest.pop(0) if rest else ""
    found: list[str] = []
    while rest and flag.takes and not _is_flag(flags, rest[0]) and not (flag.takes == "maybe" and found):
        found.append(rest.pop(0))
    return " ".join(found)


def flags_in(flags: Mapping[str, Flag], words: Sequence[str]) -> Iterator[tuple[Flag | None, str, str]]:
    """(flag, name as typed, value) of each; no flag: a word that the engine does not have, or an argument."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            yield None, "", word
            continue
        flag, name, value = _known(flags, word)
        if flag is None:
            yield None, word, rest.pop(0) if rest and not _is_flag(flags, rest[0]) else ""
        else:
            yield flag, name, _values(flags, flag, rest) if value is None else value


class _Reading:
    """What has been read of a command so far."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.where: dict[str, str] = {}
        self.said: list[str] = []
        self.left: dict[bool, dict[str, None]] = {True: {}, False: {}}
        self.unknown: list[tuple[str, str]] = []
        self.notes: list[str] = []

    def take(self, flag: Flag | None, name: str, value: str) -> None:
        """One flag, or a word that is none."""
        if (
            flag is None
            and not name
            and self.module.__name__.rpartition(".")[2] in _MODEL_FIRST
            and "target" not in self.where
        ):
            self.where["target"] = value
        elif flag is None:
            self.unknown.append((name, value) if name else (value, ""))
        elif flag.ours in _WHERE:
            self.where[flag.ours] = value
        else:
            self._say(flag, name, value)

    def _say(self, flag: Flag, name: str, value: str) -> None:
        words = self.module.in_our_words(flag, name, value) if flag.ours else None
        if words is None:
            self.left[flag.bears][f"{name} {value}" if flag.ours else name] = None
            return
        self.said += words
        if more := getattr(self.module, "several", None):
            self.notes += filter(None, [more(name, flag, value)])


def read_command(program: str, words: Sequence[str], variables: Mapping[str, str]) -> Pasted:
    """A command's settings in our words."""
    module, (engine, name) = _module(program), _row(program)
    words = words[1:] if words[:1] and words[0] in _VERBS.get(name, ()) else words
    reading = _Reading(module)
    for flag, typed, value in flags_in(module.FLAGS, [*_from_variables(module.FLAGS, variables), *words]):
        reading.take(flag, typed, value)
    where, left = reading.where, reading.left
    said, notes = reading.said, reading.notes
    if name == "ollama":
        reading.unknown = [pair for pair in reading.unknown if pair[0].startswith("-")]  # the rest is a prompt
    elif name == "llamabench":
        said, more = module.settled(said)
        more += [f"{value}: the first model counts" for value in where.values() if "," in value]
        where, notes = {key: value.partition(",")[0] for key, value in where.items()}, [*more, *notes]
    elif name == "llamacpp":
        said = [*module.defaults(program), *said]
    without = [word for word in left[True] if word in _NO_PROJECTOR]
    for word in without:
        left[False][word] = left[True].pop(word)
    if "repo" in where and "--mmproj" not in said and not without and name == "llamacpp":
        left[True]["--mmproj-auto (the repository's projector, if it has one)"] = None
    return Pasted(
        engine, _target(where), tuple(said), tuple(left[False]), tuple(left[True]), tuple(reading.unknown),
        tuple(notes),
    )  # fmt: skip


def _target(where: Mapping[str, str]) -> str:
    """The model that a command names, in the form that our targets have."""
    repo = where.get("repo", "")
    if repo and "file" in where:
        return f"{repo.partition(':')[0]}/{where['file']}"
    found = where.get("target") or repo
    return f"{found}@{where['revision']}" if found and where.get("revision") else found


def _allowed(command: click.Command, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """(words that a command of ours takes, flags that it does not)."""
    options = {name: p for p in command.params for name in (*p.opts, *p.secondary_opts) if isinstance(p, click.Option)}
    taken: list[str] = []
    refused: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        value = [rest.pop(0)] if rest and not _is_option(rest[0]) else []
        if word in options:
            taken += [word, *value]
        else:
            refused.append(word)
    return taken, refused


def _named_target(command: click.Command, words: Sequence[str]) -> str:
    """The word that is no option and no option's value; "" for none."""
    flags = {
        n for p in command.params if isinstance(p, click.Option) and p.is_flag for n in (*p.opts, *p.secondary_opts)
    }
    last = ""
    for word in words:
        if not _is_option(word) and (not last or last in flags or "=" in last):
            return word
        last = word if _is_option(word) else ""
    return ""


def _is_option(word: str) -> bool:
    return word.startswith("-") and not word[1:2].isdigit()


def _say(found: Pasted, refused: Sequence[str]) -> None:
    from inspector.cli.outcome import remark

    uncounted = dict.fromkeys((*found.uncounted, *(w for w in refused if w not in {"--server", "--outputs"})))
    for note in found.notes:
        remark(note)
    if found.unknown:
        remark(f"{found.engine} has no {', '.join(name for name, _ in found.unknown)}, as far as is known here")
    if uncounted:
        remark(f"memory depends on these too, and no figure here does: {' '.join(uncounted)}")
    if found.passed_over:
        remark(f"passed over, no memory depends on them: {' '.join(found.passed_over)}")


def _as_one(words: list[str]) -> list[str]:
    """A whole command in one word is cut as a shell would; one with paths of Windows keeps its backslashes."""
    if len(words) != 1 or not any(c.isspace() for c in words[0]):
        return words
    import re
    import shlex

    cutter = shlex.shlex(re.sub(r"[\\^`]\r?\n", " ", words[0]), posix=True, punctuation_chars=False)
    cutter.whitespace_split, cutter.commenters = True, ""
    if re.search(_WINDOWS_PATH, words[0]):
        cutter.escape = ""
    try:
        return list(cutter)
    except ValueError as error:
        raise click.UsageError(f"the pasted command cannot be cut into words: {error}") from None


def expanded(command: click.Command, args: list[str], environment: Mapping[str, str]) -> list[str]:
    """Our own arguments, a pasted command among them put into our words. Raises click.UsageError.

    It stands behind `--`, or is all there is. Where a setting is said twice, ours counts.
    """
    border = "--" in args
    at = args.index("--") if border else 0 if args and program_of(args) else None
    if at is None:
        return args
    typed = _as_one(args[at + 1 :] if border else args)
    found = split_command(typed)
    found = _guessed(found) if found is not None and found.image else found
    if found is None:
        if len(typed) > 1:
            raise click.UsageError(f"behind -- stands no command of an engine that is known: {' '.join(typed)[:80]}")
        return args
    ours, unseen = seen(args[:at], found.variables)
    pasted = _read(found, command, ours, environment)
    if not border:  # what the engine does not have may be meant for us
        ours, _ = _allowed(command, [w for pair in pasted.unknown for w in pair if w])
        pasted = pasted.replace(unknown=tuple(pair for pair in pasted.unknown if pair[0] not in ours))
    taken, refused = _allowed(command, pasted.words)
    _say(pasted.replace(notes=tuple(filter(None, (*pasted.notes, unseen)))), refused)
    model = [] if _named_target(command, ours) or not pasted.target else ["--", pasted.target]
    if not model and not _named_target(command, ours):
        raise click.UsageError(f"{found.program} is given no model: name one before the --")
    return ["-e", pasted.engine, *taken, *ours, *model]


def _read(found: Command, command: click.Command, ours: Sequence[str], environment: Mapping[str, str]) -> Pasted:
    """A command in our words, with the variables that its engine reads."""
    prefix = "OLLAMA_" if found.program == "ollama" else "LLAMA_ARG_"
    variables = {**{k: v for k, v in environment.items() if k.startswith(prefix)}, **found.variables}
    pasted = read_command(found.program, found.words, variables)
    if found.program != "ollama":
        return pasted
    from inspector.cli.pasted.ollama import served

    what = served(pasted.target, ours, variables, target=_named_target(command, ours))
    return pasted.replace(target=what.target, words=what.words, notes=(*pasted.notes, what.said))


def _guessed(found: Command) -> Command | None:
    """An image that is not known, as the one program whose flags it is given; None where that is none, or several."""
    fitting = [p for p in _GUESSED if not any(name for name, _ in read_command(p, found.words, {}).unknown)]
    if len(fitting) != 1:
        return None
    from inspector.cli.outcome import remark

    remark(f"the image {found.image} is not known: by its flags it starts {fitting[0]}")
    return found.replace(program=fitting[0])


class PastingCommand(click.Command):
    """A command that also takes an engine's own command line, after `--`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        import os

        try:
            ours = expanded(self, list(args), os.environ)
        except click.UsageError:
            if not ctx.resilient_parsing:  # a shell asks for completions of what is not typed to its end
                raise
            ours = args[: args.index("--")] if "--" in args else list(args)
        return super().parse_args(ctx, ours)
