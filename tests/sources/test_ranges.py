"""A remote file is read like a local one, whatever happens on the way; what cannot be trusted is refused in words."""

from __future__ import annotations

import random
import time

import pytest
from hub_server import Blob, HubServer, quick_hub  # noqa: F401 - a fixture

from inspector.errors import LimitExceeded, NoRangeSupport, NotFound, SourceError, Unreachable
from inspector.sources import http, prefix, ranges
from inspector.sources.http import Client
from inspector.sources.hub import fetch_listing, open_file
from inspector.sources.ranges import RangeSource, parse_content_range

DATA = random.Random(4).randbytes(700_000)
NAME = "model.gguf"
STEP = 64 << 10


@pytest.fixture(autouse=True)
def _short_timeout(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.3)


def serve(*faults, data=DATA, **options):
    return HubServer({NAME: data}, faults={NAME: faults}, **options)


def opened(hub, *, first=STEP):
    client = Client(endpoint=hub.endpoint)
    return open_file(client, fetch_listing(client, hub.repo), NAME, first=first)


def read_all(source, step=STEP):
    return b"".join(source.read_at(at, step) for at in range(0, source.size, step))


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("bytes 0-99/1234", (0, 99, 1234)),
        ("bytes 5-5/*", (5, 5, None)),
        ("BYTES 1-2/3", (1, 2, 3)),
        ("bytes */1234", None),
        ("bytes 9-5/100", None),
        ("bytes -5/100", None),
        ("items 0-1/2", None),
        ("bytes 0-99", (0, 99, None)),
        ("bytes ²-3/4", None),
        ("bytes 0-" + "9" * 400 + "/1", None),
        ("", None),
    ],
)
def test_content_ranges(text, span):
    assert parse_content_range(text) == span


def test_a_file_is_read_as_it_is_and_no_byte_twice():
    with serve() as hub, opened(hub) as source:
        hub.forget()
        assert source.size == len(DATA)
        assert read_all(source) == DATA
        assert source.read_at(1000, 50) == DATA[1000:1050]
        assert source.read_at(len(DATA) - 3, 50) == DATA[-3:]
        assert source.read_at(len(DATA), 50) == b""
        assert hub.body_bytes - len("Found. Redirecting") == len(DATA)
        assert sum("/resolve/" in path for path, _ in hub.requests) == 1, "the signed address is used again"
        assert hub.connections <= 2


def test_what_is_expected_is_fetched_at_once():
    with serve() as hub, opened(hub) as source:
        source.read_at(0, 10)
        source.expect(600_000)
        source.read_at(STEP, 10)
        source.read_at(599_000, 10)
        assert hub.ranges(NAME) == ["bytes=0-65535", "bytes=65536-599999"]


def test_what_is_there_already_costs_nothing():
    with serve() as hub, opened(hub) as source:
        assert source.read_some(0, 8, 1 << 20) == DATA[:STEP]
        assert source.read_some(STEP - 8, 8, 1 << 20) == DATA[STEP - 8 : STEP]
        assert len(hub.ranges(NAME)) == 1


@pytest.mark.parametrize("kind", ["drop", "reset"])
def test_a_connection_that_is_cut_anywhere_changes_nothing(kind):
    for at in range(STEP, len(DATA), STEP):
        with serve(cuts={NAME: {at}}) as hub, opened(hub, first=len(DATA)) as source:
            assert read_all(source) == DATA
            assert hub.body_bytes < len(DATA) + 2000, "what had arrived is kept"
            assert not hub.cuts[NAME], "the fault was met"


def test_a_connection_that_is_always_cut_still_gets_there():
    with serve("every:20000") as hub, opened(hub, first=len(DATA)) as source:
        assert read_all(source) == DATA
        assert hub.body_bytes < len(DATA) + 2000


