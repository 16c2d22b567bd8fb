"""`fit` for people: the first choice and its command, what it takes, then the others by what differs."""

from __future__ import annotations

from inspector.memory.estimate import weakest
from inspector.report.escape import escape
from inspector.report.fit import LEVELS
from inspector.report.look import BOLD, DIM, GREEN, RED, Look
from inspector.report.memory_text import note_lines
from inspector.report.names import device_name, device_names, model_name, with_names
from inspector.report.picture import picture
from inspector.report.text import columns, flow, join, pad, shorten_middle, table, wrap
from inspector.units import format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Final

    from inspector.memory.fit.records import Ask, Choice, Fit, Lack
    from inspector.report.fit import Commands

# columns of the table that may be left out where there is no room, the least missed first
_SPARED: Final = (None, "weights", "up to", "total", "where", "on the host", "cache")
_SPARED_FOR_FLAGS: Final = 3  # how many of these leave their room to the flags at the end of a row
_RIGHT: Final = frozenset({"context", "up to", "weights", "total", "left", "least left"})
_ON_HOST: Final = " on the host"
_TARGETS: Final = frozenset({"-m", "-hf", "-mu", "--hf-file"})  # what the first column says


def fit_lines(
    target: str, found: Fit, ask: Ask, commands: Sequence[Commands], *, look: Look, verbose: bool = False
) -> list[str]:
    """The first choice, its command and its picture, then the others; or by how much nothing fits."""
    lines = _headline(target, found, ask, look)
    if found.choices:
        lines += _first(found, ask, commands[0], look)
        lines += _choices(found, commands, look)
    elif found.lack is not None:
        lines += _lacking(found, found.lack, ask, look)
    if verbose:
        lines += _reasons(found, commands, look)
    gpus = [g.name for g in ask.gpus]
    notes = [x for note in found.notes for x in note_lines(f"note: {with_names(note, gpus)}", look)]
    return [line.rstrip() for line in [*lines, *([""] if notes else []), *notes]]


def _headline(target: str, found: Fit, ask: Ask, look: Look) -> list[str]:
    where = device_names(g.name for g in ask.gpus) or "the CPU"
    wanted = f"{found.n_ctx_asked:,} tokens wanted" if found.n_ctx_asked else ""
    several = f"{found.n_candidates} candidates" if found.n_candidates > 1 else ""
    settings = join([f"{ask.engine} on {where}", wanted, several])
    name, room = model_name(target), look.width - columns(settings) - 3
    if columns(name) <= room or room >= 24:
        return [look.paint(f"{shorten_middle(name, room)} · {settings}", BOLD)]
    rest = flow(settings.split(" · "), width=look.width - 2)
    return [look.paint(shorten_middle(name, look.width), BOLD), *("  " + line for line in rest)]


# --- the first choice


def _first(found: Fit, ask: Ask, commands: Commands, look: Look) -> Iterator[str]:
    choice = found.choices[0]
    words = [_name(found, choice), f"{choice.n_ctx:,} tokens", f"{escape(choice.kv)} cache", _where(choice)]
    first, *rest = flow([*words], width=look.width - 2)
    yield look.paint(f"✔ {first}", f"{BOLD};{GREEN}")
    yield from ("  " + look.paint(line, f"{BOLD};{GREEN}") for line in rest)
    for command in _all_commands(commands) or [commands.memory]:  # one line each, however long: to be copied
        yield f"  {escape(command)}"
    if look.bars:
        yield ""
        yield from picture(choice.estimate, look=look)
    yield ""
    yield from ("  " + line for line in flow(_made_of(found, choice, ask), width=look.width - 2))
    gave = [words for words in choice.gave_way if not words.endswith(_ON_HOST)]  # which stands above
    if gave:
        yield from note_lines(f"gave way: {'; '.join(gave)}", look)


def _name(found: Fit, choice: Choice) -> str:
    name = choice.candidate.stem if found.models else choice.candidate.label
    return escape(name) + (" *" if choice.candidate.hypothetical else "")


def _where(choice: Choice) -> str:
    """Where the model lies: what stays on the host by its number, where that is said."""
    p = choice.placement
    if p.split_mode == "none":
        return f"all on {device_name(p.gpus[p.main_gpu].name)}"
    on_host = [words for words in choice.gave_way if words.endswith("on the host")]
    return escape(", ".join(on_host)) or (LEVELS[choice.level] if p.gpus else "on the CPU")


