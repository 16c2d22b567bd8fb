"""What a safetensors checkpoint weighs once it is loaded: not always what its file weighs.

Rules: transformers 5.24.0 (tied heads are one tensor; layers beyond `num_hidden_layers` and `mtp.*` are not loaded;
unquantised tensors take the config's dtype); vLLM 0.33.0 (the same, plus vocabularies padded to 64 and a rank's share).
"""

from __future__ import annotations

import re

from inspector.memory.cache import kv_dtype, row_nbytes
from inspector.memory.engines.shared.kv_options import config_value
from inspector.memory.engines.shared.once import once_a_model
from inspector.record import Record
from inspector.units import pad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

    from inspector.facts import ModelFacts
    from inspector.formats.modelfile import TensorInfo
    from inspector.quantization.promised import PromisedTensor

_FLOATS: Final = frozenset({"F32", "F16", "BF16", "F64"})
_LAYER: Final = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")
_MTP: Final = re.compile(r"(?:^|\.)mtp\.")
_EMBEDDING: Final = re.compile(r"(?:embed_tokens|word_embeddings|wte|embed_in|tok_embeddings)\.weight$")
_HEAD: Final = re.compile(r"(?:^|\.)(?:lm_head|embed_out|output)\.weight$")
_COPY: Final = re.compile(r"embed_tokens|shared_head\.head|lm_head")  # what prediction layers have of the model's own
# Replicated on every rank (models/*.py): norms and other vectors, routers, MLA's down-projections, indexers.
_REPLICATED: Final = re.compile(
    r"norm|mlp\.gate\.|block_sparse_moe\.gate\.|router|q_a_proj|kv_a_proj|\.indexer\.|e_score_correction|position_emb|wpe"
    # what leads from another model's states, or the embedding's, into layers that draft
    r"|^fc\.|eh_proj|mtp_linear_proj|input_proj"
)
_EXPERT: Final = re.compile(r"\.experts\.")
_KV: Final = re.compile(r"\.(?:k_proj|v_proj)\.")
_VISION: Final = re.compile(r"(?:^|\.)(?:vision|visual|audio|image|multi_modal_projector|mm_projector)")
# Endings of the classes that vLLM runs as pooling models (config/model.py _SUFFIX_TO_DEFAULTS), and the types that it
# refuses in float16.
_POOLING: Final = (
    "ForTextEncoding", "EmbeddingModel", "ForSequenceClassification", "ForTokenClassification",
    "ForAudioClassification", "ForImageClassification", "ForVideoClassification", "ClassificationModel",
    "ForRewardModeling", "RewardModel",
)  # fmt: skip
_NO_FLOAT16: Final = frozenset({"gemma2", "gemma3", "gemma3_text", "glm4"})
VOCAB_PADDING: Final = 64  # layers/vocab_parallel_embedding.py DEFAULT_VOCAB_PADDING_SIZE


class Row(Record):
    """A weight of a checkpoint or of a config's promise: `nbytes` of one of `copies`, `is_plain`: an unpacked float."""

    name: str
    shape: tuple[int, ...]
    nbytes: int
    n_elements: int
    is_plain: bool
    copies: int = 1


def _rows(facts: ModelFacts) -> list[Row]:
    """Every tensor of the file; of a config alone, those that it promises."""
    if not facts.tensors:
        return _promised_rows(facts.promised)
    return [Row(t.name, t.shape, t.nbytes or 0, t.n_elements, bool(_float_name(t))) for t in facts.tensors]


def _promised_rows(promised: Iterable[PromisedTensor]) -> list[Row]:
    return [Row(t.name, t.shape, t.nbytes, t.n_elements, not t.packing, t.copies) for t in promised]


class Loaded(Record):
    """Bytes of one rank once loaded, and words for every way in which that differs from the file."""

    nbytes: int
    how: tuple[str, ...]


def _float_name(tensor: TensorInfo) -> str:
    """The name of an unquantised tensor's type; empty for any other."""
    return tensor.dtype.name if tensor.dtype is not None and tensor.dtype.name in _FLOATS else ""


def model_dtype(facts: ModelFacts) -> str | None:
    """The dtype that computation runs in: the config's, else that of most unquantised bytes; None when neither says."""
    if facts.dtype:
        return facts.dtype.lower().removeprefix("torch.")
    sizes: dict[str, int] = {}
    for t in facts.tensors:
        if name := _float_name(t):
            sizes[name] = sizes.get(name, 0) + (t.nbytes or 0)
    return max(sizes, key=lambda name: sizes[name]).lower() if sizes else None


def pools(facts: ModelFacts) -> bool:
    """Whether vLLM serves embeddings or scores of it, not text: an encoder, or a class of that kind."""
    named = config_value(facts, "architectures")
    first = named[0] if isinstance(named, (list, tuple)) and named else ""
    return not facts.causal or str(first).endswith(_POOLING)


