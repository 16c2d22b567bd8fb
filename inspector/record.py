"""Frozen, slotted records: what passes between the stages.

Written like dataclasses and read by type checkers as such (PEP 681), at a twelfth of their import cost:
`import dataclasses` and thirty decorated classes take longer than reading a whole GGUF header
(docs/decisions/0002-records.md).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated, Any, TypeVar

    from typing_extensions import Self, dataclass_transform

    R = TypeVar("R", bound="Record")
    # What a JSON schema says of a field beside its type; a plain int is a size or a count, never below zero.
    Positive = Annotated[int, ("minimum", 1)]
    Signed = Annotated[int, ("minimum", None)]
else:

    def dataclass_transform(**_: object):  # the run-time half of PEP 681: nothing
        return lambda cls: cls


def _init_source(fields: tuple[str, ...], defaults: dict[str, Any]) -> str:
    args = "".join(f", {f}=_d_{f}" if f in defaults else f", {f}" for f in fields)
    body = "".join(f"\n    _s_{f}(self, {f})" for f in fields) or "\n    pass"
    return f"def __init__(self{args}):{body}\n"


def _compile_init(cls: Any) -> Any:
    """The class's `__init__`, made when its first record is: most classes are loaded and never used in a run."""
    fields, defaults = cls._fields, cls._defaults
    scope: dict[str, Any] = {f"_d_{f}": v for f, v in defaults.items()}
    scope.update({f"_s_{f}": getattr(cls, f).__set__ for f in fields})
    exec(_init_source(fields, defaults), scope)  # noqa: S102 - field names of our own classes
    cls.__init__ = scope["__init__"]
    return scope["__init__"]


class _RecordType(type):
    """Turns a class body's annotations into slots, and its first call into a compiled `__init__`."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> _RecordType:
        own = tuple(namespace.get("__annotations__", ()))
        defaults: dict[str, Any] = {}
        fields: tuple[str, ...] = ()
        for base in bases:
            fields += getattr(base, "_fields", ())
            defaults.update(getattr(base, "_defaults", {}))
        defaults.update({f: namespace.pop(f) for f in own if f in namespace})
        fields += own
        namespace.update(__slots__=own, __match_args__=fields, _fields=fields, _defaults=defaults)
        cls: Any = super().__new__(mcs, name, bases, namespace)
        if fields and "__init__" not in namespace:

            def first(self: Any, *args: Any, **kwargs: Any) -> None:
                # a sub-class without fields of its own shares this class's `__init__`
                _compile_init(cls)(self, *args, **kwargs)

            cls.__init__ = first
        return cls  # type: ignore[no-any-return]

    @property
    def __signature__(cls: Any) -> Any:
        """What `inspect.signature` and `help` show: the fields, their types as written, and their defaults."""
        from inspect import Parameter, Signature

        types: dict[str, str] = {}
        for base in reversed(cls.__mro__):
            types.update(vars(base).get("__annotations__", {}))
        return Signature(
            [
                Parameter(
                    f, Parameter.POSITIONAL_OR_KEYWORD, default=cls._defaults.get(f, Parameter.empty),
                    annotation=types.get(f, Parameter.empty),
                )
                for f in cls._fields
            ]
        )  # fmt: skip


_MOST_SHOWN = 6  # more elements than that are counted, not shown: a model has hundreds of tensors
_MOST_TEXT = 120


def _brief(value: Any) -> str:
    """A value in a few words: short ones whole, long ones by how many there are."""
    if isinstance(value, str):
        return repr(value) if len(value) <= _MOST_TEXT else f"{value[:_MOST_TEXT]!r}…"
    if hasattr(value, "_fields"):
        text = repr(value)
        return text if len(text) <= _MOST_TEXT else f"{type(value).__name__}(…)"
    if not isinstance(value, tuple | list) and not hasattr(value, "items"):
        return repr(value)
    text = _brief_elements(value) if len(value) <= _MOST_SHOWN else ""
    return text if 0 < len(text) <= _MOST_TEXT else f"<{len(value)}>"


def _brief_elements(value: Any) -> str:
    if hasattr(value, "items"):
        return f"{{{', '.join(f'{_brief(k)}: {_brief(v)}' for k, v in value.items())}}}"
    inside = ", ".join(map(_brief, value))
    return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' * (len(value) == 1)})"


def _refuse_hash(record: Any) -> None:
    """Raises TypeError that names the field which has no hash."""
    for field in record._fields:
        try:
            hash(getattr(record, field))
        except TypeError as error:
            name = f"{type(record).__name__}.{field}"
            raise TypeError(f"{name} has no hash, so neither has the record ({error})") from None


if TYPE_CHECKING:

    @dataclass_transform(frozen_default=True)
    class Record:
        """See the run-time class below; this one is what type checkers read."""

        _fields: tuple[str, ...]

        def replace(self, **changes: Any) -> Self: ...
        def as_dict(self) -> dict[str, Any]: ...
        def to_json(self) -> dict[str, Any]: ...

else:

    class Record(metaclass=_RecordType):
        """Base of every value that passes between stages: compares by value, cannot be changed."""

        def __setattr__(self, name, _value):
            raise AttributeError(f"{type(self).__name__}.{name} cannot be set: records are frozen")

        def __delattr__(self, name):
            self.__setattr__(name, None)

        def __eq__(self, other):
            if type(self) is not type(other):
                return NotImplemented
            return all(getattr(self, f) == getattr(other, f) for f in self._fields)

        def __hash__(self):
            try:
                return hash(tuple(getattr(self, f) for f in self._fields))
            except TypeError:
                _refuse_hash(self)
                raise

        def __repr__(self):
            return f"{type(self).__name__}({', '.join(f'{f}={_brief(getattr(self, f))}' for f in self._fields)})"

        def __reduce__(self):
            return type(self), tuple(getattr(self, f) for f in self._fields)

        def replace(self, **changes):
            """The same record with some fields changed."""
            return type(self)(**{f: changes.pop(f, getattr(self, f)) for f in self._fields}, **changes)

        def as_dict(self):
            """Field names to values, in order; nested records stay records."""
            return {f: getattr(self, f) for f in self._fields}

        def to_json(self):
            """Field names to values of JSON's types, however deep: `json.dumps` takes it as it is. Sizes are integers.

            Raises TypeError for a record that holds something else than values (a rule's function).
            """
            from inspector.jsonable import jsonable

            return jsonable(self)
