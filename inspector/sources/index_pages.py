"""Folders of a web server by the pages that list them (Apache, nginx, Caddy, `python -m http.server`), files by ranges.

Under the few names of fsspec that are used here: its own HTTP file system needs aiohttp, reads a page of any length and
says no sizes. What a page links to counts where it lies directly below the address that was asked for; a name stands as
in its address (`my%20model.gguf`).
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes, urljoin, urlsplit

from inspector.errors import AccessDenied, SourceError, Unreachable
from inspector.sources.http import Client, origin
from inspector.sources.parallel import in_order
from inspector.sources.prefix import DEFAULT_FIRST
from inspector.sources.ranges import RangeSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Final

MAX_PAGE: Final = 8 << 20
MAX_MEASURED: Final = 10_000  # a request each
_MEASURED: Final = (".gguf", ".safetensors", ".json", ".jinja", ".bin", ".pt", ".pth", ".ckpt")
_HREF: Final = re.compile(
    r"""href\s{0,9}=\s{0,9}(?:"([^"<>]{1,4096})"|'([^'<>]{1,4096})'|([^\s"'<>]{1,4096}))""", re.IGNORECASE
)
_SAFE: Final = "/~!$&'()*+,="


class IndexPages:
    """A web server's folders below one address. Paths are whole addresses without a last "/". Raises SourceError."""

    def __init__(self, url: str) -> None:
        self.base = folder_address(url)
        self._client = Client()

    def info(self, path: str) -> Mapping[str, Any]:
        """One file, or the folder that all of this is below."""
        if path == self.base:
            return {"name": path, "size": None, "type": "directory"}
        return self._measured(path)

    def ls(self, path: str, *, detail: bool = True) -> list[Mapping[str, Any]]:  # noqa: ARG002 - fsspec's signature
        """What a folder's page links to directly below it; what may be a model's with its size."""
        page, url = self._page(f"{path}/")
        names = names_below(page, url, path)
        files = [f"{path}/{name}" for name, is_folder in names.items() if not is_folder]
        asked = [file for file in files if file.lower().endswith(_MEASURED)][:MAX_MEASURED]
        sizes = dict(zip(asked, in_order(self._measured_or_not, asked), strict=True))
        folders: list[Mapping[str, Any]] = [
            {"name": f"{path}/{name}", "type": "directory"} for name, is_folder in names.items() if is_folder
        ]
        return [*folders, *(sizes.get(file, {"name": file, "type": "file"}) for file in files)]

    def _page(self, url: str) -> tuple[str, str]:
        """A folder's page, and the address that it came from."""
        try:
            body, response = self._client.get_document(url, what=url, most=MAX_PAGE)
        except AccessDenied as error:
            raise AccessDenied(error.what, hint="the server lists no folders, perhaps: name a file") from None
        if "html" not in response.headers.get("content-type", "").lower():
            raise Unreachable(f"{url}: not a page that lists files")
        return body.decode("utf-8", "replace"), str(response.url)

    def _measured_or_not(self, path: str) -> Mapping[str, Any]:
        """A file that is listed; what keeps its size from us shows itself again when it is opened."""
        try:
            return self._measured(path)
        except SourceError:
            return {"name": path, "type": "file"}

    def _measured(self, path: str) -> Mapping[str, Any]:
        try:
            headers = self._client.head(path, what=path)
        except Unreachable:  # 405, 501: not every server takes it
            headers = {}
        encoded = headers.get("content-encoding", "identity").lower() not in {"", "identity"}
        length = "" if encoded else headers.get("content-length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 20):
            with RangeSource(self._client, path, name=path, first=1) as source:
                return {"name": path, "size": source.size, "type": "file"}
        stamps = {"etag": headers.get("etag"), "last_modified": headers.get("last-modified")}
        return {"name": path, "size": int(length), "type": "file", **stamps}

    def cat_file(self, path: str, *, start: int, end: int) -> bytes:
        """Bytes from `start` to before `end`."""
        with self.open_source(path, name=path, size=None, first=end) as source:
            return source.read_at(start, end - start)

    def open_source(
        self, path: str, *, name: str, size: int | None, stamp: str = "", first: int = DEFAULT_FIRST,
        say: Callable[[str], None] | None = None,
    ) -> RangeSource:  # fmt: skip
        """A file, read by ranges of one ETag. `size`: None where the server did not say it before."""
        self._client.progress = say
        etag = stamp.removeprefix("etag:") if stamp.startswith("etag:") else None
        return RangeSource(self._client, path, name=name, size=size, first=first, etag=etag)


def folder_address(url: str) -> str:
    """A folder's address in one spelling: no query, no last "/", no character that addresses cannot have."""
    parts = urlsplit(url)
    return f"{parts.scheme.lower()}://{parts.netloc}{_spelled(parts.path)}".rstrip("/")


def _spelled(path: str) -> str:
    return quote(unquote_to_bytes(path), safe=_SAFE)


def names_below(page: str, url: str, folder: str) -> dict[str, bool]:
    """Names of what a page links to directly below a folder, in order, and whether each is a folder itself.

    `url`: the address that the page came from, which its links are relative to.
    """
    from html import unescape

    found: dict[str, bool] = {}
    start = urlsplit(folder).path + "/"
    for match in _HREF.finditer(page):
        try:
            parts = urlsplit(urljoin(url, unescape(match[1] or match[2] or match[3]).strip()))
            if parts.query or origin(parts.geturl()) != origin(folder):
                continue
        except ValueError:  # no address at all
            continue
        path = _spelled(parts.path)
        name = path[len(start) :].removesuffix("/")
        if path.startswith(start) and name and "/" not in name and name not in {".", ".."}:
            found[name] = found.get(name, False) or path.endswith("/")
    return found
