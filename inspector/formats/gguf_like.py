"""Reading a header with the help of another one: quants of one model repeat its vocabulary, byte for byte.

What is taken over from the other header is the stretch from the first long array's elements to the end of the last
long array, tokenizer keys only. It must stand behind the same keys' heads, and all that follows it must parse to the
header's last byte and to the size of the file; a vocabulary of another length makes that fail. Who cannot take a proof
by place for one by content (an audit) reads the whole header.
"""

from __future__ import annotations

import struct

from inspector.formats._gguf_values import SCALAR_NUMBERS
from inspector.formats.modelfile import LongArray
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from inspector.formats.modelfile import ModelFile

# Below this a stretch is not worth a request of its own.
_LEAST: Final = 256 << 10
# Bytes that chat templates and other last keys may differ by from one file to the next.
_SPARE: Final = 8 << 10


class Stretch(Record):
    """The repeated part of a header.

    `key`: the first long array's, whose elements begin at `start`; `head`: type, element type and length as stored;
    `end`: where the last long array ends; `keys`: the keys from `key` on with values and types, in order;
    `tail_nbytes`: header bytes behind `end`.
    """

    key: str
    head: bytes
    start: int
    end: int
    keys: tuple[tuple[str, Any, str], ...]
    tail_nbytes: int

    def keys_at(self, start: int) -> tuple[tuple[str, Any, str], ...]:
        """The same keys in a file in which the stretch begins at `start`."""
        moved = start - self.start
        return tuple(
            (key, v.replace(offset=v.offset + moved) if isinstance(v, LongArray) else v, kind)
            for key, v, kind in self.keys
        )

    @property
    def first_nbytes(self) -> int:
        """How much to read first of another file: the keys before the stretch, some of them longer perhaps."""
        return self.start + _SPARE

    @property
    def rest_nbytes(self) -> int:
        """How much to read behind the stretch."""
        return self.tail_nbytes + _SPARE


def stretch_of(model: ModelFile) -> Stretch | None:
    """What other quants of the same model will repeat of this header, or None where that is little or not sure."""
    metadata: Mapping[str, Any] = model.metadata
    long = [key for key, value in metadata.items() if isinstance(value, LongArray)]
    if model.format != "gguf" or model.defects or not long:
        return None
    first, last = metadata[long[0]], metadata[long[-1]]
    names = list(metadata)
    inside = names[names.index(long[0]) : names.index(long[-1]) + 1]
    end = last.offset + last.nbytes
    sure = first.elem != "char" and all(key.startswith("tokenizer.") for key in inside)
    if not sure or end - first.offset < _LEAST:
        return None
    order = "<" if model.byte_order == "little" else ">"
    head = struct.pack(order + "iiQ", 9, 8 if first.elem == "str" else SCALAR_NUMBERS[first.elem], first.length)
    keys = tuple((key, metadata[key], model.metadata_types[key]) for key in inside)
    return Stretch(long[0], head, first.offset, end, keys, model.header_bytes - end)
