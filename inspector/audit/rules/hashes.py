"""HS: whole files against what the Hub's cache, a download's own notes or a SHA256SUMS file say that they hash to."""

from __future__ import annotations

import hashlib
import os

from inspector.audit.registry import Hit, rule
from inspector.errors import InspectorError
from inspector.sources.local import LocalSource
from inspector.units import format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from inspector.audit.subject.records import Subject
    from inspector.sources import Source

CHUNK: Final = 4 << 20
MAX_LIST: Final = 4 << 20
_HEX: Final = frozenset("0123456789abcdef")
_LISTS: Final = ("sha256sums", "sha256sums.txt", "sha256sum.txt", "sha256.txt", "checksums.txt")
AGAIN: Final = "remove it and download it again"


def parse_sums(text: str) -> dict[str, str]:
    """Names and hashes of a list that sha256sum wrote: `HASH  NAME`, `HASH *NAME` or `SHA256 (NAME) = HASH`."""
    sums = {}
    for line in text.splitlines():
        digest, _, name = line.strip().partition(" ")
        if line.startswith("SHA256 ("):
            name, _, digest = line[8:].rpartition(") = ")
        digest, name = digest.strip().lower(), name.strip().removeprefix("*").removeprefix("./")
        if len(digest) == 64 and _HEX.issuperset(digest) and name:
            sums[name] = digest
    return sums


def _text(source: Source) -> str:
    return source.read_at(0, min(source.size, MAX_LIST)).decode("utf-8", "replace")


def _lists(subject: Subject) -> Iterator[tuple[str, dict[str, str]]]:
    """The lists of hashes in a folder, each with the names that it gives, as names of the subject."""
    for e in subject.entries:
        base = e.name.rpartition("/")[2]
        folder = e.name[: len(e.name) - len(base)]
        if e.kind != "file" or not (base.lower() in _LISTS or base.lower().endswith(".sha256")):
            continue
        with subject.open_source(e.name) as source:
            text = _text(source)
        sums = parse_sums(text)
        digest = text.split(maxsplit=1)[0].lower() if text.split() else ""
        if not sums and base.lower().endswith(".sha256") and len(digest) == 64 and _HEX.issuperset(digest):
            sums = {base[:-7]: digest}  # FILE.sha256 with nothing but the hash
        yield e.name, {folder + name: digest for name, digest in sums.items()}


def _noted(subject: Subject) -> Iterator[tuple[str, str]]:
    """What `hf download --local-dir` wrote down: the etag of each file, a sha256 for those in LFS."""
    if not subject.is_folder:
        return
    notes = os.path.join(subject.root, ".cache", "huggingface", "download")
    if os.path.realpath(notes) != os.path.join(os.path.realpath(subject.root), ".cache", "huggingface", "download"):
        return  # a link that leads elsewhere
    for e in subject.entries:
        path = os.path.join(notes, *f"{e.name}.metadata".split("/"))
        if e.kind != "file" or not os.path.isfile(path) or os.path.islink(path):
            continue
        with LocalSource(path) as source:
            lines = _text(source)[:4096].splitlines()
        if len(lines) > 1 and len(lines[1]) in (40, 64) and _HEX.issuperset(lines[1]):
            yield e.name, lines[1]


def expected_hashes(subject: Subject) -> dict[str, list[tuple[str, str]]]:
    """For each file, every hash that something says it has, and what says so."""
    expected: dict[str, list[tuple[str, str]]] = {}
    who = "the store's manifest" if subject.root == os.devnull else "its name in the Hub's cache"
    for name, digest in (subject.sha256 or {}).items():
        expected.setdefault(name, []).append((digest, who))
    for name, digest in _noted(subject):
        expected.setdefault(name, []).append((digest, "the note that its download left"))
    for where, sums in _lists(subject):
        for name, digest in sums.items():
            expected.setdefault(name, []).append((digest, where))
    return expected


def digest_of(subject: Subject, name: str, *, git: bool = False) -> str:
    """The sha256 of a file, or its git blob id (sha1), in lower-case hexadecimal. Raises SourceError."""
    with subject.open_source(name) as source:
        found = hashlib.sha1(b"blob %d\0" % source.size, usedforsecurity=False) if git else hashlib.sha256()
        at = 0
        while chunk := source.read_at(at, CHUNK):
            found.update(chunk)
            at += len(chunk)
            subject.say(f"hashing {name}: {format_nbytes(at)} of {format_nbytes(source.size)}")
    return found.hexdigest()


@rule("HS001", "hash-differs", severity="warning", hint=AGAIN, needs="hash")
def hash_differs(subject: Subject) -> Iterator[Hit]:
    """
    A file's hash is not what its blob in the Hub's cache is named by, what its download noted, or what a SHA256SUMS
    file says.

    Why it matters: the file was changed or damaged since it was published. Only looked at with --hash.
    """
    names = {e.name for e in subject.entries if e.kind == "file"}
    for name, claims in sorted(expected_hashes(subject).items()):
        if name not in names:
            continue
        known: dict[int, str] = {}
        for digest, who in claims:
            try:
                if len(digest) not in known:
                    known[len(digest)] = digest_of(subject, name, git=len(digest) == 40)
            except InspectorError as error:
                yield Hit(name, str(error))
                break
            if known[len(digest)] != digest:
                kind = "git blob" if len(digest) == 40 else "sha256"
                yield Hit(name, f"{kind} is {known[len(digest)]}; {who} says {digest}")


@rule("HS002", "hashed-file-missing", severity="warning", needs="hash", hint="download what is missing")
def hashed_file_missing(subject: Subject) -> Iterator[Hit]:
    """
    A SHA256SUMS file names files that are not here.

    Why it matters: what was published is not complete here. Only looked at with --hash.
    """
    names = subject.names()
    for where, sums in _lists(subject) if subject.is_folder else ():
        absent = sorted(name for name in sums if name not in names)
        if absent:
            yield Hit(where, f"{len(absent):,} files that it names are missing, the first {absent[0][:200]}")


@rule("HS003", "nothing-to-compare", severity="info", needs="hash")
def nothing_to_compare(subject: Subject) -> Iterator[Hit]:
    """
    --hash was asked for, and nothing says what the weights should hash to.

    Why it matters: no hash was compared, so none was found wrong. Hashes come from the Hub's cache, from the notes of
    `hf download --local-dir`, and from SHA256SUMS or FILE.sha256.
    """
    expected = expected_hashes(subject)
    unknown = [f.name for f in subject.files if f.name not in expected]
    if unknown:
        yield Hit(unknown[0], f"no known hash for {len(unknown):,} of {len(subject.files):,} weight files")
