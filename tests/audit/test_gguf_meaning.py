"""GGUF keys against tensors: each rule finds its fault and is silent about a sound model."""

from __future__ import annotations

import pytest
from audit_builder import KEYS, audit, codes, gguf_bytes, gguf_tensors, split_gguf, write
from gguf_builder import BOOL, F32, I32, STR, U16, U32, Arr, Str, Tensor, build

MANY = Arr(STR, [f"t{i}" for i in range(40)])


def one(tmp_path, content, name="model.gguf"):
    write(tmp_path, {name: content})
    return tmp_path / name


def test_a_sound_model_has_no_findings(tmp_path):
    assert audit(one(tmp_path, gguf_bytes())).findings == ()


BAD = {
    "no architecture": ("GM001", {"general.architecture": None}, None),
    "architecture is a number": ("GM001", {"general.architecture": (U32, 7)}, None),
    "architecture is empty": ("GM001", {"general.architecture": (STR, "")}, None),
    "unknown architecture": ("GM002", {"general.architecture": (STR, "llamma")}, None),
    "a block too few": ("GM003", {"llama.block_count": (U32, 3)}, None),
    "a block too many": ("GM003", {"llama.block_count": (U32, 1)}, None),
    "block_count of 2^32": ("GM003", {"llama.block_count": (U32, 2**32 - 1)}, None),
    "block_count missing": ("GM003", {"llama.block_count": None}, None),
    "block_count is text": ("GM003", {"llama.block_count": (STR, "2")}, None),
    "block_count is an array": ("GM003", {"llama.block_count": (9, Arr(U32, [2]))}, None),
    "no blocks at all": ("GM003", {}, gguf_tensors(0)),
    "a hole between blocks": ("GM003", {"llama.block_count": (U32, 3)}, [
        t for t in gguf_tensors(3) if not t.name.startswith("blk.1.")]),
    "embedding of another width": ("GM004", {"llama.embedding_length": (U32, 64)}, None),
    "embedding_length missing": ("GM004", {"llama.embedding_length": None}, None),
    "embedding_length is a fraction": ("GM004", {"llama.embedding_length": (F32, 32.0)}, None),
    "no heads": ("GM005", {"llama.attention.head_count": (U32, 0)}, None),
    "heads missing": ("GM005", {"llama.attention.head_count": None}, None),
    "heads that do not divide": ("GM005", {"llama.attention.head_count": (U32, 5)}, None),
    "kv heads that do not divide": ("GM005", {"llama.attention.head_count_kv": (U32, 3)}, None),
    "heads are text": ("GM005", {"llama.attention.head_count": (STR, "many")}, None),
    "kv heads are negative": ("GM005", {"llama.attention.head_count_kv": (I32, -2)}, None),
    "feed-forward of another width": ("GM006", {"llama.feed_forward_length": (U32, 128)}, None),
    "feed-forward by layer, one wrong": ("GM006", {"llama.feed_forward_length": (9, Arr(U32, [64, 65]))}, None),
    "feed-forward is text": ("GM006", {"llama.feed_forward_length": (STR, "wide")}, None),
    "rope wider than a head": ("GM007", {"llama.rope.dimension_count": (U32, 64)}, None),
    "rope of half a llama head": ("GM007", {"llama.rope.dimension_count": (U32, 4)}, None),
    "rope is text": ("GM007", {"llama.rope.dimension_count": (STR, "8")}, None),
    "more tokens than rows": ("GM008", {"tokenizer.ggml.tokens": (9, MANY), "tokenizer.ggml.scores": None,
                                        "tokenizer.ggml.token_type": None}, None),
    "more tokens than rows, by thousands": ("GM008", {
        "tokenizer.ggml.tokens": (9, Arr(STR, [""] * 9000)), "tokenizer.ggml.scores": None,
        "tokenizer.ggml.token_type": None}, None),
    "bos outside": ("GM009", {"tokenizer.ggml.bos_token_id": (U32, 32)}, None),
    "eos outside": ("GM009", {"tokenizer.ggml.eos_token_id": (U32, 2**32 - 1)}, None),
    "eot outside": ("GM009", {"tokenizer.ggml.eot_token_id": (U32, 1000)}, None),
    "pad outside": ("GM009", {"tokenizer.ggml.padding_token_id": (U32, 99)}, None),
    "unk outside": ("GM009", {"tokenizer.ggml.unknown_token_id": (U32, 33)}, None),
    "negative id": ("GM009", {"tokenizer.ggml.bos_token_id": (I32, -5)}, None),
    "an id that is text": ("GM009", {"tokenizer.ggml.bos_token_id": (STR, "1")}, None),
    "too few scores": ("GM010", {"tokenizer.ggml.scores": (9, Arr(F32, [0.0] * 31))}, None),
    "too many types": ("GM010", {"tokenizer.ggml.token_type": (9, Arr(I32, [1] * 33))}, None),
    "scores are no array": ("GM010", {"tokenizer.ggml.scores": (F32, 1.0)}, None),
}  # fmt: skip


