"""Whether the special tokens that a chat template writes are ones that the vocabulary has."""

from __future__ import annotations

import re

from inspector.audit.readers.templates import GGUF_KEY, analyse
from inspector.formats.modelfile import LongArray
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from inspector.audit.readers.templates import Analysed
    from inspector.audit.subject.records import Subject

# No language model has fewer tokens: below, it is a toy or a cut, and what it lacks proves nothing.
SMALLEST: Final = 1000
MAX_VOCAB: Final = 1 << 20
MAX_VOCAB_NBYTES: Final = 32 << 20
# `<|im_start|>`, `<｜User｜>`: shapes that nobody writes for anything but a special token.
_SPECIAL: Final = re.compile(r"<\|[A-Za-z][\w:./-]{1,40}\|>|<｜[^<>｜\s]{1,40}｜>")
# Anything that a template may end a turn with.
_ENDING: Final = re.compile(
    r"<[|｜/]|\|>|_of_turn>|</s|\[/?\w+\]|eos|<[a-z_]*end|<turn|endofturn|<eot|im_end|\[e~\[", re.IGNORECASE
)


class Problem(Record):
    """What is wrong with a template's tokens, and where; `severity` where the vocabulary says how sure that is."""

    where: str
    message: str
    severity: str = ""


class Vocabulary(Record):
    """Which of the wanted tokens a vocabulary has, and its markers. `is_whole`: large enough to be a real model's."""

    has: frozenset[str]
    eos: str
    bos: str
    is_whole: bool


def _gguf_vocabulary(subject: Subject, name: str, wanted: frozenset[str]) -> Vocabulary | None:
    """From the token list, read once from end to end and only compared."""
    file = next(f for f in subject.files if f.name == name)
    assert file.model is not None
    meta = file.model.metadata
    tokens = meta.get("tokenizer.ggml.tokens")
    ids = [meta.get(f"tokenizer.ggml.{which}_token_id") for which in ("eos", "bos")]
    names = ["", ""]
    has = set()
    for at, token in enumerate(tokens_of(subject, name, tokens, file.model.byte_order)):
        if token in wanted:
            has.add(token)
        for i, token_id in enumerate(ids):
            if token_id == at and isinstance(token_id, int):
                names[i] = token
    known = isinstance(tokens, tuple | LongArray) and len(_head(tokens)) > 0
    if not known or _too_long(tokens):
        return None
    length = tokens.length if isinstance(tokens, LongArray) else len(_head(tokens))
    return Vocabulary(frozenset(has), names[0], names[1], length >= SMALLEST)


def _head(tokens: Any) -> tuple[Any, ...]:
    return tokens.head if isinstance(tokens, LongArray) else tokens


def _too_long(tokens: Any) -> bool:
    return isinstance(tokens, LongArray) and (tokens.length > MAX_VOCAB or tokens.nbytes > MAX_VOCAB_NBYTES)


def tokens_of(subject: Subject, name: str, tokens: Any, byte_order: str) -> Iterator[str]:
    """The words of a GGUF's vocabulary, read from the file where there are many; none where they are too many."""
    from inspector.errors import InspectorError
    from inspector.formats.gguf import read_strings

    if isinstance(tokens, tuple):
        yield from (t for t in tokens if isinstance(t, str))
    elif isinstance(tokens, LongArray) and tokens.elem == "str" and not _too_long(tokens):
        try:
            with subject.open_source(name) as source:
                yield from read_strings(source, tokens, byte_order=byte_order)
        except InspectorError:
            return


