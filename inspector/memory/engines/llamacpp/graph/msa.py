"""MiniMax Sparse Attention: an indexer ranks blocks of positions, and attention sees the cells of the best of them.

Source: src/models/minimax-m3.cpp, src/llama-kv-cache-msa.cpp (b11434).
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.attention import Cache
from inspector.memory.engines.llamacpp.graph.decoder import Decoder
from inspector.memory.engines.llamacpp.graph.model import GraphUnknown, external
from inspector.memory.engines.llamacpp.graph.tensor import F16, F32, I32, I64, Tensor, is_contiguous

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

POSITIONS_PAD: Final = 256  # llama_kv_cache_msa_context::get_n_pos


class MiniMaxM3(Decoder):
    """Leading layers see all keys, further ones the best blocks; all do where flash attention or streams lack."""

    def inputs(self) -> Cache:
        """The cache, and what selects blocks: build_attn_inp_kv_msa, and the inputs of a sparse graph.

        An empty cache holds no position, so that the fewest there are stand for them (get_n_pos).
        """
        m, r = self.m, self.r
        base = super().inputs()
        self.sparse = r.flash and (r.n_seqs == 1 or not r.unified)
        if not self.sparse:
            return base
        self.block = m.positive("attention.indexer.block_size")
        self.idx_dim = m.positive("attention.indexer.key_length")
        self.idx_heads = m.positive("attention.indexer.head_count")
        self.n_pos = POSITIONS_PAD + self.block - 1 & ~(self.block - 1)  # GGML_PAD: rounds up to powers of two only
        self.n_blocks = self.n_pos // self.block
        if not self.n_blocks:  # llama.cpp aborts: nothing is left of a block
            raise GraphUnknown(f"{m.arch}.attention.indexer.block_size")
        self.best = min(m.positive("attention.indexer.top_k"), self.n_blocks)
        self.lid = Cache(r.n_ctx_seq, r.elem_k, r.elem_v)
        self.lid.k_idxs = self.input(I64, r.n_tokens, name="k_idxs_idx")
        self.near = self.input(F32, self.n_blocks, r.n_tokens, name="msa_bias")
        self.seen = self.input(F32, self.n_pos, r.n_tokens, name="msa_pos_mask")
        self.slots = self.input(I32, self.n_pos, r.n_stream, name="msa_pos_slot_i")
        self.single = r.n_tokens == r.n_stream
        if self.single:
            self.slots_f = self.input(F32, self.n_pos, r.n_stream, name="msa_pos_slot_f")
        else:
            self.blocks_of = self.input(I32, r.n_ctx_seq, r.n_stream, name="msa_cell_blk")
            self.mask_f = self.cast(base.mask, F32)
        return base

    def kind(self, il: int) -> tuple[object, ...] | None:
        """As any layer's; on devices each copies windows of inputs of its own, all held from the start."""
        return None if self.r.layer_buf else super().kind(il)

    def attention(self, x: Tensor, il: int) -> Tensor:
        """Attention over all keys or over the best blocks: [n_embd, n_tokens] in and out."""
        if not self.sparse or il < self.m.count("leading_dense_block_count", 0):
            return super().attention(x, il)
        q, k, v = self.qkv(x, il)
        q, k = self.qk_normed(q, k, il, "rms")
        q, k = self.rope(q, self.pos), self.rope(k, self.pos)
        idx_q, idx_k = self.indexed(x, il)
        c = self.base
        if c.k_rot is not None:
            q, k = self.hadamard(q, c.k_rot), self.hadamard(k, c.k_rot)
        if c.v_rot is not None:
            v = self.hadamard(v, c.v_rot)
        for t in (q, k, v):
            self.expand(t)
        self.store_k(c, il, k)
        self.store_v(c, il, v)
        k, v = self.stored_k(c, il), self.stored_v(c, il)
        if k.ne[1] != self.idx_heads or not q.ne[1] or q.ne[1] % self.idx_heads:  # llama.cpp aborts
            raise GraphUnknown(f"{self.m.arch}.attention.indexer.head_count")
        cur = self.gathered(q, k, v, idx_q, idx_k) if self.single else self.masked(q, k, v, idx_q, idx_k)
        if c.v_rot is not None:
            cur = self.hadamard(cur, c.v_rot)
        return self.lin(cur, il, "attn_output")

    def indexed(self, x: Tensor, il: int) -> tuple[Tensor, Tensor]:
        """Queries of the indexer, [index_dim, index_heads, n_tokens], and its stored keys, [index_dim, 1, cells, …]."""
        r, d, c = self.r, self.idx_dim, self.lid
        q, k = self.mm(self.w(il, "indexer.q_proj"), x), self.mm(self.w(il, "indexer.k_proj"), x)
        q, k = self.reshape(q, d, self.idx_heads, r.n_tokens), self.reshape(k, d, 1, r.n_tokens)
        q, k = self.normed(q, il, "indexer.q_norm"), self.normed(k, il, "indexer.k_norm")
        q, k = self.rope(q, self.pos), self.rope(k, self.pos)
        t = c.k[il] = external(c.elem_k, (d, c.cells, r.n_stream))
        t.buf = r.layer_buf[il] if r.layer_buf and r.offload_kqv else r.host_buf
        self.store_k(c, il, k)
        return q, self.view(t, (d, 1, c.cells, r.n_stream), (t.nb[1], t.nb[1], t.nb[2]))

    def flash_groups(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """Flash attention with groups of heads where sequences would be: [heads × head_dim, tokens].

        Source: build_attn_msa_fa; `k`, `v`: [head_dim, keys, 1, groups], `mask`: [keys, rows, 1, groups].
        """
        d, heads, n = q.ne[:3]
        groups, together = k.ne[3], heads // self.idx_heads
        q = self.reshape(q, d, together, groups, heads * n // (together * groups))
        out = self.permute(self.flash_attn(self.permute(q, 0, 2, 3, 1), k, v, mask), 0, 1, 3, 2)
        return self.reshape(out if is_contiguous(out) else self.cont(out), d * heads, n)

    def masked(self, q: Tensor, k: Tensor, v: Tensor, idx_q: Tensor, idx_k: Tensor) -> Tensor:
        """Of a batch: a mask opened for the best blocks, one stream after another."""
        out: Tensor | None = None
        n = self.r.n_tokens // self.r.n_stream
        for _ in range(self.r.n_stream):
            one_q = self.view(idx_q, (*idx_q.ne[:2], n), idx_q.nb[1:3])
            one_k = self.view(idx_k, (self.idx_dim, self.lid.cells), (idx_k.nb[2],))
            mask = self.block_mask(one_q, one_k, n)
            q_s = self.view(q, (*q.ne[:2], n), q.nb[1:3])
            k_s, v_s = (self.permute(self.view(t, (*t.ne[:3], 1), t.nb[1:]), 0, 3, 1, 2) for t in (k, v))
            one = self.flash_groups(q_s, k_s, v_s, mask)
            out = one if out is None else self.concat(out, one, 1)
        assert out is not None
        return out

    def block_mask(self, q: Tensor, k: Tensor, n: int) -> Tensor:
        """The mask of a stream's `n` tokens, [cells, n, 1, index_heads], f16, opened for the best blocks."""
        heads, blocks, cells = self.idx_heads, self.n_blocks, self.lid.cells
        slots = self.view(self.slots, (self.n_pos,))
        seen = self.view(self.seen, (self.n_pos, 1, n), (self.seen.nb[1], self.seen.nb[1]))
        near = self.view(self.near, (blocks, 1, n), (self.near.nb[1], self.near.nb[1]))
        score = self.mm(self.get_rows(k, slots), self.reshape(q, self.idx_dim, heads * n))
        score = self.reshape(score, self.n_pos, heads, n)
        score = self.pooled(self.view_of("add", score, score, seen))
        ids = self.top_k(self.add(score, near), self.best)
        closed = self.repeat(self.cast(self.scale(near), F16), blocks, heads, n)
        zero = self.scale(self.cast(ids, F32))
        opened = self.set_rows(
            self.reshape(closed, 1, blocks, heads * n),
            self.reshape(zero, 1, self.best, heads * n),
            self.reshape(ids, self.best, heads * n),
        )
        opened = self.cont(self.permute(self.reshape(opened, blocks, heads, n), 0, 2, 1, 3))
        opened = self.cont(self.transpose(self.reshape(opened, blocks, n * heads)))
        by_cell = self.get_rows(opened, self.view(self.blocks_of, (cells,)))
        by_cell = self.reshape(self.cont(self.transpose(by_cell)), cells, n, heads)
        whole = self.view(self.mask_f, (cells, n, 1), (self.mask_f.nb[1], self.mask_f.nb[3]))
        mask = self.view_of("add", by_cell, by_cell, whole)
        return self.cast(self.reshape(mask, cells, n, 1, heads), F16)

    def pooled(self, score: Tensor) -> Tensor:
        """The best score of each block: [blocks, …] of [positions, …] (ggml_pool_2d)."""
        return self.custom("pool_2d", F32, (self.n_blocks, *score.ne[1:]), score)

    def gathered(self, q: Tensor, k: Tensor, v: Tensor, idx_q: Tensor, idx_k: Tensor) -> Tensor:
        """Of one token a stream: keys and values of the best blocks, copied out of the cache."""
        s, heads, d, n_pos = self.r.n_stream, self.idx_heads, self.idx_dim, self.n_pos
        keys = self.view(idx_k, (d, self.lid.cells, s), (idx_k.nb[2], idx_k.nb[3]))
        keys = self.reshape(self.get_rows(keys, self.slots), d, n_pos, 1, s)
        score = self.mm(keys, self.reshape(idx_q, d, heads, 1, s))
        score = self.pooled(self.view_of("add", score, score, self.reshape(self.seen, n_pos, 1, 1, s)))
        score = self.add(score, self.reshape(self.near, self.n_blocks, 1, 1, s))
        by_position, by_row = self.row_ids(self.top_k(score, self.best))
        n = self.block * self.best
        per_head = k.ne[1] * self.lid.cells
        k, v = (self.get_rows(self.view(t, (t.ne[0], per_head, s), (t.nb[1], t.nb[3])), by_row) for t in (k, v))
        mask = self.get_rows(self.reshape(self.seen, 1, n_pos, s), by_position)
        k, v = self.reshape(k, k.ne[0], n, 1, heads * s), self.reshape(v, v.ne[0], n, 1, heads * s)
        types = [F16 if elem[0] > 1 else elem for elem in (self.r.elem_k, self.r.elem_v)]
        k, v = (t if elem == F32 else self.cast(t, elem) for t, elem in zip((k, v), types, strict=True))
        return self.flash_groups(q, k, v, self.cast(self.reshape(mask, n, 1, 1, heads * s), F16))

    def row_ids(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Positions in the chosen blocks, and their rows in the cache: [block × best × index_heads, n_stream]."""
        s, heads, best, block = self.r.n_stream, self.idx_heads, self.best, self.block
        first = self.reshape(self.scale(self.cast(ids, F32)), 1, best, heads, s)
        at = self.add(self.repeat(first, block, best, heads, s), self.reshape(self.arange(block), block, 1, 1))
        by_position = self.cast(self.reshape(at, block * best * heads, s), I32)
        cell = self.get_rows(self.reshape(self.slots_f, 1, self.n_pos, s), by_position)
        cell = self.scale(self.reshape(cell, block, best, heads, s))
        row = self.add(cell, self.reshape(self.arange(heads), 1, 1, heads))
        return by_position, self.cast(self.reshape(row, block * best * heads, s), I32)

    def arange(self, n: int) -> Tensor:
        """0, 1, … n − 1 (ggml_arange)."""
        return self.custom("arange", F32, (n,))
