"""Write the files that tests read and the demo takes apart, with the formats' own upstream writers.

    make_fixtures.py files [--check]       fixtures/files: small, committed, the same bytes at every run
    make_fixtures.py sparse RECIPE OUT     a full-size GGUF: a real header, and a data section that is one hole

Recipes (fixtures/recipes/*.json) hold metadata as (type, value), a made-up vocabulary by its counts, and tensors by
pattern: `{i}` runs over the layers; `dtype` is one name, or a name for each list of layers.
"""

from __future__ import annotations

import argparse
import ctypes
import filecmp
import hashlib
import json
import os
import shutil
import sys
import tempfile
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFEndian, GGUFValueType, GGUFWriter
from holes import stretch
from safetensors import TensorSpec, serialize_file

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FILES = os.path.join(ROOT, "fixtures", "files")
RECIPES = os.path.join(ROOT, "fixtures", "recipes")

# Listed, not taken from the upstream enumeration, so that a new release of it changes no committed file.
GGML_TYPES = (
    "F32", "F16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K",
    "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "I8", "I16", "I32", "I64", "F64",
    "IQ1_M", "BF16", "TQ1_0", "TQ2_0", "MXFP4", "NVFP4", "Q1_0",
)  # fmt: skip
# Block sizes that upstream Python releases lack (Q2_0 all of them, NVFP4 and Q1_0 the older ones) or have wrong (Q8_1:
# 40 bytes there, 36 in the static_assert of ggml-common.h, llama.cpp b11434).
NEWER_TYPES = {"Q8_1": (9, 32, 36), "NVFP4": (40, 64, 36), "Q1_0": (41, 128, 18), "Q2_0": (42, 64, 18)}
# The codes of safetensors' serializer for what its header calls by another name.
SERIALIZER_NAMES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
    "C64": "complex64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz", "F4": "float4_e2m1fn_x2",
}  # fmt: skip
ITEM_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2, "U32": 4, "I32": 4, "F32": 4,
              "U64": 8, "I64": 8, "F64": 8, "C64": 8}  # fmt: skip

Tensors = dict[str, tuple[str, tuple[int, ...]]]


