"""The sizes that a transformers prefill is made of, read from a model's facts and its config."""

from __future__ import annotations

from inspector.architectures.hf.record import Activations, ModelType
from inspector.architectures.hf_lookup import find
from inspector.layers import CompressedCache, CrossCache, IndexCache, KVCache, LatentCache, StateCache, UnknownCache
from inspector.memory.engines.shared.kv_options import config_value
from inspector.memory.engines.transformers.peak import SCANNED, Shape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.facts import ModelFacts


_UNKNOWN = ModelType()


def _record(facts: ModelFacts) -> ModelType:
    """What is known of the model's type; where nothing is, what holds of most."""
    return find(facts.arch) or _UNKNOWN


def _rotary(facts: ModelFacts, head_dim: int) -> int:
    rope = config_value(facts, "qk_rope_head_dim")
    if isinstance(rope, int):
        return rope
    own = _record(facts).rotary
    if not own:
        return 0
    nested = config_value(facts, "rope_parameters")
    part = config_value(facts, "partial_rotary_factor", "rotary_pct", "rope_pct")
    part = nested.get("partial_rotary_factor", part) if hasattr(nested, "get") else part
    share = part if isinstance(part, (int, float)) else own
    return int(head_dim * share)


def _expert_width(facts: ModelFacts) -> int:
    """The width of one routed expert."""
    if _record(facts).plain_experts:
        return facts.d_ff or 0
    return facts.d_ff_expert or facts.d_ff or 0


def _head_dims(facts: ModelFacts, first: KVCache | None, latent: LatentCache | None) -> tuple[int | None, int | None]:
    """(elements of a query and key head, of a value head); of latents, those of the heads that they expand to."""
    if latent is None:
        head_dim = facts.head_dim_k or (first.head_dim_k if first else None)
        return head_dim, facts.head_dim_v or head_dim
    nope, v_dim = config_value(facts, "qk_nope_head_dim"), config_value(facts, "v_head_dim")
    head_dim = nope + latent.rope_dim if isinstance(nope, int) else None
    return head_dim, v_dim if isinstance(v_dim, int) else facts.head_dim_v or head_dim


def shape_of(facts: ModelFacts, *, n_seqs: int, n_tokens: int, elem: int, layer_cache: int) -> Shape | None:
    """The sizes of a prefill's tensors; None when the model does not say enough."""
    caches = [c for layer in facts.layers for c in layer.caches]
    kv = [c for c in caches if isinstance(c, KVCache)]
    latent = next((c for c in caches if isinstance(c, LatentCache)), None)
    dim_k, dim_v = _head_dims(facts, kv[0] if kv else None, latent)
    if not (facts.d_model and facts.n_heads and dim_k and dim_v and facts.vocab_size):
        return None
    moe = any(layer.ffn == "moe" for layer in facts.layers)
    windows = tuple(dict.fromkeys(c.window for c in kv)) or (None,)
    return Shape(
        n_seqs=n_seqs,
        n_tokens=n_tokens,
        elem=elem,
        d_model=facts.d_model,
        n_heads=facts.n_heads,
        n_kv_heads=max((c.n_kv_heads for c in kv), default=1),
        head_dim_k=dim_k,
        head_dim_v=dim_v,
        vocab=facts.vocab_size,
        d_ff=facts.d_ff or 4 * facts.d_model,
        d_expert=_expert_width(facts) if moe else 0,
        n_experts=(facts.n_experts or 0) if moe else 0,
        top_k=(facts.n_experts_used or 0) if moe else 0,
        rot=_rotary(facts, dim_k),
        n_ropes=len(windows) if _record(facts).two_rotaries else 1,
        windows=windows,
        n_sliding=sum(c.window is not None for c in kv),
        n_layers=len(facts.layers),
        latent_rank=latent.rank if latent else 0,
        nope=dim_k - latent.rope_dim if latent else 0,
        layer_cache=layer_cache,
    )


def why_unknown(facts: ModelFacts) -> str:
    """Why nothing can be said of this model's activations; empty when something can."""
    every = [c for layer in facts.layers for c in layer.caches]
    states = {c.kind for c in every if isinstance(c, StateCache)}
    if states & SCANNED:
        return f"the prefill of {', '.join(sorted(states))} layers depends on the kernels installed"
    if any(isinstance(c, UnknownCache) for c in every):
        return "a layer of unknown kind"
    if any(isinstance(c, (IndexCache, CompressedCache)) for c in every):
        return "the scores of sparse attention's indexer were not derived"
    if any(isinstance(c, CrossCache) for c in every):
        return "encoder and cross attention were not derived"
    return "" if _record(facts).activations_known else f"how {facts.arch} holds its tensors was not derived"


def rules_of(facts: ModelFacts) -> tuple[Activations, str]:
    """The model type's rules, or the nearest guess and words that say so."""
    own = _record(facts).activations
    rules = own or Activations(mlp=3.0 if facts.causal else 2.0)
    if config_value(facts, "final_logit_softcapping") is not None:
        rules = rules.replace(copies=2)
    if own:
        return rules, ""
    kind = "a gated pre-norm decoder" if facts.causal else "a plain encoder"
    return rules, f"; {facts.arch} was not measured: read as {kind}; blind readings like this were off by up to half"
