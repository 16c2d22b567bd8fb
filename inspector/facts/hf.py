"""config.json, and tensors where there are any → `ModelFacts`, by the rules of transformers 5.24.0."""

from __future__ import annotations

from inspector.architectures.hf_ahead import may_predict, n_ahead, read_ahead
from inspector.architectures.hf_config import HfConfig
from inspector.architectures.hf_experts import experts
from inspector.architectures.hf_layers import is_encoder, read_layers, row_of
from inspector.architectures.hf_lookup import find
from inspector.errors import FactsError
from inspector.facts.records import ModelFacts
from inspector.layers import KVCache, LatentCache, Layer
from inspector.quantization.packed import logical_tensors
from inspector.quantization.packed_config import quantization_config, scheme_label
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Final

    from inspector.checkpoint import Checkpoint
    from inspector.facts.promised import Promise
    from inspector.quantization.packed import LogicalTensor
    from inspector.quantization.promised import PromisedTensor

# Names of routed experts' tensors: per-expert modules and v5's fused ones alike.
_EXPERTS: Final = (".experts.", "block_sparse_moe.input_linear.", "block_sparse_moe.output_linear.")
# A buffer for transformers, and no parameter, but in ERNIE (modeling_deepseek_v3.py, modeling_ernie4_5_moe.py).
_BUFFERS: Final = ("e_score_correction_bias",)
_HEADS: Final = ("lm_head.weight", "embed_out.weight", "language_model.lm_head.weight", "model.lm_head.weight")
_RENAMED: Final = {
    "n_layers": "num_hidden_layers",
    "d_model": "hidden_size",
    "d_ff": "intermediate_size",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "head_dim_k": "head_dim",
    "n_ctx_train": "max_position_embeddings",
    "n_experts": "num_experts",
    "n_experts_used": "num_experts_per_tok",
    "d_ff_expert": "moe_intermediate_size",
    "window": "sliding_window",
}


def read_facts_hf(checkpoint: Checkpoint) -> ModelFacts:
    """The facts of a safetensors model, or of a config.json alone. A fact that nothing states is None.

    Without a config.json only what the tensors say is known. Raises FactsError where config.json is no mapping, and
    LimitExceeded where it claims an absurd number of layers.
    """
    config = checkpoint.config
    if config is None:
        return _without_config(checkpoint)
    if not isinstance(config, dict) and not hasattr(config, "keys"):
        raise FactsError("config.json does not hold a mapping")
    k = HfConfig(config)
    layers = _layers(k)
    n_experts, used = experts(k)
    if n_experts is None and (k.count("n_shared_experts") or 0) > 0:
        k.note("shared experts without routed ones: taken as part of every layer")
    params = _params(checkpoint, k, n_experts, used)
    heads = _heads(k, layers)
    nextn = n_ahead(k)
    ahead_layers, ahead_promised = _ahead_of(checkpoint, k, layers)
    return ModelFacts(
        arch=k.model_type or "unknown",
        format=checkpoint.format,
        n_params=params.total,
        n_params_active=params.active,
        n_layers=len(layers) or None,
        d_model=k.count("hidden_size"),
        d_ff=_d_ff(k),
        n_heads=heads.n_heads,
        n_kv_heads=heads.n_kv_heads,
        head_dim_k=heads.dim_k,
        head_dim_v=heads.dim_v,
        vocab_size=k.count("vocab_size"),
        n_ctx_train=k.count("max_position_embeddings"),
        layers=layers,
        origin=_origin(k, params.origin),
        n_layers_nextn=nextn,
        n_experts=n_experts,
        n_experts_used=used,
        d_ff_expert=_d_ff_expert(k, n_experts),
        window=_window(layers),
        tied_embeddings=k.tied,
        causal=not is_encoder(k),
        dtype=_dtype(k),
        quantization=scheme_label(quantization_config(checkpoint)),
        generic=row_of(k) is None,
        notes=_notes(k, params.notes, nextn),
        tensors=checkpoint.tensors,
        keys={**k.outer, **k.inner} if k.prefix else k.inner,
        promised=params.promised,
        promised_nbytes=sum(t.nbytes * t.copies for t in params.promised) or None,
        n_params_text=params.text,
        uncounted=params.unknown,
        outer_type=k.outer_type if k.prefix else "",
        stated_nbytes=None if checkpoint.files else checkpoint.stated_nbytes,
        ahead_layers=ahead_layers,
        ahead_promised=ahead_promised,
    )


class _Heads(Record):
    """Heads of the model in one figure each: those of the first layer that has any."""

    n_heads: int | None
    n_kv_heads: int | None = None
    dim_k: int | None = None
    dim_v: int | None = None


