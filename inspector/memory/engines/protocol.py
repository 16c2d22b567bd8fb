"""What an engine is: names, release, the options it takes, its estimate, what `fit` may choose, what people type.

An engine is one object of a class like this one, in a module that loads nothing but its rows: command lines are built
from them. Its rules are loaded when they are asked for. Adding one: its package, and its row in engines/__init__.py.
"""

from __future__ import annotations

from inspector.errors import WorkloadError
from inspector.record import Record
from inspector.units import format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
    from typing import Any, Final

    from inspector.facts import ModelFacts
    from inspector.memory.breakdown import LayerRow
    from inspector.memory.estimate import Estimate, Gpu, Placement, Workload
    from inspector.memory.fit.records import Ask, Candidate, Choice
    from inspector.memory.fit.spaces import Space

# What `Workload(options=…)` may hold whatever the engine: token pruning, a window, whether --outputs was typed.
COMMON: Final = ("kv_keep", "window", "outputs_asked")

QUANT_HELP: Final = "Weights in this format, like Q4_K_M: as llama-quantize would write them, or params × bits."


class Option(Record):
    """One option of an engine: in Python by `name`, on the command line by `flags` (none: in Python only).

    `kind`: "flag", "count" (1 or more), "number" (-1 or more), "real", "tokens", "nbytes", "share", "choice", "text" or
    "record" (no text says it: in Python only); `choices`: words that a "choice" takes; `metavar`: what a "text" stands
    for in the help;
    `help`: one sentence, `{default}` in it is the engine's `default`. `argument`: it is an argument of the engine's own
    estimate, else one of the workload's options. `commands`: those of ours that take it.
    """

    name: str
    kind: str
    help: str = ""
    flags: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    metavar: str | None = None
    default: Any = None
    argument: bool = False
    commands: tuple[str, ...] = ("memory", "fit")


