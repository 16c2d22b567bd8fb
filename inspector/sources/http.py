"""One HTTP client for all remote reads: huggingface_hub's session, with our own redirects, retries and patience.

The session brings the user's proxies, certificates, token and offline switch. What is ours: the token never leaves the
Hub's origin, ranges are asked for unencoded, waits are bounded, and every failure is one of our errors.
"""

from __future__ import annotations

import threading
import time
from urllib.parse import urljoin, urlsplit

from inspector.errors import AccessDenied, NotFound, Offline, RateLimited, SourceError, Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any, Final, TypeVar

    R = TypeVar("R")

TRIES: Final = 4
FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 60.0  # in all, for one file: longer than this, a person would rather be told
SLOWEST: Final = 1024  # bytes a second, below which a connection counts as stalled
MAX_REDIRECTS: Final = 5
RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 522, 524})
MAX_BODY: Final = 64 << 20  # of a listing or a document


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: what a token may not cross."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), port


def wait_asked(headers: Mapping[str, str]) -> float | None:
    """Seconds that a 429 or 503 asks to wait: `Retry-After`, or `RateLimit: …;t=SECONDS` (docs/hub/rate-limits)."""
    after = headers.get("retry-after", "").strip()
    if after.isascii() and after.isdigit():
        return min(float(after), 1e9)
    if after and (seconds := _until(after)) is not None:
        return seconds
    for piece in headers.get("ratelimit", "").replace(",", ";").split(";"):
        name, _, value = piece.strip().partition("=")
        if name == "t" and value.isascii() and value.isdigit():
            return min(float(value), 1e9)
    return None


def _until(date: str) -> float | None:
    """Seconds until an HTTP date, or None where it is none."""
    from email.utils import parsedate_to_datetime

    try:
        return min(max(parsedate_to_datetime(date).timestamp() - time.time(), 0.0), 1e9)
    except (ValueError, TypeError, OverflowError):
        return None


def _words(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:200]


class Client:
    """GETs (and HEADs) against one Hub, or any server. Safe to use from several threads.

    `progress` is told what is being read; `n_requests` counts what was sent, redirects included.
    """

    def __init__(self, *, endpoint: str | None = None, progress: Callable[[str], None] | None = None) -> None:
        from huggingface_hub import __version__ as library
        from huggingface_hub import constants
        from huggingface_hub.utils import get_session, get_token  # type: ignore[attr-defined,unused-ignore]

        from inspector.version import __version__

        self.endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        self.timeout = float(constants.HF_HUB_DOWNLOAD_TIMEOUT or 10)
        self.offline = bool(constants.HF_HUB_OFFLINE)
        self.progress = progress
        self._session: Any = get_session()
        # not build_hf_headers: it sends a request of its own (huggingface_hub 2.4, /api/agent-harnesses)
        token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
        self._token = f"Bearer {token}" if token else None
        self._headers = {"user-agent": f"weights-inspector/{__version__}; hf_hub/{library}"}
        self._lock = threading.Lock()
        self.n_requests = 0

    def send(self, url: str, *, headers: Mapping[str, str], encoding: str = "identity", method: str = "GET") -> Any:
        """One request, the body not yet read, redirects not followed. Raises Offline; transport errors pass through."""
        if self.offline:
            raise Offline("HF_HUB_OFFLINE is set and the answer is not in the cache")
        sent = {**self._headers, "accept-encoding": encoding, **headers}
        if self._token and origin(url) == origin(self.endpoint):
            sent["authorization"] = self._token
        request = self._session.build_request(method, url, headers=sent, timeout=self.timeout)
        if "authorization" not in sent:
            request.headers.pop("authorization", None)  # a default of the user's own client
        with self._lock:
            self.n_requests += 1
        return self._session.send(request, stream=True, follow_redirects=False)

    def get_document(self, url: str, *, what: str, most: int = MAX_BODY) -> tuple[bytes, Any]:
        """A whole small body and its response, redirects followed, failures retried. Raises SourceError.

        `most`: bytes, beyond which it is refused.
        """

        def once() -> tuple[bytes, Any]:
            response = self._follow(url, {}, encoding="gzip, deflate")
            try:
                check_status(response, what)
                body = bytearray()
                for chunk in paced(response.iter_bytes(), self.timeout):
                    body += chunk
                    if len(body) > most:
                        raise Unreachable(f"{what}: an answer of more than {most:,} bytes")
                return bytes(body), response
            finally:
                response.close()

        return retried(once, what=what)

    def head(self, url: str, *, what: str) -> Mapping[str, str]:
        """What is said of a file without sending it, redirects followed, failures retried. Raises SourceError."""

        def once() -> Mapping[str, str]:
            response = self._follow(url, {}, encoding="identity", method="HEAD")
            response.close()
            check_status(response, what)
            headers: Mapping[str, str] = response.headers
            return headers

        return retried(once, what=what)

    def _follow(self, url: str, headers: Mapping[str, str], *, encoding: str, method: str = "GET") -> Any:
        for _ in range(MAX_REDIRECTS + 1):
            response = self.send(url, headers=headers, encoding=encoding, method=method)
            target = redirect_target(response, url)
            if target is None:
                return response
            finish(response)
            url = target
        raise Unreachable(f"{urlsplit(url).hostname}: more than {MAX_REDIRECTS} redirects")

    def say(self, words: str) -> None:
        """Tell whoever listens what is being read."""
        if self.progress is not None:
            self.progress(words)


