"""Hyper-connections: residuals in several streams, mixed into what a block reads and out of what it gives.

Source: src/models/hy-v4.cpp, and build_hc_pre and build_hc_post in src/models/deepseek4.cpp (b11434).
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.decoder import Decoder
from inspector.memory.engines.llamacpp.graph.latent import Sparse
from inspector.memory.engines.llamacpp.graph.model import GraphUnknown
from inspector.memory.engines.llamacpp.graph.tensor import F32, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from inspector.memory.engines.llamacpp.graph.options import Act

CLAMPS: Final = 1e-6  # smaller limits are none (build_ffn)
MOST_ROUNDS: Final = 1000  # far more than nodes fit into a graph of 40 a token (llama_context::graph_max_nodes)


class Streams(Decoder):
    """A model whose hidden states are [n_embd, streams, n_tokens]."""

    def body(self, x: Tensor) -> Tensor:
        """All layers, over as many copies of the embeddings as there are streams; their wanted rows, in one stream."""
        m, n = self.m, self.r.n_tokens
        self.streams = self.count_streams()
        x = self.repeat(self.reshape(x, m.n_embd, 1, n), m.n_embd, self.streams, n)
        x = super().body(x)
        assert self.out_ids is not None
        x = self.get_rows(self.reshape(x, m.n_embd * self.streams, n), self.out_ids)
        return self.collapsed(self.reshape(x, m.n_embd, self.streams, self.r.n_outputs))

    def count_streams(self) -> int:
        """How many streams there are, as the first layer's weights have it. Raises GraphUnknown."""
        n, w = self.m.positive("hyper_connection.count"), self.w(self.layer_ids[0], "hc_attn_fn")
        if w.ne[0] != self.m.n_embd * n:  # llama.cpp refuses the file
            raise GraphUnknown(f"{self.m.arch}.hyper_connection.count")
        return n

    def layer(self, x: Tensor, il: int) -> Tensor:
        """Attention and feed-forward, each of one stream mixed of all: [n_embd, streams, n_tokens] in and out."""
        cur, back = self.reduced(x, il, "attn")
        cur = self.attention(self.normed(cur, il, "attn_norm"), il)
        x = self.returned(cur, x, back, il)
        cur, back = self.reduced(x, il, "ffn")
        self.between(x, *back)
        cur = self.feed(self.normed(cur, il, "ffn_norm"), il)
        return self.returned(cur, x, back, il)

    def limit(self, il: int, which: str) -> float:
        """Where the layer's gated activations are clamped: `which` are those of experts or of what all tokens take."""
        value = self.m.per_layer("swiglu_clamp_exp", il, 0.0)
        return value if which == "exp" else self.m.per_layer("swiglu_clamp_shexp", il, value)

    def activation(self, gate: Tensor | None, up: Tensor, act: Act, limit: float = 0.0) -> Tensor:
        """One operation, clamped or not; experts and a shared one are run as one only where both are alike."""
        t = super().activation(gate, up, act)
        t.name = f"clamped at {limit}" if limit > CLAMPS else ""
        return t

    def between(self, *ts: Tensor) -> None:
        """What an architecture does with the streams and what goes back into them before the feed-forward."""

    def reduced(self, x: Tensor, il: int, block: str) -> tuple[Tensor, tuple[Tensor, ...]]:
        """One stream, [n_embd, n_tokens], and how much of what comes of it goes back into each (build_hc_pre)."""
        raise NotImplementedError

    def returned(self, cur: Tensor, x: Tensor, back: tuple[Tensor, ...], il: int) -> Tensor:
        """The streams with what a block gave: [n_embd, streams, n_tokens] (build_hc_post)."""
        raise NotImplementedError

    def collapsed(self, x: Tensor) -> Tensor:
        """One stream of all, weighed by the model's own weights: [n_embd, n_outputs] (build_hc_head)."""
        mixes = self.affine(self.mixes(x, self.outer("fn")), self.outer("scale"), self.outer("base"))
        return self.summed(x, self.scale(self.unary(mixes)))

    def outer(self, name: str) -> Tensor:
        """A weight that makes one stream of all at the end. Raises GraphUnknown."""
        t = self.top(f"output_hc_{name}.weight")
        if t is None:
            raise GraphUnknown(f"output_hc_{name}.weight")
        return t

    def mixes(self, x: Tensor, w: Tensor) -> Tensor:
        """Numbers that streams are mixed by: [w.ne1, n_tokens], of all streams normed together."""
        return self.mm(w, self.rms_norm(self.reshape(x, x.ne[0] * x.ne[1], x.ne[2])))

    def affine(self, x: Tensor, scale: Tensor, base: Tensor) -> Tensor:
        """x × scale + base: `x`'s shape."""
        return self.add(self.mul(x, scale), base)

    def affine_part(self, mixes: Tensor, il: int, block: str, size: int) -> Tensor:
        """The same of `size` of the mixes, with as much of the layer's weights: [size, n_tokens]."""
        scale, base = self.w(il, f"hc_{block}_scale"), self.w(il, f"hc_{block}_base")
        part = self.view(mixes, (size, mixes.ne[1]), (mixes.nb[1],))
        return self.affine(part, self.view(scale, (1,)), self.view(base, (size,)))

    def one_stream(self, x: Tensor) -> Tensor:
        """One stream's window: [n_embd, n_tokens]."""
        return self.view(x, (x.ne[0], x.ne[2]), (x.nb[2],))

    def one_weight(self, w: Tensor) -> Tensor:
        """One number a token, of [streams, n_tokens]: [1, n_tokens]."""
        return self.view(w, (1, w.ne[1]), (w.nb[1],))

    def summed(self, x: Tensor, weights: Tensor) -> Tensor:
        """The streams' sum by weights, [streams, n_tokens], one stream after another: [n_embd, n_tokens]."""
        total: Tensor | None = None
        for _ in range(x.ne[1]):
            one = self.mul(self.one_stream(x), self.one_weight(weights))
            total = one if total is None else self.add(total, one)
        assert total is not None
        return total


