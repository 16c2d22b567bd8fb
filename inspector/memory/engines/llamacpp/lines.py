"""The lines of one model and its context: weights, caches, output, compute and what devices take besides.

Sources (b11434): `output_reserve` of src/llama-context.cpp, and those of the modules that this one adds up.
"""

from __future__ import annotations

from inspector.layers import UnknownCache
from inspector.memory.devices.placement import HOST, assign
from inspector.memory.engines.llamacpp.backends import backend
from inspector.memory.engines.llamacpp.backends.pools import WORKSPACE, workspace
from inspector.memory.engines.llamacpp.caches import cache_blocks
from inspector.memory.engines.llamacpp.compute import STAND_IN, compute_parts, stands_in
from inspector.memory.engines.llamacpp.loading import weight_devices
from inspector.memory.engines.llamacpp.weights import EVERY, copies, repacked, sharing_layers, weights
from inspector.memory.estimate import Line, Workload
from inspector.units import format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any, Final

    from inspector.facts import ModelFacts
    from inspector.memory.devices.placement import Assignment
    from inspector.memory.engines.llamacpp.caches import Block
    from inspector.memory.engines.llamacpp.sizes import Sizes
    from inspector.memory.engines.llamacpp.weights import Weight
    from inspector.memory.estimate import Gpu, Placement

_LABELS: Final = {
    "kv": "all tokens",
    "swa": "sliding window",
    "lid": "indexer keys",
    "csa": "compressed 4:1",
    "hca": "compressed 128:1",
    "rs": "",
    "comp": "compressors",
}


# Whose embeddings come out as wide as another key says (src/llama-model.cpp).
_OUT_WIDTH: Final = {"wavtokenizer-dec": "embedding_length"}


def model_lines(
    facts: ModelFacts,
    sizes: Sizes,
    placement: Placement,
    *,
    workload: Workload | None = None,
    repack: str | None = None,
    load_mtp: bool = False,
    more: Mapping[str, Any] | None = None,
) -> tuple[tuple[Line, ...], tuple[str, ...]]:
    """The lines of one model and its context, and the parts that are not known.

    `load_mtp`: prediction layers too; `more`: what its graph is built for besides the sizes.
    """
    assignment = assign(placement, len(facts.layers) + len(facts.nextn_layers))
    grade = "modelled" if facts.generic else "derived"
    lines = [
        *weight_lines(facts, assignment, repack, load_mtp=load_mtp),
        *cache_lines(facts, sizes, assignment, grade),
        *output_lines(facts, workload or Workload(), sizes),
    ]
    unknown = unknown_parts(facts)
    parts = compute_parts(facts, {**sizes.as_effective(), **(more or {})}, assignment)
    if parts is None:
        unknown += ("compute",)
    else:
        lines += compute_lines(facts, parts[0], parts[1])
    lines += overhead_lines(placement.gpus, assignment.devices, parts[2] if parts else {})
    return tuple(lines), unknown


def compute_lines(facts: ModelFacts, sizes: Mapping[str, int], grade: str) -> Iterator[Line]:
    """One line for each device that computes; a range where a plain decoder stands in for the architecture."""
    plain, (least, most) = stands_in(facts), STAND_IN
    how = "worst-case graph" + (f" of a plain decoder, × {least:g} to {most:g} as of known ones" if plain else "")
    for device, n in sizes.items():
        if n:
            yield Line("compute", n, grade, how, device, low=int(n / most * least) if plain else None)


def weight_lines(
    facts: ModelFacts, assignment: Assignment, repack: str | None = None, *, load_mtp: bool = False
) -> Iterator[Line]:
    """One line for each device that holds weights."""
    if not facts.tensors:
        return
    held: dict[str, list[Weight]] = {}
    for device, weight in placed_weights(facts, assignment, repack=repack, load_mtp=load_mtp):
        held.setdefault(device, []).append(weight)
    grade = "derived" if facts.n_layers_nextn or any(w.copy for ws in held.values() for w in ws) else "exact"
    moved = _repacked_nbytes(facts, held, repack) if repack else 0
    for device in (HOST, *assignment.devices):
        found = held.get(device)
        if not found:
            continue
        alignment = backend(assignment.backend_of(device)).alignment
        how = f"{len(found):,} tensor{'s' if len(found) > 1 else ''}, each padded to {alignment} B"
        twice = next((w.name for w in found if w.copy), "")
        how += f"; {twice} also as the output" if twice else ""
        if device == HOST and moved:
            how += f"; {moved:,} B of them rearranged for {repack}"
        yield Line("weights", sum(w.nbytes for w in found), grade, how, device)


def placed_weights(
    facts: ModelFacts, assignment: Assignment, *, repack: str | None = None, load_mtp: bool = False
) -> Iterator[tuple[str, Weight]]:
    """Every tensor with its device; what several devices need is there several times."""
    original = HOST
    names = dict.fromkeys((*assignment.backends, "cpu"))
    sharing = sharing_layers(facts, len(assignment.blocks))
    device_of = weight_devices(facts, assignment)
    for held in zip(*(weights(facts, load_mtp=load_mtp, backend=backend(name)) for name in names), strict=True):
        by_backend = dict(zip(names, held, strict=True))
        weight = held[0]
        if weight.layer == EVERY:
            for device in dict.fromkeys(assignment.blocks[il] for il in sharing):
                yield device, by_backend[assignment.backend_of(device)]
            continue
        device = device_of(weight.name, weight.layer)
        weight = by_backend[assignment.backend_of(device)]
        if not weight.copy:
            if weight.name == "token_embd.weight":
                original = device
            yield device, weight
        elif device != original or copies(facts, repack=repack):
            yield device, weight


