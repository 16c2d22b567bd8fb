"""What file names say: roles, quantisation labels, and llama.cpp's rule for picking one by its tag."""

from __future__ import annotations

import re

from inspector.stores.splits import split_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# Left out when llama.cpp b11434 looks for a model in a repository (common/download.cpp, gguf_filename_is_model).
_GGUF_ROLES: Final = (
    ("mmproj", "mmproj"),
    ("imatrix", "imatrix"),
    ("mtp-", "draft"),
    ("eagle3-", "draft"),
    ("dflash-", "draft"),
    ("dspark-", "draft"),
)
_LORA: Final = re.compile(r"(^|[-_.])(lora|qlora|dora|adapter)([-_.]|$)", re.IGNORECASE)
_PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_OTHER_FORMATS: Final = (".onnx", ".h5", ".msgpack", ".ot", ".tflite", ".npz")
_QUANT: Final = re.compile(
    r"(?:^|[-._/])((?:UD-)?(?:I?Q\d(?:_\d|_K|_NL|_XXS|_XS)?(?:_(?:XXS|XS|S|M|L|XL))?"
    r"|TQ\d_0|MXFP4(?:_MOE)?|NVFP4|BF16|FP16|F16|FP32|F32))(?=[-./]|$)",
    re.IGNORECASE,
)


def basename(name: str) -> str:
    """The last part of a "/"-separated name."""
    return name.rpartition("/")[2]


def role_of(name: str) -> str | None:
    """The role a file's name gives it: a Companion's role, "weights" for a model's own, None for other files."""
    base = basename(name)
    lower = base.lower()
    if lower.endswith(".gguf"):
        found = next((role for mark, role in _GGUF_ROLES if mark in base), None)
        return found or ("lora" if _LORA.search(base[:-5]) else "weights")
    if lower.endswith(".safetensors"):
        if lower.startswith("adapter_"):
            return "lora"
        return "twin" if lower.startswith("consolidated") or name.startswith("original/") else "weights"
    if lower.endswith(_PICKLES):
        return "pickle"
    if lower.endswith((".imatrix", ".dat")) and "imatrix" in lower:
        return "imatrix"
    return "twin" if lower.endswith(_OTHER_FORMATS) else None


def quant_label(name: str) -> str:
    """The quantisation that a GGUF's name claims ("Q4_K_M", "UD-Q2_K_XL"), the last one in it, or ""."""
    split = split_name(name)
    stem = split[0] if split else name.rpartition(".")[0]
    found = _QUANT.findall(stem)
    return found[-1].upper() if found else ""


def matches_tag(name: str, tag: str) -> bool:
    """llama.cpp's rule for `-hf repo:TAG`: the tag anywhere in the path, any case, followed by "." or "-".

    common/download.cpp (b11434), find_best_model.
    """
    return re.search(re.escape(tag) + "[.-]", name, re.IGNORECASE) is not None
