"""Nothing that a file says reaches a terminal, a spreadsheet or a JSON reader as anything but text."""

from __future__ import annotations

import json

import pytest
from gguf_builder import STR, U32, Tensor, build

ESCAPE, CLEAR, BELL, NUL, DELETE, C1 = "\x1b[31m", "\x1b[2J", "\x07", "\0", "\x7f", "\x9b31m"
BIDI, ZERO_WIDTH, LINE, PARAGRAPH, TAG = "\u202e", "\u200b", "\u2028", "\u2029", "\U000e0041"
NASTY = f"{ESCAPE}{CLEAR}{BELL}{NUL}{DELETE}{C1}{BIDI}{ZERO_WIDTH}{LINE}{PARAGRAPH}{TAG}\r\n\t\b"
RAW = [c for c in NASTY if not c.isprintable() and c != "\n"]


@pytest.fixture
def hostile(tmp_path):
    kv = [
        ("general.architecture", STR, "llama"),
        ("general.name", STR, f"nice{NASTY}name"),
        (f"evil{NASTY}key", STR, f"evil{NASTY}value"),
        ("general.bytes", STR, b"\xff\xfe not utf-8"),
        ("llama.block_count", U32, 1),
        ("llama.embedding_length", U32, 32),
        ("llama.context_length", U32, 64),
        ("llama.feed_forward_length", U32, 32),
        ("llama.attention.head_count", U32, 1),
        ("llama.vocab_size", U32, 32),
    ]
    tensors = [Tensor("token_embd.weight", (32, 32)), Tensor(f"blk.0.{NASTY}.weight", (32, 32))]
    path = tmp_path / "model.gguf"
    path.write_bytes(build(kv, tensors))
    return path


def raw_in(text):
    """Characters of ours that came through; a line may end in a line feed."""
    return sorted({c for c in text if c in RAW})


@pytest.mark.parametrize(
    "args",
    [["show"], ["tensors"], ["tensors", "--by", "role"], ["meta"], ["meta", "--full"], ["memory"], ["audit"],
     ["tensors", "--csv"], ["memory", "--layers"], ["memory", "--sweep", "ctx"], ["quantize-size", "--tensors"]],
    ids=" ".join,
)  # fmt: skip
def test_text_holds_nothing_unprintable(args, hostile, run_inspector):
    command, *rest = args
    code, out, err = run_inspector([command, hostile, *rest])
    assert code in (0, 1, 2)
    assert "Traceback" not in err
    assert raw_in(out + err) == []


@pytest.mark.parametrize(
    "args", [["show"], ["tensors"], ["meta"], ["meta", "--full"], ["memory"], ["audit"]], ids=" ".join
)
def test_json_is_ascii_and_means_the_same(args, hostile, run_inspector):
    code, out, err = run_inspector([args[0], hostile, *args[1:], "--json"])
    assert code in (0, 1, 2)
    assert "Traceback" not in err
    assert out.isascii()
    assert raw_in(out) == []
    answer = json.loads(out)
    if args[0] == "meta":
        assert answer["metadata"][f"evil{NASTY}key"] == f"evil{NASTY}value"


def test_names_are_escaped_so_that_they_can_still_be_told_apart(hostile, run_inspector):
    out = run_inspector(["meta", hostile, "--full"], env={"COLUMNS": "400"})[1]
    assert "\\x1b[31m" in out
    assert "\\u202e" in out
    assert "\\x00" in out
    assert "\\xff\\xfe not utf-8" in out


def test_a_target_with_escapes_in_its_name_is_shown_escaped(hostile, run_inspector):
    odd = hostile.with_name(f"a{ESCAPE}{BIDI}b.gguf")
    hostile.rename(odd)
    for args in (["show", odd], ["memory", odd], ["show", odd.with_name(f"no{ESCAPE}such.gguf")], [f"no{ESCAPE}.gguf"]):
        code, out, err = run_inspector(args)
        assert code in (0, 2)
        assert raw_in(out + err) == []


def test_a_file_name_that_is_not_utf_8_is_read_and_shown(files, tmp_path, run_inspector):
    import os

    path = os.path.join(os.fsencode(tmp_path), b"\xff.gguf")
    with open(path, "wb") as file:
        file.write((files / "gguf" / "tiny-llama-q8_0.gguf").read_bytes())
    for extra in ([], ["--json"]):
        code, out, err = run_inspector(["show", os.fsdecode(path), *extra])
        assert code == 0, err
        assert r"\xff" in out


def test_hostile_safetensors_names_and_metadata(tmp_path, run_inspector):
    import struct

    header = json.dumps(
        {
            "__metadata__": {f"k{NASTY}": f"v{NASTY}"},
            f"w{NASTY}": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        }
    ).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    for args in (
        ["show"],
        ["tensors"],
        ["tensors", "--csv"],
        ["meta"],
        ["audit"],
        ["memory", "--engine", "textbook", "-c", "8"],
    ):
        for extra in ([], ["--json"]) if "--csv" not in args else ([],):
            code, out, err = run_inspector([args[0], path, *args[1:], *extra])
            assert code in (0, 1, 2)
            assert "Traceback" not in err
            assert raw_in(out + err) == []
