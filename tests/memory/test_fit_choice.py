"""How fit chooses: the order, what is dropped, the rounds, limits met exactly; expectations worked out here."""

from __future__ import annotations

import pytest
from cuda_rows import facts_of as facts_of_header

from inspector.checkpoint import open_checkpoint
from inspector.errors import WorkloadError
from inspector.facts import ModelFacts, read_facts
from inspector.layers import KVCache, Layer
from inspector.memory.devices.gpu_table import ROWS
from inspector.memory.devices.gpus import GPUS, parse_gpu
from inspector.memory.engines import estimate
from inspector.memory.estimate import Device, Estimate, Gpu, Line, Placement, Workload
from inspector.memory.fit.choose import (
    Merits,
    Selection,
    asked_context,
    fit,
    is_beaten,
    options_in_order,
    select,
)
from inspector.memory.fit.records import Ask, Candidate, Choice
from inspector.memory.fit.spaces import Space
from inspector.units import MIB

ASK = Ask(gpus=(Gpu("g", 1 << 40),), engine="textbook")
FIXED = ASK.replace(n_ctx=8192)


def model(n_ctx_train: int | None = 8192, **changes) -> ModelFacts:
    layers = tuple(Layer(i, "full", (KVCache(8, 128, 128),), 8, 128, 128) for i in range(4))
    return ModelFacts(
        arch="llama", format="safetensors", n_params=100_000_000, n_params_active=None, n_layers=4, d_model=4096,
        d_ff=14336, n_heads=32, n_kv_heads=8, head_dim_k=128, head_dim_v=128, vocab_size=128256,
        n_ctx_train=n_ctx_train, layers=layers, origin={}, dtype="bfloat16",
    ).replace(**changes)  # fmt: skip


def by_weight(facts, workload, *, placement=None, **_) -> Estimate:
    """An engine whose model takes a byte a token."""
    devices = tuple(Device(g.name, g.capacity, workload.n_ctx, None) for g in (placement or Placement()).gpus)
    return Estimate("bytes", workload, {}, (Line("kv_cache", workload.n_ctx, "derived", ""),), devices)


class Levels(Space):
    """A space with places that are slower and slower."""

    def __init__(self, candidate, ask, levels=("all", "experts", "layers"), kv_types=("f16", "q4_0")) -> None:
        super().__init__(candidate, ask, estimate=by_weight, kv_types=kv_types)
        self.levels = tuple(levels)


def form(label: str = "Q", nbytes: int = 8, above_floor: bool | None = None, facts=None) -> Candidate:
    return Candidate(label, facts or model(), f"{label}.gguf", nbytes, above_floor=above_floor)


def named(option) -> str:
    kv = option.space.kvs[option.kv]
    return f"{option.space.candidate.label} {option.level_name} {kv} {'asked' if option.as_asked else 'below'}"


def choice(option, **changes) -> Choice:
    values = dict(
        candidate=option.space.candidate, n_ctx=8192, kv=option.space.kvs[option.kv], level=option.level_name,
        workload=Workload(n_ctx=8192), placement=Placement(), arguments={}, estimate=by_weight(None, Workload(n_ctx=1)),
        headroom={}, gave_way=(), largest_ctx=8192, capped=True, kv_rank=option.kv,
    )  # fmt: skip
    return Choice(**{**values, **changes})


# --- the order


