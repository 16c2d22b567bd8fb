"""Every way in which a GGUF header can be wrong, one row a code. Loaded only when something is.

`severity`: error (llama.cpp refuses the file), warning (it loads; worth telling) or info. `raises`: what a strict
reader raises; None where even a strict reader goes on. `rule`: the family that the audit files it under.
Sources: gguf.cpp (gguf_init_from_reader) and llama-model-loader.cpp of llama.cpp b11434; docs/gguf.md of ggml.
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.errors import FormatError, LimitExceeded, Truncated, UnsupportedVersion
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final


class DefectKind(Record):
    """What a defect's code means."""

    code: str
    rule: str
    severity: str
    raises: type[FormatError] | None
    what: str


E, W, I = "error", "warning", "info"
# fmt: off
_ROWS: Final = (
    ("unsupported-version",  "GGUF-VERSION",    E, UnsupportedVersion,"version 0, 1 or one from the future"),
    ("big-endian",           "GGUF-ENDIAN",     W, None,          "numbers stored most significant byte first"),
    ("bad-count",            "GGUF-COUNT",      E, Truncated,     "more records than the file has room for"),
    ("absurd-count",         "GGUF-COUNT",      E, LimitExceeded, "a number of records that no honest file has"),
    ("empty-key",            "GGUF-KEY",        E, FormatError,   "a metadata key without a name"),
    ("duplicate-key",        "GGUF-KEY",        E, FormatError,   "a key given twice: readers differ in which counts"),
    ("key-too-long",         "GGUF-KEY",        E, LimitExceeded, "keys of more than 4 MiB, one or all together"),
    ("long-key",             "GGUF-KEY-SPEC",   W, None,          "a key of more than 65,535 bytes"),
    ("odd-key",              "GGUF-KEY-SPEC",   W, None,          "a key with control characters, or not UTF-8"),
    ("bad-value-type",       "GGUF-VTYPE",      E, FormatError,   "a value type that does not exist"),
    ("string-too-long",      "GGUF-STRLEN",     E, LimitExceeded, "a string longer than the file, or than 1 GiB"),
    ("array-too-long",       "GGUF-ARRLEN",     E, LimitExceeded, "longer than the file, or more than 2^30 elements"),
    ("header-too-long",      "GGUF-ARRLEN",     E, LimitExceeded, "a header that takes unreasonable work to read"),
    ("nested-array",         "GGUF-NEST",       W, None,          "an array of arrays, which no loader takes"),
    ("nesting-too-deep",     "GGUF-NEST",       E, LimitExceeded, "arrays nested deeper than anyone could mean"),
    ("bad-alignment",        "GGUF-ALIGN",      E, FormatError,   "not a u32 power of two, or beyond the file's end"),
    ("odd-alignment",        "GGUF-ALIGN-SPEC", W, None,          "not a multiple of 8, or above 65,536"),
    ("tensor-name-too-long", "GGUF-NAME",       E, FormatError,   "a tensor name of more than 63 bytes"),
    ("duplicate-tensor",     "GGUF-NAME",       E, FormatError,   "two tensors of one name"),
    ("too-many-dims",        "GGUF-DIMS",       E, FormatError,   "a tensor of more than 4 dimensions"),
    ("negative-dim",         "GGUF-DIMS",       E, FormatError,   "a dimension of 2^63 or more: read as negative"),
    ("too-many-elements",    "GGUF-DIMS",       E, FormatError,   "2^63 elements or more"),
    ("too-many-bytes",       "GGUF-BYTES",      E, FormatError,   "a size that wraps around 64 bits, alone or summed"),
    ("unknown-dtype",        "GGUF-DTYPE",      E, FormatError,   "a tensor type that does not exist"),
    ("removed-dtype",        "GGUF-DTYPE",      E, FormatError,   "a tensor type that was taken out of the format"),
    ("fork-dtype",           "GGUF-FORK",       I, None,          "a tensor type that only a fork of llama.cpp has"),
    ("partial-block",        "GGUF-BLOCK",      E, FormatError,   "rows that do not fill whole blocks"),
    ("misaligned-tensor",    "GGUF-OFFSET",     E, FormatError,   "a tensor off the multiples of the alignment"),
    ("tensor-overlap",       "GGUF-OFFSET",     E, FormatError,   "two tensors that share bytes"),
    ("tensor-hole",          "GGUF-OFFSET",     E, FormatError,   "bytes between two tensors that neither owns"),
    ("tensor-order",         "GGUF-OFFSET",     E, FormatError,   "data in another order than the tensors"),
    ("truncated-header",     "GGUF-TRUNC",      E, Truncated,     "the file ends inside its header"),
    ("truncated-data",       "GGUF-TRUNC",      E, None,          "the file ends before its last tensor does"),
    ("trailing-data",        "GGUF-TRAIL",      W, None,          "bytes behind the last tensor, claimed by none"),
    ("unpadded-tail",        "GGUF-TAILPAD",    I, None,          "the last tensor is not padded to the alignment"),
    ("not-utf8",             "GGUF-UTF8",       W, None,          "a string that is not UTF-8"),
    ("bad-bool",             "GGUF-BOOL",       W, None,          "a truth value stored as neither 0 nor 1"),
)
# fmt: on

GGUF_DEFECTS: Final[Mapping[str, DefectKind]] = MappingProxyType({row[0]: DefectKind(*row) for row in _ROWS})
