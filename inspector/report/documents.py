"""The documents that `--json` writes, as types: what mypy holds the reports to, and docs/schemas is made from.

No command imports this module. Fields that stand only in some documents are in the `…Extras` above each; records among
the values are written as `forms` says. scripts/json_schemas.py turns all of it into JSON schemas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypedDict

from inspector.audit.registry import Finding, Rule
from inspector.checkpoint import Companion
from inspector.comparison.records import WAYS, Change
from inspector.dtypes import Dtype
from inspector.facts import ModelFacts
from inspector.memory.breakdown import LayerRow
from inspector.memory.engines import ENGINE_NAMES
from inspector.memory.estimate import Device as EstimateDevice
from inspector.memory.estimate import Gpu, Line, Workload
from inspector.memory.fit.records import Candidate
from inspector.memory.quantize_size import SizedTensor
from inspector.report.records import ComponentRow, KeptRow, ModelRow, SameContent, ScanTotals
from inspector.stores.parts import Keeping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.audit.registry import Code, Severity
    from inspector.audit.runner import Verdict
    from inspector.memory.estimate import Grade
    from inspector.record import Signed
    from inspector.stores.records import Store

EngineName = Annotated[str, ("enum", ENGINE_NAMES)]
AskedEngine = Annotated[
    str,
    ("pattern", f"^({'|'.join(ENGINE_NAMES).replace('.', '[.]')})(@[0-9]+)?$"),
    "The engine; with llama.cpp's build where one was asked for, as llama.cpp@9509",
]
LogEngineName = Annotated[str, ("enum", ("llama.cpp", "vllm"))]  # whose logs are read
FileFormat = Annotated[str, ("enum", ("gguf", "safetensors", "config"))]
Notes = Sequence[str]


# --- show, tensors, meta


class _FileExtras(TypedDict, total=False):
    sha256: str | None


class File(_FileExtras):
    """A file of the model; `sha256` where a listing or the Hub's cache gave it."""

    name: str
    nbytes: int
    header_nbytes: int
    n_tensors: int


class DtypeSum(TypedDict):
    """Tensors of one element type."""

    dtype: str
    n_tensors: int
    n_elements: int
    nbytes: int


class _ShowExtras(TypedDict, total=False):
    revision: str
    components: Sequence[ComponentRow]
    keeping: Keeping


class Show(_ShowExtras):
    """inspector show --json"""

    schema: Literal["inspector.show/1"]
    target: str
    format: FileFormat
    files: Sequence[File]
    facts: ModelFacts
    dtypes: Sequence[DtypeSum]
    tensors_nbytes: int | None
    missing_nbytes: int
    missing: Sequence[str]
    quant_claimed: str | None
    quant_actual: str | None
    companions: Sequence[Companion]
    notes: Notes


class Tensor(TypedDict):
    """One tensor: shape outermost first, bytes (null: unknown), offset from the start of its file."""

    name: str
    shape: Sequence[int]
    dtype: str
    n_elements: int
    nbytes: int | None
    offset: int


class Tensors(TypedDict):
    """inspector tensors --json"""

    schema: Literal["inspector.tensors/1"]
    target: str
    tensors: Sequence[Tensor]
    nbytes: int


class _Sums(TypedDict):
    n_tensors: int
    n_elements: int
    nbytes: int


class SumByDtype(_Sums):
    """Tensors of one element type."""

    dtype: str


class SumByLayer(_Sums):
    """Tensors of one layer."""

    layer: str


class SumByRole(_Sums):
    """Tensors of one role."""

    role: str


class TensorSums(TypedDict):
    """inspector tensors --by … --json"""

    schema: Literal["inspector.tensors/1"]
    target: str
    by: Annotated[str, ("enum", ("dtype", "layer", "role"))]
    groups: Sequence[SumByDtype | SumByLayer | SumByRole]


class Meta(TypedDict):
    """inspector meta --json"""

    schema: Literal["inspector.meta/1"]
    target: str
    metadata: Annotated[
        Mapping[str, Any],
        "Keys verbatim. A long array or text is {elem, length, offset, nbytes, head} unless --full",
    ]
    types: Mapping[str, str]


# --- memory, calc, fit


class Answer(TypedDict):
    """An estimate. Workload, null: the engine's own default; facts, null: not known."""

    target: str
    engine: AskedEngine
    facts: ModelFacts
    workload: Workload
    effective: Annotated[
        Mapping[str, Any], "Settings as the engine resolves them; llama.cpp: n_ctx, n_ctx_seq, n_batch, n_ubatch"
    ]
    lines: Sequence[Line]
    devices: Sequence[EstimateDevice]
    total_nbytes: Annotated[int, "The sum of the lines"]
    total_low_nbytes: Annotated[int, "The sum of their lower ends; the total itself where no size is a range"]
    grade: Grade
    fits: Annotated[bool | None, "null: no device was named, or a part is unknown"]
    unknown: Annotated[Sequence[str], "Parts that cannot be known and that the total leaves out"]
    notes: Notes


