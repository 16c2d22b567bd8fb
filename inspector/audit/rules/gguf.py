"""GG: GGUF structure, by the rules of llama.cpp's gguf.cpp (b11434)."""

from __future__ import annotations

from inspector.audit.registry import Hit, reader_defects, rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.audit.subject.records import Subject


def _defects(subject: Subject, *codes: str) -> Iterator[Hit]:
    """The reader's own defects of these kinds, in all gguf files, with their places."""
    return reader_defects(subject, "gguf", codes)


@rule("GG001", "gguf-version", severity="error", hint="convert the model again with a current converter")
def version(subject: Subject) -> Iterator[Hit]:
    """
    The GGUF version is not one that llama.cpp reads (2 or 3).

    Why it matters: Version 1 used 32-bit counts and was never widely written; 0 and anything above 3 do not
    exist. A file with swapped bytes in its version is big- and little-endian mixed.
    """
    yield from _defects(subject, "unsupported-version")


@rule("GG002", "gguf-big-endian", severity="warning", hint="convert it: gguf-convert-endian FILE little")
def big_endian(subject: Subject) -> Iterator[Hit]:
    """
    A valid big-endian file.

    Why it matters: It parses, but llama.cpp on an ordinary (little-endian) machine refuses it.
    """
    yield from _defects(subject, "big-endian")


@rule("GG003", "gguf-count", severity="error")
def count(subject: Subject) -> Iterator[Hit]:
    """
    More metadata keys or tensors are announced than the file has room for.

    Why it matters: A count like this makes a careless reader loop or allocate without end. It is checked before
    any loop.
    """
    yield from _defects(subject, "bad-count", "absurd-count")


@rule("GG004", "gguf-key", severity="error")
def key(subject: Subject) -> Iterator[Hit]:
    """
    A metadata key is empty, absurdly long, or given twice.

    Why it matters: Readers differ in which of two equal keys counts: one can be shown and the other used.
    """
    yield from _defects(subject, "empty-key", "duplicate-key", "key-too-long")


@rule("GG005", "gguf-odd-key", severity="warning")
def odd_key(subject: Subject) -> Iterator[Hit]:
    """
    A metadata key is longer than 65,535 bytes, or holds control characters or bytes that are not UTF-8.

    Why it matters: The specification forbids it; printed raw it can rewrite a terminal.
    """
    yield from _defects(subject, "long-key", "odd-key")


@rule("GG006", "gguf-value-type", severity="error")
def value_type(subject: Subject) -> Iterator[Hit]:
    """
    A metadata value has a type that does not exist.

    Why it matters: Nothing behind it can be read, since its length is not known.
    """
    yield from _defects(subject, "bad-value-type")


@rule("GG007", "gguf-string-length", severity="error")
def string_length(subject: Subject) -> Iterator[Hit]:
    """
    A string is longer than the rest of the file, or than 1 GiB.

    Why it matters: Readers that trust it allocate what it says.
    """
    yield from _defects(subject, "string-too-long")


@rule("GG008", "gguf-array-length", severity="error")
def array_length(subject: Subject) -> Iterator[Hit]:
    """
    An array is longer than the rest of the file, or has more than 2^30 elements.

    Why it matters: Count times size wraps around 64 bits in careless readers (2^61 elements of 8 bytes are 0
    bytes).
    """
    yield from _defects(subject, "array-too-long", "header-too-long")


@rule("GG009", "gguf-nested-array", severity="warning")
def nested_array(subject: Subject) -> Iterator[Hit]:
    """
    An array of arrays.

    Why it matters: The specification allows it, llama.cpp refuses the file.
    """
    yield from _defects(subject, "nested-array")


@rule("GG010", "gguf-nesting", severity="error")
def nesting(subject: Subject) -> Iterator[Hit]:
    """
    Arrays nested deeper than anyone could mean.

    Why it matters: Recursive readers overflow their stack on it.
    """
    yield from _defects(subject, "nesting-too-deep")


@rule("GG011", "gguf-alignment", severity="error")
def alignment(subject: Subject) -> Iterator[Hit]:
    """
    general.alignment is zero, not a power of two, not a u32, or beyond the file's end.

    Why it matters: Every tensor's place depends on it.
    """
    yield from _defects(subject, "bad-alignment")


@rule("GG012", "gguf-odd-alignment", severity="warning")
def odd_alignment(subject: Subject) -> Iterator[Hit]:
    """
    general.alignment is a power of two, but not a multiple of 8, or above 65,536.

    Why it matters: The specification asks for a multiple of 8; tensors may not be mapped as they are.
    """
    yield from _defects(subject, "odd-alignment")


