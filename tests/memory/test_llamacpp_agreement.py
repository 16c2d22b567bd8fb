"""The caches that the graph reads and writes are those whose bytes the estimate states, on every architecture.

Two programs of ours, each held to the engine's figures by itself; what is compared here is that neither decides
windows, heads, recurrence or prediction layers in a way of its own, on settings that no row measured; and that no
value of any key, hostile ones included, is an exception.
"""

from __future__ import annotations

import base64
import json
import lzma
import random
from collections import Counter
from pathlib import Path

import pytest

from inspector.architectures.loading import refusal
from inspector.checkpoint import Checkpoint
from inspector.errors import FactsError, WorkloadError
from inspector.facts.gguf import facts_of_gguf, read_facts_gguf
from inspector.formats.gguf import read_gguf
from inspector.layers import Refused
from inspector.memory.engines.llamacpp.caches import cache_blocks
from inspector.memory.engines.llamacpp.graph import Model, build, run_of
from inspector.memory.engines.llamacpp.graph.model import GraphUnknown
from inspector.memory.engines.llamacpp.sizes import effective
from inspector.memory.estimate import Workload
from inspector.sources.memory import MemorySource

SYNTHETIC = Path(__file__).resolve().parents[2] / "fixtures" / "llamacpp-synthetic.jsonl.xz"
# Caches that llama.cpp allocates and no graph touches: encoders attend to the batch; decoder_block_count is less than
# block_count; a layer without heads gets the widest layer's V without flash attention.
UNTOUCHED = {"llama-embed", "t5encoder", "t5", "deci"}
# Of these the indexer's cache: its V, and all without flash attention (msa.py); without compress_ratios (qwen4.py).
UNINDEXED = {"minimax-m3", "qwen4exp"}
ROUNDS = 500


