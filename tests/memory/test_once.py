"""What settings of one model share is worked out once, and for no other model."""

from __future__ import annotations

import inspector
from inspector.memory.engines.shared.once import once_a_model


def test_results_are_kept_by_the_very_model_and_by_what_was_asked(root):
    asked = []

    @once_a_model
    def work(facts, n, *, tp):
        asked.append((facts.arch, n, tp))
        return len(asked)

    config = str(root / "fixtures" / "configs" / "llama-3.2-1b.json")
    a = inspector.read_facts(inspector.inspect(config))
    b = a.replace(arch="b")
    assert [work(a, 1, tp=1), work(a, 1, tp=1), work(a, 1, tp=2), work(a, 2, tp=1)] == [1, 1, 2, 3]
    assert work(b, 1, tp=1) == 4
    assert work(a.replace(arch="c"), 1, tp=1) == 5, "equal but for a name"
    assert asked[-2:] == [("b", 1, 1), ("c", 1, 1)]
