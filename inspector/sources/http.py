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
    from collections.abc import Callable, Mapping
    from typing import Any, Final

TRIES: Final = 4
FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 60.0  # longer than this, a person would rather be told
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
    for piece in headers.get("ratelimit", "").replace(",", ";").split(";"):
        name, _, value = piece.strip().partition("=")
        if name == "t" and value.isascii() and value.isdigit():
            return min(float(value), 1e9)
    return None


def _words(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:200]


class Client:
    """GETs against one Hub (or any server). Safe to use from several threads.

    `progress` is told what is being read; `counted` counts requests and bytes for the benchmarks and tests.
    """

    def __init__(self, *, endpoint: str | None = None, progress: Callable[[str], None] | None = None) -> None:
        from huggingface_hub import constants
        from huggingface_hub.utils import build_hf_headers, get_session  # type: ignore[attr-defined,unused-ignore]

        self.endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        self.timeout = float(constants.HF_HUB_DOWNLOAD_TIMEOUT or 10)
        self.offline = bool(constants.HF_HUB_OFFLINE)
        self.progress = progress
        self._session: Any = get_session()
        headers = build_hf_headers(library_name="weights-inspector")
        self._token = headers.pop("authorization", None)
        self._headers = dict(headers)
        self._lock = threading.Lock()
        self.n_requests = 0

    def send(self, url: str, *, headers: Mapping[str, str], encoding: str = "identity") -> Any:
        """One request, the body not yet read, redirects not followed. Raises Offline; transport errors pass through."""
        if self.offline:
            raise Offline("HF_HUB_OFFLINE is set and the answer is not in the cache")
        sent = {**self._headers, "accept-encoding": encoding, **headers}
        if self._token and origin(url) == origin(self.endpoint):
            sent["authorization"] = self._token
        request = self._session.build_request("GET", url, headers=sent, timeout=self.timeout)
        if "authorization" not in sent:
            request.headers.pop("authorization", None)  # a default of the user's own client
        with self._lock:
            self.n_requests += 1
        return self._session.send(request, stream=True, follow_redirects=False)

    def get_document(self, url: str, *, what: str) -> tuple[bytes, Any]:
        """A whole small body and its response, redirects followed, failures retried. Raises SourceError."""

        def once() -> tuple[bytes, Any]:
            response = self._follow(url, {}, encoding="gzip, deflate")
            try:
                check_status(response, what)
                body = bytearray()
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > MAX_BODY:
                        raise Unreachable(f"{what}: an answer of more than {MAX_BODY:,} bytes")
                return bytes(body), response
            finally:
                response.close()

        result: tuple[bytes, Any] = retried(once, what=what)
        return result

    def _follow(self, url: str, headers: Mapping[str, str], *, encoding: str) -> Any:
        for _ in range(MAX_REDIRECTS + 1):
            response = self.send(url, headers=headers, encoding=encoding)
            target = redirect_target(response, url)
            if target is None:
                return response
            response.close()
            url = target
        raise Unreachable(f"{urlsplit(url).hostname}: more than {MAX_REDIRECTS} redirects")

    def say(self, words: str) -> None:
        """Tell whoever listens what is being read."""
        if self.progress is not None:
            self.progress(words)


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
    code = response.headers.get("x-error-code", "")
    message = " ".join(response.headers.get("x-error-message", "").split())[:200]
    if status in RETRIED:
        wait = wait_asked(response.headers)
        if wait is not None and wait > LONGEST_WAIT:
            raise RateLimited(
                f"{what}: the server asks to wait {wait:,.0f} seconds", hint="log in (hf auth login) for a higher limit"
            )
        raise Retry(f"the server answered {status}", wait=wait, status=status)
    if code == "GatedRepo" or (status == 403 and not code):
        raise AccessDenied(
            f"{what}: gated; {message or 'access must be granted first'}",
            hint="accept the terms on the model's page, then log in: hf auth login",
        )
    if "disabled" in message.lower():
        raise AccessDenied(f"{what}: access to this repository is disabled")
    if "invalid credentials" in message.lower():
        raise AccessDenied(f"{what}: the token is not accepted", hint="log in again: hf auth login")
    if status == 401:
        raise NotFound(f"{what}: no such repository, or a private one", hint="for a private one log in: hf auth login")
    if status == 403:
        raise AccessDenied(f"{what}: access denied; {message}".rstrip("; "))
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
    if names & {"UnsupportedProtocol", "InvalidURL", "LocalProtocolError", "CookieConflict"}:
        return Unreachable(_words(error))
    return Retry(_words(error))


def retried(attempt: Callable[[], Any], *, what: str, tries: int = TRIES) -> Any:
    """Runs until it works, at most `tries` times with doubling waits. Raises SourceError."""
    wait = FIRST_WAIT
    for left in range(tries - 1, -1, -1):
        try:
            return attempt()
        except SourceError:
            raise
        except Exception as error:
            failure = transport_error(error)
            if not isinstance(failure, Retry):
                raise failure from None
            if not left:
                raise gave_up(failure, what) from None
            pause(failure, wait)
            wait *= 2
    raise AssertionError  # pragma: no cover - the loop returns or raises


def gave_up(failure: Retry, what: str) -> SourceError:
    """The error for a failure that did not pass."""
    if failure.status == 429:
        return RateLimited(f"{what}: too many requests", hint="wait, or log in (hf auth login) for a higher limit")
    return Unreachable(f"{what}: {failure}", hint="check the network; HF_ENDPOINT names another Hub")


def pause(failure: Retry, usual: float) -> None:
    """Waits as long as the server asked, or the usual time."""
    time.sleep(min(failure.wait if failure.wait is not None else usual, LONGEST_WAIT))
