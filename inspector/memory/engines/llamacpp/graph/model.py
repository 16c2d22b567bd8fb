"""What the graph builders ask of a model: hyperparameters per layer, and weights as shapes.

Defaults and per-layer arrays as in llama_model::load_hparams (src/llama-model.cpp, b11434).
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.memory.engines.llamacpp.graph.tensor import F32, LEAF, Tensor, contiguous

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Final

    from inspector.facts import ModelFacts
    from inspector.formats.modelfile import TensorInfo
    from inspector.memory.engines.llamacpp.graph.tensor import Elem


def _items(value: Any) -> tuple[Any, ...] | None:
    """A metadata array's elements, where all of them were read."""
    if isinstance(value, (list, tuple)):
        return tuple(value)
    head = getattr(value, "head", None)
    return tuple(head) if head is not None and len(head) == value.length else None


class Model:
    """Hyperparameters and weights of one file, read on demand."""

    def __init__(self, facts: ModelFacts) -> None:
        keys: Mapping[str, Any] = facts.keys or {}
        self.arch = str(keys.get("general.architecture") or facts.arch)
        self.keys = keys
        self.globals: dict[str, TensorInfo] = {}
        self.blocks: dict[str, dict[str, TensorInfo]] = {}
        self._made: dict[tuple[str, str], Tensor | None] = {}
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
        self.n_layer_all = int(self.key("block_count", 0))
        self.n_nextn = int(self.key("nextn_predict_layers", 0))
        self.n_layer = self.n_layer_all - self.n_nextn
        self.n_kv_layers = self.n_layer  # further ones read the caches of earlier layers
        self.n_embd = int(self.key("embedding_length", 0))
        self.n_expert = int(self.key("expert_count", 0))
        self.n_vocab = self._n_vocab()
        self.n_ctx_train = int(self.key("context_length", 0))
        self._heads = self.per_layer("attention.head_count", 0)
        self._heads_kv = self.per_layer("attention.head_count_kv", None, fallback=self._heads)
        first = self._heads[0] if self._heads else 0
        default = self.n_embd // first if first else 0
        self.head_k_full = int(self.key("attention.key_length", default))
        self.head_v_full = int(self.key("attention.value_length", default))
        self.head_k_swa = int(self.key("attention.key_length_swa", self.head_k_full))
        self.head_v_swa = int(self.key("attention.value_length_swa", self.head_v_full))
        self.n_rot = int(self.key("rope.dimension_count", self.head_k_full))
        self.n_swa, self.swa = sliding_window(self)
        self.has_swa = self.n_swa is not None
        self.attn_softcap = self.arch == "gemma2"
        self.weight_buf: Callable[[str, str], int] = lambda _block, _name: 0

    def key(self, name: str, default: Any = None) -> Any:
        """`{arch}.name`; a scalar also where the file has an array of one."""
        value = self.keys.get(f"{self.arch}.{name}")
        return default if value is None else value

    def scalar(self, name: str, default: Any = None) -> Any:
        """A key that may be an array: its first element then."""
        value = self.key(name, default)
        items = _items(value)
        return items[0] if items else value

    def per_layer(self, name: str, default: Any, *, fallback: tuple[Any, ...] = ()) -> tuple[Any, ...]:
        """One value a layer, from a scalar or an array."""
        value = self.key(name)
        if value is None:
            return fallback or (default,) * self.n_layer_all
        items = _items(value)
        if items is None:
            return (value,) * self.n_layer_all
        return (*items, *(items[-1:] * (self.n_layer_all - len(items))))

    def _n_vocab(self) -> int:
        tokens = self.keys.get("tokenizer.ggml.tokens")
        n = getattr(tokens, "length", None)
        if n is None and isinstance(tokens, (list, tuple)):
            n = len(tokens)
        if not n:
            n = self.key("vocab_size")
        embd = self.globals.get("token_embd.weight")
        if not n and embd is not None:
            n = embd.shape[0]
        return int(n or 0)

    def n_head(self, il: int = 0) -> int:
        return int(self._heads[il]) if self._heads else 0

    def n_head_kv(self, il: int = 0) -> int:
        return int(self._heads_kv[il]) if self._heads_kv else 0

    def head_k(self, il: int = 0) -> int:
        return self.head_k_swa if self.swa[il : il + 1] == (True,) else self.head_k_full

    def head_v(self, il: int = 0) -> int:
        return self.head_v_swa if self.swa[il : il + 1] == (True,) else self.head_v_full

    def k_gqa(self, il: int = 0) -> int:
        return self.head_k(il) * self.n_head_kv(il)

    def v_gqa(self, il: int = 0) -> int:
        return self.head_v(il) * self.n_head_kv(il)

    def v_gqa_max(self) -> int:
        return max((self.v_gqa(il) for il in range(self.n_layer_all)), default=0)

    @property
    def is_mla(self) -> bool:
        return bool(self.key("attention.key_length_mla") and self.key("attention.value_length_mla"))

    def stores_kv(self, il: int) -> bool:
        """Whether the layer has a cache of its own."""
        return il < self.n_kv_layers

    def n_expert_used(self, il: int = 0) -> int:
        used = self.key("expert_used_count", 0)
        items = _items(used)
        return int(items[il] if items else used)

    def shape(self, il: int | str, name: str) -> tuple[int, ...] | None:
        """Innermost-first shape of a weight, or None where the file has none. `il` "" means outside the layers."""
        info = self.globals.get(name) if il == "" else self.blocks.get(str(il), {}).get(name)
        return None if info is None else info.shape[::-1]

    def weight(self, il: int | str, name: str) -> Tensor | None:
        """A weight by its full name within the layer ("attn_q.weight"), or None."""
        block = str(il)
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


