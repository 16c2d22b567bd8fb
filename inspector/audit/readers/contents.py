"""One file told apart by its bytes, by its name only where bytes do not say, and looked into; archives go on inside."""

from __future__ import annotations

import re

from inspector.audit.readers.arrays import MAGIC as NUMPY_MAGIC
from inspector.audit.readers.arrays import read_header
from inspector.audit.readers.containers import (
    BY_END,
    examine_packed,
    examine_tar,
    examine_zip,
    is_tar,
    is_zip,
    joblib_start,
)
from inspector.audit.readers.embedded import embedded
from inspector.audit.readers.findings import MAX_DEPTH, Found, Within
from inspector.audit.readers.graphs import examine_graph, graph_kind, looks_like_onnx, onnx_faults
from inspector.audit.readers.hdf5 import MAGIC as HDF5_MAGIC
from inspector.audit.readers.hdf5_links import outside
from inspector.audit.readers.keras import hdf5_faults
from inspector.audit.readers.pickle_names import is_danger
from inspector.audit.readers.pickle_scan import scan_pickle
from inspector.audit.readers.rdata import is_rdata, scan_rdata
from inspector.audit.readers.streams import Inflated, Region, held, unpacker
from inspector.audit.readers.texts import examine_text
from inspector.formats.sniff import recognise
from inspector.sources.memory import MemorySource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final

    from inspector.audit.readers.findings import Allowance
    from inspector.sources import Source

HEAD: Final = 1024
TEXT_START: Final = 64 << 10
MAX_HELD_TEXT: Final = 8 << 20
HELD_START: Final = 1 << 20
_PROSE: Final = (".md", ".rst", ".py", ".pyi", ".c", ".h", ".cpp")  # nobody unpickles these
# Names that promise a pickle, or something that holds one; what is none is a finding.
PICKLE_NAMES: Final = (".pkl", ".pickle", ".pt", ".pth", ".dill", ".joblib", ".ckpt", ".jit", ".ptl")
LOOSE_NAMES: Final = (".sav", ".p", ".bin", ".dat", ".data", ".model", ".pdparams", ".pdopt", ".t7", ".tar")
R_NAMES: Final = (".rds", ".rda", ".rdata")
MAYBE_PICKLE: Final = (*PICKLE_NAMES, *LOOSE_NAMES, *R_NAMES, ".mar", ".nemo", ".npy", ".npz", ".keras", ".skops")
_TORCH_BIN: Final = re.compile(
    r"(pytorch_model|adapter_model|diffusion_pytorch_model|training_args|optimizer|scheduler)[\w.-]*\.bin$"
)
# Suffix → what must be there, where it is no pickle.
_PROMISES: Final = {
    ".npy": "a NumPy array", ".npz": "a zip archive of arrays", ".h5": "an HDF5 file", ".hdf5": "an HDF5 file",
    ".keras": "a Keras model", ".onnx": "an ONNX model", ".nemo": "a NeMo archive", ".mar": "a TorchServe archive",
    ".skops": "a skops archive", **dict.fromkeys(R_NAMES, "an R object"),
}  # fmt: skip
_NOT_WEIGHTS: Final = frozenset({"empty", "short", "lfs", "html", "xml", "json", "json-error", "error-text", "zeros"})
# Archives and packed files that are not looked into.
_CLOSED: Final = (
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"), (b"Rar!\x1a\x07", "a RAR archive"), (b"MSCF", "a cabinet archive"),
    (b"\x28\xb5\x2f\xfd", "packed by Zstandard"), (b"LZIP", "packed by lzip"),
    (b"\x1f\x9d", "packed by compress"), (b"!<arch>\n", "a library or package (ar)"), (b"\x89LZO\0", "packed by lzop"),
)  # fmt: skip
# Names that promise weights of some kind: a program under one is none.
_WEIGHT_NAMES: Final = (
    ".gguf", ".safetensors", ".h5", ".hdf5", ".onnx", ".tflite", ".pb", ".weights", ".msgpack", ".mlmodel", ".pt2",
    ".pdiparams", ".pdmodel", ".caffemodel", ".ggml", ".rds", ".npk", ".ot", ".params", ".torch",
)  # fmt: skip
# The first instruction of pickles of protocol 0 and 1, which have no magic.
_OLD_STARTS: Final = b"(c]})ILSVFNXUTKMJGBCP\x82\x83\x84\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x95\x96"
TEXT_NAMES: Final = (
    ".md", ".txt", ".py", ".json", ".jsonl", ".yml", ".yaml", ".html", ".csv", ".jinja", ".jinja2", ".gitattributes",
    ".png", ".jpg", ".jpeg", ".gif", ".svg", ".pdf", ".wav", ".mp3", ".mp4", ".parquet", ".pyi", ".c", ".h", ".cpp",
    ".rst", ".toml", ".cfg", ".ini", ".tsv", ".js", ".css", ".ipynb", ".xml", ".log", ".vocab", ".merges", ".arrow",
)  # fmt: skip


