"""Multi-head latent attention, with and without a sparse indexer, and its mix with delta nets.

Source: src/models/deepseek2.cpp, deepseek32.cpp, glm-dsa.cpp, kimi-linear.cpp, minicpm3.cpp, plm.cpp (b11434).
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.attention import Cache, row_view
from inspector.memory.engines.llamacpp.graph.decoder import Decoder
from inspector.memory.engines.llamacpp.graph.model import GraphUnknown, external
from inspector.memory.engines.llamacpp.graph.recurrent import Recurrent
from inspector.memory.engines.llamacpp.graph.tensor import F32, I64, Tensor


class Latent(Decoder):
    """DeepSeek-V2 and what follows it: cached latents where the file is laid out for them, plain heads otherwise."""

    def build(self) -> None:
        """The decoder's graph, once head sizes and the latent's rank are known (src/models/deepseek2.cpp)."""
        m = self.m
        self.d_k = m.count("attention.key_length_mla") if m.is_mla else m.head_k_full
        self.d_v = m.count("attention.value_length_mla") if m.is_mla else m.head_v_full
        self.rank = m.count("attention.kv_lora_rank", 0)
        if m.key("attention.temperature_scale"):
            self.o = self.o.replace(q_scale="position")
        super().build()

    def queries(self, x: Tensor, il: int) -> Tensor:
        """Queries of all heads, [head_dim × heads, n_tokens], through a low rank where the file has one."""
        if self.wo(il, "attn_q_a") is None:
            return self.lin(x, il, "attn_q")
        x = self.normed(self.lin(x, il, "attn_q_a"), il, "attn_q_a_norm")
        return self.lin(x, il, "attn_q_b")

    def compressed(self, x: Tensor, il: int) -> tuple[Tensor, Tensor]:
        """The latent and the shared rotary key, both windows of one product."""
        n, both = self.r.n_tokens, self.lin(x, il, "attn_kv_a_mqa")
        return self.view(both, (self.rank, n), (both.nb[1],)), self.view(
            both, (self.m.n_rot, 1, n), (both.nb[1], both.nb[1])
        )

    def positioned(self, t: Tensor, il: int) -> Tensor:
        """Rotated by position where the architecture rotates: the shape stays."""
        return self.rope(t, self.pos, self.rope_factors(il)) if self.rotates(0) else t

    def absorbed(self, q: Tensor, kv: Tensor, k_pe: Tensor, il: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries moved into the latent space; keys are latents with rotary parts; values are latents."""
        n, heads, nope = self.r.n_tokens, self.m.n_head(il), self.d_k - self.m.n_rot
        row = 4 * self.d_k
        q_nope = self.view(q, (nope, heads, n), (row, row * heads))
        q_pe = self.positioned(self.view(q, (self.m.n_rot, heads, n), (row, row * heads)), il)
        k_pe = self.positioned(k_pe, il)
        kv = self.normed(kv, il, "attn_kv_a_norm")
        q_nope = self.mm(self.w(il, "attn_k_b"), self.permute(q_nope, 0, 2, 1, 3))
        q = self.concat(self.permute(q_nope, 0, 2, 1, 3), q_pe, 0)
        kv = self.reshape(kv, self.rank, 1, n)
        return q, self.concat(kv, k_pe, 0), kv

    def turned(self, q: Tensor, il: int) -> Tensor:
        """Queries with their last elements rotated: [head_dim, heads, n_tokens]."""
        n, heads, nope, row = self.r.n_tokens, self.m.n_head(il), self.d_k - self.m.n_rot, 4 * self.d_k
        if self.m.does("rotates from an offset"):
            return self.positioned(self.reshape(q, self.d_k, heads, n), il)
        kept, turned = (self.view(q, (d, heads, n), (row, row * heads)) for d in (nope, self.m.n_rot))
        return self.concat(kept, self.positioned(turned, il), 0)

    def expanded(self, q: Tensor, kv: Tensor, k_pe: Tensor, il: int) -> tuple[Tensor, Tensor, Tensor]:
        """Plain heads: keys and values unpacked from the latent."""
        n, heads, nope = self.r.n_tokens, self.m.n_head(il), self.d_k - self.m.n_rot
        k_pe = self.positioned(k_pe, il)
        kv = self.lin(self.normed(kv, il, "attn_kv_a_norm"), il, "attn_kv_b")
        each = 4 * (nope + self.d_v)
        k_nope = self.view(kv, (nope, heads, n), (each, each * heads))
        v = self.cont(self.view(kv, (self.d_v, heads, n), (each, each * heads)))
        return self.turned(q, il), self.concat(k_nope, self.repeat(k_pe, self.m.n_rot, heads, n), 0), v

    def attention(self, x: Tensor, il: int) -> Tensor:
        """Multi-head latent attention: [n_embd, n_tokens] in and out (src/models/deepseek2.cpp)."""
        q = self.queries(x, il)
        q = self.reshape(q, self.d_k, self.m.n_head(il), self.r.n_tokens)
        kv, k_pe = self.compressed(x, il)
        if not self.m.is_mla:
            q, k, v = self.expanded(q, kv, k_pe, il)
            if self.attn_scale is not None:
                q = self.mul(q, self.attn_scale)
            return self.attend(il, q, k, v)
        q, k, v = self.absorbed(q, kv, k_pe, il)
        if self.attn_scale is not None:
            q = self.mul(q, self.attn_scale)
        return self.attend_latent(il, q, k, v, v_mla=self.w(il, "attn_v_b"))


