"""The hyperparameters that llama.cpp's loaders read into, and what they ask of them (src/llama-hparams.cpp)."""

from __future__ import annotations

from inspector.architectures.loader_tables import sections

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Refusal(Exception):
    """The engine's exception: a loader may catch it and go on."""

    def __init__(self, kind: str, words: str, where: str = "") -> None:
        super().__init__(words)
        self.kind, self.words, self.where = kind, words, where


class Values(list):  # type: ignore[type-arg]
    """An array or set of C++."""

    def size(self) -> int:
        """How many there are."""
        return len(self)

    def empty(self) -> bool:
        """Whether there are none."""
        return not self

    def insert(self, value: Any) -> None:  # type: ignore[override]
        """A set's insert."""
        if value not in self:
            self.append(value)

    def set(self, i: int) -> None:
        """A bit set's set."""
        self[i] = 1

    def reset(self) -> None:
        """A bit set's reset."""
        self[:] = [0] * 512

    def clear(self) -> None:
        """Forget all; large enough to be written to by place."""
        self[:] = []


class Pairs(dict):  # type: ignore[type-arg]
    """A map of C++: what it yields has a `first` and a `second`."""

    def __iter__(self) -> Any:
        return iter([Fields(first=key, second=self[key]) for key in self.keys()])


class Fields:
    """A record whose fields come into being when they are named: None until then, records for those with fields."""

    _RECORDS = frozenset({"nextn", "posnet", "convnext", "switch_lora", "shortconv", "norm", "attn"})

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in self._RECORDS:
            made = Fields()
            setattr(self, name, made)
            return made
        return None

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__[name] = Values(value) if isinstance(value, list) else value


def elements_of(value: Any) -> Values:
    """The elements of an array as far as they are kept, repeated to its length (numbers beyond 4,096 are not kept)."""
    if isinstance(value, (tuple, list)):
        return Values(value)
    length, head = getattr(value, "length", 0), getattr(value, "head", ())
    return Values([*head, *([head[-1] if head else 0] * (min(length, 1 << 20) - len(head)))])


def length_of(value: Any) -> int:
    """How many elements an array has, kept or not."""
    return len(value) if isinstance(value, (tuple, list)) else int(getattr(value, "length", 0))


def first_values() -> Mapping[str, Any]:
    """Each hyperparameter before anything is read."""
    found: dict[str, Any] = {}
    for line in sections()["* defaults"].splitlines():
        name, _, value = line.partition(" = ")
        found[name] = Values([0] * 512) if value.startswith("Values") else _number(value)
    return found


def _number(text: str) -> Any:
    if text in {"True", "False"}:
        return text == "True"
    return float(text) if "." in text else int(text)


class Hparams(Fields):
    """llama_hparams: fields as the tables name them, and the questions that the loaders ask."""

    n_layer_all: int
    n_layer_nextn: int

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(**values)
        self.posnet, self.convnext = Fields(n_embd=0, n_layer=0), Fields(n_embd=0, n_layer=0)

    def _at(self, field: str, il: int) -> Any:
        if not 0 <= il < self.n_layer_all:
            raise Refusal("value", "GGML_ABORT: a layer outside the model", field)
        return self.__dict__[field][il]

    def n_layer(self) -> int:
        """Layers without those that predict further tokens."""
        return self.n_layer_all - self.n_layer_nextn

    def n_head(self, il: int = 0) -> int:
        """Heads of a layer."""
        return int(self._at("n_head_arr", il))

    def n_head_kv(self, il: int = 0) -> int:
        """Key-value heads of a layer."""
        return int(self._at("n_head_kv_arr", il))

    def n_ff(self, il: int = 0) -> int:
        """Feed-forward width of a layer."""
        return int(self._at("n_ff_arr", il))

    def n_ff_exp(self, il: int = 0) -> int:
        """Width of a layer's experts."""
        return int(self._at("n_ff_exp_arr", il))

    def n_expert_used(self, il: int = 0) -> int:
        """Experts that a token of a layer goes through."""
        return int(self._at("n_expert_used_arr", il))

    def n_expert_used_max(self) -> int:
        """The most of any layer."""
        return max((int(x) for x in self.__dict__["n_expert_used_arr"][: self.n_layer_all]), default=0)

    def is_swa(self, il: int) -> bool:
        """Whether a layer slides."""
        return bool(self._at("is_swa_impl", il))

    def is_recr(self, il: int) -> bool:
        """Whether a layer is recurrent."""
        return bool(self._at("is_recr_impl", il))

    def is_ple(self, il: int) -> bool:
        """Whether a layer has hash embeddings."""
        return bool(self._at("is_ple_impl", il))

    def is_indexer_full(self, il: int) -> bool:
        """Whether a layer has an indexer of its own."""
        if il >= self.n_layer():
            raise Refusal("value", "GGML_ABORT: a layer outside the model", "is_indexer_full_impl")
        return bool(self._at("is_indexer_full_impl", il))

    def n_rot(self, il: int = 0) -> int:
        """Rotated elements of a head."""
        return int(self.n_rot_swa if self.is_swa(il) else self.n_rot_full)

    def n_embd_head_k(self, il: int = 0) -> int:
        """Elements of a key head."""
        return int(self.n_embd_head_k_swa if self.is_swa(il) else self.n_embd_head_k_full)

    def n_embd_head_v(self, il: int = 0) -> int:
        """Elements of a value head."""
        return int(self.n_embd_head_v_swa if self.is_swa(il) else self.n_embd_head_v_full)

    def n_embd_k_gqa(self, il: int = 0) -> int:
        """Elements of a token's keys."""
        return self.n_embd_head_k(il) * self.n_head_kv(il)

    def n_embd_v_gqa(self, il: int = 0) -> int:
        """Elements of a token's values."""
        return self.n_embd_head_v(il) * self.n_head_kv(il)

    def is_mla(self) -> bool:
        """Whether attention is latent."""
        return bool(self.n_embd_head_k_mla_impl != 0 and self.n_embd_head_v_mla_impl != 0)

    def n_embd_head_k_mla(self) -> int:
        """Elements of a key head, unpacked."""
        return int(self.n_embd_head_k_mla_impl) if self.is_mla() else self.n_embd_head_k()

    def n_embd_head_v_mla(self) -> int:
        """Elements of a value head, unpacked."""
        return int(self.n_embd_head_v_mla_impl) if self.is_mla() else self.n_embd_head_v()

    def n_embd_inp(self) -> int:
        """Width of what goes in."""
        if self.n_embd_inp_impl > 0:
            return int(self.n_embd_inp_impl)
        return int(self.n_embd + self.n_embd * self.n_deepstack_layers)

    def n_embd_inp_enc(self) -> int:
        """Width of what goes into the encoder."""
        return int(self.n_embd_inp_enc_impl) if self.n_embd_inp_enc_impl > 0 else self.n_embd_inp()

    def n_embd_out(self) -> int:
        """Width of what comes out."""
        return int(self.n_embd_out_impl) if self.n_embd_out_impl > 0 else int(self.n_embd)

    def has_kv(self, il: int) -> bool:
        """Whether a layer has a cache of its own."""
        return bool(self.n_layer_kv_from_start < 0 or il < self.n_layer_kv_from_start)

    def set_swa_pattern(self, period: int, dense_first: bool = False) -> None:
        """The last (or first) of every `period` layers is full; 0: all slide."""
        n = self.n_layer()
        full = 0 if dense_first else period - 1
        flags = [int(period == 0 or il % period != full) for il in range(n)]
        self.is_swa_impl = Values(flags + [0] * (512 - n))
