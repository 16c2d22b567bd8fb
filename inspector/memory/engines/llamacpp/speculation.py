"""Speculative decoding: what llama.cpp loads and reserves for it besides the model.

Sources (b11434): common/common.h (`common_params_speculative`), common/speculative.cpp
(`common_speculative_types_from_gguf`, `common_speculative_n_max`, `common_base_params_to_speculative`,
`common_speculative_init_result`), tools/server/server-context.cpp (`server_output_limits`), src/llama-arch.cpp
(`llm_arch_supports_rs_rollback`).
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.errors import WorkloadError
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from inspector.facts import ModelFacts

MTP: Final = "draft-mtp"
N_DRAFT: Final = 3  # --spec-draft-n-max where it is not given
# Tokens that a type drafts at most, by its own options' defaults; 0: as many as --spec-draft-n-max says.
TYPES: Final[Mapping[str, int]] = MappingProxyType({
    "draft-simple": 0, "draft-eagle3": 0, MTP: 0, "draft-dflash": 0, "draft-dspark": 0,
    "ngram-simple": 48, "ngram-map-k": 48, "ngram-map-k4v": 48, "ngram-mod": 64, "ngram-cache": 8,
})  # fmt: skip
# Types that keep the states of recurrent layers for every drafted token, to go back to (need_n_rs_seq).
_KEEPS_STATES: Final = frozenset((MTP, "draft-eagle3", "draft-dflash", "draft-dspark"))
_DRAFTS_BLOCKS: Final = frozenset(("draft-dflash", "draft-dspark"))
# What drafts of these architectures are made for; of all others, to predict.
_BY_ARCH: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "eagle3": ("draft-eagle3",),
        "dflash": ("draft-dflash", "draft-dspark"),
    }
)
_GOES_BACK: Final = frozenset((
    "kimi-k3", "qwen35", "qwen35moe", "qwen4exp", "deepseek4", "glm5-next", "nemotron_h", "nemotron_h_moe", "lfm2",
    "lfm2moe", "bailingmoe3",
))  # fmt: skip


class Speculation(Record):
    """How tokens are drafted. `types`: those of --spec-type; `n_draft`: --spec-draft-n-max.

    `type_k` and `type_v`: cache types of the draft's context (-ctkd, -ctvd), which do not follow the model's.
    """

    types: tuple[str, ...] = ()
    n_draft: int = N_DRAFT
    type_k: str = "f16"
    type_v: str = "f16"

    @property
    def mtp(self) -> bool:
        """Whether the model's own prediction layers draft, in a context of their own."""
        return MTP in self.types

    @property
    def n_max(self) -> int:
        """Tokens that one sequence drafts at a time."""
        return max((TYPES[t] or self.n_draft for t in self.types), default=0)

    def n_states(self, arch: str) -> int:
        """States that a recurrent layer keeps of each sequence besides the current one."""
        return self.n_draft if arch in _GOES_BACK and _KEEPS_STATES & set(self.types) else 0

    def sampled(self, arch: str, tensors: frozenset[str] = frozenset()) -> int:
        """Rows a sequence whose tokens the draft's device picks by itself; 0 where the draft is none of these types.

        `arch`: the draft's, or the model's own where its prediction layers draft; `tensors`: names of the draft's.
        """
        blocks = bool(_DRAFTS_BLOCKS & set(self.types))
        made = (MTP in self.types and arch not in _BY_ARCH) or bool(set(self.types) & set(_BY_ARCH.get(arch, ())))
        if not made or (blocks and "selector_hidden.weight" in tensors):
            return 0
        return max(1, self.n_draft + 1) if blocks else 1

    @property
    def draft_outputs(self) -> int:
        """Rows of logits a sequence that the draft's context asks for."""
        return max(1, self.n_draft + 1) if _DRAFTS_BLOCKS & set(self.types) else 1


NO_SPECULATION: Final = Speculation()


def type_for(arch: str) -> str:
    """The --spec-type that a draft of this architecture is for."""
    return {"eagle3": "draft-eagle3", "gemma4-assistant": MTP}.get(arch, "draft-simple")


def spec_types(text: str | None, draft: ModelFacts | None) -> tuple[str, ...]:
    """The types that --spec-type names; without it, the one that a draft file is made for. Raises WorkloadError."""
    if text is None:
        return _made_for(draft) if draft is not None else ()
    names = tuple(name for name in text.split(",") if name != "none")
    for name in names:
        if name not in TYPES:
            raise WorkloadError(f"llama.cpp has no --spec-type {name!r}", hint="one of none, " + ", ".join(TYPES))
    return names


def _made_for(draft: ModelFacts) -> tuple[str, ...]:
    names = {t.name for t in draft.tensors}
    if draft.arch == "dflash":
        return ("draft-dspark" if "markov_w1.weight" in names else "draft-dflash",)
    last = len(draft.layers) + len(draft.nextn_layers) - 1
    return (MTP,) if f"blk.{last}.nextn.eh_proj.weight" in names else ()
