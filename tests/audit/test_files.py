"""What a file really is: each rule finds its fault; a sound file has none."""

from __future__ import annotations

import os
import socket

import pytest
from audit_builder import audit, codes, gguf_bytes, hub_snapshot, st_bytes, write

ST = st_bytes({"a": ("F32", (2, 2))})
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 4661211808\n"

BAD = {
    "empty": ("FL001", "model.safetensors", b""),
    "empty gguf": ("FL001", "model.gguf", b""),
    "three bytes": ("FL001", "model.gguf", b"GGU"),
    "seven bytes": ("FL001", "model.safetensors", b"\x10\0\0\0\0\0\0"),
    "lfs pointer": ("FL002", "model.safetensors", LFS),
    "lfs pointer for gguf": ("FL002", "model.gguf", LFS),
    "web page": ("FL003", "model.gguf", b"<!DOCTYPE html><html><body>Sign in</body></html>"),
    "web page with space before it": ("FL003", "model.safetensors", b"\n  <html><head></head></html>"),
    "xml answer": ("FL003", "model.gguf", b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"),
    "json error": ("FL004", "model.safetensors", b'{"error":"Repository not found"}'),
    "zeros": ("FL005", "model.gguf", bytes(5000)),
    "many zeros": ("FL005", "model.safetensors", bytes(200_000)),
    "zip": ("FL006", "model.safetensors", b"PK\x03\x04" + bytes(60)),
    "torch": ("FL006", "model.safetensors", b"PK\x03\x04" + bytes(26) + b"archive/data.pkl" + bytes(40)),
    "pickle": ("FL006", "model.safetensors", b"\x80\x02}q\x00(X\x05\x00\x00\x00modelq\x01K\x01u."),
    "numpy": ("FL006", "model.gguf", b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'}" + bytes(40)),
    "gzip": ("FL006", "model.gguf", b"\x1f\x8b\x08" + bytes(40)),
    "ggjt": ("FL006", "model.gguf", b"tjgg\x03\0\0\0" + bytes(40)),
    "ggml": ("FL006", "model.gguf", b"lmgg" + bytes(40)),
    "hdf5": ("FL006", "model.safetensors", b"\x89HDF\r\n\x1a\n" + bytes(40)),
    "program": ("FL006", "model.gguf", b"\x7fELF" + bytes(60)),
    "noise": ("FL006", "model.gguf", bytes(range(200, 256)) * 4),
    "gguf named safetensors": ("FL007", "model.safetensors", gguf_bytes()),
    "safetensors named gguf": ("FL007", "model.gguf", ST),
    "unfinished download": ("FL011", "model.safetensors.incomplete", ST[:40]),
    "part file": ("FL011", "model.gguf.part", gguf_bytes()[:400]),
    "chrome": ("FL011", "model.gguf.crdownload", gguf_bytes()[:400]),
    "safari": ("FL011", "model.gguf.download", gguf_bytes()[:400]),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("as_folder", [True, False])
def test_a_fault_is_found_whether_file_or_folder_is_named(tmp_path, case, as_folder):
    code, name, content = BAD[case]
    write(tmp_path, {name: content})
    report = audit(tmp_path if as_folder else tmp_path / name)
    assert code in {f.code for f in report.findings}
    assert report.verdict == "fail"
    assert all(f.hint for f in report.findings if f.code == code and code != "FL006")


@pytest.mark.parametrize(("name", "content"), [("model.safetensors", ST), ("model.gguf", gguf_bytes())])
def test_a_sound_file_has_no_findings(tmp_path, name, content):
    write(tmp_path, {name: content})
    assert audit(tmp_path / name).findings == ()
    assert audit(tmp_path).findings == ()


def test_a_pointer_says_what_should_be_there(tmp_path):
    write(tmp_path, {"model.gguf": LFS})
    found = audit(tmp_path).findings[0]
    assert "4,661,211,808 bytes" in found.message
    assert "ab" * 32 in found.message
    assert found.hint == "git lfs pull"


def test_a_partial_download_beside_the_whole_file_is_a_warning(tmp_path):
    write(tmp_path, {"model.safetensors": ST, "model.safetensors.part": ST[:20]})
    assert [(f.code, f.severity) for f in audit(tmp_path).findings] == [("FL011", "warning")]


def test_an_aria2_note_says_that_the_file_beside_it_is_not_whole(tmp_path):
    write(tmp_path, {"model.safetensors": ST, "model.safetensors.aria2": b"\0\1"})
    assert [(f.code, f.severity) for f in audit(tmp_path).findings] == [("FL011", "error")]


def test_a_blob_that_was_never_finished_fails_its_snapshot(tmp_path):
    snapshot = hub_snapshot(tmp_path, {"model.safetensors": ST})
    blobs = tmp_path / "models--org--name" / "blobs"
    (blobs / ("c" * 64 + ".incomplete")).write_bytes(b"abc")
    assert [(f.code, f.severity) for f in audit(snapshot).findings] == [("FL011", "error")]


def test_a_leftover_beside_its_finished_blob_is_a_warning(tmp_path):
    snapshot = hub_snapshot(tmp_path, {"model.safetensors": ST})
    blob = next((tmp_path / "models--org--name" / "blobs").iterdir())
    (blob.parent / (blob.name + ".1a2b3c4d.incomplete")).write_bytes(b"abc")
    assert [(f.code, f.severity) for f in audit(snapshot).findings] == [("FL011", "warning")]


# --- what is no plain file ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.safetensors", "model.gguf", "config.json", "tokenizer.json", "pipe"])
def test_a_pipe_is_refused_and_never_opened(tmp_path, name):
    write(tmp_path, {"other.safetensors": ST})
    os.mkfifo(tmp_path / name)  # opening it for reading would wait for ever
    assert "FL008" in codes(tmp_path)


def test_a_pipe_named_by_itself_is_refused(tmp_path):
    os.mkfifo(tmp_path / "model.gguf")
    assert codes(tmp_path / "model.gguf") == {"FL008"}


@pytest.mark.skipif(os.name == "nt", reason="POSIX only: devices in the file system")
def test_a_device_is_refused():
    assert codes("/dev/zero") == {"FL008"}


def test_a_link_to_a_device_is_refused(tmp_path):
    (tmp_path / "model.gguf").symlink_to("/dev/zero")
    assert codes(tmp_path / "model.gguf") == {"FL008"}
    assert audit(tmp_path).verdict == "fail"


def test_a_socket_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as end:
        end.bind("model.gguf")
        assert codes(tmp_path) == {"FL008"}


@pytest.mark.parametrize("name", ["model.safetensors", "model.gguf"])
def test_a_folder_named_like_weights_is_refused(tmp_path, name):
    (tmp_path / name).mkdir()
    assert "FL008" in codes(tmp_path)


def test_links_that_lead_nowhere_or_round_are_found(tmp_path):
    (tmp_path / "model.safetensors").symlink_to("gone.safetensors")
    (tmp_path / "a.gguf").symlink_to("b.gguf")
    (tmp_path / "b.gguf").symlink_to("a.gguf")
    (tmp_path / "self.gguf").symlink_to("self.gguf")
    report = audit(tmp_path)
    assert [f.where for f in report.findings if f.code == "FL009"] == [
        "a.gguf", "b.gguf", "model.safetensors", "self.gguf"]  # fmt: skip
    for name in ("model.safetensors", "self.gguf"):
        assert codes(tmp_path / name) == {"FL009"}


def test_a_folder_that_contains_itself_by_a_link_ends(tmp_path):
    write(tmp_path, {"model.safetensors": ST})
    (tmp_path / "again").symlink_to(".")
    assert audit(tmp_path).verdict == "pass"


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_found(tmp_path):
    write(tmp_path, {"model.safetensors": ST})
    (tmp_path / "model.safetensors").chmod(0)
    assert codes(tmp_path) == {"FL010"}


def test_a_file_that_cannot_be_read_is_found(tmp_path, monkeypatch):
    """As root, or on a broken disk."""
    write(tmp_path, {"model.safetensors": ST})

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "pread", refuse)
    assert codes(tmp_path) == {"FL010"}


def test_more_entries_than_are_looked_at_are_said(tmp_path, monkeypatch):
    monkeypatch.setattr("inspector.audit.subject.local.MAX_ENTRIES", 5)
    write(tmp_path, {f"{i}.txt": b"" for i in range(9)} | {"model.safetensors": ST})
    assert "FL012" in codes(tmp_path)


def test_headers_beyond_what_is_held_are_not_vouched_for(tmp_path, monkeypatch):
    monkeypatch.setattr("inspector.audit.subject.local.MAX_HEADERS", 100)
    write(tmp_path, {f"{i}.safetensors": ST for i in range(5)})
    report = audit(tmp_path)
    assert {f.code for f in report.findings} == {"FL013"}
    assert report.verdict == "fail"


def test_a_folder_with_nothing_of_a_model_says_so(tmp_path):
    write(tmp_path, {"README.md": "x"})
    assert [(f.code, f.severity) for f in audit(tmp_path).findings] == [("FL014", "warning")]
    write(tmp_path, {"config.json": {}})
    assert [(f.code, f.severity) for f in audit(tmp_path).findings] == [("FL014", "info")]


@pytest.mark.parametrize("name", ["a/b/c/d/e/f/g/h.npz", "x.tflite", "variables.data-00000-of-00001", "x.msgpack"])
def test_weights_in_other_formats_are_weights(tmp_path, name):
    import io
    import zipfile

    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        archive.writestr("a.txt", "x")
    write(tmp_path, {name: raw.getvalue() if name.endswith("npz") else b"\1\2\3" * 100})
    assert codes(tmp_path) <= {"FL015"}


# --- space that was set aside and never filled -----------------------------------------------------------------------

MIB = 1 << 20


def with_holes(path, written, *, names=("a.weight", "b.weight", "c.weight"), nbytes=MIB):
    """A safetensors file of full size: only the byte ranges `written` of its data were."""
    import json

    entries = {n: {"dtype": "F32", "shape": [nbytes // 1024, 256], "data_offsets": [i * nbytes, (i + 1) * nbytes]}
               for i, n in enumerate(names)}  # fmt: skip
    head = json.dumps(entries).encode()
    head += b" " * (-len(head) % 4096 - 8)
    with open(path, "wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        start = file.tell()
        for begin, end in written:
            file.seek(start + begin)
            file.write(b"\x3f" * (end - begin))
        file.truncate(start + len(names) * nbytes)
        os.fsync(file.fileno())
    return path


@pytest.fixture
def holes(tmp_path):
    """Skips where the file system does not tell holes."""

    path = with_holes(tmp_path / "probe", [])
    with open(path, "rb") as file:
        if os.lseek(file.fileno(), 0, os.SEEK_HOLE) >= os.path.getsize(path):
            pytest.skip("this file system has no holes")
    path.unlink()
    return tmp_path


@pytest.mark.parametrize("written", [[(0, MIB)], [(0, 2 * MIB + 4096)], [(0, 100 * 4096), (2 * MIB, 3 * MIB)]])
def test_an_unfinished_download_of_full_size_is_a_warning_and_with_deep_an_error(holes, written):
    path = with_holes(holes / "m.safetensors", written)
    assert [(f.code, f.severity) for f in audit(path).findings] == [("FL016", "warning")]
    assert ("VA005", "error") in {(f.code, f.severity) for f in audit(path, deep=True).findings}


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ([(0, 3 * MIB)], ("a.weight", "b.weight", "c.weight")),  # all of it
        ([(0, MIB), (MIB + 128 * 1024, 3 * MIB)], ("a.weight", "b.weight", "c.weight")),  # padding of zeros, an eighth
        ([(0, MIB)], ("a.weight", "q.lora_B.weight", "out.bias")),  # zero by design
    ],
)
def test_honest_zeros_that_are_stored_as_holes_are_not_accused(holes, written, names):
    path = with_holes(holes / "m.safetensors", written, names=names)
    assert not {f.code for f in audit(path, deep=True).findings} & {"FL016", "VA005"}


def test_a_header_without_any_data_is_an_info(holes):
    path = with_holes(holes / "m.safetensors", [])
    assert [(f.code, f.severity) for f in audit(path).findings] == [("FL016", "info")]


@pytest.mark.parametrize("name", ["pytorch_model.bin", "m.ckpt", "m.h5", "m.npy"])
@pytest.mark.parametrize("written", [4096, 0, 2 * MIB])
def test_a_checkpoint_that_is_nearly_all_a_hole_is_a_warning_and_with_deep_an_error(holes, name, written):
    """A download of which the first block, or nothing, or half has come."""
    with (holes / name).open("wb") as file:
        file.write(b"PK\3\4"[:written].ljust(written, b"x"))
        file.truncate(4 * MIB)
    assert ("FL016", "warning") in {(f.code, f.severity) for f in audit(holes).findings}
    assert ("VA005", "error") in {(f.code, f.severity) for f in audit(holes, deep=True).findings}


def test_a_checkpoint_that_was_written_is_no_hole(holes):
    raw = b"PK\3\4" + bytes(4 * MIB)
    (holes / "pytorch_model.bin").write_bytes(raw)
    assert not {f.code for f in audit(holes, deep=True).findings} & {"FL016", "VA005"}
