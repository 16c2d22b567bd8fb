"""What llama.cpp loads beside the model (projector, adapters, a draft), and what llama-server keeps as it runs.

Sources (b11434): tools/mtmd/clip.cpp, src/llama-adapter.cpp, common/speculative.cpp
(`common_base_params_to_speculative`, `common_speculative_init_result`), tools/server/server-context.cpp
(`create_checkpoint`), common/common.h for defaults.
"""

from __future__ import annotations

from inspector.architectures.gguf import gguf_arch
from inspector.facts.gguf import read_by
from inspector.layers import IndexCache, KVCache, LatentCache, StateCache
from inspector.memory.devices.placement import HOST, assign
from inspector.memory.engines.llamacpp.backends import backend, policies
from inspector.memory.engines.llamacpp.caches import F32_BYTES, cache_blocks
from inspector.memory.engines.llamacpp.compute import compute_parts
from inspector.memory.engines.llamacpp.drafting import device_lines, draft_output_line, output_line, read_by_draft
from inspector.memory.engines.llamacpp.lines import cache_lines, model_lines, output_lines
from inspector.memory.engines.llamacpp.sizes import WITH_ENCODER, effective
from inspector.memory.engines.llamacpp.speculation import N_DRAFT, NO_SPECULATION, Speculation, spec_types, type_for
from inspector.memory.engines.llamacpp.target import Target
from inspector.memory.engines.llamacpp.weights import held_nbytes, layer_of
from inspector.memory.estimate import Line, Workload
from inspector.record import Record
from inspector.units import MIB, format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any, Final

    from inspector.facts import ModelFacts
    from inspector.formats.modelfile import TensorInfo
    from inspector.layers import Cache, Layer
    from inspector.memory.devices.placement import Assignment
    from inspector.memory.engines.llamacpp.sizes import Sizes
    from inspector.memory.estimate import Placement

CHECKPOINTS: Final = 32  # n_ctx_checkpoints, a slot
CACHE_RAM: Final = 8192  # cache_ram_mib
# Models whose prediction layers have another memory than attention's (create_memory, src/llama-model.cpp).
_OTHER_MEMORY: Final = frozenset(("nemotron_h", "glm5-next"))
# Models whose prediction layers pick blocks of keys as their own layers do (qwen4exp.cpp).
_INDEXED: Final = frozenset(("qwen4exp",))
_WINDOWED: Final = frozenset(("deepseek4",))  # their prediction layers keep keys and values of a window
_CELL_META: Final = 12  # position, number of sequences, sequence: 4 bytes each (state_write_meta)


class Projector(Record):
    """A multimodal projector's file: its tensors and its metadata."""

    tensors: Sequence[TensorInfo]
    keys: Mapping[str, Any]


class Beside(Record):
    """What is loaded beside the model.

    `adapters`: tensors of each; `draft`: a draft model. `checkpoints`: of the context, a slot; `cache_ram`: MiB of the
    prompt cache, below 0 without a limit. `named`: what each file was asked for as ("mmproj", "lora", "draft"), and
    its name.
    """

    projector: Projector | None = None
    adapters: tuple[Sequence[TensorInfo], ...] = ()
    draft: ModelFacts | None = None
    speculation: Speculation = NO_SPECULATION
    checkpoints: int = CHECKPOINTS
    cache_ram: int = CACHE_RAM
    named: tuple[tuple[str, str], ...] = ()


NOTHING: Final = Beside()


class Extra(Record):
    """Lines to add to an estimate, parts that cannot be known, and notes."""

    lines: tuple[Line, ...] = ()
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def beside_of(arguments: dict[str, Any]) -> Beside:
    """Takes what concerns it out of an estimate's arguments. Raises WorkloadError for an unknown --spec-type."""
    take = arguments.pop
    given: Beside = take("beside", None) or NOTHING
    n_draft = take("spec_draft_n_max", None)
    speculation = Speculation(
        types=spec_types(take("spec_type", None), given.draft),
        n_draft=N_DRAFT if n_draft is None else n_draft,
        type_k=take("cache_type_k_draft", None) or "f16",
        type_v=take("cache_type_v_draft", None) or "f16",
    )
    kept = {"checkpoints": take("ctx_checkpoints", None), "cache_ram": take("cache_ram", None)}
    return given.replace(speculation=speculation, **{k: v for k, v in kept.items() if v is not None})


