"""safetensors structure: each rule finds its fault, and verdicts are those of safetensors.safe_open in both directions.

Deliberate differences, each a test below: headers above 16 MiB are not listed and therefore refused; a GGUF or foreign
file is refused by its own name.
"""

from __future__ import annotations

import json
import struct

import pytest
from audit_builder import audit, codes, st_bytes, write
from safetensors import SafetensorError, safe_open

from inspector.audit.registry import rules

A = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def h(text, data=bytes(8), **options):
    raw = text if isinstance(text, bytes) else (text if isinstance(text, str) else json.dumps(text)).encode()
    return st_bytes(header=raw, data=data, **options)


def entry(**changes):
    return h({"a": {k: v for k, v in (A | changes).items() if v is not None}})


BAD = {
    "length 0": ("ST001", struct.pack("<Q", 0) + bytes(8)[:0] + b"{}" * 4),
    "length 1": ("ST001", struct.pack("<Q", 1) + b"{" + bytes(8)),
    "length 100,000,001": ("ST001", struct.pack("<Q", 100_000_001) + b'{"a":1}' + bytes(60)),
    "length 2^63": ("ST001", struct.pack("<Q", 2**63) + b'{"a":1}' + bytes(60)),
    "length beyond the file": ("ST001", struct.pack("<Q", 4000) + b'{"a":1}' + bytes(60)),
    "not JSON": ("ST003", h('{"a":}')),
    "an array": ("ST003", h('["a", 1]')),
    "a byte order mark": ("ST003", h(b"\xef\xbb\xbf" + json.dumps({"a": A}).encode())),
    "UTF-16": ("ST003", h(json.dumps({"a": A}).encode("utf-16-le"))),
    "not UTF-8": ("ST003", h(b'{"\xff\xfe": ' + json.dumps(A).encode() + b"}")),
    "NaN": ("ST003", h('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":NaN}}')),
    "Infinity": ("ST003", h('{"a":{"dtype":"F32","shape":[Infinity],"data_offsets":[0,8]}}')),
    "text behind the object": ("ST003", h(json.dumps({"a": A}) + "x")),
    "two objects": ("ST003", h(json.dumps({"a": A}) + "{}")),
    "a raw newline in a name": ("ST003", h('{"a\nb":' + json.dumps(A) + "}")),
    "half a surrogate": ("ST003", h('{"\\ud800":' + json.dumps(A) + "}")),
    "a comment": ("ST003", h("/* x */" + json.dumps({"a": A}))),
    "single quotes": ("ST003", h("{'a': 1}")),
    "200 deep": ("ST004", h('{"a":' + "[" * 200 + "]" * 200 + "}")),
    "100,000 deep": ("ST004", h('{"a":' + "[" * 100_000 + "]" * 100_000 + "}")),
    "a number of 5,000 digits": ("ST004", h('{"a":{"dtype":"F32","shape":[' + "9" * 5000 + '],"data_offsets":[0,8]}}')),
    "no dtype": ("ST005", entry(dtype=None)),
    "no shape": ("ST005", entry(shape=None)),
    "no offsets": ("ST005", entry(data_offsets=None)),
    "dtype a number": ("ST005", entry(dtype=3)),
    "shape a number": ("ST005", entry(shape=2)),
    "negative dimension": ("ST005", entry(shape=[-2])),
    "dimension 2.0": ("ST005", entry(shape=[2.0])),
    "dimension true": ("ST005", entry(shape=[True, 2])),
    "dimension as text": ("ST005", entry(shape=["2"])),
    "dimension 2^64": ("ST005", entry(shape=[2**64])),
    "one offset": ("ST005", entry(data_offsets=[0])),
    "three offsets": ("ST005", entry(data_offsets=[0, 8, 8])),
    "negative offset": ("ST005", entry(data_offsets=[-8, 0])),
    "an entry of text": ("ST005", h({"a": "F32"})),
    "an entry of null": ("ST005", h({"a": None})),
    "dtype twice": ("ST005", h('{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}')),
    "04": ("ST003", h('{"a":{"dtype":"F32","shape":[04],"data_offsets":[0,8]}}')),
    "unknown dtype": ("ST006", entry(dtype="F33")),
    "dtype in small letters": ("ST006", entry(dtype="f32")),
    "shape larger than its bytes": ("ST007", entry(shape=[3])),
    "shape smaller than its bytes": ("ST007", entry(shape=[1])),
    "a product of 2^64": ("ST007", entry(shape=[2**32, 2**32])),
    "bits of 2^64": ("ST007", entry(shape=[2**62])),
    "half a byte": ("ST007", entry(dtype="F4", shape=[3])),
    "a hole": ("ST008", h({"a": A, "b": A | {"data_offsets": [16, 24]}}, bytes(24))),
    "a hole at the start": ("ST008", h({"a": A | {"data_offsets": [8, 16]}}, bytes(16))),
    "overlap": ("ST008", h({"a": A, "b": A | {"data_offsets": [4, 12]}}, bytes(12))),
    "the same place twice": ("ST008", h({"a": A, "b": A})),
    "the end before the beginning": ("ST008", entry(data_offsets=[8, 0])),
    "a byte too many": ("ST008", h({"a": A}, bytes(9))),
    "a zip behind it": ("ST008", h({"a": A}, bytes(8) + b"PK\x03\x04" + bytes(40))),
    "bytes behind an empty header": ("ST008", h("{}", bytes(8))),
    "a byte too few": ("ST009", h({"a": A}, bytes(7))),
    "no data": ("ST009", h({"a": A}, b"")),
    "metadata of numbers": ("ST010", h({"__metadata__": {"a": 1}, "a": A})),
    "metadata an array": ("ST010", h({"__metadata__": ["a"], "a": A})),
    "metadata nested": ("ST010", h({"__metadata__": {"a": {"b": "c"}}, "a": A})),
    "metadata twice": ("ST010", h('{"__metadata__":{},"__metadata__":{},"a":' + json.dumps(A) + "}")),
}  # fmt: skip
WARN = {
    "a name twice": ("ST011", h('{"a":' + json.dumps(A) + ',"a":' + json.dumps(A) + "}")),
    "space before the object": ("ST012", h("  " + json.dumps({"a": A}))),
    "an unknown field": ("ST012", entry(extra=1)),
    "null metadata": ("ST012", h({"__metadata__": None, "a": A})),
    "an empty name": ("ST012", h({"": A})),
}
INFO = {
    "data not on a multiple of 8": ("ST013", h(json.dumps({"a": A}) + " ", pad=False)),
    "a tensor not on its element": ("ST013", st_bytes({"a": ("U8", (1,)), "b": ("F32", (1,))})),
}  # fmt: skip
GOOD = {
    "two tensors": st_bytes({"a": ("F32", (2, 2)), "b": ("BF16", (4,))}),
    "metadata": st_bytes({"a": ("F32", (2,))}, metadata={"format": "pt"}),
    "nothing": st_bytes(),
    "only metadata": st_bytes(metadata={"a": "b"}),
    "a scalar": st_bytes({"a": ("F32", ())}),
    "no elements": st_bytes({"a": ("F32", (0, 5)), "b": ("F32", (2,))}),
    "another order than the data": h({"b": A | {"data_offsets": [8, 16]}, "a": A}, bytes(16)),
    "padding by newlines": h(json.dumps({"a": A}) + "\n" * 40),
    "names in other scripts": st_bytes({"层.weight": ("F32", (2,)), "é": ("F32", (2,))}),
    "a name of 10,000 letters": st_bytes({"n" * 10_000: ("F32", (2,))}),
    "a deep but legal shape": st_bytes({"a": ("F32", (1,) * 100)}),
}


