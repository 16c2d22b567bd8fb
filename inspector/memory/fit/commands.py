"""Choices as command lines: the engine's own, ready to paste, and `inspector memory`'s, which gives the same total."""

from __future__ import annotations

import os

from inspector.dtypes import DTYPES
from inspector.memory.engines import engine_of
from inspector.memory.predicted import needs_imatrix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from inspector.memory.fit.records import Choice

# What neither cmd.exe nor PowerShell takes for more than a letter; a comma makes two words of one in PowerShell.
_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.+=:/\\")


def shell_line(words: Sequence[str], *, windows: bool | None = None) -> str:
    """Words as one line to paste into a shell of this system; `windows`: into cmd.exe or PowerShell, or into sh."""
    if not (os.name == "nt" if windows is None else windows):
        import shlex

        return shlex.join(words)
    return " ".join(word if word and _PLAIN.issuperset(word) else _double_quoted(word) for word in words)


def _double_quoted(word: str) -> str:
    """A word as programs of Windows cut it off their own line: `\\` counts double before a quote."""
    import re

    doubled = re.sub(r'(\\*)("|$)', lambda m: m[1] * 2 + ("\\" if m[2] else "") + m[2], word)
    return f'"{doubled}"'


def engine_command(choice: Choice) -> str | None:
    """What to type to run this choice; None for engines that have no command line."""
    words = engine_of(choice.estimate.engine).command(choice)
    return None if words is None else shell_line(words)


def convert_command(choice: Choice) -> str | None:
    """How to make the first GGUF of a checkpoint; None where there is one, and for a config without its weights."""
    c = choice.candidate.base or choice.candidate
    program = engine_of(choice.estimate.engine).converter
    if not c.source or not program or c.source.endswith(".json"):
        return None
    where = [c.source] if os.path.exists(c.source) else ["--remote", c.source.partition("@")[0]]
    return shell_line([program, *where, "--outtype", c.label.lower(), "--outfile", c.path])


def quantize_command(choice: Choice) -> str | None:
    """How to make the file of a choice that does not exist yet; None where it does, or where nothing makes it."""
    c, program = choice.candidate, engine_of(choice.estimate.engine).quantizer
    if c.base is None or not program:
        return None
    words = [program]
    words += [] if c.base.label in DTYPES and not DTYPES[c.base.label].is_block_quantized else ["--allow-requantize"]
    words += ["--imatrix", "imatrix.gguf"] if needs_imatrix(c.label) else []
    return shell_line([*words, c.base.path, c.path, c.label])


def memory_command(choice: Choice, gpus: Sequence[str], *, backend: str | None = None) -> str:
    """`inspector memory` with the same settings, of the file or of that which it would be made of.

    `backend`: the one that was asked for by name, in place of each GPU's own.
    """
    c = choice.candidate
    words = ["inspector", "memory", c.source or (c.base.path if c.base else c.path or c.hub)]
    words += engine_of(choice.estimate.engine).memory_words(choice)
    words += ["--quant", c.label] if c.hypothetical else []
    for gpu in gpus:
        words += ["--gpu", gpu]
    words += ["--backend", backend] if backend else []
    return shell_line(words)
