"""What the parts of a stored model are: weights, projector, adapters, template, parameters, documents.

Media types: Ollama's (server/images.go), Docker Model Runner's (pkg/distribution/types), CNCF ModelPack's
(specs-go/v1/mediatype.go).
"""

from __future__ import annotations

from inspector.record import Record
from inspector.stores.manifests import Blobs, Layer, Manifest, read_json, read_text
from inspector.stores.names import role_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, Final

_OLLAMA: Final = "application/vnd.ollama.image."
_DOCKER: Final = "application/vnd.docker.ai."
_PACKS: Final = ("application/vnd.cncf.model.", "application/vnd.cnai.model.")
# the end of a media type behind its family's prefix: what the layer is
_KINDS: Final = {
    _OLLAMA: {
        "model": "weights", "projector": "mmproj", "adapter": "lora", "template": "template", "system": "system",
        "params": "params", "license": "license", "messages": "messages", "prompt": "template", "tensor": "tensor",
        "json": "document",
    },
    _DOCKER: {
        "gguf.v3": "weights", "safetensors": "weights", "mmproj": "mmproj", "gguf.v3.mmproj": "mmproj",
        "gguf.v3.lora": "lora", "chat.template.jinja": "jinja", "license": "license", "vllm.config.tar": "archive",
        "dir.tar": "archive", "dduf": "archive", "model.file": "document",
    },
}  # fmt: skip


def kind_of(layer: Layer) -> str:
    """What a layer is: weights, mmproj, lora, template (Ollama's), jinja, system, params, document, archive, …"""
    for family, kinds in _KINDS.items():
        if layer.media_type.startswith(family):
            return kinds.get(layer.media_type[len(family) :], "other")
    pack = next((p for p in _PACKS if layer.media_type.startswith(p)), None)
    if pack is None:
        return _by_title(layer)
    rest = layer.media_type[len(pack) :]
    if ".tar" in rest and rest.startswith("weight"):
        return "archive"
    if rest.startswith(("weight.v1.", "weight.config.v1.")):
        return _by_title(layer) if layer.title else "weights" if rest.startswith("weight.v1.") else "document"
    return "document" if layer.title.endswith(".json") else "other"


def _by_title(layer: Layer) -> str:
    role = role_of(layer.title)
    return role if role in {"weights", "mmproj", "lora"} else "document" if layer.title else "other"


class Keeping(Record):
    """How the program that keeps a model would run it: its own template, prompt and parameters.

    `template`: in the program's language (Ollama: Go's; else Jinja); `jinja`: whether it is Jinja. `n_ctx`: the
    context that it would run with, tokens, None where it does not say. `params`: all of its parameters.
    `projectors`, `adapters`: the files that it would load beside the weights, by their paths.
    """

    program: str
    template: str | None = None
    jinja: bool = False
    system: str | None = None
    n_ctx: int | None = None
    params: Mapping[str, Any] | None = None
    projectors: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()


def keeping(manifest: Manifest, blobs: Blobs, program: str) -> Keeping:
    """What a manifest's small layers say; what cannot be read is left out."""
    texts: dict[str, str] = {}
    for layer in manifest.layers:
        kind = kind_of(layer)
        if kind in {"template", "jinja", "system", "params"} and kind not in texts:
            text = read_text(layer, blobs)
            if text is not None:
                texts[kind] = text
    params = _object(texts.get("params"))
    return Keeping(
        program=program,
        template=texts.get("template", texts.get("jinja")),
        jinja="template" not in texts and "jinja" in texts,
        system=texts.get("system"),
        n_ctx=_count(params.get("num_ctx")) or _config_context(manifest, blobs),
        params=params,
        projectors=_paths(manifest, "mmproj"),
        adapters=_paths(manifest, "lora"),
    )


def _paths(manifest: Manifest, kind: str) -> tuple[str, ...]:
    return tuple(x.path for x in manifest.layers if kind_of(x) == kind and x.found is not None and not x.problem)


def _config_context(manifest: Manifest, blobs: Blobs) -> int | None:
    """`config.context_size` of a Docker model's description (pkg/distribution/types/config.go)."""
    if manifest.config is None or not manifest.config.media_type.startswith(_DOCKER):
        return None
    described = _object(read_text(manifest.config, blobs)).get("config")
    return _count(described.get("context_size")) if isinstance(described, dict) else None


def _object(text: str | None) -> dict[str, Any]:
    from inspector.errors import InspectorError

    try:
        value = read_json((text or "{}").encode())
    except InspectorError:
        return {}
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 < value < 1 << 31 else None


class Part(Record):
    """A layer under a file's name: `role` is weights, mmproj, lora or document."""

    role: str
    name: str
    layer: Layer


_SUFFIX: Final = {"weights": "", "mmproj": "mmproj-", "lora": "lora-"}


def parts_of(manifest: Manifest, name: str) -> tuple[Part, ...]:
    """The layers that a checkpoint is made of, named as files: by their titles, else after the model.

    Several layers of weights without titles are the parts of one split file, in order.
    """
    return tuple(_parts(manifest, name.replace("/", "-").replace(":", "-") or "model"))


def _parts(manifest: Manifest, stem: str) -> Iterator[Part]:
    kinds = [(kind_of(layer), layer) for layer in manifest.layers]
    n_weights = sum(kind == "weights" and not layer.title for kind, layer in kinds)
    counts: dict[str, int] = {}
    for kind, layer in kinds:
        if kind == "jinja":
            yield Part("document", layer.title or "chat_template.jinja", layer)
        if kind not in _SUFFIX and not (kind == "document" and layer.title):
            continue
        n = counts[kind] = counts.get(kind, 0) + (not layer.title)
        suffix = ".safetensors" if layer.media_type.endswith(".safetensors") else ".gguf"
        part = f"-{n:05d}-of-{n_weights:05d}" if kind == "weights" and n_weights > 1 else f"-{n}" if n > 1 else ""
        yield Part(kind, layer.title or f"{_SUFFIX[kind]}{stem}{part}{suffix}", layer)


def why_not(manifest: Manifest) -> str:
    """Why a manifest is no model that is read; "" where it is one."""
    kinds = [kind_of(layer) for layer in manifest.layers]
    if "weights" in kinds:
        return ""
    if n := kinds.count("tensor"):
        return f"a model of {n:,} tensors that are a blob each: only GGUF and safetensors files are read"
    if "archive" in kinds:
        return "its weights are in an archive: unpack it first"
    return "no layer of it is a model's weights"
