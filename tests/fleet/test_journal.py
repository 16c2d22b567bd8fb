"""What a scan keeps while it runs: each row once, and of an earlier scan only what still holds."""

from __future__ import annotations

import pytest

from inspector.fleet.columns import EMPTY_ROW, SCHEMA
from inspector.fleet.journal import Item, Journal, Packed, pack, pack_tensors
from inspector.version import __version__

ASKED = "{}"


def row(target, stamp="mtime:1+10", **rest):
    known = {
        "schema": SCHEMA,
        "inspector": __version__,
        "asked": ASKED,
        "target": target,
        "found": target,
        "stamp": stamp,
    }
    return EMPTY_ROW | known | rest


def kept(tmp_path, earlier, *, stamp="mtime:1+10", asked=ASKED):
    """Whether a row of an earlier scan stands for a model that looks like this now."""
    journal = Journal(str(tmp_path / "m.unfinished"), resume=True)
    journal.shelve_rows([(earlier, None)])
    journal.add_items([Item("a", stamp=stamp)])
    n = journal.take_over(asked, tensors=False)
    journal.close(remove=True)
    return n == 1


@pytest.mark.parametrize(
    ("earlier", "now", "expected"),
    [
        ({}, {}, True),
        ({"error_kind": "format"}, {}, True),
        ({"error_kind": "facts"}, {}, True),
        ({"error_kind": "source"}, {}, False),
        ({"error_kind": "worker"}, {}, False),
        ({"inspector": "0.0.0"}, {}, False),
        ({"schema": "inspector.scan/0"}, {}, False),
        ({}, {"stamp": "mtime:2+10"}, False),
        ({}, {"stamp": ""}, False),
        ({}, {"asked": '{"audit":false}'}, False),
    ],
)
def test_an_earlier_row_stands_while_nothing_that_it_depends_on_has_changed(tmp_path, earlier, now, expected):
    assert kept(tmp_path, row("a", **earlier), **now) is expected


def test_a_row_without_tensors_does_not_stand_where_they_are_asked_for(tmp_path):
    journal = Journal(str(tmp_path / "m.unfinished"), resume=True)
    journal.shelve_rows([(row("a"), None), (row("b"), pack_tensors([["b", 1]]))])
    journal.add_items([Item("a", stamp="mtime:1+10"), Item("b", stamp="mtime:1+10")])
    assert journal.take_over(ASKED, tensors=True) == 1
    assert [r["target"] for r in journal.rows()] == ["b"]
    assert list(journal.tensor_rows()) == [["b", 1]]
    journal.close(remove=True)


def test_rows_are_written_once_and_in_the_order_found(tmp_path):
    journal = Journal(str(tmp_path / "m.unfinished"), resume=False)
    assert journal.add_items([Item("a"), Item("b"), Item("a")]) == 2
    for position, target, words in ((1, "b", None), (0, "a", None), (0, "a", "again")):
        journal.add_rows(position, [pack(row(target, error=words))])
    assert [(r["target"], r["error"]) for r in journal.rows()] == [("a", None), ("b", None)]
    assert list(journal.unread()) == []
    journal.close(remove=True)


def test_what_a_broken_off_scan_did_not_get_to_stays_as_it_was_read(tmp_path):
    journal = Journal(str(tmp_path / "m.unfinished"), resume=True)
    journal.shelve_rows([(row("a", error="old"), None), (row("b", error="old"), None)])
    journal.add_items([Item("a"), Item("b")])
    journal.add_rows(0, [Packed(pack(row("a", error="new")).row)])
    journal.keep_unreached()
    assert [(r["target"], r["error"]) for r in journal.rows()] == [("a", "new"), ("b", "old")]
    journal.close(remove=True)
