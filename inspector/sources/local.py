"""Files on disk: opened read-only, without following anything but plain files, read at an offset, never mapped.

No mmap, so a file that shrinks under us is a short read and not a SIGBUS; no whole-file reads, so memory stays flat.
"""

from __future__ import annotations

import os
import stat
from _thread import allocate_lock

from inspector.errors import AccessDenied, NotFound, SourceError
from inspector.sources import Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# O_NONBLOCK: opening a FIFO must not wait for a writer. Absent on Windows, as are O_CLOEXEC and pread.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

_seeking = allocate_lock()


def _seek_and_read(fd: int, length: int, offset: int) -> bytes:
    """What `pread` does, where there is none (Windows): one reader at a time moves the file's position."""
    with _seeking:
        if offset >= os.fstat(fd).st_size:  # seeking there may be refused, reading there is not
            return b""
        os.lseek(fd, offset, os.SEEK_SET)
        return os.read(fd, length)


def describe_mode(mode: int) -> str:
    """What a file that is not a regular file is, in words."""
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a character device"),
        (stat.S_ISBLK, "a block device"),
    )
    return next((words for test, words in kinds if test(mode)), "not a regular file")


def _wrap(error: OSError, path: str) -> SourceError:
    reason = error.strerror or "cannot be read"
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotFound(f"{path}: no such file")
    if isinstance(error, PermissionError):
        return AccessDenied(f"{path}: permission denied")
    return SourceError(f"{path}: {reason.lower()}")


class LocalSource(Source):
    """One regular file. Raises NotFound, AccessDenied or SourceError; a pipe, device or folder is refused."""

    def __init__(self, path: str, *, name: str | None = None) -> None:
        self.name = name or os.path.basename(path) or path
        self.path = path
        try:
            if not stat.S_ISREG(mode := os.stat(path).st_mode):
                raise SourceError(f"{path}: {describe_mode(mode)}, not a file")
            self._fd = os.open(path, _FLAGS)
            self.size = os.fstat(self._fd).st_size
        except OSError as error:
            raise _wrap(error, path) from None
        except ValueError:  # a NUL in the name
            raise NotFound(f"{path!r}: no such file") from None

    def read_at(self, offset: int, length: int) -> bytes:
        try:
            read: Callable[[int, int, int], bytes] = getattr(os, "pread", _seek_and_read)
            return read(self._fd, length, offset)
        except OSError as error:
            raise _wrap(error, self.path) from None
        except OverflowError:  # an offset beyond what the system can address lies beyond any file
            return b""

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self.close()
