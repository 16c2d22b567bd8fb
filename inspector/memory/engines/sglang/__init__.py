"""SGLang 0.5.23: weights of each rank, one pool of tokens, and what it keeps free of each card.

Its pool is a share of the memory that is free before the weights are there, less the weights
(mem_cache/kv_cache_configurator.py _profile_available_bytes): no run measures activations, the share leaves them room.
"""

from __future__ import annotations

from inspector.errors import WorkloadError
from inspector.layers import KVCache, LatentCache
from inspector.memory.cache import kv_dtype, row_nbytes
from inspector.memory.engines.rows.sglang import ENGINE
from inspector.memory.engines.sglang.reserve import Step, fraction_of, step_of
from inspector.memory.engines.sglang.support import TWO_POOLS, why_not
from inspector.memory.engines.shared.hf_weights import file_nbytes, model_dtype, uncounted, vllm_weights, without_file
from inspector.memory.engines.shared.kv_options import keep_of, options_of, whole_option, with_options, with_settings
from inspector.memory.engines.shared.runs_on import classes_of
from inspector.memory.engines.shared.runtime import taken
from inspector.memory.estimate import Device, Estimate, Line, Placement
from inspector.record import Record
from inspector.units import MIB, format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from inspector.dtypes import Dtype
    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Gpu, Workload

