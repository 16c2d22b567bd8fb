"""The GPUs people own: what their driver reports, what they are called, and how a name is read.

Totals are `nvidia-smi`'s "memory.total" where one is known (`reported`), else the vendor's nominal size. CUDA itself
reports a little less (`cuMemGetInfo`, the "total capacity" of PyTorch's out-of-memory messages): `cuda_mib`, where
known; the difference is what a device reserves. A bare size reserves what a card of that size does.
"""

from __future__ import annotations

import functools
from types import MappingProxyType

from inspector.errors import InspectorError
from inspector.memory.devices.gpu_table import ROWS
from inspector.memory.estimate import Gpu
from inspector.record import Record
from inspector.units import GIB, MIB, format_nbytes, is_shop_size, parse_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Final

# CUDA's context of one process, by size of card: total less free of idle cards as llama.cpp's start-up logs of 2025
# and 2026 print them (fixtures/contexts.jsonl), the least and the most of each class. It grows with multiprocessors,
# which a size does not say.
_CONTEXTS: Final = ((8192, 123, 202), (20480, 113, 311), (25600, 264, 472))  # total MiB up to which, MiB, MiB
_LARGEST_CONTEXT: Final = (426, 621)
# What CUDA hides of a card whose own total is not known: 0.4 to 2.9 % of those whose is, 768 MiB at most.
_HIDDEN_PERCENT: Final = 3
_MOST_HIDDEN: Final = 768
# What other run-times take of a device, their pools included: the most that is kept back, and the least that logs of
# idle devices show (fixtures/contexts.jsonl): ROCm 16 to 318 MiB, and 732 on 288 GB; SYCL 54 to 254; Vulkan 3 to 17
# under Linux; Metal counts none. In what Vulkan's logs show of Windows, 0.2 to 1.2 GiB, is the desktop.
OTHER_RUNTIME: Final = 450 * MIB
_LARGE: Final = (200_000, 732 * MIB)  # total MiB above which, bytes
_LEAST_RUNTIME: Final = MappingProxyType({"rocm": 16 * MIB, "sycl": 54 * MIB, "vulkan": 3 * MIB})
MAX_GPUS: Final = 1024
_WORDS: Final = ("auto", "none")


class GpuModel(Record):
    """One row of the registry: total in MiB, as the driver says it (`reported`) or the vendor does.

    `backend`: what runs it ("cuda", "rocm", "metal", "vulkan", "sycl"; "hpu": no back end of llama.cpp does);
    `compute_capability`: NVIDIA's ("8.9"), empty elsewhere; `unified`: device and host share one memory;
    `devices`: how many devices of this size one card is.
    """

    name: str
    vendor: str
    total_mib: int
    source: str
    reported: bool = True
    cuda_mib: int | None = None
    aliases: tuple[str, ...] = ()
    backend: str = "cuda"
    compute_capability: str = ""
    unified: bool = False
    devices: int = 1

    @property
    def capacity(self) -> int:
        """Total memory in bytes."""
        return self.total_mib * MIB

    @property
    def reserve(self) -> int:
        """Bytes that no program can use: what CUDA hides; elsewhere what stands in for the run-time's own."""
        if self.backend != "cuda":
            return _LARGE[1] if self.total_mib > _LARGE[0] else OTHER_RUNTIME
        return hidden(self.capacity) if self.cuda_mib is None else (self.total_mib - self.cuda_mib) * MIB

    @property
    def context(self) -> int:
        """Bytes that CUDA takes for each process; 0 elsewhere."""
        return context(self.capacity) if self.backend == "cuda" else 0

    def as_gpu(self, label: str = "") -> Gpu:
        """This model as a device to place things on."""
        note = self.source if self.reported else f"{self.source}; the driver's own figure is not known here"
        return Gpu(
            name=self.name + label,
            capacity=self.capacity,
            reserve=self.reserve,
            context=self.context,
            note=note,
            backend=self.backend,
            unified=self.unified,
            compute_capability=self.compute_capability,
            context_low=context_range(self.capacity)[0] if self.context else 0,
            reserve_low=least_runtime(self.backend),
        )


