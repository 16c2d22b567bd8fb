"""FL: what each file really is, before any parser looks at it."""

from __future__ import annotations

from inspector.audit.readers.code_scan import examine
from inspector.audit.readers.holes import half_written, unwritten
from inspector.audit.registry import Hit, rule
from inspector.audit.subject.records import PARTIAL_SUFFIXES, is_weight_name
from inspector.units import format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from inspector.audit.subject.records import AuditedFile, Subject

AGAIN = "download it again: hf download REPO FILE"


def _of_kind(subject: Subject, *kinds: str) -> Iterator[AuditedFile]:
    return (f for f in subject.files if f.sniffed is not None and f.sniffed.kind in kinds)


def _hits(subject: Subject, *kinds: str) -> Iterator[Hit]:
    for f in _of_kind(subject, *kinds):
        assert f.sniffed is not None
        yield Hit(f.name, f.sniffed.explanation, f.sniffed.hint or "")


@rule("FL001", "empty-file", severity="error", hint=AGAIN)
def empty_file(subject: Subject) -> Iterator[Hit]:
    """
    A weight file holds nothing, or less than its fixed header.

    Why it matters: no loader can take it, and the message that it gives rarely says why. Usually a download that
    never began.
    """
    yield from _hits(subject, "empty", "short")


@rule("FL002", "lfs-pointer", severity="error", hint="git lfs pull")
def lfs_pointer(subject: Subject) -> Iterator[Hit]:
    """
    A Git LFS pointer stands where the weights should be.

    Why it matters: the repository was cloned without LFS; loaders report it as a header too large or a bad magic.
    The finding names the real file's size and sha256.
    """
    yield from _hits(subject, "lfs")


@rule("FL003", "web-page", severity="error", hint=AGAIN)
def web_page(subject: Subject) -> Iterator[Hit]:
    """
    A web page or an XML answer was saved as weights.

    Why it matters: a login page or an error of the server came instead of the file, and the download tool kept it.
    """
    yield from _hits(subject, "html", "xml")


@rule("FL004", "server-message", severity="error", hint=AGAIN)
def server_message(subject: Subject) -> Iterator[Hit]:
    """
    A server's error message, or some other JSON or text, was saved as weights.

    Why it matters: the request was refused (gated, moved, misspelt) and its answer kept under the file's name.
    """
    yield from _hits(subject, "json-error", "json", "error-text")


@rule("FL005", "all-zeros", severity="error", hint=AGAIN)
def all_zeros(subject: Subject) -> Iterator[Hit]:
    """
    The file is nothing but zeros.

    Why it matters: a download tool set its space aside and never filled it; the size looks right.
    """
    yield from _hits(subject, "zeros")


_HANDLED = frozenset(
    {"empty", "short", "lfs", "html", "xml", "json-error", "json", "error-text", "zeros", "gguf", "safetensors"}
)


@rule("FL006", "foreign-format", severity="error")
def foreign_format(subject: Subject) -> Iterator[Hit]:
    """
    Another format hides under a .gguf or .safetensors name: zip, pickle, NumPy, HDF5, old GGML, or nothing known.

    Why it matters: a loader that goes by content may run code from it (pickle), one that goes by name will fail.
    """
    for f in subject.files:
        if f.sniffed is not None and f.sniffed.kind not in _HANDLED:
            yield Hit(f.name, f.sniffed.explanation, f.sniffed.hint or "")


@rule("FL007", "swapped-name", severity="error", hint="rename it to what it is")
def swapped_name(subject: Subject) -> Iterator[Hit]:
    """
    A GGUF file named .safetensors, or the other way round.

    Why it matters: loaders choose their parser by name and fail with a puzzling message.
    """
    for f in subject.files:
        for defect in f.model.defects if f.model else ():
            if defect.code == "wrong-extension":
                yield Hit(f.name, defect.what)


@rule("FL008", "special-file", severity="error", hint="remove it: a model folder holds plain files")
def special_file(subject: Subject) -> Iterator[Hit]:
    """
    A pipe, a device, a socket or a folder stands where a weight file or document should be.

    Why it matters: opening it can hang or do harm. It is told apart by lstat and never opened.
    """
    for e in subject.entries:
        if e.kind == "special" or (e.kind in {"folder", "folder-link"} and is_weight_name(e.name)):
            hint = "" if subject.is_folder else "save it to a file first: its size and its end cannot be known"
            yield Hit(e.name, f"{e.note or 'a folder'}, not a file", hint if e.kind == "special" else "")


@rule("FL009", "broken-link", severity="error", hint="download the file that the link stands for")
def broken_link(subject: Subject) -> Iterator[Hit]:
    """
    A symbolic link leads nowhere, or round in a circle.

    Why it matters: in a Hub cache its blob was removed or never finished; the loader finds the name and not the file.
    """
    for e in subject.entries:
        if e.kind == "link-broken":
            yield Hit(e.name, f"a link to {e.note or 'nothing'}, which is not there")
        elif e.kind == "link-loop":
            yield Hit(e.name, "a link that leads back to itself")


