"""Recurrent layers and the models built from them, alone or mixed with attention.

Source: llm_graph_context::build_rs in src/llama-graph.cpp; src/models/mamba-base.cpp, delta-net-base.cpp, lfm2.cpp
(b11434). Fused kernels are on wherever a device has them, as on the CPU.
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp_graph.decoder import Decoder
from inspector.memory.engines.llamacpp_graph.model import external
from inspector.memory.engines.llamacpp_graph.tensor import F32, I32, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


class Recurrent(Decoder):
    """A model with recurrent states; `inputs` adds what gathers them."""

    def inputs(self) -> Any:
        r, m = self.r, self.m
        key = m.key
        self.rows_at = self.input(I32, r.n_seqs, name="rs_s_copy")
        self.rows_main = self.view(self.rows_at, (r.n_seqs,))
        self.rows_tail = self.view(self.rows_at, (r.n_seqs - 1,))
        self.states: dict[tuple[int, str], Tensor] = {}
        self.n_seq_tokens = r.n_tokens // r.n_seqs
        self.d_conv = int(key("ssm.conv_kernel", 0))
        self.d_inner = int(key("ssm.inner_size", 0))
        self.d_state = int(key("ssm.state_size", 0))
        self.dt_rank = int(key("ssm.time_step_rank", 0))
        self.n_group = int(key("ssm.group_count", 0))
        self.size_r, self.size_s = self.state_sizes()
        if not self.o.get("pure"):
            super().inputs()
        return None

    def state_sizes(self) -> tuple[int, int]:
        """Elements of a layer's convolution and recurrent states a sequence (llama-hparams.cpp n_embd_r, n_embd_s)."""
        m, key = self.m, self.m.key
        if "rwkv" in m.arch:
            return int(key("token_shift_count", 2)) * m.n_embd, m.n_embd * int(key("wkv.head_size"))
        if m.arch in ("lfm2", "lfm2moe"):
            return m.n_embd * (int(key("shortconv.l_cache")) - 1), self.d_state * self.d_inner
        if m.arch == "kimi-linear":
            d = int(key("kda.head_dim"))
            return 3 * ((self.d_conv or 4) - 1) * m.n_head(0) * d, d * d * m.n_head(0)
        conv = (self.d_conv - 1 if self.d_conv else 0) * (self.d_inner + 2 * self.n_group * self.d_state)
        return conv, self.d_state * self.d_inner

    def kind(self, il: int) -> tuple[object, ...] | None:
        base = super().kind(il)
        return None if base is None else (*base, self.is_recurrent(il))

    def is_recurrent(self, il: int) -> bool:
        how = self.o.get("recurrent", "no_kv_heads")
        if how == "all":
            return True
        listed = self.m.key("attention.recurrent_layers")
        if isinstance(listed, (list, tuple)):
            return bool(listed[il])
        if how == "interval":
            every = int(self.m.key("full_attention_interval", self.o.get("interval", 4)))
            return (il + 1) % every != 0
        return self.m.n_head_kv(il) == 0

    def state(self, il: int, which: str) -> Tensor:
        t = self.states.get((il, which))
        if t is None:
            t = external(F32, (self.size_r if which == "r" else self.size_s, self.r.n_seqs))
            r = self.r
            t.buf = r.layer_buf[il] if r.layer_buf and r.offload_kqv else r.host_buf
            self.states[il, which] = t
        return t

    def gathered(self, s: Tensor, scan: Callable[[Tensor, Tensor], Tensor] | None = None) -> Tensor:
        """This batch's states out of the cache (build_rs), or what `scan` makes of them in place."""
        size, n = s.ne[0], self.r.n_seqs
        states = self.reshape(s, size, s.ne[1])
        zero = self.view(states, (size,))
        self.expand(self.view_of("scale", zero, zero))
        every = self.get_rows(states, self.rows_tail if scan else self.rows_at)
        out = scan(states, self.rows_main) if scan else self.view(every, (size, n), (every.nb[1],))
        self.expand(out)
        extra = self.view(every, (size, 0), (every.nb[1],))
        self.expand(self.cpy(extra, self.view(s, (size, 0), (s.nb[1],))))
        return out

    def ssm_conv(self, x: Tensor, kernel: Tensor) -> Tensor:
        return self.custom("ssm_conv", F32, (kernel.ne[1], x.ne[0] - kernel.ne[0] + 1, x.ne[2]), x, kernel)

    def ssm_scan(self, s: Tensor, x: Tensor, *more: Tensor) -> Tensor:
        ids = more[-1]
        n = x.ne[0] * x.ne[1] * x.ne[2] * x.ne[3] + s.ne[0] * s.ne[1] * s.ne[2] * ids.ne[0]
        return self.custom("ssm_scan", F32, (n,), s, x, *more)

    def store(self, t: Tensor, s: Tensor, *ne: int) -> None:
        """Write a new state back into the cache."""
        nb = (s.nb[1],) if len(ne) > 1 else ()
        self.expand(self.cpy(t, self.view(s, ne, nb)))

    def mamba1(self, x: Tensor, il: int) -> Tensor:
        """Selective scan with one head a channel."""
        n, seqs, inner, d, rank = self.n_seq_tokens, self.r.n_seqs, self.d_inner, self.d_state, self.dt_rank
        m, conv_state, ssm_state = self.m, self.state(il, "r"), self.state(il, "s")
        conv = self.reshape(self.gathered(conv_state), self.d_conv - 1, inner, seqs)
        x = self.reshape(x, x.ne[0], n, seqs)
        xz = self.lin(x, il, "ssm_in")
        x, z = self.view(xz, (inner, n, seqs), xz.nb[1:3]), self.view(xz, (inner, n, seqs), xz.nb[1:3])
        conv_x = self.concat(conv, self.transpose(x), 0)
        last = self.view(conv_x, (self.d_conv - 1, inner, seqs), conv_x.nb[1:3])
        self.store(last, conv_state, (self.d_conv - 1) * inner * seqs)
        x = self.add(self.ssm_conv(conv_x, self.w(il, "ssm_conv1d")), self.bias(il, "ssm_conv1d"))
        x = self.unary(x)
        db = self.lin(x, il, "ssm_x")
        dt = self.view(db, (rank, n, seqs), db.nb[1:3])
        b, c = (self.view(db, (d, 1, n, seqs), (d * 4, db.nb[1], db.nb[2])) for _ in "bc")
        if m.weight(il, "ssm_dt_norm.weight") is not None or m.key("ssm.dt_b_c_rms"):
            dt = self.norm(dt, m.weight(il, "ssm_dt_norm.weight"), None, "rms", il)
            b = self.norm(b, m.weight(il, "ssm_b_norm.weight"), None, "rms", il)
            c = self.norm(c, m.weight(il, "ssm_c_norm.weight"), None, "rms", il)
        else:
            dt = self.cont(dt)
        dt = self.lin(dt, il, "ssm_dt")
        cur, x = x, self.reshape(x, 1, inner, n, seqs)
        a = m.weight(il, "ssm_a")
        assert a is not None
        y = self.gathered(
            ssm_state, lambda s, ids: self.ssm_scan(self.reshape(s, d, 1, inner, seqs), x, dt, a, b, c, ids)
        )
        self.store(self.view(y, (d * inner * seqs,)), ssm_state, d * inner * seqs)
        y = self.view(y, (inner, n, seqs), (x.nb[2], x.nb[3]))
        y = self.add(y, self.mul(cur, self.plain(il, "ssm_d")))
        y = self.glu(self.cont(z), y)
        cur = self.lin(y, il, "ssm_out")
        return self.reshape(cur, cur.ne[0], n * seqs)

    def bias(self, il: int, name: str) -> Tensor:
        t = self.m.weight(il, name + ".bias")
        if t is None:
            raise LookupError(f"blk.{il}.{name}.bias")
        return t

    def plain(self, il: int, name: str) -> Tensor:
        """A parameter whose name has no suffix."""
        t = self.m.weight(il, name) or self.m.weight(il, name + ".weight")
        if t is None:
            raise LookupError(f"blk.{il}.{name}")
        return t

    def mamba2(self, x: Tensor, il: int) -> Tensor:
        """Scan with scalar decay a head."""
        n, seqs, inner, d, heads, g = (
            self.n_seq_tokens, self.r.n_seqs, self.d_inner, self.d_state, self.dt_rank, self.n_group,
        )  # fmt: skip
        hd, channels = inner // heads, inner + 2 * g * d
        m, conv_state, ssm_state = self.m, self.state(il, "r"), self.state(il, "s")
        conv = self.reshape(self.gathered(conv_state), self.d_conv - 1, channels, seqs)
        p = self.lin(x, il, "ssm_in")
        p = self.reshape(p, p.ne[0], n, seqs)
        z = self.view(p, (hd, heads, n, seqs), (hd * 4, p.nb[1], p.nb[2]))
        xbc = self.view(p, (channels, n, seqs), p.nb[1:3])
        dt = self.view(p, (heads, n, seqs), p.nb[1:3])
        conv_x = self.concat(conv, self.transpose(xbc), 0)
        last = self.view(conv_x, (self.d_conv - 1, channels, seqs), conv_x.nb[1:3])
        self.store(last, conv_state, (self.d_conv - 1) * channels, seqs)
        xbc = self.ssm_conv(conv_x, self.w(il, "ssm_conv1d"))
        xbc = self.unary(self.add(xbc, self.bias(il, "ssm_conv1d")))
        x = self.view(xbc, (hd, heads, n, seqs), (hd * 4, xbc.nb[1], xbc.nb[2]))
        b, c = (self.view(xbc, (d, g, n, seqs), (d * 4, xbc.nb[1], xbc.nb[2])) for _ in "bc")
        dt = self.add(self.cont(dt), self.bias(il, "ssm_dt"))
        a = self.plain(il, "ssm_a")
        y = self.gathered(
            ssm_state, lambda s, ids: self.ssm_scan(self.reshape(s, d, hd, heads, seqs), x, dt, a, b, c, ids)
        )
        size = d * inner
        new = self.view(y, (size, seqs, 1), (size * 4, size * 4 * seqs))
        self.expand(self.cpy(new, self.view(ssm_state, (size, seqs, 1), (ssm_state.nb[1], size * 4 * seqs))))
        y = self.view(y, (hd, heads, n, seqs), (x.nb[1], heads * x.nb[1], n * heads * x.nb[1]))
        y = self.add(y, self.mul(x, self.plain(il, "ssm_d")))
        y = self.glu(self.cont(z), y)
        if m.weight(il, "ssm_norm.weight") is not None:
            y = self.reshape(y, inner // g, g, n, seqs)
            y = self.norm(y, m.weight(il, "ssm_norm.weight"), None, "rms", il)
        return self.lin(self.reshape(y, inner, n * seqs), il, "ssm_out")

    def shortconv(self, x: Tensor, il: int) -> Tensor:
        """Gated short convolution (LFM2)."""
        n, seqs, m = self.n_seq_tokens, self.r.n_seqs, self.m
        kept = int(m.key("shortconv.l_cache")) - 1
        x = self.reshape(x, x.ne[0], n, seqs)
        bcx = self.lin(x, il, "shortconv.in_proj")
        third = bcx.ne[0] // 3
        b, c, x = (self.view(bcx, (third, n, seqs), bcx.nb[1:3]) for _ in "bcx")
        bx = self.transpose(self.mul(b, x))
        conv_state = self.state(il, "r")
        conv = self.reshape(self.gathered(conv_state), kept, m.n_embd, seqs)
        bx = self.concat(conv, bx, 0)
        last = self.view(bx, (kept, bx.ne[1], bx.ne[2]), bx.nb[1:3])
        self.store(last, conv_state, kept * m.n_embd, seqs)
        y = self.mul(c, self.ssm_conv(bx, self.w(il, "shortconv.conv")))
        y = self.lin(y, il, "shortconv.out_proj")
        return self.reshape(y, y.ne[0], n * seqs)

    # gated delta net

    def conv_input(self, il: int, x: Tensor, kernel: int, channels: int) -> Tensor:
        """The kept columns in front of this batch's; keeps the last ones for the next batch."""
        conv_state, seqs = self.state(il, "r"), self.r.n_seqs
        conv = self.reshape(self.gathered(conv_state), kernel - 1, channels, seqs)
        x = self.concat(conv, self.transpose(x), 0)
        last = self.view(x, (kernel - 1, channels, seqs), x.nb[1:3])
        self.store(last, conv_state, (kernel - 1) * channels, seqs)
        return x

    def delta_net(self, il: int, *src: Tensor) -> Tensor:
        """The fused kernel on queries, keys, values, gates, betas and states; writes the new state back."""
        d, heads, n, seqs = src[2].ne
        out = self.custom("gated_delta_net", F32, (d * heads, n * seqs + d * seqs), *src)
        y = self.view(out, (d, heads, n, seqs), (4 * d, 4 * d * heads, 4 * d * heads * n))
        new = self.view(out, (d, d, heads, seqs), (4 * d, 4 * d * d, 4 * d * d * heads))
        self.store(new, self.state(il, "s"), self.size_s, seqs)
        return y

    def gdn_l2(self, x: Tensor) -> Tensor:
        return self.scale(self.rms_norm(x))

    def gated_norm(self, x: Tensor, il: int, gate: Tensor) -> Tensor:
        x = self.norm(x, self.w(il, "ssm_norm"), None, "rms", il)
        return self.mul(x, self.unary(gate))


class Mamba(Recurrent):
    """Mamba 1 and 2."""

    def layer(self, x: Tensor, il: int) -> Tensor:
        normed = self.normed(x, il, "attn_norm")
        cur = self.mamba2(normed, il) if self.m.arch == "mamba2" else self.mamba1(normed, il)
        cur, x = self.rows_out(il, cur, x)
        return self.add(cur, x)


class FalconH1(Recurrent):
    """Attention and Mamba 2 side by side in every layer."""

    def layer(self, x: Tensor, il: int) -> Tensor:
        attn = self.attention(self.normed(x, il, "attn_norm"), il)
        ssm = self.mamba2(self.normed(x, il, "attn_norm"), il)
        (ffn_in,) = self.rows_out(il, self.add(self.add(attn, ssm), x))
        out = self.ffn(self.normed(ffn_in, il, "ffn_norm"), il)
        return self.add(out, ffn_in)


class GraniteHybrid(Recurrent):
    """Mamba 2 layers with attention in between; scaled residuals."""

    def build(self, o: Mapping[str, Any]) -> None:
        rope = bool(self.m.key("rope.scaling.finetuned", True))
        super().build({**o, "rope": rope, "pos": rope})

    def layer(self, x: Tensor, il: int) -> Tensor:
        scaled = bool(self.m.key("residual_scale"))
        normed = self.normed(x, il, "attn_norm")
        cur = self.mamba2(normed, il) if self.is_recurrent(il) else self.attention(normed, il)
        cur, x = self.rows_out(il, cur, x)
        ffn_in = self.add(self.scale(cur) if scaled else cur, x)
        cur = self.feed(self.normed(ffn_in, il, "ffn_norm"), il)
        return self.add(self.scale(cur) if scaled else cur, ffn_in)


class Jamba(Recurrent):
    """Mamba 1 layers with attention in between."""

    def layer(self, x: Tensor, il: int) -> Tensor:
        normed = self.normed(x, il, "attn_norm")
        cur = self.mamba1(normed, il) if self.is_recurrent(il) else self.attention(normed, il)
        cur, x = self.rows_out(il, cur, x)
        ffn_in = self.add(x, cur)
        return self.add(ffn_in, self.feed(self.normed(ffn_in, il, "ffn_norm"), il))


class NemotronH(Recurrent):
    """Each layer is one of Mamba 2, attention or feed-forward."""

    def is_recurrent(self, il: int) -> bool:
        return self.m.n_head_kv(il) == 0 and not self.width(il)

    def kind(self, il: int) -> tuple[object, ...] | None:
        base = super().kind(il)
        return None if base is None else (*base, self.width(il))

    def width(self, il: int) -> int:
        return int(self.m.per_layer("feed_forward_length", 0)[il] or 0)

    def layer(self, x: Tensor, il: int) -> Tensor:
        normed = self.normed(x, il, "attn_norm")
        if self.is_recurrent(il):
            cur = self.mamba2(normed, il)
        elif not self.width(il):
            cur = self.attention(normed, il)
        else:
            cur = self.feed(normed, il)
        return self.add(cur, x)

    def feed(self, x: Tensor, il: int) -> Tensor:
        m = self.m
        if m.weight(il, "ffn_gate_inp.weight") is None:
            return self.ffn(x, il, "relu2")
        latent = self.lin(x, il, "ffn_latent_down") if self.wo(il, "ffn_latent_down") is not None else x
        logits = self.lin(x, il, "ffn_gate_inp")
        norm_w = bool(m.key("expert_weights_norm", False))
        out = self.moe(latent, il, act="relu2", norm_w=norm_w, gating="sigmoid", logits=logits)
        if self.wo(il, "ffn_latent_up") is not None:
            out = self.lin(out, il, "ffn_latent_up")
        return self.add(out, self.ffn(x, il, "relu2", suffix="_shexp", gated=False))


class Lfm2(Recurrent):
    """Short convolutions with attention in between."""

    def rotations(self, c: Any, layers: list[int]) -> None:
        """The hybrid pair of full and sliding caches has no rotations (build_inp_mem_hybrid_iswa)."""
        if not self.m.has_swa:
            super().rotations(c, layers)

    def layer(self, x: Tensor, il: int) -> Tensor:
        normed = self.normed(x, il, "attn_norm")
        cur = self.shortconv(normed, il) if self.is_recurrent(il) else self.attention(normed, il)
        cur, x = self.rows_out(il, cur, x)
        cur = self.add(x, cur)
        return self.add(cur, self.feed(self.normed(cur, il, "ffn_norm"), il))


class Qwen3Next(Recurrent):
    """Gated delta nets, and gated attention in every n-th layer."""

    def layer(self, x: Tensor, il: int) -> Tensor:
        normed = self.expand(self.normed(x, il, "attn_norm"))
        cur = self.linear(normed, il) if self.is_recurrent(il) else self.gated_attention(normed, il)
        mid = self.add(cur, x)
        out = self.feed(self.normed(mid, il, "post_attention_norm"), il)
        return self.add(out, mid)

    def gated_attention(self, x: Tensor, il: int) -> Tensor:
        m, n = self.m, self.r.n_tokens
        d, heads, kv = m.head_v(il), m.n_head(il), m.n_head_kv(il)
        q, k, v = (self.lin(x, il, name) for name in ("attn_q", "attn_k", "attn_v"))
        q = self.reshape(q, 2 * d, heads, n, 1)
        q, gate = (self.view(q, (d, heads, n, 1), q.nb[1:]) for _ in "qg")
        k, v = self.reshape(k, d, kv, n), self.reshape(v, d, kv, n)
        q, k = self.qk_normed(q, k, il, "rms")
        cur = self.attend(il, self.rope(q, self.pos), self.rope(k, self.pos), v, wo=None)
        gate = self.unary(self.cont(gate, d * heads, n))
        return self.lin(self.mul(cur, gate), il, "attn_output")

    def qkvz(self, x: Tensor, il: int) -> tuple[Tensor, Tensor]:
        n, seqs = self.n_seq_tokens, self.r.n_seqs
        dk, hk, hv = self.d_state, self.n_group, self.dt_rank
        dv = self.d_inner // hv
        if self.wo(il, "attn_qkv") is not None:
            mixed = self.lin(x, il, "attn_qkv")
            return self.reshape(mixed, mixed.ne[0], n, seqs), self.lin(x, il, "attn_gate")
        group = dv * hv // hk
        mixed = self.reshape(self.lin(x, il, "ssm_in"), 2 * dk + 2 * group, hk, n, seqs)
        q, k, v, z = (self.view(mixed, (w, hk, n, seqs), mixed.nb[1:]) for w in (dk, dk, group, group))
        z = self.cont(z)
        q, k, v = self.cont(q, dk * hk, n, seqs), self.cont(k, dk * hk, n, seqs), self.cont(v, dv * hv, n, seqs)
        return self.concat(self.concat(q, k, 0), v, 0), z

    def beta_and_gate(self, x: Tensor, il: int) -> tuple[Tensor, Tensor]:
        n, seqs, hk, hv = self.n_seq_tokens, self.r.n_seqs, self.n_group, self.dt_rank
        each = hv // hk
        mixed = self.reshape(self.lin(x, il, "ssm_ba"), 2 * each, hk, n, seqs)
        b, a = (self.view(mixed, (each, hk, n, seqs), mixed.nb[1:]) for _ in "ba")
        beta = self.unary(self.cont(b))
        alpha = self.add(self.cont(a, hv, n, seqs), self.bias(il, "ssm_dt"))
        gate = self.mul(self.unary(alpha), self.plain(il, "ssm_a"))
        return self.reshape(beta, 1, hv, n, seqs), self.reshape(gate, 1, hv, n, seqs)

    def repeats_keys(self) -> bool:
        return True

    def linear(self, x: Tensor, il: int) -> Tensor:
        n, seqs = self.n_seq_tokens, self.r.n_seqs
        dk, hk, hv = self.d_state, self.n_group, self.dt_rank
        dv = self.d_inner // hv
        mixed, z = self.qkvz(x, il)
        beta, gate = self.beta_and_gate(x, il)
        kernel = self.w(il, "ssm_conv1d")
        conv_in = self.conv_input(il, mixed, kernel.ne[0], self.d_inner + 2 * hk * dk)
        state = self.reshape(self.gathered(self.state(il, "s")), dv, dv, hv, seqs)
        out = self.unary(self.ssm_conv(conv_in, kernel))
        row = 4 * (2 * dk * hk + dv * hv)
        q, k, v = (self.view(out, (d, h, n, seqs), (4 * d, row, row * n)) for d, h in ((dk, hk), (dk, hk), (dv, hv)))
        q, k = self.gdn_l2(q), self.gdn_l2(k)
        if hk != hv and self.repeats_keys():
            q, k = (self.reshape(t, dk, 1, hk, n * seqs) for t in (q, k))
            q, k = (self.repeat(t, dk, hv // hk, hk, n * seqs) for t in (q, k))
            q, k = (self.reshape(t, dk, hv, n, seqs) for t in (q, k))
        y = self.delta_net(il, q, k, v, gate, beta, state)
        y = self.gated_norm(y, il, self.reshape(z, dv, hv, n, seqs))
        cur = self.lin(self.reshape(y, dv * hv, n, seqs), il, "ssm_out")
        return self.reshape(cur, self.m.n_embd, n * seqs)


class Qwen35(Qwen3Next):
    """Separate projections for beta and alpha; the fused kernel takes fewer keys than values."""

    def repeats_keys(self) -> bool:
        return False

    def beta_and_gate(self, x: Tensor, il: int) -> tuple[Tensor, Tensor]:
        n, seqs, hv = self.n_seq_tokens, self.r.n_seqs, self.dt_rank
        beta = self.unary(self.reshape(self.lin(x, il, "ssm_beta"), 1, hv, n, seqs))
        alpha = self.add(self.reshape(self.lin(x, il, "ssm_alpha"), hv, n, seqs), self.bias(il, "ssm_dt"))
        gate = self.mul(self.unary(alpha), self.plain(il, "ssm_a"))
        return beta, self.reshape(gate, 1, hv, n, seqs)


class Plamo2(Recurrent):
    """Mamba with norms on its inputs, without a convolution bias; attention in between."""

    def layer(self, x: Tensor, il: int) -> Tensor:
        normed = self.normed(x, il, "attn_norm")
        cur = self.scan(normed, il) if self.is_recurrent(il) else self.attention(normed, il)
        cur, x = self.rows_out(il, cur, x)
        mid = self.add(self.normed(cur, il, "post_attention_norm"), x)
        cur = self.ffn(self.normed(mid, il, "ffn_norm"), il, "glu")
        return self.add(self.normed(cur, il, "post_ffw_norm"), mid)

    def scan(self, x: Tensor, il: int) -> Tensor:
        n, seqs, inner, d, heads = self.n_seq_tokens, self.r.n_seqs, self.d_inner, self.d_state, self.dt_rank
        hd, m = inner // heads, self.m
        channels = inner + 2 * self.n_group * d
        conv_state, ssm_state = self.state(il, "r"), self.state(il, "s")
        conv = self.reshape(self.gathered(conv_state), self.d_conv - 1, channels, seqs)
        x = self.reshape(x, x.ne[0], n, seqs)
        zx = self.cont(self.permute(self.lin(x, il, "ssm_in"), 0, 2, 1, 3), hd * 2, heads, n, seqs)
        x = self.cont(self.view(zx, (hd, heads, n, seqs), zx.nb[1:]), inner, n, seqs)
        z = self.view(zx, (hd, heads, n, seqs), zx.nb[1:])
        conv_x = self.concat(conv, self.transpose(x), 0)
        last = self.view(conv_x, (self.d_conv - 1, inner, seqs), conv_x.nb[1:3])
        self.store(last, conv_state, (self.d_conv - 1) * channels * seqs)
        x = self.unary(self.ssm_conv(conv_x, self.w(il, "ssm_conv1d")))
        db = self.lin(x, il, "ssm_x")
        b, c = (self.view(db, (d, n, seqs), db.nb[1:3]) for _ in "bc")
        dt = self.view(db, (max(64, m.n_embd // 16), n, seqs), db.nb[1:3])
        b, c = self.normed(b, il, "ssm_b_norm"), self.normed(c, il, "ssm_c_norm")
        dt = self.lin(self.normed(dt, il, "ssm_dt_norm"), il, "ssm_dt")
        a = self.reshape(self.plain(il, "ssm_a"), 1, heads)
        x = self.view(x, (hd, heads, n, seqs), (4 * hd, 4 * inner, 4 * inner * n))
        b, c = (self.view(t, (d, 1, n, seqs), (4 * d, t.nb[1], t.nb[2])) for t in (b, c))
        y = self.gathered(
            ssm_state, lambda s, ids: self.ssm_scan(self.reshape(s, d, hd, heads, seqs), x, dt, a, b, c, ids)
        )
        self.store(self.view(y, (inner * d * seqs,)), ssm_state, inner * d * seqs)
        y = self.view(y, (hd, heads, n, seqs), (4 * hd, 4 * inner, 4 * inner * n))
        y = self.add(y, self.mul(x, self.reshape(self.plain(il, "ssm_d"), 1, heads)))
        y = self.glu(self.cont(z), y)
        y = self.view(y, (inner, n, seqs), (y.nb[2], y.nb[3]))
        cur = self.lin(y, il, "ssm_out")
        return self.reshape(cur, cur.ne[0], n * seqs)


class MiniMax01(Recurrent):
    """Lightning attention, and plain attention in every n-th layer; residuals are the normed inputs, scaled."""

    def state_sizes(self) -> tuple[int, int]:
        return 0, self.m.head_k_full**2 * self.m.n_head(0)

    def body(self, x: Tensor) -> Tensor:
        n, seqs, heads = self.n_seq_tokens, self.r.n_seqs, self.m.n_head(0)
        self.slopes = self.input(F32, heads, name="slopes")
        self.q_decay = self.input(F32, 1, heads, n, seqs, name="q_decay")
        self.k_decay = self.input(F32, 1, heads, n, seqs, name="k_decay")
        self.diag_decay = self.input(F32, n, n, heads, seqs, name="diag_decay")
        return super().body(x)

    def layer(self, x: Tensor, il: int) -> Tensor:
        residual = self.normed(x, il, "attn_norm")
        cur = self.lightning(residual, il) if self.is_recurrent(il) else self.attention(residual, il)
        cur, residual = self.rows_out(il, cur, residual)
        ffn_in = self.add(cur, self.scale(residual))
        residual = self.normed(ffn_in, il, "ffn_norm")
        return self.add(self.moe(residual, il), self.scale(residual))

    def lightning(self, x: Tensor, il: int) -> Tensor:
        n, seqs, heads, d = self.n_seq_tokens, self.r.n_seqs, self.m.n_head(0), self.m.head_v_full
        self.expand(self.gathered(self.state(il, "r")))
        rate = self.scale(self.slopes)
        x = self.reshape(x, x.ne[0], n, 1, seqs)
        qkv = self.reshape(self.unary(self.lin(x, il, "attn_qkv")), d * 3, heads, n, seqs)
        q, k, v = (self.view(qkv, (d, heads, n, seqs), qkv.nb[1:]) for _ in "qkv")
        old = self.reshape(self.gathered(self.state(il, "s")), d, d, heads, seqs)
        q_decay, k_decay, diag = (self.unary(self.scale(t)) for t in (self.q_decay, self.k_decay, self.diag_decay))
        inter = self.mm(old, self.permute(self.mul(q, q_decay), 0, 2, 1, 3))
        qk = self.mm(self.permute(k, 0, 2, 1, 3), self.permute(q, 0, 2, 1, 3))
        qk = self.mul(qk, diag)
        v_t = self.cont(self.permute(v, 1, 2, 0, 3))
        out = self.expand(self.add(inter, self.mm(v_t, qk)))
        block = self.reshape(self.unary(self.scale(rate)), 1, 1, heads)
        kept = self.mul(old, block)
        k_t = self.cont(self.permute(self.mul(k, k_decay), 1, 2, 0, 3))
        new = self.add(kept, self.mm(k_t, v_t))
        self.store(new, self.state(il, "s"), self.size_s * seqs)
        out = self.cont(self.permute(out, 0, 2, 1, 3))
        out = self.reshape(out, out.ne[0] * out.ne[1], out.ne[2], 1, out.ne[3])
        out = self.normed(out, il, "attn_norm_2")
        cur = self.mul(self.unary(self.lin(x, il, "attn_gate")), out)
        cur = self.lin(cur, il, "attn_output")
        return self.reshape(cur, cur.ne[0], n * seqs)
