"""What is left of vLLM's share of each GPU once all but the cache is counted, and how many requests that holds."""

from __future__ import annotations

from inspector.units import format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

    from inspector.memory.estimate import Estimate, Gpu

CACHES: Final = frozenset({"kv_cache", "recurrent_state"})


def kv_budget(result: Estimate) -> Mapping[str, int]:
    """Bytes that are left for the cache on each device: the budget less everything that is not cache."""
    takes: Mapping[str, int] = result.effective.get("takes", {})
    fixed = {d: sum(x.nbytes for x in result.lines if x.device == d and x.what not in CACHES) for d in takes}
    return {device: max(0, takes[device] - fixed[device]) for device in takes}


def room(result: Estimate) -> int | None:
    """Longest requests that fit at once beside everything else; None where that cannot be said."""
    budget = kv_budget(result)
    if result.unknown or not budget:
        return None
    n_seqs = -(-(result.workload.n_seqs or 1) // int(result.effective.get("data_parallel_size", 1)))
    fits = []
    for device, nbytes in budget.items():
        need = sum(x.nbytes for x in result.lines if x.device == device and x.what in CACHES) // n_seqs
        fits += [nbytes // need] if need else []
    return min(fits) * int(result.effective.get("data_parallel_size", 1)) if fits else None


def budget_notes(result: Estimate) -> list[str]:
    """What vLLM takes whatever it needs, and what that is good for."""
    takes = result.effective.get("takes")
    if not takes:
        return []
    part = result.effective["gpu_memory_utilization"]
    words = f"vLLM fills its budget: it takes {format_nbytes(sum(takes.values()))} ({part} of every GPU)"
    if "kv_cache_memory_bytes" in result.effective:
        words = f"vLLM takes {format_nbytes(sum(takes.values()))}, with a cache of the size asked for"
    fitting = room(result)
    if fitting is None:
        return [words]
    length = f"{result.effective['max_model_len']:,} tokens"
    if not fitting:
        less = all(d.low is not None and d.capacity and d.low <= d.capacity - d.reserve for d in result.devices)
        return [words, f"no room for one request of {length}: vLLM {'may refuse' if less else 'refuses'} to start"]
    return [words, f"room for {fitting:,} requests of {length} at once; more wait"]


def budgeted(result: Estimate, gpus: Sequence[Gpu], pool: int | None) -> Estimate:
    """The same with what vLLM takes of every GPU where its cache has its own size (`pool`, bytes), and its notes."""
    if pool is not None and gpus:
        mine = {g.name: [x for x in result.lines if x.device == g.name and x.what not in CACHES] for g in gpus}
        takes = {name: sum(x.nbytes for x in lines) + pool for name, lines in mine.items()}
        result = result.replace(effective={**result.effective, "takes": takes, "kv_cache_memory_bytes": pool})
    budget = budget_notes(result)
    return result.replace(notes=(*result.notes, *budget), brief=tuple(budget[1:]))
