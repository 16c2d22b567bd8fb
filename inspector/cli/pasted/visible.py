"""`CUDA_VISIBLE_DEVICES` and its like before a pasted command: which of the cards that `--gpu` names it would see."""

from __future__ import annotations

from inspector.errors import InspectorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

_NAMES: Final = (
    "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
)  # fmt: skip


def gpus_named(ours: Sequence[str]) -> list[str]:
    """The values of `--gpu`."""
    found = [w.removeprefix("--gpu=") for w in ours if w.startswith("--gpu=")]
    return found + [ours[i + 1] for i, w in enumerate(ours[:-1]) if w == "--gpu"]


def _without_gpus(ours: Sequence[str]) -> list[str]:
    kept: list[str] = []
    rest = list(ours)
    while rest:
        word = rest.pop(0)
        if word == "--gpu" and rest:
            rest.pop(0)
        elif not word.startswith("--gpu="):
            kept.append(word)
    return kept


def seen(ours: Sequence[str], variables: Mapping[str, str]) -> tuple[list[str], str]:
    """(our words with the cards that are visible, words where that cannot be followed).

    Numbers beyond the cards that `--gpu` names are of another machine: then `--gpu` has the last word.
    """
    name = next((n for n in _NAMES if n in variables), "")
    value = variables.get(name, "all").strip("\"' ")
    named = gpus_named(ours)
    if value == "all" or not named:
        return list(ours), ""
    if value in {"", "-1", "none", "void"}:
        return [*_without_gpus(ours), "--gpu", "none"], ""
    numbers = value.split(",")
    why = f"{name}={value} is not followed: the figures are for all the cards that --gpu names"
    cards = _one_by_one(named)
    if cards is None or not all(n.isdecimal() for n in numbers):
        return list(ours), why
    places = [int(n[:6]) for n in numbers]
    if max(places) >= len(cards):
        return list(ours), ""
    if len(set(cards)) > 1 and len(set(places)) < len(cards):
        return list(ours), why  # CUDA numbers unlike cards by their speed
    return [*_without_gpus(ours), *(w for i in places for w in ("--gpu", cards[i]))], ""


def _one_by_one(named: Sequence[str]) -> list[str] | None:
    """Each card by itself; None for what is not known before it is looked for."""
    from inspector.memory.devices.gpus import split_count

    cards: list[str] = []
    for text in named:
        if text.strip().lower() in {"auto", "none"}:
            return None
        try:
            n, word = split_count(text)
        except InspectorError:
            return None
        cards += [word] * min(n, 64)
    return cards