@pytest.mark.parametrize(
    ("prefer", "order"),
    [
        # by default: no layers on the host, then the context, then 8 bits of cache
        ((), ("all-f16-asked all-q4-asked all-f16-below all-q4-below "
             "layers-f16-asked layers-q4-asked layers-f16-below layers-q4-below")),
        (("offload",), ("all-f16-asked all-q4-asked all-f16-below all-q4-below "
                       "layers-f16-asked layers-q4-asked layers-f16-below layers-q4-below")),
        (("context",), ("all-f16-asked all-q4-asked layers-f16-asked layers-q4-asked "
                       "all-f16-below all-q4-below layers-f16-below layers-q4-below")),
        (("kv",), ("all-f16-asked all-f16-below layers-f16-asked layers-f16-below "
                  "all-q4-asked all-q4-below layers-q4-asked layers-q4-below")),
        (("kv", "context"), ("all-f16-asked layers-f16-asked all-f16-below layers-f16-below "
                            "all-q4-asked layers-q4-asked all-q4-below layers-q4-below")),
        (("context", "kv"), ("all-f16-asked layers-f16-asked all-q4-asked layers-q4-asked "
                            "all-f16-below layers-f16-below all-q4-below layers-q4-below")),
    ],
)  # fmt: skip
def test_options_come_in_the_order_of_what_is_preferred(prefer, order):
    ask = ASK.replace(prefer=prefer)
    space = Levels(form(), ask, levels=("all", "layers"))
    seen = [named(o).replace("Q ", "").replace("q4_0", "q4").replace(" ", "-") for o in options_in_order([space], ask)]
    assert seen == order.split()


@pytest.mark.parametrize(
    ("prefer", "first"),
    [((), "fine all f16"), (("quant",), "huge all f16")],
)
def test_a_coarse_quant_gives_way_to_a_finer_and_a_larger_comes_before(prefer, first):
    ask = FIXED.replace(prefer=prefer)
    forms = [
        form("coarse", 4, above_floor=False),
        form("fine", 8, above_floor=True),
        form("huge", 16, above_floor=False),
    ]
    seen = [named(o) for o in options_in_order([Levels(c, ask, levels=("all",)) for c in forms], ask)]
    assert seen[0].startswith(first)
    assert len(seen) == 3 * 2


def test_on_the_host_the_smaller_is_first_down_to_the_floor_and_below_it_the_larger():
    ask = FIXED
    forms = [form(name, n, above_floor=above) for name, n, above in
             [("a", 16, True), ("b", 8, True), ("c", 4, False), ("d", 2, False)]]  # fmt: skip
    spaces = [Levels(c, ask, levels=("layers",), kv_types=("f16",)) for c in forms]
    assert [o.space.candidate.label for o in options_in_order(spaces, ask)] == ["b", "a", "c", "d"]


# --- what is beaten


@pytest.mark.parametrize(
    ("one", "other", "covers"),
    [
        ((0, 0, 8192, 33, 0, 9000), (0, 0, 8192, 33, 0, 9000), True),
        ((0, 0, 8192, 33, 0, 9000), (0, 0, 8192, 33, 0, 9001), False),  # the other could grow further
        ((0, 0, 8192, 33, 0, 9000), (-1, 0, 8192, 33, -8, 90000), True),  # but not when more of it is on the host
        ((0, 0, 8191, 33, 0, 9000), (-1, 0, 8192, 33, -8, 8192), False),
        ((0, -1, 8192, 33, 0, 9000), (-1, 0, 8192, 33, -8, 8192), False),
        ((-1, 0, 8192, 33, 0, 9000), (0, 0, 8192, 33, 0, 9000), False),
        ((-2, 0, 8192, 20, 0, 9000), (-2, 0, 8192, 21, 0, 9000), False),
        ((-1, 0, 8192, 33, -3, 9000), (-1, 0, 8192, 33, -2, 9000), False),
        ((-1, 0, 8192, 33, -2, 9000), (-1, 0, 8192, 33, -3, 9000), True),
    ],
)
def test_merits_cover_what_is_no_better_in_anything(one, other, covers):
    assert Merits(*one).covers(Merits(*other)) is covers


def test_only_a_choice_of_the_same_candidate_beats():
    ask = FIXED
    mine, other = (options_in_order([Levels(form(n), ask)], ask)[0] for n in "ab")
    assert is_beaten(choice(mine), [choice(mine)])
    assert not is_beaten(choice(mine), [choice(other)])
    assert not is_beaten(choice(mine), [])


