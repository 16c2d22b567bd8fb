"""The decoder that most architectures are: norm, attention, residual, norm, feed-forward or experts, residual.

One builder with options (`options.py`) instead of one builder an architecture; options say what an architecture's own
builder does differently (src/models/*.cpp, b11434). Optional weights (biases, query/key norms, sinks, shared experts)
are used wherever the file has them.
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.attention import Attention
from inspector.memory.engines.llamacpp.graph.tensor import F32, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from inspector.memory.engines.llamacpp.graph.options import Gating, NormKind, When

# enum llama_expert_gating_func_type (src/llama-hparams.h)
GATINGS: Final[dict[int, Gating]] = {1: "softmax", 2: "sigmoid", 3: "softmax_weight", 4: "softplus"}


class Decoder(Attention):
    """A decoder-only model."""

    def build(self) -> None:
        """The whole graph: embeddings, layers, norm, logits, as in most src/models/*.cpp (llama.cpp's is the model)."""
        x = self.placed(self.embedded())
        self.inputs()
        self.output_ids()
        x = self.body(x)
        x = self.picked(x, "layers")
        o = self.o
        x = self.norm(x, self.top(f"{o.norms.output}.weight"), self.top(f"{o.norms.output}.bias"), o.norms.kind)
        x = self.picked(x, "norm")
        scaled, capped = self.holds(o.logit_scale, "logit_scale"), self.holds(o.softcap, "final_logit_softcapping")
        self.logits(x, scale=scaled, softcap=capped)

    def embedded(self) -> Tensor:
        """The embeddings that the first layer reads, but for positions: [n_embd, n_tokens]."""
        how = self.o.embed
        x = self.embed(scaled=how == "token_scale")
        if how == "scale":
            return self.scale(x)
        if how == "norm":
            return self.norm(x, self.top("token_embd_norm.weight"), self.top("token_embd_norm.bias"), self.o.norms.kind)
        return x

    def placed(self, x: Tensor) -> Tensor:
        """The inputs that positions need, and learned positions added: [n_embd, n_tokens] in and out."""
        o = self.o
        self.attn_scale = self.input(F32, 1, 1, self.r.n_tokens) if o.q_scale == "position" else None
        if o.positions != "none":
            self.pos = self.positions(self.positions_a_token())
        if not o.learned_positions:
            return x
        table = self.top("position_embd.weight")
        assert table is not None
        return self.add(x, self.get_rows(table, self.pos))

    def picked(self, x: Tensor, after: str) -> Tensor:
        """Rows whose logits are wanted, [n_embd, n_outputs], picked here where a draft head reads all states.

        `after`: what has just been built, "layers" or "norm"; elsewhere the last layer picks them (`rows_out`).
        """
        if self.o.draft_reads != after:
            return x
        assert self.out_ids is not None
        x.is_output = True
        return self.get_rows(x, self.out_ids)

    def positions_a_token(self) -> int:
        """One, or four where rotations have sections for time, height and width (llama_hparams::use_mrope)."""
        if self.o.positions != "sections":
            return 4 if self.o.positions == "four" else 1
        sections = (*self.m.whole_numbers("rope.dimension_sections"), 0, 0)
        return 4 if sections[0] > 0 and sections[1] > 0 else 1

    def holds(self, when: When, key: str) -> bool:
        """Whether an option holds for this file: "key" asks its key of that name."""
        return bool(self.m.key(key)) if when == "key" else when == "always"

    def kind(self, il: int) -> tuple[object, ...] | None:
        """What tells one layer's graph from another's; None where every layer must be built."""
        m, r = self.m, self.r
        number = m.block_of(il)
        block = m.blocks.get(number, {})
        shapes = tuple([(t.name.partition(".")[2].partition(".")[2], t.shape) for t in block.values()])
        heads = (m.n_head(il), m.n_head_kv(il), m.n_expert_used(il))
        limits = (self.limit(il, "exp"), self.limit(il, "shexp"))
        where = (r.layer_buf[il], *[m.weight_buf(number, name) for name in block]) if r.layer_buf else ()
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
            x = self.layer(self.entered(x, il), il)
        return self.entered(x, self.m.n_layer)

    def entered(self, x: Tensor, il: int) -> Tensor:
        """What a layer reads, held to the end where a draft reads it too (`t_layer_inp`, src/llama-graph.cpp)."""
        if il in self.r.kept:
            x.is_output = True
        return x

    def rows_out(self, il: int, *ts: Tensor) -> tuple[Tensor, ...]:
        """Where all hidden states are kept for a draft head, rows are picked after the layers instead."""
        return super().rows_out(il, *ts) if self.o.draft_reads == "none" else ts

    def layer(self, x: Tensor, il: int) -> Tensor:
        """One block."""
        norms, residual = self.o.norms, x
        normed = self.normed(x, il, "attn_norm", norms.kind) if norms.before else x
        cur = self.attention(normed, il)
        if self.o.parallel != "no":
            return self.parallel(cur, residual, normed, il)
        cur, residual = self.rows_out(il, cur, residual)
        if norms.attention_after:
            cur = self.normed(cur, il, norms.attention_after, norms.kind)
        ffn_in = self.add(cur, residual)
        cur = self.feed(self.normed(ffn_in, il, norms.ffn, norms.kind) if norms.before else ffn_in, il)
        if norms.ffn_after:
            cur = self.normed(cur, il, norms.ffn_after, norms.kind)
        return self.add(ffn_in, cur) if self.o.residual_first else self.add(cur, ffn_in)

    def parallel(self, cur: Tensor, residual: Tensor, normed: Tensor, il: int) -> Tensor:
        """Attention and feed-forward side by side from one norm (command-r, phi2, falcon …)."""
        cur, residual, normed = self.rows_out(il, cur, residual, normed)
        out = self.feed(normed, il)
        if self.o.parallel == "ffn_residual":
            return self.add(self.add(out, residual), cur)
        return self.add(self.add(out, cur) if self.o.parallel == "ffn_attention" else self.add(cur, out), residual)

    def attention(self, x: Tensor, il: int) -> Tensor:
        """Queries, keys, values; their norms and rotary positions; attention."""
        o = self.o
        q, k, v = self.flat_qkv(x, il) if o.qk_norm == "flat" else self.qkv(x, il, clamp=o.clamp_kqv)
        if o.qk_norm == "before":
            q, k = self.qk_normed(q, k, il, o.qk_kind)
        if self.rotates(il):
            factors = self.rope_factors(il)
            q, k = self.rope(q, self.pos, factors), self.rope(k, self.pos, factors)
        if o.qk_norm == "after":
            q, k = self.qk_normed(q, k, il, o.qk_kind)
        if o.q_scale == "constant":
            q = self.scale(q)
        q, k = self.adjust_qk(q, k, il)
        return self.attend(il, q, k, v, sinks=self.m.weight(il, "attn_sinks.weight"))

    def flat_qkv(self, x: Tensor, il: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys normed over all heads, then cut into them."""
        m, n = self.m, self.r.n_tokens
        q, k, v = self.qkv(x, il, reshape=False)
        q, k = self.qk_normed(q, k, il, self.o.qk_kind)
        q = self.reshape(q, m.head_k(il), m.n_head(il), n)
        k = self.reshape(k, m.head_k(il), m.n_head_kv(il), n)
        return q, k, self.reshape(v, m.head_v(il), m.n_head_kv(il), n)

    def adjust_qk(self, q: Tensor, k: Tensor, il: int) -> tuple[Tensor, Tensor]:  # noqa: ARG002 - for overriders
        """What an architecture does to queries and keys last."""
        return q, k

    def qk_normed(self, q: Tensor, k: Tensor, il: int, kind: NormKind) -> tuple[Tensor, Tensor]:
        """Queries and keys, each normed where the layer has weights for it."""
        m = self.m
        if m.weight(il, "attn_q_norm.weight") is not None:
            q = self.normed(q, il, "attn_q_norm", kind)
        if m.weight(il, "attn_k_norm.weight") is not None:
            k = self.normed(k, il, "attn_k_norm", kind)
        return q, k

    def rotates(self, il: int) -> bool:
        """Whether this layer has rotary positions."""
        if self.o.rope == "sliding":
            return self.m.swa[il] or not self.m.has_swa
        if self.o.rope == "step":
            step = self.m.count("no_rope_layer_step", 4)
            return step > 0 and (il + 1) % step != 0
        return self.o.rope == "all"

    def gating(self) -> Gating:
        """How experts are chosen: the architecture's rule, or the file's."""
        experts, key = self.o.experts, "expert_gating_func"
        if experts.gating_key and self.m.key(key) is not None:
            return GATINGS.get(self.m.count(key), "softmax")
        return experts.gating

    def feed(self, x: Tensor, il: int) -> Tensor:
        """Feed-forward: dense where the layer has no router."""
        m, act, experts = self.m, self.o.act, self.o.experts
        if m.weight(il, "ffn_gate_inp.weight") is None:
            return self.ffn(x, il, act)
        norm_w = self.holds(experts.norm_weights, "expert_weights_norm")
        out = self.moe(
            x, il, act=experts.act or act, norm_w=norm_w, gating=self.gating(), weigh_first=experts.weigh_first
        )
        if m.weight(il, "ffn_up_shexp.weight") is not None:
            shared = self.ffn(x, il, experts.shared_act or act, suffix="_shexp")
            if m.weight(il, "ffn_gate_inp_shexp.weight") is not None:
                shared = self.shared_gate(shared, x, il)
            out = self.add(out, shared)
        return out

    def shared_gate(self, shared: Tensor, x: Tensor, il: int) -> Tensor:
        """A shared expert's output, [n_embd, n_tokens], times a sigmoid a token (src/models/qwen35moe.cpp, …)."""
        return self.mul(shared, self.unary(self.lin(x, il, "ffn_gate_inp_shexp")))
