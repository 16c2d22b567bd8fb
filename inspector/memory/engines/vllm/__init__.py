"""vLLM 0.33.0: weights of each rank, a paged cache, an activation peak, and what the runtime takes.

vLLM always fills its budget, `gpu_memory_utilization` of every GPU. Two figures answer two questions: the smallest
budget that runs the workload (the lines' sum: "needs"), and what it will take (`takes` in `effective`).
"""

from __future__ import annotations

from inspector.errors import WorkloadError
from inspector.layers import CrossCache, KVCache, LatentCache, StateCache, UnknownCache
from inspector.memory.cache import kv_dtype, row_nbytes
from inspector.memory.engines.rows.vllm import ENGINE, UTILIZATION
from inspector.memory.engines.shared.hf_weights import (
    file_nbytes,
    pools,
    uncounted,
    vllm_dtype,
    vllm_weights,
    without_file,
)
from inspector.memory.engines.shared.kv_options import config_value, keep_of, options_of, whole_option, with_settings
from inspector.memory.engines.vllm.budget import CACHES, budgeted, room
from inspector.memory.engines.vllm.pages import Plan, Setup, plan
from inspector.memory.engines.vllm.parallel import TOWER, Rank, Split, of_stage, ranks_of
from inspector.memory.engines.vllm.prediction import (
    NONE,
    Speculation,
    ahead_lines,
    asked,
    unknown_weights,
    with_prediction,
)
from inspector.memory.engines.vllm.profile import (
    SORTED,
    Batch,
    activation_line,
    activation_nbytes,
    activation_range,
    batch_of,
    overhead_lines,
    sampler_line,
)
from inspector.memory.engines.vllm.support import why_not
from inspector.memory.estimate import Device, Estimate, Line, Placement, lowest
from inspector.record import Record
from inspector.units import GIB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Gpu, Workload

DEFAULT_CONTEXT: Final = 2048  # config/model.py, for a model that names no context


def checkpoint_kv_dtype(facts: ModelFacts) -> str:
    """The cache precision that the checkpoint itself asks for (`auto` follows it): utils/torch_utils.py."""
    quant: Any = config_value(facts, "quantization_config", "compression_config")
    if not hasattr(quant, "get"):
        return "auto"
    inner: Any = quant.get("quantization")
    inner = inner if hasattr(inner, "get") else quant
    scheme = inner.get("kv_cache_scheme") or quant.get("kv_cache_scheme")
    if hasattr(scheme, "get"):
        bits, kind = scheme.get("num_bits"), scheme.get("type")
        if kind == "float":
            return {8: "fp8", 4: "nvfp4"}.get(bits if isinstance(bits, int) else 0, "auto")
        return "auto"
    algo = scheme or inner.get("kv_cache_quant_algo") or quant.get("kv_cache_quant_algo")
    return {"fp8": "fp8", "nvfp4": "nvfp4"}.get(str(algo).lower(), "auto")


def _one_dtype(workload: Workload) -> str:
    k, v = workload.kv_dtype_k or "auto", workload.kv_dtype_v or "auto"
    if k != v and workload.kv_dtype_v is not None and workload.kv_dtype_k is not None:
        raise WorkloadError(f"vLLM keeps keys and values in one precision, not {k} and {v}", hint="--kv-cache-dtype")
    return workload.kv_dtype_k or workload.kv_dtype_v or "auto"


def _encoder_tokens(facts: ModelFacts) -> int:
    found = config_value(facts, "max_source_positions", "max_encoder_position_embeddings", "n_positions")
    return max(found, 1) if isinstance(found, int) else 1


def _caches_prefixes(facts: ModelFacts) -> bool:
    """vLLM's default: on, but for models without attention or with an encoder (config/model.py)."""
    kinds = [c for layer in facts.layers for c in layer.caches]
    return any(isinstance(c, (KVCache, LatentCache)) for c in kinds) and not any(
        isinstance(c, CrossCache) for c in kinds
    )


def _max_len(facts: ModelFacts, workload: Workload) -> int:
    return workload.n_ctx or facts.n_ctx_train or DEFAULT_CONTEXT


def _setup(facts: ModelFacts, workload: Workload, tokens: int, split: Split, spec: Speculation) -> Setup:
    extra = options_of(workload)
    cache = _one_dtype(workload)
    max_len = _max_len(facts, workload)
    keep = keep_of(workload)
    # config/vllm.py max_concurrent_batches, Model Runner V2; pooling models are not scheduled asynchronously
    steps = split.pipeline + bool(extra.get("async_scheduling", not pools(facts)))
    return Setup(
        max_model_len=keep.tokens(max_len) if keep else max_len,
        in_flight=steps * tokens,
        block_size=whole_option(workload, "block_size", 0) if extra.get("block_size") else None,
        kv_dtype=checkpoint_kv_dtype(facts) if cache == "auto" else cache,
        model_dtype=str(extra.get("dtype") or vllm_dtype(facts)[0]),
        ssm_dtype=str(extra.get("mamba_ssm_cache_dtype", "auto")),
        tp=split.tensor,
        prefix_caching=bool(extra.get("prefix_caching", _caches_prefixes(facts))),
        hybrid_manager=not extra.get("disable_hybrid_kv_cache_manager", False),
        spec_tokens=spec.tokens,
        encoder_tokens=whole_option(workload, "encoder_tokens", _encoder_tokens(facts)),
    )


