"""The subject of an audit at an address that fsspec understands."""

from __future__ import annotations

from inspector.audit.subject.ranged import ranged_subject
from inspector.audit.subject.records import Entry, Subject, is_weight_name
from inspector.checkpoint.remote import list_store
from inspector.sources.filesystems import Remote, connect, open_source, read_whole, stat
from inspector.stores.names import matches_tag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.sources import Source
    from inspector.sources.target import Target


def store_subject(target: Target) -> Subject:
    """What there is to audit at an address. Tensor values are not read.

    Raises NotFound, AccessDenied, Unreachable; InspectorError with what to install.
    """
    at = connect(target.url)
    found = stat(at)
    complete = True
    if found.is_folder:
        listing = list_store(at)
        complete = listing.complete
        entries = [Entry(e.name, "", "file", e.nbytes, stamp=e.stamp) for e in listing.entries.values()]
        if target.quant:
            entries = [e for e in entries if not is_weight_name(e.name) or matches_tag(e.name, target.quant)]
    else:
        at = Remote(at.fs, at.path.rpartition("/")[0], at.url.rpartition("/")[0])
        entries = [Entry(found.name, "", "file", found.nbytes or 0, stamp=found.stamp)]

    def open_file(e: Entry, first: int) -> Source:
        return open_source(at.fs, f"{at.path}/{e.name}", name=e.name, size=e.size, stamp=e.stamp, first=first)

    return ranged_subject(
        target.text, entries, is_folder=found.is_folder, complete=complete, open_file=open_file,
        read_whole=lambda e: read_whole(at.fs, f"{at.path}/{e.name}", name=e.name, size=e.size),
    )  # fmt: skip
