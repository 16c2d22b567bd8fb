"""The graph allocator: where each tensor of a graph would lie, and so how large the buffers must be.

A step-by-step replay of ggml_gallocr and ggml_dyn_tallocr (ggml/src/ggml-alloc.c, b11434): leafs first, then nodes in
order; best fit among the free blocks, the open end last; freed as soon as no child and no view is left; ops that may
work in place take over a dying source. One chunk a buffer: no backend measured here limits a buffer's size. How many
bytes a node takes is its back end's to say.
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.backends import kernels
from inspector.memory.engines.llamacpp.graph.tensor import nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from inspector.memory.engines.llamacpp.backends import Backend
    from inspector.memory.engines.llamacpp.graph.tensor import Tensor

OPEN_END = 1 << 62


class Arena:
    """One buffer under measurement: its free blocks, sorted by offset, and the highest byte ever used."""

    __slots__ = ("backend", "high", "offsets", "scratch", "sizes")

    def __init__(self, backend: Backend, scratch: Mapping[str, Callable[[Tensor], int]] | None = None) -> None:
        self.backend = backend
        self.scratch = scratch or {}  # bytes of a node by its operation, where they are more than its result
        self.offsets = [0]
        self.sizes = [OPEN_END]
        self.high = 0

    def take(self, size: int) -> int:
        """Offset of a new block: the smallest free block that fits (the later of equals), else the open end."""
        offsets, sizes = self.offsets, self.sizes
        last = len(sizes) - 1
        best, best_size = last, OPEN_END
        for i in range(last):
            if size <= sizes[i] <= best_size:
                best, best_size = i, sizes[i]
        at = offsets[best]
        if sizes[best] == size:
            del offsets[best], sizes[best]
        else:
            offsets[best] += size
            sizes[best] -= size
        self.high = max(self.high, at + size)
        return at

    def give(self, at: int, size: int) -> None:
        """Free a block, joined to the first neighbour that touches it."""
        offsets, sizes = self.offsets, self.sizes
        end = at + size
        insert = 0
        for i, offset in enumerate(offsets):
            if offset + sizes[i] == at:
                sizes[i] += size
                if i + 1 < len(offsets) and offsets[i + 1] == offset + sizes[i]:
                    sizes[i] += sizes.pop(i + 1)
                    del offsets[i + 1]
                return
            if end == offset:
                offsets[i] = at
                sizes[i] += size
                if i and offsets[i - 1] + sizes[i - 1] == at:
                    sizes[i - 1] += sizes.pop(i)
                    del offsets[i]
                return
        # empty blocks can leave the list out of order, so this is not the same as the last smaller one
        while insert < len(offsets) and offsets[insert] < at:
            insert += 1
        offsets.insert(insert, at)
        sizes.insert(insert, size)


def node_nbytes(arena: Arena, t: Tensor) -> int:
    """Bytes that a node takes in a compute buffer: its result, and the scratch that the back end adds."""
    more = arena.scratch.get(t.op)
    return arena.backend.allocated(nbytes(t) if more is None else more(t), t.ne[0], t.elem)


def _place(t: Tensor, arenas: Sequence[Arena], buf: int) -> None:
    """Give `t` bytes of its own, or a dying source's."""
    if t.inplace:
        for parent in t.src:
            # A view is never taken over: ggml asks whether the allocator owns the parent, and it owns no view.
            if (
                parent.owned
                and parent.n_children == 1
                and not parent.n_views
                and not parent.is_output
                and parent.ne == t.ne
                and parent.elem == t.elem
                and parent.nb == t.nb
            ):
                t.owned, parent.owned = True, False
                t.addr, t.size, t.buf = parent.addr, parent.size, parent.buf
                if arenas[t.buf].backend.rules:  # its scratch is given back (ggml_gallocr_free_extra_space)
                    t.size = node_nbytes(arenas[t.buf], t)
                    if parent.size > t.size:
                        arenas[t.buf].give(t.addr + t.size, parent.size - t.size)
                return
    t.owned = True
    t.buf = buf
    arena = arenas[buf]
    t.size = node_nbytes(arena, t)
    t.addr = arena.take(t.size)


def _count(nodes: Sequence[Tensor], arenas: Sequence[Arena], node_bufs: Sequence[int] | None) -> None:
    """Count children and views; inputs that are no leafs get their bytes here."""
    for i, node in enumerate(nodes):
        root = node.root
        if root is not None and node.op:
            root.n_views += 1
        if node.is_input and not (root or node.owned or node.external):
            _place(node, arenas, node_bufs[i] if node_bufs else 0)
        for src in node.src:
            src.n_children += 1


def _release(src: Tensor, arenas: Sequence[Arena]) -> None:
    """One child fewer; the last one frees the bytes, or its root's where no other view is left."""
    src.n_children -= 1
    if src.n_children or src.n_views:
        return
    held = src
    if src.root is not None:
        held = src.root
        held.n_views -= 1
        if held.n_views or held.n_children:
            return
    if held.owned and not held.is_output:
        arenas[held.buf].give(held.addr, held.size)
        held.owned = False


def measure(
    leafs: Sequence[Tensor], nodes: Sequence[Tensor], node_bufs: Sequence[int] | None, backends: Sequence[Backend]
) -> list[int]:
    """Bytes each buffer needs for the graph; `node_bufs`: the buffer of each node (None: all in the first)."""
    arenas = [Arena(backend, kernels(backend).SCRATCH if backend.rules else None) for backend in backends]
    for leaf in leafs:
        if not (leaf.external or leaf.root or leaf.owned):
            _place(leaf, arenas, max(leaf.buf, 0))
    _count(nodes, arenas, node_bufs)
    for i, node in enumerate(nodes):
        if node.root is None and not node.owned and not node.external:
            _place(node, arenas, node_bufs[i] if node_bufs else 0)
        for src in node.src:
            _release(src, arenas)
    return [arena.high for arena in arenas]
