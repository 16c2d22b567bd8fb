"""A scan's unit of work: a chunk of items to their packed rows. Picklable, pure, and the same under every engine."""

from __future__ import annotations

from inspector.errors import InspectorError
from inspector.fleet.journal import Item, Packed, pack
from inspector.fleet.row import failed, scan_all
from inspector.fleet.text import text
from inspector.report.escape import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.fleet.options import Row, ScanOptions

    Chunk = list[tuple[int, Item]]


def scan_chunk(chunk: Chunk, options: ScanOptions) -> list[tuple[int, list[Packed]]]:
    """The rows of each item, by its position."""
    return [(position, packed_rows(item, _rows(item, options))) for position, item in chunk]


def _rows(item: Item, options: ScanOptions) -> list[Row]:
    if not item.reached:
        return [failed(item.target, options, item.error, "source")]
    return scan_all(item.target, options)


def packed_rows(item: Item, rows: list[Row]) -> list[Packed]:
    """Rows with what is known of the item from outside."""
    return [pack(_completed(row, item)) for row in rows]


def lost_rows(item: Item, options: ScanOptions) -> list[Packed]:
    """The row of a target that ended every process that read it."""
    words = "the process that read it died, more than once and alone: out of memory, or a defect"
    row = failed(item.target, options, words, "worker")
    return packed_rows(item, [row])


def repo_of(target: str) -> str | None:
    """The repository on the Hub that a target is of, on the Hub or in its cache."""
    from inspector.checkpoint import read_target

    for part in reversed(target.replace("\\", "/").split("/")):
        if part.startswith("models--"):  # models--ORG--NAME, as the cache names its folders
            return text(part.removeprefix("models--").replace("--", "/", 1))
    try:
        found = read_target(target)
    except InspectorError:
        return None
    return text(found.repo) if found.kind == "hub" else None


def _completed(row: Row, item: Item) -> Row:
    row |= {
        "root": escape(item.root), "found": escape(item.target), "store": text(item.store), "role": text(item.role),
        "stamp": escape(item.stamp), "repo": repo_of(item.target),
    }  # fmt: skip
    row["sha256"] = row["sha256"] or (text(item.sha256) if row["found"] == row["target"] else None)
    if item.error and row["error"] is None:
        row |= {"error": text(item.error), "error_kind": "format"}
    return row
