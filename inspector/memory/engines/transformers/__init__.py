"""transformers 5.24.0: weights, one tensor a layer for its cache, and the prefill's activation peak.

Rules of cache_utils.py (what each kind of layer keeps), masking_utils.py and modeling_*.py (what a forward pass holds).
The cache lines are logical bytes; `peak_nbytes` is what their storage holds right after the prefill.
"""

from __future__ import annotations

from inspector.architectures.hf_lookup import find
from inspector.errors import WorkloadError
from inspector.layers import CompressedCache, CrossCache, IndexCache, KVCache, LatentCache, StateCache, UnknownCache
from inspector.memory.cache import kv_dtype, row_nbytes
from inspector.memory.engines.rows.transformers import ATTENTIONS, CACHES, ENGINE
from inspector.memory.engines.shared.hf_weights import (
    file_nbytes,
    model_dtype,
    transformers_weights,
    uncounted,
    without_file,
)
from inspector.memory.engines.shared.kv_options import (
    config_value,
    keep_of,
    options_of,
    whole_option,
    with_options,
    with_settings,
)
from inspector.memory.engines.shared.peaks import devices_at_peak
from inspector.memory.engines.shared.runtime import process_of
from inspector.memory.engines.transformers import peak as peak
from inspector.memory.engines.transformers import shape as transformers_shape
from inspector.memory.estimate import Estimate, Line, Placement
from inspector.record import Record
from inspector.units import format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from inspector.dtypes import Dtype
    from inspector.facts import ModelFacts
    from inspector.layers import Cache, Layer
    from inspector.memory.estimate import Gpu, Workload

DEFAULT_CONTEXT: Final = 2048


class Kept(Record):
    """One cache of one layer for all sequences: bytes, what its storage holds after the prefill, and its kind."""

    kind: str
    nbytes: int
    storage: int
    what: str = "kv_cache"
    verified: bool = True


class Run(Record):
    """The settings that bytes depend on. `elem`: bytes of the compute dtype."""

    n_seqs: int
    n_tokens: int
    n_prefill: int
    dtype_k: Dtype
    dtype_v: Dtype
    elem: int
    static: bool
    expanded: bool
    encoder_tokens: int
    keep: int | None


def _tokens(r: Run, window: int | None) -> tuple[int, int]:
    """(tokens kept, tokens whose storage is alive after the prefill) of one sequence.

    A dynamic sliding layer keeps W-1 tokens, as a view of everything that the prefill wrote; a static one W, at once
    (cache_utils.py DynamicSlidingWindowLayer, StaticSlidingWindowLayer).
    """
    n = r.n_tokens if r.keep is None else min(r.n_tokens, r.keep)
    if r.static:
        kept = n if window is None else min(window, n)
        return kept, kept
    if window is None:
        return n, max(n, r.n_prefill)
    kept = min(n, max(window - 1, 1))
    return kept, max(kept, r.n_prefill)


def _kv(cache: KVCache | CrossCache, r: Run, n_heads: int) -> int:
    return row_nbytes(n_heads * cache.head_dim_k, r.dtype_k) + row_nbytes(n_heads * cache.head_dim_v, r.dtype_v)


def _broadcast_heads(facts: ModelFacts, cache: KVCache) -> int:
    """Falcon's new decoder copies each key-value head to all its queries before it caches them (modeling_falcon.py)."""
    record = find(facts.arch)
    if record and record.broadcast_key and config_value(facts, record.broadcast_key):
        return facts.n_heads or cache.n_kv_heads
    return cache.n_kv_heads


def _latent_width(facts: ModelFacts, layer: Layer, cache: LatentCache, r: Run) -> int:
    """Bytes of one token: the latent as it is, or every head's keys and values (`mla_expanded`: transformers < 5)."""
    if not r.expanded:
        return row_nbytes(cache.rank, r.dtype_k) + row_nbytes(cache.rope_dim, r.dtype_k)
    nope, v_dim = config_value(facts, "qk_nope_head_dim"), config_value(facts, "v_head_dim")
    heads = layer.n_heads or facts.n_heads
    if not (isinstance(nope, int) and isinstance(v_dim, int) and heads):
        raise WorkloadError("the expanded latent cache needs qk_nope_head_dim, v_head_dim and the number of heads")
    return heads * (row_nbytes(nope + cache.rope_dim, r.dtype_k) + row_nbytes(v_dim, r.dtype_v))


