"""LZ4 frames (inspector/audit/readers/lz4.py), as lz4 4.4 wrote them."""

from __future__ import annotations

import base64

import pytest
from audit_builder import audit, write

from inspector.audit.readers.lz4 import Lz4, Lz4Error, unpack_block

# pickle.dumps({"a": list(range(50))}, 2), with a checksum; 200 instructions that do nothing and a call, with a size
HONEST = base64.b64decode(
    "BCJNGGxAeAAAAAAAAAABeAAAgIACfXEAWAEAAABhcQFdcQIoSwBLAUsCSwNLBEsFSwZLB0sISwlLCksLSwxLDUsOSw9LEEsRSxJLE0sUSxVLFksX"
    "SxhLGUsaSxtLHEsdSx5LH0sgSyFLIksjSyRLJUsmSydLKEspSypLK0ssSy1LLksvSzBLMWVzLgAAAABBkvVW"
)
EVIL = base64.b64decode("BCJNGGhA3AAAAAAAAAA+HAAAAE+AAk4wAgCz8ANjb3MKc3lzdGVtClUCaWSFUi4AAAAA")


def loud(path):
    return {(f.code, f.severity) for f in audit(path).findings if f.severity != "info"}


@pytest.mark.parametrize("name", ["m.lz4", "m.joblib", "m"])
def test_a_pickle_in_a_frame_is_followed(tmp_path, name):
    write(tmp_path / "good", {"beside.json": {}, name: HONEST})
    write(tmp_path / "bad", {"beside.json": {}, name: EVIL})
    assert loud(tmp_path / "good") == set()
    assert ("CD002", "error") in loud(tmp_path / "bad")


def test_two_frames_one_behind_the_other_are_both_followed(tmp_path):
    write(tmp_path, {"m.joblib": HONEST + EVIL})
    assert ("CD002", "error") in loud(tmp_path)


@pytest.mark.parametrize(
    "raw", [HONEST[:60], HONEST[:15] + b"\xff\xff\xff\x7f" + HONEST[19:], b"\x04\x22\x4d\x18\xff" * 4]
)
def test_a_broken_frame_is_an_error(tmp_path, raw):
    write(tmp_path, {"m.joblib": raw})
    assert ("CD004", "error") in loud(tmp_path)


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_frames_are_read_in_pieces_of_any_size(step):
    raw, out, decoder = EVIL + b"behind", b"", Lz4()
    at = 0
    while not decoder.eof:
        piece = raw[at : at + step] if decoder.needs_input else b""
        at += len(piece)
        out += decoder.decompress(piece, step)
    assert out == b"\x80\x02" + b"N0" * 100 + b"cos\nsystem\nU\x02id\x85R."
    assert decoder.unused_data + raw[at:] == b"behind"


@pytest.mark.parametrize(
    ("raw", "history", "out"),
    [
        (b"\x30abc", b"", b"abc"),
        (b"\x31abc\x03\x00\x00", b"", b"abcabcab"),  # a match of five, three bytes back
        (b"\x00\x04\x00\x10x", b"abcd", b"abcdx"),  # of what stands before the block
        (b"\xf0\x00" + b"y" * 15, b"", b"y" * 15),
        (b"\x1fz\x01\x00\x05\x00", b"", b"z" * 25),
    ],
)
def test_blocks_are_unpacked_by_the_format(raw, history, out):
    assert unpack_block(raw, history, 100) == out


@pytest.mark.parametrize(
    "raw", [b"", b"\x50abc", b"\x10a\x02\x00\x00", b"\x10a\x00\x00\x00", b"\x1fz\x01\x00\xff\xff\x00\x00"]
)
def test_a_block_that_makes_no_sense_is_refused(raw):
    with pytest.raises(Lz4Error):
        unpack_block(raw, b"", 100)
