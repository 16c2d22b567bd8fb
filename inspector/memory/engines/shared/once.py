"""Work that many settings of one model share, done once for the last models that were asked about."""

from __future__ import annotations

from functools import lru_cache, wraps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Concatenate, Final, ParamSpec, TypeVar

    from inspector.facts import ModelFacts

    P = ParamSpec("P")
    T = TypeVar("T")

_MODELS: Final = 2  # a model and what drafts for it


class _Same:
    """Facts by their identity: they hold thousands of tensors, which take longer to compare than to add up."""

    __slots__ = ("facts",)

    def __init__(self, facts: ModelFacts) -> None:
        self.facts = facts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.facts is self.facts

    def __hash__(self) -> int:
        return id(self.facts)


@lru_cache(maxsize=_MODELS)
def _known(_model: _Same) -> dict[Any, Any]:
    return {}


def once_a_model(function: Callable[Concatenate[ModelFacts, P], T]) -> Callable[Concatenate[ModelFacts, P], T]:
    """A pure function of facts and hashable arguments whose results, never changed, are kept as long as the model is
    one of the last."""

    @wraps(function)
    def kept(facts: ModelFacts, /, *args: P.args, **kwargs: P.kwargs) -> T:
        known, key = _known(_Same(facts)), (function, args, tuple(sorted(kwargs.items())))
        if key not in known:
            known[key] = function(facts, *args, **kwargs)
        found: T = known[key]
        return found

    return kept