@rule("FL010", "unreadable-file", severity="error", hint="check its permissions")
def unreadable_file(subject: Subject) -> Iterator[Hit]:
    """
    A file or folder cannot be read.

    Why it matters: nothing can be said about what is in it, so the model cannot be vouched for.
    """
    for e in subject.entries:
        if e.kind == "unreadable":
            yield Hit(e.name, f"cannot be read ({e.note.lower() or 'permission denied'})")
    for f in subject.files:
        if f.error_kind == "source":
            yield Hit(f.name, f.error)
    for document in subject.documents.values():
        if document.unreadable:
            yield Hit(document.name, document.error)
    named = {f.name for f in subject.files if f.error_kind == "source"}
    for found in examine(subject):
        if found.kind == "unreadable" and found.where not in named:
            yield Hit(found.where, found.problem)


@rule("FL011", "partial-download", severity="error", hint="finish or repeat the download")
def partial_download(subject: Subject) -> Iterator[Hit]:
    """
    A download that did not finish: .incomplete, .part, .aria2, .crdownload, .download.

    Why it matters: alone it is an error, the file it stands for is not here; beside the whole file (a warning) it only
    takes space.
    """
    names = {e.name for e in subject.entries if e.kind == "file"}
    for e in subject.entries:
        suffix = next((s for s in PARTIAL_SUFFIXES if e.name.lower().endswith(s)), None)
        if suffix is None or e.kind != "file":
            continue
        whole = e.name[: -len(suffix)]
        beside = whole in names
        # a finished download leaves no .aria2 behind: with one, the file beside it is the unfinished one
        severity = "warning" if beside and suffix != ".aria2" else "error"
        yield Hit(e.name, f"a download that did not finish ({e.size:,} bytes so far)", severity=severity)


@rule("FL012", "listing-cut", severity="error", hint="audit the model's own folder")
def listing_cut(subject: Subject) -> Iterator[Hit]:
    """
    The folder holds more than this audit looks at.

    Why it matters: what lies deeper or later was not examined, so the verdict does not cover it.
    """
    if subject.truncated_listing:
        yield Hit(subject.target, f"only the first {len(subject.entries):,} entries were examined")


@rule("FL013", "not-examined", severity="error", hint="audit this file by itself")
def not_examined(subject: Subject) -> Iterator[Hit]:
    """
    A weight file whose header this audit could not or would not read to any end.

    Why it matters: nothing vouches for it. The headers of one folder are read up to 48 MiB together, twice what the
    largest models have.
    """
    for f in subject.files:
        if f.model is None and f.error_kind != "source" and (f.sniffed is None or f.sniffed.is_model):
            yield Hit(f.name, f.error)


@rule("FL014", "nothing-here", severity="warning", hint="name the folder that the model is in")
def nothing_here(subject: Subject) -> Iterator[Hit]:
    """
    A folder without anything of a model, or with documents and no weights (an info).

    Why it matters: no weights were examined, so that nothing was found says nothing about them.
    """
    if not subject.is_folder or subject.files or any(is_weight_name(e.name) for e in subject.entries):
        return
    if any(found.kind in _WEIGHTS for found in examine(subject)):
        return
    if subject.documents or any(e.name.lower().endswith(".json") for e in subject.entries):
        yield Hit(subject.target, "no weights in this folder: only documents were examined", severity="info")
    else:
        yield Hit(subject.target, "no weights and no config in this folder")


_WEIGHTS: Final = frozenset(
    {"pickle", "torch", "numpy", "hdf5", "r", "keras", "onnx", "saved-model", "archive", "other", "broken", "unread",
     "unreadable"}
)  # fmt: skip


@rule("FL015", "not-audited", severity="info", hint="look for a safetensors or GGUF of the same model")
def not_audited(subject: Subject) -> Iterator[Hit]:
    """
    A file of weights in a format that this audit does not look into.

    Why it matters: nothing is said about what is in it.
    """
    for found in examine(subject):
        if found.kind == "other":
            yield Hit(found.where, f"not audited: {found.problem}")


@rule("FL016", "never-written", severity="warning", hint=AGAIN)
def never_written(subject: Subject) -> Iterator[Hit]:
    """
    A file of its full size with holes where tensors should be: space set aside and not filled.

    Why it matters: an unfinished download of a tool that sets the space aside first looks finished; what was never
    written reads as zeros. Holes of less than a quarter of a tensor are not spoken of: some file systems store honest
    runs of zeros like that. A header and nothing else was written on purpose (an info). With --deep both are an error.
    Checkpoints, arrays and graphs, whose parts are not known here, count where a quarter of the file or more is holes.
    """
    for f in subject.files:
        if f.sniffed is None or not f.sniffed.is_model or (found := unwritten(f)) is None:
            continue
        words = f"{format_nbytes(found.nbytes)} were never written (holes), the first in {found.first}"
        if found.all_of_it:
            yield Hit(f.name, f"a header without data: {words}", "do not expect answers of it", severity="info")
        else:
            yield Hit(f.name, f"{found.n_tensors:,} tensors lack data: {words}")
    for name, n, size in half_written(subject):
        yield Hit(name, f"{format_nbytes(n)} of {format_nbytes(size)} were never written (holes)")
