"""The textbook's worked examples, recomputed: what it prints, what its formula gives, and the grouped-query truth.

Prints the Markdown table that README.md and docs/memory.md show.
"""

from __future__ import annotations

from inspector.facts import ModelFacts
from inspector.memory.engines import textbook
from inspector.memory.estimate import Workload
from inspector.units import GIB


def model(name: str, n_params: int, exact: int, dims: tuple[int, int, int, int]) -> tuple[str, int, ModelFacts]:
    """Nominal and exact parameters, and (layers, d_model, heads, KV heads); heads of 128."""
    n_layers, d_model, n_heads, n_kv = dims
    facts = ModelFacts(
        "llama", "none", n_params, None, n_layers, d_model, None, n_heads, n_kv, 128, 128, None, None, (), {}
    )
    return name, exact, facts


L70 = model("Llama 2 70B", 70_000_000_000, 68_976_648_192, (80, 8192, 64, 8))
L8 = model("Llama 3 8B", 8_000_000_000, 8_030_261_248, (32, 4096, 32, 8))
# model, part, tokens, sequences, cache type, what the document prints
EXAMPLES = (
    (L70, "weights", 1, 1, "f16", "140 GB"),
    (L70, "kv_cache", 4096, 8, "f16", "≈32 GB"),
    (L8, "kv_cache", 1_000_000, 1, "f16", "≈128 GB"),
    (L70, "compute", 2048, 1, "f16", "≈2.5 GB"),
    (L70, "compute", 2048, 8, "f16", "≈20 GB"),
    (L8, "compute", 1_000_000, 1, "f16", "≈64 GB"),
    (L70, "kv_cache", 2048, 1, "f16", "~16 GB"),
    (L70, "kv_cache", 32768, 8, "f16", "~256 GB"),
    (L70, "compute", 32768, 8, "f16", "~40 GB"),
    (L8, "kv_cache", 4096, 1, "f16", "~1 GB"),
    (L8, "compute", 4096, 1, "f16", "~0.25 GB"),
    (L70, "kv_cache", 8192, 4, "f16", "~64 GB"),
    (L70, "kv_cache", 8192, 4, "int8", "~32 GB"),
    (L70, "compute", 8192, 4, "f16", "~10 GB"),
)
WORDS = {"weights": "weights", "kv_cache": "KV cache", "compute": "activations"}


def part(facts: ModelFacts, what: str, workload: Workload, form: str) -> int:
    """Bytes of one term."""
    result = textbook.estimate(facts, workload, kv_form=form, quant="FP16")
    return sum(line.nbytes for line in result.lines if line.what == what)


def gib(nbytes: int) -> str:
    """Two decimals of GiB, halves rounded up."""
    hundredths = (nbytes * 200 + GIB) // (2 * GIB)
    return f"{hundredths // 100:,}.{hundredths % 100:02d} GiB"


def rows() -> list[tuple[str, str, str, str]]:
    """Example, printed, formula, real model."""
    table = []
    for (name, exact, facts), what, n_ctx, n_seqs, dtype, printed in EXAMPLES:
        workload = Workload(n_ctx=n_ctx, n_seqs=n_seqs, kv_dtype_k=dtype, kv_dtype_v=dtype)
        formula = part(facts, what, workload, "hidden")
        truth = ""
        if what == "kv_cache":
            truth = gib(part(facts, what, workload, "gqa"))
        elif what == "weights":
            truth = gib(2 * exact)
        setting = "FP16" if what == "weights" else f"{n_ctx:,} tokens × {n_seqs}, {dtype}"
        table.append((f"{name} {WORDS[what]}, {setting}", printed, gib(formula), truth))
    return table


def main() -> None:
    """Print the table."""
    print("| example | the document prints | its formula gives | the real model (grouped-query KV) |")
    print("|---|---|---|---|")
    for row in rows():
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