def _cache_words(p: Plan, s: Setup, n_seqs: int, block: int) -> str:
    kinds = ", ".join(f"{g.n_layers} {g.kind}" for g in p.groups[:8]) + (" …" if len(p.groups) > 8 else "")
    dtype = s.model_dtype if s.kv_dtype == "auto" else s.kv_dtype
    return (
        f"{n_seqs} × {p.blocks_one_req:,} blocks of {p.block_size} tokens × {block:,} B"
        f" ({len(p.groups)} groups of layers: {kinds}; {dtype}; {s.max_model_len:,} tokens a sequence,"
        f" {s.in_flight:,} in flight)"
    )


def _unknown_layers(facts: ModelFacts) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(layers whose cache is not known, what can be said of them at most)."""
    strange = [layer for layer in facts.layers if any(isinstance(c, UnknownCache) for c in layer.caches)]
    if not strange:
        return (), ()
    heads, k, v = facts.n_kv_heads or facts.n_heads, facts.head_dim_k, facts.head_dim_v or facts.head_dim_k
    bound: tuple[str, ...] = ()
    if heads and k and v:
        bound = (f"as full attention a layer of unknown kind would keep {heads * (k + v):,} elements a token",)
    kinds = sorted({c.kind for layer in strange for c in layer.caches if isinstance(c, UnknownCache)})
    return (f"cache of {len(strange)} layers of unknown kind ({', '.join(kinds)})",), bound


def _weight_line(facts: ModelFacts, dtype: str, split: Split, device: str, *, fp8: bool) -> Line | None:
    tp, slices = split.tensor, split.tensor * split.data
    loaded = vllm_weights(facts, dtype, tp=tp, slices=slices, fp8=fp8)
    if facts.tensors:
        same = split.n_gpus == 1 and loaded.nbytes == file_nbytes(facts.tensors)
        how = "; ".join(
            (f"{len(facts.tensors):,} tensors" + (f", 1/{tp} of what splits" if tp > 1 else ""), *loaded.how)
        )
        sure = "derived" if split.n_gpus == 1 and not fp8 else "modelled"
        return Line("weights", loaded.nbytes, "exact" if same else sure, how, device)
    found = without_file(facts, loaded, dtype, tp=tp * split.pipeline if not facts.promised else tp)
    return Line("weights", found[0], "modelled", found[1], device) if found else None


def _offloaded(line: Line, gib: float) -> list[Line]:
    """Weights that stay in host memory and are read from there (`--cpu-offload-gb`), and the rest."""
    kept = min(line.nbytes, int(gib * GIB))
    if not kept:
        return [line]
    host = Line("weights", kept, "modelled", f"of {line.device}, read over the bus (--cpu-offload-gb {gib:g})", "host")
    return [line.replace(nbytes=line.nbytes - kept, grade="modelled"), host]


def _cache_line(facts: ModelFacts, run: _Run, n_seqs: int, device: str, block: int) -> list[Line]:
    """`block`: bytes of one block on this rank."""
    p, s = run.plan, run.setup
    if not p.groups:
        return []
    has_kv = any(g.kind != "mamba" for g in p.groups)
    sure = facts.dtype is not None or bool(facts.tensors) or s.kv_dtype != "auto"
    grade = "modelled" if facts.generic or not sure or len({g.page for g in p.groups}) > 1 else "derived"
    what = "kv_cache" if has_kv else "recurrent_state"
    return [Line(what, n_seqs * p.blocks_one_req * block, grade, _cache_words(p, s, n_seqs, block), device)]


def _devices(lines: list[Line], gpus: tuple[Gpu, ...], utilization: float, pool: int | None) -> tuple[Device, ...]:
    """Verdicts: within the share of each GPU; or, with a cache of fixed size, within it and the GPU."""
    found = []
    for gpu in gpus:
        mine = [line for line in lines if line.device == gpu.name]
        used, cache = sum(x.nbytes for x in mine), sum(x.nbytes for x in mine if x.what in CACHES)
        fits = used <= int(gpu.capacity * utilization)
        if pool is not None:
            fits = cache <= pool and used - cache + pool <= gpu.capacity
        kept_free = gpu.capacity - int(gpu.capacity * utilization) if pool is None else 0
        low = lowest(used, mine)
        found.append(Device(gpu.name, gpu.capacity, used, fits, kept_free, gpu.backend, unified=gpu.unified, low=low))
    return tuple(found)


def _utilization(workload: Workload) -> float:
    value = options_of(workload).get("gpu_memory_utilization", UTILIZATION)
    if not isinstance(value, (int, float)) or not 0 < value <= 1:
        raise WorkloadError(f"gpu_memory_utilization is {value!r}; it must be above 0 and at most 1")
    return float(value)


def _not_known(facts: ModelFacts, run: _Run, lines: list[Line]) -> tuple[str, ...]:
    """The parts that no line counts."""
    layers, _ = _unknown_layers(facts)
    found = [*(layers or run.plan.unknown[:8])]
    found += unknown_weights(facts, run.spec, run.draft)
    if not any(line.what == "weights" for line in lines):
        found.append("weights: no tensors were read")
    found += uncounted(facts)
    if not run.peak:
        found.append("activations: the model's widths are not known")
    return tuple(found)


def _fp8(facts: ModelFacts, workload: Workload) -> bool:
    """Whether weights are packed on loading. Raises WorkloadError for a method that has no rule here."""
    method = options_of(workload).get("quantization")
    if method is None or facts.quantization is not None:
        return False  # a packed checkpoint's own method is the only one that vLLM takes with it
    if method != "fp8":
        raise WorkloadError(f"no rule packs a checkpoint as {method!r} on loading", hint="--quantization fp8")
    return True


def _rank_lines(run: _Run, facts: ModelFacts, rank: Rank) -> list[Line]:
    """Everything that lies on one rank."""
    s, split, device = run.setup, run.split, rank.device
    part = of_stage(facts, rank.stage)
    weights = _weight_line(part, s.model_dtype, split, device, fp8=run.fp8)
    if weights and split.pipeline > 1:
        weights = weights.replace(how=f"{weights.how}; layers {rank.stage.first} to {rank.stage.stop - 1} of them")
    lines = _offloaded(weights, options_of(run.workload).get("cpu_offload_gb") or 0) if weights else []
    block = run.plan.block_of(rank.stage.first, rank.stage.stop) if split.pipeline > 1 else run.plan.bytes_per_block
    n_seqs = -(-(run.workload.n_seqs or 1) // split.data)
    lines += _cache_line(facts, run, n_seqs, device if run.kv_offload else "host", block)
    if run.peak:
        lines.append(activation_line(run.peak, run.span, run.batch, device, towers=_towers(facts)))
    last = rank.stage.index == rank.stage.n - 1
    if last:
        lines += ahead_lines(facts, run.spec, run.draft, split=split, dtype=s.model_dtype, device=device)
    return lines + (sampler_line(facts, run.batch, device) if last else []) + _overheads(run, part, rank)


def _overheads(run: _Run, part: ModelFacts, rank: Rank) -> list[Line]:
    runtime, graphs = overhead_lines(part, run.batch, rank.gpu, run.split.n_gpus, rank.device)
    return [runtime] if options_of(run.workload).get("enforce_eager") else [runtime, graphs]


def _towers(facts: ModelFacts) -> bool:
    """Whether the model sees or hears, so that its towers are profiled too."""
    return facts.n_params_text is not None or any(TOWER.search(t.name) for t in facts.tensors)


class _Run(Record):
    """One run's settings, decided."""

    workload: Workload
    setup: Setup
    plan: Plan
    batch: Batch
    split: Split
    peak: tuple[int, str] | None
    span: tuple[int, int]
    fp8: bool
    kv_offload: bool
    spec: Speculation = NONE
    draft: ModelFacts | None = None


