"""GPU memory sizes in MiB, one row a product; `reported`: the driver's own figure, not the vendor's nominal one."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    _Row = tuple[Any, ...]

_SMI = "nvidia-smi memory.total"
_SPEC = "vendor specification, nominal size"
_BOTH = "nvidia-smi memory.total; CUDA's own total as PyTorch's out-of-memory messages print it"
_METAL = "Metal's default working-set limit of the machine's unified memory (2/3 below 36 GiB, 3/4 from there)"
_METAL_LOG = "recommendedMaxWorkingSetSize as llama.cpp's start-up log prints it"

# nvidia-smi totals of the data-centre cards are listed in modal-labs/modal-client#2797; the others are as people's
# nvidia-smi listings show them. Compute capabilities: developer.nvidia.com/cuda-gpus (and its page of legacy cards).
# Metal's limits: 10,922 MiB of 16 GiB, 21,845 of 32, 73,728 of 96 (llama.cpp's logs); newer macOS lets a process have
# more (128 GiB: 115,448 MB), so a machine whose own log is known says what the log says.
# fmt: off
_NVIDIA = (
    # name, compute capability, total MiB, reported, CUDA's own total in MiB (from PyTorch's messages) or None, aliases
    ("GTX 1050 Ti",           "6.1",    4096, False, None,   ()),
    ("GTX 1060 6GB",          "6.1",    6144, False, None,   ("gtx1060",)),
    ("GTX 1070",              "6.1",    8192, True,  None,   ()),
    ("GTX 1070 Ti",           "6.1",    8192, True,  None,   ()),
    ("GTX 1080",              "6.1",    8192, True,  None,   ()),
    ("GTX 1080 Ti",           "6.1",   11264, True,  11172,  ()),
    ("GTX 1650",              "7.5",    4096, False, None,   ()),
    ("GTX 1660",              "7.5",    6144, False, None,   ("gtx1660super", "gtx1660ti")),
    ("RTX 2060",              "7.5",    6144, True,  None,   ("rtx2060 6gb",)),
    ("RTX 2060 12GB",         "7.5",   12288, False, None,   ()),
    ("RTX 2070",              "7.5",    8192, True,  None,   ("rtx2070super",)),
    ("RTX 2080",              "7.5",    8192, True,  None,   ("rtx2080super",)),
    ("RTX 2080 Ti",           "7.5",   11264, True,  11012,  ()),
    ("Titan RTX",             "7.5",   24576, True,  None,   ()),
    ("RTX 3050",              "8.6",    8192, True,  None,   ("rtx3050 8gb",)),
    ("RTX 3060",              "8.6",   12288, True,  12043,  ("rtx3060 12gb",)),
    ("RTX 3060 Ti",           "8.6",    8192, True,  None,   ()),
    ("RTX 3070",              "8.6",    8192, True,  None,   ()),
    ("RTX 3070 Ti",           "8.6",    8192, True,  None,   ()),
    ("RTX 3080",              "8.6",   10240, True,  None,   ("rtx3080 10gb",)),
    ("RTX 3080 12GB",         "8.6",   12288, True,  None,   ()),
    ("RTX 3080 Ti",           "8.6",   12288, True,  None,   ()),
    ("RTX 3090",              "8.6",   24576, True,  24259,  ()),
    ("RTX 3090 Ti",           "8.6",   24564, True,  None,   ()),
    ("RTX 4060",              "8.9",    8188, True,  None,   ()),
    ("RTX 4060 Ti",           "8.9",    8188, True,  None,   ("rtx4060ti 8gb",)),
    ("RTX 4060 Ti 16GB",      "8.9",   16380, True,  None,   ()),
    ("RTX 4070",              "8.9",   12282, True,  None,   ()),
    ("RTX 4070 Super",        "8.9",   12282, True,  None,   ()),
    ("RTX 4070 Ti",           "8.9",   12282, True,  None,   ()),
    ("RTX 4070 Ti Super",     "8.9",   16376, True,  None,   ()),
    ("RTX 4080",              "8.9",   16376, True,  None,   ()),
    ("RTX 4080 Super",        "8.9",   16376, True,  None,   ()),
    ("RTX 4090",              "8.9",   24564, True,  24207,  ()),
    ("RTX 4090 D",            "8.9",   24564, True,  None,   ()),
    ("RTX 4090 Laptop",       "8.9",   16376, True,  None,   ("rtx4090 laptop gpu", "rtx4090m")),
    ("RTX 4080 Laptop",       "8.9",   12282, True,  None,   ("rtx4080 laptop gpu", "rtx4080m")),
    ("RTX 4070 Laptop",       "8.9",    8188, True,  None,   ("rtx4070 laptop gpu", "rtx4070m")),
    ("RTX 5050",              "12.0",   8151, True,  None,   ()),
    ("RTX 5060",              "12.0",   8151, True,  None,   ()),
    ("RTX 5060 Ti",           "12.0",   8151, True,  None,   ("rtx5060ti 8gb",)),
    ("RTX 5060 Ti 16GB",      "12.0",  16311, True,  None,   ()),
    ("RTX 5070",              "12.0",  12227, True,  None,   ()),
    ("RTX 5070 Ti",           "12.0",  16303, True,  None,   ()),
    ("RTX 5080",              "12.0",  16303, True,  None,   ()),
    ("RTX 5090",              "12.0",  32607, True,  32109,  ()),
    ("RTX 5090 D",            "12.0",  32607, True,  None,   ()),
    ("RTX A2000",             "8.6",    6138, True,  None,   ("a2000",)),
    ("RTX A2000 12GB",        "8.6",   12282, True,  None,   ("a2000 12gb",)),
    ("RTX A4000",             "8.6",   16376, True,  None,   ("a4000",)),
    ("RTX A4500",             "8.6",   20470, True,  None,   ("a4500",)),
    ("RTX A5000",             "8.6",   24564, True,  24248,  ("a5000",)),
    ("RTX A5500",             "8.6",   24564, False, None,   ("a5500",)),
    ("RTX A6000",             "8.6",   49140, True,  48541,  ("a6000",)),
    ("RTX 4000 Ada",          "8.9",   20475, True,  None,   ("rtx4000 ada generation",)),
    ("RTX 4500 Ada",          "8.9",   24570, True,  None,   ("rtx4500 ada generation",)),
    ("RTX 5000 Ada",          "8.9",   32760, True,  None,   ("rtx5000 ada generation",)),
    ("RTX 6000 Ada",          "8.9",   49140, True,  None,   ("rtx6000 ada generation", "6000ada")),
    ("RTX PRO 6000",          "12.0",  97887, True,  None,   ("rtx pro 6000 blackwell", "pro6000")),
    ("RTX PRO 5000",          "12.0",  49152, False, None,   ("rtx pro 5000 blackwell",)),
    ("RTX PRO 4500",          "12.0",  32768, False, None,   ("rtx pro 4500 blackwell",)),
    ("RTX PRO 4000",          "12.0",  24576, False, None,   ("rtx pro 4000 blackwell",)),
    ("Quadro RTX 6000",       "7.5",   24576, True,  None,   ("rtx6000 turing",)),
    ("Quadro RTX 8000",       "7.5",   49152, True,  None,   ("rtx8000",)),
    ("M40",                   "5.2",   24576, False, None,   ("m40 24gb",)),
    ("P4",                    "6.1",    8192, False, None,   ()),
    ("P40",                   "6.1",   24576, True,  None,   ()),
    ("P100",                  "6.0",   16384, True,  None,   ("p100 pcie 16gb", "p100 16gb")),
    ("T4",                    "7.5",   15360, True,  15102,  ()),
    ("V100-16GB",             "7.0",   16384, True,  16152,  ("v100", "v100 sxm2 16gb", "v100 pcie 16gb")),
    ("V100-32GB",             "7.0",   32768, True,  None,   ("v100 sxm2 32gb", "v100 pcie 32gb", "v100s")),
    ("A2",                    "8.6",   15356, True,  None,   ()),
    ("A10",                   "8.6",   23028, True,  22592,  ()),
    ("A10G",                  "8.6",   23028, True,  22592,  ()),
    ("A16",                   "8.6",   15356, True,  None,   ()),
    ("A30",                   "8.0",   24576, True,  None,   ()),
    ("A40",                   "8.6",   46068, True,  None,   ()),
    ("A100-40GB",             "8.0",   40960, True,  40442,  ("a100 sxm4 40gb", "a100 pcie 40gb")),
    ("A100-80GB",             "8.0",   81920, True,  81152,  ("a100", "a100 sxm4 80gb", "a100 80gb pcie")),
    ("L4",                    "8.9",   23034, True,  22560,  ()),
    ("L20",                   "8.9",   46068, True,  None,   ()),
    ("L40",                   "8.9",   46068, True,  None,   ()),
    ("L40S",                  "8.9",   46068, True,  45589,  ()),
    ("H20",                   "9.0",   97871, True,  None,   ()),
    ("H100",                  "9.0",   81559, True,  81121,
     ("h100 80gb hbm3", "h100 sxm", "h100 sxm5", "h100 80gb", "h100 pcie")),
    ("H100 NVL",              "9.0",   95830, True,  None,   ("h100 94gb",)),
    ("H200",                  "9.0",  143771, True,  143155, ("h200 sxm", "h200 141gb")),
    ("H200 NVL",              "9.0",  143771, True,  None,   ()),
    ("GH200 96GB",            "9.0",   97871, True,  None,   ("gh200", "gh200 480gb")),
    ("GH200 144GB",           "9.0",  147456, False, None,   ()),
    ("B100",                  "10.0", 196608, False, None,   ()),
    ("B200",                  "10.0", 183359, True,  182630, ()),
    ("B300",                  "10.3", 275040, True,  None,   ("b300 288gb",)),
    ("GB200",                 "10.0", 189471, False, None,   ()),
    ("GB10",                  "12.1", 124610, True,  124610, ("dgx spark", "spark")),
    ("Jetson AGX Orin 64GB",  "8.7",   65536, False, None,   ("orin 64gb", "agx orin", "jetson agx orin")),
    ("Jetson Orin NX 16GB",   "8.7",   16384, False, None,   ("orin nx",)),
    ("Jetson Orin Nano 8GB",  "8.7",    8192, False, None,   ("orin nano",)),
)
_AMD = (
    # name, nominal GiB, aliases
    ("RX 6600 XT", 8, ("rx6600", "rx6650xt")), ("RX 6700 XT", 12, ("rx6750xt",)), ("RX 6800", 16, ()),
    ("RX 6800 XT", 16, ()), ("RX 6900 XT", 16, ()), ("RX 6950 XT", 16, ()),
    ("RX 7600", 8, ()), ("RX 7600 XT", 16, ()), ("RX 7700 XT", 12, ()), ("RX 7800 XT", 16, ()),
    ("RX 7900 GRE", 16, ()), ("RX 7900 XT", 20, ()), ("RX 7900 XTX", 24, ()),
    ("RX 9060 XT", 8, ("rx9060xt 8gb",)), ("RX 9060 XT 16GB", 16, ()), ("RX 9070", 16, ()), ("RX 9070 XT", 16, ()),
    ("Radeon VII", 16, ("vii",)), ("Radeon PRO W6800", 32, ("w6800", "pro w6800")),
    ("Radeon PRO W7800", 32, ("w7800", "pro w7800")), ("Radeon PRO W7900", 48, ("w7900", "pro w7900")),
    ("Radeon AI PRO R9700", 32, ("r9700", "ai pro r9700")),
    ("MI25", 16, ()), ("MI50", 16, ("mi50 16gb",)), ("MI50 32GB", 32, ()), ("MI60", 32, ()), ("MI100", 32, ()),
    ("MI210", 64, ()), ("MI250", 64, ("mi250x",)), ("MI300A", 128, ()), ("MI300X", 192, ()), ("MI308X", 192, ()),
    ("MI325X", 256, ()), ("MI350X", 288, ("mi355x",)),
    ("Ryzen AI Max+ 395 96GB", 96, ("strix halo", "ryzen ai max 395")),
)
_INTEL = (
    # name, nominal GiB, the back end that serves it, aliases
    ("Arc A380", 6, "vulkan", ("a380",)), ("Arc A580", 8, "vulkan", ("a580",)), ("Arc A750", 8, "vulkan", ("a750",)),
    ("Arc A770", 16, "vulkan", ("a770",)), ("Arc B570", 10, "vulkan", ("b570",)),
    ("Arc B580", 12, "vulkan", ("b580",)), ("Arc Pro B50", 16, "vulkan", ("b50",)),
    ("Arc Pro B60", 24, "vulkan", ("b60",)),
    ("Data Center GPU Flex 170", 16, "sycl", ("flex170",)), ("Data Center GPU Max 1100", 48, "sycl", ("max1100",)),
    ("Data Center GPU Max 1550", 128, "sycl", ("max1550", "ponte vecchio")),
    ("Gaudi 2", 96, "hpu", ()), ("Gaudi 3", 128, "hpu", ()),
)
_APPLE = (
    # chip, the sizes it was sold with, in GiB
    ("M1", (8, 16)), ("M1 Pro", (16, 32)), ("M1 Max", (32, 64)), ("M1 Ultra", (64, 128)),
    ("M2", (8, 16, 24)), ("M2 Pro", (16, 32)), ("M2 Max", (32, 64, 96)), ("M2 Ultra", (64, 128, 192)),
    ("M3", (8, 16, 24)), ("M3 Pro", (18, 36)), ("M3 Max", (36, 48, 64, 96, 128)), ("M3 Ultra", (96, 256, 512)),
    ("M4", (16, 24, 32)), ("M4 Pro", (24, 48, 64)), ("M4 Max", (36, 48, 64, 128)), ("M5", (16, 24, 32)),
    ("M5 Pro", (24, 48, 64)), ("M5 Max", (36, 48, 64, 128)),
)
_APPLE_LOGGED = {
    # what a log of that very machine says, in MB of 10^6 bytes
    "M1 Max 64GB": 51539, "M1 Pro 16GB": 11453, "M3 Max 64GB": 55662, "M4 Max 36GB": 28991, "M4 Max 128GB": 115448,
}
# One physical card that shows as several devices, each with the size of its row.
_DEVICES = {"MI250": 2}
# One pool for device and host: what stays "on the host" takes from the same memory.
_UNIFIED = ("GB10", "Jetson", "MI300A", "Ryzen AI")
_SOURCES = {
    "GB10": "CUDA's own total, 121.69 GiB of the vendor's 128 GB: llama.cpp's start-up log; vLLM's memory check",
    "MI250": "vendor specification, nominal size: one card is two devices of 64 GiB each",
    "Ryzen AI Max+ 395 96GB": "the most that firmware sets aside for graphics of 128 GB, nominal size",
}
# fmt: on


def _apple_mib(gib: int) -> int:
    return gib * 1024 * 2 // 3 if gib < 36 else gib * 1024 * 3 // 4


def _logged_mib(megabytes: int) -> int:
    return megabytes * 10**6 >> 20


def _row(sized: tuple[str, str, int, str, bool, int | None, tuple[str, ...]], backend: str, cc: str = "") -> _Row:
    """A whole row: name, vendor, MiB, source, reported, CUDA's MiB, aliases, then what follows from the name."""
    name, vendor, mib, source, *rest = sized
    unified = vendor == "Apple" or name.startswith(_UNIFIED)
    return (name, vendor, mib, _SOURCES.get(name, source), *rest, backend, cc, unified, _DEVICES.get(name, 1))


def _apple(name: str, gib: int) -> tuple[str, str, int, str, bool, None, tuple[str, ...]]:
    logged = _APPLE_LOGGED.get(name)
    if logged is not None:
        return name, "Apple", _logged_mib(logged), _METAL_LOG, True, None, ()
    return name, "Apple", _apple_mib(gib), _METAL, False, None, ()


def _nvidia_source(seen: bool, cuda: int | None) -> str:
    return _BOTH if seen and cuda else _SMI if seen else _SPEC


ROWS: Final[tuple[_Row, ...]] = (
    *(_row((n, "NVIDIA", mib, _nvidia_source(seen, cuda), seen, cuda, also), "cuda", cc)
      for n, cc, mib, seen, cuda, also in _NVIDIA),
    *(_row((n, "AMD", gib * 1024, _SPEC, False, None, also), "rocm") for n, gib, also in _AMD),
    *(_row((n, "Intel", gib * 1024, _SPEC, False, None, also), backend) for n, gib, backend, also in _INTEL),
    *(_row(_apple(f"{chip} {gib}GB", gib), "metal") for chip, sizes in _APPLE for gib in sizes),
)  # fmt: skip
