"""Placeholder until the rules follow."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspector.architectures.hf_config import HfConfig


def expected_tensors(_k: HfConfig) -> None:
    return None