class Verified(TypedDict):
    """Whole MiB of one column, ours (null: not known) and llama-fit-params' own."""

    ours_mib: int | None
    measured_mib: int


class VerifiedParts(TypedDict):
    """The columns of llama.cpp's own table."""

    weights: Verified
    context: Verified
    compute: Verified


class _VerifyExtras(TypedDict, total=False):
    devices: Annotated[
        Mapping[str, VerifiedParts], "The same of each device by llama.cpp's name, where there are several"
    ]


class Verify(VerifiedParts, _VerifyExtras):
    """--verify: our figures beside llama.cpp's own."""


class _MemoryExtras(TypedDict, total=False):
    layers: Sequence[LayerRow]
    verify: Verify


class Memory(Answer, _MemoryExtras):
    """inspector memory --json"""

    schema: Literal["inspector.memory/1"]


class Calc(Answer):
    """inspector calc --json"""

    schema: Literal["inspector.calc/1"]


class _Parts(TypedDict, total=False):
    weights: int
    kv_cache: int
    recurrent_state: int
    compute: int
    output: int
    overhead: int


class _Point(_Parts):
    total_nbytes: int
    grade: Grade
    fits: bool | None


class CtxPoint(_Point):
    """An estimate at one context."""

    ctx: int


class NpPoint(_Point):
    """An estimate at one number of sequences."""

    np: int


class KvPoint(_Point):
    """An estimate with one cache type."""

    kv: str


class Sweep(TypedDict):
    """inspector memory --sweep --json"""

    schema: Literal["inspector.memory-sweep/1"]
    target: str
    engine: AskedEngine | None
    axis: Annotated[str, ("enum", ("ctx", "np", "kv"))]
    points: Sequence[CtxPoint | NpPoint | KvPoint]
    kv_overtakes_weights_at: int | None


class ChoiceDevice(TypedDict):
    """A device under one choice; `headroom`: bytes left after its reserve and the margin (null: no limit)."""

    device: str
    capacity: int | None
    used: int
    headroom: Signed | None


class Choice(TypedDict):
    """Settings that fit, and the command lines that make and run them."""

    candidate: Candidate
    n_ctx: int
    kv_dtype_k: str | None
    kv_dtype_v: str | None
    level: str
    n_gpu_layers: Signed | None
    n_cpu_moe: int
    tensor_split: Sequence[float] | None
    main_gpu: Annotated[int | None, "The one GPU that holds all of several (null: they share)"]
    tensor_parallel: int
    effective: Mapping[str, Any]
    lines: Sequence[Line]
    devices: Sequence[ChoiceDevice]
    total_nbytes: int
    grade: Grade
    gave_way: Sequence[str]
    largest_ctx: int
    largest_ctx_is_trained: bool
    command: str | None
    convert_command: str | None
    quantize_command: str | None
    memory_command: str
    notes: Notes


class Missing(TypedDict):
    """Bytes that one device lacks."""

    device: str
    nbytes: Signed


class Lack(TypedDict):
    """The most economical attempt, and how far it is from fitting."""

    candidate: str
    n_ctx: int
    kv: str
    level: str
    missing: Sequence[Missing]


class Fit(TypedDict):
    """inspector fit --json"""

    schema: Literal["inspector.fit/1"]
    target: str
    engine: AskedEngine
    gpus: Sequence[Gpu]
    margin: Annotated[int, "bytes left free on each device beside its reserve"]
    fits: bool
    n_candidates: int
    n_ctx_asked: int | None
    order: Sequence[str]
    choices: Sequence[Choice]
    lack: Annotated[Lack | None, "How far the nearest is from fitting, or null"]
    smallest_gpu: Gpu | None
    notes: Notes


class Repo(TypedDict):
    """inspector show --json, inspector memory --json of several models"""

    schema: Literal["inspector.repo/1"]
    target: str
    revision: str | None
    models: Sequence[ModelRow]
    notes: Notes


# --- quantize-size, compare, diff, audit


class Quantized(TypedDict):
    """What one type would weigh; `refused`: why the quantiser would not write it."""

    to: str
    nbytes: int | None
    n_params: int | None
    bits_per_weight: float | None
    grade: Grade
    refused: str | None
    quality: str | None
    tensors: Sequence[SizedTensor]
    notes: Notes


class _QuantizeSizeExtras(TypedDict, total=False):
    adapter_nbytes: int


