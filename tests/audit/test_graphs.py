"""Models that name code or files without a pickle: Keras layers, TensorFlow operations, ONNX tensors, skops."""

from __future__ import annotations

import io
import json
import time
import zipfile
from pathlib import Path

import pytest
from audit_builder import audit, write

HDF5 = Path(__file__).parents[2] / "fixtures" / "hdf5"
KERAS = Path(__file__).parents[2] / "fixtures" / "keras"


def loud(path):
    return {(f.code, f.severity) for f in audit(path).findings if f.severity != "info"}


def zipped(members, method=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        for name, raw in members.items():
            z.writestr(name, raw)
    return out.getvalue()


# --- Keras ---------------------------------------------------------------------------------------------------------


def model(layer):
    return {"module": "keras", "class_name": "Functional", "config": {"layers": [layer]}, "registered_name": None}


CODE = {
    "Lambda": {"class_name": "Lambda", "config": {"function": "x"}},
    "registered Lambda": {"class_name": "keras.layers>Lambda"},
    "lambda": {"class_name": "Dense", "config": {"activation": {"class_name": "__lambda__", "config": {"code": "4w"}}}},
    "another module (CVE-2025-1550)": {"module": "os", "class_name": "function", "config": "system",
                                       "registered_name": "system"},
    "a class of another module": {"module": "subprocess", "class_name": "Popen", "config": {"args": ["id"]}},
    "a function of keras.utils (CVE-2025-8747)": {"module": "keras.utils", "class_name": "function",
                                                  "config": "get_file", "registered_name": "get_file"},
    "a function of keras.src.utils": {"module": "keras.src.utils.file_utils", "class_name": "function",
                                      "config": "get_file", "registered_name": "get_file"},
    "a module that only begins so": {"module": "kerasevil", "class_name": "X", "config": {}},
    "a built-in": {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "eval"},
    "PyTorch's wrapper (CVE-2025-49655)": {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {}},
    "a vocabulary elsewhere (CVE-2025-12058)": {"module": "keras.layers", "class_name": "StringLookup",
                                                "config": {"vocabulary": "/etc/passwd"}},
    "a vocabulary out of the folder": {"class_name": "TextVectorization", "config": {"vocabulary": "../../.env"}},
    "a vocabulary at an address": {"class_name": "IntegerLookup", "config": {"vocabulary": "gs://bucket/words"}},
    "a vocabulary beside whoever loads it": {"class_name": "StringLookup", "config": {"vocabulary": ".env"}},
    "a layer of one's own": {"class_name": "Mine>StringLookup", "config": {"vocabulary": "~/.ssh/id_rsa"}},
    "a tokenizer's merges": {"module": "keras_hub.tokenizers", "class_name": "BytePairTokenizer",
                             "config": {"vocabulary": {"a": 1}, "merges": "/etc/passwd"}},
    "weights of words": {"class_name": "TextVectorization", "config": {"vocabulary": ["a"], "idf_weights": "/x"}},
    "within another layer": {"class_name": "Bidirectional", "config": {"layer": {
        "class_name": "StringLookup", "config": {"vocabulary": "C:\\secret.txt"}}}},
}  # fmt: skip
HONEST = {
    "Dense": {"module": "keras.layers", "class_name": "Dense", "config": {"units": 3, "activation": "relu"}},
    "an activation": {"module": "keras.activations", "class_name": "function", "config": "gelu",
                      "registered_name": "gelu"},
    "a registered layer": {"module": None, "class_name": "MyLayer", "config": {}, "registered_name": "Mine>MyLayer"},
    "a vocabulary": {"module": "keras.layers", "class_name": "StringLookup", "config": {"vocabulary": ["a", "b"]}},
    "no vocabulary yet": {"class_name": "TextVectorization", "config": {"vocabulary": None, "idf_weights": None}},
    "a tokenizer's files": {"module": "keras_hub.tokenizers", "class_name": "BytePairTokenizer",
                            "config": {"vocabulary": "assets/vocab.json", "merges": "assets/merges.txt"}},
    "a vocabulary of letters": {"class_name": "Letters", "config": {"vocabulary": "\n !$&',-./:;?ABC"}},
    "a tokenizer in the text": {"class_name": "SentencePieceTokenizer", "config": {"proto": "/w" * 400}},
    "Keras 2": {"class_name": "Dense", "config": {"kernel_initializer": {"class_name": "GlorotUniform", "config": {}}}},
    "a layer called Lambda": {"class_name": "Dense", "config": {"name": "Lambda"}},
    "tuples": {"class_name": "__tuple__", "items": [1, 2]},
}  # fmt: skip


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("name", CODE)
def test_keras_models_that_are_code_are_an_error(tmp_path, name, method):
    write(tmp_path, {"m.keras": zipped({"config.json": json.dumps(model(CODE[name]))}, method)})
    assert loud(tmp_path) == {("CD008", "error")}


@pytest.mark.parametrize("name", HONEST)
def test_honest_keras_models_are_silent(tmp_path, name):
    write(tmp_path, {"m.keras": zipped({"config.json": json.dumps(model(HONEST[name])), "metadata.json": "{}"})})
    assert loud(tmp_path) == set()


@pytest.mark.parametrize("path", sorted(KERAS.iterdir()), ids=lambda p: p.name)
def test_models_that_keras_saved_are_silent_and_one_with_a_lambda_is_an_error(path):
    """Written by keras 3.15: optimizers, schedules, losses, metrics, wrapped layers, a registered layer."""
    assert loud(path) == ({("CD008", "error")} if path.name.startswith("lambda") else set())


def test_code_is_found_behind_escapes_and_megabytes(tmp_path):
    raw = json.dumps(model(CODE["Lambda"])).replace("Lambda", "\\u004cambda")
    write(tmp_path / "a", {"m.keras": zipped({"config.json": raw})})
    assert loud(tmp_path / "a") == {("CD008", "error")}
    padded = json.dumps({"a": "x" * (3 << 20), **model(CODE["Lambda"])})
    write(tmp_path / "b", {"m.keras": zipped({"config.json": padded}, zipfile.ZIP_DEFLATED)})
    assert loud(tmp_path / "b") == {("CD008", "error")}


def test_a_configuration_that_is_not_json_is_an_error(tmp_path):
    write(tmp_path, {"m.keras": zipped({"config.json": "{"})})
    assert loud(tmp_path) == {("CD008", "error")}


@pytest.mark.parametrize("path", sorted([*HDF5.glob("lambda*"), *HDF5.glob("good*")]), ids=lambda p: p.name)
def test_layers_are_read_from_every_layout_of_hdf5(path):
    """Written by h5py 3.16: texts in the heap and in place, old and new headers, a user's block before them."""
    assert loud(path) == ({("CD008", "error")} if path.name.startswith("lambda") else set())


def test_layers_at_the_end_of_a_large_file_are_read(tmp_path):
    raw = (HDF5 / "lambda_text.h5").read_bytes()
    # the root's header is moved behind a hole of 6 GiB, and the superblock told where it is
    at = 6 << 30
    with (tmp_path / "m.h5").open("wb") as file:
        file.write(raw[:64] + at.to_bytes(8, "little") + raw[72:])
        file.seek(at)
        file.write(raw[int.from_bytes(raw[64:72], "little") :])
    began = time.process_time()
    assert ("CD008", "error") in loud(tmp_path)
    assert time.process_time() - began < 1


# --- graphs in protocol buffers ------------------------------------------------------------------------------------


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, *parts):
    body = b"".join(p if isinstance(p, bytes) else p.encode() for p in parts)
    return varint(number << 3 | 2) + varint(len(body)) + body