def finish(response: Any) -> None:
    """Reads what little is left of an answer that is of no more use: its connection can then be used again."""
    length = response.headers.get("content-length", "")
    try:
        if length.isascii() and length.isdigit() and len(length) < 6:
            for _ in response.iter_raw():
                pass
    except Exception as error:
        if not isinstance(transport_error(error), Retry):
            raise
    finally:
        response.close()


def paced(chunks: Iterable[bytes], seconds: float) -> Iterator[bytes]:
    """The chunks as they arrive. Raises Retry where so many seconds brought next to nothing: each read may be in time
    and the whole still never end.
    """
    n, waited, each = 0, 0.0, iter(chunks)
    while True:
        start = time.monotonic()
        chunk = next(each, None)
        waited += time.monotonic() - start
        if chunk is None:
            return
        yield chunk
        n += len(chunk)
        if waited > seconds:
            if n < SLOWEST * waited:
                raise Retry(f"stalled: {n:,} bytes in {waited:.0f} seconds")
            n, waited = 0, 0.0


def redirect_target(response: Any, url: str) -> str | None:
    """Where a redirect leads, as a whole address; None for any other answer. Raises Unreachable."""
    if response.status_code not in {301, 302, 303, 307, 308}:
        return None
    location = response.headers.get("location")
    target: str = urljoin(url, location or "")
    if not location or urlsplit(target).scheme not in {"http", "https"}:
        raise Unreachable(f"{urlsplit(url).hostname}: a redirect that leads nowhere")
    return target


class Retry(Exception):
    """A failure worth another try after `wait` seconds (None: the usual wait)."""

    def __init__(self, words: str, *, wait: float | None = None, status: int | None = None) -> None:
        super().__init__(words)
        self.wait = wait
        self.status = status


