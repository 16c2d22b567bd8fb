"""The rules, one module a family; every module of this folder is found by itself, so a new rule is one function."""

from __future__ import annotations
