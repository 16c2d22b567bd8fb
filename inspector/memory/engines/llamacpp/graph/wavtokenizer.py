"""WavTokenizer's decoder: convolutions over the tokens of a batch, and attention over all of them.

Source: src/models/wavtokenizer-dec.cpp, ggml_conv_1d and ggml_conv_1d_dw (ggml/src/ggml.c, b11434).
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.decoder import Decoder
from inspector.memory.engines.llamacpp.graph.model import GraphUnknown
from inspector.memory.engines.llamacpp.graph.tensor import F16, F32, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# What each part of the positional net is; llama.cpp loads no file with more.
POSNET: Final = ("residual", "residual", "attention", "residual", "residual", "norm")


class WavTokenizer(Decoder):
    """A positional net, then ConvNeXt blocks; its tensors lie outside the numbered layers."""

    def leave_out_repetitions(self) -> None:
        """There are no layers to leave out."""

    def build(self) -> None:
        """Embeddings, both nets, and what each token sounds like (src/models/wavtokenizer-dec.cpp)."""
        m = self.m
        m.n_embd = m.positive("features_length")
        x = self.convolved(self.turned(self.embed()), "conv1d")
        x = self.turned(self.positional(x))
        x = self.turned(self.norm(x, self.part("token_embd_norm.weight"), self.top("token_embd_norm.bias"), "layer"))
        for i in range(m.count("convnext.block_count")):
            x = self.add(self.block(x, f"convnext.{i}."), x)
        x = self.norm(self.turned(x), self.part("output_norm.weight"), self.top("output_norm.bias"), "layer")
        x = self.add(self.mm(self.part("output.weight"), x), self.part("output.bias"))
        x.is_output = True
        self.expand(x)

    def part(self, name: str) -> Tensor:
        """A weight by its full name. Raises GraphUnknown where the file has none."""
        t = self.top(name)
        if t is None:
            raise GraphUnknown(name)
        return t

    def turned(self, x: Tensor) -> Tensor:
        """Rows and columns exchanged, in bytes of its own."""
        return self.cont(self.transpose(x))

    def windows(self, kernel: Tensor, x: Tensor) -> Tensor:
        """What each place of a kernel sees: [kernel × channels, places, …] of [n_tokens, channels, …] (ggml_im2col).

        Half a kernel of zeros stands before the first token and behind the last.
        """
        size = kernel.ne[0]
        elem = F32 if kernel.elem[2].lower() == "bf16" else F16
        places = x.ne[0] + 2 * (size // 2) - size + 1
        return self.custom("im2col", elem, (size * kernel.ne[1], places, x.ne[2]), kernel, x)

    def convolved(self, x: Tensor, name: str) -> Tensor:
        """A convolution over the tokens, and its bias: [n_tokens, channels] in and out (ggml_conv_1d_ph)."""
        kernel = self.part(f"{name}.weight")
        seen = self.windows(kernel, x)
        flat = self.reshape(seen, seen.ne[0], seen.ne[1] * seen.ne[2])
        cur = self.mm(flat, self.reshape(kernel, kernel.ne[0] * kernel.ne[1], kernel.ne[2]))
        return self.add(self.reshape(cur, seen.ne[1], kernel.ne[2], seen.ne[2]), self.part(f"{name}.bias"))

    def group_norm(self, x: Tensor, name: str) -> Tensor:
        """Groups of channels of mean 0 and variance 1: `x`'s shape, never in place (LLM_NORM_GROUP of build_norm)."""
        cur = self.like("group_norm", self.reshape(x, x.ne[0], 1, x.ne[1]), inplace=False)
        cur = self.reshape(cur, x.ne[0], x.ne[1])
        return self.add(self.mul(cur, self.part(f"{name}.weight")), self.part(f"{name}.bias"))

    def positional(self, x: Tensor) -> Tensor:
        """The positional net: [n_tokens, channels] in and out. Raises GraphUnknown for more parts than there are."""
        n = self.m.count("posnet.block_count")
        if n > len(POSNET):
            raise GraphUnknown("posnet.block_count")
        for i, what in enumerate(POSNET[:n]):
            at = f"posnet.{i}."
            if what == "residual":
                x = self.add(self.gated(self.gated(x, at, "1"), at, "2"), x)
            elif what == "attention":
                x = self.add(self.attended(x, at), x)
            else:
                x = self.group_norm(x, at + "attn_norm")
        return x

    def gated(self, x: Tensor, at: str, which: str) -> Tensor:
        """Norm, gate by itself, convolution: [n_tokens, channels] in and out."""
        x = self.group_norm(x, f"{at}norm{which}")
        return self.convolved(self.mul(self.unary(x), x), f"{at}conv{which}")

    def attended(self, x: Tensor, at: str) -> Tensor:
        """One head over all tokens without a mask: [n_tokens, channels] in and out."""
        x = self.group_norm(x, at + "attn_norm")
        q, k, v = (self.convolved(x, at + name) for name in ("attn_q", "attn_k", "attn_v"))
        scores = self.soft_max(self.mm(self.turned(k), self.turned(q)))
        return self.convolved(self.mm(scores, v), at + "attn_output")

    def block(self, x: Tensor, at: str) -> Tensor:
        """A ConvNeXt block but for its residual: [n_tokens, channels] in and out (ggml_conv_1d_dw_ph for its start)."""
        kernel = self.part(at + "dw.weight")
        seen = self.windows(kernel, self.reshape(x, x.ne[0], 1, x.ne[1]))
        cur = self.mm(seen, kernel)
        cur = self.add(self.reshape(cur, cur.ne[0], cur.ne[2]), self.part(at + "dw.bias"))
        cur = self.norm(self.turned(cur), self.part(at + "norm.weight"), self.top(at + "norm.bias"), "layer")
        cur = self.unary(self.add(self.mm(self.part(at + "pw1.weight"), cur), self.part(at + "pw1.bias")))
        cur = self.add(self.mm(self.part(at + "pw2.weight"), cur), self.part(at + "pw2.bias"))
        return self.turned(self.mul(cur, self.part(at + "gamma.weight")))
