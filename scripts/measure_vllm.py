"""Asks vLLM's own cache planner about configs, without torch or a GPU: rows on stdin, the same rows as planned now.

    python scripts/measure_vllm.py VLLM_SOURCES < fixtures/vllm_kv.jsonl

The planner (v1/core/kv_cache_planning.py) and its specs (v1/kv_cache_interface.py) are run as they are. torch is stood
in for by types that know their size; what the planner imports beside it, and never calls here, by empty modules. Which
spec a layer has is read off the config, as each model's class of vLLM asks for it.
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
from typing import Any, NamedTuple

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
SIZES = {"bfloat16": 2, "float16": 2, "float32": 4, "float8_e4m3fn": 1, "float8_e5m2": 1, "uint8": 1, "int8": 1,
         "int32": 4, "int64": 8, "float64": 8, "half": 2, "float": 4, "bool": 1}  # fmt: skip
_PACKAGES = ("utils", "v1", "v1/attention", "v1/attention/backends", "v1/core", "config", "v1/hisparse")
Layer = tuple[Any, ...]


class Dtype(NamedTuple):
    """A type that knows its bytes."""

    n: str
    itemsize: int
    is_floating_point: bool = True


class _Logger(logging.Logger):
    """vLLM's, whose remarks are made once."""

    def info_once(self, *_: Any, **__: Any) -> None: ...

    def warning_once(self, *_: Any, **__: Any) -> None: ...


class _Multiple:
    def __init__(self, base: int) -> None:
        self.base = base


_Backends = enum.Enum("_Backends", "MAMBA1 MAMBA2 SHORT_CONV LINEAR GDN_ATTN")


