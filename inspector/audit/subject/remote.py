"""The subject of an audit on the Hub."""

from __future__ import annotations

from inspector.audit.subject.ranged import ranged_subject
from inspector.audit.subject.records import Entry, Subject, is_weight_name
from inspector.errors import NotFound
from inspector.sources.hub import fetch_listing, open_file, read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.sources.http import Client
    from inspector.sources.hub import Repo
    from inspector.sources.target import Target


def _chosen(repo: Repo, target: Target) -> list[str]:
    """The names that a target means: a file's, a folder's, those that a quant tag matches and all documents, or all."""
    from inspector.stores.names import matches_tag

    names = sorted(repo.files)
    if target.file:
        inside = [name for name in names if name == target.file or name.startswith(target.file + "/")]
        if not inside:
            raise NotFound(f"{repo.repo} has no file {target.file}")
        return inside
    if target.quant:
        return [n for n in names if not is_weight_name(n) or matches_tag(n, target.quant)]
    return names


def audit_subject(client: Client, target: Target) -> Subject:
    """What there is to audit in a repository, at one commit. Tensor values are not read.

    Raises NotFound, AccessDenied, RateLimited, Offline, Unreachable.
    """
    repo = fetch_listing(client, target.repo, target.revision)
    entries = [Entry(n, "", "file", repo.files[n].size or 0) for n in _chosen(repo, target)]
    return ranged_subject(
        target.text, entries, is_folder=not target.file, complete=repo.complete,
        open_file=lambda e, first: open_file(client, repo, e.name, first=first),
        read_whole=lambda e: read_file(client, repo, e.name),
        sha256={e.name: value for e in entries if (value := repo.files[e.name].sha256)} or None,
    )  # fmt: skip
