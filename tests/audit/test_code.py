"""CD: pickles written by hand, archives of them, programs. Nothing here is ever unpickled."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import struct
import tarfile
import time
import zipfile
import zlib

import pytest

from inspector.audit.api import audit
from inspector.audit.readers.pickle_names import weigh
from inspector.audit.readers.pickle_scan import scan_pickle
from inspector.audit.readers.pickle_values import Global


def findings(path, *codes):
    return [f for f in audit(str(path)).findings if f.code in codes or (not codes and f.code.startswith("CD"))]


def codes(path):
    return {(f.code, f.severity) for f in findings(path)}


def scan(raw, **more):
    return scan_pickle(lambda offset, n: raw[offset : offset + n], len(raw), **more)


def short(text):
    raw = text.encode()
    return b"\x8c" + bytes([len(raw)]) + raw


PLAIN = {("CD003", "info")}
CODE = {("CD002", "error"), ("CD003", "info")}
ARGS = b"(S'id'\ntR."
# Every way to name os.system, in the opcodes of every protocol.
EVIL = {
    "protocol 0 GLOBAL": b"cos\nsystem\n(S'id'\ntR.",
    "protocol 0 posix": b"cposix\nsystem\n(S'id'\ntR.",
    "protocol 0 INST": b"(S'id'\nios\nsystem\n.",
    "protocol 1 OBJ": b"(cos\nsystem\nU\x02ido.",
    "protocol 2 REDUCE": b"\x80\x02cos\nsystem\nq\x00U\x02id\x85q\x01R.",
    "protocol 2 NEWOBJ": b"\x80\x02csubprocess\nPopen\nU\x02id\x85\x81.",
    "protocol 2 BUILD": b"\x80\x02cos\nsystem\n}b.",
    "protocol 2 only imported": b"\x80\x02cthis_module_runs_on_import\nx\n.",
    "protocol 2 EXT1": b"\x80\x02\x82\x05)R.",
    "protocol 3": b"\x80\x03cbuiltins\neval\nX\x03\x00\x00\x001+1\x85R.",
    "protocol 4 STACK_GLOBAL": b"\x80\x04" + short("os") + short("system") + b"\x93" + short("id") + b"\x85R.",
    "protocol 4 memo": b"\x80\x04" + short("os") + b"\x940" + short("system") + b"\x940h\x00h\x01\x93)R.",
    "protocol 4 long memo": b"\x80\x04" + short("os") + b"r\x07\x00\x00\x000" + short("system")
    + b"r\x08\x00\x00\x000j\x07\x00\x00\x00j\x08\x00\x00\x00\x93)R.",
    "protocol 0 memo by line": b"Vos\np5\n0Vsystem\np6\n0g5\ng6\n\x93)R.",
    "protocol 4 DUP": b"\x80\x04" + short("code") + b"2\x93)R.",
    "protocol 4 NEWOBJ_EX": b"\x80\x04" + short("subprocess") + short("Popen") + b"\x93" + short("id") + b"\x85}\x92.",
    "protocol 4 names put together": b"\x80\x04cbuiltins\nstr\n)R" + short("system") + b"\x93)R.",
    "protocol 4 dotted": b"\x80\x04" + short("collections") + short("OrderedDict.__init__.__globals__") + b"\x93.",
    "protocol 5": b"\x80\x05\x95\x15\x00\x00\x00\x00\x00\x00\x00" + short("posix") + short("system") + b"\x93"
    + short("i") + b"\x85R.",
    "protocol 0 escapes": b"S'\\x6fs'\nS'sys\\x74em'\n\x93)R.",
    "unicode escapes": b"V\\u006fs\nVsystem\n\x93)R.",
    "getattr": b"\x80\x02cbuiltins\ngetattr\n.",
    "torch's own loader": b"\x80\x02ctorch.storage\n_load_from_bytes\nC\x01x\x85R.",
    "a library's function": b"\x80\x02cnumpy.testing._private.utils\nrunstring\n.",
    "torch.hub": b"\x80\x02ctorch.hub\nload\n.",
    "an unknown class": b"\x80\x02cmy_model\nNet\n)\x81.",
    "behind an honest pickle": pickle.dumps({"a": 1}) + b"\x80\x02cos\nsystem\n)R.",
    "popped unseen": b"\x80\x02cos\nsystem\nU\x02id\x85R0N.",
    "webbrowser": b"\x80\x03cwebbrowser\nopen\nX\x01\x00\x00\x00x\x85R.",
    "pip": b"\x80\x03cpip._internal.cli.main\nmain\n]\x85R.",
}  # fmt: skip


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize("file", ["pytorch_model.bin", "x.pkl", "optimizer.pt"])
def test_a_pickle_that_imports_code_is_an_error(tmp_path, name, file):
    (tmp_path / file).write_bytes(EVIL[name])
    assert codes(tmp_path) == CODE


def test_the_finding_says_what_is_called(tmp_path):
    (tmp_path / "a.pkl").write_bytes(EVIL["protocol 4 memo"])
    assert findings(tmp_path, "CD002")[0].message == "calls os.system when it is loaded"
    (tmp_path / "a.pkl").write_bytes(EVIL["protocol 2 only imported"])
    assert findings(tmp_path, "CD002")[0].message.startswith("imports this_module_runs_on_import.x")


@pytest.mark.parametrize("protocol", range(6))
def test_honest_pickles_are_an_info_and_no_more(tmp_path, protocol):
    value = {"a": [1, 2.5, None, True, 10**30], "b": ("x" * 300, b"raw" * 1000), "c": {1, 2}, "d": frozenset([3])}
    value["again"] = value["a"]
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(value, protocol=protocol))
    assert codes(tmp_path) == PLAIN


def test_every_opcode_of_python_is_known():
    import pickletools

    from inspector.audit.readers.pickles import _STEPS

    assert {ord(op.code) for op in pickletools.opcodes} - {ord(".")} == set(_STEPS)


def test_the_same_imports_as_pickletools_sees():
    import collections
    import pickletools

    value = [collections.OrderedDict(a=1), collections.Counter("aab"), range(3), slice(1, 2), complex(1, 2), {4, 5}]
    for protocol in (2, 3):
        raw = pickle.dumps(value, protocol=protocol)
        seen = {arg.replace(" ", ".") for op, arg, _ in pickletools.genops(raw) if op.name == "GLOBAL"}
        assert {g.path for g in scan(raw).globals} == seen
    later = {g.path for g in scan(pickle.dumps(value, protocol=4)).globals}
    assert later == {p.replace("__builtin__", "builtins") for p in seen} - {"builtins.set"}  # which has an opcode


TORCH_GLOBALS = (
    b"ccollections\nOrderedDict\n)R(X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storage"
    b"ctorch\nBFloat16Storage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQK\x00K\x01\x85K\x01\x85\x89"
    b"ccollections\nOrderedDict\n)RtRu."
)
TORCH = b"\x80\x02" + TORCH_GLOBALS
LEGACY = (
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\x00.\x80\x02" + TORCH_GLOBALS
    + b"\x80\x02]q\x00X\x01\x00\x00\x000q\x01a." + struct.pack("<q", 1) + b"c\x80cos\n\x01\xff" * 20
)  # fmt: skip


def zipped(members, *, method=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        for name, raw in members.items():
            z.writestr(zipfile.ZipInfo(name), raw, method)  # without the time: test ids are made of the bytes
    return out.getvalue()


def checkpoint(data_pkl, **more):
    return zipped(
        {"archive/data.pkl": data_pkl, "archive/data/0": b"\x80\x02cos\nsystem\n", "archive/version": b"3\n"}, **more
    )


@pytest.mark.parametrize("raw", [checkpoint(TORCH), LEGACY, TORCH, checkpoint(TORCH, method=zipfile.ZIP_DEFLATED)])
def test_honest_checkpoints_of_pytorch_are_an_info_and_no_more(tmp_path, raw):
    (tmp_path / "pytorch_model.bin").write_bytes(raw)
    assert codes(tmp_path) == PLAIN


def test_training_state_is_an_info(tmp_path):
    raw = (
        b"\x80\x02ctransformers.training_args\nTrainingArguments\n)\x81}(X\x01\x00\x00\x00actransformers.trainer_utils\n"
        b"IntervalStrategy\nX\x02\x00\x00\x00no\x85Rub."
    )
    (tmp_path / "training_args.bin").write_bytes(checkpoint(raw))
    assert codes(tmp_path) == PLAIN
    assert "transformers.training_args.TrainingArguments" in findings(tmp_path)[0].message


def broken_zip(raw):
    return raw[: raw.rindex(b"PK\1\2")]


def encrypted(raw):
    """The directory says that the member is encrypted: Python's zipfile refuses, PyTorch reads on."""
    at = raw.index(b"PK\1\2")
    return raw[: at + 8] + b"\x01" + raw[at + 9 :]


