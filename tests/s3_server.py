"""A real S3 server on loopback (moto's), and a door before it that counts what passes and can refuse for a while."""

from __future__ import annotations

import http.client
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

# moto signs in anybody; obstore wants to be told that loopback may be plain HTTP
KEYS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    "AWS_ALLOW_HTTP": "true",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def needed(*names: str) -> None:
    """Skips where a package of the test group is not installed, and fails in CI."""
    for name in names:
        if os.environ.get("CI") == "true":
            __import__(name)
        pytest.importorskip(name)


class _Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Door

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        door = self.server
        with door.lock:
            door.requests.append((self.command, self.path, self.headers.get("range", "")))
            refused = door.refusals > 0
            door.refusals -= refused
        if refused:
            self._answer(503, {"content-type": "application/xml"}, b"<Error><Code>SlowDown</Code></Error>")
            return
        inner = http.client.HTTPConnection("127.0.0.1", door.inner_port, timeout=10)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in {"host", "connection"}}
        inner.request(self.command, self.path, body=body or None, headers=headers)
        answer = inner.getresponse()
        found = answer.read()
        with door.lock:
            door.sent += len(found)
        kept = {k: v for k, v in answer.getheaders() if k.lower() not in {"connection", "transfer-encoding", "server"}}
        self._answer(answer.status, kept, found)
        inner.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        names = {k.lower() for k in headers}
        for name, value in headers.items():
            self.send_header(name, value)
        if "content-length" not in names:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = _pass  # noqa: N815 - as http.server calls them

    def log_message(self, *_: Any) -> None:
        """Silence."""


class Door(ThreadingHTTPServer):
    """`refusals`: how many requests more are answered 503; `requests` and `sent` (bytes of bodies): what passed."""

    daemon_threads = True

    def __init__(self, inner_port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Door)
        self.inner_port = inner_port
        self.lock = threading.Lock()
        self.refusals = 0
        self.sent = 0
        self.requests: list[tuple[str, str, str]] = []
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def reset(self) -> None:
        """Forget what passed."""
        self.refusals, self.sent, self.requests = 0, 0, []

    def put(self, path: str, data: bytes = b"") -> None:
        """Make a bucket, or an object in one."""
        connection = http.client.HTTPConnection("127.0.0.1", self.inner_port, timeout=10)
        connection.request("PUT", path, body=data, headers={"content-type": "application/octet-stream"})
        answer = connection.getresponse()
        assert answer.status == 200, (path, answer.status, answer.read())
        connection.close()


@pytest.fixture(scope="session")
def s3_server():
    """One server for all tests, with its door."""
    needed("moto", "obstore")
    import logging

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    door = Door(server.get_host_and_port()[1])
    yield door
    door.shutdown()
    door.server_close()
    server.stop()


@pytest.fixture
def s3(s3_server, monkeypatch):
    """The server as this process and those that it starts find it; waits are short."""
    from inspector.sources import clouds

    monkeypatch.setattr(clouds, "FIRST_WAIT", 0.01)
    s3_server.reset()
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": s3_server.url, "AWS_ENDPOINT": s3_server.url}.items():
        monkeypatch.setenv(name, value)
    yield s3_server
    s3_server.reset()
