"""Folders: index against shards against config against tokenizer; each rule has a bad and a sound folder."""

from __future__ import annotations

import json
import os

import pytest
from audit_builder import (
    CONFIG,
    D,
    V,
    audit,
    codes,
    gguf_bytes,
    hub_snapshot,
    llama_folder,
    llama_layer,
    llama_tensors,
    loud,
    shard,
    sharded,
    st_bytes,
    write,
)

INDEX = "model.safetensors.index.json"


def found(path):
    return {(f.code, f.severity) for f in audit(path).findings}


def index(path):
    return json.loads((path / INDEX).read_text())


def change_index(path, change):
    value = index(path)
    change(value["weight_map"])
    (path / INDEX).write_text(json.dumps(value))
    return path


def test_whole_folders_have_no_findings(tmp_path):
    assert audit(llama_folder(tmp_path / "one")).findings == ()
    assert audit(sharded(tmp_path / "two")).findings == ()


# --- the index -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "", "{", "[]", "null", "{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}', '{"weight_map": {"a": null}}',
    '{"weight_map": {"a": ["model.safetensors"]}}', '{"weight_map": "model.safetensors"}', "[" * 100_000, "\ufeff{}",
    '{"a":' * 200 + "1" + "}" * 200, '{"weight_map": {"a": NaN}}', "<html></html>",
])  # fmt: skip
def test_an_index_that_is_none_is_an_error(tmp_path, text):
    sharded(tmp_path)
    write(tmp_path, {INDEX: text})
    assert ("FD001", "error") in found(tmp_path)


def test_an_index_of_100_mb_is_not_read(tmp_path):
    sharded(tmp_path)
    with open(tmp_path / INDEX, "wb") as file:
        file.truncate(100 << 20)
    assert ("FD001", "error") in found(tmp_path)


@pytest.mark.parametrize("name", [
    "/etc/passwd", "../outside.safetensors", "a/../../outside.safetensors", "..", "", "C:\\x.safetensors",
    "\\\\server\\share\\x.safetensors", "..\\outside.safetensors", "/dev/zero", "a\0b.safetensors", "x" * 300,
    "a\x1b[31m.safetensors",
])  # fmt: skip
def test_an_index_that_names_a_path_outside_is_an_error_and_nothing_is_opened(tmp_path, name):
    folder = sharded(tmp_path / "model")
    os.mkfifo(tmp_path / "outside.safetensors")  # opening it would hang
    change_index(folder, lambda m: m.update({"model.norm.weight": name}))
    assert ("FD002", "error") in found(folder)
    assert codes(folder / INDEX) == {"FD002"}


def test_a_shard_that_is_a_pipe_is_found_and_not_opened(tmp_path):
    folder = sharded(tmp_path)
    (folder / shard(2, 2)).unlink()
    os.mkfifo(folder / shard(2, 2))
    assert ("FL008", "error") in found(folder)


@pytest.mark.parametrize("gone", [[1], [2], [1, 2]])
def test_missing_shards_are_an_error(tmp_path, gone):
    folder = sharded(tmp_path)
    for i in gone:
        (folder / shard(i, 2)).unlink()
    report = audit(folder)
    assert report.verdict == "fail"
    message = next(f.message for f in report.findings if f.code == "FD003")
    assert shard(gone[0], 2) in message


def test_ten_thousand_missing_shards_are_one_short_finding(tmp_path):
    folder = sharded(tmp_path, weight_map={f"t{i}": f"s{i}.safetensors" for i in range(10_000)})
    report = audit(folder)
    findings = [f for f in report.findings if f.code == "FD003"]
    assert len(findings) == 1
    assert "10,000" in findings[0].message
    assert len(findings[0].message) < 2000


def test_shards_that_only_names_count_are_missed(tmp_path):
    write(tmp_path, {shard(2, 3): st_bytes({"a": ("F32", (2,))})})
    assert ("FD003", "error") in found(tmp_path)


def test_shards_without_an_index_are_information(tmp_path):
    folder = sharded(tmp_path)
    (folder / INDEX).unlink()
    assert found(folder) == {("FD019", "info")}


@pytest.mark.parametrize("content", [b"", bytes(4000), b"<html>", gguf_bytes(), st_bytes({"a": ("F32", (4,))})[:-3]])
def test_one_bad_shard_fails_the_folder(tmp_path, content):
    folder = sharded(tmp_path)
    (folder / shard(2, 2)).write_bytes(content)
    assert audit(folder).verdict == "fail"


