"""vLLM 0.33.0: weights of each rank, a paged cache, an activation peak, and what the runtime takes.

vLLM always fills its budget, `gpu_memory_utilization` of every GPU. Two figures answer two questions: the smallest
budget that runs the workload (the lines' sum: "needs"), and what it will take (`takes` in `effective`).
"""

from __future__ import annotations

from inspector.errors import WorkloadError
from inspector.layers import CrossCache, KVCache, LatentCache, StateCache, UnknownCache
from inspector.memory.cache import kv_dtype, row_nbytes
from inspector.memory.engines.rows.vllm import ENGINE, UTILIZATION
from inspector.memory.engines.shared.hf_weights import file_nbytes, uncounted, vllm_dtype, vllm_weights, without_file
from inspector.memory.engines.shared.kv_options import config_value, keep_of, options_of, whole_option, with_settings
from inspector.memory.engines.shared.runtime import CONTEXT_RESERVE, taken
from inspector.memory.engines.vllm.pages import Plan, Setup, plan
from inspector.memory.estimate import WHATS, Device, Estimate, Line, Placement
from inspector.record import Record
from inspector.units import GIB, MIB, format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Gpu, Workload

DEFAULT_CONTEXT: Final = 2048  # config/model.py, for a model that names no context
# (from this much memory, tokens of a batch, sequences): engine/arg_utils.py get_batch_defaults, API server.
_SERVER_DEFAULTS: Final = ((160 * GIB, 16384, 1024), (70 * GIB, 8192, 1024), (0, 2048, 256))
NCCL_RESERVE: Final = 512 * MIB  # 0.2-1 GiB a rank is reported
GRAPHS: Final = 640 * MIB  # 0.11-1.62 GiB is reported, by model and number of captured sizes
# Bytes of one logit in the sampler with torch's top-k and top-p: the model's, then a float32 copy, sorted values,
# int64 indices and probabilities (v1/sample/sampler.py, ops/topk_topp_sampler.py).
SAMPLER_EXTRA: Final = 4 + 4 + 8 + 4
ACTIVATION_BAND: Final = "±40 %"
CACHES: Final = frozenset({"kv_cache", "recurrent_state"})


def _batch_defaults(gpus: tuple[Gpu, ...]) -> tuple[int, int]:
    """(tokens of a batch, sequences) that the API server picks for the smallest of the GPUs."""
    memory = min((g.capacity for g in gpus), default=0)
    for floor, tokens, seqs in _SERVER_DEFAULTS:
        if memory >= floor and not (floor == 70 * GIB and any(g.name.startswith("A100") for g in gpus)):
            return tokens, seqs
    raise AssertionError("the last row takes any GPU")


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


def _setup(facts: ModelFacts, workload: Workload, tokens: int, tp: int) -> Setup:
    extra = options_of(workload)
    asked = _one_dtype(workload)
    max_len = workload.n_ctx or facts.n_ctx_train or DEFAULT_CONTEXT
    keep = keep_of(workload)
    steps = 2 if extra.get("async_scheduling", True) else 1
    return Setup(
        max_model_len=keep.tokens(max_len) if keep else max_len,
        in_flight=steps * tokens,
        block_size=whole_option(workload, "block_size", 0) if extra.get("block_size") else None,
        kv_dtype=checkpoint_kv_dtype(facts) if asked == "auto" else asked,
        model_dtype=str(extra.get("dtype") or vllm_dtype(facts)[0]),
        ssm_dtype=str(extra.get("mamba_ssm_cache_dtype", "auto")),
        tp=tp,
        prefix_caching=bool(extra.get("prefix_caching", _caches_prefixes(facts))),
        hybrid_manager=not extra.get("disable_hybrid_kv_cache_manager", False),
        encoder_tokens=whole_option(workload, "encoder_tokens", _encoder_tokens(facts)),
    )


