"""Which tensors llama.cpp loads, how many bytes each takes in memory, and which layer it belongs to.

Sources (b11434): `llama_model_loader::create_tensor` (src/llama-model-loader.cpp), LLM_TENSOR_INFOS
(src/llama-arch.cpp), `load_arch_tensors` of each model, `ggml_repack_get_optimal_repack_type`
(ggml/src/ggml-cpu/repack.cpp).
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.architectures.gguf_builds import Span
from inspector.errors import WorkloadError
from inspector.memory.engines.llamacpp.backends import HOST_BACKEND
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Final

    from inspector.facts import ModelFacts
    from inspector.formats.modelfile import TensorInfo
    from inspector.memory.engines.llamacpp.backends import Backend

# Layers besides the numbered ones: the input stays on the host, the output is placed after the last block.
INPUT, OUTPUT, EVERY = "input", "output", "every"
_INPUT_NAMES: Final = frozenset(("token_embd", "position_embd", "token_types", "per_layer_token_embd"))
_FIRST_NAMES: Final = frozenset(
    ("token_embd_norm", "per_layer_model_proj", "per_layer_proj_norm", "hrm", "conv1d", "nextn")
)
# One tensor in the file, needed by every layer: each device gets a copy.
_EVERY_NAMES: Final = frozenset(("rope_freqs", "rope_factors_long", "rope_factors_short"))
# Of these models only layers without a window need them (gemma4.cpp, gemma4-assistant.cpp).
_FULL_LAYERS_ONLY: Final = frozenset(("gemma4", "gemma4-assistant"))
# Tensors that the loader knows and does not load (GGML_OP_NONE).
_UNUSED_PARTS: Final = ("masked_embd_centroids", "masked_embd_ordering", "cross_attn_rel_b")
# Parts of prediction blocks that are created without the flag that skips them, so they take memory all the same
# (load_arch_tensors of src/models/cohere2moe.cpp, deepseek32.cpp, glm-dsa.cpp, hy-v3.cpp, step35.cpp).
_NEXTN_HEADS: Final = ("nextn.embed_tokens.", "nextn.shared_head_")
_NEXTN_FFN: Final = ("ffn_gate.", "ffn_down.", "ffn_up.", "ffn_gate_inp.", "exp_probs_b", "_exps.", "_shexp.")
_NEXTN_LOADED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "cohere2moe": _NEXTN_HEADS,
        "deepseek32": ("exp_probs_b",),
        "glm-dsa": ("exp_probs_b",),
        "hy_v3": (*_NEXTN_HEADS, *_NEXTN_FFN),
        "step35": (*_NEXTN_HEADS, *_NEXTN_FFN, "attn_q_norm.", "attn_k_norm.", "attn_gate."),
    }
)
# These models create the output before the embedding, so a tied one is never shared (gemma3n.cpp, gemma4.cpp).
_ALWAYS_TWICE: Final = frozenset(("gemma3n", "gemma4"))

# Block types that the CPU back end rearranges, and the multiple of rows it needs, by instruction set.
_AVX2: Final = {"Q4_0": 8, "Q4_K": 8, "IQ4_NL": 8, "MXFP4": 8}
_NEON: Final = {"Q4_0": 4, "Q4_K": 8, "Q5_K": 8, "Q6_K": 8, "IQ4_NL": 4, "MXFP4": 4, "Q8_0": 4, "Q1_0": 4}
REPACK: Final[Mapping[str, Mapping[str, int]]] = MappingProxyType(
    {"avx2": _AVX2, "avx512": {**_AVX2, "Q2_K": 8}, "neon": _NEON}
)


# What older builds loaded of prediction blocks besides (architectures, "": all; parts of names, "": whole blocks).
_NEXTN_LOADED_BEFORE: Final = (
    (Span(until=10216), "step35 hy_v3 qwen35 qwen35moe cohere2moe", ("",)),
    (Span(until=10289), "", ("attn_q.bias", "attn_k.bias", "attn_v.bias", "attn_qkv.")),  # create_tensor_qkv
    (Span(until=11026), "", ("ffn_gate_up_exps.",)),  # create_tensor_gate_up_exps
)


def _kept_parts(facts: ModelFacts) -> tuple[str, ...]:
    """Parts of names of what is loaded of prediction blocks."""
    kept = _NEXTN_LOADED.get(facts.arch, ())
    for span, archs, parts in _NEXTN_LOADED_BEFORE if facts.build else ():
        if facts.build in span and (not archs or facts.arch in archs.split()):
            kept += parts
    return kept


class Weight(Record):
    """One tensor as it lies in memory. `layer`: a block's number, "input", "output" or "every".

    `copy`: a second copy of a tensor that the file has once.
    """

    name: str
    layer: int | str
    nbytes: int
    copy: bool = False


def weights(facts: ModelFacts, *, load_mtp: bool = False, backend: Backend = HOST_BACKEND) -> Iterator[Weight]:
    """The tensors that are loaded, as they lie in a back end's memory; a tied embedding appears a second time.

    Whether that copy, the output's, takes memory depends on where both land (`copies`).
    """
    # a file of prediction layers alone is loaded whole (gemma4-assistant.cpp)
    n_main = facts.n_layers if facts.n_layers and facts.n_layers_nextn and not load_mtp else None
    kept = _kept_parts(facts)
    lfm2 = facts.arch in {"lfm2", "lfm2moe"}
    for tensor in facts.tensors:
        layer = layer_of(tensor.name, norm_is_output=lfm2)
        if n_main is not None and isinstance(layer, int) and layer >= n_main and not _part(tensor.name, kept):
            continue
        if _part(tensor.name, _UNUSED_PARTS):
            continue
        yield Weight(tensor.name, layer, held_nbytes(tensor, backend))
    tied = tied_embedding(facts)
    if tied is not None:
        yield Weight(tied.name, OUTPUT, held_nbytes(tied, backend), copy=True)


def held_nbytes(tensor: TensorInfo, backend: Backend) -> int:
    """Bytes that a tensor takes in a back end's memory."""
    dtype, width = tensor.dtype, tensor.shape[-1] if tensor.shape else 1
    block = (1, 1) if dtype is None else (dtype.block_elems, dtype.block_bytes)
    return backend.allocated(tensor.nbytes or 0, width, block)


