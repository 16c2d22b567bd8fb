"""Layers and tensors from a config.json, against what transformers 5.24.0 itself builds and caches.

fixtures/hf_measured.jsonl: models of each type instantiated on the meta device (scripts/measure_hf_models.py).
`layers` are runs of [count, caches], a cache being ["kv", elements of K and V a token, window], ["idx", indexer
elements a token] or ["state", convolution elements, matrix elements].
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from inspector.architectures.hf_config import MAX_LAYERS, HfConfig
from inspector.architectures.hf_layers import read_layers
from inspector.architectures.hf_lookup import every_record, find
from inspector.architectures.hf_tensors import expected_tensors
from inspector.errors import LimitExceeded, MissingKey
from inspector.layers import (
    CrossCache,
    IndexCache,
    KVCache,
    LatentCache,
    Layer,
    StateCache,
    UnknownCache,
)

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
MEASURED = [json.loads(line) for line in (FIXTURES / "hf_measured.jsonl").read_text().splitlines()]
CACHED = [r for r in MEASURED if "layers" in r]
LLAMA = {"model_type": "llama", "num_hidden_layers": 4, "hidden_size": 64, "num_attention_heads": 4, "vocab_size": 10}


def caches_of(layer: Layer) -> list[tuple[object, ...]]:
    """A layer's caches in the fixture's words."""
    out: list[tuple[object, ...]] = []
    states = [c for c in layer.caches if isinstance(c, StateCache)]
    for c in layer.caches:
        if isinstance(c, KVCache):
            out.append(("kv", c.width_k + c.width_v, c.window))
        elif isinstance(c, LatentCache):
            out.append(("kv", c.width, c.window))
        elif isinstance(c, IndexCache):
            out.append(("idx", c.n_heads * c.head_dim))
        elif not isinstance(c, StateCache):
            out.append((type(c).__name__,))
    if states:
        conv = sum(c.conv_channels * c.conv_kernel for c in states)
        out.append(("state", conv, sum(c.state_elems for c in states)))
    return out


@pytest.mark.parametrize("row", CACHED, ids=[f"{r['name']}-{i}" for i, r in enumerate(CACHED)])
def test_layers_keep_what_transformers_keeps(row: dict) -> None:
    expected = Counter(tuple(c) for n, caches in row["layers"] for c in caches for _ in range(n))
    found = Counter(c for layer in read_layers(HfConfig(row["config"])) for c in caches_of(layer))
    assert found == expected


@pytest.mark.parametrize("row", CACHED, ids=[f"{r['name']}-{i}" for i, r in enumerate(CACHED)])
def test_layers_come_in_the_order_that_transformers_has(row: dict) -> None:
    layers = read_layers(HfConfig(row["config"]))
    expected = [tuple(map(tuple, caches)) for n, caches in row["layers"] for _ in range(n)]
    if len(layers) != len(expected):
        assert row["config"]["model_type"] in ("dory", "hrm_text", "longcat_flash")  # a layer stores more than once
        return
    assert [tuple(caches_of(x)) for x in layers] == expected


COUNTED = [
    r
    for r in MEASURED
    if "n_params" in r
    and (t := HfConfig(r["config"])).model_type == r["config"]["model_type"]
    and (record := find(t.model_type))
    and record.layout
]


def test_many_architectures_have_rules_for_their_tensors() -> None:
    assert len({r["config"]["model_type"] for r in COUNTED}) >= 50


@pytest.mark.parametrize("row", COUNTED, ids=[f"{r['name']}-{i}" for i, r in enumerate(COUNTED)])
def test_expected_tensors_add_up_to_the_parameters_that_transformers_builds(row: dict) -> None:
    tensors = expected_tensors(HfConfig(row["config"]))
    assert tensors is not None
    assert sum(t.n_elements for t in tensors) == row["n_params"]
    assert len({t.name for t in tensors}) == len(tensors)


def test_llama_2_7b_has_its_published_tensors() -> None:
    tensors = {t.name: t for t in expected_tensors(HfConfig({"model_type": "llama"})) or ()}
    assert len(tensors) == 291  # model.safetensors.index.json of Llama-2-7B less its rotary buffers
    assert tensors["model.layers.31.mlp.down_proj.weight"].shape == (4096, 11008)
    assert tensors["lm_head.weight"].role == "output"


def test_an_unknown_layer_type_is_unknown_and_never_nothing() -> None:
    layers = read_layers(HfConfig({**LLAMA, "layer_types": ["full_attention", "holographic"] * 2}))
    assert [x.kind for x in layers] == ["full", "unknown", "full", "unknown"]
    assert layers[1].caches == (UnknownCache("holographic"),)


def test_an_unknown_architecture_is_read_plainly_and_its_recurrent_layers_are_unknown() -> None:
    config = {**LLAMA, "model_type": "brand_new", "layer_types": ["full_attention", "linear_attention"] * 2}
    layers = read_layers(HfConfig(config))
    assert layers[0].caches == (KVCache(4, 16, 16),)
    assert isinstance(layers[1].caches[0], UnknownCache)


def test_an_explicit_null_window_means_none_and_an_absent_one_the_class_default() -> None:
    mistral = {**LLAMA, "model_type": "mistral"}
    assert read_layers(HfConfig(mistral))[0].caches[0].window == 4096
    assert read_layers(HfConfig({**mistral, "sliding_window": None}))[0].caches[0].window is None


def test_a_head_dim_key_beats_hidden_size_over_heads() -> None:
    assert HfConfig({**LLAMA, "head_dim": 128}).head_dim == 128
    assert HfConfig(LLAMA).head_dim == 16


def test_the_language_model_of_a_multimodal_config_is_found_and_its_class_fills_the_gaps() -> None:
    k = HfConfig({"model_type": "gemma3", "text_config": {"hidden_size": 2560, "num_hidden_layers": 34}})
    assert (k.model_type, k.prefix, k.n_heads, k.head_dim) == ("gemma3_text", "text_config.", 8, 256)
    assert k.get("hidden_size") == 2560
    assert k.origin["hidden_size"] == "text_config.hidden_size"
    assert k.origin["num_attention_heads"] == "default of gemma3_text"


def test_encoder_decoders_keep_their_own_and_the_encoders_keys_and_values() -> None:
    layers = read_layers(
        HfConfig({"model_type": "whisper", "decoder_layers": 2, "d_model": 384, "decoder_attention_heads": 6})
    )
    assert [x.caches for x in layers] == [(KVCache(6, 64, 64), CrossCache(6, 64, 64))] * 2


def test_encoders_keep_nothing() -> None:
    assert {x.kind for x in read_layers(HfConfig({"model_type": "bert"}))} == {"none"}
    assert read_layers(HfConfig({"model_type": "bert", "is_decoder": True}))[0].kind == "full"


def test_absurd_layer_counts_are_refused_and_nonsense_values_not_used() -> None:
    with pytest.raises(LimitExceeded):
        read_layers(HfConfig({**LLAMA, "num_hidden_layers": MAX_LAYERS + 1}))
    with pytest.raises(MissingKey):
        read_layers(HfConfig({"model_type": "no_such", "num_hidden_layers": "many"}))


def test_every_row_reads_its_own_class_defaults_without_an_unknown_layer() -> None:
    special = {"minimax_m3_vl_text", "trocr", "emu3", "fuyu", "got_ocr2"}
    for name, record in every_record():
        if record.generic:
            continue
        k = HfConfig({"model_type": name})
        if "num_hidden_layers" not in k.defaults or name in special:
            continue
        layers = read_layers(k)
        unknown = [x for x in layers if x.kind == "unknown"]
        assert not unknown, (name, unknown[:1])
