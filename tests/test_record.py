"""Records behave like frozen dataclasses."""

from __future__ import annotations

import copy
import pickle

import pytest

from inspector.layers import KVCache, Layer


def test_fields_are_positional_and_named_with_defaults():
    cache = KVCache(8, 128, head_dim_v=64)
    assert (cache.n_kv_heads, cache.head_dim_k, cache.head_dim_v, cache.window) == (8, 128, 64, None)


def test_records_cannot_be_changed():
    cache = KVCache(8, 128, 128)
    with pytest.raises(AttributeError, match="frozen"):
        cache.window = 3
    with pytest.raises(AttributeError, match="frozen"):
        del cache.window
    assert not hasattr(cache, "__dict__")


def test_records_compare_and_hash_by_value_and_type():
    assert KVCache(8, 128, 128) == KVCache(8, 128, 128)
    assert KVCache(8, 128, 128) != KVCache(8, 128, 128, window=1)
    assert len({KVCache(8, 128, 128), KVCache(8, 128, 128)}) == 1
    assert KVCache(8, 128, 128) != (8, 128, 128, None, False)


def test_replace_changes_only_what_is_named():
    layer = Layer(3, "full", (KVCache(8, 128, 128),))
    assert layer.replace(kind="sliding") == Layer(3, "sliding", (KVCache(8, 128, 128),))
    with pytest.raises(TypeError):
        layer.replace(colour="red")


def test_records_survive_copies_and_pickles():
    layer = Layer(3, "full", (KVCache(8, 128, 128),))
    assert copy.deepcopy(layer) == layer
    assert pickle.loads(pickle.dumps(layer)) == layer


def test_missing_and_unknown_fields_are_refused():
    with pytest.raises(TypeError):
        KVCache(8)
    with pytest.raises(TypeError):
        KVCache(8, 128, 128, colour="red")
