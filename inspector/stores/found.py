"""Records of what content-addressed stores hold: models by their manifests, blobs that nothing names."""

from __future__ import annotations

import os

from inspector.errors import SourceError
from inspector.stores.levels import list_level, stamp_of
from inspector.stores.parts import parts_of
from inspector.stores.records import FoundModel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from inspector.stores.manifests import Layer, Manifest
    from inspector.stores.records import Store


def problem_of(layer: Layer) -> str:
    """What is wrong with a layer's blob; "" where nothing shows."""
    short = f"blob sha256-{layer.sha256[:12]}…"
    if layer.problem:
        return f"{short}: {layer.problem}"
    if layer.found is None:
        return f"{short} is missing"
    if layer.found != layer.nbytes:
        return f"{short} has {layer.found:,} bytes, the manifest says {layer.nbytes:,}"
    return ""


def found_in_store(target: str, name: str, store: Store, manifest: Manifest, why_not: str = "") -> FoundModel:
    """A manifest as a model: its files are the blobs of weights, projector and adapters that are there."""
    layers = [p.layer for p in parts_of(manifest, name) if p.role != "document"]
    weights = [p.layer for p in parts_of(manifest, name) if p.role == "weights"]
    distinct = {x.path: x for x in layers if x.found is not None}
    problem = next((words for x in layers if (words := problem_of(x))), "")
    return FoundModel(
        target=target,
        name=name,
        store=store,
        paths=tuple(distinct),
        nbytes=sum(x.found or 0 for x in distinct.values()),
        sha256=weights[0].sha256 if len(weights) == 1 else None,
        stamp="sha256:" + ",".join(x.sha256 for x in layers),
        error=why_not or problem,
    )


def left_over(folder: str, named: Collection[str], store: Store) -> Iterator[FoundModel]:
    """The blobs in a folder that no manifest names, and downloads that broke off; each by its bytes."""

    try:
        level = list_level(folder)
    except SourceError:
        return
    for file in level.files:
        if file.name in named or file.problem:
            continue
        broken = "-partial" in file.name or file.name.endswith(".incomplete")
        yield FoundModel(
            target=file.path,
            name=os.path.join("blobs", file.name[:19] + "…" if len(file.name) > 20 else file.name),
            store=store,
            paths=(file.path,),
            nbytes=file.nbytes,
            role="unfinished" if broken else "unused",
            sha256=file.name[-64:] if not broken and len(file.name) in {64, 71} else None,
            stamp=stamp_of([file]),
            error="an unfinished download" if broken else "",
        )
