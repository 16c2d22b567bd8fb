"""One target as one row: a pure function of the target and what is asked, which any engine may run anywhere."""

from __future__ import annotations

import os
from functools import lru_cache

from inspector.errors import FormatError, InspectorError, SourceError
from inspector.fleet.columns import EMPTY_ROW, SCHEMA
from inspector.fleet.options import ScanOptions
from inspector.fleet.text import bounded, text
from inspector.report.escape import escape
from inspector.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from inspector.checkpoint import Checkpoint, SeveralModels
    from inspector.fleet.options import Row

_MOST_FILES: Final = 1000
_LOADED_WITHIN: Final = 30.0  # seconds: a shorter limit could be used up by what is loaded for the first target
_READERS: Final = (
    "inspector.audit.api", "inspector.checkpoint.folder", "inspector.checkpoint.hub", "inspector.checkpoint.local",
    "inspector.checkpoint.remote", "inspector.checkpoint.stored", "inspector.facts.gguf", "inspector.facts.hf",
    "inspector.fleet.audits", "inspector.fleet.figures", "inspector.formats.gguf", "inspector.formats.safetensors",
    "inspector.quantization.labels",
)  # fmt: skip
_MOST_MISSING: Final = 100


def scan_one(target: str, options: ScanOptions | None = None) -> Row:
    """One model's row: every column of `inspector.scan/1`, None for what is not known. Nothing is raised.

    What could not be read is in `error` and `error_kind`. Only headers and documents are read.
    """
    return scan_all(target, options)[0]


def scan_all(target: str, options: ScanOptions | None = None) -> list[Row]:
    """A row for each model that a target holds: of a repository with several quants, one a quant."""
    options = options or ScanOptions()
    from inspector.sources.limit import within

    try:
        if options.timeout and options.timeout < _LOADED_WITHIN:
            _load(options.engines)
        return within(options.timeout, lambda: _rows(target, options), target)
    except Exception as error:
        return [_failed(target, options, error)]


@lru_cache(maxsize=8)
def _load(engines: tuple[str, ...]) -> None:
    """What reading a model loads once a process, which is no part of the first one's time."""
    from importlib import import_module

    from inspector.audit.registry import rules
    from inspector.memory.engines import default_engine, engine_of

    rules()
    for name in _READERS:
        import_module(name)
    for name in {default_engine("gguf"), default_engine(""), *engines}:
        import_module(engine_of(name).rules)


def _rows(target: str, options: ScanOptions) -> list[Row]:
    from inspector.checkpoint import SeveralModels, open_checkpoint

    try:
        return [_row(target, target, open_checkpoint(target), options)]
    except SeveralModels as several:
        if several.open_each is None:
            return [_failed(target, options, several)]
        return [_member(target, name, found, options) for name, found in _members(several)]
    except Exception as error:
        return [_failed(target, options, error)]


def _members(several: SeveralModels) -> list[tuple[str, Checkpoint | InspectorError]]:
    assert several.open_each is not None
    return list(zip((name for name, _, _ in several.models), several.open_each(), strict=True))


def _member(target: str, name: str, found: Checkpoint | InspectorError, options: ScanOptions) -> Row:
    """One of several: under the address that opens it alone."""
    own = f"{target.rstrip('/')}/{name}"
    if isinstance(found, InspectorError):
        return _failed(own, options, found)
    return _row(own, own if os.path.exists(own) else target, found, options)


def _blank(target: str, options: ScanOptions) -> Row:
    name = target.rstrip("/").rpartition("/")[2] or target
    return {
        **EMPTY_ROW, "schema": SCHEMA, "inspector": __version__, "asked": options.asked, "target": escape(target),
        "found": escape(target), "name": text(name),
    }  # fmt: skip


def failed(target: str, options: ScanOptions, words: str, kind: str) -> Row:
    """The row of what nothing more can be said about."""
    return _blank(target, options) | {"error": text(words), "error_kind": kind}


