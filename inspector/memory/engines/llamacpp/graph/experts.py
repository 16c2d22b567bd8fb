"""Decoders whose experts or feed-forward differ from the common one's (src/models/*.cpp, b11434)."""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.decoder import Decoder
from inspector.memory.engines.llamacpp.graph.options import Norms
from inspector.memory.engines.llamacpp.graph.tensor import Tensor


class Arctic(Decoder):
    """A dense feed-forward and experts side by side, the experts on the layer's own input."""

    def layer(self, x: Tensor, il: int) -> Tensor:
        """Attention, feed-forward and experts side by side: [n_embd, n_tokens] in and out (src/models/arctic.cpp)."""
        cur, residual = self.rows_out(il, self.attention(self.normed(x, il, "attn_norm"), il), x)
        ffn_in = self.add(cur, residual)
        out = self.add(self.ffn(self.normed(ffn_in, il, "ffn_norm"), il), ffn_in)
        return self.add(self.moe(self.normed(residual, il, "ffn_norm_exps"), il), out)


class Cohere2Moe(Decoder):
    """Parallel attention and experts; leading dense layers always rotate."""

    def build(self) -> None:
        """The decoder's graph; which norm it has, the file's keys say (src/models/cohere2moe.cpp)."""
        if self.m.number("attention.layer_norm_rms_epsilon", 0.0):
            self.o = self.o.replace(norms=Norms("rms"))
        super().build()

    def rotates(self, il: int) -> bool:
        """Layers that slide, and the dense ones in front."""
        return self.m.swa[il] or il < self.m.count("leading_dense_block_count", 0)

    def feed(self, x: Tensor, il: int) -> Tensor:
        """Dense, or experts and a shared one, their sum halved: [n_embd, n_tokens] in and out."""
        if self.m.weight(il, "ffn_gate_inp.weight") is None:
            return self.ffn(x, il)
        out = self.moe(x, il, norm_w=bool(self.m.key("expert_weights_norm", False)), gating=self.gating())
        if self.m.weight(il, "ffn_up_shexp.weight") is not None:
            out = self.scale(self.add(out, self.ffn(x, il, suffix="_shexp")))
        return out


class Granite(Decoder):
    """Residuals scaled where the file says so; a shared expert beside the routed ones."""

    def image_level(self, il: int) -> bool:
        """Whether features of a deeper image level come in before this layer."""
        mapping = self.m.whole_numbers("deepstack_mapping")
        return il > 0 and self.deepstack() > 0 and il < len(mapping) and mapping[il] >= 0

    def kind(self, il: int) -> tuple[object, ...] | None:
        """As any layer's, and whether image features come in before it."""
        base = super().kind(il)
        return None if base is None else (*base, self.image_level(il))

    def layer(self, x: Tensor, il: int) -> Tensor:
        """A decoder's layer, both branches scaled: [n_embd, n_tokens] in and out (src/models/granite.cpp)."""
        if self.image_level(il):
            x = self.add(x, self.view(self.wide, (self.m.n_embd, self.r.n_tokens), (self.wide.nb[1],)))
        scaled = bool(self.m.key("residual_scale", self.o.residual_scale))
        cur, x = self.rows_out(il, self.attention(self.normed(x, il, "attn_norm"), il), x)
        ffn_in = self.add(self.scale(cur) if scaled else cur, x)
        cur = self.feed(self.normed(ffn_in, il, "ffn_norm"), il)
        return self.add(self.scale(cur) if scaled else cur, ffn_in)

    def feed(self, x: Tensor, il: int) -> Tensor:
        """Dense, or experts and a shared one: [n_embd, n_tokens] in and out."""
        if self.m.weight(il, "ffn_gate_inp.weight") is None:
            return self.ffn(x, il)
        out = self.moe(x, il)
        if self.m.weight(il, "ffn_up_shexp.weight") is not None:
            out = self.add(out, self.ffn(x, il, self.o.experts.shared_act or "silu", suffix="_shexp"))
        return out


class Grok(Decoder):
    """Experts, and beside them a dense feed-forward in some files."""

    def feed(self, x: Tensor, il: int) -> Tensor:
        """Experts, and a dense feed-forward beside them in some files: [n_embd, n_tokens] (src/models/grok.cpp)."""
        out = self.moe(x, il, act="gelu")
        if self.m.weight(il, "ffn_up.weight") is not None:
            out = self.scale(self.add(self.ffn(x, il, "gelu"), out))
        return out


class GroveMoe(Decoder):
    """Routed experts, then smaller adjugate ones chosen by the same scores."""

    def ranking(self, logits: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002 - sigmoids of the logits instead
        """Experts are ranked by sigmoids of the logits: [n_expert, n_tokens]."""
        return self.unary(logits)

    def feed(self, x: Tensor, il: int) -> Tensor:
        """Experts, then adjugate ones on their output: [n_embd, n_tokens] in and out (src/models/grovemoe.cpp)."""
        m = self.m
        logits = self.lin(x, il, "ffn_gate_inp")
        out = self.moe(x, il, logits=logits)
        chunks = m.n_expert // (m.count("experts_per_group", 1) or 1)
        more = self.moe(
            out, il, logits=logits, n_expert=chunks, n_used=min(chunks, m.n_expert_used(il)), suffix="_chexps"
        )
        return self.add(out, self.scale(more))


class HunyuanMoe(Decoder):
    """The shared expert first, then the routed ones."""

    def feed(self, x: Tensor, il: int) -> Tensor:
        """A shared expert and routed ones added: [n_embd, n_tokens] in and out (src/models/hunyuan-moe.cpp)."""
        shared = self.ffn(x, il, suffix="_shexp")
        return self.add(self.moe(x, il), shared)


class Qwen2Moe(Decoder):
    """The shared expert's gate is a sigmoid, spelled as silu(x) / x."""

    def feed(self, x: Tensor, il: int) -> Tensor:
        """Experts, and a shared one times its gate: [n_embd, n_tokens] in and out (src/models/qwen2moe.cpp)."""
        out = self.moe(x, il, norm_w=False)
        gate = self.lin(x, il, "ffn_gate_inp_shexp")
        gate = self.div(self.unary(gate), gate)
        return self.add(out, self.mul(self.ffn(x, il, suffix="_shexp"), gate))


class SmallThinker(Decoder):
    """Experts are chosen from the layer's own input."""

    def rotates(self, il: int) -> bool:
        """All layers, or those that slide (src/models/smallthinker.cpp)."""
        return not self.m.has_swa or il % 4 != 0

    def layer(self, x: Tensor, il: int) -> Tensor:
        """Attention, then experts that the layer's input chose: [n_embd, n_tokens] in and out."""
        logits = self.lin(x, il, "ffn_gate_inp")
        cur = self.attention(self.normed(x, il, "attn_norm"), il)
        cur, x, logits = self.rows_out(il, cur, x, logits)
        ffn_in = self.add(cur, x)
        out = self.moe(self.normed(ffn_in, il, "ffn_norm"), il, act="relu", gating=self.gating(), logits=logits)
        return self.add(out, ffn_in)