class MiniCpm3(Latent):
    """Latent projections with plain heads; embeddings, residuals and logits scaled."""

    def layer(self, x: Tensor, il: int) -> Tensor:
        """A decoder's layer whose branches are scaled before they are added (src/models/minicpm3.cpp)."""
        cur, x = self.rows_out(il, self.attention(self.normed(x, il, "attn_norm"), il), x)
        ffn_in = self.add(self.scale(cur), x)
        out = self.scale(self.ffn(self.normed(ffn_in, il, "ffn_norm"), il))
        return self.add(out, ffn_in)

    def logits(self, x: Tensor, **_: bool) -> None:
        """[n_vocab, n_outputs], of states that are scaled first (src/models/minicpm3.cpp)."""
        x.is_output = True
        x = self.mm(self.lm_head(), self.scale(x))
        x.is_output = True
        self.expand(x)


class Sparse(Latent):
    """An indexer ranks the keys, and attention sees the best of them only (DSA)."""

    def inputs(self) -> Cache:
        """A cache of latents and one of indexer keys: build_attn_inp_k_dsa (src/llama-graph.cpp)."""
        m, r = self.m, self.r
        base = self.base = self.cache(r.n_ctx_seq, [], rot=False)
        self.idx_dim = m.count("attention.indexer.key_length", 0)
        self.idx_heads = m.count("attention.indexer.head_count", 0)
        self.idx_top = m.count("attention.indexer.top_k", 0)
        lid = self.lid = Cache(r.n_ctx_seq, r.elem_k, r.elem_v)
        lid.k_idxs = self.input(I64, r.n_tokens, name="lid_k_idxs")
        lid.mask = self.mask(r.n_ctx_seq, half=m.does("scores at once"))
        if self.idx_dim <= 0:
            raise GraphUnknown("attention.indexer.key_length")
        n = 64
        while self.idx_dim % (2 * n) == 0:
            n *= 2
        lid.k_rot = self.input(F32, n, n, name="lid_k_rot")
        self.best: Tensor | None = None
        return base

    def kind(self, il: int) -> None:
        """Each layer holds a leaf of its own from the start: none can be left out."""

    def ranked(self, x: Tensor, latent_q: Tensor, il: int) -> Tensor:
        """The best cells of each token, [top_k, n_tokens / n_stream, 1, n_stream], by the lightning indexer.

        Source: src/models/deepseek32.cpp; keys, [index_dim, 1, n_tokens], are rotated, stored, and scored in one op.
        """
        r, lid, d, heads, n = self.r, self.lid, self.idx_dim, self.idx_heads, self.r.n_tokens
        q = self.index_turned(self.lin(latent_q, il, "indexer.attn_q_b"), heads)
        k = self.normed(self.lin(x, il, "indexer.attn_k"), il, "indexer.k_norm", "layer")
        q, k = self.rotated_pair(q, self.index_turned(k, 1))
        t = lid.k.get(il)
        if t is None:
            t = lid.k[il] = external(lid.elem_k, (d, lid.cells, r.n_stream))
            t.buf = r.layer_buf[il] if r.layer_buf and r.offload_kqv else r.host_buf
        self.store_k(lid, il, k)
        w = self.lin(x, il, "indexer.proj")
        row = row_view(t.elem, d)
        k = self.view(t, (d, 1, lid.cells, r.n_stream), (row, row, row * lid.cells))
        s = r.n_stream
        q = self.view(q, (d, heads, n // s, s), (q.nb[1], q.nb[2], q.nb[3] // s))
        w = self.view(w, (w.ne[0], n // s, w.ne[2], s), (w.nb[1], w.nb[2] // s, w.nb[3] // s))
        w = self.scale(w)
        score = (
            self.custom("lightning_indexer", F32, (lid.cells, n // s, 1, s), q, k, w, lid.mask)
            if self.m.does("scores at once")
            else self.scored(q, k, w)
        )
        return self.cont(self.top_k(score, min(self.idx_top, lid.cells)))

    def rotated_pair(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """The indexer's queries and keys, rotated as what is cached is: the shapes stay."""
        assert self.lid.k_rot is not None
        return self.mm(self.lid.k_rot, q), self.mm(self.lid.k_rot, k)

    def index_turned(self, t: Tensor, heads: int) -> Tensor:
        """The indexer's queries or keys with their first elements rotated: [index_dim, heads, n_tokens]."""
        d, n, rot = self.idx_dim, self.r.n_tokens, self.m.n_rot
        if self.m.does("rotates the indexer whole"):
            return self.rope(self.reshape(t, d, heads, n), self.pos)
        turned, kept = (self.view(t, (w, heads, n), (4 * d, 4 * d * heads)) for w in (rot, d - rot))
        return self.concat(self.rope(turned, self.pos), kept, 0)

    def scored(self, q: Tensor, k: Tensor, w: Tensor) -> Tensor:
        """Scores step by step, over all heads at once: [cells, n_tokens / n_stream, 1, n_stream]."""
        kq = self.mm(self.permute(k, 0, 2, 1, 3), self.permute(q, 0, 2, 1, 3))
        kq = self.unary(self.cont(self.permute(kq, 2, 1, 0, 3)))
        score = self.sum_rows(self.mul(kq, w))
        return self.add(self.cont(self.permute(score, 2, 1, 0, 3)), self.lid.mask)

    def masked(self, best: Tensor) -> Tensor:
        """The attention mask, opened for the best keys only."""
        mask = self.base.mask
        closed = self.fill(mask)
        closed = self.view(closed, (1, mask.ne[0], mask.ne[1], mask.ne[3]), mask.nb[:3])
        ids = self.view(
            best, (best.ne[0], best.ne[1], best.ne[3], 1), (best.nb[1], best.nb[2], best.ne[3] * best.nb[3])
        )
        zeros = self.fill(self.leaf(F32, 1, *ids.ne[:3]))
        opened = self.set_rows(closed, zeros, ids)
        opened = self.view(
            opened, (opened.ne[1], opened.ne[2], 1, opened.ne[3]), (opened.nb[2], opened.nb[3], opened.nb[3])
        )
        return self.add(opened, mask)

    def attention(self, x: Tensor, il: int) -> Tensor:
        """Latent attention over the best cells: [n_embd, n_tokens] in and out (src/models/deepseek32.cpp)."""
        return self.lin(self.attended(x, il), il, "attn_output")

    def attended(self, x: Tensor, il: int, sinks: Tensor | None = None) -> Tensor:
        """What heads see, before it is projected: [head_dim_v × heads, n_tokens] of [n_embd, n_tokens]."""
        latent_q = self.normed(self.lin(x, il, "attn_q_a"), il, "attn_q_a_norm")
        if self.m.indexed(il):
            self.best = self.ranked(x, latent_q, il)
        best = self.best
        if best is None:  # llama.cpp aborts: "shared indexer layer must follow a previous full indexer layer"
            raise GraphUnknown(f"blk.{il}: no indexer before it")
        q = self.lin(latent_q, il, "attn_q_b")
        kv, k_pe = self.compressed(x, il)
        q, k, v = self.absorbed(q, kv, k_pe, il)
        for t in (q, v, k):
            self.expand(t)
        self.store_k(self.base, il, k)
        mask = self.masked(best)
        cached = self.stored_k(self.base, il)
        values = self.view(cached, (v.ne[0], *cached.ne[1:]), cached.nb[1:])
        return self.mha(il, q, cached, values, mask, sinks=sinks, v_mla=self.w(il, "attn_v_b"))


class KimiLinear(Recurrent, Latent):
    """Kimi delta attention, and latent attention without positions in every n-th layer."""

    def layer(self, x: Tensor, il: int) -> Tensor:
        """Delta or latent attention, then experts: [n_embd, n_tokens] in and out (src/models/kimi-linear.cpp)."""
        normed = self.expand(self.normed(x, il, "attn_norm"))
        cur = self.delta(normed, il) if self.m.recurrent(il) else self.full(normed, il)
        cur, x = self.rows_out(il, cur, x)
        ffn_in = self.add(cur, x)
        return self.add(self.feed(self.normed(ffn_in, il, "ffn_norm"), il), ffn_in)

    def full(self, x: Tensor, il: int) -> Tensor:
        """Latent attention without positions: [n_embd, n_tokens] in and out (src/models/kimi-linear.cpp)."""
        q = self.lin(x, il, "attn_q")
        kv, k_pe = self.compressed(x, il)
        if self.m.is_mla:
            q, k, v = self.absorbed(q, kv, k_pe, il)
            return self.attend_latent(il, q, k, v, v_mla=self.w(il, "attn_v_b"))
        q, k, v = self.expanded(q, kv, k_pe, il)
        return self.attend(il, q, k, v)

    def convolved(self, every: Tensor, x: Tensor, il: int, name: str) -> Tensor:
        """One of q, k, v: projected, convolved with its kept columns, activated."""
        n, seqs, tokens, heads = self.n_seq_tokens, self.r.n_seqs, self.r.n_tokens, self.m.n_head(0)
        d, taps = self.m.count("kda.head_dim"), self.d_conv
        inner = d * heads
        kept = self.view(every, (taps - 1, inner, seqs), (4 * (taps - 1), 4 * self.size_r))
        x = self.reshape(self.lin(x, il, "attn_" + name), inner, n, seqs)
        x = self.concat(kept, self.transpose(x), 0)
        self.kept_columns(x, il)
        kernel = self.reshape(self.w(il, f"ssm_conv1d_{name}"), taps, inner)
        x = self.unary(self.reshape(self.ssm_conv(x, kernel), inner, tokens))
        return self.reshape(x, d, heads, n, seqs)

    def kept_columns(self, x: Tensor, il: int) -> None:
        """The last columns of [taps − 1 + n_seq_tokens, channels, n_seqs], written back for the next batch."""
        taps, inner, seqs = self.d_conv, x.ne[1], self.r.n_seqs
        last = self.view(x, (taps - 1, inner, seqs), x.nb[1:3])
        into = self.view(self.state(il, "r"), (taps - 1, inner, seqs), (4 * (taps - 1), 4 * self.size_r))
        self.expand(self.cpy(last, into))

    def delta(self, x: Tensor, il: int) -> Tensor:
        """Kimi's delta attention: [n_embd, n_tokens] in and out (src/models/kimi-linear.cpp).

        q, k and v are convolved each by itself; state: [head_dim, head_dim, heads, n_seqs].
        """
        n, seqs, tokens, heads = self.n_seq_tokens, self.r.n_seqs, self.r.n_tokens, self.m.n_head(0)
        d = self.m.count("kda.head_dim")
        every = self.gathered(self.state(il, "r"))
        q, k, v = (self.convolved(every, x, il, name) for name in "qkv")
        g = self.lin(self.lin(x, il, "ssm_f_a"), il, "ssm_f_b")
        g = self.unary(self.add(g, self.bias(il, "ssm_dt")))
        g = self.mul(self.reshape(g, d, heads, tokens), self.reshape(self.plain(il, "ssm_a"), 1, heads, 1))
        g = self.reshape(g, d, heads, n, seqs)
        beta = self.unary(self.reshape(self.lin(x, il, "ssm_beta"), 1, heads, n, seqs))
        x = self.reshape(x, x.ne[0], n, seqs)
        state = self.reshape(self.gathered(self.state(il, "s")), d, d, heads, seqs)
        out = self.custom(
            "gated_delta_net", F32, (d * heads, tokens + d * seqs), self.gdn_l2(q), self.gdn_l2(k), v, g, beta, state
        )
        y = self.cont(self.view(out, (d, heads, n, seqs), (4 * d, 4 * d * heads, 4 * d * heads * n)))
        new = self.view(out, (d, d, heads, seqs), (4 * d, 4 * d * d, 4 * d * d * heads))
        self.store(new, self.state(il, "s"), self.size_s * seqs)
        flat = self.reshape(x, x.ne[0], tokens)
        gate = self.reshape(self.lin(self.lin(flat, il, "ssm_g_a"), il, "ssm_g_b"), d, heads, tokens)
        y = self.normed(self.reshape(y, d, heads, tokens), il, "ssm_norm")
        y = self.cont(self.mul(y, self.unary(gate)), d * heads, tokens)
        return self.lin(y, il, "attn_output")