def pattern(nbytes: int, seed: int) -> bytes:
    """Bytes that are a small finite number in every float type: none has its top exponent bits set."""
    row = bytes((seed * 11 + 7 * i) % 48 for i in range(48))
    return (row * (nbytes // 48 + 1))[:nbytes]


def ggml_type(name: str) -> tuple[int, int, int]:
    """Id, elements a block, bytes a block."""
    if name in NEWER_TYPES:
        return NEWER_TYPES[name]
    member = GGMLQuantizationType[name]
    return (int(member), *GGML_QUANT_SIZES[member])


def ggml_nbytes(name: str, shape: tuple[int, ...]) -> int:
    _, elems, nbytes = ggml_type(name)
    return int(np.prod(shape, dtype=np.int64)) // elems * nbytes


# ---------------------------------------------------------------------------------------------------------- GGUF

VALUE_TYPES = {
    "u8": GGUFValueType.UINT8, "i8": GGUFValueType.INT8, "u16": GGUFValueType.UINT16, "i16": GGUFValueType.INT16,
    "u32": GGUFValueType.UINT32, "i32": GGUFValueType.INT32, "f32": GGUFValueType.FLOAT32,
    "bool": GGUFValueType.BOOL, "str": GGUFValueType.STRING, "u64": GGUFValueType.UINT64,
    "i64": GGUFValueType.INT64, "f64": GGUFValueType.FLOAT64,
}  # fmt: skip


def add_metadata(writer: GGUFWriter, metadata: dict[str, tuple[str, Any]]) -> None:
    """`("u32", 7)`, `("arr[str]", [...])`; a nested array's innermost values type themselves."""
    for key, (kind, value) in metadata.items():
        if kind.startswith("arr["):
            inner = VALUE_TYPES.get(kind[4:-1], GGUFValueType.ARRAY)
            writer.add_key_value(key, value, GGUFValueType.ARRAY, sub_type=inner)
        else:
            writer.add_key_value(key, value, VALUE_TYPES[kind])


def open_writer(
    path: str,
    arch: str,
    metadata: dict[str, tuple[str, Any]],
    tensors: Tensors,
    *,
    big_endian: bool = False,
    alignment: int | None = None,
    split: int = 0,
) -> GGUFWriter:
    """A writer whose header is complete and not yet on disk."""
    endian = GGUFEndian.BIG if big_endian else GGUFEndian.LITTLE
    writer = GGUFWriter(path, arch, endianess=endian, split_max_tensors=split)
    add_metadata(writer, metadata)
    if alignment:
        writer.add_custom_alignment(alignment)
    for name, (dtype, shape) in tensors.items():
        ggml_id = ggml_type(dtype)[0]
        # an id that the writer's enumeration lacks is written all the same: it only packs the number
        writer.add_tensor_info(name, shape, np.dtype(np.float32), ggml_nbytes(dtype, shape), raw_dtype=ggml_id)  # type: ignore[arg-type]
    return writer


def write_gguf(path: str, arch: str, metadata: dict[str, tuple[str, Any]], tensors: Tensors, **how: Any) -> None:
    """A whole small file, its data a fixed pattern."""
    writer = open_writer(path, arch, metadata, tensors, **how)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for seed, (dtype, shape) in enumerate(tensors.values()):
        data = np.frombuffer(pattern(ggml_nbytes(dtype, shape), seed), dtype=np.uint8)
        writer.write_tensor_data(data)
    writer.close()


def write_sparse(path: str, arch: str, metadata: dict[str, tuple[str, Any]], tensors: Tensors) -> int:
    """A header and a hole of the data's size; returns the file's size."""
    writer = open_writer(path, arch, metadata, tensors)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    align = writer.data_alignment
    size = -(-os.path.getsize(path) // align) * align
    size += sum(-(-ggml_nbytes(dtype, shape) // align) * align for dtype, shape in tensors.values())
    stretch(path, size)
    return size


def made_up_word(number: int) -> str:
    """Word `number` of an endless list of distinct, pronounceable, lower-case words."""
    word = ""
    number += 1
    while number > 0:
        number, digit = divmod(number - 1, 95)
        word += "bcdfghjklmnprstvwyz"[digit % 19] + "aeiou"[digit // 19]
    return word


def made_up_vocabulary(rule: dict[str, Any]) -> dict[str, tuple[str, Any]]:
    """Tokens, types, and merges or scores, as many and about as long as a real tokenizer has."""
    n_tokens, special = rule["n_tokens"], rule["special"]
    space = rule["space"]
    words = [(space if i % 2 else "") + made_up_word(i) for i in range(n_tokens - 256 - len(special))]
    at = rule["special_at"]
    tokens = [f"<0x{i:02X}>" for i in range(256)] + words
    tokens[at:at] = special
    types = [1] * n_tokens
    types[at : at + len(special)] = [3] * len(special)
    keys: dict[str, tuple[str, Any]] = {
        "tokenizer.ggml.tokens": ("arr[str]", tokens),
        "tokenizer.ggml.token_type": ("arr[i32]", types),
    }
    if rule.get("scores"):
        keys["tokenizer.ggml.scores"] = ("arr[f32]", [-float(i) for i in range(n_tokens)])
    if n := rule.get("n_merges", 0):
        merges = [f"{words[i % 8999]} {words[i // 150 * 2]}" for i in range(n)]
        keys["tokenizer.ggml.merges"] = ("arr[str]", merges)
    return keys


def recipe_tensors(recipe: dict[str, Any]) -> Tensors:
    """Patterns to tensors, in file order: the single ones as listed, the layers' where `{i}` first stands."""
    rows = recipe["tensors"]
    layered = [row for row in rows if "{i}" in row["name"]]
    tensors: Tensors = {}
    for row in rows:
        if row not in layered:
            tensors[row["name"]] = (row["dtype"], tuple(row["shape"]))
        elif row is layered[0]:
            for i in range(recipe["n_layers"]):
                for each in layered:
                    tensors[each["name"].replace("{i}", str(i))] = (layer_dtype(each["dtype"], i), tuple(each["shape"]))
    return tensors


def layer_dtype(dtype: str | dict[str, list[int] | None], layer: int) -> str:
    """The dtype whose list names this layer, else the one that has no list."""
    if isinstance(dtype, str):
        return dtype
    default = next(name for name, layers in dtype.items() if layers is None)
    return next((name for name, layers in dtype.items() if layers is not None and layer in layers), default)


def make_sparse(recipe_name: str, out: str) -> int:
    """Build a recipe; written beside and renamed, so that an interrupted run leaves nothing half made."""
    with open(os.path.join(RECIPES, f"{recipe_name}.json"), encoding="utf-8") as file:
        recipe = json.load(file)
    metadata = {key: (kind, value) for key, (kind, value) in recipe["metadata"].items()}
    metadata |= made_up_vocabulary(recipe["vocabulary"])
    os.makedirs(os.path.dirname(os.path.abspath(out)), exist_ok=True)
    size = write_sparse(out + ".part", recipe["arch"], metadata, recipe_tensors(recipe))
    os.replace(out + ".part", out)
    return size


# ---------------------------------------------------------------------------------------------------- safetensors


def write_safetensors(path: str, tensors: Tensors, *, metadata: dict[str, str] | None = None) -> int:
    """A whole small file; returns the bytes of its tensors."""
    specs, alive, total = {}, [], 0
    for seed, (name, (dtype, logical)) in enumerate(tensors.items()):
        shape = (*logical[:-1], logical[-1] // 2) if dtype == "F4" else logical  # the serializer doubles it again
        nbytes = int(np.prod(shape, dtype=np.int64)) * ITEM_BYTES.get(dtype, 1)
        data = bytes(nbytes) if dtype == "BOOL" else pattern(nbytes, seed)
        if name.endswith("position_ids"):
            data = np.arange(shape[-1], dtype=np.int64).tobytes()
        buffer = ctypes.create_string_buffer(data, max(nbytes, 1))
        alive.append(buffer)
        specs[name] = TensorSpec(
            dtype=SERIALIZER_NAMES[dtype], shape=shape, data_ptr=ctypes.addressof(buffer), data_len=nbytes
        )
        total += nbytes
    serialize_file(specs, path, metadata={"format": "pt"} if metadata is None else metadata)
    return total


def write_json(path: str, document: object) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(json.dumps(document, indent=2) + "\n")


def write_folder(path: str, config: dict[str, Any], tensors: Tensors, *, n_shards: int = 1) -> None:
    """A model folder as transformers writes it: config.json, and one file or shards with an index."""
    os.makedirs(path)
    write_json(os.path.join(path, "config.json"), config)
    if n_shards == 1:
        write_safetensors(os.path.join(path, "model.safetensors"), tensors)
        return
    weight_map: dict[str, str] = {}
    names, total = list(tensors), 0
    per_shard = -(-len(names) // n_shards)
    for shard in range(n_shards):
        file_name = f"model-{shard + 1:05d}-of-{n_shards:05d}.safetensors"
        part = {name: tensors[name] for name in names[shard * per_shard : (shard + 1) * per_shard]}
        total += write_safetensors(os.path.join(path, file_name), part)
        weight_map |= dict.fromkeys(part, file_name)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    write_json(os.path.join(path, "model.safetensors.index.json"), index)


# ------------------------------------------------------------------------------------------------ the small files

D, FF, HEADS, KV_HEADS, VOCAB, LAYERS = 32, 96, 4, 2, 320, 2


def llama_metadata(name: str, **extra: tuple[str, Any]) -> dict[str, tuple[str, Any]]:
    vocabulary = made_up_vocabulary({"n_tokens": VOCAB, "special": ["<s>", "</s>"], "special_at": 0, "space": "▁",
                                     "scores": True})  # fmt: skip
    return {
        "general.type": ("str", "model"),
        "general.name": ("str", name),
        "general.file_type": ("u32", 7),
        "general.quantization_version": ("u32", 2),
        "llama.vocab_size": ("u32", VOCAB),
        "llama.context_length": ("u32", 512),
        "llama.embedding_length": ("u32", D),
        "llama.block_count": ("u32", LAYERS),
        "llama.feed_forward_length": ("u32", FF),
        "llama.attention.head_count": ("u32", HEADS),
        "llama.attention.head_count_kv": ("u32", KV_HEADS),
        "llama.attention.layer_norm_rms_epsilon": ("f32", 1e-5),
        "llama.rope.dimension_count": ("u32", D // HEADS),
        "tokenizer.ggml.model": ("str", "llama"),
        **vocabulary,
        **extra,
    }


def llama_gguf_tensors(dtype: str = "Q8_0") -> Tensors:
    kv = D * KV_HEADS // HEADS
    tensors: Tensors = {"token_embd.weight": (dtype, (VOCAB, D))}
    for i in range(LAYERS):
        tensors |= {
            f"blk.{i}.attn_norm.weight": ("F32", (D,)),
            f"blk.{i}.attn_q.weight": (dtype, (D, D)),
            f"blk.{i}.attn_k.weight": (dtype, (kv, D)),
            f"blk.{i}.attn_v.weight": (dtype, (kv, D)),
            f"blk.{i}.attn_output.weight": (dtype, (D, D)),
            f"blk.{i}.ffn_norm.weight": ("F32", (D,)),
            f"blk.{i}.ffn_gate.weight": (dtype, (FF, D)),
            f"blk.{i}.ffn_up.weight": (dtype, (FF, D)),
            f"blk.{i}.ffn_down.weight": (dtype, (D, FF)),
        }
    return tensors | {"output_norm.weight": ("F32", (D,)), "output.weight": (dtype, (VOCAB, D))}


EVERY_VALUE: dict[str, tuple[str, Any]] = {
    "test.u8": ("u8", 255), "test.i8": ("i8", -128), "test.u16": ("u16", 65535), "test.i16": ("i16", -32768),
    "test.u32": ("u32", 4294967295), "test.i32": ("i32", -2147483648), "test.f32": ("f32", 0.15625),
    "test.true": ("bool", True), "test.false": ("bool", False),
    "test.string": ("str", "naïve ☃ tab\tnewline\n"), "test.empty_string": ("str", ""),
    "test.u64": ("u64", 18446744073709551615), "test.i64": ("i64", -9223372036854775808), "test.f64": ("f64", 1e-300),
    "test.arr.u8": ("arr[u8]", [0, 1, 255]), "test.arr.i8": ("arr[i8]", [-128, 127]),
    "test.arr.u16": ("arr[u16]", [0, 65535]), "test.arr.i16": ("arr[i16]", [-32768, 32767]),
    "test.arr.u32": ("arr[u32]", [0, 4294967295]), "test.arr.i32": ("arr[i32]", [-2147483648, 2147483647]),
    "test.arr.f32": ("arr[f32]", [0.5, -0.25, 1024.0]), "test.arr.bool": ("arr[bool]", [True, False, True]),
    "test.arr.str": ("arr[str]", ["", "a", "größer", "x" * 300]),
    "test.arr.u64": ("arr[u64]", [0, 18446744073709551615]), "test.arr.i64": ("arr[i64]", [-1, 9223372036854775807]),
    "test.arr.f64": ("arr[f64]", [1e300, -1e-300]),
    "test.arr.long": ("arr[i32]", list(range(1000))),
    "test.arr.words": ("arr[str]", [made_up_word(i) for i in range(700)]),
}  # fmt: skip
NESTED: dict[str, tuple[str, Any]] = {
    "test.nested": ("arr[arr]", [[1, 2, 3], [4], [5, 6]]),
    "test.nested.strings": ("arr[arr]", [["a", "bb"], ["ccc"]]),
    "test.nested.deep": ("arr[arr]", [[[1, 2], [3]], [[4]]]),
    "test.after": ("u32", 7),
}


def every_ggml_tensor() -> Tensors:
    tensors: Tensors = {f"t.{name.lower()}": (name, (2, 3, 256)) for name in GGML_TYPES}
    tensors["t.scalar_like"] = ("F32", (1,))
    tensors["t.four_dims"] = ("F16", (2, 1, 3, 5))  # 60 bytes: padding before the next tensor
    tensors["t.last"] = ("I8", (7,))
    return tensors


def make_gguf_files(folder: str) -> None:
    os.makedirs(folder)

    def at(name: str) -> str:
        return os.path.join(folder, name)

    llama = llama_metadata("Tiny Llama")
    for suffix, big in (("", False), ("-be", True)):
        write_gguf(at(f"every-dtype{suffix}.gguf"), "test", {}, every_ggml_tensor(), big_endian=big)
        write_gguf(at(f"every-value{suffix}.gguf"), "test", EVERY_VALUE, {}, big_endian=big)
    beyond: Tensors = {"t.q2_0": ("Q2_0", (3, 256)), "t.q8_1": ("Q8_1", (3, 32)), "t.last": ("I8", (7,))}
    write_gguf(at("beyond-upstream.gguf"), "test", {}, beyond)
    write_gguf(at("nested-arrays.gguf"), "test", NESTED, {})
    write_gguf(at("tiny-llama-q8_0.gguf"), "llama", llama, llama_gguf_tensors())
    make_version_2(at("tiny-llama-q8_0.gguf"), at("tiny-llama-q8_0-v2.gguf"))
    write_gguf(at("tiny-llama-q8_0-be.gguf"), "llama", llama, llama_gguf_tensors(), big_endian=True)
    write_gguf(at("tiny-llama-align-128.gguf"), "llama", llama, llama_gguf_tensors("Q4_0"), alignment=128)
    write_gguf(at("tiny-llama-split.gguf"), "llama", llama, llama_gguf_tensors("F16"), split=8)
    make_adapter_and_projector(at)
    make_moe(at("tiny-moe-q8_0.gguf"))


def make_version_2(source: str, target: str) -> None:
    """Version 2 has version 3's layout and another number."""
    with open(source, "rb") as file:
        data = file.read()
    with open(target, "wb") as file:
        file.write(data[:4] + (2).to_bytes(4, "little") + data[8:])


def make_adapter_and_projector(at: Any) -> None:
    adapter: dict[str, tuple[str, Any]] = {
        "general.type": ("str", "adapter"),
        "general.name": ("str", "Tiny Llama LoRA"),
        "adapter.type": ("str", "lora"),
        "adapter.lora.alpha": ("f32", 16.0),
    }
    pairs: Tensors = {}
    for i in range(LAYERS):
        pairs[f"blk.{i}.attn_q.weight.lora_a"] = ("F16", (8, D))
        pairs[f"blk.{i}.attn_q.weight.lora_b"] = ("F16", (D, 8))
    write_gguf(at("tiny-llama-lora-f16.gguf"), "llama", adapter, pairs)
    projector: dict[str, tuple[str, Any]] = {
        "general.type": ("str", "mmproj"),
        "general.name": ("str", "Tiny Vision"),
        "clip.has_vision_encoder": ("bool", True),
        "clip.projector_type": ("str", "mlp"),
        "clip.vision.image_size": ("u32", 56),
        "clip.vision.patch_size": ("u32", 14),
        "clip.vision.embedding_length": ("u32", 32),
        "clip.vision.feed_forward_length": ("u32", 64),
        "clip.vision.block_count": ("u32", 1),
        "clip.vision.attention.head_count": ("u32", 2),
        "clip.vision.projection_dim": ("u32", D),
        "clip.vision.attention.layer_norm_epsilon": ("f32", 1e-6),
    }
    vision: Tensors = {
        "mm.0.weight": ("F16", (D, 32)),
        "mm.0.bias": ("F32", (D,)),
        "v.patch_embd.weight": ("F16", (32, 3, 14, 14)),
        "v.position_embd.weight": ("F32", (16, 32)),
        "v.blk.0.attn_q.weight": ("F16", (32, 32)),
        "v.blk.0.attn_k.weight": ("F16", (32, 32)),
        "v.blk.0.attn_v.weight": ("F16", (32, 32)),
        "v.blk.0.attn_out.weight": ("F16", (32, 32)),
    }
    write_gguf(at("mmproj-tiny-f16.gguf"), "clip", projector, vision)


def make_moe(path: str) -> None:
    """Four experts, two used: routed tensors carry the expert as their outermost dimension."""
    keys = llama_metadata("Tiny MoE", **{"llama.expert_count": ("u32", 4), "llama.expert_used_count": ("u32", 2)})
    tensors = {name: row for name, row in llama_gguf_tensors().items() if "ffn_" not in name or "norm" in name}
    for i in range(LAYERS):
        tensors[f"blk.{i}.ffn_gate_inp.weight"] = ("F32", (4, D))
        tensors[f"blk.{i}.ffn_gate_exps.weight"] = ("Q8_0", (4, 64, D))
        tensors[f"blk.{i}.ffn_up_exps.weight"] = ("Q8_0", (4, 64, D))
        tensors[f"blk.{i}.ffn_down_exps.weight"] = ("Q8_0", (4, D, 64))
    keys["llama.feed_forward_length"] = ("u32", 64)
    write_gguf(path, "llama", keys, tensors)


def llama_config(**changes: Any) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCAB,
        "hidden_size": D,
        "intermediate_size": FF,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        **changes,
    }


def llama_tensors(*, tied: bool = False, moe: bool = False) -> Tensors:
    kv = D * KV_HEADS // HEADS
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCAB, D)}
    for i in range(LAYERS):
        layer = f"model.layers.{i}"
        shapes |= {
            f"{layer}.self_attn.q_proj.weight": (D, D),
            f"{layer}.self_attn.k_proj.weight": (kv, D),
            f"{layer}.self_attn.v_proj.weight": (kv, D),
            f"{layer}.self_attn.o_proj.weight": (D, D),
            f"{layer}.input_layernorm.weight": (D,),
            f"{layer}.post_attention_layernorm.weight": (D,),
        }
        if moe:
            shapes[f"{layer}.block_sparse_moe.gate.weight"] = (4, D)
            for e in range(4):
                expert = f"{layer}.block_sparse_moe.experts.{e}"
                shapes |= {
                    f"{expert}.w1.weight": (64, D),
                    f"{expert}.w2.weight": (D, 64),
                    f"{expert}.w3.weight": (64, D),
                }
        else:
            shapes |= {f"{layer}.mlp.{p}_proj.weight": (FF, D) for p in ("gate", "up")}
            shapes[f"{layer}.mlp.down_proj.weight"] = (D, FF)
    shapes["model.norm.weight"] = (D,)
    if not tied:
        shapes["lm_head.weight"] = (VOCAB, D)
    return {name: ("BF16", shape) for name, shape in shapes.items()}


def bert_folder(path: str) -> None:
    d, ff, vocab, n_ctx = 32, 128, 100, 64
    linear = {"attention.self.query": (d, d), "attention.self.key": (d, d), "attention.self.value": (d, d),
              "attention.output.dense": (d, d), "intermediate.dense": (ff, d), "output.dense": (d, ff)}  # fmt: skip
    tensors: Tensors = {
        "embeddings.LayerNorm.bias": ("F32", (d,)),
        "embeddings.LayerNorm.weight": ("F32", (d,)),
        "embeddings.position_embeddings.weight": ("F32", (n_ctx, d)),
        "embeddings.position_ids": ("I64", (1, n_ctx)),
        "embeddings.token_type_embeddings.weight": ("F32", (2, d)),
        "embeddings.word_embeddings.weight": ("F32", (vocab, d)),
    }
    for i in range(2):
        for name, (rows, columns) in linear.items():
            tensors[f"encoder.layer.{i}.{name}.weight"] = ("F32", (rows, columns))
            tensors[f"encoder.layer.{i}.{name}.bias"] = ("F32", (rows,))
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            tensors[f"encoder.layer.{i}.{name}.weight"] = ("F32", (d,))
            tensors[f"encoder.layer.{i}.{name}.bias"] = ("F32", (d,))
    tensors |= {"pooler.dense.weight": ("F32", (d, d)), "pooler.dense.bias": ("F32", (d,))}
    config = {"architectures": ["BertModel"], "model_type": "bert", "vocab_size": vocab, "hidden_size": d,
              "intermediate_size": ff, "num_hidden_layers": 2, "num_attention_heads": 4, "type_vocab_size": 2,
              "max_position_embeddings": n_ctx, "torch_dtype": "float32"}  # fmt: skip
    write_folder(path, config, tensors)


def packed_folders(folder: str) -> None:
    """One packed linear layer each, laid out as GPTQModel, AutoAWQ, bitsandbytes and gpt-oss checkpoints lay it out."""
    wanted = {"gptq_4bit": "packed-gptq", "awq_gemm_4bit": "packed-awq", "bnb_nf4_dq0": "packed-bnb-nf4",
              "mxfp4_gpt_oss": "packed-mxfp4"}  # fmt: skip
    with open(os.path.join(ROOT, "fixtures", "quantized.jsonl"), encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    for row in rows:
        if row["scheme"] not in wanted:
            continue
        layer = {name: (t["dtype"], tuple(t["shape"])) for name, t in row["tensors"].items()}
        path = os.path.join(folder, wanted[row["scheme"]])
        write_folder(path, {"model_type": "llama", "quantization_config": row["quantization_config"]}, layer)


def make_safetensors_files(folder: str) -> None:
    os.makedirs(folder)

    def at(name: str) -> str:
        return os.path.join(folder, name)

    every: Tensors = {f"t.{name.lower()}": (name, (2, 8)) for name in SERIALIZER_NAMES}
    every |= {"t.scalar": ("F32", ()), "t.empty": ("F16", (0, 4)), "t.four_dims": ("I16", (2, 1, 3, 5))}
    write_safetensors(at("every-dtype.safetensors"), every)
    write_safetensors(at("no-metadata.safetensors"), {"a": ("F32", (2, 3))}, metadata={})
    write_folder(at("llama-tied"), llama_config(tie_word_embeddings=True), llama_tensors(tied=True))
    write_folder(at("llama-untied"), llama_config(), llama_tensors())
    write_folder(at("llama-sharded"), llama_config(), llama_tensors(), n_shards=3)
    mixtral = {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "intermediate_size": 64,
               "num_local_experts": 4, "num_experts_per_tok": 2}  # fmt: skip
    write_folder(at("mixtral"), llama_config(**mixtral), llama_tensors(moe=True))
    bert_folder(at("bert"))
    os.makedirs(at("lora"))
    pairs: Tensors = {}
    for i in range(LAYERS):
        prefix = f"base_model.model.model.layers.{i}.self_attn.q_proj"
        pairs |= {f"{prefix}.lora_A.weight": ("F32", (8, D)), f"{prefix}.lora_B.weight": ("F32", (D, 8))}
    write_safetensors(at("lora/adapter_model.safetensors"), pairs)
    write_json(at("lora/adapter_config.json"), {"peft_type": "LORA", "r": 8, "lora_alpha": 16,
               "base_model_name_or_path": "tiny/llama", "target_modules": ["q_proj"]})  # fmt: skip
    packed_folders(folder)


def broken_folder(path: str) -> None:
    """A download gone wrong in the usual ways: a shard cut short, a pointer in place of another, a third not there."""
    tensors = llama_tensors()
    write_folder(path, llama_config(), tensors, n_shards=3)
    shards = sorted(name for name in os.listdir(path) if name.endswith(".safetensors"))
    first, second, third = (os.path.join(path, name) for name in shards)
    os.truncate(first, os.path.getsize(first) - 1000)
    oid = hashlib.sha256(b"the shard that is not here").hexdigest()
    with open(second, "w", encoding="utf-8") as file:
        file.write(f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 4976698672\n")
    os.remove(third)


def make_files(folder: str) -> None:
    """All small files, into an empty or absent folder."""
    os.makedirs(folder, exist_ok=True)
    broken_folder(os.path.join(folder, "broken", "half-a-download"))
    make_gguf_files(os.path.join(folder, "gguf"))
    make_safetensors_files(os.path.join(folder, "safetensors"))


def differences(left: str, right: str) -> list[str]:
    """Relative paths that are not in both folders with the same bytes."""
    here, there = (
        {os.path.relpath(os.path.join(d, f), top) for d, _, files in os.walk(top) for f in files}
        for top in (left, right)
    )
    _, changed, errors = filecmp.cmpfiles(left, right, sorted(here & there), shallow=False)
    return sorted({*(here ^ there), *changed, *errors})


def run_files(*, check: bool) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        made = os.path.join(scratch, "files")
        make_files(made)
        if check:
            stale = differences(made, FILES)
            for path in stale:
                print(f"stale: fixtures/files/{path}", file=sys.stderr)
            return 1 if stale else 0
        shutil.rmtree(FILES, ignore_errors=True)
        shutil.copytree(made, FILES)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    files = commands.add_parser("files")
    files.add_argument("--check", action="store_true", help="write nothing; fail when the committed files differ")
    sparse = commands.add_parser("sparse")
    sparse.add_argument("recipe", choices=sorted(n[:-5] for n in os.listdir(RECIPES) if n.endswith(".json")))
    sparse.add_argument("out")
    args = parser.parse_args()
    if args.command == "files":
        return run_files(check=args.check)
    size = make_sparse(args.recipe, args.out)
    print(f"{args.out}: {size:,} bytes, all but the header a hole", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
