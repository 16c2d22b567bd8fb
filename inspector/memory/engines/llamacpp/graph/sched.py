"""Which back end runs each node of a graph, and what has to be copied between them.

A replay of ggml_backend_sched_split_graph (ggml/src/ggml-backend.cpp, b11434). What a device runs, what it takes over
from the host and whose lifetimes it extends are its back end's to say. The host is always the last back end.
"""

from __future__ import annotations

import itertools

from inspector.memory.engines.llamacpp.backends import kernels
from inspector.memory.engines.llamacpp.graph.alloc import measure
from inspector.memory.engines.llamacpp.graph.tensor import LEAF, VIEW, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence
    from typing import Final

    from inspector.memory.engines.llamacpp.backends import Backend

MAX_COPIES: Final = 4  # GGML_SCHED_MAX_COPIES: inputs of a pipeline are held this many times
# Whose weights are too small to decide where they run; before "passes over sinks" (builds.py) those of attention did.
UNDECIDED: Final = frozenset(("rope", "flash_attn"))
ONLY_ROPE: Final = frozenset(("rope",))


MAX_SRC: Final = 10  # GGML_MAX_SRC: what one node can keep alive


def _mark(nodes: Iterable[Tensor], backends: Sequence[Backend]) -> None:
    """Which back ends run each node: those with a kernel, and whose memory holds all sources that a device has."""
    host = len(backends) - 1
    limited = {
        name: sum(1 << i for i, b in enumerate(backends) if b.rules == name) for name in {b.rules for b in backends}
    }
    limited.pop("", None)
    if not limited:
        return
    every, bits = (1 << len(backends)) - 1, sum(limited.values())
    rules = [(kernels(next(b for b in backends if b.rules == name)).runs, mask) for name, mask in limited.items()]
    for node in nodes:
        able = every
        if node.op != VIEW:
            for runs, mask in rules:
                if not runs(node):
                    able &= ~mask
        for src in node.src:
            if src.external and src.buf not in {-1, host}:
                able &= ~bits | 1 << src.buf
        node.able = able


def _first_choice(t: Tensor, backends: Sequence[Backend], *, op_offload: bool, passed_over: Container[str]) -> int:
    """Where a node must or would rather run: where its bytes lie, else where its weights lie, else undecided.

    A device may take over what has its weights on the host.
    """
    root = t.root
    if root is not None and root.external:
        return root.buf
    if t.op in passed_over:
        return -1
    host = len(backends) - 1
    for src in t.src:
        if src.weight:
            if op_offload and src.buf == host:
                for i in range(host):
                    if t.able >> i & 1 and backends[i].takes_over(t):
                        return i
            return src.buf if t.able >> src.buf & 1 else -1
    return -1


def _spread(nodes: Iterable[Tensor], host: int, *, devices_only: bool) -> None:
    """Give undecided nodes their neighbour's place, if that runs them; `devices_only`: the host's does not spread."""
    current = -1
    for node in nodes:
        if node.op == VIEW:
            continue
        if node.buf != -1:
            current = -1 if devices_only and node.buf == host else node.buf
        elif current != -1 and node.able >> current & 1:
            node.buf = current


def _most_sources(node: Tensor, n_backends: int) -> int:
    """The back end that holds most of a node's sources, among those that run it."""
    best, most = -1, -1
    for i in range(n_backends):
        if node.able >> i & 1:
            held = sum(_held_by(src) == i for src in node.src)
            if held > most:
                best, most = i, held
    return best


def place(
    leafs: Sequence[Tensor], nodes: Sequence[Tensor], backends: Sequence[Backend], *, op_offload: bool,
    passed_over: Container[str] = UNDECIDED,
) -> None:  # fmt: skip
    """Decide `buf`, the back end, of every leaf and node; `passed_over`: operations that no weight of theirs places."""
    host = len(backends) - 1
    _mark(nodes, backends)
    for leaf in leafs:
        if leaf.is_input:
            leaf.buf = host
    for node in nodes:
        if node.buf == -1:
            node.buf = _first_choice(node, backends, op_offload=op_offload, passed_over=passed_over)
    for devices_only in (True, False):
        _spread(nodes, host, devices_only=devices_only)
        _spread(reversed(nodes), host, devices_only=devices_only)
    for node in nodes:
        if node.buf == -1 and node.op != VIEW:
            node.buf = _most_sources(node, len(backends))
    for node in nodes:
        if node.buf == -1:
            node.buf = node.root.buf if node.root is not None else 0
        for src in node.src:
            if src.buf == -1:
                src.buf = src.root.buf if src.root is not None else node.buf


def crossings(nodes: Iterable[Tensor]) -> int:
    """How often nodes that are placed pass from one back end to another."""
    bufs = [node.buf for node in nodes if node.op != VIEW]
    return sum(a != b for a, b in itertools.pairwise(bufs))


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
    buf = node.buf
    for src in node.src:  # noqa: SIM110 - asked for every node
        if src.weight and src.buf != buf:
            return True
    return False


