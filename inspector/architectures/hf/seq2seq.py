"""Encoder-decoders: the decoder's own cache, and the encoder's keys and values. One record a model type."""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.hf.record import ModelType, named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final


MODEL_TYPES: Final[Mapping[str, ModelType]] = MappingProxyType(
    {
        **named("t5 mt5 umt5 longt5 switch_transformers", ModelType(seq2seq=("num_decoder_layers", "num_heads"))),
        **named(
            "bart mbart blenderbot blenderbot-small pegasus pegasus_x bigbird_pegasus led m2m_100 marian "
            "plbart nllb-moe whisper fsmt seamless_m4t seamless_m4t_v2 speech_to_text",
            ModelType(seq2seq=("decoder_layers", "decoder_attention_heads")),
        ),
        "mvp": ModelType(seq2seq=("decoder_layers", "decoder_attention_heads"), eager=True),
        "prophetnet": ModelType(seq2seq=("num_decoder_layers", "num_decoder_attention_heads"), eager=True),
    }
)
