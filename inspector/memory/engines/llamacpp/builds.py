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


# Builds of which not every row was kept: compute was compared for the architectures of the models of full size alone,
# by how far b11434's figures are off (docs/versions.md); weights and caches for all.
_COMPARED_IN_PART: Final = frozenset((10001, 10502))
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
    apart = _not_asked(result, build)
    for line in result.lines:
        sure = build in MEASURED and not off(facts, line.what) and not (apart and line.what in {"compute", "overhead"})
        yield line if sure and not (_beside(line) and build != REPLAYED) else line.replace(grade="modelled")


def _beside(line: Line) -> bool:
    """Whether it is of something that is loaded beside the model."""
    cache = line.what in {"kv_cache", "recurrent_state"}
    return line.label.startswith("draft") or bool(line.label and not cache)


def _not_asked(result: Estimate, build: int) -> str:
    """Back ends of the devices that older builds were not asked on, with commas."""
    used = (result.workload.backend or "").split(",")
    return "" if build == REPLAYED else ", ".join(name for name in used if name not in {"", "cpu", "rpc"})


def off(facts: ModelFacts, what: str) -> str:
    """Why this line of this architecture is not surely the build's own, in words; "": it is."""
    if what != "compute" or facts.build not in _COMPARED_IN_PART or facts.arch in _FULL_SIZE:
        return ""
    return "is not held to that build's own figures, only to those of the builds before and after it"


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
    apart = _not_asked(result, build)
    if apart and build in MEASURED:
        yield f"llama.cpp b{build} was measured on the CPU and over RPC: compute on {apart} is modelled"
    for what in dict.fromkeys(line.what for line in result.lines):
        words = off(facts, what)
        if words:
            yield f"llama.cpp b{build}: {what} of {facts.arch} {words}"


def _not_measured(build: int) -> str:
    """Why the figures are not measured ones, and whose they are."""
    by = answered_by(build)
    if build != by:
        age = "older than" if build < by else "newer than"
        return f"llama.cpp b{build} was not measured: it is {age} b{by}, by whose rules it is answered"
    before = max(n for n in MEASURED if n < build)
    after = min(n for n in MEASURED if n > build)
    return f"llama.cpp b{build} was not measured: b{before} and b{after} were, and the sources between them were read"