def files():
    """A small model of every architecture, with tensors, and some with other settings."""
    with lzma.open(SYNTHETIC, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield row["arch"], read_gguf(MemorySource(base64.b64decode(row["header"]), name="x", size=row["size"]))


FILES = list(files())
MODELS = [(arch, read_facts_gguf(Checkpoint(arch, "gguf", (file,), {}))) for arch, file in FILES]


def changes(r, arch, n):
    """Keys that bear on what layers keep, set anew: one to three of them."""

    def each(values):
        return tuple(r.choice(values) for _ in range(n))

    keys = {
        "attention.sliding_window": r.choice([0, 1, 7, 128, 1000, 4096]),
        "attention.sliding_window_pattern": r.choice([0, 1, 2, 3, 4, 6, each([False, True])]),
        "nextn_predict_layers": r.choice([0, 1, n - 1, n]),
        "attention.shared_kv_layers": r.choice([0, 1, 2, n]),
        "attention.head_count_kv": each([0, 1, 2, 4]),
        "attention.recurrent_layers": each([False, True]),
        "full_attention_interval": r.choice([1, 2, 3]),
        "attention.indexer.types": each([0, 1]),
        "attention.key_length_mla": r.choice([0, 64]),
        "attention.kv_lora_rank": r.choice([0, 32]),
        "leading_dense_block_count": r.choice([0, 1, n]),
        "token_shift_count": r.choice([1, 2]),
        "ssm.group_count": r.choice([1, 2, 4]),
        "ssm.conv_kernel": r.choice([2, 4]),
        "no_rope_layer_step": r.choice([0, 2, 4]),
    }
    return {f"{arch}.{name}": keys[name] for name in r.sample(sorted(keys), r.randint(1, 3))}


def workload(r):
    return Workload(
        n_ctx=r.choice([256, 1000, 4096, 8192]), n_seqs=r.choice([1, 2, 4]), n_ubatch=r.choice([32, 512]),
        flash_attn=r.choice([True, False]), swa_full=r.random() < 0.3, kv_unified=r.random() < 0.5,
        kv_dtype_k=r.choice(["f16", "bf16"]),
    )  # fmt: skip


def caches_of(graph):
    """(kind, cache) of a graph; compressed latents have caches of their own, qwen4exp's pools the indexer's."""
    base, swa = getattr(graph, "base", None), graph.swa
    yield from (("kv", None if base is swa else base), ("swa", swa))
    for kind in ("lid", "csa", "hca"):
        found = getattr(graph, kind, None)
        yield kind, getattr(found, "cache", found)
    yield "lid", getattr(getattr(graph, "pools", None), "cache", None)


def held(graph):
    """Bytes of the graph's cache tensors by layer and kind of cache."""
    found = Counter()
    for name, cache in caches_of(graph):
        for tensors in (cache.k, cache.v) if cache is not None else ():
            for il, t in tensors.items():
                found[il, name] += nbytes(t)
    states = getattr(graph, "states", None)  # t5's are the encoder's
    for (il, _), t in states.items() if isinstance(states, dict) else ():
        found[il, "rs"] += nbytes(t)
    for pool in (getattr(graph, kind, None) for kind in ("lid", "csa", "hca")):
        for (il, _), t in getattr(pool, "states", {}).items():
            found[il, "comp"] += nbytes(t)
    return {key: n for key, n in found.items() if n}


def nbytes(t):
    elements = t.ne[0] * t.ne[1] * t.ne[2] * t.ne[3]
    return elements // t.elem[0] * t.elem[1]


def stated(facts, sizes):
    """The same by the estimate's rules, of the layers that run: graniteswitch's router is one more."""
    found, n_run = Counter(), len(facts.layers) + (facts.arch == "graniteswitch")
    for block in cache_blocks(facts, sizes):
        if block.layer < n_run:
            found[block.layer, block.cache] += block.cells * block.streams * block.cell_nbytes
    return {key: n for key, n in found.items() if n}


def built(facts, asked):
    sizes = effective(facts, asked)
    graph, _ = build(Model(facts), run_of(sizes.as_effective()), whole=True)
    return held(graph), stated(facts, sizes)


# Of wrong types, signs and sizes: what a damaged or hostile file may hold.
VALUES = [
    0, 1, 2, 3, 7, 4096, 1 << 31, (1 << 32) - 1, -1, True, 1.5, 0.0, float("nan"), "x", (), (0,), (1, 2, 3, 4), ("a",),
]  # fmt: skip
OPTIONAL = (
    "altup.num_inputs attention.clamp_kqv attention.shared_kv_layers attention.sliding_window"
    " attention.temperature_scale decoder_block_count deepstack_mapping embedding_scale expert_gating_func"
    " expert_group_count"
    " expert_group_used_count experts_per_group moe_every_n_layers n_deepstack_layers nextn_predict_layers"
    " no_rope_layer_step rescale_every_n_layers rope.dimension_sections rope.scaling.original_context_length"
    " ssm.dt_b_c_rms ssm.group_count swiglu_clamp_exp token_shift_count"
)


def damaged(r, arch, keys):
    """The model's keys with one or two of them set to anything, and at times one left out."""
    names = [k for k in keys if k.startswith(f"{arch}.")] + [f"{arch}.{k}" for k in OPTIONAL.split()]
    changed = {**keys, **{k: r.choice(VALUES) for k in r.sample(names, r.randint(1, 2))}}
    if r.random() < 0.3:
        changed.pop(r.choice(names), None)
    return changed


def disagreements(arch, ours, theirs):
    if arch == "minimax-m3":
        ours = {key: n for key, n in ours.items() if key[1] != "lid" or n >= theirs.get(key, 0)}
    wrong = {key: (n, theirs.get(key)) for key, n in ours.items() if theirs.get(key) != n}
    untouched = {key for key in set(theirs) - set(ours) if key[1] != "lid" or arch not in UNINDEXED}
    return wrong or (untouched if arch not in UNTOUCHED else None)


def test_every_architectures_graph_holds_the_caches_that_are_stated():
    r, compared = random.Random(5), set()
    for arch, facts in MODELS:
        asked = workload(r)
        try:
            ours, theirs = built(facts, asked)
        except (GraphUnknown, WorkloadError):
            continue
        assert not disagreements(arch, ours, theirs), (arch, asked)
        compared.add(arch)
    assert len(compared) > 110


@pytest.mark.parametrize("seed", range(3))
def test_no_generated_setting_makes_the_graph_and_the_layers_disagree(seed):
    r, compared, refused = random.Random(seed), 0, Counter()
    for _ in range(ROUNDS):
        arch, base = r.choice(MODELS)
        changed = changes(r, arch, len(base.layers) + len(base.nextn_layers))
        asked = workload(r)
        try:
            facts = facts_of_gguf({**base.keys, **changed}, base.tensors)
            ours, theirs = built(facts, asked)
        except (FactsError, GraphUnknown, WorkloadError) as error:  # any other exception is a defect
            refused[type(error).__name__] += 1
            continue
        assert not disagreements(arch, ours, theirs), (changed, asked)
        compared += 1
    assert compared > ROUNDS / 2, refused


@pytest.mark.parametrize("seed", range(2))
def test_no_value_of_any_key_is_an_exception_or_a_loop(seed):
    r, built_graphs, refused = random.Random(seed), 0, Counter()
    for _ in range(ROUNDS):
        arch, base = r.choice(MODELS)
        keys = damaged(r, arch, base.keys)
        try:
            facts = facts_of_gguf(keys, base.tensors)
            build(Model(facts), run_of(effective(facts, Workload(n_ctx=256, n_ubatch=32)).as_effective()))
            built_graphs += 1
        except (FactsError, GraphUnknown, WorkloadError) as error:  # any other exception is a defect
            refused[type(error).__name__] += 1
    assert built_graphs > ROUNDS / 2, refused
    assert set(refused) >= {"FactsError", "GraphUnknown"}


@pytest.mark.parametrize(
    ("arch", "key", "value"),
    [
        ("glm4", "rope.dimension_sections", ("a",)),
        ("minicpm3", "rope.scaling.original_context_length", "x"),
        ("minicpm3", "rope.scaling.original_context_length", float("nan")),
        ("mamba2", "ssm.group_count", 0),
        ("rwkv7", "wkv.head_size", 0),
        ("gemma3n", "altup.num_inputs", 1 << 31),
        ("qwen3moe", "expert_count", 1 << 31),
    ],
)
def test_a_number_that_the_graph_cannot_be_made_of_leaves_it_unknown(arch, key, value):
    base = next(facts for name, facts in MODELS if name == arch)
    facts = facts_of_gguf({**base.keys, f"{arch}.{key}": value}, base.tensors)
    with pytest.raises(GraphUnknown):
        build(Model(facts), run_of(effective(facts, Workload(n_ctx=256)).as_effective()))


@pytest.mark.parametrize("value", [None, 0])
@pytest.mark.parametrize(
    "name",
    [
        "attention.sliding_window",
        "attention.sliding_window_pattern",
        "attention.key_length_mla",
        "attention.value_length_mla",
    ],
)
def test_the_layers_are_refused_for_what_the_engines_loader_refuses_a_key_for(name, value):
    """`refusal` follows loaders read off llama.cpp's source; the registry of layers was written by hand."""
    compared = 0
    for arch, file in FILES:
        key, tensors = f"{arch}.{name}", {t.name: t for t in file.tensors}
        if refusal(file.metadata, file.metadata_types, tensors, arch=arch) is not None:
            continue
        metadata = {k: v for k, v in file.metadata.items() if k != key}
        types = {k: v for k, v in file.metadata_types.items() if k != key}
        if value is not None:
            metadata, types = {**metadata, key: value}, {**types, key: "u32"}
        theirs = refusal(metadata, types, tensors, arch=arch)
        if theirs is None or theirs.kind != "shape":  # tensors of one layout are refused under the other's keys
            ours = any(isinstance(note, Refused) for note in facts_of_gguf(metadata, file.tensors).notes)
            assert ours == (theirs is not None), (arch, theirs)
            compared += 1
    assert compared > 250
