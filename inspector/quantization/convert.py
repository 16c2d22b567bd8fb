"""What a safetensors checkpoint becomes as GGUF: names, shapes and types, before anyone converts it.

Source: conversion/*.py of llama.cpp b11434 (the parts of convert_hf_to_gguf.py) and the name maps of the `gguf`
package. The rewrites that an architecture needs are in convert_rules.py, the keys in convert_keys.py.
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.dtypes import DTYPES
from inspector.errors import UnsupportedArchitecture
from inspector.formats.modelfile import TensorInfo
from inspector.quantization.convert_archs import GGUF_ARCH_OF_CLASS
from inspector.quantization.convert_keys import gguf_keys
from inspector.quantization.convert_packed import kept_type, quantization_of, unpacked
from inspector.quantization.convert_rules import (
    F32_TENSORS,
    STACKED_LISTS,
    UNUSED_ENDINGS,
    VERIFIED,
    extra_tensors,
    is_dropped_layer,
    is_tower,
    n_extra_blocks,
    n_layers,
    nested,
    renamed,
    rewrites,
    stack_name,
)
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Final

    Shape = tuple[int, ...]
    Named = tuple[str, Shape]


class _Unnamed(str):
    """A note on a tensor that has no GGUF name: counted as what it is, not by its words."""

    __slots__ = ()


class Converted(Record):
    """A checkpoint as the converter would write it: enough to predict a quantised mix from.

    `tensors` carry GGUF names, shapes outermost first, and the converter's types (offsets mean nothing: no file is
    written). `keys`: the GGUF keys that memory and quantisation depend on. `grade`: "derived" where every tensor was
    mapped by a rule that was checked against the converter, "modelled" otherwise; `notes` say what was dropped or not
    understood.
    """

    arch: str
    keys: Mapping[str, Any]
    tensors: Sequence[TensorInfo]
    notes: tuple[str, ...] = ()
    grade: str = "derived"


MAX_BLOCKS: Final = 512  # LLAMA_MAX_LAYERS of src/llama-hparams.h
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


def gguf_arch(config: Mapping[str, Any]) -> str:
    """The GGUF architecture of a config.json. Raises UnsupportedArchitecture where the converter knows none."""
    named = config.get("architectures")
    classes = [str(name) for name in named] if isinstance(named, list | tuple) else []
    for name in classes:
        if name in GGUF_ARCH_OF_CLASS:
            return GGUF_ARCH_OF_CLASS[name]
    raise UnsupportedArchitecture(
        f"llama.cpp's converter does not know {', '.join(classes) or 'a model without an architecture'}",
        hint="quantised sizes need a GGUF file then",
    )


def gguf_tensors_from_hf(
    config: Mapping[str, Any],
    tensors: Iterable[TensorInfo],
    *,
    outtype: str = "F16",
    defaults: Mapping[str, Any] = _NOTHING,
) -> Converted:
    """The GGUF that llama.cpp's converter would write for these tensors of a Hugging Face checkpoint.

    `outtype`: F16, BF16 or F32, as in `--outtype`; `defaults`: what the text model's configuration class assumes for
    keys that the config has not. Raises UnsupportedArchitecture.
    """
    arch = gguf_arch(config)
    stated = {**config, **(nested(config, "text_config") or nested(config, "llm_config"))}
    flat = {**defaults, **stated}
    stored = tuple(tensors)
    quantization = quantization_of((config, flat))
    source, packed_notes = unpacked(stored, quantization)
    packed = any(t.name.endswith("_blocks") for t in stored)
    arch = _arch_by_config(arch, stated)
    n_extra = n_extra_blocks(arch, (t.name for t in source), flat)
    n_blocks = n_layers(flat) + n_extra
    if not 0 < n_blocks <= MAX_BLOCKS:
        raise UnsupportedArchitecture(f"{n_blocks} layers: llama.cpp takes 1 to {MAX_BLOCKS}")
    lookup = _name_map(arch, n_blocks)
    if lookup is None:
        return Converted(arch, {}, (), (f"the installed gguf package has no names for {arch}",), "modelled")
    notes: list[str] = list(packed_notes)
    made: dict[str, Shape] = dict(extra_tensors(arch, flat))
    for name, shape in _rewritten(arch, flat, source, n_blocks, notes):
        mapped = name[1:] if name.startswith("=") else lookup(name)
        if mapped is None:
            notes.append(_Unnamed(f"no GGUF name for {name}"))
        else:
            made[mapped] = shape
    unmapped = sum(isinstance(n, _Unnamed) for n in notes)
    return Converted(
        arch=arch,
        keys=gguf_keys(arch, stated, n_blocks, n_extra, defaults=defaults),
        tensors=tuple(
            _tensor(arch, name, shape, (packed and kept_type(name, quantization)) or outtype)
            for name, shape in made.items()
        ),
        notes=tuple(notes) if unmapped <= 8 else (*notes[:8], f"{unmapped} tensors in all have no GGUF name"),
        grade="modelled" if unmapped or packed_notes or arch not in VERIFIED else "derived",
    )


def _arch_by_config(arch: str, config: Mapping[str, Any]) -> str:
    """Nemotron-H has two architectures, told apart by whether it has experts (conversion/nemotron.py)."""
    if arch == "nemotron_h" and (config.get("n_routed_experts") or config.get("num_experts_per_tok")):
        return "nemotron_h_moe"
    return arch


def _name_map(arch: str, blocks: int) -> Callable[[str], str | None] | None:
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    found = next((key for key, name in MODEL_ARCH_NAMES.items() if name == arch), None)
    if found is None:
        return None
    names = get_tensor_name_map(found, blocks)

    def lookup(name: str) -> str | None:
        mapped = names.get_name(key=name, try_suffixes=(".weight", ".bias"))
        return None if mapped is None else str(mapped)

    return lookup


def _rewritten(
    arch: str, config: Mapping[str, Any], source: Sequence[TensorInfo], n_blocks: int, notes: list[str]
) -> list[Named]:
    """Tensors as the converter hands them to the name map: towers dropped, experts stacked, projections split."""
    stacks: dict[str, tuple[int, Shape]] = {}
    out: list[Named] = []
    towers = 0
    for tensor in source:
        if is_tower(tensor.name):
            towers += 1
            continue
        name = renamed(arch, config, tensor.name)
        if name is None or name.endswith(UNUSED_ENDINGS) or is_dropped_layer(name, n_blocks):
            continue
        stacked = _without_expert(name)
        if stacked is not None:
            stacks[stacked] = (stacks.get(stacked, (0, ()))[0] + 1, tensor.shape)
            continue
        out.extend(_made_of(arch, config, name, tensor.shape, notes))
    if towers:
        notes.append(f"{towers} tensor{'s' * (towers > 1)} of a vision or audio tower: a file of its own (mmproj)")
    for name, (count, shape) in stacks.items():
        out.extend(_made_of(arch, config, stack_name(name), (count, *shape), notes))
    return out


def _made_of(arch: str, config: Mapping[str, Any], name: str, shape: Shape, notes: list[str]) -> list[Named]:
    try:
        made = rewrites(arch, config, name, shape)
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError):
        made = None
    if made is not None and all(type(dim) is int and dim >= 0 for _, dims in made for dim in dims):
        return made
    # The config lacks what the rewrite needs, or says it in words, or the tensor has not the rank that is expected.
    notes.append(_Unnamed(f"no GGUF name for {name}: its shape {list(shape)} does not go with the config"))
    return []


def _without_expert(name: str) -> str | None:
    """The name of the stack that an expert's own matrix goes into, or None for any other tensor."""
    parts = name.split(".")
    for i in range(1, len(parts) - 1):
        if parts[i].isdecimal() and parts[i - 1] in STACKED_LISTS:
            return ".".join(parts[:i] + parts[i + 1 :])
    return None


def _tensor(arch: str, name: str, shape: Shape, outtype: str) -> TensorInfo:
    """Vectors, norms, routers and what is not a `.weight` stay F32; the rest gets the type asked for."""
    kept = len(shape) <= 1 or name.endswith("_norm.weight") or not name.endswith(".weight")
    bare = name.removesuffix(".weight").rsplit(".", 1)[-1] if name.startswith("blk.") else name.removesuffix(".weight")
    if name.startswith("blk.") and ".shortconv." in name:
        bare = f"shortconv.{bare}"
    # DBRX's converter asks for the output type on every matrix, its router too.
    kept = kept or (bare in F32_TENSORS and arch != "dbrx")
    dtype = DTYPES["F32" if kept else outtype.upper()]
    return TensorInfo(name, shape, dtype, 0, dtype.nbytes(shape))
