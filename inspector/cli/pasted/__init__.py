"""A pasted command of llama.cpp, vLLM or mlx-lm, after `--`, read as the same question in our own options."""

from __future__ import annotations

import click

from inspector.cli.pasted.records import Flag, Pasted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import ModuleType
    from typing import Final

# words that run another command: what follows their own options is the command
_RUNNERS: Final = ("&", "sudo", "env", "nohup", "time", "numactl", "nice", "exec", "uv", "uvx")
_LLAMA: Final = ("llama-server", "llama-cli", "llama-mtmd-cli", "llama-completion")
_MLX: Final = ("mlx_lm.generate", "mlx_lm.server", "mlx_lm.chat")
_MLX_VERBS: Final = ("generate", "server", "chat")  # `mlx_lm generate` is mlx_lm.generate
_CONTAINERS: Final = ("docker", "podman")
_IMAGES: Final = {"llama.cpp": "llama-server", "vllm-openai": "vllm"}
_WHERE: Final = ("target", "repo", "file", "revision")  # what names the model
_NO_PROJECTOR: Final = {"--no-mmproj", "--no-mmproj-auto"}
# a drive or a share at the start of a word, or a program by its full name
_WINDOWS_PATH: Final = r"""(?:^|[\s"'=])(?:[A-Za-z]:\\|\\\\\w)|\.exe(?:["'\s]|$)"""
_VLLM_MODULE: Final = "vllm.entrypoints.openai.api_server"


def _base(word: str) -> str:
    return word.replace("\\", "/").rpartition("/")[2].removesuffix(".exe").removesuffix(".EXE")


def _program(words: Sequence[str]) -> str:
    """The program that a command starts with, "" for another; `llama serve` is llama-server."""
    name = _base(words[0])
    if name == "llama" and words[1:2] == ["serve"]:
        return "llama-server"
    if name == "mlx_lm" and words[1:2] and words[1] in _MLX_VERBS:
        return f"{name}.{words[1]}"
    return name if name in _LLAMA or name in _MLX or name in {"vllm", _VLLM_MODULE} else ""


def _is_setting(word: str) -> bool:
    name, equals, _ = word.partition("=")
    return bool(equals) and name.isidentifier()


def _image(word: str) -> str:
    """The program that a container image runs, "" for an image that is not known."""
    return next((program for part, program in _IMAGES.items() if part in word and not word.startswith("-")), "")


def split_command(words: Sequence[str]) -> tuple[str, list[str], dict[str, str]] | None:
    """(program, its arguments, variables set before it); None when no program of ours is run.

    Looks through `NAME=value`, sudo, env, docker and the like.
    """
    first = next((_base(w) for w in words if not _is_setting(w)), "")
    if first in _CONTAINERS:
        return _in_container(words)
    wrapped = first in _RUNNERS or first.startswith("python")
    for i, word in enumerate(words):
        if program := _program(words[i:]):
            settings = dict(w.split("=", 1) for w in words[:i] if _is_setting(w))
            return program, list(words[i + 1 :]), settings
        if not wrapped and not _is_setting(word):
            return None
    return None


def _in_container(words: Sequence[str]) -> tuple[str, list[str], dict[str, str]] | None:
    """What an image of llama.cpp or vLLM is started with, and the variables of its `-e`."""
    for i, word in enumerate(words):
        if program := _image(word):
            given = [w.removeprefix("--env=") for w in words[:i]]
            return program, list(words[i + 1 :]), dict(w.split("=", 1) for w in given if _is_setting(w))
    return None


def _module(program: str) -> ModuleType:
    from importlib import import_module

    return import_module(f"{__name__}.{_engine(program).replace('.', '')}")


def _engine(program: str) -> str:
    """Our name of the engine that a program belongs to."""
    return "vllm" if "vllm" in program else "mlx" if program in _MLX else "llama.cpp"


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


def read_command(program: str, words: Sequence[str], variables: Mapping[str, str]) -> Pasted:
    """A command's settings in our words."""
    module, engine = _module(program), _engine(program)
    is_vllm, is_llama = engine == "vllm", engine == "llama.cpp"
    words = words[1:] if words[:1] and words[0] in {"serve", *(_MLX_VERBS if engine == "mlx" else ())} else words
    where: dict[str, str] = {}
    said: list[str] = module.defaults(program) if is_llama else []
    left: dict[bool, dict[str, None]] = {True: {}, False: {}}
    unknown: list[tuple[str, str]] = []
    for flag, name, value in flags_in(module.FLAGS, [*_from_variables(module.FLAGS, variables), *words]):
        if flag is None and not name and is_vllm and "target" not in where:
            where["target"] = value
        elif flag is None:
            unknown.append((name, value) if name else (value, ""))
        elif flag.ours in _WHERE:
            where[flag.ours] = value
        elif flag.ours:
            said += module.in_our_words(flag, name, value)
        else:
            left[flag.bears][name] = None
    without = [name for name in left[True] if name in _NO_PROJECTOR]
    for name in without:
        left[False][name] = left[True].pop(name)
    if "repo" in where and "--mmproj" not in said and not without and is_llama:
        left[True]["--mmproj-auto (the repository's projector, if it has one)"] = None
    return Pasted(engine, _target(where), tuple(said), tuple(left[False]), tuple(left[True]), tuple(unknown))


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


def _names_target(command: click.Command, words: Sequence[str]) -> bool:
    """Whether there is a word that is no option and no option's value."""
    flags = {
        n for p in command.params if isinstance(p, click.Option) and p.is_flag for n in (*p.opts, *p.secondary_opts)
    }
    last = ""
    for word in words:
        if not _is_option(word) and (not last or last in flags or "=" in last):
            return True
        last = word if _is_option(word) else ""
    return False


def _is_option(word: str) -> bool:
    return word.startswith("-") and not word[1:2].isdigit()


def _say(found: Pasted, refused: Sequence[str]) -> None:
    from inspector.cli.outcome import remark

    uncounted = dict.fromkeys((*found.uncounted, *(w for w in refused if w != "--server")))
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
    at = args.index("--") if border else 0 if args and _program(args) else None
    if at is None:
        return args
    found = split_command(_as_one(args[at + 1 :] if border else args))
    if found is None:
        return args
    program, words, variables = found
    named = {k: v for k, v in environment.items() if k.startswith("LLAMA_ARG_")}
    pasted, ours = read_command(program, words, {**named, **variables}), args[:at]
    if not border:  # what the engine does not have may be meant for us
        ours, _ = _allowed(command, [w for pair in pasted.unknown for w in pair if w])
        pasted = pasted.replace(unknown=tuple(pair for pair in pasted.unknown if pair[0] not in ours))
    taken, refused = _allowed(command, pasted.words)
    _say(pasted, refused)
    model = [] if _names_target(command, ours) or not pasted.target else ["--", pasted.target]
    return ["-e", pasted.engine, *taken, *ours, *model]


class PastingCommand(click.Command):
    """A command that also takes an engine's own command line, after `--`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        import os

        return super().parse_args(ctx, expanded(self, list(args), os.environ))
