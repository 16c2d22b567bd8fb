"""What came after Kimi Linear: delta attention with a full-rank gate, and gated latent attention in between.

Source: src/models/bailingmoe3.cpp, kimi-k3.cpp (b11434).
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.latent import KimiLinear
from inspector.memory.engines.llamacpp.graph.model import GraphUnknown
from inspector.memory.engines.llamacpp.graph.tensor import F32, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.memory.engines.llamacpp.graph.model import Model
    from inspector.memory.engines.llamacpp.graph.options import Act, Options
    from inspector.memory.engines.llamacpp.graph.run import Run


class Gated(KimiLinear):
    """Delta and latent attention whose products carry neither scales nor biases; both have an output gate."""

    def raw(self, x: Tensor, il: int, name: str) -> Tensor:
        """A product with the layer's weight of that name, and nothing after it (ggml_mul_mat)."""
        return self.mm(self.w(il, name), x)

    def slots(self) -> int:
        """How many states of a convolution are written back."""
        return self.n_kept

    def convolved(self, every: Tensor, x: Tensor, il: int, name: str) -> Tensor:
        """One of q, k, v: projected, convolved with its kept columns, activated: [head_dim, heads, …, n_seqs]."""
        n, seqs, heads, d, taps = self.n_seq_tokens, self.r.n_seqs, self.m.n_head(0), self.d_head, self.d_conv
        inner, strides = d * heads, (4 * (taps - 1), 4 * self.size_r)
        kept = self.view(every, (taps - 1, inner, seqs), strides)
        x = self.reshape(self.raw(x, il, "attn_" + name), inner, n, seqs)
        x = self.concat(kept, self.transpose(x), 0)
        for _ in range(self.slots()):
            last = self.view(x, (taps - 1, inner, seqs), x.nb[1:3])
            self.expand(self.cpy(last, self.view(self.state(il, "r"), (taps - 1, inner, seqs), strides)))
        kernel = self.reshape(self.w(il, f"ssm_conv1d_{name}"), taps, inner)
        x = self.unary(self.reshape(self.ssm_conv(x, kernel), inner, n * seqs))
        return self.reshape(x, d, heads, n, seqs)

    def fading(self, x: Tensor, il: int) -> Tensor:
        """How much of a state fades, by element: [head_dim, heads, n_tokens]."""
        raise NotImplementedError

    def output_gate(self, x: Tensor, il: int) -> Tensor:
        """What the delta net's output is gated by, before the sigmoid: [head_dim × heads, n_tokens]."""
        raise NotImplementedError

    def delta(self, x: Tensor, il: int) -> Tensor:
        """Delta attention: [n_embd, n_tokens] in and out; state: [head_dim, head_dim, heads, n_seqs]."""
        self.d_head = d = self.m.positive("kda.head_dim")
        n, seqs, tokens, heads = self.n_seq_tokens, self.r.n_seqs, self.r.n_tokens, self.m.n_head(0)
        every = self.gathered(self.state(il, "r"))
        q, k, v = (self.convolved(every, x, il, name) for name in "qkv")
        fades = self.reshape(self.fading(x, il), d, heads, n, seqs)
        beta = self.unary(self.reshape(self.raw(x, il, "ssm_beta"), 1, heads, n, seqs))
        state = self.reshape(self.gathered(self.state(il, "s")), d, d, heads, seqs)
        y = self.cont(self.delta_net(il, self.gdn_l2(q), self.gdn_l2(k), v, fades, beta, state))
        gate = self.reshape(self.output_gate(x, il), d, heads, tokens)
        y = self.normed(self.reshape(y, d, heads, tokens), il, "ssm_norm")
        y = self.cont(self.mul(y, self.unary(gate)), d * heads, tokens)
        return self.raw(y, il, "attn_output")

    def queries(self, x: Tensor, il: int) -> Tensor:
        """Queries of all heads, [head_dim × heads, n_tokens], through a low rank where the file has one."""
        if self.wo(il, "attn_q_a") is None:
            return self.raw(x, il, "attn_q")
        return self.raw(self.normed(self.raw(x, il, "attn_q_a"), il, "attn_q_a_norm"), il, "attn_q_b")

    def latent(self, x: Tensor, il: int) -> Tensor:
        """Latent attention before its gate: [head_dim × heads, n_tokens] of [n_embd, n_tokens]."""
        if not self.m.is_mla:  # its graph is built over a cache that such a file has not
            raise GraphUnknown(f"{self.m.arch}.attention.key_length_mla")
        q = self.reshape(self.queries(x, il), self.d_k, self.m.n_head(il), self.r.n_tokens)
        kv, k_pe = self.compressed(x, il)
        q, k, v = self.absorbed(q, kv, k_pe, il)
        return self.attend_latent(il, q, k, v, v_mla=self.w(il, "attn_v_b"), wo=None)


