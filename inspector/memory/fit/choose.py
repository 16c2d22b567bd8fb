"""What would fit: the best settings of the best candidate on given devices, found over the engines' own estimates.

Every answer is checked with the engine's estimate; nothing is read of a model but its facts.
"""

from __future__ import annotations

import itertools

from inspector.errors import InspectorError, WorkloadError
from inspector.memory.devices.placement import device_names
from inspector.memory.engines import engine_of, space_of
from inspector.memory.fit.records import Choice, Fit, Lack
from inspector.memory.fit.search import last_fit
from inspector.memory.fit.smallest import smallest_gpu
from inspector.memory.fit.spaces import Space
from inspector.memory.predicted import needs_imatrix
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Final

    from inspector.facts import ModelFacts
    from inspector.memory.fit.records import Ask, Attempt, Candidate

DEFAULT_CONTEXT: Final = 32768  # asked for where nothing is asked and the model was trained for as much
LEAST_CONTEXT: Final = 4096  # a context that nobody fixed gives way down to here


class Option(Record):
    """A corner of the search: one candidate, cache type and level of offloading, at the asked context or below it."""

    space: Space
    kv: int
    level: int
    as_asked: bool

    @property
    def level_name(self) -> str:
        """ "all", "experts", "layers", "tight"."""
        return self.space.levels[self.level]


def _weight_on_host(option: Option) -> int:
    """What is not all on the devices is slow by its size: smaller is better, down to the smallest quant wanted."""
    c = option.space.candidate
    if option.level_name not in {"experts", "layers"}:
        return 0
    return -c.nbytes if c.above_floor is False else c.nbytes


# name: (what is wanted, in words; how far an option is from it: smaller is better)
CRITERIA: Final[Mapping[str, tuple[str, Callable[[Option], float]]]] = {
    "layers": ("no layers on the host", lambda o: o.level_name == "layers"),
    "floor": ("{floor} or finer", lambda o: o.space.candidate.above_floor is False),
    "context": ("the context wanted", lambda o: not o.as_asked),
    "kv8": ("8 bits of cache", lambda o: o.space.kv_bits(o.kv) < 8),
    "host": ("nothing on the host", lambda o: o.level_name != "all"),
    "lean": ("less on the host", _weight_on_host),
    "quant": ("larger quant", lambda o: -o.space.candidate.nbytes),
    "length": ("longer context", lambda o: 0 if o.as_asked else -o.kv),
    "kv": ("finer cache", lambda o: o.kv),
}
# criteria that an option meets or does not
WISHES: Final = ("layers", "floor", "context", "kv8", "host", "kv")
# what people may name in --prefer: the criteria that it brings to the front
PREFERENCES: Final[Mapping[str, tuple[str, ...]]] = {
    "offload": ("layers", "host"), "quant": ("quant",), "context": ("context",), "kv": ("kv",),
}  # fmt: skip


def order_of(prefer: Sequence[str]) -> tuple[str, ...]:
    """All criteria, most important first. Raises InspectorError for a preference that there is not."""
    first: list[str] = []
    for name in prefer:
        if name not in PREFERENCES:
            raise InspectorError(f"no preference {name!r}", hint="one of " + ", ".join(PREFERENCES))
        first += PREFERENCES[name]
    return tuple(dict.fromkeys((*first, *CRITERIA)))


def asked_context(facts: ModelFacts, ask: Ask) -> int | None:
    """The context to aim at. None: the model names none and none was asked for."""
    if ask.n_ctx is not None:
        return ask.n_ctx
    trained = facts.n_ctx_train
    return trained if ask.longest or trained is None else min(trained, DEFAULT_CONTEXT)


def options_in_order(spaces: Iterable[Space], ask: Ask) -> list[Option]:
    """Every corner of the search, best first."""
    order = order_of(ask.prefer)
    found = []
    for space in spaces:
        asked = asked_context(space.candidate.facts, ask) or 0
        contexts = (True,) if ask.n_ctx is not None or asked <= LEAST_CONTEXT else (True, False)
        found += [
            Option(space, kv, level, as_asked)
            for level in range(len(space.levels))
            for kv in range(len(space.kvs))
            for as_asked in contexts
        ]
    return sorted(found, key=lambda o: tuple(CRITERIA[name][1](o) for name in order))


