"""An estimate as bars: of a device and its parts on one scale, of several devices, or of the parts of a total."""

from __future__ import annotations

from inspector.memory.estimate import weakest
from inspector.record import Record
from inspector.report.look import COLORS, DIM, Look, Segment, bar, gauge
from inspector.report.memory import WORDS, display_nbytes
from inspector.report.names import device_name
from inspector.report.text import columns, flow, pad, shorten_middle
from inspector.units import format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Final

    from inspector.memory.estimate import Device, Estimate, Line

_LONGEST_BAR: Final = 48  # columns; more says no more
_SHORTEST_BAR: Final = 8
_GRADE: Final = 10  # columns of the longest grade and its gap


class Part(Record):
    """All lines of one kind on some devices. `peak`: what storage holds for a moment, where nothing is held at load."""

    what: str
    nbytes: int
    grade: str
    peak: int


class Group(Record):
    """Devices that hold the same: the first of them, the name of the last, and how many there are."""

    device: Device
    parts: tuple[Part, ...]
    last: str
    n: int = 1

    @property
    def name(self) -> str:
        """Its device's; of several alike, from which to which."""
        plain = device_name(self.device.device)
        return plain if self.n == 1 else f"{plain}–{self.last.rpartition('#')[2]}, each"

    @property
    def kind(self) -> str:
        """The name where there are no others beside it."""
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
            found[-1] = last.replace(n=last.n + 1, last=d.device)
        else:
            found.append(Group(d, parts, d.device))
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


def size_words(part: Part) -> str:
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
    parts = [(WORDS.get(p.what, p.what), size_words(p)) for p in group.parts]
    grade = weakest(p.grade for p in group.parts)
    rows = [(group.kind, display_nbytes(d.used, grade)), *parts]
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
    labels, taken = _labels([(WORDS.get(p.what, p.what), size_words(p)) for p in parts], look)
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
    names = ((look.paint(WORDS.get(p.what, p.what), COLORS.get(p.what, "")), p) for p in group.parts)
    words = flow([f"{painted} {size_words(p)}" for painted, p in names], width=look.width - 4)
    return [line, *("    " + x for x in words)]


_LEAST_NAME: Final = 12  # columns of what a card is called: GPU 141 GiB


def _labels(rows: Sequence[tuple[str, str]], look: Look) -> tuple[list[str], int]:
    """Names and sizes as aligned columns, and how many they take; long names give way to figures and bars."""
    size = max(columns(s) for _, s in rows)
    name = min(max(columns(n) for n, _ in rows), max(look.width - size - 7 - 6 - _SHORTEST_BAR, _LEAST_NAME))
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
