"""Repositories and folders that are more than one model: tables in place of an error; sizes where access is refused."""

from __future__ import annotations

from inspector.checkpoint import Checkpoint
from inspector.cli import outcome
from inspector.cli.progress import progress_line
from inspector.errors import AccessDenied, InspectorError
from inspector.report import repo as report
from inspector.report.records import ComponentRow, ModelRow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from inspector.checkpoint import SeveralModels
    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Estimate, Placement, Workload


class MemoryQuestion:
    """What `memory` was asked, to be answered for each of several models: engine, workload, and GPUs one by one."""

    def __init__(
        self,
        run: Callable[[ModelFacts, Placement], Estimate],
        placement: Placement,
        gpus: Mapping[str, Placement],
    ) -> None:
        self.run = run
        self.placement = placement
        self.gpus = gpus

    def row(self, row: ModelRow, facts: ModelFacts) -> ModelRow:
        """The row with cache, total and a verdict for each GPU."""
        results = {name: self.run(facts, placement) for name, placement in self.gpus.items()}
        result = next(iter(results.values())) if results else self.run(facts, self.placement)
        caches = [line.nbytes for line in result.lines if line.what in {"kv_cache", "recurrent_state"}]
        return row.replace(
            n_ctx=result.effective.get("n_ctx"),
            kv_nbytes=sum(caches),
            total_nbytes=result.total_nbytes,
            grade=result.grade,
            fits={name: r.fits for name, r in results.items()},
        )


def _row(listed: tuple[str, int, str], found: Checkpoint | InspectorError, ask: MemoryQuestion | None) -> ModelRow:
    from inspector.facts import read_facts

    name, nbytes, quant = listed
    if not isinstance(found, Checkpoint):
        return ModelRow(name, quant, (name,), nbytes, error=str(found).removeprefix(f"{name}: "))
    row = ModelRow(name, quant, tuple(f.name for f in found.files), nbytes, missing_nbytes=found.missing_nbytes)
    try:
        facts = read_facts(found)
        bits = found.tensors_nbytes * 8 / facts.n_params if facts.n_params else None
        row = row.replace(n_params=facts.n_params, bits_per_weight=bits and round(bits, 4))
        row = ask.row(row, facts) if ask else row
    except InspectorError as error:
        row = row.replace(error=str(error))
    if found.missing or found.missing_nbytes:
        lacking = f"{len(found.missing)} of its files are missing" if found.missing else "cut short"
        row = row.replace(error=row.error or lacking)
    return row


def show_several(several: SeveralModels, target: str, *, ask: MemoryQuestion | None = None, as_json: bool) -> int:
    """Prints the table of several models. Raises `several` where they are not GGUF models of one folder."""
    if several.open_each is None:
        raise several
    with progress_line() as say:
        if say:
            say(f"{target}: reading {len(several.models)} headers")
        opened = several.open_each()
    refused = [found for found in opened if isinstance(found, AccessDenied)]
    if len(refused) == len(opened) > 0:
        return show_sizes(several.models, target, refused[0], as_json=as_json)
    rows = [_row(listed, found, ask) for listed, found in zip(several.models, opened, strict=True)]
    first = next((found for found in opened if isinstance(found, Checkpoint)), None)
    notes = [several.hint] if several.hint else []
    revision = first.revision if first else None
    if as_json:
        outcome.write_json(report.repo_json(target, rows, revision=revision, notes=notes))
    else:
        gpus = tuple(ask.gpus) if ask else ()
        lines = report.repo_lines(
            target, rows, gpus=gpus, memory=ask is not None, about=_about(first, rows), notes=notes,
            named=bool(several.targets), cards=_cards(ask), width=outcome.width(),
        )  # fmt: skip
        outcome.write(lines)
    return _code(rows)


def _cards(ask: MemoryQuestion | None) -> dict[str, str]:
    """What the GPUs that were typed are called."""
    from inspector.report.names import device_names

    places = ask.gpus if ask is not None else {}
    return {typed: device_names(g.name for g in place.gpus) or typed for typed, place in places.items()}


def _about(first: Checkpoint | None, rows: Sequence[ModelRow]) -> str:
    from inspector.report.text import join
    from inspector.units import format_count

    params = {row.n_params for row in rows if row.n_params}
    contexts = {row.n_ctx for row in rows if row.n_ctx}
    return join(
        [
            f"{format_count(params.pop())} params" if len(params) == 1 else "",
            f"{contexts.pop():,} tokens of context" if len(contexts) == 1 else "",
            f"revision {first.revision[:12]}" if first and first.revision else "",
        ]
    )


def _code(rows: Sequence[ModelRow]) -> int:
    failed = [row for row in rows if row.error]
    if failed:
        outcome.complain(f"{failed[0].name}: {failed[0].error}")
        return outcome.FAILED
    verdicts = [fits for row in rows for fits in (row.fits or {}).values()]
    return outcome.NO if verdicts and not any(verdicts) else outcome.OK


def memory_question(
    workload: Workload, placement: Placement, names: Sequence[str], *, engine: str, arguments: Mapping[str, object]
) -> MemoryQuestion:
    """What to compute for each model: the same workload, on each of the GPUs (as they were typed) in turn."""
    from inspector.memory.devices.gpus import parse_gpu
    from inspector.memory.engines import estimate

    def run(facts: ModelFacts, where: Placement) -> Estimate:
        return estimate(facts, workload, engine=engine, placement=where, **arguments)

    gpus = {n: placement.replace(gpus=parse_gpu(n)) for n in names}
    return MemoryQuestion(run, placement, gpus)


def show_refused(error: AccessDenied, target: str, *, as_json: bool) -> int:
    """Prints the sizes that a gated repository's public listing gives. Raises `error` where it is none."""
    from inspector.checkpoint.hub import GatedModel

    if not isinstance(error, GatedModel):
        raise error
    return show_sizes(error.models, target, error, as_json=as_json)


def show_sizes(models: Sequence[tuple[str, int, str]], target: str, error: AccessDenied, *, as_json: bool) -> int:
    """Prints what a listing says of files that may not be read, what to accept and where; exit code 2."""
    if as_json:
        rows = [ModelRow(name, quant, (name,), n, error="access denied") for name, n, quant in models]
        revision = getattr(error, "revision", None)
        outcome.write_json(report.repo_json(target, rows, revision=revision, notes=[str(error)]))
    elif models:
        outcome.write(report.sizes_lines(target, models, width=outcome.width()))
    outcome.complain(str(error), hint=error.hint)
    return outcome.FAILED


def component_rows(checkpoint: Checkpoint) -> list[ComponentRow]:
    """A pipeline's components with their logical parameters."""
    from inspector.facts import read_facts

    rows = []
    for component in checkpoint.components:
        found = component.checkpoint
        n_params: int | None = sum(t.n_elements for t in found.tensors)
        quantization = None
        try:
            facts = read_facts(found)
            quantization = facts.quantization
            if facts.n_params is not None or quantization:
                n_params = facts.n_params
        except InspectorError:
            pass  # a component of a kind not known here: its tensors are counted as they stand
        files = tuple(f.name for f in found.files)
        rows.append(
            ComponentRow(component.name, files, len(found.tensors), n_params, found.tensors_nbytes, quantization)
        )
    return rows