class QuantizeSize(_QuantizeSizeExtras):
    """inspector quantize-size --json"""

    schema: Literal["inspector.quantize-size/1"]
    target: str
    results: Sequence[Quantized]


class LogDevice(TypedDict):
    """A device as the log names it; null: the log does not say."""

    name: str
    description: str
    total_nbytes: int | None
    free_nbytes: int | None


class Compared(TypedDict):
    """One line of the log beside ours."""

    what: str
    device: str
    log_nbytes: int
    nbytes: int | None
    low_nbytes: Annotated[int | None, "the lower end where ours is a range, whose safe end nbytes is; null: it is none"]
    off: Annotated[
        float | None,
        "difference as a share of the log's figure; 0 within its printed digits or our range, null: ours is unknown",
    ]


class Compare(TypedDict):
    """inspector compare --json"""

    schema: Literal["inspector.compare/1"]
    target: str
    engine: LogEngineName
    build: Annotated[str, "the engine's build or version as the log says it, or 'not said'"]
    model: str
    settings: Annotated[Mapping[str, Any], "the log's own settings, under the engine's names"]
    devices: Sequence[LogDevice]
    within: Annotated[float, "the share that a line may be off by"]
    lines: Sequence[Compared]
    notes: Notes
    same: bool


class Sides(TypedDict):
    """A figure of both sides."""

    a: int | None
    b: int | None


class ValuesCompared(TypedDict):
    equal: Annotated[bool | None, "null: the values were not compared"]
    by: Annotated[str, ("enum", WAYS)] | None


class Diff(TypedDict):
    """inspector diff --json"""

    schema: Literal["inspector.diff/1"]
    a: str
    b: str
    equal: Annotated[bool | None, "null: nothing was found, and the values were not compared"]
    changes: Sequence[Change]
    tensors_nbytes: Sides
    n_params: Sides
    cache_nbytes: Sides
    values: ValuesCompared
    notes: Notes


class Audit(TypedDict):
    """inspector audit --json (one target; several give an array of these)"""

    schema: Literal["inspector.audit/1"]
    target: str
    verdict: Verdict
    findings: Sequence[Finding]
    n_files: int
    nbytes: int


# --- list


class Root(TypedDict):
    """A folder or store that was looked into."""

    store: Store
    path: str


class KeptTotals(TypedDict):
    """Sums over everything listed; each file on the disk is counted once."""

    n_models: int
    n_broken: int
    nbytes: int
    duplicate_nbytes: int
    unused_nbytes: int
    unfinished_nbytes: int
    freed_nbytes: int


class Kept(TypedDict):
    """inspector list --json"""

    schema: Literal["inspector.list/1"]
    roots: Sequence[Root]
    models: Sequence[KeptRow]
    left_over: Sequence[KeptRow]
    same: Sequence[SameContent]
    totals: KeptTotals
    notes: Notes


# --- registries


class Rules(TypedDict):
    """inspector rule --json"""

    schema: Literal["inspector.rules/1"]
    rules: Sequence[Rule]


class RulePage(TypedDict):
    """inspector rule CODE --json"""

    schema: Literal["inspector.rule/1"]
    code: Code
    name: str
    severity: Severity
    page: str
    hint: str


class Arch(TypedDict):
    """An architecture whose layers are known, and the source of its rule."""

    name: str
    format: str
    layers: str
    ref: str


class Archs(TypedDict):
    """inspector archs --json"""

    schema: Literal["inspector.archs/1"]
    architectures: Sequence[Arch]


class Dtypes(TypedDict):
    """inspector dtypes --json"""

    schema: Literal["inspector.dtypes/1"]
    dtypes: Sequence[Dtype]


class GpuRow(TypedDict):
    """A GPU of the registry, sizes as its driver reports them."""

    name: str
    vendor: str
    nbytes: int
    reserve_nbytes: int
    context_nbytes: int
    reported: bool
    source: str
    aliases: Sequence[str]
    backend: str
    compute_capability: str | None
    unified: bool
    devices: int


class Gpus(TypedDict):
    """inspector gpus --json"""

    schema: Literal["inspector.gpus/1"]
    gpus: Sequence[GpuRow]


class EngineRow(TypedDict):
    """An engine, the module of its rules, and the release that they were read from."""

    name: EngineName
    module: str
    version: str


class Engines(TypedDict):
    """inspector engines --json"""

    schema: Literal["inspector.engines/1"]
    engines: Sequence[EngineRow]


class Scan(TypedDict):
    """inspector scan --json: the sums; the rows are in the table"""

    schema: Literal["inspector.scan-totals/1"]
    outputs: Sequence[str]
    totals: ScanTotals
