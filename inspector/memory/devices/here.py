"""The GPUs of this machine, as far as they can be told without waiting.

NVIDIA's driver says the names of its cards in /proc (Linux) or through NVML, and the registry knows their memory; Apple
silicon shares the machine's. A machine without a GPU imports nothing for it.
"""

from __future__ import annotations

import os
import sys

from inspector.memory.devices import machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from inspector.memory.estimate import Gpu

VARIABLE: Final = "INSPECTOR_GPU"


def gpus_at_once(environ: Mapping[str, str]) -> tuple[Gpu, ...]:
    """The devices of this machine, where that is known at once; empty where there are none, or their size is not known.

    `INSPECTOR_GPU` says what there is instead. Raises InspectorError where it is no GPU.
    """
    if named := environ.get(VARIABLE):
        from inspector.memory.devices.gpus import named_gpus

        return named_gpus(named)
    if sys.platform == "darwin":
        from inspector.memory.devices.gpus import apple_gpus

        return apple_gpus()
    if environ.get("CUDA_VISIBLE_DEVICES", "0") in {"", "-1"}:
        return ()
    if os.path.exists(machine.DEVICE) and os.path.isdir(machine.PROC):
        return _known(machine.proc_names())
    if library := next(filter(os.path.exists, machine.NVML), None):
        return _known([name for name, _, _ in machine.nvml_devices(library)])
    return ()


def _known(names: list[str]) -> tuple[Gpu, ...]:
    """The registry's rows for the names that a driver gives; empty where one of them is not known."""
    from inspector.errors import InspectorError
    from inspector.memory.devices.gpus import find_gpu

    try:
        gpus = [find_gpu(name).as_gpu() for name in names]
    except InspectorError:
        return ()
    same = [gpu.name for gpu in gpus]
    return tuple(g.replace(name=f"{g.name} #{i}") if same.count(g.name) > 1 else g for i, g in enumerate(gpus))