def _too_many(node: Tensor, part: Split, copies: Container[tuple[int, int]], most: int) -> bool:
    """Whether a split that has as many inputs as it may would need another one for this node."""
    if len(part.inputs) != most:
        return False
    away = (src for src in node.src if part.buf not in {src.buf, _held_by(src)})
    return any((id(src), part.buf) not in copies for src in away)


def split(
    nodes: Sequence[Tensor], n_copies: int, most: int = 0
) -> tuple[list[Split], dict[tuple[int, int], list[Tensor]]]:
    """Cut the nodes where the back end changes; sources on another back end become copies.

    `most`: inputs that a part may have (0: any number).
    """
    first = next((n.buf for n in nodes if n.op != VIEW), 0)
    part = Split(first)
    parts = [part]
    copies: dict[tuple[int, int], list[Tensor]] = {}
    for node in nodes:
        if node.op == VIEW:
            part.nodes.append(node)
            continue
        full = part.inputs and (_foreign_weights(node) or _too_many(node, part, copies, most))
        if node.buf != part.buf or full:
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


def _optimize(
    parts: list[Split], backends: Sequence[Backend], uses: dict[int, int], held: Container[str] | None
) -> dict[int, list[Tensor]]:
    """What each node keeps alive until it has run (ggml_backend_graph_optimize)."""
    if not any(b.fuses for b in backends):
        return {}
    from inspector.memory.engines.llamacpp.backends.fusion import HELD, Keeper, extend

    keeper = Keeper(uses)
    for part, after in zip(parts, [*parts[1:], None], strict=True):
        if backends[part.buf].fuses:
            extend(part.nodes, after.nodes[0] if after is not None else None, keeper, HELD if held is None else held)
    return keeper.until


def _uses(nodes: Iterable[Tensor]) -> dict[int, int]:
    found: dict[int, int] = {}
    for node in nodes:
        for src in node.src:
            found[id(src)] = found.get(id(src), 0) + 1
    return found


def _ordered(
    parts: list[Split], copies: dict[tuple[int, int], list[Tensor]], until: dict[int, list[Tensor]]
) -> tuple[list[Tensor], list[int]]:
    """Nodes as the allocator sees them, with their back ends: a split's inputs first, what is kept alive after."""
    order: list[Tensor] = []
    bufs: list[int] = []
    for part in parts:
        for src in part.inputs:
            order += (_keep((src,)), copies[id(src), part.buf][0])
            bufs += (src.buf, part.buf)
        for node in part.nodes:
            order.append(node)
            bufs.append(node.buf)
            kept = until.get(id(node), ())
            for i in range(0, len(kept), MAX_SRC):
                order.append(_keep(tuple(kept[i : i + MAX_SRC])))
                bufs.append(part.buf)
    return order, bufs


def _keep(kept: tuple[Tensor, ...]) -> Tensor:
    """A node that does nothing but need these."""
    first = kept[0]
    return Tensor(LEAF, first.elem, first.ne, first.nb, kept, first.root or first)


def sizes(
    leafs: list[Tensor], nodes: list[Tensor], backends: Sequence[Backend], *, pipeline: bool, op_offload: bool = True
) -> list[int]:
    """Bytes of each back end's compute buffer."""
    place(leafs, nodes, backends, op_offload=op_offload)
    return placed_sizes(leafs, nodes, backends, pipeline=pipeline)


def placed_sizes(
    leafs: list[Tensor], nodes: list[Tensor], backends: Sequence[Backend], *, pipeline: bool, every_input: bool = True,
    most: int = 0, held: Container[str] | None = None,
) -> list[int]:  # fmt: skip
    """Bytes of each back end's compute buffer, where `place` has decided which nodes it runs.

    `every_input`: a pipeline copies inputs that no node reads too; `most`: inputs that one split may have (0: any);
    `held`: what back ends keep alive to run it as one (backends/fusion.py), None: all that is known.
    """
    inputs = leafs if every_input else list(dict.fromkeys(src for x in nodes if x.op != VIEW for src in x.src))
    uses = _uses(nodes)
    n_copies = MAX_COPIES if pipeline else 1
    parts, copies = split(nodes, n_copies, most)
    order, bufs = _ordered(parts, copies, _optimize(parts, backends, uses, held))
    first: list[Tensor] = []
    if pipeline:
        for leaf in inputs:
            if leaf.is_input:
                first += (leaf, *(_copy_of(leaf, leaf.buf) for _ in range(n_copies - 1)))
                leaf.is_output = True
        for part in parts:
            for src in part.inputs:
                first += copies[id(src), part.buf]
    return measure([*first, *leafs], order, bufs, backends)
