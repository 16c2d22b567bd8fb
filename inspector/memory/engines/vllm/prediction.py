"""Multi-token prediction in vLLM 0.33.0: the model's own extra layers draft tokens, with caches of their own.

v1/spec_decode/ (method mtp), v1/kv_cache_interface.py MambaSpec.num_speculative_blocks, layers/mamba/mamba_utils.py.
"""

from __future__ import annotations

from inspector.errors import WorkloadError
from inspector.layers import KVCache, LatentCache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from inspector.facts import ModelFacts

_DECIDED = "multi-token prediction"


def with_prediction(facts: ModelFacts, options: Mapping[str, Any]) -> ModelFacts:
    """The model with its prediction layers, each an attention layer like the last one; without `mtp_tokens`, itself.

    Raises WorkloadError for a model without such layers.
    """
    if not options.get("mtp_tokens"):
        return facts
    attends = [x for x in facts.layers if any(isinstance(c, KVCache | LatentCache) for c in x.caches)]
    if not facts.n_layers_nextn or not attends:
        raise WorkloadError("the model has no layers that predict ahead", hint="leave --mtp-tokens out")
    first = len(facts.layers)
    more = tuple(attends[-1].replace(index=first + i, decided_by=_DECIDED) for i in range(facts.n_layers_nextn))
    return facts.replace(layers=(*facts.layers, *more))


def predicts(facts: ModelFacts) -> bool:
    """Whether prediction layers run."""
    return any(layer.decided_by == _DECIDED for layer in facts.layers)
