"""Hybrids whose recurrent layers are their own: gated delta nets, PLaMo 2's scan, lightning attention.

Source: src/models/qwen3next.cpp, qwen35.cpp, plamo2.cpp, minimax-01.cpp (b11434).
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.recurrent import Recurrent
from inspector.memory.engines.llamacpp.graph.tensor import F32, Tensor


class Qwen3Next(Recurrent):
    """Gated delta nets, and gated attention in every n-th layer."""

    def layer(self, x: Tensor, il: int) -> Tensor:
        """Delta net or gated attention, then experts: [n_embd, n_tokens] in and out (src/models/qwen3next.cpp)."""
        normed = self.expand(self.normed(x, il, "attn_norm"))
        cur = self.linear(normed, il) if self.m.recurrent(il) else self.gated_attention(normed, il)
        cur, x = self.rows_out(il, cur, x)
        mid = self.add(cur, x)
        out = self.feed(self.normed(mid, il, "post_attention_norm"), il)
        return self.add(out, mid)

    def gated_attention(self, x: Tensor, il: int) -> Tensor:
        """Attention whose query carries an output gate: [n_embd, n_tokens] in and out.

        Source: build_layer_attn (src/models/qwen3next.cpp); `attn_q` gives [2 × head_dim, heads, n_tokens].
        """
        m, n = self.m, self.r.n_tokens
        d, heads, kv = m.head_v(il), m.n_head(il), m.n_head_kv(il)
        q, k, v = (self.lin(x, il, name) for name in ("attn_q", "attn_k", "attn_v"))
        q = self.reshape(q, 2 * d, heads, n, 1)
        q, gate = (self.view(q, (d, heads, n, 1), q.nb[1:]) for _ in "qg")
        k, v = self.reshape(k, d, kv, n), self.reshape(v, d, kv, n)
        q, k = self.qk_normed(q, k, il, "rms")
        cur = self.attend(il, self.rope(q, self.pos), self.rope(k, self.pos), v, wo=None)
        gate = self.unary(self.cont(gate, d * heads, n))
        gate = gate if self.gates_flat() else self.reshape(gate, d * heads, n)
        return self.lin(self.mul(cur, gate), il, "attn_output")

    def key_and_value_heads(self) -> tuple[int, int]:
        """Heads of keys and of values (`ssm_n_group`, `ssm_dt_rank`). Raises GraphUnknown for none."""
        return self.m.positive("ssm.group_count"), self.m.positive("ssm.time_step_rank")

    def qkvz(self, x: Tensor, il: int) -> tuple[Tensor, Tensor]:
        """Mixed queries, keys and values, [channels, n_seq_tokens, n_seqs], and the output's gate z.

        Source: build_qkvz (src/models/qwen3next.cpp); newer files have two weights where older ones have one.
        """
        n, seqs = self.n_seq_tokens, self.r.n_seqs
        dk, (hk, hv) = self.d_state, self.key_and_value_heads()
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
        """How much is written and how much fades, a value head and token: [1, heads_v, n_seq_tokens, n_seqs] each."""
        n, seqs, (hk, hv) = self.n_seq_tokens, self.r.n_seqs, self.key_and_value_heads()
        each = hv // hk
        mixed = self.reshape(self.lin(x, il, "ssm_ba"), 2 * each, hk, n, seqs)
        b, a = (self.view(mixed, (each, hk, n, seqs), mixed.nb[1:]) for _ in "ba")
        beta = self.unary(self.cont(b))
        alpha = self.add(self.cont(a, hv, n, seqs), self.bias(il, "ssm_dt"))
        gate = self.mul(self.unary(alpha), self.plain(il, "ssm_a"))
        return self.reshape(beta, 1, hv, n, seqs), self.reshape(gate, 1, hv, n, seqs)

    def gates_flat(self) -> bool:
        """Whether the gate is used as it is, so that its bytes may be taken over."""
        return self.m.does("gates flat")

    def repeats_keys(self) -> bool:
        """Whether keys are repeated for every value head before the kernel."""
        return True

    def linear(self, x: Tensor, il: int) -> Tensor:
        """A gated delta net in attention's place: [n_embd, n_tokens] in and out (build_layer_attn_linear).

        Source: src/models/qwen3next.cpp, delta-net-base.cpp; state: [head_dim_v, head_dim_v, heads_v, n_seqs].
        """
        n, seqs = self.n_seq_tokens, self.r.n_seqs
        dk, (hk, hv) = self.d_state, self.key_and_value_heads()
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

    def gates_flat(self) -> bool:
        """Always (build_layer_attn, src/models/qwen35.cpp)."""
        return True

    def repeats_keys(self) -> bool:
        """The fused kernel takes fewer keys than values (src/models/qwen35.cpp)."""
        return False

    def beta_and_gate(self, x: Tensor, il: int) -> tuple[Tensor, Tensor]:
        """As above, by projections of their own (build_layer_attn_linear, src/models/qwen35.cpp)."""
        n, seqs, hv = self.n_seq_tokens, self.r.n_seqs, self.dt_rank
        beta = self.unary(self.reshape(self.lin(x, il, "ssm_beta"), 1, hv, n, seqs))
        alpha = self.add(self.reshape(self.lin(x, il, "ssm_alpha"), hv, n, seqs), self.bias(il, "ssm_dt"))
        gate = self.mul(self.unary(alpha), self.plain(il, "ssm_a"))
        return beta, self.reshape(gate, 1, hv, n, seqs)

    def logits(self, x: Tensor, *, scale: bool = False, softcap: bool = False, bias: bool = True) -> None:
        """The head; embeddings are projected first where the file has a projection (qwen35.cpp)."""
        projection, added = self.top("cls.output.weight"), self.top("cls.output.bias")
        if projection is not None:
            embeddings = self.mm(projection, x)
            embeddings = embeddings if added is None else self.add(embeddings, added)
            embeddings.is_output = True
            self.expand(embeddings)
        super().logits(x, scale=scale, softcap=softcap, bias=bias)


class Plamo2(Recurrent):
    """Mamba with norms on its inputs, without a convolution bias; attention in between."""

    def layer(self, x: Tensor, il: int) -> Tensor:
        """Scan or attention, then a gated feed-forward, norms after both: [n_embd, n_tokens] in and out."""
        normed = self.normed(x, il, "attn_norm")
        cur = self.scan(normed, il) if self.m.recurrent(il) else self.attention(normed, il)
        early = self.m.does("picks before feeding")
        cur, x = self.rows_out(il, cur, x) if early else (cur, x)
        mid = self.add(self.normed(cur, il, "post_attention_norm"), x)
        cur = self.ffn(self.normed(mid, il, "ffn_norm"), il, "glu")
        cur = self.normed(cur, il, "post_ffw_norm")
        cur, mid = (cur, mid) if early else self.rows_out(il, cur, mid)
        return self.add(cur, mid)

    def scan(self, x: Tensor, il: int) -> Tensor:
        """Mamba 2's scan with norms on its inputs: [n_embd, n_tokens] in and out (build_plamo2_mamba_layer).

        Source: src/models/plamo2.cpp; state: [d_state, head_dim, heads, n_seqs].
        """
        n, seqs, inner, d, m = self.n_seq_tokens, self.r.n_seqs, self.d_inner, self.d_state, self.m
        heads = m.positive("ssm.time_step_rank")
        hd = inner // heads
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

    def body(self, x: Tensor) -> Tensor:
        """All layers, after the inputs that say how fast states fade (src/models/minimax-01.cpp)."""
        n, seqs, heads = self.n_seq_tokens, self.r.n_seqs, self.m.n_head(0)
        self.slopes = self.input(F32, heads, name="slopes")
        self.q_decay = self.input(F32, 1, heads, n, seqs, name="q_decay")
        self.k_decay = self.input(F32, 1, heads, n, seqs, name="k_decay")
        self.diag_decay = self.input(F32, n, n, heads, seqs, name="diag_decay")
        return super().body(x)

    def layer(self, x: Tensor, il: int) -> Tensor:
        """Lightning attention or attention, then experts, on scaled residuals: [n_embd, n_tokens] in and out."""
        residual = self.normed(x, il, "attn_norm")
        cur = self.lightning(residual, il) if self.m.recurrent(il) else self.attention(residual, il)
        cur, residual = self.rows_out(il, cur, residual)
        ffn_in = self.add(cur, self.scale(residual))
        residual = self.normed(ffn_in, il, "ffn_norm")
        return self.add(self.moe(residual, il), self.scale(residual))

    def lightning(self, x: Tensor, il: int) -> Tensor:
        """Linear attention with a decay a head: [n_embd, n_tokens] in and out (src/models/minimax-01.cpp).

        The state, [head_dim, head_dim, heads, n_seqs], holds what earlier batches leave.
        """
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
