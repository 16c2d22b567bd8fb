"""Records behave like frozen dataclasses."""

from __future__ import annotations

import copy
import inspect
import json
import pickle

import pytest

from inspector.audit.registry import Rule
from inspector.checkpoint import open_checkpoint
from inspector.facts import read_facts
from inspector.formats.modelfile import LongArray
from inspector.layers import KVCache, Layer
from inspector.memory.engines import estimate
from inspector.memory.estimate import Device, Workload
from inspector.record import Record


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


class Base(Record):
    a: int
    b: str = "b"


class Derived(Base):
    c: float | None = None


def test_the_signature_names_fields_types_and_defaults():
    parameters = inspect.signature(Workload).parameters
    assert tuple(parameters) == Workload._fields
    assert parameters["n_ctx"].default is None
    assert parameters["outputs"].default == "all"
    assert str(inspect.signature(Device)) == (
        "(device: 'str', capacity: 'int | None', used: 'int', fits: 'bool | None', reserve: 'int' = 0,"
        " backend: 'str | None' = None, unified: 'bool' = False, low: 'Low | None' = None,"
        " reserve_low: 'Low | None' = None)"
    )
    assert str(inspect.signature(Derived)) == "(a: 'int', b: 'str' = 'b', c: 'float | None' = None)"


def test_a_signature_takes_what_the_record_takes():
    for args, kwargs in (((1,), {}), ((1, "x"), {"c": 2.0}), ((), {}), ((1,), {"d": 1}), ((1, 2, 3, 4), {})):
        try:
            Derived(*args, **kwargs)
        except TypeError:
            with pytest.raises(TypeError):
                inspect.signature(Derived).bind(*args, **kwargs)
        else:
            inspect.signature(Derived).bind(*args, **kwargs)


def test_long_fields_are_counted_in_the_repr(files):
    checkpoint = open_checkpoint(str(files / "gguf/tiny-llama-q8_0.gguf"))
    text = repr(read_facts(checkpoint))
    assert "tensors=<21>" in text
    assert "n_params=45216" in text
    assert len(text) < 1000
    assert len(repr(checkpoint)) < 500
    assert repr(KVCache(8, 128, 64)) == (
        "KVCache(n_kv_heads=8, head_dim_k=128, head_dim_v=64, window=None, chunked=False)"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ((1,), "(1,)"),
        ([1, "x"], "[1, 'x']"),
        ((1, 2, 3, 4, 5, 6), "(1, 2, 3, 4, 5, 6)"),
        ((1, 2, 3, 4, 5, 6, 7), "<7>"),
        ({"a": (1, 2)}, "{'a': (1, 2)}"),
        (dict.fromkeys("abcdefg"), "<7>"),
        (("x" * 70, "y" * 70), "<2>"),
        ("x" * 200, f"'{'x' * 120}'…"),
        ((), "()"),
        (None, "None"),
    ],
)
def test_values_in_a_repr_are_whole_or_counted(value, shown):
    assert repr(Base(value)) == f"Base(a={shown}, b='b')"


def test_a_record_without_a_hash_names_the_field():
    assert hash(Derived(1)) == hash(Derived(1))
    with pytest.raises(TypeError, match=r"^Base\.b has no hash"):
        hash(Base(1, {}))
    with pytest.raises(TypeError, match=r"^Base\.a has no hash.*Workload\.options has no hash"):
        hash(Base(Workload(options={})))


def test_to_json_goes_all_the_way_down(files):
    checkpoint = open_checkpoint(str(files / "gguf/tiny-llama-q8_0.gguf"))
    facts = read_facts(checkpoint)
    for record in (checkpoint, facts, estimate(facts, Workload(n_ctx=512), engine="llama.cpp")):
        made = record.to_json()
        assert json.loads(json.dumps(made, allow_nan=False)) == made
        assert tuple(made) == record._fields
    first = facts.to_json()["tensors"][0]
    assert (first["name"], first["dtype"]["name"]) == (facts.tensors[0].name, facts.tensors[0].dtype.name)
    assert type(first["nbytes"]) is int
    assert first["shape"] == list(facts.tensors[0].shape)


def test_to_json_has_words_for_what_json_has_not():
    made = LongArray("f32", 3, 0, 12, (float("nan"), float("inf"), "\udcff", "é")).to_json()
    assert made["head"] == ["nan", "inf", "\\xff", "é"]
    assert Base(1 << 80, b={1: (2, {"x": None})}).to_json() == {"a": 1 << 80, "b": {"1": [2, {"x": None}]}}


def test_to_json_refuses_what_is_no_value():
    with pytest.raises(TypeError, match="function"):
        Rule("X", "x", "error", lambda _: ()).to_json()
