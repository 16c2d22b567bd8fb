"""HDF5 files that reach for other files (inspector/audit/readers/hdf5_links.py), as h5py 3.16 writes them."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from pathlib import Path

import pytest
from audit_builder import audit, write

from inspector.audit.readers.hdf5_links import outside
from inspector.sources.memory import MemorySource

HDF5 = Path(__file__).parents[2] / "fixtures" / "hdf5"
OUTSIDE = sorted(p.name for p in HDF5.iterdir() if p.name.startswith("outside"))
WITHIN = sorted(p.name for p in HDF5.iterdir() if p.name.startswith(("groups", "good")))


def content(name):
    raw = (HDF5 / name).read_bytes()
    return gzip.decompress(raw) if name.endswith(".gz") else raw


def loud(path):
    return {(f.code, f.severity) for f in audit(path).findings if f.severity != "info"}


def keras(raw):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        z.writestr("config.json", '{"class_name": "Sequential", "config": {}}')
        z.writestr("model.weights.h5", raw)
    return out.getvalue()


@pytest.mark.parametrize("name", OUTSIDE)
def test_links_to_other_files_and_data_in_them_are_an_error(tmp_path, name):
    write(tmp_path, {"m.h5": content(name)})
    assert loud(tmp_path) == {("CD015", "error")}
    assert "/etc/passwd" in audit(tmp_path).findings[0].message


@pytest.mark.parametrize("name", ["outside_data_old.h5", "outside_link_new_40.h5"])
def test_the_same_is_found_in_a_keras_archive_and_packed(tmp_path, name):
    write(tmp_path / "a", {"m.keras": keras(content(name))})
    write(tmp_path / "b", {"m.h5.gz": gzip.compress(content(name), mtime=0)})
    assert ("CD015", "error") in loud(tmp_path / "a")
    assert ("CD015", "error") in loud(tmp_path / "b")


@pytest.mark.parametrize("name", WITHIN)
def test_groups_of_every_layout_that_stay_in_their_file_are_silent(tmp_path, name):
    write(tmp_path, {"m.h5": content(name), "m.keras": keras(content(name))})
    assert loud(tmp_path) == set()


def test_a_link_of_a_kind_of_its_own_is_an_error():
    """64 is a link to another file; what is above, programs define for themselves."""
    raw = content("outside_link_new_3.h5")
    at = raw.index(b"\x40\x01w", 48) - 2  # version, flags, the kind; a name of one letter
    faults, problem = outside(MemorySource(raw[: at + 2] + b"\x41" + raw[at + 3 :], name="m.h5"))
    assert "only programs know" in faults[0]
    assert not problem


def test_a_file_that_is_one_of_several_is_an_error():
    raw = bytearray(content("groups_old_3.h5"))
    struct.pack_into("<Q", raw, 48, 96)
    assert outside(MemorySource(bytes(raw), name="m.h5"))[0] == ("the file is one part of several",)


@pytest.mark.parametrize(
    ("name", "of", "to"),
    [
        ("groups_old_40.h5", b"SNOD", b"XNOD"),
        ("groups_old_40.h5", b"TREE", b"XREE"),
        ("groups_new_40.h5", b"BTLF", b"XTLF"),
        ("groups_new_40.h5", b"FRHP\0\7\0\0", b"FRHP\0\7\0\1"),  # packed
        ("groups_new_40.h5", b"BTHD", b"XTHD"),
    ],
)
def test_a_group_that_cannot_be_followed_is_said(tmp_path, name, of, to):
    raw = content(name)
    assert of in raw
    write(tmp_path, {"m.h5": raw.replace(of, to)})
    assert loud(tmp_path) == {("CD009", "error")}


def test_groups_that_hold_each_other_end():
    """Every link of the file leads to the root again."""
    raw = content("groups_old_3.h5")
    root = struct.unpack_from("<Q", raw, 64)[0]
    at = raw.index(b"SNOD")
    changed = raw[: at + 16] + struct.pack("<Q", root) + raw[at + 24 :]
    assert outside(MemorySource(changed, name="m.h5")) == ((), "")


def test_a_header_that_goes_on_in_itself_ends():
    raw = bytearray(content("groups_new_3.h5"))
    at = raw.index(b"OHDR", 48)
    n = struct.unpack_from("<B", raw, at + 6)[0]
    raw[at + 7 : at + 7 + n] = (struct.pack("<BHB", 0x10, 16, 0) + struct.pack("<QQ", at - 4 + 7, n + 8)).ljust(
        n, b"\0"
    )
    assert outside(MemorySource(bytes(raw), name="m.h5"))[1]
