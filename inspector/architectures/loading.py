"""Would llama.cpp b11434 load this GGUF? Its loader followed step by step over a header, up to its first refusal.

The tables (loaders.txt) say which keys and tensors; here is what reading a key and creating a tensor mean:
src/llama-model-loader.cpp and src/llama-hparams.cpp. Tensor data and what a context does afterwards are not looked at.
"""

from __future__ import annotations

from inspector.architectures.loader_tables import code_of, loaders, names_without_loaders
from inspector.architectures.loading_values import (
    Fields,
    Hparams,
    Pairs,
    Refusal,
    Values,
    elements_of,
    first_values,
)
from inspector.architectures.loading_vocab import read_vocabulary
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Final

    from inspector.formats.modelfile import TensorInfo

OPTIONAL, AGAIN, UNUSED, RESHAPED = 1, 2, 4, 8
_MAX: Final = {"ple_layer_multipliers": 8, "head_offsets": 64, "head_vocab_sizes": 64, "rope_sections": 4}
_MAX_LAYERS: Final = 512
_RECURRENT: Final = frozenset({"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"})
_ROPE_SCALINGS: Final = {"none": 0, "linear": 1, "yarn": 2, "longrope": 3}
_GENERAL: Final = (("split.count", "u16"), ("general.file_type", "u32"), ("general.name", "str"))
_ARRAY_TYPES: Final = {"bool": ("i32", "u32"), "u32": ("i32", "u32"), "i32": ("i32", "u32"), "u64": ("u64",),
                       "f32": ("f32",), "str": ("str",)}  # fmt: skip


class Refused(Record):
    """Why the engine would not load a file. `kind`: key, type, length, value, vocabulary, tensor, shape or extra.

    `words`: the engine's own message; `where`: the key or tensor; `names`: tensors that nothing asks for.
    """

    kind: str
    words: str
    where: str = ""
    names: tuple[str, ...] = ()


def refusal(
    metadata: Mapping[str, Any], types: Mapping[str, str], tensors: Mapping[str, TensorInfo], *, arch: str
) -> Refused | None:
    """Why llama.cpp would refuse a model, or None where it would load it, or where no table is known for `arch`.

    `types`: the stored type of each key ("u32", "arr[str]"). None too where C++ would go on with whatever stands in
    memory, which values of hostile files lead to: nothing can be said of these.
    """
    try:
        return followed(metadata, types, tensors, arch=arch)
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError):
        return None


def followed(
    metadata: Mapping[str, Any], types: Mapping[str, str], tensors: Mapping[str, TensorInfo], *, arch: str
) -> Refused | None:
    """The same, but where the engine's own steps lead nowhere an exception says so; tests count those."""
    if arch in names_without_loaders():
        return Refused("value", f"unsupported model architecture: '{arch}'", "general.architecture")
    if arch not in loaders():
        return None
    run = _Run(metadata, types, tensors, arch)
    try:
        run.load()
    except Refusal as refused:
        return Refused(refused.kind, refused.words, refused.where)
    except ZeroDivisionError:
        return Refused("value", "(no message: it divides by 0 and crashes)", run.last)
    return run.extra()


class _Found:
    """A tensor that was created: its dimensions innermost first, as the engine counts them."""

    __slots__ = ("ne", "type")

    def __init__(self, tensor: TensorInfo) -> None:
        self.ne = _dims(tensor)
        self.type = tensor.dtype.name if tensor.dtype is not None else ""


def _dims(tensor: TensorInfo) -> tuple[int, ...]:
    ne = tuple(reversed(tensor.shape)) or (1,)
    return ne + (1,) * (4 - len(ne))


