"""A remote file read from its start, as far as its reader needs it: an append-only prefix filled by range requests.

No byte is fetched twice: what arrived before a connection broke is kept and the rest asked for. The signed address
behind a redirect is used again until it expires. A server that ignores ranges is read as far as needed and hung up on.
"""

from __future__ import annotations

from inspector.errors import NoRangeSupport, SourceError, Unreachable
from inspector.sources.http import (
    MAX_REDIRECTS,
    Patience,
    Retry,
    check_status,
    finish,
    origin,
    paced,
    redirect_target,
    retried,
    transport_error,
)
from inspector.sources.prefix import DEFAULT_FIRST, PrefixSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from inspector.sources.http import Client

# A connection that breaks after fewer bytes has brought nothing; one that breaks this often never ends.
WORTHWHILE: Final = 16 << 10
MAX_BREAKS: Final = 1000
# What an expired or refused signature answers with (S3 and CloudFront: 400 and 403).
_REFUSED: Final = frozenset({400, 401, 403, 404, 410})


def parse_content_range(text: str) -> tuple[int, int, int | None] | None:
    """First byte, last byte and total of `bytes 0-99/1234` (total None for `*`); None for anything else."""
    unit, _, rest = text.strip().partition(" ")
    span, _, total = rest.partition("/")
    first, _, last = span.strip().partition("-")
    if unit.lower() != "bytes" or _number(first) is None or _number(last) is None or int(last) < int(first):
        return None
    return int(first), int(last), _number(total.strip())


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _tag(etag: str | None) -> str | None:
    """An ETag without what proxies add to it (RFC 9110, section 8.8.3: W/; Apache: -gzip)."""
    return etag.strip().removeprefix("W/").strip('"').removesuffix("-gzip") if etag else None


