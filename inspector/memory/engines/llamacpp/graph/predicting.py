"""The graph of a model's own prediction layer, which drafts tokens in a context of its own.

Source: graph_mtp of src/models/qwen35.cpp, qwen35moe.cpp, qwen3next.cpp, glm4-moe.cpp, hy-v3.cpp, bailingmoe3.cpp,
qwen4exp.cpp, deepseek4.cpp (b11434).
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.memory.engines.llamacpp.graph.archs import KEYED, KEYED_SIGMOID, LATE
from inspector.memory.engines.llamacpp.graph.decoder import Decoder
from inspector.memory.engines.llamacpp.graph.dsv4 import DeepSeek4
from inspector.memory.engines.llamacpp.graph.hybrids import Qwen3Next, Qwen35
from inspector.memory.engines.llamacpp.graph.hyper import Mixed
from inspector.memory.engines.llamacpp.graph.kda import BailingMoe3
from inspector.memory.engines.llamacpp.graph.model import GraphUnknown
from inspector.memory.engines.llamacpp.graph.options import Options, Row
from inspector.memory.engines.llamacpp.graph.qwen4 import Qwen4Exp
from inspector.memory.engines.llamacpp.graph.recurrent import Recurrent
from inspector.memory.engines.llamacpp.graph.tensor import F32, I32, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final


class Predicting(Decoder):
    """A layer like the model's own, over a hidden state and a token's embedding.

    `picks_early`: rows whose logits are wanted are picked after attention, not at the end.
    """

    picks_early = False

    def leave_out_repetitions(self) -> None:
        """There is one layer."""

    def inputs(self) -> Any:
        """A cache of the one layer."""
        self.base = self.cache(self.r.n_ctx_seq, [self.m.n_layer])
        return self.base

    def build(self) -> None:
        """Hidden state and embedding, joined; the layer; logits."""
        m, n = self.m, self.r.n_tokens
        il = m.n_layer
        if m.n_layer_all != il + 1:
            raise GraphUnknown("several prediction layers")
        table = m.weight(il, "nextn.embed_tokens.weight") or self.top("token_embd.weight")
        if table is None:
            raise GraphUnknown("token_embd.weight")
        token = self.get_rows(table, self.input(I32, n, name="inp_tokens"))
        hidden = self.input(F32, m.n_embd, n, name="mtp_h_input")
        self.placed(token)
        self.output_ids()
        self.inputs()
        hidden = self.normed(hidden, il, "nextn.hnorm")
        x = self.lin(self.concat(self.normed(token, il, "nextn.enorm"), hidden, 0), il, "nextn.eh_proj")
        self.predicted(self.drafted(x, il), il)

    def drafted(self, x: Tensor, il: int) -> Tensor:
        """Attention and feed-forward: [n_embd, n_tokens] in and out, or the wanted rows."""
        cur = self.attention(self.normed(x, il, "attn_norm"), il)
        if self.picks_early:
            assert self.out_ids is not None
            cur, x = self.get_rows(cur, self.out_ids), self.get_rows(x, self.out_ids)
        mid = self.add(cur, x)
        return self.add(self.feed(self.normed(mid, il, self.o.norms.ffn), il), mid)

    def predicted(self, x: Tensor, il: int) -> None:
        """The norm and the head of its own, where it has them, else the model's."""
        m = self.m
        norm = m.weight(il, "nextn.shared_head_norm.weight") or self.top("output_norm.weight")
        head = m.weight(il, "nextn.shared_head_head.weight") or self.lm_head()
        x = self.norm(x, norm, None, "rms")
        x.is_output = True
        if not self.picks_early:
            assert self.out_ids is not None
            x = self.get_rows(x, self.out_ids)
        self.kept_logits(self.mm(head, x))


class PredictingNext(Predicting, Qwen3Next):
    """Gated attention."""

    picks_early = True

    def attention(self, x: Tensor, il: int) -> Tensor:
        """With a gate in the queries."""
        return self.gated_attention(x, il)


class Predicting35(PredictingNext, Qwen35):
    """As above; rows are picked at the end."""

    picks_early = False


class PredictingBailing(BailingMoe3, Predicting):
    """Gated latent attention, and no states."""

    def inputs(self) -> Any:
        """A cache of the one layer."""
        return Predicting.inputs(self)

    def attention(self, x: Tensor, il: int) -> Tensor:
        """Latent, with a gate a head."""
        return self.full(x, il)