RECOVERED = [
    "drop:0", "drop:1", "drop:40000", "reset:40000", "short", "less:5000", "less:1", "more", "whole", "whole:chunked",
    "status:500", "status:502", "status:503", "status:504", "status:408", "status:429", "retry-after:0", "ratelimit:0",
    "expired", "expired:400", "status:403", "status:401", "status:410", "stall:0.6", "garbage",
]  # fmt: skip


@pytest.mark.parametrize("fault", RECOVERED)
def test_what_passes_is_waited_out(fault):
    with serve(fault) as hub, opened(hub) as source:
        assert read_all(source) == DATA
        assert not hub.faults[NAME]


@pytest.mark.parametrize("fault", RECOVERED)
def test_what_passes_is_waited_out_later_as_well(fault):
    with serve() as hub, opened(hub) as source:
        source.read_at(0, 10)
        hub.faults[NAME] = [fault]
        assert read_all(source) == DATA
        assert not hub.faults[NAME]


REFUSED = [
    ("shift", Unreachable, "other bytes than were asked for"),
    ("bare", Unreachable, "other bytes than were asked for"),
    ("gzip", Unreachable, "encoded"),
    ("html", SourceError, "a web page is served in place of the file"),
]


@pytest.mark.parametrize(("fault", "error", "words"), REFUSED)
@pytest.mark.parametrize("later", [False, True])
def test_what_cannot_be_trusted_is_refused(fault, error, words, later):
    with serve() as hub, opened(hub) as source:
        if later:
            source.read_at(0, 10)
        hub.faults[NAME] = [fault] * 10
        with pytest.raises(error, match=words) as caught:
            read_all(source)
        assert str(caught.value).startswith(NAME)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fault", ["status:500", "drop:0", "drop:100", "garbage", "expired", "stall:0.6", "drip"])
def test_what_does_not_pass_is_given_up(fault, monkeypatch):
    monkeypatch.setattr(http, "TRIES", 2)
    with serve(*[fault] * 100) as hub, opened(hub) as source:
        start = time.monotonic()
        with pytest.raises(Unreachable):
            read_all(source)
        assert time.monotonic() - start < 5
        assert hub.n_requests < 20


def test_a_changed_file_is_noticed():
    with serve() as hub, opened(hub) as source:
        source.read_at(0, 10)
        hub.faults[NAME] = ["etag"]
        with pytest.raises(SourceError, match="changed while it was read"):
            read_all(source)


def test_another_hash_than_listed_is_noticed():
    with serve() as hub:
        client = Client(endpoint=hub.endpoint)
        repo = fetch_listing(client, hub.repo)
        hub.blobs[NAME].sha256 = "e" * 64
        with open_file(client, repo, NAME) as source, pytest.raises(SourceError, match="another sha256"):
            source.read_at(0, 10)


def test_a_server_that_ignores_ranges_is_hung_up_on():
    data = bytes(40_000_000)
    with serve(*["whole"] * 10, data=data) as hub, opened(hub) as source:
        assert source.read_at(0, 1000) == data[:1000]
        assert source.read_at(100_000, 1000) == data[:1000]
        source.close()
        time.sleep(0.05)
        # what was under way when the line was cut: socket buffers, not the file
        assert hub.body_bytes < len(data) // 2
        assert len(hub.ranges(NAME)) == 1


def test_a_longer_answer_than_asked_for_is_not_read_on():
    data = bytes(40_000_000)
    with serve("more", data=data) as hub, opened(hub) as source:
        source.read_at(0, 1000)
        source.close()
        time.sleep(0.05)
        assert hub.body_bytes < len(data) // 2


def test_a_signed_address_that_expires_is_asked_for_again():
    with serve() as hub, opened(hub, first=10_000) as source:
        source.read_at(0, 10)
        for at in range(1, 20):
            if at % 5 == 0:
                hub.generation += 1
            source.expect(at * 10_000 + 10_000)
            assert source.read_at(at * 10_000, 10_000) == DATA[at * 10_000 : (at + 1) * 10_000]
        assert sum("/resolve/" in path for path, _ in hub.requests) == 4


