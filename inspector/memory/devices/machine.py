"""What this machine says of itself: NVIDIA's cards, by the driver's files and library, and its memory."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

PROC: Final = "/proc/driver/nvidia/gpus"
DEVICE: Final = "/dev/nvidiactl"  # a container may see the driver's /proc and still have no GPU
# nvml.h, API v2: where the library is when the driver is (Windows keeps it beside its own; WSL has one of its own)
NVML: Final = ("C:\\Windows\\System32\\nvml.dll", "/usr/lib/wsl/lib/libnvidia-ml.so.1")
_MOST_DEVICES: Final = 1024
_LONGEST_NAME: Final = 96  # NVML_DEVICE_NAME_V2_BUFFER_SIZE


def proc_names() -> list[str]:
    """The model names of NVIDIA's cards, in the order of their buses."""
    names = []
    try:
        for bus in sorted(os.listdir(PROC))[:_MOST_DEVICES]:
            with open(os.path.join(PROC, bus, "information"), encoding="utf-8", errors="replace") as file:
                lines = dict(line.partition(":")[::2] for line in file.read(4096).splitlines())
            names.append(lines.get("Model", "").strip())
    except OSError:
        return []
    return names


def nvml_devices(library: str | None = None) -> list[tuple[str, int, int]]:
    """NVIDIA's cards: name, total and free bytes; empty where there is no library, no driver or no answer."""
    import ctypes

    try:
        nvml = ctypes.CDLL(library or ("nvml.dll" if os.name == "nt" else "libnvidia-ml.so.1"))
        if nvml.nvmlInit_v2():
            return []
        try:
            count = ctypes.c_uint()
            n = 0 if nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) else min(count.value, _MOST_DEVICES)
            return [found for i in range(n) if (found := _nvml_device(nvml, i)) is not None]
        finally:
            nvml.nvmlShutdown()
    except (OSError, AttributeError):  # no library, or one from before version 2
        return []


def _nvml_device(nvml: Any, i: int) -> tuple[str, int, int] | None:
    """One card by its number; None where its memory is not told."""
    import ctypes

    handle, memory = ctypes.c_void_p(), (ctypes.c_ulonglong * 3)()  # nvmlMemory_t: total, free, used
    name = ctypes.create_string_buffer(_LONGEST_NAME)
    if (
        nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(i), ctypes.byref(handle))
        or nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
        or nvml.nvmlDeviceGetName(handle, name, ctypes.c_uint(_LONGEST_NAME))
    ):
        return None
    return name.value.decode("utf-8", "replace"), memory[0], memory[1]


def host_total() -> int | None:
    """Bytes of memory that the machine has; None where it does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return _windows_memory()[0]


def host_available() -> int | None:
    """Bytes of memory that a new program could have now (MemAvailable, ullAvailPhys), else the total."""
    try:
        with open("/proc/meminfo", encoding="ascii", errors="replace") as file:
            fields = dict(line.partition(":")[::2] for line in file.read(1 << 16).splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError, IndexError):
        return _windows_memory()[1] or host_total()


def _windows_memory() -> tuple[int | None, int | None]:
    """(total, available) by GlobalMemoryStatusEx; nothing elsewhere."""
    if os.name != "nt":
        return None, None
    import ctypes

    # MEMORYSTATUSEX: two DWORDs (its own length, percent in use), then seven 64-bit numbers
    status = (ctypes.c_ulonglong * 8)()
    ctypes.cast(status, ctypes.POINTER(ctypes.c_uint32))[0] = ctypes.sizeof(status)
    kernel: Any = getattr(ctypes, "WinDLL")("kernel32")  # noqa: B009 - only there on Windows
    return (status[1], status[2]) if kernel.GlobalMemoryStatusEx(ctypes.byref(status)) else (None, None)