def test_a_tensor_that_its_shard_lacks_is_an_error(tmp_path):
    folder = change_index(sharded(tmp_path), lambda m: m.update({"extra.weight": shard(1, 2)}))
    assert found(folder) == {("FD004", "error")}


def test_a_tensor_in_another_shard_than_the_index_says_is_an_error(tmp_path):
    folder = change_index(sharded(tmp_path), lambda m: m.update({"lm_head.weight": shard(1, 2)}))
    assert ("FD004", "error") in found(folder)


def test_an_index_that_names_a_document_as_a_shard_is_an_error(tmp_path):
    folder = change_index(sharded(tmp_path), lambda m: m.update({"lm_head.weight": "config.json"}))
    assert ("FD004", "error") in found(folder)


@pytest.mark.parametrize(
    "name", ["model-00003-of-00003.safetensors", "extra.safetensors", "old-00001-of-00001.safetensors"]
)
def test_a_shard_that_no_index_names_is_a_warning(tmp_path, name):
    folder = sharded(tmp_path, **{name: st_bytes({"old": ("F32", (2,))})})
    assert found(folder) == {("FD005", "warning")}


def test_a_tensor_that_no_index_names_is_a_warning(tmp_path):
    folder = change_index(sharded(tmp_path), lambda m: m.pop("model.norm.weight"))
    assert found(folder) == {("FD005", "warning")}


def test_a_tensor_in_two_shards_is_a_warning(tmp_path):
    table = {"model.embed_tokens.weight": ("BF16", (V, D))}
    parts = [{**table, **llama_layer(0)}, {**llama_layer(1), **table, "lm_head.weight": ("BF16", (V, D))}]
    assert ("FD006", "warning") in found(sharded(tmp_path, parts))


@pytest.mark.parametrize("total", [0, 1, 10**15, "123", 1.5])
def test_a_total_that_is_off_is_information(tmp_path, total):
    assert found(sharded(tmp_path, total=total)) == {("FD007", "info")}


def test_a_whole_file_beside_shards_is_a_warning(tmp_path):
    folder = sharded(tmp_path, **{"model.safetensors": st_bytes(llama_tensors())})
    assert found(folder) == {("FD018", "warning")}


def test_shards_of_different_types_are_information(tmp_path):
    parts = [{"model.embed_tokens.weight": ("BF16", (V, D)), **llama_layer(0)},
             {**llama_layer(1, "F32"), "lm_head.weight": ("F32", (V, D))}]  # fmt: skip
    assert found(sharded(tmp_path, parts)) == {("FD017", "info")}


def test_models_in_sub_folders_have_their_own_index(tmp_path):
    sharded(tmp_path / "text_encoder")
    sharded(tmp_path / "unet")
    assert audit(tmp_path).findings == ()
    (tmp_path / "unet" / shard(1, 2)).unlink()
    report = audit(tmp_path)
    assert [(f.code, f.where) for f in loud(report)] == [("FD003", f"unet/{INDEX}")]


# --- links -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "severity"), [
    ("model.safetensors", "error"), ("config.json", "error"), ("pytorch_model.bin", "error"), ("NOTES", "warning"),
    ("README.md", "warning"), ("LICENSE", "warning"),
])  # fmt: skip
def test_a_link_that_leaves_the_folder_is_found_and_not_followed(tmp_path, name, severity):
    folder = llama_folder(tmp_path / "model")
    (tmp_path / "elsewhere").write_bytes(b"secret")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(tmp_path / "elsewhere")
    report = audit(folder)
    assert ("FD009", severity) in {(f.code, f.severity) for f in report.findings}
    assert not any("secret" in f.message for f in report.findings)


def test_a_folder_that_is_a_link_to_the_outside_is_not_entered(tmp_path):
    folder = llama_folder(tmp_path / "model")
    write(tmp_path / "outside", {"model.safetensors": b""})
    (folder / "inner").symlink_to(tmp_path / "outside")
    assert found(folder) == {("FD009", "error")}


def test_a_blob_of_another_repository_is_outside(tmp_path):
    snapshot = hub_snapshot(tmp_path, {"model.safetensors": st_bytes({"a": ("F32", (2,))})})
    (tmp_path / "models--other" / "blobs").mkdir(parents=True)
    (tmp_path / "models--other" / "blobs" / "x").write_bytes(st_bytes())
    (snapshot / "b.safetensors").symlink_to("../../../models--other/blobs/x")
    assert ("FD009", "error") in found(snapshot)