class Mixed(Streams):
    """Streams that are mixed with one another too, by matrices whose rows and columns sum to one.

    Each step is one operation, or many where that would run on another device than its layer (resolve_fused_ops).
    """

    fusible = ("hc_pre", "hc_comb", "hc_post")

    def fused(self, op: str, il: int, ne: tuple[int, ...], *src: Tensor) -> Tensor:
        """One operation for many, noted with its layer."""
        t = self.custom(op, F32, ne, *src)
        self.fused_nodes.append((op, il, t))
        return t

    def reduced(self, x: Tensor, il: int, block: str) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The streams' weighed sum, what of it goes back into each, and how they are mixed."""
        mixes = self.mixes(x, self.w(il, f"hc_{block}_fn"))
        weights, back = (self.unary(self.affine_part(mixes, il, block, self.streams)) for _ in range(2))
        weights, back = self.scale(weights), self.scale(back)
        comb = self.combined(mixes, il, block)
        if "hc_pre" in self.r.unfused:
            return self.summed(x, weights), (back, comb)
        return self.fused("hc_pre", il, (x.ne[0], x.ne[2]), x, weights), (back, comb)

    def combined(self, mixes: Tensor, il: int, block: str) -> Tensor:
        """How streams are mixed: [streams, streams, n_tokens] (build_hc_sinkhorn)."""
        hc, n = self.streams, mixes.ne[1]
        if "hc_comb" not in self.r.unfused:
            more = (self.w(il, f"hc_{block}_scale"), self.w(il, f"hc_{block}_base"))
            return self.fused("hc_comb", il, (hc, hc, n), mixes, *more)
        comb = self.soft_max(self.reshape(self.affine_part(mixes, il, block, hc * hc), hc, hc, n))
        eps = self.fill(self.leaf(F32, 1))
        comb = self.columns(self.add(comb, eps), eps)
        for _ in range(1, self.rounds()):
            comb = self.columns(self.div(comb, self.add(self.sum_rows(comb), eps)), eps)
        return comb

    def rounds(self) -> int:
        """How often rows and columns are evened out. Raises GraphUnknown for more than a graph has room for."""
        n = self.m.count("hyper_connection.sinkhorn_iterations")
        if n > MOST_ROUNDS:
            raise GraphUnknown(f"{self.m.arch}.hyper_connection.sinkhorn_iterations")
        return n

    def columns(self, comb: Tensor, eps: Tensor) -> Tensor:
        """Columns that sum to one: `comb`'s shape."""
        sums = self.sum_rows(self.cont(self.permute(comb, 1, 0, 2, 3)))
        return self.div(comb, self.permute(self.add(sums, eps), 1, 0, 2, 3))

    def returned(self, cur: Tensor, x: Tensor, back: tuple[Tensor, ...], il: int) -> Tensor:
        """The streams mixed, each with its share of what the block gave."""
        share, comb = back
        if "hc_post" not in self.r.unfused:
            return self.fused("hc_post", il, x.ne[:3], cur, x, share, comb)
        out: Tensor | None = None
        for _ in range(self.streams):
            one = self.mul(cur, self.one_weight(share))
            for _ in range(self.streams):
                weight = self.view(comb, (1, comb.ne[2]), (comb.nb[2],))
                one = self.add(one, self.mul(self.one_stream(x), weight))
            one = self.reshape(one, x.ne[0], 1, x.ne[2])
            out = one if out is None else self.concat(out, one, 1)
        assert out is not None
        return out


