"""What a CUDA device takes besides its buffers, once it computes: the pool of scratch memory, and cuBLAS's workspace.

Source (b11434): ggml_cuda_pool_vmm, ggml_cuda_mul_mat, ggml_cuda_mul_mat_cublas_impl and ggml_cuda_mul_mat_id in
ggml/src/ggml-cuda/ggml-cuda.cu, ggml_cuda_mul_mat_q in mmq.cu, ssm_scan_ssd_f32_cuda in ssm-scan.cu, argsort.cu and
top-k.cu, cublas_handle in common.cuh. Compared with 56 runs of that host code (fixtures/cuda_pools.jsonl.gz). Left out,
as it depends on how many blocks a card runs at once: what flash attention and products of odd shapes put together at
their end, some MiB that the larger of the others covers. CUDA graphs are not known.
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.units import MIB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Final

    from inspector.memory.engines.llamacpp.graph.tensor import Tensor

GRANULARITY: Final = 2 * MIB  # of virtual memory on a device
ALIGNMENT: Final = 128
ROW_PADDING: Final = 512  # MATRIX_ROW_PADDING
Q8_1: Final = (36, 32)  # bytes and elements of a block that the right side of a product is quantised to
WIDEST_TILE: Final = 128 * 144  # columns of one tile past the end, each a block_q8_1_mmq
FEW: Final = 8  # columns that vector kernels take, which need no scratch (MMVQ_MAX_BATCH_SIZE)
FEW_FLOATS: Final = 16  # of matrices of floats (ggml_cuda_should_use_mmf)
SORTED_ALONE: Final = 1024  # columns that one block sorts without scratch
SORT_CHUNK: Final = 64 * MIB
SCAN_CHUNK: Final = 256  # SSM_SSD_CHUNK_SIZE
SCAN_LEAST: Final = 128  # SSM_SSD_MIN_TOKENS
FLOATS: Final[Mapping[str, int]] = MappingProxyType({"f32": 4, "f16": 2, "bf16": 2})
# quantised types that have no kernel of whole matrices, so that cuBLAS takes them as f16
NO_MATRIX_KERNEL: Final = frozenset(("iq1_m", "tq1_0", "tq2_0"))
WORKSPACE: Final = 4 * MIB
WORKSPACE_HOPPER: Final = 32 * MIB  # from compute capability 9.0


def kernel_class(name: str) -> str:
    """What decides of a type how much scratch its products take: types of one class take as much."""
    name = name.lower()
    return name if name in FLOATS or name in NO_MATRIX_KERNEL else "blocks"


def _elements(t: Tensor) -> int:
    return t.ne[0] * t.ne[1] * t.ne[2] * t.ne[3]


def _sum(*sizes: int) -> int:
    return sum(-(-n // ALIGNMENT) * ALIGNMENT for n in sizes)


def _quantised(width: int, rows: int) -> int:
    padded = -(-width // ROW_PADDING) * ROW_PADDING
    return rows * padded * Q8_1[0] // Q8_1[1] + WIDEST_TILE


def _blas(t: Tensor) -> int:
    """Both sides in one type of floats; a result of f16 apart from its f32; pointers where heads share a matrix."""
    a, b = t.src[0], t.src[1]
    kind = kernel_class(a.elem[2])
    batch = b.ne[2] * b.ne[3]
    pointers = _sum(16 * batch, 8 * batch) if a.ne[2] * a.ne[3] != batch else 0
    if kind == "f32":
        return pointers
    if kind == "f16" and a.root is not None and b.op != "soft_max":  # scores are asked for in full precision
        return _sum(4 * _elements(a)) + pointers
    sides = _sum(2 * _elements(b)) + (0 if kind in FLOATS else _sum(2 * _elements(a)))
    return sides + pointers + (0 if kind == "bf16" else _sum(2 * _elements(t)))


def _by_blas(t: Tensor) -> bool:
    """Whether a product goes to cuBLAS; constant rotations have a kernel of their own (fwht.cu)."""
    a, b = t.src[0], t.src[1]
    kind = kernel_class(a.elem[2])
    if kind == "blocks" or (kind == "f32" and a.ne[0] == a.ne[1] and b.ne == t.ne):
        return False
    return b.ne[1] > (FEW_FLOATS if kind in FLOATS else FEW) and not (kind == "f32" and a.ne[1] == 1)


def _product(t: Tensor) -> int:
    a, b = t.src[0], t.src[1]
    if kernel_class(a.elem[2]) != "blocks":
        return _blas(t) if _by_blas(t) else 0
    return _sum(_quantised(b.ne[0], b.ne[1] * b.ne[2] * b.ne[3])) if b.ne[1] > FEW else 0


def _experts_by_blas(t: Tensor) -> bool:
    """Experts of floats have a kernel for batches up to 512 tokens, up to 128 of wide ones."""
    a, n_tokens = t.src[0], t.src[1].ne[2]
    kind = kernel_class(a.elem[2])
    return kind != "blocks" and n_tokens > (512 if a.ne[1] <= 1024 and kind in FLOATS else 128)


def _experts(t: Tensor) -> int:
    a, b, ids = t.src[:3]
    n_tokens = b.ne[2]
    rows = n_tokens * ids.ne[0]
    if n_tokens <= FEW:
        return 0
    if not _experts_by_blas(t):
        lists = _sum(4 * rows, 4 * rows, 4 * (a.ne[2] + 1))
        return lists + (_sum(_quantised(b.ne[0], rows)) if kernel_class(a.elem[2]) == "blocks" else 0)
    # rows sorted by expert, and at most all tokens at one expert
    side = FLOATS.get(kernel_class(a.elem[2]), 4)
    result = 2 * n_tokens * t.ne[0] if kernel_class(a.elem[2]) == "f16" else 0
    return _sum(8 * rows, rows * b.ne[0] * side, 4 * rows * t.ne[0], result)


def _by_chunks(t: Tensor) -> bool:
    return t.src[3].ne[0] == 1 and t.src[1].ne[2] > SCAN_LEAST and t.src[0].ne[1] % 8 == 0


def _scan(t: Tensor) -> int:
    """Mamba-2 over a long batch works in chunks, by matrix products."""
    if not _by_chunks(t):
        return 0
    state, x, group = t.src[0], t.src[1], t.src[4]
    d_state, width, heads, tokens = state.ne[0], state.ne[1], x.ne[1] * x.ne[3], x.ne[2]
    c = SCAN_CHUNK
    return _sum(
        4 * tokens * heads, 4 * tokens * heads, 4 * c * c * group.ne[1] * x.ne[3], 2 * c * width * heads,
        2 * d_state * c * heads, 4 * d_state * c * heads, 2 * c * c * heads,
    )  # fmt: skip


def _sort(t: Tensor, copies: int) -> int:
    a = t.src[0]
    if a.ne[0] <= SORTED_ALONE:
        return 0
    rows = min(max(SORT_CHUNK // (4 * a.ne[0]), 1), a.ne[1] * a.ne[2] * a.ne[3])
    return copies * 4 * a.ne[0] * rows


_SCRATCH: Final[Mapping[str, Callable[[Tensor], int]]] = MappingProxyType(
    {
        "mul_mat": _product,
        "mul_mat_id": _experts,
        "ssm_scan": _scan,
        "argsort": lambda t: _sort(t, 3),  # indices, keys, sorted keys
        "top_k": lambda t: _sort(t, 4),  # and the whole order, of which the first are kept
    }
)
_BLAS: Final[Mapping[str, Callable[[Tensor], bool]]] = MappingProxyType(
    {"mul_mat": _by_blas, "mul_mat_id": _experts_by_blas, "ssm_scan": _by_chunks, "solve_tri": lambda _: True}
)


def grown(nodes: Iterable[Tensor]) -> tuple[int, bool]:
    """Bytes that the pool of a device has grown to after these nodes, and whether any of them went to cuBLAS.

    One node's scratch is given back before the next one's is taken.
    """
    most, blas = 0, False
    for node in nodes:
        scratch = _SCRATCH.get(node.op)
        if scratch is not None:
            most = max(most, scratch(node))
        blas = blas or (node.op in _BLAS and _BLAS[node.op](node))
    return -(-most // GRANULARITY) * GRANULARITY, blas


def workspace(compute_capability: str) -> int:
    """Bytes of cuBLAS's workspace; the larger where the card is not known."""
    major = compute_capability.partition(".")[0]
    return WORKSPACE if major.isdigit() and int(major) < 9 else WORKSPACE_HOPPER
