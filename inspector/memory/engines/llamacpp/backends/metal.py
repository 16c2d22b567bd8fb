"""Metal: scratch behind the results of flash attention, expert products and sorts, and the heads it has kernels for.

Source (b11434): ggml_backend_metal_buffer_type_get_alloc_size in ggml/src/ggml-metal/ggml-metal.cpp,
ggml_metal_op_flash_attn_ext_extra_* and ggml_metal_op_mul_mat_id_extra_* in ggml-metal-ops.cpp,
ggml_metal_device_supports_op in ggml-metal-device.m. Not compared with the engine.
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.memory.engines.llamacpp.graph.tensor import nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Final

    from inspector.memory.engines.llamacpp.graph.tensor import Tensor

HEADS: Final = frozenset((32, 40, 48, 64, 72, 80, 96, 112, 128, 192, 256, 320, 512, 576))
KV_TYPES: Final = frozenset(("f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0"))
BLOCK: Final = (8, 64)  # queries and cells a threadgroup (OP_FLASH_ATTN_EXT_NQPSG, _NCPSG)
WORKGROUPS: Final = 32  # whose results are kept apart, for at most as many queries
AMAX: Final = 8 + 256 * 4  # two factors and N_MM_NPART_AMAX partial scales


def _elements(t: Tensor) -> int:
    return t.ne[0] * t.ne[1] * t.ne[2] * t.ne[3]


def _padded(n: int, unit: int) -> int:
    return -(-n // unit) * unit


def _flash(t: Tensor) -> int:
    """Always room for f16 keys and values, whatever their type, so that graphs need not be made anew."""
    q, k, v = t.src[:3]
    size = nbytes(t) + _padded(2 * _elements(k), 16)
    if k.root is None or v.root is not k.root:
        size += _padded(2 * _elements(v), 16)
    size += 4 * min(q.ne[1], WORKGROUPS) * q.ne[2] * q.ne[3] * WORKGROUPS * (v.ne[0] + 2)
    if len(t.src) > 3:
        mask = t.src[3]
        blocks = -(-q.ne[1] // BLOCK[0]) * -(-mask.ne[0] // BLOCK[1])
        size += _padded(blocks * mask.ne[2] * mask.ne[3], 32)
    return size


def _experts(t: Tensor) -> int:
    n_experts, n_tokens = t.src[0].ne[2], t.src[2].ne[1]
    return nbytes(t) + 4 * n_experts * (1 + n_tokens) + AMAX


SCRATCH: Final[Mapping[str, Callable[[Tensor], int]]] = MappingProxyType(
    {
        "flash_attn": _flash,
        "mul_mat_id": _experts,
        "cumsum": lambda t: 2 * nbytes(t),
        "argsort": lambda t: 2 * nbytes(t),
        "top_k": lambda t: 8 * _elements(t.src[0]),
    }
)


def runs(node: Tensor) -> bool:
    """Whether there is a kernel: all operations but flash attention of odd heads or of unlike keys and values."""
    if node.op != "flash_attn":
        return True
    q, k, v = node.src[:3]
    odd = q.ne[0] not in HEADS or k.ne[0] < v.ne[0] or (k.ne[0] == 72 and v.ne[0] != 72)
    return not odd and k.elem == v.elem and k.elem[2].lower() in KV_TYPES
