"""Pickles within files of other formats: a database, attributes, messages. Searched for, since nothing says where."""

from __future__ import annotations

import re

from inspector.audit.readers.findings import Found
from inspector.audit.readers.graphs import ACTING
from inspector.audit.readers.pickle_scan import Search
from inspector.audit.readers.streams import Inflated
from inspector.units import format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from inspector.audit.readers.findings import Allowance
    from inspector.sources import Source

LAST: Final = 64 << 10
MAX_LITE: Final = 4 << 20
_FLEX: Final = re.compile(rb"\0Flex(\w{3,40})\0")


def embedded(source: Source, where: str, allowed: Allowance, *, begun: Source | None = None) -> Iterator[Found]:
    """Pickles that call what attacks use, anywhere in a file of another format, and how much of it was not searched.

    `begun`: the start of a packed file, which may have been read past.
    """
    search = Search(allowed.tries)
    if isinstance(source, Inflated):
        left = _packed(source, begun or source, search, allowed)
    else:
        left = _plain(source, search, allowed)
    allowed.tries = search.tries
    if named := tuple(g for g in search.found.values() if g.called):
        yield Found(where, "embedded", named)
    if left:
        yield Found(where, "unsearched", (), f"{left} for pickles that lie in it")
    elif search.tries <= 0:
        yield Found(where, "unsearched", (), "more places than are tried look like the start of a pickle")
    if not isinstance(source, Inflated) and source.read_at(4, 4) == b"TFL3":
        yield from _lite(source, where)


def _plain(source: Source, search: Search, allowed: Allowance) -> str:
    """Searches a file, as far as there is allowance, and its end; in words, what was left out."""
    n = min(source.size, allowed.embedded)
    allowed.embedded -= n
    search.look(source.read_at, 0, n)
    left = source.size - n
    if left <= 0:
        return ""
    if allowed.ends <= 0:
        return f"{format_nbytes(left)} were not searched"
    allowed.ends -= LAST
    search.look(source.read_at, max(n, source.size - LAST), source.size)
    return f"{format_nbytes(left - LAST)} before its end were not searched" if left > LAST else ""


def _packed(source: Inflated, begun: Source, search: Search, allowed: Allowance) -> str:
    """The same of a packed stream, whose length is not known and which is read forwards only."""
    start = source.buf_start
    if start:
        search.look(begun.read_at, 0, begun.size)
    end = search.look(source.read_at, start, start + allowed.unpacked // source.cost)
    allowed.unpacked -= (end - start) * source.cost
    if start > begun.size or source.read_at(end, 1):
        return f"packed, of which not more than {format_nbytes(end)} were searched"
    return ""


def _lite(source: Source, where: str) -> Iterator[Found]:
    """TensorFlow's own operations in a TensorFlow Lite model."""
    for match in dict.fromkeys(_FLEX.findall(source.read_at(0, MAX_LITE))):
        if match.decode() in ACTING:
            yield Found(where, "graph", (), f"the operation {match.decode()}, which runs code or opens files")
