"""Lifetimes that CUDA extends so that it can run several operations of an expert layer as one.

Source (b11434): ggml_backend_cuda_graph_optimize, ggml_cuda_match_shared_expert, ggml_cuda_topk_moe_fusion and
ggml_cuda_match_moe_weighted_reduction in ggml/src/ggml-cuda/ggml-cuda.cu, ggml_cuda_should_use_topk_moe in topk-moe.cu,
ggml_can_fuse_subgraph_ext in ggml/src/ggml.c.
"""

from __future__ import annotations

from inspector.memory.engines.llamacpp.graph.tensor import F32, VIEW, is_contiguous

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence
    from typing import Final

    from inspector.memory.engines.llamacpp.graph.tensor import Tensor

MOST_EXPERTS: Final = 512  # and a power of two, or one of:
ODD_EXPERTS: Final = frozenset((288, 576))
HELD: Final = frozenset(("holds reduced experts", "holds routing", "holds shared experts"))  # by build: graph/builds.py
MOST_REDUCED: Final = 15  # MOE_WEIGHTED_REDUCTION_MAX_EXPERTS


class Keeper:
    """What must stay until when: `until` maps a node to the tensors that it keeps alive, in the order they came."""

    def __init__(self, uses: Mapping[int, int]) -> None:
        self.uses = uses  # how often each node of the whole graph is a source, by id
        self.until: dict[int, list[Tensor]] = {}

    def keep(self, tensor: Tensor, node: Tensor) -> None:
        kept = self.until.setdefault(id(node), [])
        if not any(tensor is t for t in kept):
            kept.append(tensor)

    def closed(self, nodes: Sequence[Tensor], outputs: Iterable[int]) -> bool:
        """Whether nothing outside needs any of the nodes but the outputs (indices)."""
        out = set(outputs)
        inside = {id(n) for n in nodes}
        for i, node in enumerate(nodes):
            if i in out:
                continue
            used = sum(src is node for other in nodes[i + 1 :] for src in other.src)
            if node.is_output or used != self.uses.get(id(node), 0):
                return False
            root = node.root
            if root is not None and id(root) not in inside and not root.weight:
                return False
        return True


def extend(nodes: list[Tensor], after: Tensor | None, keeper: Keeper, held: Container[str] = HELD) -> None:
    """Extend lifetimes in one split's nodes, and bring a shared expert's products forward.

    `after`: the node that follows the split; `held`: which of `HELD` the build does.
    """
    if "holds shared experts" in held:
        _group_shared(nodes, keeper)
    i, n = 0, len(nodes)
    while i < n:
        count = _reduction(nodes, i, keeper) if "holds reduced experts" in held else 0
        i += count - 1 if count else 0
        if nodes[i].op in {"unary", "soft_max"} and "holds routing" in held:
            i += _routing(nodes, i, after, keeper)
        i += 1


def _group_shared(nodes: list[Tensor], keeper: Keeper) -> None:
    i, n = 0, len(nodes)
    while i + 5 < n:
        if nodes[i].op == nodes[i + 1].op == "mul_mat_id" and nodes[i + 2].op == "glu":
            for j in range(i + 3, n - 2):
                if nodes[j].op == nodes[j + 1].op == "mul_mat_id":
                    break
                if nodes[j].op == "mul_mat" and _shared(nodes, i, j, keeper):
                    nodes[i + 3 : j + 3] = (*nodes[j : j + 3], *nodes[i + 3 : j])
                    up = nodes[i + 2].src[1]
                    keeper.keep(up.src[1], nodes[i + 5])
                    keeper.keep(up.src[2], nodes[i + 5])
                    i += 5
                    break
        i += 1


def _shared(nodes: Sequence[Tensor], i: int, j: int, keeper: Keeper) -> bool:
    """Whether three nodes at `i` are routed experts' gate, up and activation, and three at `j` the shared one's."""
    group = [*nodes[i : i + 3], *nodes[j : j + 3]]
    if [t.op for t in group] != ["mul_mat_id", "mul_mat_id", "glu", "mul_mat", "mul_mat", "glu"]:
        return False
    if not keeper.closed(group, (2, 5)):
        return False
    routed, shared = group[2], group[5]
    if routed.name != shared.name or not (_gated(routed, group[:2]) and _gated(shared, group[3:5])):
        return False
    up, shared_up, shared_gate = routed.src[1], shared.src[1], shared.src[0]
    given, weight, other = up.src[1], up.src[0], shared_up.src[0]
    if not weight.external or weight.elem[0] == 1:
        return False
    x = shared_up.src[1]
    if given.op != VIEW or not given.src or given.src[0] is not x or given.ne[1] != 1 or given.ne[3] != 1:
        return False
    same = weight.elem == other.elem and weight.ne[:2] == other.ne[:2] and weight.nb[1] == other.nb[1]
    if not same or weight.ne[3] != 1 or other.ne[2:] != (1, 1) or x.ne[2:] != (1, 1) or other.op:
        return False
    return not shared_gate.src[0].op and all(map(is_contiguous, (given, x, other, shared_gate.src[0], routed, shared)))


