"""What llama.cpp's back ends decide about memory: one row each; the replays of its scheduler and allocator ask it.

Sources (b11434): ggml/src/ggml-cuda/ggml-cuda.cu (get_alignment, get_alloc_size, supports_op, offload_op,
graph_optimize, get_props), ggml-cpu, ggml-rpc, and the files named at each row.
"""

from __future__ import annotations

from functools import cache
from types import MappingProxyType

from inspector.errors import WorkloadError
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Final

    from inspector.memory.engines.llamacpp.graph.tensor import Tensor

GET_ROWS: Final = "get_rows"


class Backend(Record):
    """A back end's policy.

    `alignment`: bytes; `row_pad`: elements to a multiple of which a quantised tensor's last row is filled up (0: not);
    `offload_batch`: rows from which on a product over weights in host memory is taken over (None: never);
    `offload_ops`: the operations that may be (empty: all but get_rows); `rules`: the module that says which operations
    it runs and what scratch a node carries (empty: runs all, no scratch); `fuses`: whether it extends lifetimes;
    `pools`: it takes device memory while it computes, besides its buffers (`backends.pools`); `splits_rows`: it has
    buffers for `-sm row`; `devices`: what names of its devices begin with; `measured`: figures were compared with the
    engine's own.
    """

    name: str
    alignment: int
    row_pad: int = 0
    offload_batch: int | None = None
    offload_ops: tuple[str, ...] = ()
    rules: str = ""
    fuses: bool = False
    pools: bool = False
    splits_rows: bool = False
    devices: tuple[str, ...] = ()
    measured: bool = False

    def allocated(self, size: int, width: int, block: Sequence[Any]) -> int:
        """Bytes that `size` bytes of a tensor take; `width`: elements a row; `block`: its elements and bytes."""
        tail = -width % self.row_pad if self.row_pad and block[0] > 1 else 0
        size += tail // block[0] * block[1]
        return -(-size // self.alignment) * self.alignment

    def takes_over(self, node: Tensor) -> bool:
        """Whether it runs an operation whose weights lie in host memory (`offload_op`)."""
        if self.offload_batch is None or (self.offload_ops and node.op not in self.offload_ops):
            return False
        return batch_rows(node) >= self.offload_batch


def batch_rows(node: Tensor) -> int:
    """How many rows an operation works on (get_op_batch_size, ggml-cuda.cu; the others have the same)."""
    ne = node.ne
    if node.op == GET_ROWS:
        return 0
    if node.op == "mul_mat":
        return ne[1]
    return ne[2] if node.op in {"mul_mat_id", "rope"} else ne[1] * ne[2] * ne[3]


# Rows that no figure of the engine's own holds are graded modelled. All have asynchronous copies and events, which
# several cards need to work at once (get_props). Buffers split by rows are in SYCL's registry alone
# (make_gpu_buft_list, src/llama-model.cpp).
_ROWS: Final = (
    Backend("cpu", 32, measured=True),
    # the server behind it is a CPU in all that was measured; it takes nothing over (no offload_op, ggml-rpc.cpp)
    Backend("rpc", 32, devices=("RPC",), measured=True),
    Backend(
        "cuda", 128, row_pad=512, offload_batch=32, rules="cuda", fuses=True, pools=True, devices=("CUDA",),
        measured=True,
    ),
    # the same source, compiled for HIP
    Backend("rocm", 128, row_pad=512, offload_batch=32, rules="cuda", fuses=True, devices=("ROCm",)),
    # SYCL_BUFFER_ALIGNMENT (ggml-sycl/common.hpp), get_alloc_size and offload_op (ggml-sycl.cpp)
    Backend("sycl", 128, row_pad=512, offload_batch=32, rules="sycl", splits_rows=True, devices=("SYCL",)),
    # the alignment is the device's minStorageBufferOffsetAlignment, 64 at most on common ones (ggml-vulkan.cpp)
    Backend("vulkan", 64, offload_batch=32, devices=("Vulkan",)),
    # get_alloc_size and offload_op (ggml-metal/ggml-metal.cpp)
    Backend(
        "metal", 32, offload_batch=32, offload_ops=("mul_mat", "mul_mat_id"), rules="metal", devices=("Metal", "MTL"),
    ),
)  # fmt: skip
BACKENDS: Final[Mapping[str, Backend]] = MappingProxyType({row.name: row for row in _ROWS})
HOST_BACKEND: Final = BACKENDS["cpu"]
# devices of the registry that other engines alone run on
_NOT_SERVED: Final = {"hpu": "Gaudi (hpu)"}


def backend(name: str) -> Backend:
    """The policy of that name. Raises WorkloadError."""
    found = BACKENDS.get(name.lower())
    if name.lower() in _NOT_SERVED:
        raise WorkloadError(f"llama.cpp b11434 has no back end for {_NOT_SERVED[name.lower()]}", hint="-e vllm")
    if found is None:
        raise WorkloadError(f"no back end {name!r}", hint="one of " + ", ".join(BACKENDS))
    return found


def backend_of_device(name: str) -> str:
    """The back end of a device that llama.cpp calls by this name; CUDA where none is known."""
    return next((row.name for row in _ROWS if row.devices and name.startswith(row.devices)), "cuda")


def kernels(row: Backend) -> Any:
    """The module of a back end's rules: `runs(node)`, and SCRATCH: bytes of a node by its operation."""
    return _rules(row.rules)


@cache
def _rules(name: str) -> Any:  # asked for every node of a graph
    from importlib import import_module

    return import_module(f"{__name__}.{name}")


def policies(names: Sequence[str]) -> tuple[Backend, ...]:
    """Those of the devices, and the host's last."""
    return (*map(backend, names), HOST_BACKEND)
