"""Packed safetensors: which tensors together hold one quantised weight, and how many parameters it stands for.

A packed file's shapes are not the model's: eight 4-bit parameters hide in one I32, scales lie beside them. The rules
below are the layouts that the writers of each scheme use: transformers 5.24.0 quantizers/ and integrations/, AutoGPTQ
and AutoAWQ, bitsandbytes, compressed-tensors, ModelOpt, torchao, optimum-quanto, HQQ, MLX.
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.quantization.packed_config import quantization_config
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Final

    from inspector.checkpoint import Checkpoint
    from inspector.formats.modelfile import TensorInfo


class LogicalTensor(Record):
    """One weight as the model means it: `n_elements` parameters (None: not known) in exactly `nbytes` bytes.

    `name`: the weight's own name ("model.layers.0.mlp.up_proj.weight"); `scheme`: how it is packed, "" for a plain
    tensor; `stored`: the names of all tensors that belong to it, the packed one first.
    """

    name: str
    scheme: str
    n_elements: int | None
    nbytes: int
    stored: tuple[str, ...]


# Integer tensors that are no parameters wherever they appear: positions, counters, lookup indices.
_BUFFER_DTYPES: Final = frozenset({"I64", "I32", "I16", "U64", "U32", "U16", "BOOL", "U8", "I8"})
# Buffers by name, kept by older files: rotary tables, causal masks and the like.
_BUFFER_NAMES: Final = (
    ".rotary_emb.inv_freq",
    ".attn.bias",
    ".attn.masked_bias",
    ".attention.bias",
    ".attention.masked_bias",
)

# A packed tensor's name ending, and the endings of what lies beside it.
# fmt: off
_AUX: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({
    ".qweight": (".qzeros", ".scales", ".g_idx", ".bias_correction"),
    ".weight_packed": (".weight_scale", ".weight_zero_point", ".weight_shape", ".weight_g_idx", ".weight_global_scale",
                       ".input_global_scale", ".input_scale"),
    ".weight": (".weight_scale_inv", ".weight_scale", ".weight_scale_2", ".input_scale", ".input_scale_ub",
                ".activation_scale", ".weight_zero_point", ".weight.absmax", ".weight.quant_map",
                ".weight.nested_absmax", ".weight.nested_quant_map",
                ".weight.quant_state.bitsandbytes__nf4", ".weight.quant_state.bitsandbytes__fp4",
                ".SCB", ".weight_format", ".scales", ".biases", ".scale_inv", ".output_scale",
                ".k_scale", ".v_scale", ".q_scale", ".prob_scale", ".weight_scale_inv_2", ".pre_quant_scale",
                ".input_zero_point", ".qscale_weight", ".qscale_act"),
    ".W_q": (".scale", ".zero", ".nbits", ".group_size", ".shape", ".axis", ".packing", ".view_as_float",
             ".unpack_view_dtype", ".compute_dtype", ".quant_scale", ".quant_zero", ".channel_wise", ".optimize",
             ".round_zero", ".stores_quant_config", ".encoded_state_dict", ".offload_meta", ".scale_q", ".zero_q",
             ".meta"),
    ".weight._data._data": (".weight._scale", ".weight._shift", ".input_scale", ".output_scale"),
    ".weight._data": (".weight._scale", ".weight._shift", ".input_scale", ".output_scale"),
    "_blocks": ("_scales",),
})
_TORCHAO_AUX: Final = ("_scale", "_zero_point", "_scale_and_zero", "_per_tensor_scale", "_act_pre_scale")
# Methods whose packed counts have no rule here: their bytes are exact all the same.
_UNCOUNTED: Final = frozenset({"aqlm", "vptq", "spqr", "higgs", "fp_quant", "eetq", "sinq", "metal", "fouroversix",
                             "gemma"})
_UNCOUNTED_ENDINGS: Final = (".codes", ".codebooks", ".indices", ".res_indices", ".centroids", ".weight_q",
                             ".dense_weights", ".dqweight", ".first_order_stats", ".qweight_trellis", ".trellis",
                             ".suh", ".svh")
# fmt: on
_CODES: Final = frozenset({"U8", "I8", "I16", "I32", "I64", "U32", "U16"})


class _Layer(Record):
    """What a rule sees: a packed tensor, its name without ending, and its neighbours by ending."""

    stem: str
    packed: TensorInfo
    beside: Mapping[str, TensorInfo]
    config: Mapping[str, Any]

    @property
    def dtype(self) -> str:
        return self.packed.dtype.name if self.packed.dtype is not None else self.packed.dtype_name

    def bits(self, *keys: str) -> int | None:
        """The width that the quantisation config gives under one of `keys`, where it is a plausible one."""
        for key in keys:
            value = self.config.get(key)
            if isinstance(value, int) and 0 < value <= 16:
                return value
        return None


def _last(t: TensorInfo | None) -> int | None:
    return t.shape[-1] if t is not None and t.shape else None


def _qweight(x: _Layer) -> tuple[str, int | None]:
    """GPTQ packs rows ([K·bits/32, N]), AWQ packs columns ([K, N/8]); the scales' width tells them apart."""
    rows, cols = (*x.packed.shape, 0, 0)[:2]
    n_scales = _last(x.beside.get(".scales"))
    g_idx = x.beside.get(".g_idx")
    if g_idx is not None and rows and n_scales in (cols, None):
        return "gptq", g_idx.n_elements * cols
    if n_scales and n_scales != cols:
        return "awq", rows * n_scales
    bits = x.bits("bits", "w_bit", "wbits")
    if x.config.get("quant_method") == "awq" and n_scales is None:
        return "awq", x.packed.n_elements * 32 // (bits or 4)
    zeros, groups = x.beside.get(".qzeros"), x.beside.get(".scales")
    if bits is None and zeros is not None and groups is not None and groups.n_elements:
        bits = zeros.n_elements * 32 // groups.n_elements  # zeros are packed at the weights' own width
    return "gptq", x.packed.n_elements * 32 // bits if bits else None


