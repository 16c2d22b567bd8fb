"""What attackers try so that a scanner looks past it: one table a kind, each with what is honest beside it."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import stat
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
from audit_builder import audit, gguf_bytes, llama_folder, write

EVIL = b"\x80\x02cos\nsystem\nU\x02id\x85R."
PLAIN = b"cos\nsystem\n(S'id'\ntR."
GOOD = pickle.dumps({"a": [1, 2]}, protocol=2)
ELF = b"\x7fELF" + bytes(200)


def verdict(path):
    return audit(path).verdict


def found(path):
    return {(f.code, f.severity) for f in audit(path).findings if f.severity != "info"}


def zipped(members, method=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        for name, raw in members.items():
            z.writestr(name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name), raw, method)
    return out.getvalue()


def torch_zip(data_pkl=GOOD, **more):
    return zipped({"a/data.pkl": data_pkl, "a/version": b"3\n", **more})


# --- pickles ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [PLAIN, b"\x80\x00" + PLAIN, b"N0" + PLAIN, b"Pabc\n0" + PLAIN, EVIL])
@pytest.mark.parametrize(
    "name",
    [
        "m.pkl",
        "m.bin",
        "m",
        "m.weights",
        "m.xyz",
        "m.txt",
        "vocab.json",
        "x.png",
        "m.pkl.",
        "blobs/m.pkl",
        "blobs/x",
        "a: b.txt",
        "config.json",
        "m.pkl.part",
    ],
)
def test_a_pickle_is_found_under_any_name(tmp_path, name, raw):
    write(tmp_path, {"beside.txt": "x", name: raw})
    assert ("CD002", "error") in found(tmp_path)


@pytest.mark.parametrize("name", ["vocab.txt", "labels", "words.dat", "merges.bin"])
@pytest.mark.parametrize(
    "text", ["cos\ncosine\nios\nandroid\n", "ios\nandroid\n", "(S'id'\n", "Pabc\nN\n", "isys\nx\n"]
)
def test_lists_of_words_are_no_pickles(tmp_path, name, text):
    write(tmp_path, {"beside.txt": "x", name: text * 300, "m.pkl": pickle.dumps({"words": text * 300})})
    assert "CD002" not in {code for code, _ in found(tmp_path)}


HUGE = b"\x8a\x06" + (1 << 40).to_bytes(6, "little")
ROOM = {
    "bytearray": b"\x80\x02cbuiltins\nbytearray\n" + HUGE + b"\x85R.",
    "bytes, by lines": b"c__builtin__\nbytes\n(L1099511627776L\ntR.",
    "a number made": b"\x80\x02cbuiltins\nbytearray\ncbuiltins\nint\nU\x0d1099511627776\x85R\x85R.",
    "list of a range": b"\x80\x02cbuiltins\nlist\ncbuiltins\nrange\n" + HUGE + b"\x85R\x85R.",
    "deque of a range": b"\x80\x02ccollections\ndeque\ncbuiltins\nrange\n" + HUGE + b"\x85R\x85R.",
    "a storage": b"\x80\x02ctorch\nFloatStorage\n" + HUGE + b"\x85R.",
    "ones": b"\x80\x02cnumpy\nones\n" + HUGE + b"\x85R.",
}


@pytest.mark.parametrize("name", ROOM)
def test_calls_that_set_memory_aside_are_an_error(tmp_path, name):
    write(tmp_path, {"m.pkl": ROOM[name]})
    assert verdict(tmp_path) == "fail"


@pytest.mark.parametrize("protocol", range(6))
def test_values_of_the_same_types_are_honest(tmp_path, protocol):
    value = {
        "a": bytearray(b"x" * 9),
        "b": b"y" * 3_000,
        "c": range(1 << 40),
        "d": {1, 2},
        "e": np.arange(9, dtype="u1"),
    }
    write(tmp_path, {"m.pkl": pickle.dumps(value, protocol=protocol)})
    assert verdict(tmp_path) == "pass"


def test_functions_that_checkpoints_name_are_code_when_they_are_called(tmp_path):
    """scikit-learn 1.2's _cached_call calls any method by its name; _passthrough_scorer calls `score` of anything."""
    for function in ("_cached_call", "_passthrough_scorer"):
        raw = b"\x80\x02csklearn.metrics._scorer\n" + function.encode() + b"\n(NcpandasX\nDataFrame\ntR."
        write(tmp_path, {"m.pkl": raw.replace(b"cpandasX", b"cpandas")})
        assert ("CD002", "error") in found(tmp_path)
    write(tmp_path, {"m.pkl": b"\x80\x02csklearn.metrics._scorer\n_passthrough_scorer\n."})
    assert found(tmp_path) == set()


