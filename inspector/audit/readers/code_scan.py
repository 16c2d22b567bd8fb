"""Every file of a subject that may hold code, examined once: see `code.py` for the rules that judge."""

from __future__ import annotations

import os

from inspector.audit.readers.contents import MAYBE_PICKLE, TEXT_NAMES, examine_content
from inspector.audit.readers.findings import Allowance, Found
from inspector.audit.readers.streams import Region, Whole
from inspector.audit.subject.records import is_partial_name
from inspector.errors import InspectorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from inspector.audit.subject.records import AuditedFile, Entry, Subject

# Formats of weights that no rule looks into, by suffix; and those that are, here and not at a distance.
_OTHER_FORMATS: Final = {
    ".tflite": "TensorFlow Lite", ".mlmodel": "Core ML", ".engine": "TensorRT", ".plan": "TensorRT", ".trt": "TensorRT",
    ".msgpack": "Flax (MessagePack)", ".pdmodel": "PaddlePaddle", ".pdiparams": "PaddlePaddle", ".mnn": "MNN",
    ".rknn": "RKNN", ".dlc": "Qualcomm DLC", ".caffemodel": "Caffe", ".weights": "Darknet weights", ".ot": "tch-rs",
    ".ftz": "fastText", ".xml": "OpenVINO or another XML document", ".onnx_data": "ONNX's tensors",
    ".ubj": "XGBoost", ".cbm": "CatBoost", ".bin": "weights in no known format", ".npk": "Burn",
}  # fmt: skip
_ONLY_HERE: Final = (".onnx", ".h5", ".hdf5", ".pb", ".gz", ".tgz", ".zip")


def _is_other(name: str) -> str:
    """The words for a format that is not looked into, or ""."""
    lower = name.lower()
    if ".data-0" in lower and "-of-0" in lower:
        return "TensorFlow variables"
    return next((words for suffix, words in _OTHER_FORMATS.items() if lower.endswith(suffix)), "")


def _candidates(subject: Subject) -> Iterator[Entry]:
    """Files to look into: all but model headers that could be read, documents, and downloads that did not finish."""
    models = {f.name for f in subject.files if f.model is not None}
    for entry in subject.entries:
        if entry.kind != "file" or entry.name in models or _was_read(subject, entry.name):
            continue
        if not entry.path or os.path.normpath(entry.path) == os.path.normpath(os.path.join(subject.root, entry.name)):
            yield entry  # not what else lies in a cache's blobs


def _was_read(subject: Subject, name: str) -> bool:
    """Whether a file is a document whose content the rules know, and no pickle under a document's name."""
    document = subject.documents.get(name)
    return document is not None and not document.error and not document.text.startswith("\udc80")


def examine(subject: Subject) -> tuple[Found, ...]:
    """Everything that was found in a subject's files. Read once; the rules of the families share it."""
    found: tuple[Found, ...] = subject.cached("code", lambda: _examine_all(subject))
    return found


def _examine_all(subject: Subject) -> tuple[Found, ...]:
    out: list[Found] = []
    allowed = Allowance()
    for file in subject.files:
        out += _behind(subject, file, allowed)
    for entry in _candidates(subject):
        name = entry.name
        remote = not entry.path
        if remote and not name.lower().endswith(MAYBE_PICKLE):  # a request each
            if name.lower().endswith(_ONLY_HERE):
                out.append(Found(name, "other", (), "only looked into once it is downloaded"))
            continue
        try:
            with subject.open_source(name) as source:
                found = list(examine_content(Whole(source), name, allowed))
            if is_partial_name(name):  # that it is not whole is a finding of its own
                found = [f.replace(problem="", kind="part") for f in found if f.globals]
        except (InspectorError, KeyError) as error:
            found = [Found(name, "unreadable", (), str(error))]
        out += found or _unknown(subject, entry)
    return tuple(out)


def _behind(subject: Subject, file: AuditedFile, allowed: Allowance) -> list[Found]:
    """Code in what stands behind the last tensor of a model: whoever opens the file as an archive finds it."""
    ends = [d.offset for d in file.model.defects if d.code == "trailing-data" and d.offset] if file.model else []
    found: list[Found] = []
    if not ends or not file.path:
        return found
    try:
        with subject.open_source(file.name) as source:
            behind = Region(source, ends[0], source.size - ends[0], name=file.name)
            found = list(examine_content(behind, f"{file.name}: behind its end", allowed))
    except (InspectorError, KeyError):
        return []  # a finding of its own
    return [f.replace(kind="embedded", problem="") for f in found if f.globals]


def _unknown(subject: Subject, entry: Entry) -> list[Found]:
    """A file that nothing was found in: worth a word where its name is that of weights, or where it is all there is."""
    words = _is_other(entry.name)
    if entry.name in subject.documents:
        return []
    if not words and not subject.is_folder:
        words = "no format of weights" if entry.name.lower().endswith(TEXT_NAMES) else "no known format"
    return [Found(entry.name, "other", (), words)] if words else []
