"""The textbook formulas: weights + KV cache + activations + overhead.

Bytes, with G = 1024³ only when printed. KV in four forms:
hidden  2 × batch × seq × d_model × n_layers × precision
heads   2 × batch × seq × n_layers × n_heads × head_dim × precision
gqa     the heads form with n_kv_heads: what every current model does
layers  the sum over the model's own layers: windows, latents, states and shared caches as they are (default)
Activations: batch × seq × d_model × n_layers × 2, or simplified: tokens × a factor of the user's.
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.dtypes import DTYPES
from inspector.errors import MissingKey, WorkloadError
from inspector.memory.cache import kv_dtype, row_nbytes, sum_caches
from inspector.memory.engines.rows.textbook import KV_FORMS, OVERHEAD
from inspector.memory.engines.shared.hf_weights import uncounted
from inspector.memory.estimate import Device, Estimate, Line, Placement
from inspector.quantization.mix_targets import BASE_TYPES
from inspector.record import Record
from inspector.units import parse_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from inspector.dtypes import Dtype
    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Workload

DEFAULT_OVERHEAD: Final = parse_nbytes(OVERHEAD)


class Precision(Record):
    """A weight format by name: the document's nominal bits and the real (a block's or a mix's mean), each × 1/10000."""

    name: str
    nominal: int
    real: int
    quality: str = ""


# fmt: off
# Bits per weight in ten-thousandths, so that products stay integers, as people quote them.
_NOMINAL: Final = (
    ("FP32",     320000, "full precision"),
    ("FP16",     160000, "half precision"),
    ("BF16",     160000, "half precision, wide range"),
    ("FP8",       80000, "8-bit float"),
    ("INT8",      80000, "8-bit integer; LLM.int8()"),
    ("INT4",      40000, "4-bit integer"),
    ("LLM.INT8",  80000, "8-bit, outliers in half precision"),
    ("QLORA",     40000, "nf4, nominal; block constants add 0.13 to 0.5"),
    ("NF4",       40000, "nf4, nominal; block constants add 0.13 to 0.5"),
    ("Q2_K",      20000, "low"),
    ("Q3_K_S",    30000, "low to medium"),
    ("Q3_K_M",    30000, "medium"),
    ("Q3_K_L",    30000, "medium to high"),
    ("Q4_0",      45000, "medium"),
    ("Q4_1",      50000, "medium"),
    ("Q4_K_S",    40000, "medium"),
    ("Q4_K_M",    40000, "recommended"),
    ("Q5_0",      55000, "medium to high"),
    ("Q5_1",      60000, "medium to high"),
    ("Q5_K_S",    50000, "high"),
    ("Q5_K_M",    50000, "high"),
    ("Q6_K",      60000, "very high"),
    ("Q8_0",      85000, "near half precision"),
    ("MXFP4",     42500, "4-bit float, shared exponent"),
    ("NVFP4",     45000, "4-bit float, 8-bit scales"),
)
# fmt: on


# Mixes hold some tensors in larger types than their name says, how many depends on the model: the means of Llama 2 70B,
# by llama-quantize's rules (b11434), in ten-thousandths of a bit.
_MIXED: Final = MappingProxyType({
    "Q2_K": 29531, "Q3_K_S": 34700, "Q3_K_M": 38592, "Q3_K_L": 41924, "Q4_K_S": 45521, "Q4_K_M": 48042,
    "Q5_K_S": 55045, "Q5_K_M": 56544,
})  # fmt: skip
_MIXED_IN: Final = "as mixed in Llama 2 70B"


def _real(name: str, nominal: int) -> int:
    """A block's own bits, or a mix's mean."""
    if name in _MIXED:
        return _MIXED[name]
    if name not in BASE_TYPES:
        return nominal
    dtype = DTYPES[BASE_TYPES[name]]
    return dtype.block_bytes * 80000 // dtype.block_elems


PRECISIONS: Final[Mapping[str, Precision]] = MappingProxyType(
    {name: Precision(name, nominal, _real(name, nominal), quality) for name, nominal, quality in _NOMINAL}
)
_PRECISION_ALIASES: Final = MappingProxyType(
    {"F32": "FP32", "F16": "FP16", "Q2_K_S": "Q2_K", "Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M",
     "INT8()": "LLM.INT8", "LLM.INT8()": "LLM.INT8", "FLOAT32": "FP32", "FLOAT16": "FP16", "BFLOAT16": "BF16"}
)  # fmt: skip


def precision(name: str) -> Precision:
    """A weight format by the name people give it. Raises WorkloadError."""
    key = name.upper().replace("-", "_")
    row = PRECISIONS.get(_PRECISION_ALIASES.get(key, key))
    if row is None:
        raise WorkloadError(f"unknown weight format {name!r}", hint="one of " + ", ".join(PRECISIONS))
    return row


