"""Layers that predict several tokens ahead, as vLLM 0.33.0 builds them: what they keep, and their tensors.

vllm/model_executor/models/*_mtp.py. Most are one more layer like the last one that attends, behind a projection of the
hidden state and the embedding; embedding and head are the model's own. transformers loads none of them.
"""

from __future__ import annotations

from copy import copy

from inspector.architectures.hf.record import ExpectedTensor
from inspector.architectures.hf_config import ALIASES, MAX_LAYERS
from inspector.architectures.hf_experts import moe_layers
from inspector.architectures.hf_layers import read_layers
from inspector.architectures.hf_tensors import tensor_groups
from inspector.architectures.hf_types import FULL, SLIDING, layer_types
from inspector.errors import FactsError
from inspector.layers import IndexCache, KVCache, LatentCache, UnknownCache
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Final

    from inspector.architectures.hf_config import HfConfig
    from inspector.layers import Layer

    Blocks = Sequence[tuple[str, bool]]  # layer type, whether it routes

AHEAD: Final = "multi-token prediction"
_KEYS: Final = ("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_layers", "mtp_num_layers")


class Ahead(Record):
    """What predicts ahead: layers, and their tensors; None where no rule gives the tensors."""

    layers: tuple[Layer, ...] = ()
    groups: tuple[ExpectedTensor, ...] | None = None


class _Way(Record):
    """How one class differs.

    `blocks`: (config, how many) → layer types and whether they route (None: like the last layer that attends);
    `count`: layers that run whatever the config counts; `default`: how many where it counts none. `at`: the prefix of
    their names, from their index counted among all layers, or with `own_index` among themselves; `norms`, `projection`:
    what stands around them, with `once` for all of them together. `shapes`: their tensors have a rule.
    """

    blocks: Callable[[HfConfig, int], Blocks] | None = None
    count: int = 0
    default: int = 0
    at: str = "model.layers."
    own_index: bool = False
    norms: tuple[str, ...] = ("enorm", "hnorm", "shared_head.norm")
    projection: str = "eh_proj"
    once: bool = False
    shapes: bool = True


def _dense(_: HfConfig, n: int) -> Blocks:
    return ((FULL, False),) * n


def _pattern(k: HfConfig, n: int) -> Blocks:
    """Nemotron-H: a pattern of attention and experts for each (models/nemotron_h_mtp.py)."""
    listed = k.strings("mtp_layers_block_type")
    kinds = {"*": FULL, "E": "moe", "attention": FULL}
    pattern = listed or tuple(str(k.get("mtp_hybrid_override_pattern") or ""))
    return tuple((kinds.get(c, c), kinds.get(c, c) == "moe") for c in pattern) * n


def _listed(k: HfConfig, n: int) -> Blocks:
    """Step-3.5: the list of layer types goes on past the model's own layers; no experts there."""
    own = (k.strings("layer_types") or ())[k.n_layers :]
    return tuple((own[i] if i < len(own) else FULL, False) for i in range(n))


_QWEN: Final = _Way(
    at="mtp.layers.", own_index=True, projection="fc", once=True,
    norms=("norm", "pre_fc_norm_hidden", "pre_fc_norm_embedding"),
)  # fmt: skip
_PLAIN: Final = _Way()
_UNKNOWN: Final = _Way(shapes=False)
_WAYS: Final[dict[str, _Way]] = {
    "qwen3_next": _QWEN.replace(default=1),
    **dict.fromkeys(["qwen3_5_text", "qwen3_5_moe_text"], _QWEN),
    "exaone_moe": _QWEN.replace(blocks=_dense),
    "ernie4_5_moe": _Way(blocks=_dense, norms=("mtp_emb_norm", "mtp_hidden_norm"), projection="mtp_linear_proj"),
    "mimo": _Way(
        at="model.mtp_layers.", own_index=True, projection="input_proj",
        norms=("token_layernorm", "hidden_layernorm", "final_layernorm"),
    ),
    "mimo_v2_flash": _Way(
        blocks=lambda _, n: ((SLIDING, False),) * n, count=1, at="model.mtp.layers.", own_index=True,
        norms=("enorm", "hnorm", "final_layernorm"),
    ),
    **dict.fromkeys(["step3p5", "step3p7_text"], _Way(blocks=_listed, default=1)),
    "nemotron_h": _Way(blocks=_pattern, at="mtp.layers.", own_index=True, once=True),
    # dense, and one attention where the model's layers have two
    "longcat_flash": _Way(count=1, shapes=False),
    **dict.fromkeys(
        (
            "deepseek_v3", "deepseek_v32", "glm_moe_dsa", "glm4", "glm4_moe", "glm4_moe_lite", "hy_v3",
            "bailing_hybrid", "pangu_ultra_moe", "kimi_k2",
        ),
        _PLAIN,
    ),
}  # fmt: skip


