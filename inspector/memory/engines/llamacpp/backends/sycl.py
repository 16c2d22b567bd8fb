"""SYCL: f16 copies of keys and values behind the result of flash attention, as CUDA's.

Source (b11434): ggml_sycl_flash_attn_ext_get_alloc_size in ggml/src/ggml-sycl/fattn.cpp. Not compared with the engine.
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.memory.engines.llamacpp.backends.cuda import flash_runs, with_copies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Final

    from inspector.memory.engines.llamacpp.graph.tensor import Tensor

SCRATCH: Final[Mapping[str, Callable[[Tensor], int]]] = MappingProxyType({"flash_attn": with_copies})


def runs(node: Tensor) -> bool:
    """Whether there is a kernel; flash attention has CUDA's head sizes."""
    return node.op != "flash_attn" or flash_runs(node)