class Engine:
    """A run-time. `rules`: the module whose `estimate` holds what release `release` does; `aliases`: other names.

        `kv_types`: the cache types that `fit` tries, finest first; `page_kv_types`: those that pages offer, and
    `page_kv_pairs` where keys and values differ; `page_seqs`: sequences at once that they offer (0: the default);
    `by_layer`: cards hold whole layers. `quantizer`: the program that makes smaller files for it, `converter`: the
    one that makes its files of checkpoints, `verifier`: the one that prints its figures without a run; "" where
    there is none. `on_cpu`: `fit` answers for a CPU alone. `quants_by_bits`: a quant by name is so many bits a
    parameter, not a file. `margin`: bytes that it keeps free on a device by itself, and that `fit` leaves there
    unless told otherwise. `context_step`: tokens that its contexts grow by.
    """

    name: str = ""
    aliases: tuple[str, ...] = ()
    release: str = ""
    rules: str = ""
    options: tuple[Option, ...] = ()
    kv_types: tuple[str, ...] = ("auto",)
    page_kv_types: tuple[str, ...] = ("auto", "fp8")
    page_seqs: tuple[int, ...] = (0, 4, 16)
    page_kv_pairs: tuple[tuple[str, str], ...] = ()
    by_layer: bool = False
    quantizer: str = ""
    converter: str = ""
    verifier: str = ""
    on_cpu: bool = False
    quants_by_bits: bool = False
    margin: int = 0
    context_step: int = 1

    # --- options

    def option(self, name: str) -> Option | None:
        """The option of this name; None where the engine has none."""
        return next((o for o in self.options if o.name == name), None)

    def check(self, names: Iterable[str]) -> None:
        """Raises WorkloadError, with the nearest names that there are, for an option that this engine does not take."""
        known = {o.name for o in self.options}
        for name in names:
            if name not in known and name not in COMMON:
                raise WorkloadError(f"{self.name} has no option {name!r}", hint=_nearest(name, sorted(known)))

    def settle(self, workload: Workload, options: Mapping[str, Any]) -> tuple[Workload, dict[str, Any]]:
        """(the workload, the arguments of the engine's own estimate), wherever the options were given.

        What is given as an argument counts before the workload's. Raises WorkloadError for an unknown option.
        """
        extra = dict(workload.options or {})
        self.check((*options, *extra))
        own = {o.name for o in self.options if o.argument}
        arguments = {name: value for name, value in (*extra.items(), *options.items()) if name in own}
        added = {name: value for name, value in options.items() if name not in own and value is not None}
        return (workload.replace(options={**extra, **added}) if added else workload), arguments

    # --- memory

    def loaded(self, facts: ModelFacts, arguments: Mapping[str, Any]) -> ModelFacts:  # noqa: ARG002
        """The model in the form that the engine loads: what estimates and `fit` are made of."""
        return facts

    def run(self, facts: ModelFacts, workload: Workload, **arguments: Any) -> Estimate:
        """By the engine's own rules."""
        from importlib import import_module

        found: Estimate = import_module(self.rules).estimate(facts, workload, **arguments)
        return found

    def estimate(
        self, facts: ModelFacts, workload: Workload, *, placement: Placement | None = None, **options: Any
    ) -> Estimate:
        """What running this model would cost; what is not known may be what does not fit.

        Raises WorkloadError where the engine would refuse, or for an option that it does not take.
        """
        workload, arguments = self.settle(workload, options)
        if placement is not None:
            arguments["placement"] = placement
        result = self.run(facts, workload, **arguments)
        if not result.unknown:
            return result
        devices = tuple(d.replace(fits=d.fits and None) for d in result.devices)
        return result.replace(devices=devices, notes=(*result.notes, *_bound(facts, workload, result)))

    def layer_rows(
        self,
        facts: ModelFacts,
        workload: Workload,
        arguments: Mapping[str, Any],  # noqa: ARG002
        placement: Placement,  # noqa: ARG002
    ) -> list[LayerRow]:
        """The cache layer by layer: the tokens kept, before the engine rounds them to anything."""
        from inspector.memory.breakdown import plain_rows

        return plain_rows(facts, workload)

    def placed(self, placement: Placement) -> Placement:
        """Where the engine puts the model, of what was asked for. Raises WorkloadError for an unknown device."""
        return placement

    # --- tables

    def on_card(self, gpu: Gpu) -> tuple[Hashable, int]:  # noqa: ARG002
        """(what figures on a card depend on besides its size, the bytes of overhead that are this very card's)."""
        return (), 0

    def many(self, facts: ModelFacts, memo: dict[Any, Any]) -> Callable[[Workload, Placement], Estimate]:  # noqa: ARG002
        """The estimate of this model for hundreds of settings. `memo`: shared by all forms of it."""
        return lambda workload, placement: self.estimate(facts, workload, placement=placement)

    def costly(self, facts: ModelFacts) -> bool:  # noqa: ARG002
        """Whether an estimate takes so long that tables must do with fewer."""
        return False

    # --- fit

    def space(self, candidate: Candidate, ask: Ask, memo: dict[Any, Any]) -> Space:  # noqa: ARG002
        """What there is to choose: everything on the devices, in one way. `memo`: kept for one search."""
        from inspector.memory.fit.spaces import Space

        return Space(candidate, ask, estimate=self.estimate, kv_types=self.kv_types)

    def refuses(self, gpu: Gpu) -> str:  # noqa: ARG002
        """Why it would not run on this card; "" where nothing is known against it."""
        return ""

    def served(self, workload: Workload) -> Workload:
        """The workload as the engine's server runs it: what `fit` looks for."""
        return workload

    def remarks(self, choices: Sequence[Choice], gpus: Sequence[Gpu]) -> Iterable[str]:  # noqa: ARG002
        """What one must know to type the command lines of these choices as they are."""
        return ()

    def command(self, choice: Choice) -> list[str] | None:  # noqa: ARG002
        """The words to type to run a choice; None where the engine has no command line."""
        return None

    def words(self, settings: Mapping[str, Any]) -> list[str]:
        """The engine's own settings as people type them; a switch has no value."""
        words: list[str] = []
        for name, value in settings.items():
            option = self.option(name)
            if option is not None and option.kind != "record" and value is not None and value is not False:
                flag = option.flags[0] if option.flags else f"--{name.replace('_', '-')}"
                words += [flag, *([] if value is True else [str(value)])]
        return words

    def memory_words(self, choice: Choice) -> list[str]:
        """The words after `inspector memory TARGET` that give a choice's estimate again."""
        w = choice.workload
        words = ["--engine", self.name, "-c", str(w.n_ctx)]
        words += ["-np", str(w.n_seqs)] if w.n_seqs is not None else []
        words += ["--kv-cache-dtype", w.kv_dtype_k] if w.kv_dtype_k else []
        words += self.words({**(w.options or {}), **choice.arguments})
        words += common_words(w)
        return words + ([] if choice.placement.kv_offload else ["--no-kv-offload"])


def common_words(workload: Workload) -> list[str]:
    """What was asked of the cache whatever the engine, as people type it."""
    options = workload.options or {}
    keep, window = options.get("kv_keep"), options.get("window")
    words = [] if keep is None else ["--kv-keep", keep if isinstance(keep, str) else "+".join(map(str, keep))]
    return words + ([] if window is None else ["--window", str(window)])


def _nearest(name: str, known: list[str]) -> str:
    from difflib import get_close_matches

    if not known:
        return "it has none of its own"
    near = get_close_matches(name.lower().replace("-", "_"), known, n=2)
    return "did you mean " + " or ".join(near) + "?" if near else "one of " + ", ".join(known)


def _bound(facts: ModelFacts, workload: Workload, result: Estimate) -> tuple[str, ...]:
    """What layers of an unknown kind would keep as plain attention over every token: the most that attention keeps."""
    from inspector.layers import UnknownCache

    n = sum(isinstance(c, UnknownCache) for layer in facts.layers for c in layer.caches)
    n_ctx = result.effective.get("n_ctx") or result.effective.get("max_model_len")
    if facts.n_kv_heads and facts.head_dim_k and facts.head_dim_v:
        width = facts.n_kv_heads * (facts.head_dim_k + facts.head_dim_v)
    else:  # keys and values of all heads together are as wide as the model, where heads are not stated
        width = 2 * (facts.d_model or 0)
    nbytes = n * (n_ctx or 0) * (workload.n_seqs or 1) * width * 2
    if not nbytes:
        return ()
    return (f"the {n} layers of unknown kind would keep at most {format_nbytes(nbytes)} as plain attention in f16",)