def program_kind(head: bytes) -> str:
    """What kind of program these bytes start, or ""."""
    if head[:4] == b"\x7fELF":
        return "a program or library (ELF)"
    if head[:2] == b"MZ" and len(head) > 0x40:
        at = int.from_bytes(head[0x3C:0x40], "little")
        if head[at : at + 4] == b"PE\0\0" or at >= len(head) - 4:
            return "a Windows program or library"
    if head[:4] in {b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe"}:
        return "a macOS program or library"
    if head[:4] == b"\xca\xfe\xba\xbe":
        return "a macOS program or a Java class"
    return ""


def is_pickled(head: bytes) -> bool:
    """Whether bytes begin as a pickle that names its protocol: Python's readers take 0 to 5."""
    return head[:1] == b"\x80" and head[1:2] in b"\0\1\2\3\4\5" and len(head) > 2


def promises(name: str) -> str:
    """What a file of this name must be, or "" where its name promises nothing."""
    lower = name.lower()
    if lower.endswith(PICKLE_NAMES) or _TORCH_BIN.search(lower):
        return "a checkpoint"
    return next((words for suffix, words in _PROMISES.items() if lower.endswith(suffix)), "")


def examine_pickle(source: Source, where: str, allowed: Allowance, *, kind: str = "pickle") -> Found:
    """A pickle, followed to its end and searched behind it."""
    scan = scan_pickle(source.read_at, source.size, budget=allowed.ops)
    allowed.ops = max(0, allowed.ops - scan.n_ops)
    failed = getattr(source, "failed", "")
    return Found(where, kind, scan.globals, failed or scan.problem)


def _old_pickle(source: Source, where: str, allowed: Allowance) -> Found | None:
    """A pickle without a magic: only what runs to its end, or imports something by a plausible name, counts as one."""
    scan = scan_pickle(source.read_at, source.size, budget=allowed.ops)
    names = [g for g in scan.globals if all(p.isidentifier() and p.isascii() for p in g.path.split("."))]
    whole = scan.n_pickles and scan.end + 64 >= source.size
    if not where.lower().endswith(PICKLE_NAMES):  # a list of words may begin like one
        names = [g for g in names if is_danger(g) and (g.called or whole)]
    if (whole and (names or where.lower().endswith(MAYBE_PICKLE))) or names:
        allowed.ops = max(0, allowed.ops - scan.n_ops)
        return Found(where, "pickle", tuple(names), scan.problem)
    return None


def _examine_numpy(source: Source, where: str, allowed: Allowance) -> Iterator[Found]:
    """An array of objects is a pickle behind the array's header."""
    header = read_header(source)
    if header.problem:
        yield Found(where, "broken", (), header.problem)
    if not header.objects:
        yield Found(where, "numpy")
        return
    behind = Region(source, header.start, source.size - header.start)
    if isinstance(source, Inflated):
        behind.size = source.size - header.start
    found = examine_pickle(behind, where, allowed, kind="numpy")
    yield found.replace(objects=not header.problem, problem="")
    if found.problem:
        yield Found(where, "broken", (), found.problem)


def _examine_hdf5(source: Source, where: str, allowed: Allowance) -> Iterator[Found]:
    faults, unread = hdf5_faults(source)
    yield Found(where, "hdf5")
    yield from embedded(source, where, allowed)
    for fault in faults:
        yield Found(where, "layer", (), fault)
    elsewhere, unfollowed = outside(source)
    for fault in elsewhere:
        yield Found(where, "outside", (), fault)
    if unread:
        yield Found(where, "unread", (), unread)
    elif unfollowed:
        yield Found(where, "unread", (), f"its groups were not all followed ({unfollowed})")


def _examine_rdata(source: Source, where: str, allowed: Allowance) -> Iterator[Found]:
    """An R object; of one whose first bytes are instructions of a pickle as well, that pickle."""
    pickled = _old_pickle(MemorySource(source.read_at(0, HELD_START), name=where), where, allowed)
    if pickled is not None and pickled.globals:
        yield pickled
    scan = scan_rdata(source.read_at, source.size)
    yield Found(where, "r")
    for fault in scan.faults:
        yield Found(where, "r-code", (), fault)
    if problem := getattr(source, "failed", "") or scan.problem:
        yield Found(where, "broken" if scan.broken else "unread", (), problem)


def examine_content(source: Source, where: str, allowed: Allowance, *, depth: int = 0) -> Iterator[Found]:
    """Everything that one file is and holds. Raises SourceError where it cannot be read to its end."""
    head = source.read_at(0, HEAD)
    if isinstance(source, Inflated):
        if source.failed:
            yield Found(where, "broken", (), source.failed)
            return
        if not is_pickled(head) and _wants_order(head, where):
            raw = held(source)
            if raw is None:
                yield Found(where, "unread", (), "packed, and broken or larger than is held at once: not read")
                return
            source = MemorySource(raw, name=where)
    yield from _dispatch(source, head, where, allowed, depth)


def _wants_order(head: bytes, where: str) -> bool:
    """Whether this must be read back and forth, which a packed stream cannot."""
    return head[:2] == b"PK" or head[:8] == HDF5_MAGIC or bool(graph_kind(where)) or where.lower().endswith(".keras")


def _dispatch(source: Source, head: bytes, where: str, allowed: Allowance, depth: int) -> Iterator[Found]:
    lower = where.lower()
    packed = isinstance(source, Inflated)
    size = None if packed else source.size
    kind = recognise(head, size=size, name=where.rsplit(": ", 1)[-1]).kind if head else "empty"
    if (known := program_kind(head)) or is_pickled(head) or head[:6] == NUMPY_MAGIC:
        yield from _by_start(source, head, where, allowed, known)
        if lower.endswith(BY_END) and is_zip(source, head, lower, packed=packed):
            yield from _go_in(examine_zip, source, where, allowed, depth)
    elif is_rdata(head):
        yield from _examine_rdata(source, where, allowed)
    elif kind == "tar" or is_tar(head):
        yield from _go_in(examine_tar, source, where, allowed, depth)
    elif is_zip(source, head, lower, packed=packed):
        yield from _go_in(examine_zip, source, where, allowed, depth)
    elif kind == "hdf5" or (lower.endswith((".h5", ".hdf5", ".keras")) and _user_block(source)):
        yield from _examine_hdf5(source, where, allowed)
    elif kind not in _NOT_WEIGHTS and graph_kind(lower):
        yield from examine_graph(source, where)
    elif _unpacks(head, lower):
        yield from _go_in(examine_packed, source, where, allowed, depth)
    else:
        yield from _by_name(source, where, head, kind, allowed)


def _unpacks(head: bytes, lower: str) -> bool:
    """Whether this is a packed stream: of zlib's and lzma's, which have no magic, a first piece must unpack."""
    decoder, _ = unpacker(head[joblib_start(head) :])
    if decoder is None or head[:2] in {b"\x1f\x8b", b"BZ", b"\x04\x22"} or lower.endswith((*PICKLE_NAMES, ".z")):
        return decoder is not None
    try:
        return bool(decoder.decompress(head[joblib_start(head) :], 64))
    except Exception:  # each library has its own
        return False


def _by_start(source: Source, head: bytes, where: str, allowed: Allowance, program: str) -> Iterator[Found]:
    """What begins as a program, a pickle or an array."""
    if program:
        lower = where.lower()
        weights = bool(promises(where)) or lower.endswith((*MAYBE_PICKLE, *_WEIGHT_NAMES))
        outer = where.split(": ", 1)[0]
        model = ": " in where and (promises(outer) or outer.lower().endswith(_WEIGHT_NAMES))
        yield Found(where, "program", (), program, severity="error" if weights or model else "")
    elif is_pickled(head):
        yield examine_pickle(source, where, allowed)
    else:
        yield from _examine_numpy(source, where, allowed)


def _user_block(source: Source) -> bool:
    """Whether an HDF5 file begins behind a block that is the user's own."""
    return not isinstance(source, Inflated) and any(source.read_at(512 << i, 8) == HDF5_MAGIC for i in range(8))


def _go_in(
    examine: Callable[..., Iterator[Found]], source: Source, where: str, allowed: Allowance, depth: int
) -> Iterator[Found]:
    """What an archive holds, unless it is too deep within others."""
    if depth >= MAX_DEPTH:
        yield Found(where, "unread", (), "an archive within archives, deeper than is looked into")
        return
    yield from examine(source, where, Within(allowed, depth, examine_content))


def _by_name(source: Source, where: str, head: bytes, kind: str, allowed: Allowance) -> Iterator[Found]:
    """What no magic tells: pickles of the oldest protocols, and things that are not what their name says."""
    lower = where.lower()
    begun = source
    if isinstance(source, Inflated):  # what is read more than once is held; of a long one, its start
        most = MAX_HELD_TEXT if lower.endswith(TEXT_NAMES) else HELD_START
        first = source.read_at(0, most + 1)
        begun = MemorySource(first, name=where)
        source = source if len(first) > most else begun
    base = lower.rsplit("/", 1)[-1].rsplit(": ", 1)[-1]
    wanted = promises(lower)
    prose = lower.endswith(_PROSE)
    if kind not in _NOT_WEIGHTS and not prose and head[:1] in _OLD_STARTS and head[:1]:
        # of a text, which may be long, the start says whether it is one
        start = MemorySource(begun.read_at(0, TEXT_START), name=where) if lower.endswith(TEXT_NAMES) else source
        found = _old_pickle(start, where, allowed)
        if found is not None:
            yield found
            return
    if lower.endswith(".pth") and kind in {"unknown", "short"} and head.isascii() and b"\0" not in head:
        yield from examine_text(begun, where)
        return  # lines for Python's start: a rule of its own
    closed = next((words for magic, words in _CLOSED if head.startswith(magic)), "")
    yield from examine_text(begun, where)
    if closed and not wanted:
        yield Found(where, "archive", (), f"{closed}: not looked into", severity="error")
    elif wanted and kind not in {"gguf", "safetensors"}:
        what = recognise(head, name=base).explanation if head else "an empty file"
        if kind == "unknown":
            what = f"nothing known (it starts with {head[:8].hex(' ')})"
        yield Found(where, "broken", (), f"{what}, where {wanted} should be")
    elif not lower.endswith(TEXT_NAMES) and kind not in _NOT_WEIGHTS - {"zeros"}:
        yield from embedded(source, where, allowed, begun=begun)
        if len(head) > 8 and looks_like_onnx(head):
            for fault in onnx_faults(begun):
                yield Found(where, "graph", (), fault)
