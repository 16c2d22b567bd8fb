"""Writes fixtures/hf_measured.jsonl: what transformers builds and caches for models of many types.

Needs `transformers` (5.24.0) and torch. Models stand on the meta device (those whose forward pass looks at values, on
the CPU, up to 8 GB), 17 tokens are prefilled, and what the cache then holds is written down.

    python scripts/measure_hf_models.py configs.jsonl fixtures/hf_measured.jsonl

`configs.jsonl`: one {"name", "config"} a line; a config needs a model_type, the class fills in the rest. "auto" names
the class that builds it, where that is not AutoModelForCausalLM; "parameters_alone": true leaves the cache out, as the
rows do whose caches hold more than keys, values and states, or less than the whole model's.
"""

# mypy: ignore-errors
# (transformers and torch are not in the development environment)

from __future__ import annotations

import json
import math
import sys

import torch
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

N_TOKENS = 17
MOST_ON_CPU = 4_000_000_000  # parameters that are allocated for a model that does not run without data


def kept(layer: object) -> list:
    """One cache layer: elements a token of keys and values, of indexer keys, and elements of states."""
    out = []
    keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
    if keys is not None:
        width = keys.shape[1] * keys.shape[3] + values.shape[1] * values.shape[3]
        out.append(["kv", width, getattr(layer, "sliding_window", None)])
    if (indexer := getattr(layer, "indexer_keys", None)) is not None:
        out.append(["idx", indexer.shape[-1]])
    conv = [t for t in (getattr(layer, "conv_states", None) or {}).values() if t is not None]
    matrix = [t for t in (getattr(layer, "recurrent_states", None) or {}).values() if t is not None]
    if conv or matrix:
        out.append(["state", sum(t.numel() for t in conv), sum(math.prod(t.shape[1:]) for t in matrix)])
    return out


def made(asked: dict, device: str) -> tuple[dict, torch.nn.Module]:
    """A row with parameters alone, and the model that has them."""
    config = asked["config"]
    row = {**asked, "transformers": transformers.__version__}
    keys = {k: v for k, v in config.items() if k != "model_type"}
    filled = CONFIG_MAPPING[config["model_type"]](**keys)
    auto = getattr(transformers, asked.get("auto", "AutoModelForCausalLM"))
    with torch.device(device):
        model = auto.from_config(filled, dtype=torch.bfloat16).eval()
    return {**row, "n_params": sum(p.numel() for p in model.parameters())}, model


def layers_of(model: torch.nn.Module, device: str, *, whole: bool) -> dict:
    """What a prefill leaves in the cache, alike layers once; {} where it leaves none. `whole`: an encoder too."""
    ids = torch.zeros((1, N_TOKENS), dtype=torch.long, device=device)
    more = {"decoder_input_ids": ids} if whole else {}
    with torch.no_grad():
        cache = getattr(model(input_ids=ids, use_cache=True, **more), "past_key_values", None)
    runs: list = []
    for layer in getattr(cache, "layers", []):
        found = kept(layer)
        if runs and runs[-1][1] == found:
            runs[-1][0] += 1
        else:
            runs.append([1, found])
    return {"layers": runs} if runs else {}


def measure(asked: dict) -> dict:
    """A row; of a model that cannot be run, or where that is asked for, its parameters alone."""
    alone = asked.pop("parameters_alone", False)
    try:
        row, model = made(asked, "meta")
    except Exception as e:
        return {**asked, "error": repr(e)[:200]}
    for device in () if alone else ("meta", "cpu"):
        if device == "cpu":
            if row["n_params"] > MOST_ON_CPU:
                break
            _, model = made(asked, device)
        try:
            return {**row, **layers_of(model, device, whole="auto" in asked)}
        except Exception as e:
            print(f"{asked['name']} on {device}: {e!r}", file=sys.stderr)
    return row


def main() -> None:
    source, target = sys.argv[1:]
    with open(source, encoding="utf-8") as f, open(target, "w", encoding="utf-8") as out:
        out.writelines(json.dumps(measure(json.loads(line)), separators=(",", ":")) + "\n" for line in f)


main()
