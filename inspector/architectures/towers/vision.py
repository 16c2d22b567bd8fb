"""Vision towers and their projectors, as transformers 5.24.0 builds them (models/*/: modeling, configuration)."""

from __future__ import annotations

from inspector.architectures.hf.record import ExpectedTensor
from inspector.architectures.hf_blocks import linear, norm
from inspector.architectures.towers.blocks import Encoder, encoder_layers, mlp2, patches, table
from inspector.errors import MissingKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from inspector.architectures.towers.blocks import Tensors
    from inspector.architectures.towers.part import Part, Wrapper

_VIT: Final = {"num_channels": 3, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
SIGLIP: Final = {**_VIT, "image_size": 224, "patch_size": 16, "vision_use_head": True}
CLIP: Final = {**_VIT, "image_size": 224, "patch_size": 32}
PIXTRAL: Final = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_channels": 3,
                  "patch_size": 16}  # fmt: skip
_QWEN: Final = {"in_channels": 3, "patch_size": 14, "temporal_patch_size": 2, "spatial_merge_size": 2, "depth": 32}
QWEN2: Final = {**_QWEN, "embed_dim": 1280, "hidden_size": 3584, "mlp_ratio": 4}
QWEN25: Final = {**_QWEN, "hidden_size": 3584, "intermediate_size": 3420, "out_hidden_size": 3584}
QWEN3: Final = {**_QWEN, "patch_size": 16, "depth": 27, "hidden_size": 1152, "intermediate_size": 4304,
                "out_hidden_size": 3584, "num_position_embeddings": 2304,
                "deepstack_visual_indexes": (8, 16, 24)}  # fmt: skip
MOONVIT: Final = {"patch_size": 14, "hidden_size": 1152, "num_hidden_layers": 27, "intermediate_size": 4304,
                  "init_pos_emb_height": 64, "init_pos_emb_width": 64, "merge_kernel_size": (2, 2)}  # fmt: skip
LLAMA4: Final = {"hidden_size": 768, "num_hidden_layers": 34, "num_channels": 3, "intermediate_size": 5632,
                 "vision_output_dim": 7680, "image_size": 448, "patch_size": 14, "projector_input_dim": 4096,
                 "projector_output_dim": 4096}  # fmt: skip
INTERN: Final = {"hidden_size": 1024, "num_hidden_layers": 24, "intermediate_size": 4096, "image_size": 448,
                 "patch_size": 14, "num_channels": 3, "use_absolute_position_embeddings": True,
                 "use_mean_pooling": True}  # fmt: skip
MLLAMA: Final = {"hidden_size": 1280, "num_hidden_layers": 32, "num_global_layers": 8, "num_channels": 3,
                 "intermediate_size": 5120, "image_size": 448, "patch_size": 14, "max_num_tiles": 4,
                 "intermediate_layers_indices": (3, 7, 15, 23, 30)}  # fmt: skip
STEP: Final = {"hidden_size": 1536, "intermediate_size": 3072, "num_hidden_layers": 47, "num_channels": 3,
               "image_size": 728, "patch_size": 14, "mlp_ratio": 8960 / 1536}  # fmt: skip
MINIMAX: Final = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_channels": 3,
                  "patch_size": 14, "temporal_patch_size": 2, "spatial_merge_size": 2}  # fmt: skip
GEMMA4: Final = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 16, "num_attention_heads": 12,
                 "num_key_value_heads": 12, "head_dim": 64, "patch_size": 16,
                 "position_embedding_size": 10240}  # fmt: skip


def _grid(v: Part) -> int:
    side = v.n("image_size") // max(v.n("patch_size"), 1)
    return side * side


def siglip(v: Part, at: str, *, head: bool = True) -> Tensors:
    """SigLIP, with its attention pooling where `vision_use_head` keeps it."""
    h, i = v.n("hidden_size"), v.n("intermediate_size")
    p = v.n("patch_size")
    yield from patches(f"{at}embeddings.patch_embedding", h, p, p, channels=v.n("num_channels"))
    yield from table(f"{at}embeddings.position_embedding.weight", _grid(v), h)
    yield from encoder_layers(f"{at}encoder.layers.", v.depth("num_hidden_layers"), Encoder(h, i))
    yield from norm(f"{at}post_layernorm", h, ln=True)
    if head and v.flag("vision_use_head"):
        yield ExpectedTensor(f"{at}head.probe", (1, 1, h), "other")
        yield ExpectedTensor(f"{at}head.attention.in_proj_weight", (3 * h, h), "other")
        yield ExpectedTensor(f"{at}head.attention.in_proj_bias", (3 * h,), "other")
        yield from linear(f"{at}head.attention.out_proj", h, h, "other", bias=True)
        yield from norm(f"{at}head.layernorm", h, ln=True)
        yield from mlp2(f"{at}head.mlp.", ("fc1", "fc2"), (h, i, h))