FORK = Tensor("of.a.fork", (256,), 137)  # llama.cpp is not asked about such a file: its loader says nothing


@pytest.mark.parametrize("case", BAD)
def test_a_fault_is_found_under_its_code_as_a_warning(tmp_path, case):
    code, changes, tensors = BAD[case]
    report = audit(one(tmp_path, gguf_bytes(changes, [*(gguf_tensors() if tensors is None else tensors), FORK])))
    assert code in {f.code for f in report.findings if f.severity == "warning"}
    assert report.verdict == "warn"


@pytest.mark.parametrize("case", [case for case in BAD if BAD[case][0] not in {"GM001", "GM002", "GM009"}])
def test_what_llama_cpp_refuses_is_said_once(tmp_path, case):
    """By the loader's own rule where it refuses, else by the rule of this family."""
    code, changes, tensors = BAD[case]
    findings = [f.code for f in audit(one(tmp_path, gguf_bytes(changes, tensors))).findings]
    assert len(findings) == 1
    assert findings[0].startswith("GL") or findings == [code]


def odd_heads():
    dims = {"attn_q": (32, 24), "attn_k": (32, 8), "attn_v": (32, 8), "attn_output": (24, 32)}
    return [Tensor(t.name, dims.get(t.name.split(".")[-2], t.dims), t.type) for t in gguf_tensors()]


GOOD = {
    "head counts by layer": ({"llama.attention.head_count": (9, Arr(U32, [4, 4]))}, None),
    "feed-forward by layer": ({"llama.feed_forward_length": (9, Arr(U32, [64, 64]))}, None),
    "no special tokens": ({"tokenizer.ggml.bos_token_id": None, "tokenizer.ggml.eos_token_id": None}, None),
    "no vocabulary, and said so": (
        {k: None for k in KEYS if k.startswith("tokenizer.ggml.")}
        | {"tokenizer.ggml.model": (STR, "none"), "llama.vocab_size": (U32, 32)}, None),
    "add_bos is a truth value": ({"tokenizer.ggml.add_bos_token": (BOOL, 1)}, None),
    "a key length that no division gives": (
        {"llama.embedding_length": (U32, 32), "llama.attention.head_count": (U32, 3),
         "llama.attention.head_count_kv": (U32, 1), "llama.attention.key_length": (U32, 8),
         "llama.attention.value_length": (U32, 8)}, odd_heads()),
    "a block for further tokens, counted and left out of the file": (
        {"llama.block_count": (U32, 3), "llama.nextn_predict_layers": (U32, 1)}, None),
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD)
def test_what_is_sound_has_no_finding(tmp_path, case):
    assert audit(one(tmp_path, gguf_bytes(*GOOD[case]))).findings == ()


def test_a_label_that_tensors_belie_is_information(tmp_path):
    path = one(tmp_path, gguf_bytes({"general.file_type": (U32, 15)}))  # Q4_K_M, and all tensors are F32
    report = audit(path)
    assert [(f.code, f.severity) for f in report.findings] == [("GM015", "info")]
    assert report.verdict == "pass"
    assert audit(one(tmp_path, gguf_bytes({"general.file_type": (U32, 0)}))).findings == ()


@pytest.mark.parametrize("keys", [
    {"general.architecture": (STR, "clip"), "general.type": (STR, "mmproj")},
    {"general.architecture": (STR, "llama"), "general.type": (STR, "adapter"), "adapter.type": (STR, "lora")},
    {"general.type": (STR, "imatrix")},
    {"general.architecture": (STR, "controlvector")},
])  # fmt: skip
def test_what_is_no_language_model_needs_none_of_its_keys(tmp_path, keys):
    raw = build([(k, *v) for k, v in keys.items()], [Tensor("v.blk.0.attn_q.weight", (32, 32))])
    assert audit(one(tmp_path, raw)).findings == ()


def test_a_header_cut_short_is_not_asked_for_what_it_lacks(tmp_path):
    raw = gguf_bytes()[:200]
    assert not {c for c in codes(one(tmp_path, raw)) if c.startswith("GM")}


