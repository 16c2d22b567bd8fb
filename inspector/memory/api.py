"""`inspector.memory(model)`: what running a model costs, as a function."""

from __future__ import annotations

from inspector.checkpoint import open_checkpoint
from inspector.facts import ModelFacts, read_facts
from inspector.memory.devices.asked import gpus_asked
from inspector.memory.engines import default_engine, engine_name, engine_of, estimate
from inspector.memory.estimate import Placement, Workload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from inspector.checkpoint import Checkpoint
    from inspector.memory.estimate import Estimate, Gpu

    Model = str | Checkpoint | ModelFacts


def facts_of(model: Model) -> ModelFacts:
    """The facts of a target, a checkpoint, or of what are facts already. Raises what opening and reading raise."""
    if isinstance(model, ModelFacts):
        return model
    return read_facts(open_checkpoint(model) if isinstance(model, str) else model)


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

    `model`: a target, a checkpoint or facts. `gpu`: names and sizes as for `--gpu`, or `Gpu` records; none: all on the
    host. `ctx` in tokens, as the engine counts them; `parallel`: sequences; `kv`: the cache's type. `engine`: None for
    the one that people run the format with; `backend`: what drives the GPUs. `workload` and `placement` say all else
    that there is to say (what stands beside them counts before them); `options` are the engine's own. Bytes are in
    `lines`, `devices` and `total_nbytes`. Raises WorkloadError where the engine refuses, InspectorError for an unknown
    engine or GPU, and what `inspect` raises.
    """
    facts = facts_of(model)
    rules = engine_of(engine_name(engine) if engine else default_engine(facts.format))
    where = placement or Placement()
    gpus = gpus_asked(gpu, backend) or gpus_asked(where.gpus, backend)
    asked, arguments = rules.settle(_workload(workload, ctx, parallel, kv), options)
    return estimate(
        rules.loaded(facts, arguments), asked, engine=rules.name, placement=rules.placed(where.replace(gpus=gpus)),
        **options,
    )  # fmt: skip