class BailingMoe3(Gated):
    """Rotated latent attention with a gate a head; experts beside a shared one."""

    def layer(self, x: Tensor, il: int) -> Tensor:
        """Delta or latent attention, then experts: [n_embd, n_tokens] in and out; states are read before the norm."""
        normed = self.normed(x, il, "attn_norm")
        cur = self.delta(normed, il) if self.m.recurrent(il) else self.full(normed, il)
        mid = self.add(cur, x)
        return self.add(self.feed(self.normed(mid, il, "ffn_norm"), il), mid)

    def fading(self, x: Tensor, il: int) -> Tensor:
        """A bounded sigmoid: [head_dim, heads, n_tokens] (kda_safe_gate)."""
        heads = self.m.n_head(0)
        g = self.add(self.raw(x, il, "ssm_f_a"), self.bias(il, "ssm_dt"))
        g = self.mul(self.reshape(g, self.d_head, heads, x.ne[1]), self.reshape(self.plain(il, "ssm_a"), 1, heads, 1))
        return self.scale(self.unary(g))

    def output_gate(self, x: Tensor, il: int) -> Tensor:
        """One product: [head_dim × heads, n_tokens]."""
        return self.raw(x, il, "ssm_g_a")

    def full(self, x: Tensor, il: int) -> Tensor:
        """Latent attention, each head times its gate: [n_embd, n_tokens] in and out (src/models/bailingmoe3.cpp)."""
        n, heads, d = self.r.n_tokens, self.m.n_head(il), self.d_v
        cur = self.latent(x, il)
        gate = self.unary(self.reshape(self.raw(x, il, "attn_gate"), 1, heads, n))
        cur = self.mul(self.reshape(cur, d, heads, n), gate)
        return self.raw(self.cont(cur, d * heads, n), il, "attn_output")


