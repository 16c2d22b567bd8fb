"""The tables of loaders.txt: what llama.cpp b11434 reads and creates for each architecture, ready to be followed.

A section is lines in a notation with Python's expressions; its verbs (`get_key`, `T`, `refuse`, …) are bound to one
file by loading.py. Only the sections that one architecture needs are made ready. scripts/read_loaders.py writes the
file from the engine's source.
"""

from __future__ import annotations

import os

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import CodeType
    from typing import Any, Final, TypeVar

    T = TypeVar("T")

_TABLES: Final = os.path.join(os.path.dirname(__file__), "loaders.txt")


def _once(make: Callable[..., T]) -> Callable[..., T]:
    """What a function gave for the same arguments before; functools would cost a plain look at a file more."""
    kept: dict[tuple[Any, ...], T] = {}

    def get(*args: Any) -> T:
        if args not in kept:
            kept[args] = make(*args)
        return kept[args]

    return get


class Loader(Record):
    """Whose tables an architecture uses: its keys', and its tensors'."""

    keys: str
    tensors: str


@_once
def sections() -> Mapping[str, str]:
    """All sections by heading ("llama tensors", "* archs")."""
    with open(_TABLES, encoding="utf-8") as file:
        parts = file.read().split("\n== ")[1:]
    return {head: body for head, _, body in (part.partition("\n") for part in parts)}


@_once
def loaders() -> Mapping[str, Loader]:
    """Which tables each architecture uses, by the name that `general.architecture` gives."""
    rows = (line.split() for line in sections()["* archs"].splitlines())
    return {row[0]: Loader(*row[1:]) for row in rows if len(row) == 3}


@_once
def names_without_loaders() -> frozenset[str]:
    """Architectures that the engine has a name for, and no code."""
    return frozenset(line for line in sections()["* archs"].splitlines() if line and " " not in line)


@_once
def pre_tokenizers() -> frozenset[str]:
    """The names that `tokenizer.ggml.pre` may have."""
    return frozenset(sections()["* pre-tokenizers"].splitlines())


@_once
def code_of(heading: str) -> CodeType:
    """One section as a function `section`, compiled. Raises KeyError where there is no such section."""
    name, _, part = heading.partition(" ")
    args = part[part.index("(") :] if "(" in part else "()"
    lines = ["pass", *sections()[heading].splitlines()]
    source = f"def section{args}:\n" + "\n".join("  " + line for line in lines) + "\n"
    return compile(source, f"<loaders.txt: {name} {part}>", "exec")
