"""`inspector fit`."""

from __future__ import annotations

import os

import click

from inspector.cli import outcome
