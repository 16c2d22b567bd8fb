"""Repositories to serve: every kind of model that can be told apart, as small as it can be."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import gguf_builder as g

CONFIG = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128, "vocab_size": 100,
    "max_position_embeddings": 2048, "torch_dtype": "bfloat16",
}  # fmt: skip


def safetensors(names: Iterable[str], *, shape: tuple[int, int] = (64, 64), data: bool = True) -> bytes:
    header: dict[str, dict[str, Any]] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in names:
        n = 2 * shape[0] * shape[1]
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [end, end + n]}
        end += n
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + (bytes(end) if data else b"")


def shards(n: int, per_shard: int, *, index: bool = True, **options: Any) -> dict[str, bytes]:
    """name → bytes of a sharded model; names as transformers writes them."""
    files: dict[str, bytes] = {}
    weight_map: dict[str, str] = {}
    for i in range(n):
        name = f"model-{i + 1:05d}-of-{n:05d}.safetensors"
        tensors = [f"model.layers.{i}.self_attn.part_{j}_proj.weight" for j in range(per_shard)]
        files[name] = safetensors(tensors, **options)
        weight_map |= dict.fromkeys(tensors, name)
    files["config.json"] = json.dumps(CONFIG).encode()
    if index:
        files["model.safetensors.index.json"] = json.dumps({"metadata": {}, "weight_map": weight_map}).encode()
    return files


def small_gguf(arch: str = "llama", *, n_tokens: int = 100, tensor_type: int = 0, **kv: str) -> bytes:
    numbers = {"block_count": 1, "context_length": 512, "embedding_length": 64, "attention.head_count": 4}
    pairs: list[tuple[str, int, Any]] = [
        ("general.architecture", g.STR, arch),
        *((f"llama.{k}", g.U32, v) for k, v in numbers.items()),
    ]
    pairs += [(f"general.{k}", g.STR, v) for k, v in kv.items()]
    pairs += [("tokenizer.ggml.tokens", g.ARR, g.Arr(g.STR, [b"t%d" % i for i in range(n_tokens)]))]
    tensors = [
        g.Tensor("token_embd.weight", (64, 100), tensor_type),
        g.Tensor("blk.0.attn_q.weight", (64, 64), tensor_type),
    ]
    return g.build(pairs, tensors)


def vocabulary(n: int, *, merges: int = 0, seed: int = 1) -> tuple[list[bytes], list[bytes]]:
    """Tokens and merges that grow longer as they go, as learnt ones do."""
    source = random.Random(seed)

    def token(i: int) -> bytes:
        return bytes(source.choices(b"abcdefghijklmnop", k=max(1, int(source.gauss(3 + 4 * (i / n) ** 0.3, 2)))))

    return [token(i) for i in range(n)], [token(i) + b" " + token(i) for i in range(merges)]


def long_gguf(n_tokens: int, n_merges: int) -> bytes:
    tokens, merges = vocabulary(n_tokens, merges=n_merges)
    kv: list[tuple[str, int, Any]] = [("general.architecture", g.STR, "llama"), ("llama.block_count", g.U32, 32),
          ("tokenizer.ggml.model", g.STR, "gpt2" if merges else "llama"),
          ("tokenizer.ggml.tokens", g.ARR, g.Arr(g.STR, tokens))]  # fmt: skip
    if not merges:
        kv.append(("tokenizer.ggml.scores", g.ARR, g.Arr(g.F32, [0.5] * n_tokens)))
    kv.append(("tokenizer.ggml.token_type", g.ARR, g.Arr(g.I32, [1] * n_tokens)))
    if merges:
        kv.append(("tokenizer.ggml.merges", g.ARR, g.Arr(g.STR, merges)))
    kv.append(("tokenizer.chat_template", g.STR, "x" * 9000))
    names = [
        f"blk.{i}.{part}.weight" for i in range(32) for part in ("attn_q", "attn_k", "attn_v", "ffn_gate", "ffn_down")
    ]
    return g.build(kv, [g.Tensor(name) for name in names])


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


REPOSITORIES: dict[str, dict[str, bytes]] = {
    "one gguf": {"model.gguf": small_gguf(), "README.md": b"# hello"},
    "gguf beside a config": {"sub/m.Q4_0.gguf": small_gguf(tensor_type=2), "config.json": json.dumps(CONFIG).encode()},
    "gguf with projector": {"m.Q8_0.gguf": small_gguf(), "mmproj-m-f16.gguf": small_gguf("clip"), "m.imatrix": b"x"},
    "split gguf": {f"m-{i:05d}-of-00003.gguf": small_gguf(n_tokens=i) for i in (1, 2, 3)},
    "split gguf, one part missing": {f"m-{i:05d}-of-00003.gguf": small_gguf(n_tokens=i) for i in (1, 3)},
    "one safetensors": {"model.safetensors": safetensors(["a", "b"]), "config.json": json.dumps(CONFIG).encode()},
    "shards": shards(5, 4),
    "shards without an index": shards(3, 4, index=False),
    "shards, one missing": {k: v for k, v in shards(3, 2).items() if "00002" not in k},
    "shards and a stale file": shards(3, 2) | {"old.safetensors": safetensors(["z"])},
    "shards and pickles": shards(2, 2) | {"pytorch_model.bin": b"\x80\x02" * 50},
    "a config alone": {"config.json": json.dumps(CONFIG).encode()},
    "an adapter": {
        "adapter_model.safetensors": safetensors(["base.lora_A.weight"]),
        "adapter_config.json": b'{"base_model_name_or_path": "org/base"}',
    },
    "packed weights": {
        "model.safetensors": safetensors(["model.layers.0.self_attn.q_proj.qweight"]),
        "config.json": json.dumps(CONFIG).encode(),
        "quantize_config.json": b'{"bits": 4, "group_size": 128}',
    },
    "diffusers": {
        "model_index.json": json.dumps(
            {"_class_name": "X"} | {name: ["d", "C"] for name in ("scheduler", "text_encoder", "unet", "vae", "none")}
        ).encode(),
        "unet/diffusion_pytorch_model.safetensors": safetensors(["down", "mid", "up"]),
        "unet/diffusion_pytorch_model.fp16.safetensors": safetensors(["down", "mid", "up"]),
        "unet/config.json": b'{"_class_name": "UNet"}',
        "vae/diffusion_pytorch_model.safetensors": safetensors(["enc"]),
        "text_encoder/model.safetensors": safetensors(["emb", "x"]),
        "text_encoder/config.json": json.dumps(CONFIG).encode(),
        "scheduler/scheduler_config.json": b"{}",
    },
    "sentence-transformers": {
        "modules.json": b'[{"idx": 0, "path": ""}, {"idx": 1, "path": "1_Pooling"}, {"idx": 2, "path": "2_Dense"}]',
        "model.safetensors": safetensors(["a"]),
        "config.json": json.dumps(CONFIG).encode(),
        "1_Pooling/config.json": b"{}",
        "2_Dense/model.safetensors": safetensors(["linear.weight"]),
        "2_Dense/config.json": b"{}",
    },
}  # fmt: skip


QUANTS = {f"m.{q}.gguf": small_gguf(tensor_type=t, name=q) for q, t in (("Q4_0", 2), ("Q8_0", 8), ("F16", 1))} | {
    "sub/m-UD-Q8_0.gguf": small_gguf(tensor_type=8),
    "big/m.F32-00001-of-00002.gguf": small_gguf(),
    "big/m.F32-00002-of-00002.gguf": small_gguf(n_tokens=1),
    "config.json": b"{}",
}
