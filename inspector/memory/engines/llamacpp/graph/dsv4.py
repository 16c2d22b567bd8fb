"""DeepSeek V4: a window of latents, and compressed ones of all tokens, every 4 or every 128 tokens one.

Source: src/models/deepseek4.cpp, src/llama-kv-cache-dsv4.cpp, build_inp_dsv4 in src/llama-graph.cpp (b11434).
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.attention import Cache
from inspector.memory.engines.llamacpp.graph.hyper import Mixed
from inspector.memory.engines.llamacpp.graph.model import GraphUnknown, external
from inspector.memory.engines.llamacpp.graph.tensor import F16, F32, I32, I64, Tensor
from inspector.memory.engines.llamacpp.sizes import CELLS_PAD
from inspector.units import pad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

OVERLAPS: Final = 4  # tokens of a compressed one that also reads the tokens before (DSV4_CSA_RATIO)
APART: Final = 128  # tokens of one that does not (DSV4_HCA_RATIO)


class Pool:
    """Compressed latents of one kind: their cache, the inputs that say what is written where, and compressors' states.

    `names`: the layers' weights begin with these; `width`: elements of a latent; `n_rows`: rows of all sequences'
    states, each of `state` elements.
    """

    __slots__ = (
        "cache", "keep_from", "keep_to", "names", "phase", "ratio", "read", "restore_from", "restore_to", "snap_from",
        "snap_to", "state", "states", "width", "write_pos",
    )  # fmt: skip

    def __init__(self, cache: Cache, names: str, ratio: int, width: int) -> None:
        self.cache = cache
        self.names = names
        self.ratio = ratio
        self.width = width
        self.state = 2 * width if ratio == OVERLAPS else width
        self.states: dict[tuple[int, str], Tensor] = {}
        self.phase: Tensor
        self.read: Tensor
        self.write_pos: Tensor
        self.keep_from: Tensor
        self.keep_to: Tensor
        self.restore_from: Tensor | None = None
        self.restore_to: Tensor
        self.snap_from: Tensor | None = None
        self.snap_to: Tensor

    def rows(self, n_seqs: int) -> int:
        """Rows of the states of so many sequences."""
        return (2 * self.ratio if self.ratio == OVERLAPS else self.ratio) * n_seqs


class DeepSeek4(Mixed):
    """Latents that are keys and values at once, never shared among sequences."""

    def embed(self, **_: Any) -> Tensor:
        """Token embeddings, or those given from outside: [n_embd, n_tokens]; batches are not mixed of both."""
        self.tokens = self.input(I32, self.r.n_tokens, name="inp_tokens")
        cur = self.expand(self.rows(self.tokens, self.m.n_embd))
        self.expand(self.input(F32, self.m.n_embd, self.r.n_tokens, name="inp_embd"))
        return cur

    def inputs(self) -> Cache:
        """The window's cache and three pools: of each kind of layer, and of the indexer (build_inp_dsv4)."""
        m, r = self.m, self.r
        r.unified, r.n_stream = False, r.n_seqs
        d = m.head_k(0)
        window = self.swa = self.windowed()
        self.expand(window.mask)
        turns = window.k_rot is not None
        self.idx_dim = m.positive("attention.indexer.key_length")
        self.idx_heads = m.positive("attention.indexer.head_count")
        self.idx_top = m.count("attention.indexer.top_k")
        self.csa = self.pool("attn_compressor", OVERLAPS, d, half=r.flash, turns=turns)
        self.hca = self.pool("attn_compressor", APART, d, half=r.flash, turns=turns)
        self.lid = self.pool("indexer_compressor", OVERLAPS, self.idx_dim, half=True, turns=True)
        return window

    def windowed(self) -> Cache:
        """The window's cache, whose keys are rotated where they are quantised."""
        m, r = self.m, self.r
        c, d = self.cache(r.cells_swa(m.n_swa or 0), [], rot=False), m.head_k(0)
        c.k_rot = self.rotation(d) if r.elem_k[0] > 1 and d and d % 64 == 0 else None
        return c

    def rotation(self, width: int) -> Tensor:
        """The largest Hadamard matrix from 64 on whose size divides `width`, or 64."""
        n = 64
        while width % (2 * n) == 0:
            n *= 2
        return self.input(F32, n, n, name="k_rot")

    def pool(self, names: str, ratio: int, width: int, *, half: bool, turns: bool) -> Pool:
        """The inputs of a pool for the most that a batch may complete (dsv4_build_reserve_comp_plan)."""
        r = self.r
        c = Cache(pad(max(1, -(-r.n_ctx_seq // ratio)), CELLS_PAD), r.elem_k, r.elem_v)
        p = Pool(c, names, ratio, width)
        blocks, rows, back = r.n_tokens // ratio + r.n_seqs, p.rows(r.n_seqs), r.n_states - 1
        p.phase = self.input(I32, r.n_tokens)
        p.keep_from, p.keep_to = (self.input(I32, min(r.n_tokens, rows)) for _ in range(2))
        if back:
            p.restore_from, p.restore_to = self.input(I32, rows), self.input(I32, rows)
            p.snap_from, p.snap_to = self.input(I32, back * rows), self.input(I32, back * rows)
        p.read = self.input(I32, (2 if ratio == OVERLAPS else 1) * ratio * blocks)
        p.write_pos = self.input(I32, blocks)
        c.k_idxs = self.input(I64, blocks)
        c.mask = self.mask(c.cells, half=half)
        c.k_rot = self.rotation(width) if turns else None
        return p

    def kind(self, il: int) -> None:
        """Layers hold leafs of their own from the start: none can be left out."""

    def layer(self, x: Tensor, il: int) -> Tensor:
        """As any layer's with streams; what it ends with is held on its device while devices are probed.

        Source: "l_last" in llama_context::graph_get_cb; measuring sizes forgets it (Blocks.norm).
        """
        x = super().layer(x, il)
        if self.r.probing:
            x.buf = self.r.layer_buf[il]
        return x

    def entered(self, x: Tensor, il: int) -> Tensor:
        """Of what a draft reads, the mean of all streams is made and held (build_hc_mean)."""
        if il in self.r.kept:
            parts = [self.view(x, (x.ne[0], x.ne[2]), (x.nb[2],)) for _ in range(x.ne[1])]
            mean = parts[0]
            for part in parts[1:]:
                mean = self.add(mean, part)
            self.expand(self.scale(mean)).is_output = True
        if il == self.m.n_layer and self.r.keeps_states:
            x.is_output = True
        return x

    def between(self, *ts: Tensor) -> None:
        """They are in the graph before the feed-forward."""
        for t in ts:
            self.expand(t)

    # compressors

    def state_of(self, p: Pool, il: int, which: str) -> Tensor:
        """A layer's states of all sequences and all that is kept of them: [state, rows] (get_kv_all)."""
        r = self.r
        t = p.states.get((il, which))
        rows = p.rows(r.n_seqs) * r.n_states
        if t is None:
            t = p.states[il, which] = external(F32, (p.state, rows))
            t.buf = r.layer_buf[il] if r.layer_buf and r.offload_kqv else r.host_buf
        return self.view(t, (p.state, rows), (t.nb[1],))

    def restored(self, p: Pool, il: int, which: str) -> Tensor:
        """The states, where drafts were refused those of before (dsv4_build_state_restore)."""
        every = self.state_of(p, il, which)
        if p.restore_from is None:
            return every
        return self.set_rows(self.state_of(p, il, which), self.get_rows(every, p.restore_from), p.restore_to)

    def compress(self, x: Tensor, il: int, p: Pool) -> None:
        """Whatever this batch completes goes into the pool, and what it leaves into the states."""
        new = {"kv": self.lin(x, il, p.names + "_kv")}
        phases = self.get_rows(self.w(il, p.names + "_ape"), p.phase)
        new["score"] = self.add(self.lin(x, il, p.names + "_gate"), phases)
        every = {which: self.restored(p, il, which) for which in new}
        n_rows = p.rows(self.r.n_seqs)
        past = {which: self.view(t, (p.state, n_rows), (t.nb[1],)) for which, t in every.items()}
        kv, score = (self.concat(past[which], new[which], 1) for which in new)
        made = self.overlapping(kv, score, p) if p.ratio == OVERLAPS else self.apart(kv, score, p)
        made = self.rope(self.normed(made, il, p.names + "_norm"), p.write_pos)
        if p.cache.k_rot is not None:
            made = self.hadamard(made, p.cache.k_rot)
        self.cache_of_pool(p, il)
        self.store_k(p.cache, il, made)
        self.snapshot(p, il, every, new)
        kept = {which: self.get_rows(t, p.keep_from) for which, t in new.items()}
        for which, rows in kept.items():
            self.expand(self.set_rows(self.state_of(p, il, which), rows, p.keep_to))

    def snapshot(self, p: Pool, il: int, every: dict[str, Tensor], new: dict[str, Tensor]) -> None:
        """States to go back to, where tokens are drafted (dsv4_build_state_snapshot)."""
        if p.snap_from is None:
            return
        sources = {which: self.concat(t, new[which], 1) for which, t in every.items()}
        rows = {which: self.get_rows(t, p.snap_from) for which, t in sources.items()}
        for which, t in rows.items():
            self.expand(self.set_rows(self.state_of(p, il, which), t, p.snap_to))

    def overlapping(self, kv: Tensor, score: Tensor, p: Pool) -> Tensor:
        """Of half a row before and half a row of now: [width, 1, blocks] (build_overlap_compressed_kv_from_state)."""
        blocks, ratio, d = p.write_pos.ne[0], p.ratio, p.width
        n = ratio * blocks
        parts = []
        for t in (kv, score):
            row = self.reshape(self.scale(self.view(t, (t.ne[0],))), t.ne[0], 1)
            read = self.get_rows(self.concat(t, row, 1), p.read)
            halves = (self.cont(self.view(read, (d, n), (read.nb[1],))) for _ in range(2))
            before, now = (self.reshape(half, d, ratio, blocks) for half in halves)
            parts.append(self.concat(before, now, 1))
        return self.weighed(*parts)

    def apart(self, kv: Tensor, score: Tensor, p: Pool) -> Tensor:
        """Of as many rows as it stands for: [width, 1, blocks] (build_hca_compressed_kv_from_state)."""
        blocks = p.write_pos.ne[0]
        return self.weighed(*(self.reshape(self.get_rows(t, p.read), p.width, p.ratio, blocks) for t in (kv, score)))

    def weighed(self, values: Tensor, scores: Tensor) -> Tensor:
        """Rows summed by the softmax of their scores: [width, 1, blocks] of [width, rows, blocks]."""
        values, scores = (self.cont(self.permute(t, 1, 0, 2, 3)) for t in (values, scores))
        total = self.sum_rows(self.mul(values, self.soft_max(scores)))
        return self.cont(self.permute(total, 1, 0, 2, 3))

    # attention

    def cache_of_pool(self, p: Pool, il: int) -> Tensor:
        """The pool's cache of a layer: [width, cells, n_seqs]."""
        r, c = self.r, p.cache
        t = c.k.get(il)
        if t is None:
            t = c.k[il] = external(c.elem_k, (p.width, c.cells, r.n_stream))
            t.buf = r.layer_buf[il] if r.layer_buf and r.offload_kqv else r.host_buf
        return t

    def pooled(self, p: Pool, il: int) -> Tensor:
        """All that a pool holds of a layer: [width, 1, cells, n_seqs], a view."""
        t = self.cache_of_pool(p, il)
        ne = (p.width, 1, p.cache.cells, self.r.n_stream)
        view = self.view(t, ne, (t.nb[1], t.nb[1], t.nb[2]))
        return self.view(view, ne, view.nb[1:])

    def ranked(self, x: Tensor, latent_q: Tensor, il: int) -> Tensor:
        """The best compressed ones of each token: [top_k, n_tokens / n_seqs, 1, n_seqs] (build_lid_top_k)."""
        d, heads, n, s, p = self.idx_dim, self.idx_heads, self.r.n_tokens, self.r.n_stream, self.lid
        q = self.rope(self.reshape(self.lin(latent_q, il, "indexer.attn_q_b"), d, heads, n), self.pos)
        assert p.cache.k_rot is not None
        q = self.hadamard(q, p.cache.k_rot)
        w = self.scale(self.lin(x, il, "indexer.proj"))
        k = self.pooled(p, il)
        q = self.view(q, (d, heads, n // s, s), (q.nb[1], q.nb[2], q.nb[3] // s))
        w = self.view(w, (w.ne[0], n // s, w.ne[2], s), (w.nb[1], w.nb[2] // s, w.nb[3] // s))
        score = self.custom("lightning_indexer", F32, (k.ne[2], n // s, 1, s), q, k, w, p.cache.mask)
        return self.cont(self.top_k(score, min(self.idx_top, k.ne[2])))

    def opened(self, mask: Tensor, best: Tensor) -> Tensor:
        """The pool's mask, opened for the best only (build_top_k_mask)."""
        closed = self.fill(mask)
        closed = self.view(closed, (1, mask.ne[0], mask.ne[1], mask.ne[3]), mask.nb[:3])
        ids = self.view(
            best, (best.ne[0], best.ne[1], best.ne[3], 1), (best.nb[1], best.nb[2], best.ne[3] * best.nb[3])
        )
        zeros = self.fill(self.leaf(F16 if self.r.flash else F32, 1, *ids.ne[:3]))
        t = self.set_rows(closed, zeros, ids)
        t = self.view(t, (t.ne[1], t.ne[2], 1, t.ne[3]), (t.nb[2], t.nb[3], t.nb[3]))
        return self.add(t, mask)

    def attention(self, x: Tensor, il: int) -> Tensor:
        """Attention over the window and what is compressed of all: [n_embd, n_tokens] in and out."""
        m, n = self.m, self.r.n_tokens
        d, heads = m.head_k(il), m.n_head(il)
        latent_q = self.normed(self.lin(x, il, "attn_q_a"), il, "attn_q_a_norm")
        q = self.rope(self.rms_norm(self.reshape(self.lin(latent_q, il, "attn_q_b"), d, heads, n)), self.pos)
        kv = self.normed(self.lin(x, il, "attn_kv"), il, "attn_kv_a_norm")
        kv = self.rope(self.reshape(kv, d, 1, n), self.pos)
        ratios = m.whole_numbers("attention.compress_ratios")
        ratio = ratios[il] if il < len(ratios) else 0
        p, best = None, None
        if ratio == OVERLAPS:
            p = self.csa
            self.compress(x, il, p)
            self.compress(x, il, self.lid)
            best = self.ranked(x, latent_q, il)
        elif ratio == APART:
            p = self.hca
            self.compress(x, il, p)
        elif ratio:
            raise GraphUnknown(f"{m.arch}.attention.compress_ratios")
        out = self.reshape(self.seen(q, kv, il, p, best), d, heads, n)
        return self.projected(self.rope(out, self.pos), il)

    def seen(self, q: Tensor, kv: Tensor, il: int, p: Pool | None, best: Tensor | None) -> Tensor:
        """What heads see of the window, and of a pool behind it: [head_dim × heads, n_tokens]."""
        c = self.swa
        assert c is not None
        if c.k_rot is not None:
            q, kv = self.hadamard(q, c.k_rot), self.hadamard(kv, c.k_rot)
        self.expand(q)
        self.expand(kv)
        self.store_k(c, il, kv)
        keys, mask = self.stored_k(c, il), c.mask
        if p is not None:
            keys = self.concat(keys, self.pooled(p, il), 2)
            more = p.cache.mask if best is None else self.opened(p.cache.mask, best)
            mask = self.concat(mask, more, 0)
        out = self.mha(il, q, keys, keys, mask, sinks=self.w(il, "attn_sinks"))
        return out if c.k_rot is None else self.hadamard(out, c.k_rot)

    def projected(self, out: Tensor, il: int) -> Tensor:
        """Groups of heads projected each by itself, then all together: [n_embd, n_tokens]."""
        groups, rank = self.m.positive("attention.output_group_count"), self.m.positive("attention.output_lora_rank")
        n = self.r.n_tokens
        w = self.w(il, "attn_output_a")
        if w.ne[2] != groups:  # files have all groups in one matrix, which is loaded as several
            cut = external(w.elem, (w.ne[0], rank, groups))
            cut.weight, cut.buf = True, w.buf
            w = cut
        out = self.permute(self.reshape(out, w.ne[0], groups, n), 0, 2, 1, 3)
        out = self.cont(self.permute(self.mm(w, out), 0, 2, 1, 3), rank * groups, n)
        return self.lin(out, il, "attn_output_b")

    # experts

    def feed(self, x: Tensor, il: int) -> Tensor:
        """Experts; those of the first layers are looked up by token."""
        self.looked_up: Tensor | None = None
        if il < self.m.count("hash_layer_count"):
            table = self.w(il, "ffn_gate_tid2eid")
            self.looked_up = self.custom("get_rows", I32, (table.ne[0], self.r.n_tokens), table, self.tokens)
        return super().feed(x, il)

    def _chosen(self, *args: Any) -> Tensor:
        return super()._chosen(*args) if self.looked_up is None else self.looked_up