def extra(
    facts: ModelFacts,
    sizes: Sizes,
    placement: Placement,
    beside: Beside,
    *,
    server: bool,
    memo: dict[Any, Any] | None = None,
) -> Extra:
    """Everything beside the model itself. Raises WorkloadError where llama.cpp would refuse a draft.

    `memo`: keeps what a draft takes, for `fit`, which asks for one draft in many places.
    """
    if beside.draft is not None and beside.draft.build != facts.build:
        beside = beside.replace(draft=read_by(beside.draft, facts.build))
    assignment = assign(placement, len(facts.layers) + len(facts.nextn_layers))
    found = [_projector(beside, placement, flash=sizes.flash_attn), Extra(tuple(_adapters(assignment, beside)))]
    draft = _draft(facts, sizes, placement, beside, {} if memo is None else memo)
    found.append(draft)
    if beside.speculation.types:
        found.append(_drafting(facts, sizes, assignment, beside))
    if server:
        found.append(_later(facts, sizes, beside, draft))
    return Extra(*(tuple(x for one in found for x in getattr(one, name)) for name in Extra._fields))


def _held(tensors: Sequence[TensorInfo], name: str) -> int:
    return sum(held_nbytes(t, backend(name)) for t in tensors)


def _projector(beside: Beside, placement: Placement, *, flash: bool) -> Extra:
    """Weights on the first device, and what the warm-up reserves there and on the host."""
    from inspector.memory.engines.llamacpp.graph.tower import tower_buffers

    projector = beside.projector
    if projector is None:
        return Extra()
    a = assign(placement, 0)
    places = (*a.devices[:1], HOST)
    backends = policies(a.backends[:1])
    how = f"{len(projector.tensors):,} tensors of the projector"
    nbytes = sum(held_nbytes(t, backends[0]) for t in projector.tensors)
    weights = Line("weights", nbytes, "derived", how, places[0], "mmproj")
    reserved = tower_buffers(projector.tensors, projector.keys, backends, flash=flash)
    if reserved is None:
        return Extra((weights,), ("the projector's compute: a tower of another kind than is known here",))
    grade = "derived" if all(b.measured for b in backends) else "modelled"
    how = "one image of the size that the server warms up with"
    found = zip(reserved, places, strict=True)
    return Extra((weights, *(Line("compute", n, grade, how, device, "mmproj") for n, device in found if n)))


def _adapters(assignment: Assignment, beside: Beside) -> Iterator[Line]:
    """An adapter's weights: each pair lies where the tensor it adapts lies (src/llama-adapter.cpp)."""
    for tensors in beside.adapters:
        places: dict[str, list[TensorInfo]] = {}
        for t in tensors:
            base = t.name.removesuffix(".lora_a").removesuffix(".lora_b")
            places.setdefault(assignment.weight_device(base, layer_of(base)), []).append(t)
        for device, found in places.items():
            how = f"{len(found):,} tensors of the adapter"
            nbytes = _held(tuple(found), assignment.backend_of(device))
            yield Line("weights", nbytes, "derived", how, device, "lora")


# --- drafts


