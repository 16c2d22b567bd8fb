"""Attention: the inputs that caches need, and scores over what they hold.

Source: build_attn_* in src/llama-graph.cpp and the cache views of src/llama-kv-cache.cpp (b11434).
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.blocks import Blocks
from inspector.memory.engines.llamacpp.graph.model import external
from inspector.memory.engines.llamacpp.graph.tensor import F16, F32, I64, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.memory.engines.llamacpp.graph.model import Model
    from inspector.memory.engines.llamacpp.graph.options import Options
    from inspector.memory.engines.llamacpp.graph.run import Run
    from inspector.memory.engines.llamacpp.graph.tensor import Elem


class Cache:
    """The inputs of one key-value cache, and its tensors layer by layer."""

    __slots__ = ("cells", "elem_k", "elem_v", "k", "k_idxs", "k_rot", "mask", "v", "v_idxs", "v_rot")

    def __init__(self, cells: int, elem_k: Elem, elem_v: Elem) -> None:
        self.cells = cells
        self.elem_k = elem_k
        self.elem_v = elem_v
        self.k: dict[int, Tensor] = {}
        self.v: dict[int, Tensor] = {}
        self.k_idxs: Tensor
        self.v_idxs: Tensor
        self.mask: Tensor
        self.k_rot: Tensor | None = None
        self.v_rot: Tensor | None = None


def row_view(elem: Elem, n: int) -> int:
    """Bytes of `n` elements (ggml_row_size)."""
    return n // elem[0] * elem[1] if elem[0] > 1 else n * elem[1]


class Attention(Blocks):
    """Blocks, and attention over caches or over the batch itself."""

    base: Cache
    swa: Cache | None = None
    fusible: tuple[str, ...] = ()  # operations of `fused_nodes`, in the order in which llama.cpp probes them

    def __init__(self, model: Model, run: Run, options: Options) -> None:
        super().__init__(model, run, options)
        self.flash_nodes: list[tuple[int, Tensor]] = []
        self.fused_nodes: list[tuple[str, int, Tensor]] = []  # further ones that must run where their layer is
        self._factors: dict[tuple[str, int], Tensor] = {}

    # inputs

    def mask(self, cells: int, *, half: bool | None = None) -> Tensor:
        """A mask of `cells` cells: [cells, n_tokens / n_stream, 1, n_stream]; f16 for flash attention (`half`: anyway).

        Source: build_attn_inp_kq_mask (src/llama-graph.cpp).
        """
        r = self.r
        elem = F16 if (r.flash if half is None else half) else F32
        return self.input(elem, cells, r.n_tokens // r.n_stream, 1, r.n_stream, name="attn_inp_kq_mask")

    def cache(self, cells: int, layers: list[int], *, rot: bool = True) -> Cache:
        """Inputs of a cache of these layers with `cells` cells a stream; rotations where its elements are quantised."""
        m, r = self.m, self.r
        c = Cache(cells, r.elem_k, r.elem_v)
        c.k_idxs = self.input(I64, r.n_tokens, name="k_idxs")
        c.v_idxs = self.input(I64, r.n_tokens * (m.v_gqa_max() if r.v_trans else 1), name="v_idxs")
        c.mask = self.mask(cells)
        if rot:
            self.rotations(c, layers)
        return c

    def rotations(self, c: Cache, layers: list[int]) -> None:
        """Hadamard rotations of quantised caches (llama-kv-cache.cpp), where all its layers share a head size."""
        m = self.m
        sizes_k = {m.head_k(il) for il in layers}
        sizes_v = {m.head_v(il) for il in layers}
        if c.elem_k[0] > 1 and len(sizes_k) == 1 and m.head_k(0) % 64 == 0:
            same, n = sizes_k.pop(), 64
            while same and same % (2 * n) == 0:
                n *= 2
            c.k_rot = self.input(F32, n, n, name="k_rot") if same else None
        if c.elem_v[0] > 1 and len(sizes_v) == 1 and m.head_v(0) % 64 == 0 and sizes_v.pop():
            c.v_rot = self.input(F32, 64, 64, name="v_rot")

    def inputs(self) -> Cache:
        """Inputs of the model's cache, or of its pair of full and sliding-window caches."""
        m, r = self.m, self.r
        kept = [il for il in range(m.n_layer) if m.n_head_kv(il) and m.stores_kv(il)]
        if not m.has_swa:
            self.base = self.cache(r.n_ctx_seq, kept)
            return self.base
        self.base = self.cache(r.n_ctx_seq, [il for il in kept if not m.swa[il]])
        self.swa = self.cache(r.cells_swa(m.n_swa or 0), [il for il in kept if m.swa[il]])
        return self.base

    def cache_of(self, il: int) -> Cache:
        """The cache that a layer's keys and values are in: of all tokens, or of a window."""
        return self.swa if self.swa is not None and self.m.swa[il] else self.base

    def rope_factors(self, il: int) -> Tensor | None:
        """The layer's rotation factors: one tensor in each device's memory (llama_model::get_rope_factors)."""
        m = self.m
        if self.o.rope_factors == "none" or (self.o.rope_factors == "full" and m.swa[il]):
            return None
        trained = m.count("rope.scaling.original_context_length", m.n_ctx_train)
        long = "rope_factors_long.weight" if self.r.n_ctx_seq > trained else "rope_factors_short.weight"
        name = "rope_freqs.weight" if "rope_freqs.weight" in m.globals else long
        at = self.r.layer_buf[il] if self.r.layer_buf else self.r.host_buf
        t = self._factors.get((name, at))
        shape = m.shape("", name)
        if t is None and shape is not None:
            t = self._factors[name, at] = external(F32, shape)
            t.weight, t.buf = True, at
        return t

    # cache tensors

    def cache_tensor(self, c: Cache, il: int, which: str) -> Tensor:
        """A layer's keys ("k") or values ("v") as they are kept: [elements of all heads, cells, n_stream]."""
        kept = c.k if which == "k" else c.v
        t = kept.get(il)
        if t is None:
            m, r = self.m, self.r
            width_v = m.v_gqa_max() if r.v_trans else m.v_gqa(il)
            width = m.k_gqa(il) if which == "k" else width_v
            t = kept[il] = external(c.elem_k if which == "k" else c.elem_v, (width, c.cells, r.n_stream))
            t.buf = r.layer_buf[il] if r.layer_buf and r.offload_kqv else r.host_buf
        return t

    def store_k(self, c: Cache, il: int, k: Tensor) -> Tensor:
        """This batch's keys, [head_dim_k, n_head_kv, n_tokens], written into the cache (llama_kv_cache::cpy_k)."""
        t = self.cache_tensor(c, il, "k")
        k = self.view(k, (k.ne[0] * k.ne[1], k.ne[2]), (k.nb[2],))
        if self.r.n_stream > 1:
            t = self.reshape(t, t.ne[0], t.ne[1] * t.ne[2])
        return self.expand(self.set_rows(t, k, c.k_idxs))

    def store_v(self, c: Cache, il: int, v: Tensor) -> Tensor:
        """This batch's values written into the cache (llama_kv_cache::cpy_v): transposed without flash attention.

        `v`: [head_dim_v, n_head_kv, n_tokens]; transposed, every element is a row of its own.
        """
        t = self.cache_tensor(c, il, "v")
        width = v.ne[0] * v.ne[1]
        if not self.r.v_trans:
            v = self.view(v, (width, v.ne[2]), (v.nb[2],))
            if self.r.n_stream > 1:
                t = self.reshape(t, t.ne[0], t.ne[1] * t.ne[2])
            return self.expand(self.set_rows(t, v, c.v_idxs))
        n = v.ne[2]
        v = self.reshape(v, width, n) if row_view(v.elem, width) == v.nb[2] else self.cont(v, width, n)
        if width < t.ne[0]:
            v = self.pad(v, t.ne[0] - width)
        total = t.ne[0] * t.ne[1] * t.ne[2]
        flat = self.reshape(t, 1, total)
        return self.expand(self.set_rows(flat, self.reshape(v, 1, v.ne[0] * n), c.v_idxs))

    def stored_k(self, c: Cache, il: int) -> Tensor:
        """All keys of a layer: [head_dim_k, n_head_kv, cells, n_stream], a view (llama_kv_cache::get_k)."""
        t, m = self.cache_tensor(c, il, "k"), self.m
        dk = m.head_k(il)
        row = row_view(t.elem, t.ne[0])
        return self.view(t, (dk, m.n_head_kv(il), c.cells, self.r.n_stream), (row_view(t.elem, dk), row, row * c.cells))

    def stored_v(self, c: Cache, il: int) -> Tensor:
        """All values of a layer: [head_dim_v, n_head_kv, cells, n_stream], a view (llama_kv_cache::get_v).

        Without flash attention they lie transposed: [cells, n_head_kv, head_dim_v, n_stream].
        """
        t, m = self.cache_tensor(c, il, "v"), self.m
        dv, heads, streams = m.head_v(il), m.n_head_kv(il), self.r.n_stream
        if not self.r.v_trans:
            row = row_view(t.elem, t.ne[0])
            return self.view(t, (dv, heads, c.cells, streams), (row_view(t.elem, dv), row, row * c.cells))
        row = row_view(t.elem, c.cells)
        return self.view(t, (c.cells, heads, dv, streams), (row * dv, row, row * t.ne[0]))

    # attention

    def mha(
        self, il: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, bias: Tensor | None = None,
        sinks: Tensor | None = None, v_mla: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """softmax(q k) v, flattened to [heads × head_dim_v, n_tokens] (build_attn_mha, src/llama-graph.cpp).

        `q`: [head_dim, heads, n_tokens], `k` and `v` as `stored_k` and `stored_v` give them; `mask`: [cells, tokens of
        a stream, 1, n_stream]; `bias`: [cells, n_tokens, heads]; `v_mla` turns latents into values, a matrix a head.
        """
        v_trans = v.nb[1] > v.nb[2]
        streams = k.ne[3]
        n = q.ne[2] // streams
        q = self.view(q, (q.ne[0], q.ne[1], n, streams), (q.nb[1], q.nb[2], q.nb[2] * n))
        q, k, v = (self.permute(t, 0, 2, 1, 3) for t in (q, k, v))
        more = tuple(t for t in (mask, sinks) if t is not None)
        if self.r.flash and bias is None:
            return self.expand(self._flash(il, q, k, self.transpose(v) if v_trans else v, more, v_mla))
        kq = self.mm(k, q)
        if self.o.softcap_scores:
            kq = self.scale(self.unary(self.scale(kq)))
        if bias is not None:
            kq = self.add(kq, bias)
        kq = self.soft_max(kq, *more)
        kqv = self.mm(v if v_trans else self.cont(self.transpose(v)), kq)
        if v_mla is not None:
            kqv = self.mm(v_mla, kqv)
        cur = self.permute(kqv, 0, 2, 1, 3)
        return self.expand(self.cont(cur, cur.ne[0] * cur.ne[1], cur.ne[2] * cur.ne[3]))

    def _flash(  # noqa: PLR0917 - what the op takes, in its order
        self, il: int, q: Tensor, k: Tensor, v: Tensor, more: tuple[Tensor, ...], v_mla: Tensor | None
    ) -> Tensor:
        """The same in one op, on halves: [heads × head_dim_v, n_tokens]."""
        k = self.cast_f16(k) if k.elem == F32 else k
        v = self.cast_f16(v) if v.elem == F32 else v
        cur = self.flash_attn(q, k, v, *more)
        self.flash_nodes.append((il, cur))
        if v_mla is not None:
            cur = self.mm(v_mla, self.permute(cur, 0, 2, 1, 3))
            cur = self.cont(self.permute(cur, 0, 2, 1, 3))
        return self.reshape(cur, cur.ne[0] * cur.ne[1], cur.ne[2] * cur.ne[3])

    def attend(
        self, il: int, q: Tensor, k: Tensor | None, v: Tensor | None, *, wo: str | None = "attn_output",
        sinks: Tensor | None = None, bias: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Store this batch's keys and values, attend over the layer's cache, project."""
        c = self.cache_of(il)
        if c.k_rot is not None:
            q = self.hadamard(q, c.k_rot)
            k = self.hadamard(k, c.k_rot) if k is not None else None
        if c.v_rot is not None and v is not None:
            v = self.hadamard(v, c.v_rot)
        # the pair of caches takes keys before values, the single cache the other way round
        order = (q, k, v) if self.swa is not None else (q, v, k)
        for t in order:
            if t is not None:
                self.expand(t)
        if k is not None:
            self.store_k(c, il, k)
        if v is not None:
            self.store_v(c, il, v)
        cur = self.mha(il, q, self.stored_k(c, il), self.stored_v(c, il), c.mask, bias=bias, sinks=sinks)
        if c.v_rot is not None:
            cur = self.hadamard(cur, c.v_rot)
        return cur if wo is None else self.lin(cur, il, wo)

    def attend_latent(
        self, il: int, q: Tensor, k: Tensor, v: Tensor, *, v_mla: Tensor | None, mask: Tensor | None = None,
        wo: str | None = "attn_output", sinks: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Attention whose cached keys are also its values (MLA)."""
        c = self.cache_of(il)
        for t in (q, v, k):
            self.expand(t)
        self.store_k(c, il, k)
        cached = self.stored_k(c, il)
        values = self.view(cached, (v.ne[0], *cached.ne[1:]), cached.nb[1:])
        cur = self.mha(il, q, cached, values, c.mask if mask is None else mask, sinks=sinks, v_mla=v_mla)
        return cur if wo is None else self.lin(cur, il, wo)

    def attend_batch(
        self, il: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, *, wo: str | None = "attn_output",
        bias: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Attention over this batch (or another's states) alone: nothing is stored."""
        for t in (q, k, v):
            self.expand(t)
        cur = self.mha(il, q, k, v, mask, bias=bias)
        return cur if wo is None else self.lin(cur, il, wo)

    def batch_masks(self) -> tuple[Tensor, Tensor]:
        """Masks of a model without a cache: full and sliding window (the same where there is no window)."""
        n = self.r.n_tokens
        elem = F16 if self.r.flash else F32
        full = self.input(elem, n, n, name="self_kq_mask")
        return full, self.input(elem, n, n, name="self_kq_mask_swa") if self.m.has_swa else full
