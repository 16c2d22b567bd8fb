"""DSpark over DeepSeek V4's blocks: streams, a window of latents, experts; the heads are DFlash's.

Source: llama_model_dflash::graph_dsv4 in src/models/dflash.cpp (b11434).
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.archs import KEYED
from inspector.memory.engines.llamacpp.graph.decoder import Decoder
from inspector.memory.engines.llamacpp.graph.dflash import DFlash
from inspector.memory.engines.llamacpp.graph.dsv4 import DeepSeek4
from inspector.memory.engines.llamacpp.graph.hyper import Streams
from inspector.memory.engines.llamacpp.graph.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from inspector.memory.engines.llamacpp.graph.model import Model
    from inspector.memory.engines.llamacpp.graph.run import Run
    from inspector.memory.engines.llamacpp.graph.tensor import Tensor


def dflash_of(model: Model, run: Run, options: Options) -> DFlash:
    """The builder of a dflash file: blocks of DeepSeek V4's where the file counts streams, else plain layers."""
    if model.count("hyper_connection.count", 0):
        return DSpark4(model, run, Options(experts=KEYED))
    return DFlash(model, run, options)


class DSpark4(DFlash, DeepSeek4):
    """Blocks that attend over their window alone."""

    def build(self) -> None:
        """Embeddings in several streams, layers, one stream of all, logits of every token, the Markov head."""
        m, n = self.m, self.r.n_tokens
        self.pos = self.positions()
        self.inputs()
        tokens, x = self.token_embeddings()
        self.streams = m.positive("hyper_connection.count")
        x = self.repeat(self.reshape(x, m.n_embd, 1, n), m.n_embd, self.streams, n)
        for il in self.layer_ids:
            x = self.layer(x, il)
        hidden = self.collapsed(x)
        hidden.is_output = True
        logits = self.read_by_head(self.norm(hidden, self.top("output_norm.weight")), tied=True, scaled=True)
        self.drafted(self.expand(logits), hidden, tokens)

    def inputs(self) -> Any:
        """Keys alone of a window, which are values too."""
        m, r = self.m, self.r
        self.base = self.swa = self.cache(r.cells_swa(m.n_swa or 0), list(range(m.n_layer)))
        return self.base

    def layer(self, x: Tensor, il: int) -> Tensor:
        """As any layer's with streams: [n_embd, streams, n_tokens] in and out."""
        return Streams.layer(self, x, il)

    def between(self, *ts: Tensor) -> None:
        """Nothing is put into the graph before the feed-forward."""

    def attention(self, x: Tensor, il: int) -> Tensor:
        """Attention over the window: [n_embd, n_tokens] in and out."""
        return DeepSeek4.attention(self, x, il)

    def feed(self, x: Tensor, il: int) -> Tensor:
        """Experts, none of them looked up by token."""
        self.looked_up = None
        return Decoder.feed(self, x, il)
