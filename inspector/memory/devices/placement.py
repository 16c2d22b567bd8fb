"""Which layer goes to which device, by llama.cpp's rules.

Sources (b11434): `llama_model_base::load_tensors` (src/llama-model.cpp) for layers, `create_tensor`
(src/llama-model-loader.cpp) for overrides, `llama_prepare_model_devices` (src/llama.cpp) for which devices are used,
common/common.h for what `--n-cpu-moe` overrides.
"""

from __future__ import annotations

import re

from inspector.errors import WorkloadError
from inspector.memory.estimate import Device
from inspector.record import Record
from inspector.units import GIB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Final

    from inspector.memory.estimate import Gpu, Line, Placement

HOST: Final = "host"
FIT_TARGET: Final = GIB  # what llama.cpp leaves free on each device (fit_params_target, common/common.h, b11434)
# LLM_FFN_EXPS_REGEX of common/common.h: the routed experts of one block
EXPERTS: Final = r"\.ffn_(up|down|gate|gate_up)_(ch|)exps"
ALL_LAYERS: Final = 1 << 16  # more than any model has: what --cpu-moe means to --n-cpu-moe
# back ends that call no GPU integrated, whatever memory it has (their get_type in ggml/src/)
_NEVER_INTEGRATED: Final = frozenset(("metal", "rpc"))


class Assignment(Record):
    """Where everything lies. `blocks`: a device for each block; `output`: that of the output layer.

    `overrides`: compiled patterns, the first that is found in a tensor's name decides. `backends`: the name of each
    device's back end; `op_offload`: whether devices may take work over from the host.
    """

    blocks: tuple[str, ...]
    output: str
    kv_offload: bool
    devices: tuple[str, ...]
    overrides: tuple[tuple[re.Pattern[str], str], ...] = ()
    n_offloaded: int = 0
    backends: tuple[str, ...] = ()
    op_offload: bool = True

    def backend_of(self, device: str) -> str:
        """The name of a device's back end; the host's is the CPU's."""
        return self.backends[self.devices.index(device)] if device in self.devices else "cpu"

    def weight_device(self, name: str, layer: int | str) -> str:
        """The device of a tensor; the input layer never leaves the host, blocks of a head lie with the output."""
        for pattern, device in self.overrides:
            if pattern.search(name):
                return device
        if layer == "output" or (isinstance(layer, int) and 0 < len(self.blocks) <= layer):
            return self.output
        return self.block_device(layer) if isinstance(layer, int) else HOST

    def block_device(self, layer: int) -> str:
        """The device of a block."""
        return self.blocks[layer] if 0 <= layer < len(self.blocks) else HOST

    def cache_device(self, layer: int) -> str:
        """The device of a block's cache: its own, unless caches stay on the host."""
        return self.block_device(layer) if self.kv_offload else HOST

    def block_devices(self) -> tuple[str, ...]:
        """All devices that hold a block, each once."""
        return tuple(dict.fromkeys(self.blocks))


def assign(placement: Placement, n_layers: int) -> Assignment:
    """Devices of `n_layers` blocks and of the output layer, which counts as one more. Raises WorkloadError."""
    names = device_names(placement.gpus)
    n_gpu = n_layers + 1 if placement.n_gpu_layers is None or placement.n_gpu_layers < 0 else placement.n_gpu_layers
    start = max(n_layers + 1 - n_gpu, 0)
    n_active = min(n_gpu, n_layers + 1) if names else 0
    shares = _shares(placement, len(names))
    where = [_device(i, start, n_active, names, shares) for i in range(n_layers + 1)]
    return Assignment(
        blocks=tuple(where[:-1]),
        output=where[-1],
        kv_offload=placement.kv_offload,
        devices=names,
        overrides=_overrides(placement, names, n_layers),
        n_offloaded=n_active,
        backends=tuple(gpu.backend for gpu in placement.gpus),
        op_offload=placement.op_offload,
    )


