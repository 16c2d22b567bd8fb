"""What is this model file exactly, and what will it cost to run? Answered before anyone loads it.

>>> import inspector
>>> checkpoint = inspector.inspect("model.gguf")
>>> facts = inspector.read_facts(checkpoint)
"""

from __future__ import annotations

__version__ = "0.1.0"