def _all_commands(commands: Commands) -> list[str]:
    return [c for c in (commands.convert, commands.quantize, commands.engine) if c is not None]


def _made_of(found: Fit, choice: Choice, ask: Ask) -> Iterator[str]:
    """What is left, what may still grow, and the smallest card for it."""
    if choice.headroom:
        yield _left(choice) + (f", beside the {format_nbytes(ask.margin)} kept free" if ask.margin else "")
    host = next((d.used for d in choice.estimate.devices if d.device == "host" and d.capacity is None), 0)
    if host and choice.placement.gpus:
        yield f"host memory {format_nbytes(host)}"
    yield from map(escape, choice.estimate.brief)
    if choice.largest_ctx > choice.n_ctx:
        yield f"context up to {choice.largest_ctx:,}" + (" (trained for no more)" if choice.capped else "")
    yield _smallest(found)


def _left(choice: Choice) -> str:
    rooms = {device_name(d): format_nbytes(n) for d, n in choice.headroom.items()}
    if len(set(rooms.values())) == 1:
        return f"{next(iter(rooms.values()))} left" + (" on each" if len(rooms) > 1 else "")
    fullest = min(choice.headroom, key=lambda d: choice.headroom[d])
    if len(rooms) > 4:
        return f"{rooms[device_name(fullest)]} left on {device_name(fullest)}, more on the others"
    (first, n), *others = rooms.items()
    return ", ".join([f"{n} left on {first}", *(f"{m} on {device}" for device, m in others)])


def _smallest(found: Fit) -> str:
    gpu = found.smallest_gpu
    what = "it" if found.choices else "that"
    if gpu is None:
        return f"no single GPU of the registry holds all of {what}"
    return f"smallest GPU that holds all of {what}: {gpu.name} ({format_nbytes(gpu.capacity)})"


# --- all choices


def _choices(found: Fit, commands: Sequence[Commands], look: Look) -> Iterator[str]:
    """The choices beside each other, in what they differ; in a pipe in everything, with their commands."""
    cells = _cells(found)
    flags = [" ".join(words) for words in _flags(commands)]
    if not look.bars:
        engines = [escape(c.engine or c.memory) for c in commands]
        yield from ["", *_table({**cells, "command": engines})]
    elif len(found.choices) > 1:
        yield from ["", *_beside(_differing(cells), flags, look)]
    yield from _footnote(found.choices, commands, look)


def _cells(found: Fit) -> dict[str, list[str]]:
    choices = found.choices
    several = max(len(c.headroom) for c in choices) > 1
    return {
        "": [str(i) for i in range(1, len(choices) + 1)],
        "model" if found.models else "quant": [_name(found, c) for c in choices],
        "context": [f"{c.n_ctx:,}" for c in choices],
        "up to": [f"{c.largest_ctx:,}" for c in choices],
        "cache": [escape(c.kv) for c in choices],
        **_places(choices),
        "weights": [format_nbytes(c.candidate.nbytes) for c in choices],
        "total": [format_nbytes(c.estimate.total_nbytes) for c in choices],
        "least left" if several else "left": [format_nbytes(min(c.headroom.values(), default=0)) for c in choices],
    }


def _places(choices: Sequence[Choice]) -> dict[str, list[str]]:
    """What of each choice is on the host, where that is all that places differ in; else where all of it is."""
    words = [_where(c) for c in choices]
    if all(w == LEVELS["all"] or w.endswith(_ON_HOST) for w in words):
        return {"on the host": ["–" if w == LEVELS["all"] else w.removesuffix(_ON_HOST) for w in words]}
    return {"where": words}