def _weight_packed(x: _Layer) -> tuple[str, int | None]:
    """compressed-tensors: I32 words at the width that the group's config names, or two 4-bit floats a byte."""
    if x.dtype == "U8":
        scheme = "nvfp4" if ".weight_global_scale" in x.beside else "mxfp4"
        return f"compressed-tensors {scheme}", x.packed.n_elements * 2
    bits = _group_bits(x)
    return "compressed-tensors", x.packed.n_elements * 32 // bits if bits else None


def _group_bits(x: _Layer) -> int | None:
    """num_bits of the config group that targets this layer; of the only group where there is one."""
    groups = x.config.get("config_groups")
    rows = [g for g in groups.values() if isinstance(g, dict)] if isinstance(groups, dict) else []
    matching = [g for g in rows if _targets(g, x.stem)] or (rows if len(rows) == 1 else [])
    found = {w.get("num_bits") for g in matching if isinstance(w := g.get("weights"), dict)}
    bits = found.pop() if len(found) == 1 else None
    return bits if isinstance(bits, int) and 0 < bits <= 16 else None


def _targets(group: Mapping[str, Any], stem: str) -> bool:
    """Whether a group names this layer: by its name, by `re:pattern`, or by the class Linear."""
    import re

    for target in group.get("targets") or ():
        if not isinstance(target, str):
            continue
        if target in ("Linear", stem):
            return True
        if target.startswith("re:") and len(target) < 200:
            try:
                if re.match(target[3:], stem):
                    return True
            except re.error:
                continue
    return False


def _weight(x: _Layer) -> tuple[str, int | None]:
    """A `weight` with neighbours: the neighbours say which scheme it is, else the type that it is stored as."""
    n = x.packed.n_elements
    if ".weight.absmax" in x.beside or any(".quant_state.bitsandbytes" in ending for ending in x.beside):
        return "bitsandbytes 4-bit", (x.packed.nbytes or 0) * 2  # two a byte, whatever type the bytes are stored as
    if ".SCB" in x.beside:
        return "bitsandbytes 8-bit", n
    if ".scales" in x.beside and x.dtype == "U32":
        return "mlx", _mlx(x)
    if x.dtype.startswith("F8"):
        return "fp8", n
    return ("fp4", n) if x.dtype == "F4" else _codes(x)


