"""Folders of a real web server by the pages that list them: the same models as on disk, and nothing beyond."""

from __future__ import annotations

import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hub_server import quick_hub  # noqa: F401 - a fixture

from inspector.checkpoint import SeveralModels, open_checkpoint
from inspector.errors import AccessDenied, NotFound, SourceError, Unreachable
from inspector.fleet.items import items
from inspector.sources import index_pages
from inspector.sources.filesystems import connect, list_remote, stat
from inspector.sources.index_pages import folder_address, names_below
from inspector.stores.walk import find_models


class Files(SimpleHTTPRequestHandler):
    """Python's own file server, which names no ETag, ignores ranges, and here may refuse HEAD or serve another page."""

    server: Server

    def do_GET(self):
        self.server.requests.append(("GET", self.path))
        if page := self.server.pages.get(self.path):
            status, kind, body = page
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        super().do_GET()

    def do_HEAD(self):
        self.server.requests.append(("HEAD", self.path))
        if self.server.refuse_head:
            self.send_error(405)
            return
        super().do_HEAD()

    def log_message(self, *_):
        """Silence."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), partial(Files, directory=str(folder)))
        self.requests, self.pages, self.refuse_head = [], {}, False
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def web(files, tmp_path):
    root = tmp_path / "www"
    for name, place in (("tiny-llama-q8_0", "a-Q8_0"), ("tiny-moe-q8_0", "sub/my model (1)-Q8_0")):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(files / "gguf" / f"{name}.gguf", root / f"{place}.gguf")
    shutil.copytree(files / "safetensors" / "llama-sharded", root / "sharded")
    (root / "readme.txt").write_text("words")
    server = Server(root)
    yield server
    server.shutdown()
    server.server_close()


def html(body):
    return 200, "text/html; charset=utf-8", body.encode()


def test_a_folder_of_a_web_server_is_all_its_models_however_deep(web):
    found = {m.name: m for m in find_models(f"{web.url}/")}
    assert set(found) == {"a-Q8_0.gguf", "sharded", "sub/my%20model%20(1)-Q8_0.gguf"}
    assert found["sharded"].target == f"{web.url}/sharded/"
    assert found["a-Q8_0.gguf"].nbytes == 57_408
    assert found["a-Q8_0.gguf"].stamp.startswith("mtime:")
    assert "/readme.txt" not in {path for _, path in web.requests}
    for model in found.values():
        assert open_checkpoint(model.target).files


@pytest.mark.parametrize("head", [True, False])
def test_a_model_of_a_web_server_is_the_same_model(web, files, head):
    web.refuse_head = not head
    here = open_checkpoint(str(files / "safetensors" / "llama-sharded"))
    found = open_checkpoint(f"{web.url}/sharded/")
    assert (found.tensors, found.metadata, found.config) == (here.tensors, here.metadata, here.config)


def test_one_of_several_is_named_by_its_quant(web, files):
    with pytest.raises(SeveralModels):
        open_checkpoint(f"{web.url}/")
    here = open_checkpoint(str(files / "gguf" / "tiny-moe-q8_0.gguf"))
    for address in ("/sub:Q8_0", "/sub/:Q8_0", "/sub/"):
        assert open_checkpoint(f"{web.url}{address}").tensors == here.tensors


def test_a_scan_finds_each_model_with_what_tells_that_it_is_unchanged(web):
    found = {item.target.removeprefix(web.url): item for item in items([f"{web.url}/"])}
    assert list(found) == ["/a-Q8_0.gguf", "/sharded/", "/sub/my%20model%20(1)-Q8_0.gguf"]
    assert all(item.stamp for item in found.values())
    assert not [path for method, path in web.requests if method == "GET" and not path.endswith("/")]
    assert {item.target.removeprefix(web.url): item for item in items([f"{web.url}/"])} == found


PAGE = """
<a href="x.gguf">x</a> <A HREF='y%20z.gguf'>y</A> <a href=plain.gguf>p</a> <a href="/d/abs.gguf?x=1#y">a</a>
<a href="sub/">s</a> <a href="sub/deep.gguf">no</a> <a href="../up.gguf">no</a> <a href="/elsewhere/q.gguf">no</a>
<a href="http://other/d/o.gguf">no</a> <a href="https://h/d/scheme.gguf">no</a> <a href="?C=N;O=D">no</a>
<a href=".">no</a> <a href="%2e%2e/">no</a> <a href="a%2Fb.gguf">no</a> <a href="http://[bad">no</a>
<a href="http://h/d/a&amp;b.gguf">same</a> <a href="x.gguf">twice</a> <a href="/d/">itself</a> <a href="/dx.gguf">no</a>
"""


def test_what_lies_directly_below_counts_and_nothing_else():
    assert names_below(PAGE, "http://h/d/", "http://h/d") == {
        "x.gguf": False, "y%20z.gguf": False, "plain.gguf": False, "sub": True, "a&b.gguf": False,
    }  # fmt: skip


def test_addresses_have_one_spelling():
    assert folder_address("HTTP://h:1/a b/%c3%a9/?x#y") == "http://h:1/a%20b/%C3%A9"
    assert folder_address("https://h/") == "https://h"
    assert folder_address("http://h/%ff%2e/") == "http://h/%FF."


def test_a_page_that_a_redirect_leads_away_to_lists_nothing(web):
    web.pages["/sub/"] = html(f'<a href="{web.url}/other/x.gguf">x</a><a href="//other.invalid/sub/y.gguf">y</a>')
    with pytest.raises(NotFound):
        open_checkpoint(f"{web.url}/sub/")
    assert all(path.startswith("/sub/") for _, path in web.requests)


@pytest.mark.parametrize(
    ("page", "error"),
    [
        ((403, "text/html", b""), AccessDenied),
        ((404, "text/html", b""), NotFound),
        ((200, "application/octet-stream", b"x"), Unreachable),
        (html("<a href=x.gguf>" * 20), Unreachable),
    ],
)
def test_what_is_no_listing_is_said_in_a_line(web, page, error, monkeypatch):
    monkeypatch.setattr(index_pages, "MAX_PAGE", 100)
    web.pages["/sub/"] = page
    with pytest.raises(error) as raised:
        open_checkpoint(f"{web.url}/sub/")
    assert "\n" not in str(raised.value)


def test_listings_are_within_bounds(web):
    web.pages["/many/"] = html("".join(f'<a href="{i}.txt">' for i in range(30)))
    entries, complete = list_remote(connect(f"{web.url}/many/"), most=10)
    assert (len(entries), complete) == (10, False)
    assert stat(connect(f"{web.url}/many/")).is_folder


def test_a_file_that_changes_while_a_server_sends_it_is_an_error(web):
    at = connect(f"{web.url}/")
    with pytest.raises(SourceError):
        at.fs.open_source(f"{web.url}/a-Q8_0.gguf", name="a", size=57_407).read_at(0, 10)
