"""TX: text that attacks whoever reads or loads it: chat templates and names. Parsed, never compiled or rendered."""

from __future__ import annotations

import re

from inspector.audit.readers.hidden import describe_hidden, hidden_in
from inspector.audit.readers.templates import analyse
from inspector.audit.registry import Hit, rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, Final

    from inspector.audit.readers.templates import Analysed
    from inspector.audit.subject.records import Subject
    from inspector.formats.modelfile import ModelFile

MOST_SIGNS: Final = 5
MAX_COMPARED: Final = 1 << 20


def _at(found: Analysed, line: int) -> str:
    return f"{found.template.where}, line {line}" if line else found.template.where


@rule("TX001", "template-code", severity="warning", hint="do not load it; take the template of the original model")
def template_code(subject: Subject) -> Iterator[Hit]:
    """
    A chat template does what no chat needs: it reaches for Python's internals, or loads other files.

    Why it matters: a template is a program that runs when a prompt is built. Rendered without a sandbox, one line
    starts any command (CVE-2024-34359 in llama-cpp-python, CVE-2026-5760 in SGLang). Names that reach internals
    (`__class__`, `__globals__`, `|attr(…)`, pieces glued together into such a name) are errors; what is merely
    needless (private attributes, `lipsum()`, `{% include %}`) is a warning. Words inside plain text are not looked at.

    Example: `{{ cycler.__init__.__globals__.os.popen('id').read() }}`

    What to do: do not load the model; compare its template with the one of the model it was made from.
    """
    for found in analyse(subject):
        code = sorted((s for s in found.signs if s.kind == "code"), key=lambda s: s.severity != "error")
        if code:
            more = f" (and {len(code) - 1} more like it)" if len(code) > 1 else ""
            yield Hit(_at(found, code[0].line), code[0].what + more, severity=code[0].severity)


@rule("TX002", "template-hidden", severity="warning", hint="compare it with the template of the original model")
def template_hidden(subject: Subject) -> Iterator[Hit]:
    """
    A chat template holds characters that nobody sees: zero-width, bidirectional, tag or control characters.

    Why it matters: tag characters carry whole instructions past a reviewer, bidirectional marks show the source in
    another order than it runs. Joiners inside emoji and in scripts that need them are left alone.
    """
    for found in analyse(subject):
        text = found.template.text[: 1 << 20]
        places = hidden_in(text)
        if places:
            line = text.count("\n", 0, places[0]) + 1
            yield Hit(_at(found, line), f"hidden characters: {describe_hidden(text, places)}")


@rule("TX003", "template-bomb", severity="warning", hint="do not render it; take the template of the original model")
def template_bomb(subject: Subject) -> Iterator[Hit]:
    """
    A chat template is too large or too deeply nested to be parsed, or grows or loops without end.

    Why it matters: it takes down the process that builds the prompt: the parser overflows its stack,
    `'a' * 1000000000` fills the memory, `range(10**12)` never comes back.
    """
    for found in analyse(subject):
        parsed = found.parsed
        if parsed.kind == "deep":
            yield Hit(found.template.where, parsed.message)
        elif parsed.kind == "large":
            yield Hit(found.template.where, f"{parsed.message}: larger than any chat template, not parsed")
        elif parsed.kind == "skipped":
            yield Hit(found.template.where, f"{parsed.message}: not parsed")
        for sign in [s for s in found.signs if s.kind == "bomb"][:MOST_SIGNS]:
            yield Hit(_at(found, sign.line), sign.what)


