"""Write a sparse DeepSeek-V3 GGUF (shapes only, no data) and its header to fixtures/llamacpp-headers.

    python scripts/make_deepseek_v3.py FOLDER
    llama-fit-params -m FOLDER/deepseek-v3.gguf -c 8192 -ub 512 -fa on -fitp on

The shapes are those of llama_model_deepseek2::load_arch_tensors (src/models/deepseek2.cpp, b11434) for the published
config.json; experts are routed in groups (`expert_group_count`), which no other header here has.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import gguf
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADERS = Path(__file__).resolve().parents[1] / "fixtures" / "llamacpp-headers"
D, HEADS, Q_RANK, KV_RANK, ROPE, NOPE, V = 7168, 128, 1536, 512, 64, 128, 128
FF, FF_EXPERT, EXPERTS, LAYERS, DENSE, VOCAB = 18432, 2048, 256, 61, 3, 129280
F32, Q4_K = gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.Q4_K
Q8_0 = gguf.GGMLQuantizationType.Q8_0
KEYS = {
    "block_count": LAYERS,
    "context_length": 163840,
    "embedding_length": D,
    "feed_forward_length": FF,
    "attention.head_count": HEADS,
    "attention.head_count_kv": 1,
    "attention.key_length": KV_RANK + ROPE,
    "attention.value_length": KV_RANK,
    "attention.key_length_mla": NOPE + ROPE,
    "attention.value_length_mla": V,
    "attention.q_lora_rank": Q_RANK,
    "attention.kv_lora_rank": KV_RANK,
    "rope.dimension_count": ROPE,
    "expert_count": EXPERTS,
    "expert_used_count": 8,
    "expert_shared_count": 1,
    "expert_feed_forward_length": FF_EXPERT,
    "expert_group_count": 8,
    "expert_group_used_count": 4,
    "expert_gating_func": 2,
    "leading_dense_block_count": DENSE,
    "vocab_size": VOCAB,
}


def tensors() -> Iterator[tuple[str, tuple[int, ...], gguf.GGMLQuantizationType]]:
    """Name, shape as stored (outermost first) and type of every tensor."""
    yield "token_embd.weight", (VOCAB, D), Q4_K
    yield "output_norm.weight", (D,), F32
    yield "output.weight", (VOCAB, D), Q4_K
    for i in range(LAYERS):
        b = f"blk.{i}."
        yield b + "attn_norm.weight", (D,), F32
        yield b + "attn_q_a_norm.weight", (Q_RANK,), F32
        yield b + "attn_kv_a_norm.weight", (KV_RANK,), F32
        yield b + "attn_q_a.weight", (Q_RANK, D), Q4_K
        yield b + "attn_q_b.weight", (HEADS * (NOPE + ROPE), Q_RANK), Q4_K
        yield b + "attn_kv_a_mqa.weight", (KV_RANK + ROPE, D), Q4_K
        yield b + "attn_k_b.weight", (HEADS, KV_RANK, NOPE), Q8_0
        yield b + "attn_v_b.weight", (HEADS, V, KV_RANK), Q8_0
        yield b + "attn_output.weight", (D, HEADS * V), Q4_K
        yield b + "ffn_norm.weight", (D,), F32
        if i < DENSE:
            yield b + "ffn_gate.weight", (FF, D), Q4_K
            yield b + "ffn_down.weight", (D, FF), Q4_K
            yield b + "ffn_up.weight", (FF, D), Q4_K
            continue
        yield b + "ffn_gate_inp.weight", (EXPERTS, D), F32
        yield b + "exp_probs_b.bias", (EXPERTS,), F32
        for kind, (rows, columns) in (("gate", (FF_EXPERT, D)), ("down", (D, FF_EXPERT)), ("up", (FF_EXPERT, D))):
            yield f"{b}ffn_{kind}_exps.weight", (EXPERTS, rows, columns), Q4_K
            yield f"{b}ffn_{kind}_shexp.weight", (rows, columns), Q4_K


def main() -> None:
    path = Path(sys.argv[1]) / "deepseek-v3.gguf"
    writer = gguf.GGUFWriter(path, "deepseek2")
    for key, value in KEYS.items():
        writer.add_uint32(f"deepseek2.{key}", value)
    writer.add_float32("deepseek2.attention.layer_norm_rms_epsilon", 1e-6)
    writer.add_float32("deepseek2.expert_weights_scale", 2.5)
    writer.add_bool("deepseek2.expert_weights_norm", True)
    writer.add_string("tokenizer.ggml.model", "none")
    size = 0
    for name, shape, dtype in tensors():
        block, nbytes = gguf.GGML_QUANT_SIZES[dtype]
        total = nbytes
        for n in shape:
            total *= n
        total //= block
        raw = shape if dtype == F32 else gguf.quant_shape_to_byte_shape(shape, dtype)
        writer.add_tensor_info(name, raw, np.dtype("float32" if dtype == F32 else "uint8"), total, raw_dtype=dtype)
        size += -(-total // 32) * 32
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    header = path.read_bytes()
    header += b"\0" * (-len(header) % 32)
    full = len(header) + size
    with path.open("r+b") as file:
        file.truncate(full)
    HEADERS.joinpath("deepseek-v3.gguf-header.gz").write_bytes(gzip.compress(header, 9, mtime=0))
    HEADERS.joinpath("deepseek-v3.json").write_text(json.dumps({"name": "deepseek-v3", "full_size": full}) + "\n")


if __name__ == "__main__":
    main()
