from __future__ import annotations

import json

import pytest
from schemas import check

from inspector.checkpoint import open_checkpoint
from inspector.cli.group import run_command_line
from inspector.comparison import diff, same_value
from inspector.formats.modelfile import LongArray

Q8, Q4 = "gguf/tiny-llama-q8_0.gguf", "gguf/tiny-llama-align-128.gguf"


def write_safetensors(path, tensors, metadata=None):
    """`tensors`: name → (dtype, shape, bytes an element)."""
    header, at = ({"__metadata__": metadata} if metadata else {}), 0
    for name, (dtype, shape, width) in tensors.items():
        n = width
        for dim in shape:
            n *= dim
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + n]}
        at += n
    raw = json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + bytes(at))
    return str(path)


def kinds(found, what="tensor"):
    return {(c.kind, c.name) for c in found.of(what)}


def test_a_file_does_not_differ_from_itself(files):
    for name in (Q8, "safetensors/llama-tied", "safetensors/mixtral"):
        found = diff(str(files / name), str(files / name))
        assert found.is_empty
        assert found.tensors_nbytes_a == found.tensors_nbytes_b > 0


def test_byte_order_and_version_are_no_difference(files):
    assert diff(str(files / Q8), str(files / "gguf/tiny-llama-q8_0-be.gguf")).is_empty
    assert diff(str(files / Q8), str(files / "gguf/tiny-llama-q8_0-v2.gguf")).is_empty


def test_requantised_tensors_are_named_with_both_types_and_bytes(files):
    found = diff(str(files / Q8), str(files / Q4))
    assert {c.kind for c in found.of("tensor")} == {"requantised"}
    assert kinds(found, "metadata") == {("added", "general.alignment")}
    before, after = open_checkpoint(str(files / Q8)), open_checkpoint(str(files / Q4))
    changed = {t.name for t in before.tensors if t.dtype.name == "Q8_0"}
    assert {c.name for c in found.of("tensor")} == changed
    gained = sum(c.after["nbytes"] - c.before["nbytes"] for c in found.of("tensor"))
    assert gained == after.tensors_nbytes - before.tensors_nbytes == found.tensors_nbytes_b - found.tensors_nbytes_a


def test_added_removed_reshaped_and_renamed_are_told_apart(tmp_path):
    a = write_safetensors(
        tmp_path / "a.safetensors",
        {
            "same.weight": ("F32", [4, 4], 4),
            "model.layers.0.q.weight": ("F32", [8, 4], 4),
            "wide.weight": ("F32", [2, 4], 4),
            "gone.bias": ("F32", [3], 4),
        },
        {"format": "pt", "old": "1"},
    )
    b = write_safetensors(
        tmp_path / "b.safetensors",
        {
            "same.weight": ("F32", [4, 4], 4),
            "layers.0.q.weight": ("F32", [8, 4], 4),
            "wide.weight": ("F32", [2, 5], 4),
            "new.scale": ("F16", [7], 2),
        },
        {"format": "np"},
    )
    found = diff(a, b)
    assert kinds(found) == {
        ("renamed", "model.layers.0.q.weight"), ("reshaped", "wide.weight"), ("removed", "gone.bias"),
        ("added", "new.scale"),
    }  # fmt: skip
    assert kinds(found, "metadata") == {("changed", "format"), ("removed", "old")}
    assert (found.tensors_nbytes_a, found.tensors_nbytes_b) == (64 + 128 + 32 + 12, 64 + 128 + 40 + 14)
    back = diff(b, a)
    assert {(c.kind, c.name) for c in back.of("tensor")} >= {("added", "gone.bias"), ("removed", "new.scale")}


def test_a_rename_needs_one_candidate_that_stands_out(tmp_path):
    a = write_safetensors(tmp_path / "a.safetensors", {"x.0.w": ("F32", [2], 4)})
    b = write_safetensors(tmp_path / "b.safetensors", {"y.0.w": ("F32", [2], 4), "z.0.w": ("F32", [2], 4)})
    assert {c.kind for c in diff(a, b).of("tensor")} == {"added", "removed"}


def test_a_gguf_and_the_checkpoint_it_came_from_compare_under_gguf_names(files):
    found = diff(str(files / "safetensors/llama-untied"), str(files / Q8))
    assert not [c for c in found.of("tensor") if c.kind in {"added", "removed", "renamed", "reshaped"}], found.changes
    assert not found.of("metadata")
    assert any("under GGUF names" in note for note in found.notes)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (float("nan"), float("nan"), True),
        (1, 1.0, True),
        ("a", "b", False),
        ([1, 2], [1, 2], True),
    ],
)
def test_values_are_equal_as_people_mean_it(a, b, same):
    assert same_value(a, b) is same


def test_arrays_that_were_not_kept_compare_by_what_is_known_of_them():
    one = LongArray("str", 1000, 10, 9000, ("a", "b"))
    assert same_value(one, LongArray("str", 1000, 77, 9000, ("a", "b")))  # where it lies is no difference
    assert not same_value(one, LongArray("str", 1000, 10, 9001, ("a", "b")))
    assert not same_value(one, LongArray("str", 1001, 10, 9000, ("a", "b")))


@pytest.fixture
def run(capsys):
    def call(*words):
        code = run_command_line([str(w) for w in words])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_exit_code_one_means_different_and_json_holds_to_its_schema(files, run):
    code, out, err = run("diff", files / Q8, files / Q4, "--json")
    answer = check(json.loads(out))
    assert (code, err, answer["equal"]) == (1, "", False)
    assert len(answer["changes"]) == 17
    code, out, _ = run("diff", files / Q8, files / Q8, "--json")
    assert code == 0
    assert check(json.loads(out))["changes"] == []


def test_text_sums_up_and_names_the_bytes_gained_or_lost(files, run):
    code, out, _ = run("diff", files / Q8, files / Q4)
    assert code == 1
    assert "16 tensors  Q8_0 → Q4_0  46.75 KiB → 24.75 KiB" in out
    assert "weights  47.38 KiB → 25.38 KiB (−22.00 KiB)" in out
    code, out, _ = run("diff", files / Q8, files / Q8)
    assert code == 0
    assert "no difference" in out


def test_what_cannot_be_read_is_exit_code_two(files, run, tmp_path):
    code, out, err = run("diff", files / Q8, tmp_path / "no.gguf")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