def legacy(body=b"N."):
    magic = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
    return magic + b"\x80\x02M\xe9\x03." + b"\x80\x02}." + b"\x80\x02" + body + b"\x80\x02]." + bytes(40)


def tensor_pickle(raw, protocol=3):
    """What pickle.dump writes of a tensor (torch/storage.py, __reduce__)."""
    if protocol == 3:
        held = b"B" + struct.pack("<I", len(raw)) + raw
    else:
        text = raw.decode("latin-1").encode()
        held = b"c_codecs\nencode\nX" + struct.pack("<I", len(text)) + text + b"X\x06\0\0\0latin1\x86R"
    return b"\x80" + bytes([protocol]) + b"ctorch.storage\n_load_from_bytes\n" + held + b"\x85R."


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_pickled_tensor_is_weighed_by_the_checkpoint_in_it(tmp_path, protocol):
    write(tmp_path, {"m.pkl": tensor_pickle(legacy(), protocol)})
    assert found(tmp_path) == set()
    for bad in (legacy(EVIL[2:]), b"x" * 40, torch_zip(EVIL), legacy()[:20]):
        write(tmp_path, {"m.pkl": tensor_pickle(bad, protocol)})
        assert ("CD002", "error") in found(tmp_path)


# --- packed ----------------------------------------------------------------------------------------------------------


def alone(raw, **options):
    return lzma.compress(raw, lzma.FORMAT_ALONE, filters=[{"id": lzma.FILTER_LZMA1, **options}])


PACKED = {
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda raw: alone(raw, dict_size=4096),
    "lzma, other numbers": lambda raw: alone(raw, lc=0, lp=2, pb=0),
    "joblib before 0.10": lambda raw: b"ZF" + hex(len(raw)).encode().ljust(19) + zlib.compress(raw),
}


@pytest.mark.parametrize("name", ["m.joblib", "m.bin", "m.sav", "m.p", "m"])
@pytest.mark.parametrize("how", PACKED)
def test_packed_pickles_are_followed_under_any_name(tmp_path, name, how):
    write(tmp_path, {"beside.txt": "x", name: PACKED[how](GOOD)})
    assert not {code for code, _ in found(tmp_path)} & {"CD002", "CD004", "CD009", "CD010"}
    write(tmp_path, {name: PACKED[how](EVIL)})
    assert ("CD002", "error") in found(tmp_path)


@pytest.mark.parametrize("how", ["gzip", "bzip2", "xz"])
def test_bytes_behind_what_is_packed_are_an_error(tmp_path, how):
    write(tmp_path, {"m.pkl": PACKED[how](GOOD) + EVIL})
    assert ("CD010", "error") in found(tmp_path)
    write(tmp_path, {"m.pkl": PACKED[how](GOOD) + bytes(400)})
    assert found(tmp_path) == set()


# --- zip -------------------------------------------------------------------------------------------------------------


def link(to):
    info = zipfile.ZipInfo("link")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return zipped({info: to})


def locked(raw):
    raw = bytearray(raw)
    raw[6] |= 1
    raw[raw.index(b"PK\1\2") + 8] |= 1
    return bytes(raw)


