"""The sizes that a transformers prefill is made of, read from a model's facts and its config."""

from __future__ import annotations

