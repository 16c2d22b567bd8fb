"""What there is to scan: roots, files of roots, and searches of the Hub, each with what is known from outside."""

from __future__ import annotations

import os
import sys

from inspector.errors import InspectorError, NotFound, SourceError, Unreachable
from inspector.fleet.journal import Item
from inspector.sources.limit import within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, Final

    from inspector.stores.records import FoundModel

_WILD: Final = frozenset("*?[")
_LONGEST_LINE: Final = 8192


def read_targets(path: str) -> Iterator[str]:
    """The roots in a file, one a line; empty lines and those that begin with # are none. `-`: standard input.

    Raises NotFound, SourceError.
    """
    try:
        file = sys.stdin if path == "-" else open(path, encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
        with file:
            while line := file.readline(_LONGEST_LINE):
                if (root := line.strip()) and not root.startswith("#"):
                    yield root
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except OSError as error:
        raise SourceError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None


def items(roots: Iterable[str], *, timeout: float | None = None) -> Iterator[Item]:
    """Every model below all roots. A root that cannot be looked at is an item with its error.

    `timeout`: seconds that listing one folder may take.
    """
    for root in roots:
        try:
            yield from _below(root, timeout)
        except SourceError as error:
            yield Item(root, root=root, error=str(error), reached=False)


def _below(root: str, timeout: float | None) -> Iterator[Item]:
    if is_search(root):
        yield from search(root)
        return
    here = within(timeout, lambda: os.path.lexists(root), root)
    if root.startswith("@") and not here:
        yield from items(read_targets(root[1:]), timeout=timeout)
    else:
        yield from _found(root, here=here, timeout=timeout)


def _found(root: str, *, here: bool, timeout: float | None) -> Iterator[Item]:
    """What lies below a root on this machine, in a store or in a bucket; any other target is itself.

    Paths are whole ones: workers elsewhere do not stand in this folder, nor do those who read the table.
    """
    from inspector.stores.walk import find_models

    if not here and not _is_in_a_store(root):
        yield Item(root, root=root)
        return
    for model in find_models(os.path.abspath(root) if here else root, timeout=timeout):
        if model.role != "unused":
            yield Item(
                model.target, root=root, store=model.store, role=model.role, stamp=_stamp(model),
                sha256=model.sha256, error=model.error, reached=not _must_stay_shut(model),
            )  # fmt: skip


def _must_stay_shut(model: FoundModel) -> bool:
    """Whether what was found is no file that may be read: a link out of the root, a pipe, a folder of no access."""
    return bool(model.error) and not model.nbytes and model.role != "unfinished"


def _is_in_a_store(root: str) -> bool:
    """Whether a root is an address below which there may be many models: `s3://bucket/…`, `https://host/folder/`."""
    from inspector.checkpoint import read_target

    scheme, mark, _ = root.partition("://")
    if scheme.lower() not in {"http", "https"}:
        return bool(mark) and scheme.lower() != "hf"
    try:
        found = read_target(root)
    except InspectorError:  # which the row will say
        return False
    return found.kind == "remote" and not found.quant


def _stamp(model: FoundModel) -> str:
    """What changes when the weights do, or a document beside them: a folder's facts come from its config.json."""
    if not model.stamp or not os.path.isdir(model.target):
        return model.stamp
    try:
        with os.scandir(model.target) as entries:
            times = [e.stat().st_mtime_ns for e in entries if e.name.endswith((".json", ".jinja")) and e.is_file()]
    except OSError:
        return ""
    return f"{model.stamp} documents:{len(times)}+{max(times, default=0)}"


def is_search(root: str) -> bool:
    """Whether a root is a pattern of repositories: `hf://org/*`, `hf://*/*-GGUF`."""
    rest = root.removeprefix("hf://")
    owner, slash, name = rest.removeprefix("models/").partition("/")
    return rest != root and bool(slash) and "/" not in name and not _WILD.isdisjoint(owner + name)


def search(pattern: str) -> Iterator[Item]:
    """The repositories of the Hub that a pattern means, in the Hub's order. Raises SourceError."""
    from fnmatch import fnmatchcase

    owner, _, name = pattern.removeprefix("hf://").removeprefix("models/").partition("/")
    if not _WILD.isdisjoint(owner) and not _literal(name) and not _literal(owner):
        raise InspectorError(f"{pattern}: that is all of the Hub", hint="name an organisation or a part of the name")
    for info in _listed(owner, name):
        repo = info.id
        if fnmatchcase(repo.lower(), f"{owner}/{name}".lower()):
            stamp = f"commit:{info.sha}" if info.sha else ""
            yield Item(f"hf://{repo}", root=pattern, store="hub", role="model", stamp=stamp)


def _literal(pattern: str) -> str:
    """The longest part of a pattern that stands for itself: what the Hub is asked to look for."""
    for sign in "?[]":
        pattern = pattern.replace(sign, "*")
    return max(pattern.split("*"), key=len)


def _listed(owner: str, name: str) -> Iterator[Any]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    author = owner if _WILD.isdisjoint(owner) else None
    try:
        yield from HfApi().list_models(author=author, search=_literal(name) or None, expand=["sha"])
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError) as error:
        words = " ".join(str(error).split())[:200]
        raise Unreachable(f"the Hub's list of models: {words}") from None