@pytest.mark.parametrize(
    ("name", "raw", "code"),
    [
        ("m.zip", link("../../etc"), "CD006"),
        ("m.mar", link("/etc/passwd"), "CD006"),
        ("m.zip", zipped({"C:x": b""}), "CD006"),
        ("m.zip", locked(zipped({"weights": bytes(range(256))})), "CD009"),
        ("m.npz", b"\x93NUMPY\1\0\x10\0{'descr': '<f4'}" + torch_zip(EVIL), "CD002"),
        ("m.keras", GOOD + zipped({"config.json": '{"class_name": "Lambda"}'}), "CD008"),
        ("m.keras", ELF + zipped({"config.json": '{"class_name": "Lambda"}'}), "CD008"),
        ("m.pt", torch_zip(**{"a/data/0": EVIL}), "CD002"),
        ("m.mar", torch_zip(**{"a/data/0": torch_zip(EVIL)}), "CD002"),
        ("m.zip", zipped({"x.txt": PLAIN}), "CD002"),
        ("m.zip", zipped({"x.weights": PLAIN}), "CD002"),
        ("m.pt", torch_zip(**{"a/code/x.py": 'torch.save(x, "/tmp/x")'}), "CD011"),
        ("m.pt", torch_zip(**{"a/code/x.py": 'ops.aten.from_file("/etc/passwd", False, 9)'}), "CD011"),
        ("m.zip", zipped({"sitecustomize.py": "x = 1"}), "CD013"),
        ("m.zip", zipped({"x.pth": "import os\n"}), "CD013"),
    ],
    ids=range(15),
)
def test_zip_archives_that_hide_something(tmp_path, name, raw, code):
    write(tmp_path, {name: raw})
    assert (code, "error") in found(tmp_path)


@pytest.mark.parametrize(
    "raw",
    [
        link("a/b"),
        torch_zip(**{"a/data/0": bytes(9), "a/data/1": b"\x80\x02}q\0", "a/code/x.py": "return torch.add(x, 1)"}),
        zipped({"a/x.yaml": "_target_: torch.nn.Linear", "x.pth": "./lib\n", "config.json": '{"a": 1}'}),
    ],
)
def test_zip_archives_that_hide_nothing(tmp_path, raw):
    write(tmp_path, {"m.zip": raw})
    assert found(tmp_path) == set()


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packed_files_of_a_package_are_silent(tmp_path, method):
    files = {
        "x.dist-info/METADATA": b"Metadata-Version: 2.1\n" * 90,
        "LICENSE": b"MIT License\n" * 90,
        "x/__init__.py": b"import os\n",
        "x/a.yaml": b"a: 1\n",
        "x/v.txt": b"cos\nios\n" * 9_000,
        "x/d.bin": bytes(range(256)) * 9_000,
        "x/n.json": b"{}",
        "x/Makefile": b"(all)\n" * 40,
        "x/labels": b"cat\ndog\n",
        "x/empty.py": b"",
        "x/m.tflite": b"\x1c\0\0\0TFL3" + bytes(90),
    }
    write(tmp_path, {"x.whl": zipped(files, method)})
    assert found(tmp_path) == set()
    for name, raw in {
        "x/w": PLAIN,
        "x/c.yaml": b"_target_: os.system",
        "x/d.bin": bytes(range(256)) * 99 + EVIL,
    }.items():
        write(tmp_path, {"x.whl": zipped(files | {name: raw}, method)})
        assert verdict(tmp_path) == "fail"


# --- tar -------------------------------------------------------------------------------------------------------------


def header(name, size=0, kind=b"0", to=b"", field=b""):
    head = bytearray(512)
    head[: len(name)] = name
    head[100:136] = b"0000644\x000000000\x000000000\0" + (field or b"%011o\0" % size)
    head[136:148], head[148:156] = b"00000000000\0", b" " * 8
    head[156:157], head[157 : 157 + len(to)], head[257:265] = kind, to, b"ustar\x0000"
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def filed(name, raw, **more):
    return header(name, len(raw), **more) + raw + bytes(-len(raw) % 512)


def pax(key, value):
    body = b" " + key + b"=" + value + b"\n"
    n = len(body) + 2
    return filed(b"p", b"%d" % (n if n > 9 else n - 1) + body, kind=b"x")


