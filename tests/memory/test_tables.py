"""Tables of figures hold what the engines' own estimates give, setting by setting."""

from __future__ import annotations

import pytest

import inspector
from inspector.memory.devices.gpus import parse_gpu
from inspector.memory.engines import engine_of, estimate
from inspector.memory.engines.llamacpp import estimate as llamacpp
from inspector.memory.estimate import Placement, Workload
from inspector.memory.predicted import as_gguf
from inspector.memory.tables.axes import Place, contexts
from inspector.memory.tables.choose import cards, engines_for
from inspector.memory.tables.llamacpp import Quick

MODELS = ("llama-3-8b", "gemma-3-1b", "granite-4-h-tiny", "deepseek-v2-lite", "gpt-oss-20b", "mamba-2.8b")
PLACES = (Place(0), Place(1), Place(2), Place(1, 9))


@pytest.mark.parametrize("name", MODELS)
def test_llamacpp_in_parts_is_llamacpp_as_a_whole(sparse_model, name):
    facts = inspector.read_facts(inspector.inspect(str(sparse_model(name))))
    (gpu,) = parse_gpu("rtx3090")
    quick = Quick(facts, {})
    for place in PLACES:
        for n_ctx, n_seqs, k, v in ((4096, None, None, None), (8192, 4, "q8_0", "q8_0"), (1024, None, "f16", "f16")):
            workload = Workload(n_ctx=n_ctx, n_seqs=n_seqs, kv_dtype_k=k, kv_dtype_v=v)
            found = quick(workload, place.on(gpu))
            wanted = llamacpp(facts, workload, placement=place.on(gpu))
            assert found.lines == wanted.lines
            assert (found.devices, found.unknown) == (wanted.devices, wanted.unknown)


@pytest.mark.parametrize("name", ["llama-3-8b", "gpt-oss-20b"])
def test_types_of_a_cache_share_a_replay_only_where_they_take_as_much(sparse_model, name):
    """Asked in turn, with one memory: where layers stay on the host, bytes of caches are copied, and differ."""
    facts = inspector.read_facts(inspector.inspect(str(sparse_model(name))))
    (gpu,) = parse_gpu("24GiB")
    quick = Quick(facts, {})
    for place in (Place(1), Place(2), Place(1, 9)):
        for k, v in (("q8_0", "q8_0"), ("q4_0", "q4_0"), ("q8_0", "q4_0")):
            workload = Workload(n_ctx=32768, kv_dtype_k=k, kv_dtype_v=v)
            assert quick(workload, place.on(gpu)).lines == llamacpp(facts, workload, placement=place.on(gpu)).lines


def test_what_cards_are_called_makes_no_new_replay(sparse_model):
    facts = inspector.read_facts(inspector.inspect(str(sparse_model("gemma-3-1b"))))
    memo, found = {}, []
    quick = Quick(facts, memo)
    for word in ("24GiB", "rtx3090", "h100"):
        (gpu,) = parse_gpu(word)
        found.append((quick(Workload(n_ctx=2048), Place(2).on(gpu)), len(memo)))
    assert len({n for _, n in found}) == 1
    (gpu,) = parse_gpu("h100")
    assert found[-1][0].lines == llamacpp(facts, Workload(n_ctx=2048), placement=Place(2).on(gpu)).lines


def test_one_replay_serves_all_quants(sparse_model):
    facts = inspector.read_facts(inspector.inspect(str(sparse_model("llama-3-8b"))))
    (gpu,) = parse_gpu("24GiB")
    memo = {}
    for form in (facts, as_gguf(facts, "Q2_K")):
        quick = Quick(form, memo)
        for n_ctx in (512, 4096):
            workload = Workload(n_ctx=n_ctx)
            wanted = estimate(form, workload, engine="llama.cpp", placement=Placement(gpus=(gpu,)))
            assert quick(workload, Placement(gpus=(gpu,))).lines == wanted.lines


@pytest.mark.parametrize("engine", ["llama.cpp", "vllm", "transformers", "textbook"])
def test_cards_of_one_kind_differ_by_their_own_bytes_alone(root, engine):
    facts = inspector.read_facts(inspector.inspect(str(root / "fixtures/configs/qwen3-8b.json")))
    row = engine_of(engine)
    facts, kinds = row.loaded(facts, {}), {}
    for card in cards(None)[::5]:
        key, own = row.on_card(card.gpu)
        found = estimate(facts, Workload(n_ctx=2048), engine=engine, placement=Placement(gpus=(card.gpu,)))
        sums = {}
        for line in found.lines:
            where = "host" if line.device == "host" else "card"
            sums[line.what, where] = sums.get((line.what, where), 0) + line.nbytes
        sums["overhead", "card"] = sums.get(("overhead", "card"), 0) - own
        assert kinds.setdefault(key, sums) == sums, card.word


def test_contexts_reach_beyond_the_trained_one(sparse_model):
    facts = inspector.read_facts(inspector.inspect(str(sparse_model("llama-3-8b"))))
    points = contexts(facts, 5000)
    assert {512, 5000, 8192, 32768} <= set(points)
    assert list(points) == sorted(points)


def test_a_page_has_the_engines_of_its_format_and_the_one_asked_for():
    assert engines_for("gguf", None) == ["llama.cpp", "textbook"]
    assert engines_for("safetensors", "llama.cpp")[0] == "llama.cpp"
    assert engines_for("gguf", "vllm") == ["vllm", "llama.cpp", "textbook"]


def test_a_card_asked_for_brings_its_back_end_and_stands_first():
    assert cards("rtx4090")[0].word == "RTX 4090"
    assert {card.gpu.backend for card in cards("m3-max-64gb")} == {"metal"}
    assert cards("21G")[0].group == "asked for"
