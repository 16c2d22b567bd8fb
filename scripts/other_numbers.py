"""The tables of docs/faq.md: one model, and the figure that each program shows of it, from our own lines.

other_numbers.py llama.cpp|vllm
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator

import inspector

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LLAMA = "demo/Llama-3-8B-Q4_K_M.gguf"
QWEN = "fixtures/configs/qwen3-8b.json"
MIB = 1 << 20
Row = tuple[str, str, str]


def mib(nbytes: int, mark: str = "") -> str:
    return f"{mark}{nbytes / MIB:,.2f} MiB"


def part(estimate: inspector.Estimate, what: str, device: str | None = None) -> int:
    """Bytes of one part, on one device or everywhere."""
    return sum(x.nbytes for x in estimate.lines if x.what == what and device in (None, x.device))


def on_host(estimate: inspector.Estimate) -> int:
    return sum(x.nbytes for x in estimate.lines if x.device == "host")


def llama_rows() -> Iterator[Row]:
    """Llama-3-8B Q4_K_M by llama-server, 8,192 tokens, on an RTX 3090."""
    checkpoint = inspector.inspect(os.path.join(ROOT, LLAMA))
    facts = inspector.read_facts(checkpoint)

    def at(n_ctx: int) -> inspector.Estimate:
        return inspector.memory(facts, gpu="rtx3090", ctx=n_ctx, server=True)

    found, size = at(8192), checkpoint.files[0].size
    card = next(d for d in found.devices if d.capacity is not None)
    yield "the file in a shop's units", "10⁹ bytes a GB", f"{size / 1e9:.2f} GB"
    yield "the file here", "2³⁰ bytes a GiB", f"{size / (1 << 30):.2f} GiB"
    yield "llama-server: `CUDA0 model buffer size`", "weights on the card", mib(part(found, "weights", card.device))
    yield "llama-server: `KV buffer size`", "the cache", mib(part(found, "kv_cache"))
    yield "llama-server: `CUDA0 compute buffer size`", "buffers of one step", mib(part(found, "compute", card.device))
    yield "nvidia-smi: the process", "all of these, CUDA's context and pools", mib(card.used, "≈ ")
    yield "`free`, `top`: the process", "what stays in host memory, the mapped file beside it", mib(on_host(found))
    for n_ctx, who in ((512, "llama-bench's pp512"), (4096, "a program's default"), (131072, "a model's promise")):
        other = next(d for d in at(n_ctx).devices if d.capacity is not None)
        yield f"nvidia-smi, with {n_ctx:,} tokens", f"the same with another context: {who}", mib(other.used, "≈ ")


def vllm_rows() -> Iterator[Row]:
    """Qwen3-8B in bfloat16 by vLLM, 32,768 tokens, on an H100."""
    found = inspector.memory(os.path.join(ROOT, QWEN), gpu="h100", ctx=32768)
    card, set_ = found.devices[0], found.effective
    assert card.capacity is not None
    budget = int(card.capacity * set_["gpu_memory_utilization"])
    pool = budget - sum(x.nbytes for x in found.lines if x.what != "kv_cache")
    tokens = pool // set_["bytes_per_block"] * set_["block_size"]
    share = f"{set_['gpu_memory_utilization']:.2f} of the card, whatever the model needs"
    yield "vLLM: `Model loading took`", "weights", mib(part(found, "weights"), "≈ ")
    yield "vLLM: `Available KV cache memory`", "what is left of its share", mib(pool, "≈ ")
    yield "vLLM: `GPU KV cache size`", "tokens that fit there, of all requests together", f"≈ {tokens:,} tokens"
    yield "nvidia-smi: the process", share, mib(budget, "≈ ")
    yield "here: the cache", "one request of 32,768 tokens: what it must have", mib(part(found, "kv_cache"))
    yield "here: the total", "what the model needs", mib(found.total_nbytes, "≈ ")


def print_table(rows: Iterable[Row]) -> None:
    print("| you look at | it is | figure |\n|---|---|---:|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    print_table({"llama.cpp": llama_rows, "vllm": vllm_rows}[sys.argv[1]]())