EVIL_PKL = EVIL["protocol 2 REDUCE"]


@pytest.mark.parametrize(
    ("file", "raw", "more"),
    [
        ("pytorch_model.bin", checkpoint(EVIL_PKL), set()),
        ("pytorch_model.bin", checkpoint(EVIL_PKL, method=zipfile.ZIP_DEFLATED), set()),
        ("model.pt", zipped({"archive/data.pkl": TORCH, "archive/other.pkl": EVIL_PKL}), set()),
        ("model.pt", zipped({"archive/data.pkl": TORCH, "archive/hidden": EVIL_PKL}), set()),
        ("model.pt", zipped({"archive/data.pkl": TORCH, "archive/old": EVIL["protocol 0 GLOBAL"]}), set()),
        ("model.pt", encrypted(checkpoint(EVIL_PKL)), {("CD009", "error")}),
        ("model.pt", broken_zip(checkpoint(EVIL_PKL)), {("CD004", "error")}),
        ("model.pkl.gz", gzip.compress(EVIL_PKL, mtime=0), set()),
        ("model.joblib", zlib.compress(EVIL_PKL), set()),
        ("model.joblib", bz2.compress(EVIL_PKL), set()),
        ("model.joblib", lzma.compress(EVIL_PKL), set()),
        ("model", EVIL_PKL, set()),
        ("weights.xyz", EVIL_PKL, set()),
        ("sub/folder/model.bin", EVIL_PKL, set()),
        ("model.pt", b"\x80\x02" + b"(" * 10 + b"1" * 10 + EVIL_PKL[2:], set()),
    ],
    # of their own: archives carry the time, and parallel workers must collect the same names
    ids=[
        "zip",
        "deflated-zip",
        "second-pickle",
        "hidden-name",
        "protocol-0",
        "encrypted",
        "broken-zip",
        "gzip",
        "zlib",
        "bz2",
        "lzma",
        "no-suffix",
        "odd-suffix",
        "sub-folder",
        "marks",
    ],
)
def test_code_is_found_wherever_it_hides(tmp_path, file, raw, more):
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    assert codes(tmp_path) == CODE | more


