"""Bytes and text taken apart into statements: pickles, archives, programs, templates, vocabularies."""

from __future__ import annotations
