"""What a file or folder is taken for: shards joined, documents attached, neighbours set aside."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from holes import stretch
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.checkpoint import SeveralModels, open_checkpoint, split_name
from inspector.checkpoint.listing import MAX_ENTRIES, list_folder
from inspector.errors import FormatError, InspectorError, NotAModelFile, NotFound, Offline, SourceError
from inspector.stores.names import matches_tag, quant_label, role_of


def safetensors(*names, size=4, metadata=None):
    header = {"__metadata__": metadata} if metadata else {}
    for i, name in enumerate(names):
        header[name] = {"dtype": "U8", "shape": [size], "data_offsets": [i * size, (i + 1) * size]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"\0" * (size * len(names))


def gguf(*tensors, **metadata):
    """A GGUF file whose values are u32 (numbers) or strings."""

    def string(text):
        return struct.pack("<Q", len(text)) + text.encode()

    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    for key, value in metadata.items():
        kind = struct.pack("<II", 4, value) if isinstance(value, int) else struct.pack("<I", 8) + string(value)
        out += string(key.replace("__", ".")) + kind
    for i, name in enumerate(tensors):
        out += string(name) + struct.pack("<IQIQ", 1, 8, 0, 32 * i)
    out += b"\0" * (-len(out) % 32)
    return out + b"\0" * (32 * len(tensors))


def write(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def index(**weight_map):
    return {"metadata": {"total_size": 1}, "weight_map": weight_map}


def roles(checkpoint):
    return {(c.role, c.name) for c in checkpoint.companions}


A, B = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"


@pytest.fixture
def sharded(tmp_path):
    write(tmp_path, A, safetensors("a"))
    write(tmp_path, B, safetensors("b", "c"))
    write(tmp_path, INDEX, index(a=A, b=B, c=B))
    write(tmp_path, "config.json", {"model_type": "llama"})
    return tmp_path


# --- one file ------------------------------------------------------------------------------------------------------


def test_a_gguf_file_is_a_checkpoint_of_one_file(tmp_path):
    path = write(tmp_path, "m.gguf", gguf("t", general__architecture="llama"))
    checkpoint = open_checkpoint(str(path))
    assert (checkpoint.format, checkpoint.target) == ("gguf", str(path))
    assert checkpoint.metadata["general.architecture"] == "llama"
    assert [t.name for t in checkpoint.tensors] == ["t"]
    assert checkpoint.tensors_nbytes == 32
    assert not checkpoint.missing
    assert not checkpoint.documents


def test_opening_a_gguf_file_imports_no_parser_of_json_and_no_regular_expressions(tmp_path):
    path = write(tmp_path, "m.gguf", gguf("t"))
    code = (
        "import sys; before = set(sys.modules)\n"
        "from inspector.checkpoint import open_checkpoint\n"
        "open_checkpoint(sys.argv[1])\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    out = subprocess.run(
        [sys.executable, "-S", "-c", code, str(path)],
        env={"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    heavy = {"re", "json", "difflib", "glob", "fnmatch", "pathlib", "urllib", "dataclasses", "enum", "gc"}
    assert not heavy & set(out)
    # the records and the opening of one path; nothing of folders, listings and documents
    ours = {m for m in out if m.startswith("inspector.checkpoint.")}
    assert ours == {"inspector.checkpoint.local", "inspector.checkpoint.records"}


def test_a_safetensors_file_brings_the_documents_beside_it(tmp_path):
    path = write(tmp_path, "model.safetensors", safetensors("a"))
    write(tmp_path, "config.json", {"model_type": "bert"})
    checkpoint = open_checkpoint(str(path))
    assert checkpoint.config == {"model_type": "bert"}
    assert [f.name for f in checkpoint.files] == ["model.safetensors"]


def test_a_safetensors_file_cut_short_after_its_header_opens_and_counts_what_is_missing(tmp_path):
    path = write(tmp_path, "model.safetensors", safetensors("a", "b")[:-3])
    assert open_checkpoint(str(path)).missing_nbytes == 3


def test_a_config_alone_answers_without_weights(tmp_path):
    path = write(tmp_path, "llama-3-8b.json", {"model_type": "llama", "text_config": {"hidden_size": 8}})
    checkpoint = open_checkpoint(str(path))
    assert checkpoint.format == "config"
    assert checkpoint.config == {"model_type": "llama", "text_config": {"hidden_size": 8}}
    assert checkpoint.files == ()


def test_json_that_is_no_object_is_not_a_config(tmp_path):
    with pytest.raises(NotAModelFile):
        open_checkpoint(str(write(tmp_path, "x.json", [1])))


def test_a_config_with_infinity_in_it_reads_as_transformers_reads_it(tmp_path):
    path = write(tmp_path, "config.json", '{"time_step_limit": [0.0, Infinity]}')
    assert open_checkpoint(str(path)).config == {"time_step_limit": [0.0, float("inf")]}


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 5000 + "1" + "}" * 5000,
        '{"a":' * 200 + "1" + "}" * 200,
        "\ufeff{}",
        "{",
        "9" * 5000,
        "",
    ],
    ids=["unclosed", "deep", "fairly deep", "bom", "cut", "digits", "empty"],
)
def test_a_hostile_config_is_one_known_error(tmp_path, text):
    with pytest.raises(FormatError):
        open_checkpoint(str(write(tmp_path, "config.json", text)))


def test_a_huge_document_is_refused_by_its_size(tmp_path):
    path = write(tmp_path, "config.json", b"")
    stretch(path, 1 << 40)
    with pytest.raises(FormatError, match="documents of more than"):
        open_checkpoint(str(path))


def test_a_pipe_under_a_model_files_name_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "m.gguf")
    with pytest.raises(SourceError, match="pipe"):
        open_checkpoint(str(tmp_path / "m.gguf"))


def test_a_link_loop_is_one_error(tmp_path):
    (tmp_path / "m.gguf").symlink_to(tmp_path / "m.gguf")
    with pytest.raises(InspectorError):
        open_checkpoint(str(tmp_path / "m.gguf"))


# --- safetensors folders -------------------------------------------------------------------------------------------


def test_shards_are_joined_by_the_index(sharded):
    checkpoint = open_checkpoint(str(sharded))
    assert [f.name for f in checkpoint.files] == [A, B]
    assert [t.name for t in checkpoint.tensors] == ["a", "b", "c"]
    assert checkpoint.documents[INDEX]["weight_map"]["a"] == A
    assert (checkpoint.missing, checkpoint.companions, checkpoint.defects) == ((), (), ())


@pytest.mark.parametrize("name", [B, INDEX])
def test_one_shard_or_the_index_stands_for_the_whole_model(sharded, name):
    checkpoint = open_checkpoint(str(sharded / name))
    assert [f.name for f in checkpoint.files] == [A, B]
    assert bool(checkpoint.notes) == (name == B)


def test_a_shard_that_is_not_there_is_missing(sharded):
    (sharded / A).unlink()
    checkpoint = open_checkpoint(str(sharded))
    assert [f.name for f in checkpoint.files] == [B]
    assert checkpoint.missing == (A,)


def test_an_index_alone_has_all_its_shards_missing(sharded):
    (sharded / A).unlink()
    (sharded / B).unlink()
    checkpoint = open_checkpoint(str(sharded))
    assert (checkpoint.files, checkpoint.missing) == ((), (A, B))


def test_a_shard_that_the_index_does_not_name_is_stale(sharded):
    write(sharded, "model-00003-of-00003.safetensors", safetensors("old"))
    checkpoint = open_checkpoint(str(sharded))
    assert roles(checkpoint) == {("stale", "model-00003-of-00003.safetensors")}
    assert [f.name for f in checkpoint.files] == [A, B]


def test_without_an_index_shard_names_say_what_is_missing(tmp_path):
    write(tmp_path, "model-00001-of-00003.safetensors", safetensors("a"))
    write(tmp_path, "model-00003-of-00003.safetensors", safetensors("c"))
    for target in (tmp_path, tmp_path / "model-00003-of-00003.safetensors"):
        checkpoint = open_checkpoint(str(target))
        assert [t.name for t in checkpoint.tensors] == ["a", "c"]
        assert checkpoint.missing == ("model-00002-of-00003.safetensors",)


def test_model_safetensors_wins_over_an_index_that_does_not_name_it(sharded):
    write(sharded, "model.safetensors", safetensors("whole"))
    checkpoint = open_checkpoint(str(sharded))
    assert [t.name for t in checkpoint.tensors] == ["whole"]
    assert roles(checkpoint) == {("twin", A), ("twin", B)}


def test_consolidated_and_original_copies_are_twins(sharded):
    write(sharded, "consolidated.safetensors", safetensors("a"))
    write(sharded, "original/consolidated.00.pth", b"PK")
    write(sharded, "pytorch_model.bin", b"PK")
    assert roles(open_checkpoint(str(sharded))) == {
        ("twin", "consolidated.safetensors"),
        ("pickle", "original/consolidated.00.pth"),
        ("pickle", "pytorch_model.bin"),
    }


def test_consolidated_weights_alone_are_the_model(tmp_path):
    write(tmp_path, "consolidated.safetensors", safetensors("a"))
    write(tmp_path, "params.json", {"dim": 8})
    checkpoint = open_checkpoint(str(tmp_path))
    assert [t.name for t in checkpoint.tensors] == ["a"]
    assert checkpoint.documents["params.json"] == {"dim": 8}


def test_unrelated_safetensors_files_are_several_models(tmp_path):
    write(tmp_path, "flux.safetensors", safetensors("a"))
    write(tmp_path, "vae.safetensors", safetensors("b"))
    with pytest.raises(SeveralModels) as caught:
        open_checkpoint(str(tmp_path))
    assert [name for name, _, _ in caught.value.models] == ["flux.safetensors", "vae.safetensors"]


def test_with_a_config_files_of_any_name_are_one_model(tmp_path):
    write(tmp_path, "part_a.safetensors", safetensors("a"))
    write(tmp_path, "part_b.safetensors", safetensors("b"))
    write(tmp_path, "config.json", {})
    assert [t.name for t in open_checkpoint(str(tmp_path)).tensors] == ["a", "b"]


@pytest.mark.parametrize(
    "name", ["../secret.safetensors", "/etc/passwd", "a/../../x.safetensors", "\0", "C:\\x", "..\\x", ""]
)
def test_an_index_that_points_out_of_its_folder_is_an_error_and_not_a_read(sharded, name):
    write(sharded.parent, "secret.safetensors", safetensors("secret"))
    write(sharded, INDEX, index(a=A, s=name))
    with pytest.raises(FormatError, match="index"):
        open_checkpoint(str(sharded))
    checkpoint = open_checkpoint(str(sharded), strict=False)
    assert [d.code for d in checkpoint.defects] == ["index-path"]
    assert [f.name for f in checkpoint.files] == [A]


def test_a_shard_that_links_out_of_the_folder_is_an_error_and_not_a_read(sharded, tmp_path_factory):
    outside = write(tmp_path_factory.mktemp("outside"), "x.safetensors", safetensors("secret"))
    (sharded / A).unlink()
    (sharded / A).symlink_to(outside)
    with pytest.raises(FormatError, match="leads out of the folder"):
        open_checkpoint(str(sharded))
    checkpoint = open_checkpoint(str(sharded), strict=False)
    assert [d.code for d in checkpoint.defects] == ["link-outside"]
    assert "secret" not in {t.name for t in checkpoint.tensors}


def test_a_link_within_the_folder_is_followed(sharded):
    (sharded / A).rename(sharded / "elsewhere.bin")
    (sharded / A).symlink_to("elsewhere.bin")
    assert [t.name for t in open_checkpoint(str(sharded)).tensors] == ["a", "b", "c"]


def test_a_pipe_among_the_shards_is_an_error(sharded):
    (sharded / A).unlink()
    os.mkfifo(sharded / A)
    with pytest.raises(FormatError, match="pipe"):
        open_checkpoint(str(sharded))


def test_a_config_that_links_out_of_the_folder_is_not_read(sharded, tmp_path_factory):
    outside = write(tmp_path_factory.mktemp("outside"), "x.json", {"secret": 1})
    (sharded / "config.json").unlink()
    (sharded / "config.json").symlink_to(outside)
    checkpoint = open_checkpoint(str(sharded))
    assert checkpoint.config is None
    assert [d.code for d in checkpoint.defects] == ["link-outside"]


@pytest.mark.parametrize("content", ["{", "[]", '{"weight_map": []}', '{"weight_map": {"a": 1}}', "[" * 9999])
def test_a_broken_index_is_a_defect_and_the_shards_are_found_by_name(sharded, content):
    write(sharded, INDEX, content)
    checkpoint = open_checkpoint(str(sharded), strict=False)
    assert [t.name for t in checkpoint.tensors] == ["a", "b", "c"]
    assert len(checkpoint.defects) == 1


@pytest.mark.parametrize("content", [{"weight_map": {}}, {}])
def test_an_index_without_any_file_is_a_model_without_files(tmp_path, content):
    write(tmp_path, INDEX, content)
    checkpoint = open_checkpoint(str(tmp_path), strict=False)
    assert (checkpoint.format, checkpoint.files) == ("safetensors", ())
    assert checkpoint.notes
    write(tmp_path, "m.gguf", gguf("t"))
    assert [t.name for t in open_checkpoint(str(tmp_path)).tensors] == ["t"]


def test_a_broken_shard_is_named(sharded):
    write(sharded, B, b"\1" + b"\0" * 30)
    with pytest.raises(FormatError, match=B):
        open_checkpoint(str(sharded))


def test_a_broken_config_is_a_defect_and_the_weights_are_read(sharded):
    write(sharded, "config.json", "{")
    checkpoint = open_checkpoint(str(sharded))
    assert checkpoint.config is None
    assert [(d.code, d.where) for d in checkpoint.defects] == [("document-unreadable", "config.json")]
    assert len(checkpoint.files) == 2


# --- GGUF folders --------------------------------------------------------------------------------------------------


@pytest.fixture
def quants(tmp_path):
    for label in ("Q4_K_M", "Q8_0", "BF16"):
        write(tmp_path, f"m-{label}.gguf", gguf(label))
    write(tmp_path, "mmproj-F16.gguf", gguf("v"))
    write(tmp_path, "imatrix.dat", b"x")
    return tmp_path


def test_a_folder_of_quants_lists_them_and_asks_for_one(quants):
    with pytest.raises(SeveralModels) as caught:
        open_checkpoint(str(quants))
    size = len(gguf("Q8_0"))
    assert ("m-Q8_0.gguf", size, "Q8_0") in caught.value.models
    assert len(caught.value.models) == 3
    assert f"{quants}:" in str(caught.value.hint)


def test_a_tag_picks_one_quant_and_sets_the_rest_aside(quants):
    checkpoint = open_checkpoint(f"{quants}:q4_k_m")
    assert [t.name for t in checkpoint.tensors] == ["Q4_K_M"]
    assert roles(checkpoint) == {
        ("quant", "m-BF16.gguf"),
        ("quant", "m-Q8_0.gguf"),
        ("mmproj", "mmproj-F16.gguf"),
        ("imatrix", "imatrix.dat"),
    }


def test_a_tag_that_matches_nothing_lists_what_there_is(quants):
    with pytest.raises(NotFound) as caught:
        open_checkpoint(f"{quants}:Q2_K")
    assert "Q4_K_M" in str(caught.value.hint)


def test_a_tag_that_matches_twice_takes_the_first_and_says_so(quants):
    write(quants, "m-UD-Q8_0.gguf", gguf("ud"))
    checkpoint = open_checkpoint(f"{quants}:Q8_0")
    assert [t.name for t in checkpoint.tensors] == ["Q8_0"]
    assert "2 models match" in " ".join(checkpoint.notes)


def test_a_tag_follows_llama_cpp_and_must_end_at_a_dot_or_hyphen():
    assert matches_tag("BF16/m-BF16-00001-of-00002.gguf", "bf16")
    assert matches_tag("m-Q4_K_M.gguf", "Q4_K_M")
    assert not matches_tag("m-Q4_K_M.gguf", "Q4_K")
    assert not matches_tag("m-Q4_K_M.gguf", "Q4.K_M")


def test_a_split_model_is_joined_from_any_of_its_parts(tmp_path):
    for i in (1, 2, 3):
        write(tmp_path, f"m-{i:05d}-of-00003.gguf", gguf(f"t{i}", split__no=i - 1, split__count=3))
    for target in ("m-00002-of-00003.gguf", ""):
        checkpoint = open_checkpoint(os.path.join(tmp_path, target))
        assert [t.name for t in checkpoint.tensors] == ["t1", "t2", "t3"]
        assert not checkpoint.missing


def test_missing_parts_of_a_split_are_listed(tmp_path):
    write(tmp_path, "m-00002-of-00003.gguf", gguf("t2"))
    checkpoint = open_checkpoint(str(tmp_path))
    assert checkpoint.missing == ("m-00001-of-00003.gguf", "m-00003-of-00003.gguf")
    assert "first part" in " ".join(checkpoint.notes)


def test_a_model_in_a_sub_folder_is_found_by_its_tag(tmp_path):
    write(tmp_path, "Q8_0/m-Q8_0-00001-of-00002.gguf", gguf("a"))
    write(tmp_path, "Q8_0/m-Q8_0-00002-of-00002.gguf", gguf("b"))
    write(tmp_path, "m-Q2_K.gguf", gguf("c"))
    checkpoint = open_checkpoint(f"{tmp_path}:Q8_0")
    assert [t.name for t in checkpoint.tensors] == ["a", "b"]


def test_one_gguf_beside_its_projector_is_the_model(tmp_path):
    write(tmp_path, "m.gguf", gguf("a"))
    write(tmp_path, "mmproj-m.gguf", gguf("v"))
    checkpoint = open_checkpoint(str(tmp_path))
    assert [t.name for t in checkpoint.tensors] == ["a"]
    assert roles(checkpoint) == {("mmproj", "mmproj-m.gguf")}


def test_a_projector_alone_can_be_opened(tmp_path):
    write(tmp_path, "mmproj-m.gguf", gguf("v"))
    assert [t.name for t in open_checkpoint(str(tmp_path)).tensors] == ["v"]


def test_gguf_files_beside_safetensors_weights_are_quants_of_it(sharded):
    write(sharded, "m-Q4_K_M.gguf", gguf("q"))
    assert ("quant", "m-Q4_K_M.gguf") in roles(open_checkpoint(str(sharded)))
    assert [t.name for t in open_checkpoint(f"{sharded}:Q4_K_M").tensors] == ["q"]


# --- other folders -------------------------------------------------------------------------------------------------


def test_a_folder_with_a_config_alone_answers_without_weights(tmp_path):
    write(tmp_path, "config.json", {"model_type": "llama"})
    checkpoint = open_checkpoint(str(tmp_path))
    assert (checkpoint.format, checkpoint.files) == ("config", ())


def test_pickled_weights_are_named_and_never_opened(tmp_path):
    write(tmp_path, "pytorch_model.bin", b"PK")
    with pytest.raises(NotAModelFile, match=r"pytorch_model\.bin"):
        open_checkpoint(str(tmp_path))
    write(tmp_path, "config.json", {})
    checkpoint = open_checkpoint(str(tmp_path))
    assert checkpoint.format == "config"
    assert roles(checkpoint) == {("pickle", "pytorch_model.bin")}
    assert "pytorch_model.bin" in " ".join(checkpoint.notes)


def test_an_adapter_folder_opens_and_names_its_base(tmp_path):
    write(tmp_path, "adapter_model.safetensors", safetensors("lora_A"))
    write(tmp_path, "adapter_config.json", {"base_model_name_or_path": "org/base"})
    for target in (tmp_path, tmp_path / "adapter_model.safetensors"):
        checkpoint = open_checkpoint(str(target))
        assert [t.name for t in checkpoint.tensors] == ["lora_A"]
        assert "org/base" in " ".join(checkpoint.notes)


def test_an_adapter_beside_a_model_is_a_companion(sharded):
    write(sharded, "adapter_model.safetensors", safetensors("lora_A"))
    assert roles(open_checkpoint(str(sharded))) == {("lora", "adapter_model.safetensors")}


def test_a_folder_with_nothing_but_a_broken_config_says_what_is_wrong_with_it(tmp_path):
    write(tmp_path, "config.json", "{")
    with pytest.raises(FormatError, match=r"config\.json"):
        open_checkpoint(str(tmp_path))


def test_an_adapters_config_stands_for_its_folder(tmp_path):
    write(tmp_path, "adapter_model.safetensors", safetensors("lora_A"))
    path = write(tmp_path, "adapter_config.json", {})
    assert [t.name for t in open_checkpoint(str(path)).tensors] == ["lora_A"]


def test_an_empty_folder_holds_no_model(tmp_path):
    with pytest.raises(NotFound):
        open_checkpoint(str(tmp_path))


def test_a_folder_of_one_models_folder_is_that_model(tmp_path):
    write(tmp_path, "llama/model.safetensors", safetensors("a"))
    assert open_checkpoint(str(tmp_path)).target == str(tmp_path / "llama" / "model.safetensors")


def test_a_folder_of_model_folders_says_where_models_are(tmp_path):
    write(tmp_path, "llama/model.safetensors", safetensors("a"))
    write(tmp_path, "qwen/model.safetensors", safetensors("a"))
    with pytest.raises(SeveralModels) as caught:
        open_checkpoint(str(tmp_path))
    assert [name for name, _, _ in caught.value.models] == ["llama/model.safetensors", "qwen/model.safetensors"]


def test_a_sentence_transformers_folder_is_its_transformer(tmp_path):
    write(tmp_path, "modules.json", [{"idx": 0, "path": ""}, {"idx": 1, "path": "1_Dense"}])
    write(tmp_path, "model.safetensors", safetensors("embeddings"))
    write(tmp_path, "1_Dense/model.safetensors", safetensors("linear"))
    checkpoint = open_checkpoint(str(tmp_path))
    assert [t.name for t in checkpoint.tensors] == ["embeddings"]
    assert roles(checkpoint) == {("component", "1_Dense/model.safetensors")}


def test_an_old_sentence_transformers_folder_has_its_transformer_in_a_sub_folder(tmp_path):
    write(tmp_path, "modules.json", [{"idx": 0, "path": "0_Transformer"}])
    write(tmp_path, "0_Transformer/model.safetensors", safetensors("embeddings"))
    write(tmp_path, "0_Transformer/config.json", {"model_type": "bert"})
    checkpoint = open_checkpoint(str(tmp_path))
    assert [t.name for t in checkpoint.tensors] == ["embeddings"]
    assert checkpoint.config == {"model_type": "bert"}


def test_a_diffusers_pipeline_is_its_transformer(tmp_path):
    write(tmp_path, "model_index.json", {"transformer": ["diffusers", "X"], "vae": ["diffusers", "V"]})
    write(tmp_path, "transformer/diffusion_pytorch_model.safetensors", safetensors("t"))
    write(tmp_path, "vae/diffusion_pytorch_model.safetensors", safetensors("v"))
    checkpoint = open_checkpoint(str(tmp_path))
    assert [f.name for f in checkpoint.files] == ["transformer/diffusion_pytorch_model.safetensors"]
    assert roles(checkpoint) == {("component", "vae/diffusion_pytorch_model.safetensors")}


def test_modules_json_cannot_lead_out_of_the_folder(tmp_path):
    write(tmp_path.parent, "model.safetensors", safetensors("secret"))
    write(tmp_path, "modules.json", [{"idx": 0, "path": ".."}])
    with pytest.raises(NotFound):
        open_checkpoint(str(tmp_path))


def test_a_folder_of_very_many_files_is_listed_up_to_a_limit(tmp_path):
    for i in range(MAX_ENTRIES + 50):
        (tmp_path / f"{i}.txt").touch()
    listing = list_folder(str(tmp_path))
    assert not listing.complete
    assert MAX_ENTRIES <= len(listing.entries) <= MAX_ENTRIES + 1


def test_sub_folders_are_listed_one_level_deep_and_hidden_ones_not_at_all(tmp_path):
    for name in ("a.txt", "b/c.txt", "b/d/e.txt", ".git/f.txt"):
        write(tmp_path, name, b"")
    (tmp_path / "loop").symlink_to(tmp_path)
    listing = list_folder(str(tmp_path))
    assert [e.name for e in listing.entries.values() if not e.problem] == ["a.txt", "b/c.txt"]
    assert listing.complete


NAMES = (
    *(A, B, INDEX, "model.safetensors", "config.json", "modules.json", "model_index.json", "adapter_config.json"),
    *("adapter_model.safetensors", "m-Q8_0.gguf", "m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf"),
    *("mmproj-x.gguf", "consolidated.safetensors", "pytorch_model.bin", "unet/model.safetensors", "my-lora.gguf"),
)
DOCUMENTS = (
    *({}, [], None, 3, [3], [{}], {"weight_map": {}}, {"weight_map": [1]}, index(a=A, b=B), index(a="../x")),
    *([{"path": "unet"}], [{"path": ".."}], {"unet": [1]}, {"base_model_name_or_path": 3}),
)


def place(path, kind):
    """One file, whole or cut, or something that is no file."""
    path.parent.mkdir(exist_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("/etc/passwd")
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "folder":
        path.mkdir(exist_ok=True)
    elif isinstance(kind, int):
        whole = gguf("t") if path.suffix == ".gguf" else safetensors("a")
        path.write_bytes(
            json.dumps(DOCUMENTS[kind % len(DOCUMENTS)]).encode() if path.suffix == ".json" else whole[:kind]
        )


KINDS = st.sampled_from([1000] * 4 + ["pipe", "link", "loop", "folder"]) | st.integers(0, 99)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), KINDS, max_size=7), st.booleans())
def test_any_folder_is_a_model_or_one_known_error(files, strict):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, kind in files.items():
            place(folder / file, kind)
        for target in (name, f"{name}:Q8_0", *(str(folder / file) for file in files)):
            try:
                checkpoint = open_checkpoint(target, strict=strict)
            except InspectorError:
                continue
            assert checkpoint.files or checkpoint.missing or checkpoint.notes or checkpoint.defects


# --- the Hub's cache -----------------------------------------------------------------------------------------------

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHA = "ab" * 32


@pytest.fixture
def cache(tmp_path):
    repo = tmp_path / "models--org--name"
    write(repo, f"blobs/{SHA}", safetensors("a"))
    write(repo, "blobs/1234", {"model_type": "llama"})
    write(repo, "blobs/9999.incomplete", b"part")
    write(repo, "refs/main", COMMIT)
    snapshot = repo / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to(f"../../blobs/{SHA}")
    (snapshot / "config.json").symlink_to("../../blobs/1234")
    return tmp_path


@pytest.mark.parametrize("inner", ["", f"snapshots/{COMMIT}"])
def test_a_repository_in_the_cache_opens_through_its_links(cache, inner):
    checkpoint = open_checkpoint(os.path.join(cache, "models--org--name", inner))
    assert [t.name for t in checkpoint.tensors] == ["a"]
    assert checkpoint.config == {"model_type": "llama"}
    assert checkpoint.revision == COMMIT
    assert checkpoint.sha256 == {"model.safetensors": SHA}
    assert "not finished" in " ".join(checkpoint.notes)
    assert checkpoint.defects == ()


@pytest.mark.parametrize("target", ["org/name", "org/name@main", f"org/name@{COMMIT}", "hf://org/name"])
def test_a_repository_is_found_in_the_cache_by_its_name(cache, target):
    checkpoint = open_checkpoint(target, cache_folder=str(cache))
    assert (checkpoint.target, checkpoint.revision) == (target, COMMIT)


def test_a_file_of_a_repository_is_found_in_the_cache(cache):
    checkpoint = open_checkpoint("org/name/model.safetensors", cache_folder=str(cache))
    assert [t.name for t in checkpoint.tensors] == ["a"]


@pytest.mark.parametrize("target", ["org/other", "org/name@v2", "org/name/other.safetensors"])
def test_what_was_not_downloaded_is_not_there_offline(cache, target, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Offline, match="not in the Hub's cache"):
        open_checkpoint(target, cache_folder=str(cache))


def test_a_snapshots_link_into_another_repository_is_not_followed(cache):
    other = write(cache, "models--org--other/blobs/x", safetensors("other"))
    link = cache / "models--org--name" / "snapshots" / COMMIT / "model.safetensors"
    link.unlink()
    link.symlink_to(os.path.relpath(other, link.parent))
    with pytest.raises(FormatError, match="leads out of the folder"):
        open_checkpoint(str(link.parent))


def test_without_refs_the_only_snapshot_is_taken(cache):
    (cache / "models--org--name" / "refs" / "main").unlink()
    assert open_checkpoint(str(cache / "models--org--name")).revision == COMMIT


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("m-00001-of-00003.gguf", ("m", 1, 3)),
        ("Q8/m-Q8_0-00012-of-00012.gguf", ("Q8/m-Q8_0", 12, 12)),
        ("model-00001-of-00002.safetensors", ("model", 1, 2)),
        ("m-00004-of-00003.gguf", None),
        ("m-00000-of-00003.gguf", None),
        ("-00001-of-00003.gguf", None),
        ("m-0001-of-0003.gguf", None),
        ("m-²0001-of-00003.gguf", None),
        ("m.gguf", None),
    ],
)
def test_split_names(name, split):
    assert split_name(name) == split


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Llama-3.1-8B-Instruct-Q4_K_M.gguf", "Q4_K_M"),
        ("gemma-3-27b-it-UD-Q2_K_XL.gguf", "UD-Q2_K_XL"),
        ("m.IQ3_XXS.gguf", "IQ3_XXS"),
        ("m-IQ4_NL.gguf", "IQ4_NL"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("BF16/m-BF16-00001-of-00002.gguf", "BF16"),
        ("m-q8_0.gguf", "Q8_0"),
        ("qwen2.5-7b.gguf", ""),
    ],
)
def test_quant_labels(name, label):
    assert quant_label(name) == label


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("mmproj-model-f16.gguf", "mmproj"),
        ("mtp-m.gguf", "draft"),
        ("m-imatrix.gguf", "imatrix"),
        ("imatrix.dat", "imatrix"),
        ("my-lora-f16.gguf", "lora"),
        ("explora-7b.gguf", "weights"),
        ("adapter_model.safetensors", "lora"),
        ("consolidated.00.safetensors", "twin"),
        ("training_args.bin", "pickle"),
        ("model.onnx", "twin"),
        ("README.md", None),
    ],
)
def test_roles_by_name(name, role):
    assert role_of(name) == role
