"""Write the stores of other programs, by their own layouts: Ollama's, an OCI image's on disk, Docker Model Runner's.

    python scripts/make_stores.py ollama FOLDER llama3.2:3b model.gguf [--projector F] [--adapter F] [--num-ctx N]

Layouts: Ollama's manifest/manifest.go and paths.go; OCI image-spec, image-layout.md; docker/model-runner,
pkg/distribution/internal/store. Blobs are copies, named by the sha256 of what is in them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OLLAMA = "application/vnd.ollama.image."


def put(root: Path, data: bytes, *, dash: bool) -> str:
    """Write a blob and return its digest."""
    digits = hashlib.sha256(data).hexdigest()
    path = root / "blobs" / f"sha256-{digits}" if dash else root / "blobs" / "sha256" / digits
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return f"sha256:{digits}"


def layer(root: Path, kind: str, data: bytes, *, dash: bool, title: str = "") -> dict[str, Any]:
    """A descriptor of a blob that was written."""
    found: dict[str, Any] = {"mediaType": kind, "digest": put(root, data, dash=dash), "size": len(data)}
    return found | ({"annotations": {"org.cncf.model.filepath": title}} if title else {})


def ollama_model(
    root: Path, name: str, model: bytes, *, projector: bytes | None = None, adapter: bytes | None = None,
    template: str = "", system: str = "", params: dict[str, Any] | None = None, v2: bool = False,
) -> Path:  # fmt: skip
    """Add a model to an Ollama store as `ollama create` does; the file of its manifest (in v2, a link to a blob)."""
    given = {
        "model": model, "projector": projector, "adapter": adapter, "template": template.encode(),
        "system": system.encode(), "params": json.dumps(params).encode() if params else None,
    }  # fmt: skip
    manifest = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": layer(root, "application/vnd.docker.container.image.v1+json", b'{"model_format":"gguf"}', dash=True),
        "layers": [layer(root, OLLAMA + kind, data, dash=True) for kind, data in given.items() if data],
    }
    front, _, tag = name.partition(":")
    parts = ["registry.ollama.ai", "library"][: 3 - front.count("/") - 1] + front.split("/")
    path = root / ("manifests-v2" if v2 else "manifests") / Path(*parts) / (tag or "latest")
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = json.dumps(manifest).encode()
    if v2:
        digest = put(root, raw, dash=True).replace(":", "-")
        path.symlink_to(Path(*[".."] * 4, "blobs", digest))
    else:
        path.write_bytes(raw)
    return path


def oci_image(root: Path, name: str, files: list[tuple[str, str, bytes]], *, config: str, docker: bool = False) -> None:
    """Add a model to an OCI image layout, or to Docker's store. `files`: media type, title and bytes of each layer."""
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/vnd.cncf.model.manifest.v1+json",
        "config": layer(root, config, b'{"config":{"format":"gguf","context_size":2048}}', dash=False),
        "layers": [layer(root, kind, data, dash=False, title=title) for kind, title, data in files],
    }
    raw = json.dumps(manifest).encode()
    digits = hashlib.sha256(raw).hexdigest()
    if docker:
        path, key = root / "models.json", "models"
        below = root / "manifests" / "sha256"
        below.mkdir(parents=True, exist_ok=True)
        (below / digits).write_bytes(raw)
        entry: dict[str, Any] = {"id": f"sha256:{digits}", "tags": [name], "files": []}
    else:
        put(root, raw, dash=False)
        (root / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}', encoding="utf-8")
        path, key = root / "index.json", "manifests"
        notes = {"org.opencontainers.image.ref.name": name}
        entry = {"mediaType": OCI_MANIFEST, "digest": f"sha256:{digits}", "size": len(raw), "annotations": notes}
    index = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {key: []}
    index[key].append(entry)
    path.write_text(json.dumps(index), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("store", choices=["ollama"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    parser.add_argument("model", type=Path)
    parser.add_argument("--projector", type=Path)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--template", default="{{ .Prompt }}")
    parser.add_argument("--num-ctx", type=int)
    given = parser.parse_args()
    read = {k: getattr(given, k).read_bytes() for k in ("projector", "adapter") if getattr(given, k)}
    params = {"num_ctx": given.num_ctx} if given.num_ctx else None
    print(ollama_model(
        given.folder, given.name, given.model.read_bytes(), template=given.template, params=params, **read
    ))  # fmt: skip


if __name__ == "__main__":
    main()
