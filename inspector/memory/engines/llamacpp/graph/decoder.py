"""The decoder that most architectures are: norm, attention, residual, norm, feed-forward or experts, residual.

One builder with options instead of one builder an architecture; options say what an architecture's own builder
does differently (src/models/*.cpp, b11434). Optional weights (biases, query/key norms, sinks, shared experts) are
used wherever the file has them.
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.attention import Attention
from inspector.memory.engines.llamacpp.graph.tensor import F32, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# Architectures that read attention.clamp_kqv.
CLAMPED = frozenset(("dbrx", "mpt", "olmo"))
GATINGS = {1: "softmax", 2: "sigmoid", 3: "softmax_weight", 4: "softplus"}


class Decoder(Attention):
    """A decoder-only model. `o` holds the architecture's options."""

    def build(self, o: Mapping[str, Any]) -> None:
        """The whole graph."""
        self.o = o
        get = o.get
        x = self.embed(scaled=get("embed") == "token_scale")
        if get("embed") == "scale":
            x = self.scale(x)
        if get("embed") == "norm":
            x = self.norm(x, self.top("token_embd_norm.weight"), self.top("token_embd_norm.bias"), o["norm"])
        self.attn_scale = self.input(F32, 1, 1, self.r.n_tokens) if get("attn_scale") else None
        if get("pos", True):
            times = get("pos_per_token", 1)
            if times == "sections":  # llama_hparams::use_mrope
                sections = self.m.key("rope.dimension_sections") or (0, 0)
                times = 4 if sections[0] > 0 and sections[1] > 0 else 1
            self.pos = self.positions(times)
        if get("pos_embd"):
            table = self.top("position_embd.weight")
            assert table is not None
            x = (
                self.add(x, self.get_rows(table, self.pos))
                if get("pos_embd") == 1
                else self.add(self.get_rows(table, self.pos), x)
            )
        self.inputs()
        self.output_ids()
        x = self.body(x)
        if get("h_nextn") is True:
            x.is_output = True
        assert self.out_ids is not None
        if get("rows_last") and get("h_nextn") != "normed":
            if get("h_nextn") == "pre":
                x.is_output = True
            x = self.get_rows(x, self.out_ids)
        if get("head_norm", True):
            x = self.norm(x, self.top("output_norm.weight"), self.top("output_norm.bias"), get("norm", "rms"))
        if get("h_nextn") == "normed":
            x.is_output = True
            x = self.get_rows(x, self.out_ids)
        self.logits(x, scale=self.logit_scaled(), softcap=self.softcapped())

    def kind(self, il: int) -> tuple[object, ...] | None:
        """What tells one layer's graph from another's; None where every layer must be built."""
        m, r = self.m, self.r
        block = m.blocks.get(str(il), {})
        shapes = tuple([(t.name.partition(".")[2].partition(".")[2], t.shape) for t in block.values()])
        heads = (m.n_head(il), m.n_head_kv(il), m.n_expert_used(il))
        limits = (self.limit(il, "exp"), self.limit(il, "shexp"))
        where = (r.layer_buf[il], *[m.weight_buf(str(il), name) for name in block]) if r.layer_buf else ()
        return (shapes, m.swa[il], heads, self.rotates(il), limits, where)

    def leave_out_repetitions(self) -> None:
        """Build only layers that differ, and of those that repeat a few."""
        from inspector.memory.engines.llamacpp.graph.periods import representative

        kinds = [self.kind(il) for il in range(self.m.n_layer)]
        if None not in kinds:
            self.layer_ids = representative(kinds)

    def body(self, x: Tensor) -> Tensor:
        """All layers."""
        for il in self.layer_ids:
            x = self.layer(x, il)
        return x

    def rows_out(self, il: int, *ts: Tensor) -> tuple[Tensor, ...]:
        """Where all hidden states are kept for a draft head, rows are picked after the layers instead."""
        return ts if self.o.get("rows_last") or self.o.get("h_nextn") == "normed" else super().rows_out(il, *ts)

    def logit_scaled(self) -> bool:
        how = self.o.get("logit_scale")
        return bool(self.m.key("logit_scale")) if how == "key" else bool(how)

    def softcapped(self) -> bool:
        how = self.o.get("softcap")
        return bool(self.m.key("final_logit_softcapping")) if how == "key" else bool(how)

    def layer(self, x: Tensor, il: int) -> Tensor:
        """One block."""
        o, get = self.o, self.o.get
        kind = get("norm", "rms")
        residual = x
        normed = self.normed(x, il, "attn_norm", kind) if get("pre_norm", True) else x
        cur = self.attention(normed, il)
        if get("parallel"):
            return self.parallel(cur, residual, normed, il)
        cur, residual = self.rows_out(il, cur, residual)
        if get("residual_scale") and self.m.key("residual_scale"):
            cur = self.scale(cur)
        if get("attn_post_norm"):
            cur = self.normed(cur, il, o["attn_post_norm"], kind)
        ffn_in = self.add(cur, residual)
        cur = self.normed(ffn_in, il, get("ffn_norm", "ffn_norm"), kind) if get("pre_norm", True) else ffn_in
        cur = self.feed(cur, il)
        if get("ffn_post_norm"):
            cur = self.normed(cur, il, o["ffn_post_norm"], kind)
        if get("residual_scale") and self.m.key("residual_scale"):
            cur = self.scale(cur)
        return self.add(ffn_in, cur) if get("swap_add") else self.add(cur, ffn_in)

    def parallel(self, cur: Tensor, residual: Tensor, normed: Tensor, il: int) -> Tensor:
        """Attention and feed-forward side by side from one norm (command-r, phi2, falcon …)."""
        cur, residual, normed = self.rows_out(il, cur, residual, normed)
        out = self.feed(normed, il)
        how = self.o["parallel"]
        if how == 1:
            return self.add(self.add(out, residual), cur)
        return self.add(self.add(out, cur) if how == 2 else self.add(cur, out), residual)

    def attention(self, x: Tensor, il: int) -> Tensor:
        """Queries, keys, values; their norms and rotary positions; attention."""
        get, m = self.o.get, self.m
        kind = get("qk_kind", "rms")
        flat = get("qk_norm") == "flat"
        q, k, v = self.qkv(x, il, clamp=m.arch in CLAMPED, reshape=not flat)
        if flat:
            n = self.r.n_tokens
            if m.weight(il, "attn_q_norm.weight") is not None:
                q = self.normed(q, il, "attn_q_norm", kind)
            if m.weight(il, "attn_k_norm.weight") is not None:
                k = self.normed(k, il, "attn_k_norm", kind)
            q = self.reshape(q, m.head_k(il), m.n_head(il), n)
            k = self.reshape(k, m.head_k(il), m.n_head_kv(il), n)
            v = self.reshape(v, m.head_v(il), m.n_head_kv(il), n)
        late = get("qk_norm") == "late"
        if not flat and not late:
            q, k = self.qk_normed(q, k, il, kind)
        if self.rotates(il):
            factors = self.rope_factors(il)
            q, k = self.rope(q, self.pos, factors), self.rope(k, self.pos, factors)
        if late:
            q, k = self.qk_normed(q, k, il, kind)
        if get("q_scale") is True or (get("q_scale") == "key" and m.key("attention.scale")):
            q = self.scale(q)
        q, k = self.adjust_qk(q, k, il)
        return self.attend(il, q, k, v, sinks=m.weight(il, "attn_sinks.weight"))

    def adjust_qk(self, q: Tensor, k: Tensor, il: int) -> tuple[Tensor, Tensor]:  # noqa: ARG002 - for overriders
        """What an architecture does to queries and keys last."""
        return q, k

    def qk_normed(self, q: Tensor, k: Tensor, il: int, kind: str) -> tuple[Tensor, Tensor]:
        m = self.m
        if m.weight(il, "attn_q_norm.weight") is not None:
            q = self.normed(q, il, "attn_q_norm", kind)
        if m.weight(il, "attn_k_norm.weight") is not None:
            k = self.normed(k, il, "attn_k_norm", kind)
        return q, k

    def rotates(self, il: int) -> bool:
        """Whether this layer has rotary positions."""
        how = self.o.get("rope", True)
        if how == "swa":
            return self.m.swa[il] or not self.m.has_swa
        if how == "step":
            step = self.m.count("no_rope_layer_step", self.o.get("no_rope_step", 4))
            return step > 0 and (il + 1) % step != 0
        return bool(how)

    def gating(self) -> str:
        """How experts are chosen: the architecture's rule, or the file's."""
        how = self.o.get("gating", "softmax")
        if how == "key":
            return GATINGS.get(self.m.count("expert_gating_func", self.o.get("gating_default", 1)), "softmax")
        return str(how)

    def feed(self, x: Tensor, il: int) -> Tensor:
        """Feed-forward: dense where the layer has no router."""
        get, m = self.o.get, self.m
        act = get("act", "silu")
        if m.weight(il, "ffn_gate_inp.weight") is None:
            return self.ffn(x, il, act)
        norm_w = get("norm_w", True)
        if norm_w == "key":
            norm_w = bool(m.key("expert_weights_norm", False))
        out = self.moe(
            x, il, act=get("moe_act", act), norm_w=norm_w, gating=self.gating(), weigh_first=bool(get("weigh_first"))
        )
        if m.weight(il, "ffn_up_shexp.weight") is not None:
            shared = self.ffn(x, il, act, suffix="_shexp")
            if m.weight(il, "ffn_gate_inp_shexp.weight") is not None:
                shared = self.shared_gate(shared, x, il)
            out = self.add(out, shared)
        return out

    def shared_gate(self, shared: Tensor, x: Tensor, il: int) -> Tensor:
        return self.mul(shared, self.unary(self.lin(x, il, "ffn_gate_inp_shexp")))
