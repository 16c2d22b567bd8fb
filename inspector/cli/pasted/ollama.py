"""`ollama run` and `ollama serve` in our words: Ollama starts llama-server, with flags of its own choice.

Source: ollama 00f6d62 llm/llama_server.go (startLlamaServer, appendBatchArgs, LlamaServerFlashAttention), llm/server.go
(no more context than was trained), envconfig/config.go, api/types.go (num_batch), server/routes.go: the context is the
model's own num_ctx, else OLLAMA_CONTEXT_LENGTH, else what goes by the memory of all cards.
"""

from __future__ import annotations

from inspector.cli.pasted.records import Flag, flags_of
from inspector.cli.pasted.visible import gpus_named
from inspector.errors import InspectorError
from inspector.record import Record
from inspector.units import GIB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

    from inspector.checkpoint import Checkpoint

_HARMLESS: Final = """
--verbose --nowordwrap --insecure --hidethinking --truncate --experimental --experimental-yolo -h --help
--format= --keepalive= --dimensions= --think=?
"""
FLAGS: Final = flags_of(taken="", uncounted="", harmless="\n".join(_HARMLESS.split()))
_BY_MEMORY: Final = ((47 * GIB, 262_144), (23 * GIB, 32_768))
_LEAST: Final = 4096
_BATCH: Final = 512
_EMBEDDING_BATCH: Final = 2048
_OFF: Final = frozenset(("0", "f", "F", "false", "FALSE", "False"))


class Served(Record):
    """The model, our words for the flags that Ollama gives llama-server, and words about its context."""

    target: str
    words: tuple[str, ...]
    said: str


def in_our_words(flag: Flag, name: str, value: str) -> list[str]:  # noqa: ARG001 - no flag says anything of memory
    """None: what memory depends on is said by variables."""
    return []


def _whole(variables: Mapping[str, str], name: str) -> int:
    text = variables.get(name, "").strip("\"' ")
    return int(text[:12]) if text.isdecimal() else 0


def served(name: str, ours: Sequence[str], variables: Mapping[str, str], *, target: str = "") -> Served:
    """What `ollama run NAME` loads. `target`: a model that was named in our words; `ours`: those, for their cards."""
    store = variables.get("OLLAMA_MODELS", "")
    target = target or (f"{store}:{name}" if store and name else f"ollama:{name}" if name else "")
    found = _opened(target)
    if found is None and name.startswith(("hf.co/", "huggingface.co/")):
        target = name
    n_ctx, why = _context(found, ours, variables)
    n = _whole(variables, "OLLAMA_NUM_PARALLEL") or 1
    words = ["--server", "--outputs", "last", "-c", str(n_ctx * n), "-np", str(n)]
    words += _batches(found, n_ctx, n)
    if kv := variables.get("OLLAMA_KV_CACHE_TYPE", "").strip("\"' ").lower():
        words += ["-ctk", kv, "-ctv", kv]
    if flash := variables.get("OLLAMA_FLASH_ATTENTION", "").strip("\"' "):
        words += ["-fa", "off" if flash in _OFF else "on"]
    times = f", {n} times: OLLAMA_NUM_PARALLEL" if n > 1 else ""
    return Served(target, tuple(words), f"Ollama starts llama-server with {n_ctx:,} tokens{times} ({why})")


def _opened(target: str) -> Checkpoint | None:
    """The model, if it lies here."""
    from inspector.checkpoint import open_checkpoint, read_target

    try:
        found = read_target(target) if target else None
        return open_checkpoint(found) if found is not None and found.kind in {"stored", "local"} else None
    except InspectorError:  # said when the command itself opens it
        return None


def _key(model: Checkpoint, name: str) -> object:
    return model.metadata.get(f"{model.metadata.get('general.architecture')}.{name}")


def _context(model: Checkpoint | None, ours: Sequence[str], variables: Mapping[str, str]) -> tuple[int, str]:
    """Tokens of one sequence, and where they come from."""
    kept = model.keeping.n_ctx if model is not None and model.keeping is not None else None
    asked = _whole(variables, "OLLAMA_CONTEXT_LENGTH")
    n_ctx, why = (kept, "the model's num_ctx") if kept else (asked, "OLLAMA_CONTEXT_LENGTH")
    if not n_ctx:
        n_ctx, why = _by_memory(ours), "its default on these cards" if gpus_named(ours) else "its default"
    trained = _trained(model) if model is not None else None
    return (trained, "as many as the model was trained for") if trained and trained < n_ctx else (n_ctx, why)


def _trained(model: Checkpoint) -> int | None:
    from inspector.facts import read_facts

    try:
        return read_facts(model).n_ctx_train
    except InspectorError:  # said when the command itself reads them
        return None


def _by_memory(ours: Sequence[str]) -> int:
    from inspector.memory.devices.asked import gpus_asked

    try:
        total = sum(gpu.capacity for gpu in gpus_asked(gpus_named(ours)))
    except InspectorError:  # said when the command itself reads them
        total = 0
    return next((n for least, n in _BY_MEMORY if total >= least), _LEAST)


def _batches(model: Checkpoint | None, n_ctx: int, n: int) -> list[str]:
    """Batches of 512; of models that pool, embeddings in batches of 2,048 or one context."""
    if model is not None and _key(model, "pooling_type") is not None:
        size = str(min(_EMBEDDING_BATCH, n_ctx, n_ctx * n))
        return ["--embeddings", "-b", size, "-ub", size]
    size = str(min(_BATCH, n_ctx))
    return ["-b", size, "-ub", size]