def visible(placement: Placement) -> Placement:
    """The placement over the devices that llama.cpp uses of those there are: `devices`, then one of them alone.

    Overrides keep the devices that they name. Raises WorkloadError for a device that there is not.
    """
    names, gpus = device_names(placement.gpus), placement.gpus
    used = _without_integrated(gpus)
    idle = tuple(name for i, name in enumerate(names) if i not in used) if placement.devices is None else ()
    if placement.devices is not None:
        used = tuple(_number(name, names) for name in placement.devices)
        if len(set(used)) < len(used):
            raise WorkloadError("the same device twice in -dev")
    if placement.split_mode == "none" and used:
        if placement.main_gpu >= len(used):
            raise WorkloadError(f"no main GPU {placement.main_gpu}", hint=f"there are {len(used)}, from 0")
        used = (used[placement.main_gpu],) if placement.main_gpu >= 0 else ()
    if used == tuple(range(len(gpus))):
        return placement
    return _over(placement, used, names).replace(idle=(*placement.idle, *idle))


def _without_integrated(gpus: tuple[Gpu, ...]) -> tuple[int, ...]:
    """Numbers of the devices that are used by themselves: integrated ones where there is no other GPU.

    `llama_prepare_model_devices` (src/llama.cpp): RPC servers do not count as others.
    """
    integrated = [gpu.unified and gpu.backend not in _NEVER_INTEGRATED for gpu in gpus]
    discrete = any(gpu.backend != "rpc" and not own for gpu, own in zip(gpus, integrated, strict=True))
    return tuple(i for i, own in enumerate(integrated) if not (own and discrete))


def _over(placement: Placement, used: tuple[int, ...], names: tuple[str, ...]) -> Placement:
    """The placement over these devices alone, under the names that they have among all."""
    gpus = placement.gpus
    kept = tuple(gpus[i].replace(name=names[i]) for i in used)
    rules = tuple((pattern, device_named(device, names)) for pattern, device in placement.overrides)
    for _, device in rules:
        if device != HOST and device not in {gpu.name for gpu in kept}:
            raise WorkloadError(f"-ot names {device}, which is not in use")
    split = placement.tensor_split  # one device alone shares with nobody
    split = None if placement.split_mode == "none" else split
    return placement.replace(
        gpus=kept, overrides=rules, devices=None, split_mode="layer", main_gpu=0, tensor_split=split
    )


def _number(device: str, names: tuple[str, ...]) -> int:
    found = device_named(device, names)
    if found == HOST:
        raise WorkloadError(f"{device!r} is no device to offload to", hint="-dev none is the CPU alone")
    return names.index(found)


def device_names(gpus: Iterable[Gpu]) -> tuple[str, ...]:
    """A name for each device; those of one kind are told apart by a number."""
    names = [gpu.name for gpu in gpus]
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, -1) + 1
        out.append(f"{name}#{seen[name]}" if names.count(name) > 1 else name)
    return tuple(out)


def numbered_by_speed(gpus: Iterable[Gpu]) -> bool:
    """Whether CUDA would number these devices by their speed, which is not known here: they are not of one kind."""
    return are_unlike(gpu for gpu in gpus if gpu.backend in {"cuda", "rocm"})


def are_unlike(gpus: Iterable[Gpu]) -> bool:
    """Whether these devices are of several kinds, by their names without a number."""
    return len({re.sub(r" ?#\d+$", "", gpu.name) for gpu in gpus}) > 1


def _device(i: int, start: int, n_active: int, names: tuple[str, ...], shares: tuple[float, ...]) -> str:
    if i < start or i - start >= n_active:
        return HOST
    position = _float32((i - start) / n_active)
    return next((name for name, share in zip(names, shares, strict=True) if position < share), names[-1])


def _float32(value: float) -> float:
    """The nearest single-precision number: llama.cpp compares split points in it."""
    import struct

    result: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return result