@rule("TX004", "template-differs", severity="warning", hint="find out which one is meant before you use either")
def template_differs(subject: Subject) -> Iterator[Hit]:
    """
    A GGUF file's chat template is not the one of the folder that it lies in.

    Why it matters: people read the repository's template, llama.cpp runs the one in the file. A poisoned GGUF beside a
    clean repository looks like this; so does a conversion that is merely out of date.
    """
    plain: dict[str, dict[str, Analysed]] = {}
    for found in analyse(subject):
        t = found.template
        if t.source != "gguf" and "/" not in t.file.removeprefix("additional_chat_templates/"):
            plain.setdefault(t.name, {}).setdefault(t.source, found)
    for found in analyse(subject):
        t = found.template
        beside = plain.get(t.name)
        if t.source != "gguf" or not beside or "/" in t.file:
            continue
        # transformers takes the .jinja file where there are both
        other = beside.get("jinja") or beside["json"]
        if t.length > MAX_COMPARED or other.template.length > MAX_COMPARED:
            continue  # a finding of its own
        if _lines(t.text) != _lines(other.template.text):
            yield Hit(t.where, f"differs from the template in {other.template.where}")


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().split("\n")]


@rule("TX005", "template-tokens", severity="warning", hint="take the template of the original model")
def template_tokens(subject: Subject) -> Iterator[Hit]:
    """
    A chat template does not compile, or its special tokens do not fit the vocabulary.

    Why it matters: a special token that the vocabulary lacks is cut into ordinary pieces, which the model has never
    seen in that place; a template that never ends a turn makes the model talk on without end.
    """
    from inspector.audit.readers.template_tokens import problems

    for found in analyse(subject):
        if found.parsed.kind == "syntax":
            yield Hit(_at(found, found.parsed.line), f"does not compile: {found.parsed.message}")
    for p in problems(subject):
        yield Hit(p.where, p.message, severity=p.severity)


_TRAVERSAL: Final = re.compile(r"(^|[/\\])\.\.([/\\]|$)|^[/\\~]|^[A-Za-z]:[/\\]|^file://", re.IGNORECASE)


@rule("TX006", "odd-name", severity="warning", hint="do not use the names as paths or print them raw")
def odd_name(subject: Subject) -> Iterator[Hit]:
    """
    A name or a value shown to people holds a path that leads elsewhere, or control, bidirectional or hidden characters.

    Why it matters: tools that write one file a tensor follow `../`; a terminal obeys escape sequences; bidirectional
    marks show another name than the one that is loaded. Honest names in any script are left alone, and so are the
    words of the vocabulary.
    """
    for entry in subject.entries:
        if problem := _hidden(entry.name):
            yield Hit(entry.name, f"a file name with {problem}")
    for model in subject.models:
        for name in _odd_looking(model.tensor_names):
            if problem := _odd(name):
                yield Hit(f"{model.name}: {name}", f"a tensor name with {problem}")
        yield from _odd_metadata(model)


def _odd_metadata(model: ModelFile) -> Iterator[Hit]:
    """Keys, and the strings that tools print; the vocabulary and the templates have rules of their own."""
    for key, value in model.metadata.items():
        if problem := _odd(key):
            yield Hit(f"{model.name}: {key}", f"a metadata key with {problem}")
        if key.startswith("tokenizer."):
            continue
        for text in _texts(value):
            if problem := _hidden(text):
                yield Hit(f"{model.name}: {key}", f"a value with {problem}")
                break


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value[: 1 << 16]
    elif isinstance(value, tuple):
        yield from (v[:4096] for v in value if isinstance(v, str))


def _odd_looking(names: Sequence[str]) -> Sequence[str]:
    """The names, unless all of them taken together hold nothing that makes any of them odd."""
    together = "".join(names)
    plain = together.isprintable() and ".." not in together and not any(c in together for c in "/\\~:")
    return () if plain else names


def _odd(name: str) -> str:
    if name.isprintable() and ".." not in name and name[:1] not in "/\\~" and ":" not in name:
        return ""  # nearly every name
    if _TRAVERSAL.search(name):
        return "a path that leads elsewhere"
    return _hidden(name) or ("a line break" if "\n" in name or "\r" in name else "")


def _hidden(text: str) -> str:
    if text.isprintable() and text.isascii():
        return ""
    places = hidden_in(text, most=8)
    return describe_hidden(text, places) if places else ""
