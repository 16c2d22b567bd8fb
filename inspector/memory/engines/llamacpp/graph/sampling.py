"""What is added where the device itself picks the likeliest tokens of each row of logits, as drafts have it.

Source (b11434): llm_graph_context::build_sampling (src/llama-graph.cpp), ubatch_prepare_reserve
(src/llama-context.cpp), llama_sampler_top_k_backend_apply (src/llama-sampler.cpp), common/speculative.cpp for who asks.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from inspector.memory.engines.llamacpp.graph.decoder import Decoder

TOP: Final = 10  # the candidates that a draft keeps of a row


def add_sampling(graph: Decoder) -> None:
    """Candidates and their logits of each row that a sequence samples; of its first where there is none for it."""
    logits, r = graph.all_logits, graph.r
    if logits is None:
        return
    padded = graph.pad(logits, 0, 1)
    left = r.n_outputs
    for _ in range(r.n_seqs):
        rows = min(r.n_tokens // r.n_seqs, r.sampled, left)
        left -= rows
        for _ in range(max(rows, 1)):
            row = graph.reshape(graph.view(padded, (logits.ne[0],)), logits.ne[0])
            best = graph.top_k(row, TOP)
            likely = graph.get_rows(graph.reshape(row, 1, logits.ne[0]), best)
            likely.is_output = best.is_output = rows > 0
            for t in (logits, likely, best):
                graph.expand(t)
