"""A decoder with several low-rank adapters in its file, one of which each token goes through.

Source: src/models/granite-switch.cpp (b11434). A single attention head, in a layer of its own behind the others, finds
the adapter that the last control token chose.
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.decoder import Decoder
from inspector.memory.engines.llamacpp.graph.model import GraphUnknown
from inspector.memory.engines.llamacpp.graph.tensor import F32, I32, Tensor


class GraniteSwitch(Decoder):
    """Granite's dense layers, each projection with the adapter of its token."""

    def build(self) -> None:
        """The decoder's graph, without rotations where the file says so (src/models/granite-switch.cpp)."""
        self.router = self.m.n_layer  # load_arch_hparams puts it behind the others
        if self.m.n_layer_all == self.router:
            raise GraphUnknown(f"{self.m.arch} without a router")
        if not self.m.key("rope.scaling.finetuned", True):
            self.o = self.o.replace(rope="none", positions="none")
        super().build()

    def kind(self, il: int) -> tuple[object, ...] | None:
        """As any layer's; none may be left out where several devices hold copies of what the router gives."""
        return None if self.r.layer_buf else super().kind(il)

    def embedded(self) -> Tensor:
        """Embeddings of the tokens that stand for those given, [n_embd, n_tokens], and what the router reads."""
        n, table = self.r.n_tokens, self.top("token_embd.weight")
        if table is None:
            raise GraphUnknown("token_embd.weight")
        tokens = self.input(I32, n, name="sub_tokens")
        self.signals = tuple(self.input(F32, n, name=f"router_{name}") for name in ("q", "ksig", "vval"))
        x = self.get_rows(table, tokens)
        return self.scale(x) if self.m.number("embedding_scale", 0.0) else x

    def body(self, x: Tensor) -> Tensor:
        """The router, then all layers."""
        self.adapters = self.routed()
        return super().body(x)

    def routed(self) -> Tensor:
        """The adapter of each token, [n_tokens], i32: a clamped and rounded output of the router's head."""
        n, width = self.r.n_tokens, self.m.head_v(self.router)
        q, k, v = (self.pad(self.reshape(t, 1, 1, n), width - 1) for t in self.signals)
        cur = self.attend(self.router, q, k, v, wo=None)
        slot = self.reshape(self.cont(self.view(cur, (1, n), (cur.nb[1],))), n)
        return self.cast(self.unary(self.clamp(slot)), I32)

    def delta(self, x: Tensor, il: int, name: str) -> Tensor:
        """What the token's adapter adds to a projection: [rows, tokens] of [columns, tokens]."""
        down, up = (self.m.weight(il, f"{name}.lora_{part}") for part in "ab")
        if down is None or up is None:
            raise GraphUnknown(f"blk.{il}.{name}.lora_a")
        n = x.ne[1]
        ids = self.reshape(self.adapters, 1, n)
        out = self.mm_id(up, self.mm_id(down, self.reshape(x, x.ne[0], 1, n), ids), ids)
        return self.reshape(out, out.ne[0], n)

    def switched(self, x: Tensor, il: int, name: str) -> Tensor:
        """A projection and its adapter (build_switched_lora_mm)."""
        return self.add(self.mm(self.w(il, name), x), self.delta(x, il, name))

    def attention(self, x: Tensor, il: int) -> Tensor:
        """Attention with adapters: [n_embd, n_tokens] in and out (build_attention_layer)."""
        m, n = self.m, self.r.n_tokens
        d, heads, kv = m.head_v(il), m.n_head(il), m.n_head_kv(il)
        mixed = self.mm(self.w(il, "attn_qkv"), x)
        q, k, v = (
            self.reshape(
                self.add(self.cont(self.view(mixed, (d * h, n), (mixed.nb[1],))), self.delta(x, il, name)), d, h, n
            )
            for name, h in (("attn_q", heads), ("attn_k", kv), ("attn_v", kv))
        )
        if self.rotates(il):
            factors = self.rope_factors(il)
            q, k = self.rope(q, self.pos, factors), self.rope(k, self.pos, factors)
        return self.switched(self.attend(il, q, k, v, wo=None), il, "attn_output")

    def layer(self, x: Tensor, il: int) -> Tensor:
        """Attention and feed-forward, both scaled where the file says so: [n_embd, n_tokens] in and out."""
        cur, x = self.rows_out(il, self.attention(self.normed(x, il, "attn_norm"), il), x)
        if self.last(il) and self.out_ids is not None:
            ids = self.get_rows(self.reshape(self.adapters, 1, self.r.n_tokens), self.out_ids)
            self.adapters = self.reshape(ids, self.r.n_outputs)
        scaled = bool(self.m.key("residual_scale", 0.0))
        mid = self.add(self.scale(cur) if scaled else cur, x)
        cur = self.fed(self.normed(mid, il, "ffn_norm"), il)
        return self.add(self.scale(cur) if scaled else cur, mid)

    def fed(self, x: Tensor, il: int) -> Tensor:
        """A gated feed-forward with adapters: [n_embd, n_tokens] in and out (build_layer_ffn)."""
        gate, up = (self.switched(x, il, name) for name in ("ffn_gate", "ffn_up"))
        return self.switched(self.mul(self.unary(gate), up), il, "ffn_down")