def clip(v: Part, at: str) -> Tensors:
    """CLIP: a class token beside the patches, norms before and after."""
    h, p = v.n("hidden_size"), v.n("patch_size")
    yield ExpectedTensor(f"{at}embeddings.class_embedding", (h,), "embedding")
    yield from patches(f"{at}embeddings.patch_embedding", h, p, p, channels=v.n("num_channels"), bias=False)
    yield from table(f"{at}embeddings.position_embedding.weight", _grid(v) + 1, h)
    yield from norm(f"{at}pre_layrnorm", h, ln=True)
    yield from encoder_layers(
        f"{at}encoder.layers.", v.depth("num_hidden_layers"), Encoder(h, v.n("intermediate_size"))
    )
    yield from norm(f"{at}post_layernorm", h, ln=True)


def pixtral(v: Part, at: str) -> Tensors:
    """Pixtral: RMS norms, a gated MLP, no biases, rotary positions."""
    h, p = v.n("hidden_size"), v.n("patch_size")
    yield from patches(f"{at}patch_conv", h, p, p, channels=v.n("num_channels"), bias=False)
    yield from norm(f"{at}ln_pre", h)
    layer = Encoder(h, v.n("intermediate_size"), qkv_bias=False, o_bias=False, mlp_bias=False, gated=True, rms=True)
    yield from encoder_layers(f"{at}transformer.layers.", v.depth("num_hidden_layers"), layer)


_BY_TYPE: Final = {
    "siglip_vision_model": (SIGLIP, siglip),
    "siglip": (SIGLIP, siglip),
    "clip_vision_model": (CLIP, clip),
    "clip": (CLIP, clip),
    "pixtral": (PIXTRAL, pixtral),
}


# What llava and mistral3 build where the file has no vision_config (configuration_llava.py, configuration_mistral3.py).
_LLAVA: Final = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "patch_size": 14,
                 "image_size": 336, "num_channels": 3}  # fmt: skip


def named_tower(w: Wrapper, at: str, fallback: str) -> tuple[Tensors, Part]:
    """The tower of whichever type the nested config names, under `at`. Raises MissingKey for one without a rule."""
    own: Any = w.given.get("vision_config")
    kind = str(own.get("model_type") or fallback) if hasattr(own, "get") else fallback
    if kind not in _BY_TYPE:
        raise MissingKey(f"vision_config is a {kind}")
    defaults, build = _BY_TYPE[kind]
    v = w.part("vision_config", defaults if w.has("vision_config") else _LLAVA)
    return build(v, at), v


def gemma3(w: Wrapper) -> Tensors:
    """SigLIP, a norm and one matrix without a name of its own (modeling_gemma3.py)."""
    v = w.part("vision_config", SIGLIP)
    yield from siglip(v, "vision_tower.vision_model.")
    yield ExpectedTensor("multi_modal_projector.mm_input_projection_weight", (v.n("hidden_size"), w.hidden), "other")
    yield from norm("multi_modal_projector.mm_soft_emb_norm", v.n("hidden_size"))


def paligemma(w: Wrapper) -> Tensors:
    """SigLIP and one projection; vision_use_head is off in published files (modeling_paligemma.py)."""
    v = w.part("vision_config", {**SIGLIP, "projection_dim": w.hidden})
    yield from siglip(v, "vision_tower.vision_model.")
    yield from linear("multi_modal_projector.linear", w.hidden, v.n("hidden_size"), "mlp", bias=True)


def _features(w: Wrapper) -> int:
    """How many of the tower's layers are joined."""
    value = w.get("vision_feature_layer")
    return len(value) if isinstance(value, list | tuple) and value else 1


