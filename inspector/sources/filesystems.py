"""Files of any store that fsspec knows (`s3://`, `gs://`, `az://`, `sftp://`, …), read by ranges.

fsspec comes with huggingface_hub. What speaks to a store is a package of its own: obstore for the three clouds where it
is installed (the extra `clouds`), else fsspec's (s3fs, gcsfs, adlfs, paramiko, …). Credentials, retries and time limits
are the package's own; how much is read is ours. Nothing here is imported for any other target.
"""

from __future__ import annotations

from inspector.errors import AccessDenied, InspectorError, LimitExceeded, NotFound, SourceError, Unreachable
from inspector.record import Record
from inspector.sources.prefix import DEFAULT_FIRST, PrefixSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Final, TypeVar

    from inspector.sources.clouds import CloudFiles

    R = TypeVar("R")

_CLOUDS: Final[Mapping[str, str]] = {
    "s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "azure": "az", "abfs": "abfs", "abfss": "abfss",
}  # fmt: skip
_ETAGS: Final = ("ETag", "etag", "e_tag", "md5Hash", "sha256")
_TIMES: Final = (
    "LastModified",
    "last_modified",
    "mtime",
    "updated",
    "modified",
    "modify",
    "modificationTime",
    "created",
)
_DENIED_WORDS: Final = """
    PermissionError NoCredentialsError PartialCredentialsError PermissionDeniedError UnauthenticatedError
    ClientAuthenticationError DefaultCredentialsError RefreshError AuthenticationException
    """
_DENIED: Final = frozenset(_DENIED_WORDS.split())
_METADATA: Final = "169.254.169.254"
_CREDENTIALS: Final = "credentials are read where the store's own tools read them: docs/stores.md"
_ABSENT: Final = frozenset(("FileNotFoundError", "NotADirectoryError", "NotFoundError", "NoSuchBucket"))


class Remote(Record):
    """A place in a store: the file system, the path in it, and the address as it was typed, without a last "/"."""

    fs: Any
    path: str
    url: str


class RemoteEntry(Record):
    """A name in a remote folder. `stamp`: its ETag, or when it was changed, where the store says either."""

    name: str
    path: str
    is_folder: bool
    nbytes: int | None
    stamp: str = ""


def connect(url: str) -> Remote:
    """The store that an address is in. Raises InspectorError: what to install, or that nobody knows the scheme."""
    scheme = url.partition("://")[0].lower()
    if scheme in {"http", "https"}:
        from inspector.sources.index_pages import IndexPages

        pages = guarded(lambda: IndexPages(url), url)
        return Remote(pages, pages.base, pages.base)
    if "::" in url:
        raise InspectorError(f"{url}: addresses with :: in them are not read")
    fs, path = guarded(lambda: _filesystem(scheme, url), url)
    return Remote(fs, str(path).rstrip("/"), url.rstrip("/"))


def _filesystem(scheme: str, url: str) -> tuple[Any, str]:
    if scheme in _CLOUDS and (found := _clouds(scheme)) is not None:
        return found, url.partition("://")[2]
    import fsspec
    from fsspec.core import url_to_fs

    try:
        fsspec.get_filesystem_class(scheme)
    except ValueError:
        raise InspectorError(f"{url}: {scheme}:// addresses are not read", hint=_SCHEMES) from None
    except ImportError as error:
        raise _missing(scheme, url, error) from None
    fs, path = url_to_fs(url)
    return fs, path


_SCHEMES: Final = "https://, hf://, s3://, gs://, az://, sftp:// and what else fsspec knows"


def _driver(words: str) -> str | None:
    """The package that an ImportError of fsspec asks for: `requires "paramiko"`, `Install s3fs to access S3`."""
    import re

    found = re.search(r"""["'`]([a-z][\w-]*)["'`]""", words) or re.search(r"[Ii]nstall ([a-z][\w-]*)", words)
    found = found or re.search(r"No module named '?([\w-]+)", words)
    return f"pip install {found[1]}" if found else None


