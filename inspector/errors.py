"""The whole exception tree; every message is one line, with a hint when there is something to do.

InspectorError
├── SourceError                   the bytes could not be had
│   ├── NotFound (NoGguf) · AccessDenied · Offline · NoRangeSupport · RateLimited · Unreachable
├── FormatError(what, offset)     the bytes are not what they claim to be
│   ├── NotAModelFile · Truncated · UnsupportedVersion · LimitExceeded
├── FactsError                    a well-formed model that does not say enough
│   ├── MissingKey · UnsupportedArchitecture
└── WorkloadError                 what was asked cannot be run (the engine would refuse it)
"""

from __future__ import annotations


class InspectorError(Exception):
    """Base of all known failures: exit code 2, one line, no traceback."""

    def __init__(self, what: str, *, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return self.what


class SourceError(InspectorError):
    """The bytes could not be had."""


class NotFound(SourceError):
    """No such file, folder, repository, revision or file in a repository."""


class NoGguf(NotFound):
    """A quant was named where there is no GGUF to pick it from."""

    def __init__(self, what: str, quant: str, *, hint: str | None = None) -> None:
        super().__init__(what, hint=hint)
        self.quant = quant


class AccessDenied(SourceError):
    """The file exists but may not be read (permissions, a gated or private repository)."""


class Offline(SourceError):
    """The network is off, by choice or not, and the answer is not in the cache."""


class NoRangeSupport(SourceError):
    """The server sends whole files only."""


class RateLimited(SourceError):
    """The server asks to wait longer than a person would."""


class Unreachable(SourceError):
    """The server did not answer, or answered with an error, more often than we retry."""


class FormatError(InspectorError):
    """The bytes are not what they claim to be. `offset` is in bytes from the start of the file."""

    def __init__(self, what: str, offset: int | None = None, *, hint: str | None = None) -> None:
        super().__init__(what, hint=hint)
        self.offset = offset

    def __str__(self) -> str:
        return self.what if self.offset is None else f"{self.what} (at byte {self.offset:,})"


class NotAModelFile(FormatError):
    """Something else under a model file's name: a pointer, a web page, zeros, another format."""


class Truncated(FormatError):
    """The file ends before what its header promises."""


class UnsupportedVersion(FormatError):
    """A version of the format that no current reader takes."""


class LimitExceeded(FormatError):
    """A count or a depth that no honest file needs and no loader accepts."""


class FactsError(InspectorError):
    """A well-formed model that does not say enough."""


class MissingKey(FactsError):
    """A key without which the question has no answer."""


class UnsupportedArchitecture(FactsError):
    """An architecture whose rules are not known here."""


class WorkloadError(InspectorError):
    """The engine itself would refuse these settings."""
