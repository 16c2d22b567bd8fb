"""The record that all facts of one model stand in."""

from __future__ import annotations

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Annotated, Any, Final

    from inspector.formats.modelfile import TensorInfo
    from inspector.layers import Layer
    from inspector.quantization.promised import PromisedTensor
    from inspector.record import Positive

FORMATS: Final = ("gguf", "safetensors", "config", "none")  # none: typed by hand

if TYPE_CHECKING:
    Format = Annotated[str, ("enum", FORMATS)]
    Origin = Annotated[Mapping[str, str], "fact: the key it was read from"]
    Stated = Annotated[Positive, "Bytes of all tensors as an index states them, where they are not here themselves"]
    Promised = Annotated[Positive, "Bytes of the tensors that a config alone promises, in the form it says they have"]


class Prediction(Record):
    """How a file that is not there yet came about: its quant, the grade of its tensors, what was found on the way."""

    label: str
    grade: str
    notes: tuple[str, ...] = ()


class ModelFacts(Record):
    """The facts of one model; a fact that is not known is None, and `origin` says which key each was read from.

    `n_layers` counts the layers that run in ordinary inference; `n_layers_nextn` further ones (multi-token prediction).
    `n_params` is exact when read from tensors (packed quants unpacked to logical counts); `n_params_active` counts
    routed experts by the share that a token uses, embeddings included. `generic`: the architecture has no row in the
    registry and the layers are a plain reading of the usual keys. `tensors` and `keys` carry what the file said, for
    engines whose rules need more than this vocabulary. `prediction`: there is no such file yet. `promised`: of a config
    alone, the tensors that it promises (`promised_nbytes`: in bytes); `stated_nbytes`: what the index beside it states
    for all of them. `n_params_text`: those of the language model, where a config promises towers beside it;
    `uncounted`: parts beside the language model that no rule counts (`n_params` is None, `promised` without them).
    `outer_type`: the model type of the whole config, where these are the facts of a part of it.
    `ahead_layers`: of a config.json, the layers that predict ahead as an engine that runs them builds them;
    `ahead_promised`: of a config alone, their tensors (none: not known). `build`: the build of llama.cpp by whose rules
    a GGUF was read; 0: the replayed one.
    """

    arch: str
    format: Format
    n_params: int | None
    n_params_active: int | None
    n_layers: int | None
    d_model: int | None
    d_ff: int | None
    n_heads: int | None
    n_kv_heads: int | None
    head_dim_k: int | None
    head_dim_v: int | None
    vocab_size: int | None
    n_ctx_train: int | None
    layers: tuple[Layer, ...]
    origin: Origin
    n_layers_nextn: int = 0
    n_experts: int | None = None
    n_experts_used: int | None = None
    d_ff_expert: int | None = None
    window: int | None = None
    tied_embeddings: bool | None = None
    causal: bool = True
    dtype: str | None = None
    quantization: str | None = None
    generic: bool = False
    notes: tuple[str, ...] = ()
    tensors: Sequence[TensorInfo] = ()
    keys: Mapping[str, Any] | None = None
    nextn_layers: tuple[Layer, ...] = ()
    prediction: Prediction | None = None
    promised: tuple[PromisedTensor, ...] = ()
    promised_nbytes: Promised | None = None
    stated_nbytes: Stated | None = None
    n_params_text: int | None = None
    uncounted: tuple[str, ...] = ()
    outer_type: str = ""
    ahead_layers: tuple[Layer, ...] = ()
    ahead_promised: tuple[PromisedTensor, ...] = ()
    build: int = 0
