"""What a safetensors checkpoint says of its own quantisation, and a short name for it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from inspector.checkpoint import Checkpoint


def quantization_config(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """The file's own words on how it was quantised, wherever they are; empty where there are none.

    Order: `quantization_config` or `compression_config` of config.json, outer then inner; ModelOpt's
    hf_quant_config.json; older GPTQ and AWQ files; MLX's top-level `quantization`; torchao's tensor metadata.
    """
    config = checkpoint.config or {}
    places = (
        config,
        *(v for k in ("text_config", "llm_config", "thinker_config") if isinstance(v := config.get(k), dict)),
    )
    for place in places:
        for key in ("quantization_config", "compression_config"):
            if isinstance(place.get(key), dict) and place[key]:
                return _unified(place[key], mlx=isinstance(config.get("quantization"), dict))
    modelopt = checkpoint.documents.get("hf_quant_config.json")
    if isinstance(modelopt, dict) and isinstance(modelopt.get("quantization"), dict):
        return {"quant_method": "modelopt", **modelopt["quantization"]}
    for name, method in (("quantize_config.json", "gptq"), ("quant_config.json", "awq")):
        own = checkpoint.documents.get(name)
        if isinstance(own, dict):
            return _unified({"quant_method": method, **own})
    if isinstance(config.get("quantization"), dict):
        return {"quant_method": "mlx", **config["quantization"]}
    if any("_type" in str(v) for v in checkpoint.metadata.values()) and "tensor_names" in checkpoint.metadata:
        return {"quant_method": "torchao"}
    return {}


def _unified(config: Mapping[str, Any], *, mlx: bool = False) -> Mapping[str, Any]:
    """The config with the method that it leaves unsaid; mlx-lm writes the same mapping under `quantization` too."""
    if "quant_method" in config:
        return config
    if "config_groups" in config:
        return {"quant_method": "compressed-tensors", **config}
    return {"quant_method": "mlx", **config} if mlx else config


def scheme_label(config: Mapping[str, Any]) -> str | None:
    """A short name for a quantisation config: "gptq 4-bit g128", "fp8 block 128x128"; None where there is none."""
    if not config:
        return None
    method = str(config.get("quant_method") or "quantised")
    words = [method, *_algorithm(method, config)]
    bits = config.get("bits") or config.get("w_bit") or config.get("wbits")
    groups = config.get("config_groups")
    group = config.get("group_size") or config.get("q_group_size")
    if isinstance(groups, dict) and groups:
        weights = next((g.get("weights") for g in groups.values() if isinstance(g, dict)), None)
        if isinstance(weights, dict):
            bits, group = weights.get("num_bits"), weights.get("group_size")
    if isinstance(bits, int):
        words.append(f"{bits}-bit")
    if isinstance(group, int) and group > 0:
        words.append(f"g{group}")
    return " ".join(words)


def _algorithm(method: str, config: Mapping[str, Any]) -> list[str]:
    if method == "bitsandbytes":
        four = config.get("load_in_4bit") or config.get("_load_in_4bit")
        return [str(config.get("bnb_4bit_quant_type") or "fp4") + " 4-bit" if four else "8-bit"]
    if method == "compressed-tensors":
        return [str(config["format"])] if config.get("format") else []
    if method.startswith("modelopt"):
        return [str(config["quant_algo"]).lower()] if config.get("quant_algo") else []
    if method == "fp8" and isinstance(block := config.get("weight_block_size"), list):
        return ["block " + "x".join(str(b) for b in block)]
    if method == "quanto" and config.get("weights"):
        return [str(config["weights"])]
    return []
