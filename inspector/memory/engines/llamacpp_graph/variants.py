"""Decoders that differ from the common one in a step or two."""

from __future__ import annotations

from inspector.memory.engines.llamacpp_graph.decoder import Decoder
from inspector.memory.engines.llamacpp_graph.tensor import Tensor


class Llama4(Decoder):
    """Rotary layers normalise queries and keys afterwards; the others scale queries by position."""

    def adjust_qk(self, q: Tensor, k: Tensor, il: int) -> tuple[Tensor, Tensor]:
        if not self.rotates(il):
            assert self.attn_scale is not None
            return self.mul(q, self.attn_scale), k
        if self.m.n_embd and self.m.n_expert != 128:
            return self.rms_norm(q), self.rms_norm(k)
        return q, k