def _failed(target: str, options: ScanOptions, error: Exception) -> Row:
    """The row of what could not be opened; the audit may still say what is wrong with it."""
    row = _blank(target, options)
    _add_error(row, error)
    if options.audit and row["error_kind"] == "format":
        _add_audit(row, target)
    return row


def _add_error(row: Row, error: Exception) -> None:
    """The first thing that went wrong."""
    if row["error"] is not None:
        return
    kinds = ((SourceError, "source"), (FormatError, "format"), (InspectorError, "facts"))
    kind = next((kind for of, kind in kinds if isinstance(error, of)), "defect")
    words = str(error) if kind != "defect" else f"{type(error).__name__}: {error} (a defect of inspector)"
    row["error"], row["error_kind"] = text(words), kind


def _row(target: str, audited: str, checkpoint: Checkpoint, options: ScanOptions) -> Row:
    from inspector.fleet.figures import add_facts, add_figures

    row = _blank(target, options)
    try:
        _add_files(row, checkpoint)
        facts = add_facts(row, checkpoint)
        add_figures(row, facts, options)
    except Exception as error:
        _add_error(row, error)
    if checkpoint.missing or checkpoint.missing_nbytes:
        lacking = f"{len(checkpoint.missing)} of its files are missing" if checkpoint.missing else "cut short"
        _add_error(row, FormatError(lacking))
    if options.audit:
        _add_audit(row, audited)
    if options.tensors:
        row["tensors"] = tensor_rows(row["target"], checkpoint)
    return {name: bounded(value) for name, value in row.items()}


def _add_files(row: Row, checkpoint: Checkpoint) -> None:
    first = checkpoint.files[0] if checkpoint.files else None
    hashes = checkpoint.sha256 or {}
    row |= {
        "format": checkpoint.format,
        "version": first.version if first and first.format == "gguf" else None,
        "revision": text(checkpoint.revision),
        "title": text(checkpoint.metadata.get("general.name")),
        "license": text(checkpoint.metadata.get("general.license")),
        "sha256": text(hashes.get(first.name)) if first and len(checkpoint.files) == 1 else None,
        "files": [
            {"name": text(f.name), "nbytes": f.size, "sha256": text(hashes.get(f.name))}
            for f in checkpoint.files[:_MOST_FILES]
        ],
        "n_files": len(checkpoint.files),
        "nbytes": sum(f.size for f in checkpoint.files),
        "header_nbytes": sum(f.header_bytes for f in checkpoint.files),
        "tensors_nbytes": checkpoint.tensors_nbytes if checkpoint.files else None,
        "n_tensors": len(checkpoint.tensors),
        "missing_nbytes": checkpoint.missing_nbytes,
        "missing_files": [text(name) for name in checkpoint.missing[:_MOST_MISSING]],
        "n_pickles": sum(c.role == "pickle" for c in checkpoint.companions),
    }


def _add_audit(row: Row, target: str) -> None:
    from inspector.fleet.audits import audited

    try:
        report = audited(target)
    except Exception as error:
        _add_error(row, error)
        return
    if report is None:
        return
    row |= {
        "verdict": report.verdict,
        "codes": list(dict.fromkeys(f.code for f in report.findings)),
        "n_errors": sum(f.severity == "error" for f in report.findings),
        "n_warnings": sum(f.severity == "warning" for f in report.findings),
    }


def tensor_rows(target: str, checkpoint: Checkpoint) -> list[tuple[Any, ...]]:
    """A row a tensor, in the order of `columns.TENSOR_COLUMNS`."""
    return [
        (
            target, text(f.name), text(t.name), text(t.dtype.name if t.dtype else t.dtype_name),
            "x".join(map(str, t.shape)) or "scalar", bounded(t.n_elements), bounded(t.nbytes), bounded(t.offset),
        )
        for f in checkpoint.files
        for t in f.tensors
    ]  # fmt: skip
