"""Two checkpoints → what changed: metadata, config, facts, tensors added, removed, renamed, reshaped, requantised."""

from __future__ import annotations

from inspector.checkpoint import Checkpoint, open_checkpoint
from inspector.comparison.records import Change as Change
from inspector.comparison.records import Diff as Diff
from inspector.comparison.values import Values, compare_values
from inspector.facts import read_facts
from inspector.formats.modelfile import LongArray

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Final

    from inspector.facts import ModelFacts
    from inspector.formats.modelfile import TensorInfo

_FACTS_LEFT_OUT: Final = frozenset(
    {"origin", "notes", "tensors", "keys", "layers", "nextn_layers", "format", "ahead_layers", "ahead_promised"}
)


def _mapping_changes(
    what: str, a: Mapping[str, Any], b: Mapping[str, Any], *, same: Callable[[Any, Any], bool]
) -> Iterable[Change]:
    for key in [*a, *(k for k in b if k not in a)]:
        if key not in b:
            yield Change("removed", what, key, a[key])
        elif key not in a:
            yield Change("added", what, key, None, b[key])
        elif not same(a[key], b[key]):
            yield Change("changed", what, key, a[key], b[key])


def same_value(a: Any, b: Any) -> bool:
    """Equality, NaN equal to itself; arrays that were not kept by type, length, bytes and first elements."""
    if isinstance(a, LongArray) and isinstance(b, LongArray):
        return (a.elem, a.length, a.nbytes, a.head) == (b.elem, b.length, b.nbytes, b.head)
    return bool(a == b) or (a != a and b != b)  # noqa: PLR0124 - NaN


def _dtype(t: TensorInfo) -> str:
    return t.dtype.name if t.dtype else t.dtype_name


def _tensor_value(t: TensorInfo) -> dict[str, Any]:
    return {"shape": list(t.shape), "dtype": _dtype(t), "nbytes": t.nbytes}


def _suffix(a: str, b: str) -> int:
    """How many dotted words two names share at their ends."""
    n = 0
    for x, y in zip(reversed(a.split(".")), reversed(b.split(".")), strict=False):
        if x != y:
            break
        n += 1
    return n


def _renames(gone: Mapping[str, TensorInfo], new: Mapping[str, TensorInfo]) -> dict[str, str]:
    """Old name → new name, where one tensor of the same shape and type shares the longest end of the name alone."""
    by_form: dict[tuple[Any, ...], list[str]] = {}
    for name, t in new.items():
        by_form.setdefault((t.shape, _dtype(t), name.rpartition(".")[2]), []).append(name)
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name, t in gone.items():
        candidates = by_form.get((t.shape, _dtype(t), name.rpartition(".")[2]), [])[:2000]
        ranked = sorted(((_suffix(name, c), c) for c in candidates if c not in taken), reverse=True)
        alone = len(ranked) == 1 or (ranked and ranked[0][0] > ranked[1][0])
        if ranked and ranked[0][0] > 1 and alone:
            found[name] = ranked[0][1]
            taken.add(ranked[0][1])
    return found


def _tensor_changes(a: Mapping[str, TensorInfo], b: Mapping[str, TensorInfo]) -> Iterable[Change]:
    gone = {n: t for n, t in a.items() if n not in b}
    new = {n: t for n, t in b.items() if n not in a}
    renamed = _renames(gone, new)
    for name, t in a.items():
        if name in renamed:
            yield Change("renamed", "tensor", name, name, renamed[name])
        elif name in gone:
            yield Change("removed", "tensor", name, _tensor_value(t))
        elif t.shape != b[name].shape:
            yield Change("reshaped", "tensor", name, _tensor_value(t), _tensor_value(b[name]))
        elif _dtype(t) != _dtype(b[name]):
            yield Change("requantised", "tensor", name, _tensor_value(t), _tensor_value(b[name]))
    taken = set(renamed.values())
    for name, t in new.items():
        if name not in taken:
            yield Change("added", "tensor", name, None, _tensor_value(t))


