"""mlx-lm 0.32.2 on an Apple GPU: weights as they are stored, caches that grow by 256 tokens, a prefill's temporaries.

Rules of mlx_lm/models/cache.py, generate.py and utils.py. What fits is what Metal lets one process wire down
(max_recommended_working_set_size, which mlx-lm sets as its wired limit).
"""

from __future__ import annotations

from inspector.errors import WorkloadError
from inspector.memory.cache import kv_dtype
from inspector.memory.engines.mlx import growth
from inspector.memory.engines.mlx.kept import Kept, Refusal, Setup, kept, unread
from inspector.memory.engines.mlx.peak import transient
from inspector.memory.engines.mlx.support import COMPARED, OTHER_WEIGHTS, module_of, repacked, unpacks_fp8, why_not
from inspector.memory.engines.rows.mlx import BITS, ENGINE, GROUP_SIZE, PREFILL_STEP, QUANTIZED_START
from inspector.memory.engines.shared.hf_weights import (
    file_nbytes,
    mlx_weights,
    model_dtype,
    uncounted,
    without_file,
)
from inspector.memory.engines.shared.kv_options import (
    keep_of,
    options_of,
    whole_option,
    with_options,
    with_settings,
)
from inspector.memory.engines.shared.peaks import devices_at_peak
from inspector.memory.estimate import Estimate, Line, Placement
from inspector.units import format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Workload

DEFAULT_CONTEXT: Final = 2048
_KINDS: Final = {"full": "all tokens", "rotating": "sliding window", "chunked": "chunks"}
_NEAR: Final = 0.9  # generate.py wired_limit warns of models beyond this share


def _bits(workload: Workload) -> int | None:
    value = options_of(workload).get("kv_bits")
    if value is None:
        return None
    if str(value) not in BITS:
        raise WorkloadError(f"kv_bits is {value!r}", hint="one of " + ", ".join(BITS))
    return int(value)


def _count(workload: Workload, name: str, default: int) -> int:
    """A whole number, 0 or more. Raises WorkloadError."""
    value = options_of(workload).get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise WorkloadError(f"{name} is {value!r}; it must be a whole number, 0 or more")
    return value


def _setup(facts: ModelFacts, workload: Workload) -> Setup:
    for asked in (workload.kv_dtype_k, workload.kv_dtype_v):
        if asked not in {None, "auto"}:
            raise WorkloadError(f"mlx-lm has no cache type {asked}: it quantises caches to bits", hint="--kv-bits 8")
    n = workload.n_ctx or facts.n_ctx_train or DEFAULT_CONTEXT
    keep = keep_of(workload)
    n = keep.tokens(n) if keep else n
    prompt = min(whole_option(workload, "n_prompt", n), n)
    most = options_of(workload).get("max_kv_size")
    bits = _bits(workload)
    if bits is not None and (workload.n_seqs or 1) > 1:
        raise WorkloadError("mlx-lm runs one sequence at a time with a quantised cache", hint="-np 1")
    return Setup(
        n_seqs=workload.n_seqs or 1,
        fed=growth.Fed(n, prompt, whole_option(workload, "prefill_step_size", PREFILL_STEP)),
        dtype=kv_dtype(model_dtype(facts) or "bfloat16"),
        bits=bits,
        group=whole_option(workload, "kv_group_size", GROUP_SIZE),
        start=_count(workload, "quantized_kv_start", QUANTIZED_START),
        max_kv_size=None if most is None else whole_option(workload, "max_kv_size", n),
    )


def _walk(facts: ModelFacts, workload: Workload, s: Setup) -> tuple[list[Kept], list[str], list[str]]:
    """All caches, words for what options changed, and kinds that are not known. Raises WorkloadError: mlx-lm stops."""
    found: list[Kept] = []
    said: set[str] = set()
    unknown: dict[str, int] = {}
    for layer in facts.layers:
        if layer.kind == "unknown" and not layer.caches:
            unknown["unknown"] = unknown.get("unknown", 0) + 1
        for cache in layer.caches:
            changed, words = with_options(cache, workload)
            said |= {words} - {""}
            one = kept(facts, layer, changed, s)
            if isinstance(one, Refusal):
                raise WorkloadError(f"mlx-lm stops here: {one.why}", hint=one.hint)
            if one is None:
                name = str(getattr(cache, "kind", type(cache).__name__))
                unknown[name] = unknown.get(name, 0) + 1
            else:
                found.append(one)
    return found, sorted(said), [f"cache of {n} {name} layers" for name, n in sorted(unknown.items())]


