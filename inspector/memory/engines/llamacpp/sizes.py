"""What llama.cpp makes of the asked-for context and batch, and what it refuses.

Sources (b11434): the constructor of llama_context and `llama_init_from_model` (src/llama-context.cpp), defaults of
common/common.h, `llama-server`'s own in tools/server/server.cpp.
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.gguf import gguf_arch
from inspector.architectures.gguf_builds import Span
from inspector.errors import WorkloadError
from inspector.layers import CompressedCache, LatentCache, Refused
from inspector.memory.cache import KV_DTYPES, named_types
from inspector.memory.engines.llamacpp.builds import check_known
from inspector.memory.engines.llamacpp.speculation import NO_SPECULATION, Speculation
from inspector.record import Record
from inspector.units import pad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from inspector.architectures.gguf_record import Draft
    from inspector.dtypes import Dtype
    from inspector.facts import ModelFacts
    from inspector.memory.estimate import Workload

CONTEXT_PAD: Final = 256
CELLS_PAD: Final = 256  # of a cache's tokens (llama_kv_cache)
MAX_SEQS: Final = 256  # LLAMA_MAX_SEQ
MAX_CTX: Final = (1 << 31) - 1
WITH_ENCODER: Final = frozenset(
    ("t5", "t5encoder", "eagle3", "dflash")
)  # llama_model_has_encoder (src/llama-model.cpp)
DEFAULT_BATCH: Final = 2048
DEFAULT_UBATCH: Final = 512
SERVER_SEQS: Final = 4
_MIXED_LATENTS: Final = Span(1, 10216)  # before caches of latents were refused two types (llama_init_from_model)
_ENCODERS_LIMITED: Final = Span(1, 9611)  # before llama_model_has_encoder was asked (llama-context.cpp)

# The types that -ctk and -ctv take (common/arg.cpp), with the names other tools use for them.
_TYPES: Final = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
CACHE_TYPES: Final[Mapping[str, Dtype]] = MappingProxyType({"auto": KV_DTYPES["f16"], **named_types(_TYPES)})


class Sizes(Record):
    """The settings that llama.cpp really runs with. Tokens; `n_ctx` over all sequences, `n_ctx_seq` for one.

    `n_rs_seq`: states that recurrent layers keep of each sequence besides the current one, for drafts to go back to.
    """

    n_ctx: int
    n_ctx_seq: int
    n_seqs: int
    n_streams: int
    n_batch: int
    n_ubatch: int
    n_outputs_max: int
    kv_unified: bool
    swa_full: bool
    flash_attn: bool
    type_k: Dtype
    type_v: Dtype
    flash_attn_auto: bool = False
    offload_kqv: bool = True
    n_rs_seq: int = 0

    def as_effective(self) -> dict[str, Any]:
        """For reports: plain values only."""
        values = self.as_dict()
        if not self.n_rs_seq:
            del values["n_rs_seq"]
        return {k: v.name.lower() if k.startswith("type_") else v for k, v in values.items()}


def effective(
    facts: ModelFacts,
    workload: Workload,
    *,
    server: bool = False,
    offload_kqv: bool = True,
    speculation: Speculation = NO_SPECULATION,
    alone: bool = True,
) -> Sizes:
    """The sizes llama.cpp runs with. Raises WorkloadError where it would refuse.

    `flash_attn_auto`: flash attention is on unless a device turns out not to run it; a quantised V cache insists on it.
    `alone`: the model is not loaded as another's draft.
    """
    if alone:
        check_file(facts)
    n_seqs, unified = _sequences(workload, server=server)
    asked = _context(facts, workload)
    n_batch, n_ubatch = _batches(workload)
    n_batch = min(asked, n_batch) if facts.causal else n_batch  # before the context is padded
    n_ctx = pad(asked, CONTEXT_PAD)
    n_ctx_seq = n_ctx if unified else pad(n_ctx // n_seqs, CONTEXT_PAD)
    if n_ctx_seq == 0:
        raise WorkloadError(f"{n_ctx:,} tokens of context leave none for each of {n_seqs:,} sequences")
    sizes = Sizes(
        n_ctx=n_ctx if unified else n_ctx_seq * n_seqs,
        n_ctx_seq=n_ctx_seq,
        n_seqs=n_seqs,
        n_streams=1 if unified else n_seqs,
        n_batch=n_batch,
        n_ubatch=min(n_batch, n_ubatch or n_batch),
        n_outputs_max=_outputs(
            facts,
            _served(workload) if server else workload,
            n_batch=n_batch,
            n_rows=n_seqs * (1 + speculation.n_max),
        ),
        kv_unified=unified,
        swa_full=workload.swa_full,
        flash_attn=_flash_attention(facts, workload),
        type_k=cache_type(workload.kv_dtype_k),
        type_v=cache_type(workload.kv_dtype_v),
        offload_kqv=offload_kqv,
        n_rs_seq=speculation.n_states(facts.arch),
    )
    auto = workload.flash_attn is None and sizes.flash_attn and not sizes.type_v.is_block_quantized
    sizes = sizes.replace(flash_attn_auto=auto)
    _check_types(facts, sizes)
    return sizes


def swa_cells(window: int, *, n_ctx_seq: int, n_windows: int, n_ubatch: int) -> int:
    """Tokens that a stream of a sliding-window cache has room for: its windows and one micro-batch, padded.

    `n_windows`: sequences that share the stream. Source: src/llama-kv-cache-iswa.cpp.
    """
    return pad(min(n_ctx_seq, window * n_windows + n_ubatch), CELLS_PAD)


def check_file(facts: ModelFacts) -> None:
    """Raises WorkloadError for a model that llama.cpp does not run, or not by itself."""
    check_known(facts)
    for note in facts.notes:
        if isinstance(note, Refused):
            raise WorkloadError(f"{note}")
    arch = gguf_arch(facts.arch) if facts.format == "gguf" else None
    if arch is None:
        return
    if not arch.loads:
        raise WorkloadError(f"llama.cpp has no code for {facts.arch}")
    if arch.draft is not None and not _stands_alone(arch.draft, facts):
        raise WorkloadError(f"llama.cpp runs a {facts.arch} model only beside the one it drafts for")


def _stands_alone(draft: Draft, facts: ModelFacts) -> bool:
    """With tensors of its own for what it else takes from its parent (llama-context.cpp)."""
    return bool(draft.alone) and set(draft.alone) <= {t.name for t in facts.tensors}


def _sequences(workload: Workload, *, server: bool) -> tuple[int, bool]:
    if workload.n_seqs is None and server:  # tools/server/server.cpp: four slots that share one cache
        return SERVER_SEQS, True if workload.kv_unified is None else workload.kv_unified
    n_seqs = 1 if workload.n_seqs is None else workload.n_seqs
    if not 1 <= n_seqs <= MAX_SEQS:
        raise WorkloadError(f"{n_seqs:,} sequences: llama.cpp takes 1 to {MAX_SEQS}")
    return n_seqs, bool(workload.kv_unified)


def _context(facts: ModelFacts, workload: Workload) -> int:
    n_ctx = workload.n_ctx or facts.n_ctx_train
    if not n_ctx:
        raise WorkloadError("the file does not say what context it was trained for", hint="give one with -c")
    if not 0 < n_ctx <= MAX_CTX:
        raise WorkloadError(f"a context of {n_ctx:,} tokens is beyond what llama.cpp can count")
    return n_ctx


def _batches(workload: Workload) -> tuple[int, int]:
    n_batch = DEFAULT_BATCH if workload.n_batch is None else workload.n_batch
    n_ubatch = DEFAULT_UBATCH if workload.n_ubatch is None else workload.n_ubatch
    if not 1 <= n_batch <= MAX_CTX or not 0 <= n_ubatch <= MAX_CTX:
        raise WorkloadError(f"batches of {n_batch:,} and {n_ubatch:,} tokens are no sizes")
    return n_batch, n_ubatch


def _served(workload: Workload) -> Workload:
    """llama-server wants the last row of each sequence only, unless all rows were asked for by name.

    For embeddings it wants those of a whole batch (server_output_limits, tools/server/server-context.cpp).
    """
    options = workload.options or {}
    if options.get("outputs_asked"):
        return workload
    return workload.replace(outputs="all" if options.get("embeddings") else "last")


def _outputs(facts: ModelFacts, workload: Workload, *, n_batch: int, n_rows: int) -> int:
    """Rows of logits a batch may ask for: all of it, or the last of each sequence and of each token drafted for it."""
    whole = facts.arch in WITH_ENCODER and facts.build not in _ENCODERS_LIMITED
    if workload.outputs != "last" or whole:
        return n_batch
    return min(n_batch, n_rows)


def _flash_attention(facts: ModelFacts, workload: Workload) -> bool:
    """On unless turned off: the CPU and every common device support it; Grok is forced off."""
    return workload.flash_attn is not False and facts.arch != "grok"


def cache_type(name: str | None) -> Dtype:
    """The element type of a cache option. Raises WorkloadError for one that llama.cpp has not."""
    dtype = CACHE_TYPES.get((name or "f16").lower())
    if dtype is None:
        known = ", ".join(k for k, v in CACHE_TYPES.items() if k == v.name.lower())
        raise WorkloadError(f"llama.cpp has no cache type {name!r}", hint=f"one of {known}")
    return dtype


def _check_types(facts: ModelFacts, sizes: Sizes) -> None:
    """What `llama_init_from_model` refuses before it builds anything."""
    k, v = sizes.type_k, sizes.type_v
    if k is not v and _keys_only(facts) and facts.build not in _MIXED_LATENTS:
        raise WorkloadError(f"model does not support different K ({k.name}) and V ({v.name}) cache types")
    if v.is_block_quantized and not sizes.flash_attn:
        raise WorkloadError("a quantised V cache requires flash attention", hint="leave out --flash-attn off")
    if not sizes.flash_attn:
        return
    for layer in facts.layers:
        for what, dtype, width in (("K", k, layer.head_dim_k), ("V", v, layer.head_dim_v)):
            if dtype.is_block_quantized and width is not None and width % dtype.block_elems:
                raise WorkloadError(
                    f"{what} cache type {dtype.name} comes in blocks of {dtype.block_elems}, "
                    f"which do not divide heads of {width}"
                )


def _keys_only(facts: ModelFacts) -> bool:
    return any(isinstance(c, (LatentCache, CompressedCache)) for x in facts.layers for c in x.caches)
