"""The GGUF reader against gguf.GGUFReader, against the cases of llama.cpp's tests/test-gguf.cpp, and against damage."""

from __future__ import annotations

import struct
import subprocess
import sys
import time
import tracemalloc
from contextlib import suppress
from itertools import pairwise

import gguf
import numpy as np
import pytest
from gguf_builder import (
    ARR,
    BOOL,
    CODES,
    F32,
    F64,
    I8,
    I32,
    I64,
    NAMES,
    STR,
    U8,
    U16,
    U32,
    U64,
    Arr,
    Str,
    Tensor,
    build,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.errors import FormatError, LimitExceeded, NotAModelFile, Truncated, UnsupportedVersion
from inspector.formats import _strings
from inspector.formats._cursor import Cursor, Stop
from inspector.formats._gguf_defects import GGUF_DEFECTS
from inspector.formats.gguf import read_array, read_gguf, read_strings
from inspector.formats.modelfile import LongArray
from inspector.sources.local import LocalSource
from inspector.sources.memory import MemorySource

U64_MAX = (1 << 64) - 1
F16, Q4_0, I8_TYPE, I64_TYPE = 1, 2, 24, 27


def parse(data, *, strict=True, size=None):
    return read_gguf(MemorySource(data, name="x.gguf", size=size), strict=strict)


def codes(data, **kwargs):
    return [d.code for d in parse(data, strict=False, **kwargs).defects]


class Counting(MemorySource):
    """Remembers which ranges were read and what was announced."""

    def __init__(self, data):
        super().__init__(data, name="x.gguf")
        self.ranges, self.hints = [], []

    def read_at(self, offset, length):
        data = super().read_at(offset, length)
        self.ranges.append((offset, offset + len(data)))
        return data

    def expect(self, end):
        self.hints.append(end)


# -- the same as gguf.GGUFReader ------------------------------------------------------------------------------------


def field_value(field):
    """What a reader field holds, as plain Python."""
    if field.types[0] == gguf.GGUFValueType.ARRAY:
        if not field.data:
            return ()
        if field.types[-1] == gguf.GGUFValueType.STRING:
            return tuple(bytes(field.parts[i]).decode() for i in field.data)
        return tuple(field.parts[i][0].item() for i in field.data)
    if field.types[0] == gguf.GGUFValueType.STRING:
        return bytes(field.parts[-1]).decode()
    return field.parts[-1][0].item()


def whole(source, value, byte_order="little"):
    return tuple(read_array(source, value, byte_order=byte_order)) if isinstance(value, LongArray) else value


def assert_same_as_oracle(path):
    source = LocalSource(str(path))
    ours, oracle = read_gguf(source), gguf.GGUFReader(path)
    theirs = {k: f for k, f in oracle.fields.items() if not k.startswith("GGUF.")}
    assert list(ours.metadata) == list(theirs)
    for key, field in theirs.items():
        assert whole(source, ours.metadata[key], ours.byte_order) == field_value(field), key
        names = [NAMES[t] for t in field.types]
        if len(names) == 1 or field.data:  # an empty array has lost its element type in the oracle
            assert ours.metadata_types[key] == (names[0] if len(names) == 1 else f"arr[{names[-1]}]"), key
    assert ours.version == oracle.fields["GGUF.version"].parts[0][0]
    assert (ours.header_bytes, ours.alignment) == (oracle.data_offset, oracle.alignment)
    assert len(ours.tensors) == len(oracle.tensors) > 0
    for mine, other in zip(ours.tensors, oracle.tensors, strict=True):
        assert mine.name == other.name
        assert mine.shape == tuple(reversed(other.shape.tolist()))
        assert mine.dtype.name == other.tensor_type.name
        assert (mine.offset, mine.nbytes, mine.n_elements) == (other.data_offset, other.n_bytes, other.n_elements)
    return ours


@pytest.mark.models
def test_a_real_model_reads_as_the_reference_reader_reads_it(models_dir):
    for path in models_dir.glob("*.gguf"):
        ours = assert_same_as_oracle(path)
        assert ours.defects == ()
        assert ours.missing_nbytes == 0


HEADERS = ["command-r7b", "deepseek-v2-lite", "gemma-3n-e4b", "lfm2-1.2b", "llama-4-scout", "mamba-2.8b", "phi-3-mini"]


@pytest.mark.parametrize("name", HEADERS)
def test_headers_of_full_size_files_read_as_the_reference_reader_reads_them(name, sparse_model):
    ours = assert_same_as_oracle(sparse_model(name))
    assert [d.code for d in ours.defects if d.fatal] == []


def write_with_upstream(path, *, endian=gguf.GGUFEndian.LITTLE, n_tokens=300):
    writer = gguf.GGUFWriter(path, "llama", endianess=endian)
    writer.add_uint8("t.u8", 200)
    writer.add_int8("t.i8", -100)
    writer.add_uint16("t.u16", 60000)
    writer.add_int16("t.i16", -30000)
    writer.add_uint32("t.u32", 4_000_000_000)
    writer.add_int32("t.i32", -2_000_000_000)
    writer.add_float32("t.f32", 0.1)
    writer.add_float64("t.f64", 0.1)
    writer.add_uint64("t.u64", 2**63 + 5)
    writer.add_int64("t.i64", -(2**62))
    writer.add_bool("t.bool", True)
    writer.add_string("t.str", "Grüße, 模型")
    writer.add_array("t.kv_heads", [0, 0, 8, 0, 0, 8])
    writer.add_array("t.pattern", [True, False, True])
    writer.add_array("t.floats", [0.5, 1.5])
    writer.add_array("t.long", list(range(5000)))
    writer.add_array("t.flags", [i % 3 == 0 for i in range(5000)])
    writer.add_array("t.languages", ["en", "de"])
    writer.add_token_list([f"token {i} ü" for i in range(n_tokens)])
    writer.add_token_scores([float(-i) for i in range(n_tokens)])
    writer.add_tensor("a.weight", np.zeros((3, 64), dtype=np.float32))
    writer.add_tensor("b.weight", np.zeros((2, 5, 7), dtype=np.float16))
    writer.add_tensor("c.weight", np.zeros((4, 34), dtype=np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("endian", list(gguf.GGUFEndian))
def test_files_of_the_reference_writer_read_as_the_reference_reader_reads_them(tmp_path, endian):
    path = tmp_path / "x.gguf"
    write_with_upstream(path, endian=endian)
    ours = assert_same_as_oracle(path)
    big = endian == gguf.GGUFEndian.BIG
    assert ours.byte_order == ("big" if big else "little")
    assert [d.code for d in ours.defects if d.code != "unpadded-tail"] == (["big-endian"] if big else [])


# -- hand-crafted files: llama.cpp's cases, in both directions ------------------------------------------------------

KV = [
    *(((f"my_key_{kind}"), kind, 1) for kind in CODES),
    ("my_str", STR, "value"),
    *((f"my_arr_{kind}", ARR, Arr(kind, (1, 0, 1))) for kind in CODES),
    ("my_arr_str", ARR, Arr(STR, ("a", "", "abc"))),
    ("my_arr_empty", ARR, Arr(STR, ())),
]
TENSORS = [
    Tensor("my_tensor_0", (10, 3)),
    Tensor("my_tensor_1", (64, 2, 3), Q4_0),
    Tensor("my_tensor_2", (5,), F16),
    Tensor("my_tensor_3", (256, 1, 1, 2), 12),
]
ALIGN_1 = [("general.alignment", U32, 1)]
BIG = 4 * (2**31 - 1)
HALF = 0x7FFFFFFFFFFFFFC0

ACCEPTED = {
    "HEADER_EMPTY": build(),
    "KV_SUCCESS": build(KV),
    "TENSORS_ZERO_DIM": build(KV, [Tensor("a", (10, 0)), Tensor("b", (8,))]),
    "TENSORS_SUCCESS": build(KV, TENSORS),
    "TENSORS_CUSTOM_ALIGN": build(KV + ALIGN_1, TENSORS, alignment=1),
    "version 2": build(KV, TENSORS, version=2),
    "big-endian": build(KV, TENSORS, order=">"),
    "a scalar tensor": build(KV, [Tensor("s", ())]),
    "a first split without tensors": build([("split.count", U16, 3)]),
    "an empty tensor before and after others": build((), [Tensor("a", (0,)), Tensor("b", (4,)), Tensor("c", (0,))]),
    "a name of 63 bytes": build((), [Tensor("n" * 63)]),
    "a huge alignment of nothing": build([("general.alignment", U32, 1 << 31)]),
    "alignment 64": build([("general.alignment", U32, 64)], TENSORS, alignment=64),
}

REFUSED = {
    "HEADER_BAD_VERSION_0": (build(version=0), "unsupported-version", UnsupportedVersion),
    "HEADER_BAD_VERSION_1": (build(version=1), "unsupported-version", UnsupportedVersion),
    "HEADER_BAD_VERSION_FUTURE": (build(version=4), "unsupported-version", UnsupportedVersion),
    "big-endian version 4": (build(version=4, order=">"), "unsupported-version", UnsupportedVersion),
    "HEADER_BAD_N_TENSORS": (build(n_tensors=U64_MAX), "absurd-count", LimitExceeded),
    "HEADER_BAD_N_KV": (build(n_kv=U64_MAX), "absurd-count", LimitExceeded),
    "more tensors than room": (build(n_tensors=5), "bad-count", Truncated),
    "more keys than room": (build(KV, n_kv=3000), "bad-count", Truncated),
    "KV_BAD_KEY_SIZE": (build([(Str(b"my_key", U64_MAX), U8, 1)]), "string-too-long", LimitExceeded),
    "KV_EMPTY_KEY": (build([("", U8, 1)]), "empty-key", FormatError),
    "KV_BAD_TYPE": (build([("my_key", 13, b"1")]), "bad-value-type", FormatError),
    "a negative type": (build([("my_key", -1, b"1")]), "bad-value-type", FormatError),
    "KV_BAD_TYPE in an array": (build([("my_key", ARR, Arr(13, b"1", 1))]), "bad-value-type", FormatError),
    "KV_BAD_VALUE_SIZE": (build([("my_key", ARR, Arr(U8, b"1", 1 << 40))]), "array-too-long", LimitExceeded),
    "a string of 2^62 bytes": (build([("my_key", STR, Str(b"x", 1 << 62))]), "string-too-long", LimitExceeded),
    "2^61 u64s, whose bytes wrap": (build([("k", ARR, Arr(U64, b"", 1 << 61))]), "array-too-long", LimitExceeded),
    "2^32 strings": (build([("k", ARR, Arr(STR, b"", 1 << 32))]), "array-too-long", LimitExceeded),
    "KV_DUPLICATE_KEY": (build([("k", U8, 1), ("k", U8, 2)]), "duplicate-key", FormatError),
    "KV_BAD_ALIGN": (build([("general.alignment", U32, 13)]), "bad-alignment", FormatError),
    "an alignment of 0": (build([("general.alignment", U32, 0)]), "bad-alignment", FormatError),
    "KV_WRONG_TYPE_ALIGN": (build([("general.alignment", I32, 32)]), "bad-alignment", FormatError),
    "an alignment past the end": (build([("general.alignment", U32, 1 << 31)], TENSORS), "bad-alignment", FormatError),
    "TENSORS_BAD_NAME_SIZE": (build(KV, [Tensor("n" * 64)]), "tensor-name-too-long", FormatError),
    "TENSORS_BAD_N_DIMS": (build(KV, [Tensor("t", (1, 1, 1, 1, 1))]), "too-many-dims", FormatError),
    "2^32-1 dimensions": (build(KV, [Tensor("t", (1,), n_dims=2**32 - 1)]), "too-many-dims", FormatError),
    "TENSORS_BAD_SHAPE": (build(KV, [Tensor("t", (-1, -1))]), "negative-dim", FormatError),
    "TENSORS_NE_TOO_BIG": (build(KV, [Tensor("t", (BIG, BIG))], data=b""), "too-many-elements", FormatError),
    "2^63 elements before a zero": (build((), [Tensor("t", (2**62, 4, 0))]), "too-many-elements", FormatError),
    "TENSORS_NBYTES_TOO_BIG": (
        build(KV, [Tensor("t", (2**31, 2**30), I64_TYPE)], data=b""), "too-many-bytes", FormatError,
    ),
    "TENSORS_NBYTES_PAD_WRAP": (
        build(KV, [Tensor("t", (4, 1073741823, 1073741825))], data=b""), "too-many-bytes", FormatError,
    ),
    "DATA_MEM_SIZE_OVERFLOW": (
        build(KV, [Tensor(n, (HALF,), I8_TYPE, o) for n, o in (("a", 0), ("b", HALF), ("c", 2 * HALF))], data=b""),
        "too-many-bytes", FormatError,
    ),
    "TENSORS_BAD_TYPE": (build(KV, [Tensor("t", type=43)]), "unknown-dtype", FormatError),
    "a negative tensor type": (build(KV, [Tensor("t", type=-1)]), "unknown-dtype", FormatError),
    **{
        f"removed type {n}": (build(KV, [Tensor("t", type=n)]), "removed-dtype", FormatError)
        for n in (4, 5, 31, 32, 33, 36, 37, 38)
    },
    "rows that do not fill blocks": (build(KV, [Tensor("t", (33,), Q4_0)]), "partial-block", FormatError),
    "a quantised scalar": (build(KV, [Tensor("t", (), Q4_0)]), "partial-block", FormatError),
    "TENSORS_BAD_OFFSET": (build(KV, [Tensor("t", offset=U64_MAX)]), "misaligned-tensor", FormatError),
    "an offset past the data": (build(KV, [Tensor("t", offset=1 << 40)]), "tensor-hole", FormatError),
    "TENSORS_DUPLICATE_NAME": (build(KV, [Tensor("t"), Tensor("t")]), "duplicate-tensor", FormatError),
    "TENSORS_BAD_ALIGN": (
        build([*KV, ("general.alignment", U32, 13)], TENSORS, alignment=13), "bad-alignment", FormatError,
    ),
    "TENSORS_INCONSISTENT_ALIGN": (build(KV, TENSORS, alignment=1), "misaligned-tensor", FormatError),
    "two tensors on the same bytes": (build(KV, [Tensor("a"), Tensor("b", offset=0)]), "tensor-overlap", FormatError),
    "bytes that nobody owns": (build(KV, [Tensor("a"), Tensor("b", offset=256)]), "tensor-hole", FormatError),
    "data in another order": (
        build(KV, [Tensor("a", offset=128), Tensor("b", offset=0)]), "tensor-order", FormatError,
    ),
    "nine levels of arrays": (build([("k", ARR, Arr(ARR, [Arr(ARR, [Arr(ARR, [Arr(ARR, [Arr(ARR, [Arr(ARR, [Arr(
        ARR, [Arr(ARR, [Arr(U8, (1,))])])])])])])])]))]), "nesting-too-deep", LimitExceeded),
}  # fmt: skip


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted_by_llama_cpp(name):
    model = parse(ACCEPTED[name])
    assert [d for d in model.defects if d.fatal] == []
    assert model.missing_nbytes == 0
    assert parse(ACCEPTED[name], strict=False) == model


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_llama_cpp(name):
    data, code, error = REFUSED[name]
    with pytest.raises(FormatError) as caught:
        parse(data)
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)
    fatal = [d.code for d in parse(data, strict=False).defects if d.fatal]
    assert fatal[0] == code


def test_a_bad_magic_is_not_a_gguf_file_however_it_is_read():
    for strict in (True, False):
        with pytest.raises(NotAModelFile):
            parse(build(magic=b"FUGG"), strict=strict)


def test_every_code_is_reached():
    nested = Arr(ARR, (Arr(U8, (1, 2)), Arr(U8, ())))
    others = [
        build(order=">"), build([(b"k\xff", U8, 1)]), build([("k" * 70_000, U8, 1)]), build([("k" * 2**23, U8, 1)]),
        build([("k", ARR, nested)]), build([("general.alignment", U32, 4)]), build(KV, TENSORS)[:-40],
        build(KV, TENSORS)[:1100], build(KV, TENSORS, tail=b"PK\3\4" + b"x" * 40), build((), [Tensor("a", (1,))])[:-28],
        build([("k", STR, b"\xff")]), build([("k", BOOL, 2)]), build(KV, [Tensor("a", (256,), 137)]),
    ]  # fmt: skip
    found = {code for data, _, _ in REFUSED.values() for code in codes(data)}
    found |= {code for data in others for code in codes(data)}
    many = build([("k", ARR, Arr(STR, b"", 1 << 28))])
    found |= {d.code for d in read_gguf(Sparse(many, name="x.gguf", size=4 << 30), strict=False).defects}
    assert found == set(GGUF_DEFECTS)


# -- values ---------------------------------------------------------------------------------------------------------


def test_per_layer_arrays_stay_whole_and_longer_ones_are_counted():
    model = parse(
        build(
            [
                ("heads", ARR, Arr(U32, range(4096))),
                ("long", ARR, Arr(U32, range(4097))),
                ("s", ARR, Arr(STR, ["ab"] * 65)),
            ]
        )
    )
    assert model.metadata["heads"] == tuple(range(4096))
    assert model.metadata["long"] == LongArray("u32", 4097, model.metadata["long"].offset, 4 * 4097, tuple(range(8)))
    assert model.metadata["s"].head == ("ab",) * 8
    assert model.metadata["s"].nbytes == 65 * 10
    assert model.metadata_types == {"heads": "arr[u32]", "long": "arr[u32]", "s": "arr[str]"}


def test_truth_values_are_bools_and_odd_ones_are_noted():
    model = parse(build([("a", BOOL, 0), ("b", BOOL, 7), ("c", ARR, Arr(BOOL, (1, 0, 9)))]))
    assert model.metadata == {"a": False, "b": True, "c": (True, False, True)}
    assert model.metadata["b"] is True
    assert [d.code for d in model.defects] == ["bad-bool", "bad-bool"]


def test_strings_that_are_not_utf8_survive_byte_for_byte():
    model = parse(build([("k", STR, b"a\xff\xfeb")]))
    assert model.metadata["k"].encode("utf-8", "surrogateescape") == b"a\xff\xfeb"
    assert [(d.code, d.where, d.fatal) for d in model.defects] == [("not-utf8", "k", False)]


def test_a_string_beyond_a_mebibyte_is_counted_not_kept():
    data = build([("k", STR, b"x" * (1 << 20) + b"y"), ("after", U8, 9)])
    model = parse(data)
    value = model.metadata["k"]
    assert (value.elem, value.length, value.head) == ("char", (1 << 20) + 1, ("x" * 256,))
    assert model.metadata["after"] == 9
    assert next(read_strings(MemorySource(data), value)).endswith("xy")


def test_nested_arrays_are_read_and_noted():
    value = Arr(ARR, (Arr(I8, (1, -2)), Arr(ARR, (Arr(STR, ("a", "b")), Arr(F64, ())))))
    model = parse(build([("k", ARR, value), ("after", U8, 9)]))
    assert model.metadata["k"] == ((1, -2), (("a", "b"), ()))
    assert model.metadata_types["k"] == "arr[arr]"
    assert model.metadata["after"] == 9
    assert [(d.code, d.fatal) for d in model.defects] == [("nested-array", False)]


def test_long_nested_arrays_are_counted():
    model = parse(build([("k", ARR, Arr(ARR, [Arr(U8, (i,)) for i in range(100)])), ("after", U8, 9)]))
    assert (model.metadata["k"].length, model.metadata["k"].nbytes) == (100, 1300)
    assert model.metadata["k"].head == tuple((i,) for i in range(8))


@pytest.mark.parametrize("order", ["<", ">"])
def test_arrays_that_were_passed_over_can_be_read_later(order):
    words, floats = [f"wörd{i}" for i in range(1000)], [i / 8 for i in range(70_000)]
    data = build([("s", ARR, Arr(STR, words)), ("f", ARR, Arr(F32, floats))], order=order)
    source, model = MemorySource(data), parse(data)
    assert list(read_strings(source, model.metadata["s"], byte_order=model.byte_order)) == words
    assert list(read_array(source, model.metadata["f"], byte_order=model.byte_order)) == floats


def test_reading_an_array_of_a_file_that_has_shrunk_says_so():
    data = build([("s", ARR, Arr(STR, ["abc"] * 100))])
    with pytest.raises(Truncated):
        list(read_strings(MemorySource(data[:-100]), parse(data).metadata["s"]))


# -- all defects in one run -----------------------------------------------------------------------------------------


def test_one_run_reports_every_defect():
    data = build(
        [("k", U8, 1), ("k", U8, 2), ("b", BOOL, 3), ("general.alignment", U32, 13)],
        [
            Tensor("a", (33,), Q4_0, 0), Tensor("b", (32,), 4, 64), Tensor("c", (32,), 77, 128),
            Tensor("d", (4,), 0, 160), Tensor("d", (4,), 0, 160), Tensor("e" * 64, (4,), 0, 165),
        ],
        tail=b"\x7fELF and more",
    )  # fmt: skip
    model = parse(data, strict=False)
    found = {d.code for d in model.defects}
    assert found >= {
        "duplicate-key", "bad-bool", "bad-alignment", "partial-block", "removed-dtype", "unknown-dtype",
        "duplicate-tensor", "tensor-name-too-long", "misaligned-tensor", "tensor-overlap",
    }  # fmt: skip
    assert model.metadata["k"] == 1
    assert len(model.tensors) == 6


def test_an_unknown_type_takes_the_bytes_up_to_the_next_tensor():
    model = parse(build((), [Tensor("a", (32,), 77, 0), Tensor("b", (4,), 0, 96)], data=bytes(112)), strict=False)
    assert (model.tensors[0].dtype, model.tensors[0].nbytes, model.tensors[0].dtype_name) == (
        None,
        96,
        "unknown type 77",
    )


def test_missing_data_is_no_error_but_is_counted_and_placed():
    whole_file = build(KV, TENSORS)
    model = parse(whole_file[:-100])
    [defect] = model.defects
    assert (defect.code, defect.fatal, defect.where) == ("truncated-data", True, "my_tensor_3")
    assert model.missing_nbytes == parse(whole_file).data_end - (len(whole_file) - 100) > 0
    assert f"{model.missing_nbytes} bytes are missing" in defect.what


def test_what_follows_the_last_tensor_is_named():
    [defect] = parse(build(KV, TENSORS, tail=b"PK\x03\x04" + bytes(40)), strict=False).defects
    assert (defect.code, defect.fatal) == ("trailing-data", False)
    assert "zip archive" in defect.what


def test_findings_of_one_kind_are_listed_up_to_a_bound():
    defects = parse(build((), [Tensor("same")] * 1000), strict=False).defects
    assert len(defects) == 65
    assert defects[-1].what == "935 more like these"


def test_a_header_cut_short_keeps_what_was_read():
    data = build(KV, TENSORS)
    model = parse(data[: data.index(b"my_tensor_2")], strict=False)
    assert [t.name for t in model.tensors] == ["my_tensor_0", "my_tensor_1"]
    assert [d.code for d in model.defects] == ["truncated-header"]
    with pytest.raises(Truncated) as caught:
        parse(data[: data.index(b"my_tensor_2")])
    assert caught.value.hint


def test_counts_in_the_other_byte_order_are_explained():
    data = build(n_tensors=int.from_bytes((5).to_bytes(8, "little"), "big"))
    with pytest.raises(LimitExceeded, match="byte order"):
        parse(data)


# -- bytes that are read --------------------------------------------------------------------------------------------


def vocabulary(n, *, text=b"token"):
    return Arr(STR, (struct.pack("<Q", len(text)) + text) * n, n)


def test_no_byte_is_read_twice_and_number_arrays_are_not_read_at_all():
    n = 300_000
    data = build(
        [("tokenizer.ggml.tokens", ARR, vocabulary(n)), ("tokenizer.ggml.scores", ARR, Arr(F32, bytes(4 * n), n))],
        [Tensor("a", (1 << 18,))],
    )
    source = Counting(data)
    model = read_gguf(source)
    assert len(model.tensors) == 1
    ranges = source.ranges
    assert all(a[1] <= b[0] for a, b in pairwise(ranges))
    assert max(end - start for start, end in ranges) <= 64 << 10
    assert sum(end - start for start, end in ranges) < n * 13 + (1 << 20)
    # 17 bytes a token and 8 for its score and type, then 80 a tensor
    assert source.hints[0] == min(len(data), model.metadata["tokenizer.ggml.tokens"].offset + 25 * n)


def test_a_tensor_data_section_is_never_read():
    source = Counting(build(KV, [Tensor("a", (1 << 20,))]))
    read_gguf(source)
    assert sum(end - start for start, end in source.ranges) < 1 << 20


# -- strings: both walks are exact ----------------------------------------------------------------------------------


def plain_walk(data, n):
    """Where `n` strings end, or None: the definition, one string after the other."""
    pos = 0
    for _ in range(n):
        if pos + 8 > len(data):
            return None
        length = int.from_bytes(data[pos : pos + 8], "little")
        if length > min(len(data) - pos - 8, 1 << 30):
            return None
        pos += 8 + length
    return pos


def our_walk(data, n):
    cursor = Cursor(MemorySource(data))
    try:
        _strings.skip_strings(cursor, n)
    except Stop:
        return None
    return cursor.offset


strings = st.one_of(
    st.binary(max_size=12), st.sampled_from([b"", b"\0" * 7, b"\0" * 8, b"\6" + b"\0" * 7]),
    st.integers(58, 70).map(bytes), st.integers(0, 3000).map(lambda n: b"\x01\0\0\0\0\0\0\0x" * n),
)  # fmt: skip


@pytest.mark.parametrize(
    "pattern", [False, pytest.param(True, marks=pytest.mark.skipif(sys.version_info < (3, 11), reason="3.11"))]
)
@pytest.mark.parametrize("window", [16, 100, 4096])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_walk_ends_where_the_plain_one_ends(pattern, window, data):
    words = data.draw(st.lists(strings, max_size=300))
    repeat = data.draw(st.integers(1, 4))
    raw = b"".join(struct.pack("<Q", len(w)) + w for w in words) * repeat
    raw = raw[: data.draw(st.integers(len(raw) // 2, len(raw)))] if data.draw(st.booleans()) else raw
    if raw and data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw = raw[:at] + bytes([data.draw(st.integers(0, 255))]) + raw[at + 1 :]
    n = max(0, len(words) * repeat + data.draw(st.integers(-1, 1)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("inspector.formats._cursor.WINDOW", window)
        patch.setattr(_strings, "_use_pattern", lambda _n, _order: pattern)
        assert our_walk(raw, n) == plain_walk(raw, n)


def test_the_pattern_is_used_only_where_it_pays(monkeypatch):
    monkeypatch.setattr(_strings, "_compiled", [])
    monkeypatch.setattr(_strings, "_passed", [0])
    assert not _strings._use_pattern(1000, "<")
    assert not _strings._use_pattern(10**7, ">")
    assert _strings._use_pattern(10**7, "<") == (sys.version_info >= (3, 11))


def test_a_process_that_reads_many_files_comes_to_use_the_pattern(monkeypatch):
    monkeypatch.setattr(_strings, "_compiled", [])
    monkeypatch.setattr(_strings, "_passed", [0])
    used = [_strings._use_pattern(49_152, "<") for _ in range(8)]
    assert not used[0]
    assert used[-1] == (sys.version_info >= (3, 11))


# -- round trips, prefixes and damage -------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
INTS = {U8: (0, 8), I8: (7, 7), U16: (0, 16), I32: (31, 31), U32: (0, 32), U64: (0, 64), I64: (63, 63)}


def scalars(kind):
    if kind == STR:
        return texts
    if kind == BOOL:
        return st.booleans()
    if kind in (F32, F64):
        return st.floats(width=32, allow_nan=False)
    low, bits = INTS[kind]
    return st.integers(-(1 << low) if low else 0, (1 << bits) - 1)


kinds = st.sampled_from([*INTS, STR, BOOL, F32, F64])
scalar_pairs = kinds.flatmap(lambda k: st.tuples(st.just(k), scalars(k)))
array_pairs = kinds.flatmap(lambda k: st.lists(scalars(k), max_size=40).map(lambda v: (ARR, Arr(k, tuple(v)))))
metadata = st.dictionaries(texts.filter(bool), scalar_pairs | array_pairs, max_size=8)
shapes = st.lists(st.integers(0, 5), max_size=3)
tensor_lists = st.lists(st.tuples(st.sampled_from([0, 1, 2, 8, 12, 30, 39]), shapes), max_size=6)


def expected(kind, value):
    return value.values if kind == ARR else value


@settings(max_examples=150, deadline=None)
@given(kv=metadata, specs=tensor_lists, order=st.sampled_from("<>"), version=st.sampled_from([2, 3]))
def test_what_was_written_is_what_is_read(kv, specs, order, version):
    tensors = [Tensor(f"t{i}", (256, *dims), kind) for i, (kind, dims) in enumerate(specs)]
    kv.pop("general.alignment", None)
    data = build([(k, kind, v) for k, (kind, v) in kv.items()], tensors, order=order, version=version)
    model = parse(data)
    assert dict(model.metadata) == {k: expected(kind, v) for k, (kind, v) in kv.items()}
    assert [(t.name, t.shape, t.nbytes) for t in model.tensors] == [(t.name, t.dims[::-1], t.nbytes) for t in tensors]
    assert (model.version, model.missing_nbytes) == (version, 0)
    assert not any(d.fatal for d in model.defects)


SMALL = build([*KV, ("tokens", ARR, Arr(STR, ["a", "bc", ""] * 40))], TENSORS, data=b"")


def test_every_prefix_is_truncated_and_nothing_else():
    header = parse(SMALL).header_bytes
    for end in range(4, header):
        model = parse(SMALL[:end], strict=False)
        assert {d.code for d in model.defects if d.fatal} <= {"truncated-header", "bad-count", "truncated-data"}
        assert any(d.fatal for d in model.defects)
        with suppress(Truncated):
            assert parse(SMALL[:end]).missing_nbytes > 0


@settings(max_examples=400, deadline=None)
@given(damage=st.lists(st.tuples(st.integers(4, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_any_damage_is_a_format_error_or_none(damage):
    raw = bytearray(SMALL)
    for at, byte in damage:
        raw[at] = byte
    lenient = parse(bytes(raw), strict=False)
    fatal = [d.code for d in lenient.defects if d.fatal and d.code != "truncated-data"]
    if fatal:
        with pytest.raises(FormatError) as caught:
            parse(bytes(raw))
        assert "\n" not in str(caught.value)
    else:
        assert parse(bytes(raw)).tensors == lenient.tensors


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_noise_behind_the_magic_is_a_format_error_or_none(noise):
    parse(b"GGUF" + noise, strict=False)
    with suppress(FormatError):
        parse(b"GGUF" + noise)


# -- bounds ---------------------------------------------------------------------------------------------------------


class Sparse(MemorySource):
    """A header followed by a hole of any size."""

    def read_at(self, offset, length):
        data = super().read_at(offset, length)
        return data + bytes(min(length, self.size - offset) - len(data))


HOSTILE = {
    "2^17 tensors of zeros": build(n_tensors=1 << 17),
    "2^16 keys of zeros": build(n_kv=1 << 16),
    "2^63 tensors": build(n_tensors=1 << 63),
    "2^28 empty strings": build([("k", ARR, Arr(STR, b"", 1 << 28))]),
    "2^23 empty strings": build([("k", ARR, Arr(STR, b"", (1 << 23) - 1))]),
    "2^30 bytes": build([("k", ARR, Arr(U8, b"", 1 << 30))]),
    "a string of 2^30 bytes": build([("k", STR, Str(b"", 1 << 30))]),
    "2^28 nested arrays": build([("k", ARR, Arr(ARR, b"", 1 << 28))]),
    "a hundred levels": build([("k", ARR, Arr(ARR, struct.pack("<iQ", ARR, 1) * 100, 1))]),
    "strings of half a mebibyte": build(
        [("k", ARR, Arr(STR, (struct.pack("<Q", 1 << 19) + bytes(1 << 19)) * 64, 1 << 13))]
    ),
}


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_claims_before_a_hole_of_four_gibibytes_cost_little(name, strict):
    source = Sparse(HOSTILE[name], name="x.gguf", size=4 << 30)
    start = time.process_time()
    with suppress(FormatError):
        read_gguf(source, strict=strict)
    assert time.process_time() - start < 4  # half of that on an idle machine


@pytest.mark.parametrize(
    "kv",
    [
        [(f"k{i}", ARR, Arr(U16, bytes([200]) * 8192, 4096)) for i in range(1000)],
        [(f"k{i}", STR, b"\xf0\x9f\x98\x80" + bytes(1 << 19)) for i in range(100)],
    ],
    ids=["numbers", "text"],
)
def test_what_is_kept_of_many_values_is_bounded(kv):
    data = build(kv)
    tracemalloc.start()
    model = parse(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(model.metadata) == len(kv)
    assert peak < 200 << 20


def test_two_million_empty_strings_take_less_than_two_seconds():
    data = build([("k", ARR, Arr(STR, bytes(8 * 2_000_000), 2_000_000))])
    start = time.process_time()
    assert parse(data).metadata["k"].length == 2_000_000
    assert time.process_time() - start < 2


def test_importing_the_reader_loads_nothing_heavy():
    heavy = "typing dataclasses enum re json functools collections numpy gguf click huggingface_hub"
    code = "import sys; old = set(sys.modules); import inspector.formats.gguf; print(*set(sys.modules) - old)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert not set(done.stdout.split()) & set(heavy.split())