def number(i, value):
    return varint(i << 3) + varint(value)


def tensor(location, *, swapped=False):
    parts = [field(1, "location"), field(2, location)]
    entry = field(13, *(parts[::-1] if swapped else parts))
    return number(1, 4) + field(13, field(1, "offset"), field(2, "0")) + entry + number(14, 1)


def onnx(graph):
    return number(1, 8) + field(2, "maker") + field(7, graph) + field(8, number(2, 17))


PLACES = {
    "initializer": lambda t: onnx(field(5, t)),
    "constant": lambda t: onnx(field(1, field(4, "Constant"), field(5, field(1, "value"), field(5, t)))),
    "subgraph": lambda t: onnx(field(1, field(4, "If"), field(5, field(6, field(5, t))))),
    "list of tensors": lambda t: onnx(field(1, field(5, field(10, t)))),
    "sparse": lambda t: onnx(field(15, field(1, t))),
    "function": lambda t: onnx(field(2, "g")) + field(25, field(7, field(5, field(5, t)))),
    "behind numbers": lambda t: onnx(field(5, field(9, bytes(100_000))) + field(5, t)),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("location", ["../../.ssh/id_rsa", "/etc/passwd", "C:\\x", "a/../../b"])
@pytest.mark.parametrize("swapped", [False, True])
def test_tensors_of_onnx_that_lie_outside_are_an_error(tmp_path, place, location, swapped):
    write(tmp_path, {"model.onnx": PLACES[place](tensor(location, swapped=swapped))})
    assert loud(tmp_path) == {("CD011", "error")}


@pytest.mark.parametrize("place", PLACES)
def test_tensors_of_onnx_beside_it_are_silent(tmp_path, place):
    write(tmp_path, {"model.onnx": PLACES[place](tensor("model.onnx_data")), "model.onnx_data": bytes(64)})
    assert loud(tmp_path) == set()


@pytest.mark.parametrize("raw", [onnx(b"\xff"), onnx(field(5, b"abc"))[:-9], onnx(b"\x07")])
def test_a_broken_onnx_model_is_an_error(tmp_path, raw):
    write(tmp_path, {"model.onnx": raw})
    assert loud(tmp_path) == {("CD004", "error")}


def test_an_onnx_model_of_too_many_parts_is_not_vouched_for(tmp_path):
    write(tmp_path, {"model.onnx": onnx(number(4, 1) * 600_000)})
    began = time.process_time()
    assert loud(tmp_path) == {("CD009", "error")}
    assert time.process_time() - began < 2


def saved_model(op, *, in_library=False):
    node = field(1, "n") + field(2, op)
    graph = field(2, field(1, field(3, node))) if in_library else field(1, node)
    return number(1, 1) + field(2, field(1, field(5, "2.20")) + field(2, graph))


@pytest.mark.parametrize("in_library", [False, True])
@pytest.mark.parametrize("op", ["PyFunc", "EagerPyFunc", "PyFuncStateless", "ReadFile", "WriteFile"])
def test_operations_that_act_are_an_error(tmp_path, op, in_library):
    write(tmp_path, {"saved_model.pb": saved_model(op, in_library=in_library)})
    assert loud(tmp_path) == {("CD011", "error")}
    write(tmp_path / "frozen", {"graph.pb": field(1, field(1, "n"), field(2, op))})
    assert loud(tmp_path / "frozen") == {("CD011", "error")}


def test_honest_saved_models_are_silent(tmp_path):
    write(tmp_path, {"saved_model.pb": saved_model("MatMul"), "variables/variables.data-00000-of-00001": bytes(9),
                     "variables/variables.index": bytes(9), "fingerprint.pb": number(1, 7)})  # fmt: skip
    assert loud(tmp_path) == set()


def test_layers_of_a_saved_model_are_read(tmp_path):
    meta = {"class_name": "Functional", "config": {"layers": [{"class_name": "Lambda"}]}}
    write(tmp_path, {"saved_model.pb": saved_model("Add"),
                     "keras_metadata.pb": field(1, field(3, "root") + field(5, json.dumps(meta)))})  # fmt: skip
    assert loud(tmp_path) == {("CD008", "error")}


# --- skops ---------------------------------------------------------------------------------------------------------


def skops(module, name):
    return zipped({"schema.json": json.dumps({"__class__": "dict", "__module__": "builtins", "content": {
        "a": {"__class__": name, "__module__": module, "__loader__": "ObjectNode", "content": {}}}})})  # fmt: skip


def test_classes_of_skops_are_weighed_as_a_pickles_are(tmp_path):
    write(tmp_path, {"m.skops": skops("sklearn.linear_model._logistic", "LogisticRegression")})
    assert loud(tmp_path) == set()
    write(tmp_path, {"m.skops": skops("operator", "methodcaller")})
    assert loud(tmp_path) == {("CD002", "error")}
