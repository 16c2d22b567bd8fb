"""Parts of a file that were never written: holes, as the file system tells them, under tensors that cannot be zeros."""

from __future__ import annotations

import os

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Final

    from inspector.audit.subject.records import AuditedFile, Subject
    from inspector.formats.modelfile import TensorInfo

# Zero by design: the second half of a fresh adapter, and tables that are not weights.
MAY_BE_ZERO: Final = ("lora_b", "lora_embedding_b", "bias", "norm", "inv_freq", "mask", "zero_conv", "position_ids")
MOST_HOLES: Final = 100_000
# A file system that stores runs of zeros as holes does so with honest files too: rows of padding, say. No honest matrix
# is zeros by a quarter, in one run.
_LEAST: Final = 64 << 10
_SHARE: Final = 4
_LARGE: Final = 1 << 20
_OTHERS: Final = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".onnx", ".npz", ".pkl", ".joblib", ".keras", ".nemo", ".npy",
                  ".pickle", ".hdf5", ".tflite", ".onnx_data", ".msgpack", ".pdparams", ".rds")  # fmt: skip


class Unwritten(Record):
    """How many tensors of a file lie in holes by a quarter or more, the first of them, and their bytes in holes.

    `all_of_it`: nothing but the header was ever written.
    """

    first: str
    n_tensors: int
    nbytes: int
    all_of_it: bool


def may_be_zero(name: str) -> bool:
    """Whether a tensor of this name may honestly be nothing but zeros."""
    lower = name.lower()
    return any(word in lower for word in MAY_BE_ZERO)


def holes(path: str) -> Iterator[tuple[int, int]]:
    """The holes of a file, from and to; none where the file system does not tell them. Raises OSError."""
    seek_data, seek_hole = getattr(os, "SEEK_DATA", None), getattr(os, "SEEK_HOLE", None)
    if seek_data is None or seek_hole is None:
        return
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        size, at = os.fstat(fd).st_size, 0
        for _ in range(MOST_HOLES):
            start = os.lseek(fd, at, seek_hole) if at < size else size
            if start >= size:
                return
            try:
                at = os.lseek(fd, start, seek_data)
            except OSError:  # nothing but a hole up to the end
                at = size
            yield start, at
    finally:
        os.close(fd)


def unwritten(file: AuditedFile) -> Unwritten | None:
    """Which tensors of a file on this machine were never written, or None."""
    if file.model is None or not file.path or not file.size:
        return None
    try:
        gaps = [gap for gap in holes(file.path) if gap[1] - gap[0] >= _LEAST]
    except OSError:
        return None
    model = file.model
    if not gaps or sum(end - start for start, end in gaps) + _LEAST >= file.size - model.header_bytes:
        first = next((name for name in model.tensor_names if not may_be_zero(name)), "") if gaps else ""
        return Unwritten(first, len(model.tensors), model.tensors_nbytes, all_of_it=True) if first else None
    found = [(t, n) for t, n in _covered(model.tensors, gaps) if n >= max(_LEAST, (t.nbytes or 0) // _SHARE)]
    names = [t.name for t, _ in found if not may_be_zero(t.name)]
    return Unwritten(names[0], len(names), sum(n for _, n in found), all_of_it=False) if names else None


def _covered(tensors: Sequence[TensorInfo], gaps: list[tuple[int, int]]) -> Iterator[tuple[TensorInfo, int]]:
    """The longest run of each tensor that lies in a hole; both lists are walked once."""
    ordered, i = sorted(tensors, key=lambda t: t.offset), 0
    for t in ordered:
        end = t.offset + (t.nbytes or 0)
        while i < len(gaps) and gaps[i][1] <= t.offset:
            i += 1
        longest, k = 0, i
        while k < len(gaps) and gaps[k][0] < end:
            longest = max(longest, min(end, gaps[k][1]) - max(t.offset, gaps[k][0]))
            k += 1
        if longest:
            yield t, longest


def half_written(subject: Subject) -> Iterator[tuple[str, int, int]]:
    """Files of weights whose parts are not known, with holes of a quarter or more: name, bytes in holes, size."""
    named = {f.name for f in subject.files}
    for e in subject.entries:
        if e.kind != "file" or not e.path or e.size < _LARGE or e.name in named or not e.name.lower().endswith(_OTHERS):
            continue
        try:
            total = sum(end - start for start, end in holes(e.path) if end - start >= _LEAST)
        except OSError:
            continue
        if total >= e.size // _SHARE:
            yield e.name, total, e.size