def _state(cache: StateCache, r: Run) -> Kept:
    sizes = {"model": r.elem, "float32": 4}
    conv = cache.conv_channels * cache.conv_kernel * sizes.get(cache.conv_dtype, r.elem)
    nbytes = r.n_seqs * (conv + cache.state_elems * sizes.get(cache.state_dtype, 4))
    return Kept(cache.kind, nbytes, nbytes, "recurrent_state")


def _compressed(cache: CompressedCache, r: Run) -> int:
    """A vector for every `ratio` tokens, what waits to be made into one, and half of the last if windows overlap.

    modeling_deepseek_v4.py store_compression_weights, update_overlap_state: values, and their gates in float32.
    """
    whole, rest = divmod(r.n_tokens, cache.ratio)
    waiting = 2 * rest * cache.state_width * r.elem
    overlaps = cache.state_width > cache.width and whole > 0
    last = cache.ratio * cache.width * (r.elem + 4) if overlaps else 0
    return whole * row_nbytes(cache.width, r.dtype_k) + waiting + last


def kept(facts: ModelFacts, layer: Layer, cache: Cache, r: Run) -> Kept | None:
    """What one cache of one layer comes to; None for a kind that is not known."""
    if isinstance(cache, StateCache):
        return _state(cache, r)
    if isinstance(cache, UnknownCache):
        return None
    if isinstance(cache, CrossCache):
        nbytes = r.n_seqs * r.encoder_tokens * _kv(cache, r, cache.n_kv_heads)
        return Kept("cross", nbytes, nbytes)
    if isinstance(cache, KVCache):
        width = _kv(cache, r, _broadcast_heads(facts, cache))
        kind = "full" if cache.window is None else "chunked" if cache.chunked else "sliding"
    elif isinstance(cache, LatentCache):
        width, kind = _latent_width(facts, layer, cache, r), "latent"
    elif isinstance(cache, IndexCache):
        width, kind = row_nbytes(cache.n_heads * (cache.head_dim + cache.head_dim_v), r.dtype_k), "index"
    else:
        n = r.n_seqs * _compressed(cache, r)
        return Kept(cache.kind, n, n, verified=not r.static)
    n_kept, n_stored = _tokens(r, getattr(cache, "window", None))
    return Kept(kind, r.n_seqs * n_kept * width, r.n_seqs * n_stored * width)


def _walk(facts: ModelFacts, workload: Workload, r: Run) -> tuple[list[Kept], list[str], list[str]]:
    """All caches, words for what options changed, and kinds that are not known."""
    found: list[Kept] = []
    said: set[str] = set()
    unknown: dict[str, int] = {}
    for layer in facts.layers:
        if layer.kind == "unknown" and not layer.caches:
            unknown["unknown"] = unknown.get("unknown", 0) + 1
        for cache in layer.caches:
            changed, words = with_options(cache, workload)
            said |= {words} - {""}
            one = kept(facts, layer, changed, r)
            if one is None:
                name = getattr(cache, "kind", "unknown")
                unknown[name] = unknown.get(name, 0) + 1
            else:
                found.append(one)
    return found, sorted(said), [f"cache of {n} {name} layers" for name, n in sorted(unknown.items())]


def _run(facts: ModelFacts, workload: Workload, *, static: bool, expanded: bool) -> tuple[Run, str]:
    """The settings, and the compute dtype's name."""
    extra = options_of(workload)
    dtype = str(extra.get("dtype") or model_dtype(facts) or "bfloat16").lower().removeprefix("torch.")
    k, v = (None if name in {None, "auto"} else name for name in (workload.kv_dtype_k, workload.kv_dtype_v))
    n = workload.n_ctx or facts.n_ctx_train or DEFAULT_CONTEXT
    pruned = keep_of(workload)
    prefill = extra.get("n_prefill", n)
    encoder = config_value(facts, "max_source_positions", "n_positions")
    encoder = whole_option(workload, "encoder_tokens", max(encoder, 1) if isinstance(encoder, int) else n)
    if not isinstance(prefill, int) or not 0 <= prefill <= n:
        raise WorkloadError(f"a prefill of {prefill!r} tokens does not fit a context of {n:,}")
    return (
        Run(
            n_seqs=workload.n_seqs or 1,
            n_tokens=n,
            n_prefill=prefill if pruned is None else 0,
            dtype_k=kv_dtype(k or dtype),
            dtype_v=kv_dtype(v or dtype),
            elem=row_nbytes(1, kv_dtype(dtype)),
            static=static,
            expanded=expanded,
            encoder_tokens=encoder,
            keep=pruned.first + pruned.last if pruned else None,
        ),
        dtype,
    )


# ---- activations ---------------------------------------------------------------------------------------------------