def n_ahead(k: HfConfig) -> int:
    """How many layers the config counts that predict ahead."""
    for key in _KEYS:
        n = k.inner.get(key)
        if isinstance(n, int) and not isinstance(n, bool) and 0 < n < 1000:
            return n
    return 0


def may_predict(k: HfConfig) -> bool:
    """Whether there are any, by the config or by its class."""
    way = _WAYS.get(k.model_type, _UNKNOWN)
    return bool(way.count or n_ahead(k) or way.default)


def read_ahead(k: HfConfig, layers: tuple[Layer, ...], groups: Iterable[ExpectedTensor] | None) -> Ahead:
    """The layers that predict ahead; nothing where the config counts none. `groups`: the model's own tensors."""
    way = _WAYS.get(k.model_type, _UNKNOWN)
    n = way.count or n_ahead(k) or way.default
    if not n or not layers:
        return Ahead()
    try:
        if way.blocks:
            return _further(k, way, way.blocks(k, n), len(layers))
        return _repeated(k, way, n, layers, tuple(groups or ()))
    except (FactsError, TypeError, AssertionError):
        return Ahead(tuple(_nothing_known(len(layers) + i) for i in range(n)))


def _nothing_known(index: int) -> Layer:
    from inspector.layers import Layer

    return Layer(index, "unknown", (UnknownCache(AHEAD),), AHEAD)


def _attends(layer: Layer) -> bool:
    return any(isinstance(c, KVCache | LatentCache) for c in layer.caches)


def _repeated(k: HfConfig, way: _Way, n: int, layers: tuple[Layer, ...], groups: tuple[ExpectedTensor, ...]) -> Ahead:
    """Layers like the last one that attends; an indexer is built whether or not that one shares another's."""
    first = len(layers)
    last = next((x for x in reversed(layers) if _attends(x)), None)
    if last is None or k.model_type not in _WAYS:
        return Ahead(tuple(_nothing_known(first + i) for i in range(n)))
    kept = last.caches[: 1 if k.model_type == "longcat_flash" else None]
    indexers = [c for x in layers for c in x.caches if isinstance(c, IndexCache)]
    if indexers and not any(isinstance(c, IndexCache) for c in kept):
        last, kept = next(
            (x, x.caches) for x in reversed(layers) if _attends(x) and any(isinstance(c, IndexCache) for c in x.caches)
        )
    more = tuple(last.replace(index=first + i, caches=kept, decided_by=AHEAD) for i in range(n))
    mark = f".layers.{last.index}."
    own = [t for t in groups if mark in t.name]
    if not way.shapes or not own:
        return Ahead(more)
    found: list[ExpectedTensor] = []
    for i in range(n):
        at = _prefix(way, first, i)
        found += [t.replace(name=at + t.name.partition(mark)[2]) for t in own]
        found += _around(k, way, at, i)
    return Ahead(more, tuple(found))


def _further(k: HfConfig, way: _Way, blocks: Blocks, first: int) -> Ahead:
    """Layers of other types than the last: by the model's own rules, as if the config had so many more."""
    if not blocks or first + len(blocks) > MAX_LAYERS:
        raise FactsError("no pattern of the layers that predict ahead")
    longer = copy(k)
    kinds, routed = layer_types(k, first)[0], moe_layers(k, first)
    changed = {
        **dict.fromkeys((x for x in ALIASES["num_hidden_layers"] if x in k.inner), first + len(blocks)),
        "layer_types": [*kinds, *(kind for kind, _ in blocks)],
        "mlp_layer_types": ["sparse" if x else "dense" for x in (*routed, *(r for _, r in blocks))],
    }
    longer.inner = {**k.inner, "num_hidden_layers": first + len(blocks), **changed}
    longer.origin, longer.notes = {}, []
    more = tuple(x.replace(decided_by=AHEAD) for x in read_layers(longer)[first:])
    groups = tensor_groups(longer)
    if groups is None or not way.shapes:
        return Ahead(more)
    found: list[ExpectedTensor] = []
    for i in range(len(blocks)):
        mark = f".layers.{first + i}."
        at = _prefix(way, first, i)
        found += [t.replace(name=at + t.name.partition(mark)[2]) for t in groups if mark in t.name]
        found += _around(k, way, at, i)
    return Ahead(more, tuple(found))


def _prefix(way: _Way, first: int, i: int) -> str:
    return f"{way.at}{i if way.own_index else first + i}."


def _around(k: HfConfig, way: _Way, at: str, i: int) -> Iterable[ExpectedTensor]:
    """The projection of state and embedding, and norms; once for all layers where a class has them so."""
    if way.once and i:
        return ()
    hidden = k.need("hidden_size")
    norms = [ExpectedTensor(f"{at}{name}.weight", (hidden,), "norm") for name in way.norms]
    return (ExpectedTensor(f"{at}{way.projection}.weight", (hidden, 2 * hidden), "other"), *norms)
