"""Which layers of a GGUF architecture see a window only, by the rules of llama.cpp b11434.

Sources: each model's `load_arch_hparams` (src/models/*.cpp), `load_swa_pattern` (src/llama-model.cpp),
`llama_hparams::set_swa_pattern` (src/llama-hparams.cpp).
"""

from __future__ import annotations

from inspector.architectures.gguf_record import Windows
from inspector.layers import Refused
from inspector.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from inspector.architectures.gguf_keys import Keys
    from inspector.architectures.gguf_record import Arch, Numbers

_WINDOW: Final = "attention.sliding_window"
_PATTERN: Final = "attention.sliding_window_pattern"


def read_windows(arch: Arch, keys: Keys, numbers: Numbers) -> Windows:
    """Which layers slide and how far. Raises FactsError for a key of a wrong kind."""
    nothing = Windows((False,) * numbers.n_all)
    rule = arch.sliding
    if rule is None or (rule.only_n_layers and rule.only_n_layers != numbers.n_main):
        return nothing
    tokens = rule.tokens(keys, arch.ref)
    if isinstance(tokens, Refused):
        return nothing.replace(notes=(tokens,))
    if tokens is None:
        return nothing
    slides = rule.layers(keys, numbers)
    if slides is None:
        return nothing.replace(notes=(_refused(f"{keys.arch}.{_PATTERN} is not an array"),))
    return Windows(slides, tokens, rule.chunked)


def refusals(arch: Arch, windows: Windows, shared_from: int | None) -> tuple[str, ...]:
    """Settings at which llama.cpp aborts: its assertions in `create_memory` and in the cache's constructor."""
    slides = windows.slides
    if windows.tokens is not None and arch.caches and not any(slides):
        return (_refused("it has a sliding window, but no layer slides"),)
    if shared_from is None or shared_from >= len(slides) or arch.draft is not None:  # a draft's are another model's
        return ()
    # a layer without a cache reads the last full one or the last sliding one, which must be of its own kind
    wrong = [
        i
        for i in range(shared_from, len(slides))
        if shared_from < 2 or slides[shared_from - (2 if slides[i] else 1)] != slides[i]
    ]
    return (_refused(f"layer {wrong[0]} has no cache to share"),) if wrong else ()


def _refused(why: str) -> Refused:
    return Refused(f"llama.cpp refuses this file: {why}")


# -- how far: what the key attention.sliding_window means ----------------------------------------------------------


def _stated(keys: Keys) -> int | None:
    return keys.integer(_WINDOW, "window")


def _engines_own(keys: Keys, tokens: int, ref: str) -> int:
    """A window that llama.cpp sets by itself, as `ref` says."""
    keys.origin["window"] = ref
    return tokens


def required(keys: Keys, ref: str) -> int | Refused:  # noqa: ARG001 - one signature for all rules
    """The key is the window; without it the file is refused."""
    tokens = _stated(keys)
    return _refused(f"{keys.arch}.{_WINDOW} is missing") if tokens is None else tokens


def optional(keys: Keys, ref: str) -> int | None:  # noqa: ARG001 - one signature for all rules
    """The key is the window; without it, or at 0, no layer slides."""
    return _stated(keys) or None


class Default(Record):
    """The key is the window; without it, `tokens` is."""

    tokens: int

    def __call__(self, keys: Keys, ref: str) -> int:
        """The window."""
        stated = _stated(keys)
        return _engines_own(keys, self.tokens, ref) if stated is None else stated


class Switch(Record):
    """A key over 0 turns on a window of `tokens`, whatever its number."""

    tokens: int

    def __call__(self, keys: Keys, ref: str) -> int | None:
        """The window, or None where it is off."""
        return _engines_own(keys, self.tokens, ref) if _stated(keys) else None


class Unless0(Record):
    """A window of `tokens`, whatever number the key has and also without it, unless the key is 0."""

    tokens: int

    def __call__(self, keys: Keys, ref: str) -> int | None:
        """The window, or None where it is off."""
        return None if _stated(keys) == 0 else _engines_own(keys, self.tokens, ref)


# -- which layers: what the key attention.sliding_window_pattern means ---------------------------------------------


class Every(Record):
    """All but the last of every `period` layers slide, or all but the first of them where `dense_first`.

    The pattern key is an array of truth values instead, or a number that replaces `period`; at 0 all layers slide.
    `arrays`: False where an array is passed over, as if there was no key.
    """

    period: int
    dense_first: bool = False
    arrays: bool = True

    def __call__(self, keys: Keys, numbers: Numbers) -> tuple[bool, ...]:
        """One truth value a layer."""
        flags = keys.flags(_PATTERN, numbers.n_all)
        if flags is not None and self.arrays:
            return flags
        stated = keys.integer(_PATTERN) if flags is None else None
        period = self.period if stated is None else stated
        full_at = 0 if self.dense_first else period - 1
        return tuple(i < numbers.n_main and (period == 0 or i % period != full_at) for i in range(numbers.n_all))


def as_listed(keys: Keys, numbers: Numbers) -> tuple[bool, ...] | None:
    """The layers that the pattern key's array names; llama.cpp refuses a file without it."""
    return keys.flags(_PATTERN, numbers.n_all)


def listed_without_streams(keys: Keys, numbers: Numbers) -> tuple[bool, ...] | None:
    """As listed; every layer where hidden states lie in several streams (dflash.cpp, over DeepSeek V4's blocks)."""
    return all_slide(keys, numbers) if keys.integer("hyper_connection.count") else as_listed(keys, numbers)


def attending(keys: Keys, numbers: Numbers) -> tuple[bool, ...]:  # noqa: ARG001 - one signature for all rules
    """Every layer with attention (lfm2.cpp)."""
    return tuple(i < numbers.n_main and n > 0 for i, n in enumerate(numbers.kv_heads))


def all_slide(keys: Keys, numbers: Numbers) -> tuple[bool, ...]:  # noqa: ARG001 - one signature for all rules
    """Every layer, prediction layers included (deepseek4.cpp)."""
    return (True,) * numbers.n_all
