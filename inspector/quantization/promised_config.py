"""A quantisation config as rules: which modules of a model it packs, and how each weight of them is stored.

Sources: transformers 5.24.0 quantizers/ (modules_to_not_convert: quantizers_utils.py should_convert_module), vLLM
0.33.0 layers/quantization/ (compressed_tensors/utils.py, modelopt.py, awq.py, gptq.py), compressed-tensors, mlx-lm.
"""

from __future__ import annotations

import re

from inspector.quantization import layouts
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Final

    from inspector.quantization.layouts import Layout

# A pattern longer than this, or one of more, is no writer's: it would only make a hostile file slow.
_MAX_PATTERN, _MAX_PATTERNS = 200, 20_000


class Packing(Record):
    """How weights are stored: `tensors` of an N × K one (None: this writer's layout has no rule here).

    `group`: K must be divisible by it, or the weight stays as it is.
    """

    name: str
    tensors: Layout | None
    group: int = 0


class Modules(Record):
    """Names of modules as configs write them: whole names or ends or beginnings of them, globs, `re:` patterns."""

    names: frozenset[str]
    patterns: tuple[re.Pattern[str], ...]

    def match(self, module: str) -> bool:
        """Whether one of the names means this module, or something that it lies in."""
        words = module.split(".")
        n = len(words)
        tried = (*(".".join(words[:i]) for i in range(1, n + 1)), *(".".join(words[i:]) for i in range(1, n)))
        return not self.names.isdisjoint(tried) or any(p.match(module) for p in self.patterns)


class Rules(Record):
    """What a quantisation config does. `packing`: of every linear layer that `kept` does not name (None: of none).

    `special`: layers with a packing of their own, first match first (None: kept as they are). `everything`: embeddings,
    heads and routers are packed too; `head`: the output head is; `towers`: what is not the language model is;
    `experts_only`: nothing but routed experts is.
    """

    packing: Packing | None
    kept: Modules
    special: tuple[tuple[Modules, Packing | None], ...] = ()
    everything: bool = False
    head: bool = False
    towers: bool = True
    experts_only: bool = False

    def packing_of(self, module: str) -> Packing | None:
        """How this linear layer is stored; None where it stays as it is."""
        module = without_wrapper(module)
        for modules, packing in self.special:
            if modules.match(module):
                return packing
        return None if self.kept.match(module) else self.packing


def without_wrapper(name: str) -> str:
    """A module's name without the word for the language model: files and configs differ in where it stands."""
    return name.replace("language_model.", "")


def modules(names: object) -> Modules:
    """Names of modules out of a config; anything that is no name is left out."""
    listed = [n for n in names if isinstance(n, str)] if isinstance(names, list | tuple) else []
    plain, patterns = set(), []
    for name in listed[:_MAX_PATTERNS]:
        if name.startswith("re:") and len(name) < _MAX_PATTERN:
            try:
                patterns.append(re.compile(name[3:]))
            except re.error:
                continue
        elif "*" in name and len(name) < _MAX_PATTERN:
            pieces = without_wrapper(name).split("*")
            patterns.append(re.compile(".*?".join(re.escape(p) for p in pieces) + (r"(?:\.|\Z)" if pieces[-1] else "")))
        else:
            plain.add(without_wrapper(name).rstrip("."))
    return Modules(frozenset(plain), tuple(patterns))


NOTHING: Final = Modules(frozenset(), ())


def _int(config: Mapping[str, Any], *keys: str, default: int = 0) -> int:
    for key in keys:
        value = config.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return default


def _is_width(bits: int) -> bool:
    return bits in (2, 3, 4, 5, 6, 8)


# ---- one writer each -----------------------------------------------------------------------------------------------


def _fp8_packing(config: Mapping[str, Any]) -> Packing:
    block = config.get("weight_block_size")
    static = config.get("activation_scheme") == "static"
    if isinstance(block, list | tuple) and len(block) == 2 and all(isinstance(b, int) and b > 0 for b in block):
        return Packing("fp8", layouts.scaled("F8_E4M3", "F32", layouts.blocks(*block)))
    more = (("input_scale", "F32", ()),) if static else ()
    return Packing("fp8", layouts.scaled("F8_E4M3", "F32", layouts.per_tensor, *more))


def _fp8(config: Mapping[str, Any]) -> Rules:
    special = _mixed(config)
    if config.get("expert_dtype") == "fp4":  # DeepSeek-V4: two a byte, an exponent for 32
        experts = Packing("fp4", layouts.scaled("F4", "F8_E8M0", layouts.groups_32), 32)
        special = (*special, (modules([r"re:.*\.experts\.\d+\."]), experts))
    kept = modules([*_listed(config, "modules_to_not_convert", "ignored_layers"), *_listed(config, "ignore")])
    return Rules(_fp8_packing(config), kept, special)


