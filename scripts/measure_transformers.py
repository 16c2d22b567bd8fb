# mypy: ignore-errors
# ruff: noqa: SLF001
# torch and transformers are not installed where the checks run, and their storages' identity has no public name.
"""Measure what transformers holds during a prefill, on the meta device: no weights, no GPU, real shapes.

    python scripts/measure_transformers.py fixtures/measured_transformers.json.gz [NAME=CONFIG.json …]

Measures every configuration in the file again (and those named besides) and writes it back. Needs torch 2.13.0 and
transformers 5.24.0. `stub_fused` attention keeps what a flash kernel keeps: the output and one float32 a row.
The figures are the sum of live torch storages, weights excluded; `peak_bytes` minus `cache_bytes_storage` is what
inspector calls the activation peak.
"""

from __future__ import annotations

import gzip
import json
import sys
import weakref
from typing import Any

import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, flash_attention_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

ATTENTIONS = ("stub_fused", "eager")


def stub_fused(_module: Any, query: torch.Tensor, _key: Any, value: torch.Tensor, *_: Any, **__: Any) -> Any:
    """Allocates what a fused kernel would: log-sum-exp of every row, and the output."""
    n_seqs, n_heads, n_tokens, _ = query.shape
    lse = torch.empty(n_seqs, n_heads, n_tokens, dtype=torch.float32, device=query.device)
    return torch.empty(n_seqs, n_tokens, n_heads, value.shape[-1], dtype=query.dtype, device=lse.device), None


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of storages that are alive, but for those in `skip`."""

    def __init__(self, skip: set[int]) -> None:
        super().__init__()
        self.skip, self.live, self.now, self.peak, self.peak_op = skip, {}, 0, 0, ""

    def _forget(self, key: int) -> None:
        self.now -= self.live.pop(key, 0)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_flatten(out)[0]:
            if not isinstance(tensor, torch.Tensor):
                continue
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key not in self.live and key not in self.skip:
                self.live[key] = storage.nbytes()
                self.now += self.live[key]
                weakref.finalize(storage, self._forget, key)
        if self.now > self.peak:
            self.peak, self.peak_op = self.now, str(func)
        return out


def build(config: dict[str, Any], attn: str) -> Any:
    settings = {k: v for k, v in config.items() if k not in {"model_type", "quantization_config"}}
    conf = AutoConfig.for_model(config["model_type"], **settings)
    conf._attn_implementation = attn
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(conf, dtype=torch.bfloat16, attn_implementation=attn).eval()


def measure(model: Any, *, batch: int, prefill: int, logits_to_keep: int) -> dict[str, Any]:
    ids = torch.zeros(batch, prefill, dtype=torch.long, device="meta")
    kept = [*model.parameters(), *model.buffers(), ids]
    tracker = LiveBytes({t.untyped_storage()._cdata for t in kept})
    with torch.no_grad(), tracker:
        out = model(input_ids=ids, use_cache=True, logits_to_keep=logits_to_keep)
    logical, storages = 0, {}
    for layer in getattr(out.past_key_values, "layers", ()):
        for tensor in tree_flatten(vars(layer))[0]:
            if isinstance(tensor, torch.Tensor) and tensor.numel() > 1:
                logical += tensor.numel() * tensor.element_size()
                storages[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
    return {
        "peak_bytes": tracker.peak,
        "peak_op": tracker.peak_op,
        "cache_bytes_logical": logical,
        "cache_bytes_storage": sum(storages.values()),
    }


def main(path: str, *named: str) -> None:
    ALL_ATTENTION_FUNCTIONS["stub_fused"] = stub_fused
    ALL_MASK_ATTENTION_FUNCTIONS["stub_fused"] = flash_attention_mask
    with gzip.open(path, "rt") as f:
        document = json.load(f)
    for pair in named:
        name, _, file = pair.partition("=")
        with open(file) as f:
            document["configs"][name] = json.load(f)
        runs = ((1, 1000, 1), (2, 1000, 1), (1, 1000, 0))
        keys = ("batch", "prefill", "logits_to_keep")
        document["rows"] += [dict(zip(keys, r, strict=True), name=name, attn=a) for a in ATTENTIONS for r in runs]
    built: tuple[Any, Any] = (None, None)
    for row in document["rows"]:
        if built[0] != (row["name"], row["attn"]):
            built = ((row["name"], row["attn"]), build(document["configs"][row["name"]], row["attn"]))
        row.update(measure(built[1], **{k: row[k] for k in ("batch", "prefill", "logits_to_keep")}))
    document.update(transformers=transformers.__version__, torch=torch.__version__)
    text = json.dumps(document, separators=(",", ":"), sort_keys=True)
    with open(path, "wb") as f:
        f.write(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