def llava(w: Wrapper) -> Tensors:
    """Any tower and two projections (modeling_llava.py, llava_next, llava_onevision, vipllava without its norm)."""
    tensors, v = named_tower(w, "vision_tower.", "clip_vision_model")
    yield from tensors
    bias = w.get("multimodal_projector_bias") is not False
    widths = (v.n("hidden_size") * _features(w), w.hidden, w.hidden)
    yield from mlp2("multi_modal_projector.", ("linear_1", "linear_2"), widths, bias=bias)


def llava_next(w: Wrapper) -> Tensors:
    """Llava, and a vector that ends a row of an image."""
    yield from llava(w)
    yield ExpectedTensor("image_newline", (w.hidden,), "other")


def mistral3(w: Wrapper) -> Tensors:
    """Pixtral, patches merged by two, two projections (modeling_mistral3.py)."""
    tensors, v = named_tower(w, "vision_tower.", "pixtral")
    yield from tensors
    h, merge = v.n("hidden_size"), w.n("spatial_merge_size")
    at = "multi_modal_projector."
    yield from norm(f"{at}norm", h)
    yield from linear(f"{at}patch_merger.merging_layer", h, h * merge * merge, "mlp")
    bias = w.flag("multimodal_projector_bias")
    yield from mlp2(at, ("linear_1", "linear_2"), (h * _features(w), w.hidden, w.hidden), bias=bias)


def _clip_patches(v: Part, at: str, hidden: int, *, bias: bool) -> Tensors:
    p, t = v.n("patch_size"), v.n("temporal_patch_size")
    yield from patches(f"{at}patch_embed.proj", hidden, t, p, p, channels=v.n("in_channels", "in_chans"), bias=bias)


def qwen2_vl(w: Wrapper) -> Tensors:
    """Patches over time, fused attention, a merger that joins two by two (modeling_qwen2_vl.py)."""
    v, at = w.part("vision_config", QWEN2), "visual."
    h = v.n("embed_dim")
    yield from _clip_patches(v, at, h, bias=False)
    layer = Encoder(h, int(h * v.real("mlp_ratio")), fused=True)
    yield from encoder_layers(f"{at}blocks.", v.depth("depth"), layer)
    merged = h * v.n("spatial_merge_size") ** 2
    yield from norm(f"{at}merger.ln_q", h, ln=True)
    yield from mlp2(f"{at}merger.", ("mlp.0", "mlp.2"), (merged, merged, v.n("hidden_size")))


def qwen25_tower(v: Part, at: str) -> Tensors:
    """The same with RMS norms and a gated MLP (modeling_qwen2_5_vl.py)."""
    h = v.n("hidden_size")
    yield from _clip_patches(v, at, h, bias=False)
    layer = Encoder(h, v.n("intermediate_size"), fused=True, gated=True, rms=True)
    yield from encoder_layers(f"{at}blocks.", v.depth("depth"), layer)
    merged = h * v.n("spatial_merge_size") ** 2
    yield from norm(f"{at}merger.ln_q", h)
    yield from mlp2(f"{at}merger.", ("mlp.0", "mlp.2"), (merged, merged, v.n("out_hidden_size")))


def qwen2_5_vl(w: Wrapper) -> Tensors:
    return qwen25_tower(w.part("vision_config", QWEN25), "visual.")


def qwen3_tower(v: Part, at: str) -> Tensors:
    """Learned positions, LayerNorms, and a merger more for each layer of the deep stack (modeling_qwen3_vl.py)."""
    h, out = v.n("hidden_size"), v.n("out_hidden_size")
    merged = h * v.n("spatial_merge_size") ** 2
    yield from _clip_patches(v, at, h, bias=True)
    yield from table(f"{at}pos_embed.weight", v.n("num_position_embeddings"), h)
    yield from encoder_layers(f"{at}blocks.", v.depth("depth"), Encoder(h, v.n("intermediate_size"), fused=True))
    yield from norm(f"{at}merger.norm", h, ln=True)
    yield from mlp2(f"{at}merger.", ("linear_fc1", "linear_fc2"), (merged, merged, out))
    for i in range(len(v.ints("deepstack_visual_indexes"))):
        yield from norm(f"{at}deepstack_merger_list.{i}.norm", merged, ln=True)
        yield from mlp2(f"{at}deepstack_merger_list.{i}.", ("linear_fc1", "linear_fc2"), (merged, merged, out))


