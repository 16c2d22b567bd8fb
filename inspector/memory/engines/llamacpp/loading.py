"""Which weights a back end takes in: those whose operation it runs; the others lie in host memory.

Source (b11434): weight_buft_supported and select_weight_buft in src/llama-model-loader.cpp, which try each weight's
operation (LLM_TENSOR_INFOS in src/llama-arch.cpp) on shapes of their own.
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.layers import StateCache
from inspector.memory.devices.placement import HOST
from inspector.memory.engines.llamacpp.backends import backend, kernels
from inspector.memory.engines.llamacpp.graph.tensor import F32, I32, LEAF, Tensor, contiguous

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Final

    from inspector.facts import ModelFacts
    from inspector.formats.modelfile import TensorInfo
    from inspector.memory.devices.placement import Assignment
    from inspector.memory.engines.llamacpp.backends import Backend
    from inspector.memory.engines.llamacpp.graph.tensor import Elem, Shape

BATCH = 512
SEQUENCES = 3
_SCANNED = frozenset(("mamba1", "mamba2"))
# ends of the names of weights that nothing is multiplied with: in one architecture, and in all (LLM_TENSOR_INFOS)
_ADDED: Final[Mapping[str, str]] = MappingProxyType({"glm5-next": "indexer_compressor_ape.weight"})
_LOOKED_UP: Final = (
    "compressor_ape.weight", "ffn_gate_tid2eid.weight", "d2t", "markov_w1.weight", "selector_predecessor.weight",
    "selector_successor.weight",
)  # fmt: skip


def refused(facts: ModelFacts, row: Backend) -> frozenset[str]:
    """Names of the weights that a back end has no kernel for. Norms, biases and other vectors are taken to be run."""
    if not row.rules:
        return frozenset()
    runs = kernels(row).runs
    known: dict[str, bool] = {}
    names = set()
    for tensor in facts.tensors:
        if tensor.dtype is None:
            continue
        if tensor.name.endswith(".ssm_a"):
            takes = _scans(facts, tensor, row)
        elif tensor.name.endswith(_ADDED.get(facts.arch, ())):
            takes = runs(_other("add", tensor))
        elif tensor.name.endswith(_LOOKED_UP):
            takes = runs(_other("get_rows", tensor))
        elif len(tensor.shape) < 2:
            continue
        else:  # experts and plain matrices alike
            kind = tensor.dtype.name
            if kind not in known:
                known[kind] = runs(_product((tensor.dtype.block_elems, tensor.dtype.block_bytes, kind.lower())))
            takes = known[kind]
        if not takes:
            names.add(tensor.name)
    return frozenset(names)


def weight_devices(facts: ModelFacts, assignment: Assignment) -> Callable[[str, int | str], str]:
    """Where a weight of a name and a layer ends up: where it is assigned to, or on the host where that refuses it."""
    apart = {d: refused(facts, backend(assignment.backend_of(d))) for d in assignment.devices}

    def device(name: str, layer: int | str) -> str:
        meant = assignment.weight_device(name, layer)
        return HOST if name in apart.get(meant, ()) else meant

    return device


def _leaf(elem: Elem, *ne: int) -> Tensor:
    shape: Shape = (*ne, 1, 1, 1)[:4]  # type: ignore[assignment]
    return Tensor(LEAF, elem, shape, contiguous(elem, shape))


def _product(elem: Elem) -> Tensor:
    width = elem[0]
    shape: Shape = (1, BATCH, 1, 1)
    return Tensor("mul_mat", F32, shape, contiguous(F32, shape), (_leaf(elem, width, 1), _leaf(F32, width, BATCH)))


def _other(op: str, tensor: TensorInfo) -> Tensor:
    """Rows of a weight, or the weight added to as much."""
    assert tensor.dtype is not None
    elem = (tensor.dtype.block_elems, tensor.dtype.block_bytes, tensor.dtype.name.lower())
    weight = _leaf(elem, *reversed(tensor.shape))
    src = (weight, _leaf(I32, BATCH)) if op == "get_rows" else (_leaf(F32, *weight.ne), weight)
    return Tensor(op, F32, weight.ne, contiguous(F32, weight.ne), src)


def _scans(facts: ModelFacts, tensor: TensorInfo, row: Backend) -> bool:
    """Whether the scan that `ssm_a` is for runs; with a delta net it is a factor, which always does."""
    keys, arch = facts.keys or {}, facts.arch
    caches = (c for layer in facts.layers for c in layer.caches if isinstance(c, StateCache) and c.kind in _SCANNED)
    cache = next(caches, None)
    state, inner = keys.get(f"{arch}.ssm.state_size"), keys.get(f"{arch}.ssm.inner_size")
    if cache is None or not isinstance(state, int) or not isinstance(inner, int) or not state:
        return True
    groups = (cache.conv_channels - inner) // (2 * state)  # d_inner + 2 × groups × d_state
    ne = (*reversed(tensor.shape), 1, 1)
    d_state, heads = state if ne[0] == 1 else ne[0], max(ne[1], 1)
    head = inner // heads
    bc = _leaf(F32, d_state, groups or 1, BATCH, SEQUENCES)
    scan = Tensor(
        "ssm_scan", F32, (1, 1, 1, 1), contiguous(F32, (1, 1, 1, 1)),
        (
            _leaf(F32, d_state, head, heads, SEQUENCES), _leaf(F32, head, heads, BATCH, SEQUENCES),
            _leaf(F32, heads, BATCH, SEQUENCES), _leaf(F32, ne[0], ne[1]), bc, bc, _leaf(I32, SEQUENCES),
        ),
    )  # fmt: skip
    return bool(kernels(row).runs(scan))