class PredictingQwen4(Qwen4Exp, Predicting):
    """Gated attention to the best blocks, on as many streams as the model has."""

    def inputs(self) -> Any:
        """A cache of the one layer; where states are is asked for although there are none."""
        Recurrent.inputs(self)
        self.expand(self.rows_at)
        self.block_inputs()

    def build(self) -> None:
        """All streams and the embedding, joined; the layer; a last mix of its own; logits."""
        m, n, hc = self.m, self.r.n_tokens, self.streams
        il, table = m.n_layer, self.top("token_embd.weight")
        if m.n_layer_all != il + 1 or table is None:
            raise GraphUnknown("several prediction layers" if table is not None else "token_embd.weight")
        token = self.get_rows(table, self.input(I32, n, name="inp_tokens"))
        hidden = self.reshape(self.input(F32, m.n_embd * hc, n, name="mtp_h_input"), m.n_embd, hc, n)
        self.inputs()
        self.placed(token)
        ids = self.output_ids()
        hidden = self.normed(hidden, il, "nextn.hnorm")
        x = self.lin(self.concat(self.spread(self.normed(token, il, "nextn.enorm")), hidden, 0), il, "nextn.eh_proj")
        cur, inject = self.branch(x, il, "attn")
        x = self.combined(x, self.gated_attention(cur, il), inject)
        cur, inject = self.branch(x, il, "ffn")
        x = self.combined(x, self.feed(cur, il), inject)
        x.is_output = True  # what the next step of a draft reads
        wanted = self.get_rows(self.expand(self.reshape(x, m.n_embd * hc, n)), ids)
        wanted = self.reshape(wanted, m.n_embd, hc, wanted.ne[1])
        self.logits(self.mixed(wanted, ("nextn.hc_head_norm", "nextn.hc_head_down", "nextn.hc_head_up"), il)[0])


class PredictingStreams(Predicting, DeepSeek4):
    """Attention over a window, in several streams, whose wanted rows are kept for the next token."""

    picks_early = True

    def inputs(self) -> Any:
        """A cache of the one layer's window, shared among sequences where the model's is asked to be."""
        self.swa = self.windowed()

    def build(self) -> None:
        """Streams of hidden states, each joined with the embedding; the layer; logits."""
        m, n, il = self.m, self.r.n_tokens, self.m.n_layer
        self.streams = self.count_streams()
        ratios = (*m.whole_numbers("attention.compress_ratios"), *(0,) * m.n_layer_all)
        if m.n_layer_all != il + 1 or ratios[il] or il < m.count("hash_layer_count"):  # llama.cpp aborts
            raise GraphUnknown("a prediction layer that compresses or looks up, or several")
        table = m.weight(il, "nextn.embed_tokens.weight") or self.top("token_embd.weight")
        if table is None:
            raise GraphUnknown("token_embd.weight")
        token = self.get_rows(table, self.input(I32, n, name="inp_tokens"))
        hidden = self.input(F32, m.n_embd * self.streams, n, name="mtp_h_input")
        self.placed(token)
        self.output_ids()
        self.inputs()
        hidden = self.normed(self.reshape(hidden, m.n_embd, self.streams, n), il, "nextn.hnorm")
        token = self.reshape(self.normed(token, il, "nextn.enorm"), m.n_embd, 1, n)
        x = self.concat(self.repeat(token, m.n_embd, self.streams, n), hidden, 0)
        x = Mixed.layer(self, self.lin(x, il, "nextn.eh_proj"), il)
        assert self.out_ids is not None
        x = self.get_rows(self.reshape(x, m.n_embd * self.streams, n), self.out_ids)
        x.is_output = True
        self.predicted(self.collapsed(self.reshape(x, m.n_embd, self.streams, self.r.n_outputs)), il)

    def between(self, *ts: Tensor) -> None:
        """They come into the graph with what reads them."""


PREDICTING: Final[Mapping[str, Row]] = MappingProxyType({
    "qwen3next": Row("predicting", "PredictingNext", Options(norms=LATE)),
    "qwen35": Row("predicting", "Predicting35", Options(norms=LATE, positions="four")),
    "qwen35moe": Row("predicting", "Predicting35", Options(norms=LATE, positions="four")),
    "glm4moe": Row("predicting", "Predicting", Options(norms=LATE, experts=KEYED_SIGMOID)),
    "bailingmoe3": Row("predicting", "PredictingBailing", Options(
        positions="sections", experts=KEYED, clamps_apart=True)),
    "qwen4exp": Row("predicting", "PredictingQwen4", Options(positions="four")),
    "deepseek4": Row("predicting", "PredictingStreams", Options(experts=KEYED)),
    "hy_v3": Row("predicting", "Predicting", Options(experts=KEYED, rope_factors="all")),
})  # fmt: skip