def test_a_beaten_choice_is_dropped_and_one_that_is_better_in_something_stays():
    space = Levels(form(), FIXED, levels=("all", "experts"), kv_types=("f16", "q8_0"))
    options = options_in_order([space], FIXED)
    assert [named(o) for o in options] == [
        "Q all f16 asked", "Q all q8_0 asked", "Q experts f16 asked", "Q experts q8_0 asked",
    ]  # fmt: skip
    short = {"Q all f16 asked": 4096}  # shorter than was asked for: nothing is idle beside it
    long = {"Q experts f16 asked": 5000}
    lengths = {**dict.fromkeys(map(named, options), 4096), **short, **long}
    found = Selection(options, FIXED, lambda o: choice(o, n_ctx=lengths[named(o)]))
    kept = select(found, one_each=False)
    assert [(c.level, c.kv, c.n_ctx) for c in kept] == [("all", "f16", 4096), ("experts", "f16", 5000)]


# --- the rounds


def settle_those(fitting, calls):
    def settle(option):
        calls.append(named(option))
        return choice(option) if named(option) in fitting else None

    return settle


def test_first_the_best_then_what_keeps_each_wish_and_nothing_is_tried_twice():
    space = Levels(form(), FIXED)
    options = options_in_order([space], FIXED)
    assert [named(o).removesuffix(" asked") for o in options] == [
        "Q all f16", "Q experts f16", "Q all q4_0", "Q experts q4_0", "Q layers f16", "Q layers q4_0",
    ]  # fmt: skip
    calls: list[str] = []
    everything = {named(o) for o in options} - {"Q all f16 asked"}
    kept = select(Selection(options, FIXED, settle_those(everything, calls)), one_each=False)
    # nothing on the host is a wish that the best does not meet; the others have no more of anything than these two
    assert [(c.level, c.kv) for c in kept] == [("experts", "f16"), ("all", "q4_0")]
    assert calls == ["Q all f16 asked", "Q experts f16 asked", "Q all q4_0 asked"]


def test_with_several_candidates_each_gets_one_and_no_more_than_the_most():
    forms = [form("coarse", 4, above_floor=False), form("fine", 8, above_floor=True)]
    options = options_in_order([Levels(c, FIXED, kv_types=("f16",)) for c in forms], FIXED)
    fitting = {"coarse all f16 asked", "coarse experts f16 asked", "fine layers f16 asked"}
    for most, expected in [(1, ["coarse all"]), (5, ["coarse all", "fine layers"])]:
        found = Selection(options, FIXED.replace(most=most), settle_those(fitting, []))
        assert [f"{c.candidate.label} {c.level}" for c in select(found, one_each=True)] == expected


def test_after_the_wishes_the_next_best_candidates_follow():
    forms = [form(f"q{n}", n, above_floor=True) for n in (8, 7, 6, 5)]
    options = options_in_order([Levels(c, FIXED, levels=("all",), kv_types=("f16",)) for c in forms], FIXED)
    fitting = {named(o) for o in options}
    found = Selection(options, FIXED.replace(most=3), settle_those(fitting, []))
    assert [c.candidate.label for c in select(found, one_each=True)] == ["q8", "q7", "q6"]


def test_nothing_that_fits_is_no_choice():
    options = options_in_order([Levels(form(), FIXED)], FIXED)
    assert select(Selection(options, FIXED, lambda _: None), one_each=False) == []


# --- the default context


@pytest.mark.parametrize(
    ("trained", "ask", "expected"),
    [
        (131072, ASK, 32768), (32768, ASK, 32768), (32769, ASK, 32768), (8192, ASK, 8192), (None, ASK, None),
        (131072, ASK.replace(longest=True), 131072), (None, ASK.replace(longest=True), None),
        (8192, ASK.replace(n_ctx=10_000), 10_000), (None, ASK.replace(n_ctx=777), 777),
        (131072, ASK.replace(n_ctx=100, longest=True), 100),
    ],
)  # fmt: skip
def test_the_context_to_aim_at(trained, ask, expected):
    assert asked_context(model(trained), ask) == expected


