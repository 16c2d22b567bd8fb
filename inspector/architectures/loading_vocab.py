"""What llama.cpp b11434 asks of a vocabulary before it loads a model (src/llama-vocab.cpp, llama_vocab::impl::load)."""

from __future__ import annotations

from inspector.architectures.loader_tables import pre_tokenizers
from inspector.architectures.loading_values import Fields, Refusal, elements_of, length_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final, Protocol

    class Load(Protocol):
        """What is asked of the load that is under way."""

        metadata: Mapping[str, Any]
        types: Mapping[str, str]

        def get_key(
            self, name: str, owner: Any, field: str, kind: str, *, required: bool = True, own: bool = True
        ) -> bool:
            """Put a key's value into a field of `owner`, and say whether it is there. Raises Refusal."""


_AT: Final = "tokenizer.ggml."
_MERGED: Final = frozenset({"gpt2", "hybriddna", "whitespace", "gemma4"})
_KNOWN: Final = frozenset({"llama", "bert", "t5", "rwkv", "test", "plamo2"}) | _MERGED
_IDS: Final = (
    "bos_token_id", "eos_token_id", "eot_token_id", "eom_token_id", "unknown_token_id", "seperator_token_id",
    "padding_token_id", "mask_token_id", "fim_pre_token_id", "fim_suf_token_id", "fim_mid_token_id",
    "fim_pad_token_id", "fim_rep_token_id", "fim_sep_token_id", "prefix_token_id", "suffix_token_id",
    "middle_token_id",
)  # fmt: skip
_SWITCHES: Final = ("add_bos_token", "add_eos_token", "add_sep_token")


def _fault(words: str, name: str) -> Refusal:
    return Refusal("vocabulary", words, _AT + name)


def _array(run: Load, name: str, *elems: str) -> int | None:
    """The length of an array of one of these types; None where it is absent."""
    stored = run.types.get(_AT + name)
    if stored is None:
        return None
    if stored not in {f"arr[{e}]" for e in elems}:
        raise _fault(f"invalid gguf type for {_AT}{name}", name)
    return length_of(run.metadata[_AT + name])


def _text(run: Load, name: str, *, required: bool) -> str:
    spot = Fields(value="")
    run.get_key(_AT + name, spot, "value", "str", required=required, own=False)
    return str(spot.value)


def read_vocabulary(run: Load) -> tuple[int, int]:
    """How many tokens, and how many types of tokens, the loader of tensors counts with. Raises Refusal."""
    model, pre = _text(run, "model", required=True), _text(run, "pre", required=False)
    counts = Fields(types=0, tokens=0)
    run.get_key(_AT + "token_type_count", counts, "types", "u32", required=False, own=False)
    if model in {"no_vocab", "none"}:
        run.get_key("vocab_size", counts, "tokens", "u32", required=False)
        return counts.tokens, counts.types
    if model not in _KNOWN:
        raise _fault(f"unknown tokenizer: '{model}'", "model")
    if model in _MERGED:
        _check_merges(run, "gemma4" if model == "gemma4" else pre)
    if model == "t5":
        _check_charsmap(run)
    for name in ("add_space_prefix", "remove_extra_whitespaces"):
        run.get_key(_AT + name, Fields(), "value", "bool", required=False, own=False)
    return _check_tokens(run), counts.types


def _check_merges(run: Load, pre: str) -> None:
    if _array(run, "merges", "str") is None and pre != "kimi-k2":
        raise _fault("cannot find tokenizer merges in model file", "merges")
    if pre and pre not in pre_tokenizers() and pre != "default":
        raise _fault(f"unknown pre-tokenizer type: '{pre}'", "pre")


def _check_charsmap(run: Load) -> None:
    n = _array(run, "precompiled_charsmap", "i8", "u8")
    if n is None:
        return
    head: list[Any] = elements_of(run.metadata[_AT + "precompiled_charsmap"])[:4]
    if n < 4:
        raise _fault("precompiled_charsmap too small for xcda_blob_size header!", "precompiled_charsmap")
    if int.from_bytes(bytes(x & 0xFF for x in head), "little") + 4 >= n:
        raise _fault("Index out of array bounds in precompiled charsmap!", "precompiled_charsmap")


def _check_tokens(run: Load) -> int:
    n = _array(run, "tokens", "str")
    if n is None:
        raise _fault("cannot find tokenizer vocab in model file", "tokens")
    for name, elems, words in (("scores", ("i32", "f32"), "scores"), ("token_type", ("i32",), "toktypes")):
        have = _array(run, name, *elems)
        if have is not None and have < n:
            raise _fault(f"Index out of array bounds for {words} ({have} < {n})", name)
    kept = run.metadata[_AT + "tokens"]
    if isinstance(kept, tuple):
        texts = [text or f"[EMPTY_{i}]" for i, text in enumerate(kept)]
        if len(set(texts)) != n:
            raise _fault("GGML_ASSERT(id_to_token.size() == token_to_id.size()) failed", "tokens")
    for name in _IDS:
        run.get_key(_AT + name, Fields(), "value", "u32", required=False, own=False)
    for name in _SWITCHES:
        run.get_key(_AT + name, Fields(), "value", "bool", required=False, own=False)
    for name in ("normalizer.lowercase", "normalizer.strip_accents"):
        run.get_key(_AT + name, Fields(), "value", "bool", required=False, own=False)
    _array(run, "suppress_tokens", "i32")
    return n
