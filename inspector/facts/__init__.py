"""What a model is, in one vocabulary, whether GGUF keys or an HF config said it."""

from __future__ import annotations

from inspector.facts.records import ModelFacts, Prediction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.checkpoint import Checkpoint

__all__ = ["ModelFacts", "Prediction", "as_drafting", "read_facts"]


def read_facts(checkpoint: Checkpoint) -> ModelFacts:
    """The facts of one model, whatever its format. Raises FactsError."""
    if checkpoint.format == "gguf":
        from inspector.facts.gguf import read_facts_gguf

        return read_facts_gguf(checkpoint)
    from inspector.facts.hf import read_facts_hf

    return read_facts_hf(checkpoint)


def as_drafting(checkpoint: Checkpoint, method: str) -> Checkpoint:
    """The same checkpoint read as a head that drafts by `method`, whatever class its config names.

    vLLM 0.33.0 transformers_utils/configs/eagle.py: eagle, eagle3 and dflash go before the name.
    """
    from inspector.architectures.hf_config import draft_type

    config = checkpoint.config
    if config is None or not hasattr(config, "get"):
        return checkpoint
    named = config.get("architectures")
    first = str(named[0]) if isinstance(named, list | tuple) and named else ""
    if draft_type(first):
        return checkpoint
    classes = {"eagle": "Eagle", "eagle3": "Eagle3", "dflash": "DFlashDraftModel", "dspark": "DSparkDraftModel"}
    renamed = classes[method] + ("" if method.startswith("d") else first or "LlamaForCausalLM")
    documents = {**checkpoint.documents, "config.json": {**config, "architectures": [renamed]}}
    return checkpoint.replace(documents=documents)
