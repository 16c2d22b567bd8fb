"""Pickles made to be read differently, to hide what they call, or to harm whoever reads them; and honest ones."""

from __future__ import annotations

import base64
import io
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from audit_builder import audit, write

from inspector.audit.readers.pickle_memo import RECENT, Memo
from inspector.audit.readers.pickle_names import weigh
from inspector.audit.readers.pickle_scan import scan_pickle
from inspector.audit.readers.pickle_values import Global, Value

PICKLES = Path(__file__).parents[2] / "fixtures" / "pickles"
EVIL = b"\x80\x02cos\nsystem\nU\x02id\x85R."


def loud(path):
    return {(f.code, f.severity) for f in audit(path).findings if f.severity != "info"}


def text(word):
    return b"\x8c" + bytes([len(word)]) + word


STACKED = text(b"os") + text(b"system") + b"\x93" + text(b"id") + b"\x85R"


def payload(raw):
    return b"B" + struct.pack("<I", len(raw)) + raw


HIDDEN = {
    "in bytes": b"\x80\x03" + payload(EVIL) + b".",
    "in bytes, later": b"\x80\x03" + payload(b"x" * 5_000 + EVIL) + b".",
    "in bytes, by texts": b"\x80\x03" + payload(b"x" * 50 + b"\x80\x04" + STACKED + b".") + b".",
    "in bytes in bytes": b"\x80\x03" + payload(b"\x80\x03" + payload(EVIL) + b".") + b".",
    "in long bytes": b"\x80\x04\x8e" + struct.pack("<Q", len(EVIL)) + EVIL + b".",
    "in a byte array": b"\x80\x05\x96" + struct.pack("<Q", len(EVIL)) + EVIL + b".",
    "in bytes of protocol 4": b"\x80\x03" + payload(b"\x80\x04" + STACKED + b".") + b".",
    "behind its end": b"\x80\x02N." + EVIL,
    "behind its end and noise": b"\x80\x02N." + bytes(range(255, 0, -1)) * 9 + EVIL,
    "behind its end and noise, by texts": b"\x80\x02N." + bytes(range(255, 0, -1)) * 9 + b"\x80\x04" + STACKED + b".",
    "behind two megabytes": b"\x80\x02N." + bytes(2 << 20) + EVIL,
    "behind many pickles": b"\x80\x02N." * 200 + EVIL,
    "behind what torch's old format ends with": b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + b"\x80\x02N." * 4 + EVIL,
}


@pytest.mark.parametrize("name", HIDDEN)
def test_code_is_found_wherever_in_a_pickle_it_hides(tmp_path, name):
    write(tmp_path, {"m.pkl": HIDDEN[name]})
    assert ("CD002", "error") in loud(tmp_path)


def framed(body, n):
    return b"\x80\x04\x95" + struct.pack("<Q", n) + body


def test_a_frame_that_ends_within_an_instruction_is_broken(tmp_path):
    """pickle.load drops what is left of the frame and reads the argument behind it; pickle.loads does not."""
    body = b"X\x05\x00\x00\x00hello."
    assert pickle.loads(framed(body, len(body))) == "hello"
    for n in range(1, len(body) - 1):
        write(tmp_path, {"m.pkl": framed(body, n)})
        assert loud(tmp_path) == {("CD004", "error")}, n


def test_a_frame_that_hides_a_name_from_other_readers(tmp_path):
    inner = text(b"os")
    raw = framed(inner[:-1], len(inner) - 1) + inner[-1:] + text(b"system") + b"\x93)R."
    write(tmp_path, {"m.pkl": raw})
    assert ("CD004", "error") in loud(tmp_path)


def test_frames_as_python_writes_them_are_sound(tmp_path):
    value = [b"x" * 70_000, "y" * 70_000, list(range(40_000)), {str(i): i for i in range(9_000)}]
    for protocol in (4, 5):
        out = io.BytesIO()
        pickle._Pickler(out, protocol).dump(value)
        write(tmp_path, {"a.pkl": out.getvalue(), "b.pkl": pickle.dumps(value, protocol=protocol)})
        assert loud(tmp_path) == set()


