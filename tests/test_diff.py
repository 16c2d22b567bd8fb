from __future__ import annotations

import json
from pathlib import Path

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
    found = diff(str(files / Q8), str(files / "gguf/tiny-llama-q8_0-be.gguf"), values="values")
    assert (found.is_empty, found.values_equal) == (True, None)
    assert any("byte orders" in note for note in found.notes)
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


def pair_of(tmp_path, a, b):
    """The changes of tensors between two files that hold these: name → (dtype, shape, bytes an element)."""
    files = [write_safetensors(tmp_path / f"{n}.safetensors", tensors) for n, tensors in (("a", a), ("b", b))]
    return [(c.kind, c.name, c.after if c.kind == "renamed" else None) for c in diff(*files).of("tensor")]


F32 = ("F32", [2], 4)


@pytest.mark.parametrize(
    ("old", "new", "renamed"),
    [
        ("x.weight", "y.weight", False),  # the last word alone says nothing
        ("weight", "y.weight", False),
        ("x.q.weight", "y.q.weight", True),  # two words do
        ("q.weight", "model.q.weight", True),
        ("x.q.weight", "x.k.weight", False),  # a beginning in common does not count
        ("x.q.weight", "x.q.bias", False),
        ("x.0.q.weight", "x.1.q.weight", True),
        ("x.q.weight", "x_q.weight", False),  # words are told apart by dots only
    ],
)
def test_a_rename_shares_at_least_the_last_two_words(old, new, renamed, tmp_path):
    wanted = {("renamed", old, new)} if renamed else {("removed", old, None), ("added", new, None)}
    assert set(pair_of(tmp_path, {old: F32}, {new: F32})) == wanted


def test_the_longest_end_in_common_decides_a_rename(tmp_path):
    found = pair_of(tmp_path, {"a.b.c.w": F32}, {"x.b.c.w": F32, "y.c.w": F32})
    assert set(found) == {("renamed", "a.b.c.w", "x.b.c.w"), ("added", "y.c.w", None)}


def test_a_new_name_is_taken_by_one_old_name_only(tmp_path):
    found = pair_of(tmp_path, {"a.c.w": F32, "b.c.w": F32}, {"x.c.w": F32})
    assert found == [("renamed", "a.c.w", "x.c.w"), ("removed", "b.c.w", None)]


@pytest.mark.parametrize("other", [("F32", [3], 4), ("F16", [2], 2), ("F32", [2, 1], 4), ("I32", [2], 4)])
def test_a_rename_keeps_shape_and_type(other, tmp_path):
    assert pair_of(tmp_path, {"x.q.weight": other}, {"y.q.weight": other}) == [("renamed", "x.q.weight", "y.q.weight")]
    found = pair_of(tmp_path, {"x.q.weight": F32}, {"y.q.weight": other})
    assert {kind for kind, _, _ in found} == {"removed", "added"}


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


# --- values -----------------------------------------------------------------------------------------------------------


def pair(tmp_path, change, *, name="m.safetensors"):
    """Two files of one layout; `change` bytes of the second one's data are others."""
    made = []
    for n in ("a", "b"):
        (tmp_path / n).mkdir(exist_ok=True)
        path = write_safetensors(tmp_path / n / name, {"x.weight": ("F32", [64], 4), "y.weight": ("F32", [64], 4)})
        made.append(path)
    raw = bytearray(Path(made[1]).read_bytes())
    for at in change:
        raw[at] ^= 0xFF
    Path(made[1]).write_bytes(raw)
    return made


def test_bytes_that_differ_are_never_called_no_difference(tmp_path, run):
    a, b = pair(tmp_path, [-1])
    code, out, _ = run("diff", a, b)
    assert (code, "no difference in what headers and configs say" in out, "not compared" in out) == (0, True, True)
    assert check(json.loads(run("diff", a, b, "--json")[1]))["equal"] is None
    code, out, _ = run("diff", a, b, "--hash")
    assert (code, "differ, by the sha256 of whole files" in out) == (1, True)
    code, out, _ = run("diff", a, b, "--values")
    assert (code, "y.weight" in out, "x.weight" in out, "byte 255" in out) == (1, True, False, True)
    answer = check(json.loads(run("diff", a, b, "--values", "--json")[1]))
    assert (answer["equal"], answer["values"]) == (False, {"equal": False, "by": "values"})


@pytest.mark.parametrize("how", ["--hash", "--values"])
def test_equal_bytes_are_found_equal(tmp_path, run, how):
    a, b = pair(tmp_path, [])
    code, out, _ = run("diff", a, b, how)
    assert (code, "no difference" in out, "values   equal" in out) == (0, True, True)
    assert check(json.loads(run("diff", a, b, how, "--json")[1]))["equal"] is True


