"""Lines keep to their width and columns stay under each other, whatever script a file's names are in."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import wcswidth, wcwidth

from inspector.formats.modelfile import TensorInfo
from inspector.report.tensors import meta_lines, tensor_lines
from inspector.report.text import _NARROW, columns, pad, shorten, shorten_middle, table, wrap

PRINTABLE = st.text(
    st.one_of(
        st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Mn")),
        st.sampled_from("漢字かな한글ﬁ🙂👍🏽…–→×é\u0301\ufe0f"),
    ),
    max_size=40,
)


def test_a_wide_character_takes_two_columns_and_an_accent_none():
    assert columns("model") == 5
    assert columns("模型") == 4
    assert columns("e\u0301te\u0301") == 3
    assert columns("KV × 64 … → █") == 13


def test_what_is_taken_for_narrow_is_narrow():
    latin = [chr(c) for c in range(0x20, 0x300) if chr(c).isprintable()]
    assert [c for c in (*latin, *_NARROW) if wcwidth(c) != 1] == []


def test_columns_stay_under_each_other_beside_wide_text():
    rows = [("名前", "1"), ("name", "22"), ("ü", "3")]
    assert table(rows, align="<>", indent="") == ["名前   1", "name  22", "ü      3"]
    assert pad("名", 4, ">") == "  名"


@given(st.lists(st.tuples(PRINTABLE, PRINTABLE), min_size=1, max_size=5))
def test_a_column_starts_at_the_same_place_in_every_row(rows):
    width = max(columns(a) for a, _ in rows)
    for (a, b), line in zip(rows, table([(a, b + "|") for a, b in rows], align="<<", indent="", gap="  "), strict=True):
        assert line == a + " " * (width - columns(a) + 2) + b + "|"


@given(PRINTABLE, st.integers(4, 30))
def test_no_more_columns_than_there_are(text, width):
    for cut in (shorten(text, width), shorten_middle(text, width)):
        assert columns(cut) <= width
        assert cut == text or "…" in cut
    if columns(text) <= width:
        assert shorten(text, width) == shorten_middle(text, width) == text


@given(st.lists(PRINTABLE, max_size=8), st.integers(10, 40))
def test_wrapped_lines_hold_as_many_words_as_fit(words, width):
    lines = wrap(" ".join(words), width=width)
    for line in lines:
        assert columns(line) <= width or len(line.split()) == 1 or line.endswith((" B", " %"))
    assert " ".join(lines).split() == " ".join(words).split()


def test_a_figure_is_not_parted_from_its_unit():
    assert wrap("padded to 32 B each", width=12) == ["padded to", "32 B each"]


def test_both_ends_of_a_wide_name_are_kept():
    assert shorten_middle("漢" * 10 + "尾", 10) == "漢漢…漢尾"
    assert shorten("漢" * 10, 5) == "漢漢…"
    assert shorten("漢" * 10, 6) == "漢漢…"
    assert shorten("a" * 10, 6) == "aaaaa…"


def test_a_heap_of_accents_is_cut_too():
    assert len(shorten("a" + "\u0301" * 50_000 + "b" * 100, 20)) <= 80


def test_tables_of_tensors_and_keys_with_wide_names_are_aligned():
    wide = [TensorInfo(name, (4, 4), None, 0, 64, "F32") for name in ("重み.重み", "weight", "w\u0301")]
    lines = tensor_lines(wide, width=80)[:4]
    at = {columns(line[: line.index("4 × 4")]) for line in lines[1:]}
    assert at == {columns(lines[0][: lines[0].index("shape")])}
    lines = meta_lines({"鍵": 1, "general.name": "模型" * 100}, {"鍵": "u32", "general.name": "str"}, width=60)
    assert {columns(line[: line.index(t)]) for line, t in zip(lines, ("u32", "str"), strict=True)} == {16}
    assert [columns(line) for line in lines][1] in (59, 60)


@pytest.mark.parametrize(("text", "loaded"), [("KV × 64 – é → …", False), ("模型", True)])
def test_wcwidth_is_loaded_for_wide_text_only(text, loaded):
    code = f"import sys; from inspector.report.text import columns; columns({text!r}); print('wcwidth' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == str(loaded)


@given(PRINTABLE)
def test_the_width_is_wcwidths(text):
    assert columns(text) == wcswidth(text)