@rule("GG013", "gguf-tensor-name", severity="error")
def tensor_name(subject: Subject) -> Iterator[Hit]:
    """
    A tensor name is longer than 63 bytes, or two tensors share one.

    Why it matters: llama.cpp refuses both: names live in 64-byte fields.
    """
    yield from _defects(subject, "tensor-name-too-long", "duplicate-tensor")


@rule("GG014", "gguf-dimensions", severity="error")
def dimensions(subject: Subject) -> Iterator[Hit]:
    """
    A tensor has more than 4 dimensions, a negative one, or 2^63 elements or more.

    Why it matters: The product wraps around in 64 bits and a small buffer is written far past its end.
    """
    yield from _defects(subject, "too-many-dims", "negative-dim", "too-many-elements")


@rule("GG015", "gguf-byte-size", severity="error")
def byte_size(subject: Subject) -> Iterator[Hit]:
    """
    A tensor's bytes, alone or summed and padded, wrap around 64 bits.

    Why it matters: The class of CVE-2025-53630 and CVE-2026-33298: the loader allocates the wrapped size and
    reads the real one.
    """
    yield from _defects(subject, "too-many-bytes")


@rule("GG016", "gguf-tensor-type", severity="error", hint="quantise the model again with a current llama.cpp")
def tensor_type(subject: Subject) -> Iterator[Hit]:
    """
    A tensor has a type that does not exist, or one that was taken out of the format.

    Why it matters: Its size cannot be known; old repacked types (Q4_0_4_4 and the like) must be quantised
    again.
    """
    yield from _defects(subject, "unknown-dtype", "removed-dtype")


@rule("GG017", "gguf-partial-block", severity="error")
def partial_block(subject: Subject) -> Iterator[Hit]:
    """
    A tensor's rows do not fill whole blocks of its type.

    Why it matters: Blocks never cross rows; llama.cpp refuses the file.
    """
    yield from _defects(subject, "partial-block")


@rule("GG018", "gguf-offset", severity="error")
def offset(subject: Subject) -> Iterator[Hit]:
    """
    A tensor does not start where the one before it ends, padded to the alignment.

    Why it matters: Holes can hide data, overlaps make one tensor the other's bytes; llama.cpp refuses all of
    them.
    """
    yield from _defects(subject, "misaligned-tensor", "tensor-overlap", "tensor-hole", "tensor-order")


@rule("GG019", "gguf-truncated", severity="error", hint="download it again; the bytes that are missing are named")
def truncated(subject: Subject) -> Iterator[Hit]:
    """
    The file ends before its header or its last tensor does.

    Why it matters: The usual broken download. A loader without this check reads past the end (CVE-2026-7482).
    """
    yield from _defects(subject, "truncated-header", "truncated-data")


@rule("GG020", "gguf-trailing-data", severity="warning")
def trailing_data(subject: Subject) -> Iterator[Hit]:
    """
    Bytes behind the last tensor belong to nothing.

    Why it matters: A second file can hide there (a polyglot). The finding says what they look like.
    """
    yield from _defects(subject, "trailing-data")


@rule("GG021", "gguf-unpadded-tail", severity="info")
def unpadded_tail(subject: Subject) -> Iterator[Hit]:
    """
    The last tensor is not padded to the alignment.

    Why it matters: It loads when mapped; readers that load the data section whole refuse it.
    """
    yield from _defects(subject, "unpadded-tail")


@rule("GG022", "gguf-not-utf8", severity="warning")
def not_utf8(subject: Subject) -> Iterator[Hit]:
    """
    A metadata string or a tensor name is not UTF-8.

    Why it matters: Readers disagree about what it says.
    """
    yield from _defects(subject, "not-utf8")


@rule("GG023", "gguf-bad-bool", severity="warning")
def bad_bool(subject: Subject) -> Iterator[Hit]:
    """
    A truth value is stored as neither 0 nor 1.

    Why it matters: Readers disagree about whether it is true.
    """
    yield from _defects(subject, "bad-bool")


@rule("GG024", "gguf-fork-type", severity="info", hint="run it with the fork that made it (ik_llama.cpp, for most)")
def fork_type(subject: Subject) -> Iterator[Hit]:
    """
    Tensors of types that a fork of llama.cpp has, and llama.cpp has not.

    Why it matters: the file is sound in its own engine; llama.cpp b11434 refuses it. Sizes are taken from the places
    of the tensors.
    """
    for file in subject.of_format("gguf"):
        assert file.model is not None
        words = sorted({d.what for d in file.model.defects if d.code == "fork-dtype" and d.where})
        if words:
            more = f" and {len(words) - 4} more" if len(words) > 4 else ""
            yield Hit(file.name, f"{', '.join(words[:4])}{more}: types of a fork, which llama.cpp b11434 has not")