def test_no_hostile_value_breaks_a_rule(tmp_path):
    """Every key of the model, with every kind of value."""
    values = [
        (STR, ""), (STR, Str(b"\xff\xfe")), (STR, "x" * 3_000_000), (U32, 0), (U32, 2**32 - 1), (10, 2**64 - 1),
        (11, -(2**63)), (F32, float("nan")), (F32, float("inf")), (BOOL, 1), (9, Arr(U32, [])), (9, Arr(U32, [0])),
        (9, Arr(STR, ["a"])), (9, Arr(U32, [2**32 - 1] * 5000)), (9, Arr(9, [Arr(U32, [1])])),
        (9, Arr(F32, [float("nan")] * 2)),
    ]  # fmt: skip
    for key in [*KEYS, "llama.nextn_predict_layers", "general.file_type", "general.type", "split.count", "split.no",
                "split.tensors.count", "general.alignment", "llama.attention.key_length"]:  # fmt: skip
        for value in values:
            audit(one(tmp_path, gguf_bytes({key: value})))


# --- splits ---------------------------------------------------------------------------------------------------------


def test_a_whole_split_has_no_findings(tmp_path):
    assert audit(split_gguf(tmp_path)).findings == ()


def test_the_keys_of_a_split_are_held_against_the_tensors_of_all_parts(tmp_path):
    report = audit(split_gguf(tmp_path, changes={0: {"llama.block_count": (U32, 5)}}))
    assert [f.code for f in report.findings] == ["GL006"]


@pytest.mark.parametrize("skip", [(0,), (1,), (2,), (0, 2)])
def test_a_missing_part_fails_a_folder(tmp_path, skip):
    report = audit(split_gguf(tmp_path, skip=skip))
    assert ("GM011", "error") in {(f.code, f.severity) for f in report.findings}
    assert f"m-{skip[0] + 1:05d}-of-00003.gguf" in report.findings[0].message
    assert report.verdict == "fail"


def test_a_lone_part_named_by_itself_is_a_warning(tmp_path):
    folder = split_gguf(tmp_path, skip=(0, 2))
    report = audit(folder / "m-00002-of-00003.gguf")
    assert [(f.code, f.severity) for f in report.findings] == [("GM011", "warning")]


@pytest.mark.parametrize("part", [1, 2, 3])
def test_one_part_of_a_whole_split_has_no_findings(tmp_path, part):
    assert audit(split_gguf(tmp_path) / f"m-{part:05d}-of-00003.gguf").findings == ()


@pytest.mark.parametrize("options", [
    {"numbers": [0, 2, 1]}, {"numbers": [1, 1, 2]}, {"counts": [3, 4, 3]}, {"counts": [2, 2, 2]},
    {"changes": {1: {"split.no": None}}}, {"changes": {1: {"split.count": None}}},
    {"changes": {2: {"split.no": (STR, "2")}}}, {"changes": {0: {"split.count": (9, Arr(U16, [3]))}}},
])  # fmt: skip
def test_numbers_that_are_not_those_of_the_names_are_errors(tmp_path, options):
    report = audit(split_gguf(tmp_path, **options))
    assert "GM012" in {f.code for f in report.findings}
    assert report.verdict == "fail"


def test_a_part_under_a_name_without_a_number_is_an_error(tmp_path):
    (split_gguf(tmp_path) / "m-00002-of-00003.gguf").rename(tmp_path / "part.gguf")
    assert {"GM011", "GM012"} <= codes(tmp_path)


@pytest.mark.parametrize("total", [0, 5, 11, 2**31 - 1])
def test_a_total_that_the_parts_do_not_have_is_an_error(tmp_path, total):
    assert codes(split_gguf(tmp_path, total=total)) == {"GM013"}


def test_a_tensor_in_two_parts_is_an_error(tmp_path):
    parts = [[], gguf_tensors(), [Tensor("blk.0.attn_q.weight", (32, 32))]]
    report = audit(split_gguf(tmp_path, tensors=parts))
    assert [f.code for f in report.findings] == ["GM014"]
    assert report.findings[0].where == "m-00003-of-00003.gguf: blk.0.attn_q.weight"


def test_many_splits_of_many_parts_are_counted_and_not_walked(tmp_path):
    raw = gguf_bytes()
    for i in range(200):
        (tmp_path / f"p{i}-00001-of-99999.gguf").write_bytes(raw)
    report = audit(tmp_path)
    assert {"GM011", "GM012"} == {f.code for f in report.findings}
    assert sum(len(f.message) for f in report.findings) < 20_000
