"""Chat templates: every place where one can be, and its syntax tree. Parsed and looked at, never compiled or rendered.

Where transformers looks (utils/hub.py and tokenization_utils_base.py, 4.57): chat_template.jinja and
additional_chat_templates/*.jinja, chat_template.json, tokenizer_config.json, processor files. Where llama.cpp looks
(llama_model_chat_template, b11434): tokenizer.chat_template and tokenizer.chat_template.NAME.
"""

from __future__ import annotations

from inspector.audit.subject.records import TEXT_SUFFIXES
from inspector.formats.modelfile import LongArray
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from jinja2 import nodes
    from jinja2.environment import Environment
    from jinja2.parser import Parser

    from inspector.audit.readers.template_code import Sign
    from inspector.audit.subject.records import Document, Subject

GGUF_KEY: Final = "tokenizer.chat_template"
# The largest honest templates have 30 KiB. Above MAX_PARSED a template is a finding and is searched as text only:
# jinja2's parser takes up to 7 s a MiB. MAX_ALL is what one audit parses in all.
MAX_PARSED: Final = 64 << 10
MAX_ALL: Final = 96 << 10
MAX_SEARCHED: Final = 2 << 20
MAX_TEMPLATES: Final = 10_000


class Template(Record):
    """One chat template: where it stands, its text, and whose it is.

    `file`: the GGUF or document it comes from; `name`: "default", "tool_use" …; `source`: gguf, jinja or json;
    `length`: characters of the whole, of which `text` may hold only the beginning.
    """

    where: str
    text: str
    file: str
    name: str
    source: str
    length: int


class Parsed(Record):
    """A template's tree, or why there is none. `kind`: "" (there is one), syntax, deep, large or skipped."""

    tree: nodes.Template | None
    kind: str = ""
    message: str = ""
    line: int = 0


def _make(where: str, text: Any, file: str, *, name: str, source: str) -> Iterator[Template]:
    if isinstance(text, str):
        yield Template(where, text, file, name, source, len(text))
    elif isinstance(text, LongArray) and text.elem == "char":
        yield Template(where, str(text.head[0]), file, name, source, text.length)


def _from_gguf(subject: Subject) -> Iterator[Template]:
    for file in subject.of_format("gguf"):
        assert file.model is not None
        for key, value in file.model.metadata.items():
            if key == GGUF_KEY or key.startswith(GGUF_KEY + "."):
                name = key[len(GGUF_KEY) + 1 :] or "default"
                yield from _make(f"{file.name}: {key}", value, file.name, name=name, source="gguf")
            elif key == GGUF_KEY + "s" and isinstance(value, tuple):
                # names of further templates; some writers put the templates themselves here
                texts = [v for v in value if isinstance(v, str) and "{" in v]
                for i, text in enumerate(texts):
                    yield from _make(f"{file.name}: {key}[{i}]", text, file.name, name=f"list-{i}", source="gguf")


def _from_value(where: str, value: Any, file: str) -> Iterator[Template]:
    """A string, a list of {name, template}, or an object of name to template."""
    if isinstance(value, str):
        yield from _make(where, value, file, name="default", source="json")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            if isinstance(item, dict):
                name = item.get("name")
                label = name if isinstance(name, str) else str(i)
                yield from _make(f"{where}[{i}]", item.get("template"), file, name=label, source="json")
            else:
                yield from _make(f"{where}[{i}]", item, file, name=f"list-{i}", source="json")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _make(f"{where}.{name}", item, file, name=str(name), source="json")


def _from_document(document: Document) -> Iterator[Template]:
    base = document.name.rsplit("/", 1)[-1]
    if document.name.lower().endswith(TEXT_SUFFIXES):
        extra = "additional_chat_templates/" in document.name
        name = base.rsplit(".", 1)[0] if extra or not base.startswith("chat_template") else "default"
        yield from _make(document.name, document.text, document.name, name=name, source="jinja")
    elif isinstance(document.value, dict):
        for key in ("chat_template", "chat_templates"):
            if key in document.value:
                yield from _from_value(f"{document.name}: {key}", document.value[key], document.name)


def collect(subject: Subject) -> tuple[Template, ...]:
    """Every template of a subject, bounded in number."""
    found: list[Template] = []
    for document in subject.documents.values():
        found += _from_document(document)
    found += _from_gguf(subject)
    return tuple(found[:MAX_TEMPLATES])


def _extensions() -> list[Any]:
    from jinja2 import nodes
    from jinja2.ext import Extension, do, loopcontrols

    class Generation(Extension):
        """{% generation %}…{% endgeneration %}: transformers marks the assistant's words with it."""

        tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

        def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
            line = next(parser.stream).lineno
            return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)

    return [loopcontrols, do, Generation]


_environments: list[Environment] = []


def environment() -> Environment:
    """jinja2 with what transformers and vLLM add to its grammar."""
    if not _environments:
        from jinja2 import Environment

        _environments.append(Environment(extensions=_extensions()))  # noqa: S701 - nothing is ever rendered
    return _environments[0]


def parse(text: str) -> Parsed:
    """The syntax tree of a template. Whatever the text, no exception leaves here."""
    if len(text) > MAX_PARSED:
        return Parsed(None, "large", f"{len(text):,} characters")
    from jinja2.exceptions import TemplateSyntaxError
    from jinja2.parser import Parser

    try:
        # not Environment.parse: on an error it builds and runs a false traceback
        return Parsed(Parser(environment(), text).parse())
    except TemplateSyntaxError as error:
        return Parsed(None, "syntax", " ".join((error.message or "syntax error").split())[:200], error.lineno)
    except (RecursionError, MemoryError):
        return Parsed(None, "deep", "nested too deeply to be parsed")
    except Exception as error:  # a number of 5,000 digits, a lone surrogate: jinja2 lets Python's own errors through
        return Parsed(None, "syntax", f"cannot be parsed ({type(error).__name__})")


class Analysed(Record):
    """A template with its tree and the signs that were seen in it."""

    template: Template
    parsed: Parsed
    signs: tuple[Sign, ...]


def analyse(subject: Subject) -> tuple[Analysed, ...]:
    """Every template parsed once, equal ones shared, within a limit on the whole."""
    found: tuple[Analysed, ...] = subject.cached("templates", lambda: _analyse(collect(subject)))
    return found


def _analyse(templates: tuple[Template, ...]) -> tuple[Analysed, ...]:
    from inspector.audit.readers.template_code import signs_of, signs_of_text

    done: dict[str, tuple[Parsed, tuple[Sign, ...]]] = {}
    left, searched = MAX_ALL, MAX_SEARCHED
    out = []
    for template in templates:
        text = template.text
        if text not in done:
            if template.length > len(text) or len(text) > MAX_PARSED:
                parsed = Parsed(None, "large", f"{template.length:,} characters")
            elif len(text) + 200 > left:
                parsed = Parsed(None, "skipped", "more templates than are looked into")
            else:
                left -= len(text) + 200
                parsed = parse(text)
            signs = tuple(signs_of_text(text[:searched])) if parsed.tree is None else signs_of(parsed.tree)
            searched -= 0 if parsed.tree else min(len(text), searched)
            done[text] = parsed, signs
        out.append(Analysed(template, *done[text]))
    return tuple(out)
