"""Drafts of a whole block at once (DFlash, DSpark, DFlash 2), in a context beside the target's.

Source: src/models/dflash.cpp (b11434). llama.cpp reserves for a batch of tokens; each sequence's are one block.
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.drafts import Draft
from inspector.memory.engines.llamacpp.graph.model import GraphUnknown
from inspector.memory.engines.llamacpp.graph.tensor import F32, I32, Tensor

ROPE_SECTIONS = 4


class DFlash(Draft):
    """Attention over the cache of the target's features and over the block; heads of later kinds behind it."""

    def build(self) -> None:
        """Embeddings, layers, logits, and the heads that the file has (llama_model_dflash::graph)."""
        m = self.m
        self.four = any(m.whole_numbers("rope.dimension_sections")[:ROPE_SECTIONS])
        self.pos = self.positions(ROPE_SECTIONS if self.four else 1)
        self.inputs()
        tokens, x = self.token_embeddings()
        if m.number("embedding_scale", 0.0):
            x = self.scale(x)
        x = self.norm(self.body(x), self.top("output_norm.weight"))
        x.is_output = True
        self.drafted(self.expand(self.spread(self.read_out(x))), x, tokens)

    def drafted(self, logits: Tensor, x: Tensor, tokens: Tensor) -> None:
        """What the heads that the file has make of logits, [n_vocab, n_tokens], and hidden states `x`."""
        if self.top("markov_w1.weight") is not None:
            logits = self.chained(logits, x, tokens)
        if self.top("selector_hidden.weight") is not None:
            self.selected(logits, x, tokens)
        self.kept_logits(logits)

    def part(self, il: int | str, name: str) -> Tensor:
        """A weight by its full name. Raises GraphUnknown where the file has none."""
        t = self.m.weight(il, name)
        if t is None:
            raise GraphUnknown(name)
        return t

    def read_out(self, x: Tensor) -> Tensor:
        """Logits of every token, [rows of the output, n_tokens]; for a selector, as the target would give them."""
        m = self.m
        logits = self.read_by_head(x, tied=True, scaled=True)
        if self.top("selector_hidden.weight") is None:
            return logits
        if m.number("logit_scale", 0.0):
            logits = self.scale(logits)
        if m.number("final_logit_softcapping", 0.0) > 0:
            logits = self.scale(self.unary(self.scale(logits)))
        return logits

    # layers

    def layer(self, x: Tensor, il: int) -> Tensor:
        """Attention and feed-forward, each between convolutions and before a norm where the file has them."""
        cur, mixing = self.mixed_in(self.normed(x, il, "attn_norm"), il, "attn_conv")
        cur = self.attention(cur, il)
        if self.m.number("attention.value_scale", 0.0):
            cur = self.scale(cur)
        cur = self.after(self.mixed_out(cur, mixing, il, "attn_conv"), il, "post_attention_norm")
        mid = self.add(cur, x)
        cur, mixing = self.mixed_in(self.normed(mid, il, "ffn_norm"), il, "ffn_conv")
        cur = self.mixed_out(self.ffn(cur, il, gated=True), mixing, il, "ffn_conv")
        cur = self.add(self.after(cur, il, "post_ffw_norm"), mid)
        out = self.wo(il, "layer_output_scale")
        return cur if out is None else self.mul(cur, out)

    def after(self, x: Tensor, il: int, name: str) -> Tensor:
        """A norm that some files have."""
        return x if self.wo(il, name) is None else self.normed(x, il, name)

    def attention(self, x: Tensor, il: int) -> Tensor:
        """Attention, values being the keys where the layer has no projection for them."""
        m, n = self.m, self.r.n_tokens
        d, kv = m.head_v_full, m.n_head_kv(0)
        q, k = self.lin(x, il, "attn_q"), self.lin(x, il, "attn_k")
        own = self.wo(il, "attn_v") is not None
        v = self.lin(x, il, "attn_v") if own else k
        q, k, v = self.reshape(q, d, m.n_head(0), n), self.reshape(k, d, kv, n), self.reshape(v, d, kv, n)
        q, k = self.qk_normed(q, k, il, "rms")
        v = v if own else self.rms_norm(v)
        factors = None if self.four else self.rope_factors(0)  # the first layer's, whichever layer it is
        q, k = self.rope(q, self.pos, factors), self.rope(k, self.pos, factors)
        return self.attend(il, q, k, v, sinks=m.weight(il, "attn_sinks.weight"))

    # DFlash 2: a short convolution over the block, its kernel made of the input (build_dflash2_conv)

    def mixed_in(self, x: Tensor, il: int, name: str) -> tuple[Tensor, Tensor | None]:
        """The input, mixed with the block's earlier tokens where the layer does so, and the kernels made of it."""
        if self.wo(il, name + "_proj") is None:
            return x, None
        kernels = self.mm(self.w(il, name + "_proj"), x)
        return self.convolved(x, kernels, il, name), kernels

    def mixed_out(self, x: Tensor, kernels: Tensor | None, il: int, name: str) -> Tensor:
        """The same of what comes out, by the other half of the kernels."""
        return x if kernels is None else self.convolved(x, kernels, il, name)

    def convolved(self, x: Tensor, kernels: Tensor, il: int, name: str) -> Tensor:
        """[n_embd, n_tokens] in and out; `kernels`: [2 × taps × groups, n_tokens], on the layer's own."""
        m, n, blocks = self.m, self.r.n_tokens, self.r.n_seqs
        taps, group = m.positive("conv_kernel_size"), m.positive("conv_group_size")
        wide, block = x.ne[0], n // blocks
        groups = wide // group
        x = self.reshape(x, wide, block, blocks)
        both = self.reshape(kernels, groups, taps, 2, n)
        own = self.cont(self.view(both, (groups, taps, n), (both.nb[1], both.nb[3])))
        own = self.repeat(self.reshape(own, 1, groups, taps, n), group, groups, taps, n)
        base = self.reshape(self.view(self.part(il, name + "_base"), (wide * taps,)), group, groups, taps, 1)
        kernel = self.add(own, base)
        total: Tensor | None = None
        for tap in range(min(taps, block)):
            cur = x
            if tap:
                cur = self.pad(self.view(x, (wide, block - tap, blocks), x.nb[1:3]), 0, tap)
            at = self.cont(self.view(kernel, (group, groups, 1, n), kernel.nb[1:]))
            term = self.mul(self.reshape(at, wide, n), self.reshape(cur, wide, n))
            total = term if total is None else self.add(total, term)
        assert total is not None
        return total

    # DSpark: each position's logits lean on the one before (build_dspark_markov_head)

    def chained(self, logits: Tensor, hidden: Tensor, tokens: Tensor) -> Tensor:
        """Logits of [n_vocab, n_tokens], each block's positions one after the other.

        As they are where a sequence's tokens are more than a block: so is it where prompts are reserved for.
        """
        m, n, blocks = self.m, self.r.n_tokens, self.r.n_seqs
        length = n // blocks
        if length > m.positive("block_size"):
            return logits
        first = 0 if m.key("sample_from_anchor", True) else 1
        sure = self.top("conf_proj.weight")
        wide = logits.ne[0]
        every, sures = (None, None) if first == 0 else self.passed_through(logits, sure, length)
        before = self.cont(self.view(tokens, (1, blocks), (length * tokens.nb[0],)), blocks)
        for i in range(first, length):
            seen = self.get_rows(self.part("", "markov_w1.weight"), before)
            column = self.add(self.column(logits, wide, length), self.leaning(seen))
            every = column if every is None else self.concat(every, column, 1)
            if sure is not None:
                one = self.confidence(self.column(hidden, hidden.ne[0], length), seen, sure)
                sures = one if sures is None else self.concat(sures, one, 1)
            if i + 1 < length:
                before = self.custom("argmax", I32, (column.ne[1],), column)
        assert every is not None
        if sures is not None:
            found = self.repeat(self.in_blocks(sures, length), *hidden.ne)
            found.is_output = True
            self.expand(found)
        return self.expand(self.in_blocks(every, length))

    def column(self, x: Tensor, wide: int, length: int) -> Tensor:
        """One position of every block: [wide, n_seqs], a view of [.., n_tokens]."""
        return self.view(x, (wide, self.r.n_seqs), (length * x.nb[1],))

    def passed_through(self, logits: Tensor, sure: Tensor | None, length: int) -> tuple[Tensor, Tensor | None]:
        """The first position where it is the token already there: its logits, and something in confidence's place."""
        every = self.cont(self.column(logits, logits.ne[0], length))
        return every, None if sure is None else self.unary(self.cont(self.column(logits, 1, length)))

    def leaning(self, seen: Tensor) -> Tensor:
        """What the token before adds to all logits: [n_vocab, n_seqs]."""
        bias = self.mm(self.part("", "markov_w2.weight"), seen)
        scale = self.top("markov_w2.scale")
        return self.spread(bias if scale is None else self.mul(bias, scale))

    def confidence(self, hidden: Tensor, seen: Tensor, sure: Tensor) -> Tensor:
        """How sure the draft is of one position of each block: [1, n_seqs]."""
        cur = self.mm(sure, self.concat(self.cont(hidden), seen, 0))
        bias = self.top("conf_proj.bias")
        return self.unary(cur if bias is None else self.add(cur, bias))

    def in_blocks(self, x: Tensor, length: int) -> Tensor:
        """Columns of one position after the other, in the batch's order: [.., n_tokens] in and out."""
        wide, blocks = x.ne[0], self.r.n_seqs
        x = self.cont(self.permute(self.reshape(x, wide, blocks, length), 0, 2, 1, 3))
        return self.reshape(x, wide, blocks * length)

    # DFlash 2: candidates of each position, and how well they follow one another (build_dflash2_selector)

    def selected(self, logits: Tensor, hidden: Tensor, tokens: Tensor) -> None:
        """A row of [n_embd] a position: candidates and scores of all pairs, packed."""
        m, n, blocks = self.m, self.r.n_tokens, self.r.n_seqs
        top, rank = m.positive("selector_top_k"), m.positive("selector_rank")
        per = n // blocks
        length = min(per, m.positive("block_size"))
        best = self.top_k(logits, top)
        scores = self.get_rows(self.reshape(logits, 1, logits.ne[0], n), best)
        scores = self.reshape(scores, top, n)
        gate = self.lin_top(hidden, "selector_hidden")
        best, scores = self.reshape(best, top, per, blocks), self.reshape(scores, top, per, blocks)
        self.runs = (best, scores, self.reshape(gate, rank, per, blocks))
        packed = self.fill(self.leaf(F32, m.n_embd, 1, blocks))
        if length > 1:
            first = self.cont(self.view(tokens, (1, blocks), (per * tokens.nb[0],)), blocks)
            packed = self.concat(packed, self.pairs(1, first), 1)
        if length > 2:
            earlier = self.cont(self.view(best, (top, length - 2, blocks), best.nb[1:3]))
            earlier = self.reshape(earlier, top * (length - 2) * blocks)
            packed = self.concat(packed, self.pairs(length - 2, earlier), 1)
        packed = self.reshape(packed, m.n_embd, length * blocks)
        (packed.root or packed).is_output = True
        self.expand(packed)

    def lin_top(self, x: Tensor, name: str) -> Tensor:
        """A projection outside the layers."""
        return self.mm(self.part("", name + ".weight"), x)

    def pairs(self, n: int, before: Tensor) -> Tensor:
        """`n` positions: candidates and their scores behind each of `before`, padded to [n_embd, n, n_seqs]."""
        m, blocks = self.m, self.r.n_seqs
        best, scores, gate = (self.cont(self.view(t, (t.ne[0], n, blocks), t.nb[1:3])) for t in self.runs)
        top, rank = best.ne[0], gate.ne[0]
        each = before.ne[0] // (n * blocks)
        after = self.get_rows(self.part("", "selector_successor.weight"), self.reshape(best, top * n * blocks))
        after = self.reshape(after, rank, top, n, blocks)
        earlier = self.get_rows(self.part("", "selector_predecessor.weight"), before)
        earlier = self.reshape(earlier, rank, each, n, blocks)
        gates = self.repeat(self.reshape(gate, rank, 1, n, blocks), *earlier.ne)
        found = self.mm(after, self.mul(earlier, gates))
        if each == 1:
            found = self.repeat(found, top, top, n, blocks)
        found = self.add(found, self.repeat(self.reshape(scores, top, 1, n, blocks), *found.ne))
        row = self.concat(self.cast(best, F32), self.reshape(found, top * top, n, blocks), 0)
        return self.pad(row, m.n_embd - top - top * top)
