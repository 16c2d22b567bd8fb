"""Prints rows of fixtures/params_towers.jsonl: parameters of transformers' classes on the meta device.

    python scripts/measure_params.py config.json...

Needs transformers 5.24.0 and torch. Tied tensors count once; buffers do not count.
"""

# mypy: ignore-errors
# (transformers and torch are not in the development environment)

from __future__ import annotations

import json
import sys
from typing import Any

MAPPINGS = (
    "MODEL_FOR_MULTIMODAL_LM_MAPPING",
    "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING",
    "MODEL_FOR_CAUSAL_LM_MAPPING",
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING",
    "MODEL_MAPPING",
)


def class_of(config: dict[str, Any], built: object) -> type:
    """The class that the config names, else the one that transformers takes for its type."""
    import transformers
    from transformers.models.auto import modeling_auto

    named = getattr(transformers, (config.get("architectures") or [""])[0], None)
    if named is not None:
        return named
    mappings = (getattr(modeling_auto, m, {}) for m in MAPPINGS)
    found = next(m[type(built)] for m in mappings if type(built) in m)
    return found[0] if isinstance(found, tuple) else found


def row(config: dict[str, Any]) -> dict[str, Any]:
    """One row: the class, the config, and how many parameters there are."""
    import torch
    from transformers import CONFIG_MAPPING

    built = CONFIG_MAPPING[config["model_type"]].from_dict(json.loads(json.dumps(config)))
    cls = class_of(config, built)
    with torch.device("meta"):
        model = cls._from_config(built, attn_implementation="eager")
    model.tie_weights()
    n = sum(p.numel() for p in {id(p): p for p in model.parameters()}.values())
    return {"engine": "transformers 5.24.0", "class": cls.__name__, "config": config, "n_params": n}


if __name__ == "__main__":
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as f:
            print(json.dumps(row(json.load(f))))
