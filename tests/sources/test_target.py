"""What may be typed as TARGET, and what it is taken for."""

from __future__ import annotations

import os

import pytest
from huggingface_hub.utils import validate_repo_id
from hypothesis import given
from hypothesis import strategies as st

from inspector.errors import InspectorError, NotFound
from inspector.sources.cache import find_snapshot, hub_cache_folder, read_ref
from inspector.sources.target import Target, parse_target


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "llama-3.gguf").touch()
    return tmp_path


@pytest.mark.parametrize(("text", "repo", "revision", "quant", "file"), [
    ("org/name",                                "org/name", None,        None,     None),
    ("org/name@main",                           "org/name", "main",      None,     None),
    ("org/name:Q4_K_M",                         "org/name", None,        "Q4_K_M", None),
    ("org/name@v1.0:Q4_K_M",                    "org/name", "v1.0",      "Q4_K_M", None),
    ("org/name/sub/x.gguf",                     "org/name", None,        None,     "sub/x.gguf"),
    ("org/name@abc/x.gguf",                     "org/name", "abc",       None,     "x.gguf"),
    ("org/name@refs/pr/3:Q8_0/a/b.gguf",        "org/name", "refs/pr/3", "Q8_0",   "a/b.gguf"),
    ("org/name@feature%2Fx",                    "org/name", "feature/x", None,     None),
    ("hf://org/name",                           "org/name", None,        None,     None),
    ("hf://models/org/name@a%2Fb/x.safetensors", "org/name", "a/b",      None,     "x.safetensors"),
    ("hf://gpt2",                               "gpt2",     None,        None,     None),
    ("hf://gpt2@main/config.json",              "gpt2",     "main",      None,     "config.json"),
    ("hf.co/org/name:Q4_K_M",                   "org/name", None,        "Q4_K_M", None),
    ("huggingface.co/org/name",                 "org/name", None,        None,     None),
    ("https://hf.co/org/name:Q4_K_M",           "org/name", None,        "Q4_K_M", None),
    ("https://huggingface.co/gpt2",             "gpt2",     None,        None,     None),
    ("https://huggingface.co/org/name/",        "org/name", None,        None,     None),
    ("https://huggingface.co/org/name/blob/main/sub/x.gguf", "org/name", "main", None, "sub/x.gguf"),
    ("https://huggingface.co/org/name/resolve/main/x.gguf?download=true", "org/name", "main", None, "x.gguf"),
    ("https://huggingface.co/org/name/resolve/refs%2Fpr%2F3/x.gguf", "org/name", "refs/pr/3", None, "x.gguf"),
    ("https://huggingface.co/org/name/raw/0a1b/config.json", "org/name", "0a1b", None, "config.json"),
    ("https://huggingface.co/org/name/tree/main", "org/name", "main",    None,     None),
    ("https://huggingface.co/org/name/tree/refs/pr/3/sub", "org/name", "refs/pr/3", None, "sub"),
    ("HTTPS://HuggingFace.co/org/name/tree/main#files", "org/name", "main", None, None),
])  # fmt: skip
def test_a_name_on_the_hub_is_taken_apart(text, repo, revision, quant, file):
    assert parse_target(text) == Target(text, "hub", repo=repo, revision=revision, quant=quant, file=file)


def test_a_path_that_exists_wins_over_a_name_on_the_hub(folder):
    (folder / "org").mkdir()
    assert parse_target("org/name").kind == "hub"
    (folder / "org" / "name").mkdir()
    assert parse_target("org/name") == Target("org/name", "local", path="org/name")


def test_a_dangling_link_is_a_path(folder):
    (folder / "x.gguf").symlink_to("nowhere")
    assert parse_target("x.gguf").kind == "local"


def test_a_local_folder_takes_a_quant():
    assert parse_target("models:Q4_K_M") == Target("models:Q4_K_M", "local", path="models", quant="Q4_K_M")


def test_a_file_whose_name_has_a_colon_is_that_file(folder):
    (folder / "a:b").touch()
    assert parse_target("a:b") == Target("a:b", "local", path="a:b")


def test_an_address_elsewhere_is_kept_whole():
    url = "https://example.com/a/b.gguf?token=1"
    assert parse_target(url) == Target(url, "url", url=url)


def test_another_hubs_addresses_are_understood_when_it_is_the_endpoint():
    url = "https://hub.example/org/name/resolve/main/x.gguf"
    assert parse_target(url, endpoint="https://hub.example/").repo == "org/name"
    assert parse_target(url).kind == "url"


