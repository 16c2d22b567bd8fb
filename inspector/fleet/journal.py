"""What a scan has found and read so far, in one SQLite file beside the table that it will be.

Every row is in it once, by its place in the order found, whatever died on the way; a scan that was killed goes on from
it. The table itself is written from it at the end, in order and in groups, so that neither the number of models nor the
format decides how much memory a scan takes.
"""

from __future__ import annotations

import json
import os
import sqlite3
import zlib

from inspector.errors import InspectorError
from inspector.fleet.columns import PASSING_ERRORS, SCHEMA
from inspector.record import Record
from inspector.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any, Final

    from inspector.fleet.options import Row

SUFFIX: Final = ".unfinished"
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS items (position INTEGER PRIMARY KEY, target TEXT UNIQUE, item TEXT, done INTEGER DEFAULT 0);
CREATE TABLE IF NOT EXISTS rows (position INTEGER, part INTEGER, row TEXT, tensors BLOB, PRIMARY KEY (position, part));
CREATE TABLE IF NOT EXISTS old (found TEXT, part INTEGER, row TEXT, tensors BLOB, PRIMARY KEY (found, part));
"""
_AT_ONCE: Final = 256


class Item(Record):
    """One target to read, and what is known of it from outside. `reached`: False for a root that did not answer."""

    target: str
    root: str = ""
    store: str = ""
    role: str = ""
    stamp: str = ""
    sha256: str | None = None
    error: str = ""
    reached: bool = True


class Packed(Record):
    """One row as it travels and is kept: JSON, and the model's tensors compressed (None where not asked for)."""

    row: str
    tensors: bytes | None = None


def pack(row: Row) -> Packed:
    """A row of `scan_one`, with its tensors set apart."""
    tensors = row.pop("tensors", None)
    return Packed(json.dumps(row, separators=(",", ":")), None if tensors is None else pack_tensors(tensors))


def pack_tensors(rows: Sequence[Sequence[Any]]) -> bytes:
    """The rows of a model's tensors in a few bytes each."""
    return zlib.compress(json.dumps(rows, separators=(",", ":")).encode(), 1)


def unpack_tensors(blob: bytes | None) -> list[list[Any]]:
    """The rows of a model's tensors."""
    found: list[list[Any]] = json.loads(zlib.decompress(blob)) if blob else []
    return found


