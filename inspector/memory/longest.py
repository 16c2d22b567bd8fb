"""The longest context that the same settings hold on the same devices."""

from __future__ import annotations

from inspector.errors import WorkloadError
from inspector.memory.engines import engine_of
from inspector.memory.fit.search import HOPELESS, last_fit
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Estimate


class Longest(Record):
    """`n_ctx`: the longest context that fits (None: none does); `capped`: the model was trained for no more."""

    n_ctx: int | None
    capped: bool = False


def longest_context(facts: ModelFacts, result: Estimate, run: Callable[[int], Estimate]) -> Longest | None:
    """With everything else as it is in `result`; `run` gives the estimate at a context.

    None where there is nothing to say: no device of a known size, a part that is not known, or a model that keeps
    nothing from token to token. Looks no further than the model was trained for, or than what was asked; where that
    is more and fits, there is nothing to say either.
    """
    asked = result.effective.get("n_ctx") or result.effective.get("max_model_len")
    if result.fits is None or not facts.causal or not facts.n_ctx_train or not isinstance(asked, int):
        return None
    step = engine_of(result.engine).context_step
    trained = facts.n_ctx_train // step * step
    if result.fits and asked >= trained:
        return Longest(asked, capped=True) if asked == trained else None
    cap = max(trained, asked)
    low = asked // step if result.fits else 1

    def excess(n: int) -> int:
        return _excess(run, n * step)

    last = last_fit(low, cap // step, excess)
    return Longest(None) if last is None else Longest(last * step, capped=last * step == trained == cap)


def _excess(run: Callable[[int], Estimate], n_ctx: int) -> int:
    """Bytes over what the fullest device has."""
    try:
        spares = [d.spare for d in run(n_ctx).devices if d.spare is not None]
    except WorkloadError:
        return HOPELESS
    return -min(spares, default=0)
