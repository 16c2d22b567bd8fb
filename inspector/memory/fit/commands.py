"""Choices as command lines: the engine's own, ready to paste, and `inspector memory`'s, which gives the same total."""

from __future__ import annotations

import shlex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from inspector.memory.fit.choose import Choice


def engine_command(choice: Choice) -> str | None:
    """What to type to run this choice; None for engines that have no command line."""
    words = {"llama.cpp": _llama_server, "vllm": _vllm_serve}.get(choice.estimate.engine)
    return None if words is None else shlex.join(words(choice))


def quantize_command(choice: Choice, base: str, *, requantize: bool) -> str | None:
    """How to make the file of a choice that does not exist yet; None where it does."""
    c = choice.candidate
    if not c.hypothetical or choice.estimate.engine != "llama.cpp":
        return None
    return shlex.join(["llama-quantize", *(["--allow-requantize"] if requantize else []), base, c.path, c.label])


def memory_command(choice: Choice, target: str, gpus: Sequence[str]) -> str | None:
    """`inspector memory` with the same settings; None where no file of this form exists."""
    if choice.candidate.hypothetical:
        return None
    engine = choice.estimate.engine
    words = ["inspector", "memory", target]
    if engine == "llama.cpp":
        words += ["--server", "--outputs", "last", *_llama_settings(choice)]
    elif engine == "vllm":
        words += ["--engine", "vllm", *_vllm_settings(choice)]
        words += [] if choice.placement.kv_offload else ["--no-kv-offload"]
    else:
        words += ["--engine", engine, *_common(choice), *_own(choice.arguments)]
        words += [] if choice.placement.kv_offload else ["--no-kv-offload"]
    for gpu in gpus:
        words += ["--gpu", gpu]
    return shlex.join(words)


def _llama_server(choice: Choice) -> list[str]:
    c = choice.candidate
    return ["llama-server", "-hf" if c.hub else "-m", c.hub or c.path, *_llama_settings(choice)]


def _llama_settings(choice: Choice) -> list[str]:
    """Settings under the names that llama-server and `inspector memory` share."""
    w, p = choice.workload, choice.placement
    words = ["-c", str(w.n_ctx), "-ngl", str(p.n_gpu_layers)]
    words += ["-ncmoe", str(p.n_cpu_moe)] if p.n_cpu_moe else []
    words += ["-ts", ",".join(f"{x:g}" for x in p.tensor_split)] if p.tensor_split else []
    words += ["-ctk", w.kv_dtype_k] if w.kv_dtype_k not in {None, "f16"} else []
    words += ["-ctv", w.kv_dtype_v] if w.kv_dtype_v not in {None, "f16"} else []
    for flag, value in (("-np", w.n_seqs), ("-b", w.n_batch), ("-ub", w.n_ubatch)):
        words += [flag, str(value)] if value is not None else []
    words += {True: ["--kv-unified"], False: ["--no-kv-unified"], None: []}[w.kv_unified]
    if w.flash_attn is not None or choice.estimate.effective["flash_attn"]:  # else llama.cpp turns it off by itself
        words += ["-fa", "off" if w.flash_attn is False else "on"]
    words += ["--swa-full"] if w.swa_full else []
    return words + ([] if p.kv_offload else ["--no-kv-offload"])


def _vllm_serve(choice: Choice) -> list[str]:
    return ["vllm", "serve", choice.candidate.hub or choice.candidate.path, *_vllm_settings(choice)]


def _vllm_settings(choice: Choice) -> list[str]:
    w, p = choice.workload, choice.placement
    words = ["--max-model-len", str(w.n_ctx)]
    words += ["--tensor-parallel-size", str(p.tensor_parallel)] if p.tensor_parallel > 1 else []
    words += ["--kv-cache-dtype", w.kv_dtype_k] if w.kv_dtype_k else []
    words += ["--max-num-seqs", str(w.n_seqs)] if w.n_seqs is not None else []
    return words + _own({**(w.options or {}), **choice.arguments})


def _own(settings: Mapping[str, Any]) -> list[str]:
    """An engine's own settings as options: names with dashes, switches without a value."""
    words: list[str] = []
    for name, value in settings.items():
        if name in {"outputs_asked", "kv_keep", "window"} or value in (None, False):
            continue
        words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return words


def _common(choice: Choice) -> list[str]:
    w = choice.workload
    words = ["-c", str(w.n_ctx)]
    words += ["-np", str(w.n_seqs)] if w.n_seqs is not None else []
    return words + (["--kv-cache-dtype", w.kv_dtype_k] if w.kv_dtype_k else [])
