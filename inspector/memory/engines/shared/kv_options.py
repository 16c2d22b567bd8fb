"""What people may ask of a KV cache in any engine: a precision, fewer tokens, another window, another place.

Each choice says in words what it did, so that a figure can always be traced.
"""

from __future__ import annotations

from inspector.errors import WorkloadError
from inspector.layers import KVCache, LatentCache
from inspector.record import Record
from inspector.units import parse_tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from inspector.facts import ModelFacts
    from inspector.layers import Cache
    from inspector.memory.engines.protocol import Engine
    from inspector.memory.estimate import Workload


class Keep(Record):
    """Token pruning: the first `first` tokens (attention sinks) and the last `last` stay in the cache."""

    first: int
    last: int

    def tokens(self, n_tokens: int) -> int:
        """How many of `n_tokens` are kept."""
        return min(n_tokens, self.first + self.last)


def parse_keep(text: str) -> Keep:
    """`4+1020`: the first 4 and the last 1,020 tokens. Raises WorkloadError."""
    first, plus, last = text.partition("+")
    if not plus:
        raise WorkloadError(f"not a number of tokens to keep: {text!r}", hint="write first+last, e.g. 4+1020")
    return Keep(first=parse_tokens(first), last=parse_tokens(last))


def options_of(workload: Workload) -> Mapping[str, Any]:
    """The workload's extras; empty when there are none."""
    return workload.options or {}


def with_settings(workload: Workload, settings: Mapping[str, Any], engine: Engine) -> Workload:
    """The workload with an engine's own settings among its extras. Raises WorkloadError for a name it does not know."""
    engine.check((*settings, *options_of(workload)))
    given = {name: value for name, value in settings.items() if value is not None}
    return workload.replace(options={**options_of(workload), **given}) if given else workload


def whole_option(workload: Workload, name: str, default: int) -> int:
    """An extra that must be a whole number above 0. Raises WorkloadError."""
    value = options_of(workload).get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise WorkloadError(f"{name} is {value!r}; it must be a whole number above 0")
    return value


def keep_of(workload: Workload) -> Keep | None:
    """What `--kv-keep` asked for, as `first+last` or a pair. Raises WorkloadError."""
    value = options_of(workload).get("kv_keep")
    keep = parse_keep(value) if isinstance(value, str) else Keep(*value) if isinstance(value, tuple) else value
    if keep is not None and (not isinstance(keep, Keep) or min(keep.first, keep.last) < 0 or not keep.tokens(1)):
        raise WorkloadError("at least one token must be kept", hint="write first+last, e.g. 4+1020")
    return keep


def config_value(facts: ModelFacts, *names: str) -> Any:
    """The first of these config keys that is present and not null, in the text model's part before the outer one."""
    keys: Mapping[str, Any] = facts.keys or {}
    nested = [keys[n] for n in ("text_config", "llm_config", "language_config") if hasattr(keys.get(n), "get")]
    for source in (*nested, keys):
        for name in names:
            if source.get(name) is not None:
                return source[name]
    return None


def with_options(cache: Cache, workload: Workload) -> tuple[Cache, str]:
    """A cache under `window` (a sliding window over every attention layer), and words for what changed.

    An override widens nothing: the smaller of the model's window and the asked one holds.
    """
    window = options_of(workload).get("window")
    if window is None or not isinstance(cache, (KVCache, LatentCache)):
        return cache, ""
    if not isinstance(window, int) or window < 1:
        raise WorkloadError(f"a sliding window of {window!r} tokens")
    if cache.window is not None and cache.window <= window:
        return cache, ""
    return cache.replace(window=window), f"sliding window {window:,} tokens asked for"