def _codes(x: _Layer) -> tuple[str, int | None]:
    """The same for integer storage, which says nothing by itself."""
    n = x.packed.n_elements
    if x.dtype == "U8" and x.config.get("quant_method") == "bitnet":
        return "bitnet", n * 4
    if x.dtype == "U8" and _fp4_scales(x):
        return "nvfp4" if ".weight_scale_2" in x.beside else "mxfp4", n * 2
    if x.dtype == "I8" and ".weight_scale_inv" in x.beside:
        return "fp4", n * 2  # DeepSeek's FP4 experts: two a byte beside block scales
    if x.dtype == "I8":
        return "int8", n
    return ("", n) if x.dtype not in _CODES else ("packed", None)


def _fp4_scales(x: _Layer) -> bool:
    """One 8-bit scale to every 16 or 32 values: a matrix beside, 8 or 16 times narrower than the packed bytes."""
    scale = x.beside.get(".weight_scale")
    width, groups = _last(x.packed), _last(scale)
    return bool(scale is not None and width and groups and len(scale.shape) > 1 and width // groups in (8, 16))


def _mlx(x: _Layer) -> int | None:
    """Rows times columns, at the layer's own width where the config overrides it."""
    own = x.config.get(x.stem)
    row = {**x.config, **own} if isinstance(own, dict) else x.config
    bits, words = row.get("bits"), x.packed.n_elements
    if isinstance(bits, int) and 0 < bits <= 16:
        return words * 32 // bits
    group, scales = row.get("group_size"), x.beside.get(".scales")
    return scales.n_elements * group if scales is not None and isinstance(group, int) and group > 0 else None


def _hqq(x: _Layer) -> tuple[str, int | None]:
    """Byte-packed: 8 // bits values a byte, except 3-bit (ten to an I32) and the odd widths (one a byte)."""
    own = x.config.get("quant_config")
    row = own.get("weight_quant_params", own) if isinstance(own, dict) else x.config
    bits = row.get("nbits") if isinstance(row, dict) else None
    nbytes = x.packed.nbytes or 0
    per_byte = {8: 1, 6: 1, 5: 1, 4: 2, 2: 4, 1: 8}
    if bits == 3:
        return "hqq", nbytes // 4 * 10
    return "hqq", nbytes * per_byte[bits] if isinstance(bits, int) and bits in per_byte else None


def _quanto(x: _Layer) -> tuple[str, int | None]:
    """Four or eight values in a U8 byte are packed; I8 and F8 are one a byte."""
    if x.dtype != "U8":
        return "quanto", x.packed.n_elements
    bits = {"qint4": 4, "qint2": 2, "int4": 4, "int2": 2}.get(str(x.config.get("weights")))
    return "quanto", x.packed.n_elements * 8 // bits if bits else None


def _mxfp4_blocks(x: _Layer) -> tuple[str, int | None]:
    return "mxfp4", x.packed.n_elements * 2


_RULES: Final = MappingProxyType(
    {
        ".qweight": _qweight,
        ".weight_packed": _weight_packed,
        ".weight": _weight,
        ".W_q": _hqq,
        ".weight._data._data": _quanto,
        ".weight._data": _quanto,
        "_blocks": _mxfp4_blocks,
    }
)
_TORCHAO_PER_CODE: Final = MappingProxyType({"I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U8": 2, "I32": 8})


def logical_tensors(checkpoint: Checkpoint) -> tuple[LogicalTensor, ...]:
    """The weights of a safetensors model, each with its scales folded in; buffers count no parameters.

    Every stored tensor belongs to exactly one row, so the bytes add up to the file's. A count is None where the
    scheme's rule is not known here or the config that it needs is missing.
    """
    return unpack(checkpoint.tensors, quantization_config(checkpoint))


def unpack(tensors: Iterable[TensorInfo], config: Mapping[str, Any]) -> tuple[LogicalTensor, ...]:
    """`logical_tensors` for tensors and a quantisation config at hand."""
    by_name = {t.name: t for t in tensors}
    taken: set[str] = set()
    rows: dict[str, LogicalTensor] = {}
    aux = _present_aux(by_name)
    for name in by_name:
        layer = _packed_layer(name, by_name, config, aux)
        if layer is None:
            continue
        row = _packed_row(layer)
        rows[name] = row
        taken.update(row.stored)
    out = []
    for name, t in by_name.items():
        if name in rows:
            out.append(rows[name])
        elif name not in taken:
            out.append(_plain_row(t, config))
    return tuple(out)


def _present_aux(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The endings of scales and the like that occur at all: in a plain checkpoint none do."""
    every = tuple({e for aux in _AUX.values() for e in aux})
    odd = [name for name in names if name.endswith(every)]
    return {ending: tuple(e for e in aux if any(n.endswith(e) for n in odd)) for ending, aux in _AUX.items()}


def _packed_layer(
    name: str, by_name: Mapping[str, TensorInfo], config: Mapping[str, Any], auxiliary: Mapping[str, tuple[str, ...]]
) -> _Layer | None:
    """The packed layer that this tensor heads, if it heads one."""
    if name.endswith("_qdata"):
        stem = name[: -len("_qdata")]
        beside = {e: by_name[stem + e] for e in _TORCHAO_AUX if stem + e in by_name}
        return _Layer("_qdata:" + stem, by_name[name], beside, config)
    for ending, aux in auxiliary.items():
        if not name.endswith(ending) or (not aux and ending == ".weight"):
            continue
        stem = name[: -len(ending)]
        beside = {e: by_name[stem + e] for e in aux if stem + e in by_name}
        if beside or ending != ".weight":
            return None if ending == "_blocks" and not beside else _Layer(stem, by_name[name], beside, config)
    return None


def _packed_row(x: _Layer) -> LogicalTensor:
    packed = x.packed
    if x.stem.startswith("_qdata:"):
        stem = x.stem[len("_qdata:") :]
        module, _, param = stem.rpartition("._")
        each = _TORCHAO_PER_CODE.get(x.dtype)
        name, scheme, n = f"{module}.{param}", "torchao", packed.n_elements * each if each else None
        stored = (packed.name, *(stem + e for e in x.beside))
    else:
        ending = packed.name[len(x.stem) :]
        scheme, n = _RULES[ending](x)
        name = packed.name if ending == ".weight" else x.stem if ending == "_blocks" else x.stem + ".weight"
        stored = (packed.name, *(x.stem + e for e in x.beside))
    if str(x.config.get("quant_method")) in _UNCOUNTED and x.dtype in _CODES:
        n = None
    nbytes = (packed.nbytes or 0) + sum(t.nbytes or 0 for t in x.beside.values())
    return LogicalTensor(name, scheme, n, nbytes, stored)


def _plain_row(t: TensorInfo, config: Mapping[str, Any]) -> LogicalTensor:
    """A tensor that nothing is packed in: its shape is its count, unless it is a buffer or a scheme's raw codes."""
    dtype = t.dtype.name if t.dtype is not None else t.dtype_name
    n: int | None = t.n_elements
    scheme = ""
    if t.name.endswith(_UNCOUNTED_ENDINGS) or t.dtype is None:
        n, scheme = None, str(config.get("quant_method") or "unknown")
    elif dtype in _CODES and t.name.endswith(".weight"):
        n, scheme = _bare_codes(t, dtype, config)
    elif dtype in _BUFFER_DTYPES or t.name.endswith(_BUFFER_NAMES):
        n, scheme = 0, "buffer"
    return LogicalTensor(t.name, scheme, n, t.nbytes or 0, (t.name,))


def _bare_codes(t: TensorInfo, dtype: str, config: Mapping[str, Any]) -> tuple[int | None, str]:
    """Integer weights with no scale beside them: bitnet packs four to a byte; of others only I8 is plain."""
    method = str(config.get("quant_method") or "")
    if dtype == "U8" and method == "bitnet":
        return t.n_elements * 4, "bitnet"
    if dtype == "I8" and method not in _UNCOUNTED:
        return t.n_elements, "int8"
    return None, method or "packed"
