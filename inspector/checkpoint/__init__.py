"""One model: its shards joined, its documents attached, what merely lies beside it set aside."""

from __future__ import annotations

from inspector.checkpoint.records import Checkpoint, Companion, Component, SeveralModels
from inspector.stores.splits import split_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from inspector.sources.http import Client
    from inspector.sources.target import Target

__all__ = ["Checkpoint", "Companion", "Component", "SeveralModels", "open_checkpoint", "read_target", "split_name"]


def read_target(text: str) -> Target:
    """TARGET taken apart, models of a store (`ollama:NAME`) too; addresses of the Hub that HF_ENDPOINT names are
    understood as the Hub's. Raises NotFound.
    """
    from inspector.sources.target import parse_target

    if ":" in text:
        from inspector.stores.targets import stored_target

        if (stored := stored_target(text)) is not None:
            return stored
    if not text.startswith(("http://", "https://")):
        return parse_target(text)
    from huggingface_hub.constants import ENDPOINT

    return parse_target(text, endpoint=ENDPOINT)


def open_checkpoint(
    target: str | Target,
    *,
    strict: bool = True,
    cache_folder: str | None = None,
    client: Client | None = None,
    progress: Callable[[str], None] | None = None,
) -> Checkpoint:
    """Open what TARGET names: a file or folder on this machine, a repository on the Hub (its cache first), an address.

    Only headers and small documents are read. Strict: a file that no loader takes is raised; not strict: as much as
    can be read is returned, with `defects`. The environment is read for targets that are not local, by huggingface_hub:
    HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, HF_HUB_DOWNLOAD_TIMEOUT, and HF_HUB_CACHE where no `cache_folder` is given;
    and OLLAMA_MODELS for `ollama:NAME`. `progress` is told what is being read over the network.
    Raises NotFound, SeveralModels, SourceError and FormatError.
    """
    if isinstance(target, str):
        target = read_target(target)
    if target.kind == "stored":
        from inspector.checkpoint.stored import open_stored

        return open_stored(target, strict=strict)
    if target.kind == "remote":
        from inspector.checkpoint.remote import open_in_store

        return open_in_store(target, strict=strict, progress=progress)
    if target.kind != "local":
        from inspector.checkpoint.hub import open_remote

        return open_remote(target, strict=strict, cache_folder=cache_folder, client=client, progress=progress)
    from inspector.checkpoint.local import open_path

    return open_path(target.path, target=target.text, quant=target.quant, strict=strict)
