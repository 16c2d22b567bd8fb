"""Further vision towers of transformers 5.24.0: GLM-4V, Idefics 3 and SmolVLM, LFM2-VL, Command A Vision, LightOn."""

from __future__ import annotations

from math import prod

from inspector.architectures.hf.record import ExpectedTensor
from inspector.architectures.hf_blocks import linear, norm
from inspector.architectures.hf_decoders import gated
from inspector.architectures.towers.blocks import Encoder, encoder_layers, mlp2, patches, table
from inspector.architectures.towers.vision import PIXTRAL, SIGLIP, named_tower, pixtral, siglip
from inspector.errors import MissingKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from inspector.architectures.towers.blocks import Tensors
    from inspector.architectures.towers.part import Wrapper

GLM4V: Final = {"in_channels": 3, "patch_size": 14, "temporal_patch_size": 2, "spatial_merge_size": 2, "depth": 24,
                "hidden_size": 1536, "intermediate_size": 13696, "out_hidden_size": 4096,
                "image_size": 336}  # fmt: skip
IDEFICS3: Final = {"hidden_size": 1152, "intermediate_size": 3072, "num_hidden_layers": 12, "num_channels": 3,
                   "image_size": 224, "patch_size": 32}  # fmt: skip
SIGLIP2: Final = {**SIGLIP, "num_patches": 256}


def glm4v(w: Wrapper) -> Tensors:
    """Gated blocks without biases, a convolution that joins patches, a gated merger (modeling_glm4v.py)."""
    v, at = w.part("vision_config", GLM4V), "visual."
    h, out, p, merge = v.n("hidden_size"), v.n("out_hidden_size"), v.n("patch_size"), v.n("spatial_merge_size")
    side = v.n("image_size") // max(p, 1)
    yield from patches(f"{at}patch_embed.proj", h, v.n("temporal_patch_size"), p, p, channels=v.n("in_channels"))
    yield from table(f"{at}embeddings.position_embedding.weight", side * side, h)
    for name in ("post_conv_layernorm", "post_layernorm"):
        yield from norm(at + name, h)
    bias = v.flag("attention_bias")
    layer = Encoder(h, out, fused=True, qkv_bias=bias, o_bias=False, mlp_bias=False, gated=True, rms=True)
    yield from encoder_layers(f"{at}blocks.", v.depth("depth"), layer)
    yield from patches(f"{at}downsample", out, merge, merge, channels=h)
    yield from linear(f"{at}merger.proj", out, out, "mlp")
    yield from norm(f"{at}merger.post_projection_norm", out, ln=True)
    yield from gated(f"{at}merger.", out, v.n("intermediate_size"))


def idefics3(w: Wrapper) -> Tensors:
    """SigLIP's blocks, and squares of patches through one projection (modeling_idefics3.py, modeling_smolvlm.py)."""
    v, at = w.part("vision_config", IDEFICS3), "model.vision_model."
    yield from siglip(v, at, head=False)
    joined = v.n("hidden_size") * w.n("scale_factor") ** 2
    yield from linear("model.connector.modality_projection.proj", w.hidden, joined, "mlp")


def lfm2_vl(w: Wrapper) -> Tensors:
    """SigLIP 2, whose patches come flat, and a normed projector (modeling_lfm2_vl.py)."""
    v, at = w.part("vision_config", SIGLIP2), "vision_tower."
    h, i, p = v.n("hidden_size"), v.n("intermediate_size"), v.n("patch_size")
    yield from linear(f"{at}embeddings.patch_embedding", h, v.n("num_channels") * p * p, "embedding", bias=True)
    yield from table(f"{at}embeddings.position_embedding.weight", v.n("num_patches"), h)
    yield from encoder_layers(f"{at}encoder.layers.", v.depth("num_hidden_layers"), Encoder(h, i))
    yield from norm(f"{at}post_layernorm", h, ln=True)
    if v.flag("vision_use_head"):
        yield from _pooling(f"{at}head.", h, i)
    joined, inner, at = h * w.n("downsample_factor") ** 2, w.n("projector_hidden_size"), "multi_modal_projector."
    if w.get("projector_use_layernorm") is not False:
        yield from norm(f"{at}layer_norm", joined, ln=True)
    yield from mlp2(at, ("linear_1", "linear_2"), (joined, inner, w.hidden), bias=w.get("projector_bias") is not False)


def _pooling(at: str, h: int, i: int) -> Tensors:
    yield ExpectedTensor(f"{at}probe", (1, 1, h), "other")
    yield ExpectedTensor(f"{at}attention.in_proj_weight", (3 * h, h), "other")
    yield ExpectedTensor(f"{at}attention.in_proj_bias", (3 * h,), "other")
    yield from linear(f"{at}attention.out_proj", h, h, "other", bias=True)
    yield from norm(f"{at}layernorm", h, ln=True)
    yield from mlp2(f"{at}mlp.", ("fc1", "fc2"), (h, i, h))