class RangeSource(PrefixSource):
    """One remote file. `size`: what a listing says, or None to learn it from the first answer.

    `first`: bytes of the first request. `sha256`, `etag`: what the listing says; a server that serves another one is
    refused.
    Raises SourceError on use. For one thread at a time.
    """

    def __init__(
        self,
        client: Client,
        url: str,
        *,
        name: str,
        size: int | None = None,
        first: int = DEFAULT_FIRST,
        sha256: str | None = None,
        etag: str | None = None,
    ) -> None:
        super().__init__(name, first=first)
        self._client = client
        self._url = url
        self._signed: str | None = None
        self._sha256 = sha256
        self._etag = _tag(etag)
        self._open: Any = None  # an answer that goes on from the prefix's end: (response, chunks, more would come)
        self._total = size
        if size is None:
            self._fill(first)
        if self._total is None:
            self.close()
            raise NoRangeSupport(f"{name}: the server does not say how large the file is")
        self.size = self._total

    def _fill(self, goal: int) -> None:
        """Has at least `goal` bytes (or the whole file), or raises."""
        patience = Patience(self.name)
        for _ in range(MAX_BREAKS):
            before = len(self._prefix)
            failure = self._try_fetch(goal)
            goal = min(goal, self._total) if self._total is not None else goal
            if len(self._prefix) >= goal:
                return
            if len(self._prefix) - before >= WORTHWHILE or (failure is None and len(self._prefix) > before):
                patience.renew()
                continue
            patience.wait_out(failure or Retry(f"the connection closed after {len(self._prefix):,} of {goal:,} bytes"))
        raise Unreachable(f"{self.name}: the connection broke {MAX_BREAKS:,} times")

    def _try_fetch(self, goal: int) -> Retry | None:
        """One answer's bytes onto the prefix; what went wrong, if that may pass. Raises SourceError if it will not."""
        try:
            self._fetch(goal)
        except BaseException as error:
            self.close()
            if not isinstance(error, Exception):
                raise
            failure = transport_error(error)
            if not isinstance(failure, Retry):
                raise failure from None
            return failure
        return None

    def _fetch(self, goal: int) -> None:
        if self._open is None:
            self._start(goal)
        response, chunks, more = self._open
        for chunk in chunks:
            self._prefix += chunk
            self._client.say(f"{self.name}: {len(self._prefix):,} bytes of header")
            if more and len(self._prefix) >= goal:
                return  # stay connected, in case more is needed
        self._open = None
        response.close()
        if self._total is None and response.status_code == 200:
            self._total = len(self._prefix)  # of unknown length, and this was all

    def _start(self, goal: int) -> None:
        """Asks for the bytes from the prefix's end to `goal` and checks what the server makes of it."""
        start = len(self._prefix)
        response = self._resolve(start, goal)
        try:
            self._check_identity(response)
            if response.status_code == 206:
                last = self._check_range(response, start)
                self._open = response, paced(response.iter_raw(), self._client.timeout), last > goal
            else:
                self._check_whole(response)
                chunks = paced(response.iter_bytes(), self._client.timeout)
                self._open = response, _skip(chunks, start), True
        except BaseException:
            response.close()
            raise

    def _fetch_apart(self, start: int, end: int) -> bytes:
        def once() -> bytes:
            response = self._resolve(start, end)
            try:
                self._check_identity(response)
                if response.status_code != 206:
                    raise NoRangeSupport(f"{self.name}: the server sends whole files only")
                self._check_range(response, start)
                found = b"".join(paced(response.iter_raw(), self._client.timeout))
            finally:
                response.close()
            if len(found) < end - start:
                raise Retry(f"the connection closed after {len(found):,} of {end - start:,} bytes")
            return found

        return retried(once, what=self.name)

    def _resolve(self, start: int, end: int) -> Any:
        """The answer at the end of the redirects to a request for bytes `start` to `end`.

        A signed address that has expired is asked for again.
        """
        headers = {"range": f"bytes={start}-{end - 1}"}
        url, reused = self._signed or self._url, self._signed is not None
        for _ in range(MAX_REDIRECTS + 1):
            response = self._client.send(url, headers=headers)
            try:
                target = redirect_target(response, url)
                if target is None:
                    self._check_answer(response, url)
                    return response
                self._check_link(response)
            except _Expired:
                response.close()
                self._signed = None
                if not reused:
                    raise
                url, reused = self._url, False
                continue
            except BaseException:
                response.close()
                raise
            finish(response)
            if origin(target) != origin(self._client.endpoint):
                self._signed = target
            url = target
        raise Unreachable(f"{self.name}: more than {MAX_REDIRECTS} redirects")

    def _check_answer(self, response: Any, url: str) -> None:
        status = response.status_code
        if status in _REFUSED and url != self._url and origin(url) != origin(self._url):
            raise _Expired(f"the signed address was refused ({status})")
        if status == 416:
            self._refuse_size(response)
        check_status(response, self.name)

    def _refuse_size(self, response: Any) -> None:
        served = _number(response.headers.get("content-range", "").rpartition("/")[2].strip())
        if served == 0 and self._total is None:
            raise SourceError(f"{self.name}: an empty file")
        have = f"{served:,} bytes" if served is not None else "fewer bytes"
        listed = f"{self._total:,}" if self._total is not None else "more"
        raise SourceError(f"{self.name}: the server has {have}, the listing says {listed}: a truncated upload?")

    def _check_total(self, total: int | None) -> None:
        if total is None:
            return
        if self._total is None:
            self._total = total
        elif total != self._total:
            why = ": a truncated upload?" if total < self._total else ""
            raise SourceError(f"{self.name}: {total:,} bytes are served, the listing says {self._total:,}{why}")

    def _check_link(self, response: Any) -> None:
        """What a redirect says of the file behind it must be what the listing says."""
        self._check_total(_number(response.headers.get("x-linked-size", "")))
        etag = _tag(response.headers.get("x-linked-etag"))
        if self._sha256 and etag and len(etag) == 64 and etag != self._sha256:
            raise SourceError(f"{self.name}: the file was changed while it was read (another sha256 is served)")

    def _check_range(self, response: Any, start: int) -> int:
        """The byte after the last that is coming."""
        found = parse_content_range(response.headers.get("content-range", ""))
        if found is None or found[0] != start:
            raise Unreachable(f"{self.name}: the server sent other bytes than were asked for")
        if response.headers.get("content-encoding", "identity").lower() not in {"", "identity"}:
            raise Unreachable(f"{self.name}: the server encoded a range of bytes")
        self._check_total(found[2])
        return found[1] + 1

    def _check_whole(self, response: Any) -> None:
        """A server that ignores ranges sends the file, or a page that stands in its place."""
        headers = response.headers
        encoded = headers.get("content-encoding", "identity").lower() not in {"", "identity"}
        length = None if encoded else _number(headers.get("content-length", ""))
        if "text/html" in headers.get("content-type", "").lower() and (length is None or length != self._total):
            raise SourceError(f"{self.name}: a web page is served in place of the file", hint="a login or error page")
        self._check_total(length)

    def _check_identity(self, response: Any) -> None:
        """All answers must be of one file: the same ETag as the first."""
        etag = _tag(response.headers.get("etag"))
        if self._etag is not None and etag is not None and etag != self._etag:
            raise SourceError(f"{self.name}: the file was changed while it was read (its ETag is another)")
        self._etag = self._etag or etag

    def close(self) -> None:
        if self._open is not None:
            response, self._open = self._open[0], None
            response.close()


class _Expired(Retry):
    """A signed address that is refused: a new one may not be."""


def _skip(chunks: Iterator[bytes], n: int) -> Iterator[bytes]:
    """The chunks without their first `n` bytes."""
    for chunk in chunks:
        if n >= len(chunk):
            n -= len(chunk)
            continue
        yield chunk[n:]
        n = 0
