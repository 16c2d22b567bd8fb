"""Models below a folder: what is one, what is several, and what must not be followed."""

from __future__ import annotations

import os

import pytest

from inspector.errors import NotFound
from inspector.stores.names import matches_tag
from inspector.stores.walk import find_models


@pytest.fixture
def make(tmp_path):
    """`make({"a/b.gguf": 10, …})`: files of so many bytes; a string is a link's target."""

    def build(tree):
        for name, what in tree.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(what, str):
                path.symlink_to(what)
            else:
                path.write_bytes(b"x" * what)
        return tmp_path

    return build


def found(root):
    return {m.name: (m.role, m.nbytes, m.error) for m in find_models(str(root))}


CASES = {
    "files of nested folders": (
        {"a/b/c/deep.gguf": 3, "top.gguf": 2, "readme.md": 1},
        {"a/b/c/deep.gguf": ("model", 3, ""), "top.gguf": ("model", 2, "")},
    ),
    "a split set is one model": (
        {"m-00001-of-00002.gguf": 3, "m-00002-of-00002.gguf": 4},
        {"m-00001-of-00002.gguf": ("model", 7, "")},
    ),
    "a split set says what it lacks": (
        {"m-00002-of-00003.gguf": 3},
        {"m-00002-of-00003.gguf": ("model", 3, "2 of 3 parts are missing")},
    ),
    "and so it does of the last one": (
        {"m-00001-of-00002.gguf": 3},
        {"m-00001-of-00002.gguf": ("model", 3, "1 of 2 parts is missing")},
    ),
    "shards with a config are their folder": (
        {"q/config.json": 2, "q/a.safetensors": 3, "q/b.safetensors": 4},
        {"q": ("model", 7, "")},
    ),
    "safetensors that nothing joins are one each": (
        {"loras/a.safetensors": 3, "loras/b.safetensors": 4},
        {"loras/a.safetensors": ("model", 3, ""), "loras/b.safetensors": ("model", 4, "")},
    ),
    "a pipeline is one model with its parts": (
        {"p/model_index.json": 2, "p/unet/x.safetensors": 3, "p/vae/y.safetensors": 4},
        {"p": ("model", 7, "")},
    ),
    "projectors and adapters are told apart": (
        {"mmproj-x.gguf": 3, "x-lora.gguf": 4, "ad/adapter_config.json": 2, "ad/adapter_model.safetensors": 5},
        {"mmproj-x.gguf": ("mmproj", 3, ""), "x-lora.gguf": ("lora", 4, ""), "ad": ("lora", 5, "")},
    ),
    "a download that broke off": (
        {"x.gguf.part": 3},
        {"x.gguf.part": ("unfinished", 3, "an unfinished download")},
    ),
    "pickles alone are no model that is read": (
        {"t/config.json": 2, "t/pytorch_model.bin": 5},
        {"t": ("model", 5, "pickled PyTorch weights (pytorch_model.bin), not safetensors or GGUF")},
    ),
    "a link that leads out": (
        {"x.gguf": "/etc/hostname"},
        {"x.gguf": ("model", 0, "a link that leads out of the folder")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_lies_in_a_folder(make, name):
    tree, expected = CASES[name]
    assert found(make(tree)) == expected


def test_each_target_is_a_path_that_is_there(make):
    root = make({"a/x.gguf": 1, "q/config.json": 2, "q/a.safetensors": 3})
    assert [os.path.relpath(m.target, root) for m in find_models(str(root))] == ["a/x.gguf", "q"]


def test_a_loop_of_links_ends(make):
    root = make({"a/x.gguf": 1, "a/loop": "."})
    assert [m.name for m in find_models(str(root))] == ["a/x.gguf"]


def test_a_stamp_changes_with_the_file(make):
    root = make({"x.gguf": 1})
    (before,) = find_models(str(root))
    os.utime(root / "x.gguf", ns=(1, 1))
    (after,) = find_models(str(root))
    assert before.stamp != after.stamp


def test_a_root_that_is_not_there(tmp_path):
    with pytest.raises(NotFound):
        list(find_models(str(tmp_path / "absent")))


def test_folders_too_deep_are_said(tmp_path):
    from inspector.stores.folders import MAX_DEPTH

    below = tmp_path.joinpath(*["d"] * (MAX_DEPTH + 1))
    below.mkdir(parents=True)
    (below / "x.gguf").write_bytes(b"")
    (found,) = find_models(str(tmp_path))
    assert f"more than {MAX_DEPTH} deep" in found.error


@pytest.mark.parametrize(
    ("name", "tag", "expected"),
    [
        ("m-Q4_K_M.gguf", "Q4_K_M", True), ("m-Q4_K_M.gguf", "q4_k_m", True), ("m-Q4_K_M.gguf", "Q4_K", False),
        ("m-Q4_K_M-00001-of-00002.gguf", "Q4_K_M", True), ("Q8_0/m-F16.gguf", "Q8_0", False),
        ("mxQ4.gguf", "x.4", False),
    ],
)  # fmt: skip
def test_a_tag_is_matched_as_llama_cpp_does(name, tag, expected):
    """common/download.cpp, find_best_model: the tag, then a dot or a hyphen, wherever it stands."""
    assert matches_tag(name, tag) is expected
