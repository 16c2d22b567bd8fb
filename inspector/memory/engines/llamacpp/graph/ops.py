"""The graph operations that llama.cpp's builders call, as far as memory is concerned: result shape, view or not.

Method names are ggml's. Source: ggml/src/ggml.c (b11434) for shapes, ggml-alloc.c for which ops work in place.
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.tensor import (
    F16,
    F32,
    I32,
    LEAF,
    VIEW,
    Tensor,
    contiguous,
    is_contiguous,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.memory.engines.llamacpp.graph.tensor import Elem, Shape


def shape4(ne: tuple[int, ...]) -> Shape:
    """Dimensions padded with ones."""
    return (*ne, 1, 1, 1)[:4]  # type: ignore[return-value]


class Ops:
    """Collects a graph: leafs and nodes in the order in which a depth-first visit first meets them."""

    def __init__(self) -> None:
        self.leafs: list[Tensor] = []
        self.nodes: list[Tensor] = []

    # graph

    def expand(self, t: Tensor) -> Tensor:
        """Add a tensor and everything that it needs and that is not in the graph yet (ggml_build_forward_expand)."""
        if not t.seen:
            self._visit(t)
        return t

    def _visit(self, t: Tensor) -> None:
        t.seen = True
        for src in t.src:
            if not src.seen:
                self._visit(src)
        if t.op:
            self.nodes.append(t)
        else:
            self.leafs.append(t)

    # leafs

    def leaf(self, elem: Elem, *ne: int) -> Tensor:
        """A tensor without an operation."""
        shape = shape4(ne)
        return Tensor(LEAF, elem, shape, contiguous(elem, shape))

    def input(self, elem: Elem, *ne: int, name: str = "") -> Tensor:
        """A tensor that is filled from outside before the graph runs."""
        t = self.leaf(elem, *ne)
        t.is_input = True
        t.name = name
        return t

    # results of their own

    def _new(self, op: str, elem: Elem, ne: Shape, src: tuple[Tensor, ...], *, inplace: bool = False) -> Tensor:
        return Tensor(op, elem, ne, contiguous(elem, ne), src, None, inplace)

    def like(self, op: str, *src: Tensor, inplace: bool = True) -> Tensor:
        """An element-wise op: the result has the first source's shape."""
        a = src[0]
        return Tensor(op, a.elem, a.ne, contiguous(a.elem, a.ne), src, None, inplace)

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        """a + b, `b` repeated over `a`: `a`'s shape (ggml_add)."""
        return self.like("add", a, b)

    def sub(self, a: Tensor, b: Tensor) -> Tensor:
        """a − b: `a`'s shape (ggml_sub)."""
        return self.like("sub", a, b)

    def mul(self, a: Tensor, b: Tensor) -> Tensor:
        """a × b by elements, `b` repeated over `a`: `a`'s shape (ggml_mul)."""
        return self.like("mul", a, b)

    def div(self, a: Tensor, b: Tensor) -> Tensor:
        """a ÷ b by elements: `a`'s shape (ggml_div)."""
        return self.like("div", a, b)

    def scale(self, a: Tensor) -> Tensor:
        """`a` times a number: `a`'s shape (ggml_scale)."""
        return self.like("scale", a)

    def unary(self, a: Tensor) -> Tensor:
        """silu, gelu, relu, tanh, sigmoid, exp, softplus, neg, step …: all one op to the allocator."""
        return self.like("unary", a)

    def sqr(self, a: Tensor) -> Tensor:
        """Squares: `a`'s shape (ggml_sqr)."""
        return self.like("sqr", a)

    def sqrt(self, a: Tensor) -> Tensor:
        """Square roots: `a`'s shape (ggml_sqrt)."""
        return self.like("sqrt", a)

    def clamp(self, a: Tensor) -> Tensor:
        """Elements held between two numbers: `a`'s shape (ggml_clamp)."""
        return self.like("clamp", a)

    def rms_norm(self, a: Tensor) -> Tensor:
        """Rows of root mean square 1: `a`'s shape, in place where it may be (ggml_rms_norm)."""
        return self.like("rms_norm", a)

    def layer_norm(self, a: Tensor) -> Tensor:
        """Rows of mean 0 and variance 1: `a`'s shape, never in place (ggml_norm)."""
        return self.like("norm", a, inplace=False)

    def l2_norm(self, a: Tensor) -> Tensor:
        """Rows of length 1: `a`'s shape, never in place (ggml_l2_norm)."""
        return self.like("l2_norm", a, inplace=False)

    def rope(self, a: Tensor, pos: Tensor, factors: Tensor | None = None) -> Tensor:
        """Rotated by position: `a`'s shape, [head_dim, heads, tokens]; `pos`: [tokens], or four a token
        (ggml_rope_ext).
        """
        return self.like("rope", a, pos) if factors is None else self.like("rope", a, pos, factors)

    def soft_max(self, a: Tensor, *more: Tensor) -> Tensor:
        """Softmax over rows, a mask added first where there is one: `a`'s shape (ggml_soft_max_ext)."""
        return self.like("soft_max", a, *more)

    def add_id(self, a: Tensor, b: Tensor, ids: Tensor) -> Tensor:
        """`b`'s row of each chosen expert added: `a`'s shape, [rows, used, tokens]; `ids`: [used, tokens]
        (ggml_add_id).
        """
        return self.like("add_id", a, b, ids)

    def fill(self, a: Tensor) -> Tensor:
        """One number in every element: `a`'s shape (ggml_fill)."""
        return self.like("fill", a)

    def dup(self, a: Tensor) -> Tensor:
        """A copy: `a`'s shape, never in place (ggml_dup)."""
        return self.like("dup", a, inplace=False)

    def glu(self, a: Tensor, b: Tensor | None = None) -> Tensor:
        """Gated activation: of two tensors, or of one whose first half gates the second."""
        if b is not None:
            return self._new("glu", a.elem, a.ne, (a, b))
        return self._new("glu", a.elem, (a.ne[0] // 2, *a.ne[1:]), (a,))

    def mm(self, a: Tensor, b: Tensor) -> Tensor:
        """Matrix product: rows of `a` with rows of `b`; f32."""
        return self._new("mul_mat", F32, (a.ne[1], b.ne[1], b.ne[2], b.ne[3]), (a, b))

    def mm_id(self, w: Tensor, b: Tensor, ids: Tensor) -> Tensor:
        """Matrix product with the experts that `ids` picks."""
        return self._new("mul_mat_id", F32, (w.ne[1], ids.ne[0], b.ne[2], 1), (w, b, ids))

    def get_rows(self, a: Tensor, ids: Tensor) -> Tensor:
        """The rows that `ids` names: [a.ne0, ids.ne0, ids.ne1, ids.ne2], f32 but of i32 (ggml_get_rows)."""
        elem = I32 if a.elem == I32 else F32
        return self._new("get_rows", elem, (a.ne[0], ids.ne[0], ids.ne[1], ids.ne[2]), (a, ids))

    def cont(self, a: Tensor, *ne: int) -> Tensor:
        """A copy without gaps, of the shape `ne` where it is given: `a`'s type (ggml_cont)."""
        return self._new("cont", a.elem, shape4(ne) if ne else a.ne, (a,))

    def cast(self, a: Tensor, elem: Elem) -> Tensor:
        """A copy of another type: `a`'s shape (ggml_cast)."""
        return self._new("cpy", elem, a.ne, (a,))

    def cast_f16(self, a: Tensor) -> Tensor:
        """A copy in half precision: `a`'s shape."""
        return self.cast(a, F16)

    def repeat(self, a: Tensor, *ne: int) -> Tensor:
        """`a` over and over until it has the shape `ne` (ggml_repeat)."""
        return self._new("repeat", a.elem, shape4(ne), (a,))

    def concat(self, a: Tensor, b: Tensor, dim: int) -> Tensor:
        """`b` behind `a` along dimension `dim`, in which alone they may differ (ggml_concat)."""
        ne = list(a.ne)
        ne[dim] += b.ne[dim]
        return self._new("concat", a.elem, tuple(ne), (a, b))  # type: ignore[arg-type]

    def pad(self, a: Tensor, *more: int) -> Tensor:
        """`a` with so many zeros more at the end of each dimension (ggml_pad)."""
        ne = tuple(n + m for n, m in zip(a.ne, (*more, 0, 0, 0, 0), strict=False))
        return self._new("pad", a.elem, ne, (a,))  # type: ignore[arg-type]

    def sum_rows(self, a: Tensor) -> Tensor:
        """One sum a row: [1, a.ne1, a.ne2, a.ne3] (ggml_sum_rows)."""
        return self._new("sum_rows", a.elem, (1, *a.ne[1:]), (a,))

    def argsort(self, a: Tensor) -> Tensor:
        """Indices that would sort each row: `a`'s shape, i32 (ggml_argsort)."""
        return self._new("argsort", I32, a.ne, (a,))

    def argsort_top_k(self, a: Tensor, k: int) -> Tensor:
        """The first `k` columns of a full sort."""
        full = self.argsort(a)
        return self.view(full, (k, *full.ne[1:]), full.nb[1:])

    def top_k(self, a: Tensor, k: int) -> Tensor:
        """Indices of the `k` largest of each row: [k, a.ne1, a.ne2, a.ne3], i32 (ggml_top_k)."""
        return self._new("top_k", I32, (k, *a.ne[1:]), (a,))

    def flash_attn(self, q: Tensor, k: Tensor, v: Tensor, *more: Tensor) -> Tensor:
        """Attention in one op: [head_dim_v, heads, tokens, streams] of permuted q, k, v (ggml_flash_attn_ext)."""
        return self._new("flash_attn", F32, (v.ne[0], q.ne[2], q.ne[1], q.ne[3]), (q, k, v, *more))

    def custom(self, op: str, elem: Elem, ne: tuple[int, ...], *src: Tensor) -> Tensor:
        """Any other op with a result of its own."""
        return self._new(op, elem, shape4(ne), src)

    # results that are someone else's bytes

    def view_of(self, op: str, a: Tensor, *src: Tensor) -> Tensor:
        """An op whose result lies in `a`'s bytes with `a`'s layout."""
        return Tensor(op, a.elem, a.ne, a.nb, src, a.root or a)

    def view(self, a: Tensor, ne: tuple[int, ...], nb: tuple[int, ...] = ()) -> Tensor:
        """A window: `nb` are the strides of dimensions 1 and up; those not given follow without gaps."""
        shape = shape4(ne)
        strides = [a.nb[0], *nb]
        for i in range(len(strides), 4):
            strides.append(a.elem[1] * shape[0] // a.elem[0] if i == 1 else strides[i - 1] * shape[i - 1])
        return Tensor(VIEW, a.elem, shape, tuple(strides), (a,), a.root or a)  # type: ignore[arg-type]

    def reshape(self, a: Tensor, *ne: int) -> Tensor:
        """The same bytes under another shape of as many elements; `a` has no gaps (ggml_reshape)."""
        shape = shape4(ne)
        return Tensor(VIEW, a.elem, shape, contiguous(a.elem, shape), (a,), a.root or a)

    def permute(self, a: Tensor, *axes: int) -> Tensor:
        """The same bytes with dimension i as dimension `axes[i]` (ggml_permute)."""
        ne, nb = [0] * 4, [0] * 4
        for i, axis in enumerate(axes):
            ne[axis], nb[axis] = a.ne[i], a.nb[i]
        return Tensor(VIEW, a.elem, tuple(ne), tuple(nb), (a,), a.root or a)  # type: ignore[arg-type]

    def transpose(self, a: Tensor) -> Tensor:
        """The same bytes with the first two dimensions exchanged (ggml_transpose)."""
        return self.permute(a, 1, 0, 2, 3)

    def set_rows(self, into: Tensor, rows: Tensor, ids: Tensor) -> Tensor:
        """`rows` written into the rows of `into` that `ids` names: a view of `into` (ggml_set_rows)."""
        return self.view_of("set_rows", into, rows, ids, into)

    def cpy(self, a: Tensor, into: Tensor) -> Tensor:
        """`a` written over `into`: a view of `into` (ggml_cpy)."""
        return self.view_of("cpy", into, a, into)

    def hadamard(self, t: Tensor, rot: Tensor) -> Tensor:
        """Rotate rows by a small Hadamard matrix (llama_mul_mat_hadamard, llama-impl.h)."""
        n = rot.ne[0]
        total = t.ne[0] * t.ne[1] * t.ne[2] * t.ne[3]
        rows = (self.reshape if is_contiguous(t) else self.cont)(t, n, total // n)
        return self.reshape(self.mm(rot, rows), *t.ne)