def _shares(placement: Placement, n_devices: int) -> tuple[float, ...]:
    """Where each device's part ends, from 0 to 1: by --tensor-split, else by capacity."""
    parts = placement.tensor_split or ()
    if len(parts) > max(n_devices, 1):
        raise WorkloadError(f"a split in {len(parts)} for {n_devices} devices")
    if any(p < 0 or p != p or p == float("inf") for p in parts):  # noqa: PLR0124 - not a number
        raise WorkloadError("a split is made of positive numbers")
    if not any(parts):
        parts = tuple(map(_free, placement.gpus))
    parts = tuple(parts) + (0.0,) * (n_devices - len(parts))
    total, ends = 0.0, []
    for part in parts:
        total = _float32(total + _float32(part))
        ends.append(total)
    return tuple(_float32(end / total) if total else 1.0 for end in ends)


def _free(gpu: Gpu) -> float:
    """What llama.cpp finds free; a size given by hand is taken at its word."""
    return float(gpu.capacity - (0 if gpu.sized else gpu.reserve + gpu.context))


def _overrides(placement: Placement, names: tuple[str, ...], n_layers: int) -> tuple[tuple[re.Pattern[str], str], ...]:
    """--override-tensor in the order given, before or after --n-cpu-moe."""
    rules = [*placement.overrides]
    experts = [(rf"blk\.{i}{EXPERTS}", HOST) for i in range(min(placement.n_cpu_moe, n_layers))]
    rules = [*experts, *rules] if placement.experts_first else [*rules, *experts]
    compiled = []
    for pattern, device in rules:
        try:
            compiled.append((re.compile(pattern), device_named(device, names)))
        except re.error as error:
            raise WorkloadError(f"not a pattern: {pattern!r} ({error})") from None
    return tuple(compiled)


def device_named(device: str, names: tuple[str, ...]) -> str:
    """A device by its name here, by llama.cpp's (CPU, CUDA1, …) or by its number."""
    if device in names:
        return device
    if device.upper() in {"CPU", "HOST"}:
        return HOST
    digits = device[len(device.rstrip("0123456789")) :]
    if digits and int(digits) < len(names):
        return names[int(digits)]
    raise WorkloadError(f"no device {device!r}", hint="one of " + ", ".join((HOST, *names)))


def host_memory(gpus: Iterable[Gpu], names: Iterable[str]) -> str:
    """The device whose memory is the host's as well, by name; else the host."""
    return next((name for gpu, name in zip(gpus, names, strict=True) if gpu.unified), HOST)


def growing_memory(gpus: Iterable[Gpu], names: Iterable[str]) -> str | None:
    """Whose limit holds what grows on the host after load; None: nobody's that is known.

    A Metal device's capacity is what a process may map for the GPU, and no limit of what else it has.
    """
    gpus = tuple(gpus)
    host = host_memory(gpus, names)
    return None if host != HOST and any(gpu.unified and gpu.backend == "metal" for gpu in gpus) else host


def device_totals(lines: Iterable[Line], gpus: tuple[Gpu, ...], *, unknown: bool = False) -> tuple[Device, ...]:
    """What each device holds, and whether that leaves its reserve free; with unknown parts only a "no" is certain.

    What lies on the host counts on the device that shares the host's memory, where there is one.
    """
    names = device_names(gpus)
    host = host_memory(gpus, names)
    used: dict[str, int] = dict.fromkeys(names if host != HOST else (HOST, *names), 0)
    below: dict[str, int] = {}
    for line in lines:
        device = host if line.device == HOST else line.device
        used[device] = used.get(device, 0) + line.nbytes
        below[device] = below.get(device, 0) + line.nbytes - line.least
    limits: Mapping[str, Gpu] = dict(zip(names, gpus, strict=True))
    found = (_total(name, nbytes, limits.get(name), unknown=unknown) for name, nbytes in used.items())
    return tuple(d.replace(low=d.used - below[d.device]) if below.get(d.device) else d for d in found)


def _total(name: str, used: int, gpu: Gpu | None, *, unknown: bool) -> Device:
    if gpu is None:
        return Device(name, None, used, None)
    fits = used <= gpu.capacity - gpu.reserve
    return Device(
        name, gpu.capacity, used, None if fits and unknown else fits, gpu.reserve, gpu.backend, unified=gpu.unified,
        reserve_low=gpu.reserve_low,
    )  # fmt: skip
