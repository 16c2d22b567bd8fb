"""GGUF structure: every defect that the reader names has a rule, and every rule a file that breaks it."""

from __future__ import annotations

import struct

import pytest
from audit_builder import KEYS, audit, codes, gguf_bytes, gguf_tensors, projector_bytes, write
from gguf_builder import BOOL, STR, U8, U32, U64, Arr, Str, Tensor, build

from inspector.audit.registry import rules
from inspector.audit.rules import gguf
from inspector.formats._gguf_defects import GGUF_DEFECTS

T = Tensor


def deep(levels):
    value = Arr(U32, [1])
    for _ in range(levels):
        value = Arr(9, [value])
    return value


def key(name, kind=U32, value=1):
    return gguf_bytes({name: (kind, value)})


def raw_key(raw, kind=U8, value=1):
    keys = [(k, *v) for k, v in KEYS.items()]
    return build([*keys, (raw, kind, value)], gguf_tensors())


def shape(*dims, **options):
    return gguf_bytes(tensors=[*gguf_tensors(), T("x", dims, **options)], data=b"")


SWAPPED = struct.pack(">Q", 2)
BAD = {
    "version 0": ("GG001", gguf_bytes(version=0)),
    "version 1": ("GG001", gguf_bytes(version=1)),
    "version 4": ("GG001", gguf_bytes(version=4)),
    "version 2^32-1": ("GG001", gguf_bytes(version=2**32 - 1)),
    "version swapped": ("GG003", b"GGUF" + struct.pack(">I", 3) + gguf_bytes()[8:]),
    "big-endian": ("GG002", gguf_bytes(order=">")),
    "negative tensors": ("GG003", gguf_bytes(n_tensors=2**64 - 1)),
    "too many tensors": ("GG003", gguf_bytes(n_tensors=100_000)),
    "negative keys": ("GG003", gguf_bytes(n_kv=2**63)),
    "too many keys": ("GG003", gguf_bytes(n_kv=60_000)),
    "empty key": ("GG004", raw_key("")),
    "key twice": ("GG004", raw_key("general.architecture", STR, "gemma")),
    "key longer than the file": (("GG007", "GG019"), raw_key(Str(b"a", 2**40))),
    "key of 70,000 bytes": ("GG005", raw_key(b"k" * 70_000)),
    "NUL in a key": ("GG005", raw_key(b"a\0b")),
    "escape in a key": ("GG005", raw_key(b"a\x1b[31mb")),
    "key not UTF-8": ("GG005", raw_key(b"a\xff\xfe")),
    "value type 13": ("GG006", raw_key("x", 13, b"")),
    "value type -1": ("GG006", raw_key("x", -1, b"")),
    "element type 99": ("GG006", raw_key("x", 9, Arr(99, b"", 1))),
    "string of 2^63": ("GG007", raw_key("x", STR, Str(b"a", 2**63))),
    "string of 2^31": ("GG007", raw_key("x", STR, Str(b"a", 2**31))),
    "array of 2^61 words": ("GG008", raw_key("x", 9, Arr(U64, b"", 2**61))),
    "array of 2^30 + 1": ("GG008", raw_key("x", 9, Arr(U8, b"", 2**30 + 1))),
    "array of strings longer than the file": ("GG008", raw_key("x", 9, Arr(STR, b"", 2**28))),
    "array of arrays": ("GG009", raw_key("x", 9, deep(1))),
    "arrays a hundred deep": ("GG010", raw_key("x", 9, deep(100))),
    "arrays fifty thousand deep": ("GG010", raw_key("x", 9, Arr(9, struct.pack("<iQ", 9, 1) * 50_000, 1))),
    "alignment 0": ("GG011", key("general.alignment", value=0)),
    "alignment 48": ("GG011", key("general.alignment", value=48)),
    "alignment as u64": ("GG011", key("general.alignment", U64, 32)),
    "alignment as text": ("GG011", key("general.alignment", STR, "32")),
    "alignment beyond the end": ("GG011", key("general.alignment", value=2**31)),
    "alignment 4": ("GG012", gguf_bytes({"general.alignment": (U32, 4)}, alignment=4)),
    "name of 64 bytes": ("GG013", gguf_bytes(tensors=[*gguf_tensors(), T("n" * 64)])),
    "name of 3,000 bytes": ("GG013", gguf_bytes(tensors=[*gguf_tensors(), T("n" * 3000)])),
    "name twice": ("GG013", gguf_bytes(tensors=[*gguf_tensors(), T("output_norm.weight")])),
    "five dimensions": ("GG014", shape(1, 1, 1, 1, 32)),
    "2^32 - 1 dimensions": ("GG014", shape(32, n_dims=2**32 - 1)),
    "negative dimension": ("GG014", shape(-1, 32)),
    "two negative dimensions": ("GG014", shape(-4, -8)),
    "2^63 elements": ("GG014", shape(2**32, 2**31)),
    "2^64 elements": ("GG014", shape(2**32, 2**32)),
    "bytes that wrap": ("GG015", shape(2**62, type=0)),
    "type 43": ("GG016", shape(32, type=43)),
    "type -1": ("GG016", shape(32, type=-1)),
    "type 4, removed": ("GG016", shape(32, type=4)),
    "type 31, removed": ("GG016", shape(32, type=31)),
    "a third of a block": ("GG017", shape(10, type=2)),
    "a row of 128 for a k-quant": ("GG017", shape(128, 2, type=12)),
    "misaligned offset": ("GG018", gguf_bytes(tensors=[T("a"), T("b", offset=130)])),
    "overlap": ("GG018", gguf_bytes(tensors=[T("a", (64,)), T("b", offset=0)])),
    "hole": ("GG018", gguf_bytes(tensors=[T("a"), T("b", offset=256)], data=bytes(512))),
    "disorder": ("GG018", gguf_bytes(tensors=[T("a", offset=128), T("b", offset=0)])),
    "offset 2^63": ("GG018", gguf_bytes(tensors=[T("a"), T("b", offset=2**63)])),
    "cut in the header": ("GG019", gguf_bytes()[:2000]),
    "cut in the data": ("GG019", gguf_bytes()[:-200]),
    "no data at all": ("GG019", gguf_bytes(data=b"")),
    "a zip behind it": ("GG020", gguf_bytes(tail=b"PK\x03\x04" + bytes(60))),
    "one byte behind it": ("GG020", gguf_bytes(tail=b"x")),
    "text that is not UTF-8": ("GG022", key("general.name", STR, b"\xff\xfe")),
    "truth value 2": ("GG023", key("general.flag", BOOL, 2)),
}  # fmt: skip
INFO = {
    "last tensor not padded": ("GG021", projector_bytes([T("x"), T("y", (4,))])[:-16]),
    "a type of ik_llama.cpp": (
        "GG024",
        gguf_bytes(tensors=[*gguf_tensors(), T("y", (256,), type=137)], tail=bytes(96)),
    ),
}


