"""Bytes → `ModelFile`: what a file says, verbatim, whatever its name promises."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.formats.modelfile import ModelFile
    from inspector.sources import Source

# Enough to recognise a file by (a tar's mark stands at byte 257), and what is taken of it where that costs no more.
LEAST_HEAD, HEAD_NBYTES = 512, 4096


def read(source: Source, *, strict: bool = True) -> ModelFile:
    """The header of a GGUF or safetensors file, told apart by content and not by name.

    Strict: raises FormatError at the first defect that a loader would refuse; else defects are collected in the
    result. Anything that is not a model raises NotAModelFile with what it is instead. Raises SourceError.
    """
    head = source.read_some(0, LEAST_HEAD, HEAD_NBYTES)
    if head[:4] == b"GGUF":
        from inspector.formats.gguf import read_gguf

        model = read_gguf(source, strict=strict, head=head)
        return model if source.name.endswith(".gguf") else _with_name_defects(model)
    from inspector.formats.sniff import require_model

    require_model(source, head)
    from inspector.formats.safetensors import read_safetensors

    model = read_safetensors(source, strict=strict)
    return model if source.name.endswith(".safetensors") else _with_name_defects(model)


def _with_name_defects(model: ModelFile) -> ModelFile:
    from inspector.formats.sniff import name_defects

    return model.replace(defects=(*model.defects, *name_defects(model.name, model.format)))
