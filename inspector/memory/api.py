"""`inspector.memory(model)`: what running a model costs, as a function."""

from __future__ import annotations

from inspector.checkpoint import open_checkpoint
from inspector.facts import ModelFacts, read_facts
from inspector.memory.devices.asked import gpus_asked
from inspector.memory.engines import engine_of, estimate
from inspector.memory.estimate import Placement, Workload
from inspector.memory.kept import Kept, drafting, kept_with, read_beside
from inspector.memory.tagged import engine_asked, with_tag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from inspector.checkpoint import Checkpoint
    from inspector.memory.engines.protocol import Engine
    from inspector.memory.estimate import Estimate, Gpu

    Model = str | Checkpoint | ModelFacts


def facts_of(model: Model) -> ModelFacts:
    """The facts of a target, a checkpoint, or of what are facts already. Raises what opening and reading raise."""
    if isinstance(model, ModelFacts):
        return model
    return read_facts(open_checkpoint(model) if isinstance(model, str) else model)


def _opened(model: Model, engine: str | None) -> tuple[Checkpoint | None, ModelFacts, str | None]:
    """(the checkpoint, where it is one; its facts; the quant of a target's tag that is not there yet)."""
    if isinstance(model, ModelFacts):
        return None, model, None
    if not isinstance(model, str):
        return model, read_facts(model), None
    checkpoint, _, quant = with_tag(model, engine=engine, read=open_checkpoint)
    return checkpoint, read_facts(checkpoint), quant


def of_store(
    checkpoint: Checkpoint | None, rules: Engine, workload: Workload, options: dict[str, Any], *, search: bool = False,
    longest: bool = False,
) -> tuple[Workload, dict[str, Any], tuple[str, ...]]:  # fmt: skip
    """Workload and options with what a store keeps with a model, where nothing else was asked, and what drafts; words
    that say so."""
    takes = rules.option("beside") is not None and options.get("beside") is None
    given = Kept(0 if longest else workload.n_ctx)
    found = kept_with(checkpoint, given=given, opened=open_checkpoint, beside=takes, search=search)
    files = read_beside({"mmproj": found.mmproj, "lora": found.lora}, open_checkpoint)
    options = options if files is None else {**options, "beside": files}
    if rules.option("draft") is not None and options.get("draft") is None:
        draft = drafting(None, {**(workload.options or {}), **options}, open_checkpoint)
        options = options if draft is None else {**options, "draft": draft}
    return workload.replace(n_ctx=found.n_ctx or None), options, found.notes


def _workload(workload: Workload | None, ctx: int | None, parallel: int | None, kv: str | None) -> Workload:
    asked = {"n_ctx": ctx, "n_seqs": parallel, "kv_dtype_k": kv, "kv_dtype_v": kv}
    return (workload or Workload()).replace(**{name: value for name, value in asked.items() if value is not None})


def memory(
    model: Model,
    *,
    gpu: str | Gpu | Iterable[str | Gpu] = (),
    ctx: int | None = None,
    parallel: int | None = None,
    kv: str | None = None,
    engine: str | None = None,
    backend: str | None = None,
    workload: Workload | None = None,
    placement: Placement | None = None,
    **options: Any,
) -> Estimate:
    """What running a model costs with exactly these settings: lines, and bytes on each device; as `inspector memory`.

    `model`: a target, a checkpoint or facts; a tag (`org/name:Q4_K_M`) may name a quant that is not there yet, and what
    a store keeps with a model (`ollama:NAME`) counts where nothing else is asked. `gpu`: names and sizes as for
    `--gpu`, or `Gpu` records; none: all on the host. `ctx` in tokens, as the engine counts them; `parallel`:
    sequences; `kv`: the cache's type. `engine`: None for the one that people run the format with; `backend`: what
    drives the GPUs. `workload` and `placement` say all else that there is to say (what stands beside them counts
    before them); `options` are the engine's own. Bytes are in `lines`, `devices` and `total_nbytes`. Raises
    WorkloadError where the engine refuses, InspectorError for an unknown engine or GPU, and what `inspect` raises.
    """
    checkpoint, facts, tag = _opened(model, engine)
    quant = options.get("quant") or tag
    rules = engine_of(engine_asked(engine, facts.format, quant))
    options |= {"quant": quant} if quant else {}
    where = placement or Placement()
    gpus = gpus_asked(gpu, backend) or gpus_asked(where.gpus, backend)
    asked, options, notes = of_store(checkpoint, rules, _workload(workload, ctx, parallel, kv), options)
    asked, arguments = rules.settle(asked, options)
    found = estimate(
        rules.loaded(facts, arguments), asked, engine=rules.name, placement=rules.placed(where.replace(gpus=gpus)),
        **options,
    )  # fmt: skip
    return found.replace(notes=(*notes, *found.notes)) if notes else found
