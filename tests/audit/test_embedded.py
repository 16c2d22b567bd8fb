"""Pickles within files of other formats (inspector/audit/readers/embedded.py): searched whole, and said where not."""

from __future__ import annotations

import gzip

import pytest
from audit_builder import audit, codes, write

from inspector.audit.readers.embedded import embedded
from inspector.audit.readers.findings import Allowance
from inspector.audit.readers.pickle_scan import AT_ONCE, TRIED, Search
from inspector.audit.readers.pickle_search import danger_in
from inspector.sources.memory import MemorySource

MIB = 1 << 20
CALL = b"cos\nsystem\n(S'id'\ntR."
FRAMED = b"\x80\x04\x95\x1d\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85\x94R."


@pytest.mark.parametrize("at", [0, 5 * MIB, 9 * MIB + 77])
def test_a_pickle_anywhere_in_a_large_file_is_found(tmp_path, at):
    """Four MiB and the end were searched once, and the rest was passed over."""
    with (tmp_path / "m.db").open("wb") as file:
        file.write(b"\1\2FORMAT")
        file.seek(at + 64)
        file.write(CALL)
        file.truncate(12 * MIB)
    assert "CD002" in codes(tmp_path)


@pytest.mark.parametrize("before", [AT_ONCE - 3, AT_ONCE - TRIED + 1, AT_ONCE - TRIED - 1, AT_ONCE - 2 * TRIED])
@pytest.mark.parametrize("what", [CALL, FRAMED])
def test_a_pickle_across_two_pieces_is_found(before, what):
    raw = bytes(before) + what + bytes(AT_ONCE)
    search = Search()
    search.look(lambda at, n: raw[at : at + n], 0, len(raw))
    assert {name for _, name in search.found} == {"system"}


def found(allowed, raw):
    return {f.kind: f.problem for f in embedded(MemorySource(raw, name="m.db"), "m.db", allowed)}


def test_what_is_not_searched_is_said():
    allowed = Allowance()
    allowed.embedded = MIB
    assert found(allowed, bytes(MIB)) == {}
    allowed.embedded = MIB
    said = found(allowed, bytes(3 * MIB))
    assert said == {"unsearched": "1.94 MiB before its end were not searched for pickles that lie in it"}
    assert found(allowed, bytes(100)) == {}  # its end is all of it
    allowed.ends = 0
    assert found(allowed, bytes(100)) == {"unsearched": "100 B were not searched for pickles that lie in it"}


def test_the_end_of_a_file_is_searched_beyond_the_limit():
    allowed = Allowance()
    allowed.embedded = MIB
    assert set(found(allowed, bytes(3 * MIB) + CALL)) == {"embedded", "unsearched"}


def test_more_starts_of_pickles_than_are_tried_are_said():
    allowed = Allowance()
    allowed.tries = 2_000
    assert "more places" in found(allowed, b"\x80\x04]q" * 100)["unsearched"]


@pytest.mark.parametrize("n", [0, 3 * MIB])
def test_a_packed_file_is_searched_as_it_unpacks(tmp_path, n):
    write(tmp_path, {"m.db.gz": gzip.compress(b"\1\2FORMAT" + bytes(n) + CALL + bytes(64), mtime=0)})
    assert "CD002" in codes(tmp_path)


def test_a_packed_file_that_is_not_searched_to_its_end_is_an_info(tmp_path):
    write(tmp_path, {"config.json": {}, "m.db.gz": gzip.compress(b"\1\2FORMAT" + bytes(17 * MIB) + CALL, mtime=0)})
    assert ("CD016", "info") in {(f.code, f.severity) for f in audit(tmp_path).findings}


# --- imports behind imports ------------------------------------------------------------------------------------------

BEHIND = {
    "one": b"cos\nsystem\nccollections\nOrderedDict\n0(S'id'\ntR.",
    "two": b"cos\nsystem\ncre\ncompile\niio\nx\n(S'id'\ntR.",
    "a dotted name": b"cos\npath.os.system\n(S'id'\ntR.",
    "of two dangers": b"cos\nsystem\ncbuiltins\neval\n(S'id'\ntR.",
}


@pytest.mark.parametrize("what", BEHIND)
def test_an_import_directly_behind_another_hides_neither(tmp_path, what):
    write(tmp_path, {"m.db": b"\1\2FORMAT" + BEHIND[what] + bytes(64)})
    assert "CD002" in codes(tmp_path)
    if what == "of two dangers":
        assert set(danger_in(BEHIND[what])) == {("os", "system"), ("builtins", "eval")}


@pytest.mark.parametrize("text", [b"cos\ncosine\nios\nandroid\n", b"int\nchar\ncat\ndog\n", b"int\n262153\n(x)\n"])
def test_lists_of_words_and_numbers_are_no_imports(text):
    assert danger_in(b"\0\0" + text * 100) == {}
