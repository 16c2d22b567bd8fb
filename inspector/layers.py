"""What one layer keeps between tokens. A model is a tuple of these, never a bag of scalars.

Per-layer head counts, sliding windows, latents, recurrent states and shared caches are then all one `sum()`.
Sizes here are in elements, not bytes: what an element costs is the engine's business.
"""

from __future__ import annotations

from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated, Final

LAYER_KINDS: Final = (
    "full", "sliding", "chunked", "latent", "recurrent", "hybrid", "shared", "none", "unknown",
)  # fmt: skip
FFNS: Final = ("dense", "moe", "none")

if TYPE_CHECKING:
    LayerKind = Annotated[str, ("enum", LAYER_KINDS)]
    Ffn = Annotated[str, ("enum", FFNS)]


class KVCache(Record):
    """Keys and values of every token, or of the last `window` tokens (`chunked`: of the current chunk)."""

    n_kv_heads: int
    head_dim_k: int
    head_dim_v: int
    window: int | None = None
    chunked: bool = False

    @property
    def width_k(self) -> int:
        """Elements of K a token."""
        return self.n_kv_heads * self.head_dim_k

    @property
    def width_v(self) -> int:
        """Elements of V a token."""
        return self.n_kv_heads * self.head_dim_v


class LatentCache(Record):
    """One compressed vector a token (MLA): `rank` latent elements and `rope_dim` rotary ones; no V of its own."""

    rank: int
    rope_dim: int
    window: int | None = None

    @property
    def width(self) -> int:
        """Elements a token."""
        return self.rank + self.rope_dim


class IndexCache(Record):
    """Keys of the lightning indexer (DSA) or of a block selector: `n_heads` × `head_dim` elements a token.

    `head_dim_v`: values beside them, where an engine keeps any.
    """

    head_dim: int
    n_heads: int = 1
    head_dim_v: int = 0


class CompressedCache(Record):
    """One vector of `width` elements for every `ratio` tokens, and a small float state a sequence to make them from.

    `kind` tells caches of one layer apart (csa, hca, lid); the state is `state_rows` × `state_width`, twice over
    (values and scores).
    """

    kind: str
    ratio: int
    width: int
    state_width: int
    state_rows: int


class StateCache(Record):
    """A state of fixed size, whatever the context: a short convolution's last columns and a recurrent matrix.

    `kind`: mamba1, mamba2, gdn (gated delta net), kda, rwkv, shortconv, lightning, rglru, cca. `conv_channels`
    columns of `conv_kernel` taps (engines keep all of them, or one fewer); `state_elems`: elements of the matrix.
    `conv_dtype` and `state_dtype`: what transformers keeps them in ("model": the compute dtype); other engines
    have rules of their own.
    """

    kind: str
    conv_channels: int
    conv_kernel: int
    state_elems: int
    conv_dtype: str = "model"
    state_dtype: str = "float32"


class CrossCache(Record):
    """Keys and values of the encoder's output, kept by each decoder layer of an encoder-decoder model."""

    n_kv_heads: int
    head_dim_k: int
    head_dim_v: int


class UnknownCache(Record):
    """A layer whose kind is not known here: nothing is claimed of its size."""

    kind: str


Cache = KVCache | LatentCache | IndexCache | CompressedCache | StateCache | CrossCache | UnknownCache


class Layer(Record):
    """One block of the model.

    `kind`: full, sliding, chunked, latent, recurrent, hybrid, shared (reads another layer's cache), none
    (nothing kept: an MLP or an encoder block), unknown. `caches`: what it stores. `decided_by`: the key that said so.
    `ffn`: dense, moe or none. Head sizes, counts and `window` (how many
    tokens attention sees, None for all) are known even where a layer stores nothing.
    """

    index: int
    kind: LayerKind
    caches: tuple[Cache, ...] = ()
    decided_by: str = ""
    n_heads: int | None = None
    n_kv_heads: int | None = None
    d_ff: int | None = None
    ffn: Ffn = "dense"
    head_dim_k: int | None = None
    head_dim_v: int | None = None
    window: int | None = None


class Refused(str):
    """A note that says why the engine of a file's format does not load it: a fact, not words to search for."""

    __slots__ = ()
