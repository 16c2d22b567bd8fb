"""transformers as an engine."""

from __future__ import annotations

from inspector.memory.engines.protocol import Engine, Option
from inspector.memory.engines.rows.vllm import DTYPE_HELP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable
    from typing import Final

    from inspector.memory.estimate import Gpu

CACHES: Final = ("dynamic", "static")
ATTENTIONS: Final = ("sdpa", "flash", "eager")


class Transformers(Engine):
    """One `generate` of the transformers library."""

    name = "transformers"
    aliases = ("hf",)
    release = "5.24.0"
    rules = "inspector.memory.engines.transformers"
    # fmt: off
    options = (
        Option("cache", "choice", "Kind of cache.", ("--cache",), choices=CACHES, argument=True),
        Option("mla_expanded", "flag", "Latent caches as before transformers 5.", ("--mla-expanded",), argument=True),
        Option("attn", "choice", "Attention kernel.", ("--attn",), choices=ATTENTIONS),
        Option("dtype", "text", DTYPE_HELP, ("--dtype",), metavar="TYPE"),
        Option("n_prefill", "tokens"),
        Option("encoder_tokens", "tokens"),
    )
    # fmt: on

    def on_card(self, gpu: Gpu) -> tuple[Hashable, int]:
        """Figures are the same on all; what PyTorch takes is each card's own."""
        from inspector.memory.engines.shared.runtime import process_of

        return (), process_of(gpu)[1]

    def range_on_card(self, gpu: Gpu) -> int:
        """What PyTorch takes."""
        from inspector.memory.engines.shared.runtime import process_of

        low, high = process_of(gpu)
        return high - low


ENGINE: Final = Transformers()
