"""What is this model file exactly, and what will it cost to run? Answered before anyone loads it.

    import inspector
    checkpoint = inspector.inspect("model.gguf")
    facts = inspector.read_facts(checkpoint)
    estimate = inspector.estimate(facts, inspector.Workload(n_ctx=8192), engine="llama.cpp")

Names are loaded when they are first used: importing the package costs next to nothing.
"""

from __future__ import annotations

from inspector.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.audit.api import audit as audit
    from inspector.checkpoint import Checkpoint as Checkpoint
    from inspector.checkpoint import open_checkpoint as inspect  # noqa: F401
    from inspector.diff import diff as diff
    from inspector.errors import FactsError as FactsError
    from inspector.errors import FormatError as FormatError
    from inspector.errors import InspectorError as InspectorError
    from inspector.errors import SourceError as SourceError
    from inspector.errors import WorkloadError as WorkloadError
    from inspector.facts import ModelFacts as ModelFacts
    from inspector.facts import read_facts as read_facts
    from inspector.memory.engines import estimate as estimate
    from inspector.memory.estimate import Estimate as Estimate
    from inspector.memory.estimate import Gpu as Gpu
    from inspector.memory.estimate import Line as Line
    from inspector.memory.estimate import Placement as Placement
    from inspector.memory.estimate import Workload as Workload


# name: (module, name in it)
_PUBLIC = {
    "inspect": ("inspector.checkpoint", "open_checkpoint"),
    "read_facts": ("inspector.facts", "read_facts"),
    "estimate": ("inspector.memory.engines", "estimate"),
    "audit": ("inspector.audit.api", "audit"),
    "diff": ("inspector.diff", "diff"),
    "Checkpoint": ("inspector.checkpoint", "Checkpoint"),
    "ModelFacts": ("inspector.facts", "ModelFacts"),
    "Workload": ("inspector.memory.estimate", "Workload"),
    "Placement": ("inspector.memory.estimate", "Placement"),
    "Gpu": ("inspector.memory.estimate", "Gpu"),
    "Estimate": ("inspector.memory.estimate", "Estimate"),
    "Line": ("inspector.memory.estimate", "Line"),
    "InspectorError": ("inspector.errors", "InspectorError"),
    "SourceError": ("inspector.errors", "SourceError"),
    "FormatError": ("inspector.errors", "FormatError"),
    "FactsError": ("inspector.errors", "FactsError"),
    "WorkloadError": ("inspector.errors", "WorkloadError"),
}

__all__ = ["__version__", *_PUBLIC]  # noqa: PLE0604 - strings all the same


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'inspector' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _PUBLIC[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value
