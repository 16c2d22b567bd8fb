"""What mlx-lm 0.32.2 loads at all: model types (models/), packed weights (utils.py load_model), GPUs."""

from __future__ import annotations

from inspector.memory.engines.shared.kv_options import config_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Gpu

RELEASE: Final = "mlx-lm 0.32.2"

# Modules of models/ with a Model. The first have a make_cache of their own: --max-kv-size does not reach them.
_OWN: Final = """
afm7 afmoe baichuan_m1 bailing_hybrid bailing_moe_linear bailing_moe_v3 cohere2 deepseek_v32 deepseek_v41 exaone4
exaone_moe falcon_h1 gear gemma3 gemma3_text gemma3n gemma4 gemma4_text glm_moe_dsa gpt_oss granitemoehybrid
iquestloopcoder jamba kimi_k3 kimi_linear laguna lfm2-vl lfm2 lfm2_moe llama llama4 longcat_flash longcat_flash_ngram
mamba mamba2 mellum mimo_v2_flash minimax_m3_vl ministral3 muse_glimmer muse_spark nanbeige nemotron-nas nemotron_h
olmo3 olmo_hybrid plamo2 plamo3 prism_hadamard_qwen35 qwen3_5 qwen3_5_moe qwen3_next recurrent_gemma rwkv7 spark2_5
step3p5
"""
_PLAIN: Final = """
Klear apertus bailing_moe bitnet cohere dbrx deepseek deepseek_v2 deepseek_v3 dots1 ernie4_5 ernie4_5_moe exaone gemma
gemma2 glm glm4 glm4_moe glm4_moe_lite gpt2 gpt_bigcode gpt_neox gptj granite granitemoe helium hunyuan
hunyuan_v1_dense internlm2 internlm3 kimi_k25 kimi_vl lille-130m llama4_text mimo minicpm minicpm3 minimax mistral3
mistral4 mixtral nanochat nemotron olmo olmo2 olmoe openelm phi phi3 phi3small phimoe phixtral pixtral plamo qwen qwen2
qwen2_moe qwen2_vl qwen3 qwen3_moe qwen3_vl qwen3_vl_moe seed_oss smollm3 solar_open stablelm starcoder2 talkie
telechat3 youtu_llm
"""
OWN_CACHE: Final = frozenset(_OWN.split())
REGISTERED: Final = OWN_CACHE | frozenset(_PLAIN.split())
# Those whose caches were compared with the module's own, byte for byte.
_COMPARED: Final = """
afmoe apertus bailing_moe cohere cohere2 deepseek_v2 deepseek_v3 deepseek_v32 dots1 ernie4_5 ernie4_5_moe exaone4
exaone_moe falcon_h1 gemma gemma2 gemma3 gemma3_text gemma3n gemma4 gemma4_text glm4 glm4_moe glm4_moe_lite glm_moe_dsa
gpt2 gpt_bigcode gpt_neox gpt_oss granite granitemoe granitemoehybrid helium hunyuan_v1_dense internlm2 internlm3 jamba
kimi_k25 kimi_linear kimi_vl lfm2 lfm2_moe llama llama4 longcat_flash mamba mamba2 mimo mimo_v2_flash minicpm3 minimax
ministral3 mistral3 mixtral nemotron nemotron_h olmo2 olmo3 olmo_hybrid olmoe phi phi3 phimoe qwen2 qwen2_moe qwen2_vl
qwen3 qwen3_5 qwen3_5_moe qwen3_moe qwen3_next qwen3_vl qwen3_vl_moe recurrent_gemma seed_oss smollm3 solar_open
stablelm starcoder2 step3p5 youtu_llm
"""
COMPARED: Final = frozenset(_COMPARED.split())
# Modules that hold other tensors than the checkpoint that their config promises: known from files alone.
OTHER_WEIGHTS: Final = frozenset({"gemma3n", "longcat_flash"})
# utils.py MODEL_REMAPPING: the module that reads a type of another name
_REMAPPED: Final[Mapping[str, str]] = {
    "mistral": "llama", "llava": "mistral3", "phi-msft": "phixtral", "falcon_mamba": "mamba",
    "joyai_llm_flash": "deepseek_v3", "kimi_k2": "deepseek_v3", "qwen2_5_vl": "qwen2_vl", "minimax_m2": "minimax",
    "iquestcoder": "llama", "xverse": "llama", "gemma4_unified": "gemma4", "deepseek_v41_text": "deepseek_v41",
}  # fmt: skip
# Types whose sanitize() unpacks fp8 blocks to bfloat16; elsewhere such a checkpoint has tensors that no layer takes.
UNPACKS_FP8: Final = frozenset(
    {"deepseek_v3", "deepseek_v32", "glm_moe_dsa", "mimo_v2_flash", "minimax", "ministral3", "mistral3", "mistral4"}
)
# mlx.core.quantize: mode → bits and group sizes that it takes
_MODES: Final[Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]] = {
    "affine": ((1, 2, 3, 4, 5, 6, 8), (32, 64, 128)), "mxfp4": ((4,), (32,)), "mxfp8": ((8,), (32,)),
    "nvfp4": ((4,), (16,)),
}  # fmt: skip
_COMPRESSED: Final = frozenset({"nvfp4-pack-quantized", "mxfp4-pack-quantized", "pack-quantized"})
_PACKED: Final = frozenset({"mlx", "mxfp4", "mxfp8", "bitnet", "awq", "gptq"})


