"""RWKV 6 and 7: recurrent layers of time mixing and channel mixing, in a frame of their own or a transformer's.

Source: src/models/rwkv6-base.cpp, rwkv7-base.cpp, rwkv6.cpp, rwkv7.cpp, rwkv6qwen2.cpp, arwkv7.cpp (b11434). Shapes are
innermost-first, as in ggml: `n_embd` elements of `n_seq_tokens` tokens of `n_seqs` sequences, or of `n_tokens` in all;
`hs` is `wkv.head_size`, `heads` how many of them make `n_embd`.
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.recurrent import Recurrent
from inspector.memory.engines.llamacpp.graph.tensor import F32, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Rwkv(Recurrent):
    """Time mixing by a matrix state, channel mixing by the previous token."""

    def build(self) -> None:
        """Embeddings, layers, norm and logits (llm_build_rwkv6, llm_build_rwkv7)."""
        m = self.m
        x = self.embed()
        if self.o.embed == "norm":
            x = self.norm(x, self.top("token_embd_norm.weight"), self.top("token_embd_norm.bias"), "layer", 0)
        self.inputs()
        self.head_dim = m.positive("wkv.head_size")
        self.output_ids()
        self.first_v: Tensor | None = None
        for il in self.layer_ids:
            x = self.layer(x, il)
        kind = self.o.norms.kind
        self.logits(self.norm(x, self.top("output_norm.weight"), self.top("output_norm.bias"), kind))

    def kind(self, il: int) -> tuple[object, ...] | None:
        """As any layer's; the first stands alone (it gives the values that others mix in), and so do rescaled ones."""
        base = super().kind(il)
        return None if base is None else (*base, il == 0, self.rescales(il))

    def rescales(self, il: int) -> bool:
        """Whether the layer's output is halved: every `rescale_every_n_layers`-th, where that key is set."""
        every = self.m.count("rescale_every_n_layers", 0)
        return bool(every) and (il + 1) % every == 0

    def vec(self, il: int, name: str) -> Tensor:
        """A weight of time mixing that must be there: `blk.N.time_mix_{name}.weight`. Raises GraphUnknown."""
        return self.w(il, "time_mix_" + name)

    def opt(self, il: int, name: str) -> Tensor | None:
        """A weight of time mixing that may be there."""
        return self.wo(il, "time_mix_" + name)

    def previous(self, shift: Tensor, x: Tensor) -> Tensor:
        """Each token's predecessor: the kept one, then this batch's but the last; of `x`'s shape.

        `x`: [n_embd, n_seq_tokens, n_seqs], `shift`: [n_embd, 1, n_seqs].
        """
        rest = self.view(x, (x.ne[0], self.n_seq_tokens - 1, x.ne[2]), x.nb[1:3])
        return self.concat(shift, rest, 1)

    def kept_tokens(self, il: int) -> Tensor:
        """The last tokens of the batch before: [n_embd, token shifts, n_seqs] (build_rwkv_token_shift_load)."""
        e = self.m.n_embd
        return self.reshape(self.gathered(self.state(il, "r")), e, self.size_r // e, self.r.n_seqs)

    def last_token(self, x: Tensor) -> Tensor:
        """The last token of each sequence: [n_embd, 1, n_seqs] of [n_embd, n_seq_tokens, n_seqs]."""
        return self.view(x, (x.ne[0], 1, x.ne[2]), x.nb[1:3])

    def layer(self, x: Tensor, il: int) -> Tensor:
        """Time mixing and channel mixing, each on its norm and with a residual: [n_embd, n_tokens] in and out."""
        e, seqs, tokens = self.m.n_embd, self.r.n_seqs, self.r.n_tokens
        x = self.reshape(x, e, self.n_seq_tokens, seqs)
        kept = self.kept_tokens(il)
        att_shift, ffn_shift = (self.view(kept, (e, 1, seqs), kept.nb[1:3]) for _ in range(2))
        att = self.normed(x, il, "attn_norm", "layer")
        cur = self.time_mix(att, self.previous(att_shift, att), il)
        ffn_in = self.add(cur, x)
        ffn = self.normed(ffn_in, il, "attn_norm_2", "layer")
        prev = self.previous(ffn_shift, ffn)
        self.store_shift(self.concat(self.last_token(att), self.last_token(ffn), 1), self.state(il, "r"))
        ffn_in, ffn, prev = (self.reshape(t, e, tokens) for t in (ffn_in, ffn, prev))
        ffn_in, ffn, prev = self.rows_out(il, ffn_in, ffn, prev)
        out = self.add(self.channel_mix(ffn, prev, il), ffn_in)
        return self.scale(out) if self.rescales(il) else out

    def store_shift(self, t: Tensor, state: Tensor) -> None:
        """Keep the last tokens, [n_embd, token shifts, n_seqs], for the next batch (build_rwkv_token_shift_store)."""
        flat = self.view(t, (t.ne[0] * t.ne[1] * t.ne[2],))
        self.store(flat, state, self.size_r * self.r.n_seqs)

    def channel_mix(self, x: Tensor, prev: Tensor, il: int) -> Tensor:
        """The feed-forward: key and value, gated by a receptance in RWKV 6; [n_embd, n_tokens] all.

        Source: build_rwkv6_channel_mix, build_rwkv7_channel_mix.
        """
        delta = self.sub(prev, x)
        mixed = self.add(self.mul(delta, self.w(il, "channel_mix_lerp_k")), x)
        if self.wo(il, "channel_mix_receptance") is None:
            k = self.sqr(self.unary(self.lin(mixed, il, "channel_mix_key")))
            return self.lin(k, il, "channel_mix_value")
        received = self.add(self.mul(delta, self.w(il, "channel_mix_lerp_r")), x)
        r = self.unary(self.lin(received, il, "channel_mix_receptance"))
        k = self.sqr(self.unary(self.lin(mixed, il, "channel_mix_key")))
        return self.mul(r, self.lin(k, il, "channel_mix_value"))

    def time_mix(self, x: Tensor, prev: Tensor, il: int) -> Tensor:
        """What stands in attention's place: [n_embd, n_seq_tokens, n_seqs] of tokens and their predecessors."""
        raise NotImplementedError

    def low_rank(self, x: Tensor, il: int, name: str, *, activated: bool = False) -> Tensor:
        """Two narrow products with `{name}1` and `{name}2`, an activation between them where asked: `x`'s shape."""
        inner = self.mm(self.vec(il, name + "1"), x)
        return self.mm(self.vec(il, name + "2"), self.unary(inner) if activated else inner)

    def heads(self, t: Tensor) -> Tensor:
        """[n_embd, n_tokens] as [hs, heads, n_tokens]."""
        return self.reshape(t, self.head_dim, self.m.n_embd // self.head_dim, self.r.n_tokens)

    def wkv(self, op: str, il: int, *src: Tensor) -> Tensor:
        """The recurrent kernel; writes the new state back and returns this batch's output, [n_embd × n_tokens].

        Its result holds both: n_embd rows of n_tokens, then hs for each sequence (ggml_rwkv_wkv6, ggml_rwkv_wkv7).
        """
        e, tokens, seqs = self.m.n_embd, self.r.n_tokens, self.r.n_seqs
        state = self.gathered(self.state(il, "s"))
        out = self.custom(op, F32, (e, tokens + self.head_dim * seqs), *src, state)
        cur = self.view(out, (e * tokens,))
        self.store(self.view(out, (e * self.head_dim * seqs,)), self.state(il, "s"), self.size_s * seqs)
        return cur

    def head_norm(self, cur: Tensor, il: int) -> Tensor:
        """A norm of each head where the layer has weights for it: [n_embd, n_tokens] of [n_embd × n_tokens]."""
        e, tokens = self.m.n_embd, self.r.n_tokens
        if self.opt(il, "ln") is None:
            return self.reshape(cur, e, tokens)
        cur = self.reshape(self.layer_norm(self.heads(cur)), e, tokens)
        cur = self.mul(cur, self.vec(il, "ln"))
        b = self.m.weight(il, "time_mix_ln.bias")
        return cur if b is None else self.add(cur, b)

    def projected(self, cur: Tensor, il: int) -> Tensor:
        """The output projection: [n_embd, n_seq_tokens, n_seqs] of [n_embd, n_tokens]."""
        return self.reshape(self.lin(cur, il, "time_mix_output"), self.m.n_embd, self.n_seq_tokens, self.r.n_seqs)


class Rwkv7(Rwkv):
    """Generalised delta rule; the first layer's values are mixed into the others' (build_rwkv7_time_mix)."""

    def time_mix(self, x: Tensor, prev: Tensor, il: int) -> Tensor:
        """[n_embd, n_seq_tokens, n_seqs] of tokens and their predecessors; r, w, k, v and a are the kernel's names."""
        gated = self.opt(il, "g1") is not None and self.opt(il, "g2") is not None
        xr, xw, xk, xv, xa, xg = self.interpolated(x, prev, il, 6 if gated else 5)
        r, w = self.lin(xr, il, "time_mix_receptance"), self.decay(xw, il)
        k, v = self.lin(xk, il, "time_mix_key"), self.mixed_value(xv, il)
        g = self.low_rank(xg, il, "g", activated=True) if gated else None
        a = self.unary(self.add(self.low_rank(xa, il, "a"), self.vec(il, "a0")))
        kk = self.l2_norm(self.heads(self.mul(k, self.vec(il, "k_k"))))
        ka = self.mul(k, self.vec(il, "k_a"))
        k = self.add(k, self.sub(self.mul(a, ka), ka))
        r, w, k, v, a = map(self.heads, (r, w, k, v, a))
        cur = self.wkv("rwkv_wkv7", il, r, w, k, v, self.unary(kk), self.mul(kk, a))
        cur = self.add(self.head_norm(cur, il), self.bonus(r, k, v, il))
        return self.projected(cur if g is None else self.mul(cur, g), il)

    def interpolated(self, x: Tensor, prev: Tensor, il: int, parts: int) -> Iterator[Tensor]:
        """Tokens moved towards their predecessors, once for each of r, w, k, v, a and g: six of [n_embd, n_tokens].

        Without a gate (`parts` is 5) the last of them is not read.
        """
        e, tokens = self.m.n_embd, self.r.n_tokens
        delta = self.repeat(self.sub(prev, x), e, self.n_seq_tokens, self.r.n_seqs, parts)
        mixed = self.add(self.mul(delta, self.vec(il, "lerp_fused")), x)
        return (self.view(mixed, (e, tokens), (mixed.nb[1],)) for _ in range(6))

    def decay(self, xw: Tensor, il: int) -> Tensor:
        """How fast each channel's state fades, token by token: [n_embd, n_tokens]."""
        w = self.add(self.low_rank(xw, il, "w", activated=True), self.vec(il, "w0"))
        return self.unary(self.scale(self.unary(w)))

    def mixed_value(self, xv: Tensor, il: int) -> Tensor:
        """Values, [n_embd, n_tokens]; in later layers with a share of the first layer's."""
        v = self.lin(xv, il, "time_mix_value")
        if self.first_v is None:
            self.first_v = v
            return v
        share = self.unary(self.add(self.low_rank(xv, il, "v"), self.vec(il, "v0")))
        return self.add(v, self.mul(self.sub(self.first_v, v), share))

    def bonus(self, r: Tensor, k: Tensor, v: Tensor, il: int) -> Tensor:
        """What the current token adds to its own output: [n_embd, n_tokens] of [hs, heads, n_tokens] each."""
        rk = self.mul(self.mul(k, r), self.reshape(self.vec(il, "r_k"), r.ne[0], r.ne[1]))
        return self.reshape(self.mul(v, self.sum_rows(rk)), self.m.n_embd, self.r.n_tokens)


class Rwkv6(Rwkv):
    """Data-dependent decay (build_rwkv6_time_mix)."""

    def time_mix(self, x: Tensor, prev: Tensor, il: int) -> Tensor:
        """[n_embd, n_seq_tokens, n_seqs] of tokens and their predecessors; r, w, k, v are the kernel's names."""
        xw, xk, xv, xr, xg = self.interpolated(x, prev, il)
        r = self.lin(xr, il, "time_mix_receptance")
        k, v = self.lin(xk, il, "time_mix_key"), self.lin(xv, il, "time_mix_value")
        g = self.unary(self.lin(xg, il, "time_mix_gate"))
        k, v, r = map(self.heads, (*self.every_head(k, v, il), r))
        w = self.decay(xw, il)
        first = self.opt(il, "first")
        if first is None:
            k = self.sub(k, self.mul(k, w))
            cur = self.wkv("gated_linear_attn", il, k, v, r, w)
            cur = self.reshape(cur, self.m.n_embd, self.r.n_tokens)
        else:
            cur = self.head_norm(self.wkv("rwkv_wkv6", il, k, v, r, first, w), il)
        return self.projected(self.mul(cur, g), il)

    def interpolated(self, x: Tensor, prev: Tensor, il: int) -> Iterator[Tensor]:
        """Tokens moved towards their predecessors by shares of their own: for w, k, v, r and g, [n_embd, n_tokens].

        The weights of the five shares are one tensor in newer files, five in older ones.
        """
        e, tokens = self.m.n_embd, self.r.n_tokens
        delta, x = self.reshape(self.sub(prev, x), e, tokens), self.reshape(x, e, tokens)
        shares = self.shares(delta, x, il)
        fused = self.opt(il, "lerp_fused")
        if fused is not None:
            delta, x = self.reshape(delta, e, 1, tokens), self.reshape(x, e, 1, tokens)
            mixed = self.add(self.mul(self.add(shares, fused), delta), x)
            return (self.view(mixed, (e, tokens), (mixed.nb[1],)) for _ in range(5))
        each = (self.view(shares, (e, tokens), (shares.nb[1],)) for _ in range(5))
        return (
            self.add(self.mul(self.add(share, self.vec(il, "lerp_" + c)), delta), x)
            for share, c in zip(each, "wkvrg", strict=True)
        )

    def shares(self, delta: Tensor, x: Tensor, il: int) -> Tensor:
        """By how much each of the five moves, token by token: [n_embd, n_tokens, 1, 5]."""
        w1, w2 = self.vec(il, "w1"), self.vec(il, "w2")
        mixed = self.unary(self.mm(w1, self.add(self.mul(delta, self.vec(il, "lerp_x")), x)))
        mixed = self.reshape(mixed, w1.ne[1] // 5, 1, 5, self.r.n_tokens)
        mixed = self.cont(self.permute(mixed, 0, 1, 3, 2))
        return self.mm(self.reshape(w2, w2.ne[0], w2.ne[1], 1, 5), mixed)

    def every_head(self, k: Tensor, v: Tensor, il: int) -> tuple[Tensor, Tensor]:
        """Keys and values repeated for every head, where there are fewer of them than heads."""
        hs, kv, tokens = self.head_dim, self.m.n_head_kv(il), self.r.n_tokens
        heads = self.m.n_embd // hs
        if kv in (0, heads):
            return k, v
        k, v = (self.repeat(self.reshape(t, hs, 1, kv, tokens), hs, heads // kv, kv, tokens) for t in (k, v))
        return k, v

    def decay(self, xw: Tensor, il: int) -> Tensor:
        """How fast each channel's state fades, token by token: [hs, heads, n_tokens]."""
        w = self.add(self.low_rank(xw, il, "decay_w", activated=True), self.vec(il, "decay"))
        return self.heads(self.unary(self.unary(self.unary(w))))


class QwenLike(Rwkv):
    """RWKV time mixing in a transformer's frame: RMS norms, a gated feed-forward, one token shift."""

    def layer(self, x: Tensor, il: int) -> Tensor:
        """Time mixing in attention's place, then Qwen's feed-forward: [n_embd, n_tokens] in and out.

        Source: src/models/rwkv6qwen2.cpp, arwkv7.cpp.
        """
        e, tokens = self.m.n_embd, self.r.n_tokens
        x = self.reshape(x, e, self.n_seq_tokens, self.r.n_seqs)
        kept = self.kept_tokens(il)
        att = self.normed(x, il, "attn_norm")
        cur = self.time_mix(att, self.previous(kept, att), il)
        self.store_shift(self.last_token(att), self.state(il, "r"))
        ffn_in = self.reshape(self.add(cur, x), e, tokens)
        (ffn_in,) = self.rows_out(il, ffn_in)
        return self.add(self.ffn(self.normed(ffn_in, il, "ffn_norm"), il), ffn_in)


class Rwkv6Qwen(QwenLike, Rwkv6):
    """RWKV 6 time mixing."""


class Rwkv7Qwen(QwenLike, Rwkv7):
    """RWKV 7 time mixing."""