class KimiK3(Gated):
    """Each branch reads a mix of all earlier checkpoints of the residual stream; experts live in a narrower space."""

    def __init__(self, model: Model, run: Run, options: Options) -> None:
        super().__init__(model, run, options)
        self.every = model.count("attn_res.block_size")
        self.bank: Tensor | None = None

    def kind(self, il: int) -> tuple[object, ...] | None:
        """As any layer's, and how many checkpoints there are."""
        base = super().kind(il)
        return base if base is None or not self.every else (*base, il // self.every, il % self.every == 0)

    def slots(self) -> int:
        """As many as a context keeps, however short its batches."""
        return self.r.n_states

    def body(self, x: Tensor) -> Tensor:
        """All layers, then the mix that the output reads; of the wanted rows, [n_embd, n_outputs]."""
        x = super().body(x)
        if self.every:
            x = self.mixed(x, self.top("output_res_score.weight"))
        assert self.out_ids is not None
        return self.get_rows(x, self.out_ids)

    def rows_out(self, il: int, *ts: Tensor) -> tuple[Tensor, ...]:  # noqa: ARG002 - picked after the last mix
        """Rows are picked after the last mix."""
        return ts

    def mixed(self, x: Tensor, weight: Tensor | None) -> Tensor:
        """The residual stream and its checkpoints, weighed by scores of each: [n_embd, n_tokens] (res_mix)."""
        bank = self.bank
        if bank is None:
            return x
        if weight is None:
            raise GraphUnknown("attn_res_score")
        n, count = x.ne[1], bank.ne[1]
        old = self.reshape(self.sum_rows(self.mul(self.rms_norm(bank), weight)), count, n)
        new = self.sum_rows(self.mul(self.rms_norm(x), weight))
        shares = self.soft_max(self.concat(old, new, 0))
        of_old = self.cont(self.view(shares, (count, n), (shares.nb[1],)))
        of_new = self.cont(self.view(shares, (1, n), (shares.nb[1],)))
        out = self.custom("dsv4_hc_pre", F32, (x.ne[0], n), bank, of_old)
        return self.add(out, self.mul(x, of_new))

    def layer(self, x: Tensor, il: int) -> Tensor:
        """Delta or latent attention, then a feed-forward, on mixes: [n_embd, n_tokens] in and out."""
        cur = self.mixed(x, self.wo(il, "attn_res_score"))
        banked = self.every > 0 and il % self.every == 0
        if banked:
            point = self.reshape(x, x.ne[0], 1, x.ne[1])
            self.bank = point if self.bank is None else self.concat(self.bank, point, 1)
        cur = self.expand(self.normed(cur, il, "attn_norm"))
        cur = self.delta(cur, il) if self.m.recurrent(il) else self.full(cur, il)
        x = cur if banked else self.add(x, cur)
        cur = self.normed(self.mixed(x, self.wo(il, "ffn_res_score")), il, "ffn_norm")
        return self.add(x, self.feed(cur, il))

    def fading(self, x: Tensor, il: int) -> Tensor:
        """A sigmoid above a bound where the file has one, else softplus: [head_dim, heads, n_tokens]."""
        d, heads, n = self.d_head, self.m.n_head(0), x.ne[1]
        g = self.add(self.raw(self.raw(x, il, "ssm_f_a"), il, "ssm_f_b"), self.bias(il, "ssm_dt"))
        a = self.reshape(self.plain(il, "ssm_a"), 1, heads, 1)
        if self.m.key("kda.gate_lower_bound") is None:
            return self.mul(self.reshape(self.unary(g), d, heads, n), a)
        return self.scale(self.unary(self.scale(self.mul(self.reshape(g, d, heads, n), a))))

    def output_gate(self, x: Tensor, il: int) -> Tensor:
        """One product: [head_dim × heads, n_tokens]."""
        return self.raw(x, il, "ssm_g")

    def full(self, x: Tensor, il: int) -> Tensor:
        """Latent attention without positions, gated where the file has a gate: [n_embd, n_tokens] in and out."""
        cur = self.latent(x, il)
        if self.wo(il, "attn_gate") is not None:
            cur = self.mul(cur, self.unary(self.raw(x, il, "attn_gate")))
        return self.raw(cur, il, "attn_output")

    def activation(self, gate: Tensor | None, up: Tensor, act: Act, limit: float = 0.0) -> Tensor:  # noqa: ARG002
        """Both branches through tanh, the gate's times its sigmoid too (kimi_k3_situ)."""
        if gate is None:
            raise GraphUnknown("ffn_gate")
        gated = self.mul(self.scale(self.unary(self.scale(gate))), self.unary(gate))
        if self.m.number("activation.situ_linear_beta", 0.0) > 0:
            up = self.scale(self.unary(self.scale(up)))
        return self.mul(gated, up)

    def situ(self, x: Tensor, il: int, suffix: str = "") -> Tensor:
        """A feed-forward with this activation: [n_embd, n_tokens] in and out."""
        gate, up = (self.raw(x, il, f"ffn_{name}{suffix}") for name in ("gate", "up"))
        return self.raw(self.activation(gate, up, "silu"), il, "ffn_down" + suffix)

    def feed(self, x: Tensor, il: int) -> Tensor:
        """Dense, or experts in a narrower space beside a shared one: [n_embd, n_tokens] in and out (build_latent_moe).

        The router reads the full width.
        """
        if self.wo(il, "ffn_gate_inp") is None:
            return self.situ(x, il)
        narrow = self.raw(x, il, "ffn_routed_down") if self.wo(il, "ffn_routed_down") is not None else x
        logits = self.raw(x, il, "ffn_gate_inp")
        out = self.moe(narrow, il, norm_w=bool(self.m.key("expert_weights_norm", False)), gating=self.gating(),
                       logits=logits)  # fmt: skip
        if self.wo(il, "ffn_routed_norm") is not None:
            out = self.normed(out, il, "ffn_routed_norm")
        if self.wo(il, "ffn_routed_up") is not None:
            out = self.raw(out, il, "ffn_routed_up")
        return self.add(out, self.situ(x, il, "_shexp")) if self.wo(il, "ffn_gate_shexp") is not None else out
