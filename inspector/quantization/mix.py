"""What `llama-quantize` makes of a model: every tensor's type and bytes, without quantising anything.

Source: src/llama-quant.cpp and tools/quantize/quantize.cpp of llama.cpp b11434; the same answers as `--dry-run`.
The tables of rules are in mix_rules.py, the targets in mix_targets.py.
"""

from __future__ import annotations

from inspector.dtypes import DTYPES
from inspector.errors import WorkloadError
from inspector.quantization import mix_rules as rules
from inspector.quantization.mix_targets import FALLBACK, QUANT_TARGETS, QuantTarget, quant_target
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from re import Pattern
    from typing import Any, Final, Protocol

    from inspector.dtypes import Dtype
    from inspector.formats.modelfile import TensorInfo

    class Quantizable(Protocol):
        """What the prediction reads of a model: `ModelFacts` of a GGUF, or a converted checkpoint."""

        @property
        def arch(self) -> str: ...
        @property
        def keys(self) -> Mapping[str, Any] | None: ...
        @property
        def tensors(self) -> Sequence[TensorInfo]: ...


__all__ = ["QUANT_TARGETS", "Fallback", "Mix", "MixTensor", "QuantTarget", "predict_mix", "quant_target"]

# LLAMA_MAX_LAYERS of src/llama-hparams.h.
_MAX_LAYERS: Final = 512
# Layers at which an architecture's model counts as "70B" (load_arch_hparams of src/models/*.cpp).
_LAYERS_70B: Final = {"llama": 80, "llama-embed": 80, "qwen2": 80, "deci": 80, "olmo": 80, "jais2": 68}
# Element types that ggml can store but not produce (ggml_quantize_chunk of ggml/src/ggml.c).
_NOT_PRODUCED: Final = frozenset({"I8", "I16", "I32", "I64", "F64", "Q8_1", "Q8_K"})


class MixTensor(Record):
    """One tensor of the quantised file: shape outermost first, bytes, and the type that it had before."""

    name: str
    shape: tuple[int, ...]
    dtype: Dtype
    nbytes: int
    was: Dtype


class Fallback(Record):
    """A tensor whose rows do not fill whole blocks of the `wanted` type, so that it gets another."""

    name: str
    wanted: str
    given: str


class Mix(Record):
    """The quantised file, tensor by tensor, in the order in which llama-quantize writes it.

    `nbytes`: sum over tensors (no header, no padding). `refused`: why the dry run stops (no tensors then).
    `blocked`: why writing the file would stop although the dry run does not: a missing importance matrix, input that
    is quantised already, a type that nothing can produce.
    """

    to: str
    tensors: tuple[MixTensor, ...]
    n_params: int
    fallbacks: tuple[Fallback, ...] = ()
    needs_imatrix: bool = False
    refused: str | None = None
    blocked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    grade: str = "derived"

    @property
    def nbytes(self) -> int:
        """Exact bytes of all tensors."""
        return sum(t.nbytes for t in self.tensors)

    @property
    def bits_per_weight(self) -> float | None:
        """Bits over parameters, everything included; None where there is no answer."""
        return self.nbytes * 8 / self.n_params if self.tensors and self.n_params else None


class _Options(Record):
    """The command line of llama-quantize, parsed."""

    target: QuantTarget
    imatrix: bool
    pure: bool
    output: str | None
    embedding: str | None
    patterns: tuple[tuple[Pattern[str], str], ...]
    leave_output: bool


