"""GLM-5 Next: Kimi's delta attention, and latent attention over the best pools of keys in every n-th layer.

Source: src/models/glm5-next.cpp, src/llama-memory-hybrid-idx.cpp (b11434).
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.attention import Cache
from inspector.memory.engines.llamacpp.graph.hyper import Mixed
from inspector.memory.engines.llamacpp.graph.latent import KimiLinear
from inspector.memory.engines.llamacpp.graph.model import GraphUnknown, external
from inspector.memory.engines.llamacpp.graph.tensor import F16, F32, I32, I64, Tensor
from inspector.units import pad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

POOLS_PAD: Final = 64  # kpool_pad
FEW: Final = 16  # tokens of a batch up to which the best keys are copied out of the cache (build_inp_kpool)


class Glm5Next(Mixed, KimiLinear):
    """Streams around delta nets, and attention over pools of a few consecutive keys, without positions."""

    def inputs(self) -> Any:
        """States, latents, and pools: as many as caches have room for (build_inp_kpool)."""
        m, r = self.m, self.r
        super().inputs()
        n, key = r.n_tokens, "attention.indexer."
        self.idx_dim, self.idx_heads = m.positive(key + "key_length"), m.positive(key + "head_count")
        each, top = m.positive(key + "kpool"), m.positive(key + "top_k")
        tail = each - 1 if m.key(key + "kpool_select_tail", True) else 0
        self.each, self.n_new = each, max(r.n_ctx_seq // each * r.n_seqs, 1)
        self.n_pools = max(POOLS_PAD, pad(r.n_ctx_seq // each * r.n_seqs + 1, POOLS_PAD))
        self.n_best = min(self.n_pools, top // each)
        self.n_keys = each * self.n_best + tail
        self.copies = r.n_ubatch <= FEW and r.n_ctx > top + each - 1
        self.lid = Cache(r.n_ctx_seq, r.elem_k, r.elem_v)
        self.lid.k_idxs = self.input(I64, n, name="idx_k_idxs")
        self.cells_of = self.input(I32, self.n_pools, name="pool_cells")
        self.keys_of = self.input(I32, each, self.n_pools, name="pool_idxs")
        self.pools_seen = self.input(F16, self.n_pools, n, name="pool_mask")
        self.tail = self.input(I32, each - 1, n, name="tail_idxs") if tail else None
        self.keys_seen = self.input(F32, self.n_keys, 1, 1, n, name="gather_mask")
        unread = self.tail or self.input(I32, each - 1, n, name="tail_idxs")
        for t in (self.cells_of, self.keys_of, self.pools_seen, unread, self.keys_seen):
            self.expand(t)
        self.new_keys = self.input(I32, each, self.n_new, name="new_pool_idxs")
        self.new_cells = self.input(I64, self.n_new, name="new_pool_rep")
        self.chosen: Tensor | None = None

    def kind(self, il: int) -> None:
        """Layers hold leafs of their own from the start: none can be left out."""

    def collapsed(self, x: Tensor) -> Tensor:
        """The streams' mean: [n_embd, n_outputs] (build_hc_mean)."""
        total = self.one_stream(x)
        for _ in range(1, x.ne[1]):
            total = self.add(total, self.one_stream(x))
        return self.scale(total)

    def attention(self, x: Tensor, il: int) -> Tensor:
        """A delta net, or attention over pools: [n_embd, n_tokens] in and out."""
        self.expand(x)
        return self.delta(x, il) if self.m.recurrent(il) else self.over_pools(x, il)

    # delta nets

    def kept_columns(self, x: Tensor, il: int) -> None:
        """The last columns written back, once for each state that drafts may go back to (glm5_conv1d)."""
        taps, inner, seqs = self.d_conv, x.ne[1], self.r.n_seqs
        for _ in range(self.r.n_states):
            last = self.view(x, (taps - 1, inner, seqs), x.nb[1:3])
            into = self.view(self.state(il, "r"), (taps - 1, inner, seqs), (4 * (taps - 1), 4 * self.size_r))
            self.expand(self.cpy(last, into))

    def fading(self, x: Tensor, il: int) -> Tensor:
        """How much of a state fades: [head_dim, heads, n_seq_tokens, n_seqs]; bounded where the file says so."""
        d, heads = self.m.count("kda.head_dim"), self.m.n_head(0)
        g = self.add(self.lin(self.lin(x, il, "ssm_f_a"), il, "ssm_f_b"), self.bias(il, "ssm_dt"))
        a = self.reshape(self.plain(il, "ssm_a"), 1, heads, 1)
        if self.m.key("kda.gate_lower_bound") is None:
            g = self.mul(self.reshape(self.unary(g), d, heads, self.r.n_tokens), a)
        else:
            g = self.mul(self.reshape(g, d, heads, self.r.n_tokens), a)
            g = self.scale(self.unary(self.scale(g)))
        return self.reshape(g, d, heads, self.n_seq_tokens, self.r.n_seqs)

    def delta(self, x: Tensor, il: int) -> Tensor:
        """Kimi's delta attention: [n_embd, n_tokens] in and out (build_kda_layer)."""
        m, tokens, heads = self.m, self.r.n_tokens, self.m.n_head(0)
        d = m.count("kda.head_dim")
        every = self.gathered(self.state(il, "r"))
        q, k, v = (self.convolved(every, x, il, name) for name in "qkv")
        g = self.fading(x, il)
        beta = self.reshape(self.lin(x, il, "ssm_beta"), 1, heads, self.n_seq_tokens, self.r.n_seqs)
        beta = self.unary(beta)
        state = self.reshape(self.gathered(self.state(il, "s")), d, d, heads, self.r.n_seqs)
        y = self.cont(self.delta_net(il, self.gdn_l2(q), self.gdn_l2(k), v, g, beta, state))
        gate = self.reshape(self.lin(self.lin(x, il, "ssm_g_a"), il, "ssm_g_b"), d, heads, tokens)
        y = self.normed(self.reshape(y, d, heads, tokens), il, "ssm_norm")
        return self.lin(self.cont(self.mul(y, self.unary(gate)), d * heads, tokens), il, "attn_output")

    # pools

    def idx_cache(self, il: int) -> Tensor:
        """The indexer's cache: [key, gate and pooled key, cells, n_stream]."""
        r, c = self.r, self.lid
        t = c.k.get(il)
        if t is None:
            t = c.k[il] = external(c.elem_k, (3 * self.idx_dim, c.cells, r.n_stream))
            t.buf = r.layer_buf[il] if r.layer_buf and r.offload_kqv else r.host_buf
        return t

    def pooled(self, x: Tensor, il: int) -> Tensor:
        """All pools' keys, [index_dim, 1, n_pools], after those that this batch completes were made and stored."""
        d, each, n_new = self.idx_dim, self.each, self.n_new
        key = self.normed(self.lin(x, il, "indexer.attn_k"), il, "indexer.k_norm", "layer")
        gate = self.lin(x, il, "indexer_compressor_gate")
        zeros = self.fill(self.leaf(F32, d, self.r.n_tokens))
        packed = self.concat(self.concat(key, gate, 0), zeros, 0)
        t = self.idx_cache(il)
        self.store_k(self.lid, il, self.reshape(packed, 3 * d, 1, self.r.n_tokens))
        cells = t.ne[1] * t.ne[2]
        both = self.view(t, (2 * d, cells), (t.nb[1],))
        rows = self.reshape(self.get_rows(both, self.reshape(self.new_keys, each * n_new)), 2 * d, each, n_new)
        keys, gates = (self.view(rows, (d, each, n_new), rows.nb[1:3]) for _ in range(2))
        logits = self.cont(self.permute(self.add(gates, self.w(il, "indexer_compressor_ape")), 1, 0, 2, 3))
        share = self.reshape(self.soft_max(self.reshape(logits, each, d * n_new)), each, d, n_new)
        new = self.sum_rows(self.mul(share, self.cont(self.permute(keys, 1, 0, 2, 3))))
        into = self.view(t, (d, cells), (t.nb[1],))
        self.expand(self.set_rows(into, self.reshape(new, d, n_new), self.new_cells))
        return self.reshape(self.get_rows(into, self.cells_of), d, 1, self.n_pools)

    def best_keys(self, x: Tensor, latent_q: Tensor, il: int) -> Tensor:
        """Cells of the keys in each token's best pools, best first, and of the last ones: [n_keys, n_tokens]."""
        n, best = self.r.n_tokens, self.n_best
        q = self.reshape(self.lin(latent_q, il, "indexer.attn_q_b"), self.idx_dim, self.idx_heads, n)
        pooled = self.pooled(x, il)
        w = self.scale(self.lin(x, il, "indexer.proj"))
        score = self.custom("lightning_indexer", F32, (self.n_pools, n), q, pooled, w, self.pools_seen)
        ids = self.top_k(score, best)
        scores = self.get_rows(self.reshape(score, 1, self.n_pools, n), ids)
        order = self.argsort(self.reshape(scores, best, n))
        ids = self.get_rows(self.reshape(self.cast(ids, F32), 1, best, n), order)
        ids = self.cast(self.cont(self.reshape(ids, best, n)), I32)
        cells = self.get_rows(self.keys_of, self.reshape(ids, best * n))
        cells = self.reshape(cells, self.each * best, n)
        return cells if self.tail is None else self.concat(cells, self.tail, 0)

    def selected(self, x: Tensor, latent_q: Tensor, il: int) -> Tensor:
        """Those cells, or a mask that is opened for them: [cells, n_tokens] (build_kpool_select)."""
        ids = self.best_keys(x, latent_q, il)
        if self.copies:
            return ids
        self.expand(ids)
        mask, n, keys, cells = self.base.mask, self.r.n_tokens, self.n_keys, self.lid.cells
        closed = self.repeat(self.fill(self.leaf(mask.elem, cells + keys)), cells + keys, n)
        zeros = self.repeat(self.fill(self.leaf(mask.elem, keys)), keys, n)
        live = self.unary(self.reshape(self.keys_seen, keys, n))
        beyond = self.custom("arange", F32, (keys,))
        at = self.add(self.mul(self.sub(self.cast(ids, F32), beyond), live), beyond)
        at = self.reshape(self.cast(at, I32), keys, n, 1)
        opened = self.set_rows(self.reshape(closed, 1, cells + keys, n), self.reshape(zeros, 1, keys, n), at)
        opened = self.view(opened, (cells, n), (opened.nb[2],))
        return self.add(opened, self.reshape(mask, cells, n))

    def over_pools(self, x: Tensor, il: int) -> Tensor:
        """Latent attention over the best pools, ranked here or in a layer before: [n_embd, n_tokens] in and out."""
        n, heads = self.r.n_tokens, self.m.n_head(il)
        latent_q = self.normed(self.lin(x, il, "attn_q_a"), il, "attn_q_a_norm")
        q = self.reshape(self.lin(latent_q, il, "attn_q_b"), self.d_k, heads, n)
        kv = self.normed(self.lin(x, il, "attn_kv_a_mqa"), il, "attn_kv_a_norm")
        kv = self.reshape(kv, self.rank, 1, n)
        q = self.permute(self.mm(self.w(il, "attn_k_b"), self.permute(q, 0, 2, 1, 3)), 0, 2, 1, 3)
        if self.m.indexed(il):
            self.chosen = self.selected(x, latent_q, il)
        if self.chosen is None:  # llama.cpp aborts: "shared indexer layer must follow a full indexer layer"
            raise GraphUnknown(f"blk.{il}: no indexer before it")
        self.expand(q)
        self.expand(kv)
        self.store_k(self.base, il, kv)
        out = self.copied(q, il, self.chosen) if self.copies else self.opened(q, il, self.chosen)
        return self.lin(out, il, "attn_output")

    def opened(self, q: Tensor, il: int, chosen: Tensor) -> Tensor:
        """What heads see through the mask."""
        mask = self.reshape(chosen, *self.base.mask.ne)
        keys = self.stored_k(self.base, il)
        values = self.view(keys, (self.rank, *keys.ne[1:]), keys.nb[1:])
        return self.mha(il, q, keys, values, mask, v_mla=self.w(il, "attn_v_b"))

    def copied(self, q: Tensor, il: int, chosen: Tensor) -> Tensor:
        """What heads see of a copy of the best keys, each token of its own."""
        self.expand(self.base.mask)
        n, keys, t = self.r.n_tokens, self.n_keys, self.stored_k(self.base, il)
        rows = self.view(t, (self.rank, t.ne[2] * t.ne[3]), (t.nb[2],))
        k = self.get_rows(rows, self.reshape(chosen, keys * n))
        k = self.reshape(k, self.rank, keys, 1, n)
        share = self.soft_max(self.mm(k, self.permute(q, 0, 2, 3, 1)), self.keys_seen)
        seen = self.mm(self.w(il, "attn_v_b"), self.mm(self.cont(self.transpose(k)), share))
        return self.reshape(self.cont(self.permute(seen, 0, 2, 1, 3)), seen.ne[0] * self.m.n_head(il), n)
