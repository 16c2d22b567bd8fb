"""Bytes that are already in memory: tests, and small documents."""

from __future__ import annotations

from inspector.sources import Source


class MemorySource(Source):
    """A file that is a bytes object."""

    def __init__(self, data: bytes, *, name: str = "<memory>", size: int | None = None) -> None:
        self.name = name
        self._data = data
        self.size = len(data) if size is None else size

    def read_at(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]