def _settle(option: Option, ask: Ask) -> tuple[int, Attempt] | None:
    """The context of an option and its best attempt; None where it does not fit."""
    space, level, kv = option.space, option.level_name, option.kv
    asked = asked_context(space.candidate.facts, ask)
    if asked is None:
        raise WorkloadError("the model does not say what context it was trained for", hint="give one with -c")
    if option.as_asked:
        found = space.attempt(asked, kv, level)
        return (asked, found) if found.excess <= 0 else None
    step = space.step
    tries: dict[int, Attempt] = {}

    def excess(n: int) -> int:
        tries[n] = space.attempt(n * step, kv, level)
        return tries[n].excess

    last = last_fit(LEAST_CONTEXT // step, (asked - 1) // step, excess)
    return None if last is None else (last * step, tries[last])


def _longest(space: Space, kv: int, n_ctx: int, attempt: Attempt) -> tuple[int, bool]:
    """The longest context that the same placement holds, and whether it is all that the model was trained for."""
    step = space.step
    cap = max((space.candidate.facts.n_ctx_train or 0) // step * step, n_ctx)

    def excess(n: int) -> int:
        return space.excess(space.workload(n * step, kv), attempt.placement, attempt.arguments)

    last = last_fit(-(-n_ctx // step), cap // step, excess)
    largest = n_ctx if last is None else max(last * step, n_ctx)
    return largest, largest >= cap


def _choice(option: Option, ask: Ask, best: Candidate) -> Choice | None:
    settled = _settle(option, ask)
    if settled is None:
        return None
    n_ctx, attempt = settled
    space, placement, arguments = option.space, attempt.placement, attempt.arguments
    workload = space.workload(n_ctx, option.kv)
    result = space.estimate(workload, placement, arguments)
    headroom = space.room(result, arguments)
    if any(n < 0 for n in headroom.values()):
        return None  # the fast sums were too low: what the engine's own estimate says counts
    largest, capped = _longest(space, option.kv, n_ctx, attempt)
    return Choice(
        candidate=space.candidate, n_ctx=n_ctx, kv=space.kvs[option.kv], level=option.level_name, workload=workload,
        placement=placement, arguments=arguments, estimate=result, headroom=headroom,
        gave_way=tuple(_gave_way(option, n_ctx, attempt, ask=ask, best=best)), largest_ctx=largest,
        capped=capped, kv_rank=option.kv,
    )  # fmt: skip


def _gave_way(option: Option, n_ctx: int, attempt: Attempt, *, ask: Ask, best: Candidate) -> Iterable[str]:
    """What this choice has less of than one could wish, in words."""
    space = option.space
    if space.candidate.nbytes < best.nbytes and space.candidate.label != best.label:
        yield f"{space.candidate.label} instead of {best.label}"
    if space.candidate.above_floor is False:
        yield f"coarser than {ask.floor}"
    if space.candidate.base is not None and needs_imatrix(space.candidate.label):
        yield "to be made with an importance matrix"
    asked = asked_context(space.candidate.facts, ask)
    if asked is not None and n_ctx < asked:
        yield f"context {n_ctx:,} instead of {asked:,}"
    if option.kv:
        yield f"cache {space.kvs[option.kv]} instead of {space.kvs[0]}"
    yield from space.concessions(attempt.placement, attempt.arguments)


_RANKS: Final = {"all": 0, "tight": 1, "experts": 1, "layers": 2}  # how much of a level lies where it is slower


class Merits(Record):
    """What choices of one candidate are compared by: in every field more is better."""

    speed: int  # less of the model where it is slower
    cache: int  # finer
    n_ctx: int
    n_gpu_layers: int
    gpu_experts: int  # fewer layers whose experts are on the host
    largest_ctx: int

    def covers(self, other: Merits, *, grows: bool = True) -> bool:
        """At least as good in everything. A faster one need not be able to grow as far as what has more on the host.

        `grows`: it matters how far the context can be raised, since nobody fixed it.
        """
        names = ("speed", "cache", "n_ctx") if self.speed > other.speed else self._fields
        names = names if grows else tuple(name for name in names if name != "largest_ctx")
        return all(getattr(self, name) >= getattr(other, name) for name in names)


def merits(choice: Choice) -> Merits:
    """The merits of a choice."""
    p = choice.placement
    return Merits(
        speed=-_RANKS[choice.level], cache=-choice.kv_rank, n_ctx=choice.n_ctx, n_gpu_layers=p.n_gpu_layers or 0,
        gpu_experts=-p.n_cpu_moe, largest_ctx=choice.largest_ctx,
    )  # fmt: skip


def is_beaten(choice: Choice, others: Iterable[Choice], *, grows: bool = True) -> bool:
    """Whether another choice of the same candidate is at least as good in everything."""
    mine = merits(choice)
    return any(other.candidate is choice.candidate and merits(other).covers(mine, grows=grows) for other in others)


def _is_idle(option: Option, chosen: Iterable[Choice], ask: Ask) -> bool:
    """Whether an earlier choice of the candidate has what this option can give at best."""
    asked = asked_context(option.space.candidate.facts, ask) or 0
    rank = _RANKS[option.level_name]
    return any(
        c.candidate is option.space.candidate
        and c.n_ctx >= asked
        and c.kv_rank <= option.kv
        and (_RANKS[c.level] < rank or (not option.as_asked and _RANKS[c.level] == rank))
        for c in chosen
    )


class Selection:
    """The choices taken so far out of all options, which are in order, best first. Each option is settled once."""

    def __init__(self, options: Sequence[Option], ask: Ask, settle: Callable[[Option], Choice | None]) -> None:
        self.options = options
        self.ask = ask
        self._settle = settle
        self._settled: dict[int, Choice | None] = {}
        self._chosen: dict[int, Choice] = {}

    @property
    def choices(self) -> list[Choice]:
        """What was taken, best first."""
        return [self._chosen[i] for i in sorted(self._chosen)]

    @property
    def is_full(self) -> bool:
        """Whether there are as many as were asked for."""
        return len(self._chosen) >= self.ask.most

    def take(self, wanted: Callable[[Option], bool]) -> bool:
        """Takes the first option like this that fits and that nothing taken beats; whether there was one."""
        for i, option in enumerate(self.options):
            if i in self._chosen or not wanted(option) or _is_idle(option, self._chosen.values(), self.ask):
                continue
            if i not in self._settled:
                self._settled[i] = self._settle(option)
            choice = self._settled[i]
            if choice is not None and not is_beaten(choice, self._chosen.values(), grows=self.ask.n_ctx is None):
                self._chosen[i] = choice
                return True
        return False

    def misses(self, wish: str) -> bool:
        """Whether nothing that was taken meets this wish."""
        return all(not _meets(self.options[i], wish) for i in self._chosen)

    def has(self, candidate: Candidate) -> bool:
        """Whether a form of the model was taken."""
        return any(c.candidate is candidate for c in self._chosen.values())


def _meets(option: Option, wish: str) -> bool:
    return CRITERIA[wish][1](option) <= 0


def select(found: Selection, *, one_each: bool) -> list[Choice]:
    """The best; then, for each wish that nothing yet meets, the best that does; then the next best, up to `most`.

    `one_each`: the next best are of candidates that have no choice yet.
    """
    if not found.take(lambda _: True):
        return []
    for wish in WISHES:
        if not found.is_full and found.misses(wish):
            found.take(lambda option, wish=wish: _meets(option, wish))  # type: ignore[misc]
    more = True
    while more and not found.is_full:
        more = found.take(lambda option: not (one_each and found.has(option.space.candidate)))
    return found.choices


def fit(candidates: Sequence[Candidate], ask: Ask) -> Fit:
    """The best few choices among these candidates, in the order of preference that `ask` gives.

    With several candidates one choice each; with one, those that are better than the others in something.
    Raises WorkloadError where the engine refuses every setting, or something that decides is not known.
    """
    if not candidates:
        raise InspectorError("nothing to choose from")
    ask = ask.replace(gpus=tuple(g.replace(name=n) for g, n in zip(ask.gpus, device_names(ask.gpus), strict=True)))
    spaces, refusals = _spaces(candidates, ask)
    largest = {model_of(c): c for c in sorted((s.candidate for s in spaces), key=lambda c: c.nbytes)}
    best = max(largest.values(), key=lambda c: c.nbytes)
    found = Selection(
        options_in_order(spaces, ask), ask, lambda o: _choice(o, ask, largest[model_of(o.space.candidate)])
    )
    choices = select(found, one_each=len(spaces) > 1)
    lack = None if choices else _least(spaces, ask)
    return Fit(
        choices=tuple(choices),
        order=tuple(_order_words(spaces, ask)),
        n_candidates=len(candidates),
        models=tuple(c.stem for c in largest.values()) if len(largest) > 1 else (),
        n_ctx_asked=asked_context(best.facts, ask),
        lack=lack,
        smallest_gpu=smallest_gpu(choices[0] if choices else lack, ask),
        notes=(
            *dict.fromkeys(f"{e}" for e in refusals),
            *_beyond(best.facts, ask),
            *(f"weights of {part} are not counted: no rule gives their size" for part in best.facts.uncounted),
            *engine_of(ask.engine).remarks(choices, ask.gpus),
        ),
    )


def model_of(candidate: Candidate) -> tuple[object, ...]:
    """What tells models apart, whatever they are quantised to."""
    facts = candidate.facts
    return facts.arch, facts.n_params, len(facts.layers), facts.vocab_size


def _order_words(spaces: Sequence[Space], ask: Ask) -> Iterable[str]:
    """What comes before what, in words, without what no option of this engine and these candidates differs in."""
    levels = {level for s in spaces for level in s.levels}
    moot = set() if levels & {"experts", "layers"} else {"layers", "host", "lean"}
    moot |= set() if any(s.candidate.above_floor is not None for s in spaces) else {"floor"}
    return (CRITERIA[name][0].format(floor=ask.floor) for name in order_of(ask.prefer) if name not in moot)


def _spaces(candidates: Iterable[Candidate], ask: Ask) -> tuple[list[Space], list[WorkloadError]]:
    """The space of each candidate that the engine takes, and why it takes no others. Raises that where none is."""
    memo: dict[Any, Any] = {}
    spaces, refusals = [], []
    for candidate in candidates:
        try:
            spaces.append(space_of(candidate, ask, memo))
        except WorkloadError as error:
            refusals.append(error)
    if not spaces:
        raise refusals[0]
    return spaces, refusals


def _beyond(facts: ModelFacts, ask: Ask) -> Iterable[str]:
    trained = facts.n_ctx_train
    if ask.n_ctx is not None and trained is not None and ask.n_ctx > trained:
        yield f"{ask.n_ctx:,} tokens are more than the {trained:,} that the model was trained for"


def _least(spaces: Iterable[Space], ask: Ask) -> Lack:
    """The attempt that misses by least, with everything given way that may."""
    found = []
    for space in spaces:
        asked = asked_context(space.candidate.facts, ask) or LEAST_CONTEXT
        n_ctx = asked if ask.n_ctx is not None else min(asked, LEAST_CONTEXT)
        # the coarsest cache is not always the least: a device may need f16 copies of it
        for level, kv in itertools.product(space.levels, range(len(space.kvs))):
            missing = space.lacking(n_ctx, kv, level)
            found.append(Lack(space.candidate, n_ctx, space.kvs[kv], level, missing, space.workload(n_ctx, kv)))
    return min(found, key=lambda lack: sum(lack.missing.values()))
