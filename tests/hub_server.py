"""A Hub on loopback: an API and resolver on one origin, signed file addresses on another, and faults on demand.

Nothing is mocked: requests go over real sockets through the same client that users have. Every request and every body
byte is counted, so that tests can bound what a command costs. Wire facts as huggingface_hub 2.4.0 expects them.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

SHA = "0123456789abcdef0123456789abcdef01234567"
REVISIONS = {"main", "dev", "v1.0", "refs/pr/7", SHA}
LFS_LIMIT = 10_000  # larger files live on the other origin, as on the Hub
LFS_SUFFIXES = (".gguf", ".safetensors", ".bin")
TOKEN = "hf_right"


@pytest.fixture(autouse=True)
def quick_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No token, no cache, short waits; imported by the test modules that serve. Connections are closed at the end."""
    from huggingface_hub import close_session, constants

    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "no-cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", False)
    monkeypatch.setattr("inspector.sources.http.FIRST_WAIT", 0.001)
    yield
    close_session()


class Blob:
    """A file's bytes, in memory or on disk. `listed`: the size that the listing claims; `sha256` may lie as well."""

    def __init__(self, data: bytes | Path, *, listed: int | None = None) -> None:
        self.data = data
        self.size = len(data) if isinstance(data, bytes) else data.stat().st_size
        self.listed = self.size if listed is None else listed
        unique = data if isinstance(data, bytes) else str(data).encode()
        self.sha256 = hashlib.sha256(unique).hexdigest()

    def read(self, start: int, end: int) -> bytes:
        if isinstance(self.data, bytes):
            return self.data[start:end]
        with self.data.open("rb") as file:
            file.seek(start)
            return file.read(end - start)


class HubServer:
    """A repository. `faults`: file name (or "api", "resolve:NAME") → words, each used once, in order.

    At the file's origin: status:CODE, retry-after:S, stall:S, drip, drop:N (close after N bytes of the answer), reset:N
    (the same with a RST), every:N (always), short (a smaller body than promised ranges), less:N (a smaller range than
    asked, honestly), more (a longer one), shift (another range), bare (no Content-Range),
    star (total unknown), whole[:chunked] (ranges
    ignored), html, expired, etag, gzip. At the API and resolver: status:CODE, html, loop, nowhere, and raw headers.
    `cuts`: file name → offsets at which the connection is closed, once each.
    """

    def __init__(
        self,
        files: Mapping[str, bytes | Path | Blob],
        *,
        repo: str = "org/model",
        gated: bool = False,
        private: bool = False,
        delay: float = 0.0,
        faults: Mapping[str, Iterable[str]] | None = None,
        page: int | None = None,
        cuts: Mapping[str, Iterable[int]] | None = None,
    ) -> None:
        self.blobs: dict[str, Blob] = {name: f if isinstance(f, Blob) else Blob(f) for name, f in files.items()}
        self.repo, self.gated, self.private, self.delay, self.page = repo, gated, private, delay, page
        self.faults = {k: list(v) for k, v in (faults or {}).items()}
        self.cuts = {k: set(v) for k, v in (cuts or {}).items()}
        self.requests: list[tuple[str, str | None]] = []
        self.leaks: list[str] = []
        self.body_bytes = 0
        self.connections = 0
        self.generation = 0
        self.expire_after: int | None = None  # hits that a signed address is good for
        self.lock = threading.Lock()
        self.servers: list[ThreadingHTTPServer] = []

    def __enter__(self) -> HubServer:  # noqa: PYI034 - no sub-classes
        for handler in (_Hub, _Cdn):
            server = _Server(("127.0.0.1", 0), type(handler.__name__, (handler,), {"hub": self}))
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
            self.servers.append(server)
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.shutdown()
            server.server_close()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.servers[0].server_address[1]}"

    @property
    def cdn(self) -> str:
        # another host name as well, so that it is another origin in every sense
        return f"http://localhost:{self.servers[1].server_address[1]}"

    @property
    def n_requests(self) -> int:
        return len(self.requests)

    def ranges(self, name: str) -> list[str | None]:
        """The ranges asked of the file's own origin."""
        return [r for path, r in self.requests if "Signature=" in path and f"/{quote(name)}?" in path]

    def forget(self) -> None:
        self.requests = []
        self.body_bytes = self.connections = 0

    def next_fault(self, name: str) -> str:
        with self.lock:
            queue = self.faults.get(name)
            if not queue:
                return ""
            return queue[0] if queue[0].startswith("every:") else queue.pop(0)

    def cut_within(self, name: str, start: int, end: int) -> int | None:
        with self.lock:
            found = min((n for n in self.cuts.get(name, ()) if start < n < end), default=None)
            if found is not None:
                self.cuts[name].discard(found)
            return found

    def listing(self) -> list[dict[str, Any]]:
        siblings = []
        for name, blob in self.blobs.items():
            entry: dict[str, Any] = {"rfilename": name, "size": blob.listed, "blobId": "0" * 40}
            if is_large(name, blob):
                entry["lfs"] = {"sha256": blob.sha256, "size": blob.listed, "pointerSize": 134}
            siblings.append(entry)
        return siblings


