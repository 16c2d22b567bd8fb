"""The columns that follow from facts: shape, quant, caches, the smallest GPU, and what engines are asked for."""

from __future__ import annotations

from inspector.errors import InspectorError, WorkloadError
from inspector.fleet.text import text
from inspector.memory.cache import kv_dtype, sum_caches, token_nbytes
from inspector.memory.engines import default_engine, engine_of, estimate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from inspector.checkpoint import Checkpoint
    from inspector.facts import ModelFacts
    from inspector.fleet.options import Row, ScanOptions

_MOST_DTYPES: Final = 64
_FACTS: Final = (
    "n_params", "n_params_active", "n_layers", "d_model", "n_experts", "vocab_size", "n_ctx_train",
)  # fmt: skip


def add_facts(row: Row, checkpoint: Checkpoint) -> ModelFacts:
    """What the model is. Raises FactsError, after what needs no facts has been added."""
    from inspector.facts import read_facts

    _add_quant(row, checkpoint)
    row["shape_key"] = shape_key(checkpoint)
    facts = read_facts(checkpoint)
    row |= {name: getattr(facts, name) for name in _FACTS}
    row |= {"arch": text(facts.arch), "known_arch": not facts.generic}
    if facts.n_params and checkpoint.files:
        row["bits_per_weight"] = round(checkpoint.tensors_nbytes * 8 / facts.n_params, 4)
    if checkpoint.format != "gguf":
        row["quant_claimed"] = text(facts.quantization)
    return facts


def _add_quant(row: Row, checkpoint: Checkpoint) -> None:
    from inspector.quantization.labels import actual_label, quant_label, share_by_type

    if checkpoint.format == "gguf":
        label = quant_label(checkpoint)
        row |= {"quant_claimed": text(label.claimed), "quant_actual": text(label.actual), "quant_honest": label.honest}
        shares = label.shares
    else:
        shares = share_by_type(checkpoint.tensors)
        row["quant_actual"] = text(actual_label(shares, shares)) if shares else None
    counts: dict[str, int] = {}
    for t in checkpoint.tensors:
        name = t.dtype.name if t.dtype is not None else t.dtype_name or "unknown"
        counts[name] = counts.get(name, 0) + 1
    row["dtypes"] = [
        {"dtype": text(s.dtype), "n_tensors": counts[s.dtype], "n_elements": s.n_elements, "nbytes": s.nbytes}
        for s in sorted(shares, key=lambda s: (-s.nbytes, s.dtype))[:_MOST_DTYPES]
    ]


def shape_key(checkpoint: Checkpoint) -> str | None:
    """What all quants of one model have in common: 16 hex digits of a hash over names and shapes, in any order."""
    if not checkpoint.tensors:
        return None
    import hashlib

    shapes = sorted(f"{t.name} {t.shape}" for t in checkpoint.tensors)
    return hashlib.sha256("\n".join(shapes).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def add_figures(row: Row, facts: ModelFacts, options: ScanOptions) -> None:
    """What it costs to run. Raises InspectorError where an engine's rules do not answer."""
    _add_caches(row, facts, options)
    row["estimates"] = list(_estimates(facts, options))
    _add_smallest(row, facts, options)


def _contexts(facts: ModelFacts, options: ScanOptions) -> list[int]:
    """Those asked for that the model was trained for, and its own."""
    trained = facts.n_ctx_train
    within = {n for n in options.contexts if not trained or n <= trained}
    return sorted(within | ({trained} if trained else set()))


def _add_caches(row: Row, facts: ModelFacts, options: ScanOptions) -> None:
    """Nothing where a layer's kind is not known: a sum without it would be wrong."""
    if not facts.layers:
        return
    f16 = kv_dtype("f16")
    first = sum_caches(facts.layers, 1, dtype_k=f16, dtype_v=f16)
    if first.unknown_layers:
        return
    row["kv_nbytes_token"] = sum(token_nbytes(c, f16, f16) for layer in facts.layers for c in layer.caches)
    row["state_nbytes"] = first.state_nbytes
    row["caches"] = [
        {"n_ctx": n, "nbytes": sum_caches(facts.layers, n, dtype_k=f16, dtype_v=f16).nbytes}
        for n in _contexts(facts, options)
    ]


def _add_smallest(row: Row, facts: ModelFacts, options: ScanOptions) -> None:
    """One sequence at the first context asked for, as the engine's server would run it."""
    from inspector.fleet.smallest import smallest_gpu
    from inspector.memory.estimate import Workload

    if not facts.tensors and not facts.stated_nbytes and not facts.promised_nbytes:
        return
    engine = engine_of(default_engine(facts.format))
    n_ctx = min(options.contexts[0], facts.n_ctx_train or options.contexts[0])
    row["smallest_gpu_n_ctx"] = n_ctx
    try:
        found = smallest_gpu(facts, engine, engine.served(Workload(n_ctx=n_ctx, n_seqs=1)))
    except WorkloadError:  # the engine runs no such model, on any device
        return
    if found is not None:
        row |= {"smallest_gpu": found.name, "smallest_gpu_nbytes": found.capacity}


def _estimates(facts: ModelFacts, options: ScanOptions) -> Iterator[dict[str, Any]]:
    """Every engine at every context on every GPU that was asked for; what an engine refuses is its row's error."""
    engines = options.engines or ((default_engine(facts.format),) if options.gpus else ())
    for name in engines:
        for n_ctx in options.contexts:
            for gpu in options.gpus or (None,):
                yield _estimated(facts, name, n_ctx, gpu)


def _estimated(facts: ModelFacts, name: str, n_ctx: int, gpu: str | None) -> dict[str, Any]:
    from inspector.memory.devices.asked import gpus_asked
    from inspector.memory.estimate import Placement, Workload

    engine = engine_of(name)
    row: dict[str, Any] = {
        "engine": engine.name, "n_ctx": n_ctx, "gpu": gpu, "nbytes": None, "grade": None, "fits": None, "error": None,
    }  # fmt: skip
    try:
        placement = engine.placed(Placement(gpus=gpus_asked(gpu or ())))
        found = estimate(facts, Workload(n_ctx=n_ctx), engine=engine.name, placement=placement)
    except InspectorError as error:
        return row | {"error": text(str(error))}
    unknown = "unknown: " + ", ".join(found.unknown) if found.unknown else None
    nbytes = None if found.unknown else found.total_nbytes
    return row | {"nbytes": nbytes, "grade": found.grade, "fits": found.fits, "error": text(unknown)}