def test_a_short_blob_is_an_error(tmp_path):
    raw = st_bytes({"a": ("F32", (100,))})
    snapshot = hub_snapshot(tmp_path, {"model.safetensors": raw[:-10], "config.json": {}})
    assert {("FD008", "error"), ("ST009", "error")} == found(snapshot)


def test_an_empty_blob_that_should_not_be_is_an_error(tmp_path):
    snapshot = hub_snapshot(tmp_path, {"vocab.txt": b"", "config.json": {}}, hashes={"vocab.txt": "ab" * 20})
    assert found(snapshot) == {("FD008", "error"), ("FL014", "info")}
    empty = hub_snapshot(tmp_path / "x", {"vocab.txt": b"", "config.json": {}})
    assert found(empty) == {("FL014", "info")}


# --- documents -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "", "{", "[1]", "null", '"llama"', "{'a': 1}", "[" * 200_000, '{"a":' * 500 + "1" + "}" * 500, "\ufeff{}", "{}x",
    '{"a": ' + "9" * 100_000 + "}",
])  # fmt: skip
def test_a_config_that_is_none_is_an_error(tmp_path, text):
    folder = llama_folder(tmp_path)
    write(folder, {"config.json": text})
    assert ("FD010", "error") in found(folder)
    assert codes(folder / "config.json") == {"FD010"}


@pytest.mark.parametrize("name", ["tokenizer_config.json", "generation_config.json", "adapter_config.json"])
def test_other_documents_that_are_not_json_are_errors(tmp_path, name):
    assert found(llama_folder(tmp_path, **{name: "{"})) == {("FD010", "error")}


def test_a_config_of_200_mb_is_not_read(tmp_path):
    folder = llama_folder(tmp_path)
    with open(folder / "config.json", "wb") as file:
        file.truncate(200 << 20)
    assert ("FD010", "error") in found(folder)


def test_a_config_of_infinities_is_read_as_transformers_reads_it(tmp_path):
    folder = llama_folder(tmp_path)
    text = (folder / "config.json").read_text()
    write(folder, {"config.json": text.replace("{", '{"time_step_limit": [0.0, Infinity], ', 1)})
    assert found(folder) == set()


# --- config.json against tensors -------------------------------------------------------------------------------------

CONFIG_FAULTS = {
    "a layer too many in the config": ("FD011", {"num_hidden_layers": 3}),
    "a layer too few in the config": ("FD011", {"num_hidden_layers": 1}),
    "a billion layers": ("FD011", {"num_hidden_layers": 2**30}),
    "another width": ("FD012", {"hidden_size": 32}),
    "a smaller vocabulary": ("FD013", {"vocab_size": 30}),
    "a larger vocabulary": ("FD013", {"vocab_size": 64}),
    "heads that do not divide": ("FD014", {"num_attention_heads": 3}),
    "other heads": ("FD014", {"num_attention_heads": 4, "head_dim": 16}),
    "other key-value heads": ("FD014", {"num_key_value_heads": 4}),
    "GPTQ promised": ("FD020", {"quantization_config": {"quant_method": "gptq", "bits": 4}}),
    "AWQ promised": ("FD020", {"quantization_config": {"quant_method": "awq", "bits": 4}}),
    "fp8 promised": ("FD020", {"quantization_config": {"quant_method": "fp8"}}),
    "compressed-tensors promised": ("FD020", {"quantization_config": {"quant_method": "compressed-tensors"}}),
}


@pytest.mark.parametrize("case", CONFIG_FAULTS)
def test_a_config_that_is_not_of_these_tensors_is_a_warning(tmp_path, case):
    code, changes = CONFIG_FAULTS[case]
    assert (code, "warning") in found(llama_folder(tmp_path, config=changes))
    assert audit(tmp_path).verdict == "warn"


def test_a_layer_without_tensors_in_between_is_a_warning(tmp_path):
    tensors = {k: v for k, v in llama_tensors(4).items() if ".layers.2." not in k}
    assert found(llama_folder(tmp_path, tensors, {"num_hidden_layers": 4})) == {("FD011", "warning")}


