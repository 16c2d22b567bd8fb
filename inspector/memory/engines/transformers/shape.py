"""The sizes that a transformers prefill is made of, read from a model's facts and its config."""

from __future__ import annotations

from inspector.architectures.hf.record import Activations, ModelType
from inspector.architectures.hf_lookup import find
from inspector.layers import CompressedCache, CrossCache, IndexCache, KVCache, LatentCache, StateCache, UnknownCache
from inspector.memory.engines.shared.kv_options import config_value
from inspector.memory.engines.transformers.peak import SCANNED, Shape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

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
    states = [c for c in caches if isinstance(c, StateCache)]
    if states and len(states) == len(caches) and facts.d_model and facts.vocab_size:
        inner = max(c.conv_channels for c in states)  # nothing attends: one mixer is all of a layer
        return Shape(
            n_seqs=n_seqs, n_tokens=n_tokens, elem=elem, d_model=facts.d_model, n_heads=0, n_kv_heads=0, head_dim_k=0,
            head_dim_v=0, vocab=facts.vocab_size, d_ff=inner, n_layers=len(facts.layers), layer_cache=layer_cache,
        )  # fmt: skip
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
    scanned = states & SCANNED
    if len(scanned) > 1 or not scanned <= SPREADS.keys():
        return f"the prefill of {', '.join(sorted(scanned))} layers depends on the kernels installed"
    if any(isinstance(c, UnknownCache) for c in every):
        return "a layer of unknown kind"
    if any(isinstance(c, (IndexCache, CompressedCache)) for c in every):
        return "the scores of sparse attention's indexer were not derived"
    if any(isinstance(c, CrossCache) for c in every):
        return "encoder and cross attention were not derived"
    return ""


# What was measured over what a reading without a type's own rules gives, least and most, under a fused kernel and with
# eager attention (fixtures/measured_transformers.json.gz, transformers.jsonl.gz: a hundred types). By what the layers
# are: dense, routed experts, or the state that they scan, measured in plain torch; where kernels are installed nothing
# of the scan is written down, and the least is that of other layers.
SPREADS: Final = {
    "dense": ((0.71, 2.02), (0.43, 2.0)),
    "experts": ((0.53, 7.47), (0.06, 4.63)),
    "gdn": ((0.53, 2.62), (0.43, 1.19)),
    "mamba1": ((0.53, 1.09), (0.43, 1.09)),
    "mamba2": ((0.53, 10.12), (0.43, 9.91)),
}


def kind_of(facts: ModelFacts) -> str:
    """What a model's layers are, as a key of SPREADS."""
    states = {c.kind for layer in facts.layers for c in layer.caches if isinstance(c, StateCache)} & SCANNED
    return next(iter(states), "experts" if any(layer.ffn == "moe" for layer in facts.layers) else "dense")


def rules_of(facts: ModelFacts) -> tuple[Activations, str]:
    """The model type's rules; or those of most, and words that say so."""
    own = _record(facts).activations
    known = own is not None and kind_of(facts) in {"dense", "experts"}
    rules = own or Activations(mlp=3.0 if facts.causal else 2.0)
    if config_value(facts, "final_logit_softcapping") is not None:
        rules = rules.replace(copies=2)
    if known:
        return rules, ""
    kind = "a gated pre-norm decoder" if facts.causal else "a plain encoder"
    seen = own is not None or not _record(facts).activations_known or kind_of(facts) not in {"dense", "experts"}
    return rules, f"; {facts.arch} {'is like no rule' if seen else 'was not measured'}: read as {kind}"


def scan_nbytes(facts: ModelFacts, rows: int) -> int:
    """What a scan of Mamba's first kind writes down: three float32 arrays of every state at every token.

    discrete_A, discrete_B and deltaB_u of slow_forward in modeling_mamba.py, falcon_mamba and jamba. 0 for others.
    """
    caches = [c for layer in facts.layers for c in layer.caches if isinstance(c, StateCache) and c.kind == "mamba1"]
    return 3 * 4 * rows * max((c.state_elems for c in caches), default=0)


def spread_of(facts: ModelFacts, attn: str) -> tuple[float, float]:
    """The least and the most that such a reading was off by, as factors. `attn`: flash, sdpa or eager."""
    return SPREADS[kind_of(facts)][attn == "eager"]
