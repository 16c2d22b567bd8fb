"""What can be said of one GGUF architecture: one typed record, and the numbers that its rules read.

Fields that are rules are functions, or records that are called where a rule has numbers of its own. Each gives one
element a layer, prediction layers included, so that no layer is decided twice.
"""

from __future__ import annotations

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from inspector.architectures.gguf_keys import Keys
    from inspector.layers import Cache, Refused, StateCache, UnknownCache

    TokensRule = Callable[[Keys, str], int | Refused | None]
    FlagsRule = Callable[[Keys, "Numbers"], tuple[bool, ...]]
    PatternRule = Callable[[Keys, "Numbers"], tuple[bool, ...] | None]
    MixersRule = Callable[[Keys, "Numbers"], "Mixers"]
    StateRule = Callable[[Keys, "Numbers"], StateCache | UnknownCache]
    CachesRule = Callable[[Keys, "Numbers"], "PerLayer"]
    AttentionRule = Callable[[Keys, "Numbers", "Windows"], "PerLayer"]
    PerLayer = tuple[tuple[Cache, ...], ...]


class Numbers(Record):
    """Per-layer numbers as llama.cpp holds them; `n_all` counts the multi-token prediction layers, `n_main` does not.

    `k_full`, `v_full`, `k_swa`, `v_swa`: head sizes of full and of sliding layers; None where no key gives them.
    """

    n_all: int
    n_main: int
    d_model: int | None
    heads: tuple[int, ...]
    kv_heads: tuple[int, ...]
    d_ff: tuple[int, ...]
    k_full: int | None
    v_full: int | None
    k_swa: int | None
    v_swa: int | None


class Windows(Record):
    """Which layers see a window of `tokens` only; `chunked`: their own chunk of it. `notes`: why llama.cpp refuses."""

    slides: tuple[bool, ...]
    tokens: int | None = None
    chunked: bool = False
    notes: tuple[str, ...] = ()


class Mixers(Record):
    """Which layers keep a recurrent state, which attend, and the key that said so ("": the architecture does)."""

    recurs: tuple[bool, ...]
    attends: tuple[bool, ...]
    decided_by: str = ""


class Sliding(Record):
    """Which layers see a window only (rules: gguf_windows.py).

    `tokens`: what the key `attention.sliding_window` means: a window, None for no sliding layers, or a refusal.
    `layers`: which layers slide; None where the file lacks what llama.cpp asks for. `chunked`: a token sees its own
    chunk of so many tokens. `only_n_layers`: the rule holds for models of that many layers.
    """

    tokens: TokensRule
    layers: PatternRule
    chunked: bool = False
    only_n_layers: int = 0


class Recurrent(Record):
    """Which layers keep a state of fixed size (rules: gguf_states.py).

    `layers`: which recur and which attend. `state`: what each keeps. `beside`: what single layers keep besides.
    """

    layers: MixersRule
    state: StateRule
    beside: CachesRule | None = None


class Index(Record):
    """Which layers keep keys of a lightning indexer (DSA) or of a block selector (rules: gguf_caches.py).

    `layers`: which store them. `parts`: how many vectors of the key's width lie side by side. `values`: there are
    values beside the keys.
    """

    layers: FlagsRule
    parts: Callable[[Keys], int] | None = None
    values: bool = False


class Latent(Record):
    """Attention keeps one latent vector a token (MLA) where the file gives both MLA head lengths; else plain heads.

    `required`: llama.cpp refuses a file without them; `only`: it also refuses one where they are 0.
    """

    required: bool = False
    only: bool = False


class Draft(Record):
    """A model that drafts for another one. `alone`: tensors with which it runs without it; none of them: never."""

    alone: tuple[str, ...] = ()


class Arch(Record):
    """One architecture.

    `plan`: in a word, for readers: full, sliding, chunked, latent, sparse, compressed, recurrent, hybrid, encoder,
    diffusion, encoder-decoder. `file`: of src/models/, where it is not the name. `tied`: a missing `output.weight` is
    replaced by `token_embd.weight`. `causal`: as llama.cpp sets it, whatever the key says. `loads`: False for a name
    without code behind it. `draft`: runs beside another model.

    What layers keep: `caches`: False where llama.cpp builds no memory. `latent`: attention may keep one vector for
    keys and values. `v_is_rank`: the value length is that vector's rank. `attention`: caches of another kind. `cross`:
    decoder layers also keep the encoder's output. `shared_from`: further layers read the caches of earlier ones.

    Which layers there are: `loops`: all run `num_loops` times, each time with caches of their own. `router`: one layer
    of one head more, which routes tokens to adapters. `nextn_kept`: caches cover the multi-token prediction layers.
    `nextn_tensor`: prediction layers are there only if the first of them has this tensor. `nextn`: False where the key
    that counts them is not read, so that all layers run. `width`: the key for elements of a hidden state.
    """

    plan: str
    file: str = ""
    tied: bool = True
    causal: bool | None = None
    loads: bool = True
    draft: Draft | None = None
    sliding: Sliding | None = None
    recurrent: Recurrent | None = None
    caches: bool = True
    latent: Latent | None = None
    v_is_rank: bool = False
    index: Index | None = None
    attention: AttentionRule | None = None
    cross: bool = False
    shared_from: Callable[[Keys, Numbers], int] | None = None
    loops: bool = False
    router: bool = False
    nextn_kept: bool = False
    nextn_tensor: str = ""
    nextn: bool = True
    width: str = "embedding_length"
    name: str = ""

    @property
    def ref(self) -> str:
        """The engine's own loader of this architecture, or where its name stands: the source of the row."""
        if not self.loads:
            return "src/llama-arch.cpp"
        return f"src/models/{self.file or self.name}.cpp"
