"""What a file really is, from its first bytes: a model, or one of the many things saved under a model's name."""

from __future__ import annotations

from inspector.errors import NotAModelFile
from inspector.formats.modelfile import Defect
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from inspector.sources import Source

HEAD_NBYTES = 4096
MODEL_KINDS = frozenset({"gguf", "safetensors"})
LFS_MAGIC = b"version https://git-lfs.github.com/spec/"
REFETCH = "download it again"
CONVERT = "convert it to safetensors, or look for a repository that has it"


class Sniffed(Record):
    """What a file is: a stable word, one line of explanation, what to do, and what is odd about its name."""

    kind: str
    explanation: str
    hint: str | None = None
    note: str = ""

    @property
    def is_model(self) -> bool:
        """Whether there is a reader for it."""
        return self.kind in MODEL_KINDS


REPLACE = "look for a GGUF of the same model"
# fmt: off
# where, bytes, kind, explanation, hint
_MAGICS: Final = (
    (0, b"GGUF",                 "gguf",     "a GGUF model", None),
    (0, b"FUGG",                 "ggml",     "a GGUF file with its magic written backwards", "convert the model again"),
    (0, b"lmgg",                 "ggml",     "a GGML file from before GGUF (2023)", REPLACE),
    (0, b"fmgg",                 "ggml",     "a GGMF file from before GGUF (2023)", REPLACE),
    (0, b"tjgg",                 "ggml",     "a GGJT file from before GGUF (2023)", REPLACE),
    (0, b"algg",                 "ggml",     "a GGLA adapter from before GGUF (2023)", "convert the adapter again"),
    (0, b"PK\x03\x04",           "zip",      "a zip archive", None),
    (0, b"PK\x05\x06",           "zip",      "an empty zip archive", None),
    (0, b"\x93NUMPY",            "numpy",    "a NumPy array", CONVERT),
    (0, b"\x1f\x8b",             "gzip",     "a gzip archive", "unpack it first"),
    (0, b"BZh",                  "bzip2",    "a bzip2 archive", "unpack it first"),
    (0, b"\xfd7zXZ\0",           "xz",       "an xz archive", "unpack it first"),
    (0, b"\x28\xb5\x2f\xfd",     "zstd",     "a Zstandard archive", "unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c",   "7z",       "a 7-Zip archive", "unpack it first"),
    (0, b"Rar!\x1a\x07",         "rar",      "a RAR archive", "unpack it first"),
    (257, b"ustar",              "tar",      "a tar archive", "unpack it first"),
    (0, b"\x89HDF\r\n\x1a\n",    "hdf5",     "an HDF5 file (Keras or TensorFlow weights)", CONVERT),
    (4, b"TFL3",                 "tflite",   "a TensorFlow Lite model", CONVERT),
    (0, b"\x7fELF",              "program",  "a program (ELF)", None),
    (0, b"MZ",                   "program",  "a Windows program", None),
    (0, b"%PDF-",                "pdf",      "a PDF document", None),
    (0, b"\x89PNG\r\n\x1a\n",    "image",    "a PNG image", None),
    (0, b"\xff\xd8\xff",         "image",    "a JPEG image", None),
)
_PARTIAL: Final = {
    ".incomplete": "a Hugging Face download that did not finish",
    ".part": "a download that did not finish",
    ".aria2": "the control file of an aria2 download that did not finish",
    ".crdownload": "a Chrome download that did not finish",
    ".download": "a Safari download that did not finish",
}
# What a name promises, where it promises something else than GGUF or safetensors.
_EXTENSIONS: Final = {
    ".gguf": "gguf", ".safetensors": "safetensors", ".bin": "PyTorch weights", ".pt": "PyTorch weights",
    ".pth": "PyTorch weights", ".ckpt": "PyTorch weights", ".h5": "HDF5", ".npz": "NumPy", ".npy": "NumPy",
    ".onnx": "ONNX", ".ggml": "GGML", ".zip": "a zip archive", ".json": "JSON",
}
# fmt: on


def extension(name: str) -> str:
    """The last suffix, in lower case, with its dot; "" where there is none."""
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    return f".{base.rsplit('.', 1)[1].lower()}" if "." in base else ""


def _lfs_pointer(head: bytes) -> Sniffed:
    """Its few lines say which file should be here."""
    fields = dict(line.split(" ", 1) for line in head[:512].decode("utf-8", "replace").splitlines() if " " in line)
    size, oid = fields.get("size", ""), fields.get("oid", "").removeprefix("sha256:")
    words = "a Git LFS pointer, not the file itself"
    if size.isascii() and size.isdigit() and len(size) < 20:
        words += f" ({int(size):,} bytes"
        words += f", sha256 {oid})" if oid.isascii() and oid.isalnum() and len(oid) <= 64 else ")"
    return Sniffed("lfs", words, "git lfs pull")


def _archive(head: bytes, words: str) -> Sniffed:
    if b"data.pkl" in head:
        return Sniffed("torch", "a PyTorch checkpoint (a zip archive with pickled code)", CONVERT)
    if b".npy" in head[:512]:
        return Sniffed("numpy", "NumPy arrays (a zip archive)", CONVERT)
    return Sniffed("zip", words, "unpack it first")