def _clouds(scheme: str) -> CloudFiles | None:
    """The clouds by obstore, where the extra is installed."""
    try:
        import obstore  # noqa: F401 - whether it is there
    except ImportError:
        return None
    from inspector.sources.clouds import CloudFiles

    return CloudFiles(_CLOUDS[scheme])


def _missing(scheme: str, url: str, error: ImportError) -> InspectorError:
    """What to install for a scheme that fsspec knows and nothing here reads."""
    if scheme not in _CLOUDS:
        return InspectorError(f"{url}: {_words(error)}", hint=_driver(str(error)))
    own = {"s3": "s3fs", "gs": "gcsfs"}.get(_CLOUDS[scheme], "adlfs")
    hint = f"pip install {own}, or pip install 'weights-inspector[clouds]'"
    return InspectorError(f"{url}: nothing is installed that reads {scheme}://", hint=hint)


def _words(error: BaseException) -> str:
    said = str(error)[:4000].partition("Debug source:")[0]  # obstore's own, which says everything twice
    return (" ".join(said.split()) or type(error).__name__)[:200]


def guarded(work: Callable[[], R], what: str) -> R:
    """What `work` answers; whatever a store's package raises is one of our errors, in a line."""
    try:
        return work()
    except InspectorError:
        raise
    except Exception as error:
        names = {cls.__name__ for cls in type(error).__mro__}
        if names & _ABSENT or "NoSuchBucket" in str(error)[:2000]:
            raise NotFound(f"{what}: no such file or folder") from None
        if names & _DENIED or "AccessDenied" in str(error)[:2000]:
            raise AccessDenied(f"{what}: access denied: {_words(error)}", hint=_CREDENTIALS) from None
        if _METADATA in str(error)[:2000]:  # where a package looks for credentials last
            raise AccessDenied(f"{what}: no credentials were found", hint=_CREDENTIALS) from None
        raise Unreachable(f"{what}: {_words(error)}") from None


def stat(at: Remote) -> RemoteEntry:
    """What is at an address. Raises NotFound, AccessDenied, Unreachable."""
    found = guarded(lambda: at.fs.info(at.path), at.url)
    return _entry(found, name=at.path.rpartition("/")[2], path=at.path)


def _entry(found: Mapping[str, Any], *, name: str, path: str) -> RemoteEntry:
    size = found.get("size")
    stamp = next((f"etag:{found[k]}" for k in _ETAGS if isinstance(found.get(k), str)), "")
    stamp = stamp or next((f"mtime:{found[k]}" for k in _TIMES if found.get(k) is not None), "")
    nbytes = size if type(size) is int and size >= 0 else None
    return RemoteEntry(name, path, found.get("type") == "directory", nbytes, stamp.strip())


def list_remote(at: Remote, *, most: int) -> tuple[list[RemoteEntry], bool]:
    """A folder's own entries in order of name, the first `most`, and whether that was all. Raises SourceError."""
    found = guarded(lambda: at.fs.ls(at.path, detail=True), at.url)
    entries = []
    for item in found[: most + 1]:
        full = str(item.get("name", "")).strip("/")
        name = full.rpartition("/")[2]
        if full != at.path.strip("/") and name.isprintable() and 0 < len(name) <= 255 and name not in {".", ".."}:
            entries.append(_entry(item, name=name, path=f"{at.path}/{name}"))
    return sorted(entries, key=lambda e: e.name)[:most], len(found) <= most


def open_source(
    fs: Any, path: str, *, name: str, size: int, stamp: str = "", first: int = DEFAULT_FIRST,
    say: Callable[[str], None] | None = None,
) -> PrefixSource:  # fmt: skip
    """A file of a store, read by ranges. `size`, `stamp`: what its listing or `stat` says. Raises SourceError."""
    own = getattr(fs, "open_source", None)
    if own is not None:
        source: PrefixSource = own(path, name=name, size=size or None, stamp=stamp, first=first, say=say)
        return source
    return FilesystemSource(fs, path, name=name, size=size, stamp=stamp, first=first, say=say)