def estimate(
    facts: ModelFacts,
    workload: Workload,
    *,
    placement: Placement | None = None,
    draft: ModelFacts | None = None,
    **settings: Any,
) -> Estimate:
    """What vLLM needs to run `n_seqs` requests (default 1) of the longest context on every rank. Bytes.

    `draft`: the model or the head that drafts, where one does. `settings` (or the same names in `workload.options`,
    beside kv_keep and window): the options of its row, as vLLM spells them. Raises WorkloadError where vLLM refuses.
    """
    placement = placement or Placement()
    workload = with_settings(workload, settings, ENGINE)
    utilization, pool = _utilization(workload), options_of(workload).get("kv_cache_memory_bytes")
    split, ranks = ranks_of(facts, options_of(workload), placement)
    facts, spec = with_prediction(facts, asked(options_of(workload), draft), draft, split)
    ranks = [rank.until(len(facts.layers)) for rank in ranks]
    gpus, batch = placement.gpus[: split.n_gpus], batch_of(workload, placement.gpus, _max_len(facts, workload))
    s = _setup(facts, workload, batch.tokens, split, spec)
    elem = row_nbytes(1, kv_dtype(s.model_dtype))
    peak = activation_nbytes(facts, batch, tp=split.tensor, elem=elem)
    most = activation_nbytes(facts, batch, tp=split.tensor, elem=elem, sampler=SORTED)
    towers, experts = _towers(facts), bool(facts.n_experts_used)
    span = activation_range(peak[0], towers=towers, sorts=most[0], experts=experts) if peak and most else (0, 0)
    kept = placement.kv_offload
    pages = plan(facts, s, workload)
    run = _Run(workload, s, pages, batch, split, peak, span, _fp8(facts, workload), kept, spec, draft)
    lines = [line for rank in ranks for line in _rank_lines(run, facts, rank)]
    result = Estimate(
        engine="vllm",
        workload=workload,
        effective={
            "max_model_len": _max_len(facts, workload),
            "max_num_seqs": batch.seqs,
            "max_num_batched_tokens": batch.tokens,
            "gpu_memory_utilization": utilization,
            **({"compute_range": list(span)} if peak else {}),
            **_effective(run, gpus, utilization),
        },
        lines=tuple(lines),
        devices=_devices(lines, gpus, utilization, pool),
        notes=(*_unknown_layers(facts)[1], *run.plan.notes, *_notes(facts, workload, placement, s)),
        unknown=_not_known(facts, run, lines),
    )
    return budgeted(result, gpus, pool)


