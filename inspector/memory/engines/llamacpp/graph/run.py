"""The worst-case batch that llama.cpp reserves its compute buffers for.

Source: llama_context::sched_reserve and graph_reserve (src/llama-context.cpp, b11434): a prompt batch of
min(n_ctx, n_ubatch) tokens, rounded up to a multiple of the sequences, over full caches.
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.sizes import swa_cells
from inspector.units import pad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from inspector.memory.engines.llamacpp.graph.model import Model
    from inspector.memory.engines.llamacpp.graph.tensor import Elem


class Run:
    """Sizes and choices of one reserve; everything a graph builder needs besides the model."""

    def __init__(self, effective: Mapping[str, Any], elem_k: Elem, elem_v: Elem) -> None:
        get = effective.get
        self.n_seqs = int(get("n_seqs") or 1)
        self.n_ctx = int(effective["n_ctx"])
        self.n_ubatch = int(effective["n_ubatch"])
        self.n_ctx_seq = int(get("n_ctx_seq") or self.n_ctx // self.n_seqs)
        tokens = min(self.n_ctx, self.n_ubatch)
        self.n_outputs = min(tokens, int(get("n_outputs_max") or get("n_batch") or tokens))
        self.n_tokens = pad(tokens, self.n_seqs)
        self.n_states = 1 + int(get("n_rs_seq") or 0)  # that recurrent layers keep of each sequence
        self.sampled = int(get("sampled") or 0)  # rows of logits a sequence that the device picks tokens of
        self.kept = frozenset(get("kept") or ())  # layers whose inputs are kept for a draft
        self.keeps_states = bool(get("keeps_states"))  # states of all tokens before the output are, too
        self.predicting = bool(get("predicting"))  # the model's own prediction layer, in its context
        self.unified = bool(get("kv_unified"))
        self.n_stream = 1 if self.unified else self.n_seqs
        self.flash = bool(get("flash_attn", True))
        self.v_trans = not self.flash  # how the cache was laid out, before "auto" may turn flash attention off
        self.unfused: set[str] = set()  # operations of one node that are written out as many
        self.probing = False
        self.swa_full = bool(get("swa_full"))
        self.embeddings = bool(get("embeddings"))
        self.offload_kqv = bool(get("offload_kqv", True))
        self.elem_k = elem_k
        self.elem_v = elem_v
        self.layer_ids: Sequence[int] = ()
        # the model that a draft drafts for and that one's run: whose weights and caches it reads
        self.target: tuple[Model, Run] | None = None
        # placement: index of the back end of each layer and of the host; one back end unless told otherwise
        self.layer_buf: Sequence[int] = ()
        self.host_buf = 0
        self.full_offload = False

    def probe(self) -> None:
        """The small batch by which "auto" finds out whether flash attention runs where its layer is."""
        self.n_tokens = self.n_outputs = self.n_seqs
        self.probing = True

    def cells_swa(self, window: int) -> int:
        """Cells of a sliding-window cache, or of a full one where `--swa-full` was asked for."""
        if self.swa_full:
            return self.n_ctx_seq
        n_windows = self.n_seqs if self.unified else 1
        return swa_cells(window, n_ctx_seq=self.n_ctx_seq, n_windows=n_windows, n_ubatch=self.n_ubatch)
