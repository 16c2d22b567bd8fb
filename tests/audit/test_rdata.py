"""R objects (inspector/audit/readers/rdata.py): what R itself wrote, and what is built here part by part."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
from pathlib import Path

import pytest
from audit_builder import audit, codes, loud, r_bytes, write

from inspector.audit.readers.rdata import is_rdata, scan_rdata

RDATA = Path(__file__).parents[2] / "fixtures" / "rdata"
WRITTEN = sorted(p.name for p in RDATA.iterdir())
CODE = [n for n in WRITTEN if n.startswith("code")]
PACKED = {"plain": bytes, "gzip": lambda raw: gzip.compress(raw, mtime=0), "bzip2": bz2.compress, "xz": lzma.compress}

GLOBAL, EMPTY, UNBOUND, NIL = 253, 242, 252, 254
PAIRS, CLOSURE, PROMISE, CALL, LIST = 2, 3, 5, 6, 19
TAGGED, ATTRIBUTED = 0x400, 0x200


def name(text):
    return [1, text]


def call(*parts):
    """A call: its function, then its arguments."""
    return [CALL, *parts[0], *(x for part in parts[1:] for x in [PAIRS, *part]), NIL]


def text(value):
    return [16, 1, value]


SYSTEM = call(name(b"system"), text(b"id"))
LAZY = [PROMISE | TAGGED, GLOBAL, UNBOUND, *SYSTEM]  # where it is evaluated, its value, the code


def frame(*values):
    """An environment whose frame binds these."""
    bound = [x for value in values for x in [PAIRS | TAGGED, *name(b"x"), *value]]
    return [4, 0, EMPTY, *bound, NIL, NIL, NIL]


def hashed(value):
    """The same as a table."""
    return [4, 0, EMPTY, NIL, LIST, 2, NIL, PAIRS | TAGGED, *name(b"x"), *value, NIL, NIL]


RUN = {
    "a promise": LAZY,
    "a promise in a list": [LIST, 1, *LAZY],
    "a promise in an attribute": [13 | ATTRIBUTED, 1, 7, PAIRS | TAGGED, *name(b"x"), *LAZY, NIL],
    "a promise behind a list": [LIST | ATTRIBUTED, 2, *text(b"a"), NIL, PAIRS | TAGGED, *name(b"x"), *LAZY, NIL],
    "a promise with a value, in no frame": [PROMISE, *text(b"a"), *SYSTEM],
    "an argument that nobody looked at": frame(LAZY),
    "an argument in a table": hashed(LAZY),
    "a function": [CLOSURE, NIL, *SYSTEM],
    "compiled code": [21, 1, *SYSTEM],
    "a call": SYSTEM,
    "a call of base::system": call(call(name(b"::"), name(b"base"), name(b"system")), text(b"id")),
    "a call by a name given before": [LIST, 2, *name(b"system"), CALL, 255 | 1 << 8, NIL],
    "a call of a built-in": call([8, len(b"system"), ("raw", b"system")], text(b"id")),
    "a vector in another file": [238, PAIRS, *name(b"mmap_real"), PAIRS, *name(b"base"), NIL, NIL, NIL],
}  # fmt: skip
SILENT = {
    "numbers": [14, 2, ("raw", b"\0" * 16)],
    "an argument whose value is here": frame([PROMISE, *text(b"a"), *SYSTEM[:0], *call(name(b"c"), text(b"id"))]),
    "a formula": call(name(b"~"), name(b"y"), name(b"x")),
    "a name that is also a function's": [LIST, 2, *name(b"system"), *text(b"system")],
    "a long vector": [24, -1, 0, 3, ("raw", b"abc")],
    "a compact sequence": [238, PAIRS, *name(b"compact_intseq"), PAIRS, *name(b"base"), NIL, 13, 1, 3, NIL],
    "a pointer": [22, NIL, NIL],
    "a missing text": [16, 2, None, b""],
}


@pytest.mark.parametrize(
    ("what", "way"), [(what, way) for way in "XBA" for what in RUN if way != "A" or "built-in" not in what]
)
def test_what_r_runs_is_an_error(tmp_path, what, way):
    write(tmp_path, {"m.rds": r_bytes(RUN[what], way)})
    assert {(f.code, f.severity) for f in loud(audit(tmp_path))} == {("CD014", "error")}


@pytest.mark.parametrize("way", ["X", "B"])
@pytest.mark.parametrize("what", SILENT)
def test_what_r_only_keeps_is_silent(tmp_path, what, way):
    write(tmp_path, {"m.rds": r_bytes(SILENT[what], way)})
    assert not audit(tmp_path).findings


@pytest.mark.parametrize("file", CODE)
def test_code_that_r_wrote_is_an_error(tmp_path, file):
    shutil.copy(RDATA / file, tmp_path)
    assert {(f.code, f.severity) for f in loud(audit(tmp_path))} == {("CD014", "error")}


@pytest.mark.parametrize("file", sorted(set(WRITTEN) - set(CODE)))
def test_data_that_r_wrote_is_silent(tmp_path, file):
    shutil.copy(RDATA / file, tmp_path)
    assert not audit(tmp_path).findings


@pytest.mark.parametrize("file", [n for n in WRITTEN if n not in {"code_compiled.rds", "code_family.rds"}])
def test_what_r_wrote_is_read_to_its_last_byte(file):
    """Behind compiled code nothing is read; an object of words ends with a line feed."""
    raw = (RDATA / file).read_bytes()
    opened = {b"\x1f\x8b": gzip.decompress, b"BZ": bz2.decompress, b"\xfd7": lzma.decompress}.get(raw[:2], bytes)(raw)
    scan = scan_rdata(lambda at, n: opened[at : at + n], len(opened))
    assert is_rdata(opened)
    assert not scan.problem
    assert opened[scan.end :] in {b"", b"\n"}


@pytest.mark.parametrize("file", ["m.rds", "model.RData", "m", "m.bin", "m.pt", "notes.txt"])
@pytest.mark.parametrize("how", PACKED)
def test_r_objects_are_found_under_any_name_and_packed(tmp_path, file, how):
    write(tmp_path, {"beside.txt": "x", file: PACKED[how](r_bytes(LAZY))})
    assert ("CD014", "error") in {(f.code, f.severity) for f in audit(tmp_path).findings}


@pytest.mark.parametrize("before", [b"RDX2\n", b"RDX3\n"])
def test_what_save_writes_is_read_behind_its_first_line(tmp_path, before):
    write(tmp_path, {"m.rda": before + r_bytes([PAIRS | TAGGED, *name(b"x"), *LAZY, NIL])})
    assert "CD014" in codes(tmp_path)


BROKEN = {
    "cut": r_bytes(RUN["a promise"])[:-9],
    "a kind that does not exist": r_bytes([LIST, 1, 27]),
    "a negative length": r_bytes([LIST, -2]),
    "a reference to nothing": r_bytes([255 | 3 << 8]),
    "fewer numbers than counted": r_bytes([13, 1000, 1]),
    "something else": b"hello, world, hello",
}


@pytest.mark.parametrize("how", ["plain", "gzip"])
@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_r_object_is_an_error(tmp_path, what, how):
    write(tmp_path, {"m.rds": PACKED[how](BROKEN[what])})
    assert "CD004" in codes(tmp_path)


def test_what_is_not_followed_is_said():
    raw = r_bytes([LIST, 9, *[NIL] * 9])
    assert not scan_rdata(lambda at, n: raw[at : at + n], len(raw), most=10).problem
    assert "more than 9 parts" in scan_rdata(lambda at, n: raw[at : at + n], len(raw), most=9).problem


def test_a_pickle_that_is_an_r_object_too_is_read_as_both(tmp_path):
    """X, ten bytes of text: the header of an R object, and the first instruction of a pickle."""
    raw = b"X\n\0\0\0\2\0\4\2\2\0\2\3\0" + b"\0" + b"cos\nsystem\n(S'id'\ntR."
    assert is_rdata(raw)
    write(tmp_path, {"m.pkl": raw})
    assert "CD002" in codes(tmp_path)
