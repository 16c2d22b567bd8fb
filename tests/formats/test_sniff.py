"""A file is what its bytes say: models, and what people have saved under a model's name."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from gguf_builder import Tensor, build
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from inspector.errors import FormatError, NotAModelFile
from inspector.formats import read
from inspector.formats.sniff import MODEL_KINDS, name_note, recognise, sniff
from inspector.sources.memory import MemorySource

OID = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 4815162342\n".encode()
GGUF = build((), [Tensor("a")])
SAFETENSORS = save({"a": np.zeros(3, dtype=np.float32)})


def zipped(name, data=b"x"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, data)
    return buffer.getvalue()


def numpy_file(save_it):
    buffer = io.BytesIO()
    save_it(buffer, np.zeros(3))
    return buffer.getvalue()


NOT_MODELS = {
    "empty": b"",
    "lfs": POINTER,
    "html": b"<!DOCTYPE html>\n<html><head><title>401</title>",
    "json-error": json.dumps({"error": "Repository not found"}).encode(),
    "json": json.dumps({"architectures": ["LlamaForCausalLM"]}).encode(),
    "xml": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "error-text": b"Entry not found",
    "zeros": bytes(10_000),
    "torch": zipped("archive/data.pkl"),
    "zip": zipped("notes.txt"),
    "pickle": pickle.dumps({"a": 1}, protocol=2),
    "numpy": numpy_file(np.save),
    "gzip": gzip.compress(GGUF, mtime=0),
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(500),
    "ggml": b"tjgg\x03\0\0\0" + bytes(100),
    "short": b"abc",
    "unknown": b"0123456789" * 100,
    "program": b"\x7fELF" + bytes(100),
    "tar": b"name" + bytes(253) + b"ustar\x0000" + bytes(200),
}


@pytest.mark.parametrize("kind", NOT_MODELS)
def test_what_is_not_a_model_is_refused_by_name(kind):
    source = MemorySource(NOT_MODELS[kind], name="model.gguf")
    found = sniff(source)
    assert found.kind == kind
    assert "\n" not in found.explanation
    for strict in (True, False):
        with pytest.raises(NotAModelFile) as caught:
            read(source, strict=strict)
        assert found.explanation in str(caught.value)
        assert caught.value.hint == found.hint


def test_every_explanation_is_its_own():
    assert len({sniff(MemorySource(data)).explanation for data in NOT_MODELS.values()}) == len(NOT_MODELS)


@pytest.mark.parametrize("magic", [b"lmgg", b"fmgg", b"tjgg", b"algg"])
def test_what_came_before_gguf_is_told_apart(magic):
    found = recognise(magic + bytes(50))
    assert found.kind == "ggml"
    assert magic[::-1].decode().upper() in found.explanation


def test_a_pointer_says_what_should_be_here_and_how_to_get_it():
    found = recognise(POINTER)
    assert "4,815,162,342 bytes" in found.explanation
    assert OID in found.explanation
    assert found.hint == "git lfs pull"


@pytest.mark.parametrize("size", [b"-5", b"\xd9\xa3", b"9" * 5000, b"", b"\x1b[31m"])
def test_a_pointer_with_nonsense_in_it_is_still_a_pointer(size):
    found = recognise(POINTER.replace(b"4815162342", size))
    assert found.kind == "lfs"
    assert found.explanation.isprintable()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("value", [{"a": 1}, [1, 2], {}, 1 << 70])
def test_pickles_of_every_protocol_are_recognised(protocol, value):
    assert recognise(pickle.dumps(value, protocol=protocol)).kind == "pickle"


def test_a_numpy_archive_is_not_just_a_zip():
    assert recognise(numpy_file(np.savez)).kind == "numpy"


def test_zeros_in_front_of_something_are_not_called_nothing_but_zeros():
    assert sniff(MemorySource(bytes(9000) + b"x")).kind == "unknown"


@pytest.mark.parametrize("name", ["m.gguf", "m.safetensors", "m.bin", "blob"])
def test_content_decides_and_not_the_name(name):
    assert read(MemorySource(GGUF, name=name)).format == "gguf"
    assert read(MemorySource(SAFETENSORS, name=name)).format == "safetensors"


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("m.safetensors", GGUF, "wrong-extension"),
        ("m.gguf", SAFETENSORS, "wrong-extension"),
        ("pytorch_model.bin", SAFETENSORS, "wrong-extension"),
        ("m.gguf.part", GGUF, "partial-download"),
        ("abc.incomplete", SAFETENSORS, "partial-download"),
        ("m.gguf.crdownload", GGUF, "partial-download"),
    ],
)
def test_a_name_that_promises_something_else_is_noted(name, data, code):
    defects = read(MemorySource(data, name=name)).defects
    assert [(d.code, d.fatal) for d in defects] == [(code, False)]


@pytest.mark.parametrize("name", ["m.gguf", "M.GGUF", "folder.bin/m.gguf", "2f9e0ff6", "m.Q4_K_M.gguf"])
def test_ordinary_names_are_not_remarked_on(name):
    assert read(MemorySource(GGUF, name=name)).defects == ()


@pytest.mark.parametrize("suffix", [".incomplete", ".part", ".aria2", ".crdownload", ".download"])
def test_a_download_that_broke_off_is_said_to_be_one(suffix):
    with pytest.raises(NotAModelFile, match="did not finish"):
        read(MemorySource(bytes(100), name=f"m.gguf{suffix}"))
    assert suffix in name_note(f"m.gguf{suffix}", "zeros")


def test_a_gguf_of_a_few_bytes_is_cut_short_not_foreign():
    with pytest.raises(FormatError) as caught:
        read(MemorySource(GGUF[:9], name="m.gguf"))
    assert not isinstance(caught.value, NotAModelFile)
    assert sniff(MemorySource(b"GG")).kind == "short"


@given(st.binary(max_size=600), st.sampled_from(["m.gguf", "m.safetensors", "x.part", ""]))
def test_any_bytes_are_something(data, name):
    found = sniff(MemorySource(data, name=name))
    assert found.explanation
    assert found.explanation.isprintable()
    if found.kind not in MODEL_KINDS:
        with pytest.raises(NotAModelFile):
            read(MemorySource(data, name=name))


def test_sniffing_does_not_import_re():
    code = "import sys; import inspector.formats.sniff; print('re' in sys.modules, 'json' in sys.modules)"
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == ["False", "False"]
