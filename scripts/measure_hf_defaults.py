"""Writes inspector/architectures/hf_defaults.json: what transformers' configuration classes assume for an absent key.

Needs `transformers` (5.24.0) and torch. Published config.json files leave out what equals the class default, so a
reader must know them. Only keys that decide sizes are kept; values are the fields' own defaults, never those that a
class derives from other fields (head_dim from hidden_size): rules derive those.

    python scripts/measure_hf_defaults.py inspector/architectures/hf_defaults.json
"""

# mypy: ignore-errors
# (transformers and torch are not in the development environment)

from __future__ import annotations

import dataclasses
import json
import re
import sys

# dropout rates, initialisers, token ids, activation names …: nothing that a size depends on
_NOT_SIZES = re.compile(
    r"drop|eps|init|token|_act|act_|activation|^rope|rope_theta|rope_scal|rotary|router_(?!type)|use_cache|jitter|time_step_(?!rank)|scale|scaling|loss|"
    r"softcap|multiplier|norm_topk|summary|gradient|_std|^output_|noise|^beam_|num_beam|lang|mask_|temperature|pretraining|mamba_kernels|"
    r"layerdrop|clip|problem|classifier|label|decay|n_ctx$|rel_|lambda|chunk_size_feed|img|image|audio|speech|video|vision"
)
_TEXT = re.compile(
    r"vision|audio|image|video|speech|codec|detr|clip|vit|resnet|swin|depth|segment|wav2vec|hubert|encodec|sam"
)


def main() -> None:
    from transformers import PreTrainedConfig
    from transformers.models.auto import modeling_auto as auto
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING, CONFIG_MAPPING_NAMES

    wanted = {
        *auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        *auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
        *auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        *auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
        *auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES,
        *(name for name in CONFIG_MAPPING_NAMES if not _TEXT.search(name)),
    }
    common = {f.name for f in dataclasses.fields(PreTrainedConfig)} - {"tie_word_embeddings", "is_encoder_decoder"}
    table: dict[str, dict[str, object]] = {}
    for name in sorted(wanted & set(CONFIG_MAPPING_NAMES)):
        cls = CONFIG_MAPPING[name]
        row = {
            f.name: f.default
            for f in dataclasses.fields(cls)
            if f.name not in common
            and not _NOT_SIZES.search(f.name)
            and isinstance(f.default, int | str)
            and f.default is not dataclasses.MISSING
            and not (f.name == "is_encoder_decoder" and not f.default)
        }
        text = getattr((cls.sub_configs or {}).get("text_config"), "model_type", None)
        if text:
            row["text_config"] = text
        table[name] = row
    lines = (f" {json.dumps(n)}: {json.dumps(r, separators=(',', ':'))}" for n, r in table.items())
    with open(sys.argv[1], "w", encoding="utf-8") as f:
        f.write("{\n" + ",\n".join(lines) + "\n}\n")


main()