def draft_sizes(facts: ModelFacts, sizes: Sizes, speculation: Speculation) -> Sizes:
    """The sizes of a draft's context: the model's own context, cache types of its own, a row of logits a sequence."""
    asked = Workload(
        n_ctx=sizes.n_ctx, n_seqs=sizes.n_seqs, n_batch=sizes.n_batch, n_ubatch=sizes.n_ubatch,
        kv_dtype_k=speculation.type_k, kv_dtype_v=speculation.type_v, kv_unified=sizes.kv_unified,
        flash_attn=None if sizes.flash_attn_auto else sizes.flash_attn, swa_full=sizes.swa_full,
    )  # fmt: skip
    found = effective(facts, asked, offload_kqv=sizes.offload_kqv, alone=False)
    if facts.arch in WITH_ENCODER:
        return found
    rows = sizes.n_seqs * speculation.draft_outputs
    return found.replace(n_outputs_max=min(found.n_batch, rows))


def _draft(facts: ModelFacts, sizes: Sizes, placement: Placement, beside: Beside, memo: dict[Any, Any]) -> Extra:
    """A draft model's weights, cache and compute; of the model's own prediction layers, cache and compute."""
    speculation = beside.speculation
    if beside.draft is None:
        return _predicting(facts, sizes, placement, speculation) if speculation.mtp else Extra()
    own = placement.replace(n_gpu_layers=None, n_cpu_moe=0, overrides=())
    arch = gguf_arch(beside.draft.arch)
    borrows = arch is not None and arch.draft is not None  # weights or caches of the model, wherever they are
    key = ("draft", *sizes.as_effective().values(), own, placement if borrows else None)
    if key not in memo:
        assignment = assign(placement, len(facts.layers) + len(facts.nextn_layers))
        target = Target(facts, sizes.as_effective(), assignment) if borrows else None
        drafts = draft_sizes(beside.draft, sizes, speculation)
        memo[key] = _draft_model(beside.draft, drafts, own, speculation, target)
    found: Extra = memo[key]
    return found


def _draft_model(
    draft: ModelFacts, sizes: Sizes, placement: Placement, speculation: Speculation, target: Target | None
) -> Extra:
    reads = gguf_arch(draft.arch)
    names = frozenset(t.name for t in draft.tensors)
    sampled = speculation.sampled(draft.arch, names) if reads is not None and reads.draft is not None else 0
    lines, unknown = model_lines(draft, sizes, placement, more={"target": target, "sampled": sampled})
    kept = tuple(x.replace(label=f"draft {x.label}".rstrip()) for x in lines if x.label != "context")
    unused = f"the draft model is loaded, and unused without --spec-type {type_for(draft.arch)}"
    idle = () if speculation.types else (unused,)
    return Extra(kept, tuple(f"the draft's {part}" for part in unknown), idle)


def _predicting(facts: ModelFacts, sizes: Sizes, placement: Placement, speculation: Speculation) -> Extra:
    """The context of the model's own prediction layers: their cache, output and compute."""
    if facts.arch in _OTHER_MEMORY:
        return Extra((), ("the context of prediction layers",))
    layers = (*facts.layers, *facts.nextn_layers)
    n_main = facts.n_layers or 0
    drafting = facts.replace(
        layers=tuple(x.replace(caches=()) for x in facts.layers),
        nextn_layers=tuple(x.replace(caches=_predicts(x, facts)) for x in layers[n_main:]),
    )
    own = draft_sizes(facts, sizes, speculation).replace(n_rs_seq=0)
    caches = cache_lines(drafting, own, assign(placement, len(layers)), "derived")
    assignment = assign(placement, len(layers))
    reserved = compute_parts(
        facts, {**own.as_effective(), "predicting": True, "sampled": speculation.sampled(facts.arch)}, assignment
    )
    compute = (
        []
        if reserved is None
        else [Line("compute", n, reserved[1], "worst-case graph", device) for device, n in reserved[0].items() if n]
    )
    lines = (*caches, *output_lines(facts, Workload(), own), *compute)
    named = tuple(x.replace(label=f"draft {x.label}".rstrip()) for x in lines)
    return Extra(named, () if reserved is not None else ("the compute of prediction layers",))


