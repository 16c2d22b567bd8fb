# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201
# torch and transformers are not installed where the checks run, and give no types.
"""Asks transformers again for rows of transformers.jsonl.gz and params.jsonl: rows on stdin, the same rows on stdout.

    python scripts/measure_caches.py < rows.jsonl

Caches (kinds cache_real, cache_static), prefill peaks (act_real_meta, act_cpu) and parameter counts (rows without a
kind), of the configs in fixtures/configs. What a row lists beside its peak (`top`, `alloc_peak_bytes`, `end_live`) is
not asked again. Needs torch 2.13.0 and transformers 5.24.0.
"""

from __future__ import annotations

import json
import sys
from functools import lru_cache
from pathlib import Path

import measure_transformers as meta
import torch
import transformers
from torch.utils._pytree import tree_flatten
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, flash_attention_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

CONFIGS = Path(__file__).resolve().parent.parent / "fixtures" / "configs"
SHOWN = 8  # runs of layers that a row lists


@lru_cache(maxsize=2)
def model_of(name, attn, dtype, device):
    """A model of a config, its weights nowhere (meta) or zero."""
    config = json.loads((CONFIGS / f"{name}.json").read_text())
    settings = {k: v for k, v in config.items() if k not in {"model_type", "quantization_config"}}
    made = AutoConfig.for_model(config["model_type"], **settings)
    more = {"attn_implementation": attn} if attn else {}
    with torch.device(device):
        return AutoModelForCausalLM.from_config(made, dtype=getattr(torch, dtype), **more).eval()


def tensors_of(layer):
    """Named tensors of one cache layer, in the order that they are written down."""
    found = {}
    for name in ("keys", "values", "conv_states", "recurrent_states"):
        value = getattr(layer, name, None)
        if isinstance(value, dict):
            value = next((t for t in value.values() if t is not None), None)
        if isinstance(value, torch.Tensor) and value.numel():
            found[name] = value
    return found


def shape_of(layer):
    """A layer's class, and shape and type of each of its tensors."""
    out = {"cls": type(layer).__name__}
    for name, tensor in tensors_of(layer).items():
        out[name] = list(tensor.shape)
        out[f"{name}_dt"] = str(tensor.dtype).removeprefix("torch.")
    return out


