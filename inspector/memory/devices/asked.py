"""The devices that somebody asks for by names, sizes or records: each with a name of its own, under a back end."""

from __future__ import annotations

from inspector.memory.devices.gpus import parse_gpus, under
from inspector.memory.estimate import Gpu

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def _devices(asked: str | Gpu) -> tuple[Gpu, ...]:
    return parse_gpus((asked,)) if isinstance(asked, str) else (asked,)


def _distinct(gpus: tuple[Gpu, ...]) -> tuple[Gpu, ...]:
    """Equal ones are numbered."""
    names = [g.name for g in gpus]
    return tuple(g.replace(name=f"{g.name} #{i}") if names.count(g.name) > 1 else g for i, g in enumerate(gpus))


def gpus_asked(gpus: str | Gpu | Iterable[str | Gpu], backend: str | None = None) -> tuple[Gpu, ...]:
    """What `--gpu` takes, or records, under the back end that was asked for (None: each its own).

    Raises InspectorError for a GPU or a back end that there is not.
    """
    several = [gpus] if isinstance(gpus, str | Gpu) else list(gpus)
    words = [one for one in several if isinstance(one, str)]
    parsed = parse_gpus(words) if len(words) == len(several) else None
    found = _distinct(parsed if parsed is not None else tuple(g for one in several for g in _devices(one)))
    if backend is None:
        return found
    from inspector.memory.engines.llamacpp.backends import backend as named

    return tuple(under(gpu, named(backend).name) for gpu in found)
