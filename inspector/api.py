"""The public API's functions over several stages; `inspector/__init__.py` lists all public names."""

from __future__ import annotations

from inspector.errors import InspectorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from inspector.checkpoint import Checkpoint
    from inspector.facts import ModelFacts
    from inspector.memory.api import Model
    from inspector.memory.compare import Comparison
    from inspector.memory.estimate import Gpu, Placement, Workload
    from inspector.memory.fit.gather import Gathered
    from inspector.memory.fit.records import Fit
    from inspector.memory.quantize_size import QuantizedSize


def inspect(target: str, *, strict: bool = True) -> Checkpoint:
    """What TARGET names, opened: a file, a folder, a Hub repository, an address. Only headers and documents are read.

    Strict: a file that no loader takes is raised; not strict: as much as can be read, with `defects`. A folder or
    repository with several models raises SeveralModels, whose `models` names them. Raises SourceError, FormatError.
    """
    from inspector.checkpoint import open_checkpoint

    return open_checkpoint(target, strict=strict)


def _gathered(models: Model | Sequence[Checkpoint | ModelFacts], engine: str | None) -> tuple[Gathered, str | None]:
    """(what there is, the quant of a tag that is not there yet).

    A target that holds several models is all of them; those that cannot be opened are notes.
    """
    from inspector.checkpoint import Checkpoint
    from inspector.facts import ModelFacts
    from inspector.memory.fit.gather import Gathered, candidate_of, gather
    from inspector.memory.tagged import with_tag

    if isinstance(models, str):
        found, _, tag = with_tag(models, engine=engine, read=lambda target: gather(target, inspect))
        return found, tag
    several = (models,) if isinstance(models, Checkpoint | ModelFacts) else models
    candidates = tuple(candidate_of(m, path="" if isinstance(m, ModelFacts) else m.target) for m in several)
    return Gathered(candidates, models if isinstance(models, Checkpoint) else None), None


def fit(
    models: Model | Sequence[Checkpoint | ModelFacts],
    gpus: str | Gpu | Iterable[str | Gpu],
    *,
    engine: str | None = None,
    n_ctx: int | None = None,
    workload: Workload | None = None,
    longest: bool = False,
    min_quant: str | None = None,
    prefer: Iterable[str] = (),
    offload: bool = True,
    host: int | None = None,
    margin: int | None = None,
    most: int = 5,
    arguments: Mapping[str, Any] | None = None,
    quants: Iterable[str] = (),
    hypothetical: bool = False,
) -> Fit:
    """Which quant, context, cache type and placement fit on `gpus`, best first; what `inspector fit` answers.

    `models`: a target (`org/name:Q4_K_M` may name a quant that is not there yet), a checkpoint, facts, or several of
    them to choose among; `gpus`: names and sizes as for
    `--gpu`, or `Gpu` records. `engine`: None for the one that people run the format with; without a `workload`,
    llama.cpp is asked as llama-server asks it (logits of the last token). `n_ctx` in tokens, as the engine counts
    them; `longest`: as many as the model was trained for, or what fits. `min_quant`: nothing coarser; `prefer`: what
    matters most of "offload", "quant", "context", "kv". `offload`: whether layers may stay on the host; `host` and
    `margin`: bytes of host memory there are, bytes to leave free on each GPU
    (None: what the engine itself leaves). `most`: at most so many choices;
    `arguments`: the engine's own; `quants`: these and no others, predicted where they are not there; `hypothetical`:
    also those that llama-quantize could make. Raises WorkloadError where the engine refuses every setting,
    InspectorError for an unknown engine or GPU, and what `inspect` raises.
    """
    from inspector.memory.api import of_store
    from inspector.memory.devices.asked import gpus_asked
    from inspector.memory.engines import engine_of
    from inspector.memory.estimate import Workload
    from inspector.memory.fit.candidates import forms, judged
    from inspector.memory.fit.choose import fit as search
    from inspector.memory.fit.records import Ask
    from inspector.memory.tagged import engine_asked

    gathered, tag = _gathered(models, engine)
    if not gathered.candidates:
        raise InspectorError("nothing to choose from")
    named = tuple(quants) or ((tag,) if tag else ())
    largest = max(gathered.candidates, key=lambda c: c.nbytes)
    run_by = engine_of(engine_asked(engine, largest.facts.format, named))
    asked = workload or run_by.served(Workload())
    asked = asked if n_ctx is None else asked.replace(n_ctx=n_ctx)
    asked, own, notes = of_store(
        gathered.checkpoint, run_by, asked, dict(arguments or {}), search=True, longest=longest
    )  # fmt: skip
    ask = Ask(
        gpus=gpus_asked(gpus), engine=run_by.name, n_ctx=asked.n_ctx, longest=longest, workload=asked,
        offload=offload, host=host, margin=run_by.margin if margin is None else margin,
        prefer=tuple(prefer), most=most, arguments=own or None,
    )  # fmt: skip
    there = forms(gathered.candidates, run_by, quants=named, makeable=hypothetical)
    candidates = there if run_by.quants_by_bits and named else judged(there, min_quant)
    found = search(candidates, ask.replace(floor=min_quant.upper()) if min_quant else ask)
    return found.replace(notes=(*found.notes, *notes, *gathered.notes))


def quantize_size(
    model: Model,
    to: str,
    *,
    imatrix: bool = False,
    pure: bool = False,
    output_tensor_type: str | None = None,
    token_embedding_type: str | None = None,
    tensor_types: Iterable[tuple[str, str]] = (),
    leave_output: bool = False,
) -> QuantizedSize:
    """What a model would weigh as `to`: a type of llama-quantize ("Q4_K_M") or another family's scheme ("nf4", "awq").

    The options are llama-quantize's own; `tensor_types`: (pattern, type) pairs. The answer's `nbytes` is the sum over
    its `tensors` (None where `refused` says why). Raises WorkloadError for an unknown type, FactsError where the
    tensors are not known, and what `inspect` raises.
    """
    from inspector.memory.api import facts_of
    from inspector.memory.quantize_size import quantized_size

    return quantized_size(
        facts_of(model), to, imatrix=imatrix, pure=pure, output_tensor_type=output_tensor_type,
        token_embedding_type=token_embedding_type, tensor_types=tuple(tensor_types), leave_output=leave_output,
    )  # fmt: skip


def compare(log: str, model: Model, *, placement: Placement | None = None) -> tuple[Comparison, ...]:
    """An engine's own figures beside ours, line by line, for the settings that the log names; as `inspector compare`.

    `log`: the text that llama.cpp (with -lv 4) or vLLM printed at its start. `placement`: what a log leaves out
    (`tensor_split`, `overrides`, `n_cpu_moe`), and its `gpus` where there are any. Raises InspectorError for text that
    is no such log, and what `inspect` raises.
    """
    from inspector.logs import read_startup_log
    from inspector.memory.api import facts_of
    from inspector.memory.compare import compare as beside
    from inspector.memory.compare import engine_of_log, placement_of, workload_of
    from inspector.memory.engines import estimate

    said = read_startup_log(log)
    where = placement_of(said, placement)
    if placement is not None and placement.gpus:
        where = where.replace(gpus=placement.gpus)
    return beside(said, estimate(facts_of(model), workload_of(said), engine=engine_of_log(said), placement=where))
