"""Options that several commands share, under the names people already type in llama.cpp and vLLM."""

from __future__ import annotations

import os

import click

from inspector.errors import InspectorError
from inspector.memory.engines import ENGINE_NAMES, engine_of, engines
from inspector.memory.estimate import Placement, Workload
from inspector.units import parse_nbytes, parse_tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final, TypeVar

    from inspector.checkpoint import Checkpoint
    from inspector.memory.engines.protocol import Engine, Option
    from inspector.memory.estimate import Gpu
    from inspector.sources import Source

    F = TypeVar("F", bound=Callable[..., Any])


class Parsed(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """An option value read by one of our own parsers; its refusal is a usage error."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except InspectorError as error:
            self.fail(f"{error}" + (f" ({error.hint})" if error.hint else ""), param, ctx)


TOKENS = Parsed("tokens", parse_tokens)
SIZE = Parsed("size", parse_nbytes)
COUNT = click.IntRange(min=1, max=1 << 31)


def _switch(text: str) -> bool | None:
    try:
        return {"on": True, "off": False, "auto": None, "1": True, "0": False}[text.lower()]
    except KeyError:
        raise InspectorError(f"{text!r} is not on, off or auto") from None


def floats(text: str) -> tuple[float, ...]:
    try:
        parts = tuple(float(p) for p in text.replace("/", ",").split(","))
    except ValueError:
        raise InspectorError(f"{text!r} is not a list of numbers like 3,1") from None
    if any(not 0 <= p < 1e30 for p in parts) or not sum(parts):  # llama.cpp adds them up in single precision
        raise InspectorError(f"{text!r}: shares cannot be negative, all zero or beyond counting")
    return parts


def _keep(text: str) -> tuple[int, int]:
    first, plus, last = text.partition("+")
    if not plus:
        raise InspectorError(f"{text!r} is not FIRST+LAST, like 4+1024")
    return parse_tokens(first), parse_tokens(last)


def _override(text: str) -> tuple[str, str]:
    pattern, equals, device = text.rpartition("=")
    if not equals or not pattern or not device:
        raise InspectorError(f"{text!r} is not PATTERN=DEVICE, like 'ffn_.*_exps=CPU'")
    import re

    try:
        re.compile(pattern)
    except re.error as error:
        raise InspectorError(f"{pattern!r} is not a regular expression: {error}") from None
    return pattern, device


SHARES = Parsed("N,N…", _floats)


def target_argument(function: F) -> F:
    """The TARGET of most commands."""
    return click.argument("target", metavar="TARGET")(function)


def json_option(function: F) -> F:
    """`--json`, everywhere the same."""
    return click.option("--json", "as_json", is_flag=True, help="JSON on stdout; sizes are integers in bytes.")(
        function
    )


# flags and name, click's arguments, the engines it means something to (empty: all)
_WORKLOAD = (
    (("-c", "--ctx-size", "--ctx", "--max-model-len", "n_ctx"), dict(type=TOKENS),
     "Tokens of context. llama.cpp: over all sequences; elsewhere: of one sequence. Default: the engine's."),
    (("-np", "--parallel", "--batch", "--max-num-seqs", "n_seqs"), dict(type=COUNT),
     "Sequences at a time."),
    (("-b", "--batch-size", "n_batch"), dict(type=COUNT),
     "Tokens of a logical batch (llama.cpp)."),
    (("-ub", "--ubatch-size", "n_ubatch"), dict(type=COUNT),
     "Tokens of a physical batch (llama.cpp)."),
    (("-ctk", "--cache-type-k", "kv_dtype_k"), dict(metavar="TYPE"),
     "Type of cached keys: f16, q8_0, …"),
    (("-ctv", "--cache-type-v", "kv_dtype_v"), dict(metavar="TYPE"),
     "Type of cached values."),
    (("--kv-cache-dtype", "--kv-dtype", "kv_dtype"), dict(metavar="TYPE"),
     "Keys and values alike: auto, f16, fp8, int8, q8_0, …"),
    (("-fa", "--flash-attn", "flash_attn"), dict(type=Parsed("on|off|auto", _switch)),
     "Flash attention: on, off or auto."),
    (("--kv-unified/--no-kv-unified", "kv_unified"), dict(default=None),
     "One cache for all sequences (llama.cpp)."),
    (("--swa-full", "swa_full"), dict(is_flag=True),
     "Sliding layers keep the whole context (llama.cpp)."),
    (("--outputs", "outputs"), dict(type=click.Choice(["all", "last"])),
     "Rows of logits: all (llama-cli) or last (llama-server)."),
    (("--kv-keep", "kv_keep"), dict(type=Parsed("FIRST+LAST", _keep)),
     "Token pruning: keep the first and the last so many."),
    (("--window", "window"), dict(type=TOKENS),
     "Keep only the last so many tokens in every layer."),
)  # fmt: skip
_PLACEMENT = (
    (("--gpu", "gpus"), dict(multiple=True, metavar="GPU"),
     "rtx4090, 2xrtx3090, 24GiB or auto; repeatable."),
    (("-ngl", "--gpu-layers", "n_gpu_layers"), dict(type=click.IntRange(min=0)),
     "Layers on the GPU; default: all of them."),