def check_status(response: Any, what: str) -> None:
    """Raises what an answer other than 200 or 206 means: AccessDenied, NotFound, RateLimited, Unreachable, or Retry."""
    status = response.status_code
    if status in {200, 206}:
        return
    if status in RETRIED:
        raise Retry(f"the server answered {status}", wait=wait_asked(response.headers), status=status)
    code = response.headers.get("x-error-code", "")
    message = " ".join(response.headers.get("x-error-message", "").split())[:200]
    lower = message.lower()
    if code == "GatedRepo":
        raise AccessDenied(
            f"{what}: gated: {message or 'access must be granted first'}",
            hint="accept the terms on the model's page, then log in: hf auth login (or set HF_TOKEN)",
        )
    if "disabled" in lower:
        raise AccessDenied(f"{what}: access to this repository is disabled")
    if "invalid credentials" in lower or "invalid username or password" in lower:
        raise AccessDenied(f"{what}: the token is not accepted", hint="log in again: hf auth login (or set HF_TOKEN)")
    if status == 401:
        raise NotFound(
            f"{what}: no such repository, or a private one",
            hint="for a private one log in: hf auth login (or set HF_TOKEN)",
        )
    if status in {403, 451}:
        raise AccessDenied(f"{what}: access denied ({status}{': ' + message if message else ''})")
    if status == 407:
        raise AccessDenied(f"{what}: the proxy wants a login ({status})")
    if status in {404, 410}:
        raise NotFound(f"{what}: {_NOT_FOUND.get(code, 'not found')}")
    raise Unreachable(f"{what}: the server answered {status}{': ' + message if message else ''}")


_NOT_FOUND = {
    "RepoNotFound": "no such repository",
    "RevisionNotFound": "no such revision",
    "EntryNotFound": "no such file",
}


def transport_error(error: Exception) -> Exception:
    """A foreign exception as one of ours: Retry for what may pass, Offline for the Hub's own switch."""
    if isinstance(error, SourceError | Retry):
        return error
    names = {cls.__name__ for cls in type(error).__mro__}
    if "OfflineModeIsEnabled" in names:
        return Offline("HF_HUB_OFFLINE is set and the answer is not in the cache")
    if isinstance(error, OSError) or "RequestError" in names:  # HTTPX's root of everything between socket and answer
        if names & {"UnsupportedProtocol", "LocalProtocolError"}:
            return Unreachable(_words(error))
        return Retry(_words(error))
    if names & {"InvalidURL", "CookieConflict", "ValueError", "UnicodeError"}:
        return Unreachable(_words(error))
    return error  # a bug, which shows itself


class Patience:
    """How often and how long one file's failures are waited out: `TRIES` in a row, `LONGEST_WAIT` seconds in all."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._waited = 0.0
        self.renew()

    def renew(self) -> None:
        """Something has been had: the next failure is a first one again."""
        self._left = TRIES
        self._usual = FIRST_WAIT

    def wait_out(self, failure: Retry) -> None:
        """Waits as long as the server asked, or the usual time. Raises RateLimited or Unreachable when it is enough."""
        self._left -= 1
        wait = failure.wait if failure.wait is not None else self._usual
        if self._waited + wait > LONGEST_WAIT and failure.status in {429, 503}:
            raise RateLimited(
                f"{self.what}: the server asks to wait {wait:,.0f} seconds",
                hint="try again then, or log in for a higher limit: hf auth login (or set HF_TOKEN)",
            )
        if self._left <= 0 or self._waited + wait > LONGEST_WAIT:
            raise _gave_up(failure, self.what)
        time.sleep(wait)
        self._waited += wait
        self._usual *= 2


def retried(attempt: Callable[[], R], *, what: str) -> R:
    """Runs until it works or patience ends. Raises SourceError."""
    patience = Patience(what)
    while True:
        try:
            return attempt()
        except Exception as error:
            failure = transport_error(error)
            if not isinstance(failure, Retry):
                raise failure from None
        patience.wait_out(failure)


def _gave_up(failure: Retry, what: str) -> SourceError:
    """The error for a failure that did not pass."""
    if failure.status == 429:
        return RateLimited(
            f"{what}: too many requests", hint="wait, or log in for a higher limit: hf auth login (or set HF_TOKEN)"
        )
    return Unreachable(f"{what}: {failure}", hint="check the network; HF_ENDPOINT names another Hub")