def module_of(facts: ModelFacts) -> str:
    """The module of models/ that would read it: the outer config's model_type, or the one it is mapped to."""
    said = facts.outer_type or (facts.keys or {}).get("model_type")
    name = said if isinstance(said, str) else facts.arch
    classes = config_value(facts, "architectures")
    if name == "bailing_hybrid" and isinstance(classes, list | tuple) and "BailingMoeV3ForCausalLM" in classes:
        return "bailing_moe_v3"  # MODEL_ARCHITECTURE_REMAPPING
    return _REMAPPED.get(name, name)


def _packing(facts: ModelFacts) -> Mapping[str, Any] | None:
    """The quantisation that mlx-lm goes by: its own key, then others'; None for plain weights."""
    keys = facts.keys or {}
    if hasattr(keys.get("quantization"), "get"):
        return {"quant_method": "mlx", **keys["quantization"]}
    found = config_value(facts, "quantization_config", "compression_config")
    return found if hasattr(found, "get") else None


def _method(packing: Mapping[str, Any] | None) -> str:
    """The name of a packing's method; "" where there is none."""
    method = (packing or {}).get("quant_method")
    return "" if method is None else method if isinstance(method, str) else repr(method)


def unpacks_fp8(facts: ModelFacts) -> bool:
    """Whether weights are fp8 in the file and bfloat16 in memory."""
    return _method(_packing(facts)) == "fp8" and module_of(facts) in UNPACKS_FP8


def repacked(facts: ModelFacts) -> str:
    """The method of weights that are laid out anew on loading, in a size near the file's; "" for all others."""
    method = _method(_packing(facts))
    return "" if method in {"mlx", "fp8"} else method


def _mode_refused(packing: Mapping[str, Any]) -> str:
    """Words for bits and groups that MLX has no kernel for; "" where it has."""
    mode, bits, group = (packing.get(key) for key in ("mode", "bits", "group_size"))
    known = _MODES.get(mode if isinstance(mode, str) else "affine" if mode is None else "")
    if known and isinstance(bits, int) and isinstance(group, int) and bits in known[0] and group in known[1]:
        return ""
    return f"mlx {mode or 'affine'!s:.20}, {bits!s:.20} bits in groups of {group!s:.20}"


def _packing_refused(facts: ModelFacts) -> str:
    packing = _packing(facts)
    if packing is None or unpacks_fp8(facts):
        return ""
    method = _method(packing)
    if method == "mlx":
        return _mode_refused(packing)
    if method == "compressed-tensors":
        return "" if packing.get("format") in _COMPRESSED else f"compressed-tensors of format {packing.get('format')!r}"
    if method == "modelopt":
        inner = packing.get("quantization")
        settings: Any = inner if hasattr(inner, "get") else packing
        return "" if settings.get("quant_algo") == "NVFP4" else f"modelopt {settings.get('quant_algo')}"
    if method in {"awq", "gptq"}:
        return "" if packing.get("bits", 4) == 4 else f"{method} of {packing.get('bits')} bits"
    return "" if method in _PACKED else method or "nothing that it names"


def why_not(facts: ModelFacts) -> str:
    """Why mlx-lm would not load this model; "" where nothing is known against it."""
    if facts.format == "gguf":
        return f"{RELEASE} loads no GGUF files"
    if facts.format == "safetensors" and not facts.keys and not facts.layers:
        return f"{RELEASE} loads no folder without a config.json"
    if not facts.keys:
        return ""
    if module_of(facts) not in REGISTERED:
        return f"{RELEASE} has no model type {module_of(facts)[:60]}"
    if packed := _packing_refused(facts):
        return f"{RELEASE} does not load weights packed as {packed[:60]}"
    return ""


def card_refused(gpu: Gpu) -> str:
    """Why a device has no rules here; "" for Apple's and for sizes given by hand."""
    return "" if gpu.backend == "metal" or gpu.sized else f"mlx is answered for Apple GPUs, not for {gpu.name}"
