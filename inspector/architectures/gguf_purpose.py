"""What a GGUF is, where it is no language model: projector, adapter, steering vector, importance matrix, diffusion."""

from __future__ import annotations

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Final

    from inspector.formats.modelfile import TensorInfo


class Purpose(Record):
    """One word for what a file is, and a line for people. `elsewhere`: another program than llama.cpp runs it."""

    word: str
    words: str
    elsewhere: bool = False


_PROJECTOR: Final = Purpose("projector", "a multimodal projector: loaded beside a model (--mmproj)")
_DIFFUSION: Final = Purpose(
    "diffusion", "a diffusion model: for stable-diffusion.cpp or ComfyUI-GGUF, not for llama.cpp", elsewhere=True
)
# By general.type (gguf-py/gguf/constants.py of llama.cpp b11434), then by general.architecture.
_BY_TYPE: Final = {
    "mmproj": _PROJECTOR,
    "clip-vision": _PROJECTOR,
    "projector": _PROJECTOR,
    "adapter": Purpose("adapter", "an adapter (LoRA): loaded beside the model it was made for (--lora)"),
    "imatrix": Purpose("imatrix", "an importance matrix: for llama-quantize --imatrix, not a model"),
}
_BY_ARCH: Final = {
    "clip": _PROJECTOR,
    "controlvector": Purpose("controlvector", "a control vector: loaded beside a model (--control-vector)"),
}
# What ComfyUI-GGUF's converter and stable-diffusion.cpp's users call these models.
_DIFFUSION_WORDS: Final = """
    flux flux2 sd1 sd2 sd3 sdxl aura auraflow hidream cosmos ltxv ltx hyvid hunyuan_video wan lumina lumina2
    qwen_image z_image chroma pixart pig omnigen kandinsky5
    """
_DIFFUSION_ARCHS: Final = frozenset(_DIFFUSION_WORDS.split())
_DIFFUSION_TENSORS: Final = (
    "model.diffusion_model.", "double_blocks.", "joint_blocks.", "input_blocks.", "transformer_blocks.",
    "double_stream_blocks.", "first_stage_model.", "cond_stage_model.",
)  # fmt: skip
_LOOKED_AT: Final = 64


def purpose(metadata: Mapping[str, Any], tensors: Iterable[TensorInfo]) -> Purpose | None:
    """What a file that is no language model is; None for a language model, and for what nothing tells."""
    kind, arch = metadata.get("general.type"), metadata.get("general.architecture")
    if "adapter.type" in metadata:
        return _BY_TYPE["adapter"]
    found = _BY_TYPE.get(kind) if isinstance(kind, str) else None
    if found is None and isinstance(arch, str):
        found = _DIFFUSION if arch.lower() in _DIFFUSION_ARCHS else _BY_ARCH.get(arch)
    if found is None and arch is None and any(key.startswith("clip.") for key in metadata):
        found = _PROJECTOR
    if found is None and not arch:
        names = (t.name for t, _ in zip(tensors, range(_LOOKED_AT), strict=False))
        found = _DIFFUSION if any(name.startswith(_DIFFUSION_TENSORS) for name in names) else None
    return found