DEFAULT_CONTEXT: Final = 2048
DISTRIBUTED: Final = 1800 * MIB  # NCCL and its own all-reduce buffers: its logs say 1.8 to 2.0 GB a rank, of 8
_KV_NAMES: Final = ("auto", "bf16", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2")


class _Run(Record):
    """One run's settings, decided. `cell`: bytes of one token on one rank."""

    n_ctx: int
    n_seqs: int
    ranks: int
    dtype: str
    kv: Dtype
    cell: int
    latent: bool


def compute_dtype(facts: ModelFacts) -> str:
    """The dtype of `--dtype auto`: float32 runs in float16 (model_config.py _get_and_verify_dtype)."""
    own = model_dtype(facts)
    return "float16" if own is None or kv_dtype(own).name == "F32" else own


def _kv(workload: Workload, dtype: str) -> Dtype:
    k, v = workload.kv_dtype_k, workload.kv_dtype_v
    asked = (k or v or "auto").lower()
    if asked not in _KV_NAMES or (k and v and k != v):
        raise WorkloadError(f"SGLang keeps its cache as {', '.join(_KV_NAMES)}, not as {k}/{v}")
    return kv_dtype(dtype if asked == "auto" else asked)


def _cells(facts: ModelFacts, workload: Workload, *, ranks: int, kv: Dtype) -> tuple[int, bool, list[str]]:
    """(bytes of a token on one rank, whether caches are latent, kinds of cache that no rule here follows)."""
    cell, latent, strange = 0, False, set()
    two_pools = any(name in TWO_POOLS for name in classes_of(facts))
    for layer in facts.layers:
        if layer.kind == "unknown" and not layer.caches:
            strange.add("unknown")
        for kept in layer.caches:
            cache = with_options(kept, workload)[0]
            if isinstance(cache, KVCache) and not (two_pools and cache.window is not None):
                heads = max(1, cache.n_kv_heads // ranks)
                cell += row_nbytes(heads * (cache.head_dim_k + cache.head_dim_v), kv)
            elif isinstance(cache, LatentCache) and len(layer.caches) == 1:
                cell, latent = cell + row_nbytes(cache.width, kv), True
            else:
                strange.add(getattr(cache, "kind", "") or layer.kind)
    return cell, latent, sorted(strange)


def _fraction(workload: Workload, gpu: Gpu, step: Step, run: _Run) -> float:
    value = options_of(workload).get("mem_fraction_static")
    if value is None:
        return fraction_of(gpu.capacity, step, ranks=run.ranks, latent=run.latent)
    if not isinstance(value, (int, float)) or not 0 < value < 1:
        raise WorkloadError(f"mem_fraction_static is {value!r}; it must be above 0 and below 1")
    return float(value)


def _weights(facts: ModelFacts, run: _Run, device: str) -> Line | None:
    loaded = vllm_weights(facts, run.dtype, tp=run.ranks)
    if facts.tensors:
        same = run.ranks == 1 and loaded.nbytes == file_nbytes(facts.tensors)
        how = "; ".join((f"{len(facts.tensors):,} tensors", *loaded.how))
        return Line("weights", loaded.nbytes, "exact" if same else "modelled", how, device)
    found = without_file(facts, loaded, run.dtype, tp=1 if facts.promised else run.ranks)
    return Line("weights", found[0], "modelled", found[1], device) if found else None


def _rank_lines(facts: ModelFacts, run: _Run, device: str) -> list[Line]:
    weights = _weights(facts, run, device)
    lines = [weights] if weights else []
    if run.cell:
        how = f"{run.n_seqs} × {run.n_ctx:,} tokens × {run.cell:,} B, every layer and token ({run.kv.name})"
        lines.append(Line("kv_cache", run.n_seqs * run.n_ctx * run.cell, "modelled", how, device))
    return lines


def _card_lines(gpu: Gpu, run: _Run, fraction: float, step: Step) -> list[Line]:
    """What the runtime takes before the weights, and what is kept free once they are there."""
    before = taken(gpu) + (DISTRIBUTED if run.ranks > 1 else 0)
    free = gpu.capacity - before
    words = "CUDA context" + (f" and buffers of {run.ranks} ranks" if run.ranks > 1 else "")
    kept = (
        f"kept free for activations of {step.chunk:,} tokens and CUDA graphs: 1 − {fraction:g} of {format_nbytes(free)}"
    )
    return [
        Line("compute", free - int(free * fraction), "modelled", kept, gpu.name),
        Line("overhead", before, "modelled", words, gpu.name),
    ]


def _run(facts: ModelFacts, workload: Workload, placement: Placement) -> tuple[_Run, list[str]]:
    dtype = str(options_of(workload).get("dtype") or compute_dtype(facts)).lower().removeprefix("torch.")
    ranks = max(placement.tensor_parallel, 1)
    if facts.n_heads and facts.n_heads % ranks:
        raise WorkloadError(f"SGLang cannot split {facts.n_heads} attention heads over {ranks} ranks")
    if placement.gpus and ranks > len(placement.gpus):
        raise WorkloadError(f"{ranks} ranks need as many GPUs, not {len(placement.gpus)}")
    kv, keep = _kv(workload, dtype), keep_of(workload)
    cell, latent, strange = _cells(facts, workload, ranks=ranks, kv=kv)
    n = workload.n_ctx or facts.n_ctx_train or DEFAULT_CONTEXT
    n = keep.tokens(n) if keep else n
    return _Run(n, workload.n_seqs or 1, ranks, dtype, kv, cell, latent), strange


def _pool_notes(run: _Run, pools: tuple[int, ...]) -> list[str]:
    """How many tokens the pool holds, and how many requests that is."""
    tokens = max(min(pools), 0) // run.cell
    words = [f"SGLang fills its share: {format_nbytes(max(min(pools), 0))} a GPU are {tokens:,} tokens of cache"]
    n = tokens // run.n_ctx
    if not n:
        return [*words, f"no room for one request of {run.n_ctx:,} tokens"]
    return [*words, f"room for {n:,} request{'s' * (n > 1)} of {run.n_ctx:,} tokens at once; more wait"]


class _Cards(Record):
    """What lies on each card: its lines and verdict, bytes that its pool would have, its share; the step's sizes."""

    lines: tuple[Line, ...]
    devices: tuple[Device, ...]
    pools: tuple[int, ...]
    fractions: tuple[float, ...]
    step: Step


def _on_cards(facts: ModelFacts, workload: Workload, run: _Run, gpus: tuple[Gpu, ...]) -> _Cards:
    chunk, graph, most = (
        whole_option(workload, name, 0) or None
        for name in ("chunked_prefill_size", "cuda_graph_max_bs_decode", "max_running_requests")
    )
    graphs = not options_of(workload).get("disable_cuda_graph")
    least = min((gpu.capacity for gpu in gpus), default=0)
    step = step_of(least, ranks=run.ranks, chunk=chunk, graph_seqs=graph, graphs=graphs)
    if most is not None and graph is None:  # no graph for more requests than run (memory_hook.py)
        step = step.replace(graph_seqs=min(step.graph_seqs, most))
    lines: list[Line] = []
    devices: list[Device] = []
    pools: list[int] = []
    fractions = [_fraction(workload, gpu, step, run) for gpu in gpus]
    for gpu, fraction in zip(gpus, fractions, strict=True):
        mine = [*_rank_lines(facts, run, gpu.name), *_card_lines(gpu, run, fraction, step)]
        used = sum(line.nbytes for line in mine)
        pools.append(gpu.capacity - sum(line.nbytes for line in mine if line.what != "kv_cache"))
        fits = used <= gpu.capacity
        devices.append(Device(gpu.name, gpu.capacity, used, fits, backend=gpu.backend, unified=gpu.unified))
        lines += mine
    return _Cards(tuple(lines), tuple(devices), tuple(pools), tuple(fractions), step)


def _unknown(facts: ModelFacts, strange: list[str], lines: tuple[Line, ...], *, on_cards: bool) -> tuple[str, ...]:
    """The parts that no line counts."""
    found = [f"cache: the pools of {', '.join(strange)} layers were not derived"] if strange else []
    found += [] if any(line.what == "weights" for line in lines) else ["weights: no tensors were read"]
    found += uncounted(facts)
    found += [] if on_cards else ["what is kept free for activations: it goes by the size of the card (--gpu)"]
    return tuple(found)


def estimate(facts: ModelFacts, workload: Workload, *, placement: Placement | None = None, **settings: Any) -> Estimate:
    """What SGLang needs to run `n_seqs` requests (default 1) of `n_ctx` tokens on every rank. Bytes.

    `settings` (or the same names in `workload.options`, beside kv_keep and window): the options of its row, spelled as
    SGLang's own. Raises WorkloadError where SGLang would refuse.
    """
    placement = placement or Placement()
    workload = with_settings(workload, settings, ENGINE)
    if why := why_not(facts, ()):
        raise WorkloadError(why)
    run, strange = _run(facts, workload, placement)
    cards = _on_cards(facts, workload, run, placement.gpus[: run.ranks])
    lines = cards.lines or tuple(_rank_lines(facts, run, "host"))
    unknown = _unknown(facts, strange, lines, on_cards=bool(cards.devices))
    effective: dict[str, Any] = {
        "n_ctx": run.n_ctx, "n_seqs": run.n_seqs, "tensor_parallel_size": run.ranks, "dtype": run.dtype,
        "kv_cache_dtype": run.kv.name.lower(), "bytes_per_token": run.cell,
    }  # fmt: skip
    if cards.devices:
        effective["mem_fraction_static"] = min(cards.fractions)
        effective["chunked_prefill_size"] = cards.step.chunk
        effective["cuda_graph_max_bs_decode"] = cards.step.graph_seqs
    notes: list[str] = []
    if run.cell and not unknown:
        effective["max_total_num_tokens"] = max(min(cards.pools), 0) // run.cell
        notes = _pool_notes(run, cards.pools)
    return Estimate("sglang", workload, effective, lines, cards.devices, tuple(notes), unknown)
