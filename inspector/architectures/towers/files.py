"""Towers that only the modeling code beside a model's own files builds: DeepSeek-OCR 2, MiniCPM-V 2."""

from __future__ import annotations

from inspector.architectures.hf.record import ExpectedTensor
from inspector.architectures.hf_blocks import linear, norm
from inspector.architectures.hf_decoders import gated
from inspector.architectures.towers.blocks import Encoder, encoder_layers, patches, table
from inspector.errors import MissingKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from inspector.architectures.towers.blocks import Tensors
    from inspector.architectures.towers.part import Wrapper

# SAM's ViT-B as DeepSeek's encoders have it: sizes that their code fixes (deepencoderv2.py, deepseek_ocr2).
_SAM: Final = {"hidden": 768, "layers": 12, "head": 64, "window": 14, "grid": 64, "patch": 16}
_GLOBAL: Final = frozenset({2, 5, 8, 11})


def _sam(at: str) -> Tensors:
    h, head = _SAM["hidden"], _SAM["head"]
    yield from patches(f"{at}patch_embed.proj", h, _SAM["patch"], _SAM["patch"])
    yield ExpectedTensor(f"{at}pos_embed", (1, _SAM["grid"], _SAM["grid"], h), "embedding")
    yield from encoder_layers(f"{at}blocks.", _SAM["layers"], Encoder(h, 4 * h, fused=True))
    for i in range(_SAM["layers"]):
        side = 2 * (_SAM["grid"] if i in _GLOBAL else _SAM["window"]) - 1
        for name in ("rel_pos_h", "rel_pos_w"):
            yield ExpectedTensor(f"{at}blocks.{i}.attn.{name}", (side, head), "attention")
    for name, out, inner, kernel in (("neck.0", 256, h, 1), ("neck.2", 256, 256, 3)):
        yield from patches(f"{at}{name}", out, kernel, kernel, channels=inner, bias=False)
    for name in ("neck.1", "neck.3"):
        yield from norm(at + name, 256, ln=True)
    for name, out, inner in (("net_2", 512, 256), ("net_3", 896, 512)):
        yield from patches(at + name, out, 3, 3, channels=inner, bias=False)


def _qwen2_encoder(at: str, *, hidden: int = 896, width: int = 4864, layers: int = 24, kv: int = 128) -> Tensors:
    """Qwen2-0.5B without its embedding, and queries for two resolutions."""
    for i in range(layers):
        layer = f"{at}layers.{i}."
        yield from linear(f"{layer}self_attn.q_proj", hidden, hidden, "attention", bias=True)
        for name in ("k_proj", "v_proj"):
            yield from linear(f"{layer}self_attn.{name}", kv, hidden, "attention", bias=True)
        yield from linear(f"{layer}self_attn.o_proj", hidden, hidden, "attention")
        yield from gated(f"{layer}mlp.", hidden, width)
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield from norm(layer + name, hidden)
    yield from norm(f"{at}norm", hidden)
    for rows in (144, 256):
        yield from table(f"{at}query_{rows}.weight", rows, hidden)


def deepseek_vl_v2(w: Wrapper) -> Tensors:
    """DeepSeek-OCR 2; the SigLIP of DeepSeek-VL2 and OCR's first CLIP have no rule."""
    v = w.part("vision_config", {})
    if v.get("model_name") != "deepencoderv2":
        raise MissingKey(f"vision_config is a {v.get('model_name')!r:.40}")
    yield from _sam("model.sam_model.")
    yield from _qwen2_encoder("model.qwen2_model.model.model.")
    p = w.part("projector_config", {"input_dim": 896})
    if p.get("projector_type") != "linear":
        raise MissingKey("projector_config is not a linear one")
    yield from linear("model.projector.layers", w.hidden, p.n("input_dim"), "mlp", bias=True)
    yield ExpectedTensor("model.view_seperator", (w.hidden,), "other")


# timm's towers by their names, as MiniCPM-V 2 asks for them: hidden, MLP, layers, patch, positions.
_TIMM: Final = {"vit_so400m_patch14_siglip_384.webli": (1152, 4304, 27, 14, 27 * 27)}


def minicpmv(w: Wrapper) -> Tensors:
    """timm's SigLIP without its pooling, and a resampler of fixed queries (modeling_minicpmv.py, resampler.py)."""
    name = w.get("vision_encoder")
    if name not in _TIMM:
        raise MissingKey(f"vision_encoder is {name!r:.60}")
    h, width, layers, patch, rows = _TIMM[name]
    yield from patches("vpm.patch_embed.proj", h, patch, patch)
    yield from table("vpm.pos_embed", rows, h)
    yield from encoder_layers("vpm.blocks.", layers - w.flag("drop_vision_last_layer"), Encoder(h, width, fused=True))
    yield from norm("vpm.norm", h, ln=True)
    queries, out, at = w.n("query_num"), w.hidden, "resampler."
    for table_name in ("query", "pos_embed"):
        yield from table(at + table_name, queries, out)
    yield from linear(f"{at}kv_proj", out, h, "mlp")
    yield from linear(f"{at}attn.in_proj", 3 * out, out, "attention", bias=True)
    yield from linear(f"{at}attn.out_proj", out, out, "attention", bias=True)
    yield from norm(f"{at}ln_q", out, ln=True)
    yield from norm(f"{at}ln_kv", out, ln=True)
    yield from norm(f"{at}ln_post", out, ln=True)
    yield ExpectedTensor(f"{at}proj", (out, out), "mlp")


BUILDERS: Final[Mapping[str, Any]] = {"deepseek_vl_v2": deepseek_vl_v2, "minicpmv": minicpmv}
