"""Manifests of content-addressed stores: which blob of a store is which part of a model.

One form for Ollama, Docker Model Runner and OCI images on disk: JSON with `config` and `layers`, each a media type, a
digest and a size (OCI image-spec, manifest.md). A digest is nothing but 64 hexadecimal digits, so no path leaves the
store; manifests and documents are read within bounds; sizes are compared with what is there.
"""

from __future__ import annotations

import os
import re
import stat

from inspector.errors import FormatError, InspectorError, NotFound
from inspector.formats.strict_json import decode, scan
from inspector.record import Record
from inspector.sources.local import LocalSource, describe_mode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

MAX_MANIFEST: Final = 4 << 20  # Ollama's of a model with a layer a tensor takes some hundred kilobytes
MAX_LAYERS: Final = 20_000
MAX_TEXT: Final = 1 << 20  # of a template, system prompt or parameters
_HEX: Final = frozenset("0123456789abcdef")
# The file that a layer was (ModelPack's specs-go/v1/annotations.go, its older name, and ORAS).
_TITLES: Final = ("org.cncf.model.filepath", "org.cnai.model.filepath", "org.opencontainers.image.title")
LIST: Final = frozenset(
    (
        "application/vnd.ollama.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.index.v1+json",
    )
)
# Ollama's order of runners (manifest/manifest.go, runnerPreferences), but for Apple's machines.
_RUNNERS: Final = ("ollama", "llamacpp", "mlx")


class Layer(Record):
    """One blob that a manifest names: what it is, its digest, its bytes as the manifest has them.

    `title`: the file that it was, where the manifest says so. `path`: where it lies; `found`: its bytes there, None
    where it is not there. `problem`: why it must not be opened.
    """

    media_type: str
    sha256: str
    nbytes: int
    title: str = ""
    path: str = ""
    found: int | None = None
    problem: str = ""


class Manifest(Record):
    """A model's parts, in order; `config` is the document that describes them, None where there is none."""

    layers: tuple[Layer, ...]
    config: Layer | None = None


def digest_of(text: Any) -> str:
    """The digits of a sha256 digest (`sha256:…` or `sha256-…`). Raises FormatError for anything else."""
    if isinstance(text, str) and text[:7].lower() in {"sha256:", "sha256-"}:
        digits = text[7:].lower()
        if len(digits) == 64 and _HEX.issuperset(digits):
            return digits
    shown = text if isinstance(text, str) and text.isprintable() else ascii(text)
    raise FormatError(f"not a sha256 digest: {shown[:80]}")


class Blobs(Record):
    """Where a store keeps its blobs: `dash` for Ollama's `sha256-…` names, else OCI's `sha256/…` folders."""

    root: str
    dash: bool = False

    def path(self, digits: str) -> str:
        """The place of a blob."""
        below = (f"sha256-{digits}",) if self.dash else ("sha256", digits)
        return os.path.join(self.root, "blobs", *below)

    def look(self, digits: str) -> tuple[int | None, str]:
        """A blob's bytes (None where it is not there), and why it must not be opened."""
        path = self.path(digits)
        try:
            if not stat.S_ISREG(mode := os.stat(path).st_mode):
                return None, f"{describe_mode(mode)}, not a file"
            real, root = os.path.realpath(path), os.path.realpath(self.root)
            if not real.startswith(root.rstrip(os.sep) + os.sep):
                return None, "a link that leads out of the store"
            return os.stat(path).st_size, ""
        except OSError:
            return None, ""

    def read(self, digits: str, *, most: int) -> bytes:
        """A small blob, whole. Raises NotFound, FormatError beyond `most` bytes, SourceError."""
        found, problem = self.look(digits)
        if found is None:
            raise NotFound(f"blob sha256-{digits[:12]}…: {problem or 'missing'}")
        return read_small(self.path(digits), most=most)


def read_small(path: str, *, most: int) -> bytes:
    """A small file, whole. Raises SourceError, FormatError beyond `most` bytes."""
    with LocalSource(path) as source:
        if source.size > most:
            raise FormatError(f"{source.size:,} bytes: documents of more than {most:,} are not read")
        return source.read_at(0, source.size)


