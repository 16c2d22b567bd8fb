"""Decoders that differ from the common one in a step or two (src/models/*.cpp, b11434); in experts: experts.py."""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.decoder import Decoder
from inspector.memory.engines.llamacpp.graph.model import GraphUnknown
from inspector.memory.engines.llamacpp.graph.tensor import F32, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.memory.engines.llamacpp.graph.options import NormKind


class Llama4(Decoder):
    """Rotary layers normalise queries and keys afterwards; the others scale queries by position."""

    def rotates(self, il: int) -> bool:
        """All layers but every fourth, where a window says so; else all but the last (src/models/llama4.cpp)."""
        return (il + 1) % (4 if self.m.has_swa else self.m.n_layer) != 0

    def ranking(self, logits: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002 - the scores before their sigmoid
        """Experts are ranked by the logits, before their sigmoid: [n_expert, n_tokens]."""
        return logits

    def adjust_qk(self, q: Tensor, k: Tensor, il: int) -> tuple[Tensor, Tensor]:
        """Queries and keys normed, or queries scaled by position: [head_dim, heads, n_tokens] each."""
        if not self.rotates(il):
            assert self.attn_scale is not None
            return self.mul(q, self.attn_scale), k
        if self.m.n_expert != 128:
            return self.rms_norm(q), self.rms_norm(k)
        return q, k


class GatedAttention(Decoder):
    """Attention whose output is gated before its projection."""

    def attention(self, x: Tensor, il: int) -> Tensor:
        """Attention times a sigmoid of the input, then the projection: [n_embd, n_tokens] in and out.

        Source: src/models/afmoe.cpp, laguna.cpp, muse-glimmer.cpp, spark2-5.cpp, step35.cpp; gates are one a head or
        one an element.
        """
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


class Baichuan(Decoder):
    """Only the 7B size (32 layers) has rotary positions; the others use ALiBi."""

    def rotates(self, il: int) -> bool:  # noqa: ARG002 - all layers alike
        """All layers of the 7B size, none of others (src/models/baichuan.cpp)."""
        return self.m.n_layer == 32


class Bitnet(Decoder):
    """Norms inside attention and feed-forward; the output is the embedding table."""

    def attention(self, x: Tensor, il: int) -> Tensor:
        """Attention, a norm, the projection: [n_embd, n_tokens] in and out (src/models/bitnet.cpp)."""
        q, k, v = self.qkv(x, il)
        cur = self.attend(il, self.rope(q, self.pos), self.rope(k, self.pos), v, wo=None)
        return self.lin(self.normed(cur, il, "attn_sub_norm"), il, "attn_output")

    def feed(self, x: Tensor, il: int) -> Tensor:
        """A gated feed-forward with a norm before its last product: [n_embd, n_tokens] in and out."""
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
        """A decoder's layer, norms before or after a part: [n_embd, n_tokens] in and out (src/models/chameleon.cpp)."""
        after = bool(self.m.key("swin_norm", False))
        cur = self.attention(x if after else self.normed(x, il, "attn_norm"), il)
        cur, x = self.rows_out(il, cur, x)
        ffn_in = self.add(self.normed(cur, il, "attn_norm") if after else cur, x)
        cur = self.ffn(ffn_in if after else self.normed(ffn_in, il, "ffn_norm"), il)
        return self.add(self.normed(cur, il, "ffn_norm") if after else cur, ffn_in)

    def logits(self, x: Tensor, **_: bool) -> None:
        """[n_vocab, n_outputs], those of image tokens set to the least (src/models/chameleon.cpp)."""
        x.is_output = True
        x = self.mm(self.lm_head(), x)
        masked = self.clamp(self.leaf(F32, 8192))  # the image tokens' range is fixed in chameleon.cpp
        x = self._new("set", x.elem, x.ne, (x, masked))
        x.is_output = True
        self.expand(x)


class Deci(Decoder):
    """Layers without attention, with a linear one, or without a feed-forward."""

    def layer(self, x: Tensor, il: int) -> Tensor:
        """A decoder's layer less what it has no weights for: [n_embd, n_tokens] in and out (src/models/deci.cpp)."""
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
        """Attention and feed-forward side by side: [n_embd, n_tokens] in and out (src/models/falcon.cpp)."""
        normed = self.normed(x, il, "attn_norm", "layer")
        other = self.normed(x, il, "attn_norm_2", "layer") if self.wo(il, "attn_norm_2") is not None else normed
        cur = self.attention(other, il)
        cur, residual, normed = self.rows_out(il, cur, x, normed)
        return self.add(self.add(self.feed(normed, il), cur), residual)


class GptNeoX(Decoder):
    """Parallel or not, by a key."""

    def layer(self, x: Tensor, il: int) -> Tensor:
        """Attention and feed-forward, side by side or not: [n_embd, n_tokens] in and out (src/models/gptneox.cpp)."""
        cur = self.attention(self.normed(x, il, "attn_norm", "layer"), il)
        cur, x = self.rows_out(il, cur, x)
        if self.m.key("use_parallel_residual", True):
            out = self.ffn(self.normed(x, il, "ffn_norm", "layer"), il, "gelu")
            return self.add(self.add(out, x), cur)
        ffn_in = self.add(cur, x)
        out = self.ffn(self.normed(ffn_in, il, "ffn_norm", "layer"), il, "gelu")
        return self.add(out, ffn_in)


class Mimo2(Decoder):
    """Attention output scaled where the file says so; rows picked after the layers where a draft reads the last's."""

    def build(self) -> None:
        """The decoder's graph (`extract_final_inp`, src/models/mimo2.cpp)."""
        if self.m.n_layer in self.r.kept:
            self.o = self.o.replace(draft_reads="layers")
        super().build()

    def attention(self, x: Tensor, il: int) -> Tensor:
        """Attention, its output scaled where a key says so: [n_embd, n_tokens] in and out (src/models/mimo2.cpp)."""
        cur = super().attention(x, il)
        return self.scale(cur) if self.m.key("attention.value_scale") else cur


class Mistral3(Decoder):
    """Queries scaled by position where the file says so."""

    def build(self) -> None:
        """The decoder's graph, with scales a position where a key says so (src/models/mistral3.cpp)."""
        if self.m.key("attention.temperature_scale"):
            self.o = self.o.replace(q_scale="position")
        super().build()

    def adjust_qk(self, q: Tensor, k: Tensor, il: int) -> tuple[Tensor, Tensor]:  # noqa: ARG002 - all layers alike
        """Queries times their position's scale: [head_dim, heads, n_tokens] each."""
        return (self.mul(q, self.attn_scale), k) if self.attn_scale is not None else (q, k)


class Mpt(Decoder):
    """Learned positions in some files; query and key norms over all heads."""

    def build(self) -> None:
        """The decoder's graph, with learned positions where the file has them (src/models/mpt.cpp)."""
        learned = self.top("position_embd.weight") is not None
        positions = "one" if learned else "none"
        self.o = self.o.replace(positions=positions, rope="none", learned_positions=learned)
        super().build()

    def qk_normed(self, q: Tensor, k: Tensor, il: int, kind: NormKind) -> tuple[Tensor, Tensor]:  # noqa: ARG002 - one
        """Queries and keys normed over all heads at once: [head_dim, heads, n_tokens] each."""
        if self.wo(il, "attn_q_norm") is None:
            return q, k
        return self._flat(q, il, "attn_q_norm"), self._flat(k, il, "attn_k_norm")

    def _flat(self, t: Tensor, il: int, name: str) -> Tensor:
        return self.reshape(self.normed(self.reshape(t, t.ne[0] * t.ne[1], t.ne[2]), il, name, "layer"), *t.ne[:3])


class OpenElm(Decoder):
    """One fused projection for heads whose number changes from layer to layer."""

    def qkv(self, x: Tensor, il: int, **_: bool) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        """Views of one product: [head_dim, heads, n_tokens] each, as many heads as the layer has."""
        m, n, d = self.m, self.r.n_tokens, self.m.head_k(il)
        heads, kv = m.n_head(il), m.n_head_kv(il)
        out = self.reshape(self.lin(x, il, "attn_qkv"), d, heads + 2 * kv, n)
        q, k, v = (self.view(out, (d, h, n), out.nb[1:3]) for h in (heads, kv, kv))
        return q, k, v

    def layer(self, x: Tensor, il: int) -> Tensor:
        """A decoder's layer: [n_embd, n_tokens] in and out (src/models/openelm.cpp)."""
        cur = self.attention(self.normed(x, il, "attn_norm"), il)
        x, cur = self.rows_out(il, x, cur)
        ffn_in = self.add(x, cur)
        return self.add(self.ffn(self.normed(ffn_in, il, "ffn_norm"), il), ffn_in)


class Qwen3Vl(Decoder):
    """Image features of deeper levels added to the first layers' outputs."""

    def kind(self, il: int) -> tuple[object, ...] | None:
        """As any layer's, and whether image features are added to its output."""
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
        """A decoder's layer, image features on its output: [n_embd, n_tokens] in and out (src/models/qwen3vl.cpp)."""
        x = super().layer(x, il)
        if il < self.deepstack():
            x = self.add(x, self.view(self.wide, (self.m.n_embd, self.r.n_tokens), (self.wide.nb[1],)))
        return x


class StableLm(Decoder):
    """Without a second norm the feed-forward runs on the first one's result."""

    def layer(self, x: Tensor, il: int) -> Tensor:
        """A decoder's layer, or both parts on one norm: [n_embd, n_tokens] in and out (src/models/stablelm.cpp)."""
        normed = self.normed(x, il, "attn_norm", "layer")
        cur = self.attention(normed, il)
        cur, x, normed = self.rows_out(il, cur, x, normed)
        ffn_in = self.add(cur, x)
        inner = self.normed(ffn_in, il, "ffn_norm", "layer") if self.wo(il, "ffn_norm") is not None else normed
        return self.add(self.ffn(inner, il), ffn_in)


class Talkie(Decoder):
    """The embeddings are added again, scaled, after every layer; no norm but the queries' has weights."""

    def body(self, x: Tensor) -> Tensor:
        """All layers; the embeddings, [n_embd, n_tokens], are kept for each of them."""
        self.skip = x
        return super().body(x)

    def embed(self, **_: object) -> Tensor:
        """Embeddings, [n_embd, n_tokens], normed."""
        return self.rms_norm(super().embed())

    def qk_normed(self, q: Tensor, k: Tensor, il: int, kind: NormKind) -> tuple[Tensor, Tensor]:  # noqa: ARG002 - one
        """Queries normed by weights, keys without: [head_dim, heads, n_tokens] each."""
        return self.normed(q, il, "attn_q_norm"), self.rms_norm(k)

    def layer(self, x: Tensor, il: int) -> Tensor:
        """A decoder's layer, and the embeddings once more: [n_embd, n_tokens] in and out (src/models/talkie.cpp)."""
        cur = self.attention(self.rms_norm(x), il)
        cur, x, skip = self.rows_out(il, cur, x, self.skip)
        ffn_in = self.add(cur, x)
        cur = self.add(self.ffn(self.rms_norm(ffn_in), il), ffn_in)
        return self.add(cur, self.mul(skip, self.w(il, "layer_output_scale")))


class CogVlm(Decoder):
    """Text alone is reserved for; images go through weights of their own, of the same shapes."""

    def output_ids(self) -> None:  # type: ignore[override]
        """Every token gets logits, wanted or not (src/models/cogvlm.cpp has no build_inp_out_ids)."""