def context_range(capacity: int) -> tuple[int, int]:
    """The least and the most bytes that CUDA's context takes of a card of so many bytes, by its class of size."""
    least, most = next(((low, high) for size, low, high in _CONTEXTS if capacity <= size * MIB), _LARGEST_CONTEXT)
    return least * MIB, most * MIB


def context(capacity: int) -> int:
    """The most bytes that CUDA's context takes of a card of so many bytes."""
    return context_range(capacity)[1]


def least_runtime(backend: str) -> int | None:
    """The least bytes that a run-time other than CUDA takes of a device; None for CUDA, whose reserve is no range."""
    return None if backend in {"cuda", "rpc"} else _LEAST_RUNTIME.get(backend, 0)


def hidden(capacity: int) -> int:
    """Bytes of a card of this size that CUDA hides: the most of those known of this size, else a share."""
    known = [row.total_mib - row.cuda_mib for row in GPUS.values() if row.cuda_mib and row.capacity == capacity]
    return max(known) * MIB if known else min(capacity * _HIDDEN_PERCENT // 100 // MIB, _MOST_HIDDEN) * MIB


GPUS: Final[Mapping[str, GpuModel]] = MappingProxyType({row[0]: GpuModel(*row) for row in ROWS})


_CARD_WORDS: Final = frozenset({"card", "cards", "gpu", "gpus", "vram", "memory", "of"})
_NOISE: Final = ("nvidia", "geforce", "amd", "radeon", "intel", "apple", "instinct", "graphics", "tesla", "quadro")


def normalise(text: str) -> str:
    """A name without vendor words, spaces, dashes and case: `NVIDIA GeForce RTX 4090` and `rtx4090` are one.

    Sizes keep their digits only (`80 GB`, `80gib` and `80g` are `80gb`); a leading `rtx`, `gtx` or `rx` is kept.
    """
    name = text.lower()
    for word in _NOISE:
        name = name.replace(word, " ")
    name = "".join(ch for ch in name if ch.isalnum())
    return name.replace("gib", "gb").replace("laptopgpu", "laptop")


@functools.cache
def _index() -> Mapping[str, str]:
    """Every spelling of every row. A name without its `rtx`/`gtx`/`rx` (`4090`) works where it is not ambiguous."""
    names: dict[str, str] = {}
    short: dict[str, set[str]] = {}
    for name, row in GPUS.items():
        for spelling in (name, *row.aliases):
            key = normalise(spelling)
            names[key] = name
            for prefix in ("rtx", "gtx", "rx"):
                if key.startswith(prefix):
                    short.setdefault(key[len(prefix) :], set()).add(name)
    for key, owners in short.items():
        if len(owners) == 1 and (len(key) == 4 or not key.isdigit()):
            names.setdefault(key, next(iter(owners)))
    return MappingProxyType(names)


def find_gpu(text: str) -> GpuModel:
    """The registry's row for a name. Raises InspectorError, with the nearest names as a hint."""
    names = _index()
    key = normalise(text)
    if key in names:
        return GPUS[names[key]]
    from difflib import get_close_matches

    starts = [names[n] for n in names if key and n.startswith(key)]
    near = list(dict.fromkeys(starts + [names[n] for n in get_close_matches(key[:64], names, n=6, cutoff=0.6)]))[:4]
    raise InspectorError(
        f"no GPU called {text!r} is known here",
        hint=f"a size has a unit: {key}G"
        if key.isdecimal()
        else (f"did you mean {', '.join(near)}? " if near else "") + "a size works too: 24GiB",
    )


def split_count(text: str) -> tuple[int, str]:
    """`2xrtx3090`, `2 x RTX 3090`, `2*24GiB` → (2, rest)."""
    stripped = text.strip()
    if normalise(stripped) in _index():
        return 1, stripped  # 7900xtx is a card, not 7,900 of them
    digits = stripped[: len(stripped) - len(stripped.lstrip("0123456789"))]
    rest = stripped[len(digits) :].lstrip()
    if digits and rest[:1].lower() in {"x", "*", "×"} and rest[1:].strip():
        return int(digits[:6]), rest[1:].strip()
    return 1, stripped


def _without_words(text: str) -> str:
    """`24 GB card`, `24GB of VRAM` without what says that it is a card."""
    words = text.split()
    while len(words) > 1 and words[-1].lower() in _CARD_WORDS:
        words.pop()
    return " ".join(words)


def is_shop_gpu(text: str) -> bool:
    """Whether `--gpu` was given a size as shops write it: `24G`, `2x24GB`."""
    what = _without_words(split_count(text)[1])
    return _sized(what) is not None and is_shop_size(what)


def _sized(text: str) -> Gpu | None:
    """A bare size as a CUDA card, which reserves what a card of that size does."""
    text = _without_words(text)
    compact = text.replace(" ", "")
    if (
        not compact.isascii()
        or not compact[:1].isdigit()
        or not compact.rstrip("bBiIkKmMgGtT").replace(".", "").replace(",", "").isdigit()
    ):
        return None
    if compact.isdigit() and int(compact[:20]) < MIB:
        return None  # `4090` is a name, 25769803776 is a size
    nbytes = parse_nbytes(text)
    if nbytes <= 0:
        raise InspectorError(f"a GPU of {text!r} holds nothing")
    if nbytes >> 63:
        raise InspectorError(f"a GPU of {text!r}: more than 64 bits can address")
    return Gpu(
        name=format_nbytes(nbytes), capacity=nbytes, reserve=hidden(nbytes), context=context(nbytes), sized=True,
        note="a size given by hand", context_low=context_range(nbytes)[0],
    )  # fmt: skip


def parse_gpu(text: str) -> tuple[Gpu, ...]:
    """What `--gpu` was given: a name, a count of a name (`2xrtx3090`), a size (`24GiB`, `24 GB card`), `auto`, `none`.

    Bytes; GB and G are GiB, as cards are sold. Raises InspectorError: an unknown name, with near matches.
    """
    if text.strip().lower() in _WORDS:
        return detect_gpus() if text.strip().lower() == "auto" else ()
    count, what = split_count(text)
    if not 1 <= count <= MAX_GPUS:
        raise InspectorError(f"{text!r}: {count} GPUs", hint=f"1 to {MAX_GPUS}")
    gpu = _sized(what)
    if gpu is None:
        model = find_gpu(what)
        gpu = model.as_gpu()
        count *= model.devices
    if count == 1:
        return (gpu,)
    return tuple(gpu.replace(name=f"{gpu.name} #{i}") for i in range(count))


def parse_gpus(texts: Sequence[str]) -> tuple[Gpu, ...]:
    """What several `--gpu` were given; `none`, the CPU alone, goes with no other. Raises InspectorError."""
    if len(texts) > 1 and any(text.strip().lower() == "none" for text in texts):
        raise InspectorError("--gpu none is the CPU alone: leave the others out")
    return tuple(gpu for text in texts for gpu in parse_gpu(text))


def under(gpu: Gpu, backend: str) -> Gpu:
    """A device driven by another back end: no context of CUDA's own; an RPC server's size is what it offers."""
    if backend == gpu.backend:
        return gpu
    reserve = 0 if gpu.sized and backend == "rpc" else gpu.reserve + gpu.context
    return gpu.replace(
        backend=backend, reserve=reserve, context=0, context_low=0, reserve_low=least_runtime(backend)
    )  # fmt: skip


def named_gpus(text: str) -> tuple[Gpu, ...]:
    """What INSPECTOR_GPU says that this machine has: what `--gpu` takes, but `auto`. Raises InspectorError."""
    if text.strip().lower() == "auto":
        raise InspectorError("INSPECTOR_GPU=auto says nothing", hint="name a GPU, or unset it")
    return parse_gpu(text)


def apple_gpus() -> tuple[Gpu, ...]:
    """The GPU of Apple silicon: what Metal lets one process wire down of the memory that is there; else nothing."""
    import os

    from inspector.memory.devices.machine import host_total

    if os.uname().machine != "arm64" or not (unified := host_total()):
        return ()
    note = f"of {format_nbytes(unified)} that it shares with the CPU"
    total_mib = apple_working_set(unified) // MIB
    return (GpuModel("Apple GPU", "Apple", total_mib, note, backend="metal", unified=True).as_gpu(),)


def detect_gpus() -> tuple[Gpu, ...]:
    """The GPUs of this machine with the memory that is free now: NVML or `nvidia-smi`, Apple silicon, INSPECTOR_GPU.

    Raises InspectorError when none answers.
    """
    import os
    import sys

    from inspector.memory.devices.machine import nvml_devices

    if named := os.environ.get("INSPECTOR_GPU"):
        gpus = named_gpus(named)
    elif sys.platform == "darwin":
        gpus = apple_gpus()
    else:
        gpus = _cuda_devices(nvml_devices() or _from_smi())
    if not gpus:
        raise InspectorError(
            "no GPU was found on this machine",
            hint="name one (--gpu rtx4090), give a size (--gpu 24G) or the CPU alone (--gpu none)",
        )
    return gpus


def _cuda_devices(found: list[tuple[str, int, int]]) -> tuple[Gpu, ...]:
    return tuple(
        Gpu(
            name=f"{name} #{i}" if len(found) > 1 else name,
            capacity=free,
            context=context(total),
            context_low=context_range(total)[0],
            note=f"{format_nbytes(free)} free now of {format_nbytes(total)}",
        )
        for i, (name, total, free) in enumerate(found)
    )


def parse_smi(text: str) -> list[tuple[str, int, int]]:
    """`nvidia-smi --query-gpu=name,memory.total,memory.free --format=csv,noheader,nounits` → (name, total, free).

    Bytes. Lines that are not three fields with two whole numbers of MiB are passed over.
    """
    found = []
    for line in text.splitlines()[:MAX_GPUS]:
        fields = [field.strip() for field in line.rsplit(",", 2)]
        if len(fields) == 3 and all(f.isascii() and f.isdigit() and len(f) < 12 for f in fields[1:]):
            found.append((fields[0], int(fields[1]) * MIB, int(fields[2]) * MIB))
    return found


def _from_smi() -> list[tuple[str, int, int]]:
    import subprocess

    query = ["nvidia-smi", "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return parse_smi(done.stdout)


def apple_working_set(unified: int) -> int:
    """Bytes of unified memory that Metal lets one process wire down by default (recommendedMaxWorkingSetSize).

    Two thirds below 36 GiB, three quarters from there: the least that `llama.cpp` prints on machines of each size.
    macOS does not document it, newer releases let a process have more, and `sysctl iogpu.wired_limit_mb` moves it.
    """
    return unified * 2 // 3 if unified < 36 * GIB else unified * 3 // 4


def gpu_rows() -> list[dict[str, Any]]:
    """The registry as plain rows, sizes in bytes."""
    return [
        {
            "name": row.name,
            "vendor": row.vendor,
            "nbytes": row.capacity,
            "reserve_nbytes": row.reserve,
            "context_nbytes": row.context,
            "reported": row.reported,
            "source": row.source,
            "aliases": list(row.aliases),
            "backend": row.backend,
            "compute_capability": row.compute_capability or None,
            "unified": row.unified,
            "devices": row.devices,
        }
        for row in GPUS.values()
    ]
