"""What the files of this package pass to each other: a checkpoint and its parts, and the names that parts have."""

from __future__ import annotations

from inspector.errors import InspectorError
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from inspector.formats.modelfile import Defect, ModelFile, TensorInfo
    from inspector.stores.parts import Keeping


class Companion(Record):
    """A file beside the model that is not part of it.

    `role`: mmproj, lora, draft, imatrix, component (of a pipeline), quant (the same model in another type), twin (the
    same weights in another format), stale (a shard that the index does not name), pickle (weights that run code).
    """

    role: str
    name: str
    nbytes: int


class Component(Record):
    """One part of a pipeline that has weights of its own, by the folder it lies in ("" for the pipeline's own)."""

    name: str
    checkpoint: Checkpoint


class Checkpoint(Record):
    """One model as it lies on disk or on the Hub.

    `format`: "gguf", "safetensors" or "config" (a config.json alone: no weights). `files`: the shards in order;
    `documents`: parsed JSON beside them by file name (config.json, quantize_config.json, …); `revision` and `sha256`
    (by file name) where a Hub listing or the Hub's cache gave them; `missing`: files named by an index or a split count
    but absent. `defects`: what is wrong with the folder itself; what is wrong in a file stands in its `ModelFile`.
    `components`: of a pipeline (diffusers, sentence-transformers) all parts with weights, the first being this model.
    `keeping`: of a model in a program's store, how that program would run it.
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
    defects: tuple[Defect, ...] = ()
    components: tuple[Component, ...] = ()
    keeping: Keeping | None = None

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
    def stated_nbytes(self) -> int | None:
        """Bytes of all tensors as the index states them (`metadata.total_size`), or None."""
        for name in sorted(self.documents):
            document = self.documents[name]
            if not name.endswith(".safetensors.index.json") or not isinstance(document, dict):
                continue
            metadata = document.get("metadata")
            total = metadata.get("total_size") if isinstance(metadata, dict) else None
            total = int(total) if isinstance(total, float) and total.is_integer() else total
            if isinstance(total, int) and not isinstance(total, bool) and total > 0:
                return total
        return None

    @property
    def missing_nbytes(self) -> int:
        """Bytes that headers promise and files do not have (files that are absent altogether are not counted)."""
        return sum(f.missing_nbytes for f in self.files)


class SeveralModels(InspectorError):
    """A folder holds more than one model and none was named. `models`: name, bytes and quant label of each.

    `open_each`: opens them all, in order; what cannot be opened is its error. None where they are no GGUF models.
    `targets`: of each, what every command takes for it; empty where that is its name in the folder or repository.
    """

    def __init__(
        self,
        what: str,
        models: tuple[tuple[str, int, str], ...],
        *,
        hint: str | None = None,
        open_each: Callable[[], list[Checkpoint | InspectorError]] | None = None,
        targets: tuple[str, ...] = (),
    ) -> None:
        super().__init__(what, hint=hint)
        self.models = models
        self.open_each = open_each
        self.targets = targets
