"""What graphs of builds before b11434 do otherwise: rules with the builds that follow them, and architectures' rows.

`since` and `until` are sdists of the index (inspector/architectures/gguf_builds.py), found in the sources named beside
them.
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.gguf_builds import REPLAYED, Span
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Final

    from inspector.memory.engines.llamacpp.graph.options import Row

MOST_INPUTS: Final = 30  # GGML_SCHED_MAX_SPLIT_INPUTS
RULES: Final[Mapping[str, Span]] = MappingProxyType({
    # inputs for embeddings among tokens (build_inp_embd, src/llama-graph.cpp)
    "mixes inputs": Span(11401),
    # embeddings scaled by a factor a token, an input; before, by one number for all (build_inp_embd)
    "scales by token": Span(11401),
    # states of the batch and further ones gathered at once (build_rs, src/llama-graph.cpp)
    "gathers states at once": Span(11378),
    # all inputs of a pipeline are held several times; before, those that a node reads (pass 6, ggml-backend.cpp)
    "copies every input": Span(11258),
    # a split of a graph has any number of inputs; before, GGML_SCHED_MAX_SPLIT_INPUTS (ggml/src/ggml-backend.cpp)
    "takes any inputs": Span(10840),
    # norms of the delta net are root mean squares that are scaled (build_gdn_l2_norm, src/models/delta-net-base.cpp)
    "norms by mean square": Span(10830),
    # Mamba 2 projects a matrix; before, a stack of one a sequence (build_mamba2_layer, src/models/mamba-base.cpp)
    "projects flat": Span(10605),
    # clamping has a result of its own; before, it was a view of its source (ggml_clamp, ggml/src/ggml.c)
    "clamps apart": Span(10615),
    # queries are rotated from an offset on; before, cut apart and joined again (src/models/deepseek2.cpp, plm.cpp)
    "rotates from an offset": Span(10568),
    # the same of an indexer's queries and keys (src/models/deepseek32.cpp)
    "rotates the indexer whole": Span(10453),
    # an indexer's scores in one operation (fused_lid, src/models/deepseek32.cpp)
    "scores at once": Span(9976),
    # the gate of attention is no view (build_layer_attn, src/models/qwen3next.cpp)
    "gates flat": Span(10240),
    # rows are picked before the feed-forward (src/models/plamo2.cpp)
    "picks before feeding": Span(10909),
    # RPC devices run asynchronously, so that several make a pipeline (ggml/src/ggml-rpc/ggml-rpc.cpp)
    "pipelines over RPC": Span(10644),
    # attention runs where its neighbours do; before, where its sinks lie (ggml_backend_sched_backend_id_from_cur)
    "passes over sinks": Span(10151),
    # what CUDA holds to run it as one operation (ggml_backend_cuda_graph_optimize, ggml/src/ggml-cuda/ggml-cuda.cu)
    "holds reduced experts": Span(10752),
    "holds routing": Span(11138),
    "holds shared experts": Span(11378),
})  # fmt: skip


class Older(Record):
    """The row of some architectures in the builds of a span, made of the present one."""

    span: Span
    archs: str
    made: Callable[[Row], Row]


def _without_draft(row: Row) -> Row:
    """Before hidden states were kept for a draft head (`t_h_nextn`)."""
    return row.replace(options=row.options.replace(draft_reads="none"))


def _one_position(row: Row) -> Row:
    """Before a file's `rope.dimension_sections` was read (load_arch_hparams, src/models/bailingmoe3.cpp)."""
    return row.replace(options=row.options.replace(positions="one"))


def _dense(row: Row) -> Row:
    """Latent attention over all keys, without an indexer."""
    return row.replace(builder="Latent")


_OLDER: Final = (
    Older(Span(until=10159), "gpt-oss", _without_draft),
    Older(Span(until=10240), "qwen3next", _without_draft),
    Older(Span(until=10355), "nemotron_h nemotron_h_moe", _without_draft),
    Older(Span(until=9553), "gemma4", _without_draft),
    Older(Span(until=11160), "bailingmoe3", _one_position),
    Older(Span(until=10240), "glm-dsa", _dense),
)  # fmt: skip


# Whose older graphs differ from the replayed one in ways that no rule here has (fixtures/llamacpp-builds.jsonl.xz).
_UNREPLAYED: Final = frozenset(("qwen4exp",))


def is_replayed(arch: str, build: int) -> bool:
    """Whether rules here make an architecture's graph as a build does (0: the replayed one)."""
    return arch not in _UNREPLAYED or not 0 < build < REPLAYED


def row_at(arch: str, row: Row | None, build: int) -> Row | None:
    """An architecture's row as a build follows it."""
    if row is None:
        return None
    for older in _OLDER:
        if build in older.span and arch in older.archs.split():
            row = older.made(row)
    return row
