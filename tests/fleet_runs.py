"""Scans in processes of their own, to be watched, killed and interrupted; and the rows that they leave."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

Row = dict[str, Any]
PATIENCE = 30.0  # seconds that anything may take on a busy machine


def begin(args: Iterable[object], cwd: Path) -> subprocess.Popen[str]:
    """`inspector scan` under way, in a process group of its own as under a terminal."""
    env = os.environ | {"NO_COLOR": "1", "HF_HUB_OFFLINE": "1", "INSPECTOR_GPU": "none"}
    return subprocess.Popen(
        [sys.executable, "-m", "inspector", "scan", *map(str, args)], cwd=cwd, env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - tests run in the background too
    )  # fmt: skip


def until(seen: Callable[[], object], what: str) -> None:
    """Waits for something, not for ever."""
    end = time.monotonic() + PATIENCE
    while not seen():
        assert time.monotonic() < end, f"{what}: not within {PATIENCE:g} s"
        time.sleep(0.005)


def n_read(journal: Path) -> int:
    """Rows that a scan under way has kept so far."""
    if not journal.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as db:
            found: int = db.execute("SELECT COUNT(*) FROM rows").fetchone()[0]
            return found
    except sqlite3.OperationalError:  # it is being written, or not there yet
        return 0


def begun(args: Iterable[object], cwd: Path, output: str, least: int = 20) -> subprocess.Popen[str]:
    """A scan that is in its middle."""
    process = begin([*args, "-o", output], cwd)
    try:
        until(lambda: process.poll() is not None or n_read(cwd / f"{output}.unfinished") >= least, "the first rows")
        assert process.poll() is None, "it was over before it could be disturbed"
    except AssertionError as error:
        process.kill()
        raise AssertionError(f"{error}: {process.communicate()}") from None
    return process


def children(pid: int) -> list[int]:
    """The processes that a process has started (Linux)."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code and what was said, once it is over."""
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"it does not end: {process.communicate()}") from None
    return process.returncode, out, err


def interrupt(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Ctrl-C as a terminal sends it: to every process of the group."""
    os.killpg(process.pid, signal.SIGINT)
    return ended(process)


def jsonl(path: Path) -> list[Row]:
    """The rows of a table of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