def loads(path):
    try:
        with safe_open(path, "np") as file:
            list(file.keys())
    except SafetensorError:
        return False
    return True


@pytest.mark.parametrize("case", BAD | WARN | INFO)
def test_a_fault_is_found_under_its_code_as_safe_open_judges_it(tmp_path, case):
    code, content = (BAD | WARN | INFO)[case]
    path = write(tmp_path, {"model.safetensors": content}) / "model.safetensors"
    report = audit(path)
    severity = rules()[code].severity
    assert (code, severity) in {(f.code, f.severity) for f in report.findings}, report.findings
    assert report.verdict == {"error": "fail", "warning": "warn", "info": "pass"}[severity]
    assert loads(path) == (report.verdict != "fail")


@pytest.mark.parametrize("case", GOOD)
def test_what_is_sound_has_no_finding_and_loads(tmp_path, case):
    path = write(tmp_path, {"model.safetensors": GOOD[case]}) / "model.safetensors"
    assert audit(path).findings == ()
    assert loads(path)


def test_every_rule_has_a_file_that_breaks_it():
    listed = {code for code, _ in (BAD | WARN | INFO).values()} | {"ST002"}
    assert listed == {code for code in rules() if code.startswith("ST")}


def test_a_header_above_16_mib_is_refused_though_safe_open_might_take_it(tmp_path):
    raw = json.dumps({"a": A}).encode() + b" " * (17 << 20)
    path = write(tmp_path, {"model.safetensors": h(raw)}) / "model.safetensors"
    assert codes(path) == {"ST002"}


def test_missing_bytes_are_counted_and_their_tensor_named(tmp_path):
    raw = st_bytes({"a": ("F32", (2,)), "b": ("F32", (100,))})
    path = write(tmp_path, {"model.safetensors": raw[:-150]}) / "model.safetensors"
    found = audit(path).findings[0]
    assert found.code == "ST009"
    assert found.where == "model.safetensors: b"
    assert "150" in found.message


@pytest.mark.parametrize("cut", range(0, 120, 7))
def test_every_prefix_of_a_file_is_refused_as_by_safe_open(tmp_path, cut):
    raw = st_bytes({"a": ("F32", (2,)), "b": ("F32", (3,))})
    path = write(tmp_path, {"model.safetensors": raw[:cut]}) / "model.safetensors"
    assert audit(path).verdict == "fail"
    assert not loads(path)


def test_one_changed_byte_of_a_header_gets_safe_opens_verdict(tmp_path):
    raw = bytearray(st_bytes({"a": ("F32", (2,)), "b": ("F16", (3, 2))}, metadata={"k": "v"}))
    path = tmp_path / "model.safetensors"
    for at in range(8, len(raw) - 20, 3):
        for byte in (b" ", b"9", b"\x00", b'"', b"}", b"\xff"):
            changed = bytes(raw[:at]) + byte + bytes(raw[at + 1 :])
            path.write_bytes(changed)
            assert loads(path) == (audit(path).verdict != "fail"), (at, byte)
