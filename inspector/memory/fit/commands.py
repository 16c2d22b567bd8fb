"""Choices as command lines: the engine's own, ready to paste, and `inspector memory`'s, which gives the same total."""

from __future__ import annotations

import shlex

from inspector.memory.engines import engine_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.memory.fit.records import Choice


def engine_command(choice: Choice) -> str | None:
    """What to type to run this choice; None for engines that have no command line."""
    words = engine_of(choice.estimate.engine).command(choice)
    return None if words is None else shlex.join(words)


def quantize_command(choice: Choice, base: str, *, requantize: bool) -> str | None:
    """How to make the file of a choice that does not exist yet; None where it does, or where nothing makes it."""
    c, program = choice.candidate, engine_of(choice.estimate.engine).quantizer
    if not c.hypothetical or not program:
        return None
    return shlex.join([program, *(["--allow-requantize"] if requantize else []), base, c.path, c.label])


def memory_command(choice: Choice, target: str, gpus: Sequence[str], *, backend: str | None = None) -> str | None:
    """`inspector memory` with the same settings; None where no file of this form exists.

    `backend`: the one that was asked for by name, in place of each GPU's own.
    """
    if choice.candidate.hypothetical:
        return None
    words = ["inspector", "memory", target, *engine_of(choice.estimate.engine).memory_words(choice)]
    for gpu in gpus:
        words += ["--gpu", gpu]
    words += ["--backend", backend] if backend else []
    return shlex.join(words)