def qwen3_vl(w: Wrapper) -> Tensors:
    return qwen3_tower(w.part("vision_config", QWEN3), "visual.")


def qwen3_5(w: Wrapper) -> Tensors:
    """Qwen3-VL's tower without a deep stack, whatever the file lists (modeling_qwen3_5.py)."""
    return qwen3_tower(w.part("vision_config", {**QWEN3, "deepstack_visual_indexes": ()}), "visual.")


def llama4(w: Wrapper) -> Tensors:
    """Patches as a plain projection, a pixel shuffle, one matrix to the text (modeling_llama4.py)."""
    v, at = w.part("vision_config", LLAMA4), "vision_model."
    h, i, p = v.n("hidden_size"), v.n("intermediate_size"), v.n("patch_size")
    yield from linear(f"{at}patch_embedding.linear", h, v.n("num_channels") * p * p, "embedding")
    yield ExpectedTensor(f"{at}class_embedding", (h,), "embedding")
    yield from table(f"{at}positional_embedding_vlm", _grid(v) + 1, h)
    yield from norm(f"{at}layernorm_pre", h, ln=True)
    yield from norm(f"{at}layernorm_post", h, ln=True)
    yield from encoder_layers(f"{at}model.layers.", v.depth("num_hidden_layers"), Encoder(h, i))
    inner, out = v.n("projector_input_dim"), v.n("projector_output_dim")
    yield from linear(f"{at}vision_adapter.mlp.fc1", inner, i, "mlp")
    yield from linear(f"{at}vision_adapter.mlp.fc2", out, out, "mlp")
    yield from linear("multi_modal_projector.linear_1", w.hidden, v.n("vision_output_dim"), "mlp")


def _moonvit(v: Part, at: str) -> Tensors:
    """MoonViT: a table of positions that is stretched to the image, fused attention, a last norm."""
    h = v.n("hidden_size", "vt_hidden_size")
    p = v.n("patch_size")
    yield from patches(f"{at}patch_embed.proj", h, p, p)
    yield from table(
        f"{at}patch_embed.pos_emb.weight",
        v.n("init_pos_emb_height", "pos_emb_height") * v.n("init_pos_emb_width", "pos_emb_width"),
        h,
    )
    layer = Encoder(h, v.n("intermediate_size", "vt_intermediate_size"), fused=True)
    yield from encoder_layers(f"{at}encoder.blocks.", v.depth("num_hidden_layers", "vt_num_hidden_layers"), layer)
    yield from norm(f"{at}encoder.final_layernorm", h, ln=True)


def _merged(v: Part) -> int:
    n = v.n("hidden_size", "vt_hidden_size")
    for side in v.ints("merge_kernel_size"):
        n *= side
    return n


def kimi_k25(w: Wrapper) -> Tensors:
    """MoonViT, and a projector that norms each patch before it joins them (modeling_kimi_k25.py, kimi_vl)."""
    v = w.part("vision_config", MOONVIT)
    if str(v.get("projector_type") or v.get("mm_projector_type") or "patchmerger") != "patchmerger":
        raise MissingKey(f"vision_config has a projector {v.get('mm_projector_type')!r:.40}")
    yield from _moonvit(v, "vision_tower.")
    yield from norm("mm_projector.pre_norm", v.n("hidden_size", "vt_hidden_size"), ln=True)
    yield from mlp2("mm_projector.", ("proj.0", "proj.2"), (_merged(v), _merged(v), w.hidden))


def locateanything(w: Wrapper) -> Tensors:
    """MoonViT and LLaVA's projector over merged patches (its own modeling_locateanything.py)."""
    v = w.part("vision_config", MOONVIT)
    yield from _moonvit(v, "vision_model.")
    yield from norm("mlp1.0", _merged(v), ln=True)
    yield from mlp2("", ("mlp1.1", "mlp1.3"), (_merged(v), w.hidden, w.hidden))


def _intern_layers(v: Part, at: str, *, fused: bool, qkv_bias: bool) -> Tensors:
    h = v.n("hidden_size")
    normed = h if v.flag("use_qk_norm") or v.flag("qk_normalization") else 0
    layer = Encoder(h, v.n("intermediate_size"), fused=fused, qkv_bias=qkv_bias, head_norm=normed, scales=2,
                    rms=v.get("norm_type") == "rms_norm")  # fmt: skip
    yield from encoder_layers(at, v.depth("num_hidden_layers"), layer)