def predict_mix(
    model: Quantizable,
    to: str,
    *,
    imatrix: bool = False,
    pure: bool = False,
    output_tensor_type: str | None = None,
    token_embedding_type: str | None = None,
    tensor_types: Iterable[tuple[str, str]] = (),
    leave_output: bool = False,
    allow_requantize: bool = False,
) -> Mix:
    """What llama-quantize would make of this model at type `to`, tensor by tensor.

    `model` has GGUF names, keys and types (a converted checkpoint will do). The options are llama-quantize's own:
    `tensor_types` are (pattern, type) pairs, searched in order in lower case as `--tensor-type` does. Raises
    WorkloadError for a target, type or pattern that llama-quantize does not take.
    """
    options = _Options(
        target=quant_target(to),
        imatrix=imatrix,
        pure=pure,
        output=_ggml_type(output_tensor_type),
        embedding=_ggml_type(token_embedding_type),
        patterns=_patterns(tensor_types),
        leave_output=leave_output,
    )
    n_params = sum(t.n_elements for t in model.tensors)
    try:
        tensors, fallbacks = _mix(model, options)
    except rules.Refusal as refusal:
        return Mix(options.target.name, (), n_params, refused=str(refusal))
    name = options.target.alias_of or options.target.name
    needs = any(
        rules.requires_imatrix(t.name, t.dtype.name, name) and _touched(t.name, t.shape, model.arch, options)
        for t in tensors
    )
    return Mix(
        to=options.target.name,
        tensors=tensors,
        n_params=n_params,
        fallbacks=fallbacks,
        needs_imatrix=needs and not imatrix,
        blocked=_blocked(tensors, needs and not imatrix, allow_requantize=allow_requantize),
        notes=_fallback_notes(fallbacks),
    )


def _ggml_type(text: str | None) -> str | None:
    if text is None:
        return None
    dtype = DTYPES.get(text.upper())
    if dtype is None or dtype.ggml_id is None:
        raise WorkloadError(f"ggml has no type {text!r}", hint="see: inspector dtypes")
    return dtype.name


def _patterns(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[Pattern[str], str], ...]:
    """The command line lowers the pattern; the engine then searches it in the name (std::regex_search)."""
    import re

    compiled = []
    for text, dtype in pairs:
        try:
            compiled.append((re.compile(text.lower(), re.ASCII), str(_ggml_type(dtype))))
        except re.error as error:
            raise WorkloadError(f"{text!r} is not a regular expression: {error}") from None
    return tuple(compiled)


def _mix(model: Quantizable, options: _Options) -> tuple[tuple[MixTensor, ...], tuple[Fallback, ...]]:
    tensors = sorted(model.tensors, key=lambda t: (_block(t.name), t.name))
    kinds = {t.name: rules.category(t.name) for t in tensors}
    if len(kinds) != len(tensors):
        raise rules.Refusal("two tensors have the same name")
    chooser = _Chooser(_whole(model, options), options, tuple(kinds.values()))
    chosen = [(t, _chosen(chooser, t, kinds[t.name])) for t in tensors]
    return tuple(_mixed(t, dtype) for t, dtype in chosen), tuple(chooser.fallbacks)


def _chosen(chooser: _Chooser, tensor: TensorInfo, kind: str) -> Dtype:
    if tensor.dtype is None or tensor.nbytes is None:
        raise rules.Refusal(f"the type of tensor {tensor.name} is not known: {tensor.dtype_name}")
    return DTYPES[chooser.choose(tensor, kind)]


def _mixed(tensor: TensorInfo, dtype: Dtype) -> MixTensor:
    assert tensor.dtype is not None
    if tensor.shape and tensor.shape[-1] % dtype.block_elems:
        # A type forced on the output or the embeddings gets no fallback: ggml_row_size aborts.
        raise rules.Refusal(
            f"rows of {tensor.shape[-1]} in {tensor.name} do not fill whole {_ggml_name(dtype.name)} blocks "
            f"of {dtype.block_elems}"
        )
    return MixTensor(tensor.name, tensor.shape, dtype, dtype.nbytes(tensor.shape), tensor.dtype)


def _block(name: str) -> int:
    """The number in `blk.N.`, as sscanf reads it; -1 where there is none. Tensors are taken in this order."""
    digits = name[4:14] if name.startswith("blk.") else ""
    n = 0
    while n < len(digits) and "0" <= digits[n] <= "9":
        n += 1
    return int(digits[:n]) if n else -1


def _number(keys: Mapping[str, Any], key: str, default: int = 0) -> int:
    """A key's number; of a per-layer array the first layer's, which is the one the rules look at."""
    value = keys.get(key, default)
    first = getattr(value, "head", value)
    if isinstance(first, (tuple, list)):
        first = first[0] if first else 0
    if not isinstance(first, int) or isinstance(first, bool) or first < 0:
        raise rules.Refusal(f"key {key} is not a count")
    return first


