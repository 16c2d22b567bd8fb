"""Models that draft for another one, in a context beside its: what they lack is the other's.

Source: src/models/eagle3.cpp (b11434). llama.cpp reserves for the decoder; the encoder, which turns the target's hidden
states into what the decoder reads, is smaller.
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.decoder import Decoder
from inspector.memory.engines.llamacpp.graph.model import GraphUnknown
from inspector.memory.engines.llamacpp.graph.tensor import F32, I32, Tensor


class Draft(Decoder):
    """A decoder that reads its target's embedding and output where it has none of its own."""

    def lent(self, name: str) -> Tensor:
        """A weight of its own, or else the target's. Raises GraphUnknown."""
        t = self.top(name)
        if t is None:
            raise GraphUnknown(name)
        return t

    def lent_head(self, x: Tensor) -> Tensor:
        """Logits of every token by an output of its own, or else the target's: [rows, n_tokens]."""
        x = self.mm(self.lm_head(), x)
        scale = self.top("output.scale")
        return x if scale is None else self.mul(x, scale)

    def spread(self, logits: Tensor) -> Tensor:
        """Logits of a shorter vocabulary at their places in the target's: [n_vocab, n_outputs], by `d2t`."""
        d2t, m = self.top("d2t"), self.m
        if d2t is None:
            return logits
        n = logits.ne[1]
        every = self.fill(self.leaf(F32, 1, m.n_vocab, n))
        rows = self.reshape(logits, 1, logits.ne[0], n)
        return self.reshape(self.set_rows(every, rows, self.reshape(d2t, d2t.ne[0], 1, 1)), m.n_vocab, n)


class Eagle3(Draft):
    """One layer over a token's embedding and a hidden state side by side."""

    def leave_out_repetitions(self) -> None:
        """There is one layer."""

    def build(self) -> None:
        """Embedding and hidden state, normed and joined; the layer; logits of every token."""
        m, n = self.m, self.r.n_tokens
        if m.n_layer != 1:
            raise GraphUnknown("eagle3 of several layers")
        token = self.get_rows(self.lent("token_embd.weight"), self.input(I32, n, name="inp_tokens"))
        hidden = self.input(F32, m.n_embd, n, name="inp_embd")
        self.pos = self.positions()
        self.inputs()
        x, state = self.normed(token, 0, "attn_norm"), self.normed(hidden, 0, "attn_norm_2")
        residual = state if m.key("norm_before_residual") else hidden
        mid = self.add(self.attention(self.concat(x, state, 0), 0), residual)
        x = self.add(self.ffn(self.normed(mid, 0, "ffn_norm"), 0), mid)
        x.is_output = True
        x = self.norm(x, self.top("output_norm.weight"))
        logits = self.spread(self.lent_head(x))
        logits.is_output = True
        self.expand(logits)