def is_large(name: str, blob: Blob) -> bool:
    return blob.size > LFS_LIMIT or name.endswith(LFS_SUFFIXES)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        pass  # a client that hangs up is no error here


class _Base(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer
    timeout = 30

    def log_message(self, *_: object) -> None:
        pass

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.hub.lock:
            self.hub.connections += 1

    def answer(self, status: int, body: bytes = b"", **headers: Any) -> None:
        """Headers with "_" for "-"; those that are None are left out."""
        self.send_response(status)
        headers = {"Content_Length": len(body), **headers}
        for key, value in headers.items():
            if value is not None:
                self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()
        self.push(body)

    def do_GET(self) -> None:
        raise NotImplementedError

    def do_HEAD(self) -> None:
        self.do_GET()

    def push(self, body: bytes) -> None:
        if self.command == "HEAD":
            return
        for start in range(0, len(body), 1 << 16):
            piece = body[start : start + (1 << 16)]
            with self.hub.lock:  # before writing: a client that has read the answer may look at once
                self.hub.body_bytes += len(piece)
            try:
                self.wfile.write(piece)
            except OSError:
                self.close_connection = True
                return

    def record(self) -> None:
        with self.hub.lock:
            self.hub.requests.append((self.path, self.headers.get("Range")))
        time.sleep(self.hub.delay)

    def error(self, status: int, code: str, message: str) -> None:
        self.answer(status, b"", X_Error_Code=code or None, X_Error_Message=message)

    def hang_up(self, *, reset: bool = False) -> None:
        self.close_connection = True
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def misbehave(self, fault: str) -> bool:
        """Faults that need no file; whether there was one."""
        word, _, rest = fault.partition(":")
        if word == "status":
            self.answer(int(rest))
        elif word == "retry-after":
            self.answer(429, Retry_After=rest)
        elif word == "ratelimit":
            self.answer(429, RateLimit=f'"resolvers";r=0;t={rest}')
        elif word == "html":
            page = b"<!doctype html><title>Sign in</title>"
            self.answer(200, page, Content_Type="text/html; charset=utf-8")
        elif word == "stall":
            time.sleep(float(rest or 3))
            self.hang_up()
        elif word == "expired":
            self.answer(int(rest or 403), b"<Error>Request has expired</Error>", Content_Type="application/xml")
        elif word == "loop":
            self.answer(302, Location=self.path)
        elif word == "nowhere":
            self.answer(302, Location=rest or None)
        elif word == "garbage":
            self.push(b"this is not HTTP\r\n\r\n")
            self.hang_up()
        else:
            return False
        return True

    def send_blob(self, name: str, *, etag: str) -> None:
        blob, fault = self.hub.blobs[name], self.hub.next_fault(name)
        if self.misbehave(fault):
            return None
        word, _, rest = fault.partition(":")
        etag = '"changed"' if word == "etag" else etag
        wanted = self.headers.get("Range", "")
        if word == "whole" or not wanted.startswith("bytes="):
            return self.send_whole(blob, etag, chunked=rest == "chunked")
        first, _, last = wanted[6:].partition("-")
        start, end = int(first), min(int(last) + 1 if last else blob.size, blob.size)
        if start >= blob.size:
            return self.answer(416, Content_Range=f"bytes */{blob.size}")
        end = min(end, start + int(rest)) if word == "less" else blob.size if word == "more" else end
        body = blob.read(start, end)
        shown = start + (7 if word == "shift" else 0)
        total = "*" if word == "star" else blob.size
        headers: dict[str, Any] = {
            "Content_Range": None if word == "bare" else f"bytes {shown}-{end - 1}/{total}",
            "ETag": etag,
            "Accept_Ranges": "bytes",
            "Content_Encoding": "gzip" if word == "gzip" else None,
        }
        cut = self.hub.cut_within(name, start, end)
        if word in {"drop", "every", "reset"} or cut is not None:
            keep = cut - start if cut is not None else int(rest)
            self.answer(206, body[:keep], **headers, Content_Length=len(body))
            return self.hang_up(reset=word == "reset")
        if word == "short":
            return self.answer(206, body[: len(body) // 2], **headers)
        if word == "drip":
            self.answer(206, b"", **headers, Content_Length=len(body))
            return self.drip(body)
        return self.answer(206, body, **headers)

    def drip(self, body: bytes) -> None:
        for i in range(200):
            self.push(body[i : i + 1])
            if self.close_connection:
                return
            time.sleep(0.05)
        self.hang_up()

    def send_whole(self, blob: Blob, etag: str, *, chunked: bool) -> None:
        self.send_response(200)
        self.send_header("ETag", etag)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(blob.size))
        self.end_headers()
        for start in range(0, blob.size, 16384):
            piece = blob.read(start, min(start + 16384, blob.size))
            self.push(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            if self.close_connection:
                return
        if chunked:
            self.push(b"0\r\n\r\n")


class _Hub(_Base):
    def do_GET(self) -> None:
        self.record()
        hub, url = self.hub, urlsplit(self.path)
        path, query = unquote(url.path), parse_qs(url.query)
        authorized = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if self.headers.get("Authorization") and not authorized:
            return self.error(401, "", "Invalid credentials in Authorization header")
        cached = f"/api/resolve-cache/models/{hub.repo}/{SHA}/"
        if path.startswith(cached):
            name = path.removeprefix(cached)
            return self.send_small(name)
        if path.startswith("/api/models"):
            return self.api(path.removeprefix("/api/models").strip("/"), query, authorized=authorized)
        marker = f"/{hub.repo}/resolve/"
        if path.startswith(marker):
            revision, _, name = path.removeprefix(marker).partition("/")
            return self.resolve(revision, name, authorized=authorized)
        return self.error(404, "RepoNotFound", "Repository not found")

    def api(self, path: str, query: dict[str, list[str]], *, authorized: bool) -> None:
        hub = self.hub
        if path == "" and "search" in query:
            return self.send_json([{"id": hub.repo}, {"id": "other/thing"}])
        if path == "" and "author" in query:
            return self.send_json(
                [{"id": hub.repo, "sha": SHA}] if hub.repo.startswith(query["author"][0] + "/") else []
            )
        known = path == hub.repo or path.startswith(hub.repo + "/")
        if not known or (hub.private and not authorized):
            return self.error(404 if authorized else 401, "RepoNotFound", "Repository not found")
        if self.misbehave(hub.next_fault("api")):
            return None
        rest = path.removeprefix(hub.repo).strip("/")
        if rest == "refs":
            return self.send_json({"branches": [{"name": "main"}, {"name": "dev"}], "tags": [{"name": "v1.0"}]})
        if rest.startswith("tree/"):
            return self.tree(query)
        if rest.startswith("revision/") and rest[9:] not in REVISIONS:
            return self.error(404, "RevisionNotFound", f"Invalid rev id: {rest[9:]}")
        info: dict[str, Any] = {"id": hub.repo, "sha": SHA, "gated": "manual" if hub.gated else False}
        if hub.page is None:
            info["siblings"] = hub.listing()
        return self.send_json(info)

    def tree(self, query: dict[str, list[str]]) -> None:
        def entry(s: dict[str, Any]) -> dict[str, Any]:
            lfs = {"lfs": {"oid": s["lfs"]["sha256"], "size": s["lfs"]["size"]}} if "lfs" in s else {}
            return {"type": "file", "path": s["rfilename"], "size": s["size"], **lfs}

        every = [{"type": "directory", "path": "folder"}, *map(entry, self.hub.listing())]
        start = int(query.get("cursor", ["0"])[0])
        page = self.hub.page or len(every)
        headers = {}
        if start + page < len(every):
            url = f"/api/models/{self.hub.repo}/tree/{SHA}?recursive=true&cursor={start + page}"
            headers["Link"] = f'<{self.hub.endpoint}{url}>; rel="next"'
        return self.send_json(every[start : start + page], **headers)

    def send_json(self, value: object, **headers: Any) -> None:
        body = json.dumps(value).encode()
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body)
            headers["Content_Encoding"] = "gzip"
        return self.answer(200, body, Content_Type="application/json", **headers)

    def resolve(self, revision: str, name: str, *, authorized: bool) -> None:
        hub = self.hub
        if self.misbehave(hub.next_fault(f"resolve:{name}")):
            return None
        if revision not in REVISIONS:
            return self.error(404, "RevisionNotFound", "Invalid rev id")
        if name not in hub.blobs:
            return self.error(404, "EntryNotFound", "Entry not found")
        if hub.gated and not authorized:
            page = f"Access to model {hub.repo} is restricted. Please log in."
            return self.error(401, "GatedRepo", page)
        blob = hub.blobs[name]
        if not is_large(name, blob):
            where = f"/api/resolve-cache/models/{hub.repo}/{SHA}/{quote(name)}?etag=%22{blob.sha256[:40]}%22"
            return self.answer(307, b"Temporary Redirect", Location=where, X_Repo_Commit=SHA)
        signed = f"{hub.cdn}/{blob.sha256}/{quote(name)}?Signature=s{hub.generation}"
        return self.answer(
            302,
            b"Found. Redirecting",
            Location=signed,
            X_Repo_Commit=SHA,
            X_Linked_Size=blob.listed,
            X_Linked_ETag=f'"{blob.sha256}"',
        )

    def send_small(self, name: str) -> None:
        """Text is compressed, chunked and never ranged when a client takes gzip."""
        blob = self.hub.blobs[name]
        if "gzip" not in self.headers.get("Accept-Encoding", ""):
            return self.send_blob(name, etag=f'"{blob.sha256[:40]}"')
        if self.misbehave(self.hub.next_fault(name)):
            return None
        body = gzip.compress(blob.read(0, blob.size))
        kind = {"ETag": f'W/"{blob.sha256[:40]}"', "Content_Type": "text/plain; charset=utf-8"}
        self.answer(200, b"", **kind, Content_Encoding="gzip", Content_Length=None, Transfer_Encoding="chunked")
        return self.push(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))


class _Cdn(_Base):
    def do_GET(self) -> None:
        self.record()
        hub, url = self.hub, urlsplit(self.path)
        if self.headers.get("Authorization"):
            hub.leaks.append(self.path)
        name = unquote(url.path).lstrip("/").partition("/")[2]
        if url.path.startswith("/plain/"):  # any server's file, without a Hub around it
            return self.send_blob(name, etag=f'"{hub.blobs[name].sha256}"') if name in hub.blobs else self.answer(404)
        if name not in hub.blobs or parse_qs(url.query).get("Signature") != [f"s{hub.generation}"]:
            return self.answer(403, b"<Error>Request has expired</Error>")
        if hub.expire_after is not None:
            hub.expire_after -= 1
            if hub.expire_after < 0:
                hub.expire_after = None
                hub.generation += 1
                return self.answer(403, b"<Error>Request has expired</Error>")
        return self.send_blob(name, etag=f'"{hub.blobs[name].sha256}"')