def test_shared_values_are_no_bomb(tmp_path):
    shared = {str(i): list(range(20)) for i in range(200)}
    loop = []
    loop.append(loop)
    write(tmp_path, {"a.pkl": pickle.dumps([shared] * 5_000), "b.pkl": pickle.dumps([loop, {1: loop}])})
    assert loud(tmp_path) == set()


@pytest.mark.parametrize("name", sorted(p.name for p in PICKLES.iterdir() if p.suffix in {".pkl", ".joblib"}))
def test_pickles_of_libraries_are_an_info_and_no_more(name):
    assert loud(PICKLES / name) == set()


def test_every_import_of_honest_estimators_is_known():
    for line in (PICKLES / "imports.txt").read_text("ascii").splitlines():
        module, name = line.split()
        assert weigh(Global(module, name, 0)) in {"weights", "class"}, line


def test_arrays_of_joblib_are_stepped_over():
    """The instructions behind the last array were followed: the memo's references and the end."""
    raw = (PICKLES / "memo.joblib").read_bytes()
    scan = scan_pickle(lambda at, n: raw[at : at + n], len(raw))
    assert (scan.n_pickles, scan.problem, scan.end) == (1, "", len(raw))


def test_code_behind_the_arrays_of_joblib_is_found(tmp_path):
    raw = (PICKLES / "memo.joblib").read_bytes()
    write(tmp_path, {"m.joblib": raw[:-1] + b"0" + EVIL[2:]})
    assert loud(tmp_path) == {("CD002", "error")}


def wrapped(array, *, dtype=b"U\x02f8", shape=b"K\x05\x85"):
    """joblib's description of an array of five doubles, then the array."""
    return (
        b"\x80\x02cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}(U\x08subclasscnumpy\nndarray\nU\x05shape" + shape
        + b"U\x05orderU\x01CU\x05dtypecnumpy\ndtype\n" + dtype + b"K\x00K\x01\x87Rub" + array
    )  # fmt: skip


def test_an_array_that_is_code_to_another_reader_is_found(tmp_path):
    """joblib.load steps over it; pickle.load runs it."""
    code = b"cos\nsystem\nU\x02id\x85R.".ljust(40, b".")
    write(tmp_path, {"m.joblib": wrapped(bytes(40)) + b"."})
    assert loud(tmp_path) == set()
    write(tmp_path, {"m.joblib": wrapped(code) + b"."})
    assert loud(tmp_path) == {("CD002", "error")}


def test_an_array_of_objects_is_a_pickle_of_its_own(tmp_path):
    objects = {"dtype": b"U\x02O8"}
    write(tmp_path, {"m.joblib": wrapped(pickle.dumps([1], protocol=2), **objects) + b"."})
    assert loud(tmp_path) == set()
    write(tmp_path, {"m.joblib": wrapped(EVIL, **objects) + b"."})
    assert loud(tmp_path) == {("CD002", "error")}


@pytest.mark.parametrize("more", [{"dtype": b"N"}, {"shape": b"N"}, {"shape": b"K\xff\x85"}])
def test_an_array_that_cannot_be_stepped_over_is_broken(tmp_path, more):
    write(tmp_path, {"m.joblib": wrapped(bytes(40), **more) + b"."})
    assert ("CD004", "error") in loud(tmp_path)


def header(descr, *, order=("descr", "fortran_order", "shape"), version=b"\1\0", shape="(1,)", quote="'"):
    values = {"descr": descr, "fortran_order": "False", "shape": shape}
    raw = ("{" + ", ".join(f"{quote}{k}{quote}: {values[k]}" for k in order) + ", }").encode()
    size = 2 if version == b"\1\0" else 4
    raw += b" " * (-(len(raw) + 9 + size) % 64) + b"\n"
    return b"\x93NUMPY" + version + len(raw).to_bytes(size, "little") + raw


