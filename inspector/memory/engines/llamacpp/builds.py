"""`llama.cpp@BUILD`: a model as an older build reads it, and how sure the figures for that build are.

Rules and the builds that follow them stand with the rules (inspector/architectures/gguf_builds.py, graph/builds.py,
weights.py). What was measured, and how far off: docs/versions.md, fixtures/llamacpp-builds.jsonl.xz.
"""

from __future__ import annotations

from inspector.architectures.gguf_builds import ARCHS_SINCE, MEASURED, REPLAYED, TYPES_SINCE, arch_at
from inspector.errors import WorkloadError
from inspector.facts import gguf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Estimate, Line


# CUDA's host code was asked of builds whose sdist has it, from this one on, for these architectures.
_ON_CUDA: Final = 10001
_FULL_SIZE: Final = frozenset((
    "bert", "cohere2", "deepseek2", "falcon-h1", "gemma2", "gemma3", "gemma3n", "glm4moe", "gpt-oss", "granitehybrid",
    "lfm2", "llama", "llama4", "mamba", "phi3", "qwen2", "qwen3moe", "qwen3next", "rwkv7",
))  # fmt: skip


def answered_by(build: int) -> int:
    """The build by whose rules one is answered: itself, or the nearest of those that are known."""
    return min(max(build, MEASURED[0]), REPLAYED)


def read_by(facts: ModelFacts, build: int) -> ModelFacts:
    """The model as a build reads it."""
    return gguf.read_by(facts, answered_by(build))


def check_known(facts: ModelFacts) -> None:
    """Raises WorkloadError for an architecture or an element type that came after the build."""
    if not facts.build:
        return
    since = ARCHS_SINCE.get(facts.arch, 0)
    if since > facts.build:
        raise WorkloadError(
            f"llama.cpp b{facts.build} does not know {facts.arch}", hint=f"b{since} is the first that was seen to"
        )
    arch = arch_at(facts.arch, facts.build)
    if arch is not None and not arch.nextn and any(".nextn." in t.name for t in facts.tensors):
        raise WorkloadError(f"llama.cpp b{facts.build} does not load prediction layers of {facts.arch}")
    for name in sorted({t.dtype.name for t in facts.tensors if t.dtype is not None}):
        if TYPES_SINCE.get(name, 0) > facts.build:
            raise WorkloadError(
                f"llama.cpp b{facts.build} does not know the type {name}",
                hint=f"b{TYPES_SINCE[name]} is the first that was seen to",
            )


def graded(result: Estimate, facts: ModelFacts, build: int) -> Iterator[Line]:
    """Lines of an estimate for a build: surer than modelled only where that build was measured to give them."""
    apart = _not_asked(result, facts, build)
    for line in result.lines:
        sure = build in MEASURED and not (apart and line.what in {"compute", "overhead"})
        yield line if sure and not (_beside(line) and build != REPLAYED) else line.replace(grade="modelled")


def _beside(line: Line) -> bool:
    """Whether it is of something that is loaded beside the model."""
    cache = line.what in {"kv_cache", "recurrent_state"}
    return line.label.startswith("draft") or bool(line.label and not cache)


def _not_asked(result: Estimate, facts: ModelFacts, build: int) -> str:
    """Back ends of the devices that this build was not asked on, with commas."""
    if build == REPLAYED:
        return ""
    asked = {"", "cpu", "rpc"} | ({"cuda"} if build >= _ON_CUDA and facts.arch in _FULL_SIZE else set())
    return ", ".join(name for name in (result.workload.backend or "").split(",") if name not in asked)


def said_of(result: Estimate, facts: ModelFacts, build: int) -> Estimate:
    """The estimate of a build: its name, its grades, and what is not known of it."""
    return result.replace(
        engine=f"{result.engine}@{build}",
        effective={"build": build, **result.effective},
        lines=tuple(graded(result, facts, build)),
        notes=(*_notes(result, facts, build), *result.notes),
    )


def _notes(result: Estimate, facts: ModelFacts, build: int) -> Iterator[str]:
    if build not in MEASURED:
        yield _not_measured(build)
    apart = _not_asked(result, facts, build)
    if apart and build in MEASURED:
        yield f"llama.cpp b{build}, with {facts.arch}, was not measured on {apart}: compute there is modelled"


def _not_measured(build: int) -> str:
    """Why the figures are not measured ones, and whose they are."""
    by = answered_by(build)
    if build != by:
        age = "older than" if build < by else "newer than"
        return f"llama.cpp b{build} was not measured: it is {age} b{by}, by whose rules it is answered"
    before = max(n for n in MEASURED if n < build)
    after = min(n for n in MEASURED if n > build)
    return f"llama.cpp b{build} was not measured: b{before} and b{after} were, and the sources between them were read"