END = bytes(1024)
CODE = filed(b"w.pkl", EVIL)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (filed(b"a", b"x") + bytes(512) + CODE + END, "CD002"),
        (filed(b"a", b"x") + END + CODE + END, "CD002"),
        (filed(b"a", b"x") + bytes(3 << 20) + CODE + END, "CD002"),
        (filed(b"a", b"x") + header(b"q", field=b"\xff" * 12) + CODE, "CD010"),
        (filed(b"a", b"x") + header(b"q", field=b"zzz\0") + CODE, "CD010"),
        (pax(b"size", b"0_512") + header(b"a") + bytes(512) + CODE + END, "CD010"),
        (pax(b"size", b"0") + header(b"a", 1024) + CODE + END, "CD010"),
        (pax(b"GNU.sparse.major", b"1") + filed(b"w", b"1\n0\n9\n"), "CD009"),
        (header(b"w", 9, kind=b"S") + bytes(512), "CD009"),
        (header(b"d", kind=b"3") + END, "CD006"),
        (header(b"p", kind=b"6") + END, "CD006"),
        (header(b"a/b/c", kind=b"2", to=b"../..") + header(b"e", kind=b"2", to=b"a/b/c/../..") + END, "CD006"),
        (header(b"a", kind=b"2", to=b"b") + filed(b"a/x", b"x") + END, "CD006"),
        (filed(b"./c.yaml", b"a:\n  _target_: os.system\n") + END, "CD012"),
        (filed(b"c.yaml", b"a: !!python/object/apply:os.system [id]\n") + END, "CD012"),
    ],
    ids=range(15),
)
@pytest.mark.parametrize("packed", [False, True])
def test_tar_archives_that_hide_something(tmp_path, raw, code, packed):
    write(tmp_path, {"m.nemo": gzip.compress(raw, mtime=0) if packed else raw})
    assert (code, "error") in found(tmp_path)


def test_tar_archives_as_python_and_tar_write_them_hide_nothing(tmp_path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, raw in {
            "./model_config.yaml": b"_target_: nemo.core.X\n",
            "w.ckpt": torch_zip(),
            "ü" * 90: b"x",
        }.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(raw), 1.5
            tar.addfile(info, io.BytesIO(raw))
    write(tmp_path, {"m.nemo": out.getvalue()})
    assert found(tmp_path) == set()


# --- arrays ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("descr", ["('V8', [('a', 'O')])", "('V8', {'names': ['a'], 'formats': ['O']})", "('i8', 'O')"])
def test_a_type_given_by_its_second_part_is_objects(tmp_path, descr):
    raw = ("{'descr': " + descr + ", 'fortran_order': False, 'shape': (1,), }").encode().ljust(118) + b"\n"
    write(tmp_path, {"m.npy": b"\x93NUMPY\1\0" + struct.pack("<H", len(raw)) + raw + EVIL})
    assert {("CD007", "error"), ("CD002", "error")} <= found(tmp_path)


TYPES = "u1 u2 u4 u8 i1 i8 f2 f4 f8 f16 c8 c16 ? S3 U3 V5 M8[ns] m8[D] >f4 M8[25us] p P e g G F l L q Q h H b B"


@pytest.mark.parametrize("dtype", TYPES.split())
def test_every_type_of_numbers_that_numpy_writes_is_silent(tmp_path, dtype):
    np.save(tmp_path / "m.npy", np.zeros(3, dtype))
    np.save(tmp_path / "f.npy", np.zeros(3, [("a", dtype, (2,)), ("b", "i4")]))
    assert found(tmp_path) == set()


# --- graphs, Keras ---------------------------------------------------------------------------------------------------


def layer(**fields):
    return json.dumps({"class_name": "Functional", "config": {"layers": [fields]}})


LAYERS = {
    "eval": layer(module="builtins", class_name="function", config="eval", registered_name="function"),
    "a class of builtins": layer(module="builtins", class_name="exec", config={}),
    "a function as a class": layer(module="keras.utils", class_name="get_file", config={"origin": "http://x"}),
    "the Hub of TensorFlow": layer(
        module="tensorflow_hub.keras_layer", class_name="KerasLayer", config={"handle": "https://x.example/m"}
    ),
    "Keras 2's lambda": layer(class_name="Dense", config={"activation": {"function_type": "lambda", "config": ["4w"]}}),
    "Lambda": layer(class_name="Lambda"),
}
OWN = layer(module="builtins", class_name="function", config="my_loss", registered_name="function")


@pytest.mark.parametrize("name", ["m.keras", "model.json", "config.json", "m.keras/config.json"])
@pytest.mark.parametrize("what", LAYERS)
def test_keras_models_are_read_wherever_they_lie(tmp_path, name, what):
    for raw, expected in ((OWN, set()), (LAYERS[what], {("CD008", "error")})):
        write(tmp_path, {name: zipped({"config.json": raw}) if name == "m.keras" else raw})
        assert found(tmp_path) & {("CD008", "error")} == expected


def field(number, *parts):
    body = b"".join(p if isinstance(p, bytes) else p.encode() for p in parts)
    return bytes([number << 3 | 2, len(body)]) + body


def graph(op):
    return field(1, field(1, "n") + field(2, op))


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("g.pb", graph("ImmutableConst")),
        ("g.pb", graph("TextLineDataset")),
        ("m.ckpt.meta", field(2, graph("PyFunc"))),
        ("g.pb", graph("PrintV2") + field(3, "file:///tmp/x")),
        ("g.pbtxt", b"node { name: 'n' op: 'WriteFile' }"),
        ("saved_model.pbtxt", b'graph_def { node { op: "PyFunc" } }'),
        ("m.tflite", b"\x1c\0\0\0TFL3" + bytes(40) + b"\0FlexPyFunc\0"),
        ("m.onnx", b"\x08\x08" + field(7, field(1, field(4, "PyOp")))),
        ("m.bin", b"\x08\x08" + field(7, field(5, b"\x20\x04" + field(13, field(1, "location") + field(2, "../x"))))),
        (
            "m.onnx",
            b"\x08\x08" + field(7, field(5, b"\x20\x04" + field(13, field(1, "location") + field(2, "http://x")))),
        ),
        ("m.pmml", b'<!DOCTYPE p [<!ENTITY x SYSTEM "file:///etc/passwd">]><PMML>&x;</PMML>'),
    ],
    ids=range(11),
)
def test_graphs_that_act_in_any_dress_are_an_error(tmp_path, name, raw):
    write(tmp_path, {"beside.txt": "x", name: raw})
    assert ("CD011", "error") in found(tmp_path)


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("g.pb", graph("PrintV2")),
        ("g.pbtxt", b"node { op: 'MatMul' name: 'PyFunc' }"),
        ("m.pmml", b"<PMML><!-- ENTITY --></PMML>"),
        ("m.tflite", b"\x1c\0\0\0TFL3" + bytes(40) + b"\0FlexErf\0"),
        ("m.onnx", b"\x08\x08" + field(7, field(1, field(4, "Add")))),
    ],
)
def test_graphs_that_compute_are_silent(tmp_path, name, raw):
    write(tmp_path, {"config.json": "{}", name: raw})
    assert found(tmp_path) == set()