def sizes(cache):
    """(bytes of the tensors, bytes of their storages)."""
    logical, storages = 0, {}
    for layer in getattr(cache, "layers", ()):
        for tensor in tree_flatten(vars(layer))[0]:
            if isinstance(tensor, torch.Tensor) and tensor.numel() > 1:
                logical += tensor.numel() * tensor.element_size()
                storages[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()  # noqa: SLF001
    return logical, sum(storages.values())


def runs(layers):
    """Layers that are alike and follow one another, counted."""
    out = []
    for layer in map(shape_of, layers):
        if out and out[-1][1] == layer:
            out[-1][0] += 1
        else:
            out.append([1, layer])
    return [*out[:SHOWN], [-1, {"more_runs": len(out) - SHOWN}]] if len(out) > SHOWN else out


def cache_row(row):
    """What the cache holds after a prefill, and after one token more."""
    model = model_of(row["name"], None, row["dtype"], row["device"])
    ids = torch.zeros(row["batch"], row["prefill"], dtype=torch.long, device=row["device"])
    out = {k: row[k] for k in ("kind", "name", "model_type", "dtype", "batch", "prefill", "device")}
    out["transformers"] = transformers.__version__
    with torch.no_grad():
        try:
            cache = model(input_ids=ids, use_cache=True, logits_to_keep=1).past_key_values
        except RuntimeError as error:
            return out | {"error": repr(error)}
        logical, storage = sizes(cache)
        out |= {"cache_bytes_logical": logical, "cache_bytes_storage": storage, "layers": runs(cache.layers)}
        cache = model(input_ids=ids[:, :1], use_cache=True, past_key_values=cache).past_key_values
    after = sizes(cache)
    return out | {"after_1_decode_logical": after[0], "after_1_decode_storage": after[1]}


def static_row(row):
    """The same of a cache that is laid out beforehand."""
    model = model_of(row["name"], None, row["dtype"], "meta")
    ids = torch.zeros(row["batch"], row["prefill"], dtype=torch.long, device="meta")
    cache = transformers.StaticCache(config=model.config, max_cache_len=row["max_cache_len"])
    with torch.no_grad():
        model(input_ids=ids, use_cache=True, past_key_values=cache, logits_to_keep=1)
    logical = storage = 0
    for layer in cache.layers:
        for tensor in tensors_of(layer).values():
            logical += tensor.numel() * tensor.element_size()
            storage += tensor.untyped_storage().nbytes()
    found = {"cache_bytes_logical": logical, "cache_bytes_storage": storage, "layer0": shape_of(cache.layers[0])}
    return row | found | {"transformers": transformers.__version__}


def peak_row(row):
    """The most that a prefill holds."""
    model = model_of(row["name"], row["attn"], row["dtype"], row["device"])
    ids = torch.zeros(row["batch"], row["prefill"], dtype=torch.long, device=row["device"])
    kept = [*model.parameters(), *model.buffers(), ids]
    tracker = meta.LiveBytes({t.untyped_storage()._cdata for t in kept})  # noqa: SLF001
    with torch.no_grad(), tracker:
        out = model(input_ids=ids, use_cache=True, logits_to_keep=row["logits_to_keep"])
    logical, storage = sizes(out.past_key_values)
    found = {"peak_bytes": tracker.peak, "cache_logical": logical, "cache_storage": storage}
    return row | found | {"peak_minus_cache": tracker.peak - storage, "peak_op": tracker.peak_op,
                          "transformers": transformers.__version__, "torch": torch.__version__}  # fmt: skip


def params_row(row):
    """Parameters by part; tied tensors count once."""
    model = model_of(row["name"], None, "bfloat16", "meta")
    model.tie_weights()
    named = dict(model.named_parameters())
    tops = {}
    for name, p in named.items():
        top = ".".join(name.split(".")[: 2 if name.startswith("model.") else 1])
        tops[top] = tops.get(top, 0) + p.numel()
    head = model.get_output_embeddings()
    embedding = model.get_input_embeddings().weight
    found = {
        "model_type": model.config.model_type, "transformers": transformers.__version__,
        "total_params": sum(tops.values()), "input_embedding": embedding.numel(),
        "tied": head is None or head.weight is embedding,
        "routed_expert_params": sum(p.numel() for n, p in named.items() if ".experts." in n),
        "buffers_numel": sum(b.numel() for b in model.buffers()), "n_tensors": len(named), "by_top": tops,
    }  # fmt: skip
    return {"name": row["name"], **found, **active(model.config, found)}


def active(config, found):
    """Parameters that one token meets, where experts are routed."""
    kinds = ("num_experts", "n_routed_experts", "num_local_experts")
    n = next((v for k in kinds if (v := getattr(config, k, None))), None)
    if not found["routed_expert_params"] or not n:
        return {}
    top = config.num_experts_per_tok
    met = found["total_params"] - found["routed_expert_params"] + found["routed_expert_params"] * top // n
    more = {"active_params": met, "num_experts": n, "top_k": top}
    return more | {"active_params_excl_input_emb": met - found["input_embedding"]}


KINDS = {"cache_real": cache_row, "cache_static": static_row, "act_real_meta": peak_row, "act_cpu": peak_row}


def main() -> None:
    ALL_ATTENTION_FUNCTIONS["stub_fused"] = meta.stub_fused
    ALL_MASK_ATTENTION_FUNCTIONS["stub_fused"] = flash_attention_mask
    for line in sys.stdin:
        row = json.loads(line)
        try:
            found = KINDS.get(row.get("kind"), params_row)(row)
        except Exception as error:  # one model's fault is its own row's
            kept = {k: row[k] for k in ("kind", "name", "model_type") if k in row}
            found = kept | {"error": repr(error), "transformers": transformers.__version__}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
