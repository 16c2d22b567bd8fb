"""safetensors headers: the verdicts of safetensors.safe_open in both directions, and its fields one by one.

A file is taken as loadable here when reading it raises nothing and notes no fatal defect. Deliberate differences:
- headers above 16 MiB are not listed, whatever they hold (the reference reader needs a hundred times their size);
- headers that would grow to far more memory than their length are refused, for the same reason.
Two defects are fatal to every loader and yet do not stop a strict read, for the header has said all it has to say:
data cut short, and a type that is not known here.
"""

from __future__ import annotations

import contextlib
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import parse_local_safetensors_file_metadata
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save, save_file

from inspector.dtypes import SAFETENSORS_DTYPES
from inspector.errors import FormatError, LimitExceeded, Truncated
from inspector.formats.safetensors import MAX_HEADER, read_safetensors
from inspector.sources.local import LocalSource
from inspector.sources.memory import MemorySource

READ_ON = {"truncated-data", "unknown-dtype"}


def blob(header, data=b"", length=None):
    if not isinstance(header, bytes):
        header = (header if isinstance(header, str) else json.dumps(header)).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def fatal_codes(model):
    return {d.code for d in model.defects if d.fatal}


def reference(data, path):
    """safe_open's tensors, or None where it refuses the file."""
    path.write_bytes(data)
    try:
        with safe_open(path, "np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            tensors = {name: (s.get_dtype(), tuple(s.get_shape())) for name, s in slices.items()}
            return tensors, file.metadata() or {}
    except SafetensorError:
        return None


def assert_same_verdict(data, path):
    """Our verdict and, where the file is sound, our fields are the reference reader's."""
    expected = reference(data, path)
    model = read_safetensors(MemorySource(data), strict=False)
    fatal = fatal_codes(model)
    assert (expected is not None) == (not fatal), (expected, model.defects)
    if expected is not None:
        assert {t.name: (t.dtype.name, t.shape) for t in model.tensors} == expected[0]
        assert dict(model.metadata) == expected[1]
    if fatal - READ_ON:
        with pytest.raises(FormatError):
            read_safetensors(MemorySource(data))
    else:
        assert read_safetensors(MemorySource(data)) == model
    return model


# --- honest files --------------------------------------------------------------------------------------------------


def assert_same_fields(path):
    """Names, types, shapes, places and bytes, against the reader and against the bytes themselves."""
    with LocalSource(str(path)) as source:
        model = read_safetensors(source)
    raw = Path(path).read_bytes()
    n = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + n])
    assert dict(model.metadata) == header.pop("__metadata__", {})
    assert model.header_bytes == 8 + n
    assert model.data_end == model.size == len(raw)
    assert [t.name for t in model.tensors] == list(header)
    with safe_open(path, "np") as file:
        for tensor in model.tensors:
            described = header[tensor.name]
            assert tensor.offset == 8 + n + described["data_offsets"][0]
            assert tensor.nbytes == described["data_offsets"][1] - described["data_offsets"][0]
            view = file.get_slice(tensor.name)
            assert (tensor.dtype.name, list(tensor.shape)) == (view.get_dtype(), view.get_shape())
            value = file.get_tensor(tensor.name)
            assert raw[tensor.offset : tensor.offset + tensor.nbytes] == value.tobytes()
    hub = parse_local_safetensors_file_metadata(path)
    assert {n: (t.dtype, tuple(t.shape), tuple(t.data_offsets)) for n, t in hub.tensors.items()} == {
        t.name: (t.dtype.name, t.shape, (t.offset - 8 - n, t.offset - 8 - n + t.nbytes)) for t in model.tensors
    }
    return model


def test_a_saved_file_is_read_field_by_field_as_its_own_library_reads_it(tmp_path):
    path = tmp_path / "model.safetensors"
    kinds = (np.float32, np.float16, np.float64, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32)
    tensors = {f"layer.{i}.{np.dtype(k).name}": np.arange(6, dtype=k).reshape(2, 3) for i, k in enumerate(kinds)}
    tensors |= {"i64": np.arange(3), "flag": np.array([True]), "scalar": np.array(1.5), "none": np.zeros((0, 4))}
    save_file(tensors, path, metadata={"format": "np", "note": 'a "quoted" \\ ünïcode \x01'})
    assert len(assert_same_fields(path).tensors) == 13