def _module(name: str, **members: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__dict__.update(members)
    sys.modules[name] = module
    return module


def _package(name: str, path: Path) -> None:
    spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
    _module(name, __path__=[str(path)], __spec__=spec)


def planner(sources: Path) -> tuple[Any, Any, Any]:
    """(specs, planner, layout) of these sources, on stand-ins."""
    root = sources / "vllm"
    plain = {name: Dtype(n=name, itemsize=size) for name, size in SIZES.items()}
    size_type = type("Size", (tuple,), {"numel": math.prod})
    _module("torch", dtype=Dtype, Size=size_type, Tensor=object, device=object, as_strided=None, **plain)
    sys.modules.setdefault("regex", re)
    _package("vllm", root)
    _module("vllm.logger", init_logger=_Logger)
    for folder in _PACKAGES:
        _package(f"vllm.{folder.replace('/', '.')}", root / folder)
    _module("vllm.utils.torch_utils", get_dtype_size=lambda d: d.itemsize)
    _module("vllm.utils.mem_utils", format_gib=lambda n: f"{n / 2**30:.2f}")
    _module("vllm.v1.attention.backends.registry", MambaAttentionBackendEnum=_Backends)
    _module("vllm.v1.attention.backend", MultipleOf=_Multiple)
    interface = importlib.import_module("vllm.v1.kv_cache_interface")
    sys.modules["vllm.config"].__dict__.update(
        VllmConfig=object, SpeculativeConfig=object, get_current_vllm_config_or_none=lambda: None
    )
    text = (root / "v1" / "core" / "kv_cache_planning.py").read_text(encoding="utf-8")
    sparse = re.search(r"from vllm.v1.hisparse.layout import \((.*?)\)", text, re.DOTALL)
    asked = re.findall(r"\w+", sparse[1]) if sparse else []
    _module("vllm.v1.hisparse.layout", **dict.fromkeys(asked, lambda *_, **__: None))
    _module("vllm.v1.core.kv_cache_utils", _kv_cache_device_name=lambda _: "cuda")
    plan = importlib.import_module("vllm.v1.core.kv_cache_planning")
    layouts = importlib.import_module("vllm.v1.kv_cache_layout").KVCacheLayout
    return interface, plan, getattr(layouts, "LBNHC", next(iter(layouts)))


# ------------------------------------------------------------------------------------------------------------- layers


def kinds(config: dict[str, Any]) -> list[str]:
    """full, sliding or chunked, a layer, of an attention model."""
    n, kind = config["num_hidden_layers"], config["model_type"]
    if "layer_types" in config:
        return ["sliding" if t.startswith("sliding") else "full" for t in config["layer_types"]]
    if kind in {"gemma2", "gpt_oss"}:
        return ["full" if i % 2 else "sliding" for i in range(n)]
    if kind == "granite_swa":
        return ["sliding" if i % 4 else "full" for i in range(n)]
    every = {"gemma3_text": 6, "cohere2": 4, "olmo3": 4, "llama4_text": 4}.get(kind)
    if every:
        other = "chunked" if kind == "llama4_text" else "sliding"
        return ["full" if (i + 1) % every == 0 else other for i in range(n)]
    windowed = config.get("sliding_window") and kind in {"mistral", "phi3"}
    return ["sliding" if windowed else "full"] * n


def states(config: dict[str, Any], tp: int) -> tuple[tuple[int, ...], ...]:
    """Shapes of one recurrent layer's states."""
    kind = config["model_type"]
    if kind == "falcon_h1":
        inner, groups = config["mamba_d_ssm"], 2 * config["mamba_n_groups"] * config["mamba_d_state"]
        heads = (config["mamba_n_heads"] // tp, config["mamba_d_head"], config["mamba_d_state"])
        return ((inner + groups) // tp, config["mamba_d_conv"] - 1), heads
    if kind == "lfm2":
        return ((config["hidden_size"] // tp, config["conv_L_cache"] - 1),)
    keys = config["linear_key_head_dim"] * config["linear_num_key_heads"]
    values = config["linear_value_head_dim"] * config["linear_num_value_heads"]
    heads = (config["linear_num_value_heads"] // tp, config["linear_value_head_dim"], config["linear_key_head_dim"])
    return ((2 * keys + values) // tp, config["linear_conv_kernel_dim"] - 1), heads


def layers(config: dict[str, Any], tp: int) -> list[Layer]:
    """(kind, …) of every cache, as the model's class asks for it on one rank."""
    n, kind = config["num_hidden_layers"], config["model_type"]
    if config.get("kv_lora_rank"):
        return [("mla", config["kv_lora_rank"] + config["qk_rope_head_dim"])] * n
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    if "block_configs" in config:
        heads = [b["attention"]["n_heads_in_group"] for b in config["block_configs"]]
        own = [config["num_attention_heads"] // h for h in heads if h]
        return [("full", max(1, h // tp), head_dim) for h in own]
    given = config.get("num_key_value_heads") or config.get("num_attention_groups") or config["num_attention_heads"]
    attention = (max(1, given // tp), head_dim)
    if kind == "falcon_h1":
        return [x for _ in range(n) for x in (("full", *attention), ("mamba", states(config, tp)))]
    if kind == "lfm2":
        full = set(config["full_attn_idxs"])
        return [("full", *attention) if i in full else ("mamba", states(config, tp)) for i in range(n)]
    if "linear_num_value_heads" in config:
        every = config.get("full_attention_interval", 4)
        return [("mamba", states(config, tp)) if (i + 1) % every else ("full", *attention) for i in range(n)]
    window = {"sliding": config.get("sliding_window"), "chunked": config.get("attention_chunk_size", 8192)}
    own_kinds = kinds(config)[: n - config.get("num_kv_shared_layers", 0)]
    return [(k, *attention, *([window[k]] if k in window else [])) for k in own_kinds]


# ------------------------------------------------------------------------------------------------------------- plans


class Planner:
    """The planner of some sources, and what it says of a row."""

    def __init__(self, sources: Path) -> None:
        self.specs, self.plan, self.layout = planner(sources)

    def spec(self, layer: Layer, dtype: Dtype, block: int, padded: int | None) -> Any:
        """One layer's spec."""
        kind, specs = layer[0], self.specs
        if kind == "mamba":
            plain = tuple(Dtype(n="bfloat16", itemsize=2) for _ in layer[1])
            return specs.MambaSpec(
                block_size=block, shapes=layer[1], dtypes=plain, page_size_padded=padded, mamba_cache_mode="align"
            )
        if kind == "mla":
            return specs.MLAAttentionSpec(block_size=block, num_kv_heads=1, head_size=layer[1], dtype=dtype)
        name = {"full": "FullAttentionSpec", "sliding": "SlidingWindowSpec", "chunked": "ChunkedLocalAttentionSpec"}
        more = {"sliding": "sliding_window", "chunked": "attention_chunk_size"}
        extra = {more[kind]: layer[3]} if kind in more else {}
        return getattr(specs, name[kind])(
            block_size=block, num_kv_heads=layer[1], head_size=layer[2], dtype=dtype, **extra
        )

    def of_layers(self, found: list[Layer], dtype: Dtype) -> dict[str, Any]:
        """Specs by layer, their pages made equal as vLLM's platform does for hybrid models."""
        block = 64 if found[0][0] == "mla" else 16
        padded = None
        state = next((x[1] for x in found if x[0] == "mamba"), None)
        if state:
            page = sum(math.prod(shape) * 2 for shape in state)
            full = next(x for x in found if x[0] == "full")
            token = 2 * full[1] * full[2] * dtype.itemsize
            block = max(block, 16 * -(-page // (16 * token)))
            padded = block * token if block * token != page else None
        specs = {f"l{i}": self.spec(x, dtype, block, padded) for i, x in enumerate(found)}
        if found[0][0] == "full" and any(x[0] == "sliding" for x in found):
            return dict(sorted(specs.items(), key=lambda x: "Full" in type(x[1]).__name__))
        return specs

    def settings(self, row: dict[str, Any], in_flight: int) -> SimpleNamespace:
        """What the planner reads of vLLM's configuration."""
        layout = self.layout
        tokens = row["max_num_batched_tokens"]
        return SimpleNamespace(
            scheduler_config=SimpleNamespace(
                disable_hybrid_kv_cache_manager=False, max_num_batched_tokens=tokens, max_num_encoder_input_tokens=0
            ),
            cache_config=SimpleNamespace(
                get_resolved_kv_cache_layout=lambda: layout, mamba_cache_mode="align", num_gpu_blocks_override=None
            ),
            model_config=SimpleNamespace(max_model_len=row["max_model_len"]),
            parallel_config=SimpleNamespace(decode_context_parallel_size=1, prefill_context_parallel_size=1),
            max_in_flight_tokens=in_flight, speculative_config=None, num_speculative_tokens=0,
        )  # fmt: skip

    def pages(self, spec: Any, config: SimpleNamespace) -> int:
        """Blocks that one longest request takes of a group."""
        if isinstance(spec, self.specs.UniformTypeKVCacheSpecs):
            return int(spec.max_memory_usage_pages(config))
        return -(-int(spec.max_memory_usage_bytes(config)) // int(spec.page_size_bytes))

    def row(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row as planned now."""
        config = row.get("config") or json.loads((FIXTURES / "configs" / f"{row['name']}.json").read_text())
        tp, pp = row.get("tensor_parallel_size", 1), row.get("pipeline_parallel_size", 1)
        dtype = Dtype(n="kv", itemsize=1 if row["kv_cache_dtype"] == "fp8" else 2)
        specs = self.of_layers(layers(config, tp), dtype)
        in_flight = row.get("max_in_flight_tokens") or max(2, pp) * row["max_num_batched_tokens"]
        settings = self.settings(row, in_flight)
        groups = self.plan.get_kv_cache_groups(settings, dict(specs))
        size = self.plan._get_kv_cache_bytes_per_block  # noqa: SLF001 - the planner's own
        per_block, blocks = size(groups, self.layout), sum(self.pages(g.kv_cache_spec, settings) for g in groups)
        out = row | {"bytes_per_block": per_block, "blocks_one_req": blocks}
        if "stage_bytes_per_block" in row:
            return out | {"stage_bytes_per_block": self.stages(groups, specs, pp, size)}
        shown = [
            {
                "type": type(g.kv_cache_spec).__name__, "layers": len(g.layer_names),
                "block_size": g.kv_cache_spec.block_size, "page_bytes": g.kv_cache_spec.page_size_bytes,
                "max_bytes_one_req": g.kv_cache_spec.max_memory_usage_bytes(settings),
            }
            for g in groups
        ]  # fmt: skip
        block = next(iter(specs.values())).block_size
        return out | {"block_size": block, "groups": shown, "bytes_one_req": per_block * blocks}

    def stages(self, groups: Any, specs: dict[str, Any], pp: int, size: Any) -> list[int]:
        """Bytes a block on each stage of a pipeline; none where there is one stage."""
        if pp == 1:
            return []
        counts = [len(specs) // pp] * pp
        for i in range(2, len(specs) % pp + 2):
            counts[-i] += 1
        found, start = [], 0
        for n in counts:
            own = {k: v for k, v in specs.items() if start <= int(k[1:]) < start + n}
            found.append(size(self.plan._project_kv_cache_groups_to_worker(groups, own), self.layout))  # noqa: SLF001
            start += n
        return found


def main() -> None:
    asked = Planner(Path(sys.argv[1]))
    for line in sys.stdin:
        print(json.dumps(asked.row(json.loads(line))))


if __name__ == "__main__":
    main()
