"""The answer of `memory` and `calc` on stdout: at once, and then what takes a moment longer."""

from __future__ import annotations

from inspector.cli import outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Estimate, Workload
    from inspector.memory.longest import Longest


def write_answer(
    target: str, facts: ModelFacts, result: Estimate, *, run: Callable[[Workload], Estimate] | None = None,
    verbose: bool = False,
) -> None:  # fmt: skip
    """Prints an estimate; `run` makes others like it, to find the longest context, where somebody looks or asks."""
    from inspector.report.memory_text import answer_lines, rest_lines

    look = outcome.look()
    outcome.write(answer_lines(target, result, look=look, verbose=verbose), painted=True)
    wanted = run is not None and (look.bars or verbose)
    longest = _longest(facts, result, run) if run is not None and wanted else None
    rest = rest_lines(facts, result, look=look, verbose=verbose, longest=longest)
    if rest:
        outcome.write(rest, painted=True)


def _longest(facts: ModelFacts, result: Estimate, run: Callable[[Workload], Estimate]) -> Longest | None:
    from inspector.memory.longest import longest_context

    return longest_context(facts, result, lambda n: run(result.workload.replace(n_ctx=n)))