class HyV4(Streams, Sparse):
    """Streams that are only weighed, and gated latent attention, with an indexer where the file counts its best."""

    def limit(self, il: int, which: str) -> float:
        """Experts' alone are clamped."""
        return super().limit(il, which) if which == "exp" else 0.0

    @property
    def ranks(self) -> bool:
        """Whether an indexer ranks keys; checkpoints of full attention have none."""
        return bool(self.m.count("attention.indexer.top_k", 0))

    def inputs(self) -> Any:
        """A cache of latents, and one of indexer keys."""
        if self.ranks:
            return super().inputs()
        self.base = self.cache(self.r.n_ctx_seq, [], rot=False)
        return self.base

    def kind(self, il: int) -> Any:
        """As any layer's; layers that rank hold leafs of their own."""
        return None if self.ranks else Decoder.kind(self, il)

    def rotated_pair(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """As they are: this indexer's keys are cached unrotated."""
        return q, k

    def attention(self, x: Tensor, il: int) -> Tensor:
        """Latent attention with sinks, gated: [n_embd, n_tokens] in and out."""
        cur = self.attended(x, il, self.w(il, "attn_sinks"))
        gate = self.unary(self.lin(x, il, "attn_gate"))
        return self.lin(self.mul(cur, gate), il, "attn_output")

    def attended(self, x: Tensor, il: int, sinks: Tensor | None = None) -> Tensor:
        """What heads see of the best keys, or of all."""
        if self.ranks:
            return super().attended(x, il, sinks)
        q = self.queries(x, il)
        kv, k_pe = self.compressed(x, il)
        q, k, v = self.absorbed(q, kv, k_pe, il)
        return self.attend_latent(il, q, k, v, v_mla=self.w(il, "attn_v_b"), wo=None, sinks=sinks)

    def reduced(self, x: Tensor, il: int, block: str) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The streams' weighed sum, and how much of what comes of it is added to each."""
        mixes = self.mixes(x, self.w(il, f"hc_{block}_fn"))
        weights, back = (self.unary(self.affine_part(mixes, il, block, self.streams)) for _ in range(2))
        return self.summed(x, self.scale(weights)), (self.scale(self.scale(back)),)

    def summed(self, x: Tensor, weights: Tensor) -> Tensor:
        """The sum, in full precision between casts (hy_v4_hc_reduce)."""
        return self.cast(super().summed(self.cast(x, F32), weights), F32)

    def returned(self, cur: Tensor, x: Tensor, back: tuple[Tensor, ...], il: int) -> Tensor:  # noqa: ARG002
        """The streams, each with its share of what the block gave added."""
        cur, share, x = self.cast(cur, F32), self.cast(back[0], F32), self.cast(x, F32)
        out: Tensor | None = None
        for _ in range(self.streams):
            one = self.add(self.one_stream(x), self.mul(cur, self.one_weight(share)))
            one = self.reshape(one, x.ne[0], 1, x.ne[2])
            out = one if out is None else self.concat(out, one, 1)
        assert out is not None
        return self.cast(out, F32)
