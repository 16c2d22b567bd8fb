"""Gemma 3n and 4: per-layer embeddings, shared caches (src/models/gemma3n.cpp, gemma4.cpp, b11434)."""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.decoder import Decoder
from inspector.memory.engines.llamacpp.graph.model import GraphUnknown
from inspector.memory.engines.llamacpp.graph.tensor import I32, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SPARSE_LAYERS = 10  # of Gemma 3n, fixed in llama_model_gemma3n


class PerLayer(Decoder):
    """What the two share: embeddings of the tokens for every layer, and layers that reuse another's cache."""

    def build(self) -> None:
        """The decoder's graph; layers from `first_shared` on read earlier caches."""
        self.first_shared = self.m.n_kv_layers
        super().build()

    def kind(self, il: int) -> tuple[object, ...] | None:
        """As any layer's, and whether it has a cache of its own and sparse activations."""
        base = super().kind(il)
        return None if base is None else (*base, il < self.m.n_kv_layers, il < SPARSE_LAYERS)

    def slice2(self, x: Tensor) -> Tensor:
        """One plane of a stack."""
        return self.view(x, (x.ne[0], x.ne[1]), (4 * x.ne[0],))

    def per_layer_inputs(self, x: Tensor) -> Tensor | None:
        """Each layer's own embedding of every token: [width, n_tokens, n_layer]; None where the file has none.

        Source: get_per_layer_inputs and project_per_layer_inputs (src/models/gemma3n.cpp, gemma4.cpp).
        """
        m, n = self.m, self.r.n_tokens
        table = self.top("per_layer_token_embd.weight")
        if table is None:
            return None
        width = table.ne[0] // m.n_layer
        rows = self.get_rows(table, self.input(I32, n, name="inp_tokens_per_layer"))
        rows = self.expand(self.scale(self.reshape(rows, width, m.n_layer, n)))
        proj = self.top("per_layer_model_proj.weight")
        assert proj is not None
        p = self.reshape(self.scale(self.mm(proj, x)), width, m.n_layer, n)
        p = self.norm(p, self.top("per_layer_proj_norm.weight"))
        both = self.scale(self.add(p, rows))
        return self.cont(self.permute(both, 0, 2, 1, 3))

    def shared_cache(self, il: int) -> int:
        """The layer whose cache this one reads."""
        if il < self.first_shared:
            return il
        return self.first_shared - (2 if self.m.swa[il] else 1)

    def cache_tensor(self, c: Any, il: int, which: str) -> Tensor:
        """The layer's own, or those of the layer whose cache it reads: [elements of all heads, cells, n_stream]."""
        return super().cache_tensor(c, self.shared_cache(il), which)