@pytest.mark.parametrize(("listed", "words"), [(len(DATA) + 5, "truncated upload"), (len(DATA) - 5, "are served")])
def test_a_size_that_is_not_the_listed_one_is_reported(listed, words):
    with HubServer({NAME: Blob(DATA, listed=listed)}) as hub, opened(hub) as source:
        with pytest.raises(SourceError, match=words) as caught:
            source.read_at(0, 10)
        assert f"{len(DATA):,}" in str(caught.value)
        assert f"{listed:,}" in str(caught.value)


def test_a_range_beyond_the_end_is_a_truncated_upload():
    with serve("star", "star", data=DATA[:5000]) as hub:
        source = RangeSource(Client(endpoint=hub.endpoint), f"{hub.cdn}/plain/{NAME}", name=NAME, size=9000, first=10)
        source.read_at(0, 10)
        with pytest.raises(SourceError, match="5,000 bytes, the listing says 9,000"):
            source.read_at(6000, 100)


def test_sizes_are_learnt_where_nothing_lists_them():
    with serve() as hub:
        with RangeSource(Client(), f"{hub.cdn}/plain/{NAME}", name=NAME, first=1000) as source:
            assert source.size == len(DATA)
            assert read_all(source) == DATA
        hub.faults[NAME] = ["whole:chunked"]
        with pytest.raises(NoRangeSupport, match="does not say how large"):
            RangeSource(Client(), f"{hub.cdn}/plain/{NAME}", name=NAME, first=1000)
        hub.faults[NAME] = ["whole:chunked"]
        with RangeSource(Client(), f"{hub.cdn}/plain/{NAME}", name=NAME, first=1 << 20) as source:
            assert source.size == len(DATA)


def test_an_empty_file_is_said_to_be_empty():
    with serve(data=b"") as hub, pytest.raises(SourceError, match="empty"):
        RangeSource(Client(), f"{hub.cdn}/plain/{NAME}", name=NAME)


def test_a_file_that_is_not_there():
    with serve() as hub, pytest.raises(NotFound):
        RangeSource(Client(), f"{hub.cdn}/plain/other.gguf", name="other.gguf")


def test_bytes_far_away_are_fetched_on_their_own(monkeypatch):
    monkeypatch.setattr(prefix, "FAR", 100_000)
    monkeypatch.setattr(ranges, "APART", 20_000)
    with serve() as hub, opened(hub) as source:
        source.read_at(0, 10)
        assert source.read_at(600_000, 100) == DATA[600_000:600_100]
        assert source.read_at(600_100, 100) == DATA[600_100:600_200]
        assert source.read_at(len(DATA) - 10, 100) == DATA[-10:]
        assert len(hub.ranges(NAME)) == 3
        assert hub.body_bytes < 120_000
        hub.faults[NAME] = ["whole"]
        with pytest.raises(NoRangeSupport):
            source.read_at(400_000, 10)


def test_a_header_without_end_is_not_read(monkeypatch):
    monkeypatch.setattr(prefix, "MAX_PREFIX", 200_000)
    with serve() as hub, opened(hub) as source:
        with pytest.raises(LimitExceeded, match="not read remotely"):
            read_all(source)
        assert hub.body_bytes < 210_000


def test_the_token_stays_with_the_hub(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    with serve(gated=True) as hub, opened(hub) as source:
        assert read_all(source) == DATA
        assert hub.leaks == []


@pytest.mark.parametrize("fault", ["loop", "nowhere"])
def test_redirects_end(fault):
    with HubServer({NAME: DATA}, faults={f"resolve:{NAME}": [fault] * 50}) as hub, opened(hub) as source:
        with pytest.raises(Unreachable):
            source.read_at(0, 10)
        assert hub.n_requests < 10
