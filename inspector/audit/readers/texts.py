"""Texts that a reader obeys: configurations and scripts within archives, graphs as text, Keras models as JSON, XML."""

from __future__ import annotations

import json
import re

from inspector.audit.readers.companions import of_text
from inspector.audit.readers.findings import Found
from inspector.audit.readers.graphs import ACTING
from inspector.audit.readers.keras import faults_in, is_dense, is_model
from inspector.audit.readers.targets import in_text, in_unnamed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from inspector.sources import Source

MAX_TEXT: Final = 8 << 20
_WANTED: Final = (".json", ".yaml", ".yml", ".py", ".pth", ".txt", ".pbtxt", ".xml", ".pmml")
# Texts that nobody reads as YAML: prose, code, other languages; and YAML by name, which is read elsewhere.
_NO_YAML: Final = (
    ".md", ".rst", ".py", ".pyi", ".pth", ".json", ".jsonl", ".ipynb", ".html", ".xml", ".pmml", ".pbtxt", ".c", ".h",
    ".cpp", ".js", ".css", ".svg", ".yaml", ".yml", ".jinja", ".jinja2", ".toml",
)  # fmt: skip
_MARKS: Final = (b"!!py", b"!!%", b"<tag:yaml", b"%TAG")
_OPERATION: Final = re.compile(r"""\bop\s*:\s*["'](\w+)["']""")
# An XML document may name a file or an address whose content a parser puts in its place.
_ENTITY: Final = re.compile(rb"<!ENTITY\s")
_OUTSIDE: Final = re.compile(rb"\b(?:SYSTEM|PUBLIC)\b")
MOST_ENTITIES: Final = 1_000
# TorchScript has these functions (aten/src/ATen/native/native_functions.yaml, torch/csrc/jit/runtime/register_ops).
_FILES: Final = re.compile(r"\b(?:torch|ops\.(?:aten|prim|quantized))\.(save|from_file|load_from_file|_save|load)\(")


def examine_text(source: Source, where: str) -> Iterator[Found]:
    """What is wrong with a text by its name: of a file by itself, or of one within an archive (`A: B`)."""
    lower, inner = where.lower(), ": " in where
    by_name, unnamed = lower.endswith(_WANTED), not lower.endswith(_NO_YAML)
    if not by_name and (not unnamed or b"\0" in source.read_at(0, 1024)):
        return
    raw = source.read_at(0, MAX_TEXT + 1)
    if unnamed:
        yield from _tags(raw, where)
    if not by_name:
        return
    if len(raw) > MAX_TEXT:
        if inner and not lower.endswith((".json", ".txt")):
            yield Found(where, "unread", (), "a text that is larger than is read")
        return
    yield from _by_name(raw, where, lower)
    if inner:
        yield from _within(raw.decode("utf-8", "replace"), where, lower)


def _tags(raw: bytes, where: str) -> Iterator[Found]:
    """Python objects of a YAML document whose name does not say that it is one."""
    if any(mark in raw for mark in _MARKS):
        for target in in_unnamed(where, raw.decode("utf-8", "replace")):
            yield Found(where, "target", (), target.words, target.severity)


def _by_name(raw: bytes, where: str, lower: str) -> Iterator[Found]:
    if lower.endswith(".json"):
        yield from _keras_json(raw, where)
    elif lower.endswith(".pbtxt"):
        for op in dict.fromkeys(_OPERATION.findall(raw.decode("utf-8", "replace"))):
            if op in ACTING:
                yield Found(where, "graph", (), f"the operation {op}, which runs code or opens files")
    elif lower.endswith((".xml", ".pmml")) and _names_files(raw):
        yield Found(where, "graph", (), "an XML entity that stands for a file or an address")


def _names_files(raw: bytes) -> bool:
    """Whether an entity of an XML document is a file or an address, or there are more than any model has."""
    for n, match in enumerate(_ENTITY.finditer(raw)):
        if n > MOST_ENTITIES or _OUTSIDE.search(raw[match.end() : match.end() + 400].partition(b">")[0]):
            return True
    return False


def _keras_json(raw: bytes, where: str) -> Iterator[Found]:
    """A model's architecture by itself, which model_from_json builds."""
    if (b'"class_name"' not in raw and b"\\u00" not in raw) or is_dense(raw):
        return
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return
    if is_model(value):
        for fault in dict.fromkeys(faults_in(value)):
            yield Found(where, "layer", (), fault)


def _within(text: str, where: str, lower: str) -> Iterator[Found]:
    """What the rules about files beside the weights say of one that lies in an archive."""
    if lower.endswith((".json", ".yaml", ".yml")):
        for target in in_text(where, text):
            yield Found(where, "target", (), target.words, target.severity)
        return
    outer, _, name = where.rpartition(": ")
    if "/code/" in f"/{name}" and name.endswith(".py"):
        for function in dict.fromkeys(_FILES.findall(text)):
            yield Found(where, "graph", (), f"TorchScript that calls {function}, which opens files")
    base = name.rsplit("/", 1)[-1].lower()
    for companion in of_text(where, base, text, served=".mar" in outer.lower()):
        yield Found(where, "companion", (), companion.words, companion.severity)
