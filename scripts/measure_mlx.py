"""Writes fixtures/mlx.jsonl again: what mlx-lm builds, quantises and caches for small models of many types.

Needs `mlx-lm` (0.32.2) and `mlx[cpu]` on any machine: sizes of arrays are the same everywhere. Each row keeps its
config and the settings of its runs; what mlx-lm makes of them is measured anew. Models have random weights in bfloat16.

    python scripts/measure_mlx.py fixtures/mlx.jsonl [NAME ...]
"""

# mypy: ignore-errors
# (mlx is not in the development environment)

from __future__ import annotations

import json
import sys

import mlx.core as mx
import mlx_lm
from mlx.utils import tree_flatten
from mlx_lm.generate import BatchGenerator, generate_step
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import _get_classes, quantize_model

_GATHER = mx.gather_mm


def _gather_mm(a: mx.array, b: mx.array, *args: object, **kwargs: object) -> mx.array:
    """The CPU back end gathers in float32 only; sizes of what is kept do not depend on it."""
    return _GATHER(a.astype(mx.float32), b.astype(mx.float32), *args, **kwargs).astype(a.dtype)


def built(config: dict) -> object:
    model_class, arguments = _get_classes(config)
    model = model_class(arguments.from_dict(config))
    model.set_dtype(mx.bfloat16)
    model.eval()
    return model


def weights(model: object) -> int:
    return sum(array.nbytes for _, array in tree_flatten(model.parameters()))


def caches(kept: list) -> list:
    """[how many in a row, class, bytes] of one cache a layer."""
    runs: list = []
    for cache in kept:
        found = [type(cache).__name__, cache.nbytes]
        if runs and runs[-1][1:] == found:
            runs[-1][0] += 1
        else:
            runs.append([1, *found])
    return runs


def one(model: object, run: dict) -> dict:
    kept = make_prompt_cache(model, run.get("max_kv_size"))
    most: dict[str, int] = {}

    def watch(*_: object) -> None:
        for name in {type(cache).__name__ for cache in kept if not cache.empty()}:
            now = sum(cache.nbytes for cache in kept if type(cache).__name__ == name)
            most[name] = max(most.get(name, 0), now)

    more = {"kv_bits": run["kv_bits"], "kv_group_size": run["kv_group_size"]} if "kv_bits" in run else {}
    steps = generate_step(
        mx.ones((run["prompt"],), dtype=mx.int32), model, max_tokens=run["generated"], prompt_cache=kept,
        prefill_step_size=run["step"], quantized_kv_start=run.get("quantized_kv_start", 0),
        prompt_progress_callback=watch, **more,
    )  # fmt: skip
    for _ in steps:
        pass
    watch()
    return {"caches": caches(kept), "most": dict(sorted(most.items()))}


def several(model: object, run: dict) -> dict:
    """Several sequences at once, as mlx_lm.server runs them."""
    batch = BatchGenerator(
        model, max_tokens=run["generated"] + 2, prefill_step_size=run["step"], prefill_batch_size=run["seqs"]
    )
    batch.insert([[1] * run["prompt"]] * run["seqs"])
    done = 0
    while done < run["generated"]:
        done += bool(batch.next_generated())
    return {"caches": caches(batch._generation_batch.prompt_cache)}  # noqa: SLF001 - nothing else holds them


def measured(row: dict) -> dict:
    model = built(row["config"])
    runs = []
    for run in row["runs"]:
        asked = {k: v for k, v in run.items() if k not in {"caches", "most", "refused"}}
        try:
            found = several(model, asked) if asked.get("seqs", 1) > 1 else one(model, asked)
        except (NotImplementedError, ValueError, AttributeError, TypeError) as error:
            found = {"refused": f"{type(error).__name__}: {error}"[:120]}
        runs.append({**asked, **found})
    packed, config = quantize_model(built(row["config"]), dict(row["config"]), 32, 4)
    quantised = {"config": config["quantization"], "nbytes": weights(packed)}
    return {
        "name": row["name"], "config": row["config"], "mlx_lm": mlx_lm.__version__, "weights": weights(model),
        "quantised": quantised, "runs": runs,
    }  # fmt: skip


def main() -> None:
    path, *names = sys.argv[1:]
    mx.gather_mm = _gather_mm
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    found = [measured(row) if not names or row["name"] in names else row for row in rows]
    with open(path, "w", encoding="utf-8", newline="\n") as out:
        out.writelines(json.dumps(row, separators=(",", ":")) + "\n" for row in found)


if __name__ == "__main__":
    main()
