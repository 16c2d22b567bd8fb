"""Models without a cache: encoders, embedders and diffusion decoders attend over the batch alone.

Source: src/models/bert.cpp, nomic-bert-moe.cpp, neo-bert.cpp, jina-bert-v2.cpp, dream.cpp, llada.cpp … (b11434).
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.decoder import Decoder
from inspector.memory.engines.llamacpp.graph.tensor import Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class BatchDecoder(Decoder):
    """A decoder's layers over this batch alone; encoders end with their embeddings."""

    def inputs(self) -> Any:
        """Two masks over the batch itself, [n_tokens, n_tokens] (build_attn_inp_no_cache, src/llama-graph.cpp)."""
        self.full_mask, self.swa_mask = self.batch_masks()

    def attend(
        self,
        il: int,
        q: Tensor,
        k: Tensor | None,
        v: Tensor | None,
        *,
        wo: str | None = "attn_output",
        sinks: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        """Attention over the batch alone, [n_embd, n_tokens]: masked by a window in layers that slide."""
        assert sinks is None
        assert k is not None
        assert v is not None
        return self.attend_batch(il, q, k, v, self.swa_mask if self.m.swa[il] else self.full_mask, wo=wo, bias=bias)

    def logits(self, x: Tensor, **more: bool) -> None:
        """An encoder ends with its embeddings, [n_embd, n_outputs]; a diffusion decoder with logits."""
        if not self.o.encoder:
            super().logits(x, **more)
            return
        x.is_output = True
        self.expand(x)


class Bert(BatchDecoder):
    """BERT and its relatives: norms after the sub-layers."""

    def build(self) -> None:
        """Embeddings with token types and positions, their norm, all layers (src/models/bert.cpp)."""
        m = self.m
        x = self.embed()
        if self.o.positions != "none":
            self.pos = self.positions()
        types = self.top("token_types.weight")
        if types is not None:
            x = self.add(x, self.view(types, (m.n_embd,)))
        if self.o.learned_positions:
            table = self.top("position_embd.weight")
            assert table is not None
            x = self.add(self.get_rows(table, self.pos), x)
        x = self.norm(x, self.top("token_embd_norm.weight"), self.top("token_embd_norm.bias"), "layer", 0)
        self.inputs()
        self.output_ids()
        for il in self.layer_ids:
            x = self.layer(x, il)
        x.is_output = True
        self.expand(x)

    def flat_norm(self, t: Tensor, il: int, name: str) -> Tensor:
        """A norm over all heads of [head_dim, heads, n_tokens] at once, where the layer has one."""
        if self.wo(il, name) is None:
            return t
        flat = self.reshape(t, t.ne[0] * t.ne[1], t.ne[2])
        return self.reshape(self.normed(flat, il, name, "layer"), *t.ne[:3])

    def layer(self, x: Tensor, il: int) -> Tensor:
        """Attention, norm, feed-forward, norm: [n_embd, n_tokens] in and out (src/models/bert.cpp)."""
        q, k, v = self.qkv(x, il)
        q, k = self.flat_norm(q, il, "attn_q_norm"), self.flat_norm(k, il, "attn_k_norm")
        if self.rotates(il):
            q, k = self.rope(q, self.pos), self.rope(k, self.pos)
        cur = self.attend(il, q, k, v)
        cur, x = self.rows_out(il, cur, x)
        cur = self.normed(self.add(cur, x), il, "attn_output_norm", "layer")
        if self.wo(il, "attn_norm_2") is not None:
            cur = self.normed(self.add(cur, x), il, "attn_norm_2", "layer")
        out = self.feed(cur, il)
        return self.normed(self.add(out, cur), il, "layer_output_norm", "layer")

    def feed(self, x: Tensor, il: int) -> Tensor:
        """The feed-forward, [n_embd, n_tokens] in and out, with the architecture's activation."""
        return self.ffn(x, il, self.o.act)


class NomicBertMoe(Bert):
    """Experts in every n-th layer."""

    def kind(self, il: int) -> tuple[object, ...] | None:
        """As any layer's, and whether it has experts."""
        base = super().kind(il)
        return None if base is None else (*base, self.has_experts(il))

    def has_experts(self, il: int) -> bool:
        """Every n-th layer has, from the second on (`moe_every_n_layers`, src/models/nomic-bert-moe.cpp)."""
        every = self.m.count("moe_every_n_layers", 0)
        return bool(every) and il % every == 1

    def feed(self, x: Tensor, il: int) -> Tensor:
        """Experts or a dense feed-forward: [n_embd, n_tokens] in and out (src/models/nomic-bert-moe.cpp)."""
        return self.moe(x, il, act="gelu", norm_w=False) if self.has_experts(il) else super().feed(x, il)


class NeoBert(BatchDecoder):
    """Rotary encoder; its final norm is the encoder's."""

    def top(self, name: str) -> Tensor | None:
        """A weight outside the layers; the final norm's has a name of its own (src/models/neo-bert.cpp)."""
        return super().top("enc.output_norm.weight" if name == "output_norm.weight" else name)


class JinaBert2(Bert):
    """ALiBi instead of positions; up projections that hold their gate in newer files."""

    def feed(self, x: Tensor, il: int) -> Tensor:
        """The feed-forward: gated by itself where up is twice as wide (src/models/jina-bert-v2.cpp)."""
        up = self.w(il, "ffn_up")
        both = self.wo(il, "ffn_gate") is None and up.ne[1] != self.m.d_ff()
        return self.ffn(x, il, "glu" if both else "gelu")