@pytest.mark.parametrize("case", BAD | INFO)
def test_a_fault_is_found_under_its_code(tmp_path, case):
    code, content = (BAD | INFO)[case]
    write(tmp_path, {"model.gguf": content})
    report = audit(tmp_path / "model.gguf")
    found = {f.code: f.severity for f in report.findings}
    assert set(found) & ({code} if isinstance(code, str) else set(code)), report.findings
    worst = rules()[code if isinstance(code, str) else code[0]].severity
    if isinstance(code, str):
        assert found[code] == worst
    assert report.verdict == "fail" or worst != "error"
    assert report.verdict == "pass" if worst == "info" else report.verdict != "pass"


def test_every_rule_has_a_file_that_breaks_it():
    listed = {c for code, _ in (BAD | INFO).values() for c in ([code] if isinstance(code, str) else code)}
    assert listed >= {code for code in rules() if code.startswith("GG")}


def test_every_defect_that_the_reader_names_has_a_rule_of_its_severity():
    import inspect

    source = inspect.getsource(gguf)
    for code, kind in GGUF_DEFECTS.items():
        assert f'"{code}"' in source, code
        assert kind.severity in {"error", "warning", "info"}


@pytest.mark.parametrize("content", [
    gguf_bytes(), gguf_bytes(version=2), gguf_bytes({"general.alignment": (U32, 64)}, alignment=64),
    gguf_bytes({"general.alignment": (U32, 8)}, alignment=8),
    projector_bytes([T("x"), T("n" * 63)]),
    projector_bytes([T("x"), T("scalar", ())]),
    projector_bytes([T("x"), T("k", (256, 2), 12)]),
    raw_key("x", 9, Arr(U32, [])), raw_key("x", 9, Arr(STR, [])), raw_key("x", STR, ""),
])  # fmt: skip
def test_what_is_sound_has_no_finding(tmp_path, content):
    write(tmp_path, {"model.gguf": content})
    assert audit(tmp_path / "model.gguf").findings == ()


def test_all_defects_of_a_file_are_reported_in_one_run(tmp_path):
    tensors = [*gguf_tensors(), T("n" * 64), T("q", (10,), 2), T("z", (32,), 43)]
    write(
        tmp_path, {"model.gguf": gguf_bytes({"general.alignment": (U32, 0), "general.name": (STR, b"\xff")}, tensors)}
    )
    assert codes(tmp_path) >= {"GG011", "GG013", "GG016", "GG017", "GG022"}


def test_findings_of_one_kind_are_capped_with_a_count(tmp_path):
    tensors = [T(f"t{i}", (32,), 43) for i in range(500)]
    write(tmp_path, {"model.gguf": gguf_bytes(tensors=tensors, data=b"")})
    found = [f for f in audit(tmp_path).findings if f.code == "GG016"]
    assert len(found) == 21
    assert "more" in found[-1].message