def _fact_values(facts: ModelFacts) -> dict[str, Any]:
    values = {f: getattr(facts, f) for f in facts._fields if f not in _FACTS_LEFT_OUT}
    kinds: dict[str, int] = {}
    for layer in facts.layers:
        kinds[layer.kind] = kinds.get(layer.kind, 0) + 1
    return values | {"layers": ", ".join(f"{n} {kind}" for kind, n in kinds.items())}


def _by_name(checkpoint: Checkpoint, facts: ModelFacts, *, as_gguf: bool) -> tuple[dict[str, TensorInfo], list[str]]:
    """Tensors by name; under GGUF names where the other side is a GGUF and this one is not."""
    if not as_gguf or checkpoint.format == "gguf":
        return {t.name: t for t in checkpoint.tensors}, []
    from inspector.quantization.convert import gguf_tensors_from_hf

    converted = gguf_tensors_from_hf(facts.keys or {}, facts.tensors, outtype=_outtype(checkpoint))
    return {t.name: t for t in converted.tensors}, [f"{checkpoint.target}: under GGUF names", *converted.notes]


def _outtype(checkpoint: Checkpoint) -> str:
    """The converter's type that changes nothing: BF16 stays BF16. F16 for what it has no type for."""
    sums: dict[str, int] = {}
    for t in checkpoint.tensors:
        sums[_dtype(t)] = sums.get(_dtype(t), 0) + (t.nbytes or 0)
    most = max(sums, key=lambda name: sums[name], default="F16")
    return most if most in {"F16", "BF16", "F32"} else "F16"


def diff(
    a: str | Checkpoint, b: str | Checkpoint, *, values: str = "", say: Callable[[str], None] | None = None
) -> Diff:
    """What changed from `a` to `b`; targets or checkpoints. Raises SourceError, FormatError, FactsError.

    `values`: "" compares tensors' values where hashes are free, "hash" by hashing whole files, "values" byte by byte;
    `say` is told how far that is.

    A GGUF against a safetensors checkpoint compares through the names and shapes that llama.cpp's converter gives;
    metadata and config then do not correspond and only facts are compared.
    """
    left = open_checkpoint(a) if isinstance(a, str) else a
    right = open_checkpoint(b) if isinstance(b, str) else b
    facts_a, facts_b = read_facts(left), read_facts(right)
    mixed = (left.format == "gguf") != (right.format == "gguf")
    tensors_a, notes_a = _by_name(left, facts_a, as_gguf=mixed)
    tensors_b, notes_b = _by_name(right, facts_b, as_gguf=mixed)
    changes: list[Change] = []
    if not mixed:
        changes += _mapping_changes("metadata", left.metadata, right.metadata, same=same_value)
        changes += _mapping_changes("config", left.config or {}, right.config or {}, same=same_value)
    facts_left, facts_right = _fact_values(facts_a), _fact_values(facts_b)
    if mixed:  # the two formats name architectures, types and head widths differently
        shared = {"n_params", "n_layers", "d_model", "d_ff", "n_heads", "n_ctx_train", "vocab_size", "n_experts"}
        facts_left = {k: v for k, v in facts_left.items() if k in shared}
        facts_right = {k: v for k, v in facts_right.items() if k in shared}
    changes += _mapping_changes("fact", facts_left, facts_right, same=same_value)
    changes += _tensor_changes(tensors_a, tensors_b)
    found = compare_values(left, right, how=values, say=say)
    if values != "values" and found.same is False and changes:
        words = "hashes of whole files differ, as what their headers say does: --values compares tensors alone"
        found = Values(same=None, notes=(words,) if values else ())
    return Diff(
        left.target, right.target, (*changes, *found.changes), left.tensors_nbytes, right.tensors_nbytes,
        facts_a.n_params, facts_b.n_params, (*notes_a, *notes_b, *found.notes), found.same, found.how,
    )  # fmt: skip