def _listed(config: Mapping[str, Any], *keys: str) -> list[Any]:
    """The first list under these keys that holds anything."""
    return next((list(v) for k in keys if isinstance(v := config.get(k), list | tuple) and v), [])


def _fbgemm(config: Mapping[str, Any]) -> Rules:
    return Rules(
        Packing("fp8", layouts.scaled("F8_E4M3", "F32", layouts.per_row)),
        modules(_listed(config, "modules_to_not_convert")),
    )


def _algorithm(name: object, group: int) -> Packing:
    """One of ModelOpt's (modelopt.py QUANT_ALGOS)."""
    fp8_input = layouts.scaled("F8_E4M3", "F32", layouts.per_tensor, ("input_scale", "F32", ()))
    table = {
        "FP8": Packing("fp8", fp8_input),
        "FP8_PER_CHANNEL_PER_TOKEN": Packing("fp8", layouts.scaled("F8_E4M3", "F32", layouts.per_row)),
        "FP8_PB_WO": Packing("fp8", layouts.scaled("F8_E4M3", "F32", layouts.blocks(128, 128))),
        "NVFP4": Packing("nvfp4", layouts.nvfp4_modelopt, group or 16),
        "W4A16_NVFP4": Packing("nvfp4", layouts.nvfp4, group or 16),
        "MXFP8": Packing("mxfp8", layouts.scaled("F8_E4M3", "U8", layouts.groups_32), 32),
    }
    return table.get(str(name).upper(), Packing(str(name), None))


def _mixed(config: Mapping[str, Any]) -> tuple[tuple[Modules, Packing | None], ...]:
    """Layers that ModelOpt lists one by one, each with its own algorithm."""
    listed = config.get("quantized_layers")
    if not isinstance(listed, dict):
        return ()
    by_kind: dict[tuple[str, int], list[str]] = {}
    for name, row in listed.items():
        if isinstance(row, dict):
            by_kind.setdefault((str(row.get("quant_algo")), _int(row, "group_size")), []).append(name)
    return tuple((modules(names), _algorithm(algo, group)) for (algo, group), names in by_kind.items())


def _modelopt(config: Mapping[str, Any]) -> Rules:
    kept = modules(_listed(config, "ignore", "exclude_modules"))
    if str(config.get("quant_algo")).upper() == "MIXED_PRECISION":
        return Rules(None, kept, _mixed(config), head=True)
    group = _int(config, "group_size") or next((_int(w, "group_size") for w in _group_weights(config)), 0)
    return Rules(_algorithm(config.get("quant_algo"), group), kept)