def weights_nbytes(n_params: int, row: Precision, *, nominal: bool = False) -> int:
    """`params × bytes_per_param`, rounded up to a whole byte."""
    return -(-n_params * (row.nominal if nominal else row.real) // 80000)


def _need(facts: ModelFacts, *names: str) -> list[int]:
    values = [getattr(facts, name) for name in names]
    missing = [name for name, value in zip(names, values, strict=True) if value is None]
    if missing:
        raise MissingKey(f"the formula needs {', '.join(missing)}, which this model does not state")
    return values


def kv_nbytes(
    facts: ModelFacts, n_tokens: int, n_seqs: int, *, form: str, dtype_k: Dtype, dtype_v: Dtype
) -> tuple[int, str]:
    """Bytes of the KV cache by one of the scalar forms, and how they came about. Raises MissingKey."""
    if form == "hidden":
        (d_model, n_layers) = _need(facts, "d_model", "n_layers")
        width_k = width_v = d_model
        term = f"d_model {d_model:,}"
    else:
        head_key = "n_kv_heads" if form == "gqa" else "n_heads"
        n, dim_k, dim_v, n_layers = _need(facts, head_key, "head_dim_k", "head_dim_v", "n_layers")
        width_k, width_v = n * dim_k, n * dim_v
        term = f"{n} {'KV ' if form == 'gqa' else ''}heads × {dim_k}"
    token = row_nbytes(width_k, dtype_k) + row_nbytes(width_v, dtype_v)
    how = f"2 × {n_seqs} seq × {n_tokens:,} tokens × {n_layers} layers × {term} ({dtype_k.name})"
    return n_seqs * n_tokens * n_layers * token, how


def _layer_lines(
    facts: ModelFacts, n_tokens: int, n_seqs: int, *, dtype_k: Dtype, dtype_v: Dtype
) -> tuple[list[Line], tuple[str, ...]]:
    total = sum_caches(facts.layers, n_tokens, dtype_k=dtype_k, dtype_v=dtype_v)
    kinds: dict[str, int] = {}
    for layer in facts.layers:
        kinds[layer.kind] = kinds.get(layer.kind, 0) + 1
    mix = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
    grade = "modelled" if facts.generic else "derived"
    lines = []
    if total.kv_nbytes or not total.state_nbytes:
        how = f"{n_seqs} seq × {n_tokens:,} tokens, layer by layer ({mix}; {dtype_k.name})"
        lines.append(Line("kv_cache", total.kv_nbytes * n_seqs, grade, how))
    if total.state_nbytes:
        lines.append(Line("recurrent_state", total.state_nbytes * n_seqs, grade, f"{n_seqs} seq, F32 ({mix})"))
    missing = total.unknown_layers
    unknown = tuple(f"cache of layer {i}" for i in missing)
    if len(missing) > 1:
        unknown = (f"cache of {len(missing)} layers ({missing[0]} to {missing[-1]})",)
    return lines, unknown


def _weights_line(facts: ModelFacts, quant: str | None, *, nominal: bool) -> Line | None:
    if quant is None and facts.tensors:
        nbytes = sum(t.nbytes or 0 for t in facts.tensors)
        return Line("weights", nbytes, "exact", f"{len(facts.tensors)} tensors as the file states them")
    if quant is None and facts.quantization is not None:
        nbytes = facts.stated_nbytes or facts.promised_nbytes or 0
        if not nbytes:
            return None
        how = f"{facts.n_params or 0:,} params as {facts.quantization} stores them"
        return Line("weights", nbytes, "modelled", how)
    n_params = facts.n_params or facts.n_params_text
    if n_params is None:
        return None
    row = precision(quant or facts.dtype or "BF16")
    bits = row.nominal if nominal else row.real
    why = ", nominal" if nominal else f", {_MIXED_IN}" if row.name in _MIXED else ""
    part = " of the text part" if facts.uncounted else ""
    how = f"{n_params:,} params{part} × {bits / 10000:g} bits ({row.name}{why})"
    return Line("weights", weights_nbytes(n_params, row, nominal=nominal), "modelled", how)


def _activation_line(facts: ModelFacts, n_tokens: int, n_seqs: int, *, factor: int | None) -> Line:
    if factor is not None:
        how = f"{n_seqs * n_tokens:,} tokens × {factor:,} B"
        return Line("compute", n_seqs * n_tokens * factor, "modelled", how)
    d_model, n_layers = _need(facts, "d_model", "n_layers")
    how = f"{n_seqs} seq × {n_tokens:,} tokens × d_model {d_model:,} × {n_layers} layers × 2"
    return Line("compute", n_seqs * n_tokens * d_model * n_layers * 2, "modelled", how)


def _kept_tokens(n_ctx: int, options: Mapping[str, Any]) -> tuple[int, list[str]]:
    """Tokens that stay cached under pruning (`kv_keep`: first and last) and a sliding `window`."""
    notes, kept = [], n_ctx
    if keep := options.get("kv_keep"):
        kept = min(kept, sum(keep))
        notes.append(f"token pruning keeps the first {keep[0]:,} and the last {keep[1]:,} of {n_ctx:,} tokens")
    if window := options.get("window"):
        kept = min(kept, window)
        notes.append(f"a sliding window keeps the last {window:,} of {n_ctx:,} tokens")
    return kept, notes


def estimate(
    facts: ModelFacts,
    workload: Workload,
    *,
    placement: Placement | None = None,
    kv_form: str = "layers",
    constant_factor: int | None = None,
    overhead: int = DEFAULT_OVERHEAD,
    quant: str | None = None,
    nominal: bool = False,
) -> Estimate:
    """The four terms and their sum, in bytes; `n_ctx` is one sequence's tokens.

    `constant_factor` (bytes a token) turns on the simplified activations; `quant` replaces the file's own weights by
    `params × bytes_per_param`; `nominal` takes the bits that people quote instead of the format's real ones.
    Raises MissingKey, WorkloadError.
    """
    placement = placement or Placement()
    n_ctx = workload.n_ctx or facts.n_ctx_train
    if n_ctx is None:
        raise MissingKey("the model does not state its context length", hint="say how many tokens: -c 8192")
    n_seqs = workload.n_seqs or 1
    options = workload.options or {}
    dtype_k, dtype_v = kv_dtype(workload.kv_dtype_k or "f16"), kv_dtype(workload.kv_dtype_v or "f16")
    kept, notes = _kept_tokens(n_ctx, options)
    unknown: tuple[str, ...] = ()
    if kv_form == "layers" and facts.layers:
        kv_lines, unknown = _layer_lines(facts, kept, n_seqs, dtype_k=dtype_k, dtype_v=dtype_v)
    elif kv_form in KV_FORMS:
        form = "gqa" if kv_form == "layers" else kv_form
        nbytes, how = kv_nbytes(facts, kept, n_seqs, form=form, dtype_k=dtype_k, dtype_v=dtype_v)
        kv_lines = [Line("kv_cache", nbytes, "modelled", how)]
    else:
        raise WorkloadError(f"unknown form {kv_form!r}", hint="one of " + ", ".join(KV_FORMS))
    weights = _weights_line(facts, quant, nominal=nominal)
    lines = [
        *([weights] if weights else ()),
        *kv_lines,
        _activation_line(facts, n_ctx, n_seqs, factor=constant_factor),
        Line("overhead", overhead, "modelled", "a constant for the run-time (--overhead)"),
    ]
    if weights is None:
        unknown = ("weights", *unknown)
    lines, notes = _offload(lines, placement, notes)
    effective = MappingProxyType({"n_ctx": n_ctx, "n_seqs": n_seqs, "n_tokens_kept": kept, "kv_form": kv_form})
    unknown = (*unknown, *uncounted(facts))
    return Estimate("textbook", workload, effective, tuple(lines), _devices(lines, placement), tuple(notes), unknown)


def _offload(lines: list[Line], placement: Placement, notes: list[str]) -> tuple[list[Line], list[str]]:
    """With devices, everything lies on them in equal shares; the cache stays on the host with kv_offload off."""
    if not placement.gpus:
        return lines, notes
    if not placement.kv_offload:
        notes = [*notes, "the cache stays in host memory"]
    host = {"kv_cache", "recurrent_state"} if not placement.kv_offload else set()
    n = len(placement.gpus)
    if n > 1:
        notes = [*notes, f"weights, cache and activations split evenly over {n} devices"]
    names = device_names(placement)
    placed: list[Line] = []
    for line in lines:
        if line.what in host:
            placed.append(line)
            continue
        share, rest = divmod(line.nbytes, n)
        if line.what == "overhead":  # every device pays it
            share, rest = line.nbytes, 0
        placed += [line.replace(nbytes=share + (i < rest), device=name) for i, name in enumerate(names)]
    return placed, notes


def device_names(placement: Placement) -> tuple[str, ...]:
    """The devices' names, numbered where two are alike."""
    names = [g.name for g in placement.gpus]
    if len(set(names)) == len(names):
        return tuple(names)
    return tuple(f"{name}:{i}" for i, name in enumerate(names))


def _devices(lines: list[Line], placement: Placement) -> tuple[Device, ...]:
    devices = []
    host = sum(line.nbytes for line in lines if line.device == "host")
    for name, gpu in zip(device_names(placement), placement.gpus, strict=True):
        used = sum(line.nbytes for line in lines if line.device == name)
        if gpu.unified:  # one memory: what lies on the host is there too
            used, host = used + host, 0
        devices.append(Device(name, gpu.capacity, used, used <= gpu.capacity, backend=gpu.backend, unified=gpu.unified))
    if host:
        devices.append(Device("host", None, host, None))
    return tuple(devices)
