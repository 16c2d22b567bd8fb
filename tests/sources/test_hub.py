"""One listing, pinned to a commit: pages, hashes, near matches, and what a listing must not be believed."""

from __future__ import annotations

import pytest
from hub_server import SHA, Blob, HubServer, quick_hub  # noqa: F401 - a fixture

from inspector.errors import AccessDenied, NotFound, SourceError, Unreachable
from inspector.sources.http import Client
from inspector.sources.hub import _next_page, _sibling, fetch_listing, read_file

FILES = {"config.json": b'{"a": 1}', "model.safetensors": b"x" * 50, "sub/b.gguf": b"y" * 20_000}


def listed(hub, repo="org/model", revision=None):
    return fetch_listing(Client(endpoint=hub.endpoint), repo, revision)


@pytest.mark.parametrize("revision", [None, "main", "v1.0", "refs/pr/7", SHA])
def test_one_request_lists_everything(revision):
    with HubServer(FILES) as hub:
        repo = listed(hub, revision=revision)
        assert hub.n_requests == 1
        assert repo.sha == SHA
        assert {f.name: f.size for f in repo.files.values()} == {k: len(v) for k, v in FILES.items()}
        assert repo.files["config.json"].sha256 is None
        assert repo.files["sub/b.gguf"].sha256 == Blob(FILES["sub/b.gguf"]).sha256
        assert (repo.gated, repo.complete) == (False, True)


@pytest.mark.parametrize("page", [1, 2, 100])
def test_pages_are_followed(page):
    with HubServer(FILES, page=page) as hub:
        repo = listed(hub)
        assert set(repo.files) == set(FILES)
        assert repo.files["sub/b.gguf"].sha256 == Blob(FILES["sub/b.gguf"]).sha256
        assert hub.n_requests == 1 + -(-(len(FILES) + 1) // page)


def test_a_listing_without_end_is_said_to_be_incomplete(monkeypatch):
    monkeypatch.setattr("inspector.sources.hub.MAX_PAGES", 2)
    with HubServer(FILES, page=1) as hub:
        assert not listed(hub).complete


@pytest.mark.parametrize(
    ("link", "page"),
    [
        ('<https://h/x?a=1>; rel="next"', "https://h/x?a=1"),
        ('<https://h/p>; rel="prev", <https://h/n>; rel="next"', "https://h/n"),
        ('https://h/x; rel="next"', None),
        ("", None),
    ],
)
def test_the_next_page(link, page):
    assert _next_page(link) == page


@pytest.mark.parametrize(
    "entry",
    [
        None, 7, {}, {"rfilename": ""}, {"rfilename": 5}, {"type": "directory", "path": "x"}, {"rfilename": "../x"},
        {"rfilename": "/etc/passwd"}, {"rfilename": "a//b"}, {"rfilename": "a\nb"}, {"rfilename": "x" * 5000},
    ],
)  # fmt: skip
def test_what_is_no_file_is_left_out(entry):
    assert _sibling(entry) is None


@pytest.mark.parametrize("size", [-1, 1.5, "7", True, None])
def test_a_size_that_is_none_is_unknown(size):
    assert _sibling({"rfilename": "x", "size": size}).size is None


def test_a_repository_that_is_not_there_has_near_matches():
    with HubServer(FILES) as hub, pytest.raises(NotFound, match="no such repository") as caught:
        listed(hub, "org/modle")
    assert "org/model" in caught.value.hint


def test_a_revision_that_is_not_there_has_near_matches():
    with HubServer(FILES) as hub, pytest.raises(NotFound, match="no such revision") as caught:
        listed(hub, revision="v1.1")
    assert "v1.0" in caught.value.hint


def test_a_private_repository_wants_a_token(monkeypatch):
    with HubServer(FILES, private=True) as hub:
        with pytest.raises(NotFound, match="private") as caught:
            listed(hub)
        assert "hf auth login" in caught.value.hint or "org/model" in caught.value.hint
        monkeypatch.setenv("HF_TOKEN", "hf_right")
        assert listed(hub).files
        monkeypatch.setenv("HF_TOKEN", "hf_wrong")
        with pytest.raises(AccessDenied, match="token"):
            listed(hub)


def test_a_login_page_is_not_a_listing():
    with HubServer(FILES, faults={"api": ["html"]}) as hub, pytest.raises(Unreachable, match="a web page") as caught:
        listed(hub)
    assert "HF_ENDPOINT" in caught.value.hint


@pytest.mark.parametrize("name", ["config.json", "sub/b.gguf"])
def test_a_small_file_is_read_whole(name):
    with HubServer(FILES) as hub:
        client = Client(endpoint=hub.endpoint)
        assert read_file(client, fetch_listing(client, "org/model"), name) == FILES[name]


@pytest.mark.parametrize(("fault", "words"), [("html", "web page"), ("status:404", "not found")])
def test_a_small_file_that_is_something_else_is_refused(fault, words):
    with HubServer(FILES, faults={"config.json": [fault]}) as hub:
        client = Client(endpoint=hub.endpoint)
        repo = fetch_listing(client, "org/model")
        with pytest.raises(SourceError, match=words):
            read_file(client, repo, "config.json")
