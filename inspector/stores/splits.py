"""Names of the parts of a model that is split into several files."""

from __future__ import annotations


def split_name(name: str) -> tuple[str, int, int] | None:
    """Prefix, part and count of `prefix-00002-of-00005.gguf` (or .safetensors), or None. Parts count from 1."""
    stem, dot, suffix = name.rpartition(".")
    if suffix.lower() not in {"gguf", "safetensors"} or not dot:
        return None
    prefix, part, count = stem[:-15], stem[-14:-9], stem[-5:]
    if stem[-15:-14] != "-" or stem[-9:-5].lower() != "-of-" or not (prefix and (part + count).isascii()):
        return None
    if not (part.isdigit() and count.isdigit() and 0 < int(part) <= int(count)):
        return None
    return prefix, int(part), int(count)