def _heads(k: HfConfig, layers: tuple[Layer, ...]) -> _Heads:
    """Of keys and values where a layer keeps them, else of latents, else those of an encoder, which keeps nothing."""
    n = next((x.n_heads for x in layers if x.n_heads), None if layers else k.n_heads)
    caches = [c for x in layers for c in x.caches]
    for c in caches:
        if isinstance(c, KVCache):
            return _Heads(n, c.n_kv_heads, c.head_dim_k, c.head_dim_v)
    for c in caches:
        if isinstance(c, LatentCache):
            return _Heads(n, 1, c.width, c.rank)
    return _Heads(n, k.n_kv_heads, k.head_dim, k.head_dim) if is_encoder(k) else _Heads(n)


def _window(layers: tuple[Layer, ...]) -> int | None:
    """The first window that a layer looks through."""
    kept = (c for x in layers for c in x.caches if isinstance(c, KVCache | LatentCache))
    return next((c.window for c in kept if c.window), None)


class _Params:
    """Counts on their way into the facts."""

    def __init__(
        self,
        total: int | None,
        active: int | None,
        origin: str,
        notes: tuple[str, ...] = (),
        promise: Promise | None = None,
    ) -> None:
        self.total, self.active, self.origin, self.notes = total, active, origin, notes
        self.promised = promise.tensors if promise else ()
        self.text = promise.n_text if promise else None
        self.unknown = promise.unknown if promise else ()


def _layers(k: HfConfig) -> tuple[Layer, ...]:
    if not k.has("num_hidden_layers") and not k.defaults and not k.has("layer_types"):
        k.note("config.json does not say how many layers there are")
        return ()
    try:
        return read_layers(k)
    except FactsError as e:
        k.note(str(e))
        return ()


def _origin(k: HfConfig, params: str) -> dict[str, str]:
    """Facts to the keys they came from, under the facts' own names."""
    origin = {fact: k.origin[key] for fact, key in _RENAMED.items() if key in k.origin}
    origin.update({key: words for key, words in k.origin.items() if key not in _RENAMED.values()})
    origin["arch"] = f"{k.prefix}model_type" if k.inner.get("model_type") else "model_type"
    if params:
        origin["n_params"] = params
    return origin


def _d_ff(k: HfConfig) -> int | None:
    """The width of a dense MLP: by the model type's rule, by the key, or as a multiple of the hidden width."""
    record = find(k.model_type)
    found = record.d_ff(k) if record and record.d_ff else k.count("intermediate_size")
    hidden = k.count("hidden_size")
    if found is None and hidden and record and record.ffn_multiple:
        k.origin["intermediate_size"] = f"{record.ffn_multiple} × hidden_size"
        return record.ffn_multiple * hidden
    return found


def _d_ff_expert(k: HfConfig, n_experts: int | None) -> int | None:
    if not n_experts:
        return None
    return k.count("moe_intermediate_size") or k.count("intermediate_size")


def _dtype(k: HfConfig) -> str | None:
    """The dtype that the model computes in, and keeps its cache in: never that of packed weights."""
    for mapping in (k.inner, k.outer):
        for key in ("dtype", "torch_dtype"):
            value = mapping.get(key)
            if isinstance(value, str) and value and value != "auto":
                return value.removeprefix("torch.")
    return None


def _notes(k: HfConfig, params: Iterable[str], nextn: int) -> tuple[str, ...]:
    row = row_of(k)
    notes: list[str] = []
    if row is None:
        notes.append(
            f"{k.model_type or 'a config without model_type'} has no row here: a plain reading of the usual keys"
        )
    elif row.note:
        notes.append(row.note)
    if k.prefix:
        notes.append(
            f"facts are those of the language model in {k.prefix.rstrip('.')} of {k.outer_type or 'the config'}"
        )
    if nextn:
        notes.append(f"{nextn} further layers predict several tokens ahead; transformers does not load them")
    return (*notes, *k.notes, *params)


# ---- parameters ----------------------------------------------------------------------------------------------------


def _params(checkpoint: Checkpoint, k: HfConfig, n_experts: int | None, used: int | None) -> _Params:
    if checkpoint.files:
        return _from_tensors(checkpoint, k, n_experts, used)
    return _from_config(checkpoint, k, n_experts, used)


def _from_config(checkpoint: Checkpoint, k: HfConfig, n_experts: int | None, used: int | None) -> _Params:
    """Counts by the architecture's own tensor shapes; None where no rule gives them."""
    from inspector.facts.promised import promise

    found = promise(k, quantization_config(checkpoint), _dtype(k))
    active = _active(found.n_params, found.n_routed, n_experts, used)
    origin = f"shapes that {k.model_type} gives its tensors" if found.n_params is not None else ""
    return _Params(found.n_params, active, origin, found.notes, found)