class Gemma3n(PerLayer):
    """Four parallel streams (AltUp), a low-rank residual (LAuReL), sparse activations in the first layers."""

    def build(self) -> None:
        """The decoder's graph on `altup.num_inputs` streams."""
        self.n_altup = self.m.positive("altup.num_inputs", 4)
        stack = self.top("altup_proj.weight")
        if stack is None or stack.ne[2] != self.n_altup - 1:
            raise GraphUnknown("altup_proj.weight")
        super().build()

    def magnitude(self, x: Tensor) -> Tensor:
        """Length of each token's vector: [1, n_tokens, …] of [n_embd, n_tokens, …] (calc_magnitude)."""
        return self.sqrt(self.sum_rows(self.sqr(x)))

    def matched(self, x: Tensor, target: Tensor, name: str) -> Tensor:
        """Project, then bring to the target's magnitude."""
        w = self.top(name)
        assert w is not None
        x = self.mm(w, x)
        return self.div(self.mul(x, target), self.magnitude(x))

    def output_ids(self) -> Tensor:
        """Called once the embeddings are there: the streams start here."""
        return super().output_ids()

    def body(self, x: Tensor) -> Tensor:
        """One stream becomes several, [n_embd, n_tokens, n_altup], runs through all layers and is joined again."""
        m, n = self.m, self.r.n_tokens
        self.ple = self.per_layer_inputs(x)
        target = self.magnitude(x)
        others = self.repeat(x, m.n_embd, n, self.n_altup - 1)
        x = self.concat(x, self.matched(others, target, "altup_proj.weight"), 2)
        for il in self.layer_ids:
            x = self.layer(x, il)
        target = self.magnitude(self.slice2(x))
        rest = self.view(x, (m.n_embd, n, self.n_altup - 1), x.nb[1:3])
        rest = self.matched(rest, target, "altup_unembd_proj.weight")
        cur = self.slice2(x)
        for _ in range(self.n_altup - 1):
            cur = self.add(cur, self.slice2(rest))
        assert self.out_ids is not None
        return self.get_rows(self.scale(cur), self.out_ids)

    def modalities(self, x: Tensor, il: int) -> Tensor:
        """How much each stream counts, [n_altup, n_tokens] of [n_embd, n_tokens] (altup_compute_router_modalities)."""
        x = self.scale(self.normed(x, il, "altup_router_norm"))
        return self.unary(self.mm(self.w(il, "altup_router"), x))

    def predicted(self, x: Tensor, il: int) -> Tensor:
        """Streams as the others foretell them: [n_embd, n_tokens, n_altup] in and out (altup_predict)."""
        coefs = self.lin(self.modalities(self.slice2(x), il), il, "altup_predict_coef")
        coefs = self.reshape(coefs, self.n_altup, self.n_altup, self.r.n_tokens)
        p = self.mm(self.cont(self.permute(x, 1, 2, 0, 3)), coefs)
        return self.add(self.cont(self.permute(p, 0, 2, 1, 3)), x)

    def corrected(self, predicted: Tensor, activated: Tensor, il: int) -> Tensor:
        """Streams moved by what the layer found: [n_embd, n_tokens, n_altup] (altup_correct)."""
        m, n = self.m, self.r.n_tokens
        modal = self.modalities(activated, il)
        news = self.sub(activated, self.slice2(predicted))
        coefs = self.transpose(self.scale(self.lin(modal, il, "altup_correct_coef")))
        coefs = self.cont(coefs, 1, n, self.n_altup)
        return self.add(self.mul(self.repeat(news, m.n_embd, n, self.n_altup), coefs), predicted)

    def attention(self, x: Tensor, il: int) -> Tensor:
        """Attention over the layer's cache or an earlier layer's: [n_embd, n_tokens] in and out.

        Source: src/models/gemma3n.cpp; layers without a cache have queries alone.
        """
        m, n = self.m, self.r.n_tokens
        if il < self.first_shared:
            q, k, v = self.qkv(x, il)
            q = self.rope(self.normed(q, il, "attn_q_norm"), self.pos)
            k = self.rope(self.normed(k, il, "attn_k_norm"), self.pos)
            return self.attend(il, q, k, self.rms_norm(v))
        q = self.reshape(self.lin(x, il, "attn_q"), m.head_k(il), m.n_head(il), n)
        return self.attend(il, self.rope(self.normed(q, il, "attn_q_norm"), self.pos), None, None)

    def sparse(self, x: Tensor) -> Tensor:
        """Only what stands out of the mean by some deviations (gaussian_topk)."""
        mean = self._new("mean", x.elem, (1, *x.ne[1:]), (x,))
        spread = self.sqrt(self.scale(self.sum_rows(self.sqr(self.sub(x, mean)))))
        return self.unary(self.sub(x, self.add(mean, self.scale(spread))))

    def layer(self, x: Tensor, il: int) -> Tensor:
        """Predict, attend, feed and correct: [n_embd, n_tokens, n_altup] in and out (src/models/gemma3n.cpp)."""
        m, n = self.m, self.r.n_tokens
        predicted = self.predicted(x, il)
        active = self.slice2(predicted)
        cur = self.normed(active, il, "attn_norm")
        laurel = self.lin(self.lin(cur, il, "laurel_l"), il, "laurel_r")
        laurel = self.add(self.normed(laurel, il, "laurel_post_norm"), cur)
        cur = self.normed(self.attention(cur, il), il, "post_attention_norm")
        mid = self.scale(self.add(self.add(cur, active), laurel))
        cur = self.normed(mid, il, "ffn_norm")
        up, gate = self.lin(cur, il, "ffn_up"), self.lin(cur, il, "ffn_gate")
        if il < SPARSE_LAYERS:
            gate = self.sparse(gate)
        cur = self.lin(self.mul(up, self.unary(gate)), il, "ffn_down")
        cur = self.add(self.normed(cur, il, "post_ffw_norm"), mid)
        corrected = self.corrected(predicted, cur, il)
        first = self.mul(self.slice2(corrected), self.w(il, "altup_correct_scale"))
        first = self.unary(self.lin(first, il, "inp_gate"))
        assert self.ple is not None
        first = self.lin(self.mul(first, self.slice2(self.ple)), il, "proj")
        first = self.normed(first, il, "post_norm")
        rest = self.view(corrected, (m.n_embd, n, self.n_altup - 1), corrected.nb[1:3])
        return self.concat(self.slice2(corrected), self.add(rest, first), 2)


