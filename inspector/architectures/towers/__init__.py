"""What a multimodal config builds beside its language model: towers that see or hear, and what joins them to it.

`counted` answers from the config alone. To add a tower: its function in vision.py, audio.py or files.py, and the outer
model_type in that module's `BUILDERS`.
"""

from __future__ import annotations

from inspector.architectures.hf_tensors import checked
from inspector.errors import FactsError
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final

    from inspector.architectures.hf.record import ExpectedTensor
    from inspector.architectures.hf_config import HfConfig
    from inspector.architectures.towers.part import Wrapper

    Builder = Callable[[Wrapper], Iterator[ExpectedTensor]]

# Keys that say that something besides a language model is there, in configs whose type has no rule here.
_TOWER_KEYS: Final = (
    "vision_config", "audio_config", "visual", "vision_tower", "mm_vision_tower", "vision_encoder", "vision_model",
    "encoder_config", "audio_encoder_config", "audio_processor", "sound_config", "speech_config", "vit_config",
    "siglip_config", "image_tower", "vision_cfg", "vit_path", "sam_config", "projector_config", "perceiver_config",
    "video_config", "vision_tower_cfg", "embd_layer", "img_processor", "vq_config", "talker_config", "token2wav_config",
    "thinker_config",
)  # fmt: skip
# What the outer classes assume (configuration_internvl.py, configuration_mistral3.py, configuration_minimax_m3_vl.py).
_DEFAULTS: Final = {
    "downsample_ratio": 0.5,
    "spatial_merge_size": 2,
    "projector_hidden_size": 6144,
    "scale_factor": 2,
    "downsample_factor": 2,
    "alignment_intermediate_size": 36864,
}
# More tensors than any tower has; a config that promises more is not answered.
MAX_TENSORS: Final = 40_000


class Towers(Record):
    """The tensors of what is not the language model, and the parts that could not be counted (with the reason)."""

    tensors: tuple[ExpectedTensor, ...] = ()
    unknown: tuple[str, ...] = ()


def builder_of(outer_type: str) -> Builder | None:
    """What lays out the towers of a model type; None where nothing here does."""
    from inspector.architectures.towers import audio, files, more, vision

    found: Builder | None = next((b for m in (vision, audio, files, more) if (b := m.BUILDERS.get(outer_type))), None)
    return found


def counted(k: HfConfig) -> Towers:
    """The towers of a config. Sizes that it does not give make their tower unknown, never nothing."""
    from inspector.architectures.towers.part import Wrapper

    build = builder_of(k.outer_type)
    if build is None:
        return Towers(unknown=_unread(k))
    found: list[ExpectedTensor] = []
    try:
        for t in build(Wrapper(k, _DEFAULTS)):
            found.append(checked(t))
            if len(found) > MAX_TENSORS:
                return Towers(unknown=(f"towers of more than {MAX_TENSORS:,} tensors",))
    except (FactsError, ArithmeticError, TypeError, ValueError) as e:
        return Towers(unknown=(str(e) if isinstance(e, FactsError) else f"the sizes of {k.outer_type}'s towers",))
    return Towers(tuple(found))


def _unread(k: HfConfig) -> tuple[str, ...]:
    """Keys of the outer config that mean a tower: by their names, or configs of models that are not read here."""
    named = [key for key in _TOWER_KEYS if key in k.outer and _says(k.outer[key])]
    text = k.prefix.partition(".")[0]
    nested = (key for key, value in k.outer.items() if key not in (text, *named) and _is_model(value))
    return (*named, *(str(key)[:60] for key in nested))


def _is_model(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("model_type"), str)


def _says(value: object) -> bool:
    return value not in (None, False, 0, "") and not (isinstance(value, list | tuple | dict) and not value)
