"""One tower's config, and the outer one it hangs in, read by count: the file's word, else its class's default."""

from __future__ import annotations

from inspector.architectures.hf_config import MAX_INT, MAX_LAYERS
from inspector.errors import LimitExceeded, MissingKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from inspector.architectures.hf_config import HfConfig


class Part:
    """A nested config with the defaults of its configuration class (transformers 5.24.0)."""

    def __init__(self, name: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        self.name, self.given, self.defaults = name, given, defaults

    def get(self, *keys: str) -> Any:
        """The first of these keys that the file has, else the class's default under the first; None for neither."""
        found = next((self.given[k] for k in keys if self.given.get(k) is not None), None)
        return self.defaults.get(keys[0]) if found is None else found

    def n(self, *keys: str) -> int:
        """A whole number, 1 side where both of an image are given. Raises MissingKey."""
        value = self.get(*keys)
        if isinstance(value, list | tuple) and value and len(set(map(str, value))) == 1:
            value = value[0]
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_INT:
            raise MissingKey(f"{self.name} does not say {keys[0]}")
        return value

    def depth(self, *keys: str) -> int:
        """A count of layers. Raises MissingKey, LimitExceeded."""
        n = self.n(*keys)
        if n > MAX_LAYERS:
            raise LimitExceeded(f"{self.name} claims {n:,} layers")
        return n

    def real(self, key: str) -> float:
        """A number. Raises MissingKey."""
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < MAX_INT:
            raise MissingKey(f"{self.name} does not say {key}")
        return float(value)

    def flag(self, key: str) -> bool:
        """A truth value; what nothing says is not so."""
        return bool(self.get(key))

    def ints(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers, empty where there is none."""
        value = self.get(key)
        return tuple(v for v in value if isinstance(v, int)) if isinstance(value, list | tuple) else ()


class Wrapper(Part):
    """The outer config: what joins towers to the language model, whose width is `hidden`."""

    def __init__(self, k: HfConfig, defaults: Mapping[str, Any]) -> None:
        outer = k.outer
        if hasattr(outer.get("thinker_config"), "get"):  # omni models (configuration_qwen2_5_omni.py)
            outer = outer["thinker_config"]
        super().__init__(k.outer_type or "config.json", outer, defaults)
        self.text = k

    @property
    def hidden(self) -> int:
        """The width that the projector has to reach. Raises MissingKey."""
        return self.text.need("hidden_size")

    def part(self, key: str, defaults: Mapping[str, Any]) -> Part:
        """A tower's config; an absent one is all defaults, as the class has it."""
        given: Any = self.given.get(key)
        return Part(key, given if hasattr(given, "get") else {}, defaults)

    def has(self, key: str) -> bool:
        """Whether the file has such a part, and not null."""
        return hasattr(self.given.get(key), "get")
