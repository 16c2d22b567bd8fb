"""The textbook formulas as an engine."""

from __future__ import annotations

from inspector.memory.engines.protocol import QUANT_HELP, Engine, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

KV_FORMS: Final = ("layers", "gqa", "heads", "hidden")
OVERHEAD: Final = "1GiB"


class Textbook(Engine):
    """Weights, cache, activations and overhead by the formulas people quote."""

    name = "textbook"
    release = "formulas"
    rules = "inspector.memory.engines.textbook"
    kv_types = page_kv_types = ("f16", "fp8")
    quants_by_bits = True
    # fmt: off
    options = (
        Option("kv_form", "choice", "Form of the KV formula.", ("--kv-form",), choices=KV_FORMS, argument=True),
        Option("constant_factor", "nbytes", "Simplified activations: bytes a token.", ("--constant-factor",),
               argument=True),
        Option("overhead", "nbytes", "The constant term; default {default}.", ("--overhead",), default=OVERHEAD,
               argument=True),
        Option("quant", "text", QUANT_HELP, ("--quant",), metavar="NAME", argument=True,
               commands=("memory",)),  # in `fit` it is a choice among several
        Option("nominal", "flag", "With --quant: the bits people quote, not the format's real ones.", ("--nominal",),
               argument=True),
    )
    # fmt: on


ENGINE: Final = Textbook()