def read_json(raw: bytes) -> Any:
    """A store's document, by the rules of strict JSON. Raises FormatError."""
    return scan(decode(raw))


def layer_of(entry: Any, blobs: Blobs) -> Layer:
    """One descriptor of a manifest, looked up in the store. Raises FormatError."""
    if not isinstance(entry, dict):
        raise FormatError("a layer that is no object")
    digits, nbytes, kind = digest_of(entry.get("digest")), entry.get("size"), entry.get("mediaType")
    if type(nbytes) is not int or nbytes < 0:
        raise FormatError(f"sha256-{digits[:12]}…: not a size: {ascii(nbytes)[:40]}")
    found, problem = blobs.look(digits)
    return Layer(
        media_type=kind.partition(";")[0].strip() if isinstance(kind, str) else "",
        sha256=digits, nbytes=nbytes, title=_title(entry.get("annotations")), path=blobs.path(digits),
        found=found, problem=problem,
    )  # fmt: skip


def _title(annotations: Any) -> str:
    """A file's name out of annotations: a path below the model, or nothing."""
    if not isinstance(annotations, dict):
        return ""
    name = next((annotations[key] for key in _TITLES if isinstance(annotations.get(key), str)), "")
    sound = (
        {"", ".", ".."}.isdisjoint(name.split("/"))
        and name.isprintable()
        and len(name) <= 255
        and "\\" not in name
        and ":" not in name
    )
    return name if sound else ""


def parse_manifest(raw: bytes, blobs: Blobs, *, nested: bool = False) -> Manifest:
    """The parts that a manifest names; of a list of manifests, those of the one that Ollama's runner takes.

    Raises FormatError (with the words that say what is wrong), NotFound for a listed manifest that is not there.
    """
    value = read_json(raw)
    if not isinstance(value, dict):
        raise FormatError("not a manifest")
    if value.get("mediaType") in LIST or ("manifests" in value and "layers" not in value):
        if nested:
            raise FormatError("a list of manifests inside a list")
        return _of_list(value.get("manifests"), blobs)
    return _of_object(value, blobs)


def _of_object(value: dict[str, Any], blobs: Blobs) -> Manifest:
    layers = value.get("layers")
    if not isinstance(layers, list):
        raise FormatError("a manifest without layers")
    if len(layers) > MAX_LAYERS:
        raise FormatError(f"a manifest of {len(layers):,} layers")
    config = value.get("config")
    return Manifest(
        tuple(layer_of(entry, blobs) for entry in layers),
        layer_of(config, blobs) if isinstance(config, dict) and config.get("digest") else None,
    )


def _of_list(entries: Any, blobs: Blobs) -> Manifest:
    listed = [e for e in entries if isinstance(e, dict)][:100] if isinstance(entries, list) else []
    order = {name: i for i, name in enumerate(_RUNNERS)}
    listed.sort(key=lambda e: order.get(str(e.get("runner", "")).lower(), len(order)))
    if not listed:
        raise FormatError("a list without manifests")
    first = listed[0]
    if isinstance(first.get("layers"), list):
        return _of_object(first, blobs)
    return parse_manifest(blobs.read(digest_of(first.get("digest")), most=MAX_MANIFEST), blobs, nested=True)


_DIGESTS: Final = re.compile(rb"sha256[:-]([0-9a-fA-F]{64})(?![0-9a-fA-F])")


def digests_named(raw: bytes, blobs: Blobs, *, nested: bool = False) -> set[str]:
    """Every digest that a manifest, or one that it lists, has anywhere in it: of blobs that are in use."""
    found = {match.decode().lower() for match in _DIGESTS.findall(raw)}
    if nested or not any(kind.encode() in raw for kind in LIST):
        return found
    for digits in sorted(found)[:100]:
        try:
            found |= digests_named(blobs.read(digits, most=MAX_MANIFEST), blobs, nested=True)
        except InspectorError:
            continue
    return found


def read_text(layer: Layer, blobs: Blobs) -> str | None:
    """A small layer as text; None where it cannot be had."""
    try:
        return blobs.read(layer.sha256, most=MAX_TEXT).decode("utf-8", "replace")
    except InspectorError:
        return None
