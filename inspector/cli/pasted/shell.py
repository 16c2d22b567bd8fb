"""A pasted line of a shell taken apart: which program of an engine runs in it, with which arguments and variables.

Looked through: `NAME=value`, `export`, sudo, env, taskset and the like, `cd … &&`, redirections, containers.
"""

from __future__ import annotations

import re

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Final

# words that run another command: what follows their own options is the command
# fmt: off
_RUNNERS: Final = frozenset((
    "&", "sudo", "doas", "env", "nohup", "time", "numactl", "taskset", "nice", "ionice", "chrt", "stdbuf", "setsid",
    "timeout", "exec", "uv", "uvx", "caffeinate",
))
# flags of `docker run` that take no value (docker and podman run --help); letters may stand together: -it
_SWITCHES: Final = frozenset((
    "--detach", "--interactive", "--tty", "--rm", "--privileged", "--init", "--read-only", "--no-healthcheck",
    "--oom-kill-disable", "--publish-all", "--quiet", "--sig-proxy", "--replace", "--tls-verify",
    "--disable-content-trust", "--no-hosts",
))
# fmt: on
_SETTERS: Final = frozenset(("export", "set", "setx"))
_LLAMA: Final = ("llama-server", "llama-cli", "llama-mtmd-cli", "llama-completion", "llama-bench")
_MLX: Final = ("mlx_lm.generate", "mlx_lm.server", "mlx_lm.chat")
_MLX_VERBS: Final = ("generate", "server", "chat")  # `mlx_lm generate` is mlx_lm.generate
_VLLM_MODULE: Final = "vllm.entrypoints.openai.api_server"
_NAMED: Final = frozenset((*_LLAMA, *_MLX, "vllm", _VLLM_MODULE, "sglang.launch_server"))
_CONTAINERS: Final = frozenset(("docker", "podman", "nerdctl"))
# a part of an image's name: the program that it starts ("": what its first argument says)
_IMAGES: Final = {"llama.cpp": "llama-server", "vllm-openai": "vllm", "ollama/ollama": "ollama"}
# what the script of llama.cpp's full image starts (.devops/tools.sh)
_TOOLS: Final = {
    "--server": "llama-server", "-s": "llama-server", "--run": "llama-cli", "-r": "llama-cli",
    "--bench": "llama-bench", "-b": "llama-bench",
}  # fmt: skip
_LETTERS: Final = frozenset("ditPq")
_OPERATORS: Final = frozenset(("&&", "||", "|", ";", "&", "|&"))
_REDIRECTION: Final = re.compile(r"(?:\d|&)?(?:>>|>\||>|<)(&?\d|&-|.*)")


class Command(Record):
    """What a line runs. `image`: of a container whose image is not known, and so its program ("")."""

    program: str
    words: tuple[str, ...]
    variables: dict[str, str]
    image: str = ""


def base(word: str) -> str:
    """A program's name without its folder and suffix."""
    return word.replace("\\", "/").rpartition("/")[2].removesuffix(".exe").removesuffix(".EXE")


def program_of(words: Sequence[str]) -> str:
    """The program that a command starts with, "" for another; `llama serve` is llama-server."""
    name, verb = base(words[0]), words[1] if len(words) > 1 else ""
    if name == "llama" and verb == "serve":
        return "llama-server"
    if name == "mlx_lm" and verb in _MLX_VERBS:
        return f"{name}.{verb}"
    if (name, verb) == ("sglang", "serve") or (name == "ollama" and verb in {"run", "serve"}):
        return name
    return name if name in _NAMED else ""


def _is_setting(word: str) -> bool:
    name, equals, _ = word.partition("=")
    return bool(equals) and name.isidentifier()


def _settings(words: Sequence[str]) -> dict[str, str]:
    return {name: value for w in words if _is_setting(w) for name, value in [w.split("=", 1)]}


