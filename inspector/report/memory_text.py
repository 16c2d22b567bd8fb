"""`memory` for people: the answer first, then a picture of it, then what it is made of; in a pipe one plain table."""

from __future__ import annotations

from inspector.memory.estimate import weakest
from inspector.record import Record
from inspector.report.escape import escape
from inspector.report.look import BOLD, COLORS, DIM, GREEN, RED, YELLOW, Look, Segment, bar, gauge
from inspector.report.memory import WORDS, display_nbytes
from inspector.report.names import device_name, device_names, model_name, with_names
from inspector.report.text import columns, flow, join, pad, shorten_middle, table, wrap
from inspector.units import format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any, Final

    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Device, Estimate, Line
    from inspector.memory.longest import Longest

_LONGEST_BAR: Final = 48  # columns; more says no more
_SHORTEST_BAR: Final = 8
_GRADE: Final = 10  # columns of the longest grade and its gap
_FEW_BYTES: Final = 10  # a host that holds less than a tenth of all is told in a word
_MARKS: Final = {True: ("✔", GREEN), False: ("✘", RED), None: ("?", YELLOW)}


# --- what is asked, and the answer


def headline(target: str, estimate: Estimate, *, width: int) -> list[str]:
    """Model · engine · context · cache, on one line where they have room."""
    e = estimate.effective
    n_ctx, n_seqs = e.get("n_ctx", e.get("max_model_len")), e.get("n_seqs", estimate.workload.n_seqs)
    settings = join(
        [
            escape(str(e.get("quant") or "")),
            estimate.engine,
            f"{n_ctx:,} tokens" if isinstance(n_ctx, int) else "",
            f"{n_seqs} sequences" if isinstance(n_seqs, int) and n_seqs > 1 else "",
            _cache_type(estimate),
        ]
    )
    name, room = model_name(target), width - columns(settings) - 3
    if columns(name) <= room or room >= 24:
        return [f"{shorten_middle(name, room)} · {settings}"]
    return [shorten_middle(name, width), *("  " + x for x in flow(settings.split(" · "), width=width - 2))]


def _cache_type(estimate: Estimate) -> str:
    """The type of what is cached, of keys and values where they differ."""
    e, w = estimate.effective, estimate.workload
    if not any(line.what == "kv_cache" for line in estimate.lines):
        return ""
    k, v = e.get("type_k", w.kv_dtype_k), e.get("type_v", w.kv_dtype_v)
    if not k:
        k = v = next((x for x in (e.get("kv_cache_dtype"), e.get("dtype")) if x and x != "auto"), "")
    return escape(str(k) if k == v or not v else f"K {k}, V {v}") + (" cache" if k else "")


def verdict(estimate: Estimate, *, look: Look) -> list[str]:
    """Whether it fits, what of the devices it takes, and what is left; without devices, the total."""
    devices = [d for d in estimate.devices if d.capacity is not None]
    if not devices:
        where = " in host memory" if {d.device for d in estimate.devices} == {"host"} else " in all"
        total = _bounded("≥", estimate, estimate.total_nbytes)
        return [look.paint(total, BOLD) + where]
    mark, style = _MARKS[estimate.fits]
    words = {True: "fits", False: "does not fit", None: "may fit"}[estimate.fits]
    first = look.paint(f"{mark} {words} {device_names(d.device for d in devices)}", f"{BOLD};{style}")
    first, *rest = flow([first, *_figures(estimate, devices)], width=look.width - 2, sep="   ")
    return [first, *("  " + line for line in rest)]


def _figures(estimate: Estimate, devices: Sequence[Device]) -> Iterator[str]:
    used, usable = sum(d.used for d in devices), sum(d.usable or 0 for d in devices)
    unit = format_nbytes(usable).rpartition(" ")[2]
    yield f"{_bounded('≥', estimate, used).removesuffix(f' {unit}')} of {format_nbytes(usable)} usable"
    over = [d for d in devices if (d.spare or 0) < 0]
    for d in over:
        where = f", {device_name(d.device)}" if len(devices) > 1 else ""
        yield f"{format_nbytes(-(d.spare or 0))} too much{where}"
    if not over:
        fullest = min(devices, key=lambda d: d.spare or 0)
        alike = len({d.spare for d in devices}) == 1
        where = "" if len(devices) == 1 else " on each" if alike else f" on {device_name(fullest.device)}"
        bound = "≤ " if estimate.unknown else ""
        yield f"{bound}{format_nbytes(fullest.spare or 0)} spare{where}"