def attention_of(facts: ModelFacts, workload: Workload) -> str:
    """flash, sdpa or eager: what was asked for, else what transformers picks for the model."""
    asked = options_of(workload).get("attn")
    if asked is not None:
        if asked not in ATTENTIONS:
            raise WorkloadError(f"unknown attention {asked!r}", hint="one of " + ", ".join(ATTENTIONS))
        return str(asked)
    if workload.flash_attn is not None:
        return "flash" if workload.flash_attn else "eager"
    record = find(facts.arch)
    return "eager" if record and record.eager else "sdpa"


def _activations(facts: ModelFacts, workload: Workload, r: Run, found: list[Kept]) -> Line | str:
    """Bytes and how they come about, or why they cannot be known; a range where the type has no rules of its own."""
    if why := transformers_shape.why_unknown(facts):
        return f"activations: {why}"
    shape = transformers_shape.shape_of(
        facts,
        n_seqs=r.n_seqs,
        n_tokens=r.n_prefill or r.n_tokens,
        elem=r.elem,
        layer_cache=sum(x.storage for x in found) // max(len(facts.layers), 1),
    )
    if shape is None:
        return "activations: the model's widths are not known"
    attn = attention_of(facts, workload)
    every = workload.outputs == "all" and bool(options_of(workload).get("outputs_asked"))
    rules, known = transformers_shape.rules_of(facts)
    sizes = peak.moments(shape, rules, attn=attn, every_logit=every)
    top = max(sizes, key=lambda name: sizes[name])
    logits = "all logits" if every else "last logits only"
    cpu = ""
    if attn == "sdpa" and shape.head_dim_k != shape.head_dim_v:
        cpu = "; a CPU has no fused kernel for keys and values of two sizes and needs more"
    how = f"{top} of a {shape.n_tokens:,}-token prefill × {r.n_seqs}, {attn} attention, {logits}{cpu}{known}"
    if not known:
        return Line("compute", sizes[top], "modelled", how)
    least, most = transformers_shape.spread_of(facts, attn)
    scan = transformers_shape.scan_nbytes(facts, shape.rows)
    how += f", {format_nbytes(sizes[top] + scan)}; measured types were {least:g} to {most:g} times such a reading"
    return Line("compute", int((sizes[top] + scan) * most), "modelled", how, low=int(sizes[top] * least))


# ---- the estimate --------------------------------------------------------------------------------------------------


def _lines_of(found: list[Kept], r: Run, *, sure: bool, said: list[str]) -> list[Line]:
    """One line a kind of cache."""
    kinds: dict[tuple[str, str], list[Kept]] = {}
    for one in found:
        kinds.setdefault((one.what, one.kind), []).append(one)
    lines = []
    for (what, kind), rows in kinds.items():
        nbytes, storage = sum(x.nbytes for x in rows), sum(x.storage for x in rows)
        words = [f"{len(rows)} {kind} layers × {r.n_seqs} sequences"]
        if what == "kv_cache":
            words += [f"{r.n_tokens:,} tokens", f"{r.dtype_k.name}/{r.dtype_v.name}"]
            words += ["static"] * r.static + said
        else:
            words += ["K columns of the convolution and the state in float32, whatever the context"]
        if storage != nbytes:
            words.append(
                f"{format_nbytes(storage)} until the first decode step: windows are views of the whole prefill"
            )
        grade = "derived" if sure and all(x.verified for x in rows) else "modelled"
        lines.append(Line(what, nbytes, grade, ", ".join(words), label=kind, peak_nbytes=_differs(storage, nbytes)))
    return lines


def _differs(storage: int, nbytes: int) -> int | None:
    return storage if storage != nbytes else None


def _weights(facts: ModelFacts, dtype: str) -> Line | None:
    if facts.tensors:
        loaded = transformers_weights(facts, dtype)
        grade = "exact" if loaded.nbytes == file_nbytes(facts.tensors) else "derived"
        how = "; ".join((f"{len(facts.tensors):,} tensors", *loaded.how))
        return Line("weights", loaded.nbytes, grade, how)
    found = without_file(facts, transformers_weights(facts, dtype), dtype)
    return Line("weights", found[0], "modelled", found[1]) if found else None


