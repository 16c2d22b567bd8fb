"""Speculation in vLLM 0.33.0: the model's own further layers, a drafting head or a second model, with their caches.

config/speculative.py (methods, defaults, refusals), v1/worker/gpu/spec_decode/eagle/utils.py (what is shared),
v1/kv_cache_interface.py MambaSpec.num_speculative_blocks, layers/mamba/mamba_utils.py.
"""

from __future__ import annotations

from inspector.errors import WorkloadError
from inspector.memory.engines.shared.hf_weights import ahead_weights, vllm_weights, without_file
from inspector.memory.engines.vllm.parallel import check
from inspector.memory.estimate import Line
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from inspector.facts import ModelFacts
    from inspector.layers import Layer
    from inspector.memory.engines.vllm.parallel import Split

MAX_JSON: Final = 100_000  # characters of --speculative-config; people type a few dozen
WITHOUT_WEIGHTS: Final = frozenset({"ngram", "[ngram]", "ngram_gpu", "suffix"})
SHARED: Final = ("eagle", "eagle3", "dflash", "dspark")  # heads, which read the model's own embedding
METHODS: Final = ("mtp", "draft_model", *SHARED, *sorted(WITHOUT_WEIGHTS - {"[ngram]"}))


class Speculation(Record):
    """What was asked for. `tokens`: drafted ahead of each step; `model`: what drafts, as it was named ("": the model
    itself, or none); `draft_tp`: ranks that it is split over (0: as the model)."""

    method: str = ""
    tokens: int = 0
    model: str = ""
    draft_tp: int = 0


NONE: Final = Speculation()


def asked(options: Mapping[str, Any], draft: ModelFacts | None) -> Speculation:
    """The speculation of a workload's options. Raises WorkloadError for what is no configuration of vLLM's."""
    given = _mapping(options.get("speculative_config"))
    if not given:
        tokens = options.get("mtp_tokens") or 0
        return Speculation("mtp", tokens) if tokens else NONE if draft is None else Speculation("draft_model", 1)
    model, tokens = given.get("model"), given.get("num_speculative_tokens")
    if tokens is not None and (type(tokens) is not int or not 0 < tokens < 1000):
        raise WorkloadError(f"num_speculative_tokens is {tokens!r:.40}; it must be a whole number above 0")
    tp = given.get("draft_tensor_parallel_size") or 0
    if type(tp) is not int or tp < 0:
        raise WorkloadError(f"draft_tensor_parallel_size is {tp!r:.40}; it must be 1 or the model's own")
    name = model if isinstance(model, str) else ""
    return Speculation(_method(given.get("method"), name), tokens or 0, name, tp)


def _mapping(value: Any) -> Mapping[str, Any]:
    """The configuration as a mapping; it is typed as JSON."""
    import json

    if value is None or hasattr(value, "get"):
        return value or {}
    if not isinstance(value, str) or len(value) > MAX_JSON:
        raise WorkloadError("--speculative-config is no JSON object")
    try:
        found = json.loads(value)
    except (ValueError, RecursionError) as e:
        raise WorkloadError("--speculative-config is no JSON object", hint='{"method": "mtp"}') from e
    if not isinstance(found, dict):
        raise WorkloadError("--speculative-config is no JSON object", hint='{"method": "mtp"}')
    return found


def _method(named: Any, model: str) -> str:
    """The method: as it is named, else by the name of what drafts, as vLLM goes by it."""
    method = str(named or "").strip("[]")
    if method.endswith("_mtp"):
        return "mtp"
    if method and method not in METHODS:
        raise WorkloadError(f"no rule for speculation by {method[:40]!r}", hint=f"one of {', '.join(METHODS)}")
    if method and method != "draft_model":
        return method
    lowered = model.lower()
    marks = {"eagle-": "eagle", "eagle3": "eagle3", "dflash": "dflash", "dspark": "dspark", "ngram": "ngram"}
    found = next((kind for mark, kind in marks.items() if mark in lowered), "draft_model")
    if not model:
        raise WorkloadError("--speculative-config names neither a method nor a model", hint='{"method": "mtp"}')
    return found


def with_prediction(
    facts: ModelFacts, spec: Speculation, draft: ModelFacts | None, split: Split
) -> tuple[ModelFacts, Speculation]:
    """The model with the layers that draft behind its own, and the tokens that are drafted, decided.

    Raises WorkloadError where vLLM would refuse, or where what drafts was not given.
    """
    if not spec.method or spec.method in WITHOUT_WEIGHTS:
        return facts, spec
    first = len(facts.layers)
    if spec.method == "mtp" and not spec.model:
        return facts.replace(layers=(*facts.layers, *_own(facts, first))), _counted(facts, spec)
    if draft is None:
        raise WorkloadError(f"{spec.method} needs a model that drafts", hint="--draft TARGET, or its model key")
    if spec.draft_tp not in (0, split.tensor):
        raise WorkloadError(
            "no rule for a draft on fewer ranks than the model", hint="leave draft_tensor_parallel_size"
        )
    check(draft, split.replace(pipeline=1, data=1, experts=False))
    more = tuple(x.replace(index=first + i) for i, x in enumerate(draft.layers))
    return facts.replace(layers=(*facts.layers, *more)), spec.replace(tokens=spec.tokens or 1)


def _own(facts: ModelFacts, first: int) -> tuple[Layer, ...]:
    more = facts.ahead_layers or facts.nextn_layers
    if not more:
        raise WorkloadError(
            "the model has no layers that predict ahead", hint="leave --mtp-tokens and --speculative-config out"
        )
    return tuple(x.replace(index=first + i) for i, x in enumerate(more))


def _counted(facts: ModelFacts, spec: Speculation) -> Speculation:
    """vLLM drafts as many tokens as there are layers, or a multiple of them."""
    n = facts.n_layers_nextn or 1
    if spec.tokens > n and spec.tokens % n:
        raise WorkloadError(f"vLLM drafts a multiple of {n} tokens with {n} layers that predict ahead")
    return spec.replace(tokens=spec.tokens or n)


def ahead_lines(
    facts: ModelFacts, spec: Speculation, draft: ModelFacts | None, *, split: Split, dtype: str, device: str
) -> list[Line]:
    """The weights of what drafts, on one rank of the last stage; none where they are not known."""
    if draft is not None and spec.method:
        found = vllm_weights(draft, dtype, tp=split.tensor)
        if not draft.tensors:
            loaded = without_file(draft, found, dtype, tp=split.tensor)
            return [Line("weights", loaded[0], "modelled", loaded[1], device, "draft")] if loaded else []
        return [Line("weights", found.nbytes, "modelled", "; ".join(found.how), device, "draft")]
    if spec.method != "mtp":
        return []
    own = ahead_weights(facts, dtype, tp=split.tensor, slices=split.tensor * split.data, alone=split.pipeline > 1)
    return [] if own is None else [Line("weights", own.nbytes, "modelled", "; ".join(own.how), device, "mtp")]


def unknown_weights(facts: ModelFacts, spec: Speculation, draft: ModelFacts | None) -> tuple[str, ...]:
    """Weights of what drafts that no line counts."""
    if not spec.method or spec.method in WITHOUT_WEIGHTS:
        return ()
    if draft is not None:
        known = bool(draft.tensors or draft.promised or draft.stated_nbytes)
        return () if known else ("weights of what drafts",)
    return () if ahead_weights(facts, "bfloat16", tp=1) is not None else ("weights of the layers that predict ahead",)
