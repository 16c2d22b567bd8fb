"""Would llama.cpp b11434 load it: our answer against its own on the same damaged headers (scripts/check_loading.py)."""

from __future__ import annotations

import collections
import re
from functools import cache

import pytest
from loading_rows import loading, rows

from inspector.architectures.gguf import GGUF_ARCHS
from inspector.architectures.loader_tables import code_of, loaders, names_without_loaders, sections
from inspector.architectures.loading import refusal


@cache
def bases():
    return dict(loading.headers()) | {-1: loading.TINY}


def answers():
    for row in rows():
        header = loading.copy_of(bases()[row["base"]])
        header.damage(row["damage"])
        yield row, header


def test_our_answer_is_the_engines_on_every_damaged_file():
    """A step that leads nowhere would be an exception here, never "it loads"."""
    n, differ, other_words = collections.Counter(), [], []
    for row, header in answers():
        own = header.ours()
        n[bool(row["refused"])] += 1
        if bool(own) != bool(row["refused"]):
            differ.append((header.arch, row, own))
        elif own and not row["refused"].startswith("ended with") and _plain(own) not in _plain(row["refused"]):
            other_words.append((header.arch, row, own))
    assert differ == []
    assert other_words == []
    assert min(n.values()) > 500


def _plain(words):
    """Without the width that the engine gives numbers and without the place of an assertion."""
    return re.sub(r"\s+", " ", words)


def test_every_architecture_is_among_them():
    asked = {bases()[row["base"]].arch for row in rows()}
    assert len(asked) > 140
    assert asked <= set(loaders())


def test_tables_are_held_for_every_architecture_of_the_registry():
    assert set(GGUF_ARCHS) - {"gptj"} <= set(loaders())
    assert "gptj" in names_without_loaders()


def test_every_table_is_in_the_notation():
    plain = {"* defaults", "* archs", "* pre-tokenizers"}
    for heading in set(sections()) - plain:
        assert code_of(heading).co_filename.startswith("<loaders.txt")


def test_an_architecture_without_tables_is_not_judged():
    assert refusal({}, {}, {}, arch="of.another.program") is None


VALUES = [("u32", 0), ("u32", 2**32 - 1), ("i32", -1), ("u64", 2**64 - 1), ("f32", float("nan")), ("str", ""),
          ("arr[u32]", []), ("arr[u32]", [2**32 - 1] * 600), ("arr[bool]", [True]), ("arr[str]", ["a"]),
          ("arr[arr]", [])]  # fmt: skip


def _one_of_each(step, first_of=0):
    """The first header of every `step`-th architecture."""
    first = {header.arch: header for header in reversed(list(bases().values()))}
    return [first[arch] for arch in sorted(first)[first_of::step]]


def _try_every_key(headers, value):
    for header in headers:
        for key in [k for k in header.keys if k.startswith(header.arch)]:
            damaged = loading.copy_of(header)
            damaged.damage(["set", key, *value])
            damaged.ours()


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_no_value_of_any_key_breaks_the_reading(value):
    _try_every_key(_one_of_each(24), value)


@pytest.mark.slow
@pytest.mark.parametrize("value", VALUES, ids=lambda v: f"{v[0]} {v[1]!s:.20}")
def test_no_value_of_any_key_of_any_architecture_breaks_the_reading(value):
    _try_every_key(_one_of_each(2, VALUES.index(value) % 2), value)


def test_a_layer_count_of_the_largest_kind_costs_no_time():
    header = loading.copy_of(loading.TINY)
    header.damage(["set", "llama.block_count", "u32", 2**32 - 1])
    assert "LLAMA_MAX_LAYERS" in header.ours()
