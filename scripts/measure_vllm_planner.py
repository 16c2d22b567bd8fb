"""fixtures/vllm_planner.jsonl: blocks and requests as vLLM's own planner counts them, on the CPU.

    python scripts/measure_vllm_planner.py VLLM_SOURCES < fixtures/vllm_planner.jsonl

VLLM_SOURCES: PyPI's sdist, unpacked; needs `regex`. A row holds its own question (config, settings, draft), and comes
back with what the planner answers now, or with `error` where it refuses.

v1/core/kv_cache_planning.py and v1/kv_cache_interface.py run unmodified. torch is not installed: a stand-in knows sizes
of dtypes, which is all that they ask of it. What each layer hands to the planner is written down here from vLLM's model
files, and shares no code with inspector. The block of hybrid models: platforms/interface.py _align_hybrid_block_size.
"""

from __future__ import annotations

import enum
import importlib
import importlib.machinery
import json
import logging
import math
import re
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Rule = Callable[[dict[str, Any]], list[Any]]

Config = dict[str, Any]
Layers = list[Any]
FIGURES = ("bytes_per_block", "blocks_one_req", "stage_bytes_per_block")


class Dtype:
    """An element type of the stand-in for torch: its size."""

    is_floating_point = True

    def __init__(self, itemsize: int) -> None:
        self.itemsize = itemsize


def stand_in_for_torch() -> types.ModuleType:
    """A module named torch that knows sizes of dtypes."""
    torch = types.ModuleType("torch")
    sizes = {
        "bfloat16": 2, "float16": 2, "half": 2, "float32": 4, "float": 4, "float64": 8, "float8_e4m3fn": 1,
        "float8_e5m2": 1, "uint8": 1, "int8": 1, "bool": 1, "int32": 4, "int64": 8,
    }  # fmt: skip
    for name, size in sizes.items():
        setattr(torch, name, Dtype(size))
    for name in ("Tensor", "device", "Size"):
        setattr(torch, name, type(name, (tuple if name == "Size" else object,), {}))
    torch.__dict__.update(dtype=Dtype, as_strided=None)
    return torch


def package(name: str, path: Path) -> types.ModuleType:
    """A package whose modules are read from `path`, without its own __init__."""
    module = types.ModuleType(name)
    module.__path__ = [str(path)]
    module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
    sys.modules[name] = module
    return module


def module(name: str, **members: object) -> None:
    """A module of these members."""
    made = types.ModuleType(name)
    made.__dict__.update(members)
    sys.modules[name] = made


def register(specs: types.ModuleType, text: str) -> None:
    """Which specs share a group, as `register_all_kvcache_specs` says in its own words; no manager is needed."""
    registry = importlib.import_module("vllm.v1.kv_cache_spec_registry").KVCacheSpecRegistry
    for name, base in re.findall(r"register\(\s*(\w+),\s*\w+,\s*uniform_type_base_spec=(\w+)", text):
        registry.register(getattr(specs, name), object, uniform_type_base_spec=getattr(specs, base))


class Log(logging.Logger):
    """vLLM's logger, silent."""

    def info_once(self, *_: object, **__: object) -> None:
        """Nothing."""

    def warning_once(self, *_: object, **__: object) -> None:
        """Nothing."""


def load(source: Path) -> tuple[types.ModuleType, types.ModuleType, types.ModuleType]:
    """(specs, planner, layouts) of vLLM's source."""
    root = source / "vllm"
    sys.modules["torch"] = stand_in_for_torch()
    package("vllm", root)
    for name in ("utils", "v1", "v1.attention", "v1.attention.backends", "v1.core", "config", "v1.hisparse"):
        package(f"vllm.{name}", root / name.replace(".", "/"))
    module("vllm.logger", init_logger=lambda name: Log(name, logging.CRITICAL))
    module("vllm.utils.torch_utils", get_dtype_size=lambda d: d.itemsize)
    module("vllm.utils.mem_utils", format_gib=str)
    MambaAttentionBackendEnum = enum.Enum("MambaAttentionBackendEnum", "MAMBA1 MAMBA2 SHORT_CONV LINEAR GDN_ATTN")  # noqa: N806
    module("vllm.v1.attention.backends.registry", MambaAttentionBackendEnum=MambaAttentionBackendEnum)
    module("vllm.v1.attention.backend", MultipleOf=type("MultipleOf", (), {}))
    specs = importlib.import_module("vllm.v1.kv_cache_interface")
    sys.modules["vllm.config"].__dict__.update(VllmConfig=object, SpeculativeConfig=object)
    text = (root / "v1/core/kv_cache_planning.py").read_text()
    wanted = re.search(r"from vllm.v1.hisparse.layout import \((.*?)\)", text, re.DOTALL)
    assert wanted is not None
    module("vllm.v1.hisparse.layout", **dict.fromkeys(re.findall(r"\w+", wanted[1]), lambda *_, **__: None))
    module("vllm.v1.core.kv_cache_utils", _kv_cache_device_name=lambda _: "cuda")
    planner = importlib.import_module("vllm.v1.core.kv_cache_planning")
    register(specs, (root / "v1/core/single_type_kv_cache_manager.py").read_text())
    return specs, planner, importlib.import_module("vllm.v1.kv_cache_layout")