def _gated(glu: Tensor, pair: Sequence[Tensor]) -> bool:
    """Whether the two products are what the activation gates, alike and of one input (should_fuse_mul_mat)."""
    if len(glu.src) != 2 or {id(t) for t in glu.src} != {id(t) for t in pair}:
        return False
    gate, up = glu.src
    a, b = gate.src[0], up.src[0]
    alike = a.elem == b.elem and a.ne == b.ne and a.nb == b.nb
    return alike and gate.src[1] is up.src[1] and gate.src[2:] == up.src[2:]


def _weighted(mul: Tensor) -> tuple[Tensor, Tensor] | None:
    """The full and the broadcast factor of a product of experts and weights."""
    for full, weights in (mul.src, mul.src[::-1]):
        flat = weights.elem == F32 and is_contiguous(weights) and weights.ne == (1, *mul.ne[1:])
        if flat and full.elem == F32 and is_contiguous(full) and full.ne == mul.ne:
            return full, weights
    return None


def _reduction(nodes: Sequence[Tensor], i: int, keeper: Keeper) -> int:
    """Experts' outputs, weighed and summed: how many nodes that is, 0 where it is something else."""
    first = nodes[i]
    if first.op != "mul" or first.elem != F32 or not is_contiguous(first):
        return 0
    weighted, muls = first, 1
    kept: tuple[Tensor, ...] | None = None
    second = nodes[i + 1] if i + 1 < len(nodes) else None
    if second is not None and second.op == "mul" and second.elem == F32 and is_contiguous(second):
        outer, inner = _weighted(second), _weighted(first)
        if outer is not None and inner is not None and outer[0] is first:
            weighted, kept, muls = second, (inner[0], outer[1], inner[1]), 2
    kept = kept or _weighted(first)
    experts = weighted.ne[1]
    count = 2 * experts + muls - 1
    if kept is None or not 2 <= experts <= MOST_REDUCED or i + count > len(nodes):
        return 0
    part = nodes[i : i + count]
    if not _sums(part[muls:], weighted) or not keeper.closed(part, (count - 1,)):
        return 0
    for tensor in kept:
        keeper.keep(tensor, part[-1])
    return count


def _sums(part: Sequence[Tensor], weighted: Tensor) -> bool:
    """Whether these are views of each expert's rows and their sum, one after another."""
    views: list[Tensor] = []
    tokens, total, adds = weighted.ne[2] * weighted.ne[3], None, 0
    for node in part:
        if node.op == VIEW:
            if node.root is not weighted or node.ne != (weighted.ne[0], tokens, 1, 1) or node.nb[1] != weighted.nb[2]:
                return False
            views.append(node)
            continue
        if node.op != "add" or adds + 1 >= len(views):
            return False
        left = views[0] if total is None else total
        if node.src[0] is not left or node.src[1] is not views[adds + 1]:
            return False
        total, adds = node, adds + 1
    return len(views) == weighted.ne[1] == adds + 1


def _routing(nodes: Sequence[Tensor], i: int, after: Tensor | None, keeper: Keeper) -> int:
    """The choice of experts, from the activation to the weights: how many nodes follow the first, 0 where none."""
    found = _routing_nodes(nodes, i)
    if found is None:
        return 0
    count, ids = found
    part = nodes[i : i + count]
    follows = nodes[i + count] if i + count < len(nodes) else after
    if follows is None or not keeper.closed(part, (ids, count - 1)):
        return 0
    chosen = part[ids]
    experts = chosen.nb[1] // chosen.nb[0]
    if (experts & (experts - 1) or experts > MOST_EXPERTS) and experts not in ODD_EXPERTS:
        return 0
    if not is_contiguous(part[-1]) or not is_contiguous(part[0].src[0]) or len(part[0].src) > 1:
        return 0
    for node in part:
        keeper.keep(node, follows)
        for src in node.src:
            keeper.keep(src, follows)
    return count - 1


def _routing_nodes(nodes: Sequence[Tensor], i: int) -> tuple[int, int] | None:
    """How many nodes the choice of experts takes, and which of them holds the indices."""
    at = i
    if nodes[i].op == "unary" and i + 1 < len(nodes) and nodes[i + 1].op == "sqrt" and nodes[i + 1].src[0] is nodes[i]:
        at += 1
    probs = nodes[at]
    chain = nodes[at + 1 : at + 6]
    if len(chain) < 5 or chain[0].op != VIEW or chain[0].src[0] is not probs:
        return None
    biased = chain[1].op == "add" and chain[1].src[0] is probs
    by, sort, ids, rows = chain[1:5] if biased else (probs, *chain[1:4])
    if sort.op != "argsort" or sort.src[0] is not by or ids.op != VIEW or ids.src[0] is not sort:
        return None
    if rows.op != "get_rows" or rows.src[0] is not chain[0] or rows.src[1] is not ids:
        return None
    end = at + (6 if biased else 5)
    index = end - 2 - i
    norm = nodes[end : end + 5]
    if [t.op for t in norm] == [VIEW, "sum_rows", "clamp", "div", VIEW] and _normalised(norm, rows):
        end += 5
    if end < len(nodes) and nodes[end].op == "scale" and nodes[end].src[0] is nodes[end - 1]:
        end += 1
    return end - i, index


def _normalised(norm: Sequence[Tensor], rows: Tensor) -> bool:
    flat, total, clamped, div, shaped = norm
    chained = flat.src[0] is rows and total.src[0] is flat and clamped.src[0] is total and shaped.src[0] is div
    return chained and div.src[0] is flat and div.src[1] is clamped
