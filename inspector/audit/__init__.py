"""Refuse a broken or hostile model before anything loads it: every defect of every file in one run.

Rules are functions in a registry (`registry.py`), each with a stable code; `subject.py` gathers what they look at,
opening nothing outside the target; `runner.py` runs them and caps findings of one kind.
"""

from __future__ import annotations