def _differing(cells: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {name: values for name, values in cells.items() if len(set(values)) > 1}


def _table(cells: Mapping[str, list[str]]) -> list[str]:
    rows = [tuple(cells), *zip(*cells.values(), strict=True)]
    return table(rows, align="".join(">" if name in _RIGHT else "<" for name in cells))


def _beside(cells: dict[str, list[str]], flags: Sequence[str], look: Look) -> Iterator[str]:
    """The table in the width there is, with the flags that differ at the end of each row or below it."""
    longest = max(map(len, flags)) + 2
    ends = [_without(cells, _SPARED[: i + 1]) for i in range(_SPARED_FOR_FLAGS)]
    plain = [_without(cells, _SPARED[: i + 1]) for i in range(len(_SPARED))]
    lines = next((x for x in ends if _width(x) + longest <= look.width), [])
    at_end = bool(lines)
    lines = lines or next((x for x in plain if _width(x) <= look.width), plain[-1])
    taken = _width(lines) + 2
    yield look.paint(lines[0], DIM)
    for line, words in zip(lines[1:], flags, strict=True):
        yield pad(line, taken) + look.paint(words, DIM) if at_end else line
        if words and not at_end:
            yield from ("     " + look.paint(x, DIM) for x in flow(_groups(words), width=look.width - 5, sep=" "))


def _without(cells: Mapping[str, list[str]], names: Sequence[str | None]) -> list[str]:
    return _table({name: values for name, values in cells.items() if name not in names})


def _width(lines: Sequence[str]) -> int:
    return max(map(columns, lines))


def _groups(command: str) -> list[str]:
    """A command line's options, each with its values; without the program and the model."""
    groups: list[str] = []
    for word in command.split(" "):
        if word.startswith("-") and not word[1:2].isdigit():
            groups.append(word)
        elif groups:
            groups[-1] += f" {word}"
    return [g for g in groups if g.partition(" ")[0] not in _TARGETS]


def _flags(commands: Sequence[Commands]) -> list[list[str]]:
    """Of each engine's command the options that not all of them have."""
    all_groups = [_groups(c.engine or "") for c in commands]
    shared = set(all_groups[0]).intersection(*all_groups)
    return [[escape(g) for g in groups if g not in shared] for groups in all_groups]


def _footnote(choices: Sequence[Choice], commands: Sequence[Commands], look: Look) -> Iterable[str]:
    made = [c.candidate for c in choices if c.candidate.hypothetical]
    if not made:
        return
    grade = weakest(c.facts.prediction.grade for c in made if c.facts.prediction is not None)
    programs, of = "llama-quantize", ""
    if any(c.source for c in made):
        programs = "convert_hf_to_gguf.py and llama-quantize"
    elif any("--allow-requantize" in (command.quantize or "") for command in commands):
        of = " of this file; of the original weights it is better"
    words = f"* not there yet: predicted ({grade}) as {programs} would make it{of}"
    yield from ("  " + line for line in wrap(words, width=look.width - 2, indent="  "))


# --- nothing fits; and why


def _lacking(found: Fit, lack: Lack, ask: Ask, look: Look) -> Iterator[str]:
    yield look.paint("✘ nothing fits", f"{BOLD};{RED}")
    where = LEVELS[lack.level] if ask.gpus else "on the CPU"
    closest = [escape(lack.candidate.label), f"{lack.n_ctx:,} tokens", f"{escape(lack.kv)} cache", where]
    first, *rest = flow(closest, width=look.width - 11)
    yield f"  closest: {first}"
    yield from (f"           {line}" for line in rest)
    missing = [f"{device_name(device)}: {format_nbytes(n)} missing" for device, n in lack.missing.items()]
    items = [*(missing or ["the engine refuses these settings"]), *_kept_free(ask), _smallest(found)]
    yield from ("  " + line for line in flow(items, width=look.width - 2))


def _kept_free(ask: Ask) -> Iterator[str]:
    if ask.margin:
        yield f"{format_nbytes(ask.margin)} of {'each' if ask.gpus else 'the host'} kept free"


def _reasons(found: Fit, commands: Sequence[Commands], look: Look) -> Iterator[str]:
    """What came before what; of each choice what gave way, its commands, and the one that prints its lines."""
    yield ""
    yield from note_lines("in this order: " + " > ".join(found.order), look)
    for i, (choice, words) in enumerate(zip(found.choices, commands, strict=True), 1):
        gave = "; ".join(choice.gave_way)
        yield ""
        yield from note_lines(f"{i}  " + (f"gave way: {gave}" if gave else "nothing gave way"), look)
        for command in (*_all_commands(words), words.memory):
            yield f"     {escape(command)}"