OBJECTS = {
    "by name": header("'object'"),
    "by its other name": header("'object_'"),
    "with a size": header("'|O8'"),
    "one of several": header("'O,i4'"),
    "second of several": header("'i4,O'"),
    "escaped": header("'\\x4f'"),
    "escaped by number": header("'\\117'"),
    "in a field": header("[('a', '<i4'), ('b', '|O')]"),
    "in a field of a field": header("[('a', [('b', '|O', (2,))])]"),
    "as a subarray": header("('|O', (2,))"),
    "repeated": header("'2O'"),
    "shaped": header("'(2,3)O'"),
    "joined": header("'O' 'bject'"),
    "last key": header("'|O'", order=("shape", "fortran_order", "descr")),
    "double quotes": header('"|O"', quote='"'),
    "version 2": header("'|O'", version=b"\2\0"),
    "version 3": header("'|O'", version=b"\3\0"),
    "what nobody knows": header("'Z9'"),
}
NUMBERS = {
    "floats": header("'<f4'"),
    "texts": header("'<U20'"),
    "dates": header("'<M8[ns]'"),
    "raw": header("'|V2'"),
    "fields": header("[('Object', '<i4'), (('title', 'O'), '<f8', (2, 2))]"),
    "other order": header("'<f8'", order=("shape", "descr", "fortran_order")),
    "version 3": header("'<f8'", version=b"\3\0"),
    "Python 2": header("'<f8'", shape="(1L,)"),
    "bfloat16": header("'bfloat16'"),
    "a field named as the key": header("[('fortran_order', '<i4')]"),
}


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("inside", [False, True])
def test_arrays_of_objects_are_found_however_their_type_is_spelt(tmp_path, name, inside):
    write(tmp_path, {"m.npz" if inside else "m.npy": _npz(OBJECTS[name] + EVIL) if inside else OBJECTS[name] + EVIL})
    assert {("CD007", "error"), ("CD002", "error")} <= loud(tmp_path)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("inside", [False, True])
def test_arrays_of_numbers_are_silent(tmp_path, name, inside):
    write(tmp_path, {"m.npz" if inside else "m.npy": _npz(NUMBERS[name]) if inside else NUMBERS[name]})
    assert loud(tmp_path) == set()


def _npz(raw):
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.npy", raw)
    return out.getvalue()


@pytest.mark.parametrize("head", [
    b"{'descr': '<f4'}", b"[1]", b"{'descr': open('x'), 'fortran_order': False, 'shape': ()}", b"(" * 60_000, b"{" * 99,
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}",
])  # fmt: skip
def test_a_header_that_numpy_refuses_is_broken(tmp_path, head):
    write(tmp_path, {"m.npy": b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head})
    assert ("CD004", "error") in loud(tmp_path)


@pytest.mark.parametrize("name", ["m.pt", "m.pth", "m.ckpt", "m.pkl", "m.joblib", "m.npy", "m.npz", "m.h5", "m.keras",
                                  "m.onnx", "m.nemo", "m.mar", "m.skops", "pytorch_model.bin"])  # fmt: skip
@pytest.mark.parametrize(
    "raw", [b"7z\xbc\xaf\x27\x1c" + bytes(90), bytes(range(200, 256)) * 9, b"Rar!\x1a\x07" + bytes(99)]
)
def test_something_else_under_a_models_name_is_no_checkpoint(tmp_path, name, raw):
    write(tmp_path, {name: raw})
    assert ("CD004", "error") in loud(tmp_path)


@pytest.mark.parametrize(("name", "raw"), [
    ("openvino_model.bin", b"\x00\x01" * 300), ("model.bin", b"\x06\0\0\0" + bytes(90)),
    ("spiece.model", b"\n\x0e\n\5<unk>"),
    ("words.dat", b"(abc"), ("survey.sav", b"$FL2@(#)"),
])  # fmt: skip
def test_names_that_promise_nothing_are_no_fault(tmp_path, name, raw):
    write(tmp_path, {name: raw})
    assert not {code for code, _ in loud(tmp_path)} & {"CD002", "CD004"}