def test_a_model_that_names_no_context_runs_at_the_engines_own_default_or_not_at_all():
    facts = model(None)
    # vLLM: config/model.py; llama.cpp has nothing to go by
    assert estimate(facts, Workload(), engine="vllm").effective["max_model_len"] == 2048
    assert estimate(facts, Workload(), engine="transformers").effective["n_ctx"] == 2048
    with pytest.raises(WorkloadError, match="what context it was trained for"):
        estimate(facts, Workload(), engine="llama.cpp")
    with pytest.raises(WorkloadError, match="what context it was trained for"):
        fit([form(facts=facts)], ASK)


# --- limits that are met exactly


def test_what_fills_vllms_budget_to_the_byte_fits():
    options = {"gpu_memory_utilization": 0.5, "max_num_batched_tokens": 2048, "max_num_seqs": 8}

    def on(capacity: int) -> Device:
        placement = Placement(gpus=(Gpu("g", capacity),))
        return estimate(model(), Workload(), engine="vllm", placement=placement, **options).devices[0]

    need = on(1 << 40).used
    assert (on(2 * need).used, on(2 * need).fits) == (need, True)
    assert on(2 * need - 1).fits is False  # half of it, rounded down, is a byte less


@pytest.mark.parametrize("engine", ["textbook", "transformers"])
def test_what_fills_a_device_to_the_byte_fits(engine):
    def on(capacity: int) -> Device:
        return estimate(model(), Workload(), engine=engine, placement=Placement(gpus=(Gpu("g", capacity),))).devices[0]

    need = on(on(1 << 40).used).used  # what a runtime takes depends on the card
    assert [on(need - 1).fits, on(need).fits, on(need + 1).fits] == [False, True, True]


@pytest.mark.parametrize("margin", [0, 12345])
def test_what_leaves_exactly_the_margin_is_a_choice_and_a_byte_less_is_none(margin):
    placement = Placement(gpus=(Gpu("g", 1 << 40),))
    need = estimate(model(), Workload(n_ctx=8192), engine="textbook", placement=placement).devices[0].used
    ask = FIXED.replace(workload=Workload(kv_dtype_k="f16", kv_dtype_v="f16"), margin=margin)
    exact = fit([form()], ask.replace(gpus=(Gpu("g", need + margin),)))
    assert [dict(c.headroom) for c in exact.choices] == [{"g": 0}]
    short = fit([form()], ask.replace(gpus=(Gpu("g", need + margin - 1),)))
    assert not short.fits
    assert dict(short.lack.missing) == {"g": 1}


def test_llama_cpp_leaves_the_devices_reserve_and_not_a_byte_more(sparse_model):
    facts = read_facts(open_checkpoint(str(sparse_model("llama-3.2-1b"))))
    placement = Placement(gpus=(Gpu("g", 1 << 40),))
    workload = Workload(n_ctx=8192, outputs="last", kv_dtype_k="f16", kv_dtype_v="f16")
    result = estimate(facts, workload, engine="llama.cpp", placement=placement, server=True)
    need = next(d.used for d in result.devices if d.device == "g")
    ask = Ask(gpus=(), engine="llama.cpp", n_ctx=8192, workload=workload, offload=False)
    one = Candidate("Q4_K_M", facts, "m.gguf", 1)
    for capacity, fits in [(need + 500 * MIB, True), (need + 500 * MIB - 1, False)]:
        assert fit([one], ask.replace(gpus=(Gpu("g", capacity, reserve=500 * MIB),))).fits is fits


# --- the smallest device


