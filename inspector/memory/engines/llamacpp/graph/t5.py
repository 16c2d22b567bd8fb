"""T5: a decoder that also attends over the encoder's states, and the encoder alone (src/models/t5*.cpp, b11434)."""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.decoder import Decoder
from inspector.memory.engines.llamacpp.graph.model import GraphUnknown
from inspector.memory.engines.llamacpp.graph.tensor import F16, F32, I32, Tensor


class T5(Decoder):
    """What both sides share: weights under a side's prefix, and biases by relative position."""

    side: str

    def build(self) -> None:
        """Embeddings, the side's layers, its norm: the graph of a decoder or of an encoder (src/models/t5.cpp)."""
        self.n_blocks = self.count()
        x = self.embed()
        self.prepare()
        self.output_ids()
        for il in range(self.n_blocks):
            x = self.layer(x, il)
        x = self.norm(x, self.top(f"{self.side}.output_norm.weight"))
        self.finish(x)

    def leave_out_repetitions(self) -> None:
        """Few layers: all are built."""

    def count(self) -> int:
        """Layers of this side."""
        return self.m.n_layer

    def prepare(self) -> None:
        """Inputs that this side needs before its layers."""
        raise NotImplementedError

    def finish(self, x: Tensor) -> None:
        """What becomes of the last states, [n_embd, n_outputs]."""
        raise NotImplementedError

    def last(self, il: int) -> bool:
        """Whether it is the last layer of this side."""
        return il == self.n_blocks - 1

    def at(self, il: int, name: str) -> Tensor | None:
        """A weight of this side that may be there: `dec.blk.N.{name}.weight`."""
        return self.top(f"{self.side}.blk.{il}.{name}.weight")

    def times(self, x: Tensor, il: int, name: str) -> Tensor:
        """A product with a weight of this side that must be there: [rows, n_tokens]. Raises GraphUnknown."""
        w = self.at(il, name)
        if w is None:
            raise GraphUnknown(name)
        return self.mm(w, x)

    def heads(self, x: Tensor, il: int, name: str, *, kv: bool) -> Tensor:
        """A projection cut into heads: [head_dim, heads, n_tokens] of [n_embd, n_tokens]."""
        m = self.m
        h = m.n_head_kv(0) if kv else m.n_head(0)
        x = self.times(x, il, name)
        return self.reshape(x, m.head_v(0), h, x.ne[1])

    def relative(self, buckets: Tensor, il: int) -> Tensor:
        """Attention's bias by relative position: [cells, n_tokens, heads] of buckets (build_pos_bias)."""
        table = self.at(il, "attn_rel_b") or self.at(0, "attn_rel_b")
        if table is None:
            raise GraphUnknown("attn_rel_b")
        rows = self.get_rows(table, self.reshape(buckets, buckets.ne[0] * buckets.ne[1]))
        rows = self.reshape(rows, rows.ne[0], buckets.ne[0], buckets.ne[1])
        return self.cont(self.permute(rows, 2, 0, 1, 3))

    def feed(self, x: Tensor, il: int) -> Tensor:
        """The feed-forward, gated where the file has a gate: [n_embd, n_tokens] in and out."""
        up = self.times(x, il, "ffn_up")
        cur = self.glu(self.times(x, il, "ffn_gate"), up) if self.at(il, "ffn_gate") is not None else self.unary(up)
        return self.times(cur, il, "ffn_down")


class T5Decoder(T5):
    """Attention over its own cache, then over the encoder's states."""

    side = "dec"

    def count(self) -> int:
        """Layers of the decoder: `decoder_block_count`, else as many as the encoder's."""
        return self.m.count("decoder_block_count", self.m.n_layer)

    def prepare(self) -> None:
        """The encoder's states, [n_embd, trained context], buckets of positions, and both masks."""
        m, r = self.m, self.r
        self.states = self.input(F32, m.n_embd, m.n_ctx_train, name="cross_embd")
        self.buckets = self.input(I32, r.n_ctx_seq, r.n_tokens, name="pos_bucket_dec")
        self.inputs()
        self.cross_mask = self.input(F16 if r.flash else F32, m.n_ctx_train, r.n_tokens, name="cross_mask")

    def layer(self, x: Tensor, il: int) -> Tensor:
        """Attention, cross attention, feed-forward: [n_embd, n_tokens] in and out (src/models/t5.cpp)."""
        normed = self.norm(x, self.at(il, "attn_norm"), None, "rms", il)
        q = self.heads(normed, il, "attn_q", kv=False)
        k, v = (self.heads(normed, il, "attn_" + c, kv=True) for c in "kv")
        cur = self.attend(il, q, k, v, wo=None, bias=self.relative(self.buckets, il))
        x = self.add(self.times(cur, il, "attn_o"), x)
        normed = self.norm(x, self.at(il, "cross_attn_norm"), None, "rms", il)
        q = self.heads(normed, il, "cross_attn_q", kv=False)
        k, v = (self.heads(self.states, il, "cross_attn_" + c, kv=True) for c in "kv")
        cur = self.times(self.attend_batch(il, q, k, v, self.cross_mask, wo=None), il, "cross_attn_o")
        cur, x = self.rows_out(il, cur, x)
        ffn_in = self.add(cur, x)
        return self.add(self.feed(self.norm(ffn_in, self.at(il, "ffn_norm"), None, "rms", il), il), ffn_in)

    def finish(self, x: Tensor) -> None:
        """[n_vocab, n_outputs]."""
        self.logits(x)


class T5Encoder(T5):
    """Attention over the batch."""

    side = "enc"

    def prepare(self) -> None:
        """Buckets of positions, [n_tokens, n_tokens], and the batch's mask."""
        n = self.r.n_tokens
        self.buckets = self.input(I32, n, n, name="pos_bucket_enc")
        self.batch_mask, _ = self.batch_masks()

    def layer(self, x: Tensor, il: int) -> Tensor:
        """Attention over the batch, feed-forward: [n_embd, n_tokens] in and out (src/models/t5encoder.cpp)."""
        normed = self.norm(x, self.at(il, "attn_norm"), None, "rms", il)
        q = self.heads(normed, il, "attn_q", kv=False)
        k, v = (self.heads(normed, il, "attn_" + c, kv=True) for c in "kv")
        cur = self.attend_batch(il, q, k, v, self.batch_mask, wo=None, bias=self.relative(self.buckets, il))
        cur, x = self.rows_out(il, self.times(cur, il, "attn_o"), x)
        ffn_in = self.add(cur, x)
        return self.add(self.feed(self.norm(ffn_in, self.at(il, "ffn_norm"), None, "rms", il), il), ffn_in)

    def finish(self, x: Tensor) -> None:
        """The states themselves: [n_embd, n_outputs]."""
        x.is_output = True
        self.expand(x)
