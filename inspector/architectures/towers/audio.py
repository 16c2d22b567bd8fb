"""Audio towers: Whisper's encoder and its kin, Gemma's conformer (transformers 5.24.0 models/*/modeling_*.py)."""

from __future__ import annotations

from inspector.architectures.hf.record import ExpectedTensor
from inspector.architectures.hf_blocks import linear, norm
from inspector.architectures.towers.blocks import Encoder, encoder_layers, mlp2, table
from inspector.architectures.towers.vision import QWEN3, QWEN25, gemma4_vision, qwen3_tower, qwen25_tower

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from inspector.architectures.towers.blocks import Tensors
    from inspector.architectures.towers.part import Part, Wrapper

WHISPER: Final = {"num_mel_bins": 128, "encoder_layers": 32, "encoder_ffn_dim": 5120, "d_model": 1280,
                  "max_source_positions": 1500}  # fmt: skip
VOXTRAL: Final = {"num_mel_bins": 128, "num_hidden_layers": 32, "intermediate_size": 5120, "hidden_size": 1280,
                  "max_source_positions": 1500}  # fmt: skip
OMNI: Final = {**WHISPER, "output_dim": 3584, "downsample_hidden_size": 480}
GEMMA4: Final = {"hidden_size": 1024, "num_hidden_layers": 12, "num_attention_heads": 8, "conv_kernel_size": 5,
                 "subsampling_conv_channels": (128, 32), "output_proj_dims": 1536}  # fmt: skip


def conv1d(name: str, out: int, inner: int, kernel: int) -> Tensors:
    """A convolution over time with a bias."""
    yield ExpectedTensor(f"{name}.weight", (out, inner, kernel), "other")
    yield ExpectedTensor(f"{name}.bias", (out,), "other")


def _whisper_layers(a: Part, at: str, hidden: int) -> Tensors:
    layer = Encoder(hidden, a.n("encoder_ffn_dim", "intermediate_size"), k_bias=False)
    yield from encoder_layers(f"{at}layers.", a.depth("encoder_layers", "num_hidden_layers"), layer)


def whisper_encoder(a: Part, at: str, *, positions: bool = True) -> Tensors:
    """Two convolutions, positions, ViT-like layers whose keys have no bias, a last norm."""
    h = a.n("d_model", "hidden_size")
    yield from conv1d(f"{at}conv1", h, a.n("num_mel_bins"), 3)
    yield from conv1d(f"{at}conv2", h, h, 3)
    if positions:
        yield from table(f"{at}embed_positions.weight", a.n("max_source_positions"), h)
    yield from _whisper_layers(a, at, h)
    yield from norm(f"{at}layer_norm", h, ln=True)


def qwen2_audio(w: Wrapper) -> Tensors:
    a = w.part("audio_config", WHISPER)
    yield from whisper_encoder(a, "audio_tower.")
    yield from linear("multi_modal_projector.linear", w.hidden, a.n("d_model"), "mlp", bias=True)


def voxtral(w: Wrapper) -> Tensors:
    a = w.part("audio_config", VOXTRAL)
    given = _as_whisper(a)
    yield from whisper_encoder(given, "audio_tower.")
    widths = (a.n("intermediate_size"), w.hidden, w.hidden)
    yield from mlp2("multi_modal_projector.", ("linear_1", "linear_2"), widths, bias=False)


def _as_whisper(a: Part) -> Part:
    """Whisper's sizes under the plain names that Voxtral's config has for them."""
    from inspector.architectures.towers.part import Part

    sizes = {
        "d_model": a.n("hidden_size"),
        "encoder_ffn_dim": a.n("intermediate_size"),
        "encoder_layers": a.n("num_hidden_layers"),
        "num_mel_bins": a.n("num_mel_bins"),
        "max_source_positions": a.n("max_source_positions"),
    }
    return Part(a.name, sizes, {})


def qwen2_5_omni(w: Wrapper) -> Tensors:
    """The thinker's two towers; sines for positions, and two learned ends of a sound."""
    a, at = w.part("audio_config", OMNI), "audio_tower."
    h, out = a.n("d_model"), a.n("output_dim")
    yield from whisper_encoder(a, at, positions=False)
    yield from table(f"{at}audio_bos_eos_token.weight", 2, out)
    yield from linear(f"{at}proj", out, h, "mlp", bias=True)
    yield from qwen25_tower(w.part("vision_config", QWEN25), "visual.")