def test_a_near_miss_is_answered_with_what_is_there():
    with pytest.raises(NotFound) as caught:
        parse_target("models/lama-3.gguf")
    assert "models/llama-3.gguf" in str(caught.value.hint)


@pytest.mark.parametrize(
    "text",
    [
        "./nope",
        "/nope/x",
        "../nope",
        "~/x",
        "nope.gguf",
        "models/nope.gguf",
        "models/a/b.gguf",
        "gpt2",
        "a\\b",
        "",
        " ",
    ],
)
def test_what_looks_like_a_path_and_is_none_is_not_found(text):
    with pytest.raises(NotFound):
        parse_target(text)


@pytest.mark.parametrize(
    "text",
    [
        "org/na me", "org/name@", "org/name:", "org/name@:Q4", "org/name:/x", "a/b/../c",
        "https://huggingface.co/", "https://huggingface.co/datasets/a/b", "https://example.com/a", "ftp://", "s3:///",
        "https://huggingface.co/org/name/resolve/main/..%2f..%2fx", "https://huggingface.co/o/n/blob/main/%00",
        "x\0y", "\ud800", "a\x1b[31m/b", "a" * 300, "a/" + "b" * 300, "a" * 100_000, "a/" * 50_000, "hf://",
        "hf:///", "hf://@", "://", "https://", ":", "@", "org/..", "org/a--b", "file:///no/such/file", "a b://x/y",
    ],
)  # fmt: skip
def test_what_cannot_be_a_target_is_one_known_error(text):
    with pytest.raises(InspectorError) as caught:
        parse_target(text)
    message = f"{caught.value} {caught.value.hint}"
    assert message.isprintable()
    assert len(message) < 1000


@given(st.text(max_size=60) | st.text("org/name@:.%2F-hf_x", max_size=40))
def test_any_text_is_a_target_or_a_known_error(text):
    try:
        target = parse_target(text)
    except InspectorError:
        return
    if target.kind == "hub":
        validate_repo_id(target.repo)
        assert target.revision != ""
        assert ".." not in (target.file or "").split("/")


# --- the cache -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"HF_HUB_CACHE": "/a"}, "/a"),
        ({"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
        ({"HUGGINGFACE_HUB_CACHE": "/c"}, "/c"),
        ({"HF_HOME": "/b"}, "/b/hub"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/huggingface/hub"),
        ({}, os.path.expanduser("~/.cache/huggingface/hub")),
    ],
)
def test_the_cache_lies_where_the_environment_says(environ, folder):
    assert hub_cache_folder(environ) == folder


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_revision_leads_to_its_snapshot_and_nowhere_else(folder):
    repo = folder / "models--org--name"
    (repo / "refs" / "refs" / "pr").mkdir(parents=True)
    (repo / "snapshots" / COMMIT).mkdir(parents=True)
    (repo / "refs" / "main").write_text(COMMIT)
    (repo / "refs" / "refs" / "pr" / "1").write_text(COMMIT)
    (repo / "refs" / "evil").write_text("../../../../etc")
    (repo / "outside").write_text(COMMIT)
    os.mkfifo(repo / "refs" / "pipe")
    found = str(repo / "snapshots" / COMMIT)
    for revision in (None, "main", "refs/pr/1", COMMIT):
        assert find_snapshot(str(folder), "org/name", revision) == found
    for revision in ("evil", "../outside", "/etc/passwd", "pipe", "v2", "a" * 40, "x\0y"):
        assert find_snapshot(str(folder), "org/name", revision) is None
        assert read_ref(str(repo), revision) is None


def test_a_repositorys_name_has_up_to_96_characters():
    assert parse_target("org/" + "n" * 92).repo == "org/" + "n" * 92
    with pytest.raises(NotFound):
        parse_target("org/" + "n" * 93)


@pytest.mark.parametrize(
    ("text", "url", "quant"),
    [
        ("s3://bucket/models/x.gguf", "s3://bucket/models/x.gguf", None),
        ("s3://bucket/models:Q4_K_M", "s3://bucket/models", "Q4_K_M"),
        ("sftp://host:22/models", "sftp://host:22/models", None),
        ("gs://bucket", "gs://bucket", None),
    ],
)
def test_addresses_of_other_stores_are_taken_as_they_stand(text, url, quant):
    found = parse_target(text)
    assert (found.kind, found.url, found.quant) == ("remote", url, quant)


def test_a_file_address_is_a_path(tmp_path):
    (tmp_path / "a model.gguf").write_bytes(b"")
    found = parse_target(f"file://{tmp_path}/a%20model.gguf")
    assert (found.kind, found.path) == ("local", f"{tmp_path}/a model.gguf")
