"""CUDA: which operations run on a card, and what scratch they carry.

Source (b11434): ggml_backend_cuda_device_supports_op and get_alloc_size in ggml/src/ggml-cuda/ggml-cuda.cu,
ggml_cuda_get_best_fattn_kernel and ggml_cuda_flash_attn_ext_get_alloc_size in fattn.cu and fattn-common.cuh,
lightning_indexer_supported in lightning-indexer.cu. Compute capability changes no size.
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.memory.engines.llamacpp.graph.tensor import is_contiguous, nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Final

    from inspector.memory.engines.llamacpp.graph.tensor import Tensor

KQ_STRIDE: Final = 256  # FATTN_KQ_STRIDE
SCRATCH_ALIGN: Final = 128
# head sizes of keys whose kernels need values of the same size and nothing else
PLAIN_HEADS: Final = frozenset((40, 64, 72, 80, 96, 112, 128, 256))
# further sizes of keys: the size of values, and the multiple that query heads a key head must be
GROUPED_HEADS: Final[Mapping[int, tuple[int, int]]] = MappingProxyType(
    {192: (128, 8), 320: (256, 32), 512: (512, 1), 576: (512, 1)}
)
KV_TYPES: Final = frozenset(("f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0"))
# pairs that the default build has vector kernels for (GGML_CUDA_FA_QUANTS, ggml/CMakeLists.txt)
VECTOR_PAIRS: Final = frozenset((("q4_0", "q4_0"), ("q8_0", "q8_0"), ("f16", "f16"), ("bf16", "bf16")))
FLOATS: Final = frozenset(("f32", "f16", "bf16"))
FEW_TOKENS: Final = 2  # that the vector kernel of flash attention takes
# element types that no product kernel exists for
NO_PRODUCT: Final = frozenset(("tq1_0", "tq2_0", "i32", "i64"))
NO_ROWS: Final = frozenset(("tq1_0", "tq2_0", "nvfp4", "q8_k", "i64"))
SUPER_BLOCK: Final = 256
ROW_TYPES: Final = frozenset(("f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "iq4_nl"))
COPIED: Final = frozenset(("q8_0", "q4_0", "q4_1", "q5_0", "q5_1"))


def kind(t: Tensor) -> str:
    """The name of its element type."""
    return t.elem[2].lower()


def _dense_rows(t: Tensor) -> bool:
    return t.ne[0] == t.elem[0] or t.nb[0] == t.elem[1]


def _dense_from(t: Tensor, n: int) -> bool:
    """Whether dimensions above `n` follow without gaps (ggml_is_contiguous_n)."""
    if not _dense_rows(t):
        return False
    expect = t.ne[0] // t.elem[0] * t.nb[0]
    for i in (1, 2, 3):
        if t.ne[i] == 1:
            continue
        if i > n:
            if t.nb[i] != expect:
                return False
            expect *= t.ne[i]
        else:
            expect = t.ne[i] * t.nb[i]
    return True


def _grouped(t: Tensor) -> tuple[int, bool]:
    """Query heads a key head, and whether kernels may take them together."""
    q, k = t.src[0], t.src[1]
    ratio = q.ne[2] // max(k.ne[2], 1)
    mask = t.src[3] if len(t.src) > 3 else None
    applies = ratio >= 2 and mask is not None and k.ne[1] % KQ_STRIDE == 0
    for x in t.src[:4]:
        if x.elem[0] == 1 and any(n % 16 for n in x.nb[1:]):
            applies = False
    return ratio, applies


def flash_runs(t: Tensor) -> bool:
    """Whether there is a flash attention kernel for these shapes."""
    k, v = t.src[1], t.src[2]
    if kind(k) not in KV_TYPES or kind(v) not in KV_TYPES or (len(t.src) > 3 and t.src[3].ne[2] != 1):
        return False
    if k.ne[0] in PLAIN_HEADS:
        return v.ne[0] == k.ne[0]
    width, multiple = GROUPED_HEADS.get(k.ne[0], (0, 1))
    ratio, applies = _grouped(t)
    return width == v.ne[0] and applies and ratio % multiple == 0


def _vector(t: Tensor) -> bool:
    """Whether a batch this small goes to the vector kernel, which reads quantised caches as they are."""
    q, k, v = t.src[:3]
    small = q.ne[1] <= FEW_TOKENS and (k.elem[0] > 1 or v.elem[0] > 1)
    fits = q.ne[0] <= 256 and q.ne[0] % 64 == 0 and q.ne[0] != 192 and k.ne[1] % KQ_STRIDE == 0
    return small and fits and (kind(k), kind(v)) in VECTOR_PAIRS


def flash_nbytes(t: Tensor) -> int:
    """The result and, behind it, f16 copies of keys and values of other types."""
    return nbytes(t) if not flash_runs(t) or _vector(t) else with_copies(t)


def with_copies(t: Tensor) -> int:
    """The result, then f16 copies of keys and values that are of another type; one where values are keys."""
    size = nbytes(t)
    k, v = t.src[1], t.src[2]
    shared = k.root is not None and v.root is k.root
    for x in (k,) if shared else (k, v):
        if kind(x) != "f16":
            size = -(-size // SCRATCH_ALIGN) * SCRATCH_ALIGN + 2 * x.ne[0] * x.ne[1] * x.ne[2] * x.ne[3]
    return size


def _product(t: Tensor) -> bool:
    a, b = t.src[0], t.src[1]
    if a.nb[0] != a.elem[1] or b.nb[0] != b.elem[1] or kind(a) in NO_PRODUCT:
        return False
    return not (kind(b) == "f16" and kind(a) not in {"f16", "f32"})


def _rows(t: Tensor) -> bool:
    name = kind(t.src[0])
    if name in {"iq4_nl", "mxfp4"}:
        return t.src[0].ne[0] % SUPER_BLOCK == 0
    return name not in NO_ROWS


def _set_rows(t: Tensor) -> bool:
    rows = kind(t.src[0])
    return (kind(t) in ROW_TYPES and rows == "f32") or (kind(t) == "f16" and rows == "f16")


def _copy(t: Tensor) -> bool:
    a, b = kind(t.src[0]), kind(t)
    if (a in FLOATS and b in FLOATS) or {a, b} <= {"f32", "i32"}:
        return True
    if (a == "f32" and b in COPIED | {"iq4_nl"}) or (b == "f32" and a in COPIED):
        return True
    return a == b and is_contiguous(t.src[0]) and is_contiguous(t)


def _arithmetic(t: Tensor) -> bool:
    a, b, c = kind(t.src[0]), kind(t.src[1]), kind(t)
    if "bf16" in {a, b, c}:
        return a == "bf16" == c and b in {"bf16", "f32"}
    return {a, b, c} <= {"f32", "f16"}


def _scan(t: Tensor) -> bool:
    """Mamba-2 with states of 96, 128 or 256 and heads of 16s; Mamba-1 with states of 16 and blocks of 128."""
    state = t.src[0]
    if t.src[3].ne[0] == 1:
        return state.ne[0] in {96, 128, 256} and state.ne[1] % 16 == 0
    return state.ne[0] == 16 and state.ne[1] == 1 and state.ne[2] % 128 == 0 and t.src[4].ne[1] == 1


def _indexer(t: Tensor) -> bool:
    q, k = t.src[0], t.src[1]
    if q.ne[0] != 128 or q.ne[1] not in {4, 32, 64}:
        return False
    return all(x.elem[0] > 1 or not any(n % 16 for n in x.nb[1:]) for x in (q, k))


_RULES: Final[Mapping[str, Callable[[Tensor], bool]]] = MappingProxyType(
    {
        "unary": lambda t: is_contiguous(t.src[0]),
        "glu": lambda t: _dense_from(t.src[0], 1),
        "mul_mat": _product,
        "mul_mat_id": lambda t: not t.exact and _product(t),
        "get_rows": _rows,
        "set_rows": _set_rows,
        "cpy": _copy,
        "repeat": lambda t: kind(t.src[0]) in {"f32", "f16"},
        "norm": lambda t: _dense_rows(t.src[0]),
        "rms_norm": lambda t: _dense_rows(t.src[0]),
        "l2_norm": lambda t: _dense_rows(t.src[0]),
        "group_norm": lambda t: is_contiguous(t.src[0]),
        "scale": lambda t: kind(t.src[0]) in {"f32", "bf16"},
        "add": _arithmetic,
        "sub": _arithmetic,
        "mul": _arithmetic,
        "div": _arithmetic,
        "ssm_scan": _scan,
        "ssm_conv": lambda t: t.src[0].ne[1] % 128 == 0,
        "roll": lambda t: kind(t.src[0]) == "f32" and is_contiguous(t.src[0]),
        "rope": lambda t: t.src[0].nb[0] == t.src[0].elem[1] and _dense_from(t.src[0], 2),
        "sum_rows": lambda t: kind(t.src[0]) == "f32" and _dense_rows(t.src[0]),
        "im2col": lambda t: is_contiguous(t.src[0]) and is_contiguous(t.src[1]),
        "flash_attn": flash_runs,
        "lightning_indexer": _indexer,
    }
)


def cache_class(name: str) -> str:
    """What decides of a cache's element type how the nodes over it run, but for batches of FEW_TOKENS.

    Block types with all kernels are one class: each is copied to f16 for flash attention (`with_copies`).
    """
    blocks = name not in FLOATS and name in KV_TYPES and name in ROW_TYPES
    return "blocks" if blocks else name


# Bytes of a node in a compute buffer, where they are more than its result.
SCRATCH: Final[Mapping[str, Callable[[Tensor], int]]] = MappingProxyType({"flash_attn": flash_nbytes})


def runs(node: Tensor) -> bool:
    """Whether a card has a kernel for this operation."""
    rule = _RULES.get(node.op)
    return rule is None or rule(node)
