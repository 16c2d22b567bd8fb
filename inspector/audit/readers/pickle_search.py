"""Bytes that are not followed instruction by instruction, searched for the instructions that attacks use."""

from __future__ import annotations

import re

from inspector.audit.readers.pickle_values import Global

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

_MODULES: Final = (
    rb"os|posix|nt|subprocess|builtins|__builtin__|sys|runpy|importlib|socket|pty|shutil|ctypes|_pickle|pickle|"
    rb"webbrowser|code|torch\.hub|commands|timeit|bdb|pdb|marshal|requests|urllib"
)
_TEXT: Final = rb"(?:\x8c.|X.\0\0\0|U.|[SV]['\"]?)"
_NAME: Final = rb"[A-Za-z_]\w{0,59}(?:\.\w{1,40}){0,4}"
# Instructions that name a module of attacks: GLOBAL and INST by line; two texts and STACK_GLOBAL.
_RAW: Final = re.compile(
    # a list of words has lines like these ("ios", "cos"): what follows must be an instruction, not one more word,
    # if need be behind more imports
    rb"[ci](?P<line>(?:" + _MODULES + rb")(?:\.\w{1,40}){0,4})\n(?P<attr>" + _NAME + rb")\n"
    rb"(?=(?:[ci][\w.]{1,80}\n" + _NAME + rb"\n){0,30}(?![a-zA-UW-Z][A-Za-z]|[\s#<]|$))|"
    + _TEXT + rb"(?P<text>(?:" + _MODULES + rb")(?:\.\w{1,40}){0,4})(?!\w)[^\w]{0,8}?"
    + _TEXT + rb"(?P<name>\w{1,60})['\"]?[^\w]{0,8}?(?:[qrp].{0,4}?)?\x93",
    re.DOTALL,
)  # fmt: skip
# The same up to the module, one first byte each: such patterns are searched for many times as fast. Before each what
# must stand somewhere behind.
_LEADS: Final = tuple(
    (then, re.compile(first + rb"(?:" + _MODULES + rb")" + last, re.DOTALL))
    for then, first, last in (
        (b"\n", rb"c", rb"[.\n]"), (b"\n", rb"i", rb"[.\n]"), (b"\x93", rb"\x8c.", rb""), (b"\x93", rb"X.\0\0\0", rb""),
        (b"\x93", rb"U.", rb""), (b"\x93", rb"S['\"]?", rb""), (b"\x93", rb"V['\"]?", rb""),
    )
)  # fmt: skip
# A pickle of protocol 2 to 5 inside something else, by what picklers and attackers write first.
_START: Final = re.compile(rb"\x80[\1-\5](?:\x95.{6}\0\0|[](}c)NKXUMJGC\x8c\x8f\x8a\x88\x89B(])", re.DOTALL)


def danger_in(raw: bytes) -> dict[tuple[str, str], Global]:
    """Imports of modules that attacks use, wherever in these bytes instructions for them stand."""
    found: dict[tuple[str, str], Global] = {}
    for then, lead in _LEADS:
        for begun in lead.finditer(raw) if then in raw else ():
            match = _RAW.match(raw, begun.start())
            if match is None:
                continue
            module, name = match["line"] or match["text"], match["attr"] or match["name"]
            key = (module.decode("utf-8", "replace"), name.decode("utf-8", "replace"))
            found.setdefault(key, Global(*key, match.start(), called=True))
    return found


def starts_pickle(raw: bytes) -> bool:
    """Whether bytes begin as a pickle of protocol 1 to 5 does."""
    return _START.match(raw) is not None


def pickle_starts(raw: bytes) -> Iterator[int]:
    """Where in these bytes a pickle may begin."""
    return (match.start() for match in _START.finditer(raw))
