"""Latent attention over the best keys in some layers and over a window in the others.

Source: src/models/dots3note.cpp, src/llama-kv-cache-dsa-iswa.cpp (b11434).
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.latent import Sparse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.memory.engines.llamacpp.graph.attention import Cache
    from inspector.memory.engines.llamacpp.graph.tensor import Tensor


class Dots3Note(Sparse):
    """Latents of two sizes; heads are gated each by a number of its own."""

    def inputs(self) -> Cache:
        """Caches of latents, of indexer keys, and of latents in a window (build_attn_inp_k_dsa_iswa)."""
        base = super().inputs()
        self.swa = self.cache(self.r.cells_swa(self.m.n_swa or 0), [], rot=False)
        return base

    def attention(self, x: Tensor, il: int) -> Tensor:
        """Latent attention, each head gated: [n_embd, n_tokens] in and out."""
        m, n, heads = self.m, self.r.n_tokens, self.m.n_head(il)
        sizes = ("attention.key_length_mla", "attention.value_length_mla", "attention.kv_lora_rank")
        self.d_k, self.d_v, self.rank = (m.count(key + ("_swa" if m.swa[il] else "")) for key in sizes)
        cur = self.reshape(self.attended(x, il), self.d_v, heads, n)
        gate = self.reshape(self.unary(self.lin(x, il, "attn_gate")), 1, heads, n)
        return self.lin(self.reshape(self.mul(cur, gate), self.d_v * heads, n), il, "attn_output")

    def attended(self, x: Tensor, il: int, sinks: Tensor | None = None) -> Tensor:
        """What heads see of the best keys, which each such layer ranks anew, or of the window."""
        self.best = None
        if not self.m.swa[il]:
            return super().attended(x, il, sinks)
        q = self.queries(x, il)
        kv, k_pe = self.compressed(x, il)
        q, k, v = self.absorbed(q, kv, k_pe, il)
        return self.attend_latent(il, q, k, v, v_mla=self.w(il, "attn_v_b"), wo=None)

    def compressed(self, x: Tensor, il: int) -> tuple[Tensor, Tensor]:
        """The latent and the shared rotary key, which is normed."""
        kv, k_pe = super().compressed(x, il)
        return kv, self.normed(k_pe, il, "attn_k_norm")