def test_base64_is_only_text(tmp_path):
    write(tmp_path, {"m.pkl": pickle.dumps({"a": base64.b64encode(EVIL).decode()})})
    assert loud(tmp_path) == set()


# --- large pickles ---------------------------------------------------------------------------------------------------


def op(n):
    """Instructions of a scan."""
    return lambda raw: scan_pickle(lambda at, k: raw[at : at + k], len(raw), budget=n)


LARGE = {
    "words": lambda n: {f"word{i}": i for i in range(n // 3)},
    "tuples": lambda n: [(i, i + 1) for i in range(n // 4)],
    "one tuple": lambda n: tuple(range(n)),
}


@pytest.mark.parametrize(("what", "n"), [("words", 200_000), ("tuples", 200_000), ("one tuple", 900_000)])
def test_an_honest_pickle_of_many_instructions_is_followed(what, n):
    raw = pickle.dumps(LARGE[what](n), protocol=4)
    scan = op(12_000_000)(raw)
    assert (scan.problem, scan.n_pickles, scan.end) == ("", 1, len(raw))
    assert scan.n_ops > n - 10


PEAK = """
import sys
from inspector.audit.api import audit
report = audit(sys.argv[1])
line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(report.verdict, int(line.split()[1]) * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="a process's peak is read from /proc")
def test_an_honest_pickle_of_three_million_instructions_takes_bounded_memory(tmp_path):
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(LARGE["words"](1_500_000), protocol=4))  # two instructions a word
    done = subprocess.run([sys.executable, "-c", PEAK, str(tmp_path)], capture_output=True, text=True, check=True)
    verdict, peak = done.stdout.split()
    assert verdict == "pass"
    assert int(peak) < 200 << 20


def test_where_the_limit_is_is_said():
    raw = pickle.dumps(list(range(5_000)))
    assert "instructions: the rest was only searched" in op(5_000)(raw).problem
    assert not op(6_000)(raw).problem


def test_what_was_remembered_long_ago_is_known_again(tmp_path):
    """More than are kept as they are stand between the name of a module and its use."""
    words = b"".join(b"\x8c\4%04x\x94a" % (i % 65536) for i in range(3 * RECENT))
    raw = b"\x80\4]\x94\x8c\5posix\x94a\x8c\6system\x94a" + words + b"h\1h\2\x93\x8c\2id\x85R."
    write(tmp_path, {"m.pkl": raw})
    assert ("CD002", "error") in {(f.code, f.severity) for f in audit(tmp_path).findings}
    assert {g.path for g in op(12_000_000)(raw).globals} == {"posix.system"}


def test_arguments_that_were_remembered_long_ago_are_not_taken_for_none():
    """bytearray(2**40): what its argument is was forgotten by then."""
    words = b"".join(b"\x8c\4%04x\x94a" % (i % 65536) for i in range(3 * RECENT))
    argument = b"\x8a\6\0\0\0\0\0\1\x85\x94"
    raw = b"\x80\4]\x94" + argument + b"a" + words + b"cbuiltins\nbytearray\nh\1R."
    assert "remembered long before" in op(12_000_000)(raw).problem


def test_a_memo_gives_back_what_it_was_given():
    memo = Memo()
    kept = {i: (None, f"w{i}\0\udc80", Value([1, 2]), 7, "x" * 10_000)[i % 5] for i in range(0, 6 * RECENT, 2)}
    for i, value in kept.items():
        assert memo.put(i, value)
    assert memo.n == len(kept)
    assert all(memo.get(i) is value or memo.get(i) == value for i, value in kept.items())
    assert memo.get(1) is memo.get(10**9) is None
    assert memo.put(0, "again")
    assert (memo.get(0), memo.n) == ("again", len(kept))
    above = Memo(memo)
    assert above.put(2, "above")
    assert (above.get(2), above.get(6), memo.get(2)) == ("above", kept[6], kept[2])
    assert above.n == memo.n
