"""Models that draft for another one, in a context beside its: what they lack is the other's.

Source: src/models/eagle3.cpp, gemma4-assistant.cpp (b11434). llama.cpp reserves for a batch of tokens, and not for the
encoder, which turns the target's hidden states into what an eagle3's decoder reads.
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.decoder import Decoder
from inspector.memory.engines.llamacpp.graph.model import GraphUnknown, Model, head_of
from inspector.memory.engines.llamacpp.graph.nano import Gemma4
from inspector.memory.engines.llamacpp.graph.tensor import F32, I32, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from inspector.memory.engines.llamacpp.graph.attention import Cache


class Draft(Decoder):
    """A decoder that reads its target's embedding and output where it has none of its own."""

    def target(self, name: str) -> Model:
        """The model that it drafts for. Raises GraphUnknown where it is alone, for want of what is named."""
        if self.r.target is None:
            raise GraphUnknown(name)
        return self.r.target[0]

    def token_embeddings(self) -> tuple[Tensor, Tensor]:
        """The batch's tokens, [n_tokens], and their embeddings by a table of its own, or else the target's."""
        name = "token_embd.weight"
        table = self.top(name) or self.target(name).weight("", name)
        if table is None:
            raise GraphUnknown(name)
        tokens = self.input(I32, self.r.n_tokens, name="inp_tokens")
        return tokens, self.get_rows(table, tokens)

    def read_by_head(self, x: Tensor, *, tied: bool, scaled: bool) -> Tensor:
        """Logits of every token by an output of its own, or else the target's: [rows, n_tokens].

        `tied`: an embedding of its own stands in before the target's output does; `scaled`: by the output's scale.
        """
        own = self.top("output.weight") is not None or (tied and self.top("token_embd.weight") is not None)
        of = self.m if own else self.target("output.weight")
        x = self.mm(head_of(of), x)
        scale = of.weight("", "output.scale") if scaled else None
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
        _, token = self.token_embeddings()
        hidden = self.input(F32, m.n_embd, n, name="inp_embd")
        self.pos = self.positions()
        self.inputs()
        x, state = self.normed(token, 0, "attn_norm"), self.normed(hidden, 0, "attn_norm_2")
        residual = state if m.key("norm_before_residual") else hidden
        mid = self.add(self.attention(self.concat(x, state, 0), 0), residual)
        x = self.add(self.ffn(self.normed(mid, 0, "ffn_norm"), 0), mid)
        x.is_output = True
        x = self.norm(x, self.top("output_norm.weight"))
        self.kept_logits(self.spread(self.read_by_head(x, tied=False, scaled=False)))


class Gemma4Assistant(Draft):
    """Prediction layers of Gemma 4 in a file of their own, which attend over the target's caches and store nothing."""

    def leave_out_repetitions(self) -> None:
        """Few layers, all of them built."""

    def build(self) -> None:
        """Embedding and hidden state of the target's width, joined and projected; layers; logits and the next state."""
        m, n, target = self.m, self.r.n_tokens, self.target("target")
        wide = m.positive("embedding_length_out")
        table, before, after = (
            of.weight("", name)
            for of, name in ((target, "token_embd.weight"), (m, "nextn.pre_projection.weight"),
                             (m, "nextn.post_projection.weight"))
        )  # fmt: skip
        if table is None or before is None or after is None:
            raise GraphUnknown("nextn.pre_projection.weight")
        tokens, hidden = self.input(I32, n, name="inp_tokens"), self.input(F32, wide, n, name="inp_h")
        x = self.mm(before, self.concat(self.scale(self.get_rows(table, tokens)), hidden, 0))
        self.inputs()
        self.pos = self.positions()
        self.output_ids()
        for il in range(m.n_layer, m.n_layer_all):
            x = self.layer(x, il)
        x = self.norm(x, self.top("output_norm.weight"))
        self.kept_logits(self.mm(self.lm_head(), x))
        state = self.mm(after, x)
        state.is_output = True
        self.expand(state)

    def inputs(self) -> Any:
        """The target's pair of caches: as many cells, and rotations where its elements are quantised."""
        assert self.r.target is not None
        model, run = self.r.target
        if model.arch != "gemma4" or model.swa[-2:] != (True, False):
            raise GraphUnknown("a target without a pair of caches in its last layers")
        self.lender = Gemma4(model, run, self.o)
        self.lender.first_shared = model.n_kv_layers
        self.base = self.lender.inputs()
        self.swa = self.lender.swa

    def last(self, il: int) -> bool:
        """Whether it is the last prediction layer."""
        return il == self.m.n_layer_all - 1

    def cache_tensor(self, c: Cache, il: int, which: str) -> Tensor:
        """The target's last layer of the kind: its next to last slides, its last does not."""
        return self.lender.cache_tensor(c, self.lender.m.n_layer - (2 if self.m.swa[il] else 1), which)

    def layer(self, x: Tensor, il: int) -> Tensor:
        """Queries over the target's cache, then the feed-forward, norms after both: [n_embd, n_tokens] in and out."""
        m, n = self.m, self.r.n_tokens
        q = self.lin(self.normed(x, il, "attn_norm"), il, "attn_q")
        q = self.normed(self.reshape(q, m.head_k(il), m.n_head(il), n), il, "attn_q_norm")
        cur = self.attend(il, self.rope(q, self.pos, self.rope_factors(il)), None, None)
        cur, x = self.rows_out(il, cur, x)
        mid = self.add(self.normed(cur, il, "post_attention_norm"), x)
        cur = self.ffn(self.normed(mid, il, "ffn_norm"), il, "gelu")
        cur = self.add(self.normed(cur, il, "post_ffw_norm"), mid)
        return self.mul(cur, self.w(il, "layer_output_scale"))
