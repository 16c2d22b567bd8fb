from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.checkpoint import open_checkpoint
from inspector.errors import InspectorError, WorkloadError
from inspector.facts import ModelFacts, read_facts
from inspector.layers import KVCache, Layer
from inspector.memory.devices.gpus import GPUS, parse_gpu
from inspector.memory.engines import estimate, space_of, vllm
from inspector.memory.estimate import Gpu, Placement, Workload
from inspector.memory.fit.candidates import hypothetical, judged, weights_nbytes
from inspector.memory.fit.choose import LEAST_CONTEXT, fit, order_of
from inspector.memory.fit.records import Ask, Candidate
from inspector.memory.fit.search import HOPELESS, last_fit
from inspector.memory.predicted import with_mix
from inspector.quantization.mix import QUANT_TARGETS, predict_mix
from inspector.units import GIB, MIB

SERVER = Workload(outputs="last")
KV = ("f16", "q8_0", "q4_0")


def cut(facts: ModelFacts, n: int, **changes) -> ModelFacts:
    """The first `n` layers of a model: small enough to try everything."""
    kept = tuple(t for t in facts.tensors if not t.name.startswith("blk.") or int(t.name.split(".")[1]) < n)
    keys = {**facts.keys, f"{facts.arch}.block_count": n}
    return facts.replace(layers=facts.layers[:n], n_layers=n, tensors=kept, keys=keys, **changes)


@pytest.fixture(scope="session")
def facts_of(sparse_model):
    made = {}

    def read(name: str) -> ModelFacts:
        if name not in made:
            made[name] = read_facts(open_checkpoint(str(sparse_model(name))))
        return made[name]

    return read


def candidate(facts: ModelFacts, label: str = "Q4_K_M", **more) -> Candidate:
    return Candidate(label, facts, f"model-{label}.gguf", weights_nbytes(facts), **more)


def as_quant(facts: ModelFacts, to: str) -> Candidate:
    return candidate(with_mix(facts, predict_mix(facts, to, allow_requantize=True)), to)


def gpu(nbytes: int, name: str = "g") -> Gpu:
    return Gpu(name, nbytes)


# --- the search for a boundary


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=300), st.integers(0, 100_000), st.integers(0, 50))
def test_the_last_that_fits_is_what_counting_finds_in_few_tries(growth, limit, low):
    costs = list(itertools.accumulate(growth))
    tries = []

    def excess(n):
        tries.append(n)
        return costs[n - low] - limit

    found = last_fit(low, low + len(costs) - 1, excess)
    fitting = [low + i for i, cost in enumerate(costs) if cost <= limit]
    assert found == (fitting[-1] if fitting else None)
    assert len(tries) <= 2 + 4 * len(costs).bit_length()


def test_an_even_line_takes_few_tries_and_a_refusal_is_a_limit_like_any_other():
    tries = []

    def excess(n):
        tries.append(n)
        return 1000 * n - 777_777 if n < 5000 else HOPELESS

    assert last_fit(0, 10_000, excess) == 777
    assert len(tries) <= 30
    tries.clear()
    assert last_fit(0, 4999, excess) == 777
    assert len(tries) <= 5
    assert last_fit(5, 4, excess) is None


# --- sums against the engine's own estimate

ARCHS = ["llama-3.2-1b", "mixtral-8x7b", "gemma-3-1b", "deepseek-v2-lite", "falcon-h1-7b", "gpt-oss-20b", "lfm2-1.2b"]


