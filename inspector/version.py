"""The version, where every layer may read it; pyproject.toml says the same (a test compares them)."""

from __future__ import annotations

__version__ = "0.1.0"