def cohere2_vision(w: Wrapper) -> Tensors:
    """SigLIP, and a gated projector over squares of patches (modeling_cohere2_vision.py)."""
    v = w.part("vision_config", {**SIGLIP, "hidden_size": 1152, "intermediate_size": 3072, "num_hidden_layers": 27,
                                 "image_size": 512})  # fmt: skip
    yield from siglip(v, "vision_tower.")
    joined, inner = v.n("hidden_size") * w.n("downsample_factor") ** 2, w.n("alignment_intermediate_size")
    yield from linear("multi_modal_projector.linear_1", inner, joined, "mlp", bias=True)
    yield from linear("multi_modal_projector.linear_2", w.hidden, inner // 2, "mlp", bias=True)


def lighton_ocr(w: Wrapper) -> Tensors:
    """Pixtral, patches merged as Mistral 3 merges them (modeling_lighton_ocr.py)."""
    v = w.part("vision_config", {**PIXTRAL, "patch_size": 14})
    h, merge, at = v.n("hidden_size"), w.n("spatial_merge_size"), "vision_projection."
    yield from pixtral(v, "vision_encoder.")
    yield from norm(f"{at}norm", h)
    yield from linear(f"{at}patch_merger.merging_layer", h, h * merge * merge, "mlp")
    yield from mlp2(at, ("linear_1", "linear_2"), (h, w.hidden, w.hidden), bias=False)


def vipllava(w: Wrapper) -> Tensors:
    """CLIP, several of whose layers the projector reads side by side (modeling_vipllava.py)."""
    tower, v = named_tower(w, "vision_tower.", "clip_vision_model")
    yield from tower
    layers = w.get("vision_feature_layers")
    n = len(layers) if isinstance(layers, list | tuple) else 5
    yield from norm("multi_modal_projector.projector_layernorm", n * v.n("hidden_size"), ln=True)
    widths = (n * v.n("hidden_size"), w.hidden, w.hidden)
    yield from mlp2("multi_modal_projector.", ("linear_1", "linear_2"), widths)


def kimi_k3(w: Wrapper) -> Tensors:
    """MoonViT without biases and with RMS norms, attention wider than it (vllm 0.33.0 models/kimi_k25_vit.py)."""
    v, at = w.part("vision_config", {}), "vision_tower."
    if (v.get("mm_projector_type"), v.get("norm_type"), v.get("mlp_type")) != ("patchmergerv2", "rmsnorm", "mlp2"):
        raise MissingKey("vision_config is not built as Kimi K3's")
    h, p, biased = v.n("vt_hidden_size"), v.n("patch_size"), v.flag("linear_bias")
    yield from patches(f"{at}patch_embed.proj", h, p, p, bias=v.flag("patch_embed_proj_bias"))
    rows = v.n("init_pos_emb_height") * v.n("init_pos_emb_width")
    yield from table(f"{at}patch_embed.pos_emb.weight", rows, h)
    bias = v.flag("attn_bias")
    layer = Encoder(h, v.n("vt_intermediate_size"), fused=True, qkv_bias=bias, o_bias=bias,
                    mlp_bias=biased, rms=True, attention_width=v.n("qkv_hidden_size"))  # fmt: skip
    yield from encoder_layers(f"{at}encoder.blocks.", v.depth("vt_num_hidden_layers"), layer)
    yield from norm(f"{at}encoder.final_layernorm", h)
    merged = h * prod(v.ints("merge_kernel_size"))
    yield from mlp2("mm_projector.", ("linear_1", "linear_2"), (merged, merged, w.hidden), bias=False)
    yield from norm("mm_projector.post_norm", w.hidden)


def assistant(w: Wrapper) -> Tensors:
    """Gemma 4's drafting heads: what joins them to the model that they draft for has no rule."""
    raise MissingKey(f"what makes a {w.name} of its text part")


def gemma3n(_: Wrapper) -> Tensors:
    """A tower of timm's, built whether or not the file has a config for it; audio beside it."""
    raise MissingKey("vision_config (a MobileNet of timm's) and audio_config")


BUILDERS: Final[Mapping[str, Any]] = {
    "glm4v": glm4v,
    "glm4v_moe": glm4v,
    "idefics3": idefics3,
    "smolvlm": idefics3,
    "lfm2_vl": lfm2_vl,
    "cohere2_vision": cohere2_vision,
    "lighton_ocr": lighton_ocr,
    "vipllava": vipllava,
    "gemma3n": gemma3n,
    "kimi_k3": kimi_k3,
    "gemma4_assistant": assistant,
    "gemma4_unified_assistant": assistant,
}
