"""RWKV 6 and 7 (src/models/rwkv*-base.cpp, rwkv6.cpp, rwkv7.cpp, b11434)."""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.recurrent import Recurrent
from inspector.memory.engines.llamacpp.graph.tensor import F32, Tensor


class Rwkv(Recurrent):
    """Time mixing by a matrix state, channel mixing by the previous token."""

    def build(self) -> None:
        m = self.m
        x = self.embed()
        if self.o.embed == "norm":
            x = self.norm(x, self.top("token_embd_norm.weight"), self.top("token_embd_norm.bias"), "layer", 0)
        self.inputs()
        self.head_dim = m.count("wkv.head_size")
        self.output_ids()
        self.first_v: Tensor | None = None
        for il in self.layer_ids:
            x = self.layer(x, il)
        kind = self.o.norms.kind
        self.logits(self.norm(x, self.top("output_norm.weight"), self.top("output_norm.bias"), kind))

    def kind(self, il: int) -> tuple[object, ...] | None:
        every = self.m.count("rescale_every_n_layers", 0)
        base = super().kind(il)
        return None if base is None else (*base, il == 0, bool(every) and (il + 1) % every == 0)

    def vec(self, il: int, name: str) -> Tensor:
        return self.w(il, "time_mix_" + name)

    def opt(self, il: int, name: str) -> Tensor | None:
        return self.wo(il, "time_mix_" + name)

    def previous(self, shift: Tensor, x: Tensor) -> Tensor:
        """Each token's predecessor: the kept one, then this batch's but the last."""
        rest = self.view(x, (x.ne[0], self.n_seq_tokens - 1, x.ne[2]), x.nb[1:3])
        return self.concat(shift, rest, 1)

    def layer(self, x: Tensor, il: int) -> Tensor:
        e, n, seqs, tokens = self.m.n_embd, self.n_seq_tokens, self.r.n_seqs, self.r.n_tokens
        x = self.reshape(x, e, n, seqs)
        shift_state = self.state(il, "r")
        kept = self.reshape(self.gathered(shift_state), e, self.size_r // e, seqs)
        att_shift, ffn_shift = (self.view(kept, (e, 1, seqs), kept.nb[1:3]) for _ in range(2))
        att = self.normed(x, il, "attn_norm", "layer")
        cur = self.time_mix(att, self.previous(att_shift, att), il)
        ffn_in = self.add(cur, x)
        ffn = self.normed(ffn_in, il, "attn_norm_2", "layer")
        prev = self.previous(ffn_shift, ffn)
        last_att, last_ffn = (self.view(t, (e, 1, seqs), t.nb[1:3]) for t in (att, ffn))
        self.store_shift(self.concat(last_att, last_ffn, 1), shift_state)
        ffn_in, ffn, prev = (self.reshape(t, e, tokens) for t in (ffn_in, ffn, prev))
        ffn_in, ffn, prev = self.rows_out(il, ffn_in, ffn, prev)
        out = self.add(self.channel_mix(ffn, prev, il), ffn_in)
        every = self.m.count("rescale_every_n_layers", 0)
        return self.scale(out) if every and (il + 1) % every == 0 else out

    def store_shift(self, t: Tensor, state: Tensor) -> None:
        flat = self.view(t, (t.ne[0] * t.ne[1] * t.ne[2],))
        self.store(flat, state, self.size_r * self.r.n_seqs)

    def channel_mix(self, x: Tensor, prev: Tensor, il: int) -> Tensor:
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
        raise NotImplementedError

    def wkv(self, op: str, il: int, *src: Tensor) -> Tensor:
        """The recurrent kernel; writes the new state back and returns this batch's output."""
        e, tokens, seqs = self.m.n_embd, self.r.n_tokens, self.r.n_seqs
        state = self.gathered(self.state(il, "s"))
        out = self.custom(op, F32, (e, tokens + self.head_dim * seqs), *src, state)
        cur = self.view(out, (e * tokens,))
        self.store(self.view(out, (e * self.head_dim * seqs,)), self.state(il, "s"), self.size_s * seqs)
        return cur

    def head_norm(self, cur: Tensor, il: int) -> Tensor:
        e, tokens, heads = self.m.n_embd, self.r.n_tokens, self.m.n_embd // self.head_dim
        if self.opt(il, "ln") is None:
            return self.reshape(cur, e, tokens)
        cur = self.layer_norm(self.reshape(cur, e // heads, heads, tokens))
        cur = self.reshape(cur, e, tokens)
        cur = self.mul(cur, self.vec(il, "ln"))
        b = self.m.weight(il, "time_mix_ln.bias")
        return cur if b is None else self.add(cur, b)


class Rwkv7(Rwkv):
    """Generalised delta rule; the first layer's values are mixed into the others'."""

    def time_mix(self, x: Tensor, prev: Tensor, il: int) -> Tensor:
        e, n, seqs, tokens = self.m.n_embd, self.n_seq_tokens, self.r.n_seqs, self.r.n_tokens
        heads, hs, vec = e // self.head_dim, self.head_dim, self.vec
        gated = self.opt(il, "g1") is not None and self.opt(il, "g2") is not None
        delta = self.repeat(self.sub(prev, x), e, n, seqs, 6 if gated else 5)
        mixed = self.add(self.mul(delta, vec(il, "lerp_fused")), x)
        xr, xw, xk, xv, xa, xg = (self.view(mixed, (e, tokens), (mixed.nb[1],)) for _ in range(6))
        r = self.lin(xr, il, "time_mix_receptance")
        w = self.mm(vec(il, "w2"), self.unary(self.mm(vec(il, "w1"), xw)))
        w = self.unary(self.scale(self.unary(self.add(w, vec(il, "w0")))))
        k = self.lin(xk, il, "time_mix_key")
        v = self.lin(xv, il, "time_mix_value")
        if self.first_v is None:
            self.first_v = v
        else:
            share = self.mm(vec(il, "v2"), self.mm(vec(il, "v1"), xv))
            share = self.unary(self.add(share, vec(il, "v0")))
            v = self.add(v, self.mul(self.sub(self.first_v, v), share))
        g = self.mm(vec(il, "g2"), self.unary(self.mm(vec(il, "g1"), xg))) if gated else None
        a = self.unary(self.add(self.mm(vec(il, "a2"), self.mm(vec(il, "a1"), xa)), vec(il, "a0")))
        kk = self.l2_norm(self.reshape(self.mul(k, vec(il, "k_k")), hs, heads, tokens))
        ka = self.mul(k, vec(il, "k_a"))
        k = self.add(k, self.sub(self.mul(a, ka), ka))
        r, w, k, v, a = (self.reshape(t, hs, heads, tokens) for t in (r, w, k, v, a))
        cur = self.wkv("rwkv_wkv7", il, r, w, k, v, self.unary(kk), self.mul(kk, a))
        cur = self.head_norm(cur, il)
        rk = self.mul(self.mul(k, r), self.reshape(vec(il, "r_k"), hs, heads))
        cur = self.add(cur, self.reshape(self.mul(v, self.sum_rows(rk)), e, tokens))
        if g is not None:
            cur = self.mul(cur, g)
        return self.reshape(self.lin(cur, il, "time_mix_output"), e, n, seqs)


class Rwkv6(Rwkv):
    """Data-dependent decay."""

    def time_mix(self, x: Tensor, prev: Tensor, il: int) -> Tensor:
        e, n, seqs, tokens = self.m.n_embd, self.n_seq_tokens, self.r.n_seqs, self.r.n_tokens
        heads, hs, vec, kv = e // self.head_dim, self.head_dim, self.vec, self.m.n_head_kv(il)
        linear = self.opt(il, "first") is None
        delta = self.reshape(self.sub(prev, x), e, tokens)
        x = self.reshape(x, e, tokens)
        w1, w2 = vec(il, "w1"), vec(il, "w2")
        mixed = self.unary(self.mm(w1, self.add(self.mul(delta, vec(il, "lerp_x")), x)))
        mixed = self.reshape(mixed, w1.ne[1] // 5, 1, 5, tokens)
        mixed = self.cont(self.permute(mixed, 0, 1, 3, 2))
        mixed = self.mm(self.reshape(w2, w2.ne[0], w2.ne[1], 1, 5), mixed)
        if self.opt(il, "lerp_fused") is not None:
            delta, x = self.reshape(delta, e, 1, tokens), self.reshape(x, e, 1, tokens)
            mixed = self.add(self.mul(self.add(mixed, vec(il, "lerp_fused")), delta), x)
            xw, xk, xv, xr, xg = (self.view(mixed, (e, tokens), (mixed.nb[1],)) for _ in range(5))
        else:
            xw, xk, xv, xr, xg = (
                self.add(
                    self.mul(self.add(self.view(mixed, (e, tokens), (mixed.nb[1],)), vec(il, "lerp_" + c)), delta), x
                )
                for c in "wkvrg"
            )
        r, k, v = (
            self.lin(xr, il, "time_mix_receptance"),
            self.lin(xk, il, "time_mix_key"),
            self.lin(xv, il, "time_mix_value"),
        )
        g = self.unary(self.lin(xg, il, "time_mix_gate"))
        if kv not in (0, heads):
            k, v = (self.repeat(self.reshape(t, hs, 1, kv, tokens), hs, heads // kv, kv, tokens) for t in (k, v))
        k, v, r = (self.reshape(t, hs, heads, tokens) for t in (k, v, r))
        w = self.mm(vec(il, "decay_w2"), self.unary(self.mm(vec(il, "decay_w1"), xw)))
        w = self.add(w, vec(il, "decay"))
        w = self.reshape(self.unary(self.unary(self.unary(w))), hs, heads, tokens)
        if linear:
            k = self.sub(k, self.mul(k, w))
            cur = self.reshape(self.wkv("gated_linear_attn", il, k, v, r, w), e, tokens)
        else:
            cur = self.head_norm(self.wkv("rwkv_wkv6", il, k, v, r, vec(il, "first"), w), il)
        return self.reshape(self.lin(self.mul(cur, g), il, "time_mix_output"), e, n, seqs)


class QwenLike(Rwkv):
    """RWKV time mixing in a transformer's frame: RMS norms, a gated feed-forward, one token shift."""

    def layer(self, x: Tensor, il: int) -> Tensor:
        e, n, seqs, tokens = self.m.n_embd, self.n_seq_tokens, self.r.n_seqs, self.r.n_tokens
        x = self.reshape(x, e, n, seqs)
        shift_state = self.state(il, "r")
        kept = self.reshape(self.gathered(shift_state), e, self.size_r // e, seqs)
        att = self.normed(x, il, "attn_norm")
        cur = self.time_mix(att, self.previous(kept, att), il)
        self.store_shift(self.view(att, (e, 1, seqs), att.nb[1:3]), shift_state)
        ffn_in = self.reshape(self.add(cur, x), e, tokens)
        (ffn_in,) = self.rows_out(il, ffn_in)
        return self.add(self.ffn(self.normed(ffn_in, il, "ffn_norm"), il), ffn_in)


class Rwkv6Qwen(QwenLike, Rwkv6):
    """RWKV 6 time mixing."""


class Rwkv7Qwen(QwenLike, Rwkv7):
    """RWKV 7 time mixing."""