# --- configurations, companions --------------------------------------------------------------------------------------

TARGETS = [
    ("v1.yaml", "model:\n  target: os.system\n  params: {}\n"),
    ("c.yaml", "class_path: subprocess.Popen\n"),
    ("c.yaml", "_component_: os.system\n"),
    ("h.yaml", "a: !new:os.system\n"),
    ("h.yaml", "a: !apply:subprocess.run [id]\n"),
    ("c.yaml", "pipeline:\n  name: os.system\n"),
    ("c.yaml", "_target_: >-\n  os.system\n"),
    ("c.yaml", "x: &b os.system\n_target_: *b\n"),
    ("c.yaml", "_target_: !!str os.system\n"),
    ("c.yaml", "_target_: # a comment\n  os.system\n"),
    ("c.yaml", "%TAG !y! tag:yaml.org,2002:\n---\na: 1\n"),
    ("c.yaml", "a: !!python%2Fobject/apply:os.system [id]\n"),
    ("1_Dense/config.json", '{"activation_function": "os.system"}'),
    ("router_config.json", '{"types": {"q": "subprocess.Popen"}}'),
    ("w.json", '{"tokenizer_class": "os.system"}'),
    ("config.json", '{"sentence_transformers": {"activation_fn": "os.system"}}'),
    ("adapter_config.json", '{"auto_mapping": {"base_model_class": "system", "parent_library": "os"}}'),
]
ORDINARY = [
    ("v1.yaml", "model:\n  target: ldm.models.diffusion.ddpm.LatentDiffusion\n"),
    ("c.yaml", "target: code.block\n"),
    ("h.yaml", "a: !new:speechbrain.nnet.CNN.Conv1d\nb: !apply:torch.manual_seed [1]\nc: !ref <a>\n"),
    ("c.yaml", "pipeline:\n  name: pyannote.audio.pipelines.SpeakerDiarization\n"),
    ("c.yaml", "name: os.system\n"),
    ("1_Dense/config.json", '{"activation_function": "torch.nn.modules.activation.Tanh"}'),
    ("tokenizer_config.json", '{"tokenizer_class": "LlamaTokenizer"}'),
    ("c.yaml", "_target_: # ours\n  torch.nn.Linear\n"),
    ("adapter_config.json", '{"auto_mapping": {"parent_library": "transformers.models.llama.modeling_llama"}}'),
]