def _bounded(sign: str, estimate: Estimate, nbytes: int) -> str:
    """Bytes of which some are not known, or about right, or as they are."""
    if estimate.unknown:
        return f"{sign} {format_nbytes(nbytes)}"
    modelled = any(line.grade == "modelled" and line.nbytes for line in estimate.lines)
    return display_nbytes(nbytes, "modelled" if modelled else "")


# --- the picture


class Part(Record):
    """All lines of one kind on some devices. `peak`: what storage holds for a moment, where nothing is held at load."""

    what: str
    nbytes: int
    grade: str
    peak: int


class Group(Record):
    """Devices that hold the same: one of them, and how many there are."""

    device: Device
    parts: tuple[Part, ...]
    n: int = 1

    @property
    def name(self) -> str:
        """Its device's; of several alike, what they are."""
        plain = device_name(self.device.device)
        return plain if self.n == 1 else f"each {plain.partition(' #')[0]}"


def parts_of(lines: Iterable[Line]) -> tuple[Part, ...]:
    """One part a kind of line, largest first."""
    kinds: dict[str, list[Line]] = {}
    for line in lines:
        kinds.setdefault(line.what, []).append(line)
    found = []
    for what, some in kinds.items():
        grade = weakest(x.grade for x in some)
        found.append(Part(what, sum(x.nbytes for x in some), grade, sum(x.peak_nbytes or 0 for x in some)))
    return tuple(sorted(found, key=lambda p: -p.nbytes))


def groups_of(estimate: Estimate) -> list[Group]:
    """The devices of a known size, those in a row that hold the same as one."""
    found: list[Group] = []
    for d in estimate.devices:
        if d.capacity is None:
            continue
        names = {d.device, "host"} if d.unified else {d.device}
        parts = parts_of(line for line in estimate.lines if line.device in names)
        last = found[-1] if found else None
        if last and (last.parts, last.device.replace(device="")) == (parts, d.replace(device="")):
            found[-1] = last.replace(n=last.n + 1)
        else:
            found.append(Group(d, parts))
    return found


def picture(estimate: Estimate, *, look: Look) -> list[str]:
    """Bars: of a device and its parts on one scale; of several devices one each; of the total's parts without any."""
    groups = groups_of(estimate)
    if len(groups) == 1:
        return _one_device(groups[0], look)
    if groups:
        return [line for group in groups for line in _device_of_several(group, groups, look)]
    return _total(estimate, look)


def _segments(parts: Sequence[Part]) -> list[Segment]:
    return [Segment(p.nbytes, COLORS.get(p.what, "")) for p in parts]


def _size(part: Part) -> str:
    if not part.nbytes and part.peak:  # nothing at load
        return f"up to {format_nbytes(part.peak)}"
    return display_nbytes(part.nbytes, part.grade)


def _share(part: int, whole: int) -> str:
    """In whole percents: 100 only where nothing is left, more than 100 wherever something is missing."""
    return f"{part * 100 // whole if part <= whole else -(-part * 100 // whole)} %" if whole else ""


def _one_device(group: Group, look: Look) -> list[str]:
    d = group.device
    room = d.usable or 0
    scale = max(room, d.used, 1)
    parts = [(WORDS.get(p.what, p.what), _size(p)) for p in group.parts]
    grade = weakest(p.grade for p in group.parts)
    rows = [(group.name, display_nbytes(d.used, grade)), *parts]
    labels, taken = _labels(rows, look)
    wide = _bar_width(look.width - taken - 7)
    lines = [f"{labels[0]}{gauge(look, _segments(group.parts), room=room, width=wide)}  {_share(d.used, room)}"]
    for label, part in zip(labels[1:], group.parts, strict=True):
        drawn = bar(look, [Segment(part.nbytes, COLORS.get(part.what, ""))], scale=scale, width=wide)
        lines.append(_graded(label + drawn, part, look, at=taken + wide + 2))
    return lines


def _total(estimate: Estimate, look: Look) -> list[str]:
    parts = parts_of(estimate.lines)
    whole = sum(p.nbytes for p in parts)
    labels, taken = _labels([(WORDS.get(p.what, p.what), _size(p)) for p in parts], look)
    wide = _bar_width(look.width - taken - 7)
    lines = []
    for label, part in zip(labels, parts, strict=True):
        drawn = bar(look, [Segment(part.nbytes, COLORS.get(part.what, ""))], scale=max(whole, 1), width=wide)
        share = _share(part.nbytes, whole) if part.nbytes * 100 >= whole else "< 1 %" if part.nbytes else ""
        line = _fill(label + drawn, taken + wide + 2) + pad(share, 5, ">")
        lines.append(_graded(line, part, look, at=taken + wide + 9))
    return lines