def qwen3_omni(w: Wrapper) -> Tensors:
    """Three convolutions over the spectrogram, two projections, and Qwen3-VL's tower."""
    a, at = w.part("audio_config", OMNI), "audio_tower."
    h, down = a.n("d_model"), a.n("downsample_hidden_size")
    for i, inner in enumerate((1, down, down)):
        yield ExpectedTensor(f"{at}conv2d{i + 1}.weight", (down, inner, 3, 3), "other")
        yield ExpectedTensor(f"{at}conv2d{i + 1}.bias", (down,), "other")
    bins = a.n("num_mel_bins")
    for _ in range(3):
        bins = (bins + 1) // 2
    yield from linear(f"{at}conv_out", h, down * bins, "mlp")
    yield from encoder_layers(f"{at}layers.", a.depth("encoder_layers"), Encoder(h, a.n("encoder_ffn_dim")))
    yield from norm(f"{at}ln_post", h, ln=True)
    yield from mlp2(at, ("proj1", "proj2"), (h, h, a.n("output_dim")))
    yield from qwen3_tower(w.part("vision_config", QWEN3), "visual.")


def _conformer_layer(a: Part, at: str, h: int) -> Tensors:
    """Two half feed-forwards around attention with relative positions and a light convolution."""
    for name in ("feed_forward1", "feed_forward2"):
        yield from mlp2(f"{at}{name}.", ("ffw_layer_1", "ffw_layer_2"), (h, 4 * h, h), bias=False)
        for n in ("pre_layer_norm", "post_layer_norm"):
            yield from norm(f"{at}{name}.{n}", h)
    for name in ("q_proj", "k_proj", "v_proj", "post", "relative_k_proj"):
        yield from linear(f"{at}self_attn.{name}", h, h, "attention")
    yield ExpectedTensor(f"{at}self_attn.per_dim_scale", (h // a.n("num_attention_heads"),), "attention")
    yield from linear(f"{at}lconv1d.linear_start", 2 * h, h, "mlp")
    yield from linear(f"{at}lconv1d.linear_end", h, h, "mlp")
    yield ExpectedTensor(f"{at}lconv1d.depthwise_conv1d.weight", (h, 1, a.n("conv_kernel_size")), "other")
    for name in ("lconv1d.pre_layer_norm", "lconv1d.conv_norm", "norm_pre_attn", "norm_post_attn", "norm_out"):
        yield from norm(at + name, h)


def _gemma4_audio(w: Wrapper) -> Tensors:
    a, at = w.part("audio_config", GEMMA4), "audio_tower."
    h, (first, second), out = a.n("hidden_size"), a.ints("subsampling_conv_channels"), a.n("output_proj_dims")
    for i, (inner, width) in enumerate(((1, first), (first, second))):
        yield ExpectedTensor(f"{at}subsample_conv_projection.layer{i}.conv.weight", (width, inner, 3, 3), "other")
        yield from norm(f"{at}subsample_conv_projection.layer{i}.norm", width)
    yield from linear(f"{at}subsample_conv_projection.input_proj_linear", h, first // 4 * second, "mlp")
    for i in range(a.depth("num_hidden_layers")):
        yield from _conformer_layer(a, f"{at}layers.{i}.", h)
    yield from linear(f"{at}output_proj", out, h, "mlp", bias=True)
    yield from linear("embed_audio.embedding_projection", w.hidden, out, "mlp")


def gemma4(w: Wrapper) -> Tensors:
    """The towers that the file has a config for: vision, audio, either or both."""
    if w.has("vision_config"):
        yield from gemma4_vision(w)
    if w.has("audio_config"):
        yield from _gemma4_audio(w)


BUILDERS: Final[Mapping[str, Any]] = {
    "qwen2_audio": qwen2_audio,
    "voxtral": voxtral,
    "qwen2_5_omni_thinker": qwen2_5_omni,
    "qwen3_omni_moe_thinker": qwen3_omni,
    "gemma4": gemma4,
}
