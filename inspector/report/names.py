"""What models and devices are called where people read it."""

from __future__ import annotations

from inspector.report.escape import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

_SUFFIXES: Final = (".gguf", ".safetensors", ".json")
_UNITS: Final = frozenset({"KiB", "MiB", "GiB", "TiB"})


def model_name(target: str) -> str:
    """A target without its folder and suffix; `org/name:QUANT` and addresses of stores stay as they are."""
    text = target.rstrip("/\\")
    local = "\\" in text or "://" in text or text.startswith((".", "/", "~")) or text.count("/") != 1
    suffix = next((s for s in _SUFFIXES if text.lower().endswith(s)), "")
    if local or suffix:
        text = text.replace("\\", "/").rpartition("/")[2] or text
    return escape(text.removesuffix(text[len(text) - len(suffix) :]) if suffix else text) or escape(target)


def device_name(name: str) -> str:
    """A device as a name: "24.00 GiB", a size given by hand, is a GPU of 24 GiB."""
    size, mark, number = escape(name).partition(" #")
    figure, _, unit = size.partition(" ")
    if unit in _UNITS and figure.replace(".", "").replace(",", "").isdigit():
        size = f"GPU {figure.rstrip('0').rstrip('.') if '.' in figure else figure} {unit}"
    return size + mark + number


def device_names(names: Iterable[str]) -> str:
    """Several devices in a few words: `2 × RTX 3090`, `RTX 3090 + RTX 3060`."""
    counts: dict[str, int] = {}
    for name in names:
        plain = device_name(name).partition(" #")[0]
        counts[plain] = counts.get(plain, 0) + 1
    return " + ".join(f"{n} × {name}" if n > 1 else name for name, n in counts.items())


def with_names(note: str, devices: Iterable[str]) -> str:
    """A note that begins with a device, or lists them all, with their names in place of sizes."""
    devices = list(devices)
    for device in devices:
        if note.startswith(f"{device}: "):
            return device_name(device) + note.removeprefix(device)
    return note.replace(f": {', '.join(devices)}.", f": {', '.join(map(device_name, devices))}.")
