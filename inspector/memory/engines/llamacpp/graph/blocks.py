"""The building blocks that architectures share: norms, projections, feed-forward, experts, inputs, outputs.

Source: llm_graph_context in src/llama-graph.cpp (b11434). Only what moves memory is kept: callbacks, precision hints
and adapters are not.
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.model import GraphUnknown, head_of
from inspector.memory.engines.llamacpp.graph.ops import Ops
from inspector.memory.engines.llamacpp.graph.tensor import F32, I32, I64, Tensor, is_contiguous

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from inspector.memory.engines.llamacpp.graph.model import Model
    from inspector.memory.engines.llamacpp.graph.options import Act, Gating, NormKind, Options
    from inspector.memory.engines.llamacpp.graph.run import Run


MAX_EXPERTS: Final = 1024  # LLAMA_MAX_EXPERTS (src/llama-hparams.h): llama.cpp loads no model with more
# Architectures whose batches are either tokens or embeddings (llm_arch_supports_mixed_batch, src/llama-arch.cpp).
UNMIXED: Final = frozenset(("cogvlm", "deepseek4", "graniteswitch", "eagle3", "dflash", "gemma4-assistant"))


class Blocks(Ops):
    """A graph under construction: of the model `m`, for the worst-case batch `r`, with the architecture's `o`ptions."""

    def __init__(self, model: Model, run: Run, options: Options) -> None:
        super().__init__()
        self.m = model
        self.r = run
        self.o = options
        self.out_ids: Tensor | None = None
        self.all_logits: Tensor | None = None
        self.wide: Tensor  # embeddings, with deeper image features behind them where the model takes such
        self.layer_ids: Sequence[int] = run.layer_ids or range(model.n_layer)

    def clamp(self, a: Tensor) -> Tensor:
        """Elements held between two numbers: `a`'s shape (ggml_clamp)."""
        return self.like("clamp", a) if self.m.does("clamps apart") else self.view_of("clamp", a, a)

    # weights

    def w(self, il: int, name: str) -> Tensor:
        """A weight that must be there."""
        t = self.m.weight(il, name + ".weight")
        if t is None:
            raise GraphUnknown(f"blk.{il}.{name}.weight")
        return t

    def wo(self, il: int, name: str) -> Tensor | None:
        """A weight that may be there."""
        return self.m.weight(il, name + ".weight")

    def top(self, name: str) -> Tensor | None:
        """A weight outside the layers, by its full name."""
        return self.m.weight("", name)

    # norms and projections

    def norm(
        self, x: Tensor, w: Tensor | None, b: Tensor | None = None, kind: NormKind = "rms", il: int = -1,
    ) -> Tensor:  # fmt: skip
        """Normalise, then scale and shift where the model has weights for it."""
        x = self.layer_norm(x) if kind == "layer" else self.rms_norm(x)
        if self.r.probing and il >= 0 and (w is not None or b is not None):
            # llama_context::graph_get_cb holds norms on their layer's device; measuring sizes forgets that
            # (ggml_backend_sched_reserve_size resets the scheduler first), probing does not
            x.buf = self.r.layer_buf[il]
        if w is not None:
            x = self.mul(x, w)
        return x if b is None else self.add(x, b)

    def normed(self, x: Tensor, il: int, name: str, kind: NormKind = "rms") -> Tensor:
        """`norm` with the layer's weights of that name; weights that are not there are left out."""
        m = self.m
        w = m.weight(il, name + ".weight") or m.weight(il, name)  # Falcon-H1 leaves the suffix out
        return self.norm(x, w, m.weight(il, name + ".bias"), kind, il)

    def lin(self, x: Tensor, il: int, name: str, *, bias: bool = True) -> Tensor:
        """A projection with the layer's weight of that name, and its scale and bias where there are."""
        m = self.m
        x = self.mm(self.w(il, name), x)
        scale = m.weight(il, name + ".scale")
        if scale is not None:
            x = self.mul(x, scale)
        b = m.weight(il, name + ".bias") if bias else None
        return x if b is None else self.add(x, b)

    def qkv(
        self, x: Tensor, il: int, *, heads: tuple[int, int] | None = None, dims: tuple[int, int] | None = None,
        clamp: bool = False, reshape: bool = True,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """Queries, keys and values as [head_dim, heads, tokens]; views of one product where the weight is fused."""
        m = self.m
        nh, nkv = heads or (m.n_head(il), m.n_head_kv(il))
        dk, dv = dims or (m.head_k(il), m.head_v(il))
        n = x.ne[1]
        clamp = clamp and reshape and bool(m.key("attention.clamp_kqv", 0.0))
        if m.weight(il, "attn_qkv.weight") is not None:
            out = self.lin(x, il, "attn_qkv")
            if clamp:
                out = self.clamp(out)
            row = out.nb[1]
            if not reshape:
                return tuple(self.cont(self.view(out, (w, n), (row,))) for w in (dk * nh, dk * nkv, dv * nkv))  # type: ignore[return-value]
            return (
                self.view(out, (dk, nh, n), (4 * dk, row)),
                self.view(out, (dk, nkv, n), (4 * dk, row)),
                self.view(out, (dv, nkv, n), (4 * dv, row)),
            )
        parts = [self.lin(x, il, name) for name in ("attn_q", "attn_k", "attn_v")]
        if clamp:
            parts = [self.clamp(t) for t in parts]
        if not reshape:
            return tuple(parts)  # type: ignore[return-value]
        sizes = ((dk, nh), (dk, nkv), (dv, nkv))
        return tuple(self.reshape(t, d, h, n) for t, (d, h) in zip(parts, sizes, strict=True))  # type: ignore[return-value]

    # feed-forward

    def limit(self, il: int, which: str) -> float:
        """Where an architecture clamps its gated activations in separate steps: the layer's limit, else 0."""
        if not self.o.clamps_apart:
            return 0.0
        return self.m.per_layer("swiglu_clamp_" + which, il, 0.0)

    def activation(self, gate: Tensor | None, up: Tensor, act: Act, limit: float = 0.0) -> Tensor:
        """The non-linearity between up and down, gated where there is a gate.

        `act`: silu, gelu, relu, relu2, oai; glu (one tensor, its halves gate each other).
        """
        if act == "glu":
            return self.glu(up)
        if gate is None:
            up = self.unary(up)
            return self.sqr(up) if act == "relu2" else up
        if act == "relu2":
            return self.mul(self.sqr(self.unary(gate)), up)
        if limit > 1e-6 and act == "silu":
            up = self.clamp(up)
            return self.mul(self.clamp(self.unary(gate)), up)
        return self.glu(gate, up)

    def ffn(
        self, x: Tensor, il: int, act: Act = "silu", *, suffix: str = "", gated: bool | None = None,
        seq: bool = False,
    ) -> Tensor:  # fmt: skip
        """Up (and gate), activation, down, by the layer's `ffn_*{suffix}` weights."""
        up = self.lin(x, il, "ffn_up" + suffix)
        has_gate = self.wo(il, "ffn_gate" + suffix) is not None if gated is None else gated
        gate = None
        if has_gate and act != "glu":
            gate = self.lin(up if seq else x, il, "ffn_gate" + suffix)
        x = self.activation(gate, up, act, self.limit(il, "shexp"))
        return self.lin(x, il, "ffn_down" + suffix)

    def _experts(self, x: Tensor, il: int, name: str, ids: Tensor, *, exact: bool = False) -> Tensor:
        m = self.m
        x = self.mm_id(self.w(il, name), x, ids)
        x.exact = exact
        scale = m.weight(il, name + ".scale")
        if scale is not None:
            s = self.repeat(self.reshape(scale, 1, scale.ne[0], 1), 1, scale.ne[0], x.ne[2])
            x = self.mul(x, self.get_rows(s, ids))
        b = m.weight(il, name + ".bias")
        return x if b is None else self.add_id(x, b, ids)

    def _mask_groups(self, scores: Tensor, n_expert: int, n_groups: int) -> Tensor:
        """Keep the scores of the best expert groups only."""
        n = scores.ne[1]
        groups = self.reshape(scores, n_expert // n_groups, n_groups, n)
        best = self.argsort_top_k(groups, 2)
        best = self.get_rows(self.reshape(groups, 1, *groups.ne[:3]), best)
        best = self.sum_rows(self.reshape(best, *best.ne[1:]))
        best = self.reshape(best, best.ne[1], best.ne[2])
        chosen = self.argsort_top_k(best, self.m.count("expert_group_used_count", 0))
        kept = self.get_rows(groups, chosen)
        return self.reshape(self.set_rows(self.fill(groups), kept, chosen), n_expert, n)

    def _probabilities(self, logits: Tensor, gating: Gating) -> Tensor:
        if gating == "softmax":
            return self.soft_max(logits)
        if gating == "sigmoid":
            return self.unary(logits)
        return self.sqrt(self.unary(logits)) if gating == "softplus" else logits

    def ranking(self, logits: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002 - for overriders
        """What experts are ranked by: their scores, where an architecture does not take something else."""
        return scores

    def _chosen(self, logits: Tensor, probs: Tensor, bias: Tensor | None, n_expert: int, n_used: int) -> Tensor:
        """Indices of the experts that score best."""
        select = self.ranking(logits, probs if bias is None else self.add(probs, bias))
        n_groups = self.m.count("expert_group_count", 0)
        if n_groups > 1:
            select = self._mask_groups(select, n_expert, n_groups)
        ids = self.argsort_top_k(select, n_used)
        if n_expert != self.m.n_expert:  # fewer experts than the router scores: each stands for a group (grovemoe.cpp)
            ids = self.cast(self.scale(self.cast(ids, F32)), I32)
        return ids

    def _weights(self, probs: Tensor, ids: Tensor, gating: Gating, *, norm_w: bool, scale: float) -> Tensor:
        """The chosen experts' weights, in the graph from here on."""
        n_used, n = ids.ne[0], ids.ne[1]
        weights = self.get_rows(probs, ids)
        if gating == "softmax_weight":
            weights = self.soft_max(self.reshape(weights, n_used, n))
            weights = self.reshape(weights, 1, n_used, n)
        if norm_w:
            flat = self.reshape(weights, n_used, n)
            total = self.clamp(self.sum_rows(flat))
            weights = self.reshape(self.div(flat, total), 1, n_used, n)
        if scale not in {0.0, 1.0}:
            weights = self.scale(weights)
        return self.expand(weights)

    def _run_experts(self, x: Tensor, il: int, ids: Tensor, suffix: str, act: Act) -> Tensor:
        m = self.m
        gate: Tensor | None
        if m.weight(il, f"ffn_gate_up{suffix}.weight") is not None:
            both = self._experts(x, il, "ffn_gate_up" + suffix, ids)
            half = (both.ne[0] // 2, both.ne[1], both.ne[2])
            gate, up = self.view(both, half, both.nb[1:3]), self.view(both, half, both.nb[1:3])
        else:
            up = self._experts(x, il, "ffn_up" + suffix, ids)
            has_gate = m.weight(il, f"ffn_gate{suffix}.weight") is not None
            gate = self._experts(x, il, "ffn_gate" + suffix, ids) if has_gate else None
        x = self.activation(gate, up, act, self.limit(il, "exp"))
        return self._experts(x, il, "ffn_down" + suffix, ids, exact=self.o.experts.exact_down)

    def moe(
        self, x: Tensor, il: int, *, act: Act = "silu", norm_w: bool = True, gating: Gating = "softmax",
        scale: float | None = None, logits: Tensor | None = None, n_expert: int | None = None,
        n_used: int | None = None, suffix: str = "_exps", probs_bias: bool = True,
        weigh_first: bool = False,
    ) -> Tensor:  # fmt: skip
        """Route each token to its experts, run them, weigh and sum: [n_embd, n_tokens] in and out (build_moe_ffn).

        `gating`: softmax, sigmoid, softmax_weight (softmax over the chosen only), softplus. `logits`: [n_expert,
        n_tokens], where something else than `x` is routed by; `n_expert`, `n_used`: where not all are meant.
        """
        n_expert, n_used = n_expert or self.m.n_expert, n_used or self.m.n_expert_used(il)
        if not 0 < n_used <= n_expert <= MAX_EXPERTS:
            raise GraphUnknown("expert_used_count")
        n_embd, n = x.ne[0], x.ne[1]
        if logits is None:
            logits = self.lin(x, il, "ffn_gate_inp")
        probs = self._probabilities(logits, gating)
        ids = self._chosen(logits, probs, self._router_bias(il) if probs_bias else None, n_expert, n_used)
        factor = self.m.number("expert_weights_scale", 0.0) if scale is None else scale
        probs = self.reshape(probs, 1, self.m.n_expert, n)
        weights = self._weights(probs, ids, gating, norm_w=norm_w, scale=factor)
        x = self.reshape(x, n_embd, 1, n)
        if weigh_first:
            x = self.mul(self.repeat(x, n_embd, n_used, n), weights)
        x = self._run_experts(x, il, ids, suffix, act)
        return self._sum_of_experts(x if weigh_first else self.mul(x, weights), self.m.n_expert_used(il))

    def _router_bias(self, il: int) -> Tensor | None:
        """What scores are corrected by, [n_expert]; hy-v3.cpp has it without a suffix."""
        return self.m.weight(il, "exp_probs_b.bias") or self.m.weight(il, "exp_probs_b")

    def _sum_of_experts(self, x: Tensor, n_used: int) -> Tensor:
        """[n_embd, n_tokens] of [n_embd, used, n_tokens], one addition at a time, in the graph from here on."""
        self.expand(x)
        parts = [self.expand(self.view(x, (x.ne[0], x.ne[2]), (x.nb[2],))) for _ in range(n_used)]
        total = parts[0]
        for part in parts[1:]:
            total = self.expand(self.add(total, part))
        return self.cont(total) if n_used == 1 else total

    # inputs and outputs

    def embed(self, *, scaled: bool = False, width: int | None = None) -> Tensor:
        """Token embeddings, [n_embd, n_tokens], with the branches for embeddings given from outside (build_inp_embd).

        `scaled`: by a factor a token; `width`: elements of an input row, where image features make it wider.
        """
        m, r = self.m, self.r
        n_embd, n = m.n_embd, r.n_tokens
        wide = width or n_embd * (1 + self.deepstack())
        cur = self.expand(self.rows(self.input(I32, n, name="inp_tokens"), wide))
        self.expand(self.input(F32, wide, n, name="inp_embd"))
        if m.arch not in UNMIXED and m.does("mixes inputs"):
            copy = self.dup(self.input(F32, wide, n, name="inp_mixed_embd"))
            ids = self.input(I32, n, name="inp_mixed_tokens")
            self.expand(self.set_rows(copy, self.rows(ids, wide), self.input(I64, n, name="inp_mixed_slots")))
        if wide != n_embd:
            cur = self.view(cur, (n_embd, n), (cur.nb[1],))
        self.wide = cur
        if m.does("scales by token"):
            return self.expand(self._scaled_embeddings(cur, tokens_only=wide != n_embd, scaled=scaled))
        cur = self.expand(self._scaled_embeddings(cur, tokens_only=False, scaled=False))
        return self.scale(cur) if scaled else cur  # by the model, after the embeddings were in the graph

    def rows(self, ids: Tensor, wide: int) -> Tensor:
        """Embeddings of these tokens, [wide, n_tokens], with zeros where deeper image features stand."""
        table = self.top("token_embd.weight")
        if table is None:
            raise GraphUnknown("token_embd.weight")
        cur = self.get_rows(table, ids)
        return self.pad(cur, wide - self.m.n_embd) if wide != self.m.n_embd else cur

    def _scaled_embeddings(self, cur: Tensor, *, tokens_only: bool, scaled: bool) -> Tensor:
        """Times the file's factor; token by token where image features beside them are not scaled."""
        usual = self.o.embed_scale
        factor = 0.0 if usual is None else self.m.number("embedding_scale", usual)
        by_token = factor != 0.0 and tokens_only
        if factor and not by_token:
            cur = self.scale(cur if is_contiguous(cur) else self.cont(cur))
        if scaled or (by_token and factor != 1.0):
            cur = cur if is_contiguous(cur) else self.cont(cur)
            cur = self.mul(cur, self.input(F32, 1, self.r.n_tokens, name="inp_scale_rows"))
        return cur

    def deepstack(self) -> int:
        """How many deeper levels of image features come with each embedding."""
        if self.o.deepstack == "count":
            return self.m.count("n_deepstack_layers", 0)
        mapping = self.m.whole_numbers("deepstack_mapping") if self.o.deepstack == "mapping" else ()
        return len({x for x in mapping if x >= 0})

    def positions(self, per_token: int = 1) -> Tensor:
        """Positions of the batch's tokens: [n_tokens × per_token], i32 (build_inp_pos, src/llama-graph.cpp)."""
        return self.input(I32, self.r.n_tokens * per_token, name="inp_pos")

    def output_ids(self) -> Tensor:
        """Which tokens' logits are wanted: [n_outputs], i32 (build_inp_out_ids, src/llama-graph.cpp)."""
        self.out_ids = self.input(I32, self.r.n_outputs, name="out_ids")
        return self.out_ids

    def last(self, il: int) -> bool:
        """Whether it is the last layer that runs."""
        return il == self.m.n_layer - 1

    def rows_out(self, il: int, *ts: Tensor) -> tuple[Tensor, ...]:
        """In the last layer, only the rows whose logits are wanted."""
        if not self.last(il) or self.out_ids is None:
            return ts
        ids = self.out_ids
        return tuple(self.get_rows(t, ids) for t in ts)

    def head(
        self, x: Tensor, *, kind: NormKind = "rms", scale: bool = False, softcap: bool = False, bias: bool = True
    ) -> None:
        """Final norm and logits, both kept to the end of the graph."""
        x = self.norm(x, self.top("output_norm.weight"), self.top("output_norm.bias"), kind)
        self.logits(x, scale=scale, softcap=softcap, bias=bias)

    def logits(self, x: Tensor, *, scale: bool = False, softcap: bool = False, bias: bool = True) -> None:
        """[n_vocab, n_outputs] of [n_embd, n_outputs]: the end of the graph, kept to its end.

        Source: the last lines of each src/models/*.cpp. `scale`, `softcap`: what logits go through afterwards.
        """
        x.is_output = True
        x = self.mm(self.lm_head(), x)
        s = self.top("output.scale")
        if s is not None:
            x = self.mul(x, s)
        b = self.top("output.bias") if bias else None
        if b is not None:
            x = self.add(x, b)
        if scale:
            x = self.scale(x)
        if softcap:
            x = self.scale(self.unary(self.scale(x)))
        self.kept_logits(x)

    def kept_logits(self, x: Tensor) -> None:
        """Logits are the end of the graph, kept to its end; of a view, the bytes that it looks at."""
        (x.root or x).is_output = True
        self.all_logits = self.expand(x)

    def lm_head(self) -> Tensor:
        """The output matrix, [n_embd, n_vocab]; the token embedding where the file has none. Raises GraphUnknown."""
        return head_of(self.m)
