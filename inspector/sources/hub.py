"""The Hub's side of a repository: one listing pinned to a commit, then files read by ranges.

Wire facts: huggingface_hub 2.4.0 (hf_api.py, file_download.py, utils/_http.py) and the Hub's documentation.
"""

from __future__ import annotations

import json
from urllib.parse import quote, urljoin

from inspector.errors import NotFound, SourceError, Unreachable
from inspector.record import Record
from inspector.sources.http import Client
from inspector.sources.prefix import DEFAULT_FIRST
from inspector.sources.ranges import RangeSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

MAX_PAGES: Final = 200
MAX_FILES: Final = 200_000


class RepoFile(Record):
    """One file of a repository as the listing has it; `sha256` for files in large storage."""

    name: str
    size: int | None
    sha256: str | None = None


class Repo(Record):
    """A repository at one commit. `gated`: headers need access although the listing is public.

    `complete`: False where the listing was longer than what is read of one.
    """

    repo: str
    revision: str | None
    sha: str
    files: Mapping[str, RepoFile]
    gated: bool = False
    complete: bool = True


def _int(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _sibling(entry: Any) -> RepoFile | None:
    """A file of the model_info answer (`rfilename`) or of the tree (`path`)."""
    if not isinstance(entry, dict) or entry.get("type") == "directory":
        return None
    name = entry.get("rfilename") or entry.get("path")
    if not isinstance(name, str) or not _is_path(name):
        return None
    lfs = entry.get("lfs")
    lfs = lfs if isinstance(lfs, dict) else {}
    sha256 = lfs.get("sha256") or lfs.get("oid")
    size = _int(lfs.get("size"))
    return RepoFile(
        name, size if size is not None else _int(entry.get("size")), sha256 if isinstance(sha256, str) else None
    )


def _is_path(name: str) -> bool:
    """Whether a listed name can be a file's: it becomes part of an address that is asked with the user's token."""
    return len(name) <= 1024 and name.isprintable() and not any(part in {"", ".", ".."} for part in name.split("/"))


def _parse(body: bytes, what: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        kind = "a web page" if body.lstrip()[:1] == b"<" else "something else than JSON"
        raise Unreachable(f"{what}: the server answered with {kind}", hint="is HF_ENDPOINT a Hub?") from None


def repo_url(client: Client, repo: str) -> str:
    """The repository's address in the API."""
    return f"{client.endpoint}/api/models/{quote(repo)}"


def fetch_listing(client: Client, repo: str, revision: str | None = None) -> Repo:
    """All files of a repository at a revision, with sizes and hashes, in one request (more where it is paged).

    Raises NotFound (with near matches as a hint), AccessDenied, RateLimited, Offline, Unreachable.
    """
    client.say(f"{repo}: listing")
    url = f"{repo_url(client, repo)}/revision/{quote(revision or 'main', safe='')}?blobs=true"
    try:
        body, _ = client.get_document(url, what=f"{repo}@{revision}" if revision else repo)
    except NotFound as error:
        raise _with_near_matches(client, repo, revision, error) from None
    info = _parse(body, repo)
    if not isinstance(info, dict) or not isinstance(info.get("sha"), str):
        raise Unreachable(f"{repo}: the listing names no commit", hint="is HF_ENDPOINT a Hub?")
    siblings = info.get("siblings")
    found = [f for entry in siblings if (f := _sibling(entry))] if isinstance(siblings, list) else []
    complete = True
    if not found or all(f.size is None for f in found):
        tree, complete = _fetch_tree(client, repo, info["sha"])
        found = tree or found
    files = {f.name: f for f in found[:MAX_FILES]}
    complete = complete and len(found) <= MAX_FILES
    return Repo(repo, revision, info["sha"], files, bool(info.get("gated")), complete)


def _fetch_tree(client: Client, repo: str, sha: str) -> tuple[list[RepoFile], bool]:
    """The listing by the tree call, page after page (`Link: <…>; rel="next"`), and whether that was all."""
    url: str | None = f"{repo_url(client, repo)}/tree/{quote(sha, safe='')}?recursive=true"
    found: list[RepoFile] = []
    for _ in range(MAX_PAGES):
        if url is None:
            break
        here = url
        body, response = client.get_document(url, what=repo)
        entries = _parse(body, repo)
        found += [f for entry in entries if (f := _sibling(entry))] if isinstance(entries, list) else []
        following = _next_page(response.headers.get("link", ""))
        url = urljoin(here, following) if following else None
    return found, url is None


def _next_page(link: str) -> str | None:
    for piece in link.split(","):
        address, _, rest = piece.strip().partition(";")
        if 'rel="next"' in rest and address.startswith("<") and address.endswith(">"):
            return address[1:-1]
    return None


def _with_near_matches(client: Client, repo: str, revision: str | None, error: NotFound) -> NotFound:
    """The same error with what the user may have meant; looking that up must not fail louder than the error itself."""
    import difflib

    names: list[str] = []
    try:
        if "revision" in str(error):
            refs = _parse(client.get_document(f"{repo_url(client, repo)}/refs", what=repo)[0], repo)
            names = [
                r["name"] for kind in ("branches", "tags") for r in refs.get(kind, []) if isinstance(r.get("name"), str)
            ]
            wanted = revision or "main"
        else:
            url = f"{client.endpoint}/api/models?search={quote(repo.rpartition('/')[2])}&limit=10"
            names = [
                m["id"] for m in _parse(client.get_document(url, what=repo)[0], repo) if isinstance(m.get("id"), str)
            ]
            wanted = repo
    except (SourceError, AttributeError, TypeError, KeyError):
        return error
    close = difflib.get_close_matches(wanted, names, n=3, cutoff=0.4) or names[:3]
    if close:
        return NotFound(str(error), hint="did you mean " + ", ".join(close) + "?")
    return error


def resolve_url(client: Client, repo: Repo, name: str) -> str:
    """The address of a file at the listing's commit: nothing can change under us."""
    return f"{client.endpoint}/{quote(repo.repo)}/resolve/{repo.sha}/{quote(name)}"


def read_file(client: Client, repo: Repo, name: str) -> bytes:
    """A small file of the repository, whole. Raises NotFound, AccessDenied, SourceError."""
    client.say(f"{name}")
    body, response = client.get_document(resolve_url(client, repo, name), what=name)
    size = repo.files[name].size
    if size is not None and len(body) != size:
        page = "text/html" in response.headers.get("content-type", "").lower()
        what = "a web page is served in its place" if page else f"{len(body):,} bytes are served, {size:,} are listed"
        raise SourceError(f"{name}: {what}")
    return body


def open_file(client: Client, repo: Repo, name: str, *, first: int = DEFAULT_FIRST) -> RangeSource:
    """A file of the repository, read by ranges. `first`: bytes of the first request."""
    entry = repo.files[name]
    url = resolve_url(client, repo, name)
    return RangeSource(client, url, name=name, size=entry.size, first=first, sha256=entry.sha256)
