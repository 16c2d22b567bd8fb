"""Decoders that run through their blocks more than once: each run has caches of its own and shares the weights.

Source: src/models/nanbeige.cpp, hrm-text.cpp (b11434).
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.decoder import Decoder
from inspector.memory.engines.llamacpp.graph.model import GraphUnknown
from inspector.memory.engines.llamacpp.graph.tensor import Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.memory.engines.llamacpp.graph.model import Model
    from inspector.memory.engines.llamacpp.graph.options import Options
    from inspector.memory.engines.llamacpp.graph.run import Run


class Looped(Decoder):
    """A model whose layers take their weights from a block that other layers have too."""

    def __init__(self, model: Model, run: Run, options: Options) -> None:
        super().__init__(model, run, options)
        model.same_as.update((il, block) for il, block in enumerate(self.blocks_run()) if il != block)

    def blocks_run(self) -> list[int]:
        """The block that each layer runs. Raises GraphUnknown."""
        raise NotImplementedError


class Nanbeige(Looped):
    """All blocks in a row, several times, the states normed in between."""

    def blocks_run(self) -> list[int]:
        """Each run is all blocks (load_arch_tensors, src/models/nanbeige.cpp)."""
        m = self.m
        self.n_blocks = m.n_layer // m.positive("num_loops", 1)
        if not self.n_blocks:
            raise GraphUnknown(f"{m.arch}.num_loops")
        return [il % self.n_blocks for il in range(m.n_layer)]

    def normed_after(self, il: int) -> bool:
        """Whether a run ends with this layer and another begins on normed states."""
        ends = (il + 1) % self.n_blocks == 0 and not self.last(il)
        return ends and not self.m.key("skip_loop_final_norm", False)

    def kind(self, il: int) -> tuple[object, ...] | None:
        """As any layer's, and whether states are normed after it; none may be left out where weights are moved.

        A weight that another device has copied for one run stays there for the next (ggml_backend_sched_split_graph).
        """
        base = super().kind(il)
        if base is None or (self.r.layer_buf and self.m.same_as):
            return None
        return (*base, self.normed_after(il))

    def layer(self, x: Tensor, il: int) -> Tensor:
        """A decoder's layer, and the norm that stands between two runs: [n_embd, n_tokens] in and out."""
        x = super().layer(x, il)
        return self.norm(x, self.top("output_norm.weight"), None, "rms", il) if self.normed_after(il) else x

    def rope_factors(self, il: int) -> Tensor | None:
        """Those of the block that the layer runs."""
        return super().rope_factors(self.m.same_as.get(il, il))


class HrmText(Looped):
    """A low stack of blocks that runs several times for each run of a high one; norms have no weights."""

    def blocks_run(self) -> list[int]:
        """The low stack's blocks, then the high one's, in the order of runs (load_arch_tensors, hrm-text.cpp)."""
        m = self.m
        self.n_stack = n = m.positive("hrm.layers_per_stack")
        self.h_cycles, self.l_cycles = m.positive("hrm.h_cycles"), m.positive("hrm.l_cycles")
        if m.n_layer != n * self.h_cycles * (self.l_cycles + 1):  # llama.cpp aborts
            raise GraphUnknown(f"{m.arch}.block_count")
        runs = [*[0] * self.l_cycles, n] * self.h_cycles
        return [first + i for first in runs for i in range(n)]

    def leave_out_repetitions(self) -> None:
        """States of one stack are held while the other runs: every layer is built."""

    def build(self) -> None:
        """Embeddings, runs of both stacks, logits (src/models/hrm-text.cpp)."""
        high = self.placed(self.embedded())
        self.inputs()
        ids = self.output_ids()
        low = self.top("hrm.z_l_init")
        if low is None:
            raise GraphUnknown("hrm.z_l_init")
        at = 0
        for _ in range(self.h_cycles):
            for _ in range(self.l_cycles):
                low = self.stack(self.add(high, low), at)
                at += self.n_stack
            high = self.stack(self.add(high, low), at)
            at += self.n_stack
        self.logits(self.get_rows(high, ids))

    def stack(self, x: Tensor, first: int) -> Tensor:
        """One run of a stack from layer `first` on, and its norm: [n_embd, n_tokens] in and out (build_stack)."""
        for il in range(first, first + self.n_stack):
            x = self.layer(x, il)
        return self.rms_norm(x)

    def layer(self, x: Tensor, il: int) -> Tensor:
        """Gated attention, then a feed-forward: [n_embd, n_tokens] in and out (build_stack)."""
        mid = self.add(self.attention(self.rms_norm(x), il), x)
        return self.add(self.ffn(self.rms_norm(mid), il), mid)

    def attention(self, x: Tensor, il: int) -> Tensor:
        """Attention times a sigmoid of its input, then projected: [n_embd, n_tokens] in and out."""
        q, k, v = self.qkv(x, il)
        cur = self.attend(il, self.rope(q, self.pos), self.rope(k, self.pos), v, wo=None)
        gate = self.unary(self.mm(self.w(il, "attn_gate"), x))
        return self.lin(self.mul(cur, gate), il, "attn_output")
