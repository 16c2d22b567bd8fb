"""How the values of options are read: sizes, counts and tokens as people type them, lists, patterns."""

from __future__ import annotations

import click

from inspector.cli import outcome
from inspector.errors import InspectorError
from inspector.units import is_shop_size, parse_count, parse_nbytes, parse_tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final


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


def shop_size(text: str) -> None:
    """Says, once a command, that GB was read as GiB."""
    meta = click.get_current_context().meta
    if not meta.get("inspector.shop_size"):
        meta["inspector.shop_size"] = True
        outcome.remark_shop_size(text)


def _size(text: str) -> int:
    nbytes = parse_nbytes(text)
    if is_shop_size(text):
        shop_size(text)
    return nbytes


def _gpu(text: str) -> str:
    from inspector.memory.devices.gpus import is_shop_gpu

    try:
        if is_shop_gpu(text):
            shop_size(text)
    except InspectorError:  # no size at all: said where the GPU is looked up
        pass
    return text


def counted(low: int, high: int, parse: Callable[[str], int] = parse_count) -> Parsed:
    """A whole number within bounds, however it is written: 4096, 4k, 1e6."""

    def convert(text: str) -> int:
        n = parse(text)
        if not low <= n <= high:
            raise InspectorError(f"{n:,} is not between {low:,} and {high:,}")
        return n

    return Parsed("N", convert)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MOST_SECONDS:
        raise InspectorError(f"{text!r} is not between 0 and {MOST_SECONDS:,} seconds")
    return seconds


MOST_SECONDS = 1_000_000
SECONDS = Parsed("seconds", _seconds)
TOKENS = Parsed("tokens", parse_tokens)
SIZE = Parsed("size", _size)
COUNT = counted(1, 1 << 31)
NUMBER = click.IntRange(min=-1, max=(1 << 31) - 1)
GPU = Parsed("GPU", _gpu)
BATCH = counted(1, 1 << 31, parse_tokens)


def _switch(text: str) -> bool | None:
    try:
        return {"on": True, "off": False, "auto": None, "1": True, "0": False}[text.lower()]
    except KeyError:
        raise InspectorError(f"{text!r} is not on, off or auto") from None


def _floats(text: str) -> tuple[float, ...]:
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
    pattern, equals, device = text.partition("=")
    if not equals or not pattern or not device:
        raise InspectorError(f"{text!r} is not PATTERN=DEVICE, like 'ffn_.*_exps=CPU'")
    import re

    try:
        re.compile(pattern)
    except re.error as error:
        raise InspectorError(f"{pattern!r} is not a regular expression: {error}") from None
    return pattern, device


def _overrides(text: str) -> tuple[tuple[str, str], ...]:
    """As llama.cpp cuts them: at every comma, then at the first `=` (parse_tensor_buffer_overrides, common/arg.cpp)."""
    return tuple(map(_override, text.split(",")))


def _integer(text: str, words: str) -> int:
    try:
        return int(text[:20])
    except ValueError:
        raise InspectorError(f"{text!r} is not {words}") from None


def _layers(text: str) -> int:
    """Layers on devices; -1 is auto and what is below is all, as in llama.cpp."""
    return {"auto": -1, "all": -2}.get(text) or _integer(text, "a number of layers, all or auto")


def _sequences(text: str) -> int | None:
    """Sequences at a time; None leaves it to the engine (llama-server's -1)."""
    words = "a number of sequences"
    try:
        n = -1 if text == "auto" else _integer(text, words) if text[:1] == "-" else parse_count(text)
    except InspectorError:
        raise InspectorError(f"{text!r} is not {words}") from None
    if n != -1 and not 1 <= n <= 1 << 31:
        raise InspectorError(f"{n:,} sequences at a time: 1 or more, or -1 for the engine's default")
    return None if n == -1 else n


def _devices(text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(text.split(","))


SHARES = Parsed("N,N…", _floats)
LAYERS = Parsed("N|all|auto", _layers)
OVERRIDES = Parsed("PATTERN=DEVICE,…", _overrides)
SEQUENCES = Parsed("N", _sequences)
SWITCH = Parsed("on|off|auto", _switch)
KEEP = Parsed("FIRST+LAST", _keep)
DEVICES = Parsed("DEV,DEV…", _devices)
SPLIT_MODES: Final = ("none", "layer", "row", "tensor")
LOAD_MODES: Final = ("auto", "none", "mmap", "mlock", "mmap+mlock", "dio")
