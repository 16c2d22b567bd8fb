"""What is wrong with a shape, a type or the places of tensors. Loaded only when gguf.py has seen that something is."""

from __future__ import annotations

from inspector.dtypes import REMOVED_GGML_TYPES, is_fork_type, unknown_ggml_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.formats._gguf_raw import RawTensor
    from inspector.formats._gguf_values import Values
    from inspector.formats.modelfile import TensorInfo

I64_MAX, U64_MAX = (1 << 63) - 1, (1 << 64) - 1


def _too_many_elements(shape: tuple[int, ...]) -> bool:
    """gguf.cpp multiplies from the innermost dimension on, so a zero only saves what comes after it."""
    n = shape[-1] if shape else 1
    for dim in shape[-2::-1]:
        if dim > 1 and I64_MAX // dim < n:
            return True
        n *= dim
    return False


def check_shape(values: Values, raw: RawTensor) -> bool:
    """Note why gguf.cpp would refuse a tensor's shape or type; True when it would not."""
    at, name, shape, dtype = raw.record, raw.name, raw.shape, raw.dtype
    ok = len(shape) <= 4  # noted when it was read
    if any(dim < 0 for dim in shape):
        values.report("negative-dim", f"the shape {_words(shape)}", at, where=name)
        ok = False
    elif _too_many_elements(shape):
        values.report("too-many-elements", f"the shape {_words(shape)} has 2^63 elements or more", at, where=name)
        ok = False
    if dtype is None:
        code, what = _type_fault(raw.type_id)
        values.report(code, what, at, where=name)
        return False
    innermost = shape[-1] if shape else 1
    if innermost % dtype.block_elems:
        what = f"rows of {innermost:,} elements do not fill whole {dtype.name} blocks of {dtype.block_elems}"
        values.report("partial-block", what, at, where=name)
        return False
    return ok


def _type_fault(type_id: int) -> tuple[str, str]:
    words = unknown_ggml_type(type_id)
    if is_fork_type(type_id):
        return "fork-dtype", f"{words} (type {type_id})" if f"type {type_id}" not in words else words
    return "removed-dtype" if type_id in REMOVED_GGML_TYPES else "unknown-dtype", words


def _words(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "of a scalar"


def check_layout(
    values: Values, raws: list[RawTensor], tensors: tuple[TensorInfo, ...], *, start: int, alignment: int
) -> tuple[TensorInfo, ...]:
    """Note what is wrong with the places of tensors, and give unknown types the bytes up to the next tensor."""
    ordered = sorted(range(len(raws)), key=lambda i: (raws[i].offset, raws[i].nbytes or 0))
    tensors = _sizes_from_offsets(raws, tensors, ordered, room=values.cursor.size - start)
    _check_padded(values, raws, alignment)
    _check_offsets(values, raws, ordered, alignment)
    _check_end(values, tensors, start=start, alignment=alignment)
    return tensors


def _sizes_from_offsets(
    raws: list[RawTensor], tensors: tuple[TensorInfo, ...], ordered: list[int], *, room: int
) -> tuple[TensorInfo, ...]:
    """A type that is not known still has a size: the bytes up to the next tensor, or to the end, padding included."""
    if all(raw.nbytes is not None for raw in raws):
        return tensors
    sized = list(tensors)
    ends = [*(raws[i].offset for i in ordered[1:]), room]
    for i, end in zip(ordered, ends, strict=True):
        gap = end - raws[i].offset
        if raws[i].dtype is None and gap > 0:
            sized[i] = tensors[i].replace(nbytes=gap)
    return tuple(sized)


def _check_padded(values: Values, raws: list[RawTensor], alignment: int) -> None:
    """The padded sizes must add up within 64 bits: a size near 2^64 once wrapped to 0 and passed every check."""
    total = 0
    for raw in raws:
        total += -(-(raw.nbytes or 0) // alignment) * alignment
        if total > U64_MAX:
            values.report("too-many-bytes", "padded sizes do not fit 64 bits", raw.record, where=raw.name)
            return


def _check_offsets(values: Values, raws: list[RawTensor], ordered: list[int], alignment: int) -> None:
    """Each tensor must start where the one before ends, padded."""
    faults = False
    end, previous = 0, ""  # None: the one before has no known size
    known = True
    for i in ordered:
        raw = raws[i]
        padded_end = -(-end // alignment) * alignment
        fault = _fault(raw.offset, end, padded_end, alignment, known=known)
        if fault:
            faults = True
            code, what = fault
            values.report(code, what.format(previous=previous), raw.record, where=raw.name)
        reach = raw.offset + (raw.nbytes or 0)
        if reach >= end or not known:
            end, previous, known = reach, repr(raw.name), raw.nbytes is not None
    if not faults:
        _check_order(values, raws, ordered)


def _fault(offset: int, end: int, padded_end: int, alignment: int, *, known: bool) -> tuple[str, str] | None:
    if offset % alignment:
        return "misaligned-tensor", f"offset {offset:,} is not a multiple of {alignment}"
    if not known or offset == padded_end:
        return None
    if offset < end:
        return "tensor-overlap", f"starts {end - offset:,} bytes before the end of {{previous}}"
    if offset > padded_end:
        return "tensor-hole", f"{offset - padded_end:,} bytes that no tensor owns lie before it"
    return None


def _check_order(values: Values, raws: list[RawTensor], ordered: list[int]) -> None:
    for rank, i in enumerate(ordered):
        # empty tensors share an offset with whatever follows: not a matter of order
        if raws[i].offset != raws[rank].offset:
            raw = raws[rank]
            values.report("tensor-order", f"its data is not number {rank + 1} in the file", raw.record, where=raw.name)
            return


def _check_end(values: Values, tensors: tuple[TensorInfo, ...], *, start: int, alignment: int) -> None:
    """Missing bytes, and at which tensor they begin; padding that is missing; bytes that nobody claims."""
    size = values.cursor.size
    short = [t for t in tensors if t.offset + (t.nbytes or 0) > size]
    end = max((t.offset + (t.nbytes or 0) for t in tensors), default=start)
    if short or end > size:
        first = min(short, key=lambda t: t.offset) if short else None
        what = f"{end - size:,} bytes are missing"
        if first:
            what += f"; {len(short):,} of {len(tensors):,} tensors are not whole, beginning with this one"
        values.report("truncated-data", what, size, where=first.name if first else "")
        return
    if any(t.nbytes is None for t in tensors):
        return
    padded = end + -end % alignment
    if size > padded:
        values.report("trailing-data", f"{size - padded:,} bytes after the last tensor{_look(values, padded)}", padded)
    elif tensors and size < padded:
        values.report("unpadded-tail", f"the last tensor lacks its {padded - end:,} bytes of padding", end)


def _look(values: Values, offset: int) -> str:
    """What trailing bytes look like; a strict reader does not spend a request on it."""
    if values.strict:
        return ""
    from inspector.formats.sniff import describe

    return f": {describe(values.cursor.source.read_at(offset, 512))}"