class FilesystemSource(PrefixSource):
    """One file of a store. `size` in bytes and `stamp`, as its listing or `stat` says. Raises SourceError on use.

    A file that changes while it is read is an error. obstore says with every range which object it is of; any other
    package is asked once more what is there: after the second range and each that follows, or, after one range, in
    the end.
    """

    def __init__(
        self, fs: Any, path: str, *, name: str, size: int, stamp: str = "", first: int = DEFAULT_FIRST,
        say: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(name, first=first)
        self.size = size
        self._fs = fs
        self._path = path
        self._stamp = stamp
        self._say = say
        self._n_fetched = self._n_checked = 0

    def _fill(self, goal: int) -> None:
        while len(self._prefix) < goal:
            self._prefix += self._fetch(len(self._prefix), goal)
            if self._say is not None:
                self._say(f"{self.name}: {len(self._prefix):,} bytes of header")

    def _fetch(self, start: int, end: int) -> bytes:
        """Bytes from `start` on, at least one and none beyond `end`."""
        data = self._tagged(start, end)
        if data is None:
            found = guarded(lambda: self._fs.cat_file(self._path, start=start, end=end), self.name)
            data = bytes(found)
            self._n_fetched += 1
            if self._n_fetched > 1:
                self._check()
        if not data:
            raise SourceError(f"{self.name}: the store has {start:,} bytes, its listing says {self.size:,}")
        if len(data) > end - start:
            raise LimitExceeded(f"{self.name}: the store sends whole files only")
        return data

    def _tagged(self, start: int, end: int) -> bytes | None:
        """The bytes where the package says which object they are of; None where it does not."""
        tagged = getattr(self._fs, "cat_tagged", None)
        if tagged is None:
            return None
        data, etag = guarded(lambda: tagged(self._path, start=start, end=end), self.name)
        if etag:
            self._compare(f"etag:{etag}")
        return bytes(data)

    def _check(self) -> None:
        """What the store says of the file now."""
        self._n_checked = self._n_fetched
        guarded(lambda: self._fs.invalidate_cache(self._path), self.name)  # or the listing would be asked again
        found = _entry(guarded(lambda: self._fs.info(self._path), self.name), name=self.name, path=self._path)
        if found.nbytes not in {None, self.size}:
            words = f"the store has {found.nbytes:,} bytes, its listing says {self.size:,}"
            raise SourceError(f"{self.name}: the file was changed while it was read ({words})")
        self._compare(found.stamp)

    def _compare(self, stamp: str) -> None:
        """Holds one stamp against the first; only what is of one kind can be compared."""
        kind, _, value = self._stamp.partition(":")
        kind_now, _, value_now = stamp.partition(":")
        if kind == kind_now and _plain_tag(value) != _plain_tag(value_now):
            what = "ETag" if kind == "etag" else "time"
            raise SourceError(f"{self.name}: the file was changed while it was read (its {what} is another)")
        self._stamp = self._stamp or stamp

    def close(self) -> None:
        if self._n_fetched > self._n_checked:
            self._check()

    def _fetch_apart(self, start: int, end: int) -> bytes:
        data = self._fetch(start, end)
        while len(data) < end - start:
            data += self._fetch(start + len(data), end)
        return data


def _plain_tag(tag: str) -> str:
    """An ETag as every call of a store gives it: listings of some leave out the quotes."""
    return tag.strip().removeprefix("W/").strip('"')


def read_whole(fs: Any, path: str, *, name: str, size: int) -> bytes:
    """A small file of a store, whole: no more than `size` bytes are asked for. Raises SourceError."""
    if not size:
        return b""
    data = bytes(guarded(lambda: fs.cat_file(path, start=0, end=size), name))
    if len(data) != size:
        raise SourceError(f"{name}: {len(data):,} bytes are served, {size:,} are listed")
    return data