class _Run:
    """One load: the hyperparameters as far as they are read, and the tensors as far as they are created."""

    def __init__(
        self, metadata: Mapping[str, Any], types: Mapping[str, str], tensors: Mapping[str, TensorInfo], arch: str
    ) -> None:
        self.metadata, self.types, self.tensors, self.arch = metadata, types, tensors, arch
        self.h, self.v = Hparams(first_values()), Fields()
        self.n_created, self.last = 0, ""
        self.created: set[str] = set()
        self.layers: dict[int, Fields] = {}
        self.scope = self._scope()

    # --- the order of llama_model_load (src/llama.cpp) ------------------------------------------------------------

    def load(self) -> None:
        spot = Fields()
        for name, kind in _GENERAL:
            self.get_key(name, spot, "value", kind, required=False, own=False)
        own = loaders()[self.arch]
        self.v.own_hparams = lambda: self.section(own.keys, "hparams")
        self.v.own_tensors = lambda: self.section(own.tensors, "tensors")
        self.section("*", "hparams")
        self.scope["n_tokens"], self.scope["n_types"] = read_vocabulary(self)
        self.section("*", "tensors")
        if any(name.endswith(("scale", "_s")) for name in self.tensors):
            self.section("*", "scales")

    def section(self, name: str, part: str) -> Any:
        return self._function(f"{name} {part}")()

    def _qkv(self, *args: Any) -> None:
        self._function("* create_tensor_qkv(layer, bid, n_embd_, n_embd_q_, n_embd_k_, n_embd_v_, flags)")(*args)

    def _experts(self, *args: Any) -> None:
        self._function("* create_tensor_gate_up_exps(layer, bid, n_embd_, n_ff_, n_expert_, flags)")(*args)

    def _function(self, heading: str) -> Callable[..., Any]:
        found: dict[str, Any] = {}
        exec(code_of(heading), self.scope, found)  # noqa: S102 - our own table, shipped with the package
        return found["section"]  # type: ignore[no-any-return]

    def extra(self) -> Refused | None:
        """llama_model_loader::done_getting_tensors."""
        n = len(self.tensors)
        if self.n_created == n:
            return None
        kind = "too many tensors created" if self.n_created > n else "wrong number of tensors"
        names = tuple(name for name in self.tensors if name not in self.created)
        words = f"done_getting_tensors: {kind}; expected {n}, got {self.n_created}"
        return Refused("extra", words, names[0] if names else "", names)

    # --- the verbs ------------------------------------------------------------------------------------------------

    def _scope(self) -> dict[str, Any]:
        v = self.v
        v.llm_arch_is_recurrent = lambda arch: arch in _RECURRENT
        v.llama_rope_scaling_type_from_string = lambda name: _ROPE_SCALINGS.get(name, -1)
        v.llm_ffn_op_type_from_string = lambda _name, fallback: fallback
        v.GGML_TYPE_NVFP4 = "NVFP4"
        v.ml, v.INT32_MAX = self, (1 << 31) - 1
        v.adapter_token_to_slot, v.adapter_token_to_substitute = Pairs(), Pairs()
        return {
            "h": self.h, "v": v, "ml": self, "arch": self.arch, "layers": _Layers(), "Values": Values,
            "OPTIONAL": OPTIONAL, "AGAIN": AGAIN, "UNUSED": UNUSED, "RESHAPED": RESHAPED, "Refusal": Refusal,
            "get_key": self.get_key, "get_key_or_arr": self.get_key_or_arr, "get_arr": self.get_arr,
            "get_arr_n": self.get_arr_n, "T": self.tensor, "refuse": self.refuse, "ensure": self.ensure,
            "fill": self.fill, "form": form, "base": self.section, "load_swa_pattern": self.load_swa_pattern,
            "named": lambda name, *numbers: name % numbers, "arch_name": lambda: self.arch,
            "require_nonzero": self.require_nonzero, "require_arr_len": self.require_length,
            "create_tensor_qkv": self._qkv, "create_tensor_gate_up_exps": self._experts,
        }  # fmt: skip

    def key(self, name: str, *, own: bool = True) -> str:
        """A key's whole name; "%s" stands for the architecture."""
        self.last = name.replace("%s", self.arch) if "%s" in name else f"{self.arch}.{name}" if own else name
        return self.last

    def refuse(self, words: str) -> None:
        raise Refusal("value", words.strip(), self.last)

    def ensure(self, holds: Any, text: str) -> None:
        if not holds:
            raise Refusal("value", f"GGML_ASSERT({text}) failed", self.last)

    def fill(self, target: Values, value: Any) -> None:
        target[:] = [value] * max(len(target), _MAX_LAYERS)

    def missing(self, key: str, *, required: bool, words: str = "key not found in model") -> bool:
        if required:
            raise Refusal("key", f"{words}: {key}", key)
        return False

    def check_type(self, key: str, wanted: str) -> None:
        have = self.types[key].partition("[")[0]
        if have != wanted:
            raise Refusal("type", f"key {key} has wrong type {have} but expected type {wanted}", key)

    def get_key(self, name: str, owner: Any, field: str, kind: str, *, required: bool = True, own: bool = True) -> bool:
        key = self.key(name, own=own)
        if key not in self.types:
            return self.missing(key, required=required)
        self.check_type(key, kind)
        value = self.metadata[key]
        setattr(owner, field, value if isinstance(value, (int, float, str)) else "")
        return True

    def get_key_or_arr(
        self, name: str, owner: Any, field: str, kind: str, *, required: bool = True, n: int = -1, own: bool = True
    ) -> bool:
        key = self.key(name, own=own)
        if key not in self.types:
            return self.missing(key, required=required)
        is_array = self.types[key].startswith("arr")
        if n < 0:  # the variant for one number
            if is_array and required:
                raise Refusal("type", f"expected scalar, found array for key: {key}", key)
            return not is_array and self.get_key(name, owner, field, kind, required=required, own=own)
        if n > _MAX.get(field, _MAX_LAYERS):
            raise Refusal("length", f"n > N_MAX: {n} > {_MAX.get(field, _MAX_LAYERS)} for key {key}", key)
        if not is_array:
            self.get_key(name, spot := Fields(), "value", kind, own=own)
            _put(owner, field, [spot.value] * n)
            return True
        length = len(elements_of(self.metadata[key]))
        if n != length:
            words = f"key {key} has wrong array length; expected {n}, got {length}"
            raise Refusal("length", words, key)
        return self.get_arr(name, owner, field, kind, required=required, own=own)

    def get_arr(
        self, name: str, owner: Any, field: str, kind: str, *, required: bool = True, vector: bool = False,
        own: bool = True,
    ) -> bool:  # fmt: skip
        key = self.key(name, own=own)
        if vector and getattr(owner, field) is None:
            setattr(owner, field, Values())
        stored = self.types.get(key, "")
        if not stored.startswith("arr["):
            return self.missing(key, required=required, words="array key not found in model")
        elem = stored[4:-1]
        if elem not in _ARRAY_TYPES or (vector and elem == "bool"):
            raise Refusal("type", f"{key} is not a string/float32/uint32/int32/uint64 array", key)
        if kind not in _ARRAY_TYPES[elem]:
            raise Refusal("type", f"{key} has wrong array element type {elem}", key)
        values, most = elements_of(self.metadata[key]), _MAX.get(field, _MAX_LAYERS)
        if not vector and len(values) > most:
            words = f"array length {len(values)} for key {key} exceeds max {most}"
            raise Refusal("length", words, key)
        if vector:
            setattr(owner, field, values)
        else:
            _put(owner, field, [int(x) if isinstance(x, bool) else x for x in values])
        return True

    def get_arr_n(
        self, name: str, owner: Any, field: str, _kind: str, *, required: bool = True, own: bool = True
    ) -> bool:
        key = self.key(name, own=own)
        if key not in self.types:
            return self.missing(key, required=required)
        self.check_type(key, "arr")
        setattr(owner, field, len(elements_of(self.metadata[key])))
        return True

    def load_swa_pattern(self, _ml: Any, n_pattern: int, dense_first: bool = False) -> None:
        """llama_model_base::load_swa_pattern: one flag a layer, or a period."""
        name = "attention.sliding_window_pattern"
        if self.get_arr(name, self.h, "is_swa_impl", "u32", required=False):
            return
        period = Fields(value=n_pattern)
        self.get_key(name, period, "value", "u32", required=False)
        self.h.set_swa_pattern(period.value, dense_first)

    def require_nonzero(self, _ml: Any, name: str, value: int) -> None:
        if value == 0:
            raise Refusal("value", f"{self.key(name)} must be greater than zero, got 0", self.last)

    def require_length(self, _ml: Any, name: str, least: int) -> None:
        spot = Fields()
        self.get_arr_n(name, spot, "value", "u32", own="%s" not in name)
        if spot.value < least:
            words = f"{self.last} has {spot.value} entries, but at least {least} are required"
            raise Refusal("length", words, self.last)

    # --- tensors --------------------------------------------------------------------------------------------------

    def tensor(self, name: str, ne: tuple[int, ...], flags: int) -> _Found | None:
        """llama_model_loader::create_tensor."""
        found = self.tensors.get(name)
        if found is None:
            if flags & OPTIONAL:
                return None
            raise Refusal("tensor", f"check_tensor_dims: tensor '{name}' not found", name)
        have = _dims(found)
        wanted = tuple(ne) + (1,) * (4 - len(ne))
        if have != wanted and not (flags & RESHAPED and _product(have) == _product(wanted)):
            shapes = f"expected {_spelt(ne)}, got {_spelt(have)}"
            raise Refusal("shape", f"check_tensor_dims: tensor '{name}' has wrong shape; {shapes}", name)
        again = flags & AGAIN and (name in self.created or not flags & UNUSED)
        self.created.add(name)
        if not again:
            self.n_created += 1
        return None if flags & UNUSED else _Found(found)

    def get_weight(self, name: str) -> _Found | None:
        """Also ml.get_tensor_meta."""
        found = self.tensors.get(name)
        return None if found is None else _Found(found)

    get_tensor_meta = get_weight
    load_mtp = False  # llama_model_default_params

    def get_arch(self) -> str:
        return self.arch

    def llm_kv(self, name: str) -> str:
        return name.replace("%s", self.arch)


class _Layers(dict):  # type: ignore[type-arg]
    """Layers as they are named."""

    def __missing__(self, i: int) -> Fields:
        made = self[i] = Fields()
        return made

    def resize(self, _n: int) -> None:
        """Nothing: they are made when they are named."""


def _put(owner: Any, field: str, values: list[Any]) -> None:
    """Copies values to the front of an array; what stood behind them stays."""
    old = getattr(owner, field)
    rest = list(old)[len(values) :] if isinstance(old, list) else []
    setattr(owner, field, Values(values + rest))


def _product(ne: tuple[int, ...]) -> int:
    n = 1
    for x in ne:
        n *= x
    return n


def _spelt(ne: tuple[int, ...]) -> str:
    return ", ".join(f"{x:6d}" for x in ne)


def form(text: str, *values: Any) -> str:
    """printf's words, as far as the loaders' messages use them."""
    for sign in ("%zu", "%u", "%d", "%lld", "%s"):
        text = text.replace(sign, "%s")
    return text % values[: text.count("%s")]