def _placed(lines: list[Line], placement: Placement) -> list[Line]:
    """Everything on the one device, or layers dealt evenly over several (accelerate's device_map="auto", roughly)."""
    if not placement.gpus:
        return lines
    placed = []
    n = len(placement.gpus)
    for i, gpu in enumerate(placement.gpus):
        for line in lines:
            on_host = line.what == "kv_cache" and not placement.kv_offload
            if on_host:
                placed += [line] * (i == 0)
                continue
            whole = line.what == "compute" or n == 1
            part = line.nbytes if whole else line.nbytes // n + (i < line.nbytes % n)
            low = line.low if whole or line.low is None else line.low // n
            top = line.peak_nbytes if whole or line.peak_nbytes is None else -(-line.peak_nbytes // n)
            grade = line.grade if whole else "modelled"
            placed.append(line.replace(nbytes=part, peak_nbytes=top, grade=grade, device=gpu.name, low=low))
        placed.append(_context(gpu))
    return placed


def _context(gpu: Gpu) -> Line:
    low, high = process_of(gpu)
    return Line("overhead", high, "modelled", "CUDA context and libraries", gpu.name, low=low)


def estimate(
    facts: ModelFacts,
    workload: Workload,
    *,
    placement: Placement | None = None,
    cache: str = "dynamic",
    mla_expanded: bool = False,
    **settings: Any,
) -> Estimate:
    """What one prefill of `n_ctx` tokens of `n_seqs` sequences holds, and keeps. Bytes.

    `cache`: "dynamic" (grows with the sequence) or "static" (allocated for `n_ctx` at once). `mla_expanded`: latent
    caches as transformers before 5 kept them. `settings` (or the same names in `workload.options`, beside kv_keep,
    window and outputs_asked): dtype, attn (sdpa, flash, eager), n_prefill, encoder_tokens. Raises WorkloadError.
    """
    placement = placement or Placement()
    workload = with_settings(workload, settings, ENGINE)
    if cache not in CACHES:
        raise WorkloadError(f"unknown cache {cache!r}", hint=" or ".join(CACHES))
    r, dtype = _run(facts, workload, static=cache == "static", expanded=mla_expanded)
    found, said, unknown = _walk(facts, workload, r)
    stated = facts.dtype is not None or bool(facts.tensors) or bool(options_of(workload).get("dtype"))
    own = row_nbytes(1, r.dtype_k) == r.elem == row_nbytes(1, r.dtype_v) and r.dtype_k.block_elems == 1
    lines = _lines_of(found, r, sure=stated and own and not facts.generic and r.keep is None, said=said)
    notes = _notes(facts, workload, placement, r, dtype=dtype, own=own, stated=stated)
    if unknown:
        notes += _upper_bound(facts, r)
    weights = _weights(facts, dtype)
    if weights:
        lines.insert(0, weights)
    else:
        unknown.append("weights: no tensors were read")
    unknown += uncounted(facts)
    active = _activations(facts, workload, r, found)
    if isinstance(active, str):
        unknown.append(active)
    else:
        lines.append(active)
    lines = _placed(lines, placement)
    effective: Mapping[str, Any] = {
        "n_ctx": r.n_tokens,
        "n_seqs": r.n_seqs,
        "cache": cache,
        "dtype": dtype,
        "attention": attention_of(facts, workload),
        "peak_nbytes": sum(line.peak_nbytes or line.nbytes for line in lines),
    }
    return Estimate(
        "transformers", workload, effective, tuple(lines), devices_at_peak(lines, placement.gpus), tuple(notes),
        tuple(unknown),
    )  # fmt: skip


def _upper_bound(facts: ModelFacts, r: Run) -> list[str]:
    heads = facts.n_kv_heads or facts.n_heads
    k, v = facts.head_dim_k, facts.head_dim_v or facts.head_dim_k
    if not (heads and k and v):
        return []
    width = row_nbytes(heads * k, r.dtype_k) + row_nbytes(heads * v, r.dtype_v)
    each = r.n_seqs * r.n_tokens * width
    return [f"as full attention a layer of unknown kind would keep {format_nbytes(each)}"]


def _notes(
    facts: ModelFacts, workload: Workload, placement: Placement, r: Run, *, dtype: str, own: bool, stated: bool
) -> list[str]:
    notes = []
    if not stated:
        notes.append(f"the model names no dtype: {dtype} is assumed")
    if not own:
        notes.append(
            f"a {r.dtype_k.name} cache needs a quantised cache class; scales it keeps by group are not counted"
        )
    keep = keep_of(workload)
    if keep:
        notes.append(f"token pruning keeps the first {keep.first:,} and last {keep.last:,} tokens; it is not built in")
    if not placement.kv_offload:
        notes.append("offloaded cache: host memory, with two layers' worth on the GPU while they are used")
    if facts.generic:
        notes.append(f"{facts.arch} is not in the registry: its keys are read the usual way")
    return notes