def _repacked_nbytes(facts: ModelFacts, held: Mapping[str, list[Weight]], repack: str) -> int:
    by_name = {t.name: t for t in facts.tensors}
    return sum(
        w.nbytes for w in held.get(HOST, ()) if (w.copy or w.layer != "input") and repacked(by_name[w.name], repack)
    )


def cache_lines(facts: ModelFacts, sizes: Sizes, assignment: Assignment, grade: str) -> Iterator[Line]:
    """One line for each device and kind of cache."""
    groups: dict[tuple[str, str], list[Block]] = {}
    for block in cache_blocks(facts, sizes, assignment):
        groups.setdefault((assignment.cache_device(block.layer), block.cache), []).append(block)
    for (device, cache), blocks in groups.items():
        how = _how(cache, blocks, sizes)
        total = sum(b.nbytes for b in blocks)
        if total:
            yield Line(blocks[0].what, total, grade, how, device, _LABELS[cache])


def _how(cache: str, blocks: list[Block], sizes: Sizes) -> str:
    """In words: `28 layers × 32,768 cells × 2,176 B (q8_0)`."""
    first, n = blocks[0], len(blocks)
    layers = f"{n:,} layer{'s' if n > 1 else ''}"
    widths = sorted({b.cell_nbytes for b in blocks})
    each = f"{widths[0]:,} B" if len(widths) == 1 else f"{widths[0]:,} to {widths[-1]:,} B"
    if first.what == "recurrent_state":
        again = f" × {1 + sizes.n_rs_seq:,} states" if sizes.n_rs_seq else ""
        return f"{layers} × {first.cells:,} sequence{'s' if first.cells > 1 else ''}{again} × {each} (f32)"
    k, v = sizes.type_k.name.lower(), sizes.type_v.name.lower()
    types = k if k == v or cache in {"lid", "csa", "hca"} else f"K {k}, V {v}"
    streams = f" × {first.streams:,} sequences" if first.streams > 1 else ""
    return f"{layers} × {first.cells:,} cells{streams} × {each} ({types})"


def output_lines(facts: ModelFacts, workload: Workload, sizes: Sizes) -> Iterator[Line]:
    """Logits, and embeddings where asked for: one row a sequence at load (`output_reserve`, llama-context.cpp)."""
    if facts.vocab_size is None:
        return
    embeddings = bool((workload.options or {}).get("embeddings")) or facts.arch == "t5"
    width = facts.vocab_size + (embedding_width(facts) if embeddings else 0)
    rows = f"{sizes.n_seqs:,} row{'s' if sizes.n_seqs > 1 else ''}"
    yield Line("output", 4 * sizes.n_seqs * width, "derived", f"{rows} × {width:,} × 4 B")


def overhead_lines(gpus: Sequence[Gpu], names: Sequence[str], grown: Mapping[str, tuple[int, bool]]) -> Iterator[Line]:
    """What a device takes besides buffers: the driver's context, and what grows with the first batch.

    `names`: those of `gpus`; `grown`: bytes of a device's pool and whether cuBLAS is called there.
    """
    for name, gpu in zip(names, gpus, strict=True):
        if gpu.context:
            how = "CUDA context, as cards of this size report it"
            yield Line("overhead", gpu.context, "modelled", how, name, "context", low=gpu.context_low)
        pool, blas = grown.get(name, (0, False))
        work = workspace(gpu.compute_capability) if blas else 0
        # of a card that is not known, cuBLAS's workspace may be that of older ones
        less = work - WORKSPACE if work and not gpu.compute_capability else 0
        if pool or work:
            how = f"scratch of the largest operation {format_nbytes(pool)}"
            how += f", cuBLAS workspace {format_nbytes(work)}" if work else ""
            low = pool + work - less if less else None
            yield Line("overhead", pool + work, "modelled", how, name, "pools", low=low)


def embedding_width(facts: ModelFacts) -> int:
    """`n_embd_out` of src/llama-hparams.cpp."""
    keys: Mapping[str, Any] = facts.keys or {}
    if facts.arch == "clef":  # one score a token
        return 1
    width = keys.get(f"{facts.arch}.{_OUT_WIDTH.get(facts.arch, 'embedding_length_out')}")
    if isinstance(width, int) and width > 0:
        return width
    streams = keys.get(f"{facts.arch}.hyper_connection.count") if facts.arch in {"deepseek4", "qwen4exp"} else 1
    return (facts.d_model or 0) * (streams if isinstance(streams, int) else 1)


def unknown_parts(facts: ModelFacts) -> tuple[str, ...]:
    """The lines that this model's header does not say enough for."""
    unknown: tuple[str, ...] = () if facts.tensors else ("weights",)
    caches = [c for x in (*facts.layers, *facts.nextn_layers) for c in x.caches]
    if not (facts.layers or facts.nextn_layers) or any(isinstance(c, UnknownCache) for c in caches):
        unknown += ("kv_cache",)
    return unknown if facts.vocab_size is not None else (*unknown, "output")