def test_code_in_a_tar(tmp_path):
    with tarfile.open(tmp_path / "model.nemo", "w") as tar:
        for name, raw in {"./weights.ckpt": checkpoint(TORCH), "./pickle": EVIL_PKL}.items():
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            tar.addfile(info, io.BytesIO(raw))
    assert ("CD002", "error") in codes(tmp_path)


@pytest.mark.parametrize("file", ["model.safetensors", "model.gguf"])
def test_a_pickle_under_a_model_name_is_looked_into(tmp_path, file):
    (tmp_path / file).write_bytes(EVIL_PKL)
    assert ("CD002", "error") in codes(tmp_path)


def test_a_single_file_is_looked_into(tmp_path):
    (tmp_path / "x.bin").write_bytes(EVIL_PKL)
    assert codes(tmp_path / "x.bin") == CODE


@pytest.mark.parametrize(
    "raw",
    [
        TORCH[:40],
        pickle.dumps([1] * 100)[:-1],
        b"\x80\x04\x95\xff\xff\x00\x00\x00\x00\x00\x00N.",
        b"\x80\x02\xffN.",
        b"\x80\x02R.",
        b"\x80\x02X\xff\xff\xff\xffabc",
        b"\x80\x02.",
        b"\x80\x05\x8e" + b"\xff" * 8 + b"x.",
    ],
)
def test_a_broken_pickle_is_an_error(tmp_path, raw):
    (tmp_path / "x.pkl").write_bytes(raw)
    assert codes(tmp_path) == {("CD003", "info"), ("CD004", "error")}