def _commands(words: Sequence[str]) -> Iterator[list[str]]:
    """The commands of a line, cut at `&&`, `;`, `|` and `&`, without redirections."""
    found: list[str] = []
    rest = list(words)
    first = True
    while rest:
        word = rest.pop(0)
        if first and word == "&":  # PowerShell's way to call a quoted program
            continue
        first = False
        redirection = _REDIRECTION.fullmatch(word)
        if redirection is not None:
            if not redirection[1] and rest:
                rest.pop(0)
            continue
        ends = word.endswith(";") and len(word) > 1
        if word not in _OPERATORS:
            found.append(word.removesuffix(";") if ends else word)
        if word in _OPERATORS or ends:
            yield found
            found = []
    yield found


def split_command(words: Sequence[str]) -> Command | None:
    """The first command of a line that runs a program of ours; None where none does."""
    before: dict[str, str] = {}
    for command in _commands(words):
        found = _found(command) if command else None
        if found is not None:
            return found.replace(variables={**before, **found.variables})
        if command and (base(command[0]) in _SETTERS or all(map(_is_setting, command))):
            before |= _settings(command)
    return None


def _found(words: Sequence[str]) -> Command | None:
    """The program of one command, behind settings and words that run another."""
    first = next((base(w) for w in words if not _is_setting(w)), "")
    wrapped = first in _RUNNERS or first.startswith("python")
    for i, word in enumerate(words):
        if base(word) in _CONTAINERS and not word.startswith("-"):
            return _in_container(words[i:])
        if program := program_of(words[i:]):
            return Command(program, tuple(words[i + 1 :]), _settings(words[:i]))
        if not wrapped and not _is_setting(word):
            return None
    return None


def _after_options(words: Sequence[str]) -> int:
    """The place of the image behind the options of `docker run`."""
    i = 0
    while i < len(words) and words[i].startswith("-"):
        word = words[i]
        letters = not word.startswith("--") and _LETTERS.issuperset(word[1:])
        i += 1 if word in _SWITCHES or letters or "=" in word else 2
    return i


def _value_of(options: Sequence[str], name: str) -> str:
    for i, word in enumerate(options):
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
        if word == name and i + 1 < len(options):
            return options[i + 1]
    return ""


def _in_container(words: Sequence[str]) -> Command | None:
    """What `docker run … IMAGE …` starts: a program by its name, else what the image is known to start."""
    verb = next((i for i, w in enumerate(words) if w in {"run", "create"}), None)
    if verb is None:
        return None
    words = words[verb + 1 :]
    at = _after_options(words)
    options, image, rest = words[:at], words[at] if at < len(words) else "", list(words[at + 1 :])
    variables = _settings([w.removeprefix("--env=").removeprefix("-e=") for w in options])
    variables |= _cards(_value_of(options, "--gpus"))
    entry = _value_of(options, "--entrypoint")
    inner = _found([entry, *rest] if entry else rest) if entry or rest else None
    if inner is not None:
        return inner.replace(variables={**variables, **inner.variables})
    program = next((program for part, program in _IMAGES.items() if part in image), "")
    if program == "llama-server":
        program, rest = _of_llama_image(image, rest)
    if not image or (not program and not any(w.startswith("-") for w in rest)):
        return None
    return Command(program, tuple(rest), variables, "" if program else image)


def _of_llama_image(image: str, rest: list[str]) -> tuple[str, list[str]]:
    tag = image.rpartition(":")[2]
    if tag.startswith("full") and rest and rest[0] in _TOOLS:
        return _TOOLS[rest[0]], rest[1:]
    return ("llama-cli" if tag.startswith("light") else "llama-server"), rest


def _cards(gpus: str) -> dict[str, str]:
    """`docker run --gpus` as the variable that it sets: all of them, the first few, or those of these numbers."""
    asked = gpus.strip("\"'")
    if asked.isdigit():
        return {"NVIDIA_VISIBLE_DEVICES": ",".join(map(str, range(min(int(asked), 64))))}
    return {"NVIDIA_VISIBLE_DEVICES": asked.partition("device=")[2]} if "device=" in asked else {}
