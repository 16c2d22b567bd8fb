"""One model: its shards joined, its documents attached, what merely lies beside it set aside."""

from __future__ import annotations

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from inspector.formats.modelfile import ModelFile, TensorInfo


class Companion(Record):
    """A file beside the model that is not part of it. `role`: mmproj, lora, draft, twin, quant, stale, imatrix."""

    role: str
    name: str
    nbytes: int


class Checkpoint(Record):
    """One model as it lies on disk or on the Hub.

    `format`: "gguf", "safetensors" or "config" (a config.json alone: no weights). `files`: the shards in order;
    `documents`: parsed JSON beside them by file name (config.json, quantize_config.json, …); `revision` and `sha256`
    (by file name) where a Hub listing gave them; `missing`: files named by an index or a split count but absent.
    """

    target: str
    format: str
    files: tuple[ModelFile, ...]
    documents: Mapping[str, Any]
    companions: tuple[Companion, ...] = ()
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    revision: str | None = None
    sha256: Mapping[str, str] | None = None

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The first shard's metadata: the one that counts in a split GGUF."""
        return self.files[0].metadata if self.files else {}

    @property
    def config(self) -> Mapping[str, Any] | None:
        """config.json as written, or None."""
        return self.documents.get("config.json")

    @property
    def tensors(self) -> tuple[TensorInfo, ...]:
        """The tensors of all shards, in file order."""
        if len(self.files) == 1:
            return self.files[0].tensors
        return tuple(t for f in self.files for t in f.tensors)

    @property
    def tensors_nbytes(self) -> int:
        """Exact bytes of all tensors."""
        return sum(f.tensors_nbytes for f in self.files)

    @property
    def missing_nbytes(self) -> int:
        """Bytes that headers promise and files do not have (files that are absent altogether are not counted)."""
        return sum(f.missing_nbytes for f in self.files)