def _intern_projector(v: Part, w: Wrapper, at: str, names: tuple[str, str, str]) -> Tensors:
    shuffled = v.n("hidden_size") * int(1 / w.real("downsample_ratio")) ** 2
    yield from norm(at + names[0], shuffled, ln=True)
    yield from mlp2(at, names[1:], (shuffled, w.hidden, w.hidden))


def internvl(w: Wrapper) -> Tensors:
    """InternViT as transformers has it: q, k and v apart (modeling_internvl.py)."""
    v, at = w.part("vision_config", INTERN), "vision_tower."
    h, p = v.n("hidden_size"), v.n("patch_size")
    yield ExpectedTensor(f"{at}embeddings.cls_token", (1, 1, h), "embedding")
    if v.flag("use_mask_token"):
        yield ExpectedTensor(f"{at}embeddings.mask_token", (1, 1, h), "embedding")
    yield from patches(f"{at}embeddings.patch_embeddings.projection", h, p, p, channels=v.n("num_channels"))
    if v.flag("use_absolute_position_embeddings"):
        yield from table(f"{at}embeddings.position_embeddings", _grid(v) + 1, h)
    yield from _intern_layers(v, f"{at}encoder.layer.", fused=False, qkv_bias=v.flag("attention_bias"))
    if not v.flag("use_mean_pooling"):
        yield from norm(f"{at}layernorm", h, ln=True)
    yield from _intern_projector(v, w, "multi_modal_projector.", ("layer_norm", "linear_1", "linear_2"))


def internvl_chat(w: Wrapper) -> Tensors:
    """InternViT as its own files have it: fused attention (modeling_intern_vit.py)."""
    v, at = w.part("vision_config", INTERN), "vision_model."
    h, p = v.n("hidden_size"), v.n("patch_size")
    yield ExpectedTensor(f"{at}embeddings.class_embedding", (1, 1, h), "embedding")
    yield from patches(f"{at}embeddings.patch_embedding", h, p, p, channels=v.n("num_channels"))
    yield from table(f"{at}embeddings.position_embedding", _grid(v) + 1, h)
    yield from _intern_layers(v, f"{at}encoder.layers.", fused=True, qkv_bias=v.flag("qkv_bias"))
    yield from _intern_projector(v, w, "", ("mlp1.0", "mlp1.1", "mlp1.3"))


