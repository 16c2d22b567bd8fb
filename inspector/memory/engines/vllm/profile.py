"""What vLLM's profiling run holds at its peak, what its sampler keeps, and the size of a step.

vLLM 0.33.0: engine/arg_utils.py (defaults), v1/worker/gpu/model_runner.py profile_run, v1/worker/gpu/sample/.
"""

from __future__ import annotations

from inspector.memory.engines.shared.hf_weights import pools
from inspector.memory.engines.shared.kv_options import whole_option
from inspector.memory.engines.shared.runtime import LIBRARIES
from inspector.memory.estimate import Line
from inspector.record import Record
from inspector.units import GIB, MIB, format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Gpu, Workload

# (from this much memory, tokens of a batch, sequences): engine/arg_utils.py get_batch_defaults, API server.
_SERVER_DEFAULTS: Final = ((160 * GIB, 16384, 1024), (70 * GIB, 8192, 1024), (0, 2048, 256))
_SMALL_TIER: Final = ("A100", "GB10", "DGX Spark")  # as much memory, but kept to the defaults of smaller cards
# Bytes a logit beside the model's own. Model Runner V2: a float32 copy, and probabilities for the fused sampler.
SAMPLER_V2: Final = 4 + 4
# The most: float32 logits sorted whole, with their indices, as Model Runner V1 does (a float32 copy, sorted values and
# int64 indices, the sort's second pair of both, its 8-byte marks: v1/sample/ops/topk_topp_sampler.py, torch's sort).
SORTED: Final = 4 + (4 + 8) + (4 + 8) + 8
# The most that was printed of that by a model with experts: GLM-5.2 on four B200, which sorts.
_SEEN: Final = 1.09
# Shares of the rule's figure that a profiling run is between: least, most of a text model, most with towers.
LIKELY: Final = (0.5, 1.5, 3.0)
# A count of output tokens (int32) and a bit of the prompt for each row and word (sample/penalties.py).
PENALTIES_BITS: Final = 32 + 1


class Batch(Record):
    """What one step takes at most: tokens, and sequences."""

    tokens: int
    seqs: int


def tier(gpus: tuple[Gpu, ...]) -> tuple[int, int]:
    """Tokens and sequences of one step that the API server takes by default on these cards."""
    memory = min((g.capacity for g in gpus), default=0)
    for floor, tokens, seqs in _SERVER_DEFAULTS:
        small = any(name in g.name for g in gpus for name in _SMALL_TIER)
        if memory >= floor and not (floor == 70 * GIB and small):
            return tokens, seqs
    raise AssertionError("the last row takes any GPU")


def batch_of(workload: Workload, gpus: tuple[Gpu, ...], max_model_len: int) -> Batch:
    """What the API server picks: sequences by the card, tokens by the card and at most all sequences' contexts."""
    tier_tokens, tier_seqs = tier(gpus)
    wanted = whole_option(workload, "max_num_seqs", workload.n_seqs or tier_seqs)
    tokens = min(tier_tokens, wanted * max_model_len)
    tokens = whole_option(workload, "max_num_batched_tokens", workload.n_batch or tokens)
    asked = workload.n_seqs is not None or (workload.options or {}).get("max_num_seqs") is not None
    return Batch(tokens=tokens, seqs=wanted if asked else min(wanted, tokens))


