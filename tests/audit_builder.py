"""Folders and files for audits, sound unless told otherwise, and the audit as a list of codes."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from gguf_builder import F32, I32, STR, U16, U32, Arr, Tensor, build

from inspector.audit.registry import Finding
from inspector.audit.runner import AuditReport, run
from inspector.audit.subject.local import gather