def _predicts(layer: Layer, facts: ModelFacts) -> tuple[Cache, ...]:
    """Prediction layers attend as the model's own attention layers do."""
    latent = next((c for x in facts.layers for c in x.caches if isinstance(c, LatentCache)), None)
    if latent is not None and facts.arch in _WINDOWED:
        return (KVCache(1, latent.width, latent.width, latent.window),)
    if latent is not None:
        return (latent.replace(window=None),)
    if not layer.n_kv_heads or not layer.head_dim_k or not layer.head_dim_v:
        return ()
    kept = KVCache(layer.n_kv_heads, layer.head_dim_k, layer.head_dim_v, layer.window)
    index = next((c for x in facts.layers for c in x.caches if isinstance(c, IndexCache)), None)
    return (kept, index) if index is not None and facts.arch in _INDEXED else (kept,)


# --- what grows after load


def _drafting(facts: ModelFacts, sizes: Sizes, assignment: Assignment, beside: Beside) -> Extra:
    """What the first requests add in both contexts."""
    speculation, draft = beside.speculation, beside.draft
    read = read_by_draft(facts, draft, speculation)
    if isinstance(read, str):
        return Extra((), (read,))
    n_rows = min(sizes.n_batch, sizes.n_seqs * (1 + speculation.n_max))
    lines = [*device_lines(facts, sizes, assignment, read), *output_line(facts, sizes, read, n_rows=n_rows)]
    drafts = facts if draft is None and speculation.mtp else draft
    if drafts is not None:
        names = frozenset(t.name for t in drafts.tensors)
        sampled, selects = speculation.sampled(drafts.arch, names) > 0, "selector_hidden.weight" in names
        lines += draft_output_line(drafts, sizes, speculation, sampled=sampled, selects=selects)
    return Extra(tuple(lines))


def _later(facts: ModelFacts, sizes: Sizes, beside: Beside, draft: Extra) -> Extra:
    """Host memory that llama-server takes as it runs: checkpoints of contexts, and prompts of earlier requests."""
    lines, unknown = [], []
    all_slots = checkpoints_nbytes(facts, sizes)
    if all_slots and beside.checkpoints > 0:
        # a draft's plain cache has no part to leave out: all of it is kept (llama_kv_cache::state_write)
        all_slots += sum(x.nbytes for x in draft.lines if x.what == "kv_cache")
        how = f"{beside.checkpoints:,} times {format_nbytes(all_slots)} of {sizes.n_seqs:,} slots, --ctx-checkpoints"
        lines.append(_up_to(beside.checkpoints * all_slots, how, "context checkpoints"))
    if beside.cache_ram > 0:
        lines.append(_up_to(beside.cache_ram * MIB, "what --cache-ram allows", "prompt cache"))
    if beside.cache_ram < 0:
        unknown.append("the prompt cache, which --cache-ram -1 does not limit")
    return Extra(tuple(lines), tuple(unknown))


def _up_to(nbytes: int, how: str, label: str) -> Line:
    return Line("overhead", 0, "derived", how, HOST, label, peak_nbytes=nbytes)


def checkpoints_nbytes(facts: ModelFacts, sizes: Sizes) -> int:
    """Bytes of one checkpoint of every slot: what cannot be rolled back, states and windows; 0: none is made."""
    one = sizes.replace(n_seqs=1, n_streams=1, n_rs_seq=0)
    states = 0
    for layer in facts.layers:
        for cache in layer.caches:
            if isinstance(cache, StateCache):
                columns = cache.conv_channels * max(cache.conv_kernel - 1, 0)
                states += (columns + cache.state_elems) * F32_BYTES
    windows = [x for x in cache_blocks(facts, one) if x.cache == "swa"] if not sizes.swa_full else []
    cell = sum(block.cell_nbytes for block in windows)
    # slots that share one context have no more tokens in all than it holds
    cells = min(sizes.n_ctx, sizes.n_seqs * min(sizes.n_ctx_seq, facts.window or 0))
    return sizes.n_seqs * states + (cells * (cell + _CELL_META) if windows else 0)
