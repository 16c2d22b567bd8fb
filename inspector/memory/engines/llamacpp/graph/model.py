"""What the graph builders ask of a model: hyperparameters per layer, and weights as shapes.

Layers, heads, windows, recurrence and prediction layers are read from the facts, which state llama.cpp's rules once
(inspector/architectures/gguf_layers.py); other keys with the defaults of llama_model::load_hparams
(src/llama-model.cpp, b11434).
"""

from __future__ import annotations

from inspector.architectures.gguf_builds import REPLAYED
from inspector.layers import IndexCache, LatentCache, StateCache, UnknownCache
from inspector.memory.engines.llamacpp.graph.builds import RULES
from inspector.memory.engines.llamacpp.graph.tensor import F32, LEAF, Tensor, contiguous

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from inspector.facts import ModelFacts
    from inspector.formats.modelfile import TensorInfo
    from inspector.memory.engines.llamacpp.graph.tensor import Elem


def _items(value: Any) -> tuple[Any, ...] | None:
    """A metadata array's elements, where all of them were read."""
    if isinstance(value, (list, tuple)):
        return tuple(value)
    head = getattr(value, "head", None)
    return tuple(head) if head is not None and len(head) == value.length else None


class GraphUnknown(Exception):
    """The graph of this model is not known: an architecture without a builder, or a weight or key that one needs."""


