"""Folders and files for audits, sound unless told otherwise, and the audit as a list of codes."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from gguf_builder import F32, I32, STR, U16, U32, Arr, Tensor, build

from inspector.audit.registry import Finding
from inspector.audit.runner import AuditReport, run
from inspector.audit.subject.local import gather

BYTES = {"F32": 4, "F16": 2, "BF16": 2, "U8": 1, "I8": 1, "I32": 4, "I64": 8, "F8_E4M3": 1, "F64": 8, "BOOL": 1}

# A tensor as a header describes it: its dtype's name and its shape.
Row = tuple[str, tuple[int, ...]]


def audit(path: str | Path, **options: Any) -> AuditReport:
    """The report; a rule that breaks raises here."""
    return run(gather(str(path)), guard=False, **options)


def codes(path: str | Path, **options: Any) -> set[str]:
    return {f.code for f in audit(path, **options).findings}


def loud(report: AuditReport) -> list[Finding]:
    """Findings that are more than information."""
    return [f for f in report.findings if f.severity != "info"]


def st_bytes(
    tensors: Mapping[str, Row] | None = None,
    *,
    metadata: Any = None,
    header: bytes | None = None,
    data: bytes | None = None,
    tail: bytes = b"",
    length: int | None = None,
    pad: bool = True,
) -> bytes:
    """A safetensors file. `tensors`: name → (dtype, shape); `header` and `data` may be given instead, and lie."""
    entries: dict[str, Any] = {}
    at = 0
    if metadata is not None:
        entries["__metadata__"] = metadata
    for name, (dtype, shape) in (tensors or {}).items():
        n = BYTES[dtype]
        for dim in shape:
            n *= dim
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + n]}
        at += n
    raw = json.dumps(entries).encode() if header is None else header
    if pad:
        raw += b" " * (-len(raw) % 8)
    body = bytes(i % 251 for i in range(at)) if data is None else data
    return struct.pack("<Q", len(raw) if length is None else length) + raw + body + tail


def write(folder: str | Path, files: Mapping[str, Any]) -> Path:
    """Name → bytes, text, or anything JSON can hold."""
    folder = Path(folder)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return folder


D, V, HEADS, KV, FF = 16, 32, 4, 2, 24
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": D, "num_hidden_layers": 2,
    "num_attention_heads": HEADS, "num_key_value_heads": KV, "intermediate_size": FF, "vocab_size": V,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16",
}  # fmt: skip


def llama_layer(i: int, dtype: str = "BF16") -> dict[str, Row]:
    kv, at = D * KV // HEADS, f"model.layers.{i}."
    return {
        at + "input_layernorm.weight": (dtype, (D,)),
        at + "self_attn.q_proj.weight": (dtype, (D, D)),
        at + "self_attn.k_proj.weight": (dtype, (kv, D)),
        at + "self_attn.v_proj.weight": (dtype, (kv, D)),
        at + "self_attn.o_proj.weight": (dtype, (D, D)),
        at + "mlp.down_proj.weight": (dtype, (D, FF)),
    }


def llama_tensors(n_layers: int = 2, *, head: bool = True, dtype: str = "BF16") -> dict[str, Row]:
    tensors: dict[str, Row] = {"model.embed_tokens.weight": (dtype, (V, D))}
    for i in range(n_layers):
        tensors |= llama_layer(i, dtype)
    tensors["model.norm.weight"] = (dtype, (D,))
    if head:
        tensors["lm_head.weight"] = (dtype, (V, D))
    return tensors


def llama_folder(
    folder: str | Path,
    tensors: Mapping[str, Row] | None = None,
    config: Mapping[str, Any] | None = None,
    **more: Any,
) -> Path:
    """A whole small model: config.json and model.safetensors."""
    tensors = llama_tensors() if tensors is None else tensors
    return write(folder, {"config.json": {**CONFIG, **(config or {})}, "model.safetensors": st_bytes(tensors), **more})


def shard(i: int, n: int) -> str:
    return f"model-{i:05d}-of-{n:05d}.safetensors"


def sharded(
    folder: str | Path,
    parts: Sequence[Mapping[str, Row]] | None = None,
    *,
    weight_map: Any = None,
    total: Any = None,
    **more: Any,
) -> Path:
    """An indexed model: `parts` one dict of tensors a shard."""
    parts = parts or [
        {"model.embed_tokens.weight": ("BF16", (V, D)), **llama_layer(0)},
        {**llama_layer(1), "model.norm.weight": ("BF16", (D,)), "lm_head.weight": ("BF16", (V, D))},
    ]
    files: dict[str, Any] = {shard(i + 1, len(parts)): st_bytes(tensors) for i, tensors in enumerate(parts)}
    if weight_map is None:
        weight_map = {name: shard(i + 1, len(parts)) for i, tensors in enumerate(parts) for name in tensors}
    if total is None:
        total = sum(len(f) - 8 - struct.unpack("<Q", f[:8])[0] for f in files.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    return write(folder, {"config.json": CONFIG, "model.safetensors.index.json": index, **files, **more})


# --- GGUF ----------------------------------------------------------------------------------------------------------

TOKENS = [f"t{i}" for i in range(32)]
KEYS: dict[str, tuple[int, Any]] = {
    "general.architecture": (STR, "llama"),
    "llama.block_count": (U32, 2),
    "llama.context_length": (U32, 64),
    "llama.embedding_length": (U32, 32),
    "llama.feed_forward_length": (U32, 64),
    "llama.attention.head_count": (U32, 4),
    "llama.attention.head_count_kv": (U32, 2),
    "llama.rope.dimension_count": (U32, 8),
    "llama.attention.layer_norm_rms_epsilon": (F32, 1e-5),
    "tokenizer.ggml.model": (STR, "llama"),
    "tokenizer.ggml.tokens": (8 + 1, Arr(STR, TOKENS)),
    "tokenizer.ggml.scores": (9, Arr(F32, [0.0] * 32)),
    "tokenizer.ggml.token_type": (9, Arr(I32, [1] * 32)),
    "tokenizer.ggml.bos_token_id": (U32, 1),
    "tokenizer.ggml.eos_token_id": (U32, 2),
}


def gguf_tensors(n_blocks: int = 2, *, kind: int = 0, rows: int = 32, first: int = 0) -> list[Tensor]:
    tensors = [Tensor("token_embd.weight", (32, rows), kind)] if first == 0 else []
    for i in range(first, n_blocks):
        tensors += [
            Tensor(f"blk.{i}.attn_norm.weight", (32,)),
            Tensor(f"blk.{i}.attn_q.weight", (32, 32), kind),
            Tensor(f"blk.{i}.attn_k.weight", (32, 16), kind),
            Tensor(f"blk.{i}.attn_v.weight", (32, 16), kind),
            Tensor(f"blk.{i}.attn_output.weight", (32, 32), kind),
            Tensor(f"blk.{i}.ffn_norm.weight", (32,)),
            Tensor(f"blk.{i}.ffn_gate.weight", (32, 64), kind),
            Tensor(f"blk.{i}.ffn_up.weight", (32, 64), kind),
            Tensor(f"blk.{i}.ffn_down.weight", (64, 32), kind),
        ]
    return [*tensors, Tensor("output_norm.weight", (32,), 0)]


def gguf_bytes(
    changes: Mapping[str, tuple[int, Any] | None] | None = None, tensors: list[Tensor] | None = None, **options: Any
) -> bytes:
    """A sound small llama; `changes` replaces keys, None removes one."""
    keys = {k: v for k, v in {**KEYS, **(changes or {})}.items() if v is not None}
    return build([(k, *v) for k, v in keys.items()], gguf_tensors() if tensors is None else tensors, **options)


def projector_bytes(tensors: list[Tensor], **options: Any) -> bytes:
    """A sound GGUF that no loader of language models is asked about: its tensors may be anything."""
    return build([("general.architecture", STR, "clip")], tensors, **options)


def split_gguf(
    folder: str | Path,
    n: int = 3,
    *,
    changes: Mapping[int, Mapping[str, tuple[int, Any] | None]] | None = None,
    numbers: Sequence[int] | None = None,
    counts: Sequence[int] | None = None,
    skip: Collection[int] = (),
    tensors: list[list[Tensor]] | None = None,
    total: int | None = None,
    name: str = "m",
) -> Path:
    """A split model, its first part without tensors; `changes` by part number from 0."""
    parts: list[list[Tensor]] = tensors or [[]] + [
        gguf_tensors(i, first=i - 1)[: None if i == n - 1 else -1] for i in range(1, n)
    ]
    if total is None:
        total = sum(map(len, parts))
    files = {}
    for i, part in enumerate(parts):
        own = {
            "split.no": (U16, numbers[i] if numbers else i),
            "split.count": (U16, counts[i] if counts else n),
            "split.tensors.count": (I32, total),
        }
        keys = {**(KEYS if i == 0 else {}), **own, **((changes or {}).get(i) or {})}
        if i not in skip:
            pairs = [(k, *v) for k, v in keys.items() if v is not None]
            files[f"{name}-{i + 1:05d}-of-{n:05d}.gguf"] = build(pairs, part)
    return write(folder, files)


def hub_snapshot(
    root: str | Path, files: Mapping[str, Any], *, commit: str = "a" * 40, hashes: Mapping[str, str] | None = None
) -> Path:
    """A repository in the Hub's cache; returns the snapshot's folder. Blobs are named by what they hold."""
    import hashlib

    repo = Path(root) / "models--org--name"
    snapshot = repo / "snapshots" / commit
    (repo / "blobs").mkdir(parents=True, exist_ok=True)
    (repo / "refs").mkdir(exist_ok=True)
    (repo / "refs" / "main").write_text(commit)
    for name, content in files.items():
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        blob = (hashes or {}).get(name) or hashlib.sha256(raw).hexdigest()
        (repo / "blobs" / blob).write_bytes(raw)
        link = snapshot / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(repo / "blobs" / blob, link.parent))
    return snapshot


def r_bytes(parts: Sequence[Any], way: str = "X") -> bytes:
    """An R object: numbers as they are, names and texts as bytes (None: a missing one), ("raw", …) as it stands.

    `way`: how R writes it: X (big-endian), B (little-endian), A (words).
    """
    order: Any = "big" if way == "X" else "little"
    out: list[bytes] = []
    for part in (2, 0x40202, 0x20300, *parts):
        if isinstance(part, tuple):
            out.append(part[1])
        elif isinstance(part, int):
            out.append(b"%d\n" % part if way == "A" else part.to_bytes(4, order, signed=True))
        else:
            text = b"" if part is None else part
            n = -1 if part is None else len(text)
            out.append(r_bytes_of_text(text, n, way))
    return way.encode() + b"\n" + b"".join(out)


def r_bytes_of_text(text: bytes, n: int, way: str) -> bytes:
    """A text with its kind and length before it."""
    if way == "A":
        return b"9\n%d\n" % n + text + b"\n"
    order: Any = "big" if way == "X" else "little"
    return (9).to_bytes(4, order) + n.to_bytes(4, order, signed=True) + text
