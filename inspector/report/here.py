"""What a model would take on the machine that asks, in a line."""

from __future__ import annotations

from inspector.report.names import device_names
from inspector.report.text import wrap
from inspector.units import format_nbytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from inspector.memory.estimate import Estimate

_LABEL: Final = "  here          "  # as wide as the labels of `show` are


def here_lines(estimate: Estimate, *, width: int) -> list[str]:
    """Whether it fits this machine's devices at the engine's default context, in a line of `show`."""
    devices = [d for d in estimate.devices if d.capacity is not None]
    if not devices:
        return []
    names = device_names(d.device for d in devices)
    used = format_nbytes(sum(d.used for d in devices))
    usable = format_nbytes(sum(d.usable or 0 for d in devices))
    n_ctx = estimate.effective.get("n_ctx")
    at = f" at {n_ctx:,} tokens" if isinstance(n_ctx, int) else ""
    fits = "may fit" if estimate.fits is None else "fits" if estimate.fits else "does not fit"
    words = f"{fits} {names}{at}: {used} of {usable} usable"
    first, *rest = wrap(words, width=width - len(_LABEL))
    return ["", _LABEL + first, *(" " * len(_LABEL) + line for line in rest)]
