"""What a model is, in one vocabulary, whether GGUF keys or an HF config said it."""

from __future__ import annotations

from inspector.facts.records import ModelFacts, Prediction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.checkpoint import Checkpoint

__all__ = ["ModelFacts", "Prediction", "read_facts"]


def read_facts(checkpoint: Checkpoint) -> ModelFacts:
    """The facts of one model, whatever its format. Raises FactsError."""
    if checkpoint.format == "gguf":
        from inspector.facts.gguf import read_facts_gguf

        return read_facts_gguf(checkpoint)
    from inspector.facts.hf import read_facts_hf

    return read_facts_hf(checkpoint)