def _notes(facts: ModelFacts, workload: Workload, placement: Placement, s: Setup) -> list[str]:
    why = why_not(facts, placement.gpus)
    notes = [f"{why}: these are the figures of its rules all the same"] if why else []
    keep = keep_of(workload)
    if keep:
        notes.append(
            f"token pruning keeps the first {keep.first:,} and last {keep.last:,} tokens; vLLM has no such mode"
        )
    if not placement.kv_offload:
        notes.append("the cache is in host memory: vLLM does this only through a KV connector")
    if not options_of(workload).get("dtype") and (why := vllm_dtype(facts)[1]):
        notes.append(why)
    if workload.n_ctx and facts.n_ctx_train and workload.n_ctx > facts.n_ctx_train:
        notes.append(
            f"{workload.n_ctx:,} tokens are more than the model's {facts.n_ctx_train:,}: vLLM refuses by default"
        )
    if any(isinstance(c, CrossCache) for layer in facts.layers for c in layer.caches):
        notes.append(f"an encoder's output of {s.encoder_tokens:,} tokens is kept")
    if s.tp > 1 and any(isinstance(c, LatentCache) for layer in facts.layers for c in layer.caches):
        notes.append("latent caches are replicated on every rank")
    if any(isinstance(c, StateCache) for layer in facts.layers for c in layer.caches) and s.prefix_caching:
        notes.append("prefix caching keeps two states a sequence (mamba_cache_mode align)")
    return notes


def _effective(run: _Run, gpus: tuple[Gpu, ...], part: float) -> dict[str, Any]:
    s, p = run.setup, run.plan
    found: dict[str, Any] = {
        "block_size": p.block_size,
        "kv_cache_dtype": s.kv_dtype,
        "dtype": s.model_dtype,
        "tensor_parallel_size": s.tp,
        "prefix_caching": s.prefix_caching,
        "bytes_per_block": p.bytes_per_block,
        "blocks_one_req": p.blocks_one_req,
        "bytes_one_req": p.bytes_one_req,
        "groups": [g.as_dict() for g in p.groups],
    }
    if run.spec.method:
        found["speculation"] = {"method": run.spec.method, "num_speculative_tokens": run.spec.tokens}
    if run.split.pipeline > 1:
        found["pipeline_parallel_size"] = run.split.pipeline
    if run.split.data > 1:
        found["data_parallel_size"] = run.split.data
    if gpus:
        from math import ceil  # as gpu_worker.py request_memory does

        found["takes"] = {g.name: ceil(g.capacity * part) for g in gpus}
    return found


def concurrency(facts: ModelFacts, workload: Workload, placement: Placement, **options: Any) -> int | None:
    """How many requests of the longest context fit at once on these GPUs; None when something is not known."""
    return room(estimate(facts, workload, placement=placement, **options))


def max_model_len(facts: ModelFacts, workload: Workload, placement: Placement, **options: Any) -> int | None:
    """The longest `--max-model-len` whose single request (or `n_seqs` of them) fits; 0 when none does.

    Up to the trained context, as vLLM does by itself; None when something is not known.
    """
    top = facts.n_ctx_train or workload.n_ctx
    if top is None:
        return None
    low, high = 0, top
    while low < high:
        middle = (low + high + 1) // 2
        result = estimate(facts, workload.replace(n_ctx=middle), placement=placement, **options)
        if result.unknown or not result.devices:
            return None
        low, high = (middle, high) if result.fits else (low, middle - 1)
    return low