def test_padding_does_not_hide_code(tmp_path):
    (tmp_path / "m.pkl").write_bytes(b"\x80\x02" + b"N0" * 400_000 + EVIL_PKL[2:])
    assert codes(tmp_path) == {*CODE, ("CD004", "error")}  # no pickler writes that
    (tmp_path / "m.pkl").write_bytes(b"\x80\x02" + b"N0" * 1_400_000 + EVIL_PKL[2:])
    assert codes(tmp_path) == CODE | {("CD004", "error")}


def test_code_before_the_break_is_still_found(tmp_path):
    (tmp_path / "x.pt").write_bytes(EVIL_PKL[:-1] + b"\xff\xff")
    assert codes(tmp_path) == CODE | {("CD004", "error")}


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.pt", "x.pkl"])
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
        b"<!doctype html><p>404",
        b"\0" * 64,
        b"7z\xbc\xaf\x27\x1cxxxx",
    ],
)
def test_something_else_under_a_checkpoints_name(tmp_path, file, raw):
    (tmp_path / file).write_bytes(raw)
    assert codes(tmp_path) == {("CD004", "error")}


def deflated(raw):
    return zipped({"a/data.pkl": raw}, method=zipfile.ZIP_DEFLATED)


BOMBS = {
    "instructions": lambda: b"\x80\x02" + b"N0" * 1_000_000 + b"N.",
    "deep stack": lambda: b"\x80\x02" + b"(" * 2_000_000,
    "memo": lambda: b"\x80\x02N" + b"".join(b"r" + struct.pack("<I", i) for i in range(2_000_000)) + b".",
    "place in the memo": lambda: b"\x80\x02Nr\xff\xff\xff\x7f.",
    "globals": lambda: b"\x80\x02" + b"".join(b"cm%d\nx\n0" % i for i in range(400_000)) + b"N.",
    "lines": lambda: b"\x80\x02" + b"I" + b"1" * 10_000_000,
    "zip of instructions": lambda: deflated(b"\x80\x02" + b"N0" * 10_000_000),
    "zip of one string": lambda: deflated(b"\x80\x02X\xff\xff\xff\x12" + b"a" * 0x12FFFFFF + b"."),
    "gzip of zeros": lambda: gzip.compress(b"\x80\x02X\xff\xff\xff\x05" + b"\0" * (100 << 20), mtime=0),
    "tuples of themselves": lambda: b"\x80\x02N" + b"2\x86" * 60 + b".",
    "memo of itself": lambda: b"\x80\x02]q\0" + b"h\0a" * 60 + b".",
    "frozen sets": lambda: b"\x80\x04" + b"(N\x91" + b"2\x86\x94" * 40 + b".",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_found_in_bounded_time(tmp_path, name):
    (tmp_path / "model.pt").write_bytes(BOMBS[name]())
    began = time.process_time()
    assert ("CD004", "error") in codes(tmp_path)
    assert time.process_time() - began < 2


@pytest.mark.parametrize("name", ["deep stack", "lines", "zip of one string", "gzip of zeros"])
def test_bombs_are_found_in_bounded_memory(tmp_path, name):
    import tracemalloc

    (tmp_path / "model.pt").write_bytes(BOMBS[name]())
    tracemalloc.start()
    audit(str(tmp_path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 << 20


def test_large_payloads_are_stepped_over(tmp_path):
    path = tmp_path / "x.pkl"
    with path.open("wb") as f:
        f.write(b"\x80\x04B\xff\xff\xff\xff")
        f.seek(0xFFFFFFFF, 1)  # 4 GiB of nothing
        f.write(b"0cos\nsystem\n)R.")
    began = time.process_time()
    assert codes(tmp_path) == CODE
    assert time.process_time() - began < 0.5


def test_auto_map_names_its_files(tmp_path):
    (tmp_path / "modeling_x.py").write_text("import os")
    config = {"auto_map": {"AutoConfig": "configuration_x.XConfig", "AutoModel": "modeling_x.XModel"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    tokenizer = {"auto_map": {"AutoTokenizer": ["other/repo--tokenization_x.XTokenizer", None]}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    found = findings(tmp_path)
    assert [(f.code, f.severity, f.where) for f in found] == [
        ("CD001", "warning", "config.json"),
        ("CD001", "warning", "tokenizer_config.json"),
    ]
    assert found[0].message == "asks for its own code: configuration_x.py (not here), modeling_x.py"
    assert found[1].message == "asks for its own code: tokenization_x.py from other/repo"


def test_custom_pipelines_and_nested_configurations_count(tmp_path):
    config = {
        "text_config": {"auto_map": {"AutoModel": "m.M"}},
        "custom_pipelines": {"x": {"impl": "pipe.P", "pt": ["AutoModel"]}},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert findings(tmp_path)[0].message == "asks for its own code: m.py (not here), pipe.py (not here)"


@pytest.mark.parametrize("value", [None, [], "x", {"AutoModel": None}, {"AutoModel": 3}, {"AutoModel": [[[[]]]]}, {}])
def test_an_auto_map_of_nothing_is_nothing(tmp_path, value):
    (tmp_path / "config.json").write_text(json.dumps({"auto_map": value}))
    assert findings(tmp_path) == []


def test_honest_folders_are_silent(tmp_path):
    for name, text in {
        "README.md": "cos\nsystem\n(S'id'\ntR.",
        "config.json": '{"model_type": "llama"}',
        "merges.txt": "sub process\nos .system\n",
        "vocab.json": '{"subprocess": 1, "os.system": 2, "__class__": 3}',
        "train.py": "import os\nos.system('id')",
        "LICENSE": "(c) someone\n",
        "tokenizer.model": "\n\x0e\n\x05<unk>",
        ".gitattributes": "*.bin filter=lfs\n",
        "openvino_model.bin": "\x00\x01" * 300,
        "onnx/model.onnx_data": "c" * 1000,
        "spiece.model": "(abc",
        "labels": "cat\ndog\nbird\n",
        "Notice": "copyright\nby us\nand others",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert findings(tmp_path) == []


def npy(descr, body=b""):
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': (1,), }}".encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + body


def test_numpy_files_of_objects(tmp_path):
    (tmp_path / "good.npy").write_bytes(npy("'<f4'", b"\0" * 4))
    (tmp_path / "good.npz").write_bytes(zipped({"a.npy": npy("'<f4'"), "b.npy": npy("[('Ox', '<i8')]")}))
    assert findings(tmp_path) == []
    (tmp_path / "bad.npy").write_bytes(npy("'|O'", EVIL_PKL))
    assert codes(tmp_path) == {("CD007", "error"), ("CD002", "error")}
    (tmp_path / "bad.npy").unlink()
    (tmp_path / "bad.npz").write_bytes(zipped({"a.npy": npy("[('x', 'O')]", pickle.dumps([1]))}))
    assert codes(tmp_path) == {("CD007", "error")}


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("libx.so", b"\x7fELF\x02\x01\x01" + b"\0" * 60),
        ("tool.exe", b"MZ" + b"\0" * 58 + b"\x40\0\0\0" + b"PE\0\0" + b"\0" * 60),
        ("x.dylib", b"\xcf\xfa\xed\xfe" + b"\0" * 60),
    ],
)
def test_programs_among_the_weights(tmp_path, name, raw):
    (tmp_path / name).write_bytes(raw)
    assert ("CD005", "warning") in codes(tmp_path)


@pytest.mark.parametrize(
    "name", ["x.bin", "x.pt", "x.pkl", "x.h5", "x.onnx", "x.keras", "x.tflite", "x.npz", "x.weights"]
)
@pytest.mark.parametrize("raw", [b"\x7fELF" + b"\0" * 90, b"MZ" + b"\0" * 58 + b"\x40\0\0\0PE\0\0" + b"\0" * 60])
def test_a_program_under_a_name_of_weights_is_an_error(tmp_path, name, raw):
    (tmp_path / name).write_bytes(raw)
    assert ("CD005", "error") in codes(tmp_path)


def test_a_library_within_a_checkpoint_is_an_error(tmp_path):
    for name in ("model.pt", "model.pt2", "model.mar"):
        raw = zipped({"archive/data.pkl": TORCH, "archive/extra.so": b"\x7fELF" + b"\0" * 60})
        (tmp_path / name).write_bytes(raw)
        assert ("CD005", "error") in codes(tmp_path / name)


CLOSED = [b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"MSCF", b"\x28\xb5\x2f\xfd", b"\x1f\x9d"]


@pytest.mark.parametrize("magic", CLOSED)
@pytest.mark.parametrize("name", ["x.7z", "x.bin", "x.dat", "x.weights", "x"])
def test_archives_that_are_not_looked_into_are_an_error(tmp_path, name, magic):
    (tmp_path / name).write_bytes(magic + bytes(range(1, 100)))
    assert codes(tmp_path) == {("CD006", "error")}


def test_an_archive_that_can_be_looked_into_is_silent(tmp_path):
    (tmp_path / "docs.zip").write_bytes(zipped({"README.md": b"hello", "a/b.json": b"{}"}))
    assert findings(tmp_path) == []


@pytest.mark.parametrize(
    ("path", "verdict"),
    [
        ("torch._utils._rebuild_tensor_v2", "weights"),
        ("torch.HalfStorage", "weights"),
        ("torch.float8_e4m3fn", "weights"),
        ("__builtin__.set", "weights"),
        ("numpy._core.multiarray._reconstruct", "weights"),
        ("numpy.dtypes.UInt32DType", "weights"),
        ("transformers.training_args.TrainingArguments", "class"),
        ("torch.nn.modules.linear.Linear", "class"),
        ("__torch__.my.Module", "class"),
        ("argparse.Namespace", "class"),
        ("builtins.eval", "code"),
        ("builtins.getattr", "code"),
        ("torch.load", "code"),
        ("torch.storage._load_from_bytes", "code"),
        ("transformers.utils.import_utils.run", "code"),
        ("torch._dynamo.guards.GuardBuilder.get", "code"),
        ("functools.partial", "code"),
        ("logging.handlers.QueueHandler", "code"),
        ("pandas.io.pytables.HDFStore", "code"),
        ("scipy.stats._distn_infrastructure.rv_frozen", "code"),
        ("sklearn.utils._testing.TempMemmap", "code"),
        ("numpy.memmap", "code"),
        ("transformers.commands.serving.ServeCommand", "code"),
        ("torch.utils.cpp_extension.BuildExtension", "code"),
        ("torch.nn.modules.linear.Popen", "code"),
        ("torch.EvilStorage", "code"),
        ("sklearn.neighbors._classification.KNeighborsClassifier", "class"),
        ("sklearn.ensemble._gb_losses.BinomialDeviance", "class"),
        ("scipy.sparse._csr.csr_matrix", "class"),
        ("numpy.random._pickle.__generator_ctor", "class"),
        ("numpy.log1p", "class"),
        ("operator.attrgetter", "code"),
        ("?.?", "code"),
    ],
)
def test_what_an_import_is(path, verdict):
    module, _, name = path.rpartition(".")
    assert weigh(Global(module, name, 0)) == verdict
