"""Files that are longer than what is written in them, on any file system that has holes."""

from __future__ import annotations

import os
import subprocess


def stretch(path: str | os.PathLike[str], nbytes: int) -> None:
    """Make a file so many bytes long without writing them: a hole where there is more to it, a cut where less."""
    if os.name == "nt" and nbytes > os.path.getsize(path):
        # NTFS keeps a hole only in a file that is marked for it, and the C library of Windows fills what it lengthens
        subprocess.run(["fsutil", "sparse", "setflag", path], check=True, capture_output=True)
        with open(path, "r+b") as file:
            file.seek(nbytes - 1)
            file.write(b"\0")
    else:
        os.truncate(path, nbytes)