def test_a_head_that_is_neither_there_nor_tied_is_a_warning(tmp_path):
    folder = llama_folder(tmp_path, llama_tensors(head=False))
    assert found(folder) == {("FD015", "warning")}
    assert found(llama_folder(tmp_path, llama_tensors(head=False), {"tie_word_embeddings": True})) == set()
    other = {"tie_word_embeddings": None, "tie_embedding": True}
    assert found(llama_folder(tmp_path, llama_tensors(head=False), other)) == set()
    base = {"architectures": ["LlamaModel"]}
    assert found(llama_folder(tmp_path, llama_tensors(head=False), base)) == set()


def packed(bits=4, rows=None):
    at = "model.layers.0.self_attn.q_proj."
    tensors = llama_tensors(1)
    del tensors[at + "weight"]
    rows = D * bits // 32 if rows is None else rows
    return tensors | {
        at + "qweight": ("I32", (rows, D)), at + "qzeros": ("I32", (1, 2)), at + "scales": ("F16", (1, D)),
        at + "g_idx": ("I32", (D,)),
    }  # fmt: skip


def test_packed_tensors_that_no_config_mentions_are_a_warning(tmp_path):
    assert ("FD020", "warning") in found(llama_folder(tmp_path, packed(), {"num_hidden_layers": 1}))


def test_packed_tensors_of_another_number_of_bits_are_a_warning(tmp_path):
    config = {"num_hidden_layers": 1, "quantization_config": {"quant_method": "gptq", "bits": 4}}
    assert found(llama_folder(tmp_path, packed(), config)) == set()
    config["quantization_config"]["bits"] = 8
    assert found(llama_folder(tmp_path, packed(), config)) == {("FD020", "warning")}


def test_a_quantize_config_beside_it_is_enough(tmp_path):
    folder = llama_folder(tmp_path, packed(), {"num_hidden_layers": 1})
    write(folder, {"quantize_config.json": {"bits": 4, "group_size": 128}})
    assert found(folder) == set()


# --- the tokenizer ---------------------------------------------------------------------------------------------------


def tokenizer(n, *, added=(), kind="BPE"):
    vocab = {f'tok"{i}\\': i for i in range(n)} if kind != "Unigram" else [[f"▁{i}", -1.5] for i in range(n)]
    return {"version": "1.0", "added_tokens": [{"id": i, "content": f"<{i}>"} for i in added],
            "model": {"type": kind, "vocab": vocab, "merges": []}}  # fmt: skip


@pytest.mark.parametrize(("content", "bad"), [
    (tokenizer(V), False), (tokenizer(V - 5), False), (tokenizer(V + 1), True), (tokenizer(V, added=(V,)), True),
    (tokenizer(V - 1, added=(V - 1,)), False), (tokenizer(V, kind="Unigram"), False),
    (tokenizer(V + 1, kind="Unigram"), True), ({"model": {"vocab": {}}}, False), ("{", False), ({}, False),
    ({"model": {"vocab": {"model": V - 1, "id": 3}}, "added_tokens": []}, False),
    ({"model": {"vocab": {"a": 10**17}}}, True),
])  # fmt: skip
def test_token_numbers_beyond_the_embedding_are_a_warning(tmp_path, content, bad):
    folder = llama_folder(tmp_path, **{"tokenizer.json": content})
    assert ((("FD016", "warning")) in found(folder)) == bad


# --- hostile documents -----------------------------------------------------------------------------------------------

HOSTILE = [None, True, -1, 0, 1.5, 1e300, 2**70, "", "x", [], [[]], {}, {"a": 1}, [None], "\ud83d\ude00", "a\u202eb"]


def test_no_hostile_value_breaks_a_rule(tmp_path):
    keys = [*CONFIG, "text_config", "quantization_config", "head_dim", "num_nextn_predict_layers", "layer_types",
            "_class_name", "tie_word_embeddings", "block_configs", "auto_map"]  # fmt: skip
    for key in keys:
        for value in HOSTILE:
            audit(llama_folder(tmp_path, config={key: value}))
    for name in ("tokenizer_config.json", "tokenizer.json", "modules.json", "quantize_config.json", "model_index.json"):
        for value in HOSTILE:
            audit(llama_folder(tmp_path, **{name: json.dumps(value)}))


def test_no_hostile_index_breaks_a_rule(tmp_path):
    for value in HOSTILE:
        audit(sharded(tmp_path, weight_map={"a": value} if value else value))
        write(tmp_path, {INDEX: {"metadata": value, "weight_map": {"a": shard(1, 2)}}})
        audit(tmp_path)
        write(tmp_path, {INDEX: {"metadata": {"total_size": value}, "weight_map": {"a": shard(1, 2)}}})
        audit(tmp_path)
