"""Clef: Qwen 3.5's layers over one batch, without memory, and a head that weighs options against questions.

Source: src/models/clef.cpp (b11434). A batch that is reserved for has one question with one option.
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.hybrids import Qwen35
from inspector.memory.engines.llamacpp.graph.model import GraphUnknown
from inspector.memory.engines.llamacpp.graph.tensor import F16, F32, I32, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Clef(Qwen35):
    """Delta nets that start from nothing, gated attention over the batch, the decision head."""

    def build(self) -> None:
        """Embeddings, layers, norm, and the scores of all options, a row each (llama_model_clef::graph)."""
        x = self.embed()
        self.pos = self.positions(4)
        self.inputs()
        x = self.norm(self.body(x), self.top("output_norm.weight"))
        scores = self.decided(x)
        scores = self.add(self.pad(scores, 0, self.r.n_tokens - scores.ne[1]), self.input(F32, 1, name="status"))
        scores.is_output = True
        self.expand(scores)

    def inputs(self) -> Any:
        """A mask of the batch itself, [n_tokens, n_tokens]: all sequences are one (build_attn_inp_causal)."""
        count, n = self.m.count, self.r.n_tokens
        self.mask_of_batch = self.input(F16 if self.r.flash else F32, n, n, name="self_kq_mask")
        self.d_inner, self.d_state = count("ssm.inner_size"), count("ssm.state_size")

    def recurs(self, il: int) -> bool:
        """Whether the layer is a delta net: those have its kernel."""
        return self.wo(il, "ssm_conv1d") is not None

    def layer(self, x: Tensor, il: int) -> Tensor:
        """Delta net or gated attention, then the feed-forward: [n_embd, n_tokens] in and out."""
        cur = self.normed(x, il, "attn_norm")
        cur = self.linear(cur, il) if self.recurs(il) else self.gated_attention(cur, il)
        mid = self.add(cur, x)
        return self.add(self.ffn(self.normed(mid, il, "post_attention_norm"), il), mid)

    def attend(self, il: int, q: Tensor, k: Tensor | None, v: Tensor | None, **more: Any) -> Tensor:
        """Attention over the batch alone."""
        assert k is not None
        assert v is not None
        return self.attend_batch(il, q, k, v, self.mask_of_batch, wo=more.get("wo"))

    def linear(self, x: Tensor, il: int) -> Tensor:
        """A gated delta net over all tokens as one sequence: [n_embd, n_tokens] in and out."""
        n, dk, (hk, hv) = self.r.n_tokens, self.d_state, self.key_and_value_heads()
        dv = self.d_inner // hv
        mixed = self.lin(x, il, "attn_qkv")
        mixed = self.reshape(mixed, mixed.ne[0], n, 1)
        z = self.lin(x, il, "attn_gate")
        beta = self.unary(self.reshape(self.lin(x, il, "ssm_beta"), 1, hv, n))
        alpha = self.add(self.reshape(self.lin(x, il, "ssm_alpha"), hv, n), self.bias(il, "ssm_dt"))
        gate = self.reshape(self.mul(self.unary(alpha), self.plain(il, "ssm_a")), 1, hv, n)
        kernel = self.w(il, "ssm_conv1d")
        earlier = self.fill(self.leaf(F32, kernel.ne[0] - 1, self.d_inner + 2 * hk * dk))
        out = self.unary(self.ssm_conv(self.concat(earlier, self.transpose(mixed), 0), kernel))
        row = 4 * (2 * dk * hk + dv * hv)
        q, k, v = (self.view(out, (d, h, n), (4 * d, row)) for d, h in ((dk, hk), (dk, hk), (dv, hv)))
        state = self.fill(self.leaf(F32, dv, dv, hv))
        src = (self.gdn_l2(q), self.gdn_l2(k), v, gate, beta, state)
        y = self.custom("gated_delta_net", F32, (dv * hv, n + dv), *src)
        y = self.view(y, (dv, hv, n), (4 * dv, 4 * dv * hv))
        y = self.gated_norm(y, il, self.reshape(z, dv, hv, n))
        # a view is never added to in place
        return self.reshape(self.lin(self.reshape(y, dv * hv, n, 1), il, "ssm_out"), self.m.n_embd, n)

    # the head

    def part(self, name: str) -> Tensor:
        """A weight by its full name. Raises GraphUnknown where the file has none."""
        t = self.top(name)
        if t is None:
            raise GraphUnknown(name)
        return t

    def projected(self, x: Tensor, name: str) -> Tensor:
        """A projection of the head; its bias where there is one."""
        bias = self.top(name + ".bias")
        cur = self.mm(self.part(name + ".weight"), x)
        return cur if bias is None else self.add(cur, bias)

    def head_norm(self, x: Tensor, name: str) -> Tensor:
        """A LayerNorm of the head."""
        return self.norm(x, self.part(name + ".weight"), self.part(name + ".bias"), "layer")

    def head_attention(self, x: Tensor, over: Tensor, at: str) -> Tensor:
        """Attention without a mask: rows of `x` over rows of `over`, [width, …] (build_head_attn)."""
        heads = self.m.positive("decision.head_count")
        d, n, seen = x.ne[0] // heads, x.ne[1], over.ne[1]
        q, k, v = (self.projected(t, at + which) for t, which in ((x, "q"), (over, "k"), (over, "v")))
        q = self.permute(self.reshape(q, d, heads, n), 0, 2, 1, 3)
        k = self.permute(self.reshape(k, d, heads, seen), 0, 2, 1, 3)
        v = self.cont(self.permute(self.reshape(v, d, heads, seen), 1, 2, 0, 3))
        cur = self.mm(v, self.soft_max(self.mm(k, q)))
        return self.projected(self.cont(self.permute(cur, 0, 2, 1, 3), x.ne[0], n), at + "o")

    def head_ffn(self, x: Tensor, at: str) -> Tensor:
        """Norm, up, activation, down (build_head_ffn)."""
        cur = self.unary(self.projected(self.head_norm(x, at + "ffn_norm"), at + "ffn_up"))
        return self.projected(cur, at + "ffn_down")

    def decided(self, hidden: Tensor) -> Tensor:
        """A score an option, [1, options], of hidden states, [n_embd, n_tokens] (build_head)."""
        n = self.r.n_tokens
        tokens = self.input(I32, n, name="tokens")
        self.pool_q, self.pool_o = self.input(F32, n, 1, name="pool_q"), self.input(F32, n, 1, name="pool_o")
        kind, self.asked = self.input(I32, 1, name="question_type"), self.input(I32, 1, name="option_question")
        hidden = self.head_norm(hidden, "decision.hidden_norm")
        memory = self.projected(hidden, "decision.proj_memory")
        self.end = self.view(hidden, (hidden.ne[0], 1), (hidden.nb[1],))
        turned = self.cont(self.transpose(hidden))
        question, context = self.mm(turned, self.pool_q), self.mm(turned, self.pool_o)
        words = self.get_rows(self.lm_head(), tokens)
        words = self.mm(self.cont(self.transpose(words)), self.pool_o)
        options = self.read(self.options(context, words, question), memory)
        fields = self.fields(options, question, kind)
        return self.scored(options, self.joined(fields, memory), question, words)

    def options(self, context: Tensor, words: Tensor, question: Tensor) -> Tensor:
        """One query an option: what stands around it, its words, its question."""
        cur = self.projected(context, "decision.proj_option_context")
        cur = self.add(cur, self.projected(words, "decision.proj_option_lexical"))
        return self.add(cur, self.get_rows(self.projected(question, "decision.proj_option_question"), self.asked))

    def read(self, options: Tensor, memory: Tensor) -> Tensor:
        """Options read the prompt."""
        for i in range(self.m.count("decision.routing_block_count")):
            at = f"dec.blk.{i}."
            cur = self.head_norm(options, at + "cross_attn_norm")
            over = self.head_norm(memory, at + "cross_attn_norm_kv")
            options = self.add(options, self.head_attention(cur, over, at + "cross_attn_"))
            options = self.add(options, self.head_ffn(options, at))
        return options

    def fields(self, options: Tensor, question: Tensor, kind: Tensor) -> Tensor:
        """One vector a question: its text, its options, the prompt's end, its type."""
        fields = self.projected(question, "decision.proj_question")
        weights = self.scale(self.mm(options, fields))
        weights = self.soft_max(self.add(weights, self.input(F32, 1, 1, name="option_mask")))
        summary = self.mm(self.cont(self.transpose(options)), weights)
        fields = self.add(fields, self.head_norm(summary, "decision.option_summary_norm"))
        fields = self.add(fields, self.projected(self.end, "decision.proj_global"))
        return self.add(fields, self.get_rows(self.part("token_types.weight"), kind))

    def joined(self, fields: Tensor, memory: Tensor) -> Tensor:
        """Questions read each other and the prompt."""
        routing = self.m.count("decision.routing_block_count")
        for i in range(routing, routing + self.m.count("decision.block_count")):
            at = f"dec.blk.{i}."
            cur = self.head_norm(fields, at + "attn_norm")
            fields = self.add(fields, self.head_attention(cur, cur, at + "attn_"))
            cur = self.head_norm(fields, at + "cross_attn_norm")
            fields = self.add(fields, self.head_attention(cur, memory, at + "cross_attn_"))
            fields = self.add(fields, self.head_ffn(fields, at))
        return self.head_norm(fields, "decision.field_norm")

    def likeness(self, a: Tensor, b: Tensor) -> Tensor:
        """The cosine of two vectors, column by column: [1, columns]."""
        return self.sum_rows(self.mul(a, b))

    def scored(self, options: Tensor, fields: Tensor, question: Tensor, words: Tensor) -> Tensor:
        """How well each option's words suit, and how well it suits its question's vector, weighed by three scales."""
        anchor = self.get_rows(self.l2_norm(self.add(question, self.end)), self.asked)
        prior = self.likeness(self.l2_norm(words), anchor)
        options = self.head_norm(options, "decision.option_norm")
        field = self.get_rows(fields, self.asked)
        cosine = self.likeness(self.l2_norm(field), self.l2_norm(options))
        features = self.concat(field, options, 0)
        features = self.concat(features, self.mul(field, options), 0)
        features = self.concat(features, self.unary(self.sub(field, options)), 0)
        rest = self.projected(self.unary(self.projected(features, "decision.scorer")), "decision.scorer_out")
        scales = self.part("decision.scales")
        prior_scale, cosine_scale, joint_scale = (self.view(scales, (1,)) for _ in range(3))
        joint = self.add(self.mul(cosine, cosine_scale), rest)
        return self.add(self.mul(prior, prior_scale), self.mul(joint, joint_scale))
