"""Facts and a workload in, bytes out: pure arithmetic; only `api.py` opens what it is given by name.

`inspector.memory` is this package and the function of the public API at once (docs/decisions/0007-public-names.md).
"""

from __future__ import annotations

import sys
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from inspector.memory.api import Model
    from inspector.memory.estimate import Estimate, Gpu, Placement, Workload


class _MemoryModule(ModuleType):
    """A module that can be called: importing any of its modules binds `inspector.memory` to it."""

    def __call__(
        self,
        model: Model,
        *,
        gpu: str | Gpu | Iterable[str | Gpu] = (),
        ctx: int | None = None,
        parallel: int | None = None,
        kv: str | None = None,
        engine: str | None = None,
        backend: str | None = None,
        workload: Workload | None = None,
        placement: Placement | None = None,
        **options: Any,
    ) -> Estimate:
        from inspector.memory.api import memory

        return memory(
            model, gpu=gpu, ctx=ctx, parallel=parallel, kv=kv, engine=engine, backend=backend, workload=workload,
            placement=placement, **options,
        )  # fmt: skip


sys.modules[__name__].__class__ = _MemoryModule
