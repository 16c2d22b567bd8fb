"""ST: safetensors structure, by the rules of safetensors 0.8.0 (safetensors/src/tensor.rs)."""

from __future__ import annotations

from inspector.audit.registry import Hit, reader_defects, rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.audit.subject.records import Subject


def _defects(subject: Subject, *codes: str) -> Iterator[Hit]:
    """The reader's own defects of these kinds, in all safetensors files, with their places."""
    return reader_defects(subject, "safetensors", codes)


@rule("ST001", "st-header-length", severity="error", hint="download it again")
def header_length(subject: Subject) -> Iterator[Hit]:
    """
    The header's length cannot be right: under 2 bytes, over the format's 100,000,000, or longer than the file.

    Why it matters: Checked before anything is read. A text file read as safetensors also ends here.
    """
    yield from _defects(subject, "header-too-short", "header-too-long", "header-cut", "header-empty")


@rule("ST002", "st-header-not-listed", severity="error")
def header_not_listed(subject: Subject) -> Iterator[Hit]:
    """
    The header is legal but larger than any honest one (16 MiB, some 145,000 tensors).

    Why it matters: The reference reader takes a hundred times a header's size in memory; this audit does not
    list what is in it.
    """
    yield from _defects(subject, "header-not-listed")


@rule("ST003", "st-json", severity="error")
def strict_json(subject: Subject) -> Iterator[Hit]:
    """
    The header is not the strict JSON object that the format asks for.

    Why it matters: NaN, a byte order mark, UTF-16, lone surrogates or text after the object pass lenient
    parsers and fail the reference reader: two readers, two answers.
    """
    yield from _defects(
        subject,
        "not-utf8",
        "byte-order-mark",
        "not-json",
        "trailing-text",
        "json-constant",
        "lone-surrogate",
        "not-an-object",
    )


@rule("ST004", "st-nesting", severity="error")
def nesting(subject: Subject) -> Iterator[Hit]:
    """
    JSON nested too deeply, or a number without end.

    Why it matters: Recursive parsers crash on the one, quadratic ones hang on the other.
    """
    yield from _defects(subject, "nesting", "big-number")


@rule("ST005", "st-fields", severity="error")
def fields(subject: Subject) -> Iterator[Hit]:
    """
    A tensor's entry lacks dtype, shape or data_offsets, gives one twice, or gives it in the wrong form.

    Why it matters: 1.0, true or -0 where a whole number belongs pass lenient parsers only.
    """
    yield from _defects(subject, "bad-tensor", "missing-field", "duplicate-field", "bad-field")


@rule("ST006", "st-dtype", severity="error")
def dtype(subject: Subject) -> Iterator[Hit]:
    """
    A tensor's dtype is not one of the format's 22.

    Why it matters: Names are case-sensitive; the reference reader refuses the file.
    """
    yield from _defects(subject, "unknown-dtype")


@rule("ST007", "st-size", severity="error")
def size(subject: Subject) -> Iterator[Hit]:
    """
    Shape times dtype is not the bytes that the offsets give, or wraps around 64 bits.

    Why it matters: A reader that trusts one of them reads outside the other.
    """
    yield from _defects(subject, "size-mismatch", "size-overflow", "partial-byte")


@rule("ST008", "st-layout", severity="error")
def layout(subject: Subject) -> Iterator[Hit]:
    """
    Tensors leave holes, overlap, or do not end where the file ends.

    Why it matters: Bytes that no tensor owns are where a second file hides (the polyglot finding of the
    format's own security audit).
    """
    yield from _defects(subject, "hole", "overlap", "offsets-reversed", "trailing-data")


@rule("ST009", "st-truncated", severity="error", hint="download it again; the bytes that are missing are named")
def truncated(subject: Subject) -> Iterator[Hit]:
    """
    The file is shorter than its tensors.

    Why it matters: The usual broken download; loaders say `MetadataIncompleteBuffer`.
    """
    yield from _defects(subject, "truncated-data")


@rule("ST010", "st-metadata", severity="error")
def metadata(subject: Subject) -> Iterator[Hit]:
    """
    __metadata__ is not an object of strings, or is given twice.

    Why it matters: The reference reader refuses it.
    """
    yield from _defects(subject, "bad-metadata", "duplicate-metadata")


@rule("ST011", "st-duplicate", severity="warning")
def duplicate(subject: Subject) -> Iterator[Hit]:
    """
    A tensor name or a metadata key is given twice.

    Why it matters: The specification forbids it, the reference reader takes the last: what is shown need not be
    what is loaded.
    """
    yield from _defects(subject, "duplicate-tensor", "duplicate-metadata-key")


@rule("ST012", "st-spec", severity="warning")
def spec(subject: Subject) -> Iterator[Hit]:
    """
    The reference reader accepts it, the specification does not: leading white space, an unknown field, a null
    __metadata__, an empty name.

    Why it matters: Other readers may refuse the file.
    """
    yield from _defects(
        subject, "leading-whitespace", "unknown-field", "null-metadata", "empty-name", "unusual-spelling"
    )


@rule("ST013", "st-alignment", severity="info")
def alignment(subject: Subject) -> Iterator[Hit]:
    """
    The data section does not start on a multiple of 8, or a tensor not on a multiple of its element.

    Why it matters: It loads; mapping it without a copy may not work.
    """
    yield from _defects(subject, "unaligned-data", "unaligned-tensor")