def vllm_dtype(facts: ModelFacts) -> tuple[str, str]:
    """The dtype that vLLM computes in under `--dtype auto`, and words where that is not the checkpoint's own.

    vLLM 0.33.0 config/model.py _resolve_auto_dtype, on a GPU with bfloat16: what names no dtype counts as float32, and
    float32 runs in half of it (float16 for pooling models that stand it).
    """
    own = model_dtype(facts)
    if own is not None and kv_dtype(own).name != "F32":
        return own, ""
    half = "float16" if pools(facts) and facts.arch not in _NO_FLOAT16 else "bfloat16"
    return half, f"float32 weights run as {half}" if own else f"the model names no dtype: {half}, vLLM's default"


def _runs(tensor: Row, n_layers: int | None) -> bool:
    """Whether ordinary inference loads it: not a multi-token-prediction layer."""
    found = _LAYER.search(tensor.name)
    beyond = found is not None and n_layers is not None and int(found[1][:9]) >= n_layers
    is_text = not _VISION.search(tensor.name)
    return not (_MTP.search(tensor.name) or (beyond and is_text))


def loaded_tensors(facts: ModelFacts) -> tuple[list[Row], list[str]]:
    """The tensors that are loaded, and words for those that are not."""
    rows = _rows(facts)
    kept = [t for t in rows if _runs(t, facts.n_layers)]
    said = []
    left = len(rows) - len(kept)
    if left:
        said.append(f"{left} tensors of multi-token prediction are not loaded")
    if facts.tied_embeddings and any(_EMBEDDING.search(t.name) for t in kept):
        heads = [t for t in kept if _HEAD.search(t.name)]
        if heads:
            kept = [t for t in kept if not _HEAD.search(t.name)]
            said.append("the output head is tied to the embedding: its copy in the file is dropped")
    return kept, said


def _resident(tensor: Row, dtype: str | None, *, quantized: bool) -> int:
    """Bytes in memory: unquantised weights take the compute dtype; packed ones and their scales stay as they are."""
    if dtype is None or quantized or not tensor.is_plain:
        return tensor.nbytes
    return row_nbytes(tensor.n_elements, kv_dtype(dtype))


@once_a_model
def transformers_weights(facts: ModelFacts, dtype: str | None) -> Loaded:
    """Bytes of the weights as transformers holds them. Empty tensors: 0 and nothing said."""
    kept, said = loaded_tensors(facts)
    quantized = facts.quantization is not None
    total = sum(_resident(t, dtype, quantized=quantized) * t.copies for t in kept)
    filed = sum(t.nbytes * t.copies for t in kept)
    if total != filed:
        said.append(f"converted to {dtype} on loading")
    return Loaded(total, tuple(said))


def mlx_weights(facts: ModelFacts, *, unpacked: bool) -> Loaded:
    """Bytes of the weights as mlx-lm holds them: as stored, without towers beside the language model.

    `unpacked`: fp8 blocks become bfloat16, and their scales go.
    """
    kept, said = loaded_tensors(facts)
    text = [t for t in kept if not _VISION.search(t.name)]
    if len(text) < len(kept):
        said.append(f"{len(kept) - len(text)} tensors of towers are not loaded: mlx-lm runs the text part")
    if not unpacked:
        return Loaded(sum(t.nbytes * t.copies for t in text), tuple(said))
    said.append("fp8 blocks become bfloat16 on loading")
    total = 0
    for t in text:
        packed = len(t.shape) >= 2 and not t.is_plain
        total += 0 if "weight_scale_inv" in t.name else (2 * t.n_elements if packed else t.nbytes) * t.copies
    return Loaded(total, tuple(said))


