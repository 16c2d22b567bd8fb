"""Typed, bounded access to GGUF metadata: keys are looked up exactly, with the architecture as prefix."""

from __future__ import annotations

from inspector.errors import FactsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

# No model comes near it, and every loop over layers stays short (llama.cpp itself stops at 512: LLAMA_MAX_LAYERS).
MAX_LAYERS: Final = 10_000
_MAX_U32: Final = (1 << 32) - 1


class Keys:
    """The keys of one architecture. `origin` collects which key each fact was read from.

    All readers raise FactsError, naming the key, for a value of the wrong type, size or length.
    """

    __slots__ = ("arch", "metadata", "origin")

    def __init__(self, arch: str, metadata: Mapping[str, Any]) -> None:
        self.arch = arch
        self.metadata = metadata
        self.origin: dict[str, str] = {}

    def _get(self, name: str, fact: str) -> tuple[str, Any]:
        key = f"{self.arch}.{name}"
        value = self.metadata.get(key)
        if fact and value is not None:
            self.origin[fact] = key
        return key, value

    def integer(self, name: str, fact: str = "") -> int | None:
        """A count, or None when the key is absent; an array is refused."""
        key, value = self._get(name, fact)
        return None if value is None else _count(key, value)

    def truth(self, name: str, fact: str = "") -> bool | None:
        """A truth value, or None when the key is absent."""
        key, value = self._get(name, fact)
        if value is not None and not isinstance(value, bool):
            raise FactsError(f"{key} is {_words(value)}, not a truth value")
        return value

    def per_layer(self, name: str, n_layers: int, fact: str = "") -> tuple[int, ...] | None:
        """One count a layer: an array of exactly `n_layers`, or one number for all (llama-model-loader.cpp)."""
        key, value = self._get(name, fact)
        if value is None:
            return None
        if not _is_array(value):
            return (_count(key, value),) * n_layers
        elements = _elements(key, value)
        if len(elements) != n_layers:
            raise FactsError(f"{key} has {len(elements):,} entries for {n_layers:,} layers")
        return tuple(_count(key, element) for element in elements)

    def flags(self, name: str, n_layers: int) -> tuple[bool, ...] | None:
        """An array of truth values, one a layer; what is missing at its end is false. None: absent, or not an array."""
        key, value = self._get(name, "")
        if value is None or not _is_array(value):
            return None
        elements = _elements(key, value)
        found = tuple(bool(e) if isinstance(e, bool) else _count(key, e) != 0 for e in elements[:n_layers])
        return found + (False,) * (n_layers - len(found))

    def per_layer_flags(self, name: str, n_layers: int) -> tuple[bool, ...] | None:
        """One truth value a layer: an array of exactly `n_layers`, or one for all; None when the key is absent."""
        key, value = self._get(name, "")
        if value is None:
            return None
        if not _is_array(value):
            return (bool(value) if isinstance(value, bool) else _count(key, value) != 0,) * n_layers
        if array_length(value) != n_layers:
            raise FactsError(f"{key} has {array_length(value):,} entries for {n_layers:,} layers")
        return self.flags(name, n_layers)

    def length(self, name: str) -> int | None:
        """How many elements an array has, or None when the key is absent or not an array."""
        value = self.metadata.get(f"{self.arch}.{name}")
        return array_length(value) if value is not None and _is_array(value) else None

    def array(self, name: str) -> tuple[Any, ...] | None:
        """An array's elements as they are, or None."""
        key, value = self._get(name, "")
        return _elements(key, value) if value is not None and _is_array(value) else None


def _is_array(value: object) -> bool:
    return isinstance(value, (tuple, list)) or hasattr(value, "elem")


def array_length(value: Any) -> int:
    """Elements of an array, kept or only counted."""
    return len(value) if isinstance(value, (tuple, list)) else int(value.length)


def _elements(key: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, (tuple, list)):
        return tuple(value)
    raise FactsError(f"{key} has {value.length:,} entries: too many for one a layer")


def _count(key: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise FactsError(f"{key} is {_words(value)}, not a count")
    if not 0 <= value <= _MAX_U32:
        raise FactsError(f"{key} is {value}, which is no count")
    return value


def _words(value: object) -> str:
    if isinstance(value, str):
        return "text"
    return "an array" if _is_array(value) else f"a {type(value).__name__}"