# Which layers slide, where the file has no per-layer array: every n-th layer is full (0: none), the first ones or the
# last ones of each group, and the window that the architecture imposes. Source: load_arch_hparams in src/models/*.cpp.
# arch: (n, full layer comes first, window: key | default | forced)
SLIDING: Final[Mapping[str, tuple[int, bool, str, int]]] = MappingProxyType({
    "gemma2": (2, False, "default", 4096),
    "gemma3": (6, False, "key", 0),
    "gemma3n": (5, False, "key", 0),
    "gemma-embedding": (6, False, "key", 0),
    "cohere2": (4, False, "key", 0),
    "cohere2moe": (4, True, "key", 0),
    "gpt-oss": (2, False, "key", 0),
    "olmo2": (4, False, "key", 0),
    "afmoe": (4, False, "key", 0),
    "mellum": (4, False, "key", 0),
    "exaone4": (4, False, "default", 4096),
    "exaone-moe": (4, False, "key", 0),
    "muse-glimmer": (4, False, "key", 0),
    "plamo3": (8, False, "key", 0),
    "laguna": (4, True, "key", 0),
    "smallthinker": (4, True, "forced", 4096),
    "llama4": (4, False, "forced", 8192),
    "modern-bert": (3, True, "key", 0),
    "lfm2": (0, False, "key", 0),
    "gemma4": (0, False, "key", 0),
    "mimo2": (0, False, "key", 0),
    "step35": (0, False, "key", 0),
    "maple": (0, False, "key", 0),
    "granite_swa": (0, False, "key", 0),
    "spark2_5": (0, False, "key", 0),
    "dots3note": (0, False, "key", 0),
})  # fmt: skip


# Where a window of 0 means none; elsewhere the pair of caches is there all the same.
WINDOW_MAY_BE_ZERO: Final = frozenset(
    ("afmoe", "gemma3", "laguna", "lfm2", "llama4", "mellum", "olmo2", "plamo3", "smallthinker")
)


def _window(m: Model, rule: str, fixed: int) -> int | None:
    """The window in tokens, or None where the model has no sliding layers."""
    window = m.scalar("attention.sliding_window")
    if m.arch == "exaone4" and m.n_layer_all != 64:
        return None
    if rule == "forced":
        return fixed if (window or (window is None and m.arch == "llama4")) else None
    if window is None:
        window = fixed or None
    return None if window is None or (not window and m.arch in WINDOW_MAY_BE_ZERO) else int(window)


def sliding_window(m: Model) -> tuple[int | None, tuple[bool, ...]]:
    """The window in tokens (None: no sliding layers) and whether each layer slides."""
    none = (False,) * m.n_layer_all
    row = SLIDING.get(m.arch)
    window = _window(m, row[2], row[3]) if row is not None else None
    if row is None or window is None:
        return None, none
    n, full_first, _, _ = row
    if m.arch == "lfm2":  # all attention layers, whatever pattern the file has
        return window, tuple(m.n_head_kv(il) > 0 for il in range(m.n_layer_all))
    pattern = m.key("attention.sliding_window_pattern")
    items = _items(pattern)
    if items is not None:
        return window, tuple(bool(x) for x in (*items, *none))[: m.n_layer_all]
    if pattern is not None:
        n = int(pattern)
    slides = [n == 0 or (il % n != 0 if full_first else il % n < n - 1) for il in range(m.n_layer_all)]
    return window, tuple(s and il < m.n_layer for il, s in enumerate(slides))


def external(elem: Elem, ne: tuple[int, ...]) -> Tensor:
    """A tensor whose bytes lie outside the compute buffers."""
    shape = (*ne, 1, 1, 1)[:4]
    t = Tensor(LEAF, elem, shape, contiguous(elem, shape))  # type: ignore[arg-type]
    t.external = True
    t.seen = True
    return t