@pytest.mark.models
def test_a_real_model_is_read_as_its_own_library_reads_it():
    path = Path(__file__).parents[2] / "models" / "all-MiniLM-L6-v2" / "model.safetensors"
    model = assert_same_fields(path)
    assert len(model.tensors) == 104
    assert model.defects == ()


@pytest.mark.parametrize("dtype", SAFETENSORS_DTYPES.values(), ids=SAFETENSORS_DTYPES)
def test_each_type_takes_its_bytes_by_elements(dtype, tmp_path):
    shape = [3, 4 * dtype.block_elems]
    nbytes = 12 * dtype.block_bytes
    data = blob({"w": {"dtype": dtype.name, "shape": shape, "data_offsets": [0, nbytes]}}, b"\0" * nbytes)
    (tensor,) = assert_same_verdict(data, tmp_path / "x").tensors
    assert (tensor.dtype, tensor.shape, tensor.nbytes) == (dtype, tuple(shape), nbytes)


def test_there_are_22_types():
    assert len(SAFETENSORS_DTYPES) == 22


def test_a_header_longer_than_the_first_read_is_read_whole(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({f"model.layers.{i}.self_attn.q_proj.weight": np.zeros(2, np.float32) for i in range(3000)}, path)
    assert len(assert_same_fields(path).tensors) == 3000


def test_only_the_header_is_read():
    class Counting(MemorySource):
        asked = 0

        def read_at(self, offset, length):
            self.asked = max(self.asked, offset + length)
            return super().read_at(offset, length)

    source = Counting(blob({"w": {"dtype": "U8", "shape": [1 << 30], "data_offsets": [0, 1 << 30]}}), size=1 << 40)
    model = read_safetensors(source, strict=False)
    assert source.asked <= 128 << 10
    assert model.tensors_nbytes == 1 << 30


def test_the_order_of_the_header_need_not_be_that_of_the_data(tmp_path):
    header = {
        "b": {"dtype": "U8", "shape": [2], "data_offsets": [3, 5]},
        "a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
    }
    model = assert_same_verdict(blob(header, b"abcde"), tmp_path / "x")
    assert [(t.name, t.offset - model.header_bytes) for t in model.tensors] == [("b", 3), ("a", 0)]


def test_the_short_and_the_long_way_read_the_same(tmp_path):
    """White space before the object sends a header the long way round."""
    for text in (save({"a": np.zeros((2, 3)), "b": np.zeros(4, np.int8)}, {"k": "v"}), save({})):
        header = text[8 : 8 + int.from_bytes(text[:8], "little")]
        data = text[8 + len(header) :]
        short = read_safetensors(MemorySource(text))
        long = read_safetensors(MemorySource(blob(b"        " + header, data)))
        assert [d.code for d in long.defects] == ["leading-whitespace"]
        moved = tuple(t.replace(offset=t.offset + 8) for t in short.tensors)
        assert (long.tensors, long.metadata) == (moved, short.metadata)


# --- one lie each --------------------------------------------------------------------------------------------------

T = '"dtype":"F32","shape":[1],"data_offsets":[0,4]'
D = b"\0\0\0\0"


def one(shape="[1]", offsets="[0,4]", dtype='"F32"', extra="", n=4):
    return blob(f'{{"a":{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}{extra}}}}}', b"\0" * n)


def extra(value, key="x"):
    return one(extra=f',"{key}":{value}')


# name → (bytes, codes that every loader stops at, codes of what merely ought not to be)
LIES = {
    # length
    "an empty file": (b"", {"header-too-short"}, set()),
    "seven bytes": (b"\0" * 7, {"header-too-short"}, set()),
    "eight zeros": (b"\0" * 8, {"header-empty"}, set()),
    "a header of one byte": (blob(" "), {"header-empty"}, set()),
    "a header one byte longer than the file": (blob("{}", length=3), {"header-cut"}, set()),
    "a header of exactly the limit in a small file": (blob("{}", length=MAX_HEADER), {"header-cut"}, set()),
    "a header above the limit": (blob("{}", length=MAX_HEADER + 1), {"header-too-long"}, set()),
    "a length of 2^63": (blob("{}", length=1 << 63), {"header-too-long"}, set()),
    "a length of 2^64 - 1": (blob("{}", length=(1 << 64) - 1), {"header-too-long"}, set()),
    # JSON
    "a byte order mark": (blob("\ufeff{}"), {"byte-order-mark"}, set()),
    "UTF-16": (blob("{}".encode("utf-16-le")), {"not-utf8"}, set()),
    "Latin-1": (blob(b'{"\xe4":{' + T.encode() + b"}}", D), {"not-utf8"}, set()),
    "an overlong NUL": (blob(b'{"\xc0\x80":{' + T.encode() + b"}}", D), {"not-utf8"}, set()),
    "a surrogate as UTF-8": (blob(b'{"\xed\xa0\x80":{' + T.encode() + b"}}", D), {"not-utf8"}, set()),
    "half a surrogate pair": (blob(f'{{"\\ud800":{{{T}}}}}', D), {"lone-surrogate"}, set()),
    "the other half": (blob(f'{{"\\udc00x":{{{T}}}}}', D), {"lone-surrogate"}, set()),
    "half a pair in an unknown field": (extra('["\\ud800"]'), {"lone-surrogate"}, set()),
    "half a pair in metadata": (blob('{"__metadata__":{"a":"\\ud800"}}'), {"lone-surrogate"}, set()),
    "half a pair in a name given twice": (blob('{"__metadata__":{"a":"\\ud800","a":"b"}}'), {"lone-surrogate"}, set()),
    "NaN": (extra("NaN"), {"json-constant"}, set()),
    "Infinity": (extra("-Infinity"), {"json-constant"}, set()),
    "1e400": (extra("1e400"), {"big-number"}, set()),
    "a number of 310 digits": (extra("9" * 310), {"big-number"}, set()),
    "a number of 5,000 digits": (extra("9" * 5000), {"big-number"}, set()),
    "a dimension of 5,000 digits": (one(shape="[" + "9" * 5000 + "]"), {"big-number"}, set()),
    "a control character": (blob(f'{{"a\x01":{{{T}}}}}', D), {"not-json"}, set()),
    "a comma too many": (blob(f'{{"a":{{{T}}},}}', D), {"not-json"}, set()),
    "a comment": (blob("{}//"), {"trailing-text"}, set()),
    "a second object": (blob("{}{}"), {"trailing-text"}, set()),
    "a NUL after the object": (blob("{}\0"), {"trailing-text"}, set()),
    "a form feed after the object": (blob("{}\x0c"), {"trailing-text"}, set()),
    "single quotes": (blob("{'a':1}"), {"not-json"}, set()),
    "an object cut short": (blob('{"a":'), {"not-json"}, set()),
    "only white space": (blob("    "), {"not-json"}, set()),
    "an array": (blob("[]"), {"not-an-object"}, set()),
    "a null": (blob("null"), {"not-an-object"}, set()),
    "126 levels in an unknown field": (extra("[" * 126 + "]" * 126), {"nesting"}, set()),
    "100,000 open brackets": (blob("[" * 100_000), {"nesting"}, set()),
    "100,000 open objects": (blob('{"a":' * 100_000), {"nesting"}, set()),
    # fields
    "no dtype": (blob('{"a":{"shape":[1],"data_offsets":[0,4]}}', D), {"missing-field"}, set()),
    "no shape": (blob('{"a":{"dtype":"F32","data_offsets":[0,4]}}', D), {"missing-field"}, set()),
    "no offsets": (blob('{"a":{"dtype":"F32","shape":[1]}}'), {"missing-field"}, set()),
    "dtype twice": (extra('"F32"', key="dtype"), {"duplicate-field"}, set()),
    "dtype twice, once escaped": (extra('"F32"', key="dtyp\\u0065"), {"duplicate-field"}, set()),
    "an unknown type": (one(dtype='"F3"'), {"unknown-dtype"}, set()),
    "a type in lower case": (one(dtype='"f32"'), {"unknown-dtype"}, set()),
    "a type that is a number": (one(dtype="3"), {"bad-field"}, set()),
    "a type that is null": (one(dtype="null"), {"bad-field"}, set()),
    "a type that is an object": (one(dtype='{"F32":{}}'), {"bad-field"}, set()),
    "1.0 as a dimension": (one(shape="[1.0]"), {"bad-field"}, set()),
    "1e0 as a dimension": (one(shape="[1e0]"), {"bad-field"}, set()),
    "true as a dimension": (one(shape="[true]"), {"bad-field"}, set()),
    "true as a dimension of a known shape": (
        blob('{"a":{"dtype":"U8","shape":[1,4],"data_offsets":[0,4]},'
             '"b":{"dtype":"U8","shape":[true,4],"data_offsets":[4,8]}}', D + D), {"bad-field"}, set()),
    "2.0 as a dimension of a known shape": (
        blob('{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},'
             '"b":{"dtype":"U8","shape":[2.0],"data_offsets":[2,4]}}', D), {"bad-field"}, set()),
    "false as an offset": (one(offsets="[false,4]"), {"bad-field"}, set()),
    "true as an offset": (one(dtype='"U8"', offsets="[0,true]", n=1), {"bad-field"}, set()),
    "a string as a dimension": (one(shape='["1"]'), {"bad-field"}, set()),
    "04 as a dimension": (one(shape="[04]", offsets="[0,16]", n=16), {"not-json"}, set()),
    "+1 as a dimension": (one(shape="[+1]"), {"not-json"}, set()),
    "-0 as a dimension": (one(shape="[-0]", offsets="[0,0]", n=0), {"bad-field"}, set()),
    "-0 as an offset": (one(offsets="[-0,4]"), {"bad-field"}, set()),
    "two negative dimensions": (one(shape="[-1,-1]"), {"bad-field"}, set()),
    "a dimension of 2^64": (one(shape="[0,18446744073709551616]", offsets="[0,0]", n=0), {"bad-field"}, set()),
    "a shape that is null": (one(shape="null"), {"bad-field"}, set()),
    "a shape that is an object": (one(shape="{}"), {"bad-field"}, set()),
    "a shape that is an object, after a scalar": (
        blob('{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]},'
             '"b":{"dtype":"U8","shape":{},"data_offsets":[1,2]}}', b"ab"), {"bad-field"}, set()),
    "three offsets": (one(offsets="[0,4,8]"), {"bad-field"}, set()),
    "one offset": (one(offsets="[4]"), {"bad-field"}, set()),
    "a negative offset": (one(offsets="[-4,0]"), {"bad-field"}, set()),
    "offsets that are an object": (one(offsets='{"0":0,"1":4}'), {"bad-field"}, set()),
    "a tensor that is a number": (blob('{"a":3}'), {"bad-tensor"}, set()),
    "a tensor that is null": (blob('{"a":null}'), {"bad-tensor"}, set()),
    "a number hidden by a tensor of its name": (blob(f'{{"a":3,"a":{{{T}}}}}', D), {"bad-tensor"}, set()),
    # sizes
    "a shape larger than its bytes": (one(shape="[2]"), {"size-mismatch"}, set()),
    "a shape smaller than its bytes": (one(dtype='"U8"'), {"size-mismatch"}, set()),
    "a size that wraps 64 bits": (one(shape=f"[{1 << 62}]", offsets="[0,0]", n=0), {"size-overflow"}, set()),
    "elements that wrap before a 0": (
        one(shape=f"[{1 << 63},{1 << 63},0]", offsets="[0,0]", n=0), {"size-overflow"}, set()),
    "4-bit elements that fill half a byte": (
        one(dtype='"F4"', shape="[3]", offsets="[0,2]", n=2), {"partial-byte"}, set()),
    # layout
    "an end before its beginning": (one(offsets="[4,0]"), {"offsets-reversed"}, set()),
    "a hole at the start": (one(offsets="[4,8]", n=8), {"hole"}, set()),
    "a hole between": (
        blob(f'{{"a":{{{T}}},"b":{{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}}}', D * 3), {"hole"}, set()),
    "two tensors in one place": (blob(f'{{"a":{{{T}}},"b":{{{T}}}}}', D), {"overlap"}, set()),
    "a tensor half within another": (
        blob(f'{{"a":{{{T}}},"b":{{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}}}', b"\0" * 6), {"overlap"}, set()),
    "an empty tensor within another": (
        blob(f'{{"e":{{"dtype":"U8","shape":[0],"data_offsets":[2,2]}},"a":{{{T}}}}}', D), {"overlap"}, set()),
    "bytes after the data": (one(n=5), {"trailing-data"}, set()),
    "bytes after an empty header": (blob("{}", b"PK\3\4"), {"trailing-data"}, set()),
    "a byte of data missing": (one(n=3), {"truncated-data"}, set()),
    # metadata
    "a number in metadata": (blob('{"__metadata__":{"a":1}}'), {"bad-metadata"}, set()),
    "a null in metadata": (blob('{"__metadata__":{"a":null}}'), {"bad-metadata"}, set()),
    "metadata that is a list": (blob('{"__metadata__":[]}'), {"bad-metadata"}, set()),
    "a tensor called __metadata__": (blob(f'{{"__metadata__":{{{T}}}}}', D), {"bad-metadata"}, set()),
    "metadata twice": (blob('{"__metadata__":{},"__metadata__":{}}'), {"duplicate-metadata"}, set()),
    "metadata twice, once escaped": (
        blob('{"__metadata__":{},"\\u005f_metadata__":{}}'), {"duplicate-metadata"}, set()),
    # what the format forbids and its readers accept
    "a tensor twice": (blob(f'{{"a":{{{T}}},"a":{{{T}}}}}', D), set(), {"duplicate-tensor"}),
    "a tensor twice, the first one absurd": (
        blob(f'{{"a":{{"dtype":"U8","shape":[9],"data_offsets":[7,1]}},"a":{{{T}}}}}', D), set(), {"duplicate-tensor"}),
    "a metadata key twice": (blob('{"__metadata__":{"a":"1","a":"2"}}'), set(), {"duplicate-metadata-key"}),
    "metadata that is null": (blob('{"__metadata__":null}'), set(), {"null-metadata"}),
    "white space before the object": (blob(f' \n{{"a":{{{T}}}}}', D), set(), {"leading-whitespace"}),
    "an unknown field": (extra("[1.5, null, {}]"), set(), {"unknown-field"}),
    "an unknown field of 125 levels": (extra("[" * 125 + "]" * 125), set(), {"unknown-field"}),
    "an empty name": (blob(f'{{"":{{{T}}}}}', D), set(), {"empty-name"}),
    "a tensor spelled as an array": (blob('{"a":["F32",[1],[0,4]]}', D), set(), {"unusual-spelling"}),
    "a type spelled as an object": (one(dtype='{"F32":null}'), set(), {"unusual-spelling"}),
    "a tensor off its alignment": (
        blob('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
             '"b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}', b"\0" * 5), set(), {"unaligned-tensor"}),
    # nothing wrong at all
    "no tensors": (blob("{}      "), set(), set()),
    "a header padded by white space": (blob("{} \n\t\r  "), set(), set()),
    "an escaped NUL in a name": (blob(f'{{"a\\u0000":{{{T}}}}}', D), set(), set()),
    "a surrogate pair in a name": (blob(f'{{"\\ud83d\\ude00":{{{T}}}}}', D), set(), set()),
    "escaped quotes in metadata": (blob(json.dumps({"__metadata__": {"q": '{"dtype": "x\\\\"}'}})), set(), set()),
    "a scalar": (one(shape="[]"), set(), set()),
    "an empty tensor": (one(shape="[4,0]", offsets="[0,0]", n=0), set(), set()),
    "a 0 before dimensions that would wrap": (
        one(shape=f"[0,{1 << 63},{1 << 63}]", offsets="[0,0]", n=0), set(), set()),
    "a thousand dimensions": (one(shape="[" + ",".join("1" * 1000) + "]"), set(), set()),
    "an empty tensor between two others": (
        blob(f'{{"a":{{{T}}},"e":{{"dtype":"F64","shape":[0],"data_offsets":[4,4]}},'
             '"b":{"dtype":"U8","shape":[1],"data_offsets":[4,5]}}', b"\0" * 5), set(), set()),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_every_lie_is_named_and_judged_as_the_reference_judges_it(lie, tmp_path):
    data, fatal, odd = LIES[lie]
    model = assert_same_verdict(data, tmp_path / "x.safetensors")
    assert fatal_codes(model) == fatal
    assert {d.code for d in model.defects if not d.fatal} - {"unaligned-data"} >= odd
    if not fatal:
        assert {d.code for d in model.defects} - {"unaligned-data"} == odd


def test_a_file_cut_short_still_says_what_its_header_says():
    model = read_safetensors(MemorySource(one(n=1)))
    assert (model.missing_nbytes, model.tensors_nbytes) == (3, 4)
    assert [(d.code, d.where) for d in model.defects if d.fatal] == [("truncated-data", "a")]


def test_an_unknown_type_has_its_bytes_from_the_offsets():
    (tensor,) = read_safetensors(MemorySource(one(dtype='"F2_NEW"', shape="[16]"))).tensors
    assert (tensor.dtype, tensor.dtype_name, tensor.nbytes, tensor.shape) == (None, "F2_NEW", 4, (16,))


def test_a_file_that_ends_in_its_header_is_truncated():
    with pytest.raises(Truncated):
        read_safetensors(MemorySource(blob("{}", length=1000)))


def test_a_defect_says_where_it_is():
    header = f'{{"a":{{{T}}},"b":{{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}}}'
    with pytest.raises(FormatError, match="tensor 'b'") as caught:
        read_safetensors(MemorySource(blob(header, D * 3)))
    assert caught.value.offset == 8 + len(header) + 4
    with pytest.raises(FormatError) as caught:
        read_safetensors(MemorySource(blob('{"ä": x}')))
    assert caught.value.offset == 8 + len('{"ä": '.encode())


def test_one_run_reports_every_defect_and_ten_thousand_of_a_kind_in_few_lines():
    rows = {f"t{i}": {"dtype": "U8", "shape": [2], "data_offsets": [0, 1]} for i in range(10_000)}
    model = read_safetensors(MemorySource(blob(rows, b"x")), strict=False)
    assert fatal_codes(model) == {"size-mismatch", "overlap"}
    assert len(model.defects) < 110
    assert any("9,950 more" in d.what for d in model.defects)


# --- hostile sizes -------------------------------------------------------------------------------------------------

MEASURE = """
import sys, time
from inspector.errors import FormatError
from inspector.formats.safetensors import read_safetensors
from inspector.sources.local import LocalSource
start = time.process_time()
for strict in (True, False):
    try:
        with LocalSource(sys.argv[1]) as source:
            read_safetensors(source, strict=strict)
    except FormatError:
        pass
seconds = time.process_time() - start
with open("/proc/self/status") as status:  # ru_maxrss would count the parent's memory from before exec
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
print(seconds, peak // 1024)
"""
MIB = 1 << 20
BOMBS = {
    "lists": lambda n: b'{"a":[' + b"[]," * (n // 3) + b"1]}",
    "objects": lambda n: b"[" + b"{}," * (n // 3) + b"1]",
    "numbers": lambda n: b"[" + b"257," * (n // 4) + b"1]",
    "fractions": lambda n: b'{"a":[' + b"1.5," * (n // 4) + b"1]}",
    "strings": lambda n: b'{"a":[' + b'"ab",' * (n // 5) + b"1]}",
    "keys": lambda n: b"{" + b",".join(b'"%x":1' % i for i in range(n // 11)) + b"}",
    "small tensors": lambda n: b"{" + b",".join(b'"%x":[0,[],[0,0]]' % i for i in range(n // 22)) + b"}",
    "white space": lambda n: b" " * n,
    "one wide string": lambda n: '{"😀'.encode() + b"a" * n + b'":1}',
    "brackets": lambda n: b"[" * n,
    "quotes": lambda n: b'"' * n,
    "backslashes": lambda n: b'{"' + b"\\" * n + b'"}',
    "digits": lambda n: b'{"a":' + b"9" * n + b"}",
    "dimensions": lambda n: b'{"a":{"dtype":"U8","shape":[' + b"2," * (n // 2) + b'2],"data_offsets":[0,4]}}',
    "big dimensions": lambda n: b'{"a":{"dtype":"U8","shape":[' + b"18446744073709551615," * (n // 21) + b"2]}}",
}


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("size", [4 * MIB, 15 * MIB, 90 * MIB], ids=["4 MiB", "15 MiB", "90 MiB"])
def test_a_bomb_costs_little_time_and_memory(bomb, size, tmp_path):
    text = BOMBS[bomb](min(size, 15 * MIB))
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", max(size, len(text))) + text)
    with open(path, "r+b") as file:
        file.truncate(8 + max(size, len(text)))
    run = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True)
    seconds, mib = map(float, run.stdout.split())
    print(f"{bomb}: {seconds:.2f} s, {mib:.0f} MiB")
    assert seconds < 4  # two readings, strict and not
    assert mib < 300


def test_a_header_above_16_mib_is_refused_by_its_length(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", 17 * MIB) + b"{}")
    with open(path, "r+b") as file:
        file.truncate(8 + 17 * MIB)
    with LocalSource(str(path)) as source, pytest.raises(LimitExceeded):
        read_safetensors(source)


# --- any damage ----------------------------------------------------------------------------------------------------

WHOLE = save(
    {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(3, np.int8), "c": np.zeros((0, 2))},
    {"format": "pt"},
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_damage_is_judged_as_the_reference_judges_it(tmp_path_factory, data):
    raw = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        cut = data.draw(st.integers(0, 4))
        new = data.draw(st.binary(max_size=4) | st.sampled_from([b"-0", b'"', b"{", b"]", b"\\u", b"1", b" ", b","]))
        raw[at : at + cut] = new
    assert_same_verdict(bytes(raw), tmp_path_factory.getbasetemp() / "damaged.safetensors")


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 9)
    | st.floats(allow_nan=False)
    | st.sampled_from(["F32", "U8", "a", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets", "x", "F32"]), inner, max_size=4)
    ),
    max_leaves=6,
)
SHAPES = st.lists(st.integers(0, 3), max_size=3)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_header_is_judged_as_the_reference_judges_it(tmp_path_factory, data):
    """Sound tensors one after another, then one value somewhere replaced by another."""
    header, end = {}, 0
    for name in data.draw(st.lists(st.sampled_from("abcdefg"), unique=True, max_size=4)):
        shape = data.draw(SHAPES)
        dtype = SAFETENSORS_DTYPES[data.draw(st.sampled_from(["U8", "F32", "BOOL", "F16"]))]
        nbytes = dtype.nbytes(shape)
        header[name] = {"dtype": dtype.name, "shape": shape, "data_offsets": [end, end + nbytes]}
        end += nbytes
    if header and data.draw(st.booleans()):
        name = data.draw(st.sampled_from(sorted(header)))
        field = data.draw(st.sampled_from(["", "dtype", "shape", "data_offsets", "x"]))
        value = data.draw(JSON_VALUES)
        if field:
            header[name][field] = value
        else:
            header[name] = value
    if data.draw(st.booleans()):
        header["__metadata__"] = data.draw(
            st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2) | JSON_VALUES
        )
    raw = blob(json.dumps(header, ensure_ascii=data.draw(st.booleans())), b"\0" * end)
    assert_same_verdict(raw, tmp_path_factory.getbasetemp() / "any.safetensors")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda b: blob(b"{" + b)))
def test_any_bytes_give_an_answer_or_a_format_error(raw):
    read_safetensors(MemorySource(raw), strict=False)
    with contextlib.suppress(FormatError):
        read_safetensors(MemorySource(raw))