@pytest.mark.parametrize("name", ARCHS)
def test_the_search_adds_up_what_the_engine_estimates_on_every_device(facts_of, name):
    facts = facts_of(name)
    gpus = (gpu(30 * GIB, "a"), gpu(20 * GIB, "b"))
    space = space_of(candidate(facts), Ask(gpus=gpus, engine="llama.cpp", workload=SERVER), {})
    n = space.n_layers
    for ngl, ncmoe, split, kv, n_ctx, offload in [
        (n + 1, 0, None, "f16", 8192, True),
        (n + 1, n // 2, (1.0, 3.0), "q8_0", 5000, True),
        (n // 2, 1, None, "f16", 4096, True),
        (1, n, (0.0, 1.0), "f16", 4096, True),
        (n, 0, None, "f16", 4096, False),
    ]:
        workload = SERVER.replace(n_ctx=n_ctx, kv_dtype_k=kv, kv_dtype_v=kv)
        placement = Placement(gpus=gpus, n_gpu_layers=ngl, n_cpu_moe=ncmoe, tensor_split=split, kv_offload=offload)
        try:
            theirs = estimate(facts, workload, engine="llama.cpp", placement=placement, server=True)
        except WorkloadError:
            assert space.sums.used(workload, placement) is None
            continue
        assert space.sums.used(workload, placement) == {d.device: d.used for d in theirs.devices}, (ngl, ncmoe, split)


# --- answers against trying everything


def everything(candidates, gpus, asked, *, split_counts=False):
    """Every setting of a small grid that fits, with the key that orders them, by the engine's estimates alone."""
    steps = [asked, *range(asked // 256 * 256 - (256 if asked % 256 == 0 else 0), LEAST_CONTEXT - 1, -256)]
    for c, (rank, kv), n_ctx in itertools.product(candidates, enumerate(KV), steps):
        n = len(c.facts.layers)
        moe = any("_exps" in t.name for t in c.facts.tensors)
        places = [(n + 1, m) for m in range(n + 1 if moe else 1)] + [(g, n if moe else 0) for g in range(1, n + 1)]
        for ngl, ncmoe in places:
            plain = Placement(gpus=gpus, n_gpu_layers=ngl, n_cpu_moe=ncmoe)
            ways = [plain]
            if split_counts:
                ways = [plain.replace(tensor_split=(float(i), float(ngl - i))) for i in range(ngl + 1)]
                if ngl > n:  # one of several unlike devices may hold everything
                    ways += [plain.replace(split_mode="none", main_gpu=i) for i in range(len(gpus))]
            for placement in ways:
                workload = SERVER.replace(n_ctx=n_ctx, kv_dtype_k=kv, kv_dtype_v=kv)
                result = estimate(c.facts, workload, engine="llama.cpp", placement=placement, server=True)
                level = "layers" if ngl <= n else "experts" if ncmoe else "all"
                weight = 0 if level == "all" else c.nbytes if c.above_floor is not False else -c.nbytes
                key = (
                    level == "layers", c.above_floor is False, n_ctx < asked, rank == 2, level != "all", weight,
                    -c.nbytes, -rank if n_ctx < asked else 0, rank, -n_ctx, -ngl, ncmoe,
                )  # fmt: skip
                used = dict.fromkeys([g.name for g in gpus], 0) | {d.device: d.used for d in result.devices}
                yield key, (c.label, kv, n_ctx, ngl, ncmoe), used


def settings_of(choice):
    p = choice.placement
    return choice.candidate.label, choice.kv, choice.n_ctx, p.n_gpu_layers, p.n_cpu_moe


@pytest.fixture(scope="session")
def grids(facts_of):
    """name: candidates, the asked context, and everything on one device that has no end."""
    made = {}

    def build(name: str):
        if name not in made:
            base = cut(facts_of("llama-3.2-1b"), 4) if name == "dense" else cut(facts_of("mixtral-8x7b"), 2)
            base = base.replace(n_ctx_train=4864)
            candidates = judged([as_quant(base, to) for to in ("Q8_0", "Q4_K_M", "Q2_K")], None)
            made[name] = candidates, 4864, sorted(everything(candidates, (gpu(1 << 50),), 4864))
        return made[name]

    return build


@pytest.mark.parametrize("name", ["dense", "experts"])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_first_choice_is_the_best_of_everything_there_is(grids, name, data):
    candidates, asked, grid = grids(name)
    sizes = [used["g"] for _, _, used in grid]
    capacity = data.draw(st.integers(min(sizes) - 1, max(sizes) + 1))
    found = fit(candidates, Ask(gpus=(gpu(capacity),), engine="llama.cpp", workload=SERVER))
    best = next((s for _, s, used in grid if used["g"] <= capacity), None)
    assert (settings_of(found.choices[0]) if found.choices else None) == best
    assert found.n_ctx_asked == asked
    for choice in found.choices:
        assert choice.estimate.fits
        assert choice.headroom["g"] == capacity - choice.estimate.devices[1].used
    if not found.fits:
        assert found.lack.missing["g"] == min(sizes) - capacity


@pytest.mark.parametrize("name", ["dense", "experts"])
def test_what_the_user_fixes_stays_fixed_and_the_best_of_the_rest_is_found(grids, name):
    candidates, asked, grid = grids(name)
    capacity = sorted(used["g"] for _, _, used in grid)[len(grid) // 2]
    for fixed, keeps in [
        ({"workload": SERVER.replace(kv_dtype_k="q8_0", kv_dtype_v="q8_0")}, lambda s: s[1] == "q8_0"),
        ({"n_ctx": asked}, lambda s: s[2] == asked),
        ({"n_gpu_layers": 2}, lambda s: s[3] == 2),
        ({"offload": False}, lambda s: s[3] > 2 and s[3] == len(candidates[0].facts.layers) + 1 and s[4] == 0),
    ]:
        ask = Ask(**{"gpus": (gpu(capacity),), "engine": "llama.cpp", "workload": SERVER, **fixed})
        best = next((s for _, s, used in grid if used["g"] <= capacity and keeps(s)), None)
        found = fit(candidates, ask)
        assert (settings_of(found.choices[0]) if found.choices else None) == best, fixed
        assert all(keeps(settings_of(c)) for c in found.choices)


def test_host_memory_is_a_limit_too(grids):
    candidates, _, grid = grids("dense")
    capacity = sorted(used["g"] for _, _, used in grid)[len(grid) // 3]
    for host in sorted({used["host"] for _, _, used in grid})[::400]:
        ask = Ask(gpus=(gpu(capacity),), engine="llama.cpp", workload=SERVER, host=host)
        best = next((s for _, s, used in grid if used["g"] <= capacity and used["host"] <= host), None)
        found = fit(candidates, ask)
        assert (settings_of(found.choices[0]) if found.choices else None) == best


def test_two_devices_are_shared_so_that_it_fits_wherever_some_split_does(facts_of):
    base = cut(facts_of("llama-3.2-1b"), 4).replace(n_ctx_train=4352)
    candidates = judged([as_quant(base, "Q6_K")], None)
    gpus = (gpu(1 << 50, "a"), gpu(1 << 50, "b"))
    grid = sorted(everything(candidates, gpus, 4352, split_counts=True), key=lambda row: row[0])
    sizes = sorted({max(used["a"], used["b"]) for _, _, used in grid})
    for first, second in itertools.product(sizes[:: len(sizes) // 7], repeat=2):
        best = next((s for _, s, used in grid if used["a"] <= first and used["b"] <= second), None)
        ask = Ask(gpus=(gpu(first, "a"), gpu(second, "b")), engine="llama.cpp", workload=SERVER)
        found = fit(candidates, ask)
        assert (settings_of(found.choices[0]) if found.choices else None) == best, (first, second)


def test_the_longest_context_is_the_last_step_that_fits(facts_of):
    facts = facts_of("llama-3.2-1b")
    found = fit([candidate(facts)], Ask(gpus=parse_gpu("4GiB"), engine="llama.cpp", workload=SERVER)).choices[0]
    held = {}
    for n in (found.largest_ctx, found.largest_ctx + 256):
        workload = found.workload.replace(n_ctx=n)
        held[n] = estimate(facts, workload, engine="llama.cpp", placement=found.placement, server=True).fits
    assert list(held.values()) == [True, False]
    assert not found.capped


# --- preferences, candidates, the smallest device


def test_preferences_come_first_and_unknown_ones_are_refused():
    assert order_of(("quant",))[0] == "quant"
    assert sorted(order_of(("kv", "context"))) == sorted(order_of(()))
    with pytest.raises(InspectorError, match="no preference 'speed'"):
        order_of(("speed",))


def test_a_preferred_quant_is_kept_at_the_price_of_layers_on_the_host(facts_of):
    base = facts_of("llama-3.1-70b")
    candidates = judged([as_quant(base, to) for to in ("Q8_0", "Q4_K_M", "IQ2_XXS")], None)
    ask = Ask(gpus=parse_gpu("rtx3090"), engine="llama.cpp", workload=SERVER)
    usual, quant = fit(candidates, ask), fit(candidates, ask.replace(prefer=("quant",)))
    assert (usual.choices[0].candidate.label, usual.choices[0].level) == ("IQ2_XXS", "all")
    assert (quant.choices[0].candidate.label, quant.choices[0].level) == ("Q8_0", "layers")
    # what gave way in the best choice is what another choice keeps
    assert any(c.candidate.label == "Q4_K_M" and c.level == "layers" for c in usual.choices)


def test_the_smallest_quant_wanted_is_judged_by_name_or_weight(facts_of):
    base = facts_of("llama-3.2-1b")
    made = {to: as_quant(base, to) for to in ("Q8_0", "Q5_K_S", "Q4_K_M", "Q4_K_S", "IQ4_XS")}
    assert [c.label for c in judged(list(made.values()), "Q4_K_M")] == ["Q8_0", "Q5_K_S", "Q4_K_M"]
    assert [c.above_floor for c in judged(list(made.values()), None)] == [True, True, True, False, False]
    with pytest.raises(WorkloadError, match="nothing here is Q6_K or finer"):
        judged([made["Q4_K_S"]], "Q6_K")


def test_quants_that_could_be_made_are_smaller_and_weigh_what_llama_quantize_would_make(facts_of):
    base = as_quant(facts_of("llama-3.2-1b"), "Q6_K")
    made = hypothetical(base, ["Q4_K_M"])
    assert "Q4_K_M" not in {c.label for c in made}
    assert {"Q5_K_M", "Q2_K"} <= {c.label for c in made}
    assert all(c.hypothetical and c.nbytes < base.nbytes and c.path == f"model-{c.label}.gguf" for c in made)
    for c in made:
        matrix = QUANT_TARGETS[c.label].needs_imatrix
        assert c.nbytes == predict_mix(base.facts, c.label, imatrix=matrix, allow_requantize=True).nbytes


@pytest.mark.parametrize("name", ["llama-3-8b", "qwen3-30b-a3b"])
def test_the_smallest_gpu_holds_it_and_the_next_smaller_does_not(facts_of, name):
    facts = facts_of(name)
    found = fit([candidate(facts)], Ask(gpus=parse_gpu("h100"), engine="llama.cpp", workload=SERVER))
    workload = found.choices[0].workload

    def holds(row) -> bool:
        placement = Placement(gpus=(row,))
        return estimate(facts, workload, engine="llama.cpp", placement=placement, server=True).fits is True

    usable = found.smallest_gpu.capacity - found.smallest_gpu.reserve
    assert holds(found.smallest_gpu)
    smaller = [row.as_gpu() for row in GPUS.values() if row.capacity - row.reserve < usable and row.vendor == "NVIDIA"]
    assert smaller
    assert not any(holds(g) for g in smaller if not g.name.startswith("Jetson"))


def test_a_margin_is_left_free(facts_of):
    facts = facts_of("llama-3.2-1b")
    ask = Ask(gpus=parse_gpu("4GiB"), engine="llama.cpp", workload=SERVER, longest=True)
    bare = fit([candidate(facts)], ask).choices[0]
    spare = fit([candidate(facts)], ask.replace(margin=1536 * MIB)).choices[0]
    assert spare.headroom["4.00 GiB"] >= 0
    assert spare.estimate.devices[1].used <= 2560 * MIB < bare.estimate.devices[1].used


# --- other engines


def hf_facts(**changes) -> ModelFacts:
    layers = tuple(Layer(i, "full", (KVCache(8, 128, 128),), 8, 128, 128) for i in range(32))
    return ModelFacts(
        arch="llama", format="safetensors", n_params=8_030_261_248, n_params_active=None, n_layers=32, d_model=4096,
        d_ff=14336, n_heads=32, n_kv_heads=8, head_dim_k=128, head_dim_v=128, vocab_size=128256, n_ctx_train=131072,
        layers=layers, origin={}, dtype="bfloat16",
    ).replace(**changes)  # fmt: skip


def test_vllm_gets_the_longest_context_that_its_own_search_finds():
    facts = hf_facts()
    gpus = parse_gpu("rtx3090")
    found = fit(
        [Candidate("BF16", facts, "dir", 2 * facts.n_params)], Ask(gpus=gpus, engine="vllm", longest=True)
    ).choices
    placement = Placement(gpus=gpus)
    by_kv = {(c.kv, c.level): c for c in found}
    usual = by_kv["fp8", "all"]
    workload = Workload(kv_dtype_k="fp8", kv_dtype_v="fp8")
    assert usual.n_ctx == usual.largest_ctx == vllm.max_model_len(facts, workload, placement)
    for c in found:
        over = c.workload.replace(n_ctx=c.n_ctx + 1)
        assert c.estimate.fits
        assert vllm.estimate(facts, over, placement=c.placement, **c.arguments).fits is False


def test_vllm_splits_over_all_gpus_or_over_as_many_as_divide_the_heads():
    facts = hf_facts()
    one = Candidate("BF16", facts, "dir", 2 * facts.n_params)
    both = fit([one], Ask(gpus=parse_gpu("2xrtx3060"), engine="vllm"))
    assert [c.placement.tensor_parallel for c in both.choices][:1] == [2]
    three = fit([one], Ask(gpus=parse_gpu("3xrtx3090"), engine="vllm"))
    assert three.choices[0].placement.tensor_parallel == 2
    assert "2 of 3 GPUs" in " ".join(three.choices[0].gave_way)


def test_what_cannot_be_known_is_refused_not_guessed():
    facts = hf_facts(n_params=None)
    with pytest.raises(WorkloadError, match="not known"):
        fit([Candidate("?", facts, "dir", 0)], Ask(gpus=parse_gpu("h100"), engine="vllm"))


# --- Llama 2 70B on 80 GB: 8K tokens, batch 4


def llama_2_70b() -> ModelFacts:
    layers = tuple(Layer(i, "full", (KVCache(8, 128, 128),), 8, 128, 128) for i in range(80))
    return hf_facts(
        n_params=70_000_000_000, n_layers=80, d_model=8192, d_ff=28672, n_heads=64, vocab_size=32000,
        n_ctx_train=4096, layers=layers,
    )  # fmt: skip


# Activations as the example has them: 10 GB for the 32,768 tokens; no other overhead.
EXAMPLE = {"constant_factor": 10_000_000_000 // 32768, "overhead": 0}


def attempt(quant: str, kv: str, form: str, **more):
    arguments = {**EXAMPLE, "kv_form": form, "quant": quant, "nominal": True, **more}
    workload = Workload(n_ctx=8192, n_seqs=4, kv_dtype_k=kv, kv_dtype_v=kv)
    placement = Placement(gpus=(Gpu("80 GB", 80_000_000_000),))
    return estimate(llama_2_70b(), workload, engine="textbook", placement=placement, **arguments)


def part(result, what: str) -> int:
    return sum(line.nbytes for line in result.lines if line.what == what)


def test_the_worked_example_by_hidden_width_needs_more_than_it_prints():
    fp16, int8 = attempt("FP16", "f16", "hidden"), attempt("INT8", "f16", "hidden")
    assert part(fp16, "weights") == 140_000_000_000
    assert part(int8, "weights") == 70_000_000_000
    assert not fp16.fits
    assert not int8.fits
    q4, q4_int8 = attempt("Q4_K_M", "f16", "hidden"), attempt("Q4_K_M", "int8", "hidden")
    assert part(q4, "weights") == 35_000_000_000
    # printed as ~64 and ~32 GB, on which 35 + 32 + 10 fits 80; the formula gives 80 and 40 GiB
    assert (part(q4, "kv_cache"), part(q4_int8, "kv_cache")) == (80 * GIB, 40 * GIB)
    assert 35 + 32 + 10 <= 80 < 35 + 64 + 10
    assert not q4.fits
    assert not q4_int8.fits


def test_the_worked_example_with_grouped_heads_fits_in_full_precision_cache():
    found = fit(
        [
            Candidate(q, llama_2_70b(), "dir", n, options={"quant": q, "nominal": True})
            for q, n in (("FP16", 140), ("INT8", 70), ("Q4_K_M", 35))
        ],
        Ask(
            gpus=(Gpu("80 GB", 80_000_000_000),), engine="textbook", n_ctx=8192, workload=Workload(n_seqs=4),
            arguments={**EXAMPLE, "kv_form": "gqa"},
        ),
    )  # fmt: skip
    best = found.choices[0]
    assert (best.candidate.label, best.kv) == ("Q4_K_M", "f16")
    assert part(best.estimate, "kv_cache") == 10 * GIB
    assert [c.candidate.label for c in found.choices] == ["Q4_K_M"]


def test_the_worked_example_as_llama_cpp_runs_it(facts_of):
    facts = facts_of("llama-2-70b")
    workload = SERVER.replace(n_seqs=4)
    candidates = judged([as_quant(facts, to) for to in ("F16", "Q8_0", "Q4_K_M")], None)
    whole = (Gpu("80 GB", 80_000_000_000),)  # all of it for the model, as the example has it
    ask = Ask(gpus=whole, engine="llama.cpp", n_ctx=32768, workload=workload, offload=False)
    best = fit(candidates, ask).choices[0]
    assert (best.candidate.label, best.kv, best.level) == ("Q8_0", "q8_0", "all")
    f16 = ask.replace(workload=workload.replace(kv_dtype_k="f16", kv_dtype_v="f16"))
    best = fit(candidates, f16).choices[0]
    assert (best.candidate.label, best.kv, best.level) == ("Q4_K_M", "f16", "all")
    assert part(best.estimate, "kv_cache") == 10 * GIB
    # the card of that name has 80 GiB: there even 8 bits a weight fit beside a full cache, which the example rules out
    best = fit(candidates, ask.replace(gpus=parse_gpu("a100-80gb"))).choices[0]
    assert (best.candidate.label, best.kv) == ("Q8_0", "f16")


def test_nothing_fits_says_by_how_much(facts_of):
    facts = facts_of("llama-3-8b")
    ask = Ask(gpus=parse_gpu("4GiB"), engine="llama.cpp", workload=SERVER, offload=False)
    found = fit([candidate(facts)], ask)
    assert not found.fits
    workload = SERVER.replace(n_ctx=LEAST_CONTEXT, kv_dtype_k="q4_0", kv_dtype_v="q4_0")
    result = estimate(facts, workload, engine="llama.cpp", placement=Placement(gpus=ask.gpus), server=True)
    used = next(d.used for d in result.devices if d.device != "host")
    (card,) = ask.gpus
    assert dict(found.lack.missing) == {"4.00 GiB": used + card.reserve - 4096 * MIB}
    assert space_of(candidate(facts), ask, {}).levels == ("all",)