def _whole(model: Quantizable, options: _Options) -> rules.Model:
    """The model's own numbers, as load_hparams of src/llama-model.cpp reads them."""
    keys, arch = model.keys or {}, model.arch
    if arch == "clip":
        # A projector's keys are not read: no layers, no heads, and a rule that asks for heads aborts.
        return rules.Model(arch=arch, gqa=None, n_experts=0, is_70b=False, imatrix=options.imatrix)
    n_layers = _number(keys, f"{arch}.block_count")
    if not 0 < n_layers <= _MAX_LAYERS:
        raise rules.Refusal(f"{arch}.block_count is {n_layers}; llama.cpp takes 1 to {_MAX_LAYERS} layers")
    n_heads = _number(keys, f"{arch}.attention.head_count")
    n_kv_heads = _number(keys, f"{arch}.attention.head_count_kv", n_heads)
    n_experts = _number(keys, f"{arch}.expert_count")
    n_run = n_layers - _number(keys, f"{arch}.nextn_predict_layers")
    # A Llama of that depth without grouped heads is the 65B, one with eight experts is no dense 70B.
    plain = arch.startswith("llama") and (n_heads == n_kv_heads or n_experts == 8)
    return rules.Model(
        arch=arch,
        gqa=n_heads // n_kv_heads if n_kv_heads else 0,
        n_experts=n_experts,
        is_70b=_LAYERS_70B.get(arch) == n_run and not plain,
        imatrix=options.imatrix,
        n=_n_layers_all(arch, n_layers, keys),
    )


def _n_layers_all(arch: str, n_layers: int, keys: Mapping[str, Any]) -> int:
    """Layers that the eighths are counted in: two architectures add to what the file says."""
    if arch == "nanbeige":
        # The stack is run several times over, and each pass counts (src/models/nanbeige.cpp).
        loops = max(1, _number(keys, f"{arch}.num_loops"))
        n_run = n_layers - _number(keys, f"{arch}.nextn_predict_layers")
        return n_run * loops if loops > 1 else n_layers
    if arch == "graniteswitch":
        # One more layer holds the router's K and V (src/models/granite-switch.cpp).
        return n_layers - _number(keys, f"{arch}.nextn_predict_layers") + 1
    return n_layers


def _touched(name: str, shape: tuple[int, ...], arch: str, options: _Options) -> bool:
    return options.target.name != "COPY" and rules.may_quantize(name, shape, arch, leave_output=options.leave_output)