def _ahead_of(
    checkpoint: Checkpoint, k: HfConfig, layers: tuple[Layer, ...]
) -> tuple[tuple[Layer, ...], tuple[PromisedTensor, ...]]:
    """The layers that predict ahead, and the tensors that a config alone promises of them (none: not known)."""
    from inspector.architectures.hf_tensors import tensor_groups
    from inspector.facts.promised import stored_tensors

    if not may_predict(k):
        return (), ()
    try:
        groups = None if checkpoint.files else tensor_groups(k)
        found = read_ahead(k, layers, groups)
        return found.layers, stored_tensors(found.groups or (), k, quantization_config(checkpoint), _dtype(k))
    except FactsError:
        return read_ahead(k, layers, None).layers, ()


def _active(total: int | None, routed: int, n_experts: int | None, used: int | None) -> int | None:
    if total is None or (routed and not (n_experts and used)):
        return None
    if not routed or not n_experts or used is None:
        return total
    return total - routed + routed * min(used, n_experts) // n_experts


def _from_tensors(checkpoint: Checkpoint, k: HfConfig, n_experts: int | None, used: int | None) -> _Params:
    """Counts of what the model runs with: no buffers, no second copy of a tied head, no prediction-ahead layers."""
    rows = logical_tensors(checkpoint)
    notes: list[str] = []
    kept = _without(rows, _ahead(rows, k), "multi-token prediction layers", notes)
    kept = _without(kept, _duplicate_head(kept, k), "a second copy of the tied embedding", notes)
    record = find(k.model_type)
    counted = record is not None and record.routing_bias
    buffers = {r.name for r in kept if r.name.endswith(_BUFFERS) and not counted}
    unknown = [r for r in kept if r.n_elements is None]
    total: int | None = sum(r.n_elements or 0 for r in kept if r.name not in buffers)
    if unknown:
        schemes = ", ".join(sorted({r.scheme for r in unknown}))
        notes.append(f"{len(unknown)} packed tensors ({schemes}) hold a number of parameters that is not known here")
        total = None
    if checkpoint.missing:
        total = None
        notes.append(f"{len(checkpoint.missing)} files are missing: their parameters are not known")
    routed = sum(r.n_elements or 0 for r in kept if any(piece in r.name for piece in _EXPERTS))
    return _Params(total, _active(total, routed, n_experts, used), "tensor shapes", tuple(notes))


def _without(
    rows: Iterable[LogicalTensor], dropped: set[str], what: str, notes: list[str]
) -> tuple[LogicalTensor, ...]:
    rows = tuple(rows)
    n = sum(r.n_elements or 0 for r in rows if r.name in dropped)
    if dropped:
        notes.append(f"the files also hold {what}: {n:,} parameters more, not counted here")
    return tuple(r for r in rows if r.name not in dropped)


def _ahead(rows: Iterable[LogicalTensor], k: HfConfig) -> set[str]:
    """Tensors of prediction-ahead layers: under `mtp.`, or in layers past num_hidden_layers."""
    record = find(k.model_type)
    beyond = n_ahead(k) or (record is not None and record.unmarked_nextn)
    n = k.count("num_hidden_layers") if beyond else None
    return {r.name for r in rows if _is_ahead(r.name, n)}


def _is_ahead(name: str, n_layers: int | None) -> bool:
    if name.startswith(("mtp.", "model.mtp.", "model.mtp_layers.")):
        return True
    marker = "layers."
    at = name.find(marker)
    if n_layers is None or at < 0 or "vision" in name or "visual" in name or "audio" in name:
        return False
    digits = name[at + len(marker) :].partition(".")[0]
    return digits.isascii() and digits.isdigit() and len(digits) < 7 and int(digits) >= n_layers


def _duplicate_head(rows: Iterable[LogicalTensor], k: HfConfig) -> set[str]:
    return {r.name for r in rows if r.name in _HEADS} if k.tied else set()


def _without_config(checkpoint: Checkpoint) -> ModelFacts:
    """What tensors alone say: how many parameters, not what they are for."""
    rows = logical_tensors(checkpoint)
    known = all(r.n_elements is not None for r in rows) and bool(rows)
    total = sum(r.n_elements or 0 for r in rows) if known else None
    origin: Mapping[str, Any] = {"n_params": "tensor shapes"}
    return ModelFacts(
        arch="unknown", format=checkpoint.format, n_params=total, n_params_active=None, n_layers=None, d_model=None,
        d_ff=None, n_heads=None, n_kv_heads=None, head_dim_k=None, head_dim_v=None, vocab_size=None, n_ctx_train=None,
        layers=(), origin=origin, generic=True, quantization=scheme_label(quantization_config(checkpoint)),
        notes=("no config.json: only tensors are known, not the layers they make",), tensors=checkpoint.tensors,
    )  # fmt: skip
