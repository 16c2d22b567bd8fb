"""Waits that servers ask for, what their refusals mean, and how long anybody's patience lasts."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hub_server import HubServer, quick_hub  # noqa: F401 - a fixture

from inspector.errors import AccessDenied, InspectorError, NotFound, Offline, RateLimited, SourceError, Unreachable
from inspector.sources import http
from inspector.sources.http import Client, Patience, Retry, check_status, origin, retried, transport_error, wait_asked


class Answer:
    def __init__(self, status, **headers):
        self.status_code = status
        self.headers = {k.replace("_", "-"): v for k, v in headers.items()}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"ratelimit": '"api";r=0;t=55'}, 55.0),
        ({"retry-after": "3", "ratelimit": '"api";r=0;t=55'}, 3.0),
        ({"ratelimit": '"pages";r=0;t=12, "api";r=1'}, 12.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "9" * 400}, 1e9),
        ({"ratelimit": "t"}, None),
        ({}, None),
    ],
)
def test_the_wait_that_is_asked_for(headers, seconds):
    assert wait_asked(headers) == seconds


def test_the_wait_may_be_a_date():
    assert 25 < wait_asked({"retry-after": formatdate(time.time() + 30, usegmt=True)}) <= 30
    assert wait_asked({"retry-after": formatdate(0, usegmt=True)}) == 0


@pytest.mark.parametrize(
    ("status", "headers", "error", "words"),
    [
        (401, {"x_error_code": "GatedRepo", "x_error_message": "ask"}, AccessDenied, "gated: ask"),
        (403, {"x_error_code": "GatedRepo"}, AccessDenied, "gated"),
        (401, {"x_error_code": "RepoNotFound"}, NotFound, "no such repository, or a private one"),
        (401, {}, NotFound, "private"),
        (401, {"x_error_message": "Invalid credentials in Authorization header"}, AccessDenied, "token"),
        (403, {}, AccessDenied, r"denied \(403\)"),
        (403, {"x_error_message": "Access to this resource is disabled."}, AccessDenied, "disabled"),
        (407, {}, AccessDenied, "proxy"),
        (404, {"x_error_code": "RevisionNotFound"}, NotFound, "no such revision"),
        (404, {"x_error_code": "EntryNotFound"}, NotFound, "no such file"),
        (404, {}, NotFound, "not found"),
        (410, {}, NotFound, "not found"),
        (418, {"x_error_message": "tea"}, Unreachable, "418: tea"),
        (304, {}, Unreachable, "304"),
        (429, {}, Retry, "429"),
        (503, {}, Retry, "503"),
    ],
)
def test_what_a_refusal_means(status, headers, error, words):
    with pytest.raises(error, match=words):
        check_status(Answer(status, **headers), "org/model")


@pytest.mark.parametrize("status", [200, 206])
def test_an_answer_is_none(status):
    check_status(Answer(status), "org/model")


def test_patience_ends_after_four_tries_and_not_before():
    calls = []

    def fail():
        calls.append(1)
        raise Retry("no")

    with pytest.raises(Unreachable, match="file: no"):
        retried(fail, what="file")
    assert len(calls) == http.TRIES


def test_what_works_the_second_time_works():
    answers = iter([ConnectionResetError("gone"), 7])

    def attempt():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert retried(attempt, what="file") == 7


def test_a_bug_is_not_tried_again():
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        retried(fail, what="file")


def test_a_wait_beyond_a_minute_is_told_and_not_waited():
    start = time.monotonic()
    with pytest.raises(RateLimited, match="to wait 3,600 seconds"):
        Patience("file").wait_out(Retry("no", wait=3600.0, status=429))
    assert time.monotonic() - start < 1


def test_waits_add_up_to_a_minute_at_most(monkeypatch):
    slept = []
    monkeypatch.setattr(http.time, "sleep", slept.append)
    patience = Patience("file")

    def wait_for_ever():
        while True:
            patience.renew()
            patience.wait_out(Retry("no", wait=25.0, status=429))

    with pytest.raises(RateLimited):
        wait_for_ever()
    assert sum(slept) <= http.LONGEST_WAIT


@pytest.mark.parametrize("a", ["https://hub.example/x", "https://HUB.example:443/y"])
@pytest.mark.parametrize(
    "b",
    ["http://hub.example/x", "https://hub.example:8443/x", "https://hub.example.evil/x", "https://evil/hub.example"],
)
def test_another_scheme_host_or_port_is_another_origin(a, b):
    assert origin(a) == origin("https://hub.example/")
    assert origin(b) != origin(a)


def test_foreign_errors_become_ours():
    import httpx2

    assert isinstance(transport_error(httpx2.ConnectError("x")), Retry)
    assert isinstance(transport_error(httpx2.UnsupportedProtocol("x")), Unreachable)
    assert isinstance(transport_error(httpx2.InvalidURL("x")), Unreachable)
    assert isinstance(transport_error(NotFound("x")), NotFound)


# --- over the wire -------------------------------------------------------------------------------------------------


def fetch(hub, path="/api/models/org/model/revision/main"):
    return Client(endpoint=hub.endpoint).get_document(hub.endpoint + path, what="org/model")


@pytest.mark.parametrize(
    "faults", [["status:500"], ["status:503", "status:502"], ["retry-after:0"], ["ratelimit:0"], ["garbage"]]
)
def test_a_document_is_asked_for_again(faults):
    with HubServer({}, faults={"api": faults}) as hub:
        body, _ = fetch(hub)
        assert b'"sha"' in body
        assert hub.n_requests == len(faults) + 1


def test_a_document_is_not_asked_for_for_ever():
    with HubServer({}, faults={"api": ["status:500"] * 100}) as hub:
        with pytest.raises(Unreachable, match="org/model: the server answered 500"):
            fetch(hub)
        assert hub.n_requests == http.TRIES


@pytest.mark.parametrize(
    ("fault", "words"), [("loop", "redirects"), ("nowhere", "leads nowhere"), ("nowhere:ftp://x/y", "nowhere")]
)
def test_redirects_end(fault, words):
    with HubServer({}, faults={"api": [fault] * 100}) as hub, pytest.raises(Unreachable, match=words):
        fetch(hub)


@pytest.mark.parametrize(("hops", "arrives"), [(5, True), (6, False)])
def test_five_redirects_are_followed_and_no_sixth(hops, arrives):
    with HubServer({}, faults={"api": ["loop"] * hops}) as hub:
        if arrives:
            assert b'"sha"' in fetch(hub)[0]
        else:
            with pytest.raises(Unreachable, match="more than 5 redirects"):
                fetch(hub)


def test_the_token_goes_to_the_hub_and_nowhere_else(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    with HubServer({}, private=True) as hub:
        assert fetch(hub)
        hub.faults["api"] = [f"nowhere:{hub.cdn}/plain/x"]
        with pytest.raises(NotFound):
            fetch(hub)
        assert hub.leaks == []


def test_a_wrong_token_is_said_to_be_wrong(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with HubServer({}) as hub, pytest.raises(AccessDenied, match="token is not accepted"):
        fetch(hub)


def test_nobody_there_is_said_in_one_line():
    with HubServer({}) as hub:
        gone = hub.endpoint
    for url in (gone, "http://no-such-host.invalid"):
        with pytest.raises(Unreachable) as caught:
            Client(endpoint=url).get_document(url + "/x", what="org/model")
        assert "\n" not in str(caught.value)
        assert "HF_ENDPOINT" in caught.value.hint


def test_offline_asks_nobody(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with HubServer({}) as hub:
        with pytest.raises(Offline):
            fetch(hub)
        assert hub.n_requests == 0


def test_a_stalled_answer_is_given_up(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
    with HubServer({}, faults={"api": ["stall:0.5"] * 10}) as hub:
        start = time.monotonic()
        with pytest.raises(SourceError):
            fetch(hub)
        assert time.monotonic() - start < 3


def test_every_failure_is_one_of_ours():
    with HubServer({}, faults={"api": ["garbage"] * 10}) as hub, pytest.raises(InspectorError):
        fetch(hub)
