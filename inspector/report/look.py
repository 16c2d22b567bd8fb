"""How an answer is laid out: columns, the signs that bars are made of, colour; and the bars themselves."""

from __future__ import annotations

from inspector.record import Record
from inspector.report.text import columns, pad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

BOLD, DIM, RED, GREEN, YELLOW = "1", "2", "31", "32", "33"
# what each part is drawn in, in the bar of a whole device and in its own
COLORS: Final[Mapping[str, str]] = {
    "weights": "34", "kv_cache": "35", "recurrent_state": "95", "compute": "36", "output": "33", "overhead": "90",
}  # fmt: skip
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
# kind of bar: (full, empty, beyond what there is)
_SIGNS: Final[Mapping[str, tuple[str, str, str]]] = {"blocks": ("█", "░", "▓"), "ascii": ("#", ".", "!")}
BLOCKS: Final = _EIGHTHS[1:] + _SIGNS["blocks"][1] + _SIGNS["blocks"][2]  # what an encoding must have


class Look(Record):
    """`bars`: "blocks" (eighths of a column), "ascii", or "" (none: nobody looks); `color`: escapes may be used."""

    width: int = 100
    bars: str = ""
    color: bool = False

    def paint(self, text: str, style: str) -> str:
        """The text in a style, where there is colour."""
        return f"\x1b[{style}m{text}\x1b[0m" if self.color and text and style else text


class Segment(Record):
    """One part of a bar: how much of the scale, and the style that it is drawn in."""

    amount: int
    style: str = ""


def bar(look: Look, segments: Sequence[Segment], *, scale: int, width: int) -> str:
    """Segments one after another, `width` columns for `scale`; what is there at all shows."""
    if not look.bars or width < 1 or scale < 1:
        return ""
    full = _SIGNS[look.bars][0]
    steps = 8 if look.bars == "blocks" else 1
    total = sum(s.amount for s in segments)
    length = min(max(round(total * width * steps / scale), 1 if total else 0), width * steps)
    if not look.color or steps == 1:
        style = segments[0].style if len(segments) == 1 else ""
        return look.paint(full * (length // steps) + _EIGHTHS[length % steps].strip(), style)
    return "".join(look.paint(text, style) for text, style in _runs(segments, total, length))


def _runs(segments: Sequence[Segment], total: int, length: int) -> list[tuple[str, str]]:
    """(blocks, style) of a bar of so many eighths: where a segment ends within a column, the next is its ground."""
    ends, so_far = [], 0
    for segment in segments:
        so_far += segment.amount
        ends.append(so_far * length // total if total else 0)
    runs: list[tuple[str, str]] = []
    for start in range(0, length, 8):
        first = next(i for i, end in enumerate(ends) if end > start)
        within = ends[first] - start
        if within >= 8:
            sign, style = "█", segments[first].style
        else:
            follows = next((i for i, end in enumerate(ends) if end > ends[first]), None)
            ground = "" if follows is None else f";{int(segments[follows].style) + 10}"
            sign, style = _EIGHTHS[within], segments[first].style + ground
        if runs and runs[-1][1] == style and sign == "█":
            runs[-1] = (runs[-1][0] + sign, style)
        else:
            runs.append((sign, style))
    return runs


def gauge(look: Look, segments: Sequence[Segment], *, room: int, width: int) -> str:
    """A bar of `width` columns on a track that stands for `room`; what is beyond the room is marked as such."""
    if not look.bars or width < 1 or room < 1:
        return ""
    _, empty, beyond = _SIGNS[look.bars]
    total = sum(s.amount for s in segments)
    if total > room:
        inside = max(min(room * width // total, width - 1), 0)
        shown = bar(look, segments, scale=room, width=inside)
        return shown + look.paint(beyond * (width - inside), RED)
    steps = 8 if look.bars == "blocks" else 1
    length = min(max(round(total * width * steps / room), 1 if total else 0), width * steps)
    return bar(look, segments, scale=room, width=width) + look.paint(empty * (width - -(-length // steps)), DIM)


def with_bars(lines: Sequence[str], amounts: Sequence[int], *, look: Look, total: int, longest: int = 24) -> list[str]:
    """A table, its head first, with a bar of each row's share of `total` at its end, where there is room."""
    taken = max(map(columns, lines)) + 2
    wide = min(look.width - taken, longest)
    head = look.paint(lines[0].rstrip(), DIM)
    if not look.bars or wide < 8:
        return [head, *(line.rstrip() for line in lines[1:])]
    style = COLORS["weights"]
    bars = (bar(look, [Segment(n, style)], scale=max(total, 1), width=wide) for n in amounts)
    return [head, *(f"{pad(x, taken)}{b}".rstrip() for x, b in zip(lines[1:], bars, strict=True))]
