"""Recurrent layers and the models built from them, alone or mixed with attention.

Source: llm_graph_context::build_rs in src/llama-graph.cpp; src/models/mamba-base.cpp, delta-net-base.cpp, lfm2.cpp
(b11434). Fused kernels are on wherever a device has them, as on the CPU.
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.decoder import Decoder
from inspector.memory.engines.llamacpp.graph.model import GraphUnknown, external
from inspector.memory.engines.llamacpp.graph.tensor import F32, I32, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Recurrent(Decoder):
    """A model with recurrent states; `inputs` adds what gathers them."""

    def inputs(self) -> Any:
        """Which cell each sequence's state is in, [n_seqs], and sizes of states (build_rs_inp, src/llama-graph.cpp)."""
        r, m = self.r, self.m
        count = m.count
        self.rows_at = self.input(I32, r.n_seqs, name="rs_s_copy")
        self.rows_main = self.view(self.rows_at, (r.n_seqs,))
        self.rows_tail = self.view(self.rows_at, (r.n_seqs - 1,))
        self.rows_extra = self.view(self.rows_at, (0,))
        self.states: dict[tuple[int, str], Tensor] = {}
        self.n_seq_tokens = r.n_tokens // r.n_seqs
        self.n_kept = min(self.n_seq_tokens, r.n_states)  # states written back, for drafts to go back to
        self.d_conv = count("ssm.conv_kernel", 0)
        self.d_inner = count("ssm.inner_size", 0)
        self.d_state = count("ssm.state_size", 0)
        self.dt_rank = count("ssm.time_step_rank", 0)
        if self.d_inner and not self.dt_rank:
            raise GraphUnknown(f"{m.arch}.ssm.time_step_rank")
        self.n_group = count("ssm.group_count", 0)
        self.size_r, self.size_s = m.state_sizes()
        if self.o.attends:
            super().inputs()
        return None

    def kind(self, il: int) -> tuple[object, ...] | None:
        """As any layer's, and whether it recurs.

        Where states are gathered apart, free blocks drift for twenty layers before they repeat: nothing is left out.
        """
        if not self.m.does("gathers states at once"):
            return None
        base = super().kind(il)
        return None if base is None else (*base, self.m.recurrent(il))

    def state(self, il: int, which: str) -> Tensor:
        """A layer's states in the cache: convolution ("r") or matrix ("s"), [elements, n_seqs], f32."""
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
        if not self.m.does("gathers states at once"):
            return self._gathered_apart(s, states, scan)
        every = self.get_rows(states, self.rows_tail if scan else self.rows_at)
        out = scan(states, self.rows_main) if scan else self.view(every, (size, n), (every.nb[1],))
        self.expand(out)
        extra = self.view(every, (size, 0), (every.nb[1],))
        self.expand(self.cpy(extra, self.view(s, (size, 0), (s.nb[1],))))
        return out

    def _gathered_apart(self, s: Tensor, states: Tensor, scan: Callable[[Tensor, Tensor], Tensor] | None) -> Tensor:
        """The same with further states gathered by themselves, as builds before did."""
        size = s.ne[0]
        out = self.expand((scan or self.get_rows)(states, self.rows_main))
        self.expand(self.cpy(self.get_rows(states, self.rows_extra), self.view(s, (size, 0), (s.nb[1],))))
        return out

    def ssm_conv(self, x: Tensor, kernel: Tensor) -> Tensor:
        """A convolution along each channel: [channels, tokens, n_seqs] of columns that overlap (ggml_ssm_conv)."""
        return self.custom("ssm_conv", F32, (kernel.ne[1], x.ne[0] - kernel.ne[0] + 1, x.ne[2]), x, kernel)

    def ssm_scan(self, s: Tensor, x: Tensor, *more: Tensor) -> Tensor:
        """The selective scan: outputs of all tokens, then the new states, in one row (ggml_ssm_scan)."""
        ids = more[-1]
        states = self.r.n_states * s.ne[0] * s.ne[1] * s.ne[2] * ids.ne[0]
        n = x.ne[0] * x.ne[1] * x.ne[2] * x.ne[3] + states
        return self.custom("ssm_scan", F32, (n,), s, x, *more)

    def store(self, t: Tensor, s: Tensor, *ne: int) -> None:
        """Write a new state back into the cache."""
        nb = (s.nb[1],) if len(ne) > 1 else ()
        self.expand(self.cpy(t, self.view(s, ne, nb)))

    def mamba1(self, x: Tensor, il: int) -> Tensor:
        """Mamba 1's selective scan, one head a channel: [n_embd, n_tokens] in and out.

        Source: build_mamba_layer (src/models/mamba-base.cpp); state: [d_state, 1, d_inner, n_seqs].
        """
        n, seqs, inner, d = self.n_seq_tokens, self.r.n_seqs, self.d_inner, self.d_state
        xz = self.lin(self.reshape(x, x.ne[0], n, seqs), il, "ssm_in")
        x, z = (self.view(xz, (inner, n, seqs), xz.nb[1:3]) for _ in "xz")
        conv_x = self.conv_input(il, x, self.d_conv, inner, flat=True)
        cur = self.unary(self.add(self.ssm_conv(conv_x, self.w(il, "ssm_conv1d")), self.bias(il, "ssm_conv1d")))
        dt, b, c = self.mamba1_steps(cur, il)
        x, a, state = self.reshape(cur, 1, inner, n, seqs), self.plain(il, "ssm_a"), self.state(il, "s")
        y = self.gathered(state, lambda s, ids: self.ssm_scan(self.reshape(s, d, 1, inner, seqs), x, dt, a, b, c, ids))
        self.store(self.view(y, (d * inner * seqs,)), state, d * inner * seqs)
        y = self.view(y, (inner, n, seqs), (x.nb[2], x.nb[3]))
        y = self.add(y, self.mul(cur, self.plain(il, "ssm_d")))
        cur = self.lin(self.glu(self.cont(z), y), il, "ssm_out")
        return self.reshape(cur, cur.ne[0], n * seqs)

    def mamba1_steps(self, x: Tensor, il: int) -> tuple[Tensor, Tensor, Tensor]:
        """Step sizes, [d_inner, n_seq_tokens, n_seqs], and the maps into and out of the state, [d_state, 1, …].

        Normed where the file has weights for it, or says so (FalconMamba).
        """
        n, seqs, d, m = self.n_seq_tokens, self.r.n_seqs, self.d_state, self.m
        db = self.lin(x, il, "ssm_x")
        dt = self.view(db, (self.dt_rank, n, seqs), db.nb[1:3])
        b, c = (self.view(db, (d, 1, n, seqs), (d * 4, db.nb[1], db.nb[2])) for _ in "bc")
        if m.weight(il, "ssm_dt_norm.weight") is not None or m.key("ssm.dt_b_c_rms"):
            names = ("ssm_dt_norm.weight", "ssm_b_norm.weight", "ssm_c_norm.weight")
            dt, b, c = (self.norm(t, m.weight(il, w), None, "rms", il) for t, w in zip((dt, b, c), names, strict=True))
        else:
            dt = self.cont(dt)
        return self.lin(dt, il, "ssm_dt"), b, c

    def bias(self, il: int, name: str) -> Tensor:
        """A bias that must be there. Raises GraphUnknown."""
        t = self.m.weight(il, name + ".bias")
        if t is None:
            raise GraphUnknown(f"blk.{il}.{name}.bias")
        return t

    def plain(self, il: int, name: str) -> Tensor:
        """A parameter whose name has no suffix."""
        t = self.m.weight(il, name) or self.m.weight(il, name + ".weight")
        if t is None:
            raise GraphUnknown(f"blk.{il}.{name}")
        return t

    def mamba2(self, x: Tensor, il: int) -> Tensor:
        """Mamba 2's scan with scalar decay a head: [n_embd, n_tokens] in and out.

        Source: build_mamba2_layer (src/models/mamba-base.cpp); state: [d_state, head_dim, heads, n_seqs].
        """
        n, seqs, inner, d, g = self.n_seq_tokens, self.r.n_seqs, self.d_inner, self.d_state, self.n_group
        heads, channels = self.m.positive("ssm.time_step_rank"), inner + 2 * g * d
        hd, flat = inner // heads, self.m.does("projects flat")
        p = self.lin(x if flat else self.reshape(x, x.ne[0], n, seqs), il, "ssm_in")
        p = self.reshape(p, p.ne[0], n, seqs) if flat else p
        z = self.view(p, (hd, heads, n, seqs), (hd * 4, p.nb[1], p.nb[2]))
        xbc, dt = self.view(p, (channels, n, seqs), p.nb[1:3]), self.view(p, (heads, n, seqs), p.nb[1:3])
        xbc = self.ssm_conv(self.conv_input(il, xbc, self.d_conv, channels), self.w(il, "ssm_conv1d"))
        xbc = self.unary(self.add(xbc, self.bias(il, "ssm_conv1d")))
        x = self.view(xbc, (hd, heads, n, seqs), (hd * 4, xbc.nb[1], xbc.nb[2]))
        b, c = (self.view(xbc, (d, g, n, seqs), (d * 4, xbc.nb[1], xbc.nb[2])) for _ in "bc")
        dt = self.add(self.cont(dt), self.bias(il, "ssm_dt"))
        y = self.mamba2_scan(il, x, dt, b, c)
        y = self.glu(self.cont(z), self.add(y, self.mul(x, self.plain(il, "ssm_d"))))
        norm = self.m.weight(il, "ssm_norm.weight")
        if norm is not None:
            y = self.reshape(y, inner // self.m.positive("ssm.group_count"), g, n, seqs)
            y = self.norm(y, norm, None, "rms", il)
        if flat:
            return self.lin(self.reshape(y, inner, n * seqs), il, "ssm_out")
        out = self.lin(self.reshape(y, inner, n, seqs), il, "ssm_out")
        return self.reshape(out, out.ne[0], n * seqs)

    def mamba2_scan(self, il: int, x: Tensor, *steps: Tensor) -> Tensor:
        """The scan, its state written back: [head_dim, heads, n_seq_tokens, n_seqs], `x`'s shape, on f32 rows."""
        hd, heads, n, seqs = x.ne
        size, d, a, state = self.d_state * hd * heads, self.d_state, self.plain(il, "ssm_a"), self.state(il, "s")
        dt, b, c = steps
        y = self.gathered(state, lambda s, ids: self.ssm_scan(self.reshape(s, d, hd, heads, seqs), x, dt, a, b, c, ids))
        new = self.view(y, (size, seqs, 1), (size * 4, size * 4 * seqs))
        self.expand(self.cpy(new, self.view(state, (size, seqs, 1), (state.nb[1], size * 4 * seqs))))
        return self.view(y, (hd, heads, n, seqs), (x.nb[1], heads * x.nb[1], n * heads * x.nb[1]))

    def shortconv(self, x: Tensor, il: int) -> Tensor:
        """Gated short convolution (LFM2)."""
        n, seqs, m = self.n_seq_tokens, self.r.n_seqs, self.m
        kept = m.positive("shortconv.l_cache") - 1
        x = self.reshape(x, x.ne[0], n, seqs)
        bcx = self.lin(x, il, "shortconv.in_proj")
        third = bcx.ne[0] // 3
        b, c, x = (self.view(bcx, (third, n, seqs), bcx.nb[1:3]) for _ in "bcx")
        bx = self.transpose(self.mul(b, x))
        conv_state = self.state(il, "r")
        conv = self.reshape(self.gathered(conv_state), kept, m.n_embd, seqs)
        bx = self.concat(conv, bx, 0)
        for _ in range(self.n_kept):
            last = self.view(bx, (kept, bx.ne[1], bx.ne[2]), bx.nb[1:3])
            self.store(last, conv_state, kept * m.n_embd, seqs)
        y = self.mul(c, self.ssm_conv(bx, self.w(il, "shortconv.conv")))
        y = self.lin(y, il, "shortconv.out_proj")
        return self.reshape(y, y.ne[0], n * seqs)

    # gated delta net

    def conv_input(self, il: int, x: Tensor, kernel: int, channels: int, *, flat: bool = False) -> Tensor:
        """The kept columns in front of this batch's; keeps the last ones for the next batch.

        [kernel − 1 + n_seq_tokens, channels, n_seqs] of [channels, n_seq_tokens, n_seqs]; `flat`: they are written
        back as one row of all sequences (build_mamba_layer).
        """
        conv_state, seqs = self.state(il, "r"), self.r.n_seqs
        conv = self.reshape(self.gathered(conv_state), kernel - 1, channels, seqs)
        x = self.concat(conv, self.transpose(x), 0)
        size = (kernel - 1) * channels
        for _ in range(self.n_kept):
            last = self.view(x, (kernel - 1, channels, seqs), x.nb[1:3])
            self.store(last, conv_state, *((size * seqs,) if flat else (size, seqs)))
        return x

    def delta_net(self, il: int, *src: Tensor) -> Tensor:
        """The fused kernel on queries, keys, values, gates, betas and states; writes the new state back."""
        d, heads, n, seqs = src[2].ne
        out = self.custom("gated_delta_net", F32, (d * heads, n * seqs + self.r.n_states * d * seqs), *src)
        y = self.view(out, (d, heads, n, seqs), (4 * d, 4 * d * heads, 4 * d * heads * n))
        new = self.view(out, (d, d, heads, seqs), (4 * d, 4 * d * d, 4 * d * d * heads))
        self.store(new, self.state(il, "s"), self.size_s, seqs)
        return y

    def gdn_l2(self, x: Tensor) -> Tensor:
        """Rows of length 1, as the delta net's kernel wants them: the shape stays (build_delta_net)."""
        return self.scale(self.rms_norm(x)) if self.m.does("norms by mean square") else self.l2_norm(x)

    def gated_norm(self, x: Tensor, il: int, gate: Tensor) -> Tensor:
        """Norm, then times the activated gate: [head_dim, heads, n_seq_tokens, n_seqs] (build_norm_gated)."""
        x = self.norm(x, self.w(il, "ssm_norm"), None, "rms", il)
        return self.mul(x, self.unary(gate))


class Mamba(Recurrent):
    """A selective scan in every layer."""

    def layer(self, x: Tensor, il: int) -> Tensor:
        """A scan and a residual: [n_embd, n_tokens] in and out (src/models/mamba.cpp)."""
        cur, x = self.rows_out(il, self.scanned(self.normed(x, il, "attn_norm"), il), x)
        return self.add(cur, x)

    def scanned(self, x: Tensor, il: int) -> Tensor:
        """Mamba 1's scan: [n_embd, n_tokens] in and out (build_mamba_layer, src/models/mamba-base.cpp)."""
        return self.mamba1(x, il)


class Mamba2(Mamba):
    """The same with scalar decay a head."""

    def scanned(self, x: Tensor, il: int) -> Tensor:
        """Mamba 2's scan: [n_embd, n_tokens] in and out (build_mamba2_layer, src/models/mamba-base.cpp)."""
        return self.mamba2(x, il)


class FalconH1(Recurrent):
    """Attention and Mamba 2 side by side in every layer."""

    def layer(self, x: Tensor, il: int) -> Tensor:
        """Attention and scan of one norm added, then a feed-forward: [n_embd, n_tokens] in and out."""
        attn = self.attention(self.normed(x, il, "attn_norm"), il)
        ssm = self.mamba2(self.normed(x, il, "attn_norm"), il)
        (ffn_in,) = self.rows_out(il, self.add(self.add(attn, ssm), x))
        out = self.ffn(self.normed(ffn_in, il, "ffn_norm"), il)
        return self.add(out, ffn_in)


class GraniteHybrid(Recurrent):
    """Mamba 2 layers with attention in between; scaled residuals."""

    def build(self) -> None:
        """The decoder's graph, without rotations where the file says so (src/models/granite-hybrid.cpp)."""
        if not self.m.key("rope.scaling.finetuned", True):
            self.o = self.o.replace(rope="none", positions="none")
        super().build()

    def layer(self, x: Tensor, il: int) -> Tensor:
        """Scan or attention, then feed-forward or experts, residuals scaled: [n_embd, n_tokens] in and out."""
        scaled = bool(self.m.key("residual_scale", self.o.residual_scale))
        normed = self.normed(x, il, "attn_norm")
        cur = self.mamba2(normed, il) if self.m.recurrent(il) else self.attention(normed, il)
        cur, x = self.rows_out(il, cur, x)
        ffn_in = self.add(self.scale(cur) if scaled else cur, x)
        cur = self.feed(self.normed(ffn_in, il, "ffn_norm"), il)
        return self.add(self.scale(cur) if scaled else cur, ffn_in)


class Jamba(Recurrent):
    """Mamba 1 layers with attention in between."""

    def layer(self, x: Tensor, il: int) -> Tensor:
        """Scan or attention, then feed-forward or experts: [n_embd, n_tokens] in and out (src/models/jamba.cpp)."""
        normed = self.normed(x, il, "attn_norm")
        cur = self.mamba1(normed, il) if self.m.recurrent(il) else self.attention(normed, il)
        cur, x = self.rows_out(il, cur, x)
        ffn_in = self.add(x, cur)
        return self.add(ffn_in, self.feed(self.normed(ffn_in, il, "ffn_norm"), il))


class NemotronH(Recurrent):
    """Each layer is one of Mamba 2, attention or feed-forward."""

    def kind(self, il: int) -> tuple[object, ...] | None:
        """As any layer's, and rows of its feed-forward: layers without are attention's."""
        base = super().kind(il)
        return None if base is None else (*base, self.m.d_ff(il))

    def layer(self, x: Tensor, il: int) -> Tensor:
        """Scan, attention or feed-forward on one norm: [n_embd, n_tokens] in and out (src/models/nemotron-h.cpp)."""
        normed = self.normed(x, il, "attn_norm")
        if self.m.recurrent(il):
            cur = self.mamba2(normed, il)
        elif not self.m.d_ff(il):
            cur = self.attention(normed, il)
        else:
            cur = self.feed(normed, il)
        cur, x = self.rows_out(il, cur, x)
        return self.add(cur, x)

    def feed(self, x: Tensor, il: int) -> Tensor:
        """A dense feed-forward, or experts (in a narrower space in some files): [n_embd, n_tokens] in and out."""
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
        """Short convolution or attention, then a feed-forward: [n_embd, n_tokens] in and out (src/models/lfm2.cpp)."""
        normed = self.normed(x, il, "attn_norm")
        cur = self.shortconv(normed, il) if self.m.recurrent(il) else self.attention(normed, il)
        cur, x = self.rows_out(il, cur, x)
        cur = self.add(x, cur)
        return self.add(cur, self.feed(self.normed(cur, il, "ffn_norm"), il))