def _mlp_nbytes(facts: ModelFacts, tokens: int, *, tp: int, elem: int) -> int:
    """The widest MLP, or the experts' workspaces (layers/fused_moe/experts/triton_moe.py)."""
    h, inter = facts.d_model or 0, facts.d_ff
    mlp = tokens * elem * (2 * h + 3 * -(-(inter or 0) // tp))
    if facts.n_experts_used and facts.d_ff_expert:
        inner = -(-facts.d_ff_expert // tp)
        picked = tokens * facts.n_experts_used * elem * (max(inner, h) + max(2 * inner, h))
        mlp = max(mlp, picked + tokens * h * elem * 3)
    return mlp


def activation_nbytes(
    facts: ModelFacts, batch: Batch, *, tp: int, elem: int, sampler: int = SAMPLER_V2
) -> tuple[int, str] | None:
    """Peak of the profiling run on one rank: the largest MLP, or the sampler over rows of logits; None without shapes.

    The hidden states of the whole batch live beside the logits. Pooling models have no sampler.
    """
    h = facts.d_model
    if not h or not (facts.d_ff or facts.d_ff_expert):
        return None
    mlp = _mlp_nbytes(facts, batch.tokens, tp=tp, elem=elem)
    rows = 0 if pools(facts) else min(batch.seqs, batch.tokens)
    logits = rows * (facts.vocab_size or 0) * (elem + sampler) + batch.tokens * h * elem
    words = f"a profiling batch of {batch.tokens:,} tokens" if mlp >= logits else f"{rows:,} rows of logits, sampled"
    return max(mlp, logits), words


def activation_range(peak: int, *, towers: bool, sorts: int = 0, experts: bool = False) -> tuple[int, int]:
    """(least, most) bytes of the profiling run: every figure that is known of 2026 lies between.

    `peak`: by the source; `sorts`: the same with every logit sorted. Start-up logs of 0.22 to 0.31 print 0.6 to 3.9
    times the peak (fixtures/vllm_starts.jsonl), hardly more than if they sorted. Half of the peak is kept free in any
    case, twice of it for towers, whose own profiling run is in what is printed.
    """
    low, text, seen = LIKELY
    return int(peak * low), max(int(peak * (seen if towers else text)), int(sorts * (_SEEN if experts else 1)))


def activation_line(peak: tuple[int, str], span: tuple[int, int], batch: Batch, device: str, *, towers: bool) -> Line:
    """The upper end of the peak's range as a line, with the range and the settings that it hangs on."""
    nbytes, what = peak
    more = ", with what towers profile" if towers else ""
    settings = f"max_num_batched_tokens {batch.tokens:,}, max_num_seqs {batch.seqs:,}"
    how = f"{what} ({settings}): {format_nbytes(nbytes)} by the source; at most as if all logits were sorted{more}"
    return Line("compute", span[1], "modelled", how, device, low=span[0])


# MiB of a captured graph and a layer, least and most of what start-up logs print of CUDA graphs whose settings they
# state (fixtures/vllm_starts.jsonl): of one rank, of one of several with and without experts, and on ROCm. What kernels
# and their buffers take has no rule; captured graphs, and the layers that each holds, are counted.
GRAPHS: Final = {"one": (0.08, 0.21), "dense": (0.08, 0.40), "experts": (0.08, 0.55), "rocm": (0.08, 1.12)}
# GiB, least and most of what such logs print beside weights of one rank of several: NCCL, buffers of its own
# all-reduce, workspaces of kernels, which experts have most of.
SEVERAL: Final = {"dense": (0.21, 0.55), "experts": (0.21, 1.70)}


def captured(seqs: int, tokens: int, gpu: Gpu | None) -> int:
    """How many graphs a rank captures, piecewise and of decode steps alone: config/vllm.py _set_cudagraph_sizes."""
    most = 1024 if gpu is not None and gpu.compute_capability.startswith("10.") else 512
    limit = min(2 * seqs, most, tokens)
    sizes = [1, 2, 4, *range(8, 256, 8), *range(256, most + 1, 16)]
    found: int = sum(n <= limit for n in sizes) + sum(n <= min(seqs, limit) for n in sizes)
    return found


def overhead_lines(facts: ModelFacts, batch: Batch, gpu: Gpu | None, n_gpus: int, device: str) -> list[Line]:
    """What libraries take of one rank, and its CUDA graphs. `facts`: of the rank's layers.

    vLLM counts from what is free at its start: CUDA's context is in the share of the card that it leaves alone.
    """
    hidden, many = gpu.reserve if gpu else 0, n_gpus > 1
    kind = "experts" if facts.n_experts_used else "dense"
    low, high = (hidden + int(gib * GIB) for gib in (SEVERAL[kind] if many else LIBRARIES))
    if gpu and gpu.reserve_low is not None:
        low -= hidden - gpu.reserve_low
    words = "libraries" + (f", NCCL of {n_gpus} ranks" if many else "") + (", and what CUDA hides" if hidden else "")
    runtime = Line("overhead", high, "modelled", words, device, "runtime", low=low)
    graphs = captured(batch.seqs, batch.tokens, gpu) * len(facts.layers)
    cuda = gpu is None or gpu.backend == "cuda"
    low, high = (int(mib * MIB * graphs) for mib in GRAPHS["rocm" if not cuda else kind if many else "one"])
    how = f"{graphs // max(len(facts.layers), 1)} CUDA graphs of {len(facts.layers)} layers, none with --enforce-eager"
    return [runtime, Line("overhead", high, "modelled", how, device, "cuda_graphs", low=low)]


def sampler_line(facts: ModelFacts, batch: Batch, device: str) -> list[Line]:
    """What the sampler keeps for penalties as long as it runs; nothing for pooling models."""
    nbytes = batch.seqs * (facts.vocab_size or 0) * PENALTIES_BITS // 8
    if pools(facts) or not nbytes:
        return []
    how = f"counts of output tokens for penalties, {batch.seqs:,} sequences × {facts.vocab_size:,} words"
    return [Line("overhead", nbytes, "modelled", how, device, "sampler")]