def mllama(w: Wrapper) -> Tensors:
    """A local and a gated global encoder, positions of tiles, one projection of six layers (modeling_mllama.py)."""
    v, at = w.part("vision_config", MLLAMA), "vision_model."
    h, p, tiles = v.n("hidden_size"), v.n("patch_size"), v.n("max_num_tiles")
    ratios = v.get("supported_aspect_ratios")
    listed = len(ratios) if isinstance(ratios, list | tuple) else sum(tiles // i for i in range(1, tiles + 1))
    yield from patches(f"{at}patch_embedding", h, p, p, channels=v.n("num_channels"), bias=False)
    yield ExpectedTensor(f"{at}class_embedding", (h,), "embedding")
    yield from table(f"{at}gated_positional_embedding.embedding", _grid(v) + 1, h)
    rows = tiles * (_grid(v) + 1) * h
    yield from table(f"{at}gated_positional_embedding.tile_embedding.weight", listed + 1, rows)
    for name in ("pre_tile_positional_embedding", "post_tile_positional_embedding"):
        yield from table(f"{at}{name}.embedding.weight", listed + 1, tiles * h)
        yield ExpectedTensor(f"{at}{name}.gate", (1,), "other")
    yield ExpectedTensor(f"{at}gated_positional_embedding.gate", (1,), "other")
    for name in ("layernorm_pre", "layernorm_post"):
        yield from norm(at + name, h, ln=True)
    layer = Encoder(h, v.n("intermediate_size"), qkv_bias=False, o_bias=False)
    yield from encoder_layers(f"{at}transformer.layers.", v.depth("num_hidden_layers"), layer)
    n_global = v.depth("num_global_layers")
    yield from encoder_layers(f"{at}global_transformer.layers.", n_global, layer)
    for i in range(n_global):
        yield ExpectedTensor(f"{at}global_transformer.layers.{i}.gate_attn", (1,), "other")
        yield ExpectedTensor(f"{at}global_transformer.layers.{i}.gate_ffn", (1,), "other")
    joined = h * (1 + len(v.ints("intermediate_layers_indices")))
    yield from linear("multi_modal_projector", w.hidden, joined, "mlp", bias=True)


def step3p7(w: Wrapper) -> Tensors:
    """A ViT with scaled branches, and two convolutions that halve the picture (modeling_step3p7.py)."""
    v, at = w.part("vision_config", STEP), "vision_model."
    h, p = v.n("hidden_size", "width"), v.n("patch_size")
    width = int(h * v.real("mlp_ratio"))
    yield from patches(f"{at}embeddings.patch_embedding", h, p, p, channels=v.n("num_channels"), bias=False)
    yield from table(f"{at}embeddings.position_embedding.weight", _grid(v), h)
    yield from norm(f"{at}pre_layernorm", h, ln=True)
    yield from encoder_layers(f"{at}layers.", v.depth("num_hidden_layers", "layers"), Encoder(h, width, scales=2))
    yield from patches(f"{at}downsampler1", 2 * h, 3, 3, channels=h)
    yield from patches(f"{at}downsampler2", 4 * h, 3, 3, channels=2 * h)
    yield from linear("multi_modal_projector", w.hidden, 4 * h, "mlp", bias=w.flag("projector_bias"))


def minimax_m3(w: Wrapper) -> Tensors:
    """A ViT over clips; two projections a patch, two more of merged ones (modeling_minimax_m3_vl.py)."""
    v, at = w.part("vision_config", MINIMAX), "vision_tower."
    h, p = v.n("hidden_size"), v.n("patch_size")
    kernel = (v.n("temporal_patch_size"), p, p)
    yield from patches(f"{at}embeddings.proj", h, *kernel, channels=v.n("num_channels"), bias=False)
    yield from norm(f"{at}pre_layrnorm", h, ln=True)
    yield from encoder_layers(f"{at}layers.", v.depth("num_hidden_layers"), Encoder(h, v.n("intermediate_size")))
    inner = w.n("projector_hidden_size")
    merged = w.hidden * v.n("spatial_merge_size") ** 2
    at = "multi_modal_projector."
    yield from mlp2(at, ("linear_1", "linear_2"), (h, inner, w.hidden))
    yield from mlp2(at, ("merge_linear_1", "merge_linear_2"), (merged, inner, w.hidden))


def gemma4_vision(w: Wrapper) -> Tensors:
    """Gemma's own tower: four norms a layer, normed heads, positions of rows and columns (modeling_gemma4.py)."""
    v, at = w.part("vision_config", GEMMA4), "vision_tower."
    h, p, dim = v.n("hidden_size"), v.n("patch_size"), v.n("head_dim")
    if v.n("num_key_value_heads") != v.n("num_attention_heads"):
        raise MissingKey("vision_config has fewer key-value heads than heads")
    yield from linear(f"{at}patch_embedder.input_proj", h, 3 * p * p, "embedding")
    yield ExpectedTensor(
        f"{at}patch_embedder.position_embedding_table", (2, v.n("position_embedding_size"), h), "embedding"
    )
    layer = Encoder(h, v.n("intermediate_size"), qkv_bias=False, o_bias=False, mlp_bias=False, gated=True, rms=True,
                    norms=4, head_norm=dim, attention_width=dim * v.n("num_attention_heads"))  # fmt: skip
    yield from encoder_layers(f"{at}encoder.layers.", v.depth("num_hidden_layers"), layer)
    yield from linear("embed_vision.embedding_projection", w.hidden, h, "mlp")


BUILDERS: Final[Mapping[str, Any]] = {
    "gemma3": gemma3,
    "paligemma": paligemma,
    "llava": llava,
    "llava_next": llava_next,
    "llava_next_video": llava_next,
    "llava_onevision": llava_next,
    "mistral3": mistral3,
    "pixtral": llava,
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "qwen3_vl_moe": qwen3_vl,
    "qwen3_5": qwen3_5,
    "qwen3_5_moe": qwen3_5,
    "llama4": llama4,
    "kimi_k25": kimi_k25,
    "kimi_vl": kimi_k25,
    "locateanything": locateanything,
    "internvl": internvl,
    "internvl_chat": internvl_chat,
    "mllama": mllama,
    "step3p7": step3p7,
    "minimax_m3_vl": minimax_m3,
}
