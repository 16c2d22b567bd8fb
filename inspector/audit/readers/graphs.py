"""Graphs in protocol buffers: ONNX tensors that lie in other files, TensorFlow operations that run code."""

from __future__ import annotations

import json

from inspector.audit.readers.findings import Found
from inspector.audit.readers.keras import faults_in
from inspector.audit.readers.protobuf import KERAS_METADATA, ONNX, SAVED_MODEL, NotProtobuf, TooLong, walk
from inspector.checkpoint.shards import not_beside, unsafe_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from inspector.sources import Source

# Operations that call Python, or read and write files of the machine (tensorflow/core/ops, 2.20).
_ACTING_WORDS: Final = """
    PyFunc PyFuncStateless EagerPyFunc ReadFile WriteFile MatchingFiles DebugIdentity LoadLibrary ImmutableConst
    WholeFileReader WholeFileReaderV2 TextLineReader TextLineReaderV2 TFRecordReader TFRecordReaderV2
    FixedLengthRecordReader FixedLengthRecordReaderV2 LMDBReader TextLineDataset TFRecordDataset TFRecordDatasetV2
    FixedLengthRecordDataset FixedLengthRecordDatasetV2 LMDBDataset SqlDataset SnapshotDataset SnapshotDatasetV2
    SaveDataset SaveDatasetV2 LoadDataset CreateSummaryFileWriter CreateSummaryDbWriter
    """
ACTING: Final = frozenset(_ACTING_WORDS.split())


def graph_kind(name: str) -> str:
    """ "onnx", "saved-model", "keras-metadata" or "", by a file's name."""
    base = name.lower().rsplit(": ", 1)[-1].rsplit("/", 1)[-1]
    if base.endswith(".onnx"):
        return "onnx"
    if base == "keras_metadata.pb":
        return "keras-metadata"
    return "saved-model" if base.endswith((".pb", ".meta")) else ""


def examine_graph(source: Source, where: str) -> Iterator[Found]:
    """What is wrong with a graph, and what it is."""
    kind = graph_kind(where)
    look = {"onnx": _onnx, "saved-model": _saved_model, "keras-metadata": _keras_metadata}[kind]
    try:
        faults = list(dict.fromkeys(look(source)))
    except NotProtobuf:
        if kind == "onnx":
            yield Found(where, "broken", (), "no ONNX model, or one that breaks off")
        else:
            yield Found(where, "other", (), "a protocol buffer of no known kind")
        return
    except TooLong as error:
        yield Found(where, "unread", (), f"{error}: the rest was not read")
        faults = []
    yield Found(where, "onnx" if kind == "onnx" else "saved-model")
    for fault in faults:
        yield Found(where, "layer" if kind == "keras-metadata" else "graph", (), fault)


# onnxruntime's and onnxruntime-extensions' own, where they are built with Python.
_PYTHON: Final = frozenset({"PyOp", "PyCustomOp", "PythonOp", "PythonOpGrad"})


def looks_like_onnx(head: bytes) -> bool:
    """Whether bytes begin as ONNX models do: the version of its format, then texts of who made it, or the graph."""
    return head[:1] == b"\x08" and 1 <= head[1] <= 32 and head[2:3] in {b"\x12", b"\x1a", b"\x22", b"\x32", b"\x3a"}


def onnx_faults(source: Source) -> tuple[str, ...]:
    """The faults of what may be an ONNX model by its first bytes; none where it is something else."""
    try:
        return tuple(dict.fromkeys(_onnx(source)))
    except (NotProtobuf, TooLong):
        return ()


def _onnx(source: Source) -> Iterator[str]:
    """Where tensors lie outside the file: only beside it, or below, is honest."""
    key: dict[int, str] = {}
    value: dict[int, str] = {}
    for text in walk(source, ONNX, "Model"):
        if text.message == "Node":
            if text.value in _PYTHON:
                yield f"the operation {text.value}, which runs Python"
            continue
        if text.message != "Entry":
            continue
        (key if text.field == 1 else value)[text.serial] = text.value
        if key.get(text.serial) == "location" and text.serial in value:
            path = value.pop(text.serial)
            if why := unsafe_path(path) or not_beside(path):
                yield f"a tensor lies in {path[:120]!r}: {why}"
            key.pop(text.serial)
        if len(key) > 64:  # entries of other kinds: sizes, offsets, checksums
            key.clear()
            value.clear()


def _saved_model(source: Source) -> Iterator[str]:
    """Operations that act, of a SavedModel or a bare graph."""
    name = source.name.lower()
    top = "SavedModel" if name.endswith("saved_model.pb") else "MetaGraph" if name.endswith(".meta") else "GraphDef"
    prints = False
    for text in walk(source, SAVED_MODEL, top):
        if text.value == "PrintV2" and not prints:
            prints = True
            if any(
                b"file://" in source.read_at(at, (1 << 20) + 8) for at in range(0, min(source.size, 64 << 20), 1 << 20)
            ):
                yield "the operation PrintV2, with a file to print to"
        elif text.value in ACTING:
            yield f"the operation {text.value}, which runs code or opens files"


def _keras_metadata(source: Source) -> Iterator[str]:
    for text in walk(source, KERAS_METADATA, "SavedMetadata"):
        try:
            value = json.loads(text.value)
        except (ValueError, RecursionError):
            continue
        yield from faults_in(value)