def _device_of_several(group: Group, groups: Sequence[Group], look: Look) -> list[str]:
    """One device's bar, and below it what it holds."""
    d = group.device
    grade = weakest(p.grade for p in group.parts)
    name = max(columns(g.name) for g in groups)
    size = max(columns(display_nbytes(g.device.used, "modelled")) for g in groups)
    label = f"  {pad(group.name, name)}  {pad(display_nbytes(d.used, grade), size, '>')}  "
    wide = _bar_width(look.width - columns(label) - 7)
    room = d.usable or 0
    line = f"{label}{gauge(look, _segments(group.parts), room=room, width=wide)}  {_share(d.used, room)}"
    return [line, *("    " + look.paint(x, DIM) for x in _in_words(group.parts, look.width - 4))]


def _in_words(parts: Sequence[Part], width: int) -> list[str]:
    return flow([f"{WORDS.get(p.what, p.what)} {_size(p)}" for p in parts], width=width)


def _labels(rows: Sequence[tuple[str, str]], look: Look) -> tuple[list[str], int]:
    """Names and sizes as aligned columns, and how many they take; long names give way to figures and bars."""
    size = max(columns(s) for _, s in rows)
    name = min(max(columns(n) for n, _ in rows), max(look.width - size - 7 - 6 - _SHORTEST_BAR, 9))
    taken = 2 + name + 2 + size + 2
    return [f"  {pad(shorten_middle(n, name), name)}  {pad(s, size, '>')}  " for n, s in rows], taken


def _bar_width(room: int) -> int:
    """What the room allows, with a grade beside it where there is enough."""
    room = room - _GRADE if room - _GRADE >= 2 * _SHORTEST_BAR else room
    return max(min(room, _LONGEST_BAR), 0)


def _graded(line: str, part: Part, look: Look, *, at: int) -> str:
    """The line with the part's grade where the bars have ended, if there is room."""
    return _fill(line, at) + look.paint(part.grade, DIM) if at + _GRADE <= look.width + 2 else line.rstrip()


def _fill(line: str, width: int) -> str:
    return line + " " * (width - columns(line))


# --- in a pipe


def plain_table(estimate: Estimate, *, how: bool, width: int) -> list[str]:
    """Every line in bytes and words, with its grade, and how it came about where that is asked; the total last."""
    rows = [("part", "device", "bytes", "size", "grade")]
    for line in estimate.lines:
        name = WORDS.get(line.what, line.what) + (f" ({escape(line.label)})" if line.label else "")
        rows.append((name, device_name(line.device), f"{line.nbytes:,}", line_size(line), line.grade))
    total = estimate.total_nbytes
    rows.append(("total", "", f"{total:,}", display_nbytes(total, estimate.grade), estimate.grade))
    lines = table(rows, align="<<>><")
    return _with_hows(lines, [line.how for line in estimate.lines], width) if how else lines


def line_size(line: Line) -> str:
    """A line's bytes in words."""
    if not line.nbytes and line.peak_nbytes:  # nothing at load
        return f"up to {format_nbytes(line.peak_nbytes)}"
    return display_nbytes(line.nbytes, line.grade)


def _with_hows(lines: Sequence[str], hows: Sequence[str], width: int) -> list[str]:
    """The table with how each of its rows, but the first and the last, came about: beside it, or below it."""
    taken = max(columns(line) for line in lines) + 2
    beside = width - taken >= 24
    found = [lines[0]]
    for line, how in zip(lines[1:-1], hows, strict=True):
        words = wrap(escape(how), width=width - taken if beside else width - 6) or [""]
        found.append(f"{pad(line, taken)}{words[0]}".rstrip() if beside else line)
        found += [" " * (taken if beside else 6) + more for more in (words[1:] if beside else words)]
    return [*found, lines[-1]]


# --- what it is made of, and how it came about


def made_of(estimate: Estimate, longest: Longest | None, *, width: int) -> list[str]:
    """Host memory, layers on devices, the longest context: a line or two."""
    items = [*_host(estimate), *map(escape, estimate.brief), *_longest(longest)]
    return ["  " + line for line in flow(items, width=width - 2)]


