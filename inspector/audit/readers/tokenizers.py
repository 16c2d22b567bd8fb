"""The largest token number of a tokenizer.json, without building the quarter of a million objects in it."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from inspector.audit.subject.records import Subject

MAX_TOKENIZER: Final = 64 << 20
MAX_TOKENS: Final = 1_000_000  # the largest vocabularies have some 300,000
# a word of 64 KiB is none, and Python 3.10, which has no possessive repetition, would go all the way back in one
_STRING: Final = rb'"(?:[^"\\]|\\.){0,65536}' + (rb'+"' if hasattr(re, "NOFLAG") else b'"')
_ENTRY: Final = re.compile(rb"\s*" + _STRING + rb"\s*:\s*(\d{1,18})\s*,?", re.DOTALL)
_VOCAB: Final = re.compile(rb'"vocab"\s*:\s*([{\[])')
_MODEL: Final = re.compile(rb'"model"\s*:\s*\{')
_ADDED: Final = re.compile(rb'"id"\s*:\s*(\d{1,18})\s*[,}]')
_PIECE: Final = re.compile(rb"\s*\[\s*" + _STRING + rb"\s*,\s*-?[\d.eE+-]+\s*\]\s*,?", re.DOTALL)


def _largest_of_map(raw: bytes, at: int) -> int:
    largest, n = -1, 0
    while n < MAX_TOKENS and (found := _ENTRY.match(raw, at)):
        n += 1
        largest = max(largest, int(found.group(1)))
        at = found.end()
    return largest


def _largest_of_list(raw: bytes, at: int) -> int:
    n = 0
    while n < MAX_TOKENS and (found := _PIECE.match(raw, at)):
        n += 1
        at = found.end()
    return n - 1


def scan_tokenizer(raw: bytes) -> int | None:
    """The largest number among added tokens and the model's vocabulary; None where neither is found."""
    # a token called "id" inside the vocabulary also matches: its number is a token's number as well
    largest = max((int(m.group(1)) for m in _ADDED.finditer(raw)), default=-1)
    model = _MODEL.search(raw)
    vocab = _VOCAB.search(raw, model.end() if model is not None else 0)
    if vocab is not None:
        count = _largest_of_map if vocab.group(1) == b"{" else _largest_of_list
        largest = max(largest, count(raw, vocab.end()))
    return largest if largest >= 0 else None


def largest_token(subject: Subject, name: str) -> int | None:
    """The same for a file of the subject; None where it is too large to scan. Raises SourceError."""
    with subject.open_source(name) as source:
        if source.size > MAX_TOKENIZER:
            return None
        return scan_tokenizer(source.read_at(0, source.size))
