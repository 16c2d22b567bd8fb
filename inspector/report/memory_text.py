"""`memory` for people: the answer first, then a picture of it, then what it is made of; in a pipe one plain table."""

from __future__ import annotations

from inspector.report.escape import escape
from inspector.report.look import BOLD, DIM, GREEN, RED, YELLOW, Look
from inspector.report.memory import WORDS, both_ends, display_nbytes
from inspector.report.names import device_name, device_names, model_name, with_names
from inspector.report.picture import parts_of, picture, size_words
from inspector.report.text import columns, flow, join, pad, shorten_middle, table, wrap
from inspector.units import format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, Final

    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Device, Estimate, Line
    from inspector.memory.longest import Longest

_FEW_BYTES: Final = 10  # a host that holds less than a tenth of all is told in a word
_MARKS: Final = {True: ("✔", GREEN), False: ("✘", RED), None: ("?", YELLOW)}


# --- what is asked, and the answer


def headline(target: str, estimate: Estimate, *, width: int) -> list[str]:
    """Model · engine · context · cache, on one line where they have room."""
    e = estimate.effective
    n_ctx, n_seqs = e.get("n_ctx", e.get("max_model_len")), e.get("n_seqs", estimate.workload.n_seqs)
    quant, name = escape(str(e.get("quant") or "")), model_name(target)
    settings = join(
        [
            "" if name.lower().endswith(quant.lower()) else quant,
            estimate.engine,
            f"{n_ctx:,} tokens" if isinstance(n_ctx, int) else "",
            f"{n_seqs} sequences" if isinstance(n_seqs, int) and n_seqs > 1 else "",
            _cache_type(estimate),
        ]
    )
    room = width - columns(settings) - 3
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
        total = _bounded("≥", estimate, estimate.total_nbytes, estimate.total_low)
        return [look.paint(total, BOLD) + where]
    mark, style = _MARKS[estimate.fits]
    words = {True: "fits", False: "does not fit", None: "may fit"}[estimate.fits]
    first = look.paint(f"{mark} {words} {device_names(d.device for d in devices)}", f"{BOLD};{style}")
    first, *rest = flow([first, *_figures(estimate, devices)], width=look.width - 2, sep="   ")
    return [first, *("  " + line for line in rest)]


def _figures(estimate: Estimate, devices: Sequence[Device]) -> Iterator[str]:
    used, usable = sum(d.used for d in devices), sum(d.usable or 0 for d in devices)
    low = sum(d.used if d.low is None else d.low for d in devices)
    unit = format_nbytes(usable).rpartition(" ")[2]
    yield f"{_bounded('≥', estimate, used, low).removesuffix(f' {unit}')} of {format_nbytes(usable)} usable"
    over = [d for d in devices if (d.spare or 0) < 0]
    for d in over:
        where = f", {device_name(d.device)}" if len(devices) > 1 else ""
        yield f"{format_nbytes(-(d.spare or 0))} too much{where}"
    if over and all(d.low is not None and d.low <= (d.usable or 0) for d in over):
        yield f"at the least {format_nbytes(low)}, which would fit"
    if not over:
        fullest = min(devices, key=lambda d: d.spare or 0)
        alike = len({d.spare for d in devices}) == 1
        where = "" if len(devices) == 1 else " on each" if alike else f" on {device_name(fullest.device)}"
        bound = "≤ " if estimate.unknown else "≥ " if low != used else ""
        yield f"{bound}{format_nbytes(fullest.spare or 0)} spare{where}"


def _bounded(sign: str, estimate: Estimate, nbytes: int, low: int) -> str:
    """Bytes of which some are not known, or the safe end of a range, or about right, or as they are."""
    if estimate.unknown:
        return f"{sign} {format_nbytes(nbytes)}"
    modelled = any(line.grade == "modelled" and line.nbytes for line in estimate.lines)
    return display_nbytes(nbytes, "modelled" if modelled else "", low=low)


# --- in a pipe


def plain_table(estimate: Estimate, *, how: bool, width: int) -> list[str]:
    """Every line in bytes and words, with its grade, and how it came about where that is asked; the total last."""
    rows = [("part", "device", "bytes", "size", "grade")]
    for line in estimate.lines:
        name = WORDS.get(line.what, line.what) + (f" ({escape(line.label)})" if line.label else "")
        rows.append((name, device_name(line.device), f"{line.nbytes:,}", line_size(line), line.grade))
    total, low = estimate.total_nbytes, estimate.total_low
    size = both_ends(total, estimate.grade, low=None if low == total else low)
    rows.append(("total", "", f"{total:,}", size, estimate.grade))
    lines = table(rows, align="<<>><")
    return _with_hows(lines, [line.how for line in estimate.lines], width) if how else lines


def line_size(line: Line) -> str:
    """A line's bytes in words."""
    if not line.nbytes and line.peak_nbytes:  # nothing at load
        return f"up to {format_nbytes(line.peak_nbytes)}"
    return both_ends(line.nbytes, line.grade, low=line.low)


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
    large = [p for p in parts if p.nbytes * _FEW_BYTES >= host.used]
    words = ", ".join(f"{WORDS.get(p.what, p.what)} {size_words(p)}" for p in large)
    grows = sum(p.peak for p in parts if not p.nbytes)
    more = f", up to {format_nbytes(grows)} more as it runs" if grows else ""
    yield f"{escape(host.device)} memory {format_nbytes(host.used)}" + (f" ({words})" if many else "") + more


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
                (name, both_ends(d.used, "", low=d.low), format_nbytes(d.capacity),
                 both_ends(d.reserve, "", low=d.reserve_low), format_nbytes(d.spare or 0))
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