def _text(head: bytes) -> Sniffed | None:
    """Web pages and messages that a server sent in place of the file."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    start = text[:64].lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return Sniffed("html", "a web page saved in place of the file", "the address or the access rights were wrong")
    if start.startswith(b"<?xml"):
        what = "an error message (XML)" if b"<error>" in text[:512].lower() else "an XML document"
        return Sniffed("xml", f"{what} saved in place of the file", REFETCH)
    if text[:1] in (b"{", b"["):
        if b'"error"' in text[:512] or b'"message"' in text[:512]:
            return Sniffed("json-error", "a server's error message (JSON) saved in place of the file", REFETCH)
        return Sniffed("json", "a JSON document", None)
    if start.startswith((b"entry not found", b"not found", b"invalid username", b"access to model", b"repository not")):
        return Sniffed("error-text", "a server's error message saved in place of the file", REFETCH)
    return None


def _safetensors(head: bytes, size: int | None, name: str) -> bool:
    """A length, then JSON; a file named so is read as such as long as the length could be one."""
    if len(head) < 9:
        return False
    n = int.from_bytes(head[:8], "little")
    if head[8:10] in (b'{"', b"{}") or (head[8:9] in b"{ \t\r\n" and n < 1 << 32):
        return True
    return extension(name) == ".safetensors" and size is not None and 2 <= n <= size - 8


def _magic(head: bytes) -> Sniffed | None:
    for at, magic, kind, words, hint in _MAGICS:
        if head[at : at + len(magic)] == magic:
            return _archive(head, words) if kind == "zip" else Sniffed(kind, words, hint)
    return Sniffed("pickle", "a Python pickle: code, not just weights", CONVERT) if _pickle(head) else None


def _pickle(head: bytes) -> bool:
    """Protocol 2 to 5 opens with its number; then, in practice, a frame, a mark, a dict, a list, a memo or a long."""
    return head[:1] == b"\x80" and head[1:2] in b"\2\3\4\5" and head[2:3] in b"\x95}](cM\x8a"


def recognise(head: bytes, *, size: int | None = None, name: str = "") -> Sniffed:
    """What begins with these bytes. Pure: `size` is the file's, where known; `name` only settles doubtful cases."""
    if not head:
        return Sniffed("empty", "an empty file", REFETCH)
    if head.startswith(LFS_MAGIC):
        return _lfs_pointer(head)
    if not head.strip(b"\0"):
        return Sniffed("zeros", "nothing but zeros: space was set aside and never filled", REFETCH)
    if found := _magic(head) or _text(head):
        return found
    if _safetensors(head, size, name):
        return Sniffed("safetensors", "a safetensors file")
    if len(head) < 10:
        of = " of a GGUF file" if b"GGUF".startswith(head) else ""
        return Sniffed("short", f"{len(head)} bytes{of}: too short for a model file", REFETCH)
    return Sniffed("unknown", f"neither GGUF nor safetensors (it starts with {head[:8].hex(' ')})")


def describe(head: bytes) -> str:
    """In a few words, what bytes behind the end of a model look like."""
    found = recognise(head)
    return found.explanation if found.kind not in {"unknown", "short"} else f"starting with {head[:8].hex(' ')}"


def name_note(name: str, kind: str) -> str:
    """What is odd about this name for this content, or ""."""
    ending = extension(name)
    if ending in _PARTIAL:
        return f"the name ends in {ending}: {_PARTIAL[ending]}"
    promised = _EXTENSIONS.get(ending)
    if promised is not None and kind in MODEL_KINDS and promised != kind:
        return f"the name ends in {ending}, but this is a {kind} file"
    return ""


def name_defects(name: str, kind: str) -> tuple[Defect, ...]:
    """The same as defects that stop nobody: `partial-download`, `wrong-extension`."""
    note = name_note(name, kind)
    if not note:
        return ()
    return (Defect("partial-download" if extension(name) in _PARTIAL else "wrong-extension", note, fatal=False),)


def sniff(source: Source, *, head: bytes | None = None) -> Sniffed:
    """What a file is, from a few kilobytes of it. Raises SourceError."""
    if head is None:
        head = source.read_at(0, HEAD_NBYTES)
    found = recognise(head, size=source.size, name=source.name)
    if found.kind == "zeros" and _has_more(source):
        found = Sniffed("unknown", "neither GGUF nor safetensors (it starts with zeros)")
    return found.replace(note=name_note(source.name, found.kind))


def _has_more(source: Source) -> bool:
    """Whether a file that starts with zeros has anything else in its middle or at its end."""
    return any(source.read_at(at, 4096).strip(b"\0") for at in (source.size // 2, max(source.size - 4096, 0)))


def require_model(source: Source, head: bytes) -> Sniffed:
    """What a file is, if it is a model; else raises NotAModelFile with what it is instead."""
    found = sniff(source, head=head)
    if found.is_model:
        return found
    what = f"{source.name}: {found.explanation}"
    raise NotAModelFile(f"{what} ({found.note})" if found.note else what, hint=found.hint)