def test_one_file_under_two_names_is_equal_for_nothing(tmp_path, run):
    a, _ = pair(tmp_path, [])
    (tmp_path / "link.safetensors").symlink_to(a)
    code, out, _ = run("diff", a, tmp_path / "link.safetensors")
    assert (code, "values   equal" in out) == (0, True)


def snapshots(tmp_path, *change):
    """The same model in two Hub caches, under the names that their blobs' sha256 give."""
    import hashlib

    found = []
    for path in pair(tmp_path, change):
        raw = Path(path).read_bytes()
        repo = tmp_path / f"hub{len(found)}" / "models--o--m"
        blob = repo / "blobs" / hashlib.sha256(raw).hexdigest()
        snapshot = repo / "snapshots" / ("0" * 40)
        for folder in (blob.parent, snapshot, repo / "refs"):
            folder.mkdir(parents=True)
        blob.write_bytes(raw)
        (repo / "refs" / "main").write_text("0" * 40)
        (snapshot / "model.safetensors").symlink_to(blob)
        found.append(str(snapshot))
    return found


def test_the_hubs_cache_knows_hashes_for_nothing(tmp_path, run):
    code, out, _ = run("diff", *snapshots(tmp_path))
    assert (code, "equal, by the sha256 that the Hub or its cache gives" in out) == (0, True)


def test_hashes_of_the_cache_that_differ_are_a_difference(tmp_path, run):
    code, out, _ = run("diff", *snapshots(tmp_path, -1))
    assert (code, "differ, by the sha256" in out, "no difference" in out) == (1, True, False)


def test_tokens_that_were_only_counted_are_compared_with_the_values(tmp_path, run):
    from audit_builder import gguf_bytes
    from gguf_builder import STR, Arr

    words = [f"token{i:04d}" for i in range(300)]
    for name, tokens in (("a", words), ("b", [*words[:200], "TOKEN0200", *words[201:]])):
        (tmp_path / f"{name}.gguf").write_bytes(gguf_bytes({"tokenizer.ggml.tokens": (9, Arr(STR, tokens))}))
    a, b = tmp_path / "a.gguf", tmp_path / "b.gguf"
    assert run("diff", a, b)[0] == 0
    code, out, _ = run("diff", a, b, "--values")
    assert (code, "tokenizer.ggml.tokens" in out) == (1, True)
    assert run("diff", a, b, "--hash")[0] == 1


def test_values_on_the_hub_are_not_read(tmp_path):
    from inspector.errors import InspectorError

    a, b = (open_checkpoint(p) for p in pair(tmp_path, []))
    b = b.replace(files=tuple(f.replace(path="") for f in b.files))
    with pytest.raises(InspectorError, match="read whole files"):
        diff(a, b, values="hash")


def test_bf16_against_an_f16_gguf_is_a_requantisation(files, tmp_path):
    import shutil

    folder = tmp_path / "bf16"
    shutil.copytree(files / "safetensors/llama-untied", folder)
    for path in folder.glob("*.safetensors"):
        raw = path.read_bytes()
        n = 8 + int.from_bytes(raw[:8], "little")
        head = raw[8:n].replace(b'"F16"', b'"BF16"')
        path.write_bytes(len(head).to_bytes(8, "little") + head + raw[n:])
    found = diff(str(folder), str(files / Q8))
    assert {(c.before["dtype"], c.after["dtype"]) for c in found.of("tensor") if c.kind == "requantised"} == {
        ("BF16", "Q8_0")
    }


# --- what people read -------------------------------------------------------------------------------------------------

TEMPLATE = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] }}" * 3


@pytest.mark.parametrize("width", [80, 100])
def test_values_that_begin_alike_are_shown_where_they_differ(tmp_path, run_inspector, width):
    changed = TEMPLATE.replace("im_start", "im_begin", 1) + "{% endfor %}"
    paths = [
        write_safetensors(tmp_path / f"{n}.safetensors", {"w.weight": F32}, {"chat_template": t, "short": n})
        for n, t in (("a", TEMPLATE + "{% endfor %}"), ("b", TEMPLATE + "{% endif %}"), ("c", changed))
    ]
    for other, word in ((paths[1], "endif"), (paths[2], "im_begin")):
        _, out, _ = run_inspector(["diff", paths[0], other], env={"COLUMNS": str(width)})
        assert max(map(len, out.splitlines())) <= width
        before, after = (line for line in out.splitlines() if line.lstrip().startswith(("- ", "+ ")))
        assert word in after
        assert word not in before


def test_every_line_of_a_diff_fits_the_terminal(files, run_inspector):
    pairs = [("safetensors/llama-untied", Q8), (Q8, Q4), ("safetensors/llama-tied", "safetensors/mixtral")]
    for width in (80, 100):
        for a, b in pairs:
            _, out, err = run_inspector(["diff", files / a, files / b, "--all"], env={"COLUMNS": str(width)})
            assert err == ""
            assert max(map(len, out.splitlines()[2:])) <= width