def _rank_share(tensor: Row, nbytes: int, *, tp: int, n_kv_heads: int | None) -> int:
    """Bytes of one rank's part of a tensor, vocabularies padded."""
    if (_EMBEDDING.search(tensor.name) or _HEAD.search(tensor.name)) and tensor.shape:
        rows = tensor.shape[0]
        return nbytes * pad(rows, max(VOCAB_PADDING, tp)) // max(rows, 1) // tp
    if tp == 1 or len(tensor.shape) < 2 or _REPLICATED.search(tensor.name) or _VISION.search(tensor.name):
        return nbytes
    if _KV.search(tensor.name) and n_kv_heads and n_kv_heads < tp:
        return nbytes // n_kv_heads
    return -(-nbytes // tp)


def absorbed_nbytes(facts: ModelFacts, *, tp: int, elem: int) -> int:
    """MLA's absorbed copies of the up-projection, W_UK and W_UV, kept beside it (layers/attention/mla_attention.py)."""
    rank, nope, v_dim = (config_value(facts, k) for k in ("kv_lora_rank", "qk_nope_head_dim", "v_head_dim"))
    if not (isinstance(rank, int) and isinstance(nope, int) and isinstance(v_dim, int)):
        return 0
    n_latent = sum(any(type(c).__name__ == "LatentCache" for c in layer.caches) for layer in facts.layers)
    return n_latent * -(-(facts.n_heads or 0) // tp) * rank * (nope + v_dim) * elem


@once_a_model
def vllm_weights(facts: ModelFacts, dtype: str | None, *, tp: int, slices: int = 0, fp8: bool = False) -> Loaded:
    """Bytes of the weights of one rank as vLLM holds them.

    `slices`: ranks that share the routed experts (0: `tp` of them); `fp8`: linear layers are packed on loading.
    """
    kept, said = loaded_tensors(facts)
    quantized = facts.quantization is not None
    total = 0
    for t in kept:
        nbytes = t.n_elements if fp8 and _is_linear(t) else _resident(t, dtype, quantized=quantized)
        ranks = (slices or tp) if _EXPERT.search(t.name) else tp
        total += _rank_share(t, nbytes, tp=ranks, n_kv_heads=facts.n_kv_heads) * t.copies
    if fp8:
        said.append("linear layers packed to fp8 on loading, without their scales")
    if any(_is_vocab_odd(t) for t in kept):
        said.append(f"vocabulary padded to a multiple of {VOCAB_PADDING}")
    absorbed = absorbed_nbytes(facts, tp=tp, elem=row_nbytes(1, kv_dtype(dtype or "bf16")))
    if absorbed and kept:
        said.append(f"with {absorbed:,} B of absorbed MLA projections")
        total += absorbed
    return Loaded(total, tuple(said))


def ahead_weights(facts: ModelFacts, dtype: str, *, tp: int, slices: int = 0, alone: bool = False) -> Loaded | None:
    """Bytes of one rank of the layers that predict ahead; None where they are not known.

    Embedding and head are the model's own, but for `alone`: on a pipeline stage without the first layers they have
    an embedding of their own (v1/worker/gpu/spec_decode/eagle/utils.py).
    """
    rows = _rows(facts)
    mine = _promised_rows(facts.ahead_promised) or [t for t in rows if not _runs(t, facts.n_layers)]
    mine = [t for t in mine if not _COPY.search(t.name)]
    if not mine:
        return None
    if alone and not facts.tied_embeddings:
        mine += [t for t in rows if _EMBEDDING.search(t.name) and _runs(t, facts.n_layers)][:1]
    quantized = facts.quantization is not None
    total = 0
    for t in mine:
        ranks = (slices or tp) if _EXPERT.search(t.name) else tp
        nbytes = _resident(t, dtype, quantized=quantized)
        total += _rank_share(t, nbytes, tp=ranks, n_kv_heads=facts.n_kv_heads) * t.copies
    n = sum(t.n_elements * t.copies for t in mine)
    return Loaded(total, (f"{n:,} parameters that predict ahead, beside the model's own embedding and head",))


def _is_linear(tensor: Row) -> bool:
    """Whether online fp8 packs it: a matrix of a layer, and no router, norm, embedding, head or tower."""
    matrix = len(tensor.shape) >= 2 and tensor.is_plain and _LAYER.search(tensor.name) is not None
    kept = _REPLICATED.search(tensor.name) or _VISION.search(tensor.name) or "conv" in tensor.name
    return matrix and not kept


def _is_vocab_odd(tensor: Row) -> bool:
    named = _EMBEDDING.search(tensor.name) or _HEAD.search(tensor.name)
    return bool(named and tensor.shape and tensor.shape[0] % VOCAB_PADDING)


def without_file(facts: ModelFacts, loaded: Loaded, dtype: str, *, tp: int = 1) -> tuple[int, str] | None:
    """Bytes of one rank's weights, and how they came about, where only a config (and an index) is there; else None.

    What the index states comes first for packed weights, and where no rule gives the config's own tensors.
    """
    split = f" over {tp} ranks" if tp > 1 else ""
    if facts.stated_nbytes and (facts.quantization is not None or not facts.promised):
        return -(-facts.stated_nbytes // tp), f"{facts.stated_nbytes:,} B as the index states them{split}"
    if not facts.promised:
        known = facts.n_params is not None and facts.quantization is None
        size = row_nbytes(facts.n_params or 0, kv_dtype(dtype))
        return (-(-size // tp), f"{facts.n_params:,} parameters in {dtype}{split}") if known else None
    packed = sorted({t.packing for t in facts.promised if t.packing})
    n = facts.n_params or facts.n_params_text or 0
    words = f"{n:,} parameters{' of the text part' if facts.uncounted else ''} in {dtype}" + (
        f" ({', '.join(packed)} where packed)" if packed else ""
    )
    return loaded.nbytes, "; ".join((words + split, *loaded.how))


def uncounted(facts: ModelFacts) -> tuple[str, ...]:
    """Parts beside the language model whose weights no line counts: a config alone promises them, and no rule does."""
    if facts.tensors or facts.stated_nbytes:
        return ()
    return tuple(f"weights of {part}" for part in facts.uncounted)


def file_nbytes(tensors: Iterable[TensorInfo]) -> int:
    """Bytes in the file."""
    return sum(t.nbytes or 0 for t in tensors)
