"""Decoders that differ from the common one in a step or two (src/models/*.cpp, b11434)."""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.decoder import Decoder
from inspector.memory.engines.llamacpp.graph.model import GraphUnknown
from inspector.memory.engines.llamacpp.graph.options import Norms
from inspector.memory.engines.llamacpp.graph.tensor import F32, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.memory.engines.llamacpp.graph.options import NormKind


class Llama4(Decoder):
    """Rotary layers normalise queries and keys afterwards; the others scale queries by position."""

    def rotates(self, il: int) -> bool:
        return (il + 1) % (4 if self.m.has_swa else self.m.n_layer) != 0

    def ranking(self, logits: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002 - the scores before their sigmoid
        return logits

    def adjust_qk(self, q: Tensor, k: Tensor, il: int) -> tuple[Tensor, Tensor]:
        if not self.rotates(il):
            assert self.attn_scale is not None
            return self.mul(q, self.attn_scale), k
        if self.m.n_expert != 128:
            return self.rms_norm(q), self.rms_norm(k)
        return q, k


class GatedAttention(Decoder):
    """Attention whose output is gated before its projection."""

    def attention(self, x: Tensor, il: int) -> Tensor:
        m, early = self.m, self.o.gate == "before"
        q, k, v = self.qkv(x, il, reshape=True)
        gate = self.lin(x, il, "attn_gate") if early and self.wo(il, "attn_gate") is not None else None
        q, k = self.qk_normed(q, k, il, "rms")
        if self.rotates(il):
            factors = self.rope_factors(il)
            q, k = self.rope(q, self.pos, factors), self.rope(k, self.pos, factors)
        cur = self.attend(il, q, k, v, wo=None)
        if gate is None and self.wo(il, "attn_gate") is not None:
            gate = self.lin(x, il, "attn_gate")
        if gate is not None:
            gate = self.unary(gate)
            heads, n = m.n_head(il), self.r.n_tokens
            if gate.ne[0] == heads:
                cur = self.reshape(cur, m.head_v(il), heads, n)
                cur = self.mul(cur, self.reshape(gate, 1, heads, n))
                cur = self.reshape(cur, m.head_v(il) * heads, n)
            else:
                cur = self.mul(cur, gate)
        return self.lin(cur, il, "attn_output")


class Arctic(Decoder):
    """A dense feed-forward and experts side by side, the experts on the layer's own input."""

    def layer(self, x: Tensor, il: int) -> Tensor:
        cur, residual = self.rows_out(il, self.attention(self.normed(x, il, "attn_norm"), il), x)
        ffn_in = self.add(cur, residual)
        out = self.add(self.ffn(self.normed(ffn_in, il, "ffn_norm"), il), ffn_in)
        return self.add(self.moe(self.normed(residual, il, "ffn_norm_exps"), il), out)


class Baichuan(Decoder):
    """Only the 7B size (32 layers) has rotary positions; the others use ALiBi."""

    def rotates(self, il: int) -> bool:  # noqa: ARG002 - all layers alike
        return self.m.n_layer == 32


class Bitnet(Decoder):
    """Norms inside attention and feed-forward; the output is the embedding table."""

    def attention(self, x: Tensor, il: int) -> Tensor:
        q, k, v = self.qkv(x, il)
        cur = self.attend(il, self.rope(q, self.pos), self.rope(k, self.pos), v, wo=None)
        return self.lin(self.normed(cur, il, "attn_sub_norm"), il, "attn_output")

    def feed(self, x: Tensor, il: int) -> Tensor:
        up = self.lin(x, il, "ffn_up")
        cur = self.glu(self.lin(x, il, "ffn_gate"), up)
        return self.lin(self.normed(cur, il, "ffn_sub_norm"), il, "ffn_down")

    def lm_head(self) -> Tensor:
        """The embedding table itself, where it lies: on the host (build_lora_mm(model.tok_embd, …), bitnet.cpp)."""
        table = self.top("token_embd.weight")
        if table is None:
            raise GraphUnknown("token_embd.weight")
        return table


class Chameleon(Decoder):
    """Norms after the sub-layers where the file says so; image tokens masked in the logits."""

    def layer(self, x: Tensor, il: int) -> Tensor:
        after = bool(self.m.key("swin_norm", False))
        cur = self.attention(x if after else self.normed(x, il, "attn_norm"), il)
        cur, x = self.rows_out(il, cur, x)
        ffn_in = self.add(self.normed(cur, il, "attn_norm") if after else cur, x)
        cur = self.ffn(ffn_in if after else self.normed(ffn_in, il, "ffn_norm"), il)
        return self.add(self.normed(cur, il, "ffn_norm") if after else cur, ffn_in)

    def logits(self, x: Tensor, **_: bool) -> None:
        x.is_output = True
        x = self.mm(self.lm_head(), x)
        masked = self.clamp(self.leaf(F32, 8192))  # the image tokens' range is fixed in chameleon.cpp
        x = self._new("set", x.elem, x.ne, (x, masked))
        x.is_output = True
        self.expand(x)


class Cohere2Moe(Decoder):
    """Parallel attention and experts; leading dense layers always rotate."""

    def build(self) -> None:
        if self.m.number("attention.layer_norm_rms_epsilon", 0.0):
            self.o = self.o.replace(norms=Norms("rms"))
        super().build()

    def rotates(self, il: int) -> bool:
        return self.m.swa[il] or il < self.m.count("leading_dense_block_count", 0)

    def feed(self, x: Tensor, il: int) -> Tensor:
        if self.m.weight(il, "ffn_gate_inp.weight") is None:
            return self.ffn(x, il)
        out = self.moe(x, il, norm_w=bool(self.m.key("expert_weights_norm", False)), gating=self.gating())
        if self.m.weight(il, "ffn_up_shexp.weight") is not None:
            out = self.scale(self.add(out, self.ffn(x, il, suffix="_shexp")))
        return out


class Deci(Decoder):
    """Layers without attention, with a linear one, or without a feed-forward."""

    def layer(self, x: Tensor, il: int) -> Tensor:
        m = self.m
        heads, kv = m.n_head(il), m.n_head_kv(il)
        cur = x
        if heads:
            normed = self.normed(x, il, "attn_norm")
            cur = self.attention(normed, il) if kv else self.lin(normed, il, "attn_output", bias=False)
        residual = x
        cur, residual = self.rows_out(il, cur, residual)
        if m.weight(il, "ffn_up.weight") is None:
            return x  # llama.cpp then goes on with the layer's input
        ffn_in = self.add(cur, residual) if heads else cur
        return self.add(self.ffn(self.normed(ffn_in, il, "ffn_norm"), il), ffn_in)


class Falcon(Decoder):
    """Parallel; large ones norm attention separately."""

    def layer(self, x: Tensor, il: int) -> Tensor:
        normed = self.normed(x, il, "attn_norm", "layer")
        other = self.normed(x, il, "attn_norm_2", "layer") if self.wo(il, "attn_norm_2") is not None else normed
        cur = self.attention(other, il)
        cur, residual, normed = self.rows_out(il, cur, x, normed)
        return self.add(self.add(self.feed(normed, il), cur), residual)


class GptNeoX(Decoder):
    """Parallel or not, by a key."""

    def layer(self, x: Tensor, il: int) -> Tensor:
        cur = self.attention(self.normed(x, il, "attn_norm", "layer"), il)
        cur, x = self.rows_out(il, cur, x)
        if self.m.key("use_parallel_residual", True):
            out = self.ffn(self.normed(x, il, "ffn_norm", "layer"), il, "gelu")
            return self.add(self.add(out, x), cur)
        ffn_in = self.add(cur, x)
        out = self.ffn(self.normed(ffn_in, il, "ffn_norm", "layer"), il, "gelu")
        return self.add(out, ffn_in)


class Granite(Decoder):
    """Residuals scaled where the file says so; a shared expert beside the routed ones."""

    def image_level(self, il: int) -> bool:
        """Whether features of a deeper image level come in before this layer."""
        mapping = self.m.key("deepstack_mapping")
        return il > 0 and self.deepstack() > 0 and il < len(mapping) and mapping[il] >= 0

    def kind(self, il: int) -> tuple[object, ...] | None:
        base = super().kind(il)
        return None if base is None else (*base, self.image_level(il))

    def layer(self, x: Tensor, il: int) -> Tensor:
        if self.image_level(il):
            x = self.add(x, self.view(self.wide, (self.m.n_embd, self.r.n_tokens), (self.wide.nb[1],)))
        scaled = bool(self.m.key("residual_scale", self.o.residual_scale))
        cur, x = self.rows_out(il, self.attention(self.normed(x, il, "attn_norm"), il), x)
        ffn_in = self.add(self.scale(cur) if scaled else cur, x)
        cur = self.feed(self.normed(ffn_in, il, "ffn_norm"), il)
        return self.add(self.scale(cur) if scaled else cur, ffn_in)

    def feed(self, x: Tensor, il: int) -> Tensor:
        if self.m.weight(il, "ffn_gate_inp.weight") is None:
            return self.ffn(x, il)
        out = self.moe(x, il)
        if self.m.weight(il, "ffn_up_shexp.weight") is not None:
            out = self.add(out, self.ffn(x, il, self.o.experts.shared_act or "silu", suffix="_shexp"))
        return out


class Grok(Decoder):
    """Experts, and beside them a dense feed-forward in some files."""

    def feed(self, x: Tensor, il: int) -> Tensor:
        out = self.moe(x, il, act="gelu")
        if self.m.weight(il, "ffn_up.weight") is not None:
            out = self.scale(self.add(self.ffn(x, il, "gelu"), out))
        return out


class GroveMoe(Decoder):
    """Routed experts, then smaller adjugate ones chosen by the same scores."""

    def ranking(self, logits: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002 - sigmoids of the logits instead
        return self.unary(logits)

    def feed(self, x: Tensor, il: int) -> Tensor:
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
        shared = self.ffn(x, il, suffix="_shexp")
        return self.add(self.moe(x, il), shared)


class Mimo2(Decoder):
    """Attention output scaled where the file says so."""

    def attention(self, x: Tensor, il: int) -> Tensor:
        cur = super().attention(x, il)
        return self.scale(cur) if self.m.key("attention.value_scale") else cur


class Mistral3(Decoder):
    """Queries scaled by position where the file says so."""

    def build(self) -> None:
        if self.m.key("attention.temperature_scale"):
            self.o = self.o.replace(q_scale="position")
        super().build()

    def adjust_qk(self, q: Tensor, k: Tensor, il: int) -> tuple[Tensor, Tensor]:  # noqa: ARG002 - all layers alike
        return (self.mul(q, self.attn_scale), k) if self.attn_scale is not None else (q, k)


class Mpt(Decoder):
    """Learned positions in some files; query and key norms over all heads."""

    def build(self) -> None:
        learned = self.top("position_embd.weight") is not None
        positions = "one" if learned else "none"
        self.o = self.o.replace(positions=positions, rope="none", learned_positions=learned)
        super().build()

    def qk_normed(self, q: Tensor, k: Tensor, il: int, kind: NormKind) -> tuple[Tensor, Tensor]:  # noqa: ARG002 - one
        if self.wo(il, "attn_q_norm") is None:
            return q, k
        return self._flat(q, il, "attn_q_norm"), self._flat(k, il, "attn_k_norm")

    def _flat(self, t: Tensor, il: int, name: str) -> Tensor:
        return self.reshape(self.normed(self.reshape(t, t.ne[0] * t.ne[1], t.ne[2]), il, name, "layer"), *t.ne[:3])


class OpenElm(Decoder):
    """One fused projection for heads whose number changes from layer to layer."""

    def qkv(self, x: Tensor, il: int, **_: bool) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        m, n, d = self.m, self.r.n_tokens, self.m.head_k(il)
        heads, kv = m.n_head(il), m.n_head_kv(il)
        out = self.reshape(self.lin(x, il, "attn_qkv"), d, heads + 2 * kv, n)
        q, k, v = (self.view(out, (d, h, n), out.nb[1:3]) for h in (heads, kv, kv))
        return q, k, v

    def layer(self, x: Tensor, il: int) -> Tensor:
        cur = self.attention(self.normed(x, il, "attn_norm"), il)
        x, cur = self.rows_out(il, x, cur)
        ffn_in = self.add(x, cur)
        return self.add(self.ffn(self.normed(ffn_in, il, "ffn_norm"), il), ffn_in)


class Qwen2Moe(Decoder):
    """The shared expert's gate is a sigmoid, spelled as silu(x) / x."""

    def feed(self, x: Tensor, il: int) -> Tensor:
        out = self.moe(x, il, norm_w=False)
        gate = self.lin(x, il, "ffn_gate_inp_shexp")
        gate = self.div(self.unary(gate), gate)
        return self.add(out, self.mul(self.ffn(x, il, suffix="_shexp"), gate))


class Qwen3Vl(Decoder):
    """Image features of deeper levels added to the first layers' outputs."""

    def kind(self, il: int) -> tuple[object, ...] | None:
        base = super().kind(il)
        return None if base is None else (*base, il < self.deepstack())

    def logits(self, x: Tensor, **more: bool) -> None:
        """Speech models' heads know fewer tokens than their embeddings: the rest is padded."""
        table, head = self.top("token_embd.weight"), self.lm_head()
        missing = (table.ne[1] if table is not None else 0) - head.ne[1]
        if missing <= 0:
            super().logits(x, **more)
            return
        norm = self.top("output_norm.weight")
        assert norm is not None
        x.is_output = True
        x = self.mm(head, x)
        lowest = self.repeat(self.scale(self.view(norm, (1,))), missing, x.ne[1])
        x = self.concat(lowest, x, 0)
        x.is_output = True
        self.expand(x)

    def layer(self, x: Tensor, il: int) -> Tensor:
        x = super().layer(x, il)
        if il < self.deepstack():
            x = self.add(x, self.view(self.wide, (self.m.n_embd, self.r.n_tokens), (self.wide.nb[1],)))
        return x


class SmallThinker(Decoder):
    """Experts are chosen from the layer's own input."""

    def rotates(self, il: int) -> bool:
        return not self.m.has_swa or il % 4 != 0

    def layer(self, x: Tensor, il: int) -> Tensor:
        logits = self.lin(x, il, "ffn_gate_inp")
        cur = self.attention(self.normed(x, il, "attn_norm"), il)
        cur, x, logits = self.rows_out(il, cur, x, logits)
        ffn_in = self.add(cur, x)
        out = self.moe(self.normed(ffn_in, il, "ffn_norm"), il, act="relu", gating=self.gating(), logits=logits)
        return self.add(out, ffn_in)


class StableLm(Decoder):
    """Without a second norm the feed-forward runs on the first one's result."""

    def layer(self, x: Tensor, il: int) -> Tensor:
        normed = self.normed(x, il, "attn_norm", "layer")
        cur = self.attention(normed, il)
        cur, x, normed = self.rows_out(il, cur, x, normed)
        ffn_in = self.add(cur, x)
        inner = self.normed(ffn_in, il, "ffn_norm", "layer") if self.wo(il, "ffn_norm") is not None else normed
        return self.add(self.ffn(inner, il), ffn_in)


class Talkie(Decoder):
    """The embeddings are added again, scaled, after every layer; no norm but the queries' has weights."""

    def body(self, x: Tensor) -> Tensor:
        self.skip = x
        return super().body(x)

    def embed(self, **_: object) -> Tensor:
        return self.rms_norm(super().embed())

    def qk_normed(self, q: Tensor, k: Tensor, il: int, kind: NormKind) -> tuple[Tensor, Tensor]:  # noqa: ARG002 - one
        return self.normed(q, il, "attn_q_norm"), self.rms_norm(k)

    def layer(self, x: Tensor, il: int) -> Tensor:
        cur = self.attention(self.rms_norm(x), il)
        cur, x, skip = self.rows_out(il, cur, x, self.skip)
        ffn_in = self.add(cur, x)
        cur = self.add(self.ffn(self.rms_norm(ffn_in), il), ffn_in)
        return self.add(cur, self.mul(skip, self.w(il, "layer_output_scale")))