class _Chooser:
    """Goes through the tensors in order, counting them by kind: some rules ask for the how-manieth this is."""

    def __init__(self, model: rules.Model, options: _Options, kinds: tuple[str, ...]) -> None:
        self.model = model
        self.options = options
        self.to = options.target.alias_of or options.target.name
        self.default = options.target.dtype
        self.tied = rules.OUTPUT not in kinds
        self.n_attn_v = kinds.count(rules.ATTN_V)
        self.seen = dict.fromkeys((rules.ATTN_V, rules.FFN_DOWN, rules.FFN_GATE, rules.FFN_UP), 0)
        self.fallbacks: list[Fallback] = []

    def choose(self, tensor: TensorInfo, kind: str) -> str:
        """The name of the type that this tensor gets."""
        o = self.options
        assert tensor.dtype is not None
        if not _touched(tensor.name, tensor.shape, self.model.arch, o):
            return tensor.dtype.name
        by_hand = next((dtype for pattern, dtype in o.patterns if pattern.search(tensor.name)), None)
        # Gemma's second embedding follows --token-embedding-type unless a --tensor-type names it.
        if kind == rules.TOKEN_EMBD and o.embedding and not (by_hand and tensor.name.startswith("per_layer")):
            return o.embedding
        if kind == rules.OUTPUT and o.output:
            return o.output
        if not DTYPES[self.default].is_block_quantized:
            return self.default
        if by_hand:
            return self._fit(tensor, by_hand)
        return self._fit(tensor, self.default if o.pure else self._by_rule(tensor, kind))

    def _by_rule(self, tensor: TensorInfo, kind: str) -> str:
        name, arch = tensor.name, self.model.arch
        if rules.always_q8(name, arch):
            return "Q8_0"
        if kind == rules.OUTPUT or (self.tied and kind == rules.TOKEN_EMBD):
            fits = tensor.shape[-1] % DTYPES[self.default].block_elems == 0
            return self.options.output or rules.output_dtype(self.to, arch, self.default, fits=fits)
        if self.to == "MXFP4_MOE":
            return rules.mxfp4_dtype(kind, tensor.shape, arch)
        tiny = self.to in rules.TINY and kind != rules.TOKEN_EMBD
        model = self._at(name, kind, by_count=tiny)
        table = rules.TINY_RULES if tiny else rules.RULES
        dtype = rules.by_rule(table.get(kind, ()), self.to, model, self.default)
        return rules.after_attn_v(dtype, model) if kind == rules.ATTN_V and not tiny else dtype

    def _at(self, name: str, kind: str, *, by_count: bool) -> rules.Model:
        """The model with the place of this tensor: its how-manieth, or its layer where experts make several a layer."""
        if kind not in self.seen:
            return self.model
        i, n = self.seen[kind], self.n_attn_v if kind == rules.ATTN_V else self.model.n
        self.seen[kind] += 1
        if kind != rules.ATTN_V and self.model.n_experts > 1 and not by_count:
            i = _block(name)
            if i < 0:
                raise rules.Refusal(f"Failed to determine layer for tensor {name}")
            if i >= n:
                raise rules.Refusal(f"Bad layer {i} for tensor {name}. Must be in [0, {n})")
        return self.model.replace(i=i, n=n)

    def _fit(self, tensor: TensorInfo, dtype: str) -> str:
        """The type, or what takes its place where rows do not fill whole blocks."""
        n_cols = tensor.shape[-1]
        if n_cols % DTYPES[dtype].block_elems == 0:
            return dtype
        given = FALLBACK.get(dtype, dtype)
        if given == dtype and DTYPES[dtype].block_elems > 32:
            raise rules.Refusal(
                f"no tensor type fallback is defined for type {_ggml_name(dtype)} "
                f"({tensor.name} has rows of {n_cols}, not a multiple of {DTYPES[dtype].block_elems})"
            )
        if n_cols % DTYPES[given].block_elems:
            given = "F16"
        self.fallbacks.append(Fallback(tensor.name, dtype, given))
        return given


def _ggml_name(dtype: str) -> str:
    """As ggml_type_name writes it: q4_K, iq2_xs, bf16."""
    lowered = dtype.lower()
    return lowered[:-1] + "K" if lowered.endswith("_k") else lowered


def _blocked(tensors: tuple[MixTensor, ...], needs_imatrix: bool, *, allow_requantize: bool) -> tuple[str, ...]:
    """What the dry run lets pass and the real run does not."""
    changed = [t for t in tensors if t.dtype.name != t.was.name]
    reasons = ["this quantization requires an imatrix!"] if needs_imatrix else []
    requantized = sorted({_ggml_name(t.was.name) for t in changed if t.was.is_block_quantized})
    if requantized and not allow_requantize:
        reasons.append(f"requantizing from type {', '.join(requantized)} is disabled (--allow-requantize)")
    unmade = sorted({_ggml_name(t.dtype.name) for t in changed if t.dtype.name in _NOT_PRODUCED})
    if unmade:
        reasons.append(f"nothing produces type {', '.join(unmade)}")
    return tuple(reasons)


def _fallback_notes(fallbacks: tuple[Fallback, ...]) -> tuple[str, ...]:
    counts: dict[tuple[str, str], int] = {}
    for f in fallbacks:
        counts[f.wanted, f.given] = counts.get((f.wanted, f.given), 0) + 1
    return tuple(
        f"{n} tensor{'s' if n > 1 else ''} got {given}: rows do not fill whole {wanted} blocks "
        f"of {DTYPES[wanted].block_elems}"
        for (wanted, given), n in counts.items()
    )
