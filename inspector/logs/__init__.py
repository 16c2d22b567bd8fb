"""Start-up logs of engines: what llama.cpp and vLLM say about their settings and buffers, read as data."""

from __future__ import annotations

from inspector.logs.records import LogBuffer, LogDevice, StartupLog
from inspector.logs.startup import read_startup_log

__all__ = ["LogBuffer", "LogDevice", "StartupLog", "read_startup_log"]
