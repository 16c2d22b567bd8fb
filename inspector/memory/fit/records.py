"""What passes between the parts of `fit`: what is asked, what there is to choose from, and what was chosen."""

from __future__ import annotations

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Estimate, Gpu, Placement, Workload

DEFAULT_FLOOR: Final = "Q4_K_M"


class Candidate(Record):
    """One form of the model: label, facts, the file or folder, and `hub`: what it is called on the Hub, if it is there.

    `hypothetical`: no such file exists yet; `options`: engine arguments that make it this form (textbook's `quant`);
    `base`: the form that it would be quantised from; `source`: the target that it would be converted from; `nbytes`: of
    its weights. `above_floor`: at least as fine as the smallest quant wanted (None: not judged).
    """

    label: str
    facts: ModelFacts
    path: str
    nbytes: int
    hypothetical: bool = False
    options: Mapping[str, Any] | None = None
    above_floor: bool | None = None
    hub: str = ""
    base: Candidate | None = None
    source: str = ""

    @property
    def stem(self) -> str:
        """The name of its file or folder, or what it is called on the Hub."""
        return (self.path.rstrip("/").rpartition("/")[2] or self.hub or self.label).removesuffix(".gguf")


class Ask(Record):
    """What is wanted; None leaves the choice to the search.

    `n_ctx`: exactly this context; `longest`: as long as the model was trained for, or what fits of it. `offload`:
    whether layers or experts may stay on the host. `host`: bytes of host memory (None: no limit); `margin`: bytes to
    leave free on every device.
    `overrides`, `experts_first`: as a placement's. `prefer`: criteria that come before all others. `arguments` are the
    engine's own.
    """

    gpus: tuple[Gpu, ...]
    engine: str
    n_ctx: int | None = None
    longest: bool = False
    workload: Workload | None = None
    n_gpu_layers: int | None = None
    n_cpu_moe: int | None = None
    tensor_split: tuple[float, ...] | None = None
    tensor_parallel: int | None = None
    overrides: tuple[tuple[str, str], ...] = ()
    experts_first: bool = False
    kv_offload: bool = True
    offload: bool = True
    host: int | None = None
    margin: int = 0
    prefer: tuple[str, ...] = ()
    most: int = 5
    floor: str = DEFAULT_FLOOR
    arguments: Mapping[str, Any] | None = None


class Choice(Record):
    """Settings that fit. `headroom`: bytes left on each device after its reserve and the margin.

    `largest_ctx`: the longest context with everything else as it is (`capped`: the model was trained for no more).
    """

    candidate: Candidate
    n_ctx: int
    kv: str
    level: str
    workload: Workload
    placement: Placement
    arguments: Mapping[str, Any]
    estimate: Estimate
    headroom: Mapping[str, int]
    gave_way: tuple[str, ...]
    largest_ctx: int
    capped: bool
    kv_rank: int = 0


class Lack(Record):
    """The most economical attempt, and by how many bytes it misses on each device."""

    candidate: Candidate
    n_ctx: int
    kv: str
    level: str
    missing: Mapping[str, int]
    workload: Workload


class Fit(Record):
    """The answer: the best choices in order, or what is missing. `order`: what came before what, in words.

    `smallest_gpu`: the smallest device of the registry that runs the first choice (or the least attempt) by itself.
    `models`: names of a file of each, where the candidates are of several models.
    """

    choices: tuple[Choice, ...]
    order: tuple[str, ...]
    n_candidates: int
    n_ctx_asked: int | None
    lack: Lack | None = None
    smallest_gpu: Gpu | None = None
    models: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether anything fits."""
        return bool(self.choices)


class Attempt(Record):
    """A placement, the engine's arguments with it, and the bytes that the fullest device misses (0 or less: fits)."""

    placement: Placement
    arguments: Mapping[str, Any]
    excess: int