class Journal:
    """The file of one scan. Raises InspectorError where it cannot be kept."""

    def __init__(self, path: str, *, resume: bool) -> None:
        self.path = path
        try:
            if not resume and os.path.exists(path):
                os.remove(path)
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=TRUNCATE")
            self._db.execute("PRAGMA synchronous=OFF")  # a machine that goes down costs a scan, not a file
            self._db.executescript(_TABLES)
            self._shelve()
        except (sqlite3.Error, OSError) as error:
            hint = "remove it, or name another output" if os.path.exists(path) else "name another output"
            raise InspectorError(f"{path}: {error}", hint=hint) from None

    def _shelve(self) -> None:
        """What an earlier run has read becomes what this one may take over."""
        self._db.executescript(
            """
            INSERT OR REPLACE INTO old SELECT json_extract(row, '$.found'), part, row, tensors FROM rows;
            DELETE FROM rows; DELETE FROM items;
            """
        )

    def begin(self) -> None:
        """Opens a transaction; all that is written until `commit` is there at once, or not at all."""
        if not self._db.in_transaction:
            self._db.execute("BEGIN")

    def commit(self) -> None:
        """Makes what was written permanent."""
        if self._db.in_transaction:
            self._db.execute("COMMIT")

    def shelve_rows(self, rows: Iterable[tuple[Row, bytes | None]]) -> None:
        """Rows of a table that an earlier scan has written."""
        self.begin()
        parts: dict[str, int] = {}
        for row, tensors in rows:
            found = row["found"]
            parts = {found: parts.get(found, -1) + 1}  # the rows of one target stand together
            values = (found, parts[found], json.dumps(row, separators=(",", ":")), tensors)
            self._db.execute("INSERT OR IGNORE INTO old VALUES (?, ?, ?, ?)", values)
        self.commit()

    def add_items(self, items: Iterable[Item], tell: Callable[[int], None] | None = None) -> int:
        """Everything there is to read, each target once; how many."""
        self.begin()
        n = 0
        for item in items:
            values = (n, item.target.encode("utf-8", "surrogateescape"), json.dumps(item.as_dict()))
            n += self._db.execute(
                "INSERT OR IGNORE INTO items (position, target, item) VALUES (?, ?, ?)", values
            ).rowcount
            if tell:
                tell(n)
        self.commit()
        return n

    def take_over(self, asked: str, *, tensors: bool) -> int:
        """Puts the earlier rows of what has not changed in their new places; how many models need no reading."""
        self.begin()
        n = 0
        for position, item in self._items():
            kept = self._old(item, asked, tensors=tensors)
            if kept:
                self.add_rows(position, kept)
                n += 1
        self.commit()
        return n

    def _old(self, item: Item, asked: str, *, tensors: bool) -> list[Packed]:
        from inspector.report.escape import escape

        if not item.stamp:
            return []
        kept = []
        query = "SELECT row, tensors FROM old WHERE found = ? ORDER BY part"
        for text, blob in self._db.execute(query, (escape(item.target),)).fetchall():
            row = json.loads(text)
            same = (row["schema"], row["inspector"], row["asked"], row["stamp"]) == (
                SCHEMA, __version__, asked, escape(item.stamp),
            )  # fmt: skip
            if not same or row["error_kind"] in PASSING_ERRORS or (tensors and blob is None):
                return []
            kept.append(Packed(text, blob if tensors else None))
        return kept

    def _items(self) -> Iterator[tuple[int, Item]]:
        """All that is not read yet, in order; rows may be added meanwhile."""
        last = -1
        query = "SELECT position, item FROM items WHERE position > ? AND NOT done ORDER BY position LIMIT ?"
        while page := self._db.execute(query, (last, _AT_ONCE)).fetchall():
            for last, text in page:
                yield last, Item(**json.loads(text))

    def unread(self) -> Iterator[tuple[int, Item]]:
        """All that is not read yet, in order."""
        return self._items()

    def add_rows(self, position: int, rows: Iterable[Packed]) -> None:
        """The rows of one item; a second time they change nothing."""
        values = [(position, part, packed.row, packed.tensors) for part, packed in enumerate(rows)]
        self._db.executemany("INSERT OR IGNORE INTO rows VALUES (?, ?, ?, ?)", values)
        self._db.execute("UPDATE items SET done = 1 WHERE position = ?", (position,))

    def keep_unreached(self) -> None:
        """Of a scan that broke off: what it did not get to stays as an earlier one has read it."""
        self.commit()
        self.begin()
        self._db.execute(
            """
            INSERT INTO rows
            SELECT 1 + (SELECT COALESCE(MAX(position), 0) FROM items) + rowid, part, row, tensors FROM old
            WHERE found NOT IN (SELECT json_extract(row, '$.found') FROM rows)
            """
        )
        self.commit()

    def rows(self) -> Iterator[Row]:
        """All rows in the order found."""
        self.commit()
        for (text,) in self._db.execute("SELECT row FROM rows ORDER BY position, part"):
            row: Row = json.loads(text)
            yield row

    def tensor_rows(self) -> Iterator[list[Any]]:
        """The rows of all tensors of all models, in order."""
        for (blob,) in self._db.execute("SELECT tensors FROM rows WHERE tensors IS NOT NULL ORDER BY position, part"):
            yield from unpack_tensors(blob)

    def has_rows(self) -> bool:
        """Whether anything has been read."""
        return self._db.execute("SELECT 1 FROM rows LIMIT 1").fetchone() is not None

    def close(self, *, remove: bool) -> None:
        """Lets go of the file."""
        self._db.close()
        for path in (self.path, f"{self.path}-journal") if remove else ():
            if os.path.exists(path):
                os.remove(path)