def _part(name: str, parts: tuple[str, ...]) -> bool:
    return any(part in name for part in parts)


def layer_of(name: str, *, norm_is_output: bool = False) -> int | str:
    """Where a tensor belongs, by its name."""
    stem = name.partition(".")[0]
    parts = name.split(".")
    for marker in ("blk", "posnet", "convnext"):
        at = parts.index(marker) + 1 if marker in parts else len(parts)
        if at < len(parts) and parts[at].isdecimal() and len(parts[at]) < 6:
            return int(parts[at])
    if stem in _INPUT_NAMES:
        return INPUT
    if stem in _EVERY_NAMES:
        return EVERY
    if stem in _FIRST_NAMES and not (norm_is_output and stem == "token_embd_norm"):
        return OUTPUT if name.startswith("nextn.post_projection") else 0
    return OUTPUT


def sharing_layers(facts: ModelFacts, n_blocks: int) -> list[int]:
    """The layers, of blocks that are loaded, which need the tensors that the file has once for all of them."""
    if facts.arch == "step35":  # prediction blocks too (step35.cpp)
        return list(range(n_blocks))
    main = facts.layers or facts.nextn_layers
    main = main[: facts.n_layers] if facts.n_layers else main
    if facts.arch == "nanbeige":  # further runs share what the blocks have (nanbeige.cpp)
        held = {layer_of(t.name) for t in facts.tensors}
        main = tuple(layer for layer in main if layer.index in held)
    apart = facts.arch in _FULL_LAYERS_ONLY
    return [layer.index for layer in main if layer.index < n_blocks and not (apart and layer.window is not None)]


def tied_embedding(facts: ModelFacts) -> TensorInfo | None:
    """The token embedding where it stands in for a missing output.weight."""
    if not facts.tied_embeddings:
        return None
    return next((t for t in facts.tensors if t.name == "token_embd.weight"), None)


def copies(facts: ModelFacts, *, repack: str | None = None) -> bool:
    """Whether a tied embedding is held twice although both copies are on the host."""
    tied = tied_embedding(facts)
    if tied is None:
        return False
    return facts.arch in _ALWAYS_TWICE or (repack is not None and repacked(tied, repack))


def repacked(tensor: TensorInfo, instruction_set: str) -> bool:
    """Whether the CPU back end rearranges a matrix of this type and shape. Raises WorkloadError."""
    rules = REPACK.get(instruction_set.lower())
    if rules is None:
        raise WorkloadError(f"unknown instruction set {instruction_set!r}", hint="one of " + ", ".join(REPACK))
    rows = tensor.shape[-2] if len(tensor.shape) > 1 else 0
    multiple = rules.get(tensor.dtype.name) if tensor.dtype is not None else None
    return multiple is not None and rows > 0 and rows % multiple == 0
