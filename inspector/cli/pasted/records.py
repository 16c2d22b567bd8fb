"""A flag of an engine's own command line, and a pasted command as it is read."""

from __future__ import annotations

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Flag(Record):
    """One flag. `names`: all its spellings; `off`: those that say no; `takes`: "", "one", "maybe" or "many" values.

    `env`: the environment variable that sets it. `ours`: the option of ours that means the same, "" for none.
    `bears`: whether memory depends on it.
    """

    names: tuple[str, ...]
    off: tuple[str, ...]
    takes: str
    env: str
    ours: str
    bears: bool


class Pasted(Record):
    """What a pasted command says in our words.

    `engine`: our name of it; `target`: the model, "" where the command names none; `words`: options of ours, in order;
    `passed_over`: flags that no memory depends on; `uncounted`: flags that memory depends on and that we do not count;
    `unknown`: (word, its value) of what the engine does not have; `notes`: words about how it was read.
    """

    engine: str
    target: str
    words: tuple[str, ...]
    passed_over: tuple[str, ...] = ()
    uncounted: tuple[str, ...] = ()
    unknown: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


_TAKES = {"=": "one", "=?": "maybe", "=*": "many"}


def _flag(line: str, *, bears: bool) -> Flag:
    left, _, ours = line.partition(" -> ")
    names, off, env, takes = [], [], "", ""
    for word in left.split():
        name, equals, rest = word.removeprefix("!").partition("=")
        if not name.startswith("-"):
            env = name
            continue
        names.append(name)
        off += [name] if word.startswith("!") else []
        takes = _TAKES[equals + rest] if equals else takes
    return Flag(tuple(names), tuple(off), takes, env, ours.strip(), bears)


def flags_of(*, taken: str, uncounted: str, harmless: str) -> Mapping[str, Flag]:
    """Flags by each of their names, from tables of one flag a line.

    A line: its names (with `!`: those that say no), `=` where it takes a value (`=?`: it may, `=*`: several), its
    environment variable, and ` -> ` the option of ours.
    """
    found: dict[str, Flag] = {}
    for text, bears in ((taken, True), (uncounted, True), (harmless, False)):
        for line in text.strip().splitlines():
            flag = _flag(line, bears=bears)
            found |= dict.fromkeys(flag.names, flag)
    return found
