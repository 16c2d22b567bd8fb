"""GGUF files of full size whose data are a hole: from fixtures' headers, and from lists of tensors."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import lzma
import math
import os
import struct
import threading
from functools import cache
from pathlib import Path
from typing import Any

from inspector.dtypes import DTYPES

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
HEADERS = FIXTURES / "llamacpp-headers"
SYNTHETIC = FIXTURES / "llamacpp-synthetic.jsonl.xz"


def hole(path: Path, head: bytes, size: int) -> Path:
    """A file of this size that starts with `head`; there at once, for whoever else makes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.stat().st_size != size:
        part = path.with_suffix(f".{threading.get_ident()}")
        part.write_bytes(head)
        os.truncate(part, size)
        part.replace(path)
    return path


def synthetic() -> list[dict[str, Any]]:
    """The rows of every architecture: a header, a size, and figures."""
    return rows_of(SYNTHETIC.name)


@cache
def rows_of(fixture: str) -> list[dict[str, Any]]:
    """All rows of a fixture that xz compressed."""
    with lzma.open(FIXTURES / fixture, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def model_file(name: str | int, folder: Path) -> Path:
    """The file of a header in llamacpp-headers, or of a row of every architecture by its place."""
    if isinstance(name, int):
        row = synthetic()[name]
        return hole(folder / f"small-{name}.gguf", base64.b64decode(row["header"]), row["size"])
    head = gzip.decompress((HEADERS / f"{name}.gguf-header.gz").read_bytes())
    return hole(folder / f"{name}.gguf", head, json.loads((HEADERS / f"{name}.json").read_text())["full_size"])


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value: Any) -> bytes:
    """A key's value with its type: text, 32-bit unsigned, 32-bit float, truth, or a list of these."""
    if isinstance(value, list):
        kinds = {bool: 7, int: 4, str: 8, float: 6}
        body = b"".join(_value(x)[4:] for x in value)
        return struct.pack("<iiQ", 9, kinds[type(value[0])] if value else 4, len(value)) + body
    if isinstance(value, str):
        return struct.pack("<i", 8) + _text(value)
    if isinstance(value, bool):
        return struct.pack("<i?", 7, value)
    return struct.pack("<if", 6, value) if isinstance(value, float) else struct.pack("<iI", 4, value)


def listed_file(path: Path, keys: dict[str, Any], tensors: list[Any]) -> Path:
    """A file with these keys and [name, shape (slowest first), type] tensors."""
    out = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(keys))]
    out += itertools.chain.from_iterable((_text(k), _value(v)) for k, v in keys.items())
    at = 0
    for name, shape, kind in tensors:
        dims = tuple(reversed(shape))
        out += [_text(name), struct.pack(f"<I{len(dims)}qiQ", len(dims), *dims, DTYPES[kind].ggml_id, at)]
        at += math.ceil(DTYPES[kind].nbytes(tuple(shape)) / 32) * 32
    head = b"".join(out)
    path.unlink(missing_ok=True)
    return hole(path, head, len(head) + -len(head) % 32 + at)
