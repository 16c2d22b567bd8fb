"""Tensors of a compute graph, as llama.cpp's builders make them: shape, strides, sources, view root; no data.

Lean on purpose: a worst-case graph holds thousands of them and is built for every estimate.
Shapes are innermost-first, as in ggml. Source: ggml/src/ggml.c (b11434).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# An element type: elements a block, bytes a block, and a tag that tells types of one size apart.
Elem = tuple[int, int, str]
Shape = tuple[int, int, int, int]
F32: Final[Elem] = (1, 4, "f32")
F16: Final[Elem] = (1, 2, "f16")
I32: Final[Elem] = (1, 4, "i32")
I64: Final[Elem] = (1, 8, "i64")

# Ops that only look at another tensor's bytes: the scheduler skips them (ggml_is_view_op, ggml-backend.cpp).
VIEW: Final = "view"
LEAF: Final = ""


class Tensor:
    """One tensor: what it is made of, and the allocator's counters for it."""

    __slots__ = (
        "able", "addr", "buf", "elem", "exact", "external", "inplace", "is_input", "is_output", "n_children", "n_views",
        "name", "nb", "ne", "op", "owned", "pinned", "root", "seen", "size", "src", "weight",
    )  # fmt: skip

    def __init__(  # noqa: PLR0917 - made thousands of times an estimate
        self,
        op: str,
        elem: Elem,
        ne: Shape,
        nb: Shape,
        src: tuple[Tensor, ...] = (),
        root: Tensor | None = None,
        inplace: bool = False,
    ) -> None:
        self.op = op
        self.elem = elem
        self.ne = ne
        self.nb = nb
        self.src = src
        self.root = root  # the tensor whose bytes these are; None: its own
        self.inplace = inplace  # may take over a source's bytes (ggml_op_can_inplace)
        self.external = False  # weights and caches: allocated elsewhere
        self.weight = False
        self.is_input = False
        self.is_output = False
        self.seen = False
        self.owned = False
        self.n_children = 0
        self.n_views = 0
        self.addr = 0
        self.size = 0
        self.buf = -1  # index of the backend whose buffer holds it; -1: not decided
        self.able = -1  # a bit for each back end that runs it; -1: all do
        self.pinned = False
        self.exact = False  # the second source must stay f32 (ggml_prec_set_src)
        self.name = ""


def contiguous(elem: Elem, ne: Shape) -> Shape:
    """Strides in bytes of a tensor without gaps."""
    row = elem[1] * ne[0] // elem[0]
    plane = row * ne[1]
    volume = plane * ne[2]
    return (elem[1], row, plane, volume)


def is_contiguous(t: Tensor) -> bool:
    """Whether elements follow one another without gaps; dimensions of one element may have any stride (ggml.c)."""
    elem, ne, nb = t.elem, t.ne, t.nb
    if ne[0] != elem[0] and nb[0] != elem[1]:
        return False
    expect = elem[1] * ne[0] // elem[0]
    for i in (1, 2, 3):
        if ne[i] != 1:
            if nb[i] != expect:
                return False
            expect *= ne[i]
    return True


def nbytes(t: Tensor) -> int:
    """Bytes from the first element to the last (ggml_nbytes)."""
    elem, ne, nb = t.elem, t.ne, t.nb
    if not (ne[0] and ne[1] and ne[2] and ne[3]):
        return 0
    total = elem[1] + (ne[0] - 1) * nb[0] if elem[0] == 1 else ne[0] * nb[0] // elem[0]
    return total + (ne[1] - 1) * nb[1] + (ne[2] - 1) * nb[2] + (ne[3] - 1) * nb[3]
