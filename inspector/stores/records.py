"""What a walk through a store finds: one record a model, without opening it."""

from __future__ import annotations

from inspector.record import Record

STORES = ("folder", "ollama", "docker", "oci", "hub cache", "llama.cpp cache", "lm studio", "blobs", "remote")
ROLES = ("model", "mmproj", "lora", "draft", "unfinished", "unused")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    Store = Annotated[str, ("enum", STORES)]
    Role = Annotated[str, ("enum", ROLES)]


class FoundModel(Record):
    """One model as it lies in a store, found by names and sizes alone.

    `target`: what every command takes for it; `name`: what its store calls it. `paths`: the files that hold it, on
    this machine (none where it is remote); `nbytes`: theirs together, each file counted once. `role`: "model", or
    what else a file of weights is ("mmproj", "lora", "draft"), "unfinished" for a download that broke off, "unused"
    for bytes that nothing names. `sha256`: of its weights, where the store says it and there is one file of them.
    `stamp`: what changes when the files do, where looking at them tells ("mtime:…", "etag:…"), else "".
    `error`: why it cannot be opened, where that shows from outside; "" where nothing is known to be wrong.
    """

    target: str
    name: str
    store: Store
    paths: tuple[str, ...]
    nbytes: int
    role: Role = "model"
    sha256: str | None = None
    stamp: str = ""
    error: str = ""
