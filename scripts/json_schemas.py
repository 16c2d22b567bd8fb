"""The JSON schemas of docs/schemas, made from the types that the documents are written by.

A document is a TypedDict of inspector/report/documents.py, which mypy holds the reports to; a record within it stands
as inspector/report/forms.py says. An int is a size or a count and never below zero, unless its type says otherwise.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import json
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from inspector.record import Record
from inspector.report import documents, forms

Schema = dict[str, Any]
UNIONS = (Union, types.UnionType)
DRAFT = "https://json-schema.org/draft/2020-12/schema"
PLAIN: Mapping[Any, Schema] = {
    bool: {"type": "boolean"}, int: {"type": "integer", "minimum": 0}, float: {"type": "number"},
    str: {"type": "string"}, type(None): {"type": "null"},
}  # fmt: skip


@functools.cache
def scope_of(name: str) -> dict[str, Any]:
    """A module's names, those that only type checkers see included."""
    module = importlib.import_module(name)
    names = dict(vars(module))
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for line in node.body:
                if isinstance(line, ast.ImportFrom):
                    names |= {alias.asname or alias.name: typed(str(line.module), alias.name) for alias in line.names}
                else:
                    exec(compile(ast.Module([line], []), name, "exec"), names)
    return names


def typed(module: str, name: str) -> Any:
    """A name of a module, if only type checkers see it; None where it is not needed here, nor installed."""
    try:
        found = importlib.import_module(module)
    except ImportError:
        return None
    return getattr(found, name) if hasattr(found, name) else scope_of(module).get(name)


def types_of(cls: type) -> dict[str, Any]:
    """Fields (and properties) of a record or TypedDict by name, with their types."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__[:-1]):
        own = dict(vars(base).get("__annotations__", {}))
        own |= {n: p.fget.__annotations__["return"] for n, p in vars(base).items() if isinstance(p, property)}
        scope = scope_of(base.__module__) if own else {}
        found |= {name: eval(getattr(text, "__forward_arg__", str(text)), scope) for name, text in own.items()}
    return found


def about(cls: type) -> str:
    """The first paragraph of its docstring."""
    return " ".join((cls.__doc__ or "").split("\n\n")[0].split())


class Maker:
    """One document's schema: what its objects are made of lies in `defs`, by class name."""

    def __init__(self) -> None:
        self.defs: dict[str, Schema] = {}

    def of(self, kind: Any) -> Schema:
        """The schema of any type that a document may have."""
        origin, args = get_origin(kind), get_args(kind)
        if kind is Any:
            return {}
        if kind in PLAIN:
            return dict(PLAIN[kind])
        if origin is Annotated:
            return self.annotated(args[0], args[1:])
        if origin in UNIONS:
            return self.union(args)
        if origin is Literal:
            return {"const": args[0]}
        if origin in (tuple, list, Sequence):  # tuples of ours are of one kind, however many
            return {"type": "array", "items": self.of(args[0])}
        if origin in (dict, Mapping):
            return {"type": "object"} | ({} if args[1] is Any else {"additionalProperties": self.of(args[1])})
        if isinstance(kind, type):
            return self.reference(kind)
        raise TypeError(f"no schema for {kind!r}")

    def annotated(self, kind: Any, said: Sequence[Any]) -> Schema:
        """A type with keywords (pairs; None takes one away) and a description (a text)."""
        schema = self.of(kind)
        for word in said:
            schema |= {"description": word} if isinstance(word, str) else dict([word])
        schema = {key: list(value) if isinstance(value, tuple) else value for key, value in schema.items()}
        if "enum" in schema:
            schema.pop("type", None)
        return {key: value for key, value in schema.items() if value is not None}

    def union(self, kinds: Sequence[Any]) -> Schema:
        """`int | None` is one type of two names; records of several kinds are one of several schemas."""
        schemas = [self.of(kind) for kind in kinds]
        if all(set(s) <= {"type", "minimum", "description"} for s in schemas):
            merged = {key: value for s in schemas for key, value in s.items()}
            return merged | {"type": [s["type"] for s in schemas]}
        return {"anyOf": schemas}

    def reference(self, cls: type) -> Schema:
        """A pointer to a class's schema, which is made once."""
        if cls.__name__ not in self.defs:
            self.defs[cls.__name__] = {}  # a record may hold its own kind
            self.defs[cls.__name__] = self.object(cls)
        return {"$ref": f"#/$defs/{cls.__name__}"}

    def object(self, cls: type) -> Schema:
        """A record or TypedDict: its fields, those that are always there, and no others."""
        kinds = types_of(cls)
        names, optional = fields_of(cls, kinds)
        properties = {name: self.field(name, kinds[name]) for name in names}
        if issubclass(cls, Record):  # what says nothing is left out, not null
            properties |= {name: self.of(without_none(kinds[name])) for name in optional}
        return {
            "type": "object", "description": about(cls), "properties": properties,
            "required": [name for name in names if name not in optional], "additionalProperties": False,
        }  # fmt: skip

    def field(self, name: str, kind: Any) -> Schema:
        """A field's schema; records of several kinds have their kind as `type`."""
        if name not in forms.TAGGED:
            return self.of(kind)
        found = []
        for cls in get_args(get_args(kind)[0]):
            schema = self.object(cls)
            schema["properties"] = {"type": {"const": cls.__name__}, **schema["properties"]}
            found.append(schema | {"required": ["type", *schema["required"]]})
        return {"type": "array", "items": {"anyOf": found}}


def fields_of(cls: type, kinds: Mapping[str, Any]) -> tuple[Sequence[str], frozenset[str]]:
    """Names of all fields in the order of the document, and of those that may be left out."""
    if issubclass(cls, Record):
        return forms.FIELDS.get(cls.__name__, cls._fields), forms.SPARSE.get(cls.__name__, frozenset())
    names = sorted(kinds, key=lambda name: name != "schema")
    optional: frozenset[str] = vars(cls)["__optional_keys__"]
    return names, optional


def without_none(kind: Any) -> Any:
    """`X | None` as X."""
    kept = [x for x in get_args(kind) if x is not type(None)]
    return kept[0] if get_origin(kind) in UNIONS and len(kept) == 1 else kind


def document_classes() -> Iterator[tuple[str, type]]:
    """(name, class) of every document, in the order of the module; a name may have several forms."""
    for cls in vars(documents).values():
        if isinstance(cls, type) and cls.__module__ == documents.__name__ and "schema" in cls.__annotations__:
            (schema,) = get_args(types_of(cls)["schema"])
            yield schema.removeprefix("inspector.").removesuffix("/1"), cls


def schema_of(name: str, classes: Sequence[type]) -> Schema:
    """The schema of one document, complete in itself."""
    maker = Maker()
    made = [maker.object(cls) for cls in classes]
    top = made[0] if len(made) == 1 else {"oneOf": made}
    return {
        "$schema": DRAFT, "$id": f"{name}.json", "title": "; ".join(about(cls) for cls in classes),
        **{key: value for key, value in top.items() if key != "description"}, "$defs": dict(sorted(maker.defs.items())),
    }  # fmt: skip


def schemas() -> dict[str, str]:
    """File name in docs/schemas: its text."""
    classes: dict[str, list[type]] = {}
    for name, cls in document_classes():
        classes.setdefault(name, []).append(cls)
    return {f"{name}.json": json.dumps(schema_of(name, found), indent=2) + "\n" for name, found in classes.items()}