# ---- what each layer keeps: ("full", heads, k, v) ("window", heads, k, v, tokens) ("chunk", …) ("latent", width)
# ("index", head_dim) ("gdn", channels, kernel, matrix) ----------------------------------------------------------------


def heads(c: Config) -> tuple[int, int, int]:
    dim = c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]
    return c.get("num_attention_groups") or c.get("num_key_value_heads") or c["num_attention_heads"], dim, dim


def every(kind: str, key: str = "") -> Rule:
    return lambda c: [[(kind, *heads(c), *([c[key]] if key else []))]] * c["num_hidden_layers"]


def mixed(
    is_full: Callable[[int], bool], other: str = "window", key: str = "sliding_window"
) -> Callable[[Config], Layers]:
    """Full attention where `is_full(i)`, else looking back `key` tokens."""
    return lambda c: [
        [("full", *heads(c)) if is_full(i) else (other, *heads(c), c[key])] for i in range(c["num_hidden_layers"])
    ]


def latents(c: Config) -> Layers:
    row = [("latent", c["kv_lora_rank"] + c["qk_rope_head_dim"])]
    return [row + ([("index", c["index_head_dim"])] if "index_head_dim" in c else [])] * c["num_hidden_layers"]


def gated_delta(c: Config) -> Layers:
    keys, values = (c[f"linear_num_{x}_heads"] * c[f"linear_{x}_head_dim"] for x in ("key", "value"))
    state = ("gdn", 2 * keys + values, c["linear_conv_kernel_dim"], values * c["linear_key_head_dim"])
    return [[("full", *heads(c))] if (i + 1) % 4 == 0 else [state] for i in range(c["num_hidden_layers"])]


def listed(c: Config) -> Layers:
    kinds = {"full_attention": lambda: ("full", *heads(c))}
    other = ("window", *heads(c), c["sliding_window"])
    return [[kinds[t]() if t in kinds else other] for t in c["layer_types"][: c["num_hidden_layers"]]]