def _host(estimate: Estimate) -> Iterator[str]:
    if all(d.capacity is None for d in estimate.devices):
        return
    host = next((d for d in estimate.devices if d.capacity is None), None)
    if host is None or not host.used:
        return
    parts = parts_of(line for line in estimate.lines if line.device == host.device)
    many = host.used * _FEW_BYTES >= estimate.total_nbytes
    words = ", ".join(f"{WORDS.get(p.what, p.what)} {_size(p)}" for p in parts if p.nbytes * _FEW_BYTES >= host.used)
    yield f"{escape(host.device)} memory {format_nbytes(host.used)}" + (f" ({words})" if many else "")


def _longest(longest: Longest | None) -> Iterator[str]:
    if longest is not None:
        n = "none" if longest.n_ctx is None else f"{longest.n_ctx:,}"
        yield f"largest context that fits: {n}" + (" (trained for no more)" if longest.capped else "")


# Settings that follow from the others; JSON has them.
_UNSAID: Final = frozenset({"flash_attn_auto", "offload_kqv", "n_streams", "n_outputs_max", "prefix_caching"})


def _setting(name: str, value: Any) -> str:
    """One effective setting in words; switches that are off and what has parts of its own are left out."""
    if name in _UNSAID:
        return ""
    if value is True:
        return name
    if isinstance(value, bool) or value is None or not isinstance(value, int | float | str):
        return ""
    return escape(f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}")


def derivation(estimate: Estimate, *, look: Look) -> list[str]:
    """The settings in effect, each line with how it came about, and the devices with what they keep for themselves."""
    settings = [s for s in (_setting(k, v) for k, v in estimate.effective.items()) if s]
    lines = ["", *("  " + x for x in flow(settings, width=look.width - 2))]
    if look.bars:  # else the table has stood above
        lines += ["", *plain_table(estimate, how=True, width=look.width)]
    return lines + _device_lines(estimate)


def _device_lines(estimate: Estimate) -> list[str]:
    rows = [("device", "used", "of", "kept back", "spare")]
    for d in estimate.devices:
        if d.capacity is not None:
            name = device_name(d.device) + (" and host" if d.unified else "")
            rows.append(
                (name, format_nbytes(d.used), format_nbytes(d.capacity), format_nbytes(d.reserve),
                 format_nbytes(d.spare or 0))
            )  # fmt: skip
    return ["", *table(rows, align="<>>>>")] if len(rows) > 1 else []


def _noted(estimate: Estimate, notes: Sequence[str], look: Look) -> list[str]:
    """What is not known, and the notes that stand nowhere above."""
    lines = [x for item in estimate.unknown for x in note_lines(f"unknown: {item} (not in the total)", look)]
    devices = [d.device for d in estimate.devices]
    for note in dict.fromkeys([*estimate.notes, *notes]):
        lines += [] if note in estimate.brief else note_lines(f"note: {with_names(note, devices)}", look)
    return lines


def note_lines(text: str, look: Look) -> list[str]:
    """`word: what is said of it`, wrapped, the word less plain than the rest."""
    first, *rest = ("  " + x for x in wrap(escape(text), width=look.width - 2, indent="      "))
    word, colon, said = first.partition(":")
    return [look.paint(word + colon, YELLOW if word.startswith("  unknown") else DIM) + said, *rest]


# --- all of it


def answer_lines(target: str, estimate: Estimate, *, look: Look, verbose: bool = False) -> list[str]:
    """What is asked, the answer and its picture; in a pipe, its table."""
    first, *rest = headline(target, estimate, width=look.width)
    lines = [look.paint(first, BOLD), *rest, *verdict(estimate, look=look), ""]
    if look.bars:
        return lines + [line.rstrip() for line in picture(estimate, look=look)]
    return lines + plain_table(estimate, how=verbose, width=look.width)


def rest_lines(
    facts: ModelFacts, estimate: Estimate, *, look: Look, verbose: bool = False, longest: Longest | None = None,
    notes: Sequence[str] = (),
) -> list[str]:  # fmt: skip
    """What the answer is made of, how it came about where that is asked, and notes."""
    made = made_of(estimate, longest, width=look.width)
    lines = ["", *made] if made else []
    lines += derivation(estimate, look=look) if verbose else []
    said = _noted(estimate, [*notes, *facts.notes], look)
    return lines + (["", *said] if said and not made else said)
