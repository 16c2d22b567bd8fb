"""Protocol buffers walked by a small schema: only the messages on the way to what is asked for, nothing else kept.

protobuf.dev/programming-guides/encoding; field numbers of onnx/onnx.proto (1.19) and tensorflow/core/protobuf,
tensorflow/core/framework (2.20).
"""

from __future__ import annotations

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Final

    from inspector.sources import Source

MAX_FIELDS: Final = 400_000
MAX_DEPTH: Final = 40
MAX_TEXT: Final = 1 << 20
_WINDOW: Final = 1 << 16

# Message → field number → the message below it; "text" for what is wanted.
ONNX: Final = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {4: "text", 5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "Entry"},
    "Entry": {1: "text", 2: "text"},
}
SAVED_MODEL: Final = {
    "SavedModel": {2: "MetaGraph"},
    "MetaGraph": {2: "GraphDef"},
    "GraphDef": {1: "NodeDef", 2: "Library"},
    "Library": {1: "FunctionDef"},
    "FunctionDef": {3: "NodeDef"},
    "NodeDef": {2: "text"},
}
KERAS_METADATA: Final = {"SavedMetadata": {1: "SavedObject"}, "SavedObject": {5: "text"}}


class NotProtobuf(Exception):
    """The bytes are no such message, or break off."""


class TooLong(Exception):
    """More fields, or messages nested deeper, than are walked."""


class Text(Record):
    """A text that was asked for: in which message, which field, and the number of the message among all."""

    message: str
    field: int
    value: str
    serial: int


class _Cursor:
    """Bytes in order, a window at a time."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.at, self.buf, self.start = 0, b"", 0

    def byte(self) -> int:
        i = self.at - self.start
        if not 0 <= i < len(self.buf):
            self.buf, self.start, i = self.source.read_at(self.at, _WINDOW), self.at, 0
            if not self.buf:
                raise NotProtobuf
        self.at += 1
        return self.buf[i]

    def varint(self) -> int:
        value = shift = 0
        while True:
            b = self.byte()
            value |= (b & 0x7F) << shift
            if b < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise NotProtobuf

    def take(self, n: int) -> bytes:
        i = self.at - self.start
        inside = i >= 0 and i + n <= len(self.buf)
        raw = self.buf[i : i + n] if inside else self.source.read_at(self.at, n)
        self.at += n
        return raw

    def skip(self, wire: int, end: int) -> int:
        """Steps over a field's value; of one that is counted only the count, which is returned."""
        if wire == 2:
            size = self.varint()
            if self.at + size <= end:
                return size
        elif wire == 0:
            self.varint()
            return 0
        elif wire in {1, 5}:
            self.at += 8 if wire == 1 else 4
            return 0
        raise NotProtobuf


def walk(source: Source, schema: Mapping[str, Mapping[int, str]], top: str) -> Iterator[Text]:
    """All wanted texts of a message that fills a source, in order. Raises NotProtobuf, TooLong, SourceError."""
    cursor = _Cursor(source)
    stack = [(top, source.size, 0)]
    serial = n = 0
    while stack:
        message, end, own = stack[-1]
        if cursor.at >= end:
            if cursor.at > end:
                raise NotProtobuf
            stack.pop()
            continue
        n += 1
        if n > MAX_FIELDS:
            raise TooLong(f"more than {MAX_FIELDS:,} fields: byte {cursor.at:,} of {source.size:,} was reached")
        tag = cursor.varint()
        size = cursor.skip(tag & 7, end)
        if not tag >> 3:
            raise NotProtobuf
        below = schema[message].get(tag >> 3) if tag & 7 == 2 else None
        if below == "text":
            kept = min(size, MAX_TEXT)
            yield Text(message, tag >> 3, cursor.take(kept).decode("utf-8", "replace"), own)
            size -= kept
        elif below is not None:
            if len(stack) > MAX_DEPTH:
                raise TooLong("messages nested deeper than are walked")
            serial += 1
            stack.append((below, cursor.at + size, serial))
            continue
        cursor.at += size