def nas(c: Config) -> Layers:
    rows = []
    for block in c["block_configs"]:
        n = block["attention"]["n_heads_in_group"]
        dim = c["hidden_size"] // c["num_attention_heads"]
        rows.append([("full", c["num_attention_heads"] // n, dim, dim)] if n else [])
    return rows


def mimo_v2(c: Config) -> Layers:
    """Sliding layers have key-value heads of their own."""
    k, v = c["head_dim"], c["v_head_dim"]
    other = ("window", c["swa_num_key_value_heads"], k, v, c["sliding_window"])
    full = ("full", c["num_key_value_heads"], k, v)
    return [[other if sliding else full] for sliding in c["hybrid_layer_pattern"]]


def minimax_m3(c: Config) -> Layers:
    """Sparse layers keep their indexer's keys too, in bfloat16, whatever the cache (models/minimax_m3/)."""
    own = c["sparse_attention_config"]
    index = [("plain", own["sparse_index_dim"])]
    return [[("full", *heads(c)), *(index if sparse else [])] for sparse in own["sparse_attention_freq"]]


LAYERS = {
    **dict.fromkeys(("llama", "qwen3", "qwen3_moe", "mimo", "glm4_moe", "ernie4_5_moe"), every("full")),
    "phi3": every("window", "sliding_window"),
    "mistral": every("full"),
    "gemma2": mixed(lambda i: i % 2 == 1),
    "gemma3_text": mixed(lambda i: (i + 1) % 6 == 0),
    "gpt_oss": mixed(lambda i: i % 2 == 1),
    "olmo3": mixed(lambda i: (i + 1) % 4 == 0),
    "cohere2": mixed(lambda i: (i + 1) % 4 == 0),
    "granite_swa": mixed(lambda i: i % 4 == 3),
    "llama4_text": mixed(lambda i: (i + 1) % 4 == 0, "chunk", "attention_chunk_size"),
    **dict.fromkeys(("deepseek_v2", "deepseek_v3", "deepseek_v32", "kimi_k2", "mistral4", "glm4_moe_lite"), latents),
    **dict.fromkeys(("qwen3_5_text", "qwen3_next", "qwen3_5_moe_text"), gated_delta),
    "step3p5": listed,
    "nemotron-nas": nas,
    "mimo_v2_flash": mimo_v2,
    "minimax_m3": minimax_m3,
}


def ahead(c: Config, rows: Layers) -> Layers:
    """What the layers that predict ahead keep (models/*_mtp.py): one attention layer each."""
    n = c.get("num_nextn_predict_layers") or c.get("mtp_num_hidden_layers") or 1
    if c["model_type"] == "mimo_v2_flash":  # one sliding layer, whatever the config counts
        return [[("window", c["swa_num_key_value_heads"], c["head_dim"], c["v_head_dim"], c["sliding_window"])]]
    if c["model_type"] == "step3p5":
        kinds = c["layer_types"][c["num_hidden_layers"] :][:n]
        return [
            [("full", *heads(c)) if t == "full_attention" else ("window", *heads(c), c["sliding_window"])]
            for t in kinds
        ]
    return [next(r for r in reversed(rows) if r and r[0][0] != "gdn")] * n


class Planner:
    """vLLM's planner, asked with layers written down here."""

    def __init__(self, source: Path) -> None:
        self.specs, self.planner, layouts = load(source)
        self.layout = layouts.KVCacheLayout.LBNHC
        self.torch = sys.modules["torch"]

    def ask(self, c: Config, row: Config, drafts: Layers | None = None) -> Config:
        """The planner's answer to one case, in the row's own keys."""
        rows = LAYERS[c["model_type"]](c)
        n_target, n_spec = len(rows), row.get("num_speculative_tokens", 0)
        rows = rows + (drafts if drafts is not None else ahead(c, rows) if n_spec else [])
        pp, tp = row["pipeline_parallel_size"], row["tensor_parallel_size"]
        named = self._named(rows, tp=tp, fp8=row["kv_cache_dtype"] == "fp8", n_spec=n_spec)
        config = self._config(row, pp, n_spec)
        groups = self.planner.get_kv_cache_groups(config, {name: spec for _, name, spec in named})
        request = sum(self._blocks(g.kv_cache_spec, config) for g in groups)
        block = self.planner._get_kv_cache_bytes_per_block(groups, self.layout)  # noqa: SLF001
        staged = [self._stage(groups, named, layers) for layers in parts(n_target, pp, len(rows))] if pp > 1 else []
        return {"bytes_per_block": block, "blocks_one_req": request, "stage_bytes_per_block": staged}

    def _config(self, row: Config, pp: int, n_spec: int) -> SimpleNamespace:
        tokens, space = row["max_num_batched_tokens"], SimpleNamespace
        return space(
            scheduler_config=space(
                disable_hybrid_kv_cache_manager=False, max_num_batched_tokens=tokens, max_num_encoder_input_tokens=0
            ),
            cache_config=space(
                get_resolved_kv_cache_layout=lambda: self.layout, mamba_cache_mode="align", num_gpu_blocks_override=None
            ),
            model_config=space(max_model_len=row["max_model_len"]),
            parallel_config=space(decode_context_parallel_size=1, prefill_context_parallel_size=1),
            # config/vllm.py max_concurrent_batches: Model Runner V2, scheduling asynchronously
            max_in_flight_tokens=(pp + 1) * tokens,
            speculative_config=None,
            num_speculative_tokens=n_spec,
        )

    def _named(self, rows: Layers, *, tp: int, fp8: bool, n_spec: int) -> Layers:
        dtype = self.torch.float8_e4m3fn if fp8 else self.torch.bfloat16
        flat = [cache for row in rows for cache in row]
        block = next((b for kind, b in (("plain", 128), ("latent", 64)) if any(x[0] == kind for x in flat)), 16)
        state = next((x for x in flat if x[0] == "gdn"), None)
        page = None
        if state:
            _, n, k, v = next(x for x in flat if x[0] == "full")
            token = max(1, n // tp) * (k + v) * dtype.itemsize
            raw = sum(math.prod(s) * 2 for s in self._shapes(state, tp, n_spec))
            block = max(block, block * -(-raw // (block * token)))
            page = block * token
        found = []
        for i, row in enumerate(rows):
            for cache in row:
                name = f"layers.{i}.{cache[0]}"
                sparse = fp8 and any(x[0] == "index" for x in row)
                spec = self._spec(
                    ("sparse",) if sparse and cache[0] == "latent" else cache,
                    tp=tp, block=block, dtype=dtype, page=page, n_spec=n_spec,
                )  # fmt: skip
                found.append((i, name, spec))
        return found

    def _shapes(self, state: tuple[Any, ...], tp: int, n_spec: int) -> tuple[Any, ...]:
        _, channels, kernel, matrix = state
        return (channels // tp, kernel - 1 + n_spec), (matrix // tp,)

    def _spec(self, cache: tuple[Any, ...], *, tp: int, block: int, dtype: Dtype, page: int | None, n_spec: int) -> Any:
        kind, s = cache[0], self.specs
        if kind == "latent":
            return s.MLAAttentionSpec(block_size=block, num_kv_heads=1, head_size=cache[1], dtype=dtype)
        if kind == "index":
            width = cache[1] + cache[1] // 128 * 4
            return s.MLAAttentionSpec(block_size=block, num_kv_heads=1, head_size=width, dtype=self.torch.uint8)
        if kind == "sparse":  # fp8_ds_mla, layers/attention/mla_attention.py: 656 bytes a token
            uint8 = self.torch.uint8
            return s.MLAAttentionSpec(
                block_size=block, num_kv_heads=1, head_size=576, dtype=uint8, state_content_bytes=656
            )
        if kind == "plain":
            role, bf16 = s.SparseCacheRole.INDEXER, self.torch.bfloat16
            return s.MLAAttentionSpec(block_size=block, num_kv_heads=1, head_size=cache[1], dtype=bf16, cache_role=role)
        if kind == "gdn":
            bf16 = self.torch.bfloat16
            return s.MambaSpec(
                block_size=block, shapes=self._shapes(cache, tp, n_spec), dtypes=(bf16, bf16), page_size_padded=page,
                mamba_cache_mode="align", num_speculative_blocks=n_spec,
            )  # fmt: skip
        sizes = {
            "block_size": block, "num_kv_heads": max(1, cache[1] // tp), "head_size": cache[2],
            "head_size_v": cache[3], "dtype": dtype,
        }  # fmt: skip
        if kind == "window":
            return s.SlidingWindowSpec(**sizes, sliding_window=cache[4])
        if kind == "chunk":
            return s.ChunkedLocalAttentionSpec(**sizes, attention_chunk_size=cache[4])
        return s.FullAttentionSpec(**sizes)

    def _blocks(self, spec: Any, config: SimpleNamespace) -> Any:
        if isinstance(spec, self.specs.UniformTypeKVCacheSpecs):
            return spec.max_memory_usage_pages(config)
        return -(-spec.max_memory_usage_bytes(config) // spec.page_size_bytes)

    def _stage(self, groups: list[Any], named: Layers, layers: range) -> Any:
        """Bytes of a block on a stage: its share of every group, the largest."""
        mine = {name for i, name, _ in named if i in layers}
        return max(
            sum(self.planner._get_per_layer_spec(g, n).page_size_bytes for n in g.layer_names if n in mine)  # noqa: SLF001
            for g in groups
        )


def parts(n: int, pp: int, stop: int) -> list[range]:
    """Layers of each stage (distributed/utils.py get_pp_indices); what predicts ahead is on the last."""
    sizes = [n // pp] * pp
    for i in range(2, n % pp + 2):
        sizes[-i] += 1
    starts = [sum(sizes[:i]) for i in range(pp)]
    return [range(a, stop if i == pp - 1 else a + size) for i, (a, size) in enumerate(zip(starts, sizes, strict=True))]


def drafts_of(c: Config) -> Layers:
    """What a drafting head or model keeps."""
    return listed(c) if "layer_types" in c else every("full")(c)


def answered(planner: Planner, row: Config) -> Config:
    """A row with its figures as the planner gives them now."""
    head = {k: v for k, v in row.items() if k not in FIGURES and k != "error"}
    draft = row.get("draft")
    try:
        return {**head, **planner.ask(row["config"], head, drafts_of(draft) if draft else None)}
    except (NotImplementedError, ValueError) as e:
        return {**head, "error": str(e)}


def main() -> None:
    planner = Planner(Path(sys.argv[1]))
    for line in sys.stdin:
        print(json.dumps(answered(planner, json.loads(line))))


if __name__ == "__main__":
    main()
