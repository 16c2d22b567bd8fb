"""What an estimate is made of: a workload, lines with grades, and their sum."""

from __future__ import annotations

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Annotated, Any, Final

# Weakest last. exact: read from the file. derived: the engine's own rule, verified byte for byte.
# modelled: an approximation whose measured error is published.
GRADES: Final = ("exact", "derived", "modelled")


def weakest(grades: Iterable[str]) -> str:
    """The weakest of these grades; "exact" of none."""
    return GRADES[max(map(GRADES.index, grades), default=0)]


WHATS: Final = ("weights", "kv_cache", "recurrent_state", "compute", "output", "overhead")
OUTPUTS: Final = ("all", "last")

if TYPE_CHECKING:
    Grade = Annotated[
        str,
        ("enum", GRADES),
        "exact: read from the file; derived: the engine's own rule, checked byte for byte; modelled: an approximation",
    ]
    What = Annotated[str, ("enum", WHATS)]
    Outputs = Annotated[str, ("enum", OUTPUTS)]
    Peak = Annotated[int, "What storage holds for a moment, where that differs"]
    Low = Annotated[int, "The least that is plausible, where the size is a range; the figure beside it is the most"]


class Workload(Record):
    """What the user wants to run. None means the engine's own default.

    `n_ctx` means what the engine means by it: llama.cpp's total over all sequences, one sequence's tokens elsewhere.
    Dtypes are names ("f16", "q8_0", "fp8", …); `outputs`: "all" rows of logits (llama-cli) or the "last" of each
    sequence (llama-server). `backend`: those of the devices in llama.cpp, once an estimate names them.
    """

    n_ctx: int | None = None
    n_seqs: int | None = None
    n_batch: int | None = None
    n_ubatch: int | None = None
    kv_dtype_k: str | None = None
    kv_dtype_v: str | None = None
    flash_attn: bool | None = None
    kv_unified: bool | None = None
    swa_full: bool = False
    outputs: Outputs = "all"
    options: Mapping[str, Any] | None = None
    backend: str | None = None


class Line(Record):
    """One part of an estimate: what it is for, bytes, grade, how it came about, and the device it lies on.

    `peak_nbytes`: what storage holds for a moment, where that differs; `label` tells lines of one kind apart. `low`:
    the least that is plausible, where the size is a range: `nbytes` is then its safe end, which sums and verdicts use.
    """

    what: What
    nbytes: int
    grade: Grade
    how: str
    device: str = "host"
    label: str = ""
    peak_nbytes: Peak | None = None
    low: Low | None = None

    @property
    def least(self) -> int:
        """The lower end of a range; the size itself where it is none."""
        return self.nbytes if self.low is None else self.low


def ranged(lines: Iterable[Line]) -> int:
    """How many bytes the lower ends of these lines' ranges are below their safe ends; 0 where all sizes are known."""
    return sum(line.nbytes - line.least for line in lines)


def lowest(used: int, lines: Iterable[Line]) -> int | None:
    """The lower end of what these lines take, `used` being the safe end; None where no line is a range."""
    below = ranged(lines)
    return used - below if below else None


class Device(Record):
    """One device's verdict: capacity in bytes (None: not asked), bytes used, and whether they fit.

    `reserve`: bytes of the capacity that the runtime takes for itself and the verdict leaves free, `reserve_low` the
    least that it may be, where that is a range. `backend`: what drives it; `unified`: the host's memory is the same,
    and what lies there is counted here. `low`: the least bytes used, where sizes of lines are ranges; `used` and the
    verdict take their safe ends.
    """

    device: str
    capacity: int | None
    used: int
    fits: bool | None
    reserve: int = 0
    backend: str | None = None
    unified: bool = False
    low: Low | None = None
    reserve_low: Low | None = None

    @property
    def usable(self) -> int | None:
        """What of it a model may take."""
        return None if self.capacity is None else self.capacity - self.reserve

    @property
    def spare(self) -> int | None:
        """What is left of that; negative: what is missing."""
        return None if self.usable is None else self.usable - self.used


class Estimate(Record):
    """An engine's answer. `unknown` names the parts that cannot be known, which the total does not include.

    `brief`: those of the notes that say in a few words how it is laid out.
    """

    engine: str
    workload: Workload
    effective: Mapping[str, Any]
    lines: tuple[Line, ...]
    devices: tuple[Device, ...] = ()
    notes: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    brief: tuple[str, ...] = ()

    @property
    def total_nbytes(self) -> int:
        """Always the sum of the lines, ranges by their safe ends."""
        return sum(line.nbytes for line in self.lines)

    @property
    def total_low(self) -> int:
        """The sum of the lines' lower ends; the total itself where no size is a range."""
        return self.total_nbytes - ranged(self.lines)

    @property
    def grade(self) -> str:
        """The weakest grade of its lines; "modelled" when a part is unknown."""
        if self.unknown:
            return GRADES[-1]
        return weakest(line.grade for line in self.lines)

    @property
    def fits(self) -> bool | None:
        """False when any device is full, None when no device was asked for or a part is unknown."""
        verdicts = [d.fits for d in self.devices if d.fits is not None]
        if False in verdicts:
            return False
        return True if verdicts and not self.unknown else None


class Gpu(Record):
    """A device to place things on: bytes as its driver reports them, and what of them no model can use.

    `reserve`: bytes that programs never see (`reserve_low`: the least, where that is a range); `context`: what CUDA
    takes for a process, on top, the most that cards of this size show, and `context_low` the least. `backend`: what
    drives it (llama.cpp's are in `inspector.memory.engines.llamacpp.backends`); `unified`: its memory is the host's;
    `compute_capability`: NVIDIA's ("8.9"), or empty; `sized`: a size given by hand, of no card in particular.
    """

    name: str
    capacity: int
    reserve: int = 0
    note: str = ""
    backend: str = "cuda"
    unified: bool = False
    compute_capability: str = ""
    context: int = 0
    sized: bool = False
    context_low: int = 0
    reserve_low: int | None = None


class Placement(Record):
    """What goes where. Empty `gpus`: everything on the host.

    `n_gpu_layers` counts as llama.cpp does (the output layer is the last; negative: all of them); `overrides`:
    (tensor-name regex, device), after those of `n_cpu_moe` where `experts_first`; `tensor_parallel`: ranks that
    split every layer (vLLM). `op_offload`: devices may take large batches over weights that lie on the host (off:
    --no-op-offload). llama.cpp's `split_mode` is "none" (only the GPU of number `main_gpu`), "layer", "row" or
    "tensor"; `devices`: those of `gpus` that it uses, in this order, by name or number ("CUDA1"); empty: none,
    None: all. `idle`: devices that it leaves alone by itself. `load_mode` changes no size.
    """

    gpus: tuple[Gpu, ...] = ()
    n_gpu_layers: int | None = None
    tensor_split: tuple[float, ...] | None = None
    n_cpu_moe: int = 0
    overrides: tuple[tuple[str, str], ...] = ()
    experts_first: bool = False
    kv_offload: bool = True
    op_offload: bool = True
    tensor_parallel: int = 1
    split_mode: str = "layer"
    main_gpu: int = 0
    devices: tuple[str, ...] | None = None
    load_mode: str = "auto"
    idle: tuple[str, ...] = ()