def _content(value: Any) -> str:
    """A special token as tokenizer files write it: a string, or an object with its content."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def _folder_vocabulary(subject: Subject, wanted: frozenset[str]) -> Vocabulary | None:
    """From tokenizer.json, searched and not parsed, and tokenizer_config.json."""
    config = subject.json("tokenizer_config.json")
    config = config if isinstance(config, dict) else {}
    raw = _raw_tokenizer(subject)
    if not raw:
        return None
    decoder = config.get("added_tokens_decoder")
    names = {_content(t) for t in decoder.values()} if isinstance(decoder, dict) else set()
    names |= {word for word in wanted if any(form in raw for form in _spellings(word))}
    return Vocabulary(
        frozenset(names),
        _content(config.get("eos_token")),
        _content(config.get("bos_token")),
        raw.count(b":") >= SMALLEST,
    )


def _spellings(word: str) -> tuple[bytes, ...]:
    """How JSON may write a word."""
    import json

    return json.dumps(word).encode(), json.dumps(word, ensure_ascii=False).encode("utf-8", "replace")


def _raw_tokenizer(subject: Subject) -> bytes:
    """The bytes of tokenizer.json; nothing where there is none, or one without a vocabulary."""
    from inspector.errors import InspectorError

    if not any(e.name == "tokenizer.json" and e.kind == "file" and e.size <= MAX_VOCAB_NBYTES for e in subject.entries):
        return b""
    try:
        with subject.open_source("tokenizer.json") as source:
            raw = source.read_at(0, source.size)
    except InspectorError:
        return b""
    return raw if b'"vocab"' in raw else b""


def _written(tree: Any) -> tuple[set[str], str]:
    """The special tokens that a template writes out, and all its literal text; what it compares with is left out."""
    from jinja2.nodes import Node

    written: set[str] = set()
    texts: list[str] = []
    stack: list[tuple[Any, bool]] = [(tree, False)]
    while stack:
        node, output = stack.pop()
        kind = type(node).__name__
        if kind == "TemplateData":
            texts.append(node.data)
            written |= set(_SPECIAL.findall(node.data))
        elif kind == "Const" and isinstance(node.value, str):
            texts.append(node.value)
            if output:
                written |= set(_SPECIAL.findall(node.value))
        elif kind == "Name":
            texts.append(f" {node.name} ")
        below = output or kind == "Output"
        for field in node.fields:
            value = getattr(node, field, None)
            shown = below and (kind, field) in _SHOWN
            children = value if isinstance(value, list | tuple) else (value,)
            stack += [(child, shown) for child in children if isinstance(child, Node)]
    return written, "\0".join(texts)


# Where a string has to stand to be written out: not in a comparison, a test, a call's arguments or a subscript.
_SHOWN: Final = frozenset(
    {("Output", "nodes"), ("Concat", "nodes"), ("Add", "left"), ("Add", "right"), ("CondExpr", "expr1"),
     ("CondExpr", "expr2"), ("Mul", "left")}
)  # fmt: skip


def _vocabulary(subject: Subject, found: Analysed, wanted: frozenset[str]) -> Vocabulary | None:
    if found.template.source == "gguf":
        return _gguf_vocabulary(subject, found.template.file, wanted)
    return _folder_vocabulary(subject, wanted) if "/" not in found.template.file else None


def problems(subject: Subject) -> Iterator[Problem]:
    """Tokens that are not there, turns that never end, a beginning written twice. Doubtful cases are left alone."""
    parts = [(f, *_written(f.parsed.tree)) for f in analyse(subject)[:16] if f.parsed.tree is not None]
    known: dict[tuple[str, frozenset[str]], Vocabulary | None] = {}
    wanted = frozenset(token for _, written, _ in parts for token in written)
    for found, written, text in parts:
        file = found.template.file if found.template.source == "gguf" else ""
        key = (file, wanted)
        if key not in known:
            known[key] = _vocabulary(subject, found, wanted)
        vocabulary = known[key]
        if vocabulary is None:
            continue
        yield from _judge(found, written, text, vocabulary)


def _judge(found: Analysed, written: set[str], text: str, vocabulary: Vocabulary) -> Iterator[Problem]:
    where = found.template.where
    missing = sorted(written - vocabulary.has - {vocabulary.eos, vocabulary.bos})
    if missing:
        names = ", ".join(missing[:5]) + (" and others" if len(missing) > 5 else "")
        severity = "warning" if vocabulary.is_whole or vocabulary.has else "info"
        yield Problem(where, f"writes special tokens that the vocabulary does not have: {names}", severity=severity)
    default = found.template.name == "default" or found.template.where.endswith(GGUF_KEY)
    speaks = "assistant" in text or "role" in text or "messages" in text
    if default and vocabulary.eos and speaks and not _ENDING.search(text) and vocabulary.eos not in text:
        severity = "warning" if vocabulary.is_whole else "info"
        what = f"never ends a turn: neither {vocabulary.eos} nor any other special token is written"
        yield Problem(where, what, severity=severity)
    bos = vocabulary.bos
    doubled = bos and (bos + bos) in found.template.text
    if doubled or re.search(
        r"\{\{-?\s*bos_token\s*(?:\+\s*bos_token\b|-?\}\}\s*\{\{-?\s*bos_token\b)", found.template.text
    ):
        yield Problem(where, "writes the beginning-of-sequence token twice in a row")