def _cache_words(p: Plan, s: Setup, n_seqs: int) -> str:
    kinds = ", ".join(f"{g.n_layers} {g.kind}" for g in p.groups[:8]) + (" …" if len(p.groups) > 8 else "")
    dtype = s.model_dtype if s.kv_dtype == "auto" else s.kv_dtype
    return (
        f"{n_seqs} × {p.blocks_one_req:,} blocks of {p.block_size} tokens × {p.bytes_per_block:,} B"
        f" ({len(p.groups)} groups of layers: {kinds}; {dtype}; {s.max_model_len:,} tokens a sequence,"
        f" {s.in_flight:,} in flight)"
    )


def activation_nbytes(facts: ModelFacts, *, tokens: int, rows: int, tp: int, elem: int) -> tuple[int, str] | None:
    """Peak of the profiling run on one rank: the largest MLP, or the sampler over `rows` logits; None without shapes.

    v1/worker/gpu_model_runner.py profile_run; experts' workspaces as fused_moe/experts/triton_moe.py. Not measured.
    """
    h, inter = facts.d_model, facts.d_ff
    if not h or not (inter or facts.d_ff_expert):
        return None
    mlp = tokens * elem * (2 * h + 3 * -(-(inter or 0) // tp))
    if facts.n_experts_used and facts.d_ff_expert:
        inner = -(-facts.d_ff_expert // tp)
        picked = tokens * facts.n_experts_used * elem * (max(inner, h) + max(2 * inner, h))
        mlp = max(mlp, picked + tokens * h * elem * 3)
    sampler = rows * (facts.vocab_size or 0) * (elem + SAMPLER_EXTRA)
    words = f"a profiling batch of {tokens:,} tokens" if mlp >= sampler else f"the sampler over {rows:,} rows of logits"
    return max(mlp, sampler), words


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


def _weight_line(facts: ModelFacts, dtype: str, tp: int, device: str) -> Line | None:
    if facts.tensors:
        loaded = vllm_weights(facts, dtype, tp=tp)
        same = tp == 1 and loaded.nbytes == file_nbytes(facts.tensors)
        how = "; ".join(
            (f"{len(facts.tensors):,} tensors" + (f", 1/{tp} of what splits" if tp > 1 else ""), *loaded.how)
        )
        return Line("weights", loaded.nbytes, "exact" if same else "derived" if tp == 1 else "modelled", how, device)
    found = without_file(facts, vllm_weights(facts, dtype, tp=tp), dtype, tp=tp)
    return Line("weights", found[0], "modelled", found[1], device) if found else None


def _cache_line(facts: ModelFacts, p: Plan, s: Setup, n_seqs: int, device: str) -> list[Line]:
    if not p.groups:
        return []
    has_kv = any(g.kind != "mamba" for g in p.groups)
    sure = facts.dtype is not None or bool(facts.tensors) or s.kv_dtype != "auto"
    grade = "modelled" if facts.generic or not sure or len({g.page for g in p.groups}) > 1 else "derived"
    what = "kv_cache" if has_kv else "recurrent_state"
    return [Line(what, n_seqs * p.bytes_one_req, grade, _cache_words(p, s, n_seqs), device)]


def _overheads(workload: Workload, gpu: Gpu | None, tp: int, device: str) -> list[Line]:
    reserve = taken(gpu) if gpu else CONTEXT_RESERVE
    words = "CUDA context" + (f" and NCCL of {tp} ranks" if tp > 1 else "")
    lines = [Line("overhead", reserve + (NCCL_RESERVE if tp > 1 else 0), "modelled", words, device, "runtime")]
    if not options_of(workload).get("enforce_eager"):
        how = "CUDA graphs; 0.1-1.6 GiB is reported, none with --enforce-eager"
        lines.append(Line("overhead", GRAPHS, "modelled", how, device, "cuda_graphs"))
    return lines


def _devices(lines: list[Line], gpus: tuple[Gpu, ...], utilization: float) -> tuple[Device, ...]:
    found = []
    for gpu in gpus:
        used = sum(line.nbytes for line in lines if line.device == gpu.name)
        kept = gpu.capacity - int(gpu.capacity * utilization)  # what vLLM leaves alone
        fits = used <= int(gpu.capacity * utilization)
        found.append(Device(gpu.name, gpu.capacity, used, fits, kept, gpu.backend, unified=gpu.unified))
    return tuple(found)


def _utilization(workload: Workload) -> float:
    value = options_of(workload).get("gpu_memory_utilization", UTILIZATION)
    if not isinstance(value, (int, float)) or not 0 < value <= 1:
        raise WorkloadError(f"gpu_memory_utilization is {value!r}; it must be above 0 and at most 1")
    return float(value)


class Batch(Record):
    """What one step takes at most: tokens, and sequences."""

    tokens: int
    seqs: int


def _batch(workload: Workload, gpus: tuple[Gpu, ...]) -> Batch:
    tokens, seqs = _batch_defaults(gpus)
    return Batch(
        tokens=whole_option(workload, "max_num_batched_tokens", workload.n_batch or tokens),
        seqs=whole_option(workload, "max_num_seqs", workload.n_seqs or seqs),
    )


def _activation_line(peak: tuple[int, str], batch: Batch, device: str) -> Line:
    nbytes, what = peak
    settings = f"max_num_batched_tokens {batch.tokens:,}, max_num_seqs {batch.seqs:,}"
    return Line("compute", nbytes, "modelled", f"{what} ({settings}), {ACTIVATION_BAND}, not measured", device)


def _not_known(facts: ModelFacts, p: Plan, lines: list[Line], *, has_peak: bool) -> tuple[str, ...]:
    """The parts that no line counts."""
    layers, _ = _unknown_layers(facts)
    found = [*(layers or p.unknown[:8])]
    if not any(line.what == "weights" for line in lines):
        found.append("weights: no tensors were read")
    found += uncounted(facts)
    if not has_peak:
        found.append("activations: the model's widths are not known")
    return tuple(found)


def estimate(facts: ModelFacts, workload: Workload, *, placement: Placement | None = None, **settings: Any) -> Estimate:
    """What vLLM needs to run `n_seqs` requests (default 1) of the longest context on every rank. Bytes.

    `settings` (or the same names in `workload.options`, beside kv_keep and window): the options of its row, spelled as
    vLLM's own. Raises WorkloadError where vLLM would refuse.
    """
    placement = placement or Placement()
    workload = with_settings(workload, settings, ENGINE)
    utilization = _utilization(workload)
    tp, ranks = _ranks(facts, placement)
    gpus, batch = placement.gpus[:tp], _batch(workload, placement.gpus)
    s = _setup(facts, workload, batch.tokens, tp)
    p = plan(facts, s, workload)
    elem = row_nbytes(1, kv_dtype(s.model_dtype))
    peak = activation_nbytes(facts, tokens=batch.tokens, rows=min(batch.seqs, batch.tokens), tp=tp, elem=elem)
    lines: list[Line] = []
    for device, gpu in ranks:
        weights = _weight_line(facts, s.model_dtype, tp, device)
        lines += [weights] if weights else []
        lines += _cache_line(facts, p, s, workload.n_seqs or 1, device if placement.kv_offload else "host")
        lines += [_activation_line(peak, batch, device)] if peak else []
        lines += _overheads(workload, gpu, tp, device)
    result = Estimate(
        engine="vllm",
        workload=workload,
        effective={
            "max_model_len": workload.n_ctx or facts.n_ctx_train or DEFAULT_CONTEXT,
            "max_num_seqs": batch.seqs,
            "max_num_batched_tokens": batch.tokens,
            "gpu_memory_utilization": utilization,
            **_effective(s, p, gpus, utilization),
        },
        lines=tuple(lines),
        devices=_devices(lines, gpus, utilization),
        notes=(*_unknown_layers(facts)[1], *p.notes, *_notes(facts, workload, placement, s)),
        unknown=_not_known(facts, p, lines, has_peak=peak is not None),
    )
    return result.replace(notes=(*result.notes, *_budget_notes(result), *_other_pools(result, placement, tp)))


def _other_pools(result: Estimate, placement: Placement, tp: int) -> list[str]:
    """What SGLang and TensorRT-LLM would set aside on the first GPU, by their documented rules."""
    from inspector.memory.engines.shared.serving import sglang_pool, sglang_reserve, tensorrt_pool

    token = int(result.effective["bytes_one_req"]) // max(int(result.effective["max_model_len"]), 1)
    if result.unknown or not placement.gpus or token < 1 or not result.devices:
        return []
    gpu, device = placement.gpus[0], result.devices[0].device
    held = {w: sum(x.nbytes for x in result.lines if x.device == device and x.what == w) for w in WHATS}
    reserve = sglang_reserve(gpu.capacity, ranks=tp)
    if reserve >= gpu.capacity:  # SGLang would not start on so small a device
        return []
    sglang = sglang_pool(gpu.capacity, held["weights"], token, reserve=reserve)
    tensorrt = tensorrt_pool(gpu.capacity, held["weights"] + held["compute"] + held["overhead"], token)
    return [
        f"{name} would set aside a pool of {format_nbytes(pool.nbytes)}, about {pool.n_tokens:,} tokens ({pool.how}; "
        "its documented rule, not measured)"
        for name, pool in (("SGLang", sglang), ("TensorRT-LLM", tensorrt))
    ]


def _fitting(result: Estimate) -> int | None:
    """Longest requests that fit beside everything else in every budget; None where that cannot be said."""
    need, budget = int(result.effective["bytes_one_req"]), kv_budget(result)
    return None if result.unknown or not need or not budget else min(budget.values()) // need


def _budget_notes(result: Estimate) -> list[str]:
    """What vLLM takes whatever it needs, and what that is good for."""
    takes = result.effective.get("takes")
    if not takes:
        return []
    part = result.effective["gpu_memory_utilization"]
    words = f"vLLM fills its budget: it takes {format_nbytes(sum(takes.values()))} ({part} of every GPU)"
    fitting = _fitting(result)
    if fitting is None:
        return [words]
    return [f"{words}, room for {fitting:,} requests of {result.effective['max_model_len']:,} tokens at once"]


def _ranks(facts: ModelFacts, placement: Placement) -> tuple[int, list[tuple[str, Gpu | None]]]:
    """Tensor parallelism over the GPUs given: all of them, unless fewer were asked for."""
    tp = placement.tensor_parallel
    if tp == 1 and len(placement.gpus) > 1:
        tp = len(placement.gpus)
    if tp < 1 or (placement.gpus and tp > len(placement.gpus)):
        raise WorkloadError(f"{tp} ranks need {tp} GPUs; {len(placement.gpus)} were given")
    if facts.n_heads and facts.n_heads % tp:
        raise WorkloadError(
            f"vLLM cannot split {facts.n_heads} attention heads over {tp} ranks",
            hint="use --tensor-parallel-size with a divisor of the heads",
        )
    if placement.gpus:
        return tp, [(g.name, g) for g in placement.gpus[:tp]]
    return tp, [("gpu" if tp == 1 else f"rank {i}", None) for i in range(tp)]


def _notes(facts: ModelFacts, workload: Workload, placement: Placement, s: Setup) -> list[str]:
    notes = []
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


def _effective(s: Setup, p: Plan, gpus: tuple[Gpu, ...], part: float) -> dict[str, Any]:
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
    if gpus:
        from math import ceil  # as gpu_worker.py request_memory does

        found["takes"] = {g.name: ceil(g.capacity * part) for g in gpus}
    return found


def kv_budget(result: Estimate) -> Mapping[str, int]:
    """Bytes that are left for the cache on each device: the budget less everything that is not cache."""
    takes: Mapping[str, int] = result.effective.get("takes", {})
    fixed = {d: sum(x.nbytes for x in result.lines if x.device == d and x.what not in CACHES) for d in takes}
    return {device: max(0, takes[device] - fixed[device]) for device in takes}


def concurrency(facts: ModelFacts, workload: Workload, placement: Placement, **options: Any) -> int | None:
    """How many requests of the longest context fit at once on these GPUs; None when something is not known."""
    return _fitting(estimate(facts, workload, placement=placement, **options))


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