@pytest.mark.parametrize("n_ctx", [8192, 32768, 65536, 98304, 131072, 262144])
def test_the_smallest_gpu_is_of_any_vendor_but_no_computer_with_memory_of_its_own(sparse_model, n_ctx):
    facts = read_facts(open_checkpoint(str(sparse_model("llama-3-8b"))))
    workload = Workload(outputs="last", kv_dtype_k="f16", kv_dtype_v="f16")
    big = Gpu("g", 1 << 42)
    found = fit([form(facts=facts)], Ask(gpus=(big,), engine="llama.cpp", n_ctx=n_ctx, workload=workload)).smallest_gpu

    def holds(gpu) -> bool:
        placement = Placement(gpus=(gpu,))
        asked = workload.replace(n_ctx=n_ctx)
        return estimate(facts, asked, engine="llama.cpp", placement=placement, server=True).fits is True

    def usable(gpu) -> int:
        return gpu.capacity - gpu.reserve - gpu.context

    cards = [r.as_gpu() for r in GPUS.values() if r.vendor in {"NVIDIA", "AMD", "Intel"}]
    cards = [g for g in cards if not g.name.startswith(("Jetson", "GB10", "Ryzen"))]
    smaller = sorted((g for g in cards if usable(g) < usable(found)), key=usable)
    assert found.name in {g.name for g in cards}
    assert holds(found)
    assert not any(map(holds, smaller[-6:]))


def test_rows_of_all_vendors_are_the_smallest_for_something(sparse_model):
    facts = read_facts(open_checkpoint(str(sparse_model("llama-3-8b"))))
    workload = Workload(outputs="last", kv_dtype_k="f16", kv_dtype_v="f16")
    ask = Ask(gpus=(Gpu("g", 1 << 42),), engine="llama.cpp", workload=workload)
    names = {fit([form(facts=facts)], ask.replace(n_ctx=n)).smallest_gpu.name for n in range(8192, 400_000, 16384)}
    assert {r[1] for r in ROWS if r[0] in names} >= {"NVIDIA", "AMD"}


# --- groups of vLLM's hybrid cache


@pytest.mark.parametrize(
    ("n_full", "n_sliding", "size", "n_groups"),
    [
        (2, 3, 2, 1 + 2),  # 3 is not less than 1.5 × 2: the smaller number is the size of a group
        (3, 4, 4, 2),  # 4 is less than 4.5: the larger, and the short group is padded
        (4, 6, 4, 1 + 2),
        (4, 5, 5, 2),
        (3, 2, 2, 2 + 1),
    ],
)
def test_vllm_pads_groups_only_where_the_larger_is_less_than_half_as_much_again(n_full, n_sliding, size, n_groups):
    """v1/core/kv_cache_utils.py: `max_num_layers < min_num_layers * 1.5`."""
    windows = [None] * n_full + [1024] * n_sliding
    layers = tuple(Layer(i, "full", (KVCache(8, 128, 128, window=w),), 8, 128, 128) for i, w in enumerate(windows))
    effective = estimate(model(layers=layers, n_layers=len(layers)), Workload(), engine="vllm").effective
    page = 16 * 8 * (128 + 128) * 2  # tokens of a block × heads × keys and values × bytes of bfloat16
    assert effective["bytes_per_block"] == size * page
    assert len(effective["groups"]) == n_groups


def test_the_smallest_gpu_is_a_card_that_is_sold_alone():
    """Llama-3.1-70B at 32k takes 52 GiB: a Mac of 64 GiB and a Jetson of 64 would do, and neither is a card to buy."""
    ask = Ask(
        gpus=parse_gpu("h200"), engine="llama.cpp", workload=Workload(outputs="last"), margin=1 << 30, n_ctx=32768
    )
    found = fit([Candidate("Q4_K_M", facts_of_header("llama-3.1-70b"), "m.gguf", 1)], ask).smallest_gpu
    assert found is not None
    assert not found.name.startswith(("M1", "M2", "M3", "M4", "M5", "Jetson", "GB10", "Ryzen"))