class Model:
    """Hyperparameters and weights of one file, read on demand."""

    def __init__(self, facts: ModelFacts) -> None:
        keys: Mapping[str, Any] = facts.keys or {}
        self.arch = str(keys.get("general.architecture") or facts.arch)
        self.keys = keys
        self.globals: dict[str, TensorInfo] = {}
        self.blocks: dict[str, dict[str, TensorInfo]] = {}
        self._made: dict[tuple[str, str], Tensor | None] = {}
        self.same_as: dict[int | str, int] = {}  # the block whose weights a layer runs with, where it has none itself
        for t in facts.tensors:
            name = t.name
            if name.startswith("blk."):
                number, _, rest = name[4:].partition(".")
                block = self.blocks.get(number)
                if block is None:
                    block = self.blocks[number] = {}
                block[rest] = t
            else:
                self.globals[name] = t
        self.layers = (*facts.layers, *facts.nextn_layers)
        self.n_layer_all = len(self.layers)
        self.n_layer = len(facts.layers)
        # further ones read the caches of earlier layers
        self.n_kv_layers = next((x.index for x in facts.layers if x.kind == "shared"), self.n_layer)
        self.n_embd = self.positive("embedding_length")
        self.n_expert = self.count("expert_count", 0)
        self.n_vocab = self._n_vocab()
        self.n_ctx_train = self.count("context_length", 0)
        self.head_k_full = facts.head_dim_k or 0
        self.head_v_full = facts.head_dim_v or 0
        self.n_rot = self.count("rope.dimension_count", self.head_k_full)
        self.n_swa = facts.window
        self.has_swa = self.n_swa is not None
        self.swa = tuple(x.window is not None for x in self.layers)
        self.build = facts.build or REPLAYED
        self.weight_buf: Callable[[str, str], int] = lambda _block, _name: 0

    def does(self, rule: str) -> bool:
        """Whether the build follows a rule of `RULES` (builds.py)."""
        return self.build in RULES[rule]

    def key(self, name: str, default: Any = None) -> Any:
        """`{arch}.name`; a scalar also where the file has an array of one."""
        value = self.keys.get(f"{self.arch}.{name}")
        return default if value is None else value

    def count(self, name: str, default: int | None = None) -> int:
        """A whole number from 0 on; of an array, its first. Raises GraphUnknown without one, or of another type."""
        value = self.key(name, default)
        items = _items(value)
        value = items[0] if items else value
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 32:
            raise GraphUnknown(f"{self.arch}.{name}")
        return value

    def positive(self, name: str, default: int | None = None) -> int:
        """A whole number from 1 on: what is divided by. Raises GraphUnknown without one."""
        n = self.count(name, default)
        if not n:
            raise GraphUnknown(f"{self.arch}.{name}")
        return n

    def whole_numbers(self, name: str) -> tuple[int, ...]:
        """An array of whole numbers, negative ones too; empty where the file has none. Raises GraphUnknown."""
        value = self.key(name, ())
        items = _items(value)
        if items is None or any(isinstance(x, bool) or not isinstance(x, int) for x in items):
            raise GraphUnknown(f"{self.arch}.{name}")
        return items

    def number(self, name: str, default: float) -> float:
        """A number; of an array, its first. Raises GraphUnknown where it is of another type."""
        return self._number(name, self.key(name, default), 0)

    def _number(self, name: str, value: Any, il: int) -> float:
        items = _items(value)
        value = items[min(il, len(items) - 1)] if items else value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise GraphUnknown(f"{self.arch}.{name}")
        return float(value)

    def per_layer(self, name: str, il: int, default: float) -> float:
        """Layer `il`'s number of a key that is one number or an array with one a layer."""
        return self._number(name, self.key(name, default), il)

    def _n_vocab(self) -> int:
        tokens = self.keys.get("tokenizer.ggml.tokens")
        n = getattr(tokens, "length", None)
        if n is None and isinstance(tokens, (list, tuple)):
            n = len(tokens)
        if not n:
            n = self.count("vocab_size", 0)
        embd = self.globals.get("token_embd.weight")
        if not n and embd is not None and embd.shape:
            n = embd.shape[0]
        return int(n or 0)

    def n_head(self, il: int = 0) -> int:
        """Query heads of a layer (`llama_hparams::n_head`)."""
        return self.layers[il].n_heads or 0

    def n_head_kv(self, il: int = 0) -> int:
        """Key-value heads of a layer (`llama_hparams::n_head_kv`)."""
        return self.layers[il].n_kv_heads or 0

    def head_k(self, il: int = 0) -> int:
        """Elements of a key head (`llama_hparams::n_embd_head_k`)."""
        return self.layers[il].head_dim_k or 0

    def head_v(self, il: int = 0) -> int:
        """Elements of a value head (`llama_hparams::n_embd_head_v`)."""
        return self.layers[il].head_dim_v or 0

    def d_ff(self, il: int = 0) -> int:
        """Rows of a layer's dense feed-forward (`llama_hparams::n_ff`)."""
        return self.layers[il].d_ff or 0

    def recurrent(self, il: int) -> bool:
        """Whether the layer keeps a recurrent state."""
        return self.layers[il].kind in {"recurrent", "hybrid"}

    def k_gqa(self, il: int = 0) -> int:
        """Elements of all key heads of a layer (`llama_hparams::n_embd_k_gqa`)."""
        return self.head_k(il) * self.n_head_kv(il)

    def v_gqa(self, il: int = 0) -> int:
        """Elements of all value heads of a layer (`llama_hparams::n_embd_v_gqa`)."""
        return self.head_v(il) * self.n_head_kv(il)

    def v_gqa_max(self) -> int:
        """The most that any layer has (`llama_hparams::n_embd_v_gqa_max`): rows of transposed values are as wide."""
        return max((self.v_gqa(il) for il in range(self.n_layer_all)), default=0)

    @property
    def is_mla(self) -> bool:
        """Whether attention reads cached latents; plain heads otherwise (`llama_hparams::is_mla`)."""
        return any(isinstance(c, LatentCache) for layer in self.layers for c in layer.caches)

    def indexed(self, il: int) -> bool:
        """Whether the layer ranks keys with an indexer of its own (`llama_hparams::is_indexer_full`)."""
        return any(isinstance(c, IndexCache) for c in self.layers[il].caches)

    def state_sizes(self) -> tuple[int, int]:
        """Elements a sequence of a layer's convolution and of its recurrent matrix (`n_embd_r`, `n_embd_s`).

        Both 0 where no layer recurs. Raises GraphUnknown where the file does not say how large a state is.
        """
        for layer in self.layers:
            for cache in layer.caches:
                if isinstance(cache, StateCache):
                    return cache.conv_channels * max(cache.conv_kernel - 1, 0), cache.state_elems
                if isinstance(cache, UnknownCache) and self.recurrent(layer.index):
                    raise GraphUnknown(f"{self.arch}: state of {cache.kind}")
        return 0, 0

    def stores_kv(self, il: int) -> bool:
        """Whether the layer has a cache of its own."""
        return il < self.n_kv_layers

    def n_expert_used(self, il: int = 0) -> int:
        """Experts that a token goes through (`llama_hparams::n_expert_used`)."""
        return int(self.per_layer("expert_used_count", il, 0))

    def block_of(self, il: int | str) -> str:
        """The block of the file that a layer's weights are in; "" for those outside the layers."""
        return str(self.same_as.get(il, il))

    def shape(self, il: int | str, name: str) -> tuple[int, ...] | None:
        """Innermost-first shape of a weight, or None where the file has none. `il` "" means outside the layers."""
        info = self.globals.get(name) if il == "" else self.blocks.get(self.block_of(il), {}).get(name)
        return None if info is None else info.shape[::-1]

    def weight(self, il: int | str, name: str) -> Tensor | None:
        """A weight by its full name within the layer ("attn_q.weight"), or None."""
        block = self.block_of(il)
        made = self._made.get((block, name), False)
        if made is not False:
            return made  # type: ignore[return-value]
        info = self.globals.get(name) if block == "" else self.blocks.get(block, {}).get(name)
        t = None
        if info is not None:
            dtype = info.dtype
            elem: Elem = F32 if dtype is None else (dtype.block_elems, dtype.block_bytes, dtype.name)
            t = external(elem, info.shape[::-1])
            t.weight = True
            t.buf = self.weight_buf(block, name)
        self._made[(block, name)] = t
        return t


def external(elem: Elem, ne: tuple[int, ...]) -> Tensor:
    """A tensor whose bytes lie outside the compute buffers."""
    shape = (*ne, 1, 1, 1)[:4]
    t = Tensor(LEAF, elem, shape, contiguous(elem, shape))  # type: ignore[arg-type]
    t.external = True
    t.seen = True
    return t


def head_of(m: Model) -> Tensor:
    """A model's output matrix, [n_embd, n_vocab]; its token embedding where it has none. Raises GraphUnknown."""
    t = m.weight("", "output.weight")
    if t is None:
        embd = m.weight("", "token_embd.weight")
        if embd is None:
            raise GraphUnknown("output.weight")
        # a tied output is its own tensor, on the output layer's device
        t = external(embd.elem, embd.ne)
        t.weight = True
        t.buf = m.weight_buf("", "output.weight")
    return t