def _group_weights(config: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    groups = config.get("config_groups")
    rows = groups.values() if isinstance(groups, dict) else ()
    return [w for g in rows if isinstance(g, dict) and isinstance(w := g.get("weights"), dict)]


def _float_packing(weights: Mapping[str, Any], *, inputs: bool) -> Packing:
    bits, group = _int(weights, "num_bits"), _int(weights, "group_size")
    strategy = str(weights.get("strategy") or "tensor")
    if bits == 4 and group == 32:
        scale = layouts.scaled("F4", "U8", layouts.groups_32)
        return Packing("mxfp4", scale, 32)
    if bits == 4:
        more = [("input_global_scale", "F32", (1,))] if inputs else []
        return Packing("nvfp4", lambda n, k: [*layouts.nvfp4(n, k), *more], 16)
    if bits != 8:
        return Packing(f"{bits}-bit float", None)
    block = weights.get("block_structure")
    if strategy == "block" and isinstance(block, list) and len(block) == 2:
        return Packing("fp8", layouts.scaled("F8_E4M3", "BF16", layouts.blocks(*block)))
    if group == 32:
        return Packing("mxfp8", layouts.scaled("F8_E4M3", "U8", layouts.groups_32), 32)
    shape = layouts.per_row if strategy == "channel" else layouts.per_tensor
    return Packing("fp8", layouts.scaled("F8_E4M3", "BF16", shape))


def _group_packing(group: Mapping[str, Any], written: str) -> Packing:
    """One group of compressed-tensors: floats by width, integers packed into words or one a byte."""
    weights = group.get("weights")
    if not isinstance(weights, dict):
        return Packing("nothing", None)
    if weights.get("type") == "float":
        return _float_packing(weights, inputs=isinstance(group.get("input_activations"), dict))
    bits, size = _int(weights, "num_bits"), max(_int(weights, "group_size"), 0)
    if str(group.get("format") or written) == "pack-quantized" and _is_width(bits):
        symmetric = weights.get("symmetric") is not False
        return Packing("int", layouts.packed_int(bits, size, symmetric=symmetric), size)
    if bits == 8:
        return Packing("int8", layouts.scaled("I8", "BF16", layouts.per_row))
    return Packing(f"{bits}-bit", None)


def _compressed(config: Mapping[str, Any]) -> Rules:
    groups = config.get("config_groups")
    rows = [g for g in groups.values() if isinstance(g, dict)] if isinstance(groups, dict) else []
    written, every, special = str(config.get("format")), None, []
    for group in rows:
        packing = _group_packing(group, written)
        targets = group.get("targets")
        names = [t for t in targets if isinstance(t, str)] if isinstance(targets, list | tuple) else []
        if "Linear" in names:
            every = packing
        else:
            special.append((modules(names), packing))
    kept = modules(_listed(config, "ignore"))
    return Rules(every, kept, ((kept, None), *special), head=True)


def _awq(config: Mapping[str, Any]) -> Rules:
    bits, group = _int(config, "bits", "w_bit", default=4), _int(config, "group_size", "q_group_size", default=128)
    layout = layouts.awq(bits, group) if bits in (4, 8) else None
    return Rules(
        Packing("awq", layout, max(group, 0)), modules(_listed(config, "modules_to_not_convert")), towers=False
    )


def _gptq(config: Mapping[str, Any]) -> Rules:
    if "awq" in str(config.get("packing_format")):
        return _awq(config)
    bits, group = _int(config, "bits", default=4), _int(config, "group_size", default=128)
    layout = layouts.gptq(bits, group) if _is_width(bits) else None
    head = config.get("lm_head") is True
    kept = modules(_listed(config, "modules_to_not_convert"))
    return Rules(Packing("gptq", layout), kept, head=head, towers=False)


def _bitsandbytes(config: Mapping[str, Any]) -> Rules:
    kept = modules(_listed(config, "llm_int8_skip_modules") or ["lm_head"])
    if not (config.get("load_in_4bit") or config.get("_load_in_4bit")):
        return Rules(Packing("int8", layouts.bnb_int8), kept)
    nested = bool(config.get("bnb_4bit_use_double_quant"))
    kind = str(config.get("bnb_4bit_quant_type") or "fp4")
    return Rules(Packing(kind, layouts.bnb_4bit(kind, nested=nested)), kept)


def _mxfp4(config: Mapping[str, Any]) -> Rules:
    kept = modules(_listed(config, "modules_to_not_convert"))
    return Rules(Packing("mxfp4", layouts.mxfp4, 32), kept, towers=False, experts_only=True)


def _mlx_packing(row: Mapping[str, Any]) -> Packing:
    bits, group, mode = _int(row, "bits", default=4), _int(row, "group_size", default=64), row.get("mode", "affine")
    if mode == "mxfp4":
        return Packing("mxfp4", layouts.scaled("F4", "U8", layouts.groups_32), 32)
    if mode != "affine" or not _is_width(bits) or group < 1:
        return Packing(f"mlx {mode}", None)
    return Packing("mlx", layouts.mlx(bits, group), group)


def _mlx(config: Mapping[str, Any]) -> Rules:
    """Every weight that has columns to group, unless the config names it; towers keep their own (mlx-vlm)."""
    own = {name: row for name, row in config.items() if isinstance(row, dict) or row is False}
    special = tuple((modules([n]), _mlx_packing({**config, **r}) if r else None) for n, r in own.items())
    return Rules(_mlx_packing(config), NOTHING, special, everything=True, head=True, towers=False)


def _quanto(config: Mapping[str, Any]) -> Rules:
    kinds = {"int8": layouts.quanto("I8"), "float8": layouts.quanto("F8_E4M3"), "int4": layouts.quanto("U8", bits=4)}
    weights = str(config.get("weights")).removeprefix("q")
    group = 128 if weights == "int4" else 0
    return Rules(Packing("quanto", kinds.get(weights), group), modules(_listed(config, "modules_to_not_convert")))


def _bitnet(config: Mapping[str, Any]) -> Rules:
    return Rules(Packing("bitnet", layouts.bitnet), modules(_listed(config, "modules_to_not_convert")))


_WRITERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Rules]]] = {
    "fp8": _fp8,
    "fbgemm_fp8": _fbgemm,
    "modelopt": _modelopt,
    "modelopt_fp4": _modelopt,
    "modelopt_mixed": _modelopt,
    "compressed-tensors": _compressed,
    "awq": _awq,
    "gptq": _gptq,
    "auto-round": _gptq,
    "bitsandbytes": _bitsandbytes,
    "mxfp4": _mxfp4,
    "mlx": _mlx,
    "quanto": _quanto,
    "bitnet": _bitnet,
}


def rules_of(config: Mapping[str, Any]) -> Rules | None:
    """What a quantisation config does to a model's weights, or None for a writer that has no rule here."""
    writer = _WRITERS.get(str(config.get("quant_method")))
    return writer(config) if writer else None