def _cache_lines(found: list[Kept], s: Setup, *, sure: bool, said: list[str]) -> list[Line]:
    """One line a kind of cache."""
    kinds: dict[tuple[str, bool], list[Kept]] = {}
    for one in found:
        kinds.setdefault((one.kind, one.quantised), []).append(one)
    lines = []
    for (kind, quantised), rows in kinds.items():
        nbytes, peak = sum(x.nbytes for x in rows), sum(x.peak for x in rows)
        words = [f"{len(rows)} layers × {s.n_seqs} sequences"]
        if rows[0].rows is None:
            words.append("columns of the convolution and the state, whatever the context")
        else:
            held = max(x.rows or 0 for x in rows)
            stored = f"{s.bits} bits in groups of {s.group}" if quantised else s.dtype.name
            words += [f"{held:,} rows for {s.fed.tokens:,} tokens", stored, *said]
        if peak != nbytes:
            words.append(f"{format_nbytes(peak)} while the prompt is read")
        what = "recurrent_state" if rows[0].rows is None else "kv_cache"
        label = _KINDS.get(kind, kind)
        grade = "derived" if sure else "modelled"
        lines.append(
            Line(what, nbytes, grade, ", ".join(words), label=label, peak_nbytes=peak if peak != nbytes else None)
        )
    return lines


def _weights(facts: ModelFacts, dtype: str) -> Line | None:
    """As stored: nothing is converted, but what other libraries packed is laid out anew."""
    loaded = mlx_weights(facts, unpacked=unpacks_fp8(facts))
    method = repacked(facts)
    words = (f"{method} laid out anew for MLX, about as large",) if method else ()
    if facts.tensors:
        same = loaded.nbytes == file_nbytes(facts.tensors)
        grade = "modelled" if method or unpacks_fp8(facts) else "exact" if same else "derived"
        return Line(
            "weights", loaded.nbytes, grade, "; ".join((f"{len(facts.tensors):,} tensors", *loaded.how, *words))
        )
    if module_of(facts) in OTHER_WEIGHTS:
        return None
    found = without_file(facts, loaded, dtype)
    return Line("weights", found[0], "modelled", "; ".join((found[1], *words))) if found else None


def _notes(facts: ModelFacts, workload: Workload, placement: Placement, lines: list[Line]) -> list[str]:
    notes = []
    if placement.gpus and any(x.what == "weights" and x.nbytes > _NEAR * placement.gpus[0].capacity for x in lines):
        notes.append("mlx-lm warns that a model of more than 0.9 of what Metal wires down can be slow")
    if len(placement.gpus) > 1:
        notes.append(f"mlx is answered for one GPU: {placement.gpus[0].name}")
    if not placement.kv_offload:
        notes.append("the memory is one: nothing is kept apart on the host")
    if facts.dtype is None and not facts.tensors:
        notes.append("the model names no dtype: bfloat16 is assumed")
    if (keep := keep_of(workload)) is not None:
        notes.append(f"token pruning keeps the first {keep.first:,} and last {keep.last:,} tokens; it is not built in")
    if facts.generic:
        notes.append(f"{facts.arch} is not in the registry: its keys are read the usual way")
    return notes


def estimate(facts: ModelFacts, workload: Workload, *, placement: Placement | None = None, **settings: Any) -> Estimate:
    """What `n_seqs` sequences (default 1) of `n_ctx` tokens hold in mlx-lm, once they are read. Bytes.

    `settings` (or the same names in `workload.options`, beside kv_keep and window): the options of its row, spelled as
    mlx-lm's own, and n_prompt: how many of the tokens are the prompt (default: all). Raises WorkloadError where mlx-lm
    would not load the model or would stop.
    """
    placement = placement or Placement()
    workload = with_settings(workload, settings, ENGINE)
    if why := why_not(facts):
        raise WorkloadError(why)
    s = _setup(facts, workload)
    found, said, unknown = _walk(facts, workload, s)
    if why := unread(facts):
        found, unknown = [], [f"caches: {why}"]
    sure = (facts.dtype is not None or bool(facts.tensors)) and not said and module_of(facts) in COMPARED
    lines = _cache_lines(found, s, sure=sure and keep_of(workload) is None, said=said)
    weights = _weights(facts, s.dtype.name)
    lines = [weights, *lines] if weights else lines
    unknown += [] if weights else ["weights: no tensors were read"]
    unknown += uncounted(facts) if weights is None else ()
    active = transient(facts, s, quantised=s.quantises)
    if active is None:
        unknown.append("activations: the model's widths are not known")
    else:
        lines.append(Line("compute", active[1], "modelled", active[2], low=active[0]))
    if placement.gpus:
        lines = [line.replace(device=placement.gpus[0].name) for line in lines]
    effective = {
        "n_ctx": s.fed.tokens,
        "n_seqs": s.n_seqs,
        "prefill_step_size": s.fed.step,
        "kv_bits": s.bits,
        "dtype": s.dtype.name.lower(),
        "peak_nbytes": sum(line.peak_nbytes or line.nbytes for line in lines),
    }
    return Estimate(
        "mlx", workload, effective, tuple(lines), devices_at_peak(lines, placement.gpus[:1]),
        tuple(_notes(facts, workload, placement, lines)), tuple(unknown),
    )  # fmt: skip
