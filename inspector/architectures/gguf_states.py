"""Which layers of a GGUF architecture keep a recurrent state, and how large it is, by the rules of llama.cpp b11434.

Sources: each model's `load_arch_hparams` (src/models/*.cpp) for the layers, `n_embd_r` and `n_embd_s` of
src/llama-hparams.cpp for a state's elements.
"""

from __future__ import annotations

from inspector.architectures.gguf_record import Mixers
from inspector.errors import FactsError
from inspector.layers import StateCache, UnknownCache
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.architectures.gguf_keys import Keys
    from inspector.architectures.gguf_record import Arch, Numbers, PerLayer


def read_mixers(arch: Arch, keys: Keys, numbers: Numbers) -> Mixers:
    """Which layers recur and which attend. Raises FactsError for a key of a wrong kind."""
    if arch.recurrent is None:
        return Mixers((False,) * numbers.n_all, (True,) * numbers.n_all)
    return arch.recurrent.layers(keys, numbers)


def read_states(arch: Arch, keys: Keys, numbers: Numbers) -> PerLayer:
    """What a layer keeps if it recurs."""
    rule = arch.recurrent
    if rule is None:
        return ((),) * numbers.n_all
    state = rule.state(keys, numbers)
    beside = rule.beside(keys, numbers) if rule.beside is not None else ((),) * numbers.n_all
    return tuple((state, *more) for more in beside)


# -- which layers ---------------------------------------------------------------------------------------------------


def _main(numbers: Numbers) -> tuple[bool, ...]:
    return tuple(i < numbers.n_main for i in range(numbers.n_all))


def all_recur(keys: Keys, numbers: Numbers) -> Mixers:  # noqa: ARG001 - one signature for all rules
    """Every layer recurs and none attends."""
    return Mixers(_main(numbers), (False,) * numbers.n_all)


def beside_attention(keys: Keys, numbers: Numbers) -> Mixers:  # noqa: ARG001 - one signature for all rules
    """Every layer recurs and attends (falcon-h1.cpp)."""
    return Mixers(_main(numbers), (True,) * numbers.n_all)


def without_kv_heads(keys: Keys, numbers: Numbers) -> Mixers:
    """Layers of no key-value heads recur, the others attend."""
    recurs = tuple(i < numbers.n_main and n == 0 for i, n in enumerate(numbers.kv_heads))
    return Mixers(recurs, tuple(not r for r in recurs), f"{keys.arch}.attention.head_count_kv")


def without_kv_heads_and_ff(keys: Keys, numbers: Numbers) -> Mixers:
    """A layer does one of three: it recurs without heads and feed-forward, attends without the latter, or feeds."""
    found = without_kv_heads(keys, numbers)
    feeds = [n != 0 for n in numbers.d_ff]
    recurs = tuple(r and not f for r, f in zip(found.recurs, feeds, strict=True))
    return found.replace(recurs=recurs, attends=tuple(not r and not f for r, f in zip(recurs, feeds, strict=True)))


class AllButEvery(Record):
    """Every `interval`-th layer attends, unless a key replaces the number or names each layer; the others recur."""

    interval: int

    def __call__(self, keys: Keys, numbers: Numbers) -> Mixers:
        """Raises FactsError for an interval of 0."""
        decided_by = f"{keys.arch}.attention.recurrent_layers"
        recurs = keys.per_layer_flags("attention.recurrent_layers", numbers.n_all)
        if recurs is None:
            decided_by = f"{keys.arch}.full_attention_interval"
            stated = keys.integer("full_attention_interval")
            n = self.interval if stated is None else stated
            if n == 0:
                raise FactsError(f"{decided_by} is 0")
            recurs = tuple(i < numbers.n_main and (i + 1) % n != 0 for i in range(numbers.n_all))
        return Mixers(recurs, tuple(not r for r in recurs), decided_by)


# -- how large ------------------------------------------------------------------------------------------------------


class Scan(Record):
    """A selective scan (Mamba, gated delta net) of `kind`; `grouped`: its convolution covers B and C of each group."""

    kind: str
    grouped: bool = True

    def __call__(self, keys: Keys, numbers: Numbers) -> StateCache | UnknownCache:  # noqa: ARG002
        """One layer's state; unknown where a size is not stated."""
        inner, state = keys.integer("ssm.inner_size"), keys.integer("ssm.state_size")
        if inner is None or state is None:
            return UnknownCache(self.kind)
        groups = (keys.integer("ssm.group_count") or 0) if self.grouped else 0
        kernel = keys.integer("ssm.conv_kernel") or 1
        return StateCache(self.kind, inner + 2 * groups * state, kernel, state * inner)


def wkv(keys: Keys, numbers: Numbers) -> StateCache:
    """RWKV: the last token's shifted embeddings, and a matrix a head."""
    shifts, head = keys.integer("token_shift_count"), keys.integer("wkv.head_size") or 0
    d_model = numbers.d_model or 0
    return StateCache("rwkv", d_model, (2 if shifts is None else shifts) + 1, d_model * head)


def short_convolution(keys: Keys, numbers: Numbers) -> StateCache:
    """LFM2: the last columns of a short convolution, and no matrix."""
    return StateCache("shortconv", numbers.d_model or 0, keys.integer("shortconv.l_cache") or 1, 0)


def delta_attention(keys: Keys, numbers: Numbers) -> StateCache:
    """Kimi's delta attention: convolutions of q, k and v, and a square matrix a head."""
    heads, head = _first(numbers.heads), keys.integer("kda.head_dim") or 0
    return StateCache("kda", 3 * heads * head, keys.integer("ssm.conv_kernel") or 4, head * head * heads)


def lightning(keys: Keys, numbers: Numbers) -> StateCache:  # noqa: ARG001 - one signature for all rules
    """MiniMax's linear attention: a square matrix a head, and no convolution."""
    head = numbers.k_full or 0
    return StateCache("lightning", 0, 1, head * head * _first(numbers.heads))


def ngram_history(keys: Keys, numbers: Numbers) -> PerLayer:
    """The layers that `ple.layers` names keep the convolution history of the n-gram embeddings (qwen4exp.cpp)."""
    layers = keys.array("ple.layers")
    if not layers:
        return ((),) * numbers.n_all
    kernel = keys.integer("ple.conv_kernel") or 1
    channels = (keys.integer("ple.ngram_size") or 0) * (keys.integer("hyper_connection.count") or 0)
    state = StateCache("ngram", channels * (numbers.d_model or 0), kernel, 0)
    found = {i for i in layers if isinstance(i, int)}
    return tuple((state,) if i in found else () for i in range(numbers.n_all))


def _first(values: tuple[int, ...]) -> int:
    return values[0] if values else 0
