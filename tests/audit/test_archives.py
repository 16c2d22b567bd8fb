"""Archives that readers read differently, pack oddly, nest, or that lead out of their folder; and honest ones."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import struct
import tarfile
import zipfile

import pytest
from audit_builder import audit, write

from inspector.audit.readers.tars import tar_members
from inspector.sources.memory import MemorySource

EVIL = b"\x80\x02cos\nsystem\nU\x02id\x85R."
GOOD = pickle.dumps({"a": [1, 2]}, protocol=2)


def loud(path):
    return {(f.code, f.severity) for f in audit(path).findings if f.severity != "info"}


def zipped(members, method=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        for name, raw in members.items():
            z.writestr(zipfile.ZipInfo(name), raw, method)
    return out.getvalue()


def tarred(members, *, mode="w", form=tarfile.PAX_FORMAT, **fields):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=form) as tar:
        for name, raw in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            for field, value in fields.items():
                setattr(info, field, value)
            tar.addfile(info, io.BytesIO(raw))
    return out.getvalue()


def torch_zip(data_pkl=GOOD, **more):
    return zipped({"a/data.pkl": data_pkl, "a/version": b"3\n", **more})


def as_packed(name, raw):
    """As PyTorch writes a member: sizes behind the data (flag 8), zeros in its own header."""
    body = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 8, 0, 0, 0, 0, 0, 0, len(name), 0) + name + raw
    return body + struct.pack("<4s3I", b"PK\7\x08", 0, len(raw), len(raw))


def central(name, raw, at, *, method=0):
    head = struct.pack(
        "<4s6H3I5H2I", b"PK\1\2", 20, 20, 8, method, 0, 0, 0, len(raw), len(raw), len(name), 0, 0, 0, 0, 0, at
    )
    return head + name


def end(n, size, at):
    return struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, n, n, size, at, 0)


def test_an_archive_as_pytorch_writes_it_is_sound(tmp_path):
    body = as_packed(b"a/data.pkl", GOOD)
    listed = central(b"a/data.pkl", GOOD, 0)
    write(tmp_path, {"m.pt": body + listed + end(1, len(listed), len(body))})
    assert loud(tmp_path) == set()


def other_name():
    raw = torch_zip()
    return raw.replace(b"a/data.pkl", b"a/data.txt", 1)


def other_size():
    raw = bytearray(torch_zip())
    raw[18] ^= 1
    return bytes(raw)


def two_directories():
    """The listed member is honest; another directory before it lists the code."""
    one = zipped({"a/data.pkl": EVIL})
    return one + bytes(8) + torch_zip()


def hidden_member():
    good, evil = as_packed(b"a/data.pkl", GOOD), as_packed(b"a/data.pkl", EVIL)
    listed = central(b"a/data.pkl", GOOD, len(evil))
    return evil + good + listed + end(1, len(listed), len(evil) + len(good))


CONFUSED = {
    "a name of its own": other_name(),
    "a size of its own": other_size(),
    "two directories": two_directories(),
    "a member that is not listed": hidden_member(),
    "bytes before it": b"PREFIX" * 9 + torch_zip(),
    "bytes behind it": torch_zip() + b"PK" * 40,
}


@pytest.mark.parametrize("name", CONFUSED)
def test_what_two_readers_read_differently_is_an_error(tmp_path, name):
    write(tmp_path, {"model.pt": CONFUSED[name]})
    assert ("CD010", "error") in loud(tmp_path)
    assert audit(tmp_path / "model.pt").verdict == "fail"


@pytest.mark.parametrize("name", ["two directories", "a member that is not listed"])
def test_code_that_is_not_listed_is_found(tmp_path, name):
    write(tmp_path, {"model.pt": CONFUSED[name]})
    assert ("CD002", "error") in loud(tmp_path)


def test_a_name_that_is_there_twice_is_an_error(tmp_path):
    first, second = as_packed(b"a/data.pkl", GOOD), as_packed(b"a/data.pkl", EVIL)
    listed = central(b"a/data.pkl", GOOD, 0) + central(b"a/data.pkl", EVIL, len(first))
    write(tmp_path, {"model.pt": first + second + listed + end(2, len(listed), len(first) + len(second))})
    assert {("CD010", "error"), ("CD002", "error")} <= loud(tmp_path)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_every_packing_of_pythons_zipfile_is_looked_into(tmp_path, method):
    write(tmp_path, {"model.pt": zipped({"a/data.pkl": GOOD}, method)})
    assert loud(tmp_path) == set()
    write(tmp_path, {"model.pt": zipped({"a/data.pkl": EVIL}, method)})
    assert loud(tmp_path) == {("CD002", "error")}


def test_a_packing_that_is_not_known_is_not_vouched_for(tmp_path):
    raw = bytearray(torch_zip(EVIL))
    raw[8] = raw[raw.index(b"PK\1\2") + 10] = 97
    write(tmp_path, {"model.pt": bytes(raw)})
    assert loud(tmp_path) == {("CD009", "error")}


def summed(raw):
    """A tar archive with the checksum of its first header put right."""
    raw = bytearray(raw)
    raw[148:156] = b"%06o\0 " % (sum(raw[:148]) + 8 * 32 + sum(raw[156:512]))
    return bytes(raw)


def without_magic(raw):
    """As tar wrote before 1988; tarfile still reads it."""
    return summed(raw[:257] + bytes(8) + raw[265:])


# Wrapping after wrapping: (name, bytes of a file that holds an archive of `raw`).
NESTED = {
    "zip in zip": ("model.zip", lambda raw: zipped({"in.zip": zipped({"x.pkl": raw})})),
    "packed zip in packed zip": (
        "model.mar",
        lambda raw: zipped({"m.pt": zipped({"a/data.pkl": raw}, zipfile.ZIP_DEFLATED)}, zipfile.ZIP_DEFLATED),
    ),
    "checkpoint in a mar": ("model.mar", lambda raw: zipped({"MAR-INF/MANIFEST.json": b"{}", "m.pt": torch_zip(raw)})),
    "checkpoint in a nemo": ("model.nemo", lambda raw: tarred({"./model_weights.ckpt": torch_zip(raw)})),
    "checkpoint in a packed nemo": ("m.nemo", lambda raw: gzip.compress(tarred({"w.ckpt": torch_zip(raw)}), mtime=0)),
    "tar.gz": ("model.tar.gz", lambda raw: gzip.compress(tarred({"w.pkl": raw}), mtime=0)),
    "tar.bz2": ("model.tar.bz2", lambda raw: bz2.compress(tarred({"w.pkl": raw}))),
    "tar.xz": ("model.tar.xz", lambda raw: lzma.compress(tarred({"w.pkl": raw}))),
    "zip in gz": ("model.gz", lambda raw: gzip.compress(torch_zip(raw), mtime=0)),
    "second gzip stream": ("m.pkl", lambda raw: gzip.compress(b"", mtime=0) + gzip.compress(raw, mtime=0)),
    "gz in gz": ("m.pkl", lambda raw: gzip.compress(gzip.compress(raw, mtime=0), mtime=0)),
    "old tar": ("model.tar", lambda raw: without_magic(tarred({"w.pkl": raw}, form=tarfile.USTAR_FORMAT))),
    "contiguous file": ("model.tar", lambda raw: tarred({"w.pkl": raw}, type=tarfile.CONTTYPE)),
    "unknown kind": ("model.tar", lambda raw: tarred({"w.pkl": raw}, type=b"V")),
    "long name": ("model.tar", lambda raw: tarred({"n" * 300 + ".pkl": raw}, form=tarfile.GNU_FORMAT)),
    "pax name": ("model.tar", lambda raw: tarred({"ü" * 150 + ".pkl": raw})),
    "a file before it": ("model.tar", lambda raw: tarred({"a": b"x" * 700, "w.pkl": raw})),
}  # fmt: skip


@pytest.mark.parametrize("name", NESTED)
def test_archives_are_looked_into_however_they_nest(tmp_path, name):
    file, make = NESTED[name]
    write(tmp_path, {file: make(GOOD)})
    assert loud(tmp_path) == set()
    write(tmp_path, {file: make(EVIL)})
    assert ("CD002", "error") in loud(tmp_path)


def test_archives_nested_too_deep_are_not_vouched_for(tmp_path):
    raw = GOOD
    for _ in range(9):
        raw = zipped({"m.zip": raw})
    write(tmp_path, {"m.zip": raw})
    assert loud(tmp_path) == {("CD009", "error")}


def base_256(raw, at=124, width=12):
    """The same size, written as GNU tar writes large ones."""
    raw = bytearray(raw)
    size = int(bytes(raw[at : at + width]).strip(b" \0"), 8)
    raw[at : at + width] = b"\x80" + size.to_bytes(width - 1, "big")
    return summed(raw)


@pytest.mark.parametrize("make", [
    lambda: tarred({"a": b"x" * 700, "b": b"y"}),
    lambda: base_256(tarred({"a": b"x" * 700, "b": b"y"}, form=tarfile.GNU_FORMAT)),
    lambda: tarred({"a": b"x" * 700, "b": b"y"}, pax_headers={"comment": "c" * 900}),
    lambda: tarred({"d/" + "n" * 90 + "/" + "m" * 90: b"1", "b": b""}, form=tarfile.USTAR_FORMAT),
    lambda: tarred({"n" * 300: b"1", "ü" * 200: b"2"}, form=tarfile.GNU_FORMAT),
    lambda: tarred({"a": b"x" * 700}, type=tarfile.CONTTYPE),
])  # fmt: skip
def test_members_are_those_that_tarfile_sees(make):
    raw = make()
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        expected = [(m.name, m.offset_data, m.size) for m in tar if m.isreg()]
    got = [(m.name, m.start, m.size) for m in tar_members(MemorySource(raw)) if m.kind == "file"]
    assert got == expected


def linked(name, to, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(info)
    return out.getvalue()


@pytest.mark.parametrize(("file", "raw"), [
    ("m.zip", zipped({"../../evil.sh": b"x"})), ("m.zip", zipped({"/etc/cron.d/x": b"x"})),
    ("m.zip", zipped({"C:\\x": b"x"})), ("m.tar", tarred({"../x": b"x"})), ("m.nemo", tarred({"/x": b"x"})),
    ("m.tar", linked("a", "/etc", tarfile.SYMTYPE)), ("m.tar", linked("d/a", "../../x", tarfile.SYMTYPE)),
    ("m.tar", linked("a", "../x", tarfile.LNKTYPE)), ("m.tar.gz", gzip.compress(tarred({"../x": b"x"}), mtime=0)),
], ids=range(9))  # fmt: skip
def test_paths_that_lead_out_of_an_archive_are_an_error(tmp_path, file, raw):
    write(tmp_path, {file: raw})
    assert ("CD006", "error") in loud(tmp_path)


@pytest.mark.parametrize("raw", [
    linked("d/a", "../b", tarfile.SYMTYPE), linked("a", "b", tarfile.LNKTYPE), tarred({"./a..b": b"x", "c/...": b"x"}),
])  # fmt: skip
def test_links_that_stay_inside_are_sound(tmp_path, raw):
    write(tmp_path, {"m.nemo": raw})
    assert loud(tmp_path) == set()


# --- limits --------------------------------------------------------------------------------------------------------


def test_folders_of_many_small_archives_are_read_whole(tmp_path):
    """54 voices, a TorchScript of 300 files, an array file of 300."""
    arrays = {
        f"{i}.npy": b"\x93NUMPY\1\0\x46\0"
        + b"{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }".ljust(69)
        + b"\n"
        for i in range(300)
    }
    voices = {f"voices/{i}.pt": torch_zip(**{"a/data/0": b"c" * 64, "a/byteorder": b"little"}) for i in range(54)}
    script = torch_zip(
        **{f"a/code/{i}.py": b"def forward(self): pass\n" for i in range(300)}, **{"a/constants.pkl": GOOD}
    )
    write(tmp_path, {**voices, "script.pt": script, "a.npz": zipped(arrays)})
    assert loud(tmp_path) == set()


def test_more_members_than_are_opened_are_said(tmp_path, monkeypatch):
    monkeypatch.setattr("inspector.audit.readers.findings.MAX_OPENED", 5)
    write(tmp_path, {"m.zip": zipped({f"{i}.txt": b"x" for i in range(6)} | {"z.pkl": EVIL})})
    assert loud(tmp_path) == {("CD009", "error")}


def test_more_unpacked_bytes_than_are_looked_at_are_said(tmp_path):
    write(
        tmp_path, {"m.joblib": gzip.compress(b"\x80\x04\x8e" + struct.pack("<Q", 300 << 20) + bytes(300 << 20) + b".")}
    )
    assert loud(tmp_path) == {("CD004", "error")}


def test_files_in_any_folder_and_number_are_looked_into(tmp_path):
    deep = "/".join("abcdefghijkl") + "/x.pkl"
    write(tmp_path, {deep: EVIL})
    assert ("CD002", "error") in loud(tmp_path)
    write(tmp_path / "many", {f"{i}.txt": "x" for i in range(2_100)} | {"z.pkl": EVIL})
    assert ("CD002", "error") in loud(tmp_path / "many")


@pytest.mark.parametrize("folder", [".git", ".cache", ".hidden"])
def test_no_folder_is_left_out(tmp_path, folder):
    write(tmp_path, {f"{folder}/x.pkl": EVIL})
    assert ("CD002", "error") in loud(tmp_path)


@pytest.mark.parametrize("name", ["m.pkl", "m.pt", "m.npz", "config.json", "chat_template.jinja", "x.txt"])
def test_what_cannot_be_read_is_an_error(tmp_path, monkeypatch, name):
    """As without permission, or on a broken disk."""
    write(tmp_path, {"other.txt": "x", name: GOOD})

    def refuse(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", refuse)
    assert ("FL010", "error") in loud(tmp_path)
    assert loud(tmp_path / name) == {("FL010", "error")}


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path, monkeypatch):
    write(tmp_path, {"m.pkl": GOOD, "config.json": "{}"})
    real = os.pread
    monkeypatch.setattr(
        os, "pread", lambda fd, n, at: real(fd, min(n, max(9 - at, 0)), at) if n > 9 else real(fd, n, at)
    )
    assert ("FL010", "error") in loud(tmp_path / "m.pkl")


def test_what_was_looked_at_is_counted(tmp_path):
    write(tmp_path, {"m.pkl": GOOD, "README.md": "abc"})
    report = audit(tmp_path)
    assert (report.n_files, report.nbytes) == (2, len(GOOD) + 3)
    assert audit(tmp_path / "m.pkl").n_files == 1
