"""Qwen4's experiment: several residual streams, delta nets, attention to the best blocks, n-gram embeddings.

Source: src/models/qwen4exp.cpp, src/llama-memory-hybrid-idx.cpp (b11434). A stream's states lie next to the others':
[n_embd, streams, n_tokens].
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.attention import Cache
from inspector.memory.engines.llamacpp.graph.hybrids import Qwen35
from inspector.memory.engines.llamacpp.graph.model import GraphUnknown, external
from inspector.memory.engines.llamacpp.graph.tensor import F16, F32, I32, I64, Tensor
from inspector.units import pad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from inspector.memory.engines.llamacpp.graph.model import Model
    from inspector.memory.engines.llamacpp.graph.options import Options
    from inspector.memory.engines.llamacpp.graph.run import Run

POOLS_PAD: Final = 64  # kpool_pad (src/llama-memory-hybrid-idx.cpp)


class Pools:
    """What attention to the best blocks reads of its cache: keys of tokens, and one pooled key for a block of them.

    `size`: tokens a block; `n`: blocks that there is room for, and one that is never used; `new`: blocks that are
    pooled anew, all of them where the graph is reserved (llama_memory_hybrid_idx_context).
    """

    __slots__ = (
        "cache", "cells", "dim", "heads", "mask", "members", "n", "new", "new_at", "new_members", "new_pos", "size",
        "tail", "top",
    )  # fmt: skip

    def __init__(self, model: Model, run: Run, size: int) -> None:
        best = model.positive("attention.indexer.top_k")
        if size < 2 or best % size:  # llama.cpp refuses the file
            raise GraphUnknown(f"{model.arch}.attention.compress_ratios")
        self.size = size
        self.new = max(run.n_ctx_seq // size * run.n_seqs, 1)
        self.n = max(POOLS_PAD, pad(run.n_ctx_seq // size * run.n_seqs + 1, POOLS_PAD))
        self.dim = model.positive("attention.indexer.key_length")
        self.heads = model.positive("attention.indexer.head_count")
        self.top = min(self.n, best // size)
        self.cache = Cache(run.n_ctx_seq, run.elem_k, run.elem_v)
        self.cells: Tensor
        self.members: Tensor
        self.mask: Tensor
        self.tail: Tensor
        self.new_members: Tensor
        self.new_at: Tensor
        self.new_pos: Tensor


class Qwen4Exp(Qwen35):
    """Delta nets, and gated attention to the best blocks in every n-th layer; streams are mixed before each branch."""

    def __init__(self, model: Model, run: Run, options: Options) -> None:
        super().__init__(model, run, options)
        self.streams = model.positive("hyper_connection.count")
        self.ngram: Tensor | None = None
        ratios = {int(model.per_layer("attention.compress_ratios", il, 0)) for il in range(model.n_layer_all)} - {0}
        if len(ratios) > 1:
            raise GraphUnknown(f"{model.arch}.attention.compress_ratios")
        self.pools = Pools(model, run, ratios.pop()) if ratios else None

    def kind(self, il: int) -> tuple[object, ...] | None:
        """As any layer's; each that picks blocks holds leafs of its own from the start, so that none is left out."""
        return super().kind(il) if self.pools is None else None

    # inputs

    def inputs(self) -> Any:
        """States, the key-value cache, and blocks where any layer picks them."""
        super().inputs()
        self.block_inputs()

    def block_inputs(self) -> None:
        """Which cells are a block's, and which blocks each token sees (build_inp_kpool)."""
        p, n = self.pools, self.r.n_tokens
        if p is not None:
            p.cache.k_idxs = self.input(I64, n, name="idx_k_idxs")
            p.cells = self.expand(self.input(I32, p.n, name="pool_cells"))
            p.members = self.expand(self.input(I32, p.size, p.n, name="pool_idxs"))
            p.mask = self.expand(self.input(F16, p.n, n, name="pool_mask"))
            p.tail = self.expand(self.input(I32, p.size - 1, n, name="tail_idxs"))
            p.new_members = self.input(I32, p.size, p.new, name="new_pool_idxs")
            p.new_at = self.input(I64, p.new, name="new_pool_rep")
            p.new_pos = self.input(I32, 4 * p.new, name="new_pool_pos")

    def body(self, x: Tensor) -> Tensor:
        """N-gram embeddings, as many copies of the embeddings as streams, all layers."""
        if self.m.key("ple.layers"):
            self.ngram = self.hashed()
        x = super().body(self.expand(self.spread(x)))
        return self.rows_of_kept(x) if self.r.keeps_states else x

    def rows_of_kept(self, x: Tensor) -> Tensor:
        """Wanted rows of states that are all kept for prediction layers: [n_embd, streams, n_outputs]."""
        assert self.out_ids is not None
        flat = self.reshape(x, x.ne[0] * self.streams, x.ne[2])
        self.expand(flat).is_output = True
        rows = self.get_rows(self.reshape(x, *flat.ne[:2]), self.out_ids)
        return self.reshape(rows, x.ne[0], self.streams, rows.ne[1])

    def spread(self, x: Tensor) -> Tensor:
        """The same in each stream: [n_embd, streams, tokens] of [n_embd, tokens]."""
        return self.repeat(self.reshape(x, x.ne[0], 1, x.ne[1]), x.ne[0], self.streams, x.ne[1])

    def hashed(self) -> Tensor:
        """Rows of a table that hashes of the last tokens name, [width, n_tokens] (build_inp_ple)."""
        m, n, table = self.m, self.r.n_tokens, self.top("per_layer_token_embd.weight")
        if table is None:
            raise GraphUnknown("per_layer_token_embd.weight")
        heads = (m.positive("ple.ngram_size") - 1) * m.positive("ple.heads_per_ngram")
        rows = self.get_rows(table, self.input(I32, heads * n, name="ple_rows"))
        return self.expand(self.reshape(rows, rows.ne[0] * heads, n))

    # streams

    def mixed(self, x: Tensor, names: tuple[str, ...], il: int) -> tuple[Tensor, Tensor]:
        """One stream of all, [n_embd, tokens], and their normed states, [streams × n_embd, tokens] (build_hc_mix).

        `names`: of the norm, and of the projections down and up.
        """
        m, d, hc, n = self.m, x.ne[0], self.streams, x.ne[2]
        norm, down, up = (m.weight(il if il >= 0 else "", name + ".weight") for name in names)
        if norm is None or down is None or up is None:
            raise GraphUnknown(names[0])
        normed = self.reshape(self.mul(self.rms_norm(x), norm), d * hc, n)
        gate = self.mm(up, self.unary(self.scale(self.mm(down, normed))))
        if il >= 0:
            fused = (self.reshape(t, d, hc, n) for t in (normed, gate))
            return self.custom("dsv4_hc_pre", F32, (d, n), *fused), normed
        gated = self.reshape(self.mul(normed, self.unary(gate)), d, hc, n)
        one = [self.view(gated, (d, n), (gated.nb[2],)) for _ in range(hc)]
        total = self.cont(one[0])
        for part in one[1:]:
            total = self.add(total, part)
        return self.scale(total), normed

    def combined(self, x: Tensor, out: Tensor, inject: Tensor) -> Tensor:
        """A branch's output added to each stream by its weight: [n_embd, streams, tokens] (build_hc_combine)."""
        weights = self.scale(self.unary(self.scale(inject)))
        return self.custom("dsv4_hc_post", F32, (x.ne[0], self.streams, x.ne[2]), out, x, weights)

    def branch(self, x: Tensor, il: int, name: str) -> tuple[Tensor, Tensor]:
        """What a branch reads, [n_embd, tokens], and by how much each stream takes its output, [streams, tokens]."""
        cur, normed = self.mixed(x, (f"hc_{name}_norm", f"hc_{name}_down", f"hc_{name}_up"), il)
        return cur, self.mm(self.w(il, f"hc_{name}_inject"), normed)

    def layer(self, x: Tensor, il: int) -> Tensor:
        """Delta net or attention, then experts, on mixed streams: [n_embd, streams, tokens] in and out."""
        m = self.m
        if m.weight(il, "ple_key.weight") is not None:
            x = self.with_ngrams(x, il)
        cur, inject = self.branch(x, il, "attn")
        self.expand(cur)
        cur = self.linear(cur, il) if m.recurrent(il) else self.gated_attention(cur, il)
        if self.last(il) and not self.r.keeps_states:
            flat = self.reshape(x, m.n_embd * self.streams, x.ne[2])
            cur, inject, flat = self.rows_out(il, cur, inject, flat)
            x = self.reshape(flat, m.n_embd, self.streams, flat.ne[1])
        x = self.combined(x, cur, inject)
        cur, inject = self.branch(x, il, "ffn")
        return self.combined(x, self.feed(cur, il), inject)

    def head_norm(self, x: Tensor) -> Tensor:
        """The last mix, which has a norm in it: [n_embd, n_outputs] of [n_embd, streams, n_outputs]."""
        return self.mixed(x, ("output_hc_norm", "output_hc_down", "output_hc_up"), -1)[0]

    def build(self) -> None:
        """Embeddings, layers, the last mix, logits (src/models/qwen4exp.cpp)."""
        x = self.placed(self.embedded())
        self.inputs()
        self.output_ids()
        self.logits(self.head_norm(self.body(x)))

    # states

    def state(self, il: int, which: str) -> Tensor:
        """As any layer's; "p" is the history of n-gram embeddings, [elements, n_seqs], f32."""
        if which != "p" or (il, which) in self.states:
            return super().state(il, which)
        r = self.r
        t = self.states[il, which] = external(F32, (self.history() * self.streams * self.m.n_embd, r.n_seqs))
        t.buf = r.layer_buf[il] if r.layer_buf and r.offload_kqv else r.host_buf
        return t

    def history(self) -> int:
        """Columns that the convolution over n-gram embeddings keeps (ple_conv_state, src/llama-hparams.cpp)."""
        return (self.m.positive("ple.conv_kernel") - 1) * self.m.positive("ple.ngram_size")

    def kept_columns(self, il: int, which: str, x: Tensor, columns: int) -> Tensor:
        """A state's columns in front of this batch's, the last ones kept as copies (build_conv_state_at).

        [columns + n_seq_tokens, channels, n_seqs] of [channels, n_seq_tokens, n_seqs].
        """
        state, seqs, channels = self.state(il, which), self.r.n_seqs, x.ne[0]
        old = self.reshape(self.gathered(state), columns, channels, seqs)
        x = self.concat(old, self.transpose(x), 0)
        for _ in range(self.r.n_states):
            tail = self.cont(self.view(x, (columns, channels, seqs), x.nb[1:3]))
            self.store(tail, state, columns * channels, seqs)
        return x

    def conv_input(self, il: int, x: Tensor, kernel: int, channels: int, *, flat: bool = False) -> Tensor:  # noqa: ARG002
        """As in other delta nets, but for the copies."""
        return self.kept_columns(il, "r", x, kernel - 1)

    def with_ngrams(self, x: Tensor, il: int) -> Tensor:
        """N-gram embeddings added, gated by how well they fit the states: [n_embd, streams, n_tokens] (build_ple)."""
        emb, d, hc, n = self.ngram, self.m.n_embd, self.streams, self.r.n_tokens
        if emb is None:
            raise GraphUnknown(f"{self.m.arch}.ple.layers")

        def _grouped(t: Tensor, name: str) -> Tensor:
            return self.mul(self.rms_norm(self.reshape(t, d, hc, n)), self.w(il, name))

        key, value = (self.mm(self.w(il, name), emb) for name in ("ple_key", "ple_value"))
        key, query = _grouped(key, "ple_norm_key"), _grouped(x, "ple_norm_query")
        fit = self.scale(self.sum_rows(self.mul(key, query)))
        size = self.sqrt(self.clamp(self.unary(fit)))
        gate = self.unary(self.mul(self.unary(fit), size))
        gated = self.mul(self.spread(value), gate)
        normed = self.reshape(_grouped(self.reshape(gated, d * hc, n), "ple_norm_conv"), d * hc, n)
        out = self.unary(self.dilated(normed, il))
        out = self.reshape(self.cont(out), d, hc, n)
        return self.add(x, self.add(gated, out))

    def dilated(self, x: Tensor, il: int) -> Tensor:
        """A convolution that skips tokens, as a sum of shifted copies: [channels, n_seq_tokens, n_seqs]."""
        n, seqs, channels, kernel = self.n_seq_tokens, self.r.n_seqs, x.ne[0], self.w(il, "ple_conv1d")
        wide = self.kept_columns(il, "p", self.reshape(x, channels, n, seqs), self.history())
        total = None
        for _ in range(self.m.positive("ple.conv_kernel")):
            shifted = self.cont(self.transpose(self.view(wide, (n, channels, seqs), wide.nb[1:3])))
            column = self.reshape(self.cont(self.view(kernel, (1, channels), (kernel.nb[1],))), channels)
            if column.elem[2].lower() != "f32":
                column = self.cast(column, F32)
            term = self.mul(shifted, column)
            total = term if total is None else self.add(total, term)
        assert total is not None
        return total

    # attention

    def scaled(self, x: Tensor, il: int, name: str) -> Tensor:
        """A product and its scale where the file has one, without a bias (build_lora_mm)."""
        return self.lin(x, il, name, bias=False)

    def gated_attention(self, x: Tensor, il: int) -> Tensor:
        """Attention whose query carries an output gate: [n_embd, n_tokens] in and out (build_layer_attn)."""
        m, n = self.m, self.r.n_tokens
        d, heads, kv = m.head_v(il), m.n_head(il), m.n_head_kv(il)
        picks = self.pools is not None and m.per_layer("attention.compress_ratios", il, 0) > 0
        mask = self.best_blocks(x, il) if picks else None
        both = self.scaled(x, il, "attn_q")
        q, gate = (self.view(both, (d, heads, n), (8 * d, 8 * d * heads)) for _ in "qg")
        q = self.normed(q, il, "attn_q_norm")
        k, v = (self.reshape(self.scaled(x, il, name), d, kv, n) for name in ("attn_k", "attn_v"))
        k = self.normed(k, il, "attn_k_norm")
        gate = self.cont(gate, d * heads, n)
        q, k = self.rope(q, self.pos), self.rope(k, self.pos)
        cur = self.attend(il, q, k, v, wo=None) if mask is None else self.attend_masked(il, q, k, v, mask)
        return self.scaled(self.mul(cur, self.unary(gate)), il, "attn_output")

    def attend_masked(self, il: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """Attention under a mask of its own: [head_dim × heads, n_tokens] (build_attn_qsa)."""
        usual = self.base.mask
        self.base.mask = mask
        cur = self.attend(il, q, k, v, wo=None)
        self.base.mask = usual
        return cur

    def pooled(self, x: Tensor, il: int) -> Tensor:
        """A key of each block, [index_dim, 1, blocks]: the mean of its tokens', normed and rotated.

        Keys of this batch's tokens are stored first, pooled ones behind them in the rows of blocks' last tokens.
        """
        p, r, n = self.pools, self.r, self.r.n_tokens
        assert p is not None
        d, c = p.dim, p.cache
        raw = self.mm(self.w(il, "indexer.k_proj"), x)
        both = self.concat(raw, self.fill(self.leaf(F32, d, n)), 0)
        t = c.k[il] = external(c.elem_k, (2 * d, c.cells, r.n_stream))
        t.buf = r.layer_buf[il] if r.layer_buf and r.offload_kqv else r.host_buf
        self.store_k(c, il, self.reshape(both, 2 * d, 1, n))
        of_tokens, of_blocks = (self.view(t, (d, c.cells * r.n_stream), (t.nb[1],)) for _ in "tb")
        rows = self.get_rows(of_tokens, self.reshape(p.new_members, p.size * p.new))
        rows = self.reshape(rows, d, p.size, p.new)
        parts = [self.view(rows, (d, p.new), (rows.nb[2],)) for _ in range(p.size)]
        total = self.cont(parts[0])
        for part in parts[1:]:
            total = self.add(total, part)
        new = self.normed(self.scale(total), il, "indexer.k_norm")
        new = self.reshape(self.rope(self.reshape(new, d, 1, p.new), p.new_pos), d, p.new)
        self.expand(self.set_rows(of_blocks, new, p.new_at))
        return self.reshape(self.get_rows(of_blocks, p.cells), d, 1, p.n)

    def best_blocks(self, x: Tensor, il: int) -> Tensor:
        """The attention mask, opened for the tokens of the best blocks and those behind the last one only.

        Source: build_qsa_sel (src/models/qwen4exp.cpp). Each place that was not filled writes to a column of its own
        behind the cells: [cells + places, n_tokens], of which the cells are seen.
        """
        p, n, usual = self.pools, self.r.n_tokens, self.base.mask
        assert p is not None
        keys = self.pooled(x, il)
        q = self.reshape(self.mm(self.w(il, "indexer.q_proj"), x), p.dim, p.heads, n)
        q = self.rope(self.normed(q, il, "indexer.q_norm"), self.pos)
        weights = self.fill(self.leaf(F32, p.heads, n))
        score = self.custom("lightning_indexer", F32, (p.n, n), q, keys, weights, p.mask)
        top = self.top_k(score, p.top)
        chosen = self.get_rows(p.members, self.reshape(top, p.top * n))
        chosen = self.expand(self.concat(self.reshape(chosen, p.size * p.top, n), p.tail, 0))
        places, cells = chosen.ne[0], usual.ne[0]
        closed, opened = (
            self.reshape(self.repeat(self.fill(self.leaf(usual.elem, w)), w, n), 1, w, n)
            for w in (cells + places, places)
        )
        ids = self.live_or_dumped(chosen, score, top)
        mask = self.set_rows(closed, opened, self.reshape(ids, places, n, 1))
        row = mask.nb[2]
        mask = self.view(mask, usual.ne, (row, row * usual.ne[1], row * usual.ne[1] * usual.ne[2]))
        return self.reshape(self.add(mask, usual), *usual.ne)

    def live_or_dumped(self, chosen: Tensor, score: Tensor, top: Tensor) -> Tensor:
        """Where each place writes: its token where it is seen, else a column of its own: [places, n_tokens], i32."""
        p, n = self.pools, self.r.n_tokens
        assert p is not None
        best = self.get_rows(self.reshape(score, 1, p.n, n), top)
        seen = self.clamp(self.scale(best))
        seen = self.reshape(self.repeat(seen, p.size, p.top, n), p.size * p.top, n)
        tail = self.clamp(self.scale(self.cast(p.tail, F32)))
        live = self.concat(seen, tail, 0)
        dump = self.scale(self.custom("cumsum", F32, live.ne, self.fill(live)))
        ids = self.cast(chosen, F32)
        return self.cast(self.add(self.mul(self.sub(ids, dump), live), dump), I32)
