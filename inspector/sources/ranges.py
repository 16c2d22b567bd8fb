"""A remote file read from its start, as far as its reader needs it: an append-only prefix filled by range requests.

No byte is fetched twice: what arrived before a connection broke is kept and the rest asked for. The signed address
behind a redirect is used again until it expires. A server that ignores ranges is read as far as needed and hung up on.
"""

from __future__ import annotations

from inspector.errors import LimitExceeded, SourceError, Unreachable
from inspector.sources import Source
from inspector.sources.http import (
    FIRST_WAIT,
    MAX_REDIRECTS,
    TRIES,
    Retry,
    check_status,
    gave_up,
    origin,
    pause,
    redirect_target,
    transport_error,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from inspector.sources.http import Client

CHUNK: Final = 64 << 10
MAX_PREFIX: Final = 128 << 20
DEFAULT_FIRST: Final = 1 << 20


def parse_content_range(text: str) -> tuple[int, int | None] | None:
    """First byte and total of `bytes 0-99/1234` (total None for `*`), or None when it is not of that form."""
    unit, _, rest = text.strip().partition(" ")
    span, _, total = rest.partition("/")
    first = span.partition("-")[0]
    if unit != "bytes" or not first.isascii() or not first.isdigit():
        return None
    return int(first), int(total) if total.isascii() and total.isdigit() else None


class RangeSource(Source):
    """One remote file. `size`: what a listing says, or None to learn it from the first answer.

    `first`: bytes of the first request. `sha256`: what the listing says; a server that serves another one is refused.
    Raises SourceError on use.
    """

    window = 16 << 10

    def __init__(
        self,
        client: Client,
        url: str,
        *,
        name: str,
        size: int | None = None,
        first: int = DEFAULT_FIRST,
        sha256: str | None = None,
    ) -> None:
        self.name = name
        self._client = client
        self._url = url
        self._signed: str | None = None
        self._first = first
        self._sha256 = sha256
        self._etag: str | None = None
        self._prefix = bytearray()
        self._expected = 0
        self._open: Any = None  # an answer that goes on from the prefix's end: (response, chunks)
        self._total = size
        if size is None:
            self._fill(min(first, MAX_PREFIX))
        if self._total is None:
            raise Unreachable(f"{name}: the server does not say how large the file is")
        self.size = self._total

    def expect(self, end: int) -> None:
        self._expected = end

    def read_at(self, offset: int, length: int) -> bytes:
        end = min(offset + length, self.size)
        if end > len(self._prefix):
            self._fill(min(self._goal(end), self.size))
        return bytes(self._prefix[offset:end])

    def _goal(self, end: int) -> int:
        """How far to read now: what is needed, what is expected, or a quarter more than there is."""
        have = len(self._prefix)
        if not have:
            return max(end, self._first)
        if self._expected > have:
            return max(end, self._expected)
        return max(end, have + have // 4)

    def _fill(self, goal: int) -> None:
        """Has at least `goal` bytes, or raises. Tries are counted anew whenever bytes have arrived."""
        if goal > MAX_PREFIX:
            raise LimitExceeded(
                f"{self.name}: a header of more than {MAX_PREFIX >> 20} MiB is not read over the network"
            )
        left, wait = TRIES, FIRST_WAIT
        while len(self._prefix) < goal:
            before = len(self._prefix)
            try:
                self._fetch(goal)
                failure = Retry(f"the connection closed after {len(self._prefix):,} of {goal:,} bytes")
            except SourceError:
                self.close()
                raise
            except Exception as error:
                self.close()
                mapped = transport_error(error)
                if not isinstance(mapped, Retry):
                    raise mapped from None
                failure = mapped
            if self._total is not None:
                goal = min(goal, self._total)
            if len(self._prefix) >= goal:
                return
            if len(self._prefix) > before:
                left, wait = TRIES, FIRST_WAIT
                continue
            left -= 1
            if not left:
                raise gave_up(failure, self.name)
            pause(failure, wait)
            wait *= 2

    def _fetch(self, goal: int) -> None:
        """One answer's bytes onto the prefix, up to `goal`."""
        if self._open is None:
            self._start(goal)
        if self._open is None:
            return
        response, chunks, whole = self._open
        for chunk in chunks:
            self._prefix += chunk
            self._client.say(f"{self.name}: {len(self._prefix):,} bytes of header")
            if len(self._prefix) >= goal and whole:
                return  # more would come: stay connected, in case more is needed
        self._open = None
        response.close()

    def _start(self, goal: int) -> None:
        """Asks for the bytes from the prefix's end to `goal` and checks what the server makes of it."""
        start = len(self._prefix)
        response = self._resolve({"range": f"bytes={start}-{goal - 1}"})
        try:
            self._check_identity(response)
            if response.status_code == 206:
                self._check_range(response, start)
                self._open = (response, response.iter_raw(CHUNK), False)
            else:
                self._check_whole(response)
                self._open = (response, _skip(response.iter_bytes(CHUNK), start), True)
        except BaseException:
            response.close()
            raise

    def _resolve(self, headers: dict[str, str]) -> Any:
        """The answer at the end of the redirects. An expired signed address is asked for again, once."""
        url, fresh = self._signed or self._url, self._signed is None
        for _ in range(MAX_REDIRECTS + 1):
            response = self._client.send(url, headers=headers)
            if (target := redirect_target(response, url)) is not None:
                self._check_link(response)
                response.close()
                if origin(target) != origin(self._client.endpoint):
                    self._signed = target
                url = target
                continue
            if response.status_code in {401, 403, 404, 410} and url != self._url and not fresh:
                response.close()
                self._signed, url, fresh = None, self._url, True
                continue
            if response.status_code in {401, 403, 410} and url != self._url and origin(url) != origin(self._url):
                self._signed = None
                response.close()
                raise Retry(f"the signed address was refused ({response.status_code})")
            if response.status_code == 416:
                response.close()
                self._refuse_size(response)
            try:
                check_status(response, self.name)
            except BaseException:
                response.close()
                raise
            return response
        raise Unreachable(f"{self.name}: more than {MAX_REDIRECTS} redirects")

    def _refuse_size(self, response: Any) -> None:
        total = response.headers.get("content-range", "").rpartition("/")[2]
        have = f"{int(total):,} bytes" if total.isascii() and total.isdigit() else "fewer bytes"
        listed = f"{self._total:,}" if self._total is not None else "more"
        raise SourceError(f"{self.name}: the server has {have}, the listing says {listed}: a truncated upload?")

    def _check_total(self, total: int | None) -> None:
        if total is None:
            return
        if self._total is None:
            self._total = total
        elif total != self._total:
            raise SourceError(f"{self.name}: {total:,} bytes are served, the listing says {self._total:,}")

    def _check_link(self, response: Any) -> None:
        """What a redirect says of the file behind it must be what the listing says."""
        size = response.headers.get("x-linked-size", "")
        self._check_total(int(size) if size.isascii() and size.isdigit() else None)
        etag = response.headers.get("x-linked-etag", "").strip('W/"')
        if self._sha256 and len(etag) == 64 and etag != self._sha256:
            raise SourceError(f"{self.name}: the file was changed while it was read (another sha256 is served)")

    def _check_range(self, response: Any, start: int) -> None:
        found = parse_content_range(response.headers.get("content-range", ""))
        if found is None or found[0] != start:
            raise Unreachable(f"{self.name}: the server sent other bytes than were asked for")
        if response.headers.get("content-encoding", "identity") not in {"", "identity"}:
            raise Unreachable(f"{self.name}: the server encoded a range of bytes")
        self._check_total(found[1])

    def _check_whole(self, response: Any) -> None:
        length = response.headers.get("content-length", "")
        encoded = response.headers.get("content-encoding", "identity") not in {"", "identity"}
        if length.isascii() and length.isdigit() and not encoded:
            if "text/html" in response.headers.get("content-type", "") and int(length) != self._total:
                raise SourceError(
                    f"{self.name}: a web page is served in place of the file", hint="a login or an error page"
                )
            self._check_total(int(length))
        elif "text/html" in response.headers.get("content-type", ""):
            raise SourceError(
                f"{self.name}: a web page is served in place of the file", hint="a login or an error page"
            )

    def _check_identity(self, response: Any) -> None:
        """All answers must be of one file: the same ETag as the first."""
        etag = response.headers.get("etag")
        if self._etag is not None and etag is not None and etag != self._etag:
            raise SourceError(f"{self.name}: the file was changed while it was read (its ETag is another)")
        self._etag = self._etag or etag

    def close(self) -> None:
        if self._open is not None:
            response, self._open = self._open[0], None
            response.close()


def _skip(chunks: Any, n: int) -> Any:
    """The chunks without their first `n` bytes."""
    for chunk in chunks:
        if n >= len(chunk):
            n -= len(chunk)
            continue
        yield chunk[n:]
        n = 0
