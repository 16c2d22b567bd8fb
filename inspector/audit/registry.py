"""Rules by code. A rule is one function with a docstring that is its manual page.

Codes are a family's letters and a number, stable and never used again:
FL what a file really is · GG GGUF structure · GM GGUF meaning · GL loading by llama.cpp · ST safetensors structure ·
TX text that attacks · FD folders, shards and configs · CD code · HS hashes · VA values.
"""

from __future__ import annotations

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Annotated, Any, Final

    from inspector.audit.subject.records import Subject

SEVERITIES: Final = ("info", "warning", "error")

if TYPE_CHECKING:
    Severity = Annotated[str, ("enum", SEVERITIES)]
    Code = Annotated[str, ("pattern", "^[A-Z]{2}[0-9]{3}$")]


class Finding(Record):
    """One thing that is wrong: which rule says so, how bad it is, where, in words, and what to do about it."""

    code: Code
    severity: Severity
    where: str
    message: str
    hint: str = ""


class Hit(Record):
    """What a rule reports: where and what; a severity or hint of its own where it differs from the rule's."""

    where: str
    message: str
    hint: str = ""
    severity: str = ""


class Rule(Record):
    """A check: `needs` is "" for what headers and documents tell, "values" for --deep, "hash" for --hash."""

    code: Code
    name: str
    severity: Severity
    check: Callable[[Subject], Iterable[Hit]]
    hint: str = ""
    needs: str = ""

    @property
    def page(self) -> str:
        """The manual page."""
        return self.check.__doc__ or ""

    @property
    def summary(self) -> str:
        """The page's first sentence."""
        return self.page.strip().splitlines()[0] if self.page.strip() else ""


_RULES: dict[str, Rule] = {}


def rule(
    code: str, name: str, *, severity: str, hint: str = "", needs: str = ""
) -> Callable[[Callable[[Subject], Iterator[Hit]]], Callable[[Subject], Iterator[Hit]]]:
    """Registers a function as a rule. Raises ValueError when the code or the name is taken."""

    def register(check: Callable[[Subject], Iterator[Hit]]) -> Callable[[Subject], Iterator[Hit]]:
        if code in _RULES or any(r.name == name for r in _RULES.values()) or severity not in SEVERITIES:
            raise ValueError(f"rule {code} {name}: taken, or of no known severity")
        _RULES[code] = Rule(code, name, severity, check, hint, needs)
        return check

    return register


def rules() -> dict[str, Rule]:
    """All rules by code, in order of code: those of every module in `rules/`."""
    from importlib import import_module
    from pkgutil import iter_modules

    room = import_module("inspector.audit.rules")
    for module in iter_modules(room.__path__):
        import_module(f"inspector.audit.rules.{module.name}")
    return dict(sorted(_RULES.items()))


def find_rule(text: str) -> Rule | None:
    """A rule by its code or its name, in any case."""
    word = text.strip().lower()
    return next((r for r in rules().values() if word in (r.code.lower(), r.name)), None)


def rank(severity: str) -> int:
    """0 info, 1 warning, 2 error."""
    return SEVERITIES.index(severity)


def as_dict(value: Any) -> dict[str, Any]:
    """A document that should be an object, or an empty one."""
    return value if isinstance(value, dict) else {}


def reader_defects(subject: Subject, format_name: str, codes: Iterable[str]) -> Iterator[Hit]:
    """The reader's own defects of these kinds, in all files of one format, with their places."""
    for file in subject.of_format(format_name):
        assert file.model is not None
        for d in file.model.defects:
            if d.code in codes:
                at = f" (at byte {d.offset:,})" if d.offset is not None else ""
                where = f"{file.name}: {d.where}" if d.where else file.name
                yield Hit(where, d.what + at)
