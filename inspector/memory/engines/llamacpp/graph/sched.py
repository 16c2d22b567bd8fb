"""Which back end runs each node of a graph, and what has to be copied between them.

A replay of ggml_backend_sched_split_graph (ggml/src/ggml-backend.cpp, b11434) for devices that support every
operation and do not take work off host weights, as measured through llama.cpp's RPC back end.
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.alloc import measure
from inspector.memory.engines.llamacpp.graph.tensor import LEAF, VIEW, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Final

MAX_COPIES: Final = 4  # GGML_SCHED_MAX_COPIES: inputs of a pipeline are held this many times
# The sources of these are too small to decide where the node runs.
UNDECIDED: Final = frozenset(("rope", "flash_attn"))


def _first_choice(t: Tensor) -> int:
    """Where a node must or would rather run: where its bytes lie, else where its weights lie, else undecided."""
    root = t.root
    if root is not None and root.external:
        return root.buf
    if t.op not in UNDECIDED:
        for src in t.src:
            if src.weight:
                return src.buf
    return -1


def _spread(nodes: Iterable[Tensor], host: int, *, devices_only: bool) -> None:
    """Give undecided nodes their neighbour's place; `devices_only`: the host's does not spread."""
    current = -1
    for node in nodes:
        if node.op == VIEW:
            continue
        if node.buf != -1:
            current = -1 if devices_only and node.buf == host else node.buf
        elif current != -1:
            node.buf = current


def place(leafs: Sequence[Tensor], nodes: Sequence[Tensor], n_backends: int) -> None:
    """Decide `buf`, the back end, of every leaf and node; the host is the last back end."""
    host = n_backends - 1
    for leaf in leafs:
        if leaf.is_input:
            leaf.buf = host
    for node in nodes:
        if node.buf == -1:
            node.buf = _first_choice(node)
    for devices_only in (True, False):
        _spread(nodes, host, devices_only=devices_only)
        _spread(reversed(nodes), host, devices_only=devices_only)
    for node in nodes:
        if node.buf == -1:
            node.buf = node.root.buf if node.root is not None else 0
        for src in node.src:
            if src.buf == -1:
                src.buf = src.root.buf if src.root is not None else node.buf


class Split:
    """Consecutive nodes on one back end, and the tensors that it needs copies of."""

    __slots__ = ("buf", "inputs", "nodes")

    def __init__(self, buf: int) -> None:
        self.buf = buf
        self.inputs: list[Tensor] = []
        self.nodes: list[Tensor] = []


def _held_by(t: Tensor) -> int:
    """The back end whose buffer holds a tensor's bytes."""
    root = t.root
    if root is not None and root.external:
        return root.buf
    return t.buf if t.buf != -1 or root is None else root.buf


def _copy_of(t: Tensor, buf: int) -> Tensor:
    copy = Tensor(LEAF, t.elem, t.ne, t.nb)
    copy.buf = buf
    return copy


def _foreign_weights(node: Tensor) -> bool:
    return any(src.weight and src.buf != node.buf for src in node.src)


def split(nodes: Sequence[Tensor], n_copies: int) -> tuple[list[Split], dict[tuple[int, int], list[Tensor]]]:
    """Cut the nodes where the back end changes; sources on another back end become copies."""
    first = next((n.buf for n in nodes if n.op != VIEW), 0)
    part = Split(first)
    parts = [part]
    copies: dict[tuple[int, int], list[Tensor]] = {}
    for node in nodes:
        if node.op == VIEW:
            part.nodes.append(node)
            continue
        if node.buf != part.buf or (part.inputs and _foreign_weights(node)):
            part = Split(node.buf)
            parts.append(part)
        changed = None
        for j, src in enumerate(node.src):
            if src.buf == part.buf or _held_by(src) == part.buf:
                continue
            key = (id(src), part.buf)
            made = copies.get(key)
            if made is None:
                made = copies[key] = [_copy_of(src, part.buf) for _ in range(n_copies)]
                for copy in made:
                    copy.is_input = copy.is_output = n_copies > 1
                part.inputs.append(src)
            changed = changed or list(node.src)
            changed[j] = made[0]
        if changed is not None:
            node.src = tuple(changed)
        part.nodes.append(node)
    return parts, copies


def sizes(leafs: list[Tensor], nodes: list[Tensor], aligns: Sequence[int], *, pipeline: bool) -> list[int]:
    """Bytes of each back end's compute buffer; the host is the last."""
    place(leafs, nodes, len(aligns))
    n_copies = MAX_COPIES if pipeline else 1
    parts, copies = split(nodes, n_copies)
    order: list[Tensor] = []
    for part in parts:
        for src in part.inputs:
            keep = Tensor(LEAF, src.elem, src.ne, src.nb, (src,), src.root or src)
            keep.buf = src.buf
            order += (keep, copies[id(src), part.buf][0])
        order += part.nodes
    first: list[Tensor] = []
    if pipeline:
        for leaf in leafs:
            if leaf.is_input:
                first += (leaf, *(_copy_of(leaf, leaf.buf) for _ in range(n_copies - 1)))
                leaf.is_output = True
        for part in parts:
            for src in part.inputs:
                first += copies[id(src), part.buf]
    return measure([*first, *leafs], order, [n.buf for n in order], aligns)
