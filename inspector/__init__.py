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
    from inspector.api import compare as compare
    from inspector.api import fit as fit
    from inspector.api import inspect as inspect
    from inspector.api import quantize_size as quantize_size
    from inspector.audit.api import audit as audit
    from inspector.audit.registry import Finding as Finding
    from inspector.audit.runner import AuditReport as AuditReport
    from inspector.checkpoint import Checkpoint as Checkpoint
    from inspector.checkpoint import Companion as Companion
    from inspector.checkpoint import Component as Component
    from inspector.checkpoint import SeveralModels as SeveralModels
    from inspector.comparison import Change as Change
    from inspector.comparison import Diff as Diff
    from inspector.comparison import diff as diff
    from inspector.dtypes import Dtype as Dtype
    from inspector.errors import AccessDenied as AccessDenied
    from inspector.errors import FactsError as FactsError
    from inspector.errors import FormatError as FormatError
    from inspector.errors import InspectorError as InspectorError
    from inspector.errors import LimitExceeded as LimitExceeded
    from inspector.errors import MissingKey as MissingKey
    from inspector.errors import NoRangeSupport as NoRangeSupport
    from inspector.errors import NotAModelFile as NotAModelFile
    from inspector.errors import NotFound as NotFound
    from inspector.errors import Offline as Offline
    from inspector.errors import RateLimited as RateLimited
    from inspector.errors import SourceError as SourceError
    from inspector.errors import Truncated as Truncated
    from inspector.errors import Unreachable as Unreachable
    from inspector.errors import UnsupportedArchitecture as UnsupportedArchitecture
    from inspector.errors import UnsupportedVersion as UnsupportedVersion
    from inspector.errors import WorkloadError as WorkloadError
    from inspector.facts import ModelFacts as ModelFacts
    from inspector.facts import read_facts as read_facts
    from inspector.fleet.options import ScanOptions as ScanOptions
    from inspector.fleet.row import scan_one as scan_one
    from inspector.formats.modelfile import Defect as Defect
    from inspector.formats.modelfile import LongArray as LongArray
    from inspector.formats.modelfile import ModelFile as ModelFile
    from inspector.formats.modelfile import TensorInfo as TensorInfo
    from inspector.layers import CompressedCache as CompressedCache
    from inspector.layers import CrossCache as CrossCache
    from inspector.layers import IndexCache as IndexCache
    from inspector.layers import KVCache as KVCache
    from inspector.layers import LatentCache as LatentCache
    from inspector.layers import Layer as Layer
    from inspector.layers import StateCache as StateCache
    from inspector.layers import UnknownCache as UnknownCache
    from inspector.memory.api import memory as memory
    from inspector.memory.compare import Comparison as Comparison
    from inspector.memory.devices.gpus import parse_gpu as parse_gpu
    from inspector.memory.engines import estimate as estimate
    from inspector.memory.estimate import Device as Device
    from inspector.memory.estimate import Estimate as Estimate
    from inspector.memory.estimate import Gpu as Gpu
    from inspector.memory.estimate import Line as Line
    from inspector.memory.estimate import Placement as Placement
    from inspector.memory.estimate import Workload as Workload
    from inspector.memory.fit.records import Ask as Ask
    from inspector.memory.fit.records import Candidate as Candidate
    from inspector.memory.fit.records import Choice as Choice
    from inspector.memory.fit.records import Fit as Fit
    from inspector.memory.fit.records import Lack as Lack
    from inspector.memory.quantize_size import QuantizedSize as QuantizedSize
    from inspector.memory.quantize_size import SizedTensor as SizedTensor

# packages that can be called (docs/decisions/0007-public-names.md)
_CALLED = ("audit", "memory")
# module: its public names
# fmt: off
_PUBLIC = {
    "inspector.api": "inspect fit quantize_size compare",
    "inspector.facts": "read_facts ModelFacts",
    "inspector.fleet.row": "scan_one",
    "inspector.fleet.options": "ScanOptions",
    "inspector.memory.engines": "estimate",
    "inspector.memory.devices.gpus": "parse_gpu",
    "inspector.memory.compare": "Comparison",
    "inspector.comparison": "diff Diff Change",
    "inspector.checkpoint": "Checkpoint Companion Component SeveralModels",
    "inspector.formats.modelfile": "ModelFile TensorInfo LongArray Defect",
    "inspector.dtypes": "Dtype",
    "inspector.layers":
        "Layer KVCache LatentCache IndexCache CompressedCache StateCache CrossCache UnknownCache",
    "inspector.memory.estimate": "Workload Placement Gpu Estimate Line Device",
    "inspector.memory.fit.records": "Fit Choice Candidate Ask Lack",
    "inspector.memory.quantize_size": "QuantizedSize SizedTensor",
    "inspector.audit.runner": "AuditReport",
    "inspector.audit.registry": "Finding",
    "inspector.errors":
        "InspectorError SourceError NotFound AccessDenied Offline NoRangeSupport RateLimited Unreachable FormatError "
        "NotAModelFile Truncated UnsupportedVersion LimitExceeded FactsError MissingKey UnsupportedArchitecture "
        "WorkloadError",
}
# fmt: on
_MODULES = {name: module for module, names in _PUBLIC.items() for name in names.split()}

__all__ = ["__version__", *_CALLED, *_MODULES]  # noqa: PLE0604 - strings all the same


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _CALLED:
        return import_module(f"inspector.{name}")
    if name not in _MODULES:
        raise AttributeError(f"module 'inspector' has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