class Gemma4(PerLayer):
    """Two head sizes, experts beside the dense feed-forward in some files."""

    def body(self, x: Tensor) -> Tensor:
        """All layers, once every layer's own embeddings are there."""
        self.ple = self.per_layer_inputs(x)
        return super().body(x)

    def attention(self, x: Tensor, il: int) -> Tensor:
        """Attention with head sizes of the layer's kind: [n_embd, n_tokens] in and out (src/models/gemma4.cpp)."""
        m, n = self.m, self.r.n_tokens
        d, heads, kv = m.head_k(il), m.n_head(il), m.n_head_kv(il)
        fused = self.lin(x, il, "attn_qkv") if self.wo(il, "attn_qkv") is not None else None
        if fused is not None:
            q = self.cont(self.view(fused, (d * heads, n), (fused.nb[1],)))
        else:
            q = self.lin(x, il, "attn_q")
        factors = self.rope_factors(il)
        q = self.rope(self.normed(self.reshape(q, d, heads, n), il, "attn_q_norm"), self.pos, factors)
        if il >= self.first_shared:
            return self.attend(il, q, None, None)
        if fused is not None:
            k, v = (self.cont(self.view(fused, (d * kv, n), (fused.nb[1],))) for _ in "kv")
        else:
            k = self.lin(x, il, "attn_k")
            v = self.lin(x, il, "attn_v") if self.wo(il, "attn_v") is not None else k
        k, v = self.reshape(k, d, kv, n), self.reshape(v, d, kv, n)
        k = self.normed(k, il, "attn_k_norm")
        v = self.rms_norm(v)
        return self.attend(il, q, self.rope(k, self.pos, factors), v)

    def mixed(self, x: Tensor, il: int) -> Tensor:
        """A dense feed-forward and experts, each with norms of its own."""
        dense = self.normed(self.ffn(self.normed(x, il, "ffn_norm"), il, "gelu"), il, "post_ffw_norm_1")
        inner = self.normed(x, il, "pre_ffw_norm_2")
        route = self.mul(
            self.scale(self.rms_norm(x)), self.m.weight(il, "ffn_gate_inp.scale") or self.w(il, "ffn_gate_inp_s")
        )
        logits = self.mm(self.w(il, "ffn_gate_inp"), route)
        sparse = self.moe(inner, il, act="gelu", scale=1.0, logits=logits, probs_bias=False)
        return self.add(dense, self.normed(sparse, il, "post_ffw_norm_2"))

    def layer(self, x: Tensor, il: int) -> Tensor:
        """Attention, feed-forward or experts, and the layer's own embeddings: [n_embd, n_tokens] in and out."""
        cur = self.attention(self.normed(x, il, "attn_norm"), il)
        cur, x = self.rows_out(il, cur, x)
        mid = self.add(self.normed(cur, il, "post_attention_norm"), x)
        if self.wo(il, "ffn_gate_inp") is not None:
            cur = self.mixed(mid, il)
        else:
            cur = self.ffn(self.normed(mid, il, "ffn_norm"), il, "gelu")
        cur = self.add(self.normed(cur, il, "post_ffw_norm"), mid)
        if self.ple is not None:
            gate = self.unary(self.lin(cur, il, "inp_gate"))
            (own,) = self.rows_out(il, self.slice2(self.ple))
            more = self.lin(self.mul(gate, own), il, "proj")
            cur = self.add(cur, self.normed(more, il, "post_norm"))
        out = self.wo(il, "layer_output_scale")
        return cur if out is None else self.mul(cur, out)