@pytest.mark.parametrize(("name", "text"), TARGETS)
def test_what_loaders_import_by_other_keys_is_an_error(tmp_path, name, text):
    llama_folder(tmp_path, **{name: text})
    assert ("CD012", "error") in found(tmp_path)


@pytest.mark.parametrize(("name", "text"), ORDINARY)
def test_what_those_keys_honestly_name_is_silent(tmp_path, name, text):
    llama_folder(tmp_path, **{name: text})
    assert "CD012" not in {code for code, _ in found(tmp_path)}


@pytest.mark.parametrize(
    ("name", "text", "severity"),
    [
        ("x.pth", "\ufeffimport os\n", "error"),
        ("x.pth", "# é\nimport os\n", "error"),
        ("x.pth", "#" * 300_000, "error"),
        ("handler.py", "from os import *\nsystem('id')\n", "warning"),
        ("handler.py", "import os\nf = os.system\n", "warning"),
        ("handler.py", "import importlib as i\ni.import_module('os').system('id')\n", "warning"),
        ("handler.py", "#" * 300_000, "warning"),
        ("conftest.py", "import os\nos.system('id')\n", "warning"),
        ("setup.py", "import subprocess\nsubprocess.run(['id'])\n", "warning"),
        ("requirements.txt", "-fhttp://x.example/\n", "warning"),
        ("requirements.txt", "--extra-index http://x.example/\n", "warning"),
        ("requirements.txt", "-r http://x.example/r\n", "warning"),
    ],
    ids=range(12),
)
def test_companions_that_hide_what_they_do(tmp_path, name, text, severity):
    llama_folder(tmp_path, **{name: text})
    assert ("CD013", severity) in found(tmp_path)


def test_companions_that_do_nothing_are_silent(tmp_path):
    llama_folder(
        tmp_path,
        **{
            "setup.py": "from setuptools import setup\nsetup()\n",
            "conftest.py": "import pytest\n",
            "__init__.py": "",
            "requirements.txt": "-r more.txt\n-c constraints.txt\n-e .\ntorch\n",
        },
    )
    assert found(tmp_path) == set()


# --- behind, beside, outside -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tail", [EVIL, torch_zip(EVIL), gzip.compress(EVIL, mtime=0)])
def test_code_behind_the_tensors_of_a_gguf_is_an_error(tmp_path, tail):
    write(tmp_path, {"m.gguf": gguf_bytes() + tail})
    assert ("CD002", "error") in found(tmp_path)


@pytest.mark.parametrize("name", ["m.db", "m.msgpack", "m.bin", "m.tflite"])
def test_pickles_inside_other_formats_are_found(tmp_path, name):
    body = bytes(range(256)) * 40
    write(tmp_path, {"beside.txt": "x", name: b"\x01\x02FORMAT" + body + body})
    assert "CD002" not in {code for code, _ in found(tmp_path)}
    write(tmp_path, {name: b"\x01\x02FORMAT" + body + EVIL + body})
    assert ("CD002", "error") in found(tmp_path)


@pytest.mark.parametrize("name", ["d", "weights.onnx_data", "w"])
def test_tensors_of_onnx_behind_a_link_are_an_error(tmp_path, name):
    write(tmp_path / "m", {"m.onnx": b"\x08\x08" + field(7, field(1, field(4, "Add")))})
    (tmp_path / "outside").write_bytes(b"x")
    (tmp_path / "m" / name).symlink_to(tmp_path / "outside")
    assert ("FD009", "error") in found(tmp_path / "m")
